"""The playground in a real browser, on a real server with a scripted engine."""

import csv
import json
import threading
import tomllib

import pytest

from tests.support.browser import opened
from tests.support.fake_engine import FakeEngine
from tests.support.server import running, slowly
from tests.support.waiting import until
from tests.web.test_markdown import HOSTILE

FORBIDDEN = "form, iframe, embed, object, img, video, audio, style, link, script, math"


@pytest.fixture(scope="module")
def server():
    with running(FakeEngine()) as server:
        yield server


@pytest.fixture
def page(page):
    show(page, "Playground", "Continue")
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


def strip(page):
    return page.inner_text("#strip .md")  # beside it stands Gradio's clock, which nobody sees


def said(page, name):
    return page.inner_text(f"#{name}-status .md")


def written(page, cards="#continuations"):
    return page.locator(f"{cards} .written").all_text_contents()


def finished(page, count=1, cards="#continuations"):
    """Wait for so many finished replies on cards."""
    becomes(lambda: page.locator(f"{cards} .foot button:first-of-type").count(), count)
    page.wait_for_selector("#playground .run button.primary:visible")


def go_on(page, prompt, count=1):
    page.fill("#prompt textarea", prompt)
    page.click("#continue")
    finished(page, count)


# -- a prompt is continued -------------------------------------------------------------------


def test_it_continues_and_stops(page, server, script):
    more = threading.Event()
    script(["    return <b>", more, "n</b>\n<|end"])
    page.fill("#prompt textarea", "def f(n):\n")
    page.click("#continue")
    page.wait_for_selector("#continuations .written:text('return')")
    page.click("#continue-stop")
    finished(page)
    assert written(page) == ["    return <b>"]
    assert said(page, "continue") == "Stopped" and "stopped" in page.inner_text(".foot")
    assert server.engine.prompt() == "def f(n):\n"

    more.set()
    page.get_by_role("textbox", name="Seed").first.fill("12")
    page.click("#continue")
    page.wait_for_selector('#continuations p:text-matches("seed 12$")')
    assert written(page) == ["    return <b>n</b>\n<|end"]
    assert server.engine.requests[-1].sampling.seed == 12

    page.get_by_role("textbox", name="Seed").first.fill("twelve")
    page.click("#continue")
    page.wait_for_selector("#continue-status :text('seed must be')")
    page.fill("#prompt textarea", "")
    page.get_by_role("textbox", name="Seed").first.fill("")
    page.click("#continue")
    page.wait_for_selector("#continue-status :text('The prompt is empty.')")
    assert written(page) == ["    return <b>n</b>\n<|end"]  # what was refused took nothing away


def test_special_tokens_are_chips_and_can_be_read_as_text(page, server, script):
    script("x")
    go_on(page, "<fim_prefix>a<fim_suffix>b<fim_prefix>")
    assert page.locator("#strip .special").all_inner_texts() == ["<fim_prefix>", "<fim_suffix>"]
    assert strip(page).startswith("5 tokens · 3 special:") and "× 2" in strip(page)
    assert set(server.engine.requests[-1].ids) >= {1, 3}

    page.get_by_label("Read special tokens as text").check()
    becomes(lambda: page.locator("#strip .special").count(), 0)
    assert "3 that look special and stay text" in strip(page)
    go_on(page, "<fim_prefix>")
    assert min(server.engine.requests[-1].ids) >= 5


def test_ids_are_shown_on_demand(page, script):
    page.fill("#prompt textarea", "a\n<fim_middle>")
    page.get_by_label("Show tokens and ids").check()
    becomes(lambda: page.locator(".piece").all_inner_texts(), ["a102", "⏎15", "<fim_middle>2"])


def test_several_stand_side_by_side_and_one_is_appended(page, server, script):
    script(lambda request: f" seed {request.sampling.seed}")
    page.get_by_label("Continuations").first.fill("3")
    page.get_by_role("textbox", name="Seed").first.fill("7")
    go_on(page, "the", 3)
    assert written(page) == [" seed 7", " seed 8", " seed 9"]
    tops = {card.bounding_box()["y"] for card in page.locator("#continuations .card").all()[:2]}
    assert len(tops) == 1

    page.click("#continuations .do-append >> nth=1")
    becomes(lambda: page.input_value("#prompt textarea"), "the seed 8")
    assert strip(page) == "10 tokens" and len(server.engine.requests) == 3
    page.click("#prompt-undo")
    becomes(lambda: page.input_value("#prompt textarea"), "the")


def test_presets_move_the_sliders_and_a_slider_makes_them_ones_own(page, server, script):
    script("x")
    page.get_by_label("Exact").check()
    becomes(lambda: page.get_by_label("Exact").is_checked(), True)
    page.get_by_text("Temperature and more").first.click()
    becomes(lambda: page.get_by_label("number input for Temperature").input_value(), "0")
    go_on(page, "a")
    assert server.engine.requests[-1].sampling.temperature == 0

    page.get_by_label("number input for Temperature").fill("1.5")
    becomes(lambda: page.get_by_label("Own").is_checked(), True)
    page.get_by_label("Stop strings").fill("stop\n\\n\\n")
    page.get_by_label("New tokens, at most").fill("9")
    script("one stop two")
    go_on(page, "a")
    becomes(lambda: written(page), ["one "])
    assert server.engine.requests[-1].sampling.temperature == 1.5
    assert server.engine.requests[-1].max_new_tokens == 9


def test_the_library_fills_a_prompt_and_sends_nothing(page, server, script):
    page.get_by_text("Prompt library").click()
    page.get_by_label("Template", exact=True).click()
    page.get_by_role("option", name="Python function").click()
    page.get_by_label("Signature").fill("add(a, <fim_prefix>)")
    page.click(".put:visible")
    becomes(
        lambda: page.input_value("#prompt textarea"),
        'def add(a, <fim_prefix>):\n    """Return the sum of a list of numbers."""',
    )
    assert "1 that looks special and stays text" in strip(page)  # a value is never trusted
    assert server.engine.requests == []

    page.click("#prompt-undo")
    page.wait_for_selector("#strip :text('60 tokens')")
    page.get_by_label("Signature").fill("x" * 20_000)
    page.click(".put:visible")
    page.wait_for_selector("#continue-status :text('at most')")
    page.click("#continue")
    finished(page)


def test_a_saved_question_goes_to_the_chats_box_and_is_not_sent(page, server, script):
    show(page, "Chat")
    page.fill("#message textarea", "a draft")
    show(page, "Playground")
    page.get_by_text("Prompt library").click()
    page.get_by_label("Template", exact=True).click()
    page.get_by_role("option", name="For the chat: Write a function").click()
    page.get_by_label("Language").click()
    page.get_by_role("option", name="Rust").click()
    page.get_by_label("A function that").fill("adds <b>")
    page.click(".put:visible")
    becomes(
        lambda: page.input_value("#message textarea"),
        "a draft\n\nWrite a Rust function that adds <b>.",
    )
    assert page.is_visible("#message") and server.engine.requests == []


def test_hostile_text_stays_text(page, script):
    everything = "\n\n".join(HOSTILE)
    script(slowly(everything, size=40, pause=0.01))
    page.get_by_label("Show tokens and ids").check()
    page.get_by_label("New tokens, at most").first.fill("4000")
    go_on(page, everything)
    assert written(page) == [everything]
    page.click("#continuations .do-inspect")
    page.wait_for_selector(".toks .tok")
    assert page.locator("#playground").locator(FORBIDDEN).count() == 0
    assert page.locator("#playground [formaction], #playground .cards a").count() == 0


# -- tokens ----------------------------------------------------------------------------------


def test_tokens_are_inspected_and_branched_from(page, server, script):
    script(["abc", "def"])
    go_on(page, "x")
    page.click("#continuations .do-inspect")
    page.wait_for_selector(".toks .tok")
    tokens = page.locator(".toks .tok")
    assert "".join(tokens.all_text_contents()) == "abc"
    bands = [each.get_attribute("class").split()[1] for each in tokens.all()]
    assert set(bands) <= {"p0", "p1", "p2", "p3", "p4"}
    style = "e => getComputedStyle(e).textDecorationStyle"
    lines = [page.locator(f".legend .{band}").evaluate(style) for band in ("p0", "p1", "p2", "p3")]
    assert len(set(lines)) == 4  # told by more than the colour

    tokens.nth(1).hover()
    page.wait_for_selector(".alts :text('Token 2')")
    shares = page.locator(".alt span").all_inner_texts()
    assert len(shares) == 10 and all(share.endswith("%") for share in shares)
    tokens.nth(1).click()
    tokens.nth(2).hover()  # what is held stays
    assert "Token 2" in page.inner_text(".alts")

    tokens.nth(1).click()
    tokens.nth(0).focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert "Token 3" in page.inner_text(".alts")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    choice = page.locator(".alt:focus code").inner_text()
    page.keyboard.press("Enter")
    finished(page, 2)
    assert written(page) == ["abc", f"ab{choice}def"]
    assert server.engine.prompt() == f"xab{choice}"
    page.click(".inspector .do-close")
    page.wait_for_selector(".inspector", state="detached")


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
    page.get_by_label("SPM").check()
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
    page.click("#compare")


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
        "Test, seed 0",
        "Tech Assistant (short), seed 0",
    ]
    foot = cards.first.locator(".foot").inner_text()
    assert "✓ ended by itself" in foot and "✗ Python parses" in foot and "✓ fences closed" in foot
    assert page.locator("#compare-chart .bar i").count() > 4
    assert "0 % of 2" in page.inner_text("#compare-chart .md")
    assert page.locator("#playground").locator(FORBIDDEN).count() == 0

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
    assert written(page, "#compare-grid") == ["Yes."]


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


def test_a_prompt_is_edited_checked_saved_and_compared(page, server, script):
    script("Yes.")
    show(page, "Edit a prompt")
    text = until(lambda: page.input_value("#template textarea"))
    page.fill("#template textarea", text + "\ncolour = 1")
    page.wait_for_selector("#template-status :text('unknown key')")
    assert page.locator("#save-toml").is_disabled() and page.locator("#save-jinja").is_disabled()
    page.fill("#template textarea", "name = 'x")
    page.wait_for_selector("#template-status :text('cannot be read')")

    mine = text.replace('"Test"', '"Mine"').replace("A dialogue.", "Another dialogue.")
    page.fill("#template textarea", mine)
    page.wait_for_selector("#template-status :text('Usable')")
    with page.expect_download() as saved:
        page.click("#save-toml")
    assert tomllib.loads(saved.value.path().read_text("utf-8"))["preamble"] == "Another dialogue.\n"
    with page.expect_download() as saved:
        page.click("#save-jinja")
    assert "add_generation_prompt" in saved.value.path().read_text("utf-8")

    page.click("#template-add")
    page.wait_for_selector("#template-status :text('Mine, edited')")
    compare(page, "hello", "Mine, edited")
    compared(page)
    assert any("Another dialogue." in server.engine.prompt(n) for n in (0, 1))

    show(page, "Edit a prompt")
    page.click("#template-load")
    becomes(lambda: page.input_value("#template textarea"), text)
    page.click("#template-undo")
    becomes(lambda: page.input_value("#template textarea"), mine)


# -- from the chat and back --------------------------------------------------------------------


def test_a_turn_is_opened_here_and_its_continuation_brought_back(page, server, script):
    script(["The chat's reply.", "Another\n\nHuman: no"])
    page.get_by_role("textbox", name="Prompt").fill("typed here before")
    show(page, "Chat")
    page.fill("#message textarea", "a message with <fim_prefix>")
    page.press("#message textarea", "Enter")
    page.wait_for_selector("#log .receipt")
    sent = server.engine.requests[-1].ids

    page.click("#log .receipt summary")
    page.click("#log .act-playground")
    page.wait_for_selector("#continue-status :text('as the model saw it')")
    becomes(lambda: page.input_value("#prompt textarea"), server.engine.prompt())
    assert "1 that looks special and stays text" in strip(page)
    assert written(page) == ["The chat's reply."]
    page.click("#continuations .do-inspect")
    becomes(lambda: page.locator(".toks .tok").count(), len("The chat's reply."))

    page.click("#continue")
    becomes(lambda: written(page), ["Another\n"])  # what ends a reply in the chat ends this one
    assert server.engine.requests[-1].ids == sent  # to the token: the look-alike stayed text
    finished(page)
    page.get_by_role("button", name="Back to the chat").click()
    page.wait_for_selector("#log .turn.assistant .said:has-text('Another')")
    assert page.inner_text("#log .turn.user .said") == "a message with <fim_prefix>"
    assert "2/2" in page.inner_text("#log .steps").replace(" ", "")

    show(page, "Playground")
    page.click("#prompt-undo")
    becomes(lambda: page.input_value("#prompt textarea"), "typed here before")


# -- the page --------------------------------------------------------------------------------


@pytest.mark.parametrize("width, height", [(390, 844), (1280, 800)])
def test_every_tab_fits_the_window(browser, server, script, width, height):
    script("a_long_name_" * 40 + "\n" + "wörter " * 80)
    with opened(browser, server.url, viewport={"width": width, "height": height}) as page:
        wide = "document.documentElement.scrollWidth > innerWidth"
        show(page, "Playground")
        page.get_by_label("Continuations").first.fill("2")
        go_on(page, "x" * 300, 2)
        page.click("#continuations .do-inspect >> nth=0")
        page.wait_for_selector(".toks .tok")
        assert not page.evaluate(wide)
        show(page, "Fill in")
        page.click("#fill-in")
        finished(page, 1, "#fills")
        assert not page.evaluate(wide)
        compare(page, "hi", "Tech Assistant (short)")
        compared(page)
        assert not page.evaluate(wide)
        show(page, "Edit a prompt")
        page.wait_for_selector("#template")
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
    show(page, "Playground")
    for count in range(3, 6):
        script(f"Heard {count}.")
        page.fill("#prompt textarea", "x" * count)
        becomes(lambda: strip(page), f"{count} tokens")  # noqa: B023  it is called at once
        page.click("#continue")
        becomes(lambda: written(page), [f"Heard {count}."])
        finished(page)
    page.close()


def test_closing_the_page_frees_the_slots(browser, server, script):
    script(["Once ", threading.Event()])
    with opened(browser, server.url) as page:
        show(page, "Playground")
        page.get_by_label("Continuations").first.fill("3")
        page.click("#continue")
        page.wait_for_selector("#continuations .written:text('Once')")
        assert server.health()["running"] == 3
    until(lambda: server.health()["running"] == 0)
