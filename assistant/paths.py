"""Where the files stand that come with the program: in a checkout, or in an installed package."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MODELS = ROOT / "models"
EMBEDDED_MODEL = MODELS / "tech-assistant-7m"
PROMPTS = ROOT / "prompts"
STATIC = Path(__file__).resolve().parent / "web" / "static"
