"""find_matches(): the runs of a text that stand word for word in an index.

White space does not count, neither its kind nor its amount, so indentation and line ends hide
nothing. Every 25th piece of 25 characters of the corpus that are not blank is in the index, and
every piece of the text is looked up: a run that holds 49 such characters holds one that is in the
index, wherever the run begins. Of 99 characters with white space as single blanks at least 50 are
none, since no two blanks are neighbours and a match neither begins nor ends with one: so runs of 99
are found for certain, and of the shorter ones nearly all. What is found is compared, so what is
reported is there.

Rules and table borders, pieces of at most two different characters, stand everywhere. They are not
looked up; the pieces at their two ends are in the index instead, 20 characters of the rule and the
5 beside it, so a run is missed only where it is a rule with at most 4 characters on either side;
and a run of fewer than LETTERS different characters is no news anyway. Against texts that are made
to be slow there are limits, far above what replies need: PLACES_MAX of index.py, PAIRS_MAX,
DOCUMENTS_MAX and MATCHES_MAX; what stands in fewest places is looked at first.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from assistant.attribution.index import Index
from assistant.attribution.pieces import PIECE, Codes, Offsets, hashes, is_rule, squeeze
from assistant.errors import TextError

CERTAIN = 99  # characters, white space as single blanks: a run of so many is found for certain
SHORTEST = 50  # a shorter one is no news
LETTERS = 5
MATCHES_MAX = 200
TEXT_CHARS_MAX = 200_000
PAIRS_MAX = 50_000  # of a piece of the text and a place of it in the corpus; and 5 per character
DOCUMENTS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Match:
    """A run of a text: `text` is text[start:end]. length: its characters with white space as single
    blanks. path, start_line, end_line, licence, source, url: where it stands in the corpus; also:
    (path, start_line, end_line) of further places of all of it."""

    start: int
    end: int
    path: str
    start_line: int
    end_line: int
    licence: str
    source: str
    url: str
    length: int
    text: str
    also: list[tuple[str, int, int]] = field(default_factory=list)

    @property
    def link(self) -> str:
        """The url, with the lines where it is one of GitHub's."""
        if not self.url.startswith("https://github.com/"):
            return self.url
        return f"{self.url}#L{self.start_line}-L{self.end_line}"


def find_matches(index: Index, text: str) -> list[Match]:
    """The longest runs of `text` in the index, in the order of the text: none of less than SHORTEST
    characters, none within another. Raises TextError and AttributionError."""
    codes, offsets = squeeze(check_length(text))
    with index.open() as db:
        matches = list(_matches(db, text, codes, offsets))
    return sorted(_longest(matches), key=lambda match: match.start)


def check_length(text: str) -> str:
    """`text`, where it is not too long. Raises TextError."""
    if len(text) > TEXT_CHARS_MAX:
        raise TextError(
            f"At most {TEXT_CHARS_MAX:,} characters can be checked at once, not {len(text):,}."
        )
    return text


def _matches(db: sqlite3.Connection, text: str, codes: Codes, offsets: Offsets) -> Iterator[Match]:
    """A Match for each run of each document."""
    for number, pairs in sorted(_near(db, codes).items()):
        document = Index.document(db, number)
        body, there = squeeze(document.text)
        for start, end, place in _runs(codes, body, pairs):
            begin, stop = int(offsets[start]), int(offsets[end - 1]) + 1
            run = text[begin:stop]
            length = len(" ".join(run.split()))
            if length < SHORTEST or len(set(run)) < LETTERS:
                continue
            begins, ends = there[place], there[place + end - start - 1]
            first = document.line + document.text.count("\n", 0, begins)
            last = first + document.text.count("\n", begins, ends)
            yield Match(begin, stop, document.path, first, last, document.licence,
                        document.source, document.url, length, run)  # fmt: skip


def _near(db: sqlite3.Connection, codes: Codes) -> dict[int, list[tuple[int, int]]]:
    """Document to [(where a piece of the text begins, where it begins in the document)], in
    characters that are not blank."""
    starts_of: dict[int, list[int]] = {}
    if len(codes) >= PIECE:
        pieces, rule = hashes(codes).tolist(), is_rule(codes).tolist()
        for start, piece in enumerate(pieces):
            if not rule[start]:
                starts_of.setdefault(piece, []).append(start)
    known = Index.known(db, list(starts_of))
    found = [(Index.places(db, piece), starts_of[piece]) for piece in known]
    found.sort(key=lambda pair: len(pair[0]) * len(pair[1]))
    room = PAIRS_MAX + 5 * len(codes)
    near: dict[int, list[tuple[int, int]]] = {}
    for places, starts in found:
        room -= len(places) * len(starts)
        if room < 0:
            break
        for number, place in places:
            near.setdefault(number, []).extend((start, place) for start in starts)
    most = Counter({number: len(pairs) for number, pairs in near.items()})
    return {number: near[number] for number, _ in most.most_common(DOCUMENTS_MAX)}


def _runs(
    codes: Codes, body: Codes, pairs: Iterable[tuple[int, int]]
) -> Iterator[tuple[int, int, int]]:
    """(start, end, start in the body) of what `codes` and the body share around `pairs`."""
    seen: dict[int, int] = {}  # how far the text stands in the body at this distance
    for at, place in sorted(pairs):
        if at < seen.get(place - at, 0):
            continue
        start = at - _alike(codes[:at][::-1], body[:place][::-1])
        end = at + _alike(codes[at:], body[place:])
        seen[place - at] = end
        if end - at >= PIECE:  # else two pieces have the same hash
            yield start, end, place - at + start


def _alike(one: Codes, other: Codes) -> int:
    """How many leading items two arrays share."""
    length = min(len(one), len(other))
    if not length:
        return 0
    differs = one[:length] != other[:length]
    first = int(differs.argmax())
    return first if differs[first] else length


def _longest(matches: Sequence[Match]) -> Iterable[Match]:
    """Those that lie in no longer one; those of the same characters become one."""
    kept: dict[tuple[int, int], Match] = {}
    for match in sorted(matches, key=lambda one: one.start - one.end):
        same = kept.get((match.start, match.end))
        if same:
            same.also.append((match.path, match.start_line, match.end_line))
        elif len(kept) < MATCHES_MAX and not any(
            start <= match.start and match.end <= end for start, end in kept
        ):
            kept[match.start, match.end] = match
    return kept.values()
