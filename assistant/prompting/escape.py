"""Look-alikes of a turn's beginning and end, in a text that nobody vouches for, broken up.

Knows texts and markers, no tokens: a byte-level tokenizer gives back exactly the text that it was
given, so ids in which a marker stands come only from a text in which it does.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from assistant.prompting.fences import Fences

SPECIAL = re.compile(r"<\|[^|<>\s]+\|>")  # what looks like a special token in a template

_BREAKS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"  # what str.splitlines takes for the end of a line
_START = f"(?<![^{_BREAKS}])"
_END = rf"(?=[^\S{_BREAKS}]*(?:[{_BREAKS}]|\Z))"
# What is put before a look-alike, with a space. As mails and Markdown have it, ">" says that a line
# is quoted: the words stay, no letter of theirs changes, nothing is hidden, and it is two tokens at
# most. A space alone would not be seen, and a base model still takes " Human:" for a turn. The
# other signs are for templates in whose own markers the first ones stand.
_SIGNS = ">|\\~^·"


def escape(
    text: str,
    user: str,
    assistant: str,
    turn_end: str,
    separator: str | None = None,
    reply_end: str | None = None,
    special: tuple[str, ...] | None = None,
) -> str:
    """`text` with a sign and a space before each line that begins as a turn does, or that is
    `turn_end` or `separator` alone; inside of an open code fence the latter stays, as it ends no
    reply there. user, assistant: what opens a turn; reply_end: what ends a reply, where that is not
    turn_end. special: see spells(). Where turns follow each other on one line, the
    sign stands inside of each look-alike, before its last character. Markers that are special
    tokens are left: no text can spell those."""
    reply_end = turn_end if reply_end is None else reply_end
    marks = _marks(user, assistant, turn_end, separator, reply_end, special)
    text = marks.starts.sub(lambda _: f"{marks.sign} ", text)
    text = marks.inside.sub(lambda _: marks.sign, text)
    if separator and marks.separator.search(text):
        lines, fences = text.split("\n"), Fences()
        for index, line in enumerate(lines):
            if not fences:
                lines[index] = marks.separator.sub(lambda _: f"{marks.sign} ", line)
            fences.line(line)
        text = "\n".join(lines)
    return text


def spells(text: str, special: tuple[str, ...] | None) -> bool:
    """Whether `text` holds a special token. special: those that count; None for what looks like
    one."""
    if special is None:
        return SPECIAL.search(text) is not None
    return any(token in text for token in special)


@dataclass(frozen=True, slots=True)
class _Marks:
    """The places, as patterns, at which the sign goes into a text."""

    sign: str
    starts: re.Pattern[str]
    inside: re.Pattern[str]
    separator: re.Pattern[str]


@lru_cache(maxsize=256)
def _marks(
    user: str,
    assistant: str,
    turn_end: str,
    separator: str | None,
    reply_end: str,
    special: tuple[str, ...] | None,
) -> _Marks:
    starts: list[str] = []
    inside: list[str] = []
    plain = separator or ""
    parts = (("", turn_end), ("", reply_end), (reply_end, user), (turn_end, assistant))
    for ahead, mark in dict.fromkeys(parts):
        core = (mark.strip().splitlines() or [""])[0]
        if not core or spells(core, special):
            continue
        before, _, behind = mark.partition(core)
        plain += core
        if not (ahead + before).endswith(tuple(_BREAKS)):
            inside.append(f"(?<={re.escape(core[:-1])})(?={re.escape(core[-1])})")
        else:
            alone = behind.startswith(tuple(_BREAKS))
            starts.append(re.escape(core) + (_END if alone else ""))
    return _Marks(
        next((sign for sign in _SIGNS if sign not in plain), _SIGNS[-1]),
        re.compile(f"{_START}(?={'|'.join(starts)})" if starts else "(?!)"),
        re.compile("|".join(inside) or "(?!)"),
        re.compile(f"{_START}(?={re.escape(separator or '')}{_END})"),
    )
