"""What the events of the chat ask of the rooms below: replies, counts, the prompt behind a reply.

Knows what the page sends (doors.py) and nothing of how it shows what comes back. All of it may take
a moment, so it is called in a thread.
"""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from assistant.chat.assistant import Assistant
from assistant.chat.receipt import Receipt
from assistant.conversation import Conversation, Turn
from assistant.errors import AssistantError, HistoryError
from assistant.generation.reply import Reply
from assistant.sampling import STOPS_MAX
from assistant.web.pages.chat.prompt_tokens import tokens
from assistant.web.pages.chat.templates import Assistants
from assistant.web.pages.doors import OpenPath, Untrusted, read_object


@dataclass(frozen=True, slots=True)
class ReplyRequest:
    """A reply that was asked for. add: the turns that the conversation gets with it, as the browser
    keeps them; after: the id of the turn that they, or the reply alone, stand behind."""

    path: OpenPath
    after: str | None
    add: tuple[dict[str, Any], ...]
    assistant: Assistant
    reply: Reply


@dataclass(frozen=True, slots=True)
class RepeatRequest:
    """A reply that is written once more. was: the Turn that it was. why: a sentence why it may
    differ, or None."""

    was: Turn
    reply: Reply
    why: str | None


def message(assistants: Assistants, text: Untrusted, path: Untrusted) -> ReplyRequest:
    """The reply to a new message. Raises AssistantError, as all of these do."""
    path = OpenPath.of(path)
    conversation, add = path.conversation, []
    if len(conversation.turns) % 2:  # its reply was lost, with the server or the page
        conversation = conversation.add_reply("", finish="cancelled")
        add.append(turn_record(conversation.turns[-1]))
    conversation = conversation.add_message(text)
    add.append(turn_record(conversation.turns[-1]))
    return _request(assistants, path, conversation, path.after(len(path.nids)), add)


def reply(assistants: Assistants, path: Untrusted, keep: Untrusted) -> ReplyRequest:
    """Another reply to the message that the first `keep` turns end with, or more of the reply that
    they end with."""
    path = OpenPath.of(path, keep)
    messages = (len(path.nids) + 1) // 2  # a reply that goes on stands behind its message too
    return _request(assistants, path, path.conversation, path.after(max(2 * messages - 1, 0)))


def repeat(
    assistants: Assistants, path: Untrusted, keep: Untrusted, receipt: Untrusted
) -> RepeatRequest:
    """The reply that the first `keep` turns end with, once more."""
    receipt = Receipt.from_dict(receipt)
    conversation = OpenPath.of(path, keep).conversation
    assistant = assistants.for_receipt(receipt)
    second = receipt.run_again(assistant, conversation, wait_s=0)
    return RepeatRequest(
        conversation.turns[-1], second, receipt.numerics_mismatch(assistant.engine)
    )


def count(assistants: Assistants, text: Untrusted, path: Untrusted) -> dict[str, Any]:
    """Where the tokens go with the draft `text`."""
    path = OpenPath.of(path)
    assistant, options = assistants.for_settings(path.settings)
    conversation = path.conversation
    if len(conversation.turns) % 2:
        conversation = conversation.add_reply("")
    if isinstance(text, str) and text.strip():
        conversation = conversation.add_message(text)
    del options["sampling"]
    ledger = assistant.ledger(conversation, **options)
    return {
        "window": ledger.window,
        "preamble": ledger.preamble,
        "pinned": ledger.pinned,
        "history": ledger.history - ledger.pinned,
        "draft": ledger.message,
        "reply": ledger.reply,
        "dropped": ledger.dropped,
    }


def show_prompt(
    assistants: Assistants, path: Untrusted, keep: Untrusted, receipt: Untrusted
) -> dict[str, Any]:
    """The tokens of the prompt for the reply that the first `keep` turns end with. receipt: the
    reply's, where it has one; else the prompt is what would be sent now."""
    tokenizer, path = assistants.engine.tokenizer, OpenPath.of(path, keep)
    assistant, conversation, dropped = _prompt(assistants, path, receipt)
    if receipt is not None:  # of a reply that was continued, what stood there is in the prompt
        conversation = Receipt.from_dict(receipt).before(path.conversation, tokenizer)
    segments = assistant.segments(conversation, dropped)
    return {"tokens": tokens(segments, tokenizer), "left": len(dropped)}


def prompt_for_playground(
    assistants: Assistants, path: Untrusted, keep: Untrusted, receipt: Untrusted
) -> dict[str, Any]:
    """The same prompt for the playground, the reply that is there, and what ends one."""
    path = OpenPath.of(path, keep)
    assistant, conversation, dropped = _prompt(assistants, path, receipt)
    segments, template = assistant.segments(conversation, dropped), assistant.template
    last = path.conversation.turns[-1]
    lines = (*template.markers, *filter(None, (template.separator,)))
    before = {} if last.role == "user" else {"text": last.text, "ids": last.ids}
    return {
        "segments": [[segment.text, segment.trusted] for segment in segments],
        "id": path.id,
        "after": path.after(len(conversation.turns)),
        "stop": [*(f"\n{line}" for line in lines), *template.stop][:STOPS_MAX],
        **before,
    }


def turn_record(turn: Turn) -> dict[str, Any]:
    """A Turn as the browser keeps it, with an id of its own."""
    more = {name: value for name in ("ids", "finish") if (value := getattr(turn, name))}
    return {"nid": f"n{secrets.token_hex(8)}", "role": turn.role, "content": turn.text, **more}


def _request(
    assistants: Assistants,
    path: OpenPath,
    conversation: Conversation,
    after: str | None,
    add: Iterable[dict[str, Any]] = (),
) -> ReplyRequest:
    assistant, options = assistants.for_settings(path.settings)
    answer = assistant.reply(conversation, wait_s=0, **options)
    return ReplyRequest(path, after, tuple(add), assistant, answer)


def _prompt(
    assistants: Assistants, path: OpenPath, receipt: Untrusted
) -> tuple[Assistant, Conversation, Sequence[int]]:
    conversation = path.conversation.drop_reply()
    if not conversation.turns:
        raise HistoryError("There is no message to show the prompt of.")
    if receipt is None:
        assistant, options = assistants.for_settings(path.settings)
        del options["sampling"]
        return assistant, conversation, assistant.ledger(conversation, **options).dropped
    receipt = Receipt.from_dict(receipt)
    return assistants.for_receipt(receipt), conversation, receipt.dropped


_QUESTIONS = {"saw": show_prompt, "playground": prompt_for_playground}


def answer(assistants: Assistants, question: Untrusted, path: Untrusted) -> dict[str, Any]:
    """The answer to a question of the page: {"what": "saw" or "playground", "n", "keep"}."""
    values = read_object(question)
    what = values.get("what")
    if not isinstance(what, str) or what not in _QUESTIONS:
        raise AssistantError("The page asked for something that is not known here; reload it.")
    found = _QUESTIONS[what](assistants, path, values.get("keep"), values.get("receipt"))
    return {"what": what, "n": values.get("n"), **found}
