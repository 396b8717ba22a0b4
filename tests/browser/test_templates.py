"""The editor of prompt templates in a real browser, from the chat and back into it."""

import tomllib

import pytest

from assistant.prompting.load import read_template
from tests.support.browser import becomes_true, finished, opened, send
from tests.support.fake_engine import FakeEngine
from tests.support.server import running
from tests.support.waiting import until


@pytest.fixture(scope="module")
def server():
    with running(FakeEngine()) as server:
        yield server


@pytest.fixture
def editor(page):
    """The page with its editor open, as the chip above the chat opens it."""
    return open_editor(page)


def open_editor(page):
    page.click("#template-chip")
    page.wait_for_selector("#template-preview .seen-token", state="attached")
    return page


def show(page, *names):
    for name in names:
        page.get_by_role("tab", name=name, exact=True).click()


def view(page, name):
    page.get_by_role("button", name=name, exact=True).click()


def field(page, name):
    return page.locator(f"#template-page [name={name}]")


def says(page, words):
    page.wait_for_selector(f"#template-status:has-text('{words}')")


def written(page):
    """The template file, once it follows the fields."""
    return page.input_value("#template-toml")


def test_a_chat_with_an_edited_template_is_two_clicks_away(editor, server, script):
    script("Yes.")
    field(editor, "intro").fill("Another dialogue.")
    field(editor, "name").fill("Mine")
    editor.click("#template-try")  # at once: what was typed last counts
    becomes_true(editor, "document.querySelector('#template-chip').textContent.includes('Mine')")
    send(editor, "hello")
    finished(editor)
    assert server.engine.prompt().startswith("Another dialogue.\n\nHuman: hello")

    open_editor(editor)  # the chat's template is the one that stands here
    assert field(editor, "intro").input_value() == "Another dialogue."
    editor.select_option("#template-begin", label="Test")
    until(lambda: field(editor, "intro").input_value() == "A dialogue.")
    editor.click("#template-try")
    becomes_true(editor, "document.querySelector('#template-chip').textContent.includes('Test')")
    send(editor, "again")
    finished(editor, 2)
    assert server.engine.prompt().startswith("A dialogue.\n\nHuman: hello")


def test_fields_and_the_file_follow_each_other_and_nothing_typed_is_lost(editor):
    editor.click("#add-dialogue")
    cards = editor.locator(".turn-card textarea")
    cards.nth(0).fill("What is 1 + 1?")
    cards.nth(1).fill("2")
    editor.get_by_role("button", name="Add a turn").click()
    cards.nth(2).fill("Sure?")
    editor.locator("[aria-label='Move this turn up']").nth(2).click()
    editor.locator(".turn-card select").nth(1).select_option("assistant")
    until(lambda: "Assistant: Sure?\n\nAssistant: 2\n\n-----\n" in written(editor))
    assert read_template(written(editor)).preamble.startswith("A dialogue.\n\n-----\n\nHuman: What")
    label = "document.activeElement.getAttribute('aria-label')"
    assert editor.evaluate(label) == "Move this turn up"
    editor.locator("[aria-label='Remove this turn']").nth(1).click()
    says(editor, "The turn was removed.")
    assert cards.count() == 2 and editor.evaluate(label) == "Remove this turn"

    field(editor, "temperature").evaluate("e => e.closest('details').open = true")
    field(editor, "temperature").fill("9")
    editor.wait_for_selector(".fault:has-text('Must be from 0 to 2; 9 was given')")
    editor.click("#template-undo")  # the turn alone
    assert cards.count() == 3 and field(editor, "temperature").input_value() == "9"
    assert editor.locator("#template-try").is_disabled()
    view(editor, "TOML")  # the file is written all the same
    assert "temperature = 9" in written(editor)
    editor.fill("#template-toml", written(editor).replace("= 9", "= nine"))
    says(editor, "at line")
    view(editor, "Fields")  # there are none to show
    assert editor.is_visible("#template-toml")
    editor.get_by_role("button", name="Go to line").click()
    line = "(e => e.value.slice(e.selectionStart, e.selectionEnd))(document.activeElement)"
    assert editor.evaluate(line) == "temperature = nine"

    editor.reload()
    show(editor, "Playground", "Template")
    until(lambda: "= nine" in written(editor))
    editor.fill("#template-toml", written(editor).replace("= nine", "= 0.5"))
    editor.wait_for_selector("#template-try:enabled")
    view(editor, "Fields")
    assert field(editor, "temperature").input_value() == "0.5"


def test_it_is_kept_with_its_versions(page, browser, server):
    open_editor(page)
    field(page, "name").fill("Mine")
    page.click("#template-save")
    says(page, "is kept in this browser.")
    field(page, "intro").fill("A better dialogue.")
    page.click("#template-save")
    says(page, "version 2")
    page.click("#kept-templates summary:has-text('2 versions')")
    page.click("#kept-templates .diff summary")
    changes = page.locator("#kept-templates .diff pre").all_inner_texts()
    assert [line.strip() for line in changes[0].splitlines() if line] == [
        "- A dialogue.", "+ A better dialogue.",
    ]  # fmt: skip
    page.get_by_role("button", name="Restore").click()
    says(page, "The version of")
    assert field(page, "intro").input_value() == "A dialogue."

    page.reload()
    open_editor(page)
    edit = page.locator("#kept-templates").get_by_role("button", name="Edit", exact=True)
    edit.click()
    until(lambda: field(page, "intro").input_value() == "A better dialogue.")
    field(page, "intro").fill("A third dialogue.")
    page.route("**/page/template", lambda route: route.fulfill(body="?"))
    edit.click()
    page.wait_for_selector("#template-undo")  # also where nothing answers
    page.unroute("**/page/template")
    page.click("#template-undo")
    until(lambda: "A third dialogue." in written(page))
    page.get_by_role("button", name="Rename").click()
    until(lambda: page.evaluate("document.activeElement.name") == "name")
    assert field(page, "intro").input_value() == "A third dialogue."
    page.keyboard.type("Yours")
    page.click("#template-save")
    page.wait_for_selector(".kept-list .title:text-is('Yours')")
    show(page, "Chat")
    page.click("#settings-button")
    page.select_option("#settings select[name=template]", label="Yours (yours)")
    becomes_true(page, "document.querySelector('#template-chip').textContent.includes('Yours')")

    open_editor(page)
    page.get_by_role("button", name="Delete Yours").click()
    says(page, "was deleted.")
    assert page.locator(".kept-list > li").count() == 0
    page.click("#template-undo")
    page.wait_for_selector(".kept-list .title:text-is('Yours')")


def test_it_is_saved_as_files_and_compared(editor, server, script):
    script("Yes.")
    field(editor, "name").fill("My Template 2")
    field(editor, "intro").fill("Another dialogue.")
    with editor.expect_download() as saved:
        editor.click("#save-toml")
    assert saved.value.suggested_filename == "my-template-2.toml"
    values = tomllib.loads(saved.value.path().read_text("utf-8"))
    assert values["preamble"] == "Another dialogue.\n"
    with editor.expect_download() as saved:
        editor.click("#save-jinja")
    assert "add_generation_prompt" in saved.value.path().read_text("utf-8")

    editor.click("#template-add")
    says(editor, "My Template 2, edited")
    show(editor, "Compare")
    editor.get_by_label("My Template 2, edited", exact=True).check()
    editor.fill("#compare-typed textarea", "hello")
    editor.click("#compare")
    editor.wait_for_selector("#compare-grid :text('the same text as')")
    assert any("Another dialogue." in server.engine.prompt(n) for n in (0, 1))


BLOCKED = """
Object.defineProperty(window, "indexedDB", { value: { open: () => { throw new Error("no"); } } });
"""


def test_where_storage_is_blocked_it_lasts_as_long_as_the_page(browser, server):
    options = {"viewport": {"width": 390, "height": 844}}
    with opened(browser, server.url, **options) as page:
        page.add_init_script(BLOCKED)
        page.reload()
        page.wait_for_selector("#message textarea")
        page.evaluate("document.querySelector('#template-chip').click()")  # as the menu does
        page.wait_for_selector("#template-try:enabled")
        assert not page.is_visible("#template-preview .seen")  # it is folded on a phone
        page.click("#template-preview summary")
        assert page.is_visible("#template-preview .seen")
        page.click("#template-save")
        says(page, "kept until this page is closed")
        page.wait_for_selector(".kept-list .title:text-is('Test')")
        assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")
