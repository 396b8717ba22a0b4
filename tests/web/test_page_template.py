"""The template editor's route over HTTP: a template as fields, as a file, and in tokens."""

import pytest

from assistant.prompting.editor import to_toml
from assistant.prompting.load import MARKER_CHARS_MAX, TEMPLATE_CHARS_MAX, read_template
from assistant.web.pages.templates import routes
from tests.support.fake_engine import FakeEngine
from tests.support.server import TEMPLATE, Page, running


@pytest.fixture(scope="module")
def page():
    with running(FakeEngine()) as server, Page(server.url) as page:
        page.engine = server.engine
        yield page


def look(page, **body):
    answer = page.ask("template", body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_template_by_its_name_as_a_file_and_as_fields(page):
    page.engine.pinned.clear()
    told = look(page, name="tech-assistant-short")
    template = read_template(told["toml"])
    assert told["fields"]["name"] == template.name == "Tech Assistant (short)"
    assert told["hash"] == template.short and told["jinja"] == template.to_jinja()
    assert [card["role"] for card in told["fields"]["dialogues"][0]] == ["user", "assistant"]
    assert page.engine.pinned == []  # to look at it costs the engine nothing
    assert look(page, fields=told["fields"]) == told
    assert look(page, toml=told["toml"]) == told


def test_a_field_that_changed_stands_in_the_file_and_in_the_tokens(page):
    fields = look(page, toml=to_toml(TEMPLATE))["fields"]
    assert fields["intro"] == "A dialogue." and fields["dialogues"] == []
    fields["dialogues"] = [[{"role": "user", "text": "Hi."}, {"role": "assistant", "text": "Yes."}]]
    fields["system"] = "Keep to this: {system}\n\n"
    told = look(page, fields=fields)
    written = read_template(told["toml"]).preamble
    assert written == "A dialogue.\n\n-----\n\nHuman: Hi.\n\nAssistant: Yes.\n\n-----\n"
    assert told["preamble_tokens"] == len(written) and told["count"] == len(told["tokens"])
    shown = "".join(text for text, _, _ in told["tokens"])
    assert shown.startswith(f"{written}\nKeep to this: {routes.INSTRUCTIONS}\n\nHuman: What")
    assert shown.endswith("Human: And what does len do?\n\nAssistant:")
    assert {kind for _, _, kind in told["tokens"]} == {"trusted", "plain"}


def test_special_tokens_count_in_a_template_and_must_be_the_models(page):
    toml = to_toml(TEMPLATE).replace("A dialogue.", "A <fim_prefix> dialogue.")
    assert ["<fim_prefix>", 1, "special"] in look(page, toml=toml)["tokens"]
    told = look(page, toml=toml.replace("fim_prefix", "|no_such|"))
    assert "lacks: <|no_such|>" in told["error"] and "tokens" not in told


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"name": ""}, "'name' is empty"),
        ({"user": "a\nb"}, "'user' must be a marker on one line"),
        ({"system": "nothing"}, "'system' must hold {system} once"),
        ({"sampling": {"temperature": 9}}, "temperature must be from 0 to 2"),
        ({"stop": ["a"] * 65}, "At most 64 stop strings"),
        ({"separator": " x"}, "'separator' must be one line"),
    ],
)
def test_fields_that_are_not_usable_are_written_all_the_same(page, change, sentence):
    """So whoever types loses nothing on the way to the other view."""
    fields = look(page, toml=to_toml(TEMPLATE))["fields"] | change
    told = look(page, fields=fields)
    assert sentence in told["error"] and told["toml"].startswith("name = ")
    assert look(page, toml=told["toml"])["error"] == told["error"]


def test_a_template_is_bounded(page):
    told = look(page, toml="x" * (TEMPLATE_CHARS_MAX + 1))
    assert told["error"] == (
        "A prompt template may have at most 100,000 characters; this one has 100,001."
    )
    long = look(page, toml=to_toml(TEMPLATE).replace("A dialogue.", "a" * 9_000))
    assert "fill the model's window" in long["note"] and long["count"] > routes.SHOWN_MAX
    assert len(long["tokens"]) == routes.SHOWN_MAX


@pytest.mark.parametrize(
    "body, status",
    [
        ({"name": "../README"}, 400),
        ({"name": "/etc/passwd.toml"}, 400),
        ({"name": 5}, 400),
        ({"fields": {"name": "x"}}, 400),
        ({"fields": {"dialogues": [[{"role": "tool", "text": "x"}]]}}, 400),
        ([], 400),
        ({}, 200),
    ],
)
def test_junk_is_answered(page, body, status):
    answer = page.ask("template", body)
    assert answer.status_code == status
    assert status == 200 or answer.json()["error"]["message"]


@pytest.mark.parametrize("key", ["name", "user", "assistant", "turn_end", "separator"])
def test_what_is_written_with_each_turn_is_short(page, key):
    fields = look(page, toml=to_toml(TEMPLATE))["fields"] | {key: "x" * (MARKER_CHARS_MAX + 1)}
    answer = page.ask("template", {"fields": fields})
    assert answer.status_code == 400 and "at most 200 characters" in answer.text


def test_what_no_encoding_has_is_answered(page):
    assert look(page, toml="name = '\ud800")["toml"] == "name = '\ufffd"


def test_dialogues_that_would_be_far_too_long_are_refused(page):
    fields = look(page, toml=to_toml(TEMPLATE))["fields"]
    dialogues = [[{"role": "user", "text": ""}] * 200] * 50
    answer = page.ask("template", {"fields": fields | {"user": "x" * 99, "dialogues": dialogues}})
    assert answer.status_code == 400
    assert "at most 100,000 characters" in answer.json()["error"]["message"]
