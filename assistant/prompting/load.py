"""load_template(): a PromptTemplate from a file, from the hub, or from the text of an editor.

Knows the keys of a template file (prompts/README.md) and what is wrong with them.
"""

import dataclasses
import re
import tomllib
from pathlib import Path
from typing import Any, NoReturn

from assistant.errors import SamplingError, TemplateError, TextError
from assistant.paths import PROMPTS
from assistant.prompting.template import PLACE, PromptTemplate
from assistant.prompting.toml import read_toml
from assistant.sampling import NUMBERS, Sampling, check_stops
from assistant.text import quoted

HUB_FILE = "TA_prompt_v1.txt"
TEMPLATE_CHARS_MAX = 100_000  # of a template file that comes from a visitor
SPECIAL_MAX = 64  # special tokens that a template may list
MARKER_CHARS_MAX = 200  # and of a name; each message is looked through for markers


def load_template(spec: str) -> PromptTemplate:
    """The PromptTemplate that `spec` names: a name in prompts/, the path of a .toml file, or
    hub:OWNER/NAME[/FILE], a dataset's text file of "Human:" and "Assistant:" dialogues.

    Raises TemplateError, for the hub HubError.
    """
    if spec.startswith("hub:"):
        return _from_hub(spec)
    path = Path(spec) if spec.endswith(".toml") else PROMPTS / f"{spec}.toml"
    if not (path.is_file() if spec.endswith(".toml") else spec in template_names()):
        raise TemplateError(
            f"There is no prompt template {quoted(spec)}; give the path of a .toml file, "
            f"hub:OWNER/NAME, model or one of: {', '.join(template_names())}."
        )
    try:
        return parse_template(tomllib.loads(path.read_text(encoding="utf-8")), path.name)
    except (OSError, ValueError, RecursionError) as error:
        raise TemplateError(f"The prompt template {path} cannot be read: {error}.") from None


def template_names() -> list[str]:
    """The names of the templates in prompts/, where saved questions lie beside them."""
    return sorted(path.stem for path in PROMPTS.glob("*.toml") if path.stem != "questions")


def read_template(toml: object) -> PromptTemplate:
    """The PromptTemplate of the text of a template file, such as a page's editor holds.

    Raises TemplateError, whose sentence names the line or the key that is wrong.
    """
    if isinstance(toml, str) and len(toml) > TEMPLATE_CHARS_MAX:
        raise TemplateError(
            f"A prompt template may have at most {TEMPLATE_CHARS_MAX:,} characters; this one has "
            f"{len(toml):,}."
        )
    try:
        return parse_template(read_toml(toml), "in the editor")
    except TextError as error:
        raise TemplateError(str(error)) from None
    except (ValueError, RecursionError) as error:
        raise TemplateError(f"The prompt template cannot be read: {error}.") from None


_STRINGS = ("name", "user", "assistant", "turn_end", "preamble")


def parse_template(values: dict[str, Any], where: str) -> PromptTemplate:
    """A PromptTemplate from the keys and values of a template file. where: the file's name, for
    messages. Raises TemplateError."""

    def refuse(reason: str) -> NoReturn:
        raise TemplateError(f"The prompt template {where} is not usable: {reason}.")

    values = dict(values)
    kind = values.pop("kind", "chat")  # of older files
    if kind != "chat":
        refuse(f"'kind' must be 'chat', not {quoted(kind)}")
    known = {field.name for field in dataclasses.fields(PromptTemplate)}
    if unknown := sorted(set(values) - known):
        refuse(f"it has the unknown key {quoted(unknown[0])}")
    if missing := [key for key in _STRINGS if key not in values]:
        refuse(f"the key {missing[0]!r} is missing")
    for key in (*_STRINGS, "separator", "system", "reply_end", "instructions"):
        if not isinstance(values.get(key, ""), str):
            refuse(f"{key!r} must be a string")
        if (
            key not in ("preamble", "system", "instructions")
            and len(values.get(key, "")) > MARKER_CHARS_MAX
        ):
            refuse(f"{key!r} may have at most {MARKER_CHARS_MAX} characters")
    if not values["name"]:
        refuse("'name' is empty")
    exact = values.get("exact", False)
    if not isinstance(exact, bool):
        refuse(f"'exact' must be true or false, not {quoted(exact)}")
    for key in ("user", "assistant"):
        if not values[key].strip() or ("\n" in values[key].strip() and not exact):
            refuse(f"{key!r} must be a marker on one line")
        if values[key].endswith((" ", "\t")) and not exact:
            refuse(f"{key!r} must not end in a space: the space belongs to the message")
    if "separator" in values and not re.fullmatch(r"\S(.*\S)?", values["separator"]):
        refuse("'separator' must be one line without blanks at its ends")
    if values.get("system", PLACE).count(PLACE) != 1:
        refuse(f"'system' must hold {PLACE} once, where a system message stands")
    if "instructions" in values and "system" not in values:
        refuse("'instructions' need 'system', the words in which they stand")
    if "special" in values:
        values["special"] = special = _texts(values["special"])
        if special is None:
            refuse(f"'special' must be a list of at most {SPECIAL_MAX} special tokens")
    if not isinstance(values.get("sampling", {}), dict):
        refuse("'sampling' must be a table")
    try:
        values["stop"] = check_stops(values.get("stop"))
        unknown = sorted(set(values.get("sampling", {})) - set(NUMBERS))
        if unknown:  # a bias of token ids, too: it means another thing with another model
            refuse(f"[sampling] has the unknown key {quoted(unknown[0])}")
        values["sampling"] = Sampling(**values.get("sampling", {}))
    except SamplingError as error:
        refuse(str(error).rstrip("."))
    # White space at its end becomes one newline, never a blank line: see `opening`.
    preamble = values["preamble"].rstrip()
    if not exact and preamble != values["preamble"]:
        values["preamble"] = f"{preamble}\n"
    return PromptTemplate(**values)


def _texts(value: object) -> tuple[str, ...] | None:
    """A list of short texts that are not empty, else None."""
    if not isinstance(value, list) or len(value) > SPECIAL_MAX:
        return None
    short = all(isinstance(text, str) and 0 < len(text) <= MARKER_CHARS_MAX for text in value)
    return tuple(value) if short else None


def _from_hub(spec: str) -> PromptTemplate:
    from assistant.hub import fetch_file

    match = re.fullmatch(r"hub:([\w.-]+/[\w.-]+)(?:/([\w./-]+))?", spec)
    if not match:
        raise TemplateError(f"A prompt on the hub is named hub:OWNER/NAME, not {quoted(spec)}.")
    repo, filename = match[1], match[2] or HUB_FILE
    try:
        text = fetch_file(repo, filename, repo_type="dataset").read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise TemplateError(f"The prompt {filename} of {repo} cannot be read: {error}.") from None
    separators = list(re.finditer(r"^-----[ \t]*$", text, re.MULTILINE))
    if separators:
        text = text[: separators[-1].start()] + "-----\n"
    values = {
        "name": f"{repo}/{filename}",
        "user": "Human:",
        "assistant": "Assistant:",
        "turn_end": "\n\n",
        "separator": "-----",
        "preamble": text,
    }
    return parse_template(values, filename)
