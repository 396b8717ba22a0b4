"""The prompt library: completion templates and saved questions, with variables to fill in.

prompts/completion/*.toml holds raw prompts, prompts/questions.toml messages for the chat. In their
text {name} stands for a variable's value, which is never trusted: whatever it spells stays text.
Knows files and values; no engine, no page.
"""

from dataclasses import dataclass

KINDS = ("text", "code", "choice", "number")


@dataclass(frozen=True, slots=True)
class Variable:
    """A value to fill in. kind: "text" is one line, "code" any number, "choice" one of `choices`,
    "number" a whole number from `least` to `most`. label: for the form. default: a str, or an int
    for a number; None where the person must give one."""

    name: str
    kind: str = "text"
    label: str = ""
    default: str | int | None = None
    choices: tuple[str, ...] = ()
    least: int = 0
    most: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Entry:
    """A completion template or a saved question. why: one line, for the list."""

    key: str
    name: str
    why: str
    text: str
    variables: tuple[Variable, ...] = ()

    def lacking(self, tokenizer):
        """None, or the sentence that names the special tokens which the tokenizer lacks."""

    def fill(self, values):
        """The Raw of the text with `values` (name to value) in place, whose ranges are plain. A
        variable that is missing or blank takes its default. Raises TextError. A question's
        message is the Raw's text."""


def completions():
    """The completion templates, key to Entry. Raises TemplateError."""


def questions():
    """The saved questions, key to Entry. Raises TemplateError."""
