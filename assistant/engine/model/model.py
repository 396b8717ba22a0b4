"""The forward pass of a decoder out of parts, in plain torch operations, over a static KV cache.

Embedding, then layers of norm, attention, norm and MLP, each added to what came before it, then a
norm and the head; which parts those are is the Config's to say. transformers' modules of the same
weights are the oracle in the tests. Prefill and decode are two passes, each on the kind of weights
that suits its number of rows. Knows token ids, positions and slots of the cache; no requests.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, TypeAlias, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from assistant.engine.device import on_card, send
from assistant.engine.model import attention, cpu, kernels
from assistant.engine.model.config import Activation, Config
from assistant.engine.model.int4 import Int4
from assistant.engine.model.int8 import quantize
from assistant.engine.model.layers import Layer, Part, Rows, in_parts, told
from assistant.engine.model.linear import (
    DECODE_TILE,
    PREFILL_TILE,
    Int8,
    Linear,
    Weight,
    dense,
    small,
)
from assistant.engine.model.norm import Norm
from assistant.engine.model.rotate import Turns, turned

_ACTIVATE: dict[Activation, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "silu": F.silu,
}

# For each part of the model [its layers, slots, length, 2 x kv_heads, head_dim], keys then values.
KV: TypeAlias = Sequence[Tensor]


class Chunk(NamedTuple):
    """ids: tokens to compute now. slot: where their KV goes. start: the first one's position."""

    ids: list[int]
    slot: int
    start: int


class Model:
    """A decoder over `tensors`, named as checkpoint/shapes.py says.

    int8: decode on a CPU with int8 weights beside these, and bfloat16 for all else but the linear
    weights of prefill, which get `prefill_dtype`. Tensors that are Quantized already (on CUDA) or
    Packed are used for prefill too.
    """

    def __init__(
        self,
        config: Config,
        tensors: Mapping[str, Weight],
        *,
        int8: bool = False,
        prefill_dtype: torch.dtype = torch.float32,
    ) -> None:
        self.config = config
        self.window, self.vocab_size = config.window, config.vocab_size
        self._queries = config.heads * config.head_dim
        self._activate = _ACTIVATE[config.activation]

        def parts(name: str) -> tuple[Weight, Tensor | None]:
            return tensors[f"{name}.weight"], cast(Tensor | None, tensors.get(f"{name}.bias"))

        dtype = torch.bfloat16 if int8 else _plain(tensors, "tokens.weight").dtype
        self.tokens = _plain(tensors, "tokens.weight").to(dtype)  # [vocabulary, width]
        self.device, self.dtype = self.tokens.device, dtype
        self.turns = self.positions = None
        if config.rope:
            self.turns = Turns(config.rope, self.device, dtype)
        else:
            self.positions = _plain(tensors, "positions.weight").to(dtype)  # [positions, width]

        def norm(name: str) -> Norm:
            weight, bias = _plain(tensors, f"{name}.weight"), tensors.get(f"{name}.bias")
            bias = None if bias is None else cast(Tensor, bias).to(dtype)
            return Norm(weight.to(dtype), bias, config.epsilon)

        def layers(linear: Callable[[str], Linear]) -> list[Layer]:
            scale = config.head_dim**-0.5 if config.scaled else 1.0
            return [
                Layer(
                    norm_1=norm(f"layers.{n}.norm_1"),
                    qkv=linear(f"layers.{n}.qkv"),
                    out=linear(f"layers.{n}.out"),
                    norm_2=norm(f"layers.{n}.norm_2"),
                    up=linear(f"layers.{n}.up"),
                    down=linear(f"layers.{n}.down"),
                    attention=attention.Shape(
                        scale, config.kv_heads, config.sliding if n >= config.sliding_from else None
                    ),
                )
                for n in range(config.layers)
            ]

        tried: dict[object, bool] = {}

        def for_many_rows(name: str) -> Linear:
            weight, bias = parts(name)
            if not isinstance(weight, Tensor):
                return small(weight, bias)
            if int8:
                weight = weight.to(prefill_dtype)
                bias = None if bias is None else bias.to(prefill_dtype)
            return dense(weight, bias, PREFILL_TILE.get(weight.dtype, DECODE_TILE), tried)

        def for_few_rows(name: str) -> Linear:
            return few_rows(*parts(name))

        def few_rows(weight: Weight, bias: Tensor | None = None) -> Linear:
            if isinstance(weight, Tensor):
                return dense(weight, bias, DECODE_TILE, tried)
            return small(weight, bias)

        def eight_bit(name: str) -> Int8:
            weight, bias = parts(name)
            return Int8(quantize(cast(Tensor, weight)), None if bias is None else bias.to(dtype))

        self.final_norm = norm("final_norm")
        self.int8 = int8
        self.parts = [*in_parts(layers(for_many_rows), layers(eight_bit if int8 else for_few_rows))]
        # That of the embedding, the head and what is drawn, then the others.
        self.places = [*dict.fromkeys([self.device, *(part.device for part in self.parts)])]
        # Whether a step has been computed when it returns, since a part of it is on a CPU.
        self.waits = not all(map(on_card, self.places))
        head = tensors.get("head.weight", self.tokens)
        self.head = few_rows(quantize(head) if int8 and isinstance(head, Tensor) else head)

    @property
    def prefill_tile(self) -> int:
        """Rows of prefill that take as long as fewer of them do, in any part."""
        tiles = (getattr(part.prefill[0].up, "tiles", ()) for part in self.parts)
        return max(sum(tiles, ()), default=DECODE_TILE)

    @property
    def numerics(self) -> str:
        """The numbers that it computes in, as people read it."""
        up = self.parts[0].prefill[0].up
        if isinstance(up, Int8):
            return "int8"
        if isinstance(up, Int4):
            return "int4"
        kind = str(up.weight.dtype).removeprefix("torch.")
        return f"int8, prefill in {kind}" if self.int8 else kind

    @property
    def place(self) -> str:
        """Its places, as people read them: of several, how many layers are where."""
        return told(self.places, self.parts)

    def new_kv(self, slots: int, length: int) -> list[Tensor]:
        """A KV of that size, with anything in it."""
        config, found = self.config, []
        for part in self.parts:
            # A CPU reads what one head has at a stretch, the kernels what one position has.
            by_head = config.kv_heads > 1 and not on_card(part.device)
            heads = 2 * config.kv_heads
            inner = (heads, length) if by_head else (length, heads)
            kv = torch.empty(
                (len(part.decode), slots, *inner, config.head_dim),
                dtype=self.dtype,
                device=part.device,
            )
            found.append(kv.transpose(2, 3) if by_head else kv)
        return found

    def prefill(self, chunks: Sequence[Chunk], cache: KV) -> Tensor:
        """The last layer's hidden states of all tokens in the chunks' order, [tokens, width];
        `logits` takes them further.

        chunks: of different slots. cache: what stands before each chunk's start must be there
        already, the chunk's own KV is written. The linear layers see the tokens of
        all chunks as one batch of rows; attention runs chunk by chunk.
        """
        spans = [range(c.start, c.start + len(c.ids)) for c in chunks]
        counts = [len(span) for span in spans]
        rows = [
            (i, c.slot, p)
            for c, span in zip(chunks, spans, strict=True)
            for i, p in zip(c.ids, span, strict=True)
        ]
        ids, slots, positions = send(rows, self.device).T

        def attend(query: Tensor, kv: Tensor, shape: attention.Shape) -> Tensor:
            parts = zip(chunks, spans, query.split(counts), strict=True)
            mixed = [attention.prefill(q, kv[c.slot, : s.stop], shape) for c, s, q in parts]
            return torch.cat(mixed)

        def compute(part: Part, rows: Rows, kv: Tensor) -> Tensor:
            return self._layers(part.prefill, rows, kv, attend)

        return self._forward(ids, slots, positions, cache, compute)

    def decode(self, ids: Tensor, slots: Tensor, positions: Tensor, cache: KV) -> Tensor:
        """Logits after single tokens, [rows, vocabulary] in float32.

        ids, slots, positions: int64 [rows] on the device. Two rows may be of one slot, at different
        positions: the KV of all rows is written before any attends.
        """

        def compute(part: Part, rows: Rows, kv: Tensor) -> Tensor:
            if part.flat:
                return self._decode_flat(part.flat, rows, kv)
            places: tuple[attention.Places, attention.Places] = rows.slots, rows.positions
            if not kernels.on_kernels(part.device):
                places = rows.slots.tolist(), rows.positions.tolist()

            def attend(query: Tensor, kv: Tensor, shape: attention.Shape) -> Tensor:
                return attention.decode(query, kv, *places, shape)

            return self._layers(part.decode, rows, kv, attend)

        return self.logits(self._forward(ids, slots, positions, cache, compute))

    def logits(self, hidden: Tensor) -> Tensor:
        """[rows, vocabulary] in float32 for hidden states [rows, width]."""
        return self.head(self.final_norm(hidden)).float()

    def _forward(
        self,
        ids: Tensor,
        slots: Tensor,
        positions: Tensor,
        cache: KV,
        compute: Callable[[Part, Rows, Tensor], Tensor],
    ) -> Tensor:
        """The last layer's hidden states, where `ids` are; `compute` gives those of one part."""
        x = self.tokens[ids]
        if self.positions is not None:
            x = x + self.positions[positions]
        rows = Rows(x, slots, positions, self.turns.at(positions) if self.turns else None)
        for part, kv in zip(self.parts, cache, strict=True):
            rows = rows.to(part.device)
            rows = rows._replace(x=compute(part, rows, kv))
        return rows.x.to(ids.device)

    def _decode_flat(self, layers: Sequence[cpu.Layer], rows: Rows, cache: Tensor) -> Tensor:
        config = self.config
        return cpu.decode(
            layers,
            rows.x,
            cache,
            rows.slots.tolist(),
            rows.positions.tolist(),
            config.heads,
            config.head_dim,
            config.activation,
            config.gated,
            rows.turn,
        )

    def _layers(
        self,
        layers: Sequence[Layer],
        rows: Rows,
        cache: Tensor,
        attend: Callable[[Tensor, Tensor, attention.Shape], Tensor],
    ) -> Tensor:
        """What `layers` of one part make of `rows`. cache: that part's."""
        config, delta = self.config, None
        x, slots, positions, turn = rows
        for layer, kv in zip(layers, cache, strict=True):
            x, normed = layer.norm_1.after(x, delta)
            query, new = layer.qkv(normed).split([self._queries, config.kv_width], dim=-1)
            query = query.view(-1, config.heads, config.head_dim)
            if turn:
                query = turned(query, turn)
                key, value = new.chunk(2, dim=-1)
                key = turned(key.view(-1, config.kv_heads, config.head_dim), turn)
                new = torch.cat((key.flatten(1), value), dim=-1)
            kv[slots, positions] = new.view(-1, 2 * config.kv_heads, config.head_dim)
            mixed = attend(query, kv, layer.attention)
            x, normed = layer.norm_2.after(x, layer.out(mixed.reshape(-1, self._queries)))
            delta = layer.down(self._mlp_inner(layer.up(normed)))
        return x if delta is None else x + delta

    def _mlp_inner(self, hidden: Tensor) -> Tensor:
        """What `up` gave, activated."""
        if not self.config.gated:
            return self._activate(hidden)
        gate, hidden = hidden.chunk(2, dim=-1)
        return self._activate(gate) * hidden


def _plain(tensors: Mapping[str, Weight], name: str) -> Tensor:
    return cast(Tensor, tensors[name])
