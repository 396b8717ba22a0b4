"""What the playground's routes ask of a raw prompt: its tokens, its continuations, what each of
their tokens could have been.

Knows the prompt as a page sends it, [[text, trusted], ...], and events of replies; nothing of HTTP.
"""

from collections import Counter
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, fields
from typing import Any

from assistant.completion.complete import check_count, samples
from assistant.completion.inspector import Token, scoring
from assistant.completion.raw import Raw
from assistant.engine.protocol import Engine, Waiting
from assistant.errors import TextError
from assistant.generation.generate import Delta, Done
from assistant.generation.reply import Reply
from assistant.prompting.template import Segment, encode
from assistant.sampling import Sampling
from assistant.web.pages.chat.status import Waits, phase, summary
from assistant.web.pages.events import Untrusted, explain_error
from assistant.web.polling import side_by_side

SIDE_BY_SIDE = 4  # continuations at once
PIECES_MAX = 2_000  # tokens that are listed one by one
NAMES = {field.name for field in fields(Sampling)}

News = AsyncGenerator[dict[str, Any] | None, None]


def read_prompt(segments: Untrusted) -> Raw:
    """A prompt in which what is not trusted stays text, whatever it spells. Raises TextError."""
    try:
        return Raw.from_segments([Segment(text, trusted is True) for text, trusted in segments])
    except (ValueError, TypeError):
        raise TextError("The prompt must be a list of texts, each trusted or not.") from None


def look(engine: Engine, prompt: Untrusted, special: bool, listed: bool) -> dict[str, Any]:
    """What a prompt is for the model: {"count"} of tokens, {"special": [[text, count], ...]}, and
    how many look {"alike"} and stay text. listed: also {"pieces": [[text, id, special], ...]}, the
    first of them. Raises TextError."""
    tokenizer, raw = engine.tokenizer, read_prompt(prompt)
    if not raw.text:
        return {"count": 0, "special": [], "alike": 0, "pieces": []}
    raw = raw.checked()
    segments = raw.segments(tokenizer, special=special)
    found = Counter(each.text for each in segments if each.trusted)
    spelt = sum(each.trusted for each in Raw(raw.text).segments(tokenizer))
    # The texts of tokens take longer than their number.
    shown = raw.pieces(tokenizer, special=special, most=PIECES_MAX) if listed else ()
    return {
        "count": len(encode(segments, tokenizer, start=True)),
        "special": list(found.items()),
        "alike": spelt - found.total(),
        "pieces": [[each.text, each.id, each.special] for each in shown],
    }


@dataclass(frozen=True, slots=True)
class Versions:
    """Continuations of one prompt that were asked for. begun: the ids behind it that all of them
    begin with; before: their text."""

    engine: Engine
    replies: Sequence[Reply]
    begun: tuple[int, ...]

    @property
    def reply(self) -> "Versions":
        """What ends with the run."""
        return self

    def close(self) -> None:
        for reply in self.replies:
            reply.close()


def ask(
    engine: Engine,
    prompt: Untrusted,
    sampling: Mapping[str, Untrusted],
    *,
    special: bool,
    begun: Untrusted,
    count: Untrusted,
    **options: Untrusted,
) -> Versions:
    """`count` continuations. options: max_new_tokens and stop, as of complete(). Raises
    AssistantError."""
    raw = read_prompt(prompt)
    chosen = Sampling(**{name: value for name, value in sampling.items() if name in NAMES})
    number = check_count("continuations", count, SIDE_BY_SIDE)
    replies = samples(
        engine, raw, number, sampling=chosen, special=special, begun=begun, wait_s=0, **options
    )
    return Versions(engine, replies, tuple(begun))


class Written:
    """A continuation as far as it is written."""

    def __init__(self, versions: Versions, reply: Reply) -> None:
        self.reply, self._begun = reply, versions.begun
        self._decode = versions.engine.tokenizer.decode
        self.text = self._decode(self._begun)
        self.place = 0

    def take(self, event: object) -> dict[str, Any]:
        """What a page hears of an event."""
        match event:
            case Waiting():
                self.place = event.place
            case Delta():
                self.place = 0
                self.text += event.text
                return {"text": event.text}
            case Done():
                return self._end(event)
            case Exception():
                return {"error": explain_error(event)}
        return {}

    def _end(self, done: Done) -> dict[str, Any]:
        ids = None
        if done.cut:  # a stop string begins in what stood there
            self.text = self.text[: -done.cut]
        elif done.ids is not None:
            ids = (*self._begun, *done.ids)
            if self._begun:  # its last token may be the first half of a character
                self.text = self._decode(ids)
        finished = done.finished
        return {
            "done": {
                "text": self.text,
                "ids": ids,
                "reason": done.reason,
                "stopped_by": done.stop,
                "prompt_tokens": finished.prompt_tokens,
                "new_tokens": finished.new_tokens,
                "note": summary(self.reply.ledger, done),
            }
        }


async def write(versions: Versions, waits: Waits) -> News:
    """First {"versions": [{"seed", "text"}, ...]}: the seed of each, and what it begins with. Then
    {"news": [{"at", ...}, ...]}, at: which of them: "text", what is new; "status"; at its end
    "done": {"text", "ids", "reason", "stopped_by", "prompt_tokens", "new_tokens", "note"}, or
    "error"."""
    written = [Written(versions, reply) for reply in versions.replies]
    status = [""] * len(written)
    yield {"versions": [{"seed": each.reply.sampling.seed, "text": each.text} for each in written]}
    async with aclosing(side_by_side(versions.replies)) as steps:
        async for step in steps:
            news: list[dict[str, Any]] = []
            for at, event in step:
                each = written[at]
                if isinstance(event, Done):
                    waits.add(event.finished.total_s - event.finished.waited_s)
                if told := each.take(event):
                    news.append({"at": at, **told})
                now = phase("text" in told, each.place, waits, versions.engine)
                if now != status[at] and not told.keys() & {"done", "error"}:
                    status[at] = now
                    news.append({"at": at, "status": now})
            yield {"news": news} if news else None


Scoring = Generator[Waiting | tuple[Token, ...], None, None]


def score(
    engine: Engine, prompt: Untrusted, text: Untrusted, ids: Untrusted, *, special: bool
) -> Scoring:
    """The Scoring of a continuation, of its text where no ids are known. Raises AssistantError."""
    before = read_prompt(prompt).checked().ids(engine.tokenizer, special=special)
    if ids is None:
        ids = engine.tokenizer.encode(Raw(text).checked().text)
    return scoring(engine, before, ids, wait_s=0)


async def inspect(scoring: Scoring) -> News:
    """{"status"} while it is computed, then {"tokens": [[text, id, logprob, [[id, text, logprob],
    ...]], ...]}, or {"error"}: see Token."""
    try:
        async with aclosing(side_by_side([scoring])) as steps:
            async for step in steps:
                yield None
                for _, event in step:
                    if isinstance(event, Exception):
                        raise event
                    if isinstance(event, Waiting) and event.place:
                        yield {"status": f"Waiting: number {event.place} in line"}
                    if isinstance(event, tuple):
                        yield {"tokens": [[t.text, t.id, t.logprob, t.top] for t in event]}
    except Exception as error:
        yield {"error": explain_error(error)}
