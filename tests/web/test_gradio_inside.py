"""What the page needs of Gradio's inside is still there, and does what it did."""

import asyncio
import inspect
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import gradio as gr
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from gradio import networking, tunneling
from gradio.routes import App

from assistant.paths import ROOT
from assistant.web import gradio_inside
from assistant.web.gradio_inside import FREE


def double(text: str) -> str:
    return text * 2


def spell(text: str):
    yield from text


def in_loop(call, *values, **options):
    """For each lock that it makes, Gradio opens an event loop, unless one is running."""

    async def run():
        return call(*values, **options)

    return asyncio.run(run())


def make_page():
    with gr.Blocks(analytics_enabled=False) as page:
        text, button = gr.Textbox(), gr.Button()
        button.click(double, text, text, api_name="double")
        button.click(spell, text, text, api_name="spell")
        button.click(spell, text, text, api_name="free", **FREE)
    return page


def mount(page, **options):
    """(the app, Gradio's own)."""
    app = FastAPI()
    options |= {"path": "/", "show_error": False, "ssr_mode": False}
    in_loop(gr.mount_gradio_app, app, page, **options)
    return app, gradio_inside.mounted_app(app)


def test_a_folder_that_is_not_ours_keeps_nothing_from_starting(tmp_path):
    """Another user's /tmp/gradio, or a GRADIO_TEMP_DIR that cannot be written."""
    (tmp_path / "file").touch()
    code = (
        "from tests.support.server import Page, running\n"
        "with running() as server, Page(server.url) as page:\n"
        "    print(page.call('chat', message='hi'))\n"
        "import os; print(*os.listdir(os.environ['TMPDIR']))"
    )
    names = {"GRADIO_TEMP_DIR": str(tmp_path / "file" / "g"), "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | names, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("Hello.\n"), done
    assert "gradio-" in done.stdout


@pytest.fixture
def page():
    return in_loop(make_page)


def test_no_calls_home_and_no_statistics():
    code = (
        "import assistant.web.app, gradio as gr; from gradio import analytics\n"
        "with gr.Blocks() as page: pass\n"
        "print(analytics.analytics_enabled(), page.analytics_enabled,\n"
        "      page._queue.ANAYLTICS_CACHE_FREQUENCY)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == ["False", "False", str(10**9)], done.stderr


def test_limits_reach_what_keeps_them(page):
    in_loop(gradio_inside.set_limits, page, events=44, sessions=2)
    app = mount(page)[1]
    page.create_limiter()
    assert page._queue.max_thread_count == 44
    assert page.limiter.total_tokens == 44
    for session in "abc":
        app.state_holder[session]
    assert list(app.state_holder.session_data) == ["b", "c"]


def test_on_a_space_the_page_is_as_elsewhere(monkeypatch):
    monkeypatch.setenv("SYSTEM", "spaces")
    monkeypatch.setenv("SPACE_ID", "me/mine")
    page = in_loop(make_page)
    assert page.get_config_file()["space_id"] == "me/mine"
    gradio_inside.forget_space(page)
    assert page.get_config_file()["space_id"] is None


def test_the_mounted_app_is_gradios(page):
    app = mount(page)[1]
    assert isinstance(app, App) and app.get_blocks() is page


def test_what_is_not_gradios_app_is_not_taken_for_it():
    with pytest.raises(TypeError):
        gradio_inside.mounted_app(FastAPI())


def test_calls_that_do_not_fit_get_the_sentence(page, caplog):
    app, inner = mount(page)
    body = {"detail": "So not."}
    gradio_inside.refuse_misfits(page, inner, "So not.", body)
    with TestClient(app) as client:
        answer = client.post("/gradio_api/call/double", json={"data": 5})
        assert (answer.status_code, answer.json()) == (400, body)
        event = client.post("/gradio_api/call/double", json={"data": []}).json()["event_id"]
        text = client.get(f"/gradio_api/call/double/{event}").text
        assert "event: error" in text
        event = client.post("/gradio_api/call/double", json={"data": ["ab"]}).json()["event_id"]
        assert '["abab"]' in client.get(f"/gradio_api/call/double/{event}").text
    assert "Traceback" not in caplog.text
    with pytest.raises(gr.Error, match="So not"):
        page.validate_inputs(page.fns[0], [])
    page.validate_inputs(page.fns[0], ["one"])
    assert list(inspect.signature(gr.Blocks.validate_inputs).parameters) == [
        "self", "block_fn", "inputs",
    ]  # fmt: skip


def test_what_writes_a_reply_is_told_by_its_event(page):
    names = {function.api_name: number for number, function in page.fns.items()}
    assert gradio_inside.free_events(page) == {names["double"], names["free"]}
    ids = [each["id"] for each in page.get_config_file()["dependencies"]]
    assert ids == list(page.fns)


@pytest.mark.parametrize(
    "body, call",
    [
        (json.dumps({"fn_index": 3, "data": [], "session_hash": "x"}).encode(), (3, "x")),
        (b'{"fn_index": 3}', (3, None)),
        (b'{"fn_index": "3", "session_hash": 5}', (None, None)),
        (b'{"fn_index": 3.0}', (None, None)),
        (b'{"fn_index": true}', (None, None)),
        *((body, (None, None)) for body in (b"{}", b"[]", b"{", b"", b"\xff", b"[" * 9_000)),
    ],
)
def test_which_event_is_called(body, call):
    assert gradio_inside.read_call(body) == call


def test_gradio_reads_the_same_number(page):
    app = mount(page)[0]
    with TestClient(app, raise_server_exceptions=False) as client:
        for number, status in ((0, 200), (99, 500)):
            body = {"fn_index": number, "data": ["x"], "session_hash": "x"}
            assert client.post("/gradio_api/queue/join", json=body).status_code == status


def test_a_session_is_gradios_own(page):
    app, inner = mount(page, auth=("ada", "lovelace"))
    client = TestClient(app)
    assert client.get("/config").status_code == 401
    token = gradio_inside.open_session(inner, "ada")
    cookies = {gradio_inside.session_cookie(inner): token}
    client.cookies.update(cookies)
    assert gradio_inside.has_session(inner, cookies)
    assert client.get("/gradio_api/user").json() == "ada"
    assert client.get("/config").status_code == 200
    gradio_inside.close_session(inner, cookies)
    gradio_inside.close_session(inner, {})
    assert not gradio_inside.has_session(inner, cookies)
    assert not gradio_inside.has_session(inner, {})
    assert client.get("/config").status_code == 401


def test_heartbeats_end(page):
    app, inner = mount(page)
    gradio_inside.end_heartbeats(inner)
    assert "ALIVE" in TestClient(app).get("/gradio_api/heartbeat/x").text  # and then it is whole


def test_a_tunnel_is_asked_for_as_gradio_takes_it(monkeypatch):
    asked = []

    class Tunnel(SimpleNamespace):
        def start_tunnel(self):
            return "https://x.gradio.live"

    def make(*values):
        inspect.signature(tunneling.Tunnel.__init__).bind(None, *values)
        asked.append(values)
        return Tunnel()

    monkeypatch.setattr(networking, "GRADIO_SHARE_SERVER_ADDRESS", "tunnel.example:7000")
    monkeypatch.setattr(networking, "Tunnel", make)
    first, second = (gradio_inside.open_tunnel("127.0.0.1", 7860) for _ in range(2))
    assert first == second == "https://x.gradio.live"
    assert asked[0][:4] == ("tunnel.example", 7000, "127.0.0.1", 7860)
    assert asked[0][4] != asked[1][4]  # its name cannot be guessed


def test_tunnels_end(monkeypatch, capsys):
    ended = []
    tunnel = tunneling.Tunnel("h", 1, "127.0.0.1", 2, "token", None)
    tunnel.proc = SimpleNamespace(terminate=lambda: ended.append(tunnel))
    monkeypatch.setattr(tunneling, "CURRENT_TUNNELS", [tunnel])
    gradio_inside.close_tunnels()
    assert ended == [tunnel]
    assert "CURRENT_TUNNELS.append(self)" in inspect.getsource(tunneling.Tunnel._start_tunnel)
