"""What a page hears of a reply while it is written, without a server: text and tokens that belong
together, blocks that stay, the end, and failures."""

import asyncio
import threading

import pytest

from assistant.chat.assistant import Assistant
from assistant.conversation import Conversation
from assistant.web import polling
from assistant.web.pages.chat import requests
from assistant.web.pages.chat.markdown import render
from assistant.web.pages.chat.status import Waits
from assistant.web.pages.chat.stream import write
from assistant.web.pages.chat.templates import Assistants
from tests.support.fake_engine import ByteTokenizer, FakeEngine
from tests.support.server import TEMPLATE

WORDS = {"lo\n\nHum": 300, "s eat": 301, "\n\n": 302}  # tokens of more than one byte


class WordTokenizer(ByteTokenizer):
    def __len__(self):
        return 400

    def bytes(self, ids):
        words = {token: text.encode() for text, token in WORDS.items()}
        return b"".join(words[i] if i in words else ByteTokenizer.bytes(self, [i]) for i in ids)


class Step(threading.Event):
    """In a script: nothing new, once."""

    def wait(self, timeout=None):
        was = self.is_set()
        self.set()
        return was


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    monkeypatch.setattr(polling, "TICK_S", 0)


def steps(*parts):
    """A script whose `parts` come one after the other."""
    return [item for part in parts for item in (part, Step())]


def make(script, **options):
    """(engine, Assistants)"""
    engine = FakeEngine(script, **options)
    engine.tokenizer = WordTokenizer()
    return engine, Assistants(Assistant(engine, TEMPLATE, max_new_tokens=300))


def read(values):
    async def collect():
        return [value async for value in values if value is not None]

    return asyncio.run(asyncio.wait_for(collect(), 60))


def ask(script, turns=(), settings=None, text="hi"):
    """(engine, all that is told of the reply)"""
    engine, assistants = make(script)
    settings = settings or {}
    if text is None:
        request = requests.reply(assistants, list(turns), settings)
    else:
        request = requests.message(assistants, list(turns), settings, text)
    return engine, read(write(request, Waits()))


def turn(content, **more):
    return {"role": "user", "content": content, **more}


def said(content, **more):
    return {"role": "assistant", "content": content, **more}


def ids(text):
    return ByteTokenizer().encode(text)


SCRIPTS = {
    "plain": ["Hello."],
    "nothing": [],
    "blanks": ["  \n ", "Hi", " ", "\n", "there", "\n \n"],
    "half characters": [bytes([byte]) for byte in "é🙂日本 ok 👩\u200d🚀".encode()],
    "no character at the end": ["ok ", "é".encode()[:1]],
    "no character in the middle": ["ok ", b"\xff", b"\xe2\x82", "go on"],
    "held back, and a stop": ["One.", "\n", "\n", "Hum", "an", ":", " never"],
    "held back, and no stop": ["One.", "\n\n", "Hum", "ans", " eat."],
    "a separator": ["One.\n", "---", "--", "\n", "never"],
    "no separator": ["One.\n", "---", "--", "-", "\nmore"],
    "a token beyond the stop": ["Hel", (WORDS["lo\n\nHum"],), "an: never"],
    "a token beyond what may be a stop": ["Hel", (WORDS["lo\n\nHum"],), "an", (301,), "."],
    "the same behind blanks": [(*ids("  a"), WORDS["lo\n\nHum"]), "an", (301,), "."],
    "many tokens at once": ["Hel", (*ids("lo, "), *ids("you.\n\nHuman: never"))],
    "blocks": ["# A\n\n", "- b\n", "- c\n\n", "```py\n", "x = 1\n", "\n", "```\n", "\n", "|a|b|\n",
               "|-|-|\n", "|1|2|\n", "\nend *of* ", "[it](https://a.example)"],
    "a link that is defined below": ["[a]\n\n", "text\n\n", "[a]: https://a.example\n\n", "[a]"],
    "what looks like HTML": ["<img src=x>\n\n", "\x1b[31mred\u202e\n\n", "$$x$$\n\n&amp;"],
    "the most tokens that it may have": ["word " * 30, "\n\n", "word " * 40],
}  # fmt: skip


def check(engine, news, begun=""):
    """All values together are the reply, and the blocks its HTML; nothing is shown that is taken
    back. Gives the turn."""
    first, *more, last = news
    decode = engine.tokenizer.decode
    text, ids, blocks = first["text"], list(first["ids"]), []
    assert text == begun
    for value in more:
        if "text" in value:
            assert value["text"], "nothing new"
            text, ids = text + value["text"], ids + value["ids"]
            blocks += value["blocks"]
            assert text == decode(ids).lstrip(), "text and tokens belong together"
    turn = last["turn"]
    assert turn["text"].startswith(text.rstrip())
    if turn["ids"] is not None:
        assert list(turn["ids"])[: len(ids)] == ids
        assert decode(turn["ids"]).strip() == turn["text"]
    assert "".join(blocks + last["blocks"]) == render(turn["text"])
    return turn


def reference(script, turns=(), text="hi"):
    """The same reply, read in one go."""
    engine, assistants = make(script)
    conversation = Conversation.from_history(list(turns), last=None)
    if text is not None:
        conversation = conversation.add_message(text)
    reply = assistants.default.reply(conversation)
    list(reply)
    return reply.turn


def same(turn, other):
    ids = None if other.ids is None else tuple(other.ids)
    told = None if turn["ids"] is None else tuple(turn["ids"])
    return (turn["text"], told, turn["finish"]) == (other.text, ids, other.finish)


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
@pytest.mark.parametrize("how", [steps, lambda *parts: list(parts)], ids=["in steps", "at once"])
def test_all_values_together_are_the_reply(script, how):
    engine, news = ask(how(*script))
    assert news[0] == {"message": "hi", "text": "", "ids": []}
    assert same(check(engine, news), reference(how(*script)))
    assert all("ids" in value for value in news if "text" in value)


def test_the_scripts_are_what_they_say():
    texts = {name: reference(steps(*script)) for name, script in SCRIPTS.items()}
    assert texts["held back, and a stop"].text == texts["a separator"].text == "One."
    assert texts["a token beyond the stop"].text == "Hello"
    assert texts["a token beyond the stop"].ids is None
    assert texts["a token beyond what may be a stop"].text == "Hello\n\nHumans eat."
    assert texts["the most tokens that it may have"].finish == "length"


def test_it_comes_in_parts():
    _, news = ask([Step(), *steps("One. ", "Two.\n\n", "Three.")])
    told = [value["text"] for value in news[1:-1] if "text" in value]
    assert told[0] == "One." and len(told) >= 3
    assert [value["status"] for value in news[1:-1] if "status" in value] == ["Reading", ""]
    assert news[-1]["status"] == ""
    engine, news = ask(SCRIPTS["a token beyond the stop"][:2] + [Step(), *"an: never"])
    told = [value for value in news[1:-1] if "text" in value]
    assert [(value["text"], value["ids"]) for value in told] == [("Hel", ids("Hel"))]


BEGUN = {
    "with its tokens": (said("One. Tw", ids=ids("One. Tw")), "One. Tw"),
    "without them": (said("One. Tw"), "One. Tw"),
    "with others": (said("One. Tw", ids=ids("Two")), "One. Tw"),
    "with a blank at its end": (said("One.", ids=ids("One. ")), "One. "),
    "with half a character": (said("One \ufffd", ids=ids("One é")[:-1]), "One "),
    "with a block": (said("# A\n\nb"), "# A\n\nb"),
}


@pytest.mark.parametrize("begun, text", BEGUN.values(), ids=BEGUN)
@pytest.mark.parametrize("script", [["o.", "\n\n", "é"], ["an", "d so."], [], ["\n\nHuman: x"]])
def test_a_reply_goes_on(begun, text, script):
    turns = [turn("Count."), begun]
    engine, news = ask(steps(*script), turns, text=None)
    assert news[0]["message"] is None
    assert engine.tokenizer.decode(news[0]["ids"]).lstrip() == news[0]["text"] == text
    assert same(check(engine, news, text), reference(steps(*script), turns, None))


def test_what_goes_on_as_a_stop_takes_back_its_beginning():
    turns = [turn("hi"), said("One.\n\nHuma")]
    _, news = ask(steps("n:", " never"), turns, text=None)
    last = news[-1]
    assert (last["turn"]["text"], last["turn"]["ids"]) == ("One.", None)
    assert last["html"] == render("One.") and "blocks" not in last
    assert last["receipt"]["stopped_by"] == "Human:"


def test_another_reply_to_a_message():
    engine, news = ask("Yes.", [turn("One?"), said("No."), turn("Two?")], text=None)
    assert news[0] == {"message": None, "text": "", "ids": []}
    assert check(engine, news)["text"] == "Yes."
    assert engine.prompt().endswith("Human: One?\n\nAssistant: No.\n\nHuman: Two?\n\nAssistant:")


MAKEFILE = "all:\n\tcc -c x.c\n\n\t@echo 'a\tb'"


@pytest.mark.parametrize(
    "text, message",
    [
        ("\n\n\tindented\r\n\tmore  \n", "\tindented\n\tmore"),
        (f"```make\n{MAKEFILE}\n```", f"```make\n{MAKEFILE}\n```"),
        ("a \x1b[31m\u200bb", "a b"),
        ("half \ud83d", "half \ufffd"),
    ],
)
def test_the_message_is_told_as_it_is_kept(text, message):
    engine, news = ask(["ok"], text=text)
    assert news[0]["message"] == message
    assert engine.prompt().endswith(f"Human: {message}\n\nAssistant:")
    engine, news = ask(["ok"], [turn(message), said("ok")], text=message)  # byte for byte
    assert news[0]["message"] == message and engine.prompt().count(f"Human: {message}\n\n") == 2


def test_tabs_stay_tabs():
    text = f"```make\n{MAKEFILE}\n```"
    engine, news = ask(steps(*text.partition("\tcc")))
    assert check(engine, news)["text"] == text
    assert "\n\tcc -c x.c" in "".join(news[-1]["blocks"])


def test_a_message_behind_one_without_a_reply():
    engine, news = ask(["ok"], [turn("Lost?")], text="And now?")
    assert news[0]["message"] == "And now?" and news[-1]["turn"]["text"] == "ok"
    assert "Lost?" not in engine.prompt()  # that it is answered by nothing would be an example
