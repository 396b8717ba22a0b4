"""Code fences, found line by line."""

import re

BLANKS = " \t\r"
# CommonMark 0.31, 4.5: three or more backticks or tildes; no backtick behind backticks.
_FENCE = re.compile(r"(?P<indent>[ \t]*)(?P<run>`{3,}(?=[^`]*$)|~{3,})(?P<rest>.*)", re.DOTALL)


class Fences:
    """Whether the next line stands inside a code fence: true while one is open."""

    def __init__(self) -> None:
        # The run of the opening fence and its indent in columns.
        self._open: tuple[str, int] | None = None

    def __bool__(self) -> bool:
        return self._open is not None

    def line(self, line: str) -> None:
        match = _FENCE.match(line)
        if not match:
            return
        indent = len(match["indent"].expandtabs(4))
        if self._open is None:
            self._open = match["run"], indent
            return
        run, outer = self._open
        # Columns count from the opening fence, since in a list both fences stand further right.
        closes = match["run"].startswith(run) and indent <= outer + 3
        if closes and not match["rest"].strip(BLANKS):
            self._open = None
