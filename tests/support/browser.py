"""A real headless Chromium, and pages that notice what must not happen in them."""

import contextlib
import functools
import os
import re
import shutil

import pytest

from tests.support.waiting import until

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
# What Gradio writes on the console when a page is left while it listens to the server.
LEAVING = ("signal is aborted without reason", "Connection errored out", "Failed to fetch")
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@contextlib.contextmanager
def chromium():
    """A running browser; a skip where none is installed, and a failure of that in CI."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        sentence = "No Chromium is installed, so the pages are not tested in a browser."
        pytest.fail(sentence) if os.environ.get("CI") else pytest.skip(sentence)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        for name in ("new_context", "new_page"):  # Gradio's words follow the browser's language
            setattr(browser, name, functools.partial(getattr(browser, name), locale="en-US"))
        yield browser
        browser.close()


@contextlib.contextmanager
def opened(browser, url, **options):
    """A page at `url`. When the block ends, nothing may have gone wrong in it: no error on the
    console, no failed or foreign request, no dialog."""
    options = {"viewport": {"width": 1280, "height": 800}, **options}
    context = browser.new_context(**options)
    page = context.new_page()
    faults = []
    page.on("console", lambda m: is_fault(m) and faults.append(m.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("dialog", lambda dialog: (faults.append(dialog.message), dialog.dismiss()))
    page.on("response", lambda r: r.status >= 400 and not refused(r.url) and faults.append(r.url))
    page.on(
        "request",
        lambda r: r.url.startswith((url, "data:", "blob:")) or faults.append(f"request {r.url}"),
    )
    page.set_default_timeout(60_000)
    page.goto(url)
    page.wait_for_selector("#message textarea")
    yield page
    context.close()
    assert not faults, faults


def refused(url):
    """Whether what went wrong there is a reply that was not to be had, which the page tells."""
    return re.search("/page/(chat|again|complete|inspect|library/use|prompt)$", url)


def is_fault(message):
    if refused(message.location.get("url", "")):
        return False
    leaving = any(words in message.text for words in LEAVING)
    return message.type in ("error", "warning") and not leaving


# What tests do in a page, and what they read there


def send(page, text):
    page.fill("#message textarea", text)
    page.press("#message textarea", "Enter")


def becomes_true(page, expression):
    # page.wait_for_function evaluates inside the page, which its security policy forbids
    until(lambda: page.evaluate(expression))


def finished(page, replies=1):
    """Wait for so many finished replies."""
    becomes_true(
        page,
        f"document.querySelectorAll('#log .turn.assistant:not(.pending)').length === {replies}",
    )
    becomes_true(page, "!document.querySelector('#transcript.running')")
    becomes_true(page, "!document.querySelector('#log .plain')")


def said(page, role):
    return page.locator(f"#log .turn.{role} .said").all_inner_texts()


def status(page):
    return page.inner_text("#chat-status")


def counted(page, words):
    """Wait until the ledger, unfolded or not, says that."""
    page.wait_for_selector(f"#ledger :text('{words}')", state="attached")


def show_tab(page, name):
    """Opens a tab of the page; on a phone the chat's row has the others behind its last button."""
    tab = page.get_by_role("tab", name=name, exact=True)
    if tab.count():
        tab.click()
    elif name != "Chat":
        page.click("#more")
        page.click(f"#more-menu button:text-is('{name}')")


def of_chat(page, row, action):
    """What the menu of a row in the list of chats does: Rename, Export or Delete."""
    page.hover(row)
    page.locator(row).locator(".chat-more").click()
    page.click(f".unfolded button:text-is('{action}')")
