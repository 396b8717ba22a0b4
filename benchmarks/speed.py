"""Decode speed and time to the first token, by batch and context, of several contenders in turn.

Knows contenders by their face only. Prompts are random ids: no timing here depends on the text.
"""

import itertools
import math
import random
import sys
from dataclasses import dataclass, field
from pathlib import Path

from assistant.errors import AssistantError
from benchmarks import report
from benchmarks.machine import undisturbed
from benchmarks.start import short_machine
from benchmarks.timeline import decode_rate, first_token, median

TURN = 32  # tokens of the next message, which come behind a prompt and its reply
REPLY = 2  # tokens of the reply to a cold prompt, where there is a next message
NOT_MEASURED = "not measured"
FIRST_ID = 19  # behind StarCoder's special tokens

IMAGES = Path(__file__).parent.parent / "docs" / "images"


@dataclass(slots=True)
class Times:
    """What one contender took for one batch and context, a value for each repetition."""

    decode: list = field(default_factory=list)  # tokens a second of all requests together
    cold: list = field(default_factory=list)  # seconds to the first token
    warm: list = field(default_factory=list)  # the same of the next turn: all but TURN tokens known

    def add(self, decode, cold, warm):
        self.decode.append(decode)
        self.cold.append(cold)
        self.warm.append(warm)


def _progress(text):
    print(text, file=sys.stderr)


def random_prompts(chance, batch, length, vocabulary):
    return [[chance.randrange(FIRST_ID, vocabulary) for _ in range(length)] for _ in range(batch)]


def measure(
    contenders, cells, *, repeat, new_tokens, vocabulary, say=_progress, settled=undisturbed
):
    """{(batch, context): {name: Times}} for `cells`, pairs of batch and context in tokens.

    Every repetition goes through all cells and, in each, through all contenders.
    A contender that fails, if by lack of memory, is left out of that cell from then on. settled:
    gives what a function gives that it calls, at a time of its own choice.
    """
    chance = random.Random(0)
    table = {cell: {c.name: Times() for c in contenders} for cell in cells}
    for contender in contenders:  # what is made once, at the first call, counts for nobody
        with contender.session(1, 64) as run:
            run(random_prompts(chance, 1, 48, vocabulary), 8)
    for number in range(repeat):
        for cell in cells:
            for contender in contenders:
                if contender.name in table[cell]:
                    try:
                        found = _measure_one(
                            contender, cell, new_tokens, chance, vocabulary, settled
                        )
                    except (RuntimeError, AssistantError) as error:
                        say(f"{contender.name}, {cell}: {str(error).splitlines()[0][:80]}")
                        del table[cell][contender.name]
                    else:
                        table[cell][contender.name].add(*found)
            say(f"repetition {number + 1} of {repeat}: batch and context {cell}")
    return table


def _measure_one(contender, cell, new_tokens, chance, vocabulary, settled):
    """(decode, cold, warm) of one contender, as in Times.

    Where prefixes are reused, decoding is timed in the next turn: all start nearly together.
    """
    batch, context = cell

    def both():
        prompts = random_prompts(chance, batch, context, vocabulary)
        replies = run(prompts, REPLY if contender.reuses else new_tokens)
        cold, warm = first_token(replies), None
        if contender.reuses:
            tails = random_prompts(chance, batch, TURN, vocabulary)
            turns = [p + r.ids + t for p, r, t in zip(prompts, replies, tails, strict=True)]
            replies = run(turns, new_tokens)
            warm = first_token(replies)
        return decode_rate(replies), cold, warm

    with contender.session(batch, context + REPLY + TURN + new_tokens) as run:
        return settled(both)


def share(contender, cell, rate, bandwidth):
    """The part of `bandwidth` (bytes/s) that `rate` (tokens/s) reads in weights and KV."""
    batch, context = cell
    return (contender.weight_bytes / batch + contender.kv_bytes * context) * rate / bandwidth


def decode_cell(times, contender, cell, bandwidth):
    """Tokens/s, and the share of the bandwidth in brackets."""
    rate = median(times.decode)
    return f"{rate:,.0f} ({share(contender, cell, rate, bandwidth):.0%})" if rate else NOT_MEASURED


def first_cell(times):
    """Milliseconds to the first token: cold / of the next turn, where a prefix is reused."""
    cold, warm = median(times.cold), median(times.warm)
    return NOT_MEASURED if not cold else " / ".join(f"{1e3 * t:,.0f}" for t in (cold, warm) if t)


def rows(table, contenders, text):
    """Rows of a table: the machine, batch, context, and for each contender what `text` makes of its
    Times."""
    machine = short_machine()
    for (batch, context), cell in table.items():
        texts = [text(cell.get(c.name, Times()), c, (batch, context)) for c in contenders]
        yield [machine, str(batch), f"{context:,}", *texts]


def tables(contenders, arguments, bandwidth, vocabulary, image):
    """Measures the cells that fit into --tokens; Markdown. With --write, draws the plot `image`."""
    shapes = itertools.product(arguments.batch, arguments.context)
    cells = [cell for cell in shapes if math.prod(cell) <= arguments.tokens]
    options = {"repeat": arguments.repeat, "new_tokens": arguments.new_tokens}
    table = measure(contenders, cells, vocabulary=vocabulary, **options)
    head = ["machine", "batch", "context", *(contender.name for contender in contenders)]
    decode = rows(table, contenders, lambda *of: decode_cell(*of, bandwidth))
    first = rows(table, contenders, lambda times, *_: first_cell(times))
    text = (
        "Decode: tokens/s of all requests together, and in brackets the share of the memory's "
        f"bandwidth that they read.\n\n{report.markdown(head, decode)}\n\n"
        "Milliseconds to the first token (median of the batch): cold / next turn of the chat, with "
        f"{TURN} new tokens.\n\n{report.markdown(head, first)}\n"
    )
    if arguments.write:
        report.plot(table, contenders, IMAGES / image)
        text += f"\n![Decode speed by context and by batch](../docs/images/{image})\n"
    return text
