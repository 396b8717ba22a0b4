"""What is there, and whether the program opens on it and answers."""

import contextlib
import platform
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import torch

from assistant.engine.card import find_card, why_no_kernels
from assistant.engine.device import choose_device
from benchmarks.gpu import inside
from benchmarks.gpu.place import Place, loading, opened
from benchmarks.report import Line

TRIAL_S = 60  # of the part's 90, so that a compiler that hangs is said before the part is ended


def look(place: Place) -> Iterator[Line]:
    """The card's name and what is known of it, the versions, and what Triton's kernels lack."""
    device = choose_device(place.device)
    found = [f"torch {torch.__version__}", f"Python {platform.python_version()}"]
    for package in ("transformers", "triton"):
        found.append(f"{package} {_version(package)}")
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        free, total = torch.cuda.mem_get_info(device)
        found += [
            f"driver {find_card(Path('/'))['driver'] or 'unknown'}",
            f"CUDA {torch.version.cuda}",
            f"capability {major}.{minor}",
            f"{free / 1e9:.1f} of {total / 1e9:.1f} GB free",
        ]
        found.append(f"for kernels {why_no_kernels(device) or 'nothing is lacking'}")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    yield Line(name, ", ".join(found))


def _version(package: str) -> str:
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version(package)
    return "none"


def card(place: Place) -> Iterator[Line]:
    """The embedded model opens and answers a question that it knows."""
    from assistant.chat.assistant import Assistant
    from assistant.conversation import Conversation
    from assistant.prompting.load import load_template
    from benchmarks.chats import TEMPLATE, examples
    from benchmarks.contenders import GREEDY

    started = time.perf_counter()
    with opened(loading(place, "embedded"), drafts=True, trial_s=TRIAL_S) as engine:
        yield Line("the embedded model opens", f"{time.perf_counter() - started:.1f} s")
        yield inside.computes_in(engine, "the embedded model")
        graphs = inside.graphs(engine)
        yield Line("steps are captured for", f"{', '.join(map(str, graphs)) or 'no'} rows")
        question = examples()[0]
        chat = Conversation().add_message(question)
        assistant = Assistant(engine, load_template(TEMPLATE))
        *_, done = assistant.reply(chat, sampling=GREEDY)
        word = question.removesuffix("?").split()[-2]  # What does itertools.accumulate do?
        text = " ".join(done.text.split())
        yield Line(question, f"{done.finished.new_tokens} tokens: {text[:120]}", word in done.text)
