"""What Gradio keeps of visitors is bounded, and ends where nobody reads it."""

import contextlib
import threading
from types import SimpleNamespace

import pytest
from gradio import queueing, state_holder

from assistant.web import gradio_sessions
from assistant.web.gradio_sessions import Mailbox, Sessions, size
from tests.support.fake_engine import FakeEngine
from tests.support.server import Page, running
from tests.support.waiting import until
from tests.web.test_gradio_inside import double, in_loop, make_page

FILL = ["x <FILL_HERE>", "PSM", 9, 1, "", "", 0, 1, 0, 1, 0, None]
CHECK = ["", False]


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def sessions():
    sessions = in_loop(lambda: Sessions(make_page(), Clock()))
    sessions.capacity = 3
    return sessions


def tick(sessions, seconds=0):
    sessions.clock.now += seconds
    in_loop(sessions.delete_all_expired_state)


def put(sessions, name, *outputs):
    box = sessions._boxes[name] = Mailbox()
    for output in outputs:
        box.put_nowait(SimpleNamespace(output=output))
    sessions._queue.pending_event_ids_session[name] = {"event"}
    return box


@pytest.mark.parametrize(
    "value, held",
    [
        ("abc", 3),
        ({"data": ["abc", {"value": "de"}, None]}, 13),
        ([[["replace", ["value"], "ab"]]], 14),
        (None, 8),
    ],
)
def test_how_much_a_result_holds(value, held):
    assert size(value) == held


def test_nesting_does_not_end_the_counting():
    value = []
    for _ in range(10_000):
        value = [value]
    assert size(value) == 0


def test_a_mailbox_knows_what_it_holds(sessions):
    box = put(sessions, "a", {"data": ["x" * 50]}, {"data": ["y"]})
    box.put_nowait(SimpleNamespace())
    assert box.held == 59
    for _ in range(3):
        box.get_nowait()
    assert box.held == 0


def test_a_state_lasts_as_long_as_its_page_and_a_bit(sessions):
    sessions["a"], sessions["b"]
    sessions.pages["a"] += 1
    tick(sessions)
    tick(sessions, gradio_sessions.UNREAD_S + 1)
    assert list(sessions.session_data) == ["a"] and "a" in sessions
    sessions.pages["a"] -= 1
    sessions.left("a")
    tick(sessions, gradio_sessions.CLOSED_S - 1)
    assert list(sessions.session_data) == ["a"]
    tick(sessions, 2)
    assert not sessions.session_data and not sessions._left and not sessions.time_last_used


def test_an_open_page_whose_connection_broke_keeps_its_state(sessions):
    """Its script asks for the heartbeat once, and then never again."""
    sessions["used"], sessions["other"]
    for name in ("used", "new"):
        sessions.pages[name] += 1
        sessions.pages[name] -= 1
        sessions.left(name)
    for _ in range(3):
        tick(sessions, gradio_sessions.CLOSED_S - 1)
        tick(sessions)
        sessions["used"], sessions["new"]
    tick(sessions, gradio_sessions.UNREAD_S + 1)
    tick(sessions, gradio_sessions.UNREAD_S + 1)
    assert set(sessions.session_data) == {"used", "new"}
    tick(sessions, gradio_sessions.CLOSED_S)
    assert not sessions.session_data and not sessions._paged and not sessions._left


def test_names_of_pages_are_bounded(sessions):
    for number in range(100):
        sessions.left(f"s{number}")
    sessions.left("x" * (gradio_sessions.NAME_MAX + 1))
    assert list(sessions._paged) == ["s97", "s98", "s99"]
    tick(sessions, gradio_sessions.CLOSED_S + 1)
    assert not sessions._paged and not sessions._left


def test_of_too_many_states_those_without_a_page_leave_first(sessions):
    for name in "abcd":
        sessions[name]
        sessions.pages[name] += name != "b"
    assert list(sessions.session_data) == ["a", "c", "d"]
    sessions["e"]  # which has no page yet
    assert list(sessions.session_data) == ["c", "d", "e"]


def test_the_name_of_a_session_is_short(sessions):
    with pytest.raises(KeyError):
        sessions["x" * (gradio_sessions.NAME_MAX + 1)]
    assert not sessions.session_data


def test_results_wait_for_their_reader_and_not_for_ever(sessions):
    put(sessions, "read"), put(sessions, "unread")
    sessions.readers["read"] += 1
    tick(sessions)
    assert list(sessions._boxes) == ["read", "unread"]
    tick(sessions, gradio_sessions.UNREAD_S + 1)
    assert list(sessions._boxes) == list(sessions._queue.pending_event_ids_session) == ["read"]
    del sessions._boxes["nobody's"]  # as Gradio does at a stream's end


def test_a_new_event_waits_as_long_as_any(sessions):
    """Whatever the mailbox was before: a stream that was read to its end leaves an empty one."""
    put(sessions, "a")
    sessions._queue.pending_event_ids_session["a"].clear()
    tick(sessions)
    assert not sessions._boxes
    tick(sessions, gradio_sessions.UNREAD_S - 1)
    put(sessions, "a")
    event = SimpleNamespace(session_hash="a", alive=True)
    sessions._queue.event_ids_to_events["event"] = event
    tick(sessions, 2)
    tick(sessions, gradio_sessions.UNREAD_S)
    assert event.alive and list(sessions._boxes) == ["a"]
    tick(sessions, 1)
    assert not event.alive and not sessions._boxes


def test_results_that_are_read_are_bounded_too(sessions, monkeypatch):
    monkeypatch.setattr(gradio_sessions, "BYTES_MAX", 100)
    monkeypatch.setattr(gradio_sessions, "ALL_BYTES_MAX", 150)
    for name, count in (("a", 80), ("b", 101), ("c", 60), ("d", 90)):
        put(sessions, name, "x" * count)
        sessions.readers[name] += 1
    tick(sessions)
    assert list(sessions._boxes) == ["a", "c"]


def test_of_too_many_results_the_oldest_without_a_reader_leave(sessions, monkeypatch):
    monkeypatch.setattr(gradio_sessions, "UNREAD_MAX", 3)
    for name in "abcde":
        put(sessions, name)
    sessions.readers["a"] += 1
    in_loop(sessions.make_room)
    assert list(sessions._boxes) == ["a", "d", "e"]


def test_gradio_keeps_them_where_it_is_replaced():
    assert queueing.AsyncQueue is Mailbox
    assert state_holder.SessionState is gradio_sessions.State
    assert double("a") == "aa"


@pytest.fixture
def server():
    with running(FakeEngine(slots=50)) as server:
        yield server
        server.idle()
        server.engine.script = "Hello."
        with Page(server.url) as page:
            assert page.call("chat", message="hi") == "Hello."


def kept(server):
    sessions = server.app.state.gradio.state_holder
    return len(sessions._boxes), len(sessions.session_data), sum(sessions.readers.values())


def test_what_nobody_reads_ends(server, monkeypatch):
    """Calls, and events of a page, whose streams are never asked for."""
    seconds = gradio_sessions.UNREAD_S
    server.engine.script = ["Once ", threading.Event()]
    with Page(server.url) as page:
        number = page.event("fill-in", "click")
        for session in range(10):
            page.session = f"s{session}"
            assert page.join(number, FILL).status_code == 200
            page.post("/gradio_api/call/v2/chat", {"message": "hi"})
        monkeypatch.setattr(gradio_sessions, "UNREAD_S", 0)
        until(lambda: not server.engine.active and kept(server) == (0, 0, 0))
    monkeypatch.setattr(gradio_sessions, "UNREAD_S", seconds)
    queue = server.app.state.gradio.get_blocks()._queue
    until(lambda: not queue.event_ids_to_events)
    assert not queue.pending_event_ids_session and not server.app.state.gradio.iterators


def test_many_new_sessions_end_no_stream_that_is_read(server):
    written = threading.Event()
    server.engine.script = ["Once ", written, "upon."]
    with Page(server.url) as page, Page(server.url) as other:
        check, fill = page.event("source-check", "click"), page.event("fill-in", "click")
        with contextlib.ExitStack() as stack:
            stack.enter_context(page.http.stream("GET", f"/gradio_api/heartbeat/{page.session}"))
            page.join(fill, FILL)
            messages = stack.enter_context(page.stream())
            until(lambda: "Once" in str(next(messages)))
            for number in range(2_040):
                other.session = f"s{number}"
                assert other.join(check, CHECK).status_code == 200
            assert kept(server)[0] <= gradio_sessions.UNREAD_MAX + 1
            written.set()
            told = []
            for message in messages:
                told.append(message)
                if message["msg"] in ("process_completed", "unexpected_error"):
                    break
        assert told[-1]["msg"] == "process_completed" and not server.engine.cancelled


def test_a_session_with_an_endless_name_is_refused(server):
    with Page(server.url) as page:
        page.session = "x" * 100_000
        assert page.join(page.event("source-check", "click"), CHECK).status_code == 400
    assert kept(server)[1] == 0
