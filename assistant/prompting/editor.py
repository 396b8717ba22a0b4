"""to_toml(): a prompt template as the text of a template file, to be edited and saved.

Knows the format of prompts/README.md; load.read_template() reads it back.
"""

import dataclasses
import json
import re

from assistant.prompting.template import PromptTemplate
from assistant.text import HIDDEN, clean


def to_toml(template: PromptTemplate) -> str:
    """The text of a template file that is read as the same template."""
    fields = dataclasses.asdict(template)
    sampling, preamble = fields.pop("sampling"), fields.pop("preamble")
    lines = [f"{key} = {_value(value)}" for key, value in fields.items() if value is not None]
    lines += ["", f"preamble = {_block(preamble)}", "", "[sampling]"]
    lines += [f"{key} = {value!r}" for key, value in sampling.items() if value is not None]
    return "\n".join(lines) + "\n"


def _value(value: str | tuple[str, ...]) -> str:
    if isinstance(value, tuple):
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
