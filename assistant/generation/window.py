"""What fits the window: the token ledger of a request, and which exchanges leave first.

Knows token counts alone. Counts are exact, since the parts of a prompt are encoded apart.
"""

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
    def tokens(self):
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
    def prompt(self):
        return self.preamble + self.history + self.message

    @property
    def free(self):
        return self.window - self.prompt - self.reply


def fit(preamble, exchanges, message, max_new_tokens, window, dropped=None):
    """The Ledger of a prompt: `preamble` tokens, then `exchanges` (Exchange), then `message`.

    The preamble and the newest message stay, pinned exchanges too; others leave oldest first, and
    when some must, so many leave that the rest fills three quarters of the room. The conversation
    is replayed from its start for that: what left at an earlier message stays away at this one, so
    the prompt goes on from a prefix that the engine has in its cache. The last exchange leaves
    only where it cannot stay. dropped: the indices of those that leave, where that is decided
    already; () keeps all.

    Raises WindowError with the counts when what must stay does not fit.
    """
    decided = dropped is not None
    stay = [e for n, e in enumerate(exchanges) if (n not in dropped if decided else e.pinned)]
    history = sum(exchange.tokens for exchange in stay)
    pinned = sum(exchange.tokens for exchange in stay if exchange.pinned)
    parts = {
        "the prompt template": preamble,
        "earlier turns" if decided else "pinned turns": history,
        "the text": message,
        "the reply": max_new_tokens,
    }
    if sum(parts.values()) > window:
        counts = " + ".join(f"{count} for {part}" for part, count in parts.items() if count)
        leave = "let earlier turns leave, " if decided and history else ""
        raise WindowError(
            f"The model's window holds {window} tokens, and {counts} are {sum(parts.values())}; "
            f"{leave}shorten the text or ask for fewer new tokens."
        )
    if decided:
        return Ledger(window, preamble, history, message, max_new_tokens, tuple(dropped), pinned)
    dropped = []
    kept = 0
    oldest = 0  # the first exchange that may still leave
    for now in range(len(exchanges) + 1):
        newest = exchanges[now].message if now < len(exchanges) else message
        room = window - preamble - newest - max_new_tokens
        if kept > room:
            while oldest < now and (kept > room or (kept > KEEP * room and oldest < now - 1)):
                if not exchanges[oldest].pinned:
                    dropped.append(oldest)
                    kept -= exchanges[oldest].tokens
                oldest += 1
        if now < len(exchanges):
            kept += exchanges[now].tokens
    return Ledger(window, preamble, kept, message, max_new_tokens, tuple(dropped), pinned)
