"""Servers of completions as OpenAI has them: vLLM, another copy of this program, `transformers
serve`, and any other. See dialects.py.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from assistant.engine.protocol import Logprob, Request
from assistant.engine.remote.dialects import JSON, Prompt
from assistant.engine.remote.events import Event, count, finite, openai_logprobs, text, vllm_logprob
from assistant.engine.remote.lacks import (
    NO_BANNED,
    NO_COLD,
    NO_IDS,
    NO_LOGPROBS,
    NO_PROMPT_LOGPROBS,
    NO_SEED,
    lacks,
    used,
)


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
    def options(self) -> tuple[str, ...]:
        """Those of lacks.OPTIONS that it has: vLLM's are OpenAI's and one more."""
        openai = ("presence_penalty", "frequency_penalty", "logit_bias")
        if self.owner == "tech-assistant":
            return (*openai, "typical_p", "dry_multiplier", "min_new_tokens")
        return (*openai, "min_new_tokens") if self.owner == "vllm" else openai

    @property
    def limitations(self) -> dict[str, str]:
        known = self.owner in ("vllm", "tech-assistant")
        limitations = {"cold": NO_COLD} | lacks(*self.options)
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
        body |= used(sampling, *self.options)
        bias = {str(token): value for token, value in sampling.logit_bias}
        if self.owner == "vllm":
            body["top_k"] = sampling.top_k or -1
            bias |= {str(token): -100 for token in request.banned_ids}
        elif sampling.top_k:
            body["top_k"] = sampling.top_k
        body["logit_bias"] = bias or None
        body["min_tokens"] = request.min_new_tokens or None
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
            **lacks("typical_p", "min_new_tokens"),
        }

    def body(self, request: Request, prompt: Prompt) -> JSON:
        sampling, stops = request.sampling, sorted(request.stop_ids)
        config = {
            "eos_token_id": stops,
            "pad_token_id": stops[0] if stops else 0,
            "suppress_tokens": sorted(request.banned_ids) or None,
            "repetition_penalty": sampling.repetition_penalty,
            "min_new_tokens": request.min_new_tokens or None,
        }
        if sampling.temperature:
            config |= used(sampling, "typical_p")
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
