"""The model that is trained: transformers' GPTBigCode, in a forward pass made for short rows.

Knows how rows attend to a preamble that they share: it is computed once for the batch, and its keys
and values, one head as multi-query attention has it, are read by all rows (attention.py). Knows no
loss and no data.
"""

import math

import torch
from transformers import GPTBigCodeConfig, GPTBigCodeForCausalLM

from training.attention import attend
from training.tokenizer import END

WINDOW = 8192
HEAD = 64


def new_model(layers, width, vocabulary):
    """StarCoder in small; dropout is off, since no text is seen often enough to need it."""
    config = GPTBigCodeConfig(
        vocab_size=vocabulary,
        n_positions=WINDOW,
        n_embd=width,
        n_layer=layers,
        n_head=width // HEAD,
        n_inner=4 * width,
        activation_function="gelu_pytorch_tanh",
        multi_query=True,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=END,
        eos_token_id=END,
    )
    model = GPTBigCodeForCausalLM(config)
    with torch.no_grad():
        model.transformer.wpe.weight += waves(WINDOW, width)
    return model


def waves(positions, width, scale=0.03):
    """Sines and cosines that position embeddings start with, (positions, width).

    Out of random numbers alone each of 8,192 positions would have to learn for itself which one is
    the next; with waves that step is the same everywhere, so that rare positions learn from common
    ones (arXiv:1706.03762, 3.5). scale: standard deviation; the random part has 0.02.
    """
    steps = torch.arange(positions)[:, None] * 10_000 ** (-torch.arange(0, width, 2) / width)
    return scale * math.sqrt(2) * torch.stack((steps.sin(), steps.cos()), dim=2).flatten(1)


def half_of(model):
    """How many layers are to know what a question is about, for those above to read."""
    return len(model.transformer.h) // 2


def states(model, ids, positions, preamble=None, layers=None, change=None):
    """What the first `layers` layers, or all, make of ids and positions (rows, tokens): the
    embedded rows and what stands behind each layer, a list of (rows, tokens, width).

    change: makes of what stands behind half of the layers what those above are given. preamble:
    (tokens,) ids that stand at the positions from 0 on and that every row sees. No gradient flows
    through it: what rows make of its keys and values is learned, not these.
    """
    transformer = model.transformer
    blocks = transformer.h[:layers]
    before = [None] * len(blocks)
    if preamble is not None:
        with torch.no_grad():
            before = _keys_and_values(transformer, blocks, preamble)
    x = transformer.wte(ids) + transformer.wpe(positions)
    found = [x]
    for number, (block, seen) in enumerate(zip(blocks, before, strict=True)):
        if change is not None and number == half_of(model):
            x = change(x)
        x, _ = _block(block, x, seen)
        found.append(x)
    return found


def hidden(model, ids, positions, preamble=None):
    """The last hidden states, (rows, tokens, width); arguments as of `states`."""
    return model.transformer.ln_f(states(model, ids, positions, preamble)[-1])


def _keys_and_values(transformer, blocks, preamble):
    """Per layer of `blocks`: keys and values of the preamble, (tokens, head) each."""
    x = transformer.wte(preamble[None])
    x = x + transformer.wpe(torch.arange(len(preamble), device=preamble.device))
    kept = []
    for block in blocks:
        x, (key, value) = _block(block, x, None)
        kept.append((key[0], value[0]))
    return kept


def _block(block, x, seen):
    """One layer on x (rows, tokens, width); also its keys and values (rows, tokens, head)."""
    rows, tokens, width = x.shape
    query, key, value = block.attn.c_attn(block.ln_1(x)).split((width, HEAD, HEAD), dim=-1)
    mixed = attend(query.reshape(rows, tokens, -1, HEAD), key, value, seen)
    x = x + block.attn.c_proj(mixed.reshape(rows, tokens, width))
    return x + block.mlp(block.ln_2(x)), (key, value)
