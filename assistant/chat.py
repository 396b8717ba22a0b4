"""Assistant.reply(): a conversation and a prompt template become a stream of events.

Knows how the parts go together, and nothing of the web or of torch.
"""

import dataclasses

from assistant.conversation import trusted_ids
from assistant.engine import Request
from assistant.errors import TemplateError
from assistant.generate import generate
from assistant.prompt import Segment, encode
from assistant.sampling import check_max_new_tokens, check_stops
from assistant.stops import StopScanner
from assistant.window import Exchange, fit


class Reply:
    """Iterator over the events of generate.py. ledger: where the window's tokens go. sampling: as
    used, with its seed. `close()` cancels what still runs; its end can still be read."""

    def __init__(self, generation, ledger, sampling):
        self._generation = generation
        self.ledger = ledger
        self.sampling = sampling

    def __iter__(self):
        return self

    def __next__(self):
        return next(self._generation)

    def close(self):
        self._generation.close()


class Assistant:
    """A base model that answers as the dialogues of `template` do.

    max_new_tokens: the longest reply unless a call says otherwise. The template's preamble is
    computed here and kept by the engine. Raises TemplateError when template and model do not fit,
    EngineError when the preamble cannot be computed.
    """

    def __init__(self, engine, template, *, max_new_tokens=512):
        template.check(engine.tokenizer)
        self.engine = engine
        self.template = template
        self.max_new_tokens = max_new_tokens
        self._preamble = tuple(encode([Segment(template.preamble, trusted=True)], engine.tokenizer))
        if len(self._preamble) + max_new_tokens >= engine.window:
            raise TemplateError(
                f"The prompt template {template.name!r} has {len(self._preamble)} tokens, and with "
                f"{max_new_tokens} for the reply they fill the model's window of {engine.window}; "
                "choose a shorter one with --prompt, or lower --max-new-tokens."
            )
        self._opening = encode(template.opening(), engine.tokenizer)
        if self._preamble:
            engine.pin(self._preamble)

    def reply(self, conversation, *, sampling=None, max_new_tokens=None, stop=(), wait_s=0.1):
        """The Reply to the conversation's last message, checked and submitted at the call.

        sampling: a Sampling, else the template's. stop: further stop strings. wait_s: the longest
        that one `next()` waits, in seconds. Raises RequestError, EngineBusy or EngineDead.
        """
        engine, template, tokenizer = self.engine, self.template, self.engine.tokenizer
        engine.check_room()
        limit = self.max_new_tokens if max_new_tokens is None else max_new_tokens
        limit = check_max_new_tokens(limit, engine.window)
        stops = check_stops(stop)
        sampling = (sampling or template.sampling).seeded()

        newest = encode(template.message(conversation.message), tokenizer)
        exchanges, counts = [], []
        for message, reply in conversation.exchanges:
            asked, answered = [], []
            if reply.text:  # an empty reply would teach the model to say nothing
                reply = dataclasses.replace(reply, ids=trusted_ids(reply, tokenizer))
                asked = encode(template.message(message), tokenizer)
                answered = encode(template.reply(reply), tokenizer)
            exchanges.append(asked + answered)
            pinned = message.pinned or reply.pinned
            counts.append(Exchange(len(asked), len(answered), pinned))
        ledger = fit(len(self._opening), counts, len(newest), limit, engine.window)
        for index in ledger.dropped:
            exchanges[index] = []

        request = Request(
            ids=(*self._opening, *(token for ids in exchanges for token in ids), *newest),
            sampling=sampling,
            max_new_tokens=limit,
            stop_ids=template.stop_ids(tokenizer),
            banned_ids=template.banned_ids(tokenizer),
            penalty_from=len(self._preamble),
        )
        scanner = StopScanner(
            markers=template.markers,
            separator=template.separator,
            strings=(*template.stop, *stops),
            strip=True,
        )
        return Reply(generate(engine, request, scanner, wait_s=wait_s), ledger, sampling)
