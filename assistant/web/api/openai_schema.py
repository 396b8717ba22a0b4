"""What clients of the OpenAI-compatible API send, and how a body that does not fit is refused.

Knows keys and types; ranges are checked where the values are used.
"""

from collections.abc import Mapping
from typing import Annotated, Any, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from assistant.errors import RequestError
from assistant.web.api.wanted import Ids, Texts, Wanted, Whole

BAD_JSON = "The body of the request is not JSON."
FORMS = {  # what pydantic says of a choice of types is about one of them only
    "prompt": "must be text, a list of token ids, or a list of either",
    "stop": "must be text or a list of texts",
    "messages": "must be a list of objects with a role and a content",
    "input": "must be text or a list of messages",
    "dry_sequence_breakers": "must be a list of texts",
    "logit_bias": "must be an object of token ids and numbers",
    **dict.fromkeys(("guided_json", "json_schema", "grammar"), "must be an object or text"),
}

# What pydantic names a value that is no object
OBJECTS = ("dict_type", "model_type", "model_attributes_type")


class StreamOptions(BaseModel):
    model_config = ConfigDict(strict=True)
    include_usage: bool | None = None


class Body(Wanted):
    """What both kinds of completion take. return_token_ids: vLLM's extension, `token_ids` in each
    choice; return_tokens_as_token_ids: so are tokens named in logprobs."""

    model: str | None = None
    n: Whole | None = None
    best_of: Whole | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    include_stop_str_in_output: bool | None = None
    return_token_ids: bool | None = None
    return_tokens_as_token_ids: bool | None = None

    @field_validator("best_of")
    @classmethod
    def _best_of(cls, value: int | None, info: ValidationInfo) -> int | None:
        if (value or 1) > (info.data.get("n") or 1):
            raise ValueError("must not be above n: all replies are given back")
        return value

    @property
    def usage_wanted(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)

    def shown_stop(self, stop: str | None) -> str:
        """What a reply that `stop` ended shows of it: nothing, unless the request named that stop
        and asked to see it."""
        seen = self.include_stop_str_in_output and stop in (self.stops or ())
        return stop if seen and stop else ""


class CompletionBody(Body):
    prompt: str | Ids | Texts | Annotated[list[Ids], Field(fail_fast=True)]
    suffix: str | None = None
    max_tokens: Whole | None = None
    logprobs: Whole | None = None
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
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None

    def check_last(self) -> None:
        """A last message of the assistant's is always continued here. Raises RequestError where
        that is asked of another, or no reply at all is asked for."""
        if self.messages and self.messages[-1].get("role") == "assistant":
            return
        if self.continue_final_message:
            raise RequestError(
                "continue_final_message needs the assistant's message as the last one.",
                "continue_final_message",
            )
        if self.add_generation_prompt is False:
            raise RequestError(
                "add_generation_prompt may be false only where the assistant's message is the "
                "last, which goes on.",
                "add_generation_prompt",
            )


def explain_invalid(error: Mapping[str, Any]) -> tuple[str, str | None, str | None]:
    """(sentence, code, param) of one of the errors that pydantic found in a body."""
    keys = [key for key in error["loc"][1:] if key != "parameters"] or error["loc"][1:]
    param = str(keys[0]) if keys and isinstance(keys[0], str) else None
    if param not in FORMS:  # of the others the place within may be told
        param = param and ".".join(map(str, keys))
    if error["type"] == "json_invalid":
        return BAD_JSON, None, None
    if param is None:
        return "The body of the request must be a JSON object.", None, None
    if error["type"] == "missing":
        return f"The request has no {param!r}, which it must have.", None, param
    reason = error.get("ctx", {}).get("error") or FORMS.get(param)
    if not reason:
        reason = "must be an object" if error["type"] in OBJECTS else f"is wrong: {error['msg']}"
    return f"{param} {reason}.", None, param
