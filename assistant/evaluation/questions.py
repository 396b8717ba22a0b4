"""Questions with programs that check the answers: read from a file, checked, applied to a reply.

Knows data and text, not who answers. The questions of ours are questions.toml.
"""

import dataclasses
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from assistant.errors import SettingsError
from assistant.evaluation.checks import PYTHON, blocks, parses, python_sources
from assistant.text import check_message, quoted

OURS = Path(__file__).with_name("questions.toml")
LANGUAGES = {  # a block's names
    "python": PYTHON,
    "shell": ("bash", "sh", "shell", "zsh", "console"),
    "sql": ("sql", "sqlite", "postgresql", "mysql"),
    "javascript": ("javascript", "js", "node", "typescript", "ts"),
    "c": ("c", "h"),
}


@dataclass(frozen=True, slots=True)
class Question:
    """facts: for each, the regular expressions of which one must be found in the reply; never:
    those that must not. Upper and lower case are the same to both. language: a key of LANGUAGES,
    of which there must be a block. run: Python assertions that hold behind the reply's code."""

    key: str
    area: str
    ask: str
    facts: tuple[tuple[str, ...], ...] = ()
    never: tuple[str, ...] = ()
    language: str | None = None
    run: str | None = None

    @property
    def checked(self) -> bool:
        """Whether anything tells a right answer from a wrong one."""
        return bool(self.facts or self.never or self.language)

    def code(self, text: str) -> str:
        """The Python of a reply, all blocks together."""
        return "\n".join(python_sources(blocks(text)))

    def faults(self, text: str) -> tuple[str, ...]:
        """What is wrong with a reply, as far as can be seen without running its code."""
        found = []
        for alternatives in self.facts:
            if not any(_finds(pattern, text) for pattern in alternatives):
                found.append(f"missing: {' or '.join(alternatives)}")
        found += [f"wrong: {pattern}" for pattern in self.never if _finds(pattern, text)]
        names = LANGUAGES.get(self.language or "", ())
        if names and not any(block.language in names for block in blocks(text)):
            found.append(f"no {self.language} block")
        if self.language == "python" and not parses(self.code(text)):
            found.append("does not parse")
        return tuple(found)


def unchecked_questions(asks: Iterable[object]) -> list[Question]:
    """Questions that a person typed, whose answers nothing checks. Raises TextError."""
    texts = [check_message(ask) for ask in asks]
    return [Question(f"typed-{n}", "typed", text) for n, text in enumerate(texts, 1)]


def _finds(pattern: str, text: str) -> bool:
    return bool(re.search(pattern, text, re.IGNORECASE | re.MULTILINE))


def load_questions(path: Path = OURS) -> list[Question]:
    """The Questions of a TOML file of [[question]] tables, whose keys are Question's fields.

    Raises SettingsError with the question and what is wrong with it.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SettingsError(f"The questions {path} cannot be read: {error}.") from None
    tables = content.get("question")
    if not isinstance(tables, list) or not tables or set(content) != {"question"}:
        raise SettingsError(f"The questions {path} must be [[question]] tables, at least one.")
    questions = [_question(table, f"Question {n} of {path}") for n, table in enumerate(tables, 1)]
    keys = [question.key for question in questions]
    if twice := [key for key in keys if keys.count(key) > 1]:
        raise SettingsError(f"The questions {path} have the key {quoted(twice[0])} twice.")
    return questions


def _question(table: object, where: str) -> Question:
    def refuse(reason: str) -> NoReturn:
        raise SettingsError(f"{where} is not usable: {reason}.")

    if not isinstance(table, dict):
        refuse("it is not a table")
    known = {field.name for field in dataclasses.fields(Question)}
    if unknown := sorted(set(table) - known):
        refuse(f"it has the unknown key {quoted(unknown[0])}")
    for key in ("key", "area", "ask"):
        if not isinstance(table.get(key), str) or not table[key].strip():
            refuse(f"{key!r} must be a text that is not empty")
    facts, never = table.get("facts", []), table.get("never", [])
    if not isinstance(facts, list) or not all(map(_is_patterns, facts)) or not all(facts):
        refuse("'facts' must be a list of lists of regular expressions")
    if not _is_patterns(never):
        refuse("'never' must be a list of regular expressions")
    language, run = table.get("language"), table.get("run")
    if language is not None and language not in list(LANGUAGES):
        refuse(f"'language' must be one of {', '.join(LANGUAGES)}, not {quoted(language)}")
    if run is not None and (language != "python" or not isinstance(run, str) or not parses(run)):
        refuse("'run' must be Python that parses, beside the language python")
    question = Question(
        key=table["key"],
        area=table["area"],
        ask=table["ask"].strip(),
        facts=tuple(tuple(alternatives) for alternatives in facts),
        never=tuple(never),
        language=language,
        run=run,
    )
    if not question.checked:
        refuse("nothing checks its answer")
    return question


def _is_patterns(value: object) -> bool:
    try:
        return isinstance(value, list) and all(re.compile(pattern) for pattern in value)
    except (re.error, TypeError, OverflowError, RecursionError):
        return False
