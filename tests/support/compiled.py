"""The kernels, compiled for cards that are not here.

python -m tests.support.compiled [CAPABILITY ...]

Prints what each takes of a card's registers and shared memory, for the shapes of every checkpoint
that is known; the exit code is 1 if one does not fit. Needs Triton and no card.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import torch

from assistant.engine.model import kernels

# Compute capability -> KiB of shared memory that a block may have. CUDA C++ Programming Guide,
# "Technical Specifications per Compute Capability", which also has the next two.
CARDS = {80: 163, 86: 99, 89: 99, 90: 227, 100: 227, 120: 99}
REGISTERS_A_THREAD, REGISTERS_A_BLOCK = 255, 65536
SPILLED = 64  # bytes of a thread's registers that may lie in memory instead
NAMES = {80: "A100", 86: "RTX 30, A10", 89: "RTX 40, L4", 90: "H100", 100: "B200", 120: "RTX 50"}

# Heads, width and vocabulary of the published config.json files; inner layers are four times as
# wide. granite-20b-code has StarCoder's and 52 layers, santacoder starcoderbase-1b's but for this.
MODELS = {
    "starcoder": (48, 6144, 49152),
    "starcoderbase-7b": (32, 4096, 49152),
    "starcoderbase-3b": (22, 2816, 49152),
    "starcoderbase-1b": (16, 2048, 49152),
    "santacoder": (16, 2048, 49280),
    "tiny_starcoder_py": (12, 768, 49152),
    "embedded": (4, 256, 4096),
}
ROWS = (1, 17, 64)  # each takes a larger tile
DTYPES = (torch.bfloat16, torch.float16, torch.float32)


@dataclass(frozen=True)
class Compiled:
    """shared: bytes of a block. registers, spilled (bytes): of a thread."""

    kernel: str
    shape: str
    dtype: str
    capability: int
    warps: int
    shared: int
    registers: int
    spilled: int

    @property
    def fits(self) -> bool:
        return (
            self.shared <= CARDS[self.capability] * 1024
            and self.registers <= REGISTERS_A_THREAD
            and self.registers * self.warps * 32 <= REGISTERS_A_BLOCK
            and self.spilled <= SPILLED
        )


class Driver:
    """A Triton driver for a card that is not there: it compiles for it and launches nothing."""

    def __init__(self, capability: int, folder: Path):
        self.capability, self.folder = capability, folder
        self.shape, self.dtype, self.warps = "", "", 0
        self.compiled: list[Compiled] = []
        shared = CARDS[capability] * 1024
        self.utils = SimpleNamespace(
            get_device_properties=lambda device: {"max_shared_mem": shared}, load_binary=self.load
        )

    def get_current_target(self):
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", self.capability, 32)

    def get_current_device(self):
        return 1000 + self.capability  # no real card's: Triton keeps its binaries by this number

    def get_current_stream(self, device):
        return 0

    def launcher_cls(self, source, metadata):
        self.warps = metadata.num_warps
        return lambda *arguments: None

    def load(self, name, binary, shared, device):
        path = self.folder / "kernel.cubin"
        path.write_bytes(binary)
        command = [_tool("cuobjdump"), "--dump-resource-usage", path]
        usage = subprocess.check_output(command, text=True)
        registers, stack = (int(re.search(rf"{what}:(\d+)", usage)[1]) for what in ("REG", "STACK"))
        facts = (self.warps, shared, registers, stack)
        self.compiled.append(Compiled(name, self.shape, self.dtype, self.capability, *facts))
        return "module", "function", registers, stack, 1024


def _tool(name: str) -> Path:
    import triton

    return Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / name


def shapes(models: tuple[str, ...], rows: tuple[int, ...]) -> list[tuple[str, tuple]]:
    """The wrapper's name and what it is called with: heads and their size; rows, outputs and inputs
    of a weight; a width. Each once."""
    found = {}
    for name in models:
        heads, width, vocabulary = MODELS[name]
        size = width // heads
        found["decode_attention", (heads, size)] = None
        found["add_norm", (width,)] = None
        linear = [(width + 2 * size, width), (width, width), (4 * width, width), (width, 4 * width)]
        for weight in (*linear, (vocabulary, width)):
            found |= {("int8_linear", (count, *weight)): None for count in rows}
    return list(found)


def call(name: str, shape: tuple, dtype: torch.dtype) -> None:
    def empty(*size, dtype=dtype):
        return torch.empty(size, dtype=dtype)

    if name == "decode_attention":
        heads, size = shape
        places = empty(2, dtype=torch.long)
        kernels.decode_attention(
            empty(2, heads, size), empty(2, 8192, 2 * size), places, places, 0.1
        )
    elif name == "int8_linear":
        rows, outs, inputs = shape
        weight, scale = empty(outs, inputs, dtype=torch.int8), empty(outs, dtype=torch.bfloat16)
        bias = empty(outs) if outs <= 4 * inputs else None  # the head has none
        kernels.int8_linear(empty(rows, inputs), weight, scale, bias)
    else:
        (width,) = shape
        kernels.add_norm(empty(2, width), empty(2, width), empty(width), empty(width), 1e-5)


@contextmanager
def driver_of(capability: int) -> Iterator[Driver]:
    """Triton compiles for that card inside, with a cache of its own."""
    from triton.runtime import driver

    real = driver._active
    before = {name: os.environ.pop(name, None) for name in ("TRITON_INTERPRET", "TRITON_CACHE_DIR")}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRITON_CACHE_DIR"] = folder
        driver._active = Driver(capability, Path(folder))
        try:
            yield driver._active
        finally:
            driver._active = real
            del os.environ["TRITON_CACHE_DIR"]
            os.environ.update({name: value for name, value in before.items() if value is not None})


def compile_all(
    capability: int,
    dtypes: tuple[torch.dtype, ...] = DTYPES,
    models: tuple[str, ...] = tuple(MODELS),
    rows: tuple[int, ...] = ROWS,
) -> list[Compiled]:
    """Each kernel that a card of that capability needs, once for shapes that share it."""
    with driver_of(capability) as card:
        for dtype in dtypes:
            card.dtype = str(dtype).removeprefix("torch.")
            for name, shape in shapes(models, rows):
                card.shape = " x ".join(map(str, shape))
                call(name, shape, dtype)
    return card.compiled


def table(compiled: list[Compiled]) -> str:
    """Markdown: a row for each kernel, shape and dtype, a column for each card."""
    cards = sorted({each.capability for each in compiled})
    rows = {}
    for each in compiled:
        facts = f"{each.shared / 1024:.1f} / {each.registers}" + " !" * (not each.fits)
        rows.setdefault((each.kernel, each.shape, each.dtype, each.warps), {})
        rows[each.kernel, each.shape, each.dtype, each.warps][each.capability] = facts
    head = ["kernel", "first shape", "dtype", "warps"]
    head += [f"sm_{card} ({NAMES[card]}, {CARDS[card]} KiB)" for card in cards]
    lines = [head, ["---"] * len(head)]
    lines += [
        [*map(str, row), *(facts.get(card, "") for card in cards)] for row, facts in rows.items()
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> int:
    chosen = [int(name) for name in sys.argv[1:]] or list(CARDS)
    compiled = []
    for capability in chosen:
        compiled += compile_all(capability)
        print(f"sm_{capability}: {len(compiled)} so far", file=sys.stderr, flush=True)
    print("KiB of shared memory / registers of a thread; ! does not fit\n")
    print(table(compiled))
    spilled = max(each.spilled for each in compiled)
    wrong = [each for each in compiled if not each.fits]
    print(f"\n{len(compiled)} kernels, {len(wrong)} do not fit, at most {spilled} bytes spilled")
    return min(len(wrong), 1)


if __name__ == "__main__":
    sys.exit(main())
