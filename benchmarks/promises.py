"""What the engine promises, each line beside what was measured in this run.

Ratios are taken between contenders that ran in turn. Lines about text are measured on the embedded
checkpoint only: random weights write none.
"""

import contextlib
import random
import sys
import threading
import time

from assistant.engine.protocol import Request
from benchmarks import quality, report, speed
from benchmarks.apart import Apart
from benchmarks.chats import asked_again
from benchmarks.contenders import GREEDY, Ours, follow, open_ours
from benchmarks.machine import undisturbed
from benchmarks.report import Line
from benchmarks.timeline import Reply, first_token, gaps, median, percentile

SLOTS = 8
OTHERS, CONTEXT, NEWCOMER = 7, 512, 4000  # chats that decode, their context, the prompt admitted
HISTORY = 2000  # tokens before a second turn
SETTLE_S = 0.5  # how long the others decode undisturbed before that


def measure(model, contenders, config, arguments):
    """The table of promises as Markdown."""
    dtype, vocabulary = arguments.dtype[0], config.vocab_size
    ours = Ours(open_ours(model, dtype, slots=SLOTS), dtype)
    peers = {c.name: c for c in contenders}
    lines = Told()
    try:
        rivals = [peers[name] for name in ("generate", "llama.cpp q8_0") if name in peers]
        lines += same_model([c for c in contenders if c.name != ours.name], vocabulary)
        lines += ratios(ours, rivals, vocabulary, arguments.repeat)
        lines += admission(ours.engine, vocabulary, arguments.repeat, NEWCOMER)
        if arguments.model == "embedded":
            if "llama.cpp q8_0" in peers:
                with contextlib.closing(Apart.ours(model, dtype, SLOTS, "drafts")) as drafting:
                    lines += [drafts(ours, drafting, peers["llama.cpp q8_0"])]
            lines += quality.int8(model)
            with contextlib.closing(open_ours(model, dtype, slots=SLOTS)) as fresh:
                lines += quality.receipts(fresh)  # with nothing that is a prompt's prefix
    finally:
        ours.close()
    return report.promises(lines)


class Told(list):
    """Lines, each said on stderr as soon as it is measured."""

    def __iadd__(self, lines):
        for line in lines:
            print(f"{line.promise}: {line.measured}", file=sys.stderr, flush=True)
            self.append(line)
        return self


def same_model(contenders, vocabulary, length=100):
    """Whether the contenders compute the same model: how long they agree with `generate`."""
    prompt = speed.random_prompts(random.Random(2), 1, CONTEXT, vocabulary)[0]
    texts = {c.name: _run(c, prompt, length).ids for c in contenders}
    for name, text in texts.items():
        if name != "generate":
            pairs = zip(text, texts["generate"], strict=True)
            same = next((at for at, (a, b) in enumerate(pairs) if a != b), length)
            yield Line(f"greedy ids of {name} equal those of generate", f"{same} of {length}")


def _run(contender, prompt, length):
    with contender.session(1, len(prompt) + length) as run:
        return run([prompt], length)[0]


def ratios(ours, rivals, vocabulary, repeat):
    """Batch 1 beside the peers, eight chats beside one, a chat's second turn beside its first."""
    alone, together, long = (1, CONTEXT), (SLOTS, CONTEXT), (1, HISTORY)
    options = {"repeat": repeat, "new_tokens": 128, "vocabulary": vocabulary, "say": lambda _: None}
    table = speed.measure([ours, *rivals], [alone, long], **options)
    table |= speed.measure([ours], [together], **options)
    rate = median(table[alone][ours.name].decode)
    for name, least in (("generate", 4), ("llama.cpp q8_0", 0.95)):
        promise = f"decode, one request: at least {least} times {name}"
        if name in table[alone]:
            other = median(table[alone][name].decode)
            measured = f"{rate / other:.2f} ({rate:,.0f} against {other:,.0f} tokens/s)"
            yield Line(promise, measured, rate >= least * other)
        else:
            yield Line(promise, "not measured")
    times = table[long][ours.name]
    cold, warm = median(times.cold), median(times.warm)
    yield Line(
        f"second turn behind {HISTORY:,} tokens: first token in at most 1/15 of cold",
        f"1/{cold / warm:.1f} ({1e3 * warm:.1f} against {1e3 * cold:.0f} ms)",
        warm <= cold / 15,
    )
    many = median(table[together][ours.name].decode)
    yield Line(
        f"{SLOTS} chats at once: at least 2.2 times the tokens/s of one",
        f"{many / rate:.2f} ({many:,.0f} against {rate:,.0f})",
        many >= 2.2 * rate,
    )


class Reader(threading.Thread):
    """Follows a stream of the engine beside others; `reply` grows while it does."""

    def __init__(self, stream, started):
        super().__init__()
        self.stream, self.started, self.reply = stream, started, Reply([], [])
        self.start()

    def run(self):
        follow(self.stream, self.started, self.reply)


def admit(engine, prompts, newcomer):
    """`prompts` decode; then `newcomer` comes. Gives the others' gaps before, those until the
    newcomer's first token, and the seconds until that."""
    longest = engine.window - max(map(len, prompts))
    started = time.perf_counter()
    others = [Reader(engine.generate(Request(tuple(p), GREEDY, longest)), started) for p in prompts]
    try:
        while not all(reader.reply.times for reader in others):
            time.sleep(0.05)
        settled = time.perf_counter() - started
        time.sleep(SETTLE_S)
        came = time.perf_counter() - started
        stream = engine.generate(Request(tuple(newcomer), GREEDY, 1))
        served = follow(stream, started)[0].times[0]
        time.sleep(0.1)
    finally:
        for reader in others:
            reader.stream.close()
        for reader in others:
            reader.join()
    replies = [reader.reply for reader in others]
    return gaps(replies, settled, came), gaps(replies, came, served), served - came


def admission(engine, vocabulary, repeat, length, others=OTHERS):
    """What the admission of a prompt of `length` tokens costs the others, and what they cost it."""
    chance = random.Random(1)
    before, during, company, alone = [], [], [], []

    def measure_both():
        prompts = speed.random_prompts(chance, others, CONTEXT, vocabulary)
        newcomer, same = speed.random_prompts(chance, 2, length, vocabulary)
        gaps_and_seconds = admit(engine, prompts, newcomer)
        stream = engine.generate(Request(tuple(same), GREEDY, 1))
        return *gaps_and_seconds, first_token([follow(stream, time.perf_counter())[0]])

    for _ in range(repeat):
        quiet, busy, seconds, single = undisturbed(measure_both)
        before, during = before + quiet, during + busy
        company.append(seconds)
        alone.append(single)
    p50, p99 = percentile(during, 0.5), percentile(during, 0.99)
    yield Line(
        f"a prompt of {length:,} tokens is admitted: the ITL of {others} others has p99 under 5 "
        "times p50",
        f"{p99 / p50:.1f} (p50 {1e3 * p50:.1f}, p99 {1e3 * p99:.1f} ms; before the prompt came "
        f"p50 {1e3 * median(before):.1f} ms)",
        p99 < 5 * p50,
    )
    ratio = median(company) / median(alone)
    yield Line(
        "that prompt's first token: at most twice the time that it takes alone",
        f"{ratio:.2f} ({median(company):.2f} against {median(alone):.2f} s)",
        ratio <= 2,
    )


def drafts(ours, drafting, rival, repeat=3):
    """Questions asked a second time in their chat, so that the reply quotes the prompt. ours: whose
    engine writes the first replies; drafting: the same with drafts."""
    seconds, quoted, tokens = dict.fromkeys((drafting, rival), 0.0), 0, 0
    for prompt, earlier in list(asked_again(ours.engine)) * repeat:
        for contender in seconds:
            reply = undisturbed(_run, contender, prompt, len(earlier))
            seconds[contender] += reply.times[-1] - reply.times[0]
            if contender is drafting:
                quoted += sum(a == b for a, b in zip(reply.ids, earlier, strict=True))
        tokens += len(earlier)
    ratio = seconds[rival] / seconds[drafting]
    return Line(
        "with drafts, text that quotes its prompt: beyond 1.2 times llama.cpp q8_0",
        f"{ratio:.2f} ({tokens / seconds[drafting]:,.0f} against {tokens / seconds[rival]:,.0f} "
        f"tokens/s; {quoted / tokens:.0%} of the tokens quote)",
        ratio > 1.2,
    )
