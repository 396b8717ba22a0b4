"""The door through which the chat's script asks where a reply comes from.

The script asks once a reply is there, so no token waits for it. Knows the page's hidden components;
what is found stands in the browser beside the reply.
"""

import gradio as gr

from assistant.errors import AssistantError
from assistant.web.gradio_inside import FREE
from assistant.web.pages import doors
from assistant.web.pages.playground.tab_base import sentence
from assistant.web.sources import Building

FAILED = "The sources could not be looked up; the server's log says more."


class SourceCheck:
    """Builds the door inside the Blocks that is open. sources: a Sources."""

    def __init__(self, sources):
        self.sources = sources
        asked = gr.Textbox(visible="hidden", elem_id="check")
        go = gr.Button(visible="hidden", elem_id="check-go")
        found = gr.Markdown("", visible="hidden", latex_delimiters=[], elem_id="checked")
        options = {"show_progress": "hidden", "api_visibility": "private", "preprocess": False}
        options |= FREE
        go.click(self.check, asked, found, trigger_mode="multiple", **options)

    async def check(self, asked):
        """{"id", "nid", "text", "service"}: what of the text of a reply stands in the sources and,
        where the person wants that, in what the service knows."""
        try:
            asked = doors.read(asked)
        except AssistantError:
            return
        about = {"id": asked.get("id"), "nid": asked.get("nid"), "n": asked.get("n")}
        text = asked.get("text") if isinstance(asked.get("text"), str) else ""
        answer, notes = {"matches": [], "spans": []}, []
        try:
            async for step in self.sources.check(text):
                if isinstance(step, Building):
                    yield doors.data({**about, "building": str(step)})
                else:
                    answer["matches"] = step
        except Exception as error:
            notes.append(sentence(error, FAILED))
        if asked.get("service") is True:
            try:
                spans = await self.sources.ask_service(text)
                answer["spans"] = [{"start": start, "end": end} for start, end in spans]
                answer["service"] = self.sources.host
            except Exception as error:
                notes.append(sentence(error, FAILED))
        answer["note"] = " ".join(notes)
        yield doors.data({**about, **answer})
