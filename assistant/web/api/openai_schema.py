"""What clients of the OpenAI-compatible API send, and how a body that does not fit is refused.

Knows keys and types; ranges are checked where the values are used. Unknown keys are ignored, but
those that would change the answer, and are not supported, are refused by name. Of a list one item
that is wrong is enough: a body can hold half a million, and FastAPI has each of them described.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, cast

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)

from assistant.sampling import SEED_MAX, Sampling, check_max_new_tokens

BAD_JSON = "The body of the request is not JSON."
FORMS = {  # what pydantic says of a choice of types is about one of them only
    "prompt": "must be text, a list of token ids, or a list of either",
    "stop": "must be text or a list of texts",
    "messages": "must be a list of objects with a role and a content",
}


def _whole(value: object) -> object:
    """40.0 is 40: languages without whole numbers send it so."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = Annotated[int, BeforeValidator(_whole)]
Ids = Annotated[list[int], Field(fail_fast=True)]
Texts = Annotated[list[str], Field(fail_fast=True)]


def read_seed(seed: int | None) -> int | None:
    """-1 is none, as elsewhere; a seed of 64 bits is folded into those that are known here."""
    return None if seed is None or seed == -1 else seed % (SEED_MAX + 1)


def read_limit(name: str, limit: int | None, window: int, least: int = 1) -> int | None:
    """A limit on new tokens: -1 is none, and what no window holds is cut to it. Raises
    SamplingError, which names what the client sent."""
    if limit is None or limit == -1:
        return None
    return check_max_new_tokens(min(limit, window), window, least, name)


class StreamOptions(BaseModel):
    model_config = ConfigDict(strict=True)
    include_usage: bool | None = None


class Body(BaseModel):
    """What both kinds of completion take. return_token_ids: vLLM's extension, `token_ids` in each
    choice."""

    model_config = ConfigDict(strict=True)

    model: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: Whole | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    seed: Whole | None = None
    n: Whole | None = None
    best_of: Whole | None = None
    stop: str | Texts | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    return_token_ids: bool | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None

    @field_validator("presence_penalty", "frequency_penalty", "logit_bias", mode="before")
    @classmethod
    def _unsupported(cls, value: object) -> object:
        if value:
            raise ValueError("is not supported here; leave it out")
        return value

    @field_validator("best_of")
    @classmethod
    def _best_of(cls, value: int | None, info: ValidationInfo) -> int | None:
        if (value or 1) > (info.data.get("n") or 1):
            raise ValueError("must not be above n: all replies are given back")
        return value

    def sampling(self, default: Sampling) -> Sampling:
        """What was not given is as in `default`. Raises SamplingError."""
        names = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "seed")
        given = {name: getattr(self, name) for name in names}
        given["seed"] = read_seed(self.seed)
        if self.top_k == -1:  # how some clients switch it off
            given["top_k"] = 0
        return replace(default, **{name: v for name, v in given.items() if v is not None})

    @property
    def stops(self) -> list[str] | None:
        return [self.stop] if isinstance(self.stop, str) else self.stop

    @property
    def usage_wanted(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)


class CompletionBody(Body):
    prompt: str | Ids | Texts | Annotated[list[Ids], Field(fail_fast=True)]
    suffix: str | None = None
    max_tokens: Whole | None = None
    logprobs: Whole | None = None
    return_tokens_as_token_ids: bool | None = None  # vLLM's extension: of those in logprobs
    echo: bool | None = None

    @property
    def prompts(self) -> list[str | list[int]]:
        one = not isinstance(self.prompt, list) or not self.prompt or type(self.prompt[0]) is int
        return cast(list[str | list[int]], [self.prompt] if one else self.prompt)


class ChatBody(Body):
    messages: Annotated[list[dict[str, Any]], Field(fail_fast=True)]
    max_tokens: Whole | None = None
    max_completion_tokens: Whole | None = None
    logprobs: bool | None = None
    top_logprobs: Whole | None = None
    response_format: dict[str, Any] | None = None
    tools: list[Any] | None = None
    functions: list[Any] | None = None

    @field_validator("tools", "functions")
    @classmethod
    def _no_tools(cls, value: list[Any] | None) -> list[Any] | None:
        if value:
            raise ValueError("are not supported here; leave them out")
        return value

    @field_validator("response_format")
    @classmethod
    def _plain_text(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        if value and value.get("type") != "text":
            raise ValueError('must be of the type "text", the only one that is supported here')
        return value


def explain_invalid(error: Mapping[str, Any]) -> tuple[str, str | None, str | None]:
    """(sentence, code, param) of one of the errors that pydantic found in a body."""
    keys = [key for key in error["loc"][1:] if key != "parameters"] or error["loc"][1:]
    param = keys[0] if keys and isinstance(keys[0], str) else None
    if error["type"] == "json_invalid":
        return BAD_JSON, None, None
    if param is None:
        return "The body of the request must be a JSON object.", None, None
    if error["type"] == "missing":
        return f"The request has no {param!r}, which it must have.", None, param
    reason = error.get("ctx", {}).get("error") or FORMS.get(param) or f"is wrong: {error['msg']}"
    return f"{param} {reason}.", None, param
