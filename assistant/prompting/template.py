"""PromptTemplate: turns into segments; export to a Jinja chat template.

Knows how a conversation is written down for the model, and nothing of windows or engines. Turns
are written one way only: no turn is ever found again by parsing text.

    preamble  ·  user marker, message, turn_end, assistant marker, reply, turn_end  ·  ...
              ·  user marker, newest message, turn_end, assistant marker
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from assistant.conversation import Turn
from assistant.engine.protocol import Tokenizer
from assistant.errors import HistoryError, TemplateError
from assistant.prompting.escape import SPECIAL, escape, spells
from assistant.prompting.jinja import chat_template
from assistant.sampling import Sampling

PLACE = "{system}"  # where a system message stands in a template's `system`


# Keys that came later, and samplers that there were from the start
LATER = ("reply_end", "instructions", "special", "exact")
FIRST_SAMPLERS = ("temperature", "top_p", "top_k", "repetition_penalty", "seed", "min_p")


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a prompt that is encoded on its own. trusted: template text, in which special
    tokens count. ids: the tokens, where they are known already."""

    text: str
    trusted: bool = False
    ids: tuple[int, ...] | None = None


def encode(segments: Iterable[Segment], tokenizer: Tokenizer, *, start: bool = False) -> list[int]:
    """Ids of `segments`: each encoded apart, neighbours that are both trusted as one text. start:
    whether a prompt begins with them; then the token that stands before a document comes first,
    where the model has one and they do not spell it themselves."""
    joined: list[Segment] = []
    for segment in segments:
        if joined and joined[-1].trusted and segment.trusted:
            joined[-1] = Segment(joined[-1].text + segment.text, trusted=True)
        else:
            joined.append(segment)
    bos = [] if tokenizer.bos_id is None else [tokenizer.bos_id]
    ids: list[int] = []
    for segment in joined:
        if segment.ids is not None:
            ids += segment.ids
        else:
            first = start and ids in ([], bos)
            ids += tokenizer.encode(segment.text, trusted=segment.trusted, start=first)
    return bos + ids if start and ids[:1] != bos else ids


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    """How a base model is shown a conversation. The fields are the keys of a template file
    (prompts/README.md); separator is None where dialogues are not closed by a line, system where
    there is no place for a system message, reply_end where that is turn_end, instructions where
    no system message stands unless somebody writes one, special where special tokens are known by
    their spelling. exact: all stands as it is written here, and `system` holds the first marker.

    A prompt is written in parts that begin and end so that they can be encoded apart: `opening`,
    then `message` and `reply` for each exchange, then `message` for the newest.
    """

    name: str
    user: str
    assistant: str
    turn_end: str
    preamble: str
    separator: str | None = None
    system: str | None = None
    stop: tuple[str, ...] = ()
    sampling: Sampling = field(default_factory=Sampling)
    reply_end: str | None = None
    instructions: str | None = None
    special: tuple[str, ...] | None = None
    exact: bool = False

    @property
    def hash(self) -> str:
        """SHA-256 of all keys that differ from their default, in hexadecimal."""
        return _sha256(_changed(self) | {"sampling": _changed(self.sampling)})

    def has_hash(self, hash: str) -> bool:
        """Whether `hash` is this template's. Receipts of version 0.1.0 hold one of all keys, and of
        `kind`, which is gone."""
        sampling = {key: getattr(self.sampling, key) for key in FIRST_SAMPLERS}
        first = {key: value for key, value in dataclasses.asdict(self).items() if key not in LATER}
        old = first | {"sampling": sampling, "kind": "chat"}
        return hash in (self.hash, _sha256(old))

    @property
    def short(self) -> str:
        """The first 12 digits of the hash."""
        return self.hash[:12]

    # Writing

    def opening(self, system: str = "") -> list[Segment]:
        """From the preamble to the first user marker. system: the text of a system message, which
        stands between the two. Raises HistoryError where the template has no place for it.

        A turn stands after the white space that `turn_end` ends in; the first one too, less what
        the preamble ends in already. The preamble itself must not end in a blank line, since that
        is another token there than before a marker, and the cached preamble would not fit.
        """
        if not system and self.instructions is None:
            return [Segment(self._opened() + self._parted(self.user)[0], trusted=True)]
        if self.system is None:
            raise HistoryError(
                f"The template {self.name!r} has no place for a system message; leave it out."
            )
        before, blank, behind = self._around()
        if not system:  # the template's own words
            return [Segment(f"{before}{blank}{self.instructions}{behind}", trusted=True)]
        return [
            Segment(before, trusted=True),
            Segment(self.escaped(blank + system)),
            Segment(behind, trusted=True),
        ]

    def beginning(self) -> list[Segment]:
        """What prompts without a system message begin with, so that it may be kept computed."""
        if self.instructions is None:
            return [Segment(self.preamble, trusted=True)]
        return self.opening()

    def message(self, turn: Turn) -> list[Segment]:
        """A user's turn, and the marker that opens its reply."""
        marker = Segment(self.turn_end + self._parted(self.assistant)[0], trusted=True)
        return [Segment(self.escaped(self._parted(self.user)[1] + turn.text)), marker]

    def reply(self, turn: Turn) -> list[Segment]:
        """A reply, and the marker that opens the next message. Its ids are used where they spell
        no marker, not even behind white space that the text has lost."""
        marker = Segment(self._reply_end + self._parted(self.user)[0], trusted=True)
        ids = turn.ids if self.escaped(turn.text) == turn.text else None
        text = self.escaped(self._parted(self.assistant)[1] + turn.text)
        return [Segment(text, ids=ids), marker]

    def _opened(self) -> str:
        """What stands before the first marker where there is no system message."""
        if self.exact:
            return self.preamble
        space = self.turn_end[len(self.turn_end.rstrip()) :] if self.preamble else ""
        there = next(n for n in range(len(space), -1, -1) if self.preamble.endswith(space[:n]))
        return self.preamble + space[there:]

    def _around(self) -> tuple[str, str, str]:
        """What stands before a system message, the blank that belongs to its text, and what stands
        behind it, up to and with the first marker."""
        before, _, behind = (self.system or "").partition(PLACE)
        if self.exact:
            return *self._parted(self.preamble + before), self._parted(behind)[0]
        return *self._parted(self._opened() + before.rstrip(" ")), behind + self.user

    def _parted(self, marker: str) -> tuple[str, str]:
        """`marker` as it is encoded, and the blank that belongs to the text behind it, whose first
        word it makes another token."""
        if self.exact:
            return marker.removesuffix(" "), " " * marker.endswith(" ")
        return marker, "" if marker[-1:].isspace() else " "

    @property
    def _reply_end(self) -> str:
        return self.turn_end if self.reply_end is None else self.reply_end

    def escaped(self, text: str) -> str:
        """`text` as the model is shown it: what could pass for a turn's beginning or end is broken
        up, visibly. The conversation keeps the text as it is."""
        return escape(
            text,
            self.user,
            self.assistant,
            self.turn_end,
            self.separator,
            self._reply_end,
            self.special,
        )

    def render(self, turns: Iterable[Turn]) -> list[Segment]:
        """The segments of a prompt that holds all of `turns`."""
        segments = self.opening()
        for turn in turns:
            segments += self.message(turn) if turn.role == "user" else self.reply(turn)
        return segments

    def to_jinja(self) -> str:
        """The same prompt as a chat template for transformers, vLLM, TGI and llama.cpp; what looks
        like a marker in a message is not broken up by it."""
        user, assistant = ("".join(self._parted(each)) for each in (self.user, self.assistant))
        blank, system = self._parted(self.user)[1], None
        if self.system is not None:  # what is around such a message
            before, space, behind = self._around()
            system = before + space, behind + blank
        return chat_template(
            opening=self.opening()[0].text + blank,
            user=user,
            assistant=assistant,
            marker=self._parted(self.assistant)[0],
            turn_end=self.turn_end,
            reply_end=self._reply_end,
            system=system,
        )

    # Reading what the model writes

    @property
    def markers(self) -> tuple[str, ...]:
        """The turn markers that stop a reply at the start of a line: those of plain text."""
        lines = (marker.strip().partition("\n")[0] for marker in (self.user, self.assistant))
        return tuple(dict.fromkeys(line for line in lines if not spells(line, self.special)))

    def stop_ids(self, tokenizer: Tokenizer) -> frozenset[int]:
        """The special tokens that end a reply: the model's own, those of a turn, and those that
        `stop` names."""
        spelt = self._reply_end + self.turn_end + self.user + self.assistant
        known = tokenizer.special if self.special is None else self.special
        ending = {
            token
            for text, token in tokenizer.special.items()
            if (text in spelt and text in known) or text in self.stop
        }
        return tokenizer.end_ids | ending

    def banned_ids(self, tokenizer: Tokenizer) -> frozenset[int]:
        """The special tokens that a reply must not contain: all others."""
        return frozenset(tokenizer.special.values()) - self.stop_ids(tokenizer)

    def check(self, tokenizer: Tokenizer) -> None:
        """Raises TemplateError naming the special tokens that the model's tokenizer lacks."""
        parts = (self.preamble, self.system or "", self.user, self.assistant, self.turn_end)
        spelt = SPECIAL.findall("".join(parts)) if self.special is None else self.special
        lacking = [text for text in dict.fromkeys(spelt) if text not in tokenizer.special]
        if lacking:
            raise TemplateError(
                f"The prompt template {self.name!r} needs special tokens that this model's "
                f"tokenizer lacks: {', '.join(lacking)}; choose another template."
            )


def _changed(values: PromptTemplate | Sampling) -> dict[str, object]:
    """The fields that differ from their default."""
    pairs = ((field, getattr(values, field.name)) for field in dataclasses.fields(values))
    return {field.name: value for field, value in pairs if value != field.default}


def _sha256(content: Mapping[str, object]) -> str:
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
