"""Family: how one model_type is read, and what its files call each tensor."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from assistant.engine.checkpoint.families.fields import Fields
from assistant.engine.model.config import Config


class Names(NamedTuple):
    """What files call the tensors, without ".weight" and ".bias"; those of a layer stand behind
    `layer`, in which {n} is its number. Several are one above the other here."""

    prefix: str  # of all of them, but not in every file
    layer: str
    tokens: str
    final_norm: str
    norm_1: str
    qkv: tuple[str, ...]
    out: str
    norm_2: str
    up: tuple[str, ...]
    down: str
    positions: str = ""
    head: str = "lm_head"


@dataclass(frozen=True, slots=True)
class Family:
    """read: its Config; raises ValueError, and NotSupported for what cannot run here. transposed:
    whether files hold the layers' matrices as [in, out]."""

    read: Callable[[Fields], Config]
    names: Names
    transposed: bool = False
