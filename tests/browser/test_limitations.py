"""What the engine cannot do is grey in the page, with the reason, in a real browser."""

import pytest

from tests.support.fake_engine import FakeEngine
from tests.support.server import running

SEED = "No seed <b>here</b>."
LOGPROBS = "No log-probabilities <b>here</b>."


@pytest.fixture(scope="module")
def server():
    engine = FakeEngine("Hello.")
    engine.limitations = {"seed": SEED, "prompt_logprobs": LOGPROBS}
    with running(engine) as server:
        yield server


def test_what_the_engine_cannot_do_is_grey_and_says_why(page):
    page.fill("#message textarea", "Hi")
    page.keyboard.press("Enter")
    page.click(".receipt summary")
    assert page.locator(".act-again").is_disabled()
    assert page.inner_text(".receipt .again") == SEED
    page.click("#settings-button")
    assert page.locator("#settings input[name=seed]").is_disabled()
    assert page.get_attribute("#settings input[name=seed]", "title") == SEED
    page.get_by_role("tab", name="Playground", exact=True).click()
    page.click("#continue")
    copy = page.locator(".written-acts").get_by_role("button", name="Copy")
    page.wait_for_selector("#continue-status:has-text('Done')")
    inspect = page.locator(".written-acts").get_by_role("button", name="Tokens", exact=True)
    assert inspect.is_disabled() and inspect.get_attribute("title") == LOGPROBS
    assert copy.is_enabled()
    seed = page.get_by_label("Seed").locator("visible=true").first
    assert seed.is_disabled()
