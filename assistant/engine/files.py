"""A checkpoint's files: looked at before they are opened, and the sentence for one that is no good.

Anyone may have written them, so a name may stand for a pipe that never ends, or a file of any size.
"""

import json
import stat
from pathlib import Path
from typing import Any

from assistant.errors import CheckpointError
from assistant.text import one_line

JSON_MAX = 128 << 20  # bytes; the largest tokenizer.json that is known has 35 MB


def read_json(path: Path) -> dict[str, Any] | None:
    """None if there is no such file. Raises CheckpointError."""
    size = look_at(path)
    if size is None:
        return None
    if size > JSON_MAX:
        raise broken_file(path, f"it has {size:,} bytes, and at most {JSON_MAX:,} are read")
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise broken_file(path, error) from error
    if not isinstance(value, dict):
        raise broken_file(path, "not a JSON object")
    return value


def look_at(path: Path) -> int | None:
    """The size in bytes of what is at `path`, a file; None if there is nothing. Raises
    CheckpointError for what is no file."""
    try:
        found = path.stat()
    except FileNotFoundError:
        if path.is_symlink():
            raise broken_file(path, "it is a link to nothing") from None
        return None
    except (OSError, ValueError) as error:  # links in a circle; a name that no file can have
        why = error.strerror if isinstance(error, OSError) else error
        raise broken_file(path, why) from None
    if not stat.S_ISREG(found.st_mode):
        raise broken_file(path, "it is not a file")
    return found.st_size


def broken_file(path: Path, why: object) -> CheckpointError:
    """A CheckpointError that names the file."""
    why = " ".join(str(why).split())[:200]
    return CheckpointError(
        f"The checkpoint file {one_line(path)} cannot be used ({one_line(why)}): delete "
        f"{one_line(to_delete(path))} and download it again."
    )


def to_delete(path: Path) -> Path:
    """What has to go so that a download brings it anew. In the hub's cache a name is only a link:
    there it is the file behind it, or the next download would link to it again; the link, where
    there is none. What a link names elsewhere is not the checkpoint's."""
    try:
        target = path.resolve()
    except (OSError, RuntimeError, ValueError):
        return path
    snapshot = path.absolute().parent
    cached = snapshot.parent.name == "snapshots"
    blobs = snapshot.parent.parent / "blobs"
    ours = cached and target.parent == blobs.resolve() and target.exists()
    return target if ours else path
