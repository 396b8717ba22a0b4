"""Where a checkpoint is: the embedded one, a folder, a GGUF file, or on the hub.

From the hub the small files come first, but for a GGUF file, which is one, so that a checkpoint
that cannot be served is refused before gigabytes are downloaded. Knows names and files; nothing of
what is in them but the lists of shards.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from assistant.engine.files import broken_file, look_at, read_json
from assistant.errors import CheckpointError
from assistant.hub import fetch_file, fetch_snapshot
from assistant.paths import MODELS
from assistant.settings import EMBEDDED, Settings
from assistant.text import one_line, quoted

SAFETENSORS = "model.safetensors"
BIN = "pytorch_model.bin"  # a pickle: some older family members have nothing else
GGUF = ".gguf"
SHARDS_MAX = 1_000  # of one checkpoint
_SHARD = re.compile(r"\w[\w.-]{0,200}")  # a name, and no way to another folder
_IN_REPO = re.compile(r"(?:\w[\w.-]{0,200}/){0,8}\w[\w.-]{0,200}\.gguf", re.ASCII)
_SMALL_FILES = ["tokenizer.json", "tokenizer_config.json", "generation_config.json",
                "chat_template.jinja"]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """path: a folder, or a GGUF file. name: what people read. repo: its hub id, and commit: of
    what `path` holds; both None for what was here."""

    path: Path
    name: str
    repo: str | None = None
    commit: str | None = None

    @property
    def is_gguf(self) -> bool:
        return self.path.suffix == GGUF


def find_checkpoint(settings: Settings) -> Place:
    """What --model names: of the hub's checkpoints a GGUF file as a whole, of others config.json
    alone. Raises CheckpointError and HubError."""
    model = settings.model
    path = _embedded_folder() if model == EMBEDDED else _local(model)
    if path and settings.revision:
        raise CheckpointError("--revision goes with a hub id; what is here has no revisions.")
    if path:
        return Place(path, one_line((path if path.suffix == GGUF else path.resolve()).name))
    repo, colon, file = model.partition(":")
    path = fetch_file(repo, file if colon else "config.json", revision=settings.revision)
    # The cache names a snapshot's folder by its commit.
    folder = path.parents[file.count("/")]
    return Place(path if colon else folder, model, repo, folder.name)


def fetch_small(place: Place) -> None:
    """What belongs to the tokenizer into the hub's cache, but for a GGUF file, which has it."""
    _fetch(place, _SMALL_FILES)


def fetch_weights(place: Place, allow_bin: bool) -> None:
    """Into the hub's cache, but for a GGUF file; .bin files only where there is nothing else."""
    _fetch(place, _patterns(SAFETENSORS))
    if allow_bin and place.repo and not place.is_gguf and not _listed(place.path, SAFETENSORS):
        _fetch(place, _patterns(BIN))


def _fetch(place: Place, patterns: list[str]) -> None:
    if place.repo and not place.is_gguf:
        fetch_snapshot(place.repo, revision=place.commit, allow_patterns=patterns)


def weight_files(place: Place, allow_bin: bool) -> list[Path]:
    """In a folder; safetensors before .bin. Raises CheckpointError."""
    files = _listed(place.path, SAFETENSORS)
    if not files and not allow_bin:
        raise CheckpointError(
            f"{place.name} has no safetensors weights: if it has .bin files, --allow-bin loads "
            "them through torch's weights_only reader; of a .gguf file, give the file itself."
        )
    files = files or _listed(place.path, BIN)
    if not files:
        raise CheckpointError(f"{place.name} has neither safetensors nor .bin weights.")
    return files


def _embedded_folder() -> Path:
    folders = [path.parent for path in MODELS.glob("*/config.json")]
    if len(folders) != 1:
        raise CheckpointError(
            f"{MODELS} must hold one checkpoint and holds {len(folders)}: fetch the repository "
            "again, or choose a checkpoint with --model."
        )
    return folders[0]


def _local(model: str) -> Path | None:
    """The folder or file that a --model flag names, None if it has the form of a hub id."""
    # Leaves a ~ of nobody as it is. What os.path asks is False of what no file can be called.
    path = Path(os.path.expanduser(model))
    repo, colon, file = model.partition(":")
    if colon and repo.count("/") == 1 and repo[0] not in "/.~" and not os.path.exists(path):
        if _IN_REPO.fullmatch(file):
            return None
        raise CheckpointError(
            f"--model {quoted(model)} names no GGUF file in {quoted(repo)}: behind the colon goes "
            "its path there, like model-Q8_0.gguf."
        )
    if path.suffix == GGUF or os.path.isdir(path):
        return path
    if os.path.isfile(path):
        raise CheckpointError(
            f"--model {quoted(model)} is a file, and of those only .gguf ones are read: give the "
            "folder that it is in."
        )
    if model.count("/") == 1 and model[0] not in "/.~":
        return None
    raise CheckpointError(
        f"--model {quoted(model)} is neither a folder nor a hub id nor a .gguf file: an id has the "
        "form owner/name or owner/name:file.gguf."
    )


def _patterns(weights: str) -> list[str]:
    stem, suffix = weights.split(".")
    return [weights, f"{stem}-*.{suffix}", f"{weights}.index.json"]


def _listed(folder: Path, weights: str) -> list[Path]:
    """The files that make up `weights`: one file, or the shards that its index names."""
    if look_at(folder / weights) is not None:
        return [folder / weights]
    path = folder / f"{weights}.index.json"
    index = read_json(path)
    if index is None:
        return []
    try:
        names = sorted(set(index["weight_map"].values()))
        suffix = Path(weights).suffix
        if not all(_SHARD.fullmatch(name) and Path(name).suffix == suffix for name in names):
            raise ValueError(f"no list of {suffix} files beside it")
        if not names:
            raise ValueError("it names no files")
        if len(names) > SHARDS_MAX:
            raise ValueError(f"{len(names):,} files, and at most {SHARDS_MAX:,} are read")
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        raise broken_file(path, error) from error
    return [folder / name for name in names]
