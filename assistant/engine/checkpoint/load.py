"""Finds, fetches, checks and loads a checkpoint: embedded, a folder, or from the hub.

The small files come first, so that a checkpoint that cannot be served is refused before gigabytes
are downloaded or read. Nothing in a checkpoint is ever executed: no code from the repository, no
pickle. Knows where files are and what they must hold; reading tensors is weights.py's.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from assistant.engine.checkpoint.config import read_config
from assistant.engine.checkpoint.place import find_place
from assistant.engine.checkpoint.weights import find_tensors, read_tensors
from assistant.engine.files import broken_file, look_at, read_json
from assistant.engine.model.config import Config
from assistant.engine.model.linear import Weight
from assistant.engine.tokenizer import BPETokenizer, load_tokenizer
from assistant.errors import CheckpointError
from assistant.hub import fetch_file, fetch_snapshot
from assistant.paths import MODELS
from assistant.settings import EMBEDDED, Settings
from assistant.text import quoted

SAFETENSORS = "model.safetensors"
BIN = "pytorch_model.bin"  # a pickle: some older family members have nothing else
SHARDS_MAX = 1_000  # of one checkpoint
_SHARD = re.compile(r"\w[\w.-]{0,200}")  # a name, and no way to another folder
_SMALL_FILES = ["tokenizer.json", "tokenizer_config.json", "generation_config.json",
                "chat_template.jinja"]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A loaded model.

    name: what people read, a hub id or a folder's name. revision: the commit, for one from the hub.
    embedded: the one that ships with the repository. tensors: as in its files, but without a
    leading "transformer.", on their device in their dtype; "lm_head.weight" only where it is not
    "wte.weight". dtype: float32, bfloat16 or float16, which the tensors have; int8; int4; or auto.

    Under int8 the linear weights are Quantized on CUDA, the head as well, tied or not. On a CPU
    they are dense, for prefill; what decode takes is the engine's to make. Under int4 they are
    Packed and the head is Quantized, on any device. auto: the tensors are
    float32, on a CPU with memory for int8 as well, and the engine chooses.
    """

    name: str
    revision: str | None
    embedded: bool
    config: Config
    tensors: dict[str, Weight]
    tokenizer: BPETokenizer
    dtype: str


def load_checkpoint(settings: Settings) -> Checkpoint:
    """What `settings` name. Raises CheckpointError and HubError."""
    embedded = settings.model == EMBEDDED
    found = _embedded_folder() if embedded else _local_folder(settings.model)
    if found and settings.revision:
        raise CheckpointError("--revision goes with a hub id; a folder has no revisions.")
    repo = None if found else settings.model
    folder = found or fetch_file(settings.model, "config.json", revision=settings.revision).parent
    name = repo or folder.resolve().name

    config = read_config(folder, name)
    place = find_place(config, settings, name)
    revision = folder.name if repo else None  # the cache names a snapshot's folder by its commit
    if repo:
        _fetch(repo, folder.name, settings.allow_bin)
    tokenizer = load_tokenizer(folder)
    if len(tokenizer) > config.vocab_size:
        raise CheckpointError(
            f"The tokenizer of {name} has {len(tokenizer)} tokens and its model only "
            f"{config.vocab_size}: they do not belong together."
        )
    stored = find_tensors(_weight_files(folder, name, settings.allow_bin), config)
    tensors: dict[str, Weight] = {}
    for device, part in place.split(stored).items():
        tensors |= read_tensors(part, device, place.dtype, place.kind)
    return Checkpoint(name, revision, embedded, config, tensors, tokenizer, place.choice)


# -- where it is ------------------------------------------------------------------------------


def _embedded_folder() -> Path:
    folders = [path.parent for path in MODELS.glob("*/config.json")]
    if len(folders) != 1:
        raise CheckpointError(
            f"{MODELS} must hold one checkpoint and holds {len(folders)}: fetch the repository "
            "again, or choose a checkpoint with --model."
        )
    return folders[0]


def _local_folder(model: str) -> Path | None:
    """The folder that a --model flag names, None if it has the form of a hub id."""
    path = Path(os.path.expanduser(model))  # leaves a ~ of nobody as it is
    if path.is_dir():
        return path
    if model.count("/") == 1 and model[0] not in "/.~":
        return None
    raise CheckpointError(
        f"--model {quoted(model)} is neither a folder nor a hub id of the form owner/name."
    )


def _fetch(repo: str, commit: str, allow_bin: bool) -> None:
    """Tokenizer and weights into the hub's cache; .bin files only where there is nothing else."""
    folder = fetch_snapshot(
        repo, revision=commit, allow_patterns=[*_SMALL_FILES, *_patterns(SAFETENSORS)]
    )
    if allow_bin and not _listed(folder, SAFETENSORS):
        fetch_snapshot(repo, revision=commit, allow_patterns=_patterns(BIN))


def _patterns(weights: str) -> list[str]:
    stem, suffix = weights.split(".")
    return [weights, f"{stem}-*.{suffix}", f"{weights}.index.json"]


# -- its weights ------------------------------------------------------------------------------


def _weight_files(folder: Path, name: str, allow_bin: bool) -> list[Path]:
    """Safetensors before .bin."""
    files = _listed(folder, SAFETENSORS)
    if not files and not allow_bin:
        raise CheckpointError(
            f"{name} has no safetensors weights: if it has .bin files, --allow-bin loads them "
            "through torch's weights_only reader."
        )
    files = files or _listed(folder, BIN)
    if not files:
        raise CheckpointError(f"{name} has neither safetensors nor .bin weights.")
    return files


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
        suffix = weights.split(".")[1]
        if not names or not all(_SHARD.fullmatch(name) and name.endswith(suffix) for name in names):
            raise ValueError(f"no list of .{suffix} files beside it")
        if len(names) > SHARDS_MAX:
            raise ValueError(f"{len(names):,} files, and at most {SHARDS_MAX:,} are read")
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        raise broken_file(path, error) from error
    return [folder / name for name in names]
