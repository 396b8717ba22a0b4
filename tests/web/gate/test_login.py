"""The login: how often one may try, whom its cookie serves, and what ends a session."""

import functools
import re

import httpx
import pytest

from assistant.settings import Settings
from assistant.web.gate import login
from assistant.web.gate.limit import PerMinute
from assistant.web.gate.login import ATTEMPTS
from assistant.web.gradio_inside import session_cookie
from tests.support.fake_engine import FakeEngine
from tests.support.server import Page, running
from tests.web.gate.test_limit import Clock

RIGHT = {"username": "ada", "password": "lovelace-1815"}
WRONG = {**RIGHT, "password": "x"}
AUTH = ("ada", "lovelace-1815")


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def server(monkeypatch, clock):
    monkeypatch.setattr(login, "PerMinute", functools.partial(PerMinute, clock=clock))
    with running(FakeEngine(), Settings(port=0, auth=AUTH)) as server:
        yield server
        assert server.get("/health").status_code == 200


def attempt(server, data, client="203.0.113.1"):
    return server.post("/login", data=data, headers={"x-forwarded-for": client})


def inside(server, cookies):
    answer = server.get("/config", cookies=dict(cookies))
    assert answer.status_code in (200, 401)
    return answer.status_code == 200


# -- attempts -----------------------------------------------------------------------------------


def test_wrong_passwords_are_few_a_minute(server, clock):
    assert [attempt(server, WRONG).status_code for _ in range(ATTEMPTS)] == [400] * ATTEMPTS
    for data in (WRONG, RIGHT):  # else the right one could be told from the others
        answer = attempt(server, data)
        seconds = int(answer.headers["retry-after"])
        assert answer.status_code == 429 and 0 < seconds <= 60
        assert f"wait {seconds} seconds" in answer.json()["detail"]
    assert attempt(server, RIGHT, "203.0.113.2").status_code == 200  # another client
    clock.now += seconds
    answer = attempt(server, RIGHT)
    assert answer.status_code == 200 and inside(server, answer.cookies)


def test_right_passwords_are_not_counted(server):
    codes = {attempt(server, data).status_code for data in [RIGHT] * (ATTEMPTS + 5)}
    assert codes == {200}
    assert [attempt(server, WRONG).status_code for _ in range(ATTEMPTS)] == [400] * ATTEMPTS


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"json": RIGHT},
        {"data": {"username": "ada"}},
        {"data": {"username": "ada", "password": "lovelace-1815 "}},
        {"data": {"username": "eve", "password": "lovelace-1815"}},
        {"data": {"username": "", "password": ""}},
        {"data": {"username": "\x00é", "password": "é\x00"}},
        {"data": RIGHT, "files": {"password": ("a", b"x")}},
        {"content": b"--x", "headers": {"content-type": "multipart/form-data; boundary=y"}},
        {"content": b"username=%ff%00&password=%ed%a0%80",
         "headers": {"content-type": "application/x-www-form-urlencoded"}},
        {"content": b'--x\r\nContent-Disposition: form-data; name="username"\r\n\r\n\\ud800\r\n'
                    b"--x--",
         "headers": {"content-type": "multipart/form-data; boundary=x; charset=unicode_escape"}},
    ],
)  # fmt: skip
def test_what_is_no_login_lets_nobody_in(server, options):
    answer = server.post("/login", **options)
    assert answer.status_code == 400 and not answer.cookies
    assert attempt(server, RIGHT).status_code == 200


@pytest.mark.parametrize("path", ["/login/", "/login//", "//login", "/LOGIN", "/logout/"])
def test_there_is_no_other_way_in(server, path):
    assert server.post(path, data=RIGHT).status_code == 404


def test_without_a_login_there_is_nothing_to_try():
    with running(FakeEngine(), Settings(port=0)) as server:
        for method, path in (("POST", "/login"), ("GET", "/logout"), ("POST", "/logout")):
            answer = server.request(method, path)
            assert answer.status_code == 404 and "location" not in answer.headers
        with Page(server.url) as page:
            assert page.call("chat", message="hi") == "Hello."


# -- the cookie -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "scheme, on_space, words",
    [
        ("http", False, {"HttpOnly", "SameSite=lax"}),
        ("https", False, {"HttpOnly", "SameSite=lax", "Secure"}),
        ("http", True, {"HttpOnly", "SameSite=none", "Secure"}),  # framed by another site
    ],
)
def test_only_a_frame_of_another_site_gets_the_cookie_there(scheme, on_space, words):
    settings = Settings(port=0, auth=AUTH, on_space=on_space)
    with running(FakeEngine(), settings) as server:
        headers = {"x-forwarded-proto": scheme}
        answer = server.post("/login", data=RIGHT, headers=headers)
        (cookie,) = answer.headers.get_list("set-cookie")
        assert set(cookie.split("; ")[1:]) - {"Path=/"} == words
        assert inside(server, answer.cookies)


# -- the end ----------------------------------------------------------------------------------


def test_logging_out_ends_ones_own_session_only(server):
    one, two = (attempt(server, RIGHT).cookies for _ in range(2))
    foreign = {"origin": "https://evil.example"}
    assert server.get("/logout", cookies=one).status_code == 200  # asks, and changes nothing
    assert server.get("/logout", cookies=one, headers=foreign).status_code == 200
    assert server.post("/logout", cookies=one, headers=foreign).status_code == 403
    assert server.post("/logout").status_code == 200  # nobody's
    assert inside(server, one) and inside(server, two)
    answer = server.post("/logout", cookies=one, headers={"origin": server.url})
    assert answer.status_code == 200 and "Max-Age=0" in answer.headers["set-cookie"]
    assert not inside(server, one) and inside(server, two)
    assert server.request("PUT", "/logout", cookies=two).status_code == 405
    assert inside(server, two)


def test_a_person_can_log_out(server, browser):
    page = browser.new_page()
    page.goto(server.url)
    page.get_by_text(re.compile(f"After {ATTEMPTS} wrong attempts")).wait_for()
    page.get_by_label("username").fill("ada")
    page.get_by_label("password").fill("lovelace-1815")
    page.get_by_role("button", name="Login").click()
    page.wait_for_selector("#message textarea")
    page.goto(server.url + "/logout")
    page.get_by_role("button", name="Log out").click()
    page.get_by_label("username").wait_for()
    assert page.url == server.url + "/"
    page.close()


def test_cookies_of_any_shape_let_nobody_in(server):
    name = session_cookie(server.app.state.gradio)
    for value in ("", '"', "x" * 4000, "a; b=c; =; ;", f"{name}=", "é".encode()):
        for path in ("/config", "/gradio_api/app_id"):
            headers = {"cookie": value if isinstance(value, bytes) else f"{name}={value}"}
            assert httpx.get(server.url + path, headers=headers).status_code == 401
