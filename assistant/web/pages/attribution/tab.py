"""The tab that searches the sources, and checks code that was pasted.

Knows components and events; what an index is and how it is searched is assistant/attribution's.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from functools import partial
from typing import Any

import gradio as gr
from anyio import to_thread

from assistant.attribution import search
from assistant.attribution.fulltext import choices
from assistant.text import replace_surrogates
from assistant.web.pages.attribution.html import hit_cards, match_list, underline
from assistant.web.pages.attribution.routes import FAILED
from assistant.web.pages.doors import one_line, status_line
from assistant.web.pages.events import QUIET_AND_FREE, Untrusted, Updates, explain_error
from assistant.web.sources import Building, Sources

ANY = "Any"
SHIPPED = (
    "The index holds Python 3.11's documentation and standard library, from which the built-in "
    "model learned. "
)
INTRO = "Words and “exact phrases” are found whatever their case."
NOTHING = "Nothing was found."
NONE = "No run of 50 characters or more stands in the sources."


class AttributionTab:
    """Builds the tab inside the layout that is open, which is `tab`."""

    def __init__(self, sources: Sources, tab: gr.Tab) -> None:
        self.sources = sources
        self._build()
        self._connect(tab)

    def _build(self) -> None:
        with gr.Tabs(elem_id="attribution"):
            with gr.Tab("Search"):
                info = INTRO if self.sources.path else SHIPPED + INTRO
                with gr.Row(elem_classes="play-row"):
                    self.query = gr.Textbox(label="Search for", info=info,
                                            elem_id="source-query",
                                            max_lines=1)  # fmt: skip
                with gr.Row(elem_classes="play-row"):
                    self.path = gr.Textbox(label="Path holds", max_lines=1, min_width=160)
                    self.language = gr.Dropdown([ANY], value=ANY, label="Language", min_width=160)
                    self.licence = gr.Dropdown([ANY], value=ANY, label="Licence", min_width=160)
                with gr.Row(elem_classes="run"):
                    self.go = gr.Button("Search", variant="primary", size="md", min_width=110,
                                        scale=0, elem_id="source-search")  # fmt: skip
                    self.status = gr.Markdown("", elem_id="source-status", elem_classes="status")
                self.hits = gr.Markdown("", latex_delimiters=[], elem_id="source-hits")
            with gr.Tab("Check code"):
                self.code = gr.Textbox(label="Code", lines=10, max_lines=24, elem_id="source-code",
                                       elem_classes="mono",
                                       info="White space does not count.")  # fmt: skip
                host = self.sources.host
                self.service = gr.Checkbox(
                    False,
                    visible=bool(host),
                    label=f"Ask {host} too: the code is sent there, and leaves this machine",
                )
                with gr.Row(elem_classes="run"):
                    self.check_go = gr.Button("Check", variant="primary", size="md", min_width=110,
                                              scale=0, elem_id="source-check")  # fmt: skip
                    self.checked = gr.Markdown("", elem_id="check-status", elem_classes="status")
                self.matches = gr.Markdown("", latex_delimiters=[], elem_id="source-matches")

    def _connect(self, tab: gr.Tab) -> None:
        inputs = [self.query, self.path, self.language, self.licence]
        outputs = [self.status, self.hits]
        tab.select(self.open, None, [self.status, self.language, self.licence], **QUIET_AND_FREE)
        for event in (self.go.click, self.query.submit, self.path.submit):
            event(self.search, inputs, outputs, **QUIET_AND_FREE)
        self.check_go.click(self.check, [self.code, self.service], [self.checked, self.matches],
                            **QUIET_AND_FREE)  # fmt: skip

    async def open(self) -> Updates:
        """The tab is shown: the index is opened, and what it can be filtered by is known."""
        async for page in self._follow(self.status, self.sources.ask(choices)):
            if isinstance(page, dict):
                yield page
                continue
            languages, licences = page
            yield {
                self.language: gr.update(choices=[ANY, *languages]),
                self.licence: gr.update(choices=[ANY, *licences]),
                self.status: status_line(""),
            }

    async def search(
        self, query: Untrusted, path: Untrusted, language: Untrusted, licence: Untrusted
    ) -> Updates:
        """The best places for a query."""
        question = partial(
            search,
            query=query,
            path=str(path or ""),
            language="" if language == ANY else str(language or ""),
            licence="" if licence == ANY else str(licence or ""),
        )
        steps = self.sources.ask(question)
        async for page in self._follow(self.status, steps, self.hits):
            if isinstance(page, dict):
                yield page
            else:
                note = "" if page else NOTHING
                yield {self.status: status_line(note), self.hits: hit_cards(page)}

    async def check(self, text: Untrusted, service: Untrusted) -> Updates:
        """What of a text stands in the sources."""
        text = replace_surrogates(text) if isinstance(text, str) else ""
        if not text.strip():
            yield {self.checked: status_line("There is nothing to check."), self.matches: ""}
            return
        async for page in self._follow(self.checked, self.sources.check(text), self.matches):
            if isinstance(page, dict):
                yield page
                continue
            marked = await to_thread.run_sync(underline, text, page) if page else ""
            body = f'<pre class="written">{marked}</pre>' if page else ""
            note = "" if page else NONE
            if service is True:
                note = f"{note} {await self._ask_service(text)}".strip()
            yield {self.checked: status_line(note), self.matches: one_line(body + match_list(page))}

    async def _ask_service(self, text: str) -> str:
        try:
            spans = await self.sources.ask_service(text)
        except Exception as error:
            return explain_error(error, FAILED)
        count = sum(end - start for start, end in spans)
        return f"{self.sources.host} knows {count:,} of the {len(text):,} characters."

    async def _follow(
        self, status: gr.Markdown, steps: AsyncIterator[Any], result: gr.Markdown | None = None
    ) -> AsyncGenerator[Any, None]:
        """What `steps` give; pages in the place of what delays or ends them. result: what is empty
        then."""
        try:
            async for step in steps:
                yield {status: status_line(str(step))} if isinstance(step, Building) else step
        except Exception as error:
            empty = {result: ""} if result else {}
            yield {status: status_line(explain_error(error, FAILED)), **empty}
