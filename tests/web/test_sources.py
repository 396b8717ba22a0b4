"""Where replies come from, without a browser: the index while the program runs, the door of the
page, the route, and services that are asked."""

import asyncio
import gzip
import http.server
import json
import socketserver
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial

import pytest

from assistant.attribution import Index, search
from assistant.attribution import service as service_
from assistant.attribution.corpus import Corpus
from assistant.attribution.index import build
from assistant.attribution.service import ANSWER_MAX
from assistant.errors import AttributionError, SourcesBusy, TextError
from assistant.settings import Settings
from assistant.web.pages.about import about
from assistant.web.pages.attribution.html import hit_cards, match_list, underline
from assistant.web.pages.licence import licence_of
from assistant.web.sources import (
    FULL,
    PROCESSES,
    REBUILDS,
    SERVICE_FULL,
    WAITING,
    Building,
    Sources,
)
from tests.support import held
from tests.support.fake_engine import FakeEngine
from tests.support.server import Page, Refused, running
from tests.support.waiting import until

CODE = "".join(f"def function_{n}(value):\n    return value * {n * n} + 1\n" for n in range(9))
HOSTILE = '<img src=x onerror="alert(1)">'


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    record = {"text": CODE, "path": f"{HOSTILE}/a.py", "licence": HOSTILE, "source": HOSTILE,
              "url": 'https://github.com/x/"><b>'}  # fmt: skip
    (folder / "corpus.jsonl").write_text(json.dumps(record))
    build(Corpus(folder / "corpus.jsonl"), folder / "index.db")
    return Index(folder / "index.db")


def steps(asked):
    async def collect():
        return [step async for step in asked]

    return asyncio.run(collect())


# -- the index while the program runs ----------------------------------------------------------


def test_whoever_asks_first_has_it_opened_and_others_wait(index):
    opened, go_on = [], threading.Event()

    def open_index(progress):
        opened.append(1)
        progress(1, 4)
        go_on.wait(30)
        return index

    sources = Sources(open_index=open_index)

    async def ask_twice():
        first, second = sources.check(CODE[:200]), sources.check("x = 1")
        assert str(await anext(first)).startswith("Building the index of sources: ")
        assert isinstance(await anext(second), Building)
        go_on.set()
        return [[step async for step in one][-1] for one in (first, second)]

    (match,), none = asyncio.run(ask_twice())
    assert (match["start_line"], match["length"], none) == (
        1,
        len(" ".join(CODE[:200].split())),
        [],
    ) and opened == [1]


@pytest.mark.parametrize("error", [AttributionError("No room in /a/path."), OSError("/a/path")])
def test_one_that_cannot_be_opened_costs_one_try(error, caplog):
    tries = []

    def open_index(progress):
        tries.append(1)
        raise error

    sources = Sources(open_index=open_index)
    for _ in range(3):
        with pytest.raises(AttributionError, match="next start") as caught:
            steps(sources.check(CODE))
        assert "/a/path" not in str(caught.value)
    assert len(tries) == len(caplog.records) == 1
    known = isinstance(error, AttributionError)
    line = "no index of sources" + (": No room in /a/path." if known else "")
    assert caplog.records[0].getMessage() == line


def test_one_that_is_damaged_is_opened_anew(index):
    opened = ["damaged", "whole"]
    sources = Sources(open_index=lambda progress: opened.pop(0))
    assert steps(sources.ask(held.damaged_once))[-1] == "answer" and opened == []


def test_one_that_is_damaged_again_and_again_is_left(index):
    opened = []

    def open_index(progress):
        opened.append(1)
        return index

    sources = Sources(open_index=open_index)
    for sentence in ("try again, and it is built anew", *["next start"] * 5):
        with pytest.raises(AttributionError, match=sentence):
            steps(sources.ask(held.damaged))
    assert len(opened) == 1 + REBUILDS
    assert steps(sources.check(CODE))[-1]  # a look-up that meets no damage goes on


# -- a service ---------------------------------------------------------------------------------


def ask_service(url, text):
    return asyncio.run(service_.ask_service(url, text))


@contextmanager
def service(answer, status=200, pause=0, headers=()):
    """A membership service that gives `answer`, and what it was asked."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            asked.append((self.path, json.loads(body)))
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.end_headers()
            for byte in answer if pause else [answer]:  # a byte at a time, where it is slow
                time.sleep(pause)
                self.wfile.write(bytes([byte]) if pause else byte)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/overlap", asked
    finally:
        server.shutdown()
        server.server_close()


def test_a_service_is_asked_as_the_editors_extension_asks():
    with service(b'{"spans": [[5, 9], [0, 6], [20, 22], [3, 99], [4, 4]]}') as (url, asked):
        assert ask_service(url, "x" * 30) == [(0, 9), (20, 22)]
    assert asked == [("/overlap", {"document": "x" * 30})]


@pytest.mark.parametrize(
    "answer, status, sentence",
    [
        (b"no json", 200, "not a list of spans"),
        (b'{"spans": [[-1, 5]]}', 200, "not a list of spans"),
        (b'{"spans": [["a", 5]]}', 200, "not a list of spans"),
        (b'{"spans": [[1, 5, 7]]}', 200, "not a list of spans"),
        (b"[]", 200, "not a list of spans"),
        (b"[" * (ANSWER_MAX + 1), 200, "too long"),
        (b"[" * (ANSWER_MAX - 1), 200, "not a list of spans"),
        (b'{"spans": [' + b"1," * 400_000 + b"1]}", 200, "not a list of spans"),
        (b"<b>no</b>", 500, "the error 500"),
        (b"", 302, "the error 302"),
    ],
    ids=range(10),
)
def test_what_a_service_does_wrong_is_one_sentence(answer, status, sentence):
    with service(answer, status) as (url, _), pytest.raises(AttributionError, match=sentence):
        ask_service(url, "x")


def test_a_service_that_trickles_is_left(monkeypatch):
    monkeypatch.setattr("assistant.attribution.service.PATIENCE_S", 0.3)
    with (
        service(b"[" * 200, pause=0.05) as (url, _),
        pytest.raises(AttributionError, match="no answer within"),
    ):
        ask_service(url, "x")


@contextmanager
def dripping(head, byte):
    """A service that answers with `head`, and then sends `byte` again and again, without an end."""
    over = threading.Event()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            with suppress(OSError):
                self.request.sendall(head)
                while not over.wait(0.05):
                    self.request.sendall(byte)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/overlap"
        finally:
            over.set()
            server.shutdown()


@pytest.mark.parametrize(
    "head, byte",
    [
        (b"", b"H"),
        (b"HTTP/1.1 200", b" "),
        (b"HTTP/1.1 200 OK\r\n", b"a: b\r\n"),
        (b"HTTP/1.1 200 OK\r\nx: ", b"a"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b" "),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\n[\r\n"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1", b";a"),
    ],
)
def test_patience_has_one_clock_for_all_of_an_answer(monkeypatch, head, byte):
    monkeypatch.setattr("assistant.attribution.service.PATIENCE_S", 0.4)
    with (
        dripping(head, byte) as url,
        pytest.raises(AttributionError, match="no answer within|cannot be reached"),
    ):
        ask_service(url, "x")


def test_an_answer_is_not_unpacked():
    bomb = gzip.compress(b" " * 100_000_000)
    with service(bomb, headers=[("content-encoding", "gzip")]) as (url, _):
        tracemalloc.start()
        try:
            with pytest.raises(AttributionError, match="not a list of spans"):
                ask_service(url, "x")
            assert tracemalloc.get_traced_memory()[1] < 20_000_000
        finally:
            tracemalloc.stop()


def test_a_service_that_is_not_there_or_silent(monkeypatch):
    with pytest.raises(AttributionError, match="cannot be reached"):
        ask_service("http://127.0.0.1:9/overlap", "x")
    with pytest.raises(TextError, match="200,000"):
        ask_service("http://127.0.0.1:9/overlap", "x" * 200_001)
    monkeypatch.setattr("assistant.attribution.service.PATIENCE_S", 0.2)
    with (
        http.server.HTTPServer(("127.0.0.1", 0), None) as silent,
        pytest.raises(AttributionError, match="no answer within"),
    ):
        ask_service(f"http://127.0.0.1:{silent.server_port}/overlap", "x")


# -- the server --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server():
    with running(FakeEngine("Yes.")) as server:
        yield server


QUEUE = "import types\nfrom collections import deque\nfrom heapq import heappush, heappop"
DOCUMENT = "x = 1\n" + "Implement a multi-producer, multi-consumer queue. Roughly: import threading"


def test_the_route_gives_spans_and_their_sources(server):
    text = (
        "'''A multi-producer, multi-consumer queue.'''\n\nimport threading\nimport types\n"
        "from collections import deque\nfrom heapq import heappush, heappop"
    )
    answer = server.post(
        "/overlap", json={"document": f"é🙂 new\n{text}\nnothing_of_it"}, timeout=60
    )
    ((start, end),) = answer.json()["spans"]
    assert f"é🙂 new\n{text}"[start:end] == text
    (match,) = answer.json()["matches"]
    assert (match["path"], match["start_line"], match["end_line"]) == ("queue.py", 1, 6)
    assert match["url"] == "https://github.com/python/cpython/blob/3.11/Lib/queue.py#L1-L6"


@pytest.mark.parametrize("body", [{}, {"document": 5}, {"document": "x" * 200_001}, [], "x"])
def test_the_route_refuses_what_is_no_document(server, body):
    assert server.post("/overlap", json=body).status_code == 400
    assert server.post("/overlap", json={"document": "x"}).json() == {"spans": [], "matches": []}


def test_the_route_asks_for_the_key():
    with running(FakeEngine(), Settings(port=0, api_key="s3cret")) as server:
        assert server.post("/overlap", json={"document": "x"}).status_code == 401
        right = {"Authorization": "Bearer s3cret"}
        assert server.post("/overlap", json={"document": "x"}, headers=right).status_code == 200


def asked_by_the_page(page, **asked):
    with page.news("sources", **asked) as news:
        return list(news)[-1]


def test_one_programs_index_serves_another(server):
    text = (
        "import threading\nimport types\nfrom collections import deque\nfrom heapq import heappush"
    )
    settings = Settings(port=0, attribution=f"{server.url}/overlap")
    with running(FakeEngine(), settings) as other, Page(other.url) as page:
        told = asked_by_the_page(page, text=text, service=True)
        assert told["matches"][0]["path"] == "queue.py" and told["service"] == "127.0.0.1"
        assert told["spans"] == [{"start": 0, "end": len(text)}]
        told = asked_by_the_page(page, text=text, service=False)
        assert told["matches"] and told["spans"] == [] and "service" not in told


def test_a_text_leaves_the_machine_only_where_the_page_asks_for_it():
    with service(b'{"spans": [[0, 3]]}') as (url, asked):
        settings = Settings(port=0, attribution=url)
        with running(FakeEngine(), settings) as server, Page(server.url) as page:
            for wish in (None, "true", 1):
                with pytest.raises(Refused):
                    asked_by_the_page(page, text="secret", service=wish)
            asked_by_the_page(page, text="secret", service=False)
            asked_by_the_page(page, text="secret")
            assert asked == []
            assert asked_by_the_page(page, text="told", service=True)["spans"]
            assert asked == [("/overlap", {"document": "told"})]


def test_a_surrogate_is_shown_as_one_that_is_missing(server):
    text = f"{DOCUMENT}\ud800"
    body = json.dumps({"document": f"\ud800\n{QUEUE}"})
    kind = {"content-type": "application/json"}
    answer = server.post("/overlap", content=body, headers=kind)
    assert answer.status_code in (200, 400)
    with Page(server.url) as page:
        assert asked_by_the_page(page, text=f"\ud800{QUEUE}")["matches"]
        told = asked_by_the_page(page, text="x" * 200_001)
        assert "at most 200,000" in told["note"].lower() and told["matches"] == []
        told = page.run(page.event("source-check", "click"), [f"{QUEUE} {text}", False])
        assert "queue.py" in told
        told = page.run(page.event("source-check", "click"), ["x" * 200_001, False])
        assert "At most 200,000" in told and "queue.py" not in told


def test_blanks_cost_no_time(server):
    with Page(server.url) as page:
        text = QUEUE.replace("\n", " " * 40_000, 1)
        assert "queue.py" in page.run(page.event("source-check", "click"), [text, False])


def test_what_a_service_fails_at_is_told_beside_the_matches():
    settings = Settings(port=0, attribution="http://127.0.0.1:9/overlap")
    with running(FakeEngine(), settings) as server, Page(server.url) as page:
        told = asked_by_the_page(page, text=DOCUMENT, service=True)
        assert told["note"] == "The attribution service cannot be reached."


# -- too many at once --------------------------------------------------------------------------


@pytest.fixture
def slow(index, monkeypatch, tmp_path):
    """A server whose look-ups of `slow.text` take until `slow.go()`."""
    monkeypatch.setattr("assistant.web.sources.matches_in", held.found_held)
    with running(FakeEngine("def f(): pass"), Settings(port=0, sources=str(index.path))) as server:
        server.text, server.go = f"{tmp_path}\n{CODE}", (tmp_path / "go").touch
        server.begun = lambda: len(list(tmp_path.iterdir()))
        try:
            yield server
        finally:
            server.go()


def look_up(server):
    """Asks 45 times at once. (futures of the answers that came: refusals, of those that wait)"""
    pool, body = ThreadPoolExecutor(45), {"document": server.text}
    asked = [pool.submit(server.post, "/overlap", json=body, timeout=60) for _ in range(45)]
    pool.shutdown(wait=False)
    until(lambda: sum(each.done() for each in asked) == 45 - PROCESSES - WAITING)
    refused = [each for each in asked if each.done()]
    return refused, [each for each in asked if each not in refused]


def test_look_ups_leave_everything_else_alone(slow):
    refused, waiting = look_up(slow)
    for each in refused:
        answer = each.result()
        assert answer.status_code == 429 and int(answer.headers["retry-after"]) >= 1
        assert answer.json()["detail"] == FULL and FULL.endswith(".")
        assert answer.json()["error"]["code"] == "rate_limit_exceeded"
    until(lambda: slow.begun() == PROCESSES)
    answer = slow.post("/v1/completions", json={"prompt": "x"}, timeout=30)
    assert answer.json()["choices"][0]["text"] == "def f(): pass"
    with Page(slow.url) as page:
        assert "def f(): pass" in page.say("Hi")
    slow.go()
    assert {each.result().status_code for each in waiting} == {200}
    assert slow.post("/overlap", json={"document": CODE}).json()["matches"]


def test_the_page_says_in_its_place_that_look_ups_are_busy(slow):
    _, waiting = look_up(slow)
    with Page(slow.url) as page:
        assert asked_by_the_page(page, text=CODE)["note"] == FULL
        assert FULL in page.run(page.event("source-check", "click"), [CODE, False])
        assert FULL in page.run(page.event("source-search", "click"), ["value", "", "Any", "Any"])
        number = page.event("fill-in", "click")
        told = page.run(number, ["x <FILL_HERE>", "PSM", 9, 1, "", "", 0, 1, 0, 1, 0, None])
        assert FULL in told and "def f()" in told
        slow.go()
        assert all(each.result().status_code == 200 for each in waiting)
        told = asked_by_the_page(page, text=CODE)
        assert told["matches"] and told["note"] == ""


def test_a_look_up_that_waits_gives_its_place_back(tmp_path):
    """When whoever asked is gone."""
    sources = Sources(open_index=lambda progress: "index")

    async def one():
        async for step in sources.ask(partial(held.wait, tmp_path)):
            if not isinstance(step, Building):
                return step

    async def ask():
        for _ in range(3):
            asked = [asyncio.create_task(one()) for _ in range(PROCESSES + WAITING)]
            while not sources._places.locked():
                await asyncio.sleep(0.01)
            with pytest.raises(SourcesBusy):
                await one()
            for each in asked:
                each.cancel()
            (tmp_path / "go").touch()
            await asyncio.wait(asked)
            assert await one() is True
            (tmp_path / "go").unlink()

    asyncio.run(ask())


def test_a_process_that_is_killed_is_one_sentence_and_the_next_look_up_works(index):
    sources = Sources(open_index=lambda progress: index)
    with pytest.raises(AttributionError, match="broke off; try again"):
        steps(sources.ask(held.die))
    assert steps(sources.check(CODE))[-1]


def test_a_hung_service_leaves_look_ups_and_everything_else_alone(index, monkeypatch):
    monkeypatch.setattr("assistant.attribution.service.PATIENCE_S", 600)
    with ExitStack() as hung:
        url = hung.enter_context(dripping(b"HTTP/1.1 200 OK\r\n", b"a: b\r\n"))
        settings = Settings(port=0, sources=str(index.path), attribution=url)
        with running(FakeEngine("Yes."), settings) as server, ThreadPoolExecutor(45) as pool:

            def ask():
                with Page(server.url) as page:
                    return asked_by_the_page(page, text="x = 1", service=True)

            asked = [pool.submit(ask) for _ in range(45)]
            until(lambda: any(each.done() for each in asked), 60)
            answer = server.post("/v1/completions", json={"prompt": "x"}, timeout=30)
            assert answer.json()["choices"][0]["text"] == "Yes."
            until(lambda: server.post("/overlap", json={"document": CODE}).json().get("matches"))
            hung.close()
            notes = {each.result()["note"] for each in asked}
            assert notes >= {SERVICE_FULL} and all("service" in note for note in notes - {FULL})


# -- what the page shows -----------------------------------------------------------------------


def test_nothing_of_a_source_becomes_html(index):
    (match,) = steps(Sources(open_index=lambda progress: index).check(f"<b>{CODE[:200]}"))[-1]
    assert match["text"] == CODE[:200].strip()
    shown = underline(f"<b>{CODE[:200]}", [match]) + match_list([match])
    asked = partial(search, query="value")
    shown += hit_cards(steps(Sources(open_index=lambda _: index).ask(asked))[-1])
    assert "<img" not in shown and "<b>" not in shown and shown.count("</mark>") >= 8
    assert 'href="https://github.com/x/&quot;&gt;&lt;b&gt;#L1-L9"' in shown


@pytest.mark.parametrize(
    "model, under",
    [("bigcode/starcoder", True), ("HuggingFaceH4/starchat-beta", True),
     ("my-StarCoder-int8", True), ("bigcode/gpt_bigcode-santacoder", True),
     ("tech-assistant-7m", False)],
)  # fmt: skip
def test_the_starcoder_family_stands_under_its_licence(model, under):
    assert bool(licence_of(model)) == under


def test_the_about_tab_has_the_figures_and_the_card():
    engine = FakeEngine()
    engine.model = "<b>starcoder"
    assert "adapter" not in about(engine).split("</p>")[0]
    engine.adapter = "<i>lora · 0123"
    shown = about(engine)
    assert "with the adapter <b>&lt;i&gt;lora · 0123</b>" in shown
    assert "&lt;b&gt;starcoder" in shown and "BigCode OpenRAIL-M v1" in shown
    assert "<td>40.8</td>" in shown and "tech-assistant-7m</h2>" in shown
    assert "](" not in shown and "<img" not in shown
