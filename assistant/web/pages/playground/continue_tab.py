"""The tab that continues a raw prompt: the prompt, its continuations side by side, their tokens.

Knows components and events; what a prompt is and how it goes on is assistant/completion's.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import gradio as gr
from anyio import CapacityLimiter

from assistant.completion.complete import complete, samples
from assistant.completion.inspector import branch, scoring
from assistant.completion.library import Entry, completions, questions
from assistant.completion.raw import Raw
from assistant.engine.protocol import Engine
from assistant.errors import RequestError, TextError
from assistant.generation.reply import Reply
from assistant.web.pages.doors import status_line
from assistant.web.pages.events import ASIDE, QUIET, Untrusted, Update, Updates
from assistant.web.pages.playground.continue_state import PROMPT, Continuation, Session, from_chat
from assistant.web.pages.playground.controls import Controls, read_controls, show_stops
from assistant.web.pages.playground.html import cards, data, inspector, strip
from assistant.web.pages.playground.library_form import LibraryForm, read_form
from assistant.web.pages.playground.tab_base import Runs, Source, read_action, visible, with_status
from assistant.web.sources import Sources

CARDS_MAX = 8
ACTS = (("append", "Append"), ("inspect", "Inspect"), ("copy", "Copy"))
BACK = ("back", "Back to the chat")
CHANGED = (
    "The prompt is no longer the chat's with something behind it; open the turn again to bring a "
    "continuation back."
)
OPENED = "This is the chat's prompt as the model saw it."
FULL = f"There are {CARDS_MAX} continuations already; Continue starts anew."


class CompletionTab(Runs[Session]):
    """Builds the tab inside the layout that is open."""

    def __init__(self, engine: Engine, sources: Sources) -> None:
        self.engine, self.sources = engine, sources
        self.threads = CapacityLimiter(ASIDE)
        self._build()
        self._connect()

    def _build(self) -> None:
        tokenizer = self.engine.tokenizer
        with gr.Row(elem_classes="play-row"):
            with gr.Column(scale=3, min_width=300):
                self.library = LibraryForm(
                    tokenizer,
                    ("", "Put it in the box", completions().values()),
                    ("For the chat: ", "Put it in the chat", questions().values()),
                )
                self.prompt = gr.Textbox(PROMPT, label="Prompt", lines=8, max_lines=20,
                                         info="The model continues it as it stands.",
                                         elem_id="prompt", elem_classes="mono")  # fmt: skip
                first = self._strip(Raw(PROMPT), False, False)
                self.strip = gr.Markdown(first, latex_delimiters=[], elem_id="strip")
                with gr.Row(elem_classes="switches"):
                    self.literal = gr.Checkbox(False, label="Read special tokens as text")
                    self.ids = gr.Checkbox(False, label="Show tokens and ids")
                    self.undo = gr.Button(
                        "Undo", size="sm", visible="hidden", elem_id="prompt-undo"
                    )
                self.running = self.build_run("Continue", "continue")
                self.written = gr.Markdown("", latex_delimiters=[], elem_id="continuations")
                self.tokens = gr.Markdown("", latex_delimiters=[], elem_id="inspector")
            self.controls = Controls(self.engine, "Continuations")
        self.action = gr.Textbox(visible="hidden", elem_id="play")
        self.go = gr.Button(visible="hidden", elem_id="play-go")
        self.opened = gr.Textbox(visible="hidden", elem_id="to-playground")
        self.open = gr.Button(visible="hidden", elem_id="to-playground-go")
        self.back = gr.Markdown("", visible="hidden", elem_id="from-playground")
        self.to_chat = gr.Markdown("", visible="hidden", elem_id="to-chat")
        self.session = gr.State(Session())

    def _connect(self) -> None:
        prompt = [self.prompt, self.literal, self.ids, self.session]
        inputs = [self.prompt, self.literal, *self.controls.inputs, self.session]
        box = [self.prompt, self.strip, self.undo, self.status]
        outputs = [*self.running, self.written, self.tokens]
        # One event of all three: of two events, the older may answer last. Not the box's `input`,
        # which Gradio knows of keys alone, not of what is pasted or cut.
        triggers = [self.prompt.change, self.literal.input, self.ids.input]
        gr.on(triggers, self.look, prompt, [self.strip, self.status],
              trigger_mode="always_last", **QUIET)  # fmt: skip
        self.undo.click(self.put_back, prompt, box, **QUIET)
        templates, asked_often = self.library.forms
        for entry, fields, button in templates:
            button.click(partial(self.use, entry), [*fields, *prompt], box, **QUIET)
        for entry, fields, button in asked_often:
            button.click(partial(self.ask, entry), fields, [self.to_chat, self.status], **QUIET)
        self.run.click(self.continue_, inputs, outputs, trigger_mode="multiple", **QUIET)
        self.stop.click(self.end, self.session, None, **QUIET)
        self.go.click(self.act, [self.action, self.ids, *inputs], [*box[:-1], *outputs, self.back],
                      trigger_mode="multiple", **QUIET)  # fmt: skip
        self.open.click(self.take_over, [self.opened, *prompt],
                        [*box[:-1], *outputs, self.controls.stops], **QUIET)  # fmt: skip

    # The prompt

    @with_status
    def look(self, prompt: Untrusted, literal: object, ids: object, session: Session) -> Update:
        """What the prompt in the box is for the model."""
        return {self.strip: self._strip(session.edit(prompt), literal, ids)}

    def _strip(self, raw: Raw, literal: object, ids: object) -> str:
        tokenizer = self.engine.tokenizer
        try:
            raw = raw.checked()
        except TextError as error:
            return status_line(str(error))
        spelt = sum(each.trusted for each in Raw(raw.text).segments(tokenizer))
        return strip(raw.pieces(tokenizer, special=not literal), spelt, ids=bool(ids))

    def put(
        self, raw: Raw, literal: object, ids: object, session: Session, status: str = ""
    ) -> Update:
        """Another prompt in the box. The one before can be put back."""
        former, session.raw = session.raw, raw
        session.former = former
        return {
            self.prompt: raw.text,
            self.strip: self._strip(raw, literal, ids),
            self.undo: visible(bool(former.text)),
            self.status: status_line(status),
        }

    @with_status
    def put_back(self, prompt: Untrusted, literal: object, ids: object, session: Session) -> Update:
        raw = session.edit(prompt)
        return self.put(session.former or raw, literal, ids, session)

    @with_status
    def use(self, entry: Entry, *values: Any) -> Update:
        """A template of the library, its variables filled in."""
        *fields, prompt, literal, ids, session = values
        raw = read_form(entry, fields)
        session.edit(prompt)
        return self.put(raw, literal, ids, session)

    @with_status
    def ask(self, entry: Entry, *fields: Untrusted) -> Update:
        """A saved question, its variables filled in: the page's script takes it to the chat."""
        return {self.to_chat: data({"text": read_form(entry, fields).text})}

    @with_status
    def append(
        self, card: Continuation, prompt: Untrusted, literal: object, ids: object, session: Session
    ) -> Update:
        """A continuation behind the prompt."""
        raw = session.edit(prompt)
        return self.put(Raw(raw.text + card.text, raw.plain), literal, ids, session)

    @with_status
    def take_over(
        self, message: Untrusted, prompt: Untrusted, literal: object, ids: object, session: Session
    ) -> Update:
        """A turn of the chat as a prompt."""
        raw, stops, origin, card = from_chat(message, self.engine.tokenizer)
        session.edit(prompt)
        session.work.stop()
        session.origin, session.opened, session.inspected = origin, raw.text, None
        session.cards = [card] if card.text else []
        return {
            **self.put(raw, literal, ids, session, OPENED),
            **self.results(session),
            self.controls.stops: show_stops(stops),
        }

    # Its continuations

    async def continue_(self, prompt: Untrusted, literal: object, *values: Any) -> Updates:
        """As many continuations as were asked for, while they are written."""
        *controls, session = values

        def start() -> Iterator[tuple[Continuation, Reply]]:
            session.edit(prompt)
            number, options = read_controls(*controls)
            replies = samples(self.engine, session.raw, number, special=not literal, **options)
            session.inspected = None
            session.cards = [
                Continuation(f"Continuation {place + 1}", raw=session.raw, special=not literal)
                for place in range(len(replies))
            ]
            return zip(session.cards, replies, strict=True)

        async for page in self.write(session, start):
            yield page

    async def branch(
        self,
        session: Session,
        controls: Sequence[Untrusted],
        card: Continuation,
        place: int,
        choice: int,
    ) -> Updates:
        """A continuation that goes on from another token of `card`, while it is written."""

        def start() -> list[tuple[Continuation, Reply]]:
            begun = branch(card.tokens, place, choice)
            if len(session.cards) == CARDS_MAX:
                raise RequestError(FULL)
            _, options = read_controls(*controls)
            reply = complete(self.engine, card.raw, begun=begun, special=card.special, **options)
            decode = self.engine.tokenizer.decode
            session.cards.append(
                Continuation(f"{card.title}, other token {place + 1}", raw=card.raw,
                             special=card.special, begun=begun, decode=decode, text=decode(begun))
            )  # fmt: skip
            return [(session.cards[-1], reply)]

        async for page in self.write(session, start):
            yield page

    async def inspect(self, session: Session, card: Continuation) -> Updates:
        """The tokens of `card`, once their probabilities are computed."""
        tokenizer = self.engine.tokenizer

        def start() -> list[Source]:
            prompt = card.raw.checked().ids(tokenizer, special=card.special)
            ids = card.ids or tokenizer.encode(card.text)
            return [scoring(self.engine, prompt, ids, wait_s=0)]

        def take(_: int, event: object) -> None:
            if isinstance(event, Exception):
                raise event
            if isinstance(event, tuple):
                card.tokens, session.inspected = event, card

        async for page in self.work(session, start, take, "Computing the probabilities"):
            yield page

    async def act(
        self, action: Untrusted, ids: object, prompt: Untrusted, literal: object, *values: Any
    ) -> Updates:
        """A button below a continuation, or a token's alternative: [name, number of card, ...]."""
        *controls, session = values
        name, numbers = read_action(action)
        card = session.cards[numbers[0]] if numbers and numbers[0] < len(session.cards) else None
        if name == "append" and card:
            yield await self.append(card, prompt, literal, ids, session)
        elif name == "inspect" and card:
            async for page in self.inspect(session, card):
                yield page
        elif name == "branch" and card and len(numbers) == 3:
            async for page in self.branch(session, controls, card, numbers[1], numbers[2]):
                yield page
        elif name == "close":
            session.inspected = None
            yield self.results(session)
        elif name == "back" and card and session.origin:
            yield await self.bring_back(card, session)

    @with_status
    def bring_back(self, card: Continuation, session: Session) -> Update:
        """A continuation for the chat, with what was written behind the prompt before it."""
        before = card.raw.text.removeprefix(session.opened)
        if not card.raw.text.startswith(session.opened):
            raise RequestError(CHANGED)
        ids = None if before else card.ids
        reply = {"text": (before + card.text).strip(), "ids": ids}
        return {self.back: data({**(session.origin or {}), **reply})}

    def results(self, session: Session) -> Update:
        card, tokens = session.inspected, ""
        if card in session.cards:
            tokens = inspector(card.title, card.tokens, session.cards.index(card))
        acts = (*ACTS, BACK) if session.origin else ACTS
        return {
            self.written: cards(
                session.cards,
                acts=acts,
                cannot={"inspect": self.engine.limitations.get("prompt_logprobs")},
            ),
            self.tokens: tokens,
        }
