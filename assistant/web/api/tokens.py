"""POST /tokenize and /detokenize, in the forms of TGI, vLLM and llama.cpp, told apart by key; GET
/tokenizer_info.

Knows text and tokens; nothing is computed by the model.
"""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from assistant.chat.assistant import Assistant
from assistant.completion.complete import check_ids
from assistant.completion.raw import Raw
from assistant.conversation import Conversation
from assistant.errors import RequestError
from assistant.prompting.template import encode
from assistant.web.api.fields import reading
from assistant.web.api.wanted import Ids
from assistant.web.gate.security import Json

FORMS = ("inputs", "content", "prompt", "messages")  # TGI's, llama.cpp's, and vLLM's two


class Text(BaseModel):
    """What is to be cut into tokens: the first of FORMS that is there, each a raw prompt but for
    the messages. A token that stands before a document is added to all but llama.cpp's, or as
    add_special_tokens (vLLM's) or add_special (llama.cpp's) says. parse_special: false reads
    spellings of special tokens as text."""

    model_config = ConfigDict(strict=True)

    inputs: str | None = None
    content: str | None = None
    prompt: str | None = None
    messages: Annotated[list[dict[str, Any]], Field(fail_fast=True)] | None = None
    parse_special: bool | None = None
    add_special: bool = False
    add_special_tokens: bool = True
    with_pieces: bool | None = None
    return_token_strs: bool | None = None


class Tokens(BaseModel):
    model_config = ConfigDict(strict=True)
    tokens: Ids


def tokens_router(assistant: Assistant, key: Callable[..., object]) -> APIRouter:
    """The routes. key: a dependency that checks the key."""
    engine, router = assistant.engine, APIRouter(dependencies=[Depends(key)])

    @router.post("/tokenize", response_model=None)
    def tokenize(body: Text) -> Json | list[Json]:
        form = next((form for form in FORMS if getattr(body, form) is not None), None)
        if form is None:
            raise RequestError("Send one of inputs, content, prompt and messages.")
        ids = _ids(assistant, body, form)
        texts: list[str] = []
        if form == "inputs" or body.with_pieces or body.return_token_strs:
            if "tokens" in engine.limitations:
                raise RequestError(engine.limitations["tokens"])
            texts = engine.tokenizer.texts(ids, start=_starts(body, form))
        if form == "inputs":
            return _placed(ids, texts)
        if form == "content":
            pieces = [{"id": i, "piece": text} for i, text in zip(ids, texts, strict=False)]
            return {"tokens": pieces if body.with_pieces else ids}
        strings = texts if body.return_token_strs else None
        return {"count": len(ids), "max_model_len": engine.window, "tokens": ids,
                "token_strs": strings}  # fmt: skip

    @router.post("/detokenize", response_model=None)
    def detokenize(body: Tokens) -> Json:
        """With the keys of both vLLM and llama.cpp."""
        with reading("tokens"):
            text = engine.tokenizer.decode(check_ids(body.tokens, engine.tokenizer))
        return {"prompt": text, "content": text}

    @router.get("/tokenizer_info", response_model=None)
    def info() -> Json:
        """vLLM's form, which lm-eval asks before it sends prompts to /tokenize."""
        tokenizer = engine.tokenizer
        end, bos = tokenizer.decode([tokenizer.eos_id]), tokenizer.bos_id
        return {
            "tokenizer_class": "PreTrainedTokenizerFast",  # that of transformers which reads it
            "chat_template": assistant.template.to_jinja(),
            "eos_token": end,
            "bos_token": None if bos is None else tokenizer.decode([bos]),
            "add_bos_token": bos is not None,
            "model_max_length": engine.window,
        }

    return router


def _ids(assistant: Assistant, body: Text, form: str) -> list[int]:
    """Of a text, or of all the prompt that messages become. Raises RequestError."""
    tokenizer, asked = assistant.engine.tokenizer, getattr(body, form)
    if isinstance(asked, str):
        special, start = body.parse_special is not False, _starts(body, form)
        with reading(form):
            segments = Raw(asked).checked().segments(tokenizer, special=special) if asked else []
    else:
        with reading("messages"):
            system, conversation = Conversation.from_messages(asked)
            segments, start = assistant.segments(conversation, system=system), True
    return encode(segments, tokenizer, start=start)


def _starts(body: Text, form: str) -> bool:
    """Whether the text is read as the beginning of a document."""
    return body.add_special if form == "content" else body.add_special_tokens


def _placed(ids: list[int], texts: list[str]) -> list[Json]:
    """TGI's form. start and stop: characters of the text."""
    placed: list[Json] = []
    at = 0
    for token, text in zip(ids, texts, strict=True):
        placed.append({"id": token, "text": text, "start": at, "stop": at + len(text)})
        at += len(text)
    return placed
