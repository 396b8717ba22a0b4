"""fill(): the model writes what is missing in a text, in StarCoder's two orders.

    PSM   <fim_prefix> before <fim_suffix> after <fim_middle>
    SPM   <fim_prefix><fim_suffix> after <fim_middle> before

(Bavarian et al., arXiv:2207.14255; StarCoder was trained on both, arXiv:2305.06161, and the parts
were encoded apart.) What a part spells stays text: each of the three tokens is there once. Several
holes are filled in turn, the first one first: what stands before a hole holds the fills so far,
and in what stands after it the later holes are left out.
"""

from dataclasses import dataclass

from assistant.errors import RequestError
from assistant.text import check_prompt, clean

FILL_HERE = "<FILL_HERE>"
HOLES_MAX = 8
ORDERS = ("PSM", "SPM")
_PREFIX, _MIDDLE, _SUFFIX = TOKENS = ("<fim_prefix>", "<fim_middle>", "<fim_suffix>")


@dataclass(frozen=True, slots=True)
class Fill:
    """One hole that was filled. text: what the model wrote; whole: the whole text with it, what
    stood after it always there, later holes as FILL_HERE; start, end: where `text` stands in
    `whole`, and in the `whole` of each later Fill too. hole: its number, from 0. reason: "stop",
    "length" or "cancelled", behind which no hole is filled any more."""

    text: str
    whole: str
    start: int
    end: int
    reason: str
    hole: int = 0


def lacking(tokenizer):
    """None, or the sentence why the model cannot fill in."""
    if names := [text for text in TOKENS if text not in tokenizer.special]:
        return f"This model cannot fill in the middle: its tokenizer lacks {', '.join(names)}."
    return None


def parts_of(text):
    """The parts of `text` between its holes, cleaned: a str in which FILL_HERE marks them, or a
    sequence of the parts, such as (before, after). Raises RequestError."""
    parts = text.split(FILL_HERE) if isinstance(text, str) else list(text)
    check_prompt("".join(parts) if all(isinstance(part, str) for part in parts) else None)
    if not 2 <= len(parts) <= HOLES_MAX + 1:
        raise RequestError(
            f"Mark what is missing with {FILL_HERE}, at 1 to {HOLES_MAX} places; "
            f"the text has it {len(parts) - 1} times."
        )
    return [clean(part) for part in parts]


def fill(engine, text, *, sampling, max_new_tokens, order="PSM", count=1, stop=(), wait_s=0.1):
    """`count` candidates, with the seeds seed, seed + 1, ...: a list of Fillings, whose first
    holes are submitted at the call. text: see parts_of. max_new_tokens: for each hole.

    Raises RequestError, EngineBusy or EngineDead, and then none of them runs.
    """
    raise NotImplementedError


class Filling:
    """One candidate: iterates over Waiting, the Deltas of a hole, its Fill, then the next hole's.

    sampling: as used, with its seed. `close()` cancels: the Fill of what was written so far still
    comes, and ends it. Raises EngineError, WindowError while reading, after the text before it.
    """
