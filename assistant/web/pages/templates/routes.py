"""The route of the template editor: a template as fields, as a file, and as the model reads it.

The templates that a visitor writes live in the visitor's browser; nothing is kept here.
"""

from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from assistant.chat.assistant import Assistant
from assistant.conversation import Turn
from assistant.errors import RequestError, TemplateError
from assistant.prompting.editor import (
    DIALOGUES_MAX,
    TURNS_MAX,
    fields_to_toml,
    to_fields,
    to_toml,
)
from assistant.prompting.load import MARKER_CHARS_MAX, read_template
from assistant.prompting.template import PromptTemplate, Segment, encode
from assistant.sampling import NUMBERS
from assistant.text import quoted, replace_surrogates
from assistant.web.pages.aside import Aside
from assistant.web.pages.chat.prompt_tokens import tokens
from assistant.web.pages.chat.templates import Assistants

SHOWN_MAX = 6_000  # tokens of the rendered prompt that are sent, the last ones
# What stands behind the preamble where the rendered prompt is shown.
INSTRUCTIONS = "Answer in one sentence."
EXCHANGE = (
    Turn("user", "What does zip do?"),
    Turn("assistant", "It pairs the items of several lists."),
    Turn("user", "And what does len do?"),
)

Key = Annotated[str, Field(pattern=f"^(?:{'|'.join(NUMBERS)})$")]


class Body(BaseModel):
    model_config = ConfigDict(strict=True)


class Card(Body):
    role: Literal["user", "assistant"]
    text: str


Marker = Annotated[str, Field(max_length=MARKER_CHARS_MAX)]  # it is written with each turn
Dialogue = Annotated[list[Card], Field(max_length=TURNS_MAX, fail_fast=True)]


class Fields(Body):
    """A template as the editor shows it. dialogues: None where preamble is edited as one text."""

    name: Marker
    user: Marker
    assistant: Marker
    turn_end: Marker
    separator: Marker | None
    system: str | None
    stop: list[str]
    reply_end: Marker | None = None
    instructions: str | None = None
    special: list[str] | None = None
    exact: bool = False
    sampling: dict[Key, int | float | None]
    preamble: str
    intro: str
    dialogues: Annotated[list[Dialogue], Field(max_length=DIALOGUES_MAX, fail_fast=True)] | None


class Template(Body):
    """One of: the name of a template that is here, the text of a template file, its fields."""

    name: str | None = None
    toml: str | None = None
    fields: Fields | None = None


def templates_router(assistants: Assistants) -> APIRouter:
    router = APIRouter(prefix="/page")
    aside = Aside()

    @router.post("/template", response_model=None)
    async def template(body: Template) -> dict[str, Any]:
        return await aside.do(_look, assistants, body)

    return router


def _look(assistants: Assistants, body: Template) -> dict[str, Any]:
    """What there is to say of a template; of one that is not usable, which is no mistake yet while
    somebody types, its text and why. Raises RequestError for a name that is not here, and for
    fields that are too long to be written."""
    if body.name is not None:
        if body.name not in assistants.names:
            raise RequestError(f"There is no prompt template {quoted(body.name)} here.")
        toml = to_toml(assistants.names[body.name])
    elif body.fields is not None:
        toml = fields_to_toml(body.fields.model_dump())
    else:
        toml = body.toml or ""
    toml = replace_surrogates(toml)
    try:
        template = read_template(toml)
        template.check(assistants.engine.tokenizer)
    except TemplateError as error:
        return {"toml": toml, "error": str(error)}
    tokenizer = assistants.engine.tokenizer
    rendered = tokens(_sample(template), tokenizer)
    preamble = encode(template.beginning(), tokenizer, start=True)
    return {
        "toml": toml,
        "fields": to_fields(template),
        "tokens": rendered[-SHOWN_MAX:],
        "count": len(rendered),
        "preamble_tokens": len(preamble),
        "hash": template.short,
        "jinja": template.to_jinja(),
        "note": _why_no_chat(assistants, template),
    }


def _sample(template: PromptTemplate) -> list[Segment]:
    """The prompt of a short conversation."""
    segments = template.opening(INSTRUCTIONS if template.system else "")
    for turn in EXCHANGE:
        segments += template.message(turn) if turn.role == "user" else template.reply(turn)
    return segments


def _why_no_chat(assistants: Assistants, template: PromptTemplate) -> str | None:
    """Why the engine cannot chat with a usable template: it is too long."""
    limit = assistants.default.max_new_tokens
    try:
        Assistant(assistants.engine, template, max_new_tokens=limit, pin=False)
    except TemplateError as error:
        return str(error)
    return None
