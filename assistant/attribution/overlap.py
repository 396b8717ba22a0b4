"""find_matches(): the runs of a text that stand word for word in an index.

White space does not count, neither its kind nor its amount, so indentation and line ends hide
nothing. Every 25th piece of 25 characters of the corpus that are not blank is in the index, and
every piece of the text is looked up: a run that holds 49 such characters holds one that is in the
index, wherever the run begins. Of 99 characters with white space as single blanks at least 50 are
none, since no two blanks are neighbours and a match neither begins nor ends with one: so runs of 99
are found for certain, and of the shorter ones nearly all. What is found is compared, so what is
reported is there. Two exceptions: of a piece that stands in the corpus more often than
index.PLACES_MAX, as rules of dashes do, only so many places are looked at; and a run of fewer than
LETTERS different characters, such a rule, is no news.
"""

from dataclasses import dataclass, field

from assistant.attribution.index import Index
from assistant.attribution.pieces import PIECE, hashes, squeeze
from assistant.errors import TextError

CERTAIN = 99  # characters, white space as single blanks: a run of so many is found for certain
SHORTEST = 50  # a shorter one is no news
LETTERS = 5
MATCHES_MAX = 50
ALSO_MAX = 200
TEXT_CHARS_MAX = 200_000
REPEATS_MAX = 100  # of one piece in the text that are looked up


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
    also: list = field(default_factory=list)

    @property
    def link(self):
        """The url, with the lines where it is one of GitHub's."""
        at = f"#L{self.start_line}-L{self.end_line}"
        return self.url + at * self.url.startswith("https://github.com/")


def find_matches(index, text):
    """The longest runs of `text` in the Index, in the order of the text: none of less than SHORTEST
    characters, none within another. Raises TextError and AttributionError."""
    codes, offsets = squeeze(check_length(text))
    with index.open() as db:
        bodies = {}
        runs = list(_runs(db, codes, bodies))
        found = _longest(runs)
        return sorted(_matches(found, text, offsets, bodies), key=lambda match: match.start)


def check_length(text):
    """`text`, where it is not too long. Raises TextError."""
    if len(text) > TEXT_CHARS_MAX:
        raise TextError(
            f"At most {TEXT_CHARS_MAX:,} characters can be checked at once, not {len(text):,}."
        )
    return text


def _runs(db, codes, bodies):
    """(start, end, document, start there), in characters that are not blank."""
    asked, before, same = {}, None, 0
    for start, piece in enumerate(hashes(codes, 1).tolist()):
        same = same + 1 if piece == before else 0
        before = piece
        # In a run of one character, as long as one there, the index has one of the first pieces.
        if same < PIECE:
            asked.setdefault(piece, []).append(start)
    near = {}  # document to where pieces of the text stand in it
    for piece in Index.known(db, list(asked)):
        for number, place in Index.places(db, piece):
            near.setdefault(number, []).extend((at, place) for at in asked[piece][:REPEATS_MAX])
    for number, pairs in near.items():
        document = Index.document(db, number)
        body, offsets = squeeze(document.text)
        bodies[number] = document, offsets
        seen = {}  # how far the text stands in the document at this distance
        for at, place in sorted(pairs):
            if at < seen.get(place - at, 0):
                continue
            start = at - _alike(codes[:at][::-1], body[:place][::-1])
            end = at + _alike(codes[at:], body[place:])
            seen[place - at] = end
            if end - at >= PIECE:  # else two pieces have the same hash
                yield start, end, number, place - at + start


def _alike(one, other):
    """How many leading items two arrays share."""
    length = min(len(one), len(other))
    if not length:
        return 0
    differs = one[:length] != other[:length]
    first = int(differs.argmax())
    return first if differs[first] else length


def _longest(runs):
    """[(run, further runs of the same characters)] of those that lie in no longer one."""
    kept = []
    for run in sorted(runs, key=lambda run: (run[0] - run[1], run[2:])):
        start, end = run[:2]
        around = [(other, also) for other, also in kept if other[0] <= start and end <= other[1]]
        if not around:
            kept.append((run, []))
        for other, also in around:
            if other[:2] == (start, end):
                also.append(run)
    return kept


def _matches(found, text, offsets, bodies):
    for (start, end, number, there), also in found[:MATCHES_MAX]:
        begin, stop = int(offsets[start]), int(offsets[end - 1]) + 1
        length = len(" ".join(text[begin:stop].split()))
        if length < SHORTEST or len(set(text[begin:stop])) < LETTERS:
            continue
        document, first, last = _lines(bodies, number, there, end - start)
        others = [_lines(bodies, *run[2:], end - start) for run in also[:ALSO_MAX]]
        yield Match(
            begin,
            stop,
            document.path,
            first,
            last,
            document.licence,
            document.source,
            document.url,
            length,
            text[begin:stop],
            [(other.path, first, last) for other, first, last in others],
        )


def _lines(bodies, number, start, length):
    """(document, number of its first line, of its last) of a run of it."""
    document, offsets = bodies[number]
    first = document.line + document.text.count("\n", 0, offsets[start])
    inside = document.text.count("\n", offsets[start], offsets[start + length - 1])
    return document, first, first + inside
