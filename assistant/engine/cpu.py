"""The decode pass with int8 weights on a CPU, written flat.

A token's products take about as long there as calling the operators does, so this one function
spells out what model.py composes of layers, with as few operators and Python calls as it can.
Knows the tensors of model.py's layers; no requests.
"""

import torch


def decode(layers, x, cache, slots, positions, heads, scale, gelu):
    """The last hidden states, float32 [rows, width], after single tokens.

    layers: model.py's, with Int8 linear layers. x: float32 [rows, width], tokens and positions
    embedded. cache: float32, see Model.kv_shape. slots, positions: lists of length rows. gelu: the
    `approximate` of F.gelu. A row's result does not depend on the others, to the last bit.
    """
    width = x.shape[1]
    head_dim = width // heads
    shape = (width,)
    product = torch.ops.aten._weight_int8pack_mm.default
    norm, bf16, activate = torch.layer_norm, torch.bfloat16, torch._C._nn.gelu
    places = list(enumerate(zip(slots, positions, strict=True)))
    for layer, kv in zip(layers, cache.unbind(0), strict=True):
        weight, bias, epsilon = layer.norm_1
        (values, scales), shift = layer.qkv
        qkv = product(norm(x, shape, weight, bias, epsilon).to(bf16), values, scales) + shift
        query, new = qkv.narrow(1, 0, width) * scale, qkv.narrow(1, width, 2 * head_dim)
        for row, (slot, position) in places:
            kv[slot, position] = new[row]
        mixed = []
        for row, (slot, position) in places:
            past = kv[slot].narrow(0, 0, position + 1)
            scores = torch.mm(query[row].view(heads, head_dim), past.narrow(1, 0, head_dim).t())
            mixed.append(torch.mm(scores.softmax(-1), past.narrow(1, head_dim, head_dim)))
        rows = (mixed[0] if len(mixed) == 1 else torch.cat(mixed)).view(-1, width)
        (values, scales), shift = layer.attn_out
        x = x + product(rows.to(bf16), values, scales) + shift
        weight, bias, epsilon = layer.norm_2
        (values, scales), shift = layer.up
        hidden = product(norm(x, shape, weight, bias, epsilon).to(bf16), values, scales) + shift
        (values, scales), shift = layer.down
        x = x + product(activate(hidden, approximate=gelu).to(bf16), values, scales) + shift
    return x
