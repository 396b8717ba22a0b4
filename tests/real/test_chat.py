"""The chat, the playground and the workbench in front of the real model, over HTTP."""

import html
import json
import re

import pytest

from assistant.prompting.choose import find_template, suitable_template
from assistant.settings import Settings
from tests.real.conftest import WINDOW
from tests.real.texts import ENGLISH
from tests.support.server import Page, Refused, running
from tests.support.smollm2 import FILE, FILE_SHA256

pytestmark = pytest.mark.real

OWN, SHORT = "model", "tech-assistant-short"
QUESTION = "What does `zip` do in Python?"
GREEDY = {"temperature": 0, "max_new_tokens": 32}


@pytest.fixture(scope="session")  # a server's end is its engine's, and other files have the same
def server(engine):
    name = suitable_template(engine)
    assert name == OWN  # it was tuned for chats
    settings = Settings(port=0, model=str(FILE), dtype="float32")
    with running(engine, settings, template=find_template(name, engine)) as server:
        yield server


@pytest.fixture
def page(server):
    with Page(server.url) as page:
        page.http.timeout = 600
        yield page


@pytest.fixture
def asked(engine, monkeypatch):
    """The requests that the engine gets."""
    asked, generate = [], engine.generate
    monkeypatch.setattr(
        engine,
        "generate",
        lambda request, **more: asked.append(request) or generate(request, **more),
    )
    return asked


@pytest.mark.parametrize("template", [OWN, SHORT])
def test_a_question_is_answered_and_had_again(page, asked, template):
    settings = {**GREEDY, "template": template}
    counted = page.ask("count", {"turns": [], "text": QUESTION, "settings": settings}).json()
    end = page.chat(QUESTION, settings=settings)[-1]
    reply, receipt = end["turn"], end["receipt"]
    assert len(reply["text"]) > 20 and 32 >= receipt["reply"] >= len(reply["ids"])
    # The ledger is what was sent, to the token.
    (request,) = asked
    parts = receipt["preamble"], receipt["history"], receipt["message"]
    assert sum(parts) == len(request.ids)
    assert parts == tuple(counted[name] for name in ("preamble", "history", "draft"))
    assert (receipt["model"], receipt["revision"]) == (FILE.name, FILE_SHA256)
    with page.news("again", turns=page.turns, receipt=receipt) as news:
        assert list(news)[-1]["compared"] == {"at": None, "why": None}
    assert page.chat("And `enumerate`?", settings=settings)[-1]["receipt"]["history"] > 0


def test_the_models_own_template_is_what_transformers_renders(page, asked):
    from transformers import AutoTokenizer

    page.turns = [
        {"role": "user", "content": "Hello!"},
        {"role": "assistant", "content": "Hello. How can I help?"},
    ]
    turns = [*page.turns, {"role": "user", "content": QUESTION}]
    page.chat(QUESTION, settings={**GREEDY, "template": OWN})
    tokenizer = AutoTokenizer.from_pretrained(FILE.parent, gguf_file=FILE.name)
    told = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    assert tokenizer.decode(asked[-1].ids) == told
    assert list(asked[-1].ids) == tokenizer.encode(told, add_special_tokens=False)


def test_a_conversation_past_its_window_goes_on(page):
    page.turns = [
        {"role": role, "content": ENGLISH} for _ in range(4) for role in ("user", "assistant")
    ]
    settings = {**GREEDY, "max_new_tokens": 16, "template": OWN}
    with pytest.raises(Refused, match=f"window holds {WINDOW} tokens"):
        page.chat(QUESTION, settings={**settings, "keep_all": True})
    counted = page.ask("count", {"turns": page.turns, "text": QUESTION, "settings": settings})
    end = page.chat(QUESTION, settings=settings)[-1]
    dropped = end["receipt"]["dropped"]
    assert dropped == list(range(len(dropped))) == counted.json()["dropped"] and dropped
    used = sum(end["receipt"][part] for part in ("preamble", "history", "message"))
    assert WINDOW / 2 < used <= WINDOW - 16
    assert end["turn"]["text"]
    # What is read by now is not read again.
    assert page.chat("And then?", settings=settings)[-1]["receipt"]["cached"] >= used


def test_tokens_are_inspected_and_gone_on_from(page):
    prompt, text = [["def add(a, b):\n    return", True]], " a + b\n"
    with page.news("inspect", segments=prompt, text=text) as news:
        tokens = list(news)[-1]["tokens"]
    assert "".join(token[0] for token in tokens) == text
    by_text = {token[0].strip(): token for token in tokens}
    # Whoever has read Python once expects this: token, id, its log-probability, the likeliest.
    assert by_text["a"][2] > -1 and by_text["+"][3][0][1].strip() == "+"
    assert all(-20 < token[2] <= 0 and len(token[3]) == 10 for token in tokens)
    first, *_ = tokens
    with page.news("complete", segments=prompt, begun=[first[1]], max_new_tokens=4) as news:
        assert list(news)


def test_the_workbench_compares_prompts(page):
    names = ["The model's own", "Tech Assistant (short)"]
    told = page.run(page.event("compare", "click"), [names, [], QUESTION, 1, 24, None])
    assert '"success": true' in told and "2 of 2" in told
    told = page.run(page.event("save-json", "click"), [None])
    hidden = json.loads(told)[-1]["output"]["data"][0]
    file = json.loads(html.unescape(re.search(r'<pre class="data">(.*)</pre>', hidden)[1]))
    saved = json.loads(file["text"])
    assert {result["prompt"] for result in saved["results"]} == set(names)
    assert not any(result["error"] for result in saved["results"])
