"""What is typed and written stays, in a real browser: while replies grow, where pages and servers
end, where several conversations are written at once."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading

import pytest

from assistant.paths import ROOT
from tests.browser.test_chat import ask, choose, notice, record, saved, store, stored, titles
from tests.support.browser import becomes_true, counted, finished, of_chat, opened, said, send
from tests.support.fake_engine import FakeEngine
from tests.support.server import running, slowly
from tests.support.waiting import until

MAKEFILE = "Use:\n\n```makefile\nall:\n\tcc -o app main.o\n```\n\nA row: `a\tb`."


@pytest.fixture(scope="module")
def server():
    with running(FakeEngine()) as server:
        yield server


def growing(page, text):
    page.wait_for_selector(f"#log .growing:has-text('{text}')")


def nodes(page):
    return [node for one in stored(page) for node in one["nodes"].values()]


# -- a stream that adds ------------------------------------------------------------------------


def test_a_selection_in_a_finished_block_survives_while_the_reply_grows(page, script):
    go_on, end = threading.Event(), threading.Event()
    script(["First paragraph.\n\nSecond.\n\n", go_on, "Third.\n\nFourth", end, "."])
    send(page, "hi")
    growing(page, "Second")
    page.evaluate(
        "getSelection().selectAllChildren(document.querySelector('#log .growing .said p'));"
        "window.first = document.querySelector('#log .growing .said p')"
    )
    go_on.set()
    growing(page, "Fourth")
    assert page.evaluate("getSelection().toString()") == "First paragraph."
    end.set()
    finished(page)
    assert page.evaluate("getSelection().toString()") == "First paragraph."
    assert page.evaluate("window.first === document.querySelector('#log .assistant .said p')")


def test_code_is_coloured_while_it_grows(page, script):
    end = threading.Event()
    script(["```python\ndef f():\n    return 1\n", end, "```\n"])
    send(page, "hi")
    page.wait_for_selector("#log .growing .code-text .k")
    end.set()
    finished(page)
    assert page.inner_text("#log .code-text") == "def f():\n    return 1"


def test_one_message_is_one_request(page, server, script):
    script("Yes, that is so.")
    ask(page, "one")
    asked = []
    page.on("request", lambda request: asked.append(request.url.removeprefix(server.url)))
    page.fill("#message textarea", "two")
    page.press("#message textarea", "Enter")
    finished(page, 2)
    counted(page, "history")
    assert asked == ["/page/chat"]


# -- nothing is lost ---------------------------------------------------------------------------


def test_tabs_stay_tabs(page, browser, server, script):
    script(slowly(MAKEFILE, size=3, pause=0.01))
    with opened(browser, server.url, permissions=["clipboard-read", "clipboard-write"]) as page:
        page.fill("#message textarea", "\tindented\n\tcode\t")
        page.press("#message textarea", "Enter")
        finished(page)
        code = "document.querySelector('#log .code-text').textContent"
        assert page.evaluate(code) == "all:\n\tcc -o app main.o"
        assert nodes(page)[1]["text"] == MAKEFILE
        assert server.engine.prompt().endswith("Human: \tindented\n\tcode\n\nAssistant:")
        page.click(".act-copy-code")
        page.wait_for_selector("text=Copied")
        copied = "navigator.clipboard.readText()"
        assert page.evaluate(copied) == "all:\n\tcc -o app main.o"
        page.reload()
        finished(page)
        assert page.evaluate(code) == "all:\n\tcc -o app main.o"


def test_what_is_sent_leaves_the_box_at_once_and_comes_back_if_it_is_refused(page, server, script):
    script("Yes.")
    held = threading.Event()
    route = {}
    page.route("**/page/chat", lambda each: (route.update(it=each), held.set()))
    page.fill("#message textarea", "first question")
    page.press("#message textarea", "Enter")
    page.keyboard.type("and ano")
    assert page.input_value("#message textarea") == "and ano"
    assert page.inner_text("#log .pending.user") == "first question"
    until(lambda: page.evaluate("1") and held.is_set())
    refusal = {"error": {"message": "All slots are taken."}}
    route["it"].fulfill(status=429, content_type="application/json", body=json.dumps(refusal))
    page.wait_for_selector("#chat-status:has-text('All slots are taken.')")
    assert page.input_value("#message textarea") == "first question\n\nand ano"
    assert page.locator("#log .turn").count() == 0 and stored(page) == []
    page.unroute_all()
    page.press("#message textarea", "Enter")
    finished(page)
    assert said(page, "user") == ["first question\n\nand ano"]


def test_what_was_sent_and_not_taken_up_is_a_draft_after_a_reload(page, server, script):
    script("Yes.")
    page.route("**/page/chat", lambda each: None)
    send(page, "not heard")
    page.wait_for_selector("#log .pending.user")
    page.reload()
    page.unroute_all()
    until(lambda: page.input_value("#message textarea") == "not heard")
    page.press("#message textarea", "Enter")
    finished(page)


def test_a_closed_tab_leaves_what_had_arrived(browser, server, script):
    script(["Half of it. ", threading.Event()])
    with opened(browser, server.url) as page:
        send(page, "hi")
        growing(page, "Half of it.")
        other = page.context.new_page()
        page.close()
        other.goto(server.url)
        other.click("#chats-list .chat-link")
        finished(other)
        assert said(other, "assistant") == ["Half of it."]
        assert other.inner_text("#log .mark") == "Stopped"
    server.idle()


def test_emoji_count_as_the_server_counts(browser):
    engine = FakeEngine("Yes.", window=1_000_000)
    with running(engine) as server, opened(browser, server.url) as page:
        count_emoji(page, server)


def count_emoji(page, server):
    ask(page, "😀" * 100_000)
    assert len(nodes(page)) == 2
    before = len(server.engine.requests)
    send(page, "😀" * 100_001)
    page.wait_for_selector("#chat-status:has-text('100,001')")
    assert page.input_value("#message textarea") == "😀" * 100_001
    assert len(server.engine.requests) == before
    ask(page, "healthy")
    page.reload()
    finished(page, 2)


def start(port, *flags):
    command = [sys.executable, ROOT / "app.py", "--port", str(port), *flags]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)


def test_a_killed_server_leaves_what_had_arrived_and_continue_goes_on(browser):
    """The embedded model in float32: what was cut off and continued is the unbroken reply."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    url, flags = f"http://127.0.0.1:{port}", ("--dtype", "float32")
    program = start(port, *flags)
    page = browser.new_page()
    try:
        until(lambda: up(url), 120)
        page.goto(url)
        page.wait_for_selector("#message textarea")
        page.click("#settings-button")
        page.fill("[name=temperature]", "0")
        question = "What does zip do in Python?"
        ask(page, question)
        (whole,) = (node["text"] for node in nodes(page) if node["role"] == "assistant")

        page.click("#chats-new")
        send(page, question)
        page.wait_for_selector("#log .growing .said p:not(.dots)")
        program.send_signal(signal.SIGKILL)
        program.wait()
        finished(page)
        page.wait_for_selector("#log .mark:has-text('Stopped')")
        cut = next(node for node in nodes(page) if node.get("finish") == "cancelled")
        assert whole.startswith(cut["text"]) and cut["text"] and cut["ids"]

        program = start(port, *flags)
        until(lambda: up(url), 120)
        page.click("#log .act-continue")
        page.wait_for_selector("#log .steps :text('2/2')")
        finished(page)
        assert [node["text"] for node in nodes(page)].count(whole) == 2
    finally:
        page.close()
        if os.name == "posix":
            program.kill()
            program.wait()


def up(url):
    import httpx

    try:
        return httpx.get(f"{url}/health").status_code == 200
    except httpx.HTTPError:
        return False


# -- each conversation has its own state -------------------------------------------------------


def test_two_tabs_write_three_conversations_each_and_none_are_crossed(browser, server, script):
    gates = {name: threading.Event() for name in "abcdef"}

    def write(request):
        prompt = server.engine.prompt()
        (name,) = re.findall(r"about (\w)\n\nAssistant:$", prompt)
        return [f"Begun {name}. ", gates[name], f"Ended {name}."]

    script(write)
    with opened(browser, server.url) as one:
        two = one.context.new_page()
        two.goto(server.url)
        tabs = {one: "abc", two: "def"}
        for page, names in tabs.items():
            for name in names:
                if name != names[0]:
                    page.click("#chats-new")
                send(page, f"about {name}")
                if name != names[2]:
                    growing(page, f"Begun {name}")
            page.wait_for_selector("#chat-status:has-text('Waits until another reply')")
            assert page.locator("#chats-list .spinner").count() == 2
            page.click(f"#chats-list .chat-link:has-text('about {names[0]}')")
            until(lambda page=page: page.inner_text("#chat-status") == "")  # not the third's
            page.fill("#message textarea", f"draft {names[0]}")
        gates["b"].set()
        gates["e"].set()
        for name in "cf":
            gates[name].set()
        for page, names in tabs.items():
            page.click("#message .stop-button")  # of the first alone
            finished(page)
            assert said(page, "assistant") == [f"Begun {names[0]}."]
            for name in names[1:]:
                page.click(f"#chats-list .chat-link:has-text('about {name}')")
                until(
                    lambda page=page, n=name: said(page, "assistant") == [f"Begun {n}. Ended {n}."]
                )
                assert page.input_value("#message textarea") == ""
            page.click(f"#chats-list .chat-link:has-text('about {names[0]}')")
            assert page.input_value("#message textarea") == f"draft {names[0]}"
        found = {tuple(node["text"] for node in each["nodes"].values()) for each in stored(one)}
        assert found == {
            *((f"about {name}", f"Begun {name}.") for name in "ad"),
            *((f"about {name}", f"Begun {name}. Ended {name}.") for name in "bcef"),
        }
        until(lambda: len(titles(one)) == len(titles(two)) == 6)


def test_a_conversation_longer_than_a_request_goes_on(page, server, script):
    script("Yes.")
    long = record(1, *(f"turn {n} " + "word " * 150 for n in range(2_000)))
    store(page, long)
    page.click("#chats-list .chat-link")
    becomes_true(page, "document.querySelectorAll('#log .turn').length === 2000")
    send(page, "and now?")
    becomes_true(page, "document.querySelectorAll('#log .turn').length === 2002")
    finished_text = "#log .turn:last-child .said:has-text('Yes.')"
    page.wait_for_selector(finished_text)
    assert "turn 1999" in server.engine.prompt() and "turn 0 " not in server.engine.prompt()
    page.wait_for_selector("#log .turn.gone")
    page.locator("#log .receipt").last.locator("summary").click()
    left = page.locator("#log .receipt tr:has-text('Left out')").last.inner_text()
    assert int(re.search(r"\d+", left.replace(",", ""))[0]) > 900
    page.locator("#log .act-again").last.click()
    page.wait_for_selector("#log .again :text('the same text')")


# -- languages and hands -----------------------------------------------------------------------


def test_keys_belong_to_an_input_method_while_it_composes(page, server, script):
    script("Yes.")
    page.fill("#message textarea", "nihongo")
    press = (
        "([selector, key]) => document.querySelector(selector).dispatchEvent("
        "new KeyboardEvent('keydown', {key, isComposing: true, bubbles: true}))"
    )
    page.evaluate(press, ["#message textarea", "Enter"])
    assert page.input_value("#message textarea") == "nihongo" and not page.query_selector(".turn")
    page.press("#message textarea", "Enter")
    finished(page)
    of_chat(page, "#chats-list li.open", "Rename")
    page.fill("#chats-list input", "x")
    page.evaluate(press, ["#chats-list input", "Enter"])
    page.evaluate(press, ["#chats-list input", "Escape"])
    assert page.locator("#chats-list input").count() == 1
    page.press("#chats-list input", "Enter")
    assert titles(page) == ["x"]


def test_enter_is_a_new_line_where_a_finger_types(browser, server, script):
    script("Yes.")
    phone = {"has_touch": True, "is_mobile": True, "viewport": {"width": 390, "height": 844}}
    with opened(browser, server.url, **phone) as page:
        page.fill("#message textarea", "one")
        page.press("#message textarea", "Enter")
        assert page.input_value("#message textarea") == "one\n"
        page.keyboard.type("two")
        page.tap("#message .submit-button")
        finished(page)
        assert said(page, "user") == ["one\ntwo"]


def test_text_has_its_own_direction_and_code_goes_left_to_right(page, script):
    script("القائمة هي مجموعة من العناصر، مثل `[1, 2, 3]`.\n\n1. الأول")
    ask(page, "ما هي القائمة؟")
    direction = "selector => getComputedStyle(document.querySelector(selector)).direction"
    for selector in ("#log .user .said .typed", "#log .assistant .said p", "#log .assistant li"):
        assert page.evaluate(direction, selector) == "rtl", selector
    assert page.evaluate(direction, "#log .assistant code") == "ltr"


def test_a_title_ends_with_a_whole_character(page, script):
    script("Yes.")
    family = "👨\u200d👩\u200d👧"
    ask(page, "x" * 57 + family * 3)
    assert titles(page) == ["x" * 57 + "…"]


def test_copying_works_without_a_secure_context(browser, script, server):
    script("A reply.")
    with opened(browser, server.url, permissions=["clipboard-read", "clipboard-write"]) as page:
        ask(page, "hi")
        page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
        page.click(".turn.assistant .act-copy-text")
        page.wait_for_selector("text=Copied")
        other = page.context.new_page()
        other.goto(server.url)
        assert other.evaluate("navigator.clipboard.readText()") == "A reply."


# -- in and out --------------------------------------------------------------------------------


def test_what_is_exported_as_markdown_reads_back(page, script):
    reply = "Use this:\n\n```python\ndef f():\n    return 1"
    message = "# fix this please\nimport os\n\n    indented = 1\n- x"
    store(page, record(1, "Show me code.", reply, message, "## Question\n\nDone."))
    page.click("#chats-list .chat-link")
    finished(page, 2)
    page.click("#export")
    text, name = saved(page, lambda: page.click("#export-menu >> text=Markdown"))
    of_chat(page, "#chats-list li.open", "Delete")
    choose(page, text, name)
    notice(page, "1 conversation imported")
    assert [node["text"] for node in nodes(page)] == [
        "Show me code.", reply, message, "## Question\n\nDone.",
    ]  # fmt: skip


def test_conversations_of_other_programs_come_in(page, script):
    messages = [{"role": "system", "content": "x"}, {"role": "user", "content": "How?"},
                {"role": "assistant", "content": "So."}]  # fmt: skip
    choose(page, json.dumps(messages))
    notice(page, "1 conversation imported. Left out: 1 system message")
    mapping = {
        "r": {"id": "r", "message": None, "parent": None, "children": ["a"]},
        "a": {"id": "a", "parent": "r", "children": [], "message": {
            "author": {"role": "user"},
            "content": {"content_type": "text", "parts": ["What is a heap?"]}}},
    }  # fmt: skip
    choose(page, json.dumps([{"title": "Heaps", "mapping": mapping, "current_node": "a"}]))
    until(lambda: "Heaps" in titles(page))
    page.click("#chats-list .chat-link:has-text('How?')")
    finished(page)
    page.click("#export")
    text, _ = saved(page, lambda: page.click("#export-menu >> text=OpenAI messages"))
    assert json.loads(text)["messages"] == messages[1:]
