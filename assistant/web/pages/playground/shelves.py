"""The prompt library for the page's scripts: what can be filled in, and the text that this gives.

Knows the library and JSON; nothing is sent to a model from here.
"""

from collections.abc import Mapping
from typing import Any

from assistant.completion.library import Entry, Variable, completions, questions
from assistant.engine.protocol import Tokenizer
from assistant.errors import RequestError
from assistant.prompting.template import Segment
from assistant.text import quoted


def shelves(tokenizer: Tokenizer) -> dict[str, Any]:
    """{"templates", "questions"}: lists of {"name", "title", "why", "cannot", "fields": [{"name",
    "label", "kind", "value", "choices", "least", "most"}]}. cannot: why the model has no use for
    it, or None. value: as it would be typed; choices: of kind "choice"; least, most: of "number".
    """
    both = {"templates": completions(), "questions": questions()}
    return {
        kind: [_shown(entry, tokenizer) for entry in entries.values()]
        for kind, entries in both.items()
    }


def _shown(entry: Entry, tokenizer: Tokenizer) -> dict[str, Any]:
    return {
        "name": entry.key,
        "title": entry.name,
        "why": entry.why,
        "cannot": entry.missing_tokens(tokenizer),
        "fields": [_field(variable) for variable in entry.variables],
    }


def _field(variable: Variable) -> dict[str, Any]:
    field: dict[str, Any] = {
        "name": variable.name,
        "label": variable.label,
        "kind": variable.kind,
        "value": variable.default or "",
    }
    if variable.kind == "choice":
        field["choices"] = list(variable.choices)
    if variable.kind == "number":
        field |= {"least": variable.least, "most": variable.most}
    return field


def fill_in(name: str, values: Mapping[str, object]) -> dict[str, Any]:
    """{"text", "segments": [[text, trusted], ...]} of a template or a question. Raises TextError,
    and RequestError for a name that is not there."""
    entry = {**questions(), **completions()}.get(name)
    if entry is None:
        raise RequestError(f"The library has no {quoted(name)}; load the page again.")
    raw = entry.fill(values)
    segments, at = [], 0
    for start, end in raw.plain:
        segments += [Segment(raw.text[at:start], trusted=True), Segment(raw.text[start:end])]
        at = end
    segments.append(Segment(raw.text[at:], trusted=True))
    return {
        "text": raw.text,
        "segments": [[each.text, each.trusted] for each in segments if each.text],
    }
