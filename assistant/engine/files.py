"""Reading a checkpoint's files, and the sentence for one that cannot be read."""

import json
from pathlib import Path
from typing import Any

from assistant.errors import CheckpointError


def read_json(path: Path) -> dict[str, Any] | None:
    """None if there is no such file. Raises CheckpointError."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise broken_file(path, error) from error
    if not isinstance(value, dict):
        raise broken_file(path, "not a JSON object")
    return value


def broken_file(path: Path, why: object) -> CheckpointError:
    """A CheckpointError that names the file. In the hub's cache a name is only a link: what has to
    go is the file behind it, or the next download would link to it again."""
    why = " ".join(str(why).split())[:200]
    return CheckpointError(
        f"The checkpoint file {path} cannot be used ({why}): delete {path.resolve()} and "
        "download it again."
    )
