"""Marks over what is shown of a text: where the characters of a block lie in it.

What cannot be placed is left without a mark rather than marked in the wrong place.
"""

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from operator import itemgetter

from markdown_it.token import Token

Run = tuple[int, int, int]  # characters in a row: where in a content, where in the text, how many
Piece = tuple[str, str]  # the opening tag of the mark over it, or nothing; what is shown

# What lists and quotes put before the first cell of a row
_CONTAINERS = re.compile(r"(?:[ \t>]|(?:[-+*]|\d{1,9}[.)])(?=[ \t]))*")


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a reply that is marked: code points of its text, and a CSS class."""

    start: int
    end: int
    kind: str


class Marks:
    """The marks of a text: which parts lie over each stretch of it."""

    def __init__(self, text: str, parts: Sequence[Part]) -> None:
        self._text = text
        breaks = [match.start() for match in re.finditer("\n", text)]
        self._starts = [0, *(at + 1 for at in breaks)]
        self._ends = [*breaks, len(text)]
        self._cursors: dict[int, int] = {}  # line to where its next cell is looked for
        self._edges, self._tags = _stretches(parts)

    def over(self, start: int, end: int) -> Iterator[tuple[str, int, int]]:
        """The marks between these characters of the text: opening tag, start, end."""
        index = max(bisect_right(self._edges, start) - 1, 0)
        while start < end and index < len(self._edges) and self._edges[index] < end:
            if tag := self._tags[index]:  # the last edge has none
                yield tag, max(start, self._edges[index]), min(end, self._edges[index + 1])
            index += 1

    def lines(self, content: str, line: int) -> "Place":
        """The place of a content whose lines are the ends of the text's lines from `line` on."""
        runs, at = [], 0
        for number, row in enumerate(content.split("\n"), line):
            body = row.strip()
            if body and number < len(self._starts):
                end = self._starts[number] + len(self._line(number).rstrip())
                if self._text.startswith(body, end - len(body)):
                    runs.append((at + row.index(body), end - len(body), len(body)))
            at += len(row) + 1
        return Place(self, runs)

    def inline(self, opening: Token, token: Token) -> "Place":
        """The place of the content of an inline token. opening: the token before it."""
        first, end = token.map or (0, 0)
        if opening.tag in ("th", "td"):
            return Place(self, self._cell(token.content, first))
        if opening.markup.startswith("#"):
            after = self._text.index("#", self._starts[first]) + len(opening.markup)
            at = self._text.find(token.content, after, self._ends[first])
            return Place(self, [(0, at, len(token.content))] if at >= 0 else [])
        if token.content.count("\n") + 1 != end - first:
            return Place()  # a line of blanks that only Unicode knows was cut off
        return self.lines(token.content, first)

    def _line(self, number: int) -> str:
        return self._text[self._starts[number] : self._ends[number]]

    def _inside(self, number: int) -> int:
        """Where the line begins inside of its lists and quotes."""
        containers = _CONTAINERS.match(self._text, self._starts[number], self._ends[number])
        return containers.end() if containers else self._starts[number]

    def _cell(self, content: str, line: int) -> list[Run]:
        """The runs of a cell. To be asked for the cells of a row from left to right."""
        start, end = self._starts[line], self._ends[line]
        source = content.replace("|", "\\|")
        found = self._text.find(source, self._cursors.get(line, self._inside(line)), end)
        if found < 0 and line not in self._cursors:  # what looks like a list's sign is a cell's
            found = self._text.find(source, start, end)
        if not content or found < 0:
            return []
        self._cursors[line] = found + len(source)
        runs, at = [], 0
        for escaped, piece in enumerate(re.split(r"(?=\|)", content)):
            runs.append((at, found + at + escaped, len(piece)))
            at += len(piece)
        return runs


@dataclass(frozen=True, slots=True)
class Place:
    """Where a content lies in the marked text: its runs, in order; the rest lies nowhere."""

    marks: Marks | None = None
    runs: Sequence[Run] = ()

    def pieces(self, shown: str, at: int) -> list[Piece]:
        """`shown`, which stands for the content from `at` on, cut where marks begin and end."""
        pieces, done = [], at
        for tag, start, end in self._over(at, at + len(shown)):
            pieces += [("", shown[done - at : start - at]), (tag, shown[start - at : end - at])]
            done = end
        return [*pieces, ("", shown[done - at :])]

    def whole(self, shown: str, at: int, end: int) -> list[Piece]:
        """`shown`, which stands for this stretch of the content and cannot be cut."""
        tags = [tag for tag, _, _ in self._over(at, end)] if shown.strip() else []
        return [(tags[0] if tags else "", shown)]

    def html(self, shown: str, at: int) -> str:
        return as_html(self.pieces(shown, at))

    def _over(self, at: int, end: int) -> Iterator[tuple[str, int, int]]:
        """The marks between these characters of the content."""
        if self.marks is None:
            return
        first = max(bisect_right(self.runs, at, key=itemgetter(0)) - 1, 0)
        for index in range(first, len(self.runs)):
            content, source, length = self.runs[index]
            if content >= end:
                return
            shift = source - content
            start, stop = max(at, content) + shift, min(end, content + length) + shift
            for tag, marked, left in self.marks.over(start, stop):
                yield tag, marked - shift, left - shift


def as_html(pieces: Iterable[Piece]) -> str:
    """The pieces in a row, those of one mark together. No HTML comes from a text."""
    html = []
    for tag, group in groupby((piece for piece in pieces if piece[1]), key=itemgetter(0)):
        shown = escape("".join(text for _, text in group))
        html.append(f"{tag}{shown}</mark>" if tag else shown)
    return "".join(html)


def _stretches(parts: Sequence[Part]) -> tuple[list[int], list[str]]:
    """Where in the text marks change, in order, and the opening tag from there on, or nothing."""
    changes: dict[int, list[int]] = defaultdict(list)
    for index, part in enumerate(parts):
        if part.start < part.end:
            changes[part.start].append(index)
            changes[part.end].append(index)
    edges, over = sorted(changes), set[int]()
    tags = []
    for edge in edges:
        over.symmetric_difference_update(changes[edge])
        tags.append(_tag(parts, over))
    return edges, tags


def _tag(parts: Sequence[Part], over: set[int]) -> str:
    """The opening tag of the mark for these parts: the shortest gives its kind."""
    order = sorted(over, key=lambda index: (parts[index].end - parts[index].start, index))
    if not order:
        return ""
    numbers = " ".join(map(str, order))
    return f'<mark class="match {escape(parts[order[0]].kind)}" data-parts="{numbers}">'
