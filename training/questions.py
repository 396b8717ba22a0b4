"""What a checkpoint is asked in its evaluation, in wordings that training never saw; the asking.

Knows topics and the app's Assistant; how an answer is judged is answers.py's.
"""

import math
import tomllib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from assistant.conversation import Conversation
from assistant.generation.generate import Done
from assistant.prompting.template import encode
from assistant.sampling import Sampling
from training.answers import judge
from training.dialogues import question

FOLLOWED_BY = ("parameters", "example")
LONG_CHAT = 6000  # tokens
GREEDY = Sampling(temperature=0)
EMPTY = Conversation()
HELD_OUT_SAYINGS = Path(__file__).with_name("held_out.toml")


@dataclass(frozen=True, slots=True)
class Asked:
    """Messages, asked one after the other, and the answer to the last of them.

    kind: the row of the table. rule: how the answer is judged (answers.judge).
    """

    kind: str
    rule: str
    module: str
    messages: tuple[str, ...]
    answer: str


def questions(talk, rng, count):
    """`count` Asked about what is taught: the kinds in turn, in each a module that came up least.

    Any first part of the list is mixed as the whole.
    """
    ask = lambda topic: question(rng, topic, talk.slots, held_out=True)  # noqa: E731
    pools = {}
    for topic in talk.topics:
        if topic.kind == "saying":
            continue
        pools.setdefault(topic.kind, []).append((topic, None))
        if topic.kind == "what" and topic.about:
            others = talk.topics_about[topic.about]
            again = [others[kind] for kind in FOLLOWED_BY if kind in others]
            pools.setdefault("follow-up", []).extend((topic, other) for other in again)
    for pool in pools.values():
        rng.shuffle(pool)
    found, times = [], Counter()
    while len(found) < count and any(pools.values()):
        for kind, pool in pools.items():
            if not pool or len(found) == count:
                continue
            least = min(range(len(pool)), key=lambda at: times[pool[at][0].module])  # noqa: B023
            topic, other = pool.pop(least)
            times[topic.module] += 1
            messages = (ask(topic),)
            if other:
                messages += (talk.ask_again(rng, other, held_out=True),)
            last = other or topic
            found.append(Asked(kind, last.kind, topic.module, messages, last.answer))
    return found


def declining(talk):
    """The answer to what is off topic."""
    return next(topic.answer for topic in talk.topics if topic.key == "off_topic")


def asides(talk):
    """Asked of what is off topic, of who is asked, of how-tos and of small talk."""
    held_out = tomllib.loads(HELD_OUT_SAYINGS.read_text("utf-8"))
    said = {ask: topic.answer for topic in talk.topics for ask in topic.asks if not topic.names}
    for kind, messages in (
        ("off topic, declined", dict.fromkeys(held_out["off_topic"], declining(talk))),
        ("who are you, truthful", dict.fromkeys(held_out["who"], said["Who are you?"])),
        ("how-tos", {ask: said[key] for key, asks in held_out["howto"].items() for ask in asks}),
        ("small talk", {ask: said[key] for key, asks in held_out["talk"].items() for ask in asks}),
    ):
        yield from (Asked(kind, "saying", "", (ask,), answer) for ask, answer in messages.items())


def long_chat(talk, rng, assistant, tokens=LONG_CHAT):
    """A Conversation of taught dialogues whose prompt has about `tokens` tokens. The engine keeps
    it computed."""
    template, chat, ids = assistant.template, Conversation(), ()
    while len(ids) < tokens:
        for asked, answer, _ in talk.draw(rng):
            chat = chat.add_message(asked).add_reply(answer)
        ids = tuple(encode(template.render(chat.turns), assistant.engine.tokenizer))
    assistant.engine.pin(ids)
    return chat


# ---------------------------------------------------------------------------------------------
# Asking


def reply(assistant, asked, before):
    """The Done of the reply to the last message of `asked`, each earlier one answered before it."""
    chat = before
    for message in asked.messages:
        chat = chat.add_message(message)
        *_, done = (e for e in assistant.reply(chat, sampling=GREEDY) if isinstance(e, Done))
        chat = chat.add_reply(done.text, done.ids, done.reason)
    return done


def ask_all(assistant, every, name, chats=(EMPTY,)):
    """The Dones of all Asked, as many at once as the engine has slots. chats: stand before them,
    each before its share."""
    share = math.ceil(len(every) / len(chats))
    work = [(asked, chats[at // share]) for at, asked in enumerate(every)]
    with ThreadPoolExecutor(assistant.engine.status().slots) as pool:
        done = pool.map(lambda pair: reply(assistant, *pair), work)
        return list(tqdm(done, name, len(work)))


def right(asked, done):
    return judge(asked.rule, done.text, asked.answer)


def shares(every, replies):
    """{"questions", "right", "exact"} of Asked and their Dones."""
    pairs = list(zip(every, replies, strict=True))
    return {
        "questions": len(pairs),
        "right": mean(right(*pair) for pair in pairs),
        "exact": mean(done.text == asked.answer for asked, done in pairs),
    }


def mean(values):
    values = list(values)
    return sum(values) / len(values) if values else None
