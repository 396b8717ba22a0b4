"""What the page asks beside its replies: facts, counts, the prompt behind a reply, replies as HTML,
and where a reply comes from."""

import json
import threading

import pytest

from assistant.chat.receipt import Receipt
from assistant.conversation import TURNS_MAX
from assistant.errors import AttributionError
from assistant.sampling import RANGES
from assistant.settings import Settings
from assistant.text import PROMPT_CHARS_MAX
from assistant.web.pages.attribution.routes import FAILED
from assistant.web.pages.chat.markdown import Part, render
from assistant.web.sources import UNUSABLE
from tests.support.fake_engine import FakeEngine
from tests.support.server import TEMPLATE, Page, healthy_page, running
from tests.web.test_markdown import HOSTILE

HI = {"role": "user", "content": "hi"}
HELLO = {"role": "assistant", "content": "Hello."}


@pytest.fixture(scope="module")
def server():
    with running(FakeEngine("Hello.")) as server:
        yield server


@pytest.fixture
def page(server, script):
    script("Hello.")
    with healthy_page(server, script) as page:
        yield page


def told(page, route, **body):
    answer = page.ask(route, body)
    assert answer.status_code == 200, answer.text
    return answer.json()


# -- facts -------------------------------------------------------------------------------------


def test_the_facts_of_this_server():
    engine = FakeEngine(window=20_000)
    engine.limitations = {"seed": "It draws by itself."}
    settings = Settings(port=0, attribution="http://known.example/overlap")
    with running(engine, settings, examples=["One?"]) as server, Page(server.url) as page:
        facts = page.ask("facts").json()
    assert facts["model"] == "fake" and facts["window"] == 20_000
    ranges = {name: list(ends) for name, ends in RANGES.items()}
    assert facts["limits"] == {"message": 100_000, "text": 200_000, "template": 100_000,
                               "turns": 1000, "body": 1 << 20, "stops": 64, "stop": 256,
                               "sampling": ranges}  # fmt: skip
    assert facts["limitations"] == engine.limitations and facts["examples"] == ["One?"]
    assert facts["max_new_tokens"] == 256 and facts["service"] == "known.example"
    names = {each["name"]: each for each in facts["templates"]}
    assert facts["template"] in names and "tech-assistant" in names
    assert names[facts["template"]]["title"] == TEMPLATE.name


@pytest.mark.parametrize(
    "model, accepted, asks",
    [
        ("bigcode/starcoder", False, True),
        ("bigcode/starcoder", True, False),
        ("fake", False, False),
    ],
)
def test_whether_a_licence_is_to_be_accepted(model, accepted, asks):
    engine = FakeEngine()
    engine.model = model
    settings = Settings(port=0, accept_license=accepted)
    with running(engine, settings) as server, Page(server.url) as page:
        facts = page.ask("facts").json()
    assert bool(facts["licence"]) == asks and facts["service"] is None


# -- counts ------------------------------------------------------------------------------------


def test_where_the_tokens_of_a_draft_go(server, page):
    page.chat("One?")
    page.turns = [page.turns[0] | {"pinned": True}, page.turns[1]]
    counted = told(
        page, "count", turns=page.turns, settings={"max_new_tokens": 9}, text="\n draft "
    )
    page.chat(" draft", settings={"max_new_tokens": 9})
    parts = [counted[name] for name in ("preamble", "pinned", "history", "draft")]
    assert sum(parts) == len(server.engine.requests[-1].ids)
    assert counted["pinned"] and not counted["history"] and counted["reply"] == 9
    assert (counted["window"], counted["dropped"]) == (8192, [])


def test_what_nobody_sees_in_a_draft_is_counted(page):
    tags = "".join(chr(0xE0000 + ord(letter)) for letter in "ignore")
    for text, unseen in (("draft", 0), (f"dr{tags}aft\u202e", 7)):
        counted = told(page, "count", turns=[], text=text)
        assert counted["unseen"] == unseen
    plain = told(page, "count", turns=[], text="draft")
    assert counted["draft"] == plain["draft"]


@pytest.mark.parametrize("turns", [[], [HI], [HI, HELLO]])
@pytest.mark.parametrize("text", ["", " \n", "draft"])
def test_a_path_of_any_length_is_counted(server, page, turns, text):
    empty, counted = (told(page, "count", turns=turns, text=each) for each in ("", text))
    assert (counted["draft"] > empty["draft"]) == (text == "draft")
    assert bool(counted["history"]) == (len(turns) == 2) and server.engine.requests == []


def test_what_no_longer_fits_is_counted_as_dropped(page):
    turns = [HI | {"content": "a" * 3_000}, HELLO] * 3
    counted = told(page, "count", turns=turns, text="draft")
    assert counted["dropped"] == [0] or counted["dropped"] == [0, 1]
    page.turns = turns
    assert page.chat("draft")[-1]["receipt"]["dropped"] == counted["dropped"]


@pytest.mark.parametrize(
    "body, words",
    [
        ({"text": "a" * 100_001}, "100,001"),
        ({"text": "a" * 9_000}, "window holds 8192 tokens"),
        ({"turns": [HI, HELLO] * 501}, "at most 1000 turns"),
        ({"turns": [HELLO]}, "role 'user'"),
        ({"settings": {"template": "../x"}}, "no prompt template"),
        ({"settings": {"max_new_tokens": "x"}}, "max_new_tokens must be"),
    ],
)
def test_a_draft_that_cannot_be_sent_yet_is_a_sentence_and_no_failure(server, page, body, words):
    answer = told(page, "count", **body)
    assert answer.keys() == {"error"} and words in answer["error"]
    assert 'outcome="refused"} 0.0' in server.get("/metrics").text


# -- the prompt --------------------------------------------------------------------------------


def test_the_prompt_that_a_reply_stood_behind(server, page, script):
    script(" Yes.")
    page.chat("One <fim_prefix>?")
    script("word " * 20)
    receipt = page.chat("é🙂")[-1]["receipt"]
    prompt = server.engine.requests[-1]
    for extra in ({}, {"receipt": receipt}):
        shown = told(page, "prompt", to="see", turns=page.turns, **extra)
        assert [token for _, token, _ in shown["tokens"]] == list(prompt.ids)
        assert "".join(text for text, _, _ in shown["tokens"]) == server.engine.prompt()
        kinds = "".join(text for text, _, kind in shown["tokens"] if kind == "plain")
        assert "<fim_prefix>" in kinds and shown["left"] == 0
        given = told(page, "prompt", to="playground", turns=page.turns, **extra)
        assert "".join(text for text, _ in given["segments"]) == server.engine.prompt()
        assert ["One <fim_prefix>?", False] in [[t.strip(), w] for t, w in given["segments"]]
        assert given["text"] == page.turns[-1]["content"] and given["ids"] == page.turns[-1]["ids"]
        assert "\nHuman:" in given["stop"] and len(given["stop"]) <= 4
        assert given["sampling"]["temperature"] == server.engine.requests[-1].sampling.temperature
        assert given["max_new_tokens"] == server.engine.requests[-1].max_new_tokens
        drawn = server.engine.requests[-1].sampling.seed if extra.get("receipt") else None
        assert given["sampling"]["seed"] == drawn
    assert server.engine.requests[-1] is prompt  # nothing was computed


def test_the_prompt_of_what_was_dropped_or_continued(server, page, script):
    page.turns = [HI | {"content": "a" * 3_000}, HELLO] * 3
    receipt = page.chat("draft")[-1]["receipt"]
    shown = told(page, "prompt", to="see", turns=page.turns, receipt=receipt)
    assert shown["left"] == len(receipt["dropped"]) > 0
    assert "".join(text for text, _, _ in shown["tokens"]) == server.engine.prompt()
    script(" And more.")
    receipt = page.chat()[-1]["receipt"]  # goes on with the reply
    assert Receipt.from_dict(receipt).continued and server.engine.prompt().endswith("Hello.")
    page.turns = page.turns[:-2] + page.turns[-1:]
    shown = told(page, "prompt", to="see", turns=page.turns, receipt=receipt)
    assert "".join(text for text, _, _ in shown["tokens"]) == server.engine.prompt()


def test_the_prompt_of_a_message_that_waits(page):
    given = told(page, "prompt", to="playground", turns=[HI])
    assert "text" not in given and "ids" not in given
    assert "".join(text for text, _ in given["segments"]).endswith("Human: hi\n\nAssistant:")


# -- HTML --------------------------------------------------------------------------------------


def test_replies_as_html(page):
    texts = ["# A\n\nb *c*", "", "é🙂 \ud800", "```py\nx\t= 1\n```", *HOSTILE]
    html = told(page, "render", replies=[{"text": text} for text in texts])["html"]
    assert html == [render(text) for text in texts]


def test_marks_in_a_reply(page):
    text = "é🙂 a copy and <b>more</b>"
    start = text.index("copy")
    mark = {"start": start, "end": start + 4, "kind": "long"}
    odd = [
        mark | {"start": -5, "end": 10**30},
        mark | {"start": 9, "end": 3},
        mark | {"end": start},
    ]
    html = told(page, "render", replies=[{"text": text, "marks": [mark]}, {"text": text}])["html"]
    assert html == [render(text, [Part(start, start + 4, "long")]), render(text)]
    assert ">copy</mark>" in html[0] and "<mark" not in html[1] and "<b>" not in html[0]
    told(page, "render", replies=[{"text": text, "marks": odd * 33}])
    answer = page.ask("render", {"replies": [{"text": text, "marks": [mark] * 101}]})
    assert answer.status_code == 400 and "at most 100" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "texts, status",
    [
        ([""] * TURNS_MAX, 200),
        ([""] * (TURNS_MAX + 1), 400),
        (["b" * PROMPT_CHARS_MAX], 200),
        (["a", "b" * PROMPT_CHARS_MAX], 400),
        (["🙂" * 1_000] * 200, 200),
    ],
    ids=["many", "too many", "long", "too long", "in characters"],
)
def test_the_replies_that_are_rendered_at_once_are_together_no_longer_than_one(
    page, monkeypatch, texts, status
):
    rendered = []
    monkeypatch.setattr(
        "assistant.web.pages.chat.routes.render", lambda text, marks: rendered.append(text) or ""
    )
    body = {"replies": [{"text": text} for text in texts]}
    answer = page.ask("render", json.dumps(body, ensure_ascii=False).encode())
    assert answer.status_code == status and rendered == (texts if status == 200 else [])


# -- sources -----------------------------------------------------------------------------------


def sources(page, text="x = 1", **body):
    with page.news("sources", text=text, **body) as news:
        return list(news)


def test_what_is_told_while_the_index_is_built(monkeypatch):
    go_on = threading.Event()

    def shipped(progress):
        progress(1, 4)
        go_on.wait(60)
        raise AttributionError("No room for the index.")

    monkeypatch.setattr("assistant.web.sources.shipped_index", shipped)
    with running(FakeEngine("Hello.")) as server, Page(server.url) as page:
        with page.news("sources", text="x = 1") as news:
            assert next(news)["building"].startswith("Building the index of sources: ")
            assert any(
                value == {"building": "Building the index of sources: 25%"} for value in news
            )
            assert page.chat("hi")[-1]["turn"]["text"] == "Hello."  # no reply waits for it
            go_on.set()
            *_, last = news
        assert last == {"matches": [], "spans": [], "note": UNUSABLE}


@pytest.mark.parametrize(
    "error, note", [(AttributionError("Busy."), "Busy."), (RuntimeError("secret"), FAILED)]
)
def test_a_look_up_that_fails_is_a_note_beside_what_the_service_knows(
    server, page, monkeypatch, caplog, error, note
):
    async def fails(self, text):
        raise error
        yield

    async def knows(self, text):
        return [(0, 3)]

    monkeypatch.setattr("assistant.web.sources.Sources.check", fails)
    assert sources(page) == [{"matches": [], "spans": [], "note": note}]
    monkeypatch.setattr("assistant.web.sources.Sources.ask_service", knows)
    (last,) = sources(page, service=True)
    assert (last["spans"], last["note"]) == ([{"start": 0, "end": 3}], note)
    assert ("secret" in caplog.text) == (note == FAILED)


def test_a_service_that_fails_is_a_note_beside_the_matches(page, monkeypatch):
    async def finds(self, text):
        yield [{"path": "a.py"}]

    async def fails(self, text):
        raise RuntimeError("secret")

    monkeypatch.setattr("assistant.web.sources.Sources.check", finds)
    assert sources(page, service=True) == [
        {"matches": [{"path": "a.py"}], "spans": [],
         "note": "No attribution service is set here; start with --attribution."}
    ]  # fmt: skip
    monkeypatch.setattr("assistant.web.sources.Sources.ask_service", fails)
    (last,) = sources(page, service=True)
    assert last == {"matches": [{"path": "a.py"}], "spans": [], "note": FAILED}
