"""A LoRA adapter (arXiv:2106.09685) in peft's files: found, checked, joined to a model's tensors.

All that it may change is known from the model's config, so that one that does not fit is refused
before the model's weights are fetched or read. They are merged while they are read, see read.py.
Refused are a LoRA on the embedding, and any change of a matrix that is embedding and head at once.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import safe_open

from assistant.engine.checkpoint.adapter_config import AdapterConfig, parse_adapter
from assistant.engine.checkpoint.families import FAMILIES
from assistant.engine.checkpoint.families.fields import NotSupported
from assistant.engine.checkpoint.shapes import EMBEDDING, HEAD, LINEAR, expected_shapes
from assistant.engine.checkpoint.weights import (
    Added,
    Piece,
    Stored,
    file_names,
    part_rows,
    read_header,
)
from assistant.engine.files import broken_file, look_at, read_json, to_delete
from assistant.engine.model.config import Config
from assistant.errors import CheckpointError
from assistant.hub import fetch_file
from assistant.text import one_line, quoted

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."  # of what peft calls the modules inside it
_KEY = re.compile(r"(.+)\.lora_([AB])\.weight")


@dataclass(frozen=True, slots=True)
class Adapter:
    """name: what people read, with the first digits of its commit or of its files' SHA-256. added,
    replaced: by the names of the model's files, without the prefix."""

    name: str
    added: dict[str, Added]
    replaced: dict[str, Stored]

    def join(self, pieces: Mapping[str, Piece], config: Config) -> dict[str, Piece]:
        """`pieces` of the model with what the adapter adds to them, or has in their place."""
        joined = {}
        for name, piece in pieces.items():
            stored = tuple(
                self.replaced.get(key, item)._replace(added=self.added.get(key))
                for key, item in zip(file_names(config, name), piece.stored, strict=True)
            )
            joined[name] = piece._replace(stored=stored)
        return joined


def load_adapter(named: str, config: Config, model: str) -> Adapter:
    """What --adapter names, for a model of that config and name. Its tensors stay in their file.
    Raises CheckpointError and HubError."""
    folder, name, commit = _find(named)
    raw = read_json(folder / CONFIG)
    if raw is None:
        raise CheckpointError(f"{one_line(folder)} is no adapter: it has no {CONFIG}.")
    if look_at(folder / WEIGHTS) is None:
        raise CheckpointError(f"The adapter {name} has no {WEIGHTS}, the only file that is read.")
    try:
        said = parse_adapter(raw, config.width, config.layers)
        added, replaced = _match(folder, name, said, config, model)
    except NotSupported as error:
        raise CheckpointError(
            f"The adapter {name} has {error}: choose another, or merge it into its model with "
            "peft's merge_and_unload() and give the folder of that with --model."
        ) from error
    except ValueError as error:
        raise broken_file(folder / CONFIG, error) from error
    if not _all_finite(folder / WEIGHTS, added, replaced):
        raise CheckpointError(
            f"The adapter {name} has values that are not finite or too large: choose another, or "
            f"delete {one_line(to_delete(folder / WEIGHTS))} and download it again."
        )
    return Adapter(f"{name} · {(commit or _digest(folder))[:12]}", added, replaced)


def _find(named: str) -> tuple[Path, str, str | None]:
    """(Folder, name, commit) of owner/name, owner/name@revision, or a folder, whose commit is
    None."""
    path = os.path.expanduser(named)
    if os.path.isdir(path):  # False for what no path can be
        return Path(path), one_line(Path(path).resolve().name), None
    repo, _, revision = named.partition("@")
    if repo.count("/") != 1 or repo[0] in "/.~":
        raise CheckpointError(
            f"--adapter {quoted(named)} is neither a folder nor a hub id of the form owner/name or "
            "owner/name@revision."
        )
    folder = fetch_file(repo, CONFIG, revision=revision or None).parent
    fetch_file(repo, WEIGHTS, revision=folder.name)  # the cache names it by the commit
    return folder, repo, folder.name


def _digest(folder: Path) -> str:
    """SHA-256 of both files, one behind the other, as hexadecimal digits."""
    try:
        digest = hashlib.sha256((folder / CONFIG).read_bytes())
        with (folder / WEIGHTS).open("rb") as file:
            return hashlib.file_digest(file, lambda: digest).hexdigest()
    except OSError as error:
        raise broken_file(folder / WEIGHTS, error) from error


# -- its tensors ------------------------------------------------------------------------------


class _Place(NamedTuple):
    """A tensor of the model's files. key: its name there, without the prefix. shape: of a matrix
    [out, in]; stored: as the files have it. linear: whether a LoRA may be added to it. layer: None
    outside of the layers."""

    key: str
    shape: tuple[int, ...]
    stored: tuple[int, ...]
    linear: bool
    layer: int | None


def _places(config: Config) -> dict[str, _Place]:
    """All that an adapter may change, by transformers' names."""
    family = FAMILIES[config.family]
    places = {}
    for name, shape in expected_shapes(config).items():
        if name == EMBEDDING and config.tied:
            continue
        keys = file_names(config, name)
        linear = name.endswith(LINEAR)
        layer = int(name.split(".")[1]) if name.startswith("layers.") else None
        for key, rows in zip(keys, part_rows(config, name, shape[0], len(keys)), strict=True):
            own = rows, *shape[1:]
            stored = own[::-1] if linear and family.transposed else own
            full = key if name == HEAD else family.names.prefix + key
            places[full] = _Place(key, own, stored, linear or name == HEAD, layer)
    return places


def _match(
    folder: Path, name: str, said: AdapterConfig, config: Config, model: str
) -> tuple[dict[str, Added], dict[str, Stored]]:
    """(added, replaced) of an Adapter, from the header. Raises CheckpointError and NotSupported."""
    places = _places(config)
    shared = {FAMILIES[config.family].names.prefix + file_names(config, EMBEDDING)[0]}
    shared |= {*file_names(config, HEAD)}
    halves: dict[str, dict[str, Stored]] = {}
    added, replaced, whole_ones, wrong = {}, {}, set(), []
    for item in read_header(folder / WEIGHTS):
        inside = item.key.removeprefix(_PREFIX)
        if ".lora_embedding_" in inside:
            raise NotSupported("a LoRA of an embedding, which is not supported")
        half = _KEY.fullmatch(inside)
        whole = f"{half[1]}.weight" if half else inside.replace(".base_layer.", ".")
        if config.tied and whole in shared:
            raise NotSupported(
                "another embedding, or a LoRA of the head, and in this model both are one matrix"
            )
        place = places.get(whole)
        if not place or not item.floating or inside == item.key:
            wrong.append(inside)
        elif half:
            halves.setdefault(whole, {})[half[2]] = item
        elif item.shape == place.stored:
            replaced[place.key] = item
            whole_ones.add(whole)
        else:
            wrong.append(inside)
    for whole, pair in halves.items():
        place, module = places[whole], whole.removesuffix(".weight")
        rank = said.rank(module)
        shapes = {"A": (rank, *place.shape[1:]), "B": (place.shape[0], rank)}
        fits = {half: item.shape for half, item in pair.items()} == shapes
        if place.linear and fits and said.targets(module, place.layer):
            added[place.key] = Added(pair["A"], pair["B"], said.scale(module))
        else:
            wrong += [item.key.removeprefix(_PREFIX) for item in pair.values()]
    for saved in said.saved:
        its = {whole for whole in places if f".{saved}." in f".{whole}"}
        if not its or its - whole_ones:
            raise NotSupported(f"{quoted(saved)} in modules_to_save, and no tensors for it")
    if not (added or replaced or wrong):
        raise CheckpointError(f"The adapter {name} has no tensors: choose another.")
    if wrong:
        raise CheckpointError(
            f"The adapter {name} does not fit {model} ({len(wrong)} tensors have no place in it, "
            f"or another shape or kind of number than {CONFIG} says, such as "
            f"{quoted(min(wrong))}): choose the model that it was made for."
        )
    return added, replaced


def _all_finite(path: Path, added: Mapping[str, Added], replaced: Mapping[str, Stored]) -> bool:
    """Whether all numbers are, and no product of them can pass float32."""
    most = torch.finfo(torch.float32).max
    with safe_open(path, framework="pt") as file:
        for down, up, scale in added.values():
            peaks = [float(file.get_tensor(half.key).float().abs().max()) for half in (down, up)]
            sums = peaks[0] * peaks[1] * down.shape[0] * scale
            if not all(peak <= most for peak in (*peaks, sums)):  # none is above, or no number
                return False
        return all(file.get_tensor(item.key).float().isfinite().all() for item in replaced.values())
