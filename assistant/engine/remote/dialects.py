"""The kinds of servers: how each is asked for a reply, and what its events mean.

Knows routes and fields; no sockets and no text of ours. What a server sends is read with care: a
field that is missing or of another type raises KeyError, TypeError or ValueError, which the caller
takes for garbage.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from assistant.engine.protocol import Logprob, Request
from assistant.engine.remote.events import Event, count, finite, openai_logprobs, text, vllm_logprob
from assistant.errors import RequestError

NO_IDS = (
    "The server behind this page takes prompts as text, so a message that spells a special token "
    "is refused, and words at the joints of a conversation may be cut into other tokens."
)
NO_LOGPROBS = "The server behind this page gives no log-probabilities of its tokens."
NO_PROMPT_LOGPROBS = "The server behind this page does not say how likely the tokens of a text are."
NO_SEED = (
    "The server behind this page has one seed for all requests, so the same reply cannot be had "
    "again."
)
NO_COLD = (
    "The server behind this page does not promise the same text for the same seed: its last bits "
    "depend on what else it computes."
)
NO_BANNED = (
    "The server behind this page cannot be told which tokens not to write; a reply ends at a "
    "special token."
)

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
class Completions:
    """POST /v1/completions as OpenAI has it. owner: "vllm", "tech-assistant" (another copy of this
    program) or "" for any other. takes_ids is found by trying."""

    model: str
    owner: str = ""
    window: int | None = None
    takes_ids: bool = True
    path: str = "/v1/completions"

    @property
    def limitations(self) -> dict[str, str]:
        known = self.owner in ("vllm", "tech-assistant")
        limitations = {"cold": NO_COLD}
        if not known:
            limitations |= {"logprobs": NO_LOGPROBS, "prompt_logprobs": NO_PROMPT_LOGPROBS}
        if self.owner != "vllm":
            limitations["banned"] = NO_BANNED
        if not self.takes_ids:
            limitations["ids"] = NO_IDS
        return limitations

    def body(self, request: Request, prompt: Prompt) -> JSON:
        sampling = request.sampling
        body: JSON = {
            "model": self.model,
            "prompt": prompt,
            "max_tokens": request.max_new_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "min_p": sampling.min_p,
            "repetition_penalty": sampling.repetition_penalty,
            "seed": sampling.seed,
            "logprobs": request.logprobs,
            "stream": True,
            "stream_options": {"include_usage": True},
            "return_token_ids": True,
            "return_tokens_as_token_ids": True,
            "skip_special_tokens": False,
            "stop_token_ids": sorted(request.stop_ids),
        }
        if self.owner == "vllm":
            body["top_k"] = sampling.top_k or -1
            body["logit_bias"] = {str(token): -100 for token in request.banned_ids} or None
        elif sampling.top_k:
            body["top_k"] = sampling.top_k
        return {key: value for key, value in body.items() if value is not None}

    def read(self, value: JSON) -> Event:
        event = Event()
        if usage := value.get("usage"):
            event.new_tokens = count(usage["completion_tokens"])
            details = usage.get("prompt_tokens_details") or {}
            event.cached_tokens = count(details.get("cached_tokens") or 0)
        for choice in value["choices"][:1]:
            event.text = text(choice.get("text") or "")
            if choice.get("token_ids") is not None:
                event.ids = tuple(choice["token_ids"])
            if choice.get("logprobs"):
                event.logprobs = openai_logprobs(choice["logprobs"])
            event.reason = choice.get("finish_reason")
            if type(choice.get("stop_reason")) is int:
                event.stop_id = choice["stop_reason"]
        return event

    def scoring(self, request: Request) -> tuple[str, JSON]:
        """The path and the JSON that ask for the log-probabilities of the prompt."""
        body = {
            "model": self.model,
            "prompt": list(request.ids),
            "temperature": 0,
            "max_tokens": 1,
            "prompt_logprobs": request.prompt_logprobs,
        }
        if self.owner == "tech-assistant":
            del body["prompt_logprobs"]
            body |= {"max_tokens": 0, "echo": True, "logprobs": request.prompt_logprobs}
            body |= {"return_tokens_as_token_ids": True}
        return self.path, body

    def scores(self, value: JSON, request: Request) -> tuple[Logprob | None, ...]:
        """A Logprob for each token of the prompt, None for the first of them."""
        choice = value["choices"][0]
        if self.owner == "tech-assistant":
            found: Sequence[Logprob | None] = openai_logprobs(choice["logprobs"])
        else:
            places = zip(request.ids, choice["prompt_logprobs"], strict=True)
            found = [place and vllm_logprob(token, place) for token, place in places]
        count = request.prompt_logprobs
        cut = [one and Logprob(finite(one.logprob), one.top[:count]) for one in found[1:]]
        if len(cut) != len(request.ids) - 1 or None in cut:
            raise ValueError("too few log-probabilities")
        return (None, *cut)


@dataclass(slots=True)
class TransformersServe(Completions):
    """`transformers serve`: text in, text out, and all else in a GenerationConfig as JSON."""

    takes_ids: bool = False

    @property
    def limitations(self) -> dict[str, str]:
        return {
            "ids": NO_IDS,
            "logprobs": NO_LOGPROBS,
            "prompt_logprobs": NO_PROMPT_LOGPROBS,
            "seed": NO_SEED,
            "cold": NO_COLD,
        }

    def body(self, request: Request, prompt: Prompt) -> JSON:
        sampling, stops = request.sampling, sorted(request.stop_ids)
        config = {
            "eos_token_id": stops,
            "pad_token_id": stops[0] if stops else 0,
            "suppress_tokens": sorted(request.banned_ids) or None,
            "repetition_penalty": sampling.repetition_penalty,
        }
        if sampling.temperature:
            config |= {
                "do_sample": True,
                "temperature": sampling.temperature,
                "top_p": sampling.top_p,
                "top_k": sampling.top_k,
                "min_p": sampling.min_p or None,
            }
        return {
            "model": self.model,
            "prompt": prompt,
            "max_tokens": request.max_new_tokens,
            "seed": sampling.seed or 0,
            "stream": True,
            "generation_config": json.dumps(config),
        }


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
        default_factory=lambda: {"prompt_logprobs": NO_PROMPT_LOGPROBS, "cold": NO_COLD}
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
            "samplers": ["penalties", "temperature", "top_k", "top_p", "min_p"],  # as ours does
            "seed": (sampling.seed or 0) % (2**32 - 1),  # the last one would mean any
            "logit_bias": [[token, False] for token in request.banned_ids],
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
