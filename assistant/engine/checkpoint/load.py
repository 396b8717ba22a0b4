"""Checks and loads a checkpoint: config, tokenizer and weights, of a folder or a GGUF file.

What cannot be served is refused before gigabytes are downloaded or read, but for a GGUF file, which
is one. Nothing in a checkpoint is ever executed: no code from the repository, no pickle. Where a
checkpoint is, find.py knows; reading tensors is read.py's.
"""

from dataclasses import dataclass

from assistant.engine.checkpoint.adapter import load_adapter
from assistant.engine.checkpoint.config import parse_config, read_config
from assistant.engine.checkpoint.find import (
    fetch_small,
    fetch_weights,
    find_checkpoint,
    weight_files,
)
from assistant.engine.checkpoint.gguf import open_gguf, sha256
from assistant.engine.checkpoint.gguf_tokenizer import tokenizer_from_gguf
from assistant.engine.checkpoint.placement import place_layers
from assistant.engine.checkpoint.read import read_tensors
from assistant.engine.checkpoint.weights import find_tensors
from assistant.engine.checkpoint.window import least_window, with_window
from assistant.engine.files import broken_file
from assistant.engine.model.config import Config
from assistant.engine.model.linear import Weight
from assistant.engine.tokenizer import BPETokenizer, load_tokenizer
from assistant.errors import CheckpointError
from assistant.settings import EMBEDDED, Settings


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A loaded model.

    name: what people read, a hub id or the name of a folder or file. revision: the commit, for one
    from the hub; of a GGUF file its SHA-256.
    embedded: the one that ships with the repository. tensors: by the names of shapes.py, on their
    devices in their dtype; the head only where it is not the embedding. dtype: float32, bfloat16 or
    float16, which the tensors have; int8; int4; or auto.

    Under int8 the linear weights are Quantized on CUDA, the head as well, tied or not. On a CPU
    they are dense, for prefill; what decode takes is the engine's to make. Under int4 they are
    Packed and the head is Quantized, on any device. auto: the tensors are
    float32, on a CPU with memory for int8 as well, and the engine chooses. adapter: the name of
    that which is merged into them.
    """

    name: str
    revision: str | None
    embedded: bool
    config: Config
    tensors: dict[str, Weight]
    tokenizer: BPETokenizer
    dtype: str
    adapter: str | None = None


def load_checkpoint(settings: Settings) -> Checkpoint:
    """What `settings` name. Raises CheckpointError and HubError."""
    place = find_checkpoint(settings)
    gguf = open_gguf(place.path) if place.is_gguf else None
    if gguf:
        try:
            config = parse_config(gguf.config, place.name)
        except ValueError as error:
            raise broken_file(place.path, error) from error
    else:
        config = read_config(place.path, place.name)
    adapter = load_adapter(settings.adapter, config, place.name) if settings.adapter else None
    least = least_window(settings.window, config, place.name)
    placement = place_layers(config, settings, place.name, least)
    config = with_window(config, placement.window, settings.window, place.name)
    if gguf:
        tokenizer = tokenizer_from_gguf(gguf.tokenizer, gguf.path)
    else:
        fetch_small(place)
        tokenizer = load_tokenizer(place.path)
    if len(tokenizer) > config.vocab_size:
        raise CheckpointError(
            f"The tokenizer of {place.name} has {len(tokenizer)} tokens and its model only "
            f"{config.vocab_size}: they do not belong together."
        )
    fetch_weights(place, settings.allow_bin)
    stored = find_tensors([gguf] if gguf else weight_files(place, settings.allow_bin), config)
    if adapter:
        stored = adapter.join(stored, config)
    tensors: dict[str, Weight] = {}
    for device, part in placement.split(stored).items():
        tensors |= read_tensors(part, device, placement.dtype, placement.kind, name=place.name)
    return Checkpoint(
        name=place.name,
        revision=sha256(gguf.path) if gguf else place.commit,
        embedded=settings.model == EMBEDDED,
        config=config,
        tensors=tensors,
        tokenizer=tokenizer,
        dtype=placement.choice,
        adapter=adapter.name if adapter else None,
    )
