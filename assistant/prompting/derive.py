"""derive(): a PromptTemplate read off what a chat template makes of made-up conversations.

Each message is a word that cannot occur by chance. What the chat template writes around those words
is its text; what stands in their place is a message. So no message ever passes through it, and it
runs once, not with each prompt. Whether the same text comes out both ways is tried with every text
that the chat template itself mentions: one that looks into messages is found out.
"""

import random
import re
import string
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from os.path import commonprefix
from typing import Any, TypeAlias

from assistant.conversation import Turn
from assistant.errors import TemplateError
from assistant.prompting.template import PLACE, PromptTemplate
from assistant.text import quoted

# Messages as chat APIs have them, and whether a reply is to be opened behind them. Raises
# TemplateError, whose text goes on behind "The model's own chat template cannot be used: ".
Render: TypeAlias = Callable[[list[dict[str, str]], bool], str]
WORD = 24  # letters
PROBES = ("\n\n", "\t", "{{ 1 }}", "{% raw %}", "<b>&'\"\\</b>", "é\u2028😀", "```")


def derive(
    render: Render, mentioned: Sequence[str], special: Sequence[str], bos: str, name: str
) -> dict[str, Any]:
    """The keys of an exact prompt template (prompts/README.md) that writes what `render` does.

    mentioned: texts that the chat template holds. special: the model's special tokens. bos: what
    the engine puts in front of every prompt, and the template therefore must not. Raises
    TemplateError as `render` does.
    """
    opening, reply, again, *later, new = _around(render, "uauau")
    if later != [reply, again]:
        raise TemplateError("it writes later turns in another way than the first ones")
    if reply.rstrip(" ") != new.rstrip(" "):
        raise TemplateError("it opens a new reply in another way than it shows earlier ones")
    told = None
    with suppress(TemplateError):  # many have no place for a system message
        told = _around(render, "suau")
    front = bos if opening.startswith(bos) else ""
    opening = opening.removeprefix(front)

    turn_end = ""  # where it cannot be told from the marker behind it
    with suppress(TemplateError):
        end = _around(render, "u", new=False)[-1]
        if reply.startswith(end) and reply[len(end) :].strip():
            turn_end = end
    user = _shared_end(opening, again, special)
    with suppress(TemplateError):
        end = _around(render, "ua", new=False)[-1]
        rest = again[len(end) :]
        if again.startswith(end) and user.endswith(rest) and rest.strip():
            user = rest
    if not user.strip():
        raise TemplateError("it does not tell where a message begins")

    values: dict[str, Any] = {
        "name": name,
        "user": user,
        "assistant": reply.removeprefix(turn_end),
        "turn_end": turn_end,
        "reply_end": again.removesuffix(user),
        "preamble": opening.removesuffix(user),
        "exact": True,
    }
    place: dict[str, str] = {}
    if told and told[2:] == [reply, again, new] and told[0].startswith(front):
        place = _place(told[0].removeprefix(front), told[1], opening, values["preamble"])
    for whole in (values | place, values):
        texts = "".join(text for text in whole.values() if isinstance(text, str))
        whole["special"] = tuple(token for token in special if token.strip() and token in texts)
        wrong = _first_wrong(PromptTemplate(**whole), render, mentioned, front)
        if wrong is None:
            return whole | {"special": list(whole["special"])}
    raise TemplateError(
        f"it changes or drops what is said where that holds {quoted(wrong)}"
        if wrong
        else "it writes some conversations in another way than others"
    )


def _shared_end(one: str, other: str, special: Sequence[str]) -> str:
    """The text that both end in. It begins within no special token."""
    either = re.compile("|".join(map(re.escape, special)) or "(?!)")
    end = commonprefix((one[::-1], other[::-1]))[::-1]
    for text in (one, other):
        at = len(text) - len(end)
        cut = [token.end() - at for token in either.finditer(text) if token.start() < at]
        end = end[max([0, *cut]) :]
    return end


def _place(before: str, behind: str, opening: str, preamble: str) -> dict[str, str]:
    """The keys for a system message that stands between `before` and `behind`. Where none is given,
    `opening` holds words in its place, or nothing; {} if it holds something else."""
    within = opening.removeprefix(before)
    if PLACE in before + behind:
        return {}
    if before.startswith(preamble):
        return {"system": before.removeprefix(preamble) + PLACE + behind}
    if opening.startswith(before) and within.endswith(behind):
        words = within.removesuffix(behind)
        return {"preamble": "", "system": before + PLACE + behind, "instructions": words}
    return {}


def _around(render: Render, roles: str, *, new: bool = True) -> list[str]:
    """What is written before the first message of a conversation, between the messages, and behind
    the last one. roles: their first letters. new: whether a reply is opened at the end."""
    words = ["".join(random.choices(string.ascii_lowercase, k=WORD)) for _ in roles]
    text = render(_messages(roles, words), new)
    pieces = []
    for word in words:
        before, found, text = text.partition(word)
        if not found or word in text:
            raise TemplateError("it changes messages, repeats them or leaves them out")
        pieces.append(before)
    return [*pieces, text]


def _messages(roles: str, texts: Sequence[str]) -> list[dict[str, str]]:
    names = {"s": "system", "u": "user", "a": "assistant"}
    return [{"role": names[r], "content": t} for r, t in zip(roles, texts, strict=True)]


# -- is it the same? --------------------------------------------------------------------------


def _first_wrong(
    template: PromptTemplate, render: Render, mentioned: Sequence[str], front: str
) -> str | None:
    """None where `template` writes what `render` writes; else the text that was said when it did
    not, "" for none in particular. front: what `template` leaves to the engine."""
    blank = " " * template.user.endswith(" ")
    firsts = ("", "s") if template.system else ("",)
    for text in ("", *dict.fromkeys((*PROBES, *mentioned))):
        for roles in (first + rest for rest in ("u", "uauauau") for first in firsts):
            for said in _said(template, text, len(roles)):
                messages = _messages(roles, said)
                if roles[0] == "s" and not str(template.system).endswith(blank):
                    messages[1]["content"] = blank + said[1]  # such a blank is the message's here
                try:
                    expected = render(messages, True)
                except TemplateError:
                    return text
                written = front + _written(template, roles, said)
                if expected.rstrip(" ") != written.rstrip(" "):
                    return text
    return None


def _said(template: PromptTemplate, text: str, count: int) -> Iterator[list[str]]:
    """Lists of `count` messages that hold `text` at each place in turn, as they are shown: without
    white space around them, and with what looks like a marker broken up."""
    words = ("abc", f"abc{text}", f"{text}abc", f"a{text}b\n{text}c", text)
    shown = [template.escaped(word.strip()) for word in words]
    fits = [word for word in shown if word and template.escaped(word) == word]
    fits = fits if text else fits[:1]
    for turn in range(len(fits)):
        yield [fits[(turn + index) % len(fits)] for index in range(count)]


def _written(template: PromptTemplate, roles: str, said: Sequence[str]) -> str:
    segments = template.opening(said[0] if roles[0] == "s" else "")
    for role, text in zip(roles, said, strict=True):
        if role != "s":
            turn = Turn("user" if role == "u" else "assistant", text)
            segments += template.message(turn) if role == "u" else template.reply(turn)
    return "".join(segment.text for segment in segments)
