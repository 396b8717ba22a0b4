"""The chat's conversations in a real browser: kept, branched, counted, repeated, shared."""

import json
import threading

import pytest

from tests.support.browser import counted, finished, of_chat, opened, said, send, status
from tests.support.fake_engine import FakeEngine
from tests.support.server import running
from tests.support.waiting import until
from tests.web.test_markdown import HOSTILE

CHAT = "tech-assistant/chat/"  # where earlier versions kept conversations, in localStorage
STORED = """async () => {
  const [{ saved }, { table }] = await Promise.all(
    ["store", "database"].map((name) => import(`./page/static/store/${name}.js`)));
  await saved();
  return table("conversations").all();
}"""


@pytest.fixture(scope="module")
def server():
    with running(FakeEngine(), examples=("What is a list?",)) as server:
        yield server


def ask(page, *texts):
    """Send messages, each once the reply to the one before is there."""
    there = page.locator("#log .turn.assistant").count()
    for count, text in enumerate(texts, there + 1):
        send(page, text)
        finished(page, count)


def titles(page):
    return page.locator("#chats-list .chat-title").all_text_contents()


def stored(page):
    """The records in the browser's store, oldest first."""
    return sorted(page.evaluate(STORED), key=lambda record: record["created"])


def store(page, *records):
    """Puts records into the browser's store, and loads the page anew."""
    page.evaluate(
        f"all => all.forEach(([id, text]) => localStorage.setItem('{CHAT}' + id, text))",
        [[record["id"], json.dumps(record)] for record in records],
    )
    page.reload()
    page.wait_for_selector("#chats-list .chat-title")


def record(number, *texts, **more):
    """A conversation as the browser keeps it: messages and replies in turn."""
    nodes, parent = {}, None
    for index, text in enumerate(texts):
        nid = f"n{number:04x}{index:06x}"
        role = ("user", "assistant")[index % 2]
        nodes[nid] = {"parent": parent, "role": role, "text": text}
        parent = nid
    return {
        "v": 1,
        "id": f"c{number:08x}",
        "title": texts[0],
        "created": 1_700_000_000_000 + number,
        "updated": 1_700_000_000_000 + number,
        "leaf": parent,
        "nodes": nodes,
        **more,
    }


def saved(page, click):
    """The text of the file that a click saves, and its name."""
    with page.expect_download() as download:
        click()
    with open(download.value.path(), encoding="utf-8") as file:
        return file.read(), download.value.suggested_filename


def choose(page, text, name="chats.json"):
    """Hands a file to the page's import."""
    file = {"name": name, "mimeType": "application/json", "buffer": text.encode()}
    page.set_input_files("#chats-file", [file])


def notice(page, text):
    page.wait_for_selector(f"#chats-notice :text('{text}')")


# -- 1: conversations are the browser's -------------------------------------------------------


def test_conversations_are_listed_searched_renamed_and_deleted(page, script):
    script(["About lists.", "About <b>zebras</b>."])
    ask(page, "What is a list?")
    page.keyboard.press("Control+Shift+o")
    page.wait_for_selector(".welcome")
    ask(page, "And something else?")
    assert titles(page) == ["And something else?", "What is a list?"]

    page.keyboard.press("Control+k")
    page.keyboard.type("ZEBRA")  # in a reply
    assert titles(page) == ["And something else?"]
    page.fill("#chats-search", "nowhere")
    page.wait_for_selector("#chats-list :text('Nothing found')")
    page.fill("#chats-search", "")

    page.click("#chats-list :text('What is a list?')")
    finished(page)
    assert said(page, "assistant") == ["About lists."]
    of_chat(page, "#chats-list li.open", "Rename")
    page.keyboard.type("<i>Lists</i>")
    page.keyboard.press("Enter")
    assert sorted(titles(page)) == ["<i>Lists</i>", "And something else?"]
    of_chat(page, "#chats-list li.open", "Delete")
    page.wait_for_selector(".welcome")
    assert titles(page) == ["And something else?"] and len(stored(page)) == 1
    page.click("#chats-undo")
    assert "<i>Lists</i>" in titles(page) and len(stored(page)) == 2


def test_conversations_outlive_a_reload_and_the_server(browser):
    with running(FakeEngine("A reply.")) as server, opened(browser, server.url) as page:
        ask(page, "one", "two")
        before = stored(page)
        page.reload()
        finished(page, 2)
        assert said(page, "user") == ["one", "two"] and stored(page) == before
        assert page.input_value("#message textarea") == ""  # what was sent is no draft
    # elsewhere the same: what the browser kept is read by a server that never saw it
    with running(FakeEngine("Another.")) as server, opened(browser, server.url) as page:
        store(page, *before)
        page.click("#chats-list .chat-link")
        finished(page, 2)
        ask(page, "three")
        assert said(page, "assistant") == ["A reply.", "A reply.", "Another."]
        assert "Human: two\n\nAssistant:A reply.\n\nHuman: three" in server.engine.prompt()


def test_a_reload_in_the_middle_loses_no_message(page, server, script):
    script([["Half ", threading.Event()], "Whole."])
    send(page, "a question")
    page.wait_for_selector("#log .growing :text('Half')")
    page.fill("#message textarea", "typed meanwhile")
    page.reload()
    page.wait_for_selector("#log .act-regenerate")
    assert said(page, "user") == ["a question"] and said(page, "assistant") == ["Half"]
    assert page.inner_text("#log .mark") == "Stopped" and page.is_visible("#log .act-continue")
    until(lambda: page.input_value("#message textarea") == "typed meanwhile")
    server.idle()
    page.click("#log .turn.assistant .act-regenerate")
    until(lambda: said(page, "assistant") == ["Whole."])
    finished(page)


def test_a_message_behind_one_without_a_reply_is_answered(page, server, script):
    script("Yes.")
    store(page, record(1, "lost"))
    page.click("#chats-list .chat-link")
    send(page, "asked instead")
    finished(page, 2)
    assert said(page, "user") == ["lost", "asked instead"]
    assert "lost" not in server.engine.prompt()  # a message without a reply teaches silence


def test_two_tabs_do_not_overwrite_each_other(browser, server, script):
    script("Yes.")
    with opened(browser, server.url) as one:
        ask(one, "begun")
        two = one.context.new_page()
        two.goto(server.url)
        two.click("#chats-list :text('begun')")
        finished(two)
        ask(two, "from two")
        ask(one, "from one")
        (kept,) = stored(one)
        assert {node["text"] for node in kept["nodes"].values()} == {
            "begun", "from two", "from one", "Yes.",
        }  # fmt: skip
        one.wait_for_selector("#log .steps :text('2/2')")
        two.wait_for_selector("#log .steps :text('1/2')")
        two.keyboard.press("Control+Shift+o")
        ask(two, "another")
        until(lambda: titles(one) == ["another", "begun"])


def test_what_is_being_read_does_not_vanish_when_another_tab_deletes_it(browser, server, script):
    script("Yes.")
    with opened(browser, server.url) as one:
        ask(one, "kept")
        two = one.context.new_page()
        two.goto(server.url)
        two.click("#chats-list :text('kept')")
        of_chat(two, "#chats-list li.open", "Delete")
        one.wait_for_selector("#unsaved:has-text('Not saved')")
        notice(one, "Not saved: 1 conversation only in this page. Export what you need.")
        ask(one, "and on")
        assert said(one, "user") == ["kept", "and on"] and len(stored(one)) == 1


def test_export_and_import(page, script):
    script("A reply with `code`.")
    ask(page, "A question?")
    page.click("#export")
    text, name = saved(page, lambda: page.click("#export-menu >> text=Markdown"))
    assert name == "a-question.md" and "## Reply\n\nA reply with `code`." in text
    page.click("#export")
    exported, name = saved(page, lambda: page.click("#export-menu >> text=JSON"))
    assert name == "a-question.json"
    (kept,) = stored(page)
    assert json.loads(exported)["conversations"] == [kept]
    assert kept["nodes"][kept["leaf"]]["receipt"]["sampling"]["seed"] >= 0

    of_chat(page, "#chats-list li.open", "Delete")
    choose(page, exported)
    notice(page, "1 conversation imported")
    choose(page, exported)  # once more changes nothing
    notice(page, "1 conversation imported")
    assert titles(page) == ["A question?"]
    page.click("#chats-list .chat-link")
    finished(page)
    assert said(page, "assistant") == ["A reply with code."]

    other = json.loads(exported)
    other["conversations"][0]["nodes"][kept["leaf"]]["text"] = "Another text"
    choose(page, json.dumps(other))
    until(lambda: len(titles(page)) == 2)
    assert said(page, "assistant") == ["A reply with code."]
    page.click("#chats-list li:not(.open) .chat-link")  # its turns have the ids of the others
    until(lambda: said(page, "assistant") == ["Another text"])
    finished(page)


def test_a_broken_file_is_refused_and_all_else_stays(page, script):  # more: tests/js/files.test.js
    script("Yes.")
    ask(page, "stays")
    before = stored(page)
    broken = [record(1, "a"), record(2, "b") | {"nodes": {"n00000001": None}}]
    choose(page, json.dumps({"format": "tech-assistant", "conversations": broken}))
    notice(page, "broken")
    assert "The file chats.json cannot be read" in page.inner_text("#chats-notice")
    assert stored(page) == before
    ask(page, "healthy")


def test_what_a_file_says_is_text_and_nothing_else(page, script):
    everything = "\n\n".join(HOSTILE)
    evil = record(3, everything, everything, title="<img src=x onerror=alert(1)>", extra="x")
    evil["nodes"]["n0003000001"] |= {
        "receipt": {"model": "<script>alert(1)</script>", "dropped": "y", "stop": 5},
        "ids": ["x"], "finish": "<b>", "pinned": "yes", "more": 1,
    }  # fmt: skip
    choose(page, json.dumps({"format": "tech-assistant", "conversations": [evil]}))
    page.click("#chats-list .chat-link")
    finished(page)
    page.click(".receipt summary")
    assert page.locator("#chat :is(img, script, form, iframe, svg.x, style, math)").count() == 0
    before = everything.split("\n```")[0]  # fences are shown as code
    assert said(page, "user")[0].startswith(before)
    assert "<script>alert(1)</script>" in page.inner_text(".receipt")
    (kept,) = stored(page)
    assert next(iter(kept["nodes"].values()))["text"] == everything
    assert kept.keys() == {*record(1, "a"), "settings"}
    names = kept["nodes"]["n0003000001"].keys() - {"sources"}  # which may be looked up by now
    assert names == {"parent", "role", "text", "receipt"}


def test_a_full_store_is_said_and_loses_nothing(browser, server, script):
    script("Yes. " * 20_000)
    with opened(browser, server.url) as page:
        ask(page, "fits")
        page.evaluate(
            "window.put = IDBObjectStore.prototype.put;"
            "IDBObjectStore.prototype.put = () => {"
            " throw new DOMException('full', 'QuotaExceededError') }; 0"
        )
        ask(page, "fits no more")
        page.wait_for_selector("#unsaved:has-text('Not saved')")
        notice(page, "1 conversation only in this page")
        assert said(page, "user") == ["fits", "fits no more"]
        page.evaluate("IDBObjectStore.prototype.put = window.put; 0")
        ask(page, "fits again")
        page.wait_for_selector("#unsaved", state="hidden")
        until(lambda: page.inner_text("#chats-notice") == "")
        assert len(stored(page)[0]["nodes"]) == 6


def test_a_blocked_store_is_said_and_the_chat_works(browser, server, script):
    script("Yes.")
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.add_init_script(
        "for (const name of ['localStorage', 'sessionStorage', 'indexedDB'])"
        "Object.defineProperty(window, name, {get() { throw new DOMException('blocked') }})"
    )
    page = context.new_page()
    page.goto(server.url)
    page.wait_for_selector("#message textarea")
    notice(page, "lets the page keep nothing")
    ask(page, "one", "two")
    assert said(page, "user") == ["one", "two"]
    assert len(titles(page)) == 1
    context.close()


def test_what_cannot_be_read_in_the_store_is_left_alone(page, script):
    script("Yes.")
    page.evaluate(f"localStorage.setItem('{CHAT}c00000009', '{{broken')")
    store(page, record(1, "whole", "Yes."))
    notice(page, "1 stored conversation cannot be read")
    assert titles(page) == ["whole"]
    ask(page, "healthy")
    assert page.evaluate(f"localStorage.getItem('{CHAT}c00000009')") == "{broken"


# -- 2: branches ------------------------------------------------------------------------------


def test_regenerate_and_edit_make_versions(page, server, script):
    script(["One.", "Two.", "Three.", "Four."])
    ask(page, "first <b>", "second")
    page.click("#log .turn.assistant >> nth=1 >> .act-regenerate")
    page.wait_for_selector("#log :text('Three.')")
    finished(page, 2)
    steps = page.locator("#log .turn.assistant >> nth=1 >> .steps")
    assert steps.inner_text().split() == ["‹", "2/2", "›"]
    steps.get_by_label("Earlier version").click()
    assert said(page, "assistant") == ["One.", "Two."]
    page.locator("#log .steps").get_by_label("Later version").click()
    assert said(page, "assistant") == ["One.", "Three."]

    page.fill("#message textarea", "a draft")
    page.click("#log .turn.user >> nth=0 >> .act-edit")
    assert page.input_value(".edit textarea") == "first <b>"
    assert (
        page.locator("#log .turn.assistant").first.evaluate("t => getComputedStyle(t).opacity")
        < "1"
    )
    page.keyboard.press("Escape")
    page.wait_for_selector(".edit", state="detached")
    page.click("#log .turn.user >> nth=0 >> .act-edit")
    page.fill(".edit textarea", "first, better")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#log :text('Four.')")
    finished(page)
    assert said(page, "user") == ["first, better"] and said(page, "assistant") == ["Four."]
    assert server.engine.prompt().count("Human:") == 1
    page.locator("#log .turn.user .steps").get_by_label("Earlier version").click()
    finished(page, 2)
    assert said(page, "assistant") == ["One.", "Three."]
    page.reload()
    finished(page, 2)
    assert said(page, "assistant") == ["One.", "Three."]
    assert page.input_value("#message textarea") == "a draft"


def test_undo_puts_the_message_back_and_redo_the_turns(page, script):
    script(["One.", "Two."])
    ask(page, "first", "second")
    page.click("#undo")
    page.click("#undo")
    page.wait_for_selector(".welcome")
    assert page.input_value("#message textarea") == "first"
    page.click("#redo")
    finished(page, 2)
    assert said(page, "user") == ["first", "second"]


def test_a_reply_that_was_cut_can_be_continued(page, server, script):
    script(["abc " * 100, "def."])
    page.click("#settings-button")
    page.fill("[name=max_new_tokens]", "9")
    page.press("[name=max_new_tokens]", "Tab")
    ask(page, "go")
    assert said(page, "assistant") == ["abc abc a"]
    assert page.inner_text("#log .mark") == "Cut at the reply's length limit"
    page.click("#log .act-continue")
    page.wait_for_selector("#log :text('def.')")
    finished(page)
    assert said(page, "assistant") == ["abc abc adef."]
    assert server.engine.prompt().endswith("Human: go\n\nAssistant:abc abc a")
    assert page.inner_text("#log .turn.assistant .steps").split()[1] in ("1/2", "2/2")
    page.click("#log .receipt summary")
    page.click("#log .act-saw")
    page.wait_for_selector("dialog.saw")
    seen = page.locator(".seen .seen-token").count()
    assert seen == len(server.engine.requests[-1].ids)  # with what was continued


def test_a_draft_outlives_an_edit_and_an_undo(page, script):
    script(["One.", "Two."])
    ask(page, "first", "second")
    draft = lambda: page.input_value("#message textarea")  # noqa: E731

    page.fill("#message textarea", "a draft")
    page.click("#log .turn.user >> nth=1 >> .act-edit")
    page.fill(".edit textarea", "second, better")
    page.reload()
    finished(page, 2)
    page.click("#log .turn.user >> nth=1 >> .act-edit")
    assert page.input_value(".edit textarea") == "second, better"  # what was typed there is kept
    page.click("#chats-new")
    page.wait_for_selector(".welcome")
    assert draft() == ""  # each conversation has its own
    page.click("#chats-list .chat-link")
    finished(page, 2)
    assert draft() == "a draft" and page.input_value(".edit textarea") == "second, better"
    page.click(".edit .act")
    page.click("#undo")
    until(lambda: draft() == "second\n\na draft")


def test_what_was_taken_back_is_not_there_after_a_reload(page, script):
    script("One.")
    ask(page, "first")
    page.click("#undo")
    page.wait_for_selector(".welcome")
    page.reload()
    until(lambda: page.input_value("#message textarea") == "first")
    assert page.locator("#log .turn").count() == 0


def test_one_reply_at_a_time_is_said(page, server, script):
    go_on = threading.Event()
    script(["One.", "Two.", ["Three", go_on]])
    ask(page, "first", "second")
    page.click("#log .act-regenerate >> nth=1")
    page.wait_for_selector("#log .growing :text('Three')")
    page.click("#log .receipt summary")
    page.click("#log .act-again")
    page.wait_for_selector("#chat-status:has-text('A reply is being written')")
    go_on.set()
    finished(page, 2)


def test_a_conversation_that_is_deleted_while_it_is_answered_stays_away(page, server, script):
    script([["Half ", threading.Event()], "Yes."])
    send(page, "slow")
    page.wait_for_selector("#log .growing :text('Half')")
    of_chat(page, "#chats-list li.open", "Delete")
    page.wait_for_selector(".welcome")
    server.idle()  # its reply was stopped
    ask(page, "healthy")
    assert titles(page) == ["healthy"] and len(stored(page)) == 1


def test_a_title_can_be_typed_while_a_reply_ends(page, script):
    go_on = threading.Event()
    script([["One ", go_on, "more."]])
    send(page, "hi")
    page.wait_for_selector("#log .growing :text('One')")
    of_chat(page, "#chats-list li.open", "Rename")
    page.keyboard.type("My new")
    go_on.set()
    finished(page)
    page.keyboard.type(" title")
    page.keyboard.press("Enter")
    until(lambda: titles(page) == ["My new title"])


def test_a_reply_goes_on_while_another_conversation_is_open(page, server, script):
    go_on = threading.Event()
    script([["Once ", go_on, "more."], "Other."])
    send(page, "slow")
    page.wait_for_selector("#log .growing :text('Once')")
    page.keyboard.press("Control+Shift+o")
    page.wait_for_selector(".welcome")
    assert not page.is_visible("#live")
    go_on.set()
    until(lambda: len(stored(page)[0]["nodes"]) == 2)
    page.wait_for_selector(".welcome")
    ask(page, "quick")
    page.click("#chats-list :text('slow')")
    finished(page)
    assert said(page, "assistant") == ["Once more."]


# -- 3: the ledger ----------------------------------------------------------------------------


def ledger(page):
    return page.inner_text("#ledger-words")


def test_the_ledger_counts_the_draft_before_it_is_sent(page, server, script):
    script("Yes.")
    counted(page, "template 19")
    counted(page, "room for the reply 256")
    page.fill("#message textarea", "x" * 1000)
    counted(page, "draft 1,0")
    before = len(server.engine.requests)
    page.fill("#message textarea", "x" * 9000)
    page.wait_for_selector("#ledger.over :text('8192')")
    assert len(server.engine.requests) == before  # nothing was computed
    assert page.get_by_role("group", name="Tokens of the next message").count() == 1


def test_turns_that_would_leave_are_greyed_and_a_pin_keeps_them(browser):
    engine = FakeEngine("word " * 40, window=1200)
    with running(engine, max_new_tokens=320) as server, opened(browser, server.url) as page:
        ask(page, "message 1", "message 2")
        assert page.locator("#log .gone").count() == 0
        page.fill("#message textarea", "x" * 400)
        page.wait_for_selector("#log .turn.gone")
        assert page.locator("#log .turn.user >> nth=0").get_attribute("class") == "turn user gone"
        page.wait_for_selector(".left-out")
        page.fill("#message textarea", "x")
        page.wait_for_selector("#log .turn.gone", state="detached")

        page.hover("#log .turn.user >> nth=0")
        page.click("#log .turn.user >> nth=0 >> .act-pin")
        counted(page, "pinned 2")
        page.fill("#message textarea", "x" * 400)
        page.wait_for_selector("#log .turn.gone")
        assert page.locator("#log .turn.user >> nth=0").get_attribute("class") == "turn user"
        page.press("#message textarea", "Enter")
        finished(page, 3)
        assert "message 1" in engine.prompt() and "message 2" not in engine.prompt()
        page.click("#log .turn:last-child .receipt summary")
        assert "1 earlier exchange" in page.inner_text("#log .turn:last-child .receipt table")

        page.click("#settings-button")
        page.check("[name=keep_all]")
        page.fill("#message textarea", "y" * 400)
        page.wait_for_selector("#ledger.over")
        page.press("#message textarea", "Enter")
        page.wait_for_selector("#chat-status:has-text('1200')")
        assert page.input_value("#message textarea") == "y" * 400


def test_settings_reach_the_engine_and_belong_to_the_conversation(page, server, script):
    script("Yes.")
    page.click("#settings-button")
    page.fill("[name=temperature]", "0.7")
    page.fill("[name=seed]", "12")
    page.fill("[name=max_new_tokens]", "33")
    page.select_option("[name=template]", label="Tech Assistant (short)")
    page.wait_for_selector("#template-chip:text('short')")
    until(lambda: "template 19 " not in ledger(page) and "room for the reply 33" in ledger(page))
    ask(page, "hi")
    request = server.engine.requests[-1]
    assert (request.sampling.temperature, request.sampling.seed) == (0.7, 12)
    assert request.max_new_tokens == 33
    assert server.engine.prompt().startswith("Below are dialogues")
    page.keyboard.press("Control+Shift+o")
    page.fill("[name=seed]", "")
    page.press("[name=seed]", "Tab")
    page.click("#chats-list .chat-link")
    assert page.input_value("[name=seed]") == "12"
    page.fill("[name=temperature]", "9")
    page.press("[name=temperature]", "Tab")
    send(page, "again")
    finished(page, 2)
    assert server.engine.requests[-1].sampling.temperature == 0.7


# -- 4: receipts ------------------------------------------------------------------------------


def test_a_receipt_says_how_a_reply_came_about_and_it_can_be_run_again(page, server, script):
    script(["One two three.", "One two three.", "One two four."])
    ask(page, "hi")
    page.click("#log .receipt summary")
    receipt = page.inner_text("#log .receipt table")
    for part in (
        "fake",
        "Test",
        "temperature 0.2",
        "Seed",
        "template 19",
        "8,192 tokens",
        "First token after",
        "nothing",
    ):
        assert part in receipt
    page.click("#log .act-again")
    page.wait_for_selector("#log .again :text('the same text')")
    first, second = server.engine.requests
    assert second.cold and not first.cold and second.sampling == first.sampling
    page.click("#log .act-again")
    page.wait_for_selector("#log .again :text('another text, from token 9 on')")
    assert page.locator("#log .again mark").all_inner_texts() == ["t", "f"]
    assert said(page, "assistant") == ["One two three."]


def test_what_cannot_be_run_again_is_said(page, script):
    kept = record(1, "hi", "Yes.")
    kept["nodes"][kept["leaf"]]["receipt"] = {"model": "other"}
    store(page, kept)
    page.click("#chats-list .chat-link")
    finished(page)
    page.click("#log .receipt summary")
    page.click("#log .act-again")
    page.wait_for_selector("#chat-status:has-text('receipt')")


def test_what_the_model_saw_is_the_prompt_token_by_token(page, server, script):
    script(["Yes.", "No."])
    ask(page, "is <|endoftext|> special?", "and now?")
    page.click("#settings-button")
    page.select_option("[name=template]", label="Tech Assistant (short)")  # it counts no more here
    page.locator("#log .receipt >> nth=1").locator("summary").click()
    page.locator("#log .act-saw").click()
    page.wait_for_selector("dialog.saw")
    tokens = page.locator(".seen .seen-token")
    assert tokens.count() == len(server.engine.requests[-1].ids)
    text = "".join(tokens.all_text_contents()).replace("↵\n", "\n")
    assert text == server.engine.prompt()
    plain = "".join(page.locator(".seen .from-plain").all_text_contents())
    assert plain == " is <|endoftext|> special?Yes. and now?"
    assert page.locator(".seen .from-special").count() == 0
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog.saw", state="detached")


def test_a_turn_goes_to_the_playground_and_comes_back_as_a_version(page, server, script):
    script(["One.", "Two, from there."])
    ask(page, "is <|endoftext|> special?")
    page.click("#log .receipt summary")
    page.click("#log .act-playground")
    until(lambda: page.input_value("#prompt").endswith("special?\n\nAssistant:"))
    page.click("#continue")
    page.wait_for_selector("#continuing .on:has-text('Two, from there.')")
    sent = server.engine.requests
    assert sent[-1].ids == sent[0].ids  # token by token the prompt of the chat
    page.get_by_role("button", name="Back to the chat").click()
    page.wait_for_selector("#log :text('Two, from there.')")
    assert "2/2" in page.inner_text("#log .turn.assistant .steps")
    page.get_by_label("Earlier version").click()
    assert said(page, "assistant") == ["One."]


# -- 5: sharing -------------------------------------------------------------------------------


def share(page):
    page.click("#share")
    return page.input_value("#share-link")


def test_a_shared_link_holds_the_conversation_and_tells_no_server(browser, server, script):
    script("A **reply**.")
    with opened(browser, server.url) as page:
        page.click("#settings-button")
        page.fill("[name=seed]", "5")
        ask(page, "secret question")
        link = share(page)
    assert link.startswith(server.url + "/#chat=1.") and "secret" not in link
    asked = []
    with opened(browser, server.url) as page:
        page.on("request", lambda request: asked.append(request.url + (request.post_data or "")))
        page.goto(link)
        page.reload()
        page.wait_for_selector("#banner :text('secret question')")
        counted(page, "template 19")  # it has asked, and was answered
        assert page.locator("#log .turn").count() == 0 and stored(page) == []
        assert not any("secret" in request or "chat=1" in request for request in asked)
        page.click("#open-shared")
        finished(page)
        assert said(page, "assistant") == ["A reply."]
        assert page.url.rstrip("/") == server.url
        ask(page, "and more")
        assert server.engine.requests[-1].sampling.seed == 5
        assert len(stored(page)) == 1


LINKS = [
    ("#chat=2.AAAA", "version"),
    ("#chat=1.", "damaged"),
    ("#chat=1.%%%", "damaged"),
    ("#chat=1.AAAA", "damaged"),
    ("#chat=1." + "A" * 70_000, "too long"),
    ("BOMB", "unfolds to more than 1,000,000"),
    ({"turns": []}, "no turns"),
    ({"turns": [5]}, "no text"),
    ({"turns": 5}, "no turns"),
    (["a"], "no turns"),
]


def fold(value):
    import base64
    import zlib

    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    folded = deflate.compress(value) + deflate.flush()
    return "#chat=1." + base64.urlsafe_b64encode(folded).decode().rstrip("=")


@pytest.mark.parametrize("link, reason", LINKS, ids=[str(n) for n in range(len(LINKS))])
def test_a_link_that_is_no_conversation_is_a_sentence(page, server, script, link, reason):
    script("Yes.")
    if link == "BOMB":
        link = fold(b'{"turns": [{"text": "' + b"x" * 20_000_000 + b'"}]}')
    elif not isinstance(link, str):
        link = fold(json.dumps(link).encode())
    page.goto(server.url + "/" + link)
    page.wait_for_selector("#chat-status:has-text('The shared link cannot be opened')")
    assert reason in page.inner_text("#chat-status")
    ask(page, "healthy")


def test_hostile_text_of_a_link_stays_text(page, server, script):
    script("Yes.")
    text = "\n\n".join(HOSTILE)
    turns = [{"text": text}, {"text": text, "finish": "evil"}]
    value = {"title": HOSTILE[1], "turns": turns, "settings": {"template": "../x", "seed": -1}}
    page.goto(server.url + "/" + fold(json.dumps(value).encode()))
    page.wait_for_selector("#banner :text('onerror')")
    page.click("#open-shared")
    finished(page)
    assert text[: text.index("```")] in said(page, "user")[0]
    assert page.locator("#chat :is(img, script, form, iframe, style, math)").count() == 0
    (kept,) = stored(page)
    assert text in [node["text"] for node in kept["nodes"].values()]
    assert kept["settings"] == {"template": "../x"}  # a name, which no server knows
    assert "../x is not on this server" in page.inner_text("#chat-status")
    ask(page, "healthy")


def test_the_html_file_reads_without_a_server_or_scripts(page, browser, script, tmp_path):
    script("Here:\n\n```python\nfor n in range(3):\n    pass\n```\n\n<script>alert(1)</script>")
    ask(page, "a <b> & c")
    page.click("#export")
    text, name = saved(page, lambda: page.click("#export-menu >> text=HTML"))
    assert name.endswith(".html") and "<script" not in text and "http-equiv" in text
    file = tmp_path / "chat.html"
    file.write_text(text, encoding="utf-8")
    reader = browser.new_page()
    asked = []
    reader.on("request", lambda request: asked.append(request.url))
    reader.goto(file.as_uri())
    assert reader.inner_text(".user .said") == "a <b> & c"
    assert "for n in range(3)" in reader.inner_text(".code-text")
    assert reader.locator("button, details").count() == 0
    assert asked == [file.as_uri()]
    colour = "getComputedStyle(document.querySelector('.code-text .k')).color"
    assert reader.evaluate(colour) != reader.evaluate("getComputedStyle(document.body).color")
    reader.close()


def test_an_address_puts_template_and_question_in_place(page, server, script):
    script("Yes.")
    page.goto(server.url + "/?prompt=tech-assistant-short&q=What%20is%20%3Cb%3E%3F")
    page.wait_for_selector("#template-chip:has-text('Tech Assistant (short)')")
    until(lambda: page.input_value("#message textarea") == "What is <b>?")
    assert server.engine.requests == [] and stored(page) == []
    assert page.url.rstrip("/") == server.url


def test_an_address_with_an_unknown_template_is_said(page, server, script):
    script("Yes.")
    page.goto(server.url + "/?prompt=no-such&q=hi")
    page.wait_for_selector("#chat-status:has-text('no prompt template no-such')")
    assert page.input_value("#message textarea") == "hi"


# -- 6: notices and keys ----------------------------------------------------------------------


def test_how_a_reply_ended_is_said_in_plain_words(page, script):
    script(["Yes.\n\nHuman: and", "No."])
    ask(page, "hi")
    assert said(page, "assistant") == ["Yes."]
    assert status(page) == ""  # all is well
    page.click("#log .receipt summary")
    assert "at “Human:”" in page.inner_text("#log .receipt table")


def test_a_busy_server_says_the_place_and_the_wait(browser):
    go_on = threading.Event()
    engine = FakeEngine(["Quick.", ["One ", go_on], "Two."], slots=1, queue=1)
    with running(engine) as server, opened(browser, server.url) as one:
        ask(one, "how long?")
        two = one.context.new_page()
        two.goto(server.url)
        two.wait_for_selector("#message textarea")
        send(one, "slow")
        one.wait_for_selector("#log .growing :text('One')")
        send(two, "hi")
        two.wait_for_selector("#chat-status:has-text('number 1 in line, about')")
        three = one.context.new_page()
        three.goto(server.url)
        three.wait_for_selector("#message textarea")
        send(three, "hi")
        three.wait_for_selector("#chat-status:has-text('taken')")
        assert three.input_value("#message textarea") == "hi"
        go_on.set()
        finished(two)


def test_escape_stops_and_the_box_knows_enter(page, server, script):
    script(["First ", threading.Event()])
    send(page, "hi")
    page.wait_for_selector("#log .growing :text('First')")
    page.keyboard.press("Escape")
    finished(page)
    assert page.inner_text("#log .mark") == "Stopped"
    server.idle()


# -- how much it costs ------------------------------------------------------------------------


def test_a_token_costs_the_page_no_more_behind_300_turns(page, server, script):
    ready, end = threading.Event(), threading.Event()
    script([["a ", ready, "b ", end, "c"]])
    store(page, record(1, *(f"turn {n} " + "word " * 40 for n in range(300))))
    page.click("#chats-list .chat-link")
    finished(page, 150)
    send(page, "go")
    page.wait_for_selector("#log .growing :text('a')")
    page.evaluate(
        "[...document.querySelectorAll('#log .turn:not(.growing)')].forEach((turn) =>"
        "new MutationObserver((all) => window.touched += all.length).observe("
        "turn, {childList: true, subtree: true, attributes: true}))"
    )

    def quiet():
        page.evaluate("window.touched = 0")
        page.wait_for_timeout(500)
        return page.evaluate("window.touched") == 0

    until(quiet)
    ready.set()
    page.wait_for_selector("#log .growing :text('a b')")
    assert page.evaluate("window.touched") == 0
    end.set()
    finished(page, 151)
    assert page.locator("#log .turn").count() == 302
