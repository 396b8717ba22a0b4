"""What the chat's routes ask of the rooms below: replies, counts, the prompt behind a reply.

Knows the open path as a page sends it, and nothing of how the page shows what comes back. All of it
may take a moment, so it is called in a thread.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from assistant.chat.assistant import Assistant
from assistant.chat.receipt import Receipt
from assistant.conversation import Conversation, Turn, trusted_ids
from assistant.engine.protocol import Tokenizer
from assistant.errors import HistoryError
from assistant.generation.reply import Reply
from assistant.sampling import STOPS_MAX
from assistant.text import check_message, count_unseen
from assistant.web.pages.chat.prompt_tokens import tokens
from assistant.web.pages.chat.templates import Assistants
from assistant.web.pages.events import Untrusted

Settings = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ReplyRequest:
    """A reply that was asked for. conversation: what it stands behind. options: as of
    Assistant.ledger. message: the new one that it answers, as it is kept. template_text: of the
    template, where only the visitor has it."""

    assistant: Assistant
    conversation: Conversation
    options: dict[str, Any]
    reply: Reply
    message: str | None = None
    template_text: str | None = None

    def count_next(self) -> dict[str, Any]:
        """Where the tokens go of an empty draft behind the reply, as far as it was read."""
        conversation = Conversation((*self.conversation.drop_reply().turns, self.reply.turn))
        return _count(self.assistant, conversation, self.options)


@dataclass(frozen=True, slots=True)
class RepeatRequest:
    """A reply that is written once more. was: the Turn that it was. why: a sentence why it may
    differ, or None."""

    was: Turn
    reply: Reply
    why: str | None


def message(
    assistants: Assistants,
    turns: Untrusted,
    settings: Settings,
    text: Untrusted,
    begin: str = "",
) -> ReplyRequest:
    """The reply to a new message. begin: what it begins with. Raises AssistantError, as all of
    these do."""
    conversation = _conversation(turns)
    if len(conversation.turns) % 2:  # its reply was lost, with the server or the page
        conversation = conversation.add_reply("", finish="cancelled")
    conversation = conversation.add_message(text)
    said = conversation.message.text
    return _request(assistants, _begun(conversation, begin), settings, said)


def reply(
    assistants: Assistants, turns: Untrusted, settings: Settings, begin: str = ""
) -> ReplyRequest:
    """Another reply to the message that the turns end with, or more of the reply that they end
    with."""
    return _request(assistants, _begun(_conversation(turns), begin), settings)


def repeat(assistants: Assistants, turns: Untrusted, receipt: Untrusted) -> RepeatRequest:
    """The reply that the turns end with, once more."""
    receipt, conversation = Receipt.from_dict(receipt), _conversation(turns)
    assistant = assistants.for_receipt(receipt)
    second = receipt.run_again(assistant, conversation, wait_s=0)
    return RepeatRequest(conversation.turns[-1], second, receipt.changed(assistant.engine))


def count(
    assistants: Assistants,
    turns: Untrusted,
    settings: Settings,
    text: Untrusted,
    begin: str = "",
) -> dict[str, Any]:
    """Where the tokens go with the draft `text`, and `begin` of its reply. unseen: how many
    characters of the draft leave because nobody sees them."""
    assistant, options = assistants.for_settings(settings)
    conversation = _conversation(turns)
    if len(conversation.turns) % 2:
        conversation = conversation.add_reply("")
    if isinstance(text, str) and text.strip():
        conversation = _begun(conversation.add_message(text), begin)
        options["begun"] = bool(begin.strip())
    del options["sampling"]
    unseen = count_unseen(text) if isinstance(text, str) else 0
    return _count(assistant, conversation, options) | {"unseen": unseen}


def _count(
    assistant: Assistant, conversation: Conversation, options: dict[str, Any]
) -> dict[str, Any]:
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
    assistants: Assistants, turns: Untrusted, settings: Settings, receipt: Untrusted
) -> dict[str, Any]:
    """The tokens of the prompt for the reply that the turns end with. receipt: the reply's, where
    it has one; else the prompt is what would be sent now."""
    tokenizer, whole = assistants.engine.tokenizer, _conversation(turns)
    assistant, conversation, dropped, system = _prompt(assistants, whole, settings, receipt)
    if receipt is not None:  # of a reply that was continued, what stood there is in the prompt
        conversation = Receipt.from_dict(receipt).before(whole, tokenizer)
    segments = assistant.segments(conversation, dropped, system)
    return {"tokens": tokens(segments, tokenizer), "left": len(dropped)}


def prompt_for_playground(
    assistants: Assistants, turns: Untrusted, settings: Settings, receipt: Untrusted
) -> dict[str, Any]:
    """The same prompt for the playground, the reply that is there, how it was drawn, and what ends
    one."""
    whole = _conversation(turns)
    assistant, conversation, dropped, system = _prompt(assistants, whole, settings, receipt)
    segments, template = assistant.segments(conversation, dropped, system), assistant.template
    last = whole.turns[-1]
    lines = (*template.markers, *filter(None, (template.separator,)))
    return {
        "segments": [[segment.text, segment.trusted] for segment in segments],
        "stop": [*(f"\n{line}" for line in lines), *template.stop][:STOPS_MAX],
        **_drawn(assistants, settings, receipt),
        **({} if last.role == "user" else _there(last, assistants.engine.tokenizer)),
    }


def _there(reply: Turn, tokenizer: Tokenizer) -> dict[str, Any]:
    """A reply with the white space that it was generated with, where its ids tell it."""
    ids = trusted_ids(reply, tokenizer)
    return {"text": tokenizer.decode(ids) if ids else reply.text, "ids": ids}


def _drawn(assistants: Assistants, settings: Settings, receipt: Untrusted) -> dict[str, Any]:
    if receipt is not None:
        known = Receipt.from_dict(receipt)
        return {"sampling": asdict(known.sampling), "max_new_tokens": known.max_new_tokens}
    assistant, options = assistants.for_settings(settings)
    longest = options["max_new_tokens"] or assistant.max_new_tokens
    return {"sampling": asdict(options["sampling"]), "max_new_tokens": longest}


def _conversation(turns: Untrusted) -> Conversation:
    return Conversation.from_history(turns, last=None)


def _begun(conversation: Conversation, begin: str) -> Conversation:
    if not begin.strip() or len(conversation.turns) % 2 == 0:
        return conversation
    return conversation.add_reply(check_message(begin))


def _request(
    assistants: Assistants,
    conversation: Conversation,
    settings: Settings,
    message: str | None = None,
) -> ReplyRequest:
    assistant, options = assistants.for_settings(settings)
    reply = assistant.reply(conversation, wait_s=0, **options)
    del options["sampling"]
    text = settings.get("template_text")
    return ReplyRequest(assistant, conversation, options, reply, message, text)


def _prompt(
    assistants: Assistants, conversation: Conversation, settings: Settings, receipt: Untrusted
) -> tuple[Assistant, Conversation, Sequence[int], str]:
    conversation = conversation.drop_reply()
    if not conversation.turns:
        raise HistoryError("There is no message to show the prompt of.")
    if receipt is None:
        assistant, options = assistants.for_settings(settings)
        del options["sampling"]
        dropped = assistant.ledger(conversation, **options).dropped
        return assistant, conversation, dropped, options["system"]
    receipt = Receipt.from_dict(receipt)
    return assistants.for_receipt(receipt), conversation, receipt.dropped, receipt.system
