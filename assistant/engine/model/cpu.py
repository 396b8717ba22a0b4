"""The decode pass with int8 weights on a CPU, written flat.

A token's products take about as long there as calling the operators does, so this one function
spells out what model.py composes of layers, with as few operators and Python calls as it can, and
all of them on bfloat16: torch's int8 product is fast for no other activations. Knows the tensors of
model.py's layers; no requests.
"""

import torch


def decode(layers, x, cache, slots, positions, heads, scale, gelu):
    """The last hidden states, bfloat16 [rows, width], after single tokens.

    layers: model.py's, with Int8 linear layers. x: bfloat16 [rows, width], tokens and positions
    embedded. cache: bfloat16, see Model.kv_shape. slots, positions: lists of length rows. gelu: the
    `approximate` of F.gelu. A row's result does not depend on the others, to the last bit, nor on
    the number of threads: the heads are two halves, each computed by one.
    """
    width = x.shape[1]
    head_dim, halves = width // heads, 2 - heads % 2
    shape = (width,)
    norm, gelu_ = torch.layer_norm, torch._C._nn.gelu_
    product = torch.ops.aten._weight_int8pack_mm.default
    attend = torch._C._nn.scaled_dot_product_attention
    places = list(zip(range(len(slots)), slots, positions, strict=True))
    for layer, kv in zip(layers, cache.unbind(0), strict=True):
        weight, bias, epsilon = layer.norm_1
        (values, scales), shift = layer.qkv
        qkv = product(norm(x, shape, weight, bias, epsilon), values, scales).add_(shift)
        for row, slot, position in places:
            kv[slot, position] = qkv[row, width:]
        mixed = []
        for row, slot, position in places:
            query = qkv[row, :width].view(1, halves, -1, head_dim)  # the heads as rows of two
            past = kv[slot, : position + 1].expand(1, halves, -1, -1)
            mixed.append(attend(query, past[..., :head_dim], past[..., head_dim:], scale=scale))
        rows = (mixed[0] if len(mixed) == 1 else torch.cat(mixed)).view(-1, width)
        (values, scales), shift = layer.attn_out
        x = product(rows, values, scales).add_(shift).add_(x)
        weight, bias, epsilon = layer.norm_2
        (values, scales), shift = layer.up
        hidden = product(norm(x, shape, weight, bias, epsilon), values, scales).add_(shift)
        (values, scales), shift = layer.down
        x = product(gelu_(hidden, approximate=gelu), values, scales).add_(shift).add_(x)
    return x
