"""The kinds of servers: how each is asked for a reply, and what its events mean.

Knows routes and fields; no sockets and no text of ours. What a server sends is read with care: a
field that is missing or of another type raises KeyError, TypeError or ValueError, which the caller
takes for garbage.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from assistant.engine.protocol import Logprob, Request
from assistant.engine.remote.events import Event, count, finite, text
from assistant.engine.remote.lacks import (
    NO_BANNED,
    NO_COLD,
    NO_IDS,
    NO_LOGPROBS,
    NO_PROMPT_LOGPROBS,
    lacks,
    used,
)
from assistant.errors import RequestError
from assistant.sampling import OFF

JSON: TypeAlias = dict[str, Any]
Prompt: TypeAlias = Sequence[int] | str  # ids, or their text


class Dialect(Protocol):
    """A kind of server. model: its name there. window: tokens, None where the server tells none.
    takes_ids: whether a prompt may be ids. path: of the route that writes. limitations: see the
    Engine protocol."""

    model: str
    window: int | None
    takes_ids: bool
    path: str

    @property
    def limitations(self) -> dict[str, str]: ...

    def body(self, request: Request, prompt: Prompt) -> JSON:
        """What asks for a reply."""
        ...

    def read(self, value: JSON) -> Event:
        """What one of its events says."""
        ...


@dataclass(slots=True)
class TextGeneration:
    """POST /generate_stream: TGI and Hugging Face's Inference Endpoints."""

    model: str
    window: int | None = None
    takes_ids: bool = False
    path: str = "/generate_stream"
    limitations: dict[str, str] = field(
        default_factory=lambda: {
            "ids": NO_IDS,
            "logprobs": NO_LOGPROBS,  # theirs are taken after temperature and top_p
            "prompt_logprobs": NO_PROMPT_LOGPROBS,
            "cold": NO_COLD,
            "banned": NO_BANNED,
            **lacks("frequency_penalty", "typical_p"),
        }
    )

    def body(self, request: Request, prompt: Prompt) -> JSON:
        sampling = request.sampling
        if sampling.temperature and sampling.min_p:
            raise RequestError("The server behind this page has no min_p; set it to 0.")
        parameters: JSON = {
            "max_new_tokens": request.max_new_tokens,
            "do_sample": bool(sampling.temperature),
            "seed": sampling.seed,
            "details": True,
            "return_full_text": False,
        }
        if sampling.temperature:
            # They refuse the values that switch these off.
            parameters["temperature"] = sampling.temperature
            parameters["top_p"] = sampling.top_p if sampling.top_p < 1 else None
            parameters["top_k"] = sampling.top_k or None
            parameters |= used(sampling, "typical_p")
        parameters |= used(sampling, "frequency_penalty")
        if sampling.repetition_penalty != 1:
            parameters["repetition_penalty"] = sampling.repetition_penalty
        known = {key: value for key, value in parameters.items() if value is not None}
        return {"inputs": prompt, "parameters": known, "stream": True}

    def read(self, value: JSON) -> Event:
        event = Event()
        if token := value.get("token"):
            event.ids, event.text = (token["id"],), text(token["text"])
        if details := value.get("details"):
            event.reason = {"length": "length", "abort": "abort"}.get(
                details["finish_reason"], "stop"
            )
            event.new_tokens = count(details["generated_tokens"])
        elif value.get("generated_text") is not None:
            event.reason = "stop"
        return event


@dataclass(slots=True)
class LlamaCpp:
    """POST /completion of llama.cpp's server, which takes and gives ids."""

    model: str
    window: int | None = None
    takes_ids: bool = True
    path: str = "/completion"
    limitations: dict[str, str] = field(
        default_factory=lambda: {
            "prompt_logprobs": NO_PROMPT_LOGPROBS,
            "cold": NO_COLD,
            **lacks(*OFF),
        }
    )

    def body(self, request: Request, prompt: Prompt) -> JSON:
        sampling = request.sampling
        return {
            "prompt": prompt,
            "n_predict": request.max_new_tokens,
            "temperature": sampling.temperature,
            "top_k": sampling.top_k,
            "top_p": sampling.top_p,
            "min_p": sampling.min_p,
            "repeat_penalty": sampling.repetition_penalty,
            "repeat_last_n": -1,
            # In our order
            "samplers": ["penalties", "dry", "temperature", "top_k", "top_p", "min_p", "typ_p"],
            **used(sampling, *OFF),
            "dry_penalty_last_n": -1,
            "seed": (sampling.seed or 0) % (2**32 - 1),  # the last one would mean any
            "logit_bias": [
                *map(list, sampling.logit_bias),
                *([token, False] for token in request.banned_ids),
            ],
            "n_probs": request.logprobs or 0,
            "return_tokens": True,
            "cache_prompt": not request.cold,
            "stream": True,
        }

    def read(self, value: JSON) -> Event:
        event = Event(text(value.get("content") or ""), tuple(value.get("tokens") or ()))
        if places := value.get("completion_probabilities"):
            event.logprobs = tuple(
                Logprob(
                    finite(place["logprob"]),
                    tuple((top["id"], finite(top["logprob"])) for top in place["top_logprobs"]),
                )
                for place in places
            )
        if value.get("stop"):
            event.reason = "length" if value.get("stop_type") == "limit" else "stop"
            event.new_tokens = count(value.get("tokens_predicted") or 0)
            event.cached_tokens = count((value.get("timings") or {}).get("cache_n") or 0)
        return event
