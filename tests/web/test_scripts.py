"""The page's modules over HTTP: which are there, to whom, and what a browser may keep of them."""

import re

import pytest

from assistant.paths import STATIC
from assistant.settings import Settings
from assistant.web.pages.page import SCRIPTS
from tests.support.fake_engine import FakeEngine
from tests.support.server import Page, running

NAMES = sorted(path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*.js"))


@pytest.fixture(scope="module")
def server():
    with running(FakeEngine()) as server:
        yield server


@pytest.mark.parametrize("name", NAMES)
def test_a_script_is_served_and_asked_for_again_each_time(server, name):
    answer = server.get(f"/page/static/{name}")
    assert answer.status_code == 200 and answer.content == (STATIC / name).read_bytes()
    assert re.match(r"(text|application)/javascript\b", answer.headers["content-type"])
    assert answer.headers["cache-control"] == "no-cache"
    headers = {"if-none-match": answer.headers["etag"]}
    again = server.get(f"/page/static/{name}", headers=headers)
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "path",
    ["", "nope.js", "lib", "lib/", "page.css", "../page.js", "..%2f..%2fapp.js", "%2e%2e/app.js",
     "lib/../../pages/page.py", "lib//etc/x.js", f"{'a' * 90}.js", f"{'a' * 5000}.js", "a%00.js"],
)  # fmt: skip
def test_nothing_else_is_served(server, path):
    assert server.get(f"/page/static/{path}").status_code == 404
    assert server.get("/page/static/main.js").status_code == 200


def test_a_page_asks_for_all_modules_at_once(server):
    preloads = re.findall(
        r'rel=\\?"modulepreload\\?" href=\\?"page/static/([^"\\]+)', server.get("/").text
    )
    assert sorted({*preloads, *SCRIPTS}) == NAMES and not {*preloads} & {*SCRIPTS}


def test_a_script_can_only_be_read(server):
    with Page(server.url) as page:
        assert page.ask("static/main.js", {}).status_code == 405
    assert server.request("HEAD", "/page/static/main.js").status_code == 200


@pytest.mark.parametrize("prefix", ["", "/assistant"])
def test_scripts_behind_a_proxy_and_before_a_login(prefix):
    settings = Settings(port=0, root_path="/assistant", auth=("ada", "lovelace-1815"))
    with running(FakeEngine(), settings) as server:
        assert server.get(f"{prefix}/page/static/main.js").status_code == 200
