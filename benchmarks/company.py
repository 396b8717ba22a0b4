"""Speed in company: ours and llama.cpp alone on the machine, and beside what else uses its cores.

    python -m benchmarks.company [--model embedded | 164m | FOLDER | FILE.gguf]
        [--old FOLDER] [--write]

Three parts. engine: decode and prefill, quiet and beside one and two busy processes; each contender
is a process of its own, which sleeps while the others are measured. page: the running program,
asked through its API and by a page in Chromium; see in_page.py. start: from the start to the first
token of a reply. All take turns in every repetition. --old: another checkout of this repository,
which takes its turns too, at least ten times.
"""

import argparse
import contextlib
import datetime
import random
import shutil
import subprocess
import tempfile
from functools import partial
from pathlib import Path

from benchmarks import in_page, machine, report, start
from benchmarks.apart import ROOT, Apart, open_each
from benchmarks.machine import undisturbed
from benchmarks.models import EMBEDDED, RANDOM, find_model
from benchmarks.samples import QUIET, Measure, Samples, in_turn
from benchmarks.sizes import read_config
from benchmarks.speed import random_prompts
from benchmarks.timeline import decode_rate
from tests.support.browser import NAMES
from tests.support.machines import company

BUSY = {QUIET: 0, "beside one busy process": 1, "beside two": 2}
DECODE = Measure("decode, tokens/s", more=True)
START = Measure("start to first token, s", digits=1)
OURS = "ours"
FIRST = 16  # tokens, by which is seen whether all take too long
PATIENCE_S = 20  # of decoding; if all would take longer, the first tokens count
PAIRS = 10  # repetitions at least, where two checkouts are compared


@contextlib.contextmanager
def beside(count: int):
    """So many processes that compute without end."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(company(True))
        yield


def engines(contenders: list[Apart], vocabulary: int, arguments) -> Samples:
    """Decode behind the shorter prompt, and prefill of both."""
    samples, chance = Samples(), random.Random(3)
    for contender in contenders:
        _speed(contender, vocabulary, chance, arguments)  # what is made once counts for nobody
    for repetition in range(arguments.repeat):
        for where, count in BUSY.items():
            with beside(count):
                for contender in in_turn(contenders, repetition):
                    took = undisturbed(_speed, contender, vocabulary, chance, arguments)
                    for measure, value in took.items():
                        samples.add(measure, contender.name, where, value)
    return samples


def _speed(contender, vocabulary, chance, arguments):
    """{Measure: value} of one contender."""
    lengths, tokens = arguments.prompts, arguments.new_tokens
    with contender.session(1, max(lengths) + FIRST + tokens) as run:
        short, long = (random_prompts(chance, 1, length, vocabulary)[0] for length in lengths)
        (reply,) = run([short], FIRST)
        rate, first_s = decode_rate([reply]), reply.times[0]
        if rate is None or tokens < rate * PATIENCE_S:
            rate = decode_rate(run([short + reply.ids], tokens))
        times = first_s, run([long], 1)[0].times[0]
    took = zip(lengths, times, strict=True)
    return {DECODE: rate} | {Measure(f"prefill of {n:,}, ms"): 1e3 * s for n, s in took}


def starts(flags: list, folders: dict[str, Path], repeat: int) -> Samples:
    samples = Samples()
    for repetition in range(repeat):
        for where, count in list(BUSY.items())[:2]:
            for name in in_turn(list(folders), repetition):
                with beside(count):
                    _, times = undisturbed(start.measure, flags, folders[name])
                samples.add(START, name, where, times[start.IN_ALL])
    return samples


def parts(arguments, folders, model, flags):
    """Samples, the companies in them and what was measured, of each part that can be had."""
    if "engine" in arguments.part:
        contenders = open_each(openers(model, arguments.dtype, folders))
        try:
            samples = engines(contenders, read_config(model).vocab_size, arguments)
        finally:
            for contender in contenders:
                contender.close()
        yield (
            samples,
            list(BUSY),
            "\n".join(f"- {one.name}: {one.about or 'untold'}" for one in contenders),
        )
    if "page" in arguments.part and not any(map(shutil.which, NAMES)):
        print("The page is not measured: no Chromium is installed.")
    elif "page" in arguments.part:
        samples = in_page.measure(flags, folders, arguments.repeat)
        yield samples, [QUIET, in_page.PAGE], "The running program, guessing as it always does:"
    if "start" in arguments.part:
        yield starts(flags, folders, arguments.repeat), list(BUSY)[:2], "Starts of the program:"


def openers(model, dtype, folders):
    """What opens each contender, by its name."""
    found = {
        name: partial(Apart.ours, model, dtype, 1, folder=folder)
        for name, folder in folders.items()
    }
    kind = "file" if dtype == "int4" else "q8_0"
    peer = partial(Apart.llama_cpp, model, "--type", kind)
    return found | {
        f"llama.cpp {kind}": peer,  # with as many threads as it chooses itself
        f"llama.cpp {kind}, 1 thread": partial(peer, "--threads", 1),
    }


def commit(folder: Path) -> str:
    """The name of the commit of the checkout in `folder`."""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip() or folder.name


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    every = ["engine", "page", "start"]
    add(
        "--model",
        default=EMBEDDED,
        help=f"{EMBEDDED}, {RANDOM} (random weights), a folder or a GGUF file",
    )
    add("--part", nargs="+", choices=every, default=every)
    add("--dtype", default="int8", help="of our engine")
    add("--repeat", type=int, default=5)
    add("--prompts", nargs=2, type=int, default=[512, 1000], help="tokens, the longer one last")
    add("--new-tokens", type=int, default=150)
    add("--old", type=Path, metavar="FOLDER", help="another checkout, to compare this one with")
    add("--write", action="store_true", help="into RESULTS.md")
    arguments = parser.parse_args(argv)
    folders, old = {OURS: ROOT}, None
    if arguments.old:
        old = f"{OURS} at {commit(arguments.old)}"
        folders[old] = arguments.old.resolve()
        arguments.repeat = max(arguments.repeat, PAIRS)
    before = machine.disturbed_runs
    texts = [f"{datetime.date.today()}, {start.machine()}; medians of {arguments.repeat}"]
    with tempfile.TemporaryDirectory() as temporary:
        model = find_model(arguments.model, temporary)
        flags = ["--model", EMBEDDED if arguments.model == EMBEDDED else model, "--accept-license"]
        flags += ["--max-new-tokens", max(arguments.new_tokens, 16)]
        for samples, companies, about in parts(arguments, folders, model, flags):
            found = [about, samples.table(companies)]
            if old:
                found.append(samples.versus(OURS, old))
            print("\n\n".join(found), end="\n\n", flush=True)
            texts += found
    disturbed = machine.disturbed_runs - before
    texts.append(f"{disturbed} measurements count though other processes disturbed them.")
    print(texts[-1])
    if arguments.write:
        report.write_section(f"In company: {model.name}", "\n\n".join(texts))


if __name__ == "__main__":
    main()
