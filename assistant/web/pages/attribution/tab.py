"""The tab that searches the sources, and checks code that was pasted.

Knows components and events; what an index is and how it is searched is assistant/attribution's.
"""

from functools import partial

import gradio as gr
from anyio import to_thread

from assistant.attribution import search
from assistant.attribution.fulltext import choices
from assistant.web.gradio_inside import FREE
from assistant.web.pages.attribution.check import FAILED
from assistant.web.pages.attribution.html import hits, listed, underlined
from assistant.web.pages.doors import one_line, said
from assistant.web.pages.playground.controls import QUIET
from assistant.web.pages.playground.tab_base import sentence
from assistant.web.sources import Building, replace_surrogates

ANY = "Any"
SHIPPED = (
    "The index holds Python 3.11's documentation and standard library, from which the built-in "
    "model learned. "
)
INTRO = "Words and “exact phrases” are found whatever their case."
NOTHING = "Nothing was found."
NONE = "No run of 50 characters or more stands in the sources."


class AttributionTab:
    """Builds the tab inside the layout that is open. sources: a Sources."""

    def __init__(self, sources, tab):
        self.sources = sources
        self._build()
        self._connect(tab)

    def _build(self):
        with gr.Tabs(elem_id="attribution"):
            with gr.Tab("Search"):
                info = SHIPPED * (self.sources.path is None) + INTRO
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
                self.found = gr.Markdown("", latex_delimiters=[], elem_id="source-hits")
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

    def _connect(self, tab):
        asked = [self.query, self.path, self.language, self.licence]
        shown = [self.status, self.found]
        tab.select(self.opened, None, [self.status, self.language, self.licence], **QUIET, **FREE)
        for event in (self.go.click, self.query.submit, self.path.submit):
            event(self.search, asked, shown, **QUIET, **FREE)
        self.check_go.click(self.check, [self.code, self.service], [self.checked, self.matches],
                            **QUIET, **FREE)  # fmt: skip

    async def opened(self):
        """The tab is shown: the index is opened, and what it can be filtered by is known."""
        async for page in self._told(self.status, self.sources.ask(choices)):
            if isinstance(page, dict):
                yield page
                continue
            languages, licences = page
            yield {
                self.language: gr.update(choices=[ANY, *languages]),
                self.licence: gr.update(choices=[ANY, *licences]),
                self.status: said(""),
            }

    async def search(self, query, path, language, licence):
        """The best places for a query."""
        chosen = {
            "path": str(path or ""),
            "language": "" if language == ANY else str(language or ""),
            "licence": "" if licence == ANY else str(licence or ""),
        }
        asked = self.sources.ask(partial(search, query=query, **chosen))
        async for page in self._told(self.status, asked, self.found):
            if isinstance(page, dict):
                yield page
            else:
                note = "" if page else NOTHING
                yield {self.status: said(note), self.found: hits(page)}

    async def check(self, text, service):
        """What of a text stands in the sources."""
        text = replace_surrogates(text) if isinstance(text, str) else ""
        if not text.strip():
            yield {self.checked: said("There is nothing to check."), self.matches: ""}
            return
        async for page in self._told(self.checked, self.sources.check(text), self.matches):
            if isinstance(page, dict):
                yield page
                continue
            shown = await to_thread.run_sync(underlined, text, page) if page else ""
            body = f'<pre class="written">{shown}</pre>' if page else ""
            note = "" if page else NONE
            if service is True:
                note = f"{note} {await self._known(text)}".strip()
            yield {self.checked: said(note), self.matches: one_line(body + listed(page))}

    async def _known(self, text):
        try:
            spans = await self.sources.ask_service(text)
        except Exception as error:
            return sentence(error, FAILED)
        count = sum(end - start for start, end in spans)
        return f"{self.sources.host} knows {count:,} of the {len(text):,} characters."

    async def _told(self, status, steps, result=None):
        """What `steps` give; pages in the place of what delays or ends them. result: what is empty
        then."""
        try:
            async for step in steps:
                yield {status: said(str(step))} if isinstance(step, Building) else step
        except Exception as error:
            empty = {result: ""} if result else {}
            yield {status: said(sentence(error, FAILED)), **empty}
