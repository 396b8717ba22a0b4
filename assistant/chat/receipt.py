"""Receipt: all that is needed to get the same reply again, and to see whether it was the same.

Knows how a reply was asked for and what it cost; not its text, which stands in the conversation. It
lies in the visitor's browser, so what comes back from there is checked here.
"""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Protocol

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from assistant.conversation import TURNS_MAX, Conversation, Finish, trusted_ids
from assistant.engine.prefix import common_prefix
from assistant.engine.protocol import Engine, Tokenizer
from assistant.errors import ReceiptError, RequestError
from assistant.generation.generate import Done
from assistant.generation.reply import NOTHING, Reply
from assistant.prompting.load import TEMPLATE_CHARS_MAX
from assistant.prompting.template import PromptTemplate
from assistant.sampling import Sampling, check_stops
from assistant.text import MESSAGE_CHARS_MAX, check_message, quoted


def _rising(indices: tuple[int, ...]) -> tuple[int, ...]:
    if any(one >= other for one, other in pairwise(indices)):
        raise ValueError("not in order")
    return indices


_MOST = 10**9
# A template's name and a stop have less; a folder that a model is named after may have 255.
_Name = Annotated[str, Field(min_length=1, max_length=255)]
_Count = Annotated[int, Field(ge=0, le=_MOST)]
_Rising = AfterValidator(_rising)
_Number = Annotated[float, Field(ge=0, le=_MOST, allow_inf_nan=False)]


class Answerer(Protocol):
    """What a receipt needs of an Assistant."""

    engine: Engine
    template: PromptTemplate

    def reply(
        self,
        conversation: Conversation,
        *,
        sampling: Sampling,
        max_new_tokens: int,
        system: str,
        stop: Sequence[str],
        dropped: Sequence[int],
        cold: bool,
        wait_s: float,
    ) -> Reply: ...


@dataclass(frozen=True, slots=True)
class Receipt:
    """How a reply came about.

    model, revision, adapter, numerics, window (see engine.Engine); template (its name),
    template_hash: what answered. sampling: with its seed.
    stop: the stop strings that were asked for. preamble, history, message: tokens of the prompt;
    reply: tokens drawn; cached: tokens of the prompt that were not computed anew. dropped: indices
    of the exchanges that had left the window. reason: the finish reason; stopped_by: the stop that
    fired. ttft_s: seconds. repeatable: see engine.Finished. continued: tokens of the reply that
    stood there before; they are part of `message`. system: the instructions that joined the
    preamble. template_text: the template file, where it is none of the server's.
    """

    model: _Name
    revision: _Name | None
    template: _Name
    template_hash: _Name
    sampling: Sampling
    max_new_tokens: _Count
    stop: Annotated[tuple[str, ...], Field(fail_fast=True)]
    preamble: _Count
    history: _Count
    message: _Count
    reply: _Count
    cached: _Count
    dropped: Annotated[tuple[_Count, ...], Field(max_length=TURNS_MAX, fail_fast=True), _Rising]
    reason: Finish
    stopped_by: _Name | None
    ttft_s: _Number
    tokens_per_s: _Number | None
    repeatable: bool
    continued: _Count = 0
    numerics: _Name | None = None
    adapter: Annotated[str, Field(min_length=1, max_length=300)] | None = None
    window: _Count | None = None
    system: Annotated[str, Field(max_length=MESSAGE_CHARS_MAX)] = ""
    template_text: Annotated[str, Field(max_length=TEMPLATE_CHARS_MAX)] | None = None

    @classmethod
    def of(
        cls, assistant: Answerer, reply: Reply, done: Done, template_text: str | None = None
    ) -> "Receipt":
        """The receipt of a reply of `assistant` that ended with `done`. template_text: of the
        template, where only the visitor has it."""
        ledger, finished = reply.ledger, done.finished
        return cls(
            model=assistant.engine.model,
            revision=assistant.engine.revision,
            template=assistant.template.name,
            template_hash=assistant.template.hash,
            sampling=reply.sampling,
            max_new_tokens=ledger.reply,
            stop=tuple(reply.stop),
            preamble=ledger.preamble,
            history=ledger.history,
            message=ledger.message,
            reply=finished.new_tokens,
            cached=finished.cached_tokens,
            dropped=ledger.dropped,
            reason=done.reason,
            stopped_by=done.stop,
            ttft_s=finished.ttft_s,
            tokens_per_s=finished.tokens_per_s,
            repeatable=finished.repeatable,
            continued=len(reply.before.ids or ()),
            numerics=assistant.engine.numerics,
            adapter=assistant.engine.adapter,
            window=ledger.window,
            system=reply.system,
            template_text=template_text,
        )

    def to_dict(self) -> dict[str, Any]:
        """All fields as JSON has them; `from_dict` reads it."""
        values = dataclasses.asdict(self)
        return values | {"stop": list(self.stop), "dropped": list(self.dropped)}

    @classmethod
    def from_dict(cls, value: object) -> "Receipt":
        """The receipt that a client sent; further keys are ignored. Raises ReceiptError."""
        if not isinstance(value, dict):
            raise ReceiptError(f"A receipt must be an object, not {quoted(value)}.")
        try:
            # Strict: "1" is not a number, and neither is true.
            receipt = _READER.validate_json(json.dumps(_MISSING | value), strict=True)
            stop = check_stops(receipt.stop)
            system = check_message(receipt.system) if receipt.system.strip() else ""
        except ValidationError as error:
            first = error.errors()[0]
            what = first["loc"][0] if first["loc"] else "text"
            raise ReceiptError(f"The receipt has no usable {quoted(what)}.") from None
        except (RequestError, ValueError, RecursionError) as error:
            raise ReceiptError(f"The receipt is not usable: {error}") from None
        if receipt.sampling.seed is None:
            raise ReceiptError("The receipt has no seed, so its reply cannot be had again.")
        return dataclasses.replace(receipt, stop=stop, system=system)

    def mismatch(self, assistant: Answerer) -> str | None:
        """None, or the sentence why the reply cannot be had again from `assistant`."""
        engine, template = assistant.engine, assistant.template
        if self.model != engine.model:
            return f"This reply is by the model {quoted(self.model)}; here runs {engine.model}."
        if self.revision != engine.revision:
            return (
                f"This reply is by the revision {quoted(self.revision)} of the model; here runs "
                f"{quoted(engine.revision)}."
            )
        if self.adapter != engine.adapter:
            one, other = (
                f"the adapter {name}" if name else "no adapter"
                for name in (self.adapter and quoted(self.adapter), engine.adapter)
            )
            return f"This reply is by the model with {one}; here it has {other}."
        if not template.has_hash(self.template_hash):
            same = "with another text" if self.template == template.name else quoted(template.name)
            return (
                f"This reply was given with the prompt template {quoted(self.template)}; here it "
                f"is {same}."
            )
        return None

    def changed(self, engine: Engine) -> str | None:
        """What is another with `engine` than it was then, so that a reply may differ, in a sentence
        for each; None for nothing."""
        sentences = []
        if self.numerics and engine.numerics and self.numerics != engine.numerics:
            sentences.append(
                f"It was computed in {quoted(self.numerics)} then, and in {engine.numerics} now."
            )
        if self.window and self.window != engine.window:
            sentences.append(
                f"The window had {self.window:,} tokens then, and has {engine.window:,} now."
            )
        return " ".join(sentences) or None

    def run_again(
        self, assistant: Answerer, conversation: Conversation, *, wait_s: float = 0.1
    ) -> Reply:
        """A reply to the same prompt, computed anew. conversation: ends with the reply that this
        is the receipt of. Raises ReceiptError where it cannot be had, and as Assistant.reply."""
        if sentence := self.mismatch(assistant):
            raise ReceiptError(sentence)
        return assistant.reply(
            self.before(conversation, assistant.engine.tokenizer),
            sampling=self.sampling,
            max_new_tokens=self.max_new_tokens,
            system=self.system,
            stop=self.stop,
            dropped=self.dropped,
            cold=True,
            wait_s=wait_s,
        )

    def before(self, conversation: Conversation, tokenizer: Tokenizer) -> Conversation:
        """The conversation as it was before its last reply, or before that was continued. Raises
        ReceiptError where that is not known any more."""
        if not self.continued:
            return conversation.drop_reply()
        *turns, reply = conversation.turns or (NOTHING,)
        ids = trusted_ids(reply, tokenizer) if len(turns) % 2 else None
        if ids is None or len(ids) < self.continued:
            raise ReceiptError(
                "This reply was continued, and where is not known any more; ask for a new one."
            )
        ids = ids[: self.continued]
        text = tokenizer.decode(ids).strip()
        return Conversation((*turns, dataclasses.replace(reply, text=text, ids=ids)))


def first_difference(ids: Sequence[int], again: Sequence[int]) -> int | None:
    """The index of the first token in which two replies differ; None if they are the same."""
    same = common_prefix(ids, again)
    return None if same == len(ids) == len(again) else same


_READER = TypeAdapter(Receipt)
_MISSING = {"revision": None, "stopped_by": None, "tokens_per_s": None}
