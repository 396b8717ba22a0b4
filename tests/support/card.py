"""A card that is not there: what CUDA would refuse, seen on meta tensors and on a CPU.

Strict refuses what a step may not do while it is captured, or on its way; under `pretended` the CPU
is a card, whose kernels are plain operations and whose graphs are what was recorded.
"""

import contextlib
import json
import sys
from types import SimpleNamespace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from assistant.engine import device
from assistant.engine.model import kernels

# Operators whose result or its shape the host needs to know: it waits for the device.
SYNCHRONISING = {
    *("_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "masked_select"),
    *("unique_dim", "unique_consecutive", "_unique", "_unique2", "allclose"),
}
COPIES = {"_to_copy", "copy_", "_copy_from"}


def tensors_in(values):
    """The tensors among an operator's arguments or results, those in its lists as well."""
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from tensors_in(value)


def facts(tensor):
    return tensor.device.type, tensor.dtype, tuple(tensor.shape), tensor.stride()


_assign = torch.Tensor.__setitem__


def assign(tensor, place, value):
    """Tensor.__setitem__ as it is on CUDA alone, of which meta tensors know nothing: a Python value
    becomes a CPU tensor and is copied, which waits for the device."""
    assert isinstance(value, torch.Tensor), f"{value!r} is copied from the host, which waits for it"
    _assign(tensor, place, value)


class Strict(TorchDispatchMode):
    """Refuses what waits for the device, and copies between it and the host: all of them while
    capturing, else those that block. done: the operators so far and their tensors' facts."""

    def __init__(self, *, capturing=True):
        super().__init__()
        self.capturing, self.done = capturing, []

    @classmethod
    def _should_skip_dynamo(cls):
        return False  # nothing is compiled here, and importing torch's compiler takes seconds

    def __enter__(self):
        torch.Tensor.__setitem__ = assign
        return super().__enter__()

    def __exit__(self, *error):
        torch.Tensor.__setitem__ = _assign
        return super().__exit__(*error)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        assert name not in SYNCHRONISING, f"{func} waits for the device"
        if name in ("index", "index_put", "index_put_"):
            assert all(t.dtype is torch.long for t in tensors_in(args[1])), f"{func} by a mask"
        given = list(tensors_in([*args, *kwargs.values()]))
        from_meta = name == "copy_" and args[1].is_meta and not args[0].is_meta
        out = args[0] if from_meta else func(*args, **kwargs)  # there is nothing to copy
        behind = kwargs.get("non_blocking") or any(arg is True for arg in args)
        kinds = {t.device.type for t in [*given, *tensors_in([out])]}
        self.check(func, kinds, name in COPIES and behind)
        if name != "detach":  # modes within modes add some
            self.done.append((str(func), *map(facts, [*given, *tensors_in([out])])))
        return out

    def check(self, func, kinds, behind):
        if kinds <= {"meta"} or not self.capturing and kinds == {"cpu"}:
            return
        assert not self.capturing, f"{func} takes or makes a host tensor"
        assert behind, f"{func} waits for the device"


# -- the CPU as a card --------------------------------------------------------------------------


class Graph(Strict):
    """Stands for a CUDAGraph: records operators with the tensors that they took, and replays them
    into the tensors that they gave. What another graph of its pool gave is gone then, as on a card,
    where they share memory."""

    def __init__(self):
        super().__init__()
        self.recorded, self.pool, self.replayed = [], [], 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = super().__torch_dispatch__(func, types, args, kwargs)
        taken = {t.untyped_storage().data_ptr() for t in tensors_in(args)}
        new = [t.untyped_storage().data_ptr() not in taken for t in tensors_in([out])]
        self.recorded.append((func, args, kwargs or {}, out, new))
        return out

    def check(self, func, kinds, behind):
        made = func is torch.ops.aten.lift_fresh.default
        assert not made, f"{func}: a host tensor is made of Python values"
        if kinds != {"cpu"}:
            super().check(func, kinds, behind)

    def replay(self):
        self.replayed += 1
        for graph in self.pool:
            graph.lose()
        for func, args, kwargs, out, new in self.recorded:
            again = func(*args, **kwargs)
            results = zip(tensors_in([out]), tensors_in([again]), new, strict=True)
            for old, fresh, own in results:
                if own:
                    old.copy_(fresh)

    def lose(self):
        for *_, out, new in self.recorded:
            for tensor, own in zip(tensors_in([out]), new, strict=True):
                if own and tensor.is_floating_point():
                    tensor.fill_(torch.nan)


class Cuda:
    """Stands for what torch.cuda has of streams and graphs. streams: how many were made. graphs:
    what was recorded, each after a warm-up of the same operators and shapes."""

    NAMES = (
        *("Stream", "stream", "current_stream", "CUDAGraph", "graph", "graph_pool_handle"),
        *("Event", "synchronize", "set_device"),
    )
    CUDAGraph = Graph

    def __init__(self):
        self.streams, self.graphs, self.stack = 0, [], []

    def Stream(self):  # noqa: N802
        self.streams += 1
        return self.current_stream()

    def current_stream(self):
        return SimpleNamespace(wait_stream=lambda other: None)

    @contextlib.contextmanager
    def stream(self, stream):
        self.stack.append(stream)
        try:
            with Strict(capturing=False) as self.warm:
                yield
        finally:
            self.stack.pop()

    def graph_pool_handle(self):
        return []

    @contextlib.contextmanager
    def graph(self, graph, pool, stream):
        assert self.stack == [stream], "a warm-up on another stream leaves its workspace behind"
        warm = self.warm.done.copy()
        with graph:
            yield
        assert graph.done and graph.done == warm[-len(graph.done) :], "not what was warmed up"
        graph.pool = pool
        pool.append(graph)
        self.graphs.append(graph)

    def Event(self, blocking=False):  # noqa: N802
        assert blocking, "another kind keeps a core busy while it is waited for"
        return SimpleNamespace(record=lambda: None, synchronize=lambda: None)

    def synchronize(self, device=None):
        pass

    def set_device(self, device):
        pass


def decode_attention(query, kv, slots, positions, scale, kv_heads=1, sliding=None):
    """kernels.decode_attention of torch's operators that do not wait for the device."""
    rows, heads, dim = query.shape
    # [rows, K/V heads, window, head_dim] each
    key, value = kv[slots].float().view(rows, -1, 2, kv_heads, dim).permute(2, 0, 3, 1, 4)
    places = torch.arange(kv.shape[1], device=kv.device)
    beyond = places > positions[:, None]
    if sliding is not None:
        beyond |= places <= positions[:, None] - sliding
    beyond = beyond[:, None, None]
    groups = query.float().view(rows, kv_heads, -1, dim)
    scores = (groups @ key.transpose(2, 3) * scale).masked_fill(beyond, -torch.inf)
    known = value.masked_fill(beyond.transpose(2, 3), 0)  # NaN times a weight of 0 is NaN
    return (scores.softmax(-1) @ known).reshape(query.shape).to(query.dtype)


def int8_linear(x, weight, scale, bias):
    out = x.float() @ (weight.float() * scale.float()[:, None]).T
    return (out if bias is None else out + bias.float()).to(x.dtype)


def add_norm(x, delta, weight, bias, eps):
    total = x + delta
    if bias is None:
        return total, torch.rms_norm(total, weight.shape, weight, eps)
    return total, torch.layer_norm(total, weight.shape, weight, bias, eps)


KERNELS = {kernel.__name__: kernel for kernel in (decode_attention, int8_linear, add_norm)}


def int4_pack(pairs, inner):
    """PyTorch's cuda/int4mm.cu, matrix_to_m16n8k16_Bint4_layout. pairs: of integers, in bytes [out,
    in / 2]. Gives int32 [out / 8, in / (16 x inner), 32, inner / 2]."""
    out, half = pairs.shape
    tile, outer, lane, two = places(out // 8, half // (8 * inner), 32, inner // 2)
    first, row = (outer * inner + 2 * two) * 8 + lane % 4, tile * 8 + lane // 4
    words = torch.zeros_like(tile)
    for n in range(4):
        byte = pairs[row, first + 4 * n].long()
        words |= (byte & 15) << 16 + 4 * n | byte >> 4 << 4 * n
    return words.to(torch.int32)


def int4_product(x, values, group, grids):
    """A card's: of bfloat16 rows and weights, the integers found place by place."""
    assert x.dtype is grids.dtype is torch.bfloat16 and x.is_contiguous() and grids.is_contiguous()
    tiles, outers, _, half = values.shape
    width = x.shape[1]
    assert outers == width // (32 * half) and grids.shape == (width // group, 8 * tiles, 2)
    tile, outer, lane, two, place = places(*values.shape, 8)
    column = 32 * (outer * half + two) + 2 * (lane % 4) + 8 * (place % 4) + place // 4
    weight = torch.zeros(8 * tiles, width)
    words = values.long().unsqueeze(-1) & 0xFFFFFFFF
    weight[8 * tile + lane // 4, column] = ((words >> 4 * place & 15) - 8).float()
    scale, zero = grids.float().repeat_interleave(group, 0).unbind(-1)
    return (x.float() @ (weight.T * scale + zero).bfloat16().float()).bfloat16()


def places(*shape):
    return torch.meshgrid(*map(torch.arange, shape), indexing="ij")


@contextlib.contextmanager
def int4_operators():
    """torch's int4 operators of a card, which there are none of on a CPU, as plain operations."""
    library = torch.library.Library("aten", "IMPL")
    library.impl("_convert_weight_to_int4pack", int4_pack, "CPU")
    library.impl("_weight_int4pack_mm", int4_product, "CPU")
    try:
        yield
    finally:
        library._destroy()


@contextlib.contextmanager
def pretended(ask=None):
    """The CPU is a card inside, with the Cuda that is given. ask: what another process says of it,
    see proof.try_elsewhere; None for a real one."""
    for name in KERNELS:
        left = getattr(kernels, name)
        assert left.__module__ == kernels.__name__, "patch inside with a context of its own"
    cuda, matmul = Cuda(), torch.backends.cuda.matmul
    flags = (
        torch.backends.cuda.cudnn_sdp_enabled(),
        matmul.allow_bf16_reduced_precision_reduction,
        matmul.allow_fp16_reduced_precision_reduction,
    )
    with int4_operators(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(device, "_HOST", set())
        patch.setattr(kernels, "path", kernels.Path())
        patch.setattr(kernels, "unusable_steps", lambda *shape: {})
        for name, kernel in KERNELS.items():
            patch.setattr(kernels, name, kernel)
        for name in cuda.NAMES:
            patch.setattr(torch.cuda, name, getattr(cuda, name))
        if ask:
            patch.setattr("assistant.engine.local.engine.try_elsewhere", ask)
        yield cuda
    torch.backends.cuda.enable_cudnn_sdp(flags[0])
    matmul.allow_bf16_reduced_precision_reduction = flags[1]
    matmul.allow_fp16_reduced_precision_reduction = flags[2]


if __name__ == "__main__":  # stands for `python -m assistant.engine.local.trial`
    from assistant.engine.local import trial

    with pretended():
        trial.main(json.loads(sys.argv[1]))
