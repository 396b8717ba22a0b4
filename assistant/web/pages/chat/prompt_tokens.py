"""What the model saw: the tokens of a prompt, and where two replies part. For display only."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from assistant.chat.receipt import first_difference
from assistant.conversation import Turn, trusted_ids
from assistant.engine.protocol import Tokenizer
from assistant.prompting.template import Segment, encode

AROUND = 12  # tokens shown before and after the first one that differs


def tokens(segments: Iterable[Segment], tokenizer: Tokenizer) -> list[tuple[str, int, str]]:
    """(text, id, kind) for each token of a prompt, with what stands before a document. text: what
    the token adds, empty while a character is unfinished. kind: "special", "trusted" or "plain"."""
    special = set(tokenizer.special.values())
    found: list[tuple[str, int, str]] = []
    for trusted, part in groupby(segments, key=lambda segment: segment.trusted):
        ids = encode(part, tokenizer, start=not found)
        for token, text in zip(ids, tokenizer.texts(ids), strict=True):
            kind = "special" if token in special else "trusted" if trusted else "plain"
            found.append((text, token, kind))
    return found


def find_parting(was: Turn, now: Turn, tokenizer: Tokenizer) -> dict[str, Any]:
    """Where two replies part: {"at": None} for the same text, else the index of the first
    token that differs, and the text around it in both. A reply that was stopped by hand is the
    same where the other begins with it."""
    if was.text == now.text:
        return {"at": None}
    one, other = (_ids(turn, tokenizer) for turn in (was, now))
    at = first_difference(one, other)
    if at is None or (was.finish == "cancelled" and at == len(one)):
        return {"at": None}
    return {"at": at, "was": _around(one, at, tokenizer), "now": _around(other, at, tokenizer)}


def _ids(turn: Turn, tokenizer: Tokenizer) -> tuple[int, ...]:
    return trusted_ids(turn, tokenizer) or tuple(tokenizer.encode(turn.text))


def _around(ids: Sequence[int], at: int, tokenizer: Tokenizer) -> dict[str, str]:
    return {
        "before": tokenizer.decode(ids[max(0, at - AROUND) : at]),
        "token": tokenizer.decode(ids[at : at + 1]),
        "after": tokenizer.decode(ids[at + 1 : at + 1 + AROUND]),
    }
