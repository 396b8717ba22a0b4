"""What a reply must match: JSON, a schema of it, a regular expression, a choice, or a grammar.

Masks of tokens are llguidance's; the engine asks it for them (engine/local/guide.py). Knows how a
grammar is written and bounded; no tokens.
"""

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NewType

from llguidance import LLMatcher, LLParserLimits

from assistant.errors import GrammarError
from assistant.text import replace_surrogates

if TYPE_CHECKING:
    from llguidance._lib import JsonCompileOptions

Grammar = NewType("Grammar", str)  # checked, in llguidance's own form

CHARS_MAX = 50_000  # of a schema or a grammar
CHOICES_MAX = 1_000
# Python's own style: with blanks at will a small model writes them without end.
_STYLE: "JsonCompileOptions" = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
}
# A twentieth of llguidance's own: the first mask of an expression that repeats itself a million
# times took 2.1 s for StarCoder's vocabulary, and takes 0.04 s with this.
LIMITS = LLParserLimits(verbose_errors=False, initial_lexer_fuel=50_000, step_lexer_fuel=10_000)


def json_object() -> Grammar:
    """Any JSON object."""
    return json_schema({"type": "object"})


def json_schema(schema: object) -> Grammar:
    """JSON that is valid under `schema`, an object or its text. Raises GrammarError."""
    if not isinstance(schema, (Mapping, str)):
        raise GrammarError("A JSON schema must be an object.")
    text = schema if isinstance(schema, str) else _dump(schema)
    _check_length("A JSON schema", text)
    try:
        return _checked(LLMatcher.grammar_from_json_schema(text, overrides=_STYLE))
    except ValueError:
        raise GrammarError(
            "The JSON schema is not JSON that can be read here, or nested too deeply."
        ) from None


def regex(pattern: object) -> Grammar:
    """Text that all of `pattern` matches, in the syntax of Rust's regex crate. Raises
    GrammarError."""
    return _checked(LLMatcher.grammar_from_regex(_text("A regular expression", pattern)))


def choice(options: object) -> Grammar:
    """One of some texts. Raises GrammarError."""
    given = options if isinstance(options, (list, tuple)) else ()
    texts = [one for one in given if isinstance(one, str) and one]
    if not texts or len(texts) != len(given):
        raise GrammarError("A choice must be a list of texts that are not empty.")
    _text("A choice", "".join(texts))
    if len(texts) > CHOICES_MAX:
        raise GrammarError(f"A choice may have at most {CHOICES_MAX} texts; it has {len(texts)}.")
    return _checked(LLMatcher.grammar_from_regex("|".join(map(re.escape, texts))))


def lark(source: object) -> Grammar:
    """Text of a Lark grammar, in llguidance's dialect. Raises GrammarError."""
    return _checked(LLMatcher.grammar_from_lark(_text("A grammar", source)))


def _dump(value: Mapping[str, Any]) -> str:
    try:
        return json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        raise GrammarError("The JSON schema is not JSON.") from None


def _text(what: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise GrammarError(f"{what} must be text.")
    if replace_surrogates(value) != value:
        raise GrammarError(f"{what} holds half of a character, which cannot be encoded.")
    _check_length(what, value)
    return value


def _check_length(what: str, text: str) -> None:
    if len(text) > CHARS_MAX:
        raise GrammarError(
            f"{what} may have at most {CHARS_MAX:,} characters; this one has {len(text):,}."
        )


def _checked(grammar: str) -> Grammar:
    if why := LLMatcher.validate_grammar(grammar, limits=LIMITS):
        reason = " ".join(why.rpartition("error: ")[2].split())[:200].rstrip(".")
        raise GrammarError(f"What the reply must match cannot be read: {reason}.")
    return Grammar(grammar)
