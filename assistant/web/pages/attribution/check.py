"""The door through which the chat's script asks where a reply comes from.

The script asks once a reply is there, so no token waits for it. Knows the page's hidden components;
what is found stands in the browser beside the reply.
"""

from collections.abc import AsyncGenerator
from typing import Any

import gradio as gr

from assistant.errors import AssistantError
from assistant.web.pages import doors
from assistant.web.pages.doors import Untrusted
from assistant.web.pages.events import QUIET_AND_FREE
from assistant.web.pages.playground.tab_base import explain_error
from assistant.web.sources import Building, Sources

FAILED = "The sources could not be looked up; the server's log says more."


def add_source_check(sources: Sources) -> None:
    """Builds the door inside the Blocks that is open."""

    async def check(message: Untrusted) -> AsyncGenerator[str, None]:
        """{"id", "nid", "text", "service"}: what of the text of a reply stands in the sources and,
        where the person wants that, in what the service knows."""
        try:
            values = doors.read_object(message)
        except AssistantError:
            return
        about = {"id": values.get("id"), "nid": values.get("nid"), "n": values.get("n")}
        text = values.get("text")
        text = text if isinstance(text, str) else ""
        answer: dict[str, Any] = {"matches": [], "spans": []}
        notes = []
        try:
            async for step in sources.check(text):
                if isinstance(step, Building):
                    yield doors.data({**about, "building": str(step)})
                else:
                    answer["matches"] = step
        except Exception as error:
            notes.append(explain_error(error, FAILED))
        if values.get("service") is True:
            try:
                spans = await sources.ask_service(text)
                answer["spans"] = [{"start": start, "end": end} for start, end in spans]
                answer["service"] = sources.host
            except Exception as error:
                notes.append(explain_error(error, FAILED))
        answer["note"] = " ".join(notes)
        yield doors.data({**about, **answer})

    message = gr.Textbox(visible="hidden", elem_id="check")
    go = gr.Button(visible="hidden", elem_id="check-go")
    answer = gr.Markdown("", visible="hidden", latex_delimiters=[], elem_id="checked")
    go.click(check, message, answer, trigger_mode="multiple", **QUIET_AND_FREE)
