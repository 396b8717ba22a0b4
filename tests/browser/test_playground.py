"""The playground in a real browser, on a real server with a scripted engine."""

import contextlib
import csv
import json
import threading

import pytest
from playwright.sync_api import TimeoutError

from tests.support.browser import opened, show_tab
from tests.support.fake_engine import FakeEngine
from tests.support.server import running
from tests.support.waiting import until
from tests.web.test_markdown import HOSTILE

FORBIDDEN = "form, iframe, embed, object, img, video, audio, style, link, script, math"


@pytest.fixture(scope="module")
def server():
    with running(FakeEngine()) as server:
        yield server


@pytest.fixture
def page(page):
    show(page, "Playground")
    return page


def show(page, *names):
    for name in names:
        show_tab(page, name)


def becomes(read, value):
    """Wait until `read()` gives `value`."""
    seen = []
    try:
        until(lambda: seen.append(read()) or seen[-1] == value)
    except AssertionError:
        assert seen[-1] == value


def said(page, name):
    return page.inner_text(f"#{name}-status .md")


def written(page, cards="#fills"):
    return page.locator(f"{cards} .written").all_text_contents()


def finished(page, count=1, cards="#fills"):
    """Wait for so many finished replies on cards."""
    becomes(lambda: page.locator(f"{cards} .foot button:first-of-type").count(), count)
    page.wait_for_selector("#playground .run button.primary:visible")


# -- holes -----------------------------------------------------------------------------------


def test_holes_are_filled_in_turn_and_taken(page, server, script):
    script(
        lambda request: (
            "2" if server.engine.tokenizer.decode(request.ids).endswith("g(") else "1\n "
        )
    )
    show(page, "Fill in")
    text = "f(<FILL_HERE>)\ng(<FILL_HERE>)\n" + "# far\n" * 9
    page.fill("#fill textarea", text)
    page.get_by_label("suffix first (SPM)").check()
    page.get_by_label("Candidates").first.fill("2")
    page.click("#fill-in")
    finished(page, 2, "#fills")
    first = page.locator("#fills .card").first
    assert first.locator("ins").all_text_contents() == ["1", " ", "2"]
    assert first.locator(".line.new").all_text_contents() == ["f(1", " )", "g(2)"]
    assert "6 lines" in first.locator(".gap").inner_text()
    assert "underline" in first.locator("ins").first.evaluate(
        "e => getComputedStyle(e).textDecorationLine"
    )
    assert page.input_value("#fill textarea") == text

    page.click("#fills .do-take >> nth=1")
    becomes(lambda: page.input_value("#fill textarea"), "f(1\n )\ng(2)\n" + "# far\n" * 9)
    page.click("#fill-undo")
    becomes(lambda: page.input_value("#fill textarea"), text)


def test_what_stands_after_a_hole_stays_when_the_fill_is_cut(page, script):
    script("many words " * 9)
    show(page, "Fill in")
    page.fill("#fill textarea", "a <FILL_HERE> z")
    page.get_by_label("New tokens, at most").last.fill("4")
    page.click("#fill-in")
    finished(page, 1, "#fills")
    assert written(page, "#fills") == ["a many z"]
    page.fill("#fill textarea", "no hole")
    page.click("#fill-in")
    page.wait_for_selector("#fill-in-status :text('<FILL_HERE>')")


def test_a_model_that_cannot_fill_in_says_so(browser):
    engine = FakeEngine(special=("<|endoftext|>",))
    with running(engine) as server, opened(browser, server.url) as page:
        show(page, "Playground", "Fill in")
        page.wait_for_selector(":text('cannot fill in the middle')")
        assert page.locator("#fill-in").is_disabled()


# -- prompts are compared ----------------------------------------------------------------------


def compare(page, questions, *names):
    show(page, "Compare")
    page.fill("#compare-typed textarea", questions)
    for name in names:
        page.get_by_label(name, exact=True).check()
    begun = "#compare-stop:visible, #compare-after:visible, #compare-status :visible"
    for _ in range(3):  # Gradio shows the buttons of a tab a moment before it hears them
        page.click("#compare")
        with contextlib.suppress(TimeoutError):
            page.wait_for_selector(begun, timeout=20_000)
            break


def compared(page):
    """Wait until all that a comparison shows stands there."""
    page.wait_for_selector("#compare-after")
    page.wait_for_selector("#compare-progress :text('replies')")
    page.wait_for_selector("#compare-chart .bar >> nth=0")
    page.wait_for_selector("#compare-grid .card >> nth=0")


def answers(request):
    """Another reply for each prompt, and a hostile one."""
    return f"Reply to {len(request.ids)} tokens.\n\n```python\nx = (\n```\n\n{HOSTILE[0]}"


def test_prompts_are_compared_voted_on_and_saved(page, server, script):
    script(answers)
    compare(page, "What is a list?\n\nWhat is <b>?", "Tech Assistant (short)")
    compared(page)
    assert page.inner_text("#compare-progress .md") == "4 of 4 replies"
    questions = page.locator("#compare-grid summary")
    assert [text.split("?")[0] for text in questions.all_text_contents()] == [
        "What is a list",
        "What is <b>",
    ]
    cards = page.locator("#compare-grid details >> nth=0").locator(".card")
    assert cards.locator("h2").all_inner_texts() == [
        "Test",
        "Tech Assistant (short)",
    ]
    foot = cards.first.locator(".foot").inner_text()
    assert "✓ ended by itself" in foot and "✗ Python parses" in foot and "✓ fences closed" in foot
    assert page.locator("#compare-chart .bar i").count() > 4
    assert "0 % of 2" in page.inner_text("#compare-chart .md")
    assert page.locator("#compare-grid").locator(FORBIDDEN).count() == 0

    page.click("#vote-begin")
    page.wait_for_selector("#vote .card")
    assert "Test" not in page.inner_text("#vote") and "short" not in page.inner_text("#vote")
    page.click("#vote .do-vote >> nth=0")
    page.wait_for_selector("#vote :text('2 of 2')")
    page.get_by_role("button", name="No difference").click()
    page.wait_for_selector("#vote :text('no difference: 1')")

    with page.expect_download() as saved:
        page.click("#save-csv")
    rows = list(csv.DictReader(saved.value.path().read_text(encoding="utf-8").splitlines(True)))
    assert saved.value.suggested_filename == "comparison.csv" and len(rows) == 4
    assert rows[0]["ask"] == "What is a list?" and HOSTILE[0] in rows[0]["text"]
    with page.expect_download() as saved:
        page.click("#save-json")
    document = json.loads(saved.value.path().read_text(encoding="utf-8"))
    assert set(document["prompts"]) == {"Test", "Tech Assistant (short)"}
    assert document["results"][0]["text"] == rows[0]["text"]


def test_a_comparison_is_cancelled_and_what_there_is_stays(page, server, script):
    held = threading.Event()
    script(
        lambda request: [
            "Yes.",
            *([held] if b"second" in server.engine.tokenizer.bytes(request.ids) else []),
        ]
    )
    compare(page, "the first\nthe second")
    page.wait_for_selector("#compare-progress :text('1 of 2 replies')")
    page.click("#compare-stop")
    page.wait_for_selector("#compare-status :text('Stopped')")
    held.set()
    server.idle()
    page.wait_for_selector("#compare-grid .written")
    assert written(page, "#compare-grid") == ["Yes.\n"]


def test_our_questions_are_judged(page, script):
    script("I do not know.")
    show(page, "Compare")
    page.get_by_label("C (4)").check()
    page.click("#compare")
    compared(page)
    assert "0 % of 4" in page.inner_text("#compare-chart .md")
    page.click("#compare-grid .foot summary >> nth=0")
    assert "missing" in page.inner_text("#compare-grid .foot ul >> nth=0")
    page.get_by_label("C (4)").uncheck()
    page.click("#compare")
    page.wait_for_selector("#compare-status :text('number of questions')")


# -- the page --------------------------------------------------------------------------------


@pytest.mark.parametrize("width, height", [(390, 844), (1280, 800)])
def test_every_tab_fits_the_window(browser, server, script, width, height):
    script("a_long_name_" * 40 + "\n" + "wörter " * 80)
    with opened(browser, server.url, viewport={"width": width, "height": height}) as page:
        wide = "document.documentElement.scrollWidth > innerWidth"
        show_tab(page, "Playground")
        show(page, "Fill in")
        page.click("#fill-in")
        finished(page, 1, "#fills")
        assert not page.evaluate(wide)
        compare(page, "hi", "Tech Assistant (short)")
        compared(page)
        assert not page.evaluate(wide)
        show(page, "Template")
        page.wait_for_selector("#template-try:enabled")
        assert not page.evaluate(wide)


# The end of a stream of results reaches the page late, as over a slow line.
LATE = """
const fetched = window.fetch.bind(window);
window.fetch = async (input, options) => {
  const response = await fetched(input, options);
  if (!(input.url ?? String(input)).includes("queue/data")) return response;
  const late = new TransformStream({
    async transform(text, controller) {
      const end = text.search(/data: .{1,9}close_stream/);
      if (end < 0) return controller.enqueue(text);
      controller.enqueue(text.slice(0, end));
      await new Promise((resolve) => setTimeout(resolve, 1000));
      controller.enqueue(text.slice(end));
    },
  });
  const body = response.body.pipeThrough(new TextDecoderStream()).pipeThrough(late);
  return new Response(body.pipeThrough(new TextEncoderStream()), { headers: response.headers });
};
"""


def test_an_event_at_the_end_of_anothers_stream_is_heard(browser, server, script):
    page = browser.new_page()
    page.add_init_script(LATE)
    page.goto(server.url)
    page.wait_for_selector("#message textarea")
    show(page, "Playground")
    show(page, "Fill in")
    for count in range(3, 6):
        script(f"Heard {count}.")
        page.fill("#fill textarea", "a <FILL_HERE>")
        page.click("#fill-in")
        becomes(lambda: written(page), [f"a Heard {count}."])  # noqa: B023  it is called at once
        finished(page)
        page.click("#fills .do-take")
        becomes(lambda: page.input_value("#fill textarea"), f"a Heard {count}.")  # noqa: B023
    page.close()


def test_closing_the_page_frees_the_slots(browser, server, script):
    script(["Once ", threading.Event()])
    with opened(browser, server.url) as page:
        show(page, "Playground")
        show(page, "Fill in")
        page.get_by_label("Candidates").first.fill("3")
        page.click("#fill-in")
        page.wait_for_selector("#fills .written:has-text('Once')")
        assert server.health()["running"] == 3
    until(lambda: server.health()["running"] == 0)
