"""The pages in a real browser, on a real server with a scripted engine."""

import threading

import pytest

from assistant.settings import Settings
from tests.support.browser import becomes_true, finished, opened, said, send, show_tab, status
from tests.support.fake_engine import FakeEngine
from tests.support.server import running, slowly
from tests.support.waiting import until
from tests.web.test_markdown import HOSTILE

CODE = "Here it is:\n\n```python\nfor n in range(3):\n    print(n)\n```\n\nIt **counts**."
FORBIDDEN = "form, iframe, embed, object, img, video, audio, svg, style, link, script, input, math"


@pytest.fixture(scope="module")
def server():
    engine = FakeEngine()
    with running(engine, examples=("What is a list?", "What is a dict?")) as server:
        yield server


def test_ask_watch_stop_ask_again_reload(page, server, script):
    go_on = threading.Event()
    script(["First words. ", go_on, "Last words."])
    send(page, "What is a list?")
    page.wait_for_selector("#log .growing :text('First words.')")
    assert said(page, "user") == ["What is a list?"]
    assert page.input_value("#message textarea") == ""

    page.click("#message .stop-button")
    finished(page)
    assert said(page, "assistant") == ["First words."]
    assert page.inner_text("#log .mark") == "Stopped"
    server.idle()

    go_on.set()
    send(page, "And now?")
    finished(page, 2)
    assert said(page, "assistant")[1] == "First words. Last words."
    assert "tokens/s" in page.inner_text("#log .turn:last-child .receipt summary")
    assert status(page) == ""

    page.reload()
    finished(page, 2)  # the conversation is the browser's
    send(page, "Again?")
    finished(page, 3)


def test_enter_sends_and_shift_enter_breaks_the_line(page, script):
    script("Yes.")
    page.fill("#message textarea", "one")
    page.press("#message textarea", "Shift+Enter")
    page.type("#message textarea", "    two")
    page.press("#message textarea", "Enter")
    finished(page)
    assert said(page, "user") == ["one\n    two"]


def test_enter_many_times_asks_once(page, server, script):
    script(slowly("A slow reply."))
    before = len(server.engine.requests)
    page.fill("#message textarea", "one")
    for _ in range(5):
        page.press("#message textarea", "Enter")
    finished(page)
    assert len(server.engine.requests) == before + 1
    assert said(page, "assistant") == ["A slow reply."]


def test_a_refused_message_stays_in_the_box(page, script):
    script("Yes.")
    send(page, "a" * 100_001)
    page.wait_for_selector("#chat-status:has-text('100,000')")
    assert len(page.input_value("#message textarea")) == 100_001
    send(page, "short")
    finished(page)


def test_examples_are_asked_at_a_click(page, script):
    script("A sequence.")
    page.click("text=What is a list?")
    finished(page)
    assert said(page, "user") == ["What is a list?"]


def test_copies_are_exact(browser, server, script):
    script(CODE)
    with opened(browser, server.url, permissions=["clipboard-read", "clipboard-write"]) as page:
        send(page, "a < b && <b>\n    c")
        finished(page)
        clipboard = "navigator.clipboard.readText()"
        page.click(".act-copy-code")
        page.wait_for_selector("text=Copied")
        assert page.evaluate(clipboard) == "for n in range(3):\n    print(n)"
        page.click(".turn.assistant .act-copy-text")
        becomes_true(page, f"{clipboard}.then(text => text.startsWith('Here'))")
        assert page.evaluate(clipboard) == CODE
        page.hover(".turn.user")
        page.click(".turn.user .act-copy-text")
        becomes_true(page, f"{clipboard}.then(text => text.startsWith('a <'))")
        assert page.evaluate(clipboard) == "a < b && <b>\n    c"


def test_replies_are_markdown(page, script):
    script(CODE)
    send(page, "hi")
    finished(page)
    assert page.inner_text(".turn.assistant strong") == "counts"
    assert page.locator(".code-text .k").count() > 0  # highlighted


@pytest.mark.parametrize("by", ["user", "model"])
def test_hostile_text_stays_text(page, script, by):
    everything = "\n\n".join(HOSTILE)
    script(slowly(everything, size=40, pause=0.01) if by == "model" else "Yes.")
    send(page, everything if by == "user" else "hi")
    finished(page)
    assert page.locator("#transcript").locator(FORBIDDEN).count() == 0
    assert page.locator(".turn [formaction], .turn [style]").count() == 0
    assert page.locator(".turn a:not([href^=http])").count() == 0
    shown = page.inner_text("#transcript")
    assert "<script>alert(1)</script>" in shown and "<form action=https" in shown
    if by == "user":
        assert everything[: everything.index("```")] in said(page, "user")[0]


def test_long_and_broken_markdown_does_not_stop_the_page(page, script):
    broken = "`" * 10_000 + "\n" + "- " * 300 + "\n```python\n" + "x = 1  # " + "y" * 20_000
    script([broken[at : at + 4000] for at in range(0, len(broken), 4000)])
    page.evaluate("window.alive = 0; setInterval(() => window.alive++, 20)")
    send(page, "hi")
    finished(page)
    before = page.evaluate("window.alive")
    becomes_true(page, f"window.alive > {before}")


def test_an_empty_reply_is_said(page, script):
    script("")
    send(page, "hi")
    finished(page)
    assert "No text came back" in page.inner_text("#log")


def test_what_left_the_window_is_marked(browser):
    engine = FakeEngine("word " * 60, window=1024)
    with running(engine, max_new_tokens=320) as server, opened(browser, server.url) as page:
        for number in range(1, 6):
            send(page, f"message {number}")
            finished(page, number)
        page.wait_for_selector(".left-out")
        assert page.locator(".turn.gone").count() > 0
        assert status(page) == ""


@pytest.mark.parametrize("scheme, light", [("light", True), ("dark", False)])
def test_the_page_follows_the_systems_colours(browser, server, scheme, light):
    with opened(browser, server.url, color_scheme=scheme) as page:
        page.wait_for_selector(".welcome")
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (colour == "rgb(255, 255, 255)") == light


@pytest.mark.parametrize("width, height", [(360, 640), (390, 844), (1280, 800)])
def test_it_fits_the_window(browser, server, script, width, height):
    script(CODE + "\n\n" + "`" + "long_name_" * 30 + "`\n\n|a|b|\n|-|-|\n|" + "x" * 90 + "|y|")
    with opened(browser, server.url, viewport={"width": width, "height": height}) as page:
        send(page, "hi " * 100)
        finished(page)
        wide = "document.documentElement.scrollWidth > innerWidth"
        assert not page.evaluate(wide)
        inside = "(t => t.scrollWidth - t.clientWidth)(document.querySelector('#transcript'))"
        assert page.evaluate(inside) == 0
        box = page.locator("#message").bounding_box()
        assert box["y"] + box["height"] <= height and box["width"] > width * 0.6
        show_tab(page, "Playground")
        page.wait_for_selector("#continue")
        assert not page.evaluate(wide)


def test_the_transcript_stays_at_its_end(page, script):
    script(slowly("A line.\n\n" * 60, size=30, pause=0.01))
    send(page, "hi")
    finished(page)
    at_end = "(t => t.scrollHeight - t.clientHeight - t.scrollTop < 60)"
    becomes_true(page, at_end + "(document.querySelector('#transcript'))")
    # Text may come between the scrolling and its event.
    page.evaluate("document.querySelector('#transcript').scrollTop -= 30")
    page.evaluate("new Promise(requestAnimationFrame)")
    page.evaluate("""() => {
        const more = Object.assign(document.createElement("div"), {style: "height: 500px"});
        document.querySelector("#transcript").scrollTop += 30;
        document.querySelector("#log").append(more);
    }""")
    becomes_true(page, at_end + "(document.querySelector('#transcript'))")


def test_a_screen_reader_hears_the_status_and_the_finished_reply_once(page, script):
    go_on = threading.Event()
    script(["Yes, **", go_on, "certainly**."])
    send(page, "hi")
    page.wait_for_selector("#log .growing :text('Yes')")
    assert page.text_content("#spoken") == ""
    go_on.set()
    finished(page)
    assert page.get_attribute("#chat-status", "role") == "status" and status(page) == ""
    assert page.text_content("#spoken") == "Yes, certainly."
    assert page.locator("#spoken[aria-live=polite]").count() == 1
    assert page.locator("#transcript [aria-live]").count() == 0  # not every update of the text
    assert page.get_by_role("heading", name="You said").count() == 1


def test_closing_the_tab_frees_the_slot(browser, server, script):
    script(["Once ", threading.Event()])
    with opened(browser, server.url) as page:
        send(page, "hi")
        page.wait_for_selector("#log .growing :text('Once')")
        assert server.health()["running"] == 1
    until(lambda: server.health()["running"] == 0)


def test_two_tabs_are_two_conversations(browser, server, script):
    script(["For the first.", "For the second."])
    server.engine.requests.clear()
    with opened(browser, server.url) as one, opened(browser, server.url) as two:
        send(one, "one")
        finished(one)
        send(two, "two")
        finished(two)
        assert said(one, "assistant") == ["For the first."]
        assert said(two, "user") == ["two"]


def test_nothing_but_conversations_is_kept_in_the_browser(page, script):
    script("A reply.")
    send(page, "a question")
    finished(page)
    keys = page.evaluate("[...Object.keys(localStorage), ...Object.keys(sessionStorage)]")
    assert [key for key in keys if not key.startswith("tech-assistant/")] == []
    assert page.evaluate("document.cookie") == ""


@pytest.mark.parametrize("failing", ["store/store.js", "main.js"])
@pytest.mark.parametrize("how", [{"status": 503}, {"body": "{", "content_type": "text/javascript"}])
def test_a_script_that_does_not_load_is_said(browser, server, script, failing, how):
    script("Yes.")
    page = browser.new_page()
    page.route(f"**/page/static/{failing}", lambda route: route.fulfill(**how))
    page.goto(server.url)
    page.wait_for_selector("[role=alert]:has-text('did not load')")
    page.unroute_all()
    page.reload()
    send(page, "hi")
    finished(page)
    page.close()


def test_on_a_space_nothing_is_asked_of_other_hosts(browser, monkeypatch):
    monkeypatch.setenv("SYSTEM", "spaces")
    monkeypatch.setenv("SPACE_ID", "me/mine")
    settings = Settings(port=0, on_space=True, space_host="me-mine.hf.space")
    with running(FakeEngine("Hi."), settings) as server, opened(browser, server.url) as page:
        send(page, "hi")
        finished(page)


def test_a_lost_server_is_said_and_its_end_marks_the_reply(browser):
    page = browser.new_page()
    engine = FakeEngine(["Once ", threading.Event()])
    with running(engine) as server:
        page.goto(server.url)
        page.wait_for_selector("#message textarea")
        send(page, "hi")
        page.wait_for_selector("#log .growing :text('Once')")
    finished(page)
    assert page.inner_text("#log .mark") == "Stopped"
    send(page, "hello?")
    page.wait_for_selector("#chat-status:has-text('cannot be reached')")
    assert page.input_value("#message textarea") == "hello?"
    with running(FakeEngine("Back."), Settings(port=int(server.url.rpartition(":")[2]))):
        finished(page)  # nothing typed or said is lost
        assert page.input_value("#message textarea") == "hello?"
        page.press("#message textarea", "Enter")
        finished(page, 2)
        assert said(page, "assistant") == ["Once", "Back."]
    page.close()


def test_the_login_page_lets_in(browser):
    settings = Settings(port=0, auth=("ada", "secret"))
    with running(FakeEngine("Hi."), settings) as server:
        page = browser.new_page()
        page.goto(server.url)
        page.get_by_label("username").fill("ada")
        page.get_by_label("password").fill("secret")
        page.get_by_role("button", name="Login").click()
        page.wait_for_selector("#message textarea")
        send(page, "hi")
        finished(page)
        page.close()
