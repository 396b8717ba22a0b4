"""What fits the window: the token ledger of a request, and which exchanges leave first.

Knows token counts alone. Counts are exact, since the parts of a prompt are encoded apart.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from assistant.errors import WindowError

KEEP = 3 / 4  # when exchanges must leave, the rest fills at most this part of the room


@dataclass(frozen=True, slots=True)
class Exchange:
    """Tokens of a finished exchange. message: the user's turn up to and with the marker that opens
    the reply; reply: the rest, up to and with the marker that opens the next message."""

    message: int
    reply: int
    pinned: bool = False

    @property
    def tokens(self) -> int:
        return self.message + self.reply


@dataclass(frozen=True, slots=True)
class Ledger:
    """Where the window's tokens go. preamble + history + message is the prompt, reply is what is
    kept free for the answer. dropped: indices of the exchanges that left the prompt. pinned: how
    many tokens of the history cannot leave."""

    window: int
    preamble: int
    history: int
    message: int
    reply: int
    dropped: tuple[int, ...] = ()
    pinned: int = 0

    @property
    def prompt(self) -> int:
        return self.preamble + self.history + self.message

    @property
    def free(self) -> int:
        return self.window - self.prompt - self.reply


def fit(
    preamble: int,
    exchanges: Sequence[Exchange],
    message: int,
    max_new_tokens: int,
    window: int,
    dropped: Sequence[int] | None = None,
) -> Ledger:
    """The Ledger of a prompt: `preamble` tokens, then `exchanges`, then `message` tokens.

    The preamble and the newest message stay, pinned exchanges too; others leave oldest first.
    dropped: the indices of those that leave, where that is decided already; () keeps all.

    Raises WindowError with the counts when what must stay does not fit.
    """
    if dropped is None:
        pinned = _tokens(exchange for exchange in exchanges if exchange.pinned)
        _check_room(preamble, "pinned turns", pinned, message, max_new_tokens, window)
        dropped = _leaving(exchanges, message, window - preamble - max_new_tokens)
    stay = [exchange for index, exchange in enumerate(exchanges) if index not in dropped]
    history, pinned = _tokens(stay), _tokens(each for each in stay if each.pinned)
    _check_room(preamble, "earlier turns", history, message, max_new_tokens, window)
    return Ledger(window, preamble, history, message, max_new_tokens, tuple(dropped), pinned)


def _check_room(
    preamble: int, name: str, turns: int, message: int, max_new_tokens: int, window: int
) -> None:
    """Raises WindowError. name: what `turns` counts."""
    parts = {
        "the prompt template": preamble,
        name: turns,
        "the text": message,
        "the reply": max_new_tokens,
    }
    if sum(parts.values()) > window:
        counts = " + ".join(f"{count} for {part}" for part, count in parts.items() if count)
        leave = "let earlier turns leave, " if name == "earlier turns" and turns else ""
        raise WindowError(
            f"The model's window holds {window} tokens, and {counts} are {sum(parts.values())}; "
            f"{leave}shorten the text or ask for fewer new tokens."
        )


def _leaving(exchanges: Sequence[Exchange], message: int, room: int) -> list[int]:
    """The indices of the exchanges that leave, oldest first. room: for turns and `message`.

    When one must leave, so many do that the rest fills three quarters of the room; the last
    exchange leaves only where it cannot stay. The conversation is replayed from its start, one
    message after the other: what left at an earlier one stays away, so that the prompt goes on
    from a prefix that the engine has in its cache.
    """
    leaving: list[int] = []
    may_leave: deque[int] = deque()
    history = 0  # tokens of what stays
    for last, newest in enumerate([*(each.message for each in exchanges), message], -1):
        if last >= 0:
            history += exchanges[last].tokens
            if not exchanges[last].pinned:
                may_leave.append(last)
        most = room - newest
        if history <= most:
            continue
        while may_leave and history > (most if may_leave[0] == last else KEEP * most):
            leaving.append(may_leave.popleft())
            history -= exchanges[leaving[-1]].tokens
    return leaving


def _tokens(exchanges: Iterable[Exchange]) -> int:
    return sum(exchange.tokens for exchange in exchanges)
