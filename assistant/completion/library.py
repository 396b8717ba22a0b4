"""The prompt library: completion templates and saved questions, with variables to fill in.

prompts/completion/*.toml holds raw prompts, prompts/questions.toml messages for the chat
(prompts/README.md). In a text {name} stands for a variable's value, which is never trusted:
whatever it spells stays text. Knows files and values; no engine, no page.
"""

import dataclasses
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from assistant.completion.raw import Raw
from assistant.engine.protocol import Tokenizer
from assistant.errors import TemplateError, TextError
from assistant.paths import PROMPTS
from assistant.prompting.escape import SPECIAL
from assistant.prompting.template import Segment
from assistant.text import MESSAGE_CHARS_MAX, clean, quoted

KINDS = ("text", "code", "choice", "number")
LINE_CHARS_MAX = 500
# What spells a special token in the texts here: StarCoder's, and the chat markers of its relatives.
SPELT = re.compile(
    SPECIAL.pattern
    + "|<(?:fim|issue|jupyter|commit)_[a-z]+>|<(?:filename|gh_stars|empty_output|reponame)>"
)


@dataclass(frozen=True, slots=True)
class Variable:
    """A value to fill in. kind: "text" is one line, "code" any number of lines, "choice" one of
    `choices`, "number" a whole number from `least` to `most`. label: for the form. default: as it
    would be typed; None where the person must give a value."""

    name: str
    kind: str = "text"
    label: str = ""
    default: str | None = None
    choices: tuple[str, ...] = ()
    least: int = 0
    most: int = 1_000_000

    def read(self, value: object) -> str:
        """`value`, a str or None, and a number for "number", as the text that is filled in; blank
        takes the default. Raises TextError."""

        def refuse(reason: str) -> NoReturn:
            raise TextError(f"{self.label} {reason}.")

        what = "a whole number" if self.kind == "number" else "text"
        number = self.kind == "number" and not isinstance(value, bool)
        if number and isinstance(value, (int, float)) and abs(value) < 1e15:
            value = f"{value:.15g}"  # sliders send floats
        if value is not None and not isinstance(value, str):
            refuse(f"must be {what}, not {quoted(value)}")
        limit = MESSAGE_CHARS_MAX if self.kind == "code" else LINE_CHARS_MAX
        text = value or ""
        if len(text) > limit:
            refuse(f"may have at most {limit:,} characters; it has {len(text):,}")
        text = clean(text)
        text = text if self.kind == "code" else text.strip()
        if not text.strip():
            if self.default is None:
                refuse("is empty; fill it in first")
            text = self.default
        if "\n" in text and self.kind != "code":
            refuse("must be one line")
        if self.kind == "choice" and text not in self.choices:
            refuse(f"must be one of {', '.join(self.choices)}, not {quoted(text)}")
        if self.kind == "number":
            if not re.fullmatch(r"-?\d{1,15}", text, re.ASCII):
                refuse(f"must be {what}, not {quoted(text)}")
            if not self.least <= int(text) <= self.most:
                refuse(f"must be from {self.least:,} to {self.most:,}; {text} was given")
        return text


@dataclass(frozen=True, slots=True)
class Entry:
    """A completion template or a saved question. why: one line, for the list."""

    key: str
    name: str
    why: str
    text: str
    variables: tuple[Variable, ...] = ()

    def missing_tokens(self, tokenizer: Tokenizer) -> str | None:
        """None, or the sentence that names the special tokens which the tokenizer lacks."""
        spelt = dict.fromkeys(SPELT.findall(self.text))
        if names := [text for text in spelt if text not in tokenizer.special]:
            return (
                f"{self.name} needs special tokens that this model's tokenizer lacks: "
                f"{', '.join(names)}."
            )
        return None

    def fill(self, values: Mapping[str, object]) -> Raw:
        """The Raw of the text with `values` (name to value) in place, whose ranges are plain; a
        question's message is its text. See Variable.read. Raises TextError."""
        texts = {each.name: each.read(values.get(each.name)) for each in self.variables}
        parts = re.split(_names(texts), self.text)  # text, name, text, ...: values are not searched
        return Raw.from_segments(
            Segment(texts[part], trusted=False) if n % 2 else Segment(part, trusted=True)
            for n, part in enumerate(parts)
        )


def completions() -> dict[str, Entry]:
    """The completion templates by key, in the order of their names. Raises TemplateError."""
    entries = {}
    for path in (PROMPTS / "completion").glob("*.toml"):
        entries[path.stem] = _entry(path.stem, _table(path), path.name)
    return dict(sorted(entries.items(), key=lambda each: each[1].name))


def questions() -> dict[str, Entry]:
    """The saved questions by key, in the file's order. Raises TemplateError."""
    path = PROMPTS / "questions.toml"
    tables = _table(path)
    return {key: _entry(key, table, f"{path.name}, {key},") for key, table in tables.items()}


def _table(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise TemplateError(f"{path} cannot be read: {error}.") from None


_Refuse: TypeAlias = Callable[[str], NoReturn]


def _entry(key: str, values: object, where: str) -> Entry:
    """An Entry from the keys and values of a file. where: what to call it in messages."""

    def refuse(reason: str) -> NoReturn:
        raise TemplateError(f"The prompt {where} is not usable: {reason}.")

    table = _check(values, {"name", "why", "text", "variables"}, ("name", "why", "text"), refuse)
    for name in ("name", "why", "text"):
        if not table.get(name, "").strip() or "\n" in table[name] and name != "text":
            refuse(f"{name!r} must be a text{'' if name == 'text' else ' on one line'}")
    variables = table.get("variables", {})
    if not isinstance(variables, dict):
        refuse("'variables' must be tables")
    for name in variables:
        if not re.search(_names([name]), table["text"]):
            refuse(f"its text has no {{{name}}}")
    found = tuple(_variable(*each, refuse) for each in variables.items())
    return Entry(key, table["name"], table["why"], table["text"], found)


def _variable(name: str, table: object, refuse: _Refuse) -> Variable:
    known = {field.name for field in dataclasses.fields(Variable)} - {"name"}
    values = _check(table, known, ("kind", "label", "default"), refuse)
    choices = values.get("choices", [])
    if not isinstance(choices, list) or not all(isinstance(text, str) for text in choices):
        refuse("'choices' must be a list of strings")
    if not all(type(values.get(bound, 0)) is int for bound in ("least", "most")):
        refuse("'least' and 'most' must be whole numbers")
    variable = Variable(name, **{"label": name, **values, "choices": tuple(choices)})
    if variable.kind not in KINDS:
        refuse(f"'kind' must be one of {', '.join(KINDS)}, not {quoted(variable.kind)}")
    if (variable.kind == "choice") != bool(choices):
        refuse(f"a choice, and nothing else, has 'choices'; look at {name!r}")
    try:
        if variable.default is not None:
            variable.read(variable.default)
    except TextError as error:
        refuse(f"the default of {name!r} is refused: {error}".rstrip("."))
    return variable


def _check(
    table: object, known: set[str], strings: tuple[str, ...], refuse: _Refuse
) -> dict[str, Any]:
    """`table`, which has known keys only, and strings where they must be."""
    if not isinstance(table, dict):
        refuse(f"{quoted(table)} is not a table")
    if unknown := sorted(set(table) - known):
        refuse(f"it has the unknown key {quoted(unknown[0])}")
    for name in strings:
        if not isinstance(table.get(name, ""), str):
            refuse(f"{name!r} must be a string")
    return table


def _names(names: Iterable[str]) -> str:
    """A pattern that finds the places of `names` in a text; its group is the name."""
    return "{(" + ("|".join(map(re.escape, names)) or "(?!)") + ")}"
