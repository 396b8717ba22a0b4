"""How code and long texts are shown, in a real browser: heads, folds, files, one's own fences."""

import threading

import pytest

from tests.support.browser import finished, opened, said, send
from tests.support.fake_engine import FakeEngine
from tests.support.server import running
from tests.support.waiting import until

LINES = "\n".join(f"x{number} = {number}" for number in range(60))
LONG = f"Before.\n\n```python\n{LINES}\n```\n\nAfter $x^2$.\n\n|a|b|\n|-|-|\n|c|d|\n"
HEIGHT = "document.querySelector('#log .code-text').clientHeight"


@pytest.fixture(scope="module")
def server():
    with running(FakeEngine(window=60_000), max_new_tokens=20_000) as server:
        yield server


def saved(page, click):
    with page.expect_download() as download:
        click()
    with open(download.value.path(), encoding="utf-8") as file:
        return file.read(), download.value.suggested_filename


def test_a_block_is_saved_wrapped_and_keeps_its_head_in_sight(page, script):
    script(LONG)
    send(page, "hi")
    finished(page)
    assert saved(page, lambda: page.click(".act-save-code")) == (f"{LINES}\n", "code.py")

    wrap = page.locator(".act-wrap-code")
    space = "getComputedStyle(document.querySelector('#log .code-text')).whiteSpace"
    assert wrap.get_attribute("aria-pressed") == "false" and page.evaluate(space) == "pre"
    wrap.click()
    assert wrap.get_attribute("aria-pressed") == "true" and page.evaluate(space) == "pre-wrap"
    page.reload()
    finished(page)
    assert wrap.get_attribute("aria-pressed") == "true" and page.evaluate(space) == "pre-wrap"
    wrap.click()

    page.click(".act-fold")
    page.evaluate("document.querySelector('#transcript').scrollTop = 0")
    page.evaluate("document.querySelector('#transcript').scrollTop = 400")
    top = "document.querySelector('{}').getBoundingClientRect().top"
    until(lambda: page.evaluate(top.format("#log .code")) < 0)
    assert page.evaluate(top.format(".code-head")) == page.evaluate(top.format("#transcript"))
    assert page.locator("#log math msup").count() == 1


def test_a_long_block_folds_once_it_does_not_grow_under_the_eyes(page, script):
    go_on = threading.Event()
    script([LONG[:300], go_on, LONG[300:]])
    send(page, "hi")
    page.wait_for_selector("#log .growing .code-text .n")
    assert page.locator(".act-fold").count() == 0
    go_on.set()
    finished(page)
    fold = page.locator("#log .act-fold")
    assert fold.text_content() == "Show fewer lines"  # it was read as it came
    page.reload()
    finished(page)
    assert fold.text_content() == "Show all 60 lines"
    assert fold.get_attribute("aria-expanded") == "false"
    folded = page.evaluate(HEIGHT)
    page.evaluate("getSelection().selectAllChildren(document.querySelector('#log .code-text'))")
    assert page.evaluate("getSelection().toString()") == LINES  # all of it is there
    fold.click()
    assert page.evaluate(HEIGHT) > 2 * folded and fold.text_content() == "Show fewer lines"
    fold.click()
    assert page.evaluate(HEIGHT) == folded
    page.emulate_media(media="print")
    assert page.evaluate(HEIGHT) > 2 * folded and not fold.is_visible()


def test_one_s_own_fences_are_code_and_files_fold(page, script):
    script("Yes.")
    text = f"Why *so*?\n  two\n\n```python src/app.py\n{LINES}\n```\n~~~js\nconst a = 1;\n~~~\nend"
    send(page, text)
    finished(page)
    user = "#log .turn.user"
    assert page.locator(f"{user} .typed").all_text_contents() == ["Why *so*?\n  two\n\n", "end"]
    file, other = page.locator(f"{user} .code").all()
    assert "src/app.py · 60 lines" in file.inner_text() and "x1 = 1" not in file.inner_text()
    assert other.locator("[class^=k]").count() == 1  # coloured
    file.locator(".act-fold").click()
    assert "x59 = 59" in file.inner_text()
    assert saved(page, lambda: file.locator(".act-save-code").click())[1] == "app.py"


def test_a_long_message_folds(page, script):
    script("Yes.")
    send(page, LINES)
    finished(page)
    fold = page.locator(".turn.user > .act-fold")
    height = "document.querySelector('#log .turn.user .said').clientHeight"
    folded = page.evaluate(height)
    assert fold.text_content() == "Show all" and said(page, "user") == [LINES]
    fold.click()
    assert page.evaluate(height) > 2 * folded and fold.text_content() == "Show less"


def test_on_a_phone_all_fits_and_can_be_pressed(browser, server, script):
    script(LONG + f"\n|{'wide|' * 12}\n|{'-|' * 12}\n|{'words|' * 12}\n")
    options = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    with opened(browser, server.url, **options) as page:
        page.fill("#message textarea", f"```py app.py\n{LINES}\n```")
        page.click(".submit-button")
        finished(page)
        wide = "(t => t.scrollWidth - t.clientWidth)(document.querySelector('{}'))"
        assert page.evaluate(wide.format("#transcript")) == 0
        table = "#log .said table:last-of-type"
        assert page.evaluate(wide.format(table)) > 0  # it scrolls in its own box
        for button in page.locator("#log .code-head button:visible, .act-fold:visible").all():
            box = button.bounding_box()
            assert box["width"] >= 44 and box["height"] >= 44
        assert "app.py · 60 lines" in page.inner_text("#log .file .code-head")
