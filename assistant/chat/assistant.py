"""Assistant: a conversation and a prompt template become a stream of events.

Knows how the parts go together, and nothing of the web or of torch.
"""

import dataclasses
from array import array
from collections.abc import Collection, Sequence
from functools import lru_cache, partial
from hashlib import blake2b
from itertools import chain

from assistant.conversation import Conversation, Turn, trusted_ids
from assistant.engine.protocol import Engine, Request
from assistant.errors import HistoryError, TemplateError
from assistant.generation.ends import NO_ENDS, Ends
from assistant.generation.generate import generate
from assistant.generation.reply import NOTHING, Reply
from assistant.generation.stops import StopScanner, resume
from assistant.generation.window import Exchange, Ledger, fit
from assistant.prompting.template import PromptTemplate, Segment, encode
from assistant.sampling import Sampling, check_logprobs, check_max_new_tokens, check_stops

KNOWN_MAX = 2_000_000  # ids of turns that are kept, so that a draft's ledger encodes little
OPENINGS_MAX = 16  # that are kept encoded


class Assistant:
    """A base model that answers as the dialogues of `template` do.

    max_new_tokens: the longest reply unless a call says otherwise. pin: whether the engine computes
    the template's preamble now and keeps it for ever. Raises TemplateError when template and model
    do not fit, EngineError when the preamble cannot be computed.
    """

    def __init__(
        self,
        engine: Engine,
        template: PromptTemplate,
        *,
        max_new_tokens: int = 512,
        pin: bool = True,
    ) -> None:
        template.check(engine.tokenizer)
        self.engine = engine
        self.template = template
        self.max_new_tokens = max_new_tokens
        self._preamble = self._begun(template.beginning())
        if len(self._preamble) + max_new_tokens >= engine.window:
            raise TemplateError(
                f"The prompt template {template.name!r} has {len(self._preamble)} tokens, and with "
                f"{max_new_tokens} for the reply they fill the model's window of {engine.window}; "
                "choose a shorter template or shorter replies."
            )
        # By the system message: each of a client's requests has the same one.
        self._opening = lru_cache(OPENINGS_MAX)(
            lambda system: self._begun(template.opening(system))
        )
        self._opening("")
        self._known: dict[bytes, array[int]] = {}  # see _ids
        self._held = 0
        if pin and template.preamble:
            engine.pin(self._preamble)

    def ledger(
        self,
        conversation: Conversation,
        *,
        max_new_tokens: int | None = None,
        dropped: Sequence[int] | None = None,
        system: str = "",
        begun: bool = False,
    ) -> Ledger:
        """The Ledger of a draft: of the reply to the conversation's last message, or to an empty
        one where that is not begun yet. Nothing is computed by the model.

        dropped, system: as of reply(). begun: whether the conversation ends with what the draft's
        reply begins with. Raises SamplingError, HistoryError, and WindowError with the counts.
        """
        if len(conversation.turns) % 2 == 0 and not begun:
            conversation = Conversation((*conversation.turns, Turn("user", "")))
        limit = self._limit(max_new_tokens)
        return self._parts(conversation, limit, dropped, system)[0]

    def segments(
        self, conversation: Conversation, dropped: Collection[int] = (), system: str = ""
    ) -> list[Segment]:
        """The prompt for the reply to the conversation's last message, or for going on with its
        last reply; `encode` makes the ids of it that are sent. dropped: the indices of the
        exchanges that left the window. system: as of reply(). Raises HistoryError."""
        template, parts = self.template, self.template.opening(system)
        exchanges, newest, before = self._split(conversation)
        for index, (message, reply) in enumerate(exchanges):
            if reply.text and index not in dropped:
                parts += template.message(message) + template.reply(self._checked(reply))
        parts += template.message(newest)
        return parts + template.reply(before)[:1] if before.text else parts

    def reply(
        self,
        conversation: Conversation,
        *,
        system: str = "",
        sampling: Sampling | None = None,
        max_new_tokens: int | None = None,
        stop: Sequence[str] | None = (),
        dropped: Sequence[int] | None = None,
        cold: bool = False,
        logprobs: int | None = None,
        ends: Ends = NO_ENDS,
        cut: bool = False,
        wait_s: float = 0.1,
    ) -> Reply:
        """The Reply to the conversation's last message, or behind its last reply, checked and
        submitted at the call.

        system: a checked text that joins the preamble. sampling: None for the template's. stop:
        further stop strings. dropped: the indices of the exchanges that leave the window,
        where that is decided already: WindowError if the others do not fit, so () refuses rather
        than let one leave. cold, logprobs: see Request. ends: what else ends it. cut: whether a
        longer reply than the conversation leaves room for is asked for as what it leaves, where
        that is no less than usual. wait_s: the longest that one `next()`
        waits, in seconds. Raises RequestError, EngineBusy or EngineDead.
        """
        engine, template, tokenizer = self.engine, self.template, self.engine.tokenizer
        engine.check_room()
        limit, stops = self._limit(max_new_tokens), check_stops(stop)
        sampling = (sampling or template.sampling).seeded()
        ledger, parts, before = self._parts(conversation, limit, dropped, system, cut)
        request = Request(
            ids=tuple(chain.from_iterable(parts)),
            sampling=sampling,
            max_new_tokens=ledger.reply,
            stop_ids=template.stop_ids(tokenizer),
            banned_ids=template.banned_ids(tokenizer),
            penalty_from=ledger.preamble,
            logprobs=check_logprobs(logprobs),
            cold=cold,
        )
        scanner, held = self._scanner(stops, before.text, exact=ends.grammar is not None)
        request = ends.applied(request, engine)
        generation = generate(engine, request, scanner, wait_s=wait_s, held=held)
        return Reply(generation, ledger, sampling, system=system, stop=stops, before=before)

    def _begun(self, segments: list[Segment]) -> tuple[int, ...]:
        """Ids of what a prompt begins with."""
        return tuple(encode(segments, self.engine.tokenizer, start=True))

    def _limit(self, max_new_tokens: int | None) -> int:
        limit = self.max_new_tokens if max_new_tokens is None else max_new_tokens
        return check_max_new_tokens(limit, self.engine.window)

    def _parts(
        self,
        conversation: Conversation,
        limit: int,
        dropped: Sequence[int] | None,
        system: str = "",
        cut: bool = False,
    ) -> tuple[Ledger, tuple[Sequence[int], ...], Turn]:
        """The Ledger, the ids of the prompt in parts, and the reply that is continued."""
        opening = self._opening(system)
        exchanges, newest, before = self._split(conversation)
        if dropped and not set(dropped) <= set(range(len(exchanges))):
            raise HistoryError(
                f"Exchange {max(dropped) + 1} cannot leave the window: the conversation has "
                f"{len(exchanges)} before the newest message."
            )
        turns: list[tuple[Sequence[int], ...]] = []
        counts: list[Exchange] = []
        for message, reply in exchanges:
            asked: Sequence[int] = ()
            answered: Sequence[int] = ()
            if reply.text:  # an empty reply would teach the model to say nothing
                asked, answered = self._ids(message), self._ids(reply)
            turns.append((asked, answered))
            counts.append(Exchange(len(asked), len(answered), message.pinned or reply.pinned))
        last = self._ids(newest), before.ids or ()
        size = sum(map(len, last))
        if cut:
            whole = len(opening) + size + sum(each.message + each.reply for each in counts)
            room = self.engine.window - whole
            limit = min(limit, max(room, min(limit, self.max_new_tokens)))
        ledger = fit(len(opening), counts, size, limit, self.engine.window, dropped)
        for index in ledger.dropped:
            turns[index] = ()
        return ledger, (opening, *chain.from_iterable(turns), *last), before

    def _split(self, conversation: Conversation) -> tuple[Sequence[tuple[Turn, Turn]], Turn, Turn]:
        """The exchanges before the newest message, that message, and the reply that goes on behind
        it: an empty one where none was begun."""
        if len(conversation.turns) % 2 or not conversation.turns:
            return conversation.exchanges, conversation.message, NOTHING
        *exchanges, (message, reply) = conversation.exchanges
        tokenizer = self.engine.tokenizer
        reply = self._checked(reply)
        said = self.template.reply(reply)[0]
        ids = encode([said], tokenizer) if reply.text else []
        for _ in range(3):  # tokens of a character that the reply's end cut through
            if tokenizer.decode(ids).endswith("\ufffd"):
                ids.pop()
        text = tokenizer.decode(ids)
        if self.template.escaped(reply.text) != reply.text:  # for the model alone
            text = reply.text[: len(reply.text) - (len(said.text) - len(text))]
        text = text.lstrip()
        if not text:
            raise HistoryError(
                "The last reply is empty, so there is nothing to continue; ask for a new one."
            )
        return exchanges, message, dataclasses.replace(reply, text=text, ids=tuple(ids))

    def _ids(self, turn: Turn) -> Sequence[int]:
        """Ids of a turn and of the marker behind it. Kept under a digest of the turn, since they
        are asked for again with every letter that a person types behind it."""
        parts = repr((turn.role, turn.text, turn.ids)).encode("utf-8", "surrogatepass")
        key = blake2b(parts, digest_size=16).digest()
        ids = self._known.get(key)
        if ids is None:
            template = self.template
            write = template.message if turn.role == "user" else template.reply
            ids = array("i", encode(write(self._checked(turn)), self.engine.tokenizer))
            if self._held + len(ids) > KNOWN_MAX:
                self._known, self._held = {}, 0
            self._known[key] = ids
            self._held += len(ids)
        return ids

    def _checked(self, turn: Turn) -> Turn:
        return dataclasses.replace(turn, ids=trusted_ids(turn, self.engine.tokenizer))

    def _scanner(
        self, stops: Sequence[str], before: str, *, exact: bool
    ) -> tuple[StopScanner, int | None]:
        """A StopScanner that has read the text `before`, and how much of that it holds; a new one
        and None where nothing is continued. exact: nothing of the template ends the reply."""
        template = self.template
        new = partial(StopScanner, strings=tuple(stops))
        if not exact:
            new = partial(
                StopScanner,
                markers=template.markers,
                separator=template.separator,
                strings=(*template.stop, *stops),
                strip=True,
            )
        return resume(new, before) if before else (new(), None)
