"""The GPTBigCode forward pass in plain torch operations, over a static KV cache.

GPT-2's pre-norm decoder with learned positions and one K/V head (SantaCoder, arXiv:2301.03988;
StarCoder, arXiv:2305.06161); transformers' module of the same weights is the oracle in the tests.
Prefill and decode are two passes, each on the kind of weights that suits its number of rows. Knows
token ids, positions and slots of the cache; no requests.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from assistant.engine.device import send
from assistant.engine.model import attention, cpu, kernels
from assistant.engine.model.config import ACTIVATIONS, Config
from assistant.engine.model.int8 import Quantized, quantize
from assistant.engine.model.linear import DECODE_TILE, PREFILL_TILE, Dense, Int8, dense


class Chunk(NamedTuple):
    """ids: tokens to compute now. slot: where their KV goes. start: the first one's position."""

    ids: list[int]
    slot: int
    start: int


class Norm(NamedTuple):
    """LayerNorm. weight, bias: [width]."""

    weight: Tensor
    bias: Tensor
    epsilon: float

    def __call__(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.bias.shape, self.weight, self.bias, self.epsilon)

    def after(self, x: Tensor, delta: Tensor | None) -> tuple[Tensor, Tensor]:
        """x + delta, and its normalisation; on CUDA in one kernel."""
        if delta is None:
            return x, self(x)
        if kernels.on_kernels(x.device):
            return kernels.add_norm(x, delta, self.weight, self.bias, self.epsilon)
        x = x + delta
        return x, self(x)


@dataclass(frozen=True, slots=True)
class Layer:
    norm_1: Norm
    qkv: Dense | Int8
    attn_out: Dense | Int8
    norm_2: Norm
    up: Dense | Int8
    down: Dense | Int8


class Model:
    """A GPTBigCode model over `tensors`, named as in a checkpoint without "transformer.".

    int8: decode on a CPU with int8 weights beside these, and bfloat16 for all else but the linear
    weights of prefill, which get `prefill_dtype`. Tensors that are Quantized already (on CUDA) are
    used for prefill too.
    """

    def __init__(
        self,
        config: Config,
        tensors: Mapping[str, Tensor | Quantized],
        *,
        int8: bool = False,
        prefill_dtype: torch.dtype = torch.float32,
    ) -> None:
        self.window = config.n_positions
        self.heads = config.n_head
        self.width = config.n_embd
        self.head_dim = self.width // self.heads
        self.vocab_size = config.vocab_size
        self.scale = self.head_dim**-0.5 if config.scale_attn_weights else 1.0
        self.gelu = ACTIVATIONS[config.activation_function]

        def plain(name: str) -> Tensor:
            return cast(Tensor, tensors[name])

        def parts(name: str) -> tuple[Tensor | Quantized, Tensor]:
            return tensors[f"{name}.weight"], plain(f"{name}.bias")

        dtype = torch.bfloat16 if int8 else plain("wte.weight").dtype
        self.tokens = plain("wte.weight").to(dtype)  # [vocabulary, width]
        self.positions = plain("wpe.weight").to(dtype)  # [window, width]
        self.device, self.dtype = self.tokens.device, dtype

        def norm(name: str) -> Norm:
            weight, bias = plain(f"{name}.weight").to(dtype), plain(f"{name}.bias").to(dtype)
            return Norm(weight, bias, config.layer_norm_epsilon)

        def layers(linear: Callable[[str], Dense | Int8]) -> list[Layer]:
            return [
                Layer(
                    norm_1=norm(f"h.{n}.ln_1"),
                    qkv=linear(f"h.{n}.attn.c_attn"),
                    attn_out=linear(f"h.{n}.attn.c_proj"),
                    norm_2=norm(f"h.{n}.ln_2"),
                    up=linear(f"h.{n}.mlp.c_fc"),
                    down=linear(f"h.{n}.mlp.c_proj"),
                )
                for n in range(config.n_layer)
            ]

        tried: dict[object, bool] = {}

        def for_many_rows(name: str) -> Dense | Int8:
            weight, bias = parts(name)
            if isinstance(weight, Quantized):
                return Int8(weight, bias)
            if int8:
                weight, bias = weight.to(prefill_dtype), bias.to(prefill_dtype)
            return dense(weight, bias, PREFILL_TILE.get(weight.dtype, DECODE_TILE), tried)

        def for_few_rows(name: str) -> Dense | Int8:
            weight, bias = parts(name)
            return Int8(weight, bias) if isinstance(weight, Quantized) else few_rows(weight, bias)

        def few_rows(weight: Tensor, bias: Tensor | None = None) -> Dense:
            return dense(weight, bias, DECODE_TILE, tried)

        def eight_bit(name: str) -> Int8:
            return Int8(quantize(plain(f"{name}.weight")), plain(f"{name}.bias").to(dtype))

        self.final_norm = norm("ln_f")
        self.int8 = int8
        self.layers = layers(for_many_rows)
        self.decode_layers = layers(eight_bit if int8 else for_few_rows)
        head = tensors.get("lm_head.weight", self.tokens)
        if int8 and isinstance(head, Tensor):
            head = quantize(head)
        self.head = Int8(head, None) if isinstance(head, Quantized) else few_rows(head)

    @property
    def prefill_tile(self) -> int:
        """Rows of prefill that take as long as fewer of them do."""
        return max(getattr(self.layers[0].up, "tiles", ()), default=DECODE_TILE)

    @property
    def numerics(self) -> str:
        """The numbers that it computes in, as people read it."""
        up = self.layers[0].up
        if isinstance(up, Int8):
            return "int8"
        kind = str(up.weight.dtype).removeprefix("torch.")
        return f"int8, prefill in {kind}" if self.int8 else kind

    def kv_shape(self, slots: int, length: int) -> tuple[int, ...]:
        """Shape of a cache: [layers, slots, length, 2 x head_dim], keys then values."""
        return len(self.layers), slots, length, 2 * self.head_dim

    def prefill(self, chunks: Sequence[Chunk], cache: Tensor) -> Tensor:
        """The last layer's hidden states of all tokens in the chunks' order, [tokens, width];
        `logits` takes them further.

        chunks: of different slots. cache: `kv_shape(...)`; what stands before each chunk's start
        must be there already, the chunk's own KV is written. The linear layers see the tokens of
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

        def attend(query: Tensor, kv: Tensor) -> Tensor:
            parts = zip(chunks, spans, query.split(counts), strict=True)
            mixed = [attention.prefill(q, kv[c.slot, : s.stop], self.scale) for c, s, q in parts]
            return torch.cat(mixed)

        return self._forward(self.layers, ids, slots, positions, cache, attend)

    def decode(self, ids: Tensor, slots: Tensor, positions: Tensor, cache: Tensor) -> Tensor:
        """Logits after single tokens, [rows, vocabulary] in float32.

        ids, slots, positions: int64 [rows] on the device. Two rows may be of one slot, at different
        positions: the KV of all rows is written before any attends.
        """
        if self.int8:
            layers = cast(list[cpu.Layer], self.decode_layers)
            x = self.tokens[ids] + self.positions[positions]
            lists = slots.tolist(), positions.tolist()
            x = cpu.decode(layers, x, cache, *lists, self.heads, self.scale, self.gelu)
            return self.logits(x)
        places: tuple[attention.Places, attention.Places] = slots, positions
        if not kernels.on_kernels(self.device):
            places = slots.tolist(), positions.tolist()

        def attend(query: Tensor, kv: Tensor) -> Tensor:
            return attention.decode(query, kv, *places, self.scale)

        return self.logits(self._forward(self.decode_layers, ids, slots, positions, cache, attend))

    def logits(self, hidden: Tensor) -> Tensor:
        """[rows, vocabulary] in float32 for hidden states [rows, width]."""
        return self.head(self.final_norm(hidden)).float()

    def _forward(
        self,
        layers: Sequence[Layer],
        ids: Tensor,
        slots: Tensor,
        positions: Tensor,
        cache: Tensor,
        attend: Callable[[Tensor, Tensor], Tensor],
    ) -> Tensor:
        x, delta = self.tokens[ids] + self.positions[positions], None
        for layer, kv in zip(layers, cache, strict=True):
            x, rows = layer.norm_1.after(x, delta)
            query, new = layer.qkv(rows).split([self.width, 2 * self.head_dim], dim=-1)
            kv[slots, positions] = new
            mixed = attend(query.view(-1, self.heads, self.head_dim), kv)
            x, rows = layer.norm_2.after(x, layer.attn_out(mixed.reshape(-1, self.width)))
            delta = layer.down(F.gelu(layer.up(rows), approximate=self.gelu))
        return x if delta is None else x + delta
