"""What a reply must match, in the forms in which OpenAI, vLLM, llama.cpp and TGI have it.

Knows keys; what a grammar may be is grammar.py's.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from llguidance.gbnf_to_lark import gbnf_to_lark

from assistant.errors import GrammarError, RequestError
from assistant.grammar import Grammar, choice, json_schema, lark, regex
from assistant.web.api.fields import OFF

GBNF_CHARS_MAX = 8_000  # it is converted in a time that grows with the square of its rules: 1 s
GBNF = re.compile(r"^\s*[\w-]+\s*::=", re.M)
ANY_OBJECT = {"type": "object"}
FIELDS = ("response_format", "structured_outputs", "guided_json", "guided_regex", "guided_choice",
          "guided_grammar", "json_schema", "grammar")  # fmt: skip


def _source(text: object) -> Grammar:
    """A grammar in Lark's form, or in GBNF, llama.cpp's own."""
    if not isinstance(text, str) or not GBNF.search(text):
        return lark(text)
    if len(text) > GBNF_CHARS_MAX:
        raise GrammarError(
            f"A grammar in GBNF may have at most {GBNF_CHARS_MAX:,} characters; this one has "
            f"{len(text):,}."
        )
    try:
        text = gbnf_to_lark(text)
    except Exception as error:  # its own error for what it cannot read; for depth, Python's
        raise GrammarError("The grammar is no GBNF that can be read here.") from error
    return lark(text)


KINDS: dict[str, Callable[[object], Grammar]] = {
    "json": json_schema,
    "regex": regex,
    "choice": choice,
    "grammar": _source,
}


def read_grammar(fields: Mapping[str, object]) -> Grammar | None:
    """The grammar that one of `fields`, such as FIELDS, asks for; None where none does. Raises
    RequestError."""
    asked = {name: value for name, value in fields.items() if value not in OFF}
    pairs = {name: pair for name, value in asked.items() if (pair := _asked(name, value))}
    if len(pairs) > 1:
        raise RequestError(f"Send one of {' and '.join(pairs)}, and leave the others out.")
    for name, (kind, value) in pairs.items():
        try:
            return KINDS[kind](value)
        except GrammarError as error:
            raise GrammarError(str(error), name) from error
    return None


def _asked(name: str, value: Any) -> tuple[str, object] | None:
    """One of KINDS, and what for; None for plain text. Raises RequestError."""
    if name.startswith("guided_"):
        return name.removeprefix("guided_"), value
    if name == "json_schema":
        return "json", value
    if name == "grammar" and isinstance(value, str):
        return "grammar", value
    given = value if isinstance(value, dict) else {}
    if name == "structured_outputs":
        wanted = {kind: each for kind, each in given.items() if each not in OFF}
        if wanted.keys() == {"json_object"}:
            return "json", ANY_OBJECT
        if len(wanted) == 1 and wanted.keys() <= KINDS.keys():
            return next(iter(wanted.items()))
        kinds = ", ".join(KINDS)
        raise RequestError(f"{name} must have one of {kinds} and json_object, and only one.", name)
    match given:
        case {"type": "text"}:
            return None
        case {"type": "json_object"}:  # llama.cpp's may have a schema, huggingface_hub's a value
            return "json", given.get("schema") or given.get("value") or ANY_OBJECT
        case {"type": "json_schema", "json_schema": {"schema": schema}}:
            return "json", schema
        case {"type": "json_schema", "schema": schema}:  # that of /v1/responses
            return "json", schema
        case {"type": "json_schema", "value": {"schema": schema}}:  # TGI's, with a name beside it
            return "json", schema
        case {"type": "json" | "json_schema", "value": schema}:  # TGI's
            return "json", schema
        case {"type": "regex", "value": pattern}:
            return "regex", pattern
    raise RequestError(
        f"{name} must have the type text, json_object, json_schema or regex, with what belongs to "
        "it.",
        name,
    )
