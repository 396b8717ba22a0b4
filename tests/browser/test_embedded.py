"""The program as a newcomer starts it, with the model that ships with it, in a real browser: each
thing that chat and playground promise once, on a desk and on a phone.

`make pictures` keeps a picture of each in docs/images.
"""

import csv
import os
import re
import signal
import tomllib
from pathlib import Path

import pytest

from assistant.web.pages.chat.tab import CONTINUES_EMBEDDED
from assistant.web.pages.playground.fill_tab import HOW_EMBEDDED
from tests.browser.test_chat import ask, stored
from tests.browser.test_continue import behind, go_on, set_field, strip, versions
from tests.browser.test_playground import becomes, compared, show, written
from tests.browser.test_playground import finished as all_finished
from tests.support.browser import counted, finished, opened, said, send
from tests.support.waiting import until
from tests.web.test_app import start

PICTURES = os.environ.get("PICTURES")  # a folder
SIZES = {"desk": (1280, 800), "phone": (390, 844)}
QUESTION = "What does itertools.accumulate do?"


@pytest.fixture(scope="module")
def url():
    process = start()
    try:
        yield re.search(r"http://\S+", process.stdout.readline())[0]
    finally:
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM


# The other tests of the page are at a desk, too.
@pytest.fixture(params=[pytest.param("desk", marks=pytest.mark.soak), "phone"])
def size(request):
    return request.param


@pytest.fixture
def page(browser, url, size):
    width, height = SIZES[size]
    with opened(browser, url, viewport={"width": width, "height": height}) as page:
        page.set_default_timeout(60_000)
        yield page


@pytest.fixture
def picture(page, size):
    """Nothing may stand out of the window; and where pictures are wanted, one is taken."""

    def take(name, then=lambda: None):
        assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")
        then()
        if PICTURES:
            page.screenshot(path=Path(PICTURES) / f"{name}-{size}.png")

    return take


def top(page):
    page.evaluate("scrollTo(0, 0)")


def to(page, selector):
    page.locator(selector).first.evaluate("e => e.scrollIntoView({block: 'start'})")


def settings(page, **values):
    page.click("#settings-button")
    for name, value in values.items():
        page.fill(f"[name={name}]", value)
        page.press(f"[name={name}]", "Tab")


def press(page, size, name):
    """Share, or a kind of file to export."""
    if size == "phone":
        page.click("#more")
    elif name != "Share":
        page.click("#export")
    page.click("#share" if size == "desk" and name == "Share" else f".unfolded >> text={name}")


def open_list(page, size):
    if size == "phone":
        page.click("#chats-open")


# -- chat ------------------------------------------------------------------------------------


def test_1_conversations(page, size, picture):
    page.click(".act-example >> nth=0")
    finished(page)
    assert "accumulate" in said(page, "assistant")[0]
    open_list(page, size)
    page.click("#chats-new")
    page.wait_for_selector(".welcome")
    ask(page, "How do I read a file line by line?")
    assert "for line in file" in said(page, "assistant")[0]
    picture("chat")
    page.reload()
    finished(page)
    open_list(page, size)
    assert page.locator("#chats-list .chat-title").count() == 2
    picture("conversations")


def test_2_branches(page, picture):
    settings(page, temperature="1", max_new_tokens="9")
    ask(page, QUESTION)
    assert page.inner_text("#log .mark") == "Cut at the reply's length limit"
    cut = said(page, "assistant")[0]
    page.fill("[name=max_new_tokens]", "200")
    page.press("[name=max_new_tokens]", "Tab")
    page.click("#log .act-continue")
    page.wait_for_selector("#log .steps :text('2/2')")
    finished(page)
    assert said(page, "assistant")[0].startswith(cut)
    page.click("#log .act-regenerate")
    page.wait_for_selector("#log .steps :text('3/3')")
    finished(page)
    page.click("#settings-button")
    picture("branches")


def test_3_the_ledger(page, picture):
    ask(page, QUESTION, "And what does it take?")
    page.hover("#log .turn.user >> nth=0")
    page.click("#log .turn.user >> nth=0 >> .act-pin")
    counted(page, "pinned")
    page.fill("#message textarea", "7 " * 3450)
    page.wait_for_selector("#log .turn.gone")
    assert page.locator("#log .turn.user >> nth=0").get_attribute("class") == "turn user"
    picture("ledger")


def test_4_receipts(page, picture):
    ask(page, QUESTION)
    fold = page.locator("#log .receipt")
    # What is said of sources may move it away from under the pointer.
    until(lambda: fold.evaluate("d => d.open") or fold.locator("summary").click())
    assert "tech-assistant-7m" in page.inner_text("#log .receipt table")
    page.click("#log .act-again")
    page.wait_for_selector("#log .again :text('the same text')")
    picture("receipt")
    page.click("#log .act-saw")
    page.wait_for_selector("dialog.saw")
    text = "".join(page.locator(".seen .seen-token").all_text_contents())
    assert text.endswith(f"{QUESTION}\n\nAssistant:".replace("\n", "↵\n"))
    picture("saw")


def test_5_sharing(page, url, size, picture):
    ask(page, QUESTION)
    press(page, size, "Share")
    link = page.input_value("#share-link")
    picture("share")
    reply = said(page, "assistant")
    guest = page.context.browser.new_page()
    guest.goto(link)
    guest.click("#open-shared")
    finished(guest)
    assert said(guest, "assistant") == reply
    guest.close()
    with page.expect_download() as saved:
        press(page, size, "HTML")
    assert "<script" not in saved.value.path().read_text(encoding="utf-8")


def test_6_notices_and_keys(page, picture):
    settings(page, max_new_tokens="12")
    send(page, "Write a function that adds two numbers")
    finished(page)
    page.click("#settings-button")
    assert page.inner_text("#log .mark") == "Cut at the reply's length limit"
    assert page.get_attribute("#transcript #spoken, #spoken", "aria-live") == "polite"
    picture("notices")
    page.keyboard.press("Control+Shift+o")
    page.wait_for_selector(".welcome")
    page.keyboard.press("Control+k")
    assert page.evaluate("document.activeElement.id") == "chats-search"


# -- playground ------------------------------------------------------------------------------


def settings_shown(page):
    """On a phone they are folded."""
    if not page.is_visible("#continuing [name=seed]"):
        page.click("#continuing .play-settings > summary")


def test_7_completion(page, picture):
    show(page, "Playground")
    assert page.get_attribute("#prompt", "placeholder") == CONTINUES_EMBEDDED
    settings_shown(page)
    set_field(page, "longest", "40")
    set_field(page, "seed", "1")
    page.select_option("#continuing [name=preset]", "Varied")
    page.get_by_label("Show tokens and ids").check()
    go_on(page, "<|endoftext|>def add(a, b):\n", 2)
    page.wait_for_selector("#strip .special")
    assert page.locator("#strip .special").all_inner_texts()[0] == "<|endoftext|>"
    assert all(text for _, text in versions(page))
    picture("completion")


def test_8_fill_in(page, picture):
    show(page, "Playground", "Fill in")
    assert HOW_EMBEDDED in page.inner_text("#playground")
    text = "def add(a, b):\n    return <FILL_HERE>\n\n\nprint(add(1, 2))\n"
    page.fill("#fill textarea", text)
    page.get_by_label("Candidates").first.fill("2")
    page.get_by_label("New tokens, at most").last.fill("12")
    page.click("#fill-in")
    all_finished(page, 2, "#fills")
    picture("fill", lambda: to(page, "#fills"))
    assert all(
        whole.endswith("print(add(1, 2))") for whole in map(str.strip, written(page, "#fills"))
    )
    page.click("#fills .do-take >> nth=0")
    becomes(lambda: "<FILL_HERE>" in page.input_value("#fill textarea"), False)


def test_9_tokens(page, picture):
    ask(page, QUESTION)
    page.click("#log .receipt summary")
    page.click("#log .act-playground")
    becomes(lambda: bool(behind(page)), True)
    reply = behind(page)
    page.get_by_role("button", name="Tokens", exact=True).click()
    page.wait_for_selector(".on .tok")
    assert "".join(page.locator(".on .tok").all_text_contents()) == reply
    page.locator(".on .tok").nth(2).click()
    page.wait_for_selector(".alts :text('Token 3')")
    picture("tokens", lambda: to(page, ".editor"))
    page.click(".alt >> nth=1")
    page.wait_for_selector(".version >> nth=1")
    page.wait_for_selector("#continue:visible")


def test_10_prompts_compared(page, picture, tmp_path):
    show(page, "Playground", "Compare")
    page.fill("#compare-typed textarea", f"{QUESTION}\n\nWhat does zip do?")
    page.get_by_label("Tech Assistant", exact=True).check()
    page.click("#compare")
    compared(page)
    assert page.inner_text("#compare-progress .md") == "4 of 4 replies"
    picture("compare", lambda: to(page, "#compare-chart"))
    with page.expect_download() as saved:
        page.click("#save-csv")
    rows = saved.value.path().read_text(encoding="utf-8").splitlines(True)
    assert len(list(csv.DictReader(rows))) == 4
    show(page, "Template")
    page.wait_for_selector("#template-try:enabled")
    with page.expect_download() as saved:
        page.click("#save-toml")
    assert tomllib.loads(saved.value.path().read_text(encoding="utf-8"))["user"] == "Human:"
    picture("edit", lambda: top(page))


def test_11_there_and_back(page, picture):
    ask(page, QUESTION)
    first = said(page, "assistant")
    page.click("#log .receipt summary")
    page.click("#log .act-playground")
    becomes(lambda: page.input_value("#prompt").endswith(f"{QUESTION}\n\nAssistant:"), True)
    settings_shown(page)
    set_field(page, "seed", "5")
    set_field(page, "longest", "60")
    go_on(page)
    picture("there-and-back", lambda: to(page, ".editor"))
    page.get_by_role("button", name="Back to the chat").click()
    page.wait_for_selector("#log .steps :text('2/2')")
    page.get_by_label("Earlier version").click()
    assert said(page, "assistant") == first


def test_12_the_library(page, url, picture):
    page.goto(f"{url}/?prompt=tech-assistant&q=What%20is%20zip%3F")
    becomes(lambda: page.input_value("#message textarea"), "What is zip?")
    page.wait_for_selector("#template-chip:has-text('Tech Assistant')", state="attached")
    assert stored(page) == []  # nothing was sent
    show(page, "Playground")
    page.click("#library summary")
    page.wait_for_selector("#library optgroup >> nth=1", state="attached")
    page.select_option("#library select", label="Python function")
    page.get_by_label("Signature").fill("add(a, b)")
    picture("library")
    page.get_by_role("button", name="Use as prompt").click()
    becomes(lambda: "def add(a, b):" in page.input_value("#prompt"), True)
    assert "tokens" in strip(page)


def test_13_where_it_comes_from(page, picture):
    """A sentence of the documentation, which the model repeats."""
    settings(page, temperature="0")
    page.click("#settings-button")
    send(page, "How do I use zip in Python?")
    page.wait_for_selector("#log mark.match")
    line = page.inner_text("#log .sources a")
    assert re.match(r"Matches library/functions.rst.txt, lines \d+–\d+, PSF-2.0", line)
    page.focus("#log mark.match")
    assert page.inner_text("#match-tip").startswith(line)
    picture("sources")
    page.keyboard.press("Escape")
    show(page, "Attribution")
    page.fill("#source-query :is(input, textarea)", "“from each of the iterables” zip")
    page.click("#source-search")
    page.wait_for_selector(".hit")
    assert page.inner_text(".hit h3 >> nth=0").startswith("library/itertools.rst.txt")
    picture("search")
    show(page, "About")
    page.wait_for_selector("#about :text('tech-assistant-7m') >> nth=1")
    picture("about")
