"""The routes of the page: who may ask, and what is refused."""

import json

import pytest

from assistant.attribution.corpus import Corpus
from assistant.attribution.index import build
from assistant.conversation import TURNS_MAX
from assistant.settings import Settings
from assistant.text import PROMPT_CHARS_MAX
from assistant.web.gate.bodies import PARTS_MAX
from assistant.web.gate.security import BODY_MAX
from tests.support.fake_engine import FakeEngine
from tests.support.server import Page, running

HI = {"role": "user", "content": "hi"}
HELLO = {"role": "assistant", "content": "Hello."}
RUN = "number-1"
CODE = "def function(value):\n    return value * 12345 + 1\n" * 9


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    (folder / "corpus.jsonl").write_text(json.dumps({"text": CODE, "path": "a.py"}))
    build(Corpus(folder / "corpus.jsonl"), folder / "index.db")
    return folder / "index.db"


@pytest.fixture(scope="module")
def server(index):
    settings = Settings(port=0, sources=str(index))
    with running(FakeEngine("Hello."), settings) as server:
        yield server


@pytest.fixture(scope="module")
def bodies(server):
    """A body that each route answers, but for the ones that write a number that is free by then."""
    with Page(server.url) as page:
        receipt = page.chat("hi")[-1]["receipt"]
    return {
        "chat": {"run": RUN, "text": "hi"},
        "again": {"run": RUN, "turns": [HI, HELLO], "receipt": receipt},
        "stop": {"run": RUN},
        "count": {"text": "a draft"},
        "prompt": {"to": "see", "turns": [HI]},
        "render": {"replies": [{"text": "x"}]},
        "sources": {"text": "x"},
        "library": {},
        "library/use": {"name": "write", "values": {}},
        "look": {"segments": [["x", True]]},
        "complete": {"run": RUN, "segments": [["x", True]]},
        "complete/stop": {"run": RUN},
        "inspect": {"segments": [["x", True]], "text": "y"},
    }


@pytest.fixture
def page(server):
    with Page(server.url) as page:
        yield page
        assert page.chat("hi")[-1]["turn"]["text"] == "Hello."
        server.idle()


ROUTES = ["chat", "again", "stop", "count", "prompt", "render", "sources"]
ROUTES += ["library", "library/use", "look", "complete", "complete/stop", "inspect"]
every_route = pytest.mark.parametrize("route", ROUTES)


def sentence(answer):
    """What a refusal says: one sentence."""
    told = answer.json()["error"]["message"]
    assert told == answer.json()["detail"]
    assert "\n" not in told and len(told) < 300 and told.endswith(".")
    return told


# -- who may ask -------------------------------------------------------------------------------


@every_route
def test_only_the_scripts_of_the_page_may_ask(server, page, bodies, route):
    content, own = json.dumps(bodies[route]), page.own
    for changes, status, words in (
        ({"origin": None}, 403, "for the scripts of this server's own page"),
        ({"origin": "https://evil.example"}, 403, "Pages of other sites"),
        ({"origin": "null"}, 403, "Pages of other sites"),
        ({"origin": "http://127.0.0.1:1"}, 403, "Pages of other sites"),
        ({"content-type": None}, 415, "application/json"),
        ({"content-type": "text/plain"}, 415, "application/json"),
        ({"content-type": "application/x-www-form-urlencoded"}, 415, "application/json"),
        ({"content-type": "multipart/form-data; boundary=x"}, 415, "application/json"),
        ({"host": "evil.example"}, 400, "does not answer to that name"),
    ):
        headers = {name: value for name, value in (own | changes).items() if value}
        answer = server.post(f"/page/{route}", content=content, headers=headers)
        assert answer.status_code == status and words in sentence(answer), (changes, answer.text)
    for kind in ("application/json", "Application/JSON; charset=utf-8"):
        answer = page.ask(route, bodies[route], **{"content-type": kind})
        assert answer.status_code == 200, answer.text
        server.idle()


@pytest.mark.parametrize("route", [*ROUTES, "facts"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods(server, page, route, method):
    allowed = "GET" if route == "facts" else "POST"
    if method != allowed:
        answer = server.request(method, f"/page/{route}", headers=page.own)
        assert answer.status_code == 405 and answer.headers["allow"] == allowed
        assert sentence(answer) == f"There is no {method} at this address; send {allowed}."


@pytest.mark.parametrize("path", ["nope", "", "chat/", "chat/x", "Chat", "stop;x"])
def test_there_is_nothing_else(page, path):
    assert page.ask(path, {}).status_code == 404


def test_with_a_login_each_route_asks_for_it(bodies, index):
    settings = Settings(port=0, auth=("ada", "lovelace-1815"), sources=str(index))
    with running(FakeEngine("Hello."), settings) as server, Page(server.url) as page:
        for route in (*ROUTES, "facts"):
            answer = page.ask(route, bodies.get(route))
            assert answer.status_code == 401 and sentence(answer) == "Log in first."
        assert server.engine.requests == []
        login = {"username": "ada", "password": "lovelace-1815"}
        assert page.http.post("/login", data=login).status_code == 200
        for route in (*ROUTES, "facts"):
            assert page.ask(route, bodies.get(route)).status_code == 200, route
            server.idle()
        cookies = dict(page.http.cookies)
        answer = server.post("/page/stop", json={"run": RUN}, cookies=cookies)
        assert answer.status_code == 403  # the cookie alone is not the page


@pytest.mark.parametrize("prefix", ["", "/assistant"])
def test_behind_a_proxy(bodies, prefix):
    settings = Settings(port=0, root_path="/assistant", allow_host=("proxy.example",))
    headers = {"host": "proxy.example", "origin": "https://proxy.example"}
    with running(FakeEngine("Hello."), settings) as server:
        answer = server.post(f"{prefix}/page/chat", json=bodies["chat"], headers=headers)
        assert answer.status_code == 200 and '"turn"' in answer.text
        assert server.get(f"{prefix}/page/facts", headers=headers).json()["model"] == "fake"


# -- what is refused ---------------------------------------------------------------------------

PATH = [
    ({"turns": 5}, "turns is wrong: Input should be a valid list."),
    ({"turns": [5]}, "Turn 1 of the history must have a role"),
    ({"turns": [HELLO]}, "Turn 1 of the history must have the role 'user'"),
    ({"turns": [{"role": "user"}]}, "must have text as its content"),
    ({"turns": [HI | {"content": "a" * 100_001}]}, "100,001"),
    ({"turns": [HI, HELLO] * 500 + [HI]}, "at most 1000 turns; 1001 were given"),
]
SETTINGS = [({"settings": 5}, "settings must be an object.")]
WRITES = [
    ({"run": None}, "run is wrong"),
    ({"run": 12345678}, "run is wrong: Input should be a valid string."),
    ({"run": "short"}, "run is wrong"),
    ({"run": "x" * 41}, "run is wrong"),
]
WRONG = {
    "chat": [*PATH, *SETTINGS, *WRITES, ({"text": 5}, "text is wrong"),
             ({"text": ["x"]}, "text is wrong")],
    "again": [*PATH, *WRITES, ({"receipt": "x"}, "A receipt must be an object")],
    "stop": [({"run": 5}, "run is wrong"), ({"run": None}, "run is wrong")],
    "count": [PATH[0], *SETTINGS, ({"text": None}, "text is wrong")],
    "prompt": [*PATH, *SETTINGS, ({"to": "x"}, "should be 'see' or 'playground'"),
               ({"to": None}, "to is wrong"), ({"turns": []}, "no message to show the prompt of"),
               ({"receipt": 5}, "A receipt must be an object, not 5.")],
    "render": [({"replies": 5}, "valid list"), ({"replies": ["x"]}, "replies.0 must be an object."),
               ({"replies": [{"text": 5}]}, "replies.0.text is wrong"),
               ({"replies": [{}]}, "replies"),
               ({"replies": [{"text": "x", "marks": [{"start": 0, "end": 1, "kind": "x"}]}]},
                "replies.0"),
               ({"replies": [{"text": "x"}] * (TURNS_MAX + 1)}, "at most 1000 items"),
               ({"replies": [{"text": "x" * (PROMPT_CHARS_MAX // 2 + 1)}] * 2}, "200,000")],
    "library": [],
    "library/use": [({"name": 5}, "name is wrong"), ({"values": 5}, "values must be an object.")],
    "look": [({"segments": 5}, "segments is wrong"), ({"special": "x"}, "special is wrong"),
             ({"segments": [5]}, "list of texts"), ({"pieces": 5}, "pieces is wrong")],
    "complete": [*WRITES, ({"segments": None}, "segments is wrong"),
                 ({"sampling": 5}, "must be an object."), ({"stop": 5}, "stop must be a list"),
                 ({"segments": [["x" * 9_000, True]]}, "window holds 8192")],
    "complete/stop": [({"run": 5}, "run is wrong")],
    "inspect": [({"segments": 5}, "segments is wrong"), ({"text": 5}, "text is wrong"),
                ({"segments": []}, "The prompt is empty."), ({"text": ""}, "The prompt is empty")],
    "sources": [({"text": 5}, "text is wrong"), ({"text": None}, "text is wrong"),
                ({"text": "x", "service": "true"}, "service is wrong")],
}  # fmt: skip
NO_BODY = [
    ("", 400, "body"),
    ("{", 400, "is not JSON"),
    (b"\xff\xfe", 400, "is not JSON"),
    ("[]", 400, "must be a JSON object"),
    ("5", 400, "must be a JSON object"),
    ("[" * 5_000, 400, "is not JSON"),
    ('{"a": [' + "[]," * PARTS_MAX + "[]]}", 413, f"at most {PARTS_MAX:,} lists and objects"),
    (" " * (BODY_MAX + 1), 413, f"at most {BODY_MAX} bytes"),
]


@every_route
def test_what_is_wrong_is_one_sentence(server, page, bodies, route, caplog, capfd):
    server.engine.requests.clear()
    for changes, words in WRONG[route]:
        answer = page.ask(route, bodies[route] | changes)
        assert answer.status_code == 400 and words in sentence(answer), (changes, answer.text)
    for content, status, words in NO_BODY:
        answer = page.ask(route, content)
        assert answer.status_code == status, (content[:50], answer.text)
        assert words in sentence(answer)
    for key in bodies[route].keys() & {"run", "receipt", "to", "replies"}:
        body = {name: value for name, value in bodies[route].items() if name != key}
        assert f"The request has no {key!r}" in sentence(page.ask(route, body))
    assert server.engine.requests == []
    assert "Traceback" not in caplog.text + "".join(capfd.readouterr())
    assert page.ask(route, bodies[route]).status_code == 200
    server.idle()
