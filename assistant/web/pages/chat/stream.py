"""What a page hears while a reply is written: what is new of it, and how it ended.

Knows replies, and their HTML from markdown.py; nothing of HTTP.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from anyio import to_thread

from assistant.chat.receipt import Receipt
from assistant.conversation import Turn
from assistant.engine.protocol import Engine, Tokenizer, Waiting
from assistant.errors import WindowError
from assistant.generation.generate import Delta, Done
from assistant.generation.reply import Reply
from assistant.web.pages.chat.markdown import Growing, render
from assistant.web.pages.chat.prompt_tokens import find_parting
from assistant.web.pages.chat.requests import RepeatRequest, ReplyRequest
from assistant.web.pages.chat.status import Waits, phase
from assistant.web.pages.events import explain_error
from assistant.web.polling import side_by_side

News = AsyncGenerator[dict[str, Any] | None, None]
UNCOMPARED = "Stopped, so it was not compared."


class Written:
    """A reply as far as a page may have it: text and ids that belong together.

    A token can reach beyond the text that is given out, so text is held back until its tokens are
    whole: what has arrived when a connection breaks can be continued token by token.
    """

    def __init__(self, reply: Reply, tokenizer: Tokenizer) -> None:
        before = reply.before
        self.text, self.ids = before.text, list(before.ids or ())
        self._arrived = before.text
        self._decoder = tokenizer.decoder()
        self._blank = not before.text  # at its start, which is stripped
        self.bare = bool(before.text and not before.ids)  # no ids are known
        self.place = 0
        self.done: Done | None = None

    def take(self, event: object) -> None:
        match event:
            case Waiting():
                self.place = event.place
            case Delta():
                self.place = 0
                self._arrived += event.text
                self.bare = self.bare or event.bare
                ids = [token for token, _ in event.tokens]
                self.ids += ids
                self._follow(ids)
            case Done():
                self.done, self.text = event, self._arrived

    def _follow(self, ids: list[int]) -> None:
        """Gives out the text of `ids`, or all that is there where no ids are known."""
        if self.bare or self._decoder is None:
            self.text = self._arrived
            return
        new = self._decoder.feed(ids)
        if self._blank:
            new = new.lstrip()
            self._blank = not new
        self.text = self._arrived[: len(self.text) + len(new)]


async def write(request: ReplyRequest, waits: Waits) -> News:
    """First {"message", "text", "ids"}: the new message as it is kept, and what the reply
    continues. Then what is new: {"text", "ids"}; of its HTML "blocks", which stay, and "tail",
    which the next one replaces; "status". Last {"turn", "receipt", "ledger", "status", "blocks" or
    "html"}, or {"error"}."""
    reply, engine = request.reply, request.assistant.engine
    written, growing = Written(reply, engine.tokenizer), Growing()
    text, count = written.text, len(written.ids)
    status: str | None = None
    yield {"message": request.message, "text": text, "ids": written.ids[:]}
    try:
        async with aclosing(side_by_side([reply])) as steps:
            async for news in steps:
                for _, event in news:
                    written.take(event)
                more: dict[str, Any] = {}
                if written.text != text and not written.done:
                    blocks, tail = await to_thread.run_sync(growing.update, written.text)
                    more |= {"text": written.text[len(text) :], "blocks": blocks, "tail": tail}
                    more["ids"] = None if written.bare else written.ids[count:]
                    text, count = written.text, len(written.ids)
                now = phase(text != reply.before.text, written.place, waits, engine)
                if now != status and not written.done:
                    more["status"] = status = now
                yield more or None
                for _, event in news:  # what came before it is shown
                    if isinstance(event, Exception):
                        raise event
        if written.done:
            yield await to_thread.run_sync(_end, request, growing, text, written.done, waits)
    except Exception as error:
        yield {"error": explain_error(error)}


def _end(
    request: ReplyRequest, growing: Growing, shown: str, done: Done, waits: Waits
) -> dict[str, Any]:
    reply, turn = request.reply, request.reply.turn
    waits.add(done.finished.total_s - done.finished.waited_s)
    # What continues a reply can take back the end of that: then all is shown anew.
    whole = turn.text.startswith(shown.rstrip())
    html = {"blocks": growing.finish(turn.text)} if whole else {"html": render(turn.text)}
    try:
        ledger: dict[str, Any] | None = request.count_next()
    except WindowError:
        ledger = None  # with a draft of its own the page hears why
    return {
        "ledger": ledger,
        "turn": {"text": turn.text, "ids": turn.ids, "finish": turn.finish},
        "receipt": Receipt.of(request.assistant, reply, done, request.template_text).to_dict(),
        "status": "",
        **html,
    }


async def write_again(request: RepeatRequest, engine: Engine) -> News:
    """{"status"} while it is written, and last how the two compare, or {"error"}."""
    reply, count = request.reply, 0
    done: Done | None = None
    try:
        async with aclosing(side_by_side([reply])) as steps:
            async for news in steps:
                for _, event in news:
                    match event:
                        case Exception():
                            raise event
                        case Delta():
                            count += len(event.text)
                        case Done():
                            done = event
                yield {"status": f"Running again: {count:,} characters"} if news else None
        if not done or done.reason == "cancelled":
            yield {"status": UNCOMPARED}
            return
        tokenizer: Tokenizer = engine.tokenizer
        was: Turn = request.was
        parting = await to_thread.run_sync(find_parting, was, reply.turn, tokenizer)
        yield {"compared": parting | {"why": request.why}, "status": ""}
    except Exception as error:
        yield {"error": explain_error(error)}
