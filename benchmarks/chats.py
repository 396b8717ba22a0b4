"""Prompts made of words: questions to the embedded checkpoint, in the template that suits it."""

import builtins
import json
import keyword

from assistant.chat.assistant import Assistant
from assistant.conversation import Conversation
from assistant.paths import MODELS
from assistant.prompting.load import load_template
from assistant.prompting.template import encode
from benchmarks.contenders import GREEDY

TEMPLATE = "tech-assistant-short"


def questions(count):
    """Different questions about Python, the same ones on every run."""
    names = [*keyword.kwlist, *(name for name in dir(builtins) if name[0].islower())]
    asked = [f"What does {name} do?" for name in names] + [f"What is {name}?" for name in names]
    return asked[:count]


def examples():
    """The questions that the embedded checkpoint is known to answer."""
    return json.loads(next(MODELS.glob("*/examples.json")).read_text())


def prompt_ids(engine, conversation):
    """The ids that a chat sends to the engine for the conversation's last message."""
    template = load_template(TEMPLATE)
    return encode(template.render(conversation.turns), engine.tokenizer)


def asked_again(engine):
    """(prompt, ids of the earlier reply) for each example question, asked twice in one chat."""
    assistant = Assistant(engine, load_template(TEMPLATE))
    for question in examples():
        chat = Conversation().add_message(question)
        *_, done = assistant.reply(chat, sampling=GREEDY)
        again = chat.add_reply(done.text, done.ids).add_message(question)
        yield prompt_ids(engine, again), list(done.ids)
