"""A prompt template as the text of a template file, and as the fields of a page's editor.

Knows the format of prompts/README.md; load.read_template() reads a text back, and says what is
wrong with it. So fields are only written here, whatever they hold, and never judged.
"""

import dataclasses
import json
import re
from collections.abc import Sequence
from typing import Any

from assistant.conversation import Turn
from assistant.errors import TextError
from assistant.prompting.dialogues import count_chars, put_together, take_apart
from assistant.prompting.load import TEMPLATE_CHARS_MAX
from assistant.prompting.template import FIRST_SAMPLERS, PromptTemplate
from assistant.sampling import NUMBERS, Sampling
from assistant.text import HIDDEN, clean

DIALOGUES_MAX = TURNS_MAX = 200  # that are edited as cards; turns: of one dialogue
_KEYS = tuple(field.name for field in dataclasses.fields(PromptTemplate))


def to_toml(template: PromptTemplate) -> str:
    """The text of a template file that is read as the same template."""
    return _written(dataclasses.asdict(template))


def to_fields(template: PromptTemplate) -> dict[str, Any]:
    """The keys of the file, and of its preamble intro, the text before the first dialogue, and
    dialogues, lists of {role, text}: None where the preamble cannot be taken apart, or into too
    many."""
    parts = take_apart(template)
    if parts and (len(parts[1]) > DIALOGUES_MAX or max(map(len, parts[1]), default=0) > TURNS_MAX):
        parts = None
    dialogues = parts and [
        [{"role": turn.role, "text": turn.text} for turn in turns] for turns in parts[1]
    ]
    intro = parts[0] if parts else ""
    sampling = {key: getattr(template.sampling, key) for key in NUMBERS}
    fields = dataclasses.asdict(template) | {"sampling": sampling}
    return fields | {"intro": intro, "dialogues": dialogues}


def fields_to_toml(fields: dict[str, Any]) -> str:
    """The text of a template file with these fields, of the types that to_fields() gives. Where
    there are dialogues, they are the preamble, behind the intro. Raises TextError where
    they are too long, before they are written."""
    values = {key: fields[key] for key in _KEYS}
    if fields["dialogues"] is not None:
        markers = {key: fields[key] for key in ("name", "user", "assistant", "turn_end")}
        template = PromptTemplate(**markers, preamble="", separator=fields["separator"])
        dialogues = [[Turn(**turn) for turn in turns] for turns in fields["dialogues"]]
        if (count := count_chars(fields["intro"], dialogues, template)) > TEMPLATE_CHARS_MAX:
            raise TextError(
                f"A prompt template may have at most {TEMPLATE_CHARS_MAX:,} characters; these "
                f"dialogues have {count:,}."
            )
        values["preamble"] = put_together(fields["intro"], dialogues, template)
    return _written(values)


def _written(fields: dict[str, Any]) -> str:
    sampling, preamble = fields.pop("sampling"), fields.pop("preamble")
    lines = [f"{key} = {_value(value)}" for key, value in fields.items() if not _off(value)]
    lines += ["", f"preamble = {_block(preamble)}", "", "[sampling]"]
    # What is off, and came late, is not named.
    off = dataclasses.asdict(Sampling())
    lines += [
        f"{key} = {sampling[key]!r}"
        for key in NUMBERS
        if sampling.get(key) is not None and (key in FIRST_SAMPLERS or sampling[key] != off[key])
    ]
    return "\n".join(lines) + "\n"


def _off(value: object) -> bool:
    return value is None or value is False


def _value(value: str | Sequence[str] | bool) -> str:
    if isinstance(value, bool):
        return json.dumps(value)
    if not isinstance(value, str):
        return f"[{', '.join(map(_value, value))}]"
    # A string of JSON is one of TOML too, but for a character that TOML wants escaped; others
    # would be cleaned away.
    text = json.dumps(value, ensure_ascii=False)
    return re.sub(f"[\x7f-\x9f{HIDDEN}]", lambda one: f"\\U{ord(one[0]):08x}", text)


def _block(text: str) -> str:
    """Many lines as they are, where TOML can hold them so."""
    if "'''" in text or clean(text) != text:
        return _value(text)
    return f"'''\n{text}'''"
