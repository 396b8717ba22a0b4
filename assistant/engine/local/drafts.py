"""Prompt-lookup drafts: the next tokens guessed from where the last ones stood before.

After Saxena's prompt lookup decoding (github.com/apoorvumang/prompt-lookup-decoding, 2023). Who
checks the guesses draws every token as without them, so the text is the same. Knows one request's
ids; no model.
"""

DRAFT_ROWS = 16  # rows of a step that guesses may fill: they cost little more than one
_GRAM = 3  # tokens that must have stood together before
_MOST = DRAFT_ROWS - 1  # tokens guessed at once, beside the last token
_REST = 32  # tokens after which guessing is tried again when it has missed


class Drafts:
    """What may follow, for one request; `ids` is its own list, the prompt and then the reply."""

    def __init__(self, ids: list[int]) -> None:
        self._ids = ids
        # The last _GRAM tokens -> the position that followed them last.
        self._after: dict[tuple[int, ...], int] = {}
        self._read = _GRAM
        self._size = 4
        self._resumes = 0  # no guesses before this many tokens

    @property
    def awake(self) -> bool:
        """Whether it is worth guessing now."""
        return len(self._ids) >= self._resumes

    def guess(self, limit: int) -> list[int]:
        """At most `limit` ids that may follow; none when these tokens never stood together."""
        ids = self._ids
        for end in range(self._read, len(ids)):
            self._after[tuple(ids[end - _GRAM : end])] = end
        self._read = max(self._read, len(ids))
        if not self.awake:
            return []
        start = self._after.get(tuple(ids[-_GRAM:]))
        if start is None:
            return []
        count = min(self._size, limit)
        past = ids[start : start + count]
        return (past * count)[:count]  # where the past ends it begins again: a loop goes on

    def learn(self, guessed: int, right: int) -> None:
        """How many of `guessed` tokens were right: more the next time, fewer, or a rest."""
        if right == guessed:
            self._size = min(2 * self._size, _MOST)
        else:
            self._size = max(right, self._size // 2)
        if not self._size:
            self._size, self._resumes = 2, len(self._ids) + _REST
