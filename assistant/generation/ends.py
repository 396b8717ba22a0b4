"""What may end a reply beside its length and its stop strings. Knows token ids; no prompts."""

import dataclasses
from dataclasses import dataclass

from assistant.engine.protocol import Engine, Request
from assistant.errors import RequestError, SamplingError
from assistant.grammar import Grammar
from assistant.sampling import STOPS_MAX, check_max_new_tokens


@dataclass(frozen=True, slots=True)
class Ends:
    """min_new_tokens: before so many no token ends it. stop_ids: further tokens that do.
    ignore_eos: the end of a document is never drawn. grammar: what the text must match; with it
    a reply ends where that is whole, at its length, or at a stop string of the request."""

    min_new_tokens: int = 0
    stop_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    grammar: Grammar | None = None

    def applied(self, request: Request, engine: Engine) -> Request:
        """`request` with these ends. Raises RequestError."""
        least = check_max_new_tokens(self.min_new_tokens, engine.window, 0, "min_new_tokens")
        if self.grammar is not None and (least or self.ignore_eos or self.stop_ids):
            raise RequestError("A grammar says where a reply ends; leave the other ends out.")
        for name, used in (("grammar", self.grammar), ("min_new_tokens", least)):
            if used and name in engine.limitations:
                raise RequestError(engine.limitations[name])
        size, eos = len(engine.tokenizer), engine.tokenizer.eos_id
        if len(self.stop_ids) > STOPS_MAX or not all(0 <= token < size for token in self.stop_ids):
            raise SamplingError(
                f"stop_ids must be at most {STOPS_MAX} token ids from 0 to {size - 1}.", "stop_ids"
            )
        ignored = engine.tokenizer.end_ids if self.ignore_eos else frozenset()
        stops = request.stop_ids - ignored
        stops |= {*self.stop_ids} | ({eos} if self.grammar is not None else set())
        banned = (request.banned_ids | ignored) - stops
        return dataclasses.replace(
            request,
            stop_ids=stops,
            banned_ids=banned,
            min_new_tokens=min(least, request.max_new_tokens),
            grammar=self.grammar,
        )


NO_ENDS = Ends()
