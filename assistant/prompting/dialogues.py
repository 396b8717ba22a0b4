"""A template's preamble, taken apart into its dialogues and put together again.

    intro  ·  separator  ·  user marker, text, turn_end, assistant marker, text, turn_end, ...  ·
    separator  ·  ...  ·  separator

take_apart() gives parts only where put_together() makes the same text of them again, so whoever
edits one part changes nothing else. Knows markers, and nothing of files or pages.
"""

import re
from collections.abc import Sequence
from typing import TypeAlias

from assistant.conversation import ROLES, Role, Turn
from assistant.prompting.template import PromptTemplate

Dialogues: TypeAlias = Sequence[Sequence[Turn]]


def count_chars(intro: str, dialogues: Dialogues, template: PromptTemplate) -> int:
    """How many characters put_together() is given to write, but for white space: markers count as
    often as they are written, so a short request may ask for a very long text."""
    turns = [turn for turns in dialogues for turn in turns]
    texts = sum(len(_marker(turn.role, template)) + len(turn.text.strip()) for turn in turns)
    ends = len(template.turn_end) * len(turns) + len(template.separator or "") * len(dialogues)
    return len(intro.strip()) + texts + ends


def put_together(intro: str, dialogues: Dialogues, template: PromptTemplate) -> str:
    """The preamble with the markers of `template`: `intro`, then the dialogues, each closed by the
    separator where there is one. White space around texts leaves, and so does what is empty."""
    written = ["".join(_write(turn, template) for turn in turns) for turns in dialogues]
    blocks = list(filter(None, [intro.strip(), *written]))
    gap = template.turn_end[len(template.turn_end.rstrip()) :]
    gap = gap if "\n" in gap else "\n"  # the separator has a line for itself
    closed = template.separator is not None and any(written)
    line = f"{template.separator}{gap}" if closed else ""
    text = "".join(f"{block.removesuffix(gap)}{gap}{line}" for block in blocks).rstrip()
    return f"{text}\n" if text else ""


def _write(turn: Turn, template: PromptTemplate) -> str:
    marker = _marker(turn.role, template)
    space = "" if marker[-1:].isspace() else " "
    return f"{marker}{space}{turn.text.strip()}{template.turn_end}"


def _marker(role: Role, template: PromptTemplate) -> str:
    return template.user if role == "user" else template.assistant


def take_apart(template: PromptTemplate) -> tuple[str, Dialogues] | None:
    """(intro, dialogues) of a template's preamble, or None where they would not give the same text
    again, and where the template is exact: these are written with blanks of their own."""
    if template.exact:
        return None
    either = "|".join(sorted(map(re.escape, (template.user, template.assistant)), key=len)[::-1])
    begun = re.compile(f"^(?:{either})", re.MULTILINE)
    blocks = [template.preamble]
    if template.separator is not None:
        line = rf"^{re.escape(template.separator)}$"
        blocks = re.split(line, template.preamble, flags=re.MULTILINE)
    blocks = [block.strip() for block in blocks]
    first = begun.search(blocks[0])
    intro = blocks[0][: first.start() if first else None]
    blocks[0] = blocks[0][len(intro) :]
    parting = re.compile(f"{re.escape(template.turn_end)}(?={either})")
    ending = template.turn_end.strip()
    dialogues = []
    for block in filter(None, blocks):
        texts = filter(None, parting.split(block.removesuffix(ending)))
        dialogues.append([_read(text, template) for text in texts])
    same = put_together(intro, dialogues, template) == template.preamble
    return (intro.strip(), dialogues) if same else None


def _read(text: str, template: PromptTemplate) -> Turn:
    """The turn that `text` is, its marker before it. Of what has none, another text is written."""
    markers = {role: _marker(role, template) for role in ROLES}
    role = max(ROLES, key=lambda each: len(markers[each]) * text.startswith(markers[each]))
    return Turn(role, text.removeprefix(markers[role]).strip())
