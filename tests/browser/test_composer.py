"""The box and the turns in a real browser: files, saved questions, a begun reply, instructions;
turns edited in place, inserted and deleted."""

import json

import pytest

from tests.browser.test_chat import stored
from tests.support.browser import counted, finished, opened, said, send, status
from tests.support.fake_engine import FakeEngine
from tests.support.server import running
from tests.support.waiting import until

LONG = "".join(f"    line_{number} = {number}\n" for number in range(900))


@pytest.fixture(scope="module")
def server():
    with running(FakeEngine(window=60_000)) as server:
        yield server


@pytest.fixture(params=["desk", "phone"])
def page(browser, server, request):
    sizes = {"desk": (1280, 800), "phone": (390, 844)}
    width, height = sizes[request.param]
    with opened(browser, server.url, viewport={"width": width, "height": height}) as page:
        yield page


def box(page):
    return page.locator("#message textarea").first


def prompt(server):
    return server.engine.prompt()


def files(page, **texts):
    page.set_input_files(
        "#attach-file",
        [
            {"name": name.replace("_", "."), "mimeType": "text/plain", "buffer": text.encode()}
            for name, text in texts.items()
        ],
    )


def test_a_long_file_is_asked_about_exported_and_imported(page, server, script):
    script(["Nine hundred.", "Yes."])
    files(page, app_py=LONG, blob_bin="\0")
    page.wait_for_selector("#attached :text('app.py · 900 lines')")
    assert "blob.bin cannot be attached" in status(page)
    box(page).fill("How many lines?")
    page.wait_for_selector("#message .submit-button.ready")
    whole = f"How many lines?\n\n```python app.py\n{LONG}```"
    counted(page, f"draft {len(whole) + 13:,}")  # the ledger is exact: bytes are tokens here
    page.reload()
    page.wait_for_selector("#attached :text('app.py')")
    assert box(page).input_value() == "How many lines?"
    page.click("#message .submit-button")
    finished(page)
    assert whole in prompt(server) and not page.is_visible("#attached")
    assert page.locator("#log .turn.user").bounding_box()["height"] < 400  # folded
    with page.expect_download() as saved:
        if page.viewport_size["width"] < 640:
            page.click("#more")
            page.get_by_text("JSON", exact=True).click()
        else:
            page.click("#export")
            page.click("#export-menu >> text=JSON")
    exported = saved.value.path().read_text(encoding="utf-8")
    assert json.dumps(whole)[1:-1] in exported
    page.click("#undo")
    page.wait_for_selector("#attached :text('app.py · 900 lines')")  # it comes back as a file
    assert box(page).input_value() == "How many lines?"
    page.click("#attached button")
    box(page).fill("")
    forget = """async (id) => {
        const [{ table }, { remove, saved }] = await Promise.all(
            ["database", "store"].map((name) => import(`./page/static/store/${name}.js`)));
        remove(id);
        await saved();
        return (await table("conversations").all()).length;
    }"""
    assert page.evaluate(forget, json.loads(exported)["conversations"][0]["id"]) == 0
    page.set_input_files("#chats-file", saved.value.path())
    until(lambda: len(stored(page)) == 1)
    message, reply = stored(page)[0]["nodes"].values()
    assert (message["text"], reply["text"]) == (whole, "Nine hundred.")


def test_a_long_paste_becomes_a_file_and_a_short_one_stays_text(page):
    paste = """([text]) => {
        const data = new DataTransfer();
        data.setData("text/plain", text);
        const event = new ClipboardEvent("paste", {clipboardData: data, cancelable: true});
        return document.querySelector("#message textarea").dispatchEvent(event);
    }"""
    assert page.evaluate(paste, ["short\n\ttext"]) is True  # the browser does it
    assert page.evaluate(paste, [LONG]) is False
    page.wait_for_selector("#attached :text('pasted.txt · 900 lines')")
    page.click("#attached button")
    page.wait_for_selector("#attached", state="hidden")


def test_the_box_says_whether_it_can_send(page, server, script):
    script("Yes.")
    ready = "#message .submit-button.ready"
    assert page.locator(ready).count() == 0
    box(page).fill("x" * 70_000)
    page.wait_for_selector("#ledger.over")
    assert page.locator(ready).count() == 0
    box(page).press("Enter")
    assert "window" in status(page) and page.locator("#chat-status.error").count() == 1
    box(page).fill("hi")
    page.click(ready)
    finished(page)
    assert status(page) == ""
    page.click("#log .turn.user .act-edit")
    page.fill(".edit textarea", "y" * 70_000)
    page.keyboard.press("Control+Enter")
    until(lambda: box(page).input_value() == "y" * 70_000)  # what was refused comes back
    assert "window" in status(page) and said(page, "user") == ["hi"]


def test_saved_questions_and_the_beginning_of_a_reply(page, server, script):
    script(" world.")
    box(page).fill("/mist")
    page.wait_for_selector("#questions-list [role=option]:text('Find the mistake')")
    page.keyboard.press("Enter")
    page.fill("#question-form textarea >> nth=0", "x = 1\n\tif y")
    page.click("#question-form .edit-done")
    until(lambda: "x = 1\n\tif y" in box(page).input_value())
    page.click("#add-menu summary")
    page.click("#begin-reply")
    page.fill("#begin", "Hello,")
    page.click("#message .submit-button")
    finished(page)
    assert said(page, "assistant") == ["Hello, world."]
    assert prompt(server).endswith("Assistant: Hello,")
    page.click("#log .receipt summary")
    assert "behind 7 that you wrote" in page.inner_text("#log .receipt table")
    page.click("#log .act-again")
    page.wait_for_selector("#log .again :text('the same text')")


def test_instructions_and_sampling_stand_in_the_receipt(page, server, script):
    script("Yes.")
    page.click("#settings-button")
    page.select_option("[name=template]", label="Tech Assistant (short)")
    page.fill("[name=system]", "Answer in one word.")
    page.select_option("[name=preset]", "Varied")
    assert page.input_value("[name=temperature]") == "0.8"
    page.fill("[name=top_k]", "7")
    assert page.input_value("[name=preset]") == "Own"
    page.click("#settings-button")
    send(page, "hi")
    finished(page)
    assert "Answer in one word." in prompt(server)
    assert server.engine.requests[-1].sampling.top_k == 7
    page.click("#log .receipt summary")
    table = page.inner_text("#log .receipt table")
    assert "Answer in one word." in table and "temperature 0.8" in table
    page.click("#log .act-again")
    page.wait_for_selector("#log .again :text('the same text')")


def test_a_reply_is_edited_continued_and_an_exchange_inserted(page, server, script):
    script(["One.", "Two.", " And on.", "Three."])
    send(page, "first")
    finished(page)
    send(page, "second")
    finished(page, 2)
    page.click("#log .turn.assistant >> nth=1 >> .act-edit")
    page.fill(".edit textarea", "My own")
    page.click(".edit-done")
    assert said(page, "assistant") == ["One.", "My own"]
    assert page.inner_text("#log .turn:last-child .mark") == "Edited by you"
    page.click("#log .act-continue")
    page.wait_for_selector("#log :text('And on.')")
    finished(page, 2)
    assert prompt(server).endswith("second\n\nAssistant: My own")
    page.click("#log .turn.assistant >> nth=0 >> .act-menu summary")
    page.click(".act-insert")
    page.fill(".edit textarea >> nth=0", "between")
    page.fill(".edit textarea >> nth=1", "Here.")
    page.click(".edit-done")
    assert said(page, "user") == ["first", "between", "second"]
    assert said(page, "assistant") == ["One.", "Here.", "My own And on."]
    send(page, "third")
    finished(page, 4)
    order = ["One.", "between", "Here.", "second", "My own And on.", "third"]
    places = [prompt(server).index(words) for words in order]
    assert places == sorted(places)
    page.click("#log .turn:last-child .receipt summary")
    assert "1 earlier reply" in page.inner_text("#log .turn:last-child .receipt table")


def test_turns_are_deleted_with_a_way_back(page, server, script):
    script(["One.", "Two.", "Three.", "Four."])
    for number, text in enumerate(("first", "second", "third"), 1):
        send(page, text)
        finished(page, number)
    page.click("#log .turn.user >> nth=1 >> .act-menu summary")
    page.click(".act-remove-one")
    until(lambda: said(page, "user") == ["first", "third"])
    page.reload()
    finished(page, 2)
    assert said(page, "assistant") == ["One.", "Three."]
    page.click("#log .turn.user >> nth=1 >> .act-menu summary")
    page.click(".act-remove-all")
    until(lambda: said(page, "user") == ["first"])
    page.click("#chat-status button")
    until(lambda: said(page, "user") == ["first", "third"])
    send(page, "fourth")
    finished(page, 3)
    assert "second" not in prompt(server) and "third" in prompt(server)


def test_the_ledger_says_what_nobody_sees(page, script):
    script("Hello.")
    box(page).fill("a\u200b\U000e0041b")
    page.wait_for_selector("#ledger.tight .unseen:text('2 characters of the draft are left out')")
    box(page).fill("ab")
    counted(page, "draft")
    page.wait_for_selector("#ledger .unseen", state="detached")
