"""The GPTBigCode forward pass in plain torch operations, over a static KV cache.

GPT-2's pre-norm decoder with learned positions and one K/V head (SantaCoder, arXiv:2301.03988;
StarCoder, arXiv:2305.06161). The weights are the tensors of the loaded transformers module, which
is also the oracle in the tests. Knows chunks of token ids and slots of the cache; no requests.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F

from assistant.engine.attention import attend

# config.activation_function -> the `approximate` argument of F.gelu. The exact one is used at 15 B
# and 7 B, the tanh approximation (Hendrycks and Gimpel, arXiv:1606.08415) by the smaller ones.
ACTIVATIONS = {"gelu": "none", "gelu_pytorch_tanh": "tanh", "gelu_new": "tanh", "gelu_fast": "tanh"}


class Chunk(NamedTuple):
    """ids: tokens to compute now. slot: where their KV goes. start: the first one's position."""

    ids: list[int]
    slot: int
    start: int


class Linear(NamedTuple):
    """weight: [out, in]. bias: [out]."""

    weight: torch.Tensor
    bias: torch.Tensor

    def __call__(self, x):
        return F.linear(x, self.weight, self.bias)


@dataclass(frozen=True, slots=True)
class Layer:
    norm_1: Linear
    qkv: Linear
    attn_out: Linear
    norm_2: Linear
    up: Linear
    down: Linear


class Model:
    """The tensors of a GPTBigCodeForCausalLM, shared with it, and its forward pass."""

    def __init__(self, module):
        config, body = module.config, module.transformer
        self.window = config.n_positions
        self.heads = config.n_head
        self.width = config.n_embd
        self.head_dim = self.width // self.heads
        self.vocab_size = config.vocab_size
        self.scale = self.head_dim**-0.5 if config.scale_attn_weights else 1.0
        self.epsilon = config.layer_norm_epsilon
        self.gelu = ACTIVATIONS[config.activation_function]
        self.tokens = body.wte.weight  # [vocabulary, width]
        self.positions = body.wpe.weight  # [window, width]
        self.head = module.lm_head.weight  # [vocabulary, width], usually tied to self.tokens
        self.final_norm = _pair(body.ln_f)
        self.layers = [
            Layer(
                norm_1=_pair(block.ln_1),
                qkv=_pair(block.attn.c_attn),
                attn_out=_pair(block.attn.c_proj),
                norm_2=_pair(block.ln_2),
                up=_pair(block.mlp.c_fc),
                down=_pair(block.mlp.c_proj),
            )
            for block in body.h
        ]
        self.device, self.dtype = self.tokens.device, self.tokens.dtype

    def kv_shape(self, slots, length):
        """Shape of a cache: [layers, slots, length, 2 x head_dim], keys then values."""
        return len(self.layers), slots, length, 2 * self.head_dim

    def forward(self, chunks, cache):
        """Logits after each chunk's last token: [len(chunks), vocabulary] in float32.

        chunks: of different slots. cache: `kv_shape(...)`; what stands before each chunk's start
        must be there already, the chunk's own KV is written. The linear layers see the tokens of
        all chunks as one batch of rows; attention runs chunk by chunk.
        """
        ids = torch.tensor([i for c in chunks for i in c.ids], device=self.device)
        places = [range(c.start, c.start + len(c.ids)) for c in chunks]
        position = torch.tensor([p for place in places for p in place], device=self.device)
        rows = torch.tensor([c.slot for c in chunks for _ in c.ids], device=self.device)
        bounds = [len(c.ids) for c in chunks]
        x = self.tokens[ids] + self.positions[position]
        for layer, kv in zip(self.layers, cache, strict=True):
            query, new = layer.qkv(self._norm(x, layer.norm_1)).split(
                [self.width, 2 * self.head_dim], dim=-1
            )
            kv[rows, position] = new
            query = query.view(-1, self.heads, self.head_dim)
            mixed = [
                attend(q, *kv[c.slot, : place.stop].chunk(2, dim=-1), self.scale)
                for c, place, q in zip(chunks, places, query.split(bounds), strict=True)
            ]
            x = x + layer.attn_out(torch.cat(mixed).reshape(-1, self.width))
            hidden = F.gelu(layer.up(self._norm(x, layer.norm_2)), approximate=self.gelu)
            x = x + layer.down(hidden)
        last = torch.tensor(bounds, device=self.device).cumsum(0) - 1
        return F.linear(self._norm(x[last], self.final_norm), self.head).float()

    def _norm(self, x, norm):
        return F.layer_norm(x, (self.width,), norm.weight, norm.bias, self.epsilon)


def _pair(layer):
    return Linear(layer.weight, layer.bias)
