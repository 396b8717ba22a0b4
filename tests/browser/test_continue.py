"""The playground's editor in a real browser: a prompt, and what the model writes behind it."""

import dataclasses
import threading

import pytest

from tests.support.browser import opened, show_tab
from tests.support.fake_engine import FakeEngine
from tests.support.server import TEMPLATE, running, slowly
from tests.support.waiting import until
from tests.web.test_markdown import HOSTILE

LONG = dataclasses.replace(TEMPLATE, preamble="A dialogue.\n" * 30)
FORBIDDEN = "iframe, embed, object, img, video, audio, style, link, script, math"


@pytest.fixture(scope="module")
def server():
    with running(FakeEngine(), template=LONG) as server:
        yield server


@pytest.fixture
def page(page):
    show(page, "Playground")
    page.wait_for_selector("#strip:has-text('token')")
    return page


def show(page, *names):
    for name in names:
        page.get_by_role("tab", name=name, exact=True).click()


def becomes(read, value):
    """Wait until `read()` gives `value`."""
    seen = []
    try:
        until(lambda: seen.append(read()) or seen[-1] == value)
    except AssertionError:
        assert seen[-1] == value


def prompt(page):
    return page.input_value("#prompt")


def strip(page):
    return page.inner_text("#strip").strip()


def status(page):
    return page.inner_text("#continue-status")


def behind(page):
    """What stands behind the prompt."""
    return page.locator("#continuing .on").text_content()


def versions(page):
    """(name, text) of each card, for the one that is chosen with a star."""
    return [
        (
            ("*" if "chosen" in card.get_attribute("class") else "")
            + card.locator(".name").inner_text(),
            card.locator(".written").text_content(),
        )
        for card in page.locator("#continuing .version").all()
    ]


def finished(page, said="Done"):
    page.wait_for_selector("#continue:visible")
    becomes(lambda: status(page), said)


def set_field(page, name, value):
    page.fill(f"#continuing [name={name}]", value)


def go_on(page, text=None, count=None):
    if text is not None:
        page.fill("#prompt", text)
    if count:
        page.select_option("#continuing [name=count]", str(count))
    page.click("#continue")
    finished(page)


# -- a prompt is continued ---------------------------------------------------------------------


def test_it_continues_stops_and_says_what_is_wrong(page, server, script):
    more = threading.Event()
    script(["    return <b>", more, "n</b>\n<|end"])
    page.fill("#prompt", "def f(n):\n")
    page.keyboard.press("Control+Enter")
    becomes(lambda: behind(page), "    return <b>")
    page.keyboard.press("Escape")
    finished(page, "Stopped")
    assert behind(page) == "    return <b>" and "stopped" in page.inner_text(".written-acts .note")
    assert server.engine.prompt() == "def f(n):\n"

    more.set()
    set_field(page, "seed", "12")
    page.select_option("#continuing [name=preset]", "Exact")
    page.click("#continuing .more summary")
    set_field(page, "stop", "stop\n\\n\\n")
    set_field(page, "longest", "90")
    go_on(page)
    assert behind(page) == "    return <b>n</b>\n<|end"
    sampling = server.engine.requests[-1].sampling
    assert (sampling.seed, sampling.temperature) == (12, 0)
    assert server.engine.requests[-1].max_new_tokens == 90
    set_field(page, "temperature", "1.5")
    assert page.input_value("#continuing [name=preset]") == "Own"
    script("one stop two")
    go_on(page)
    assert behind(page) == "one " and server.engine.requests[-1].sampling.temperature == 1.5

    asked = len(server.engine.requests)
    for name, value, sentence in (
        ("longest", "0", "Longest must be a whole number from 1 to 8,192, not 0."),
        ("top_p", "2", "Top p must be a number from 0.001 to 1, not 2."),
        ("temperature", "", "Temperature must be a number from 0 to 2, not empty."),
    ):
        was = page.input_value(f"#continuing [name={name}]")
        set_field(page, name, value)
        page.click("#continue")
        assert status(page) == sentence
        set_field(page, name, was)
    page.fill("#prompt", "")
    page.click("#continue")
    assert status(page) == "The prompt is empty." and len(server.engine.requests) == asked


def test_special_tokens_are_chips_and_can_be_read_as_text(page, server, script):
    script("x")
    go_on(page, "<fim_prefix>a<fim_suffix>b<fim_prefix>")
    becomes(
        lambda: page.locator("#strip .special").all_inner_texts(), ["<fim_prefix>", "<fim_suffix>"]
    )
    assert strip(page).startswith("5 tokens · 3 special:") and "× 2" in strip(page)
    assert set(server.engine.requests[-1].ids) >= {1, 3}
    page.get_by_label("Read special tokens as text").check()
    becomes(lambda: page.locator("#strip .special").count(), 0)
    assert "3 that look special and stay text" in strip(page)
    go_on(page, "<fim_prefix>")
    assert min(server.engine.requests[-1].ids) >= 5

    page.get_by_label("Read special tokens as text").uncheck()
    page.fill("#prompt", "a\n<fim_middle>")
    page.get_by_label("Show tokens and ids").check()
    becomes(lambda: page.locator(".piece").all_inner_texts(), ["a102", "⏎15", "<fim_middle>2"])


def test_what_is_written_is_taken_over_or_not_and_text_is_exact(page, server, script):
    script("\t\treturn 1  \n\n\t# é🙂 ")
    text = "if x:\n\tif y:\n"
    go_on(page, text)
    page.focus("#prompt")
    page.keyboard.press("Tab")  # accepts
    whole = text + "\t\treturn 1  \n\n\t# é🙂 "
    assert prompt(page) == whole and behind(page) == ""
    page.keyboard.press("Control+z")  # the browser's own undo
    assert prompt(page) == text and behind(page) == ""
    page.keyboard.press("Control+Shift+z")
    go_on(page)
    assert server.engine.prompt() == whole
    assert behind(page) == "\t\treturn 1  \n\n\t# é🙂 "
    page.keyboard.press("ArrowLeft")  # the prompt has the focus while it goes on
    page.keyboard.press("Tab")  # from within the prompt it leads to what can be done
    assert page.evaluate("document.activeElement.textContent") == "Accept"
    page.keyboard.press("Escape")  # rejects, wherever the focus is
    assert behind(page) == "" and prompt(page) == whole
    page.keyboard.press("Tab")  # nothing to accept: it goes on to the next control
    assert page.evaluate("document.activeElement.id") != "prompt"

    # The copy that carries the continuation breaks lines as the box does.
    words = " ".join("wörd" * (n % 7 + 1) for n in range(400)) + "x" * 900 + "\n\n"
    for text in (words, words + "\t" * 90 + " end"):
        page.fill("#prompt", text)
        box, copy = page.evaluate(
            "[document.querySelector('#prompt').scrollHeight,"
            " document.querySelector('#continuing .under').offsetHeight]"
        )
        assert box == copy


def test_versions_stand_beside_each_other_and_tokens_are_gone_on_from(page, server, script):
    script(lambda request: f"abc{request.sampling.seed}")
    set_field(page, "seed", "7")
    go_on(page, "the", 3)
    assert versions(page) == [("*seed 7", "abc7"), ("seed 8", "abc8"), ("seed 9", "abc9")]
    page.get_by_role("button", name="seed 8").click()
    assert behind(page) == "abc8" and versions(page)[1][0] == "*seed 8"

    page.get_by_role("button", name="Tokens", exact=True).click()
    page.wait_for_selector(".on .tok")
    assert behind(page) == "abc8"
    bands = {each.get_attribute("class").split()[1] for each in page.locator(".on .tok").all()}
    assert bands <= {"p0", "p1", "p2", "p3", "p4"}
    page.locator(".on .tok").nth(1).click()
    page.locator(".on .tok").nth(2).hover()  # what is held stays
    assert "Token 2" in page.inner_text(".alts")
    shares = page.locator(".alt span").all_inner_texts()
    assert len(shares) == 10 and all(share.endswith("%") for share in shares)
    page.locator(".on .tok").nth(0).focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "Enter", "Tab"):
        page.keyboard.press(key)
    choice = page.locator(".alt:focus code").inner_text()
    page.keyboard.press("Enter")
    page.wait_for_selector(".version >> nth=3")
    finished(page)
    name, text = versions(page)[3]
    assert text == behind(page) == f"a{choice}abc7" and server.engine.prompt() == f"thea{choice}"
    assert name.startswith("*branch at “b” (") and f"“{choice}”" in name

    page.fill("#prompt", "another")
    assert behind(page) == "" and "as it was then" in page.inner_text(".beside")
    page.get_by_role("button", name="seed 9").click()
    assert (prompt(page), behind(page)) == ("the", "abc9")
    page.click("#prompt-undo")
    assert prompt(page) == "another"


def test_runs_are_kept_opened_again_and_deleted_with_a_way_back(page, server, script):
    script(lambda request: f" {request.sampling.seed}")
    set_field(page, "seed", "3")
    go_on(page, "first <fim_prefix>", 2)
    set_field(page, "seed", "5")
    go_on(page, "second", 1)
    page.fill("#prompt", "a draft\n\twith a tab")
    page.reload()
    show(page, "Playground")
    becomes(lambda: prompt(page), "a draft\n\twith a tab")
    assert page.input_value("#continuing [name=seed]") == "5"

    becomes(lambda: page.inner_text("#runs summary"), "Runs (2)")
    page.click("#runs summary")
    rows = page.locator("#runs li")
    assert [row.split("\n")[0] for row in rows.all_inner_texts()] == [
        "second",
        "first <fim_prefix>",
    ]
    assert "2 versions · temperature 0.2 · seed 3" in rows.nth(1).inner_text()
    rows.nth(0).get_by_role("button", name="Delete").click()
    assert rows.count() == 1
    page.click("#runs .undo button")
    assert rows.count() == 2
    page.get_by_role("button", name="first <fim_prefix>", exact=True).click()
    assert prompt(page) == "first <fim_prefix>" and behind(page) == " 3"
    assert versions(page) == [("*seed 3", " 3"), ("seed 4", " 4")]
    assert page.input_value("#continuing [name=seed]") == "3"
    asked = len(server.engine.requests)
    page.reload()  # what is shown is shown again, and nothing is asked
    show(page, "Playground")
    becomes(lambda: behind(page), " 3")
    assert len(server.engine.requests) == asked


def test_the_library_fills_a_prompt_or_the_chats_box_and_sends_nothing(page, server, script):
    page.fill("#prompt", "before")
    page.click("#library summary")
    page.wait_for_selector("#library optgroup >> nth=1", state="attached")
    page.select_option("#library select", label="Python function")
    page.get_by_label("Signature").fill("add(a, <fim_prefix>)")
    page.get_by_role("button", name="Use as prompt").click()
    filled = 'def add(a, <fim_prefix>):\n    """Return the sum of a list of numbers."""'
    becomes(lambda: prompt(page), filled)
    becomes(lambda: "1 that looks special and stays text" in strip(page), True)
    page.press("#prompt", "Control+a")  # a value is never trusted, whatever is done to the text
    page.press("#prompt", "Backspace")
    page.press("#prompt", "Control+z")
    becomes(lambda: "1 that looks special and stays text" in strip(page), True)
    page.click("#prompt-undo")
    assert prompt(page) == "before"

    page.click("#library summary")
    page.select_option("#library select", label="Write a function")
    page.locator("#library [name=language]").select_option("Rust")
    page.fill("#library [name=task]", "x" * 501)
    page.get_by_role("button", name="Put it in the chat").click()
    page.wait_for_selector("#library .fault:has-text('at most 500 characters; it has 501')")
    page.fill("#library [name=task]", "adds <b>")
    page.get_by_role("button", name="Put it in the chat").click()
    becomes(lambda: page.input_value("#message textarea"), "Write a Rust function that adds <b>.")
    assert page.is_visible("#message") and server.engine.requests == []


# -- from the chat and back --------------------------------------------------------------------


def test_a_turn_is_opened_here_and_its_continuation_brought_back(page, server, script):
    script(["The chat's <fim_middle>.", "Another\n\nHuman: no"])
    page.fill("#prompt", "typed here before")
    show(page, "Chat")
    page.fill("#message textarea", "a message with <fim_prefix>")
    page.press("#message textarea", "Enter")
    page.wait_for_selector("#log .receipt")
    (sent,) = server.engine.requests

    page.click("#log .receipt summary")
    page.click("#log .act-playground")
    becomes(lambda: status(page), "This is the chat's prompt as the model saw it.")
    assert behind(page) == "The chat's <fim_middle>."
    assert prompt(page) == "Human: a message with <fim_prefix>\n\nAssistant:"
    becomes(
        lambda: page.inner_text(".fold-button"),
        "Template, 361 tokens, folded · show it",
    )
    page.click(".fold-button")
    assert prompt(page) == server.engine.prompt()
    becomes(lambda: "1 that looks special and stays text" in strip(page), True)
    for name, value in (
        ("seed", sent.sampling.seed),
        ("temperature", sent.sampling.temperature),
        ("longest", sent.max_new_tokens),
    ):
        assert float(page.input_value(f"#continuing [name={name}]")) == value
    page.get_by_role("button", name="Tokens", exact=True).click()
    becomes(lambda: page.locator(".on .tok").count(), len("The chat's <fim_middle>."))
    page.get_by_role("button", name="Accept").click()
    becomes(lambda: "2 that look special and stay text" in strip(page), True)
    page.keyboard.press("Control+z")
    becomes(lambda: "1 that looks special and stays text" in strip(page), True)

    go_on(page)
    assert behind(page) == "Another\n"  # what ends a reply in the chat ends this one
    assert server.engine.requests[-1].ids == sent.ids  # to the token: the look-alike stayed text
    page.get_by_role("button", name="Back to the chat").click()
    page.wait_for_selector("#log .turn.assistant .said:has-text('Another')")
    assert page.inner_text("#log .turn.user .said") == "a message with <fim_prefix>"
    assert "2/2" in page.inner_text("#log .steps").replace(" ", "")
    show(page, "Playground")
    page.click("#prompt-undo")
    assert prompt(page) == "typed here before"


# -- the page ----------------------------------------------------------------------------------


def test_hostile_text_fits_a_phone_and_leaving_frees_the_slots(browser, server, script):
    everything = "\n\n".join(HOSTILE) + "a_long_name_" * 40
    script(slowly(everything, size=40, pause=0.01))
    size = {"width": 390, "height": 844}
    with opened(browser, server.url, viewport=size) as page:
        show_tab(page, "Playground")
        page.click("#continuing .play-settings > summary")
        set_field(page, "longest", "4000")
        page.get_by_label("Show tokens and ids").check()
        go_on(page, everything, 2)
        assert behind(page) == everything and versions(page)[1][1] == everything
        page.get_by_role("button", name="Tokens", exact=True).click()
        page.wait_for_selector(".on .tok")
        assert page.locator("#continuing").locator(FORBIDDEN).count() == 0
        assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")

        script(["Once ", threading.Event()])
        page.select_option("#continuing [name=count]", "3")
        page.click("#continue")
        becomes(lambda: behind(page), "Once ")
        assert server.health()["running"] == 3
    until(lambda: server.health()["running"] == 0)
