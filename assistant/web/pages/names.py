"""The two API names, /chat and /complete, as Gradio's clients call them: by keyword, streamed.

Knows nothing of pages. The type hints only document: what comes in can be anything, and whoever it
is handed to checks it.
"""

import logging
from contextlib import aclosing

import gradio as gr
from anyio import to_thread

from assistant.completion.complete import complete
from assistant.conversation import Conversation
from assistant.errors import AssistantError
from assistant.sampling import Sampling
from assistant.web.follow import follow
from assistant.web.pages.chat.tab import INTERNAL

log = logging.getLogger(__name__)


def add_api(assistant):
    """Adds both names to the Blocks that is open."""

    async def chat(
        message: str,
        history: list[dict] | None = None,
        temperature: float = 0.2,
        top_p: float = 0.95,
        top_k: int = 0,
        max_new_tokens: int = 256,
        seed: int | None = None,
    ) -> str:
        def start():
            conversation = Conversation.from_history(history).add_message(message)
            sampling = Sampling(temperature, top_p, top_k, seed=seed)
            return assistant.reply(
                conversation, sampling=sampling, max_new_tokens=max_new_tokens, wait_s=0
            )

        async with aclosing(_texts(start)) as texts:
            async for text in texts:
                yield text

    async def continuation(
        prompt: str,
        temperature: float = 0.2,
        top_p: float = 0.95,
        top_k: int = 0,
        max_new_tokens: int = 256,
        seed: int | None = None,
    ) -> str:
        def start():
            sampling = Sampling(temperature, top_p, top_k, seed=seed)
            return complete(
                assistant.engine,
                prompt,
                sampling=sampling,
                max_new_tokens=max_new_tokens,
                wait_s=0,
            )

        async with aclosing(_texts(start)) as texts:
            async for text in texts:
                yield text

    gr.api(chat, api_name="chat")
    gr.api(continuation, api_name="complete")


async def _texts(start):
    """The text so far, again and again; every failure is one sentence."""
    try:
        reply = await to_thread.run_sync(start)
        async with aclosing(follow(reply)) as steps:
            async for step in steps:
                yield step.text
    except AssistantError as error:
        raise gr.Error(str(error), print_exception=False) from None
    except Exception:
        log.exception("a call failed")
        raise gr.Error(INTERNAL, print_exception=False) from None
