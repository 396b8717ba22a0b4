"""What stands around the chat: its one row on a phone, the list, search, keys, theme, sharing."""

import pytest

from tests.browser.test_chat import ask, record, share, store, stored, titles
from tests.support.browser import becomes_true, finished, of_chat, opened, said, show_tab
from tests.support.fake_engine import FakeEngine
from tests.support.server import running
from tests.support.waiting import until

PHONE = {"width": 390, "height": 844}
FOCUS = "document.activeElement.id"


@pytest.fixture(scope="module")
def server():
    with running(FakeEngine()) as server:
        yield server


def test_a_phone_has_one_row_and_the_rest_behind_its_end(browser, server, script):
    script("A line.\n\n" * 60)
    with opened(browser, server.url, viewport=PHONE) as page:
        ask(page, "hi")
        area = page.evaluate(
            "(t => [t.clientHeight, t.getBoundingClientRect().top])"
            "(document.querySelector('#transcript'))"
        )
        assert area[0] >= 0.7 * PHONE["height"] and area[1] <= 56
        assert not page.get_by_role("tab").count()
        page.click("#more")
        small = (
            "[...document.querySelectorAll('.unfolded button')].filter(b => b.offsetHeight < 44)"
        )
        assert page.evaluate(f"{small}.length") == 0
        assert "Model: fake" in page.inner_text("#more-menu")
        assert "Prompt: Test" in page.inner_text("#more-menu")
        page.keyboard.press("Escape")
        assert page.evaluate(FOCUS) == "more" and not page.locator(".unfolded").count()
        show_tab(page, "About")
        page.wait_for_selector("#about")
        show_tab(page, "Chat")  # its row has the tabs' place again
        page.click("#chats-open")
        page.click("#chats-new")
        page.wait_for_selector(".welcome")
        assert not page.is_visible("#chats")


def test_another_chat_is_renamed_and_deleted_without_being_opened(page, script):
    store(page, record(1, "one", "1"), record(2, "two", "2"), record(3, "three", "3"))
    page.click("#chats-list :text('three')")
    finished(page)
    assert page.locator("#chats-list h3").all_text_contents() == ["Earlier"]
    of_chat(page, "#chats-list li:has-text('one')", "Rename")
    page.keyboard.type("first")
    page.keyboard.press("Enter")
    assert page.locator("#chats-list h3").all_text_contents() == ["Today", "Earlier"]
    of_chat(page, "#chats-list li:has-text('two')", "Delete")
    assert titles(page) == ["first", "three"] and said(page, "user") == ["three"]

    page.click("#chats-select")
    page.check("#chats-list label:has-text('first') input")
    page.click("#chats-delete:has-text('Delete 1')")
    assert titles(page) == ["three"]
    page.click("#chats-select")
    page.click("#chats-delete-all")
    page.wait_for_selector(".welcome")
    assert titles(page) == [] and stored(page) == []
    page.click("#chats-undo")
    assert titles(page) == ["three"] and len(stored(page)) == 1


def test_search_goes_to_the_turn_and_the_version_that_holds_it(page, script):
    long = record(1, *(f"turn {n} " + "word " * 60 for n in range(40)))
    other = {"parent": "n0001000002", "role": "assistant", "text": "A hidden <b>zebra</b>."}
    store(page, long | {"nodes": long["nodes"] | {"n0001ffffff": other}}, record(2, "new", "Yes."))
    page.keyboard.press("Control+k")
    assert page.evaluate(FOCUS) == "chats-search"
    page.keyboard.type("ZEBRA")
    assert page.text_content(".chat-hit") == "in another version: A hidden <b>zebra</b>."
    assert page.locator(".chat-hit mark").all_text_contents() == ["zebra"]
    page.click(".chat-hit")
    page.wait_for_selector("#log .turn.found :text('zebra')")
    assert page.locator("#log .turn").count() == 4
    page.fill("#chats-search", "turn 7")
    page.click(".chat-hit:has-text('turn 7')")
    finished(page, 20)
    seen = """(() => {
        const { top, bottom } = document.querySelector("#transcript").getBoundingClientRect();
        const all = [...document.querySelectorAll(".turn")];
        const at = all.find((turn) => turn.textContent.includes("turn 7 ")).getBoundingClientRect();
        return at.bottom > top && at.top < bottom;
    })()"""
    becomes_true(page, seen)


def test_ways_through_a_long_chat(page, script):
    store(page, record(1, *(f"turn {n} " + "word " * 60 for n in range(40))))
    page.click("#chats-list .chat-link")
    finished(page, 20)
    page.wait_for_selector("#jumps", state="hidden")
    # The question that stands at the transcript's upper edge, or next below it
    first = """() => {
        const edge = document.querySelector("#transcript").getBoundingClientRect().top;
        const all = [...document.querySelectorAll(".turn.user")];
        const there = all.find((turn) => turn.getBoundingClientRect().top >= edge);
        return Number(/turn (\\d+)/.exec(there.textContent)[1]);
    }"""
    page.keyboard.press("Alt+ArrowUp")
    at = page.evaluate(first)
    for key, to in (("Up", at - 2), ("Up", at - 4), ("Down", at - 2), ("Up", at - 4)):
        page.keyboard.press(f"Alt+Arrow{key}")
        until(lambda to=to: page.evaluate(first) == to)
    page.click("#to-end")
    page.wait_for_selector("#jumps", state="hidden")


def test_the_keys_are_listed_where_no_text_is_typed(page, script):
    page.focus("#message textarea")
    page.keyboard.type("?")
    assert page.input_value("#message textarea") == "?" and not page.locator("#keys").count()
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("?")
    assert "Search the chats" in page.inner_text("#keys[open]")
    page.keyboard.press("Escape")
    page.wait_for_selector("#keys", state="detached")
    page.click("#page-more")
    page.click("#keys-open")
    page.wait_for_selector("#keys[open]")


def test_the_theme_is_chosen_kept_and_follows_the_system(browser, server, script):
    with opened(browser, server.url, color_scheme="light") as page:
        dark = "document.body.classList.contains('dark')"
        page.click("#page-more")
        page.click(".unfolded >> text=Dark")
        becomes_true(page, dark)
        page.reload()
        page.wait_for_selector("#message textarea")
        assert page.evaluate(dark)
        page.click("#page-more")
        page.click(".unfolded >> text=Light")
        page.emulate_media(color_scheme="dark")
        page.wait_for_selector("body:not(.dark)")
        page.click("#page-more")
        page.click(".unfolded >> text=System")
        becomes_true(page, dark)
        page.emulate_media(color_scheme="light")
        becomes_true(page, f"!{dark}")


def test_a_link_of_this_computer_says_so_and_is_read_before_it_is_kept(page, server, script):
    script("A **reply**.")
    ask(page, "question")
    link = share(page)
    assert "on this computer only" in page.inner_text("#banner")
    with page.expect_download() as file:
        page.click("#share-file")
    assert file.value.suggested_filename == "question.html"
    page.goto("about:blank")
    page.goto(link)
    page.wait_for_selector("#shared strong:text('reply')")
    assert page.inner_text("#banner p") == "Shared with you: question"
    assert not page.is_visible("#message") and not page.locator("#shared .acts").count()
    page.click("#close-shared")
    page.wait_for_selector("#message textarea")
    assert len(stored(page)) == 1 and page.url.rstrip("/") == server.url
    page.goto("about:blank")
    page.goto(link)
    page.click("#open-shared")
    finished(page)
    assert said(page, "user") == ["question"] and len(stored(page)) == 2
