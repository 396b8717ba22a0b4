"""read_chat(): the chat template that lies in a checkpoint's folder, and what goes with it.

Knows where transformers saves them. What they hold is anyone's text: who uses it looks at it.
"""

from pathlib import Path

from assistant.engine.files import broken_file, look_at, read_json
from assistant.engine.protocol import ChatFiles

BYTES_MAX = 1 << 20  # of a file with a template; the longest that is known has 40 KB


def read_chat(folder: Path) -> ChatFiles | None:
    """None where there is no template. Raises CheckpointError."""
    config = read_json(folder / "tokenizer_config.json") or {}
    template = _file(folder / "chat_template.jinja") or _default(config.get("chat_template"))
    if not template:
        return None
    tokens = {}
    for name, token in config.items():
        if isinstance(token, dict):  # as older versions of transformers saved it
            token = token.get("content")
        if name.endswith("_token") and isinstance(token, str):
            tokens[name] = token
    return ChatFiles(template, tokens, read_json(folder / "generation_config.json") or {})


def _file(path: Path) -> str | None:
    size = look_at(path)
    if size is None:
        return None
    if size > BYTES_MAX:
        raise broken_file(path, f"it has {size:,} bytes, and at most {BYTES_MAX:,} are read")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise broken_file(path, error) from error


def _default(value: object) -> str | None:
    """The template in tokenizer_config.json: a text, or that called "default" in a list of
    {"name", "template"}."""
    if isinstance(value, list):
        named = [each for each in value if isinstance(each, dict) and each.get("name") == "default"]
        value = named[0].get("template") if named else None
    return value if isinstance(value, str) else None
