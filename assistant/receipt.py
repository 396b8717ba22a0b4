"""Receipt: all that is needed to get the same reply again, and to see whether it was the same.

Knows how a reply was asked for and what it cost; not its text, which stands in the conversation. It
lies in the visitor's browser, so what comes back from there is checked here.
"""

import dataclasses
from dataclasses import dataclass

from assistant.conversation import FINISHES, TURNS_MAX, Conversation, trusted_ids
from assistant.errors import ReceiptError, SamplingError
from assistant.sampling import Sampling, check_stops, shown

_TEXT_MAX = 200  # characters of a name
_COUNT_MAX = 10**9


@dataclass(frozen=True, slots=True)
class Receipt:
    """How a reply came about.

    model, revision; template (its name), template_hash: what answered. sampling: with its seed.
    stop: the stop strings that were asked for. preamble, history, message: tokens of the prompt;
    reply: tokens drawn; cached: tokens of the prompt that were not computed anew. dropped: indices
    of the exchanges that had left the window. reason: the finish reason; stopped_by: the stop that
    fired. ttft_s: seconds. repeatable: see engine.Finished. continued: tokens of the reply that
    stood there before; they are part of `message`.
    """

    model: str
    revision: str | None
    template: str
    template_hash: str
    sampling: Sampling
    max_new_tokens: int
    stop: tuple[str, ...]
    preamble: int
    history: int
    message: int
    reply: int
    cached: int
    dropped: tuple[int, ...]
    reason: str
    stopped_by: str | None
    ttft_s: float
    tokens_per_s: float | None
    repeatable: bool
    continued: int = 0

    @classmethod
    def of(cls, assistant, reply, done):
        """The receipt of a Reply of `assistant` that ended with `done`."""
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
        )

    def to_dict(self):
        """All fields as JSON has them; `from_dict` reads it."""
        values = dataclasses.asdict(self)
        return values | {"stop": list(self.stop), "dropped": list(self.dropped)}

    @classmethod
    def from_dict(cls, value):
        """The receipt that a client sent; further keys are ignored. Raises ReceiptError."""
        if not isinstance(value, dict):
            raise ReceiptError(f"A receipt must be an object, not {shown(value)}.")
        value = {"continued": 0, **value}
        for name, test in _TESTS.items():
            if not test(value.get(name)):
                raise ReceiptError(f"The receipt has no usable {name}: {shown(value.get(name))}.")
        read = {name: value.get(name) for name in _TESTS}
        try:
            read["sampling"] = Sampling(**value["sampling"])
            read["stop"] = check_stops(value["stop"])
        except SamplingError as error:
            raise ReceiptError(f"The receipt is not usable: {error}") from None
        if read["sampling"].seed is None:
            raise ReceiptError("The receipt has no seed, so its reply cannot be had again.")
        return cls(**read | {"dropped": tuple(value["dropped"])})

    def fits(self, assistant):
        """None, or the sentence why the reply cannot be had again from `assistant`."""
        engine, template = assistant.engine, assistant.template
        if self.model != engine.model:
            return f"This reply is by the model {shown(self.model)}; here runs {engine.model}."
        if self.revision != engine.revision:
            return (
                f"This reply is by the revision {shown(self.revision)} of the model; here runs "
                f"{shown(engine.revision)}."
            )
        if self.template_hash != template.hash:
            same = "with another text" if self.template == template.name else shown(template.name)
            return (
                f"This reply was given with the prompt template {shown(self.template)}; here it "
                f"is {same}."
            )
        return None

    def again(self, assistant, conversation, *, wait_s=0.1):
        """A Reply to the same prompt, computed anew. conversation: ends with the reply that this
        is the receipt of. Raises ReceiptError where it cannot be had, and as Assistant.reply."""
        if sentence := self.fits(assistant):
            raise ReceiptError(sentence)
        if self.continued:
            conversation = self._cut(conversation, assistant.engine.tokenizer)
        else:
            conversation = conversation.drop_reply()
        return assistant.reply(
            conversation,
            sampling=self.sampling,
            max_new_tokens=self.max_new_tokens,
            stop=self.stop,
            dropped=self.dropped,
            cold=True,
            wait_s=wait_s,
        )

    def _cut(self, conversation, tokenizer):
        """The conversation as it was when its last reply was continued."""
        *turns, reply = conversation.turns or (None,)
        ids = trusted_ids(reply, tokenizer) if len(turns) % 2 else None
        if ids is None or len(ids) < self.continued:
            raise ReceiptError(
                "This reply was continued, and where is not known any more; ask for a new one."
            )
        ids = ids[: self.continued]
        text = tokenizer.decode(ids).strip()
        return Conversation((*turns, dataclasses.replace(reply, text=text, ids=ids)))


def first_difference(ids, again):
    """The index of the first token in which two replies differ; None if they are the same."""
    for index, (one, other) in enumerate(zip(ids, again, strict=False)):
        if one != other:
            return index
    return None if len(ids) == len(again) else min(len(ids), len(again))


# What a client sends


def _is_text(value):
    return isinstance(value, str) and 0 < len(value) <= _TEXT_MAX


def _is_count(value):
    return type(value) is int and 0 <= value <= _COUNT_MAX


def _is_number(value):
    return type(value) in (int, float) and 0 <= value <= _COUNT_MAX  # NaN is in no range


def _is_dropped(value):
    if not isinstance(value, list) or not all(map(_is_count, value)):
        return False
    return value == sorted(set(value)) and len(value) < TURNS_MAX


def _maybe(test):
    return lambda value: value is None or test(value)


_TESTS = {
    "model": _is_text,
    "revision": _maybe(_is_text),
    "template": _is_text,
    "template_hash": _is_text,
    "sampling": lambda value: isinstance(value, dict) and set(value) <= _SAMPLING,
    "max_new_tokens": _is_count,
    "stop": lambda value: isinstance(value, list),
    "preamble": _is_count,
    "history": _is_count,
    "message": _is_count,
    "reply": _is_count,
    "cached": _is_count,
    "dropped": _is_dropped,
    "reason": lambda value: value in FINISHES,
    "stopped_by": _maybe(_is_text),
    "ttft_s": _is_number,
    "tokens_per_s": _maybe(_is_number),
    "repeatable": lambda value: isinstance(value, bool),
    "continued": _is_count,
}
_SAMPLING = {field.name for field in dataclasses.fields(Sampling)}
