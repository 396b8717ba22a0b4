"""Turn and Conversation: a path through what was said, with a message or a reply added.

Knows roles and their order, not how turns are written into a prompt. Both classes are immutable:
each change gives a new conversation. What a client sends is checked here before it becomes one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from assistant.engine.protocol import Tokenizer
from assistant.errors import HistoryError, TextError
from assistant.text import PROMPT_CHARS_MAX, check_message, clean, quoted

TURNS_MAX = 1000
GREETING = "Hello."  # before a conversation that the assistant begins
_ID_MAX = 2**31  # no vocabulary is larger
Role: TypeAlias = Literal["user", "assistant"]
ROLES: tuple[Role, Role] = ("user", "assistant")
SPEAKERS = ("system", "developer", *ROLES, "tool", "function")  # in the messages of a chat API
Finish: TypeAlias = Literal["stop", "length", "cancelled", "error"]
FINISHES: tuple[Finish, ...] = get_args(Finish)


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side said, without blank lines around it. ids: the tokens generated for it, where
    known. pinned: never leaves the window. finish: how a reply ended."""

    role: Role
    text: str
    ids: tuple[int, ...] | None = None
    pinned: bool = False
    finish: Finish | None = None


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns that alternate, the user's first. A reply may be empty: the model said nothing."""

    turns: tuple[Turn, ...] = ()

    def __post_init__(self) -> None:
        for index, turn in enumerate(self.turns):
            if turn.role != ROLES[index % 2]:
                raise HistoryError(
                    "The turns of a conversation must alternate, the user's first; turn "
                    f"{index + 1} is by {quoted(turn.role)}."
                )

    @property
    def exchanges(self) -> tuple[tuple[Turn, Turn], ...]:
        """The finished exchanges: pairs of a message and its reply."""
        return tuple(zip(self.turns[0::2], self.turns[1::2], strict=False))

    @property
    def message(self) -> Turn:
        """The newest message, while it waits for its reply. Raises HistoryError without one."""
        if len(self.turns) % 2 == 0:
            raise HistoryError("The conversation has no message that waits for a reply.")
        return self.turns[-1]

    def add_message(self, text: object) -> "Conversation":
        """With a message of the user. Raises TextError."""
        return Conversation((*self.turns, Turn("user", check_message(text))))

    def add_reply(
        self, text: str, ids: Iterable[int] | None = None, finish: Finish | None = None
    ) -> "Conversation":
        """With the model's reply, maybe empty. ids: the generated tokens."""
        ids = None if ids is None else tuple(ids)
        return Conversation((*self.turns, Turn("assistant", text.strip(), ids, finish=finish)))

    def drop_reply(self) -> "Conversation":
        """Without the last reply, so that its message waits for a new one."""
        if len(self.turns) % 2:
            return self
        return Conversation(self.turns[:-1])

    @classmethod
    def from_history(cls, history: object, *, last: Role | None = "assistant") -> "Conversation":
        """The conversation that a client sent: None, or a list of {"role", "content"} whose roles
        alternate from "user" to "assistant". content: a string, or a list of text blocks
        {"type": "text", "text"}; "ids" (see `trusted_ids`), "pinned" and "finish" may go with it
        as in Turn, other keys are ignored. last: the role that the history must end with, None
        for either. Raises HistoryError."""
        if history is None:
            return cls()
        if not isinstance(history, (list, tuple)):
            raise HistoryError(f"The history must be a list of turns, not {quoted(history)}.")
        _check_count(history)
        turns = tuple(_turn(index, item) for index, item in enumerate(history))
        if len(turns) % 2 and last == "assistant":
            raise HistoryError("The history must end with a reply of the assistant.")
        if len(turns) % 2 == 0 and last == "user":
            raise HistoryError("The history must end with a message of the user.")
        return cls(turns)

    @classmethod
    def from_messages(cls, messages: Sequence[object]) -> tuple[str, "Conversation"]:
        """(system text, conversation) of what the client of a chat API sent: as from_history, but
        neighbours of one role are joined by a blank line, those of the role "system" or
        "developer" are taken out from wherever they stand, and what a tool was asked and answered
        is text. Errors count as the client does. Raises HistoryError and TextError."""
        _check_count(messages)
        system: list[str] = []
        turns: list[dict[str, Any]] = []
        for index, item in enumerate(messages):
            fields = item if isinstance(item, dict) else {}
            where = f"Message {index + 1}"
            role, text = _said(where, fields)
            if role not in SPEAKERS:
                raise HistoryError(
                    f"{where} must have one of {', '.join(SPEAKERS)} as its role, not "
                    f"{quoted(role)}."
                )
            if role in ("system", "developer"):
                system.append(text)
                continue
            joined, last = bool(turns) and turns[-1]["role"] == role, index == len(messages) - 1
            if not text.strip() and role in ROLES and turns and (joined or not last):
                continue  # nothing was said
            if role == "user":
                text = _message(where, text)
            if not turns and role == "assistant":
                turns += [{"role": "user", "content": GREETING}, {"role": role, "content": text}]
            elif joined:
                turns[-1]["content"] += f"\n\n{text}"
            else:
                turns.append({"role": role, "content": text})
        whole = "\n\n".join(system)
        return check_message(whole) if whole.strip() else "", cls.from_history(turns, last=None)


def _said(where: str, fields: dict[str, Any]) -> tuple[object, str]:
    """(role, text) of a message. A call of a tool, and what came back, is told as text."""
    role, content = fields.get("role"), fields.get("content")
    calls = fields.get("tool_calls") if role == "assistant" else None
    parts = [] if content is None and role == "assistant" else [_content(where, content)]
    for call in calls if isinstance(calls, list) else []:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict):
            raise HistoryError(f"{where} has a tool call without a function.")
        parts.append(f"{function.get('name')}({function.get('arguments')})")
    if role in ("tool", "function"):
        return "user", f"The tool answered: {parts[0]}"
    return role, "\n\n".join(parts)


def _check_count(turns: Sequence[object]) -> None:
    if len(turns) > TURNS_MAX:
        raise HistoryError(
            f"A history may have at most {TURNS_MAX} turns; {len(turns)} were given."
        )


def _turn(index: int, item: object) -> Turn:
    where = f"Turn {index + 1} of the history"
    if not isinstance(item, dict):
        raise HistoryError(f"{where} must have a role and a content, not be {quoted(item)}.")
    role = ROLES[index % 2]
    if item.get("role") != role:
        raise HistoryError(f"{where} must have the role {role!r}, not {quoted(item.get('role'))}.")
    text = _content(where, item.get("content"))
    pinned = item.get("pinned") or False
    if not isinstance(pinned, bool):
        raise HistoryError(f"{where} must have true or false as pinned, not {quoted(pinned)}.")
    if role == "user":
        return Turn(role, _message(where, text), pinned=pinned)
    if len(text) > PROMPT_CHARS_MAX:
        raise HistoryError(
            f"{where} may have at most {PROMPT_CHARS_MAX:,} characters; it has {len(text):,}."
        )
    ids, finish = item.get("ids"), item.get("finish")
    if finish is not None and finish not in FINISHES:
        raise HistoryError(
            f"{where} must have one of {', '.join(FINISHES)} as finish, not {quoted(finish)}."
        )
    if not isinstance(ids, list) or not all(type(id) is int and 0 <= id < _ID_MAX for id in ids):
        ids = None
    known = None if ids is None else tuple(ids)
    return Turn(role, clean(text).strip(), known, pinned, finish)


def _message(where: str, text: str) -> str:
    try:
        return check_message(text)
    except TextError as error:
        reason = str(error)
        raise HistoryError(f"{where} is refused: {reason[:1].lower()}{reason[1:]}") from None


def _content(where: str, content: object) -> str:
    if isinstance(content, str):
        return content
    texts = []
    for block in content if isinstance(content, list) else [content]:
        block = block if isinstance(block, dict) else {}
        kind = block.get("type")
        if isinstance(kind, str) and kind != "text":
            raise HistoryError(
                f"{where} has a part of the type {quoted(kind)}; only text is taken here."
            )
        text = block.get("text") if kind == "text" else None
        if not isinstance(text, str):
            raise HistoryError(f"{where} must have text as its content.")
        texts.append(text)
    return "\n".join(texts)


def trusted_ids(turn: Turn, tokenizer: Tokenizer) -> tuple[int, ...] | None:
    """`turn.ids` if each is an ordinary token and together they decode to the turn's text, white
    space at the ends aside; else None: the text must be encoded anew."""
    ids = turn.ids
    if not ids or not turn.text:
        return None
    special, size = set(tokenizer.special.values()), len(tokenizer)
    for token in ids:
        if type(token) is not int or not 0 <= token < size or token in special:
            return None
    return tuple(ids) if tokenizer.decode(ids).strip() == turn.text else None
