"""Where the files stand that come with the program: in a checkout, or in an installed package."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
ROOT = PACKAGE.parent  # what Python imports the package from
_DATA = PACKAGE / "data"  # in an installed package alone
_BESIDE = _DATA if _DATA.is_dir() else ROOT
MODELS = _BESIDE / "models"
EMBEDDED_MODEL = MODELS / "tech-assistant-7m"
PROMPTS = _BESIDE / "prompts"
STATIC = PACKAGE / "web" / "static"
