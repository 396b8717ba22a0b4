"""Stop sequences in a stream of text, whatever its pieces.

Knows text alone: no tokens, no template. A stop fires at the earliest position that completes one;
what stands before the stop is the reply. Text that may still become a stop is held back, and
`flush` gives it out at the end, so a streamed reply equals the same reply read at once.
"""

from collections.abc import Callable, Sequence

from assistant.prompting.fences import BLANKS, Fences


def resume(new_scanner: Callable[[], "StopScanner"], before: str) -> tuple["StopScanner", int]:
    """A StopScanner that has read the text `before`, and how many characters of that it still
    holds: for a reply that goes on behind it. `new_scanner()` gives a fresh one."""
    scanner = new_scanner()
    held = len(before) - len(scanner.feed(before))
    if scanner.fired is None:
        return scanner, held
    # A stop that stands there already ends nothing: what follows is read as the end of a line.
    scanner = new_scanner()
    scanner.feed("\0")
    return scanner, 0


class StopScanner:
    """Gives out what is safe to show of a reply that is fed piece by piece.

    markers stop at the start of a line; on the reply's first line blanks may stand before them.
    separator stops as a whole line (blanks may follow) outside an open code fence; its newline or
    the end completes it. strings stop anywhere. Of stops that are complete at the same position
    the longest wins. With `strip`, white space at both ends of the reply is never given out.

    fired: the stop that fired, or None; after it nothing more is given out.
    """

    def __init__(
        self,
        *,
        markers: Sequence[str] = (),
        separator: str | None = None,
        strings: Sequence[str] = (),
        strip: bool = False,
    ) -> None:
        self.strip = strip
        self.fired: str | None = None
        self._markers = tuple(markers)
        self._separator = separator
        self._strings = tuple(strings)
        self._reach = max(map(len, self._strings), default=0)
        self._fences = Fences()
        self._blank = True  # nothing but white space so far
        self._line: list[str] = []  # the characters of the current line
        # The line so far while it may become a marker or a separator, else None.
        self._head: str | None = ""
        self._tail = ""  # the last `_reach` characters
        self._held = ""  # not given out: it may become a stop
        # Not given out: white space that `strip` drops if nothing follows. None before all text.
        self._white: list[str] | None = None

    def feed(self, text: str) -> str:
        """The text that `text` makes safe to show, maybe empty."""
        if self.fired is not None:
            return ""
        start = len(self._held)
        held = self._held + text
        for end, char in enumerate(text, start + 1):
            stop, length = self._step(char)
            if stop is not None:
                self.fired = stop
                self._held = ""
                return self._give(held[: end - length])
        keep = len(held) - self._hold()
        self._held = held[keep:]
        return self._give(held[:keep])

    def flush(self) -> str:
        """What was held back, once the reply has ended."""
        if self.fired is not None:
            return ""
        held, self._held = self._held, ""
        if line := self._separator_line():
            self.fired = self._separator
            held = held[: len(held) - len(line)]
        return self._give(held)

    def _step(self, char: str) -> tuple[str | None, int]:
        """Take one character; the stop that it completes and the stop's length, or (None, 0)."""
        stops: list[tuple[str | None, int]] = []
        if char == "\n":
            if line := self._separator_line():
                stops.append((self._separator, len(line) + 1))
            self._fences.line("".join(self._line))
            self._line.clear()
            self._head = ""
        elif self._blank and char.isspace():
            pass  # a reply is stripped: its first line begins at its first character
        else:
            self._blank = False
            self._line.append(char)
            if self._head is not None:
                self._head += char
                if self._head in self._markers:
                    stops.append((self._head, len(self._head)))
                elif not self._may_stop(self._head):
                    self._head = None
        if self._reach:
            self._tail = (self._tail + char)[-self._reach :]
            stops += [(stop, len(stop)) for stop in self._strings if self._tail.endswith(stop)]
        return max(stops, key=lambda stop: stop[1], default=(None, 0))

    def _may_stop(self, line: str) -> bool:
        if any(marker.startswith(line) for marker in self._markers):
            return True
        if self._separator is None or self._fences:
            return False
        if len(line) <= len(self._separator):
            return self._separator.startswith(line)
        # What came before passed this test already: only the last character is new.
        return line.startswith(self._separator) and line[-1] in BLANKS

    def _separator_line(self) -> str:
        """The line so far where it is the separator, else an empty one."""
        line = self._head or ""
        return line if line.rstrip(BLANKS) == self._separator and not self._fences else ""

    def _hold(self) -> int:
        """How many characters at the end may still become a stop."""
        hold = len(self._head or "")
        for stop in self._strings:
            longest = min(len(stop) - 1, len(self._tail))
            for length in range(longest, hold, -1):
                if self._tail.endswith(stop[:length]):
                    hold = length
                    break
        return hold

    def _give(self, text: str) -> str:
        if not self.strip:
            return text
        if self._white is None:
            text = text.lstrip()
            if not text:
                return ""
            self._white = []
        body = text.rstrip()
        if not body:
            self._white.append(text)
            return ""
        shown = "".join(self._white) + body
        self._white = [text[len(body) :]]
        return shown
