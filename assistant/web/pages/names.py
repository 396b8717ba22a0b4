"""The two API names, /chat and /complete, as Gradio's clients call them: by keyword, streamed.

Knows nothing of pages. The type hints only document: what comes in can be anything, and whoever it
is handed to checks it.
"""

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import gradio as gr
from anyio import to_thread
from gradio.events import api

from assistant.chat.assistant import Assistant
from assistant.completion.complete import complete
from assistant.conversation import Conversation
from assistant.errors import AssistantError
from assistant.generation.generate import Delta
from assistant.generation.reply import Reply
from assistant.sampling import Sampling
from assistant.web.pages.events import INTERNAL
from assistant.web.polling import side_by_side

log = logging.getLogger(__name__)


def add_api(assistant: Assistant) -> None:
    """Adds both names to the Blocks that is open."""

    # Gradio reads as the type of what they return what each step gives.
    async def chat(  # type: ignore[misc]
        message: str,
        history: list[dict[str, Any]] | None = None,
        temperature: float = 0.2,
        top_p: float = 0.95,
        top_k: int = 0,
        max_new_tokens: int = 256,
        seed: int | None = None,
    ) -> str:
        def start() -> Reply:
            conversation = Conversation.from_history(history).add_message(message)
            sampling = Sampling(temperature, top_p, top_k, seed=seed)
            return assistant.reply(
                conversation, sampling=sampling, max_new_tokens=max_new_tokens, wait_s=0
            )

        async with aclosing(_texts(start)) as texts:
            async for text in texts:
                yield text

    async def continuation(  # type: ignore[misc]
        prompt: str,
        temperature: float = 0.2,
        top_p: float = 0.95,
        top_k: int = 0,
        max_new_tokens: int = 256,
        seed: int | None = None,
    ) -> str:
        def start() -> Reply:
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

    api(chat, api_name="chat")
    api(continuation, api_name="complete")


async def _texts(start: Callable[[], Reply]) -> AsyncGenerator[str, None]:
    """The text so far, again and again; every failure is one sentence."""
    try:
        reply = await to_thread.run_sync(start)
        text = ""
        async with aclosing(side_by_side([reply])) as steps:
            async for news in steps:
                for _, event in news:
                    if isinstance(event, Delta):
                        text += event.text
                yield text  # what came before a failure is given first
                for _, event in news:
                    if isinstance(event, Exception):
                        raise event
    except AssistantError as error:
        raise gr.Error(str(error), print_exception=False) from None
    except Exception:
        log.exception("a call failed")
        raise gr.Error(INTERNAL, print_exception=False) from None
