"""What this card can be trusted with, found out at load: nothing runs that did not prove itself.

A decode step is first computed by torch's own operators. Then the kernel for int8 weights, the
other kernels and captured steps are added, one at a time, each if a small batch then gives what it
gave before; what does not is left out, and the log says why. A kernel may also hang its compiler or
break the device for the whole process, which nothing here could undo: so all this is done first in
a process of its own (trial.py), on one layer of the model's shapes. Knows steps and their logits;
no requests.
"""

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Collection, Iterator
from dataclasses import asdict, replace

import torch

from assistant.engine.device import QUANTISED, on_card
from assistant.engine.local.failures import is_out_of_memory
from assistant.engine.local.step import DecodeStep, Row
from assistant.engine.model import kernels
from assistant.engine.model.linear import Int8
from assistant.engine.model.model import Model
from assistant.engine.protocol import Request
from assistant.errors import CheckpointError
from assistant.paths import ROOT
from assistant.sampling import Sampling

log = logging.getLogger(__name__)

# How far logits may be off, as a share of the largest. It is not rounding that is looked for, which
# gives a tenth of this over StarCoder's layers: a wrong address, mask or scale gives about 1.
ALLOWED = {torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 1e-1}
DEADLINE_S = 180.0  # of a trial; compiling all kernels takes about 30 s on one core of a 2020s Xeon
_ROWS = 33  # one more than 32: a step of these is computed in the largest tiles that there are
_COUNTS = (33, 17, 1)
_COMMAND = [sys.executable, "-m", "assistant.engine.local.trial"]


def try_elsewhere(model: Model, deadline_s: float = DEADLINE_S) -> dict[str, str]:
    """Which of kernels.STEPS must not be tried here, and why: what failed in another process.

    That one has no say where it could not begin, since another program may have the memory, or the
    card may take one process only.
    """
    refused: dict[str, str] = {}
    for device in filter(on_card, model.places):
        refused |= _try_on(device, model, refused, deadline_s)
    return refused


def _try_on(
    device: torch.device, model: Model, refused: dict[str, str], deadline_s: float
) -> dict[str, str]:
    """What must not be tried on one of the cards, beside what is `refused` already."""
    there = steps(model)
    absent = [name for name in kernels.STEPS if name not in there]  # its one device could do more
    config = model.config
    shape = config.heads, config.head_dim, config.kv_heads
    refused = refused | {
        n: why for n, why in kernels.unusable_steps(device, *shape).items() if n in there
    }
    while not refused.keys() >= {*there} - {"graphs"}:
        found, end = _run(device, model, [*refused, *absent], deadline_s)
        refused |= {name: why for name, why in found.items() if why and name in there}
        open_ = [name for name in there if name not in (*found, *refused)]
        if end is None or not open_ or open_ == ["graphs"] and "kernels" in refused:
            return refused
        refused[open_[0]] = end
    return refused


def prove(decode_step: DecodeStep, most_rows: int, refused: dict[str, str]) -> None:
    """Set kernels.path, and capture steps of up to `most_rows`, as far as this card gives the right
    numbers. Overwrites slot 0 and the last one. Raises CheckpointError where the card itself broke,
    and what an allocator raises."""
    where = " + ".join(map(str, decode_step.model.places))
    left_out = refused | {
        name: why for name, why in attempts(decode_step, most_rows, refused) if why
    }
    if "kernels" in left_out:
        left_out.setdefault("graphs", "they need the kernels")
    if left_out:
        what = "; ".join(f"{kernels.STEPS[name]} ({why})" for name, why in left_out.items())
        log.warning("%s computes replies without %s: they take longer.", where, what)
    log.info("%s computes replies in %s, %s", where, decode_step.model.numerics, kernels.path)


def attempts(
    decode_step: DecodeStep, most_rows: int, refused: Collection[str] = ()
) -> Iterator[tuple[str, str | None]]:
    """Add to plain operations each of the STEPS that is not `refused`: (its name, why it was left
    out or None)."""
    kernels.path = kernels.Path()
    rows = _rows(decode_step, max(most_rows, _ROWS))
    expected = decode_step.compute(rows)[1].clone()
    for name in steps(decode_step.model):
        if name in refused or name == "graphs" and not kernels.path.kernels:
            continue
        kernels.path = replace(kernels.path, **{name: True})
        try:
            if name == "graphs":
                decode_step.capture(most_rows)
            counts = [count for count, *_ in reversed(decode_step.graphs)] or _COUNTS
            why = next(
                filter(None, (_wrong(decode_step, rows[:n], expected[:n]) for n in counts)), None
            )
        except Exception as error:  # a compiler's, a loader's, the driver's own
            # Leaving a recording that has failed raises an error of its own over the first one.
            cause = name == "graphs" and error.__context__ or error
            if is_out_of_memory(cause):
                raise cause from None
            why = describe(cause)
            for device in filter(on_card, decode_step.model.places):
                _check_alive(device, why)
        if why:
            kernels.path = replace(kernels.path, **{name: False})
            decode_step.graphs.clear()
        yield name, why


def steps(model: Model) -> list[str]:
    """The STEPS that there are for `model`, in the order in which they are added. A step over
    several devices cannot be captured: a graph is of one."""
    there = {"int8": isinstance(model.head, Int8), "graphs": len(model.places) == 1}
    return [name for name in kernels.STEPS if there.get(name, True)]


# -- one batch --------------------------------------------------------------------------------


def _rows(decode_step: DecodeStep, count: int) -> list[Row]:
    """Rows at both ends of the window, of the first slot, which draws greedily, and the last one,
    which does not; what stands before them is random."""
    cache, window = decode_step.cache, decode_step.model.window
    last = len(cache.ids) - 1
    for part in cache.kv:
        random = torch.Generator(part.device).manual_seed(0)
        for slot in {0, last}:
            part[:, slot].normal_(generator=random)
    decode_step.sampler.start(0, Request((0,), Sampling(temperature=0), 1))
    decode_step.sampler.start(last, Request((0,), Sampling(temperature=1, seed=0), 1))
    positions = [(n // 4, window - 1 - n // 4)[n // 2 % 2] % window for n in range(count)]
    return [
        Row((7 * position + 3) % decode_step.model.vocab_size, (0, last)[n % 2], position)
        for n, position in enumerate(positions)
    ]


def _wrong(decode_step: DecodeStep, rows: list[Row], expected: torch.Tensor) -> str | None:
    """What is wrong with a step of `rows`, whose logits should be `expected`, or None."""
    tokens, logits = decode_step.compute(rows)
    if not logits.isfinite().all():
        return "its logits are not finite"
    off = ((logits - expected).abs().max() / expected.abs().max()).item()
    allowed = ALLOWED[decode_step.model.dtype]
    if not off <= allowed:
        return f"its logits are off by {off:.0e} of the largest, and {allowed:.0e} is allowed"
    places = torch.tensor([(row.slot, row.position + 1) for row in rows], device=logits.device)
    if not tokens.equal(decode_step.sampler.sample(logits, *places.T)):
        return "it draws other tokens"
    return None


def describe(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:200]}"


def _check_alive(device: torch.device, why: str) -> None:
    """Raises CheckpointError where all that `device` is asked for from now on would fail, too."""
    try:
        torch.cuda.synchronize(device)
    except RuntimeError as error:
        raise CheckpointError(
            f"{device} failed while it was tried ({why}): start the program again, and if that "
            "does not help, use --device cpu."
        ) from error


# -- the other process ------------------------------------------------------------------------


def _run(
    device: torch.device, model: Model, refused: Collection[str], deadline_s: float
) -> tuple[dict[str, str | None], str | None]:
    """What a trial found, {name: why not or None}, and how it ended, None if as it should."""
    options = {
        "device": str(device),
        "dtype": str(model.dtype).removeprefix("torch."),
        "kind": model.numerics if model.numerics in QUANTISED else None,
        "config": asdict(model.config),
        "refused": list(refused),
        "deadline_s": deadline_s + 30,
    }
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    reading, writing = os.pipe()
    with open(reading), open(writing, "wb"):  # closed also where this process is killed
        process = subprocess.Popen(
            [*_COMMAND, json.dumps(options)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            stdin=reading,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,  # so that the compilers that it calls end with it
        )
        try:
            out, err = process.communicate(timeout=deadline_s)
            said = (err.strip().splitlines() or [""])[-1]
            end = f"its trial ended with exit code {process.returncode}"
            end += f": {said[:200]}" if said else ""
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            out, _ = process.communicate()
            end = f"compiling took longer than {deadline_s:g} s"
    lines = dict(filter(None, map(_read_line, out.splitlines())))
    found = {name: why for name, why in lines.items() if name in kernels.STEPS}
    no_say = "begun" not in lines or "no memory" in lines
    if no_say:
        why = lines.get("no memory", end)
        log.info("what the card can do could not be tried in another process: %s", why)
    return found, None if no_say or not process.returncode else end


def _read_line(line: str) -> tuple[str, str | None] | None:
    """What trial.report() wrote; None for a line that is a library's."""
    with contextlib.suppress(ValueError):
        match json.loads(line):
            case [str(name), str() | None as why]:
                return name, why
    return None
