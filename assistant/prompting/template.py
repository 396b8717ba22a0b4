"""PromptTemplate: load, check, render turns into segments; export to a Jinja chat template.

Knows how a conversation is written down for the model, and nothing of windows or engines. Turns
are written one way only: no turn is ever found again by parsing text.

    preamble  ·  user marker, message, turn_end, assistant marker, reply, turn_end  ·  ...
              ·  user marker, newest message, turn_end, assistant marker
"""

import dataclasses
import hashlib
import json
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from assistant.errors import HistoryError, SamplingError, TemplateError, TextError
from assistant.paths import PROMPTS
from assistant.prompting.escape import SPECIAL, escape
from assistant.prompting.jinja import chat_template
from assistant.prompting.toml import read_toml
from assistant.sampling import Sampling, check_stops
from assistant.text import quoted

HUB_FILE = "TA_prompt_v1.txt"
MARKER_CHARS_MAX = 200  # and of a name; each message is looked through for markers

PLACE = "{system}"  # where a system message stands in a template's `system`


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a prompt that is encoded on its own. trusted: template text, in which special
    tokens count. ids: the tokens, where they are known already."""

    text: str
    trusted: bool = False
    ids: tuple[int, ...] | None = None


def encode(segments, tokenizer):
    """Ids of `segments`: each encoded apart, neighbours that are both trusted as one text."""
    joined = []
    for segment in segments:
        if joined and joined[-1].trusted and segment.trusted:
            joined[-1] = Segment(joined[-1].text + segment.text, trusted=True)
        else:
            joined.append(segment)
    ids = []
    for segment in joined:
        known = segment.ids is not None
        ids += segment.ids if known else tokenizer.encode(segment.text, trusted=segment.trusted)
    return ids


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    """How a base model is shown a conversation. The fields are the keys of a template file
    (prompts/README.md); separator is None where dialogues are not closed by a line, system where
    there is no place for a system message.

    A prompt is written in parts that begin and end so that they can be encoded apart: `opening`,
    then `message` and `reply` for each exchange, then `message` for the newest.
    """

    name: str
    user: str
    assistant: str
    turn_end: str
    preamble: str
    kind: str = "chat"
    separator: str | None = None
    system: str | None = None
    stop: tuple[str, ...] = ()
    sampling: Sampling = field(default_factory=Sampling)

    @property
    def hash(self):
        """SHA-256 of all that the template holds, in hexadecimal."""
        content = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def short(self):
        """The first 12 digits of the hash."""
        return self.hash[:12]

    # Writing

    def opening(self, system=""):
        """From the preamble to the first user marker. system: the text of a system message, which
        stands between the two. Raises HistoryError where the template has no place for it.

        A turn stands after the white space that `turn_end` ends in; the first one too, less what
        the preamble ends in already. The preamble itself must not end in a blank line, since that
        is another token there than before a marker, and the cached preamble would not fit.
        """
        space = self.turn_end[len(self.turn_end.rstrip()) :] if self.preamble else ""
        there = next(n for n in range(len(space), -1, -1) if self.preamble.endswith(space[:n]))
        opened = self.preamble + space[there:]
        if not system:
            return [Segment(opened + self.user, trusted=True)]
        if self.system is None:
            raise HistoryError(
                f"The template {self.name!r} has no place for a system message; leave it out."
            )
        before, _, behind = self.system.partition(PLACE)
        before = Segment(opened + before.rstrip(" "), trusted=True)
        text = Segment(self.escaped(_space_after(before.text) + system))
        return [before, text, Segment(behind + self.user, trusted=True)]

    def message(self, turn):
        """A user's turn, and the marker that opens its reply."""
        marker = Segment(self.turn_end + self.assistant, trusted=True)
        return [Segment(self.escaped(_space_after(self.user) + turn.text)), marker]

    def reply(self, turn):
        """A reply, and the marker that opens the next message. Its ids are used where they spell
        no marker, not even behind white space that the text has lost."""
        marker = Segment(self.turn_end + self.user, trusted=True)
        ids = turn.ids if self.escaped(turn.text) == turn.text else None
        text = self.escaped(_space_after(self.assistant) + turn.text)
        return [Segment(text, ids=ids), marker]

    def escaped(self, text):
        """`text` as the model is shown it: what could pass for a turn's beginning or end is broken
        up, visibly. The conversation keeps the text as it is."""
        return escape(text, self.user, self.assistant, self.turn_end, self.separator)

    def render(self, turns):
        """The segments of the prompt for `turns`, whose last is the user's."""
        segments = self.opening()
        for turn in turns:
            segments += self.message(turn) if turn.role == "user" else self.reply(turn)
        return segments

    def to_jinja(self):
        """The same prompt as a chat template for transformers, vLLM, TGI and llama.cpp; what looks
        like a marker in a message is not broken up by it."""
        return chat_template(self, _space_after)

    # Reading what the model writes

    @property
    def markers(self):
        """The turn markers that stop a reply at the start of a line: those of plain text."""
        plain = (marker.strip() for marker in (self.user, self.assistant))
        return tuple(dict.fromkeys(m for m in plain if not SPECIAL.search(m)))

    def stop_ids(self, tokenizer):
        """The special tokens that end a reply: the end of the text, and those of a turn."""
        spelt = self.turn_end + self.user + self.assistant
        ending = {token for text, token in tokenizer.special.items() if text in spelt}
        return frozenset({tokenizer.eos_id, *ending})

    def banned_ids(self, tokenizer):
        """The special tokens that a reply must not contain: all others."""
        return frozenset(tokenizer.special.values()) - self.stop_ids(tokenizer)

    def check(self, tokenizer):
        """Raises TemplateError naming the special tokens that the model's tokenizer lacks."""
        parts = (self.preamble, self.system or "", self.user, self.assistant, self.turn_end)
        spelt = SPECIAL.findall("".join(parts))
        lacking = [text for text in dict.fromkeys(spelt) if text not in tokenizer.special]
        if lacking:
            raise TemplateError(
                f"The prompt template {self.name!r} needs special tokens that this model's "
                f"tokenizer lacks: {', '.join(lacking)}; choose another template."
            )


def _space_after(marker):
    """The space between a marker and its text. It belongs to the text, whose first word it makes
    another token."""
    return "" if marker[-1:].isspace() else " "


# Loading


def suitable_template(engine):
    """The name of the template that suits an engine's model, where none was chosen."""
    if "<|assistant|>" in engine.tokenizer.special:
        return "starchat"
    return "tech-assistant-short" if engine.embedded else "tech-assistant"


def load_template(spec):
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
            f"hub:OWNER/NAME or one of: {', '.join(template_names())}."
        )
    try:
        return parse_template(tomllib.loads(path.read_text(encoding="utf-8")), path.name)
    except (OSError, ValueError, RecursionError) as error:
        raise TemplateError(f"The prompt template {path} cannot be read: {error}.") from None


def template_names():
    """The names of the templates in prompts/, where saved questions lie beside them."""
    return sorted(path.stem for path in PROMPTS.glob("*.toml") if path.stem != "questions")


def read_template(toml):
    """The PromptTemplate of the text of a template file, such as a page's editor holds.

    Raises TemplateError, whose sentence names the line or the key that is wrong.
    """
    try:
        return parse_template(read_toml(toml), "in the editor")
    except TextError as error:
        raise TemplateError(str(error)) from None
    except (ValueError, RecursionError) as error:
        raise TemplateError(f"The prompt template cannot be read: {error}.") from None


_STRINGS = ("name", "user", "assistant", "turn_end", "preamble")


def parse_template(values, where):
    """A PromptTemplate from the keys and values of a template file. where: the file's name, for
    messages. Raises TemplateError."""

    def refuse(reason):
        raise TemplateError(f"The prompt template {where} is not usable: {reason}.")

    known = {field.name for field in dataclasses.fields(PromptTemplate)}
    if unknown := sorted(set(values) - known):
        refuse(f"it has the unknown key {quoted(unknown[0])}")
    if missing := [key for key in _STRINGS if key not in values]:
        refuse(f"the key {missing[0]!r} is missing")
    values = dict(values)
    for key in (*_STRINGS, "kind", "separator", "system"):
        if not isinstance(values.get(key, ""), str):
            refuse(f"{key!r} must be a string")
        if key not in ("preamble", "system") and len(values.get(key, "")) > MARKER_CHARS_MAX:
            refuse(f"{key!r} may have at most {MARKER_CHARS_MAX} characters")
    if not values["name"]:
        refuse("'name' is empty")
    if values.get("kind", "chat") != "chat":
        refuse(f"'kind' must be 'chat', not {quoted(values['kind'])}")
    for key in ("user", "assistant"):
        if not values[key].strip() or "\n" in values[key].strip():
            refuse(f"{key!r} must be a marker on one line")
        if values[key].endswith((" ", "\t")):
            refuse(f"{key!r} must not end in a space: the space belongs to the message")
    if "separator" in values and not re.fullmatch(r"\S(.*\S)?", values["separator"]):
        refuse("'separator' must be one line without blanks at its ends")
    if values.get("system", PLACE).count(PLACE) != 1:
        refuse(f"'system' must hold {PLACE} once, where a system message stands")
    if not isinstance(values.get("sampling", {}), dict):
        refuse("'sampling' must be a table")
    try:
        values["stop"] = check_stops(values.get("stop"))
        values["sampling"] = Sampling(**values.get("sampling", {}))
    except TypeError:
        fields = [field.name for field in dataclasses.fields(Sampling)]
        unknown = sorted(set(values["sampling"]) - set(fields))
        refuse(f"[sampling] has the unknown key {quoted(unknown[0])}")
    except SamplingError as error:
        refuse(str(error).rstrip("."))
    # White space at its end becomes one newline, never a blank line: see `opening`.
    preamble = values["preamble"]
    values["preamble"] = preamble.rstrip() + "\n" * (preamble != preamble.rstrip())
    return PromptTemplate(**values)


def _from_hub(spec):
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
