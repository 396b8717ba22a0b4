"""Raw: a raw prompt in which some ranges are plain text, whatever they spell.

A raw prompt is what its author says it is: text that spells a special token becomes it. What came
from elsewhere, such as a chat's message or a value that was filled in, stays text: its ranges are
`plain`. Knows text and tokenizers; no turns, no pages.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from assistant.engine.prefix import common_prefix
from assistant.engine.protocol import Tokenizer
from assistant.errors import TextError
from assistant.prompting.template import Segment, encode
from assistant.text import check_prompt, quoted

LOOKALIKE = re.compile(r"<[^<>\s]{1,64}>")  # what special tokens of our models look like


class Chip(NamedTuple):
    """A token as it is displayed. text: what it adds; empty while a character is unfinished.
    trusted: none of its text stands in a plain range."""

    text: str
    id: int
    special: bool
    trusted: bool


@dataclass(frozen=True, slots=True)
class Raw:
    """text: the prompt. plain: ranges (start, end) of characters in which spellings of special
    tokens stay text; sorted, apart, and cut to the text here. Raises TextError for
    anything else, since they may come from a page."""

    text: str
    plain: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise TextError(f"The prompt must be text, not {quoted(self.text)}.")
        object.__setattr__(self, "plain", _ranges(self.plain, len(self.text)))

    @classmethod
    def from_segments(cls, segments: Iterable[Segment]) -> "Raw":
        """The prompt that `segments` make up; the untrusted ones are plain."""
        text = ""
        plain: list[tuple[int, int]] = []
        for segment in segments:
            if not segment.trusted:
                plain.append((len(text), len(text) + len(segment.text)))
            text += segment.text
        return cls(text, tuple(plain))

    def checked(self) -> "Raw":
        """The prompt, if it can be sent: see text.check_prompt. Raises TextError."""
        check_prompt(self.text)
        return self

    def edited(self, text: str) -> "Raw":
        """The prompt after an edit that made its text `text`. Ranges move along, as far as the old
        and the new text begin and end alike; one around the whole edit grows with it. Of others,
        what looks like a special token stays plain, where it is found again in the same order."""
        return Raw(text, tuple(_moved(self.text, Raw(text).text, self.plain)))

    def segments(self, tokenizer: Tokenizer, *, special: bool = True) -> list[Segment]:
        """Trusted segments, each a special token, and all the text between two of them as one that
        is untrusted: plain ranges have no joints, at which words would be cut into other tokens."""
        found: list[Segment] = []
        at = 0
        for start, end in self._special(tokenizer) if special else ():
            found += [Segment(self.text[at:start]), Segment(self.text[start:end], trusted=True)]
            at = end
        found.append(Segment(self.text[at:]))
        return [segment for segment in found if segment.text]

    def ids(self, tokenizer: Tokenizer, *, special: bool = True) -> list[int]:
        """Token ids, with what stands before a document. special: False reads all as text."""
        return encode(self.segments(tokenizer, special=special), tokenizer, start=True)

    def pieces(
        self, tokenizer: Tokenizer, *, special: bool = True, most: int | None = None
    ) -> list[Chip]:
        """A Chip for each of ids(), the first `most` of them; their texts together are the
        prompt's."""
        chips: list[Chip] = []
        at, plain = 0, self._mask()
        known = set(tokenizer.special.values()) if special else set()
        ids = self.ids(tokenizer, special=special)[:most]
        for token, text in zip(ids, tokenizer.texts(ids, start=True), strict=True):
            end = at + max(len(text), 1)  # a part of a character stands where that does
            trusted = special and plain.find(1, at, end) < 0
            chips.append(Chip(text, token, token in known, trusted))
            at += len(text)
        return chips

    def _special(self, tokenizer: Tokenizer) -> Iterator[tuple[int, int]]:
        """Where special tokens stand that count: those that touch no plain range."""
        spelt = sorted(tokenizer.special, key=len, reverse=True)  # the longest wins
        pattern = re.compile("|".join(map(re.escape, spelt)) or r"(?!)")
        at, plain = 0, self._mask()
        while match := pattern.search(self.text, at):
            start, at = match.span()
            if plain.find(1, start, at) < 0:
                yield start, at
            else:
                at = start + 1

    def _mask(self) -> bytearray:
        """1 for each character in a plain range, else 0."""
        mask = bytearray(len(self.text))
        for start, end in self.plain:
            mask[start:end] = b"\1" * (end - start)
        return mask


def _ranges(plain: Any, length: int) -> tuple[tuple[int, int], ...]:
    try:
        pairs = sorted((start, end) for start, end in plain)
        whole = all(type(edge) is int for pair in pairs for edge in pair)
    except (TypeError, ValueError):
        whole = False
    if not whole:
        raise TextError("The plain ranges of a prompt must be pairs of whole numbers.")
    ranges: list[tuple[int, int]] = []
    for start, end in pairs:
        start, end = max(start, 0, ranges[-1][1] if ranges else 0), min(end, length)
        if start < end:
            ranges.append((start, end))
    return tuple(ranges)


def _moved(old: str, new: str, plain: tuple[tuple[int, int], ...]) -> Iterator[tuple[int, int]]:
    """The ranges of `plain`, which is about `old`, in `new`."""
    start = common_prefix(old, new)
    tail = common_prefix(old[start:][::-1], new[start:][::-1])
    end, longer = len(old) - tail, len(new) - len(old)
    # What looks like a special token in the changed part, and where.
    spots: dict[str, list[int]] = {}
    for match in LOOKALIKE.finditer(new, start, end + longer):
        spots.setdefault(match[0], []).append(match.start())
    at = start
    for a, b in plain:
        if b <= start:
            yield a, b
        elif a >= end:
            yield a + longer, b + longer
        elif a <= start and b >= end:
            yield a, b + longer
        else:
            yield a, start
            yield end + longer, b + longer
            for part in LOOKALIKE.findall(old, max(a, start), min(b, end)):
                found = spots.get(part, [])
                if (n := bisect_left(found, at)) < len(found):
                    at = found[n] + len(part)
                    yield found[n], at
