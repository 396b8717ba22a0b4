"""What a checkpoint's config.json says of its model, checked before anything large is read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assistant.engine.checkpoint.families import FAMILIES
from assistant.engine.checkpoint.families.fields import Fields, NotSupported
from assistant.engine.files import broken_file, read_json
from assistant.engine.model.config import Config
from assistant.errors import CheckpointError
from assistant.text import one_line, quoted


def read_config(folder: Path, name: str) -> Config:
    """The Config in `folder`; `name` is what people know the checkpoint by. Raises
    CheckpointError for what is broken, and for a model that cannot run here."""
    path = folder / "config.json"
    raw = read_json(path)
    if raw is None:
        raise CheckpointError(f"{one_line(folder)} is not a checkpoint: it has no config.json.")
    try:
        return parse_config(raw, name)
    except ValueError as error:
        raise broken_file(path, error) from error


def parse_config(raw: Mapping[str, Any], name: str) -> Config:
    """The Config of a config.json's keys. Raises CheckpointError for a model that cannot run here,
    and ValueError for keys that are wrong."""
    kind = raw.get("model_type")
    family = FAMILIES.get(kind) if isinstance(kind, str) else None
    if family is None:
        raise CheckpointError(
            f"{name} has the architecture {quoted(kind)}, and only {', '.join(FAMILIES)} run here: "
            "serve it with another program and name that with --endpoint."
        )
    if raw.get("quantization_config"):
        raise CheckpointError(f"{name} is quantised, which is not supported: choose the original.")
    try:
        return family.read(Fields(raw))
    except NotSupported as error:
        raise CheckpointError(f"{name} has {error}.") from error
