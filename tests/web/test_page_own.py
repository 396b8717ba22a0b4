"""What a person brings to a reply: instructions, a template of their own, the reply's first words,
and sampling; in the receipt, in the prompt that is shown, and when it is run again."""

import json

import pytest

from assistant.prompting.editor import to_toml
from assistant.prompting.load import TEMPLATE_CHARS_MAX
from assistant.prompting.template import PromptTemplate
from tests.support.fake_engine import FakeEngine
from tests.support.server import healthy_page, running

OWN = PromptTemplate("Mine", "Q:", "A:", "\n", "Answers are short.\n", system="Rule: {system}\n")
TEXT = to_toml(OWN)
SHORT = "In one line, please."


@pytest.fixture(scope="module")
def server():
    with running(FakeEngine("Hello.")) as server:
        yield server


@pytest.fixture
def page(server, script):
    script("Hello.")
    with healthy_page(server, script) as page:
        yield page


def prompt(server):
    return server.engine.tokenizer.decode(server.engine.requests[-1].ids)


def again(page, receipt):
    with page.news("again", turns=page.turns, receipt=receipt) as news:
        return list(news)[-1]["compared"]["at"]


def shown(page, **body):
    answer = page.ask("prompt", {"turns": page.turns, "to": "see", "settings": {}, **body}).json()
    return "".join(text for text, _, _ in answer["tokens"])


def test_a_template_of_ones_own(server, page):
    settings = {"template": "Mine", "template_text": TEXT}
    receipt = page.chat("hi", settings=settings)[-1]["receipt"]
    assert prompt(server) == "Answers are short.\nQ: hi\nA:"
    assert (receipt["template"], receipt["template_text"]) == ("Mine", TEXT)
    assert again(page, receipt) is None
    assert prompt(server) == "Answers are short.\nQ: hi\nA:"
    assert shown(page, receipt=receipt) == shown(page, settings=settings)
    assert page.ask("count", {"settings": settings}).json()["preamble"] == len(OWN.preamble + "Q:")


def test_the_servers_template_is_not_in_the_receipt(page):
    assert page.chat("hi")[-1]["receipt"]["template_text"] is None


@pytest.mark.parametrize(
    "text, why",
    [
        ("name = 1", "missing"),
        ("x" * (TEMPLATE_CHARS_MAX + 1), "100,000 characters"),
        (TEXT.replace("A:", "<|assistant|>"), "lacks"),
        (TEXT.replace("Answers are short.", "x" * 90_000), "tokens"),
        (TEXT + "\n[more]\npath = '/etc/passwd'", "unknown key"),
        (["no text"], "text"),
    ],
)
def test_what_is_no_template_is_refused(page, text, why):
    body = {"run": "number-1", "turns": [], "text": "hi", "settings": {"template_text": text}}
    answer = page.ask("chat", body)
    assert answer.status_code == 400 and why in answer.json()["error"]["message"]
    counted = page.ask("count", {"settings": {"template_text": text}}).json()
    assert why in counted["error"]


def test_instructions_join_the_preamble(server, page):
    settings = {"template_text": TEXT, "system": f"{SHORT}\u200b\n"}
    receipt = page.chat("hi", settings=settings)[-1]["receipt"]
    assert prompt(server) == f"Answers are short.\nRule: {SHORT}\nQ: hi\nA:"
    assert receipt["system"] == SHORT and SHORT in shown(page, receipt=receipt)
    assert again(page, receipt) is None and SHORT in prompt(server)
    counts = [
        page.ask("count", {"settings": {"template_text": TEXT, "system": system}}).json()
        for system in ("", SHORT)
    ]
    assert counts[1]["preamble"] - counts[0]["preamble"] == len(f"Rule: {SHORT}\n")


def test_no_instructions_without_a_place_for_them(page):
    text = to_toml(PromptTemplate("Bare", "Q:", "A:", "\n", ""))
    settings = {"template_text": text, "system": SHORT}
    body = {"run": "number-1", "turns": [], "text": "hi", "settings": settings}
    assert "no place for a system message" in page.ask("chat", body).json()["error"]["message"]


def test_the_first_words_of_a_reply(server, page, script):
    script(" world.")
    first, *_, last = page.chat("hi", begin="Hello,", settings={"template_text": TEXT})
    assert prompt(server).endswith("Q: hi\nA: Hello,")
    assert (first["text"], last["turn"]["text"]) == ("Hello,", "Hello, world.")
    receipt = last["receipt"]
    assert receipt["continued"] == len(" Hello,")
    assert again(page, receipt) is None and prompt(server).endswith("A: Hello,")
    body = {"settings": {"template_text": TEXT}, "text": "hi"}
    counts = [page.ask("count", {**body, "begin": begin}).json() for begin in ("", " ", "Hello,")]
    assert counts[0] == counts[1]
    assert counts[2]["draft"] - counts[0]["draft"] == len(" Hello,")


def test_all_sampling(server, page):
    settings = {"temperature": 0.5, "top_p": 0.5, "top_k": 5, "min_p": 0.1, "seed": 3,
                "repetition_penalty": 1.1, "presence_penalty": 1, "frequency_penalty": -1,
                "typical_p": 0.9, "dry_multiplier": 0.8, "dry_base": 2, "dry_allowed_length": 3,
                "logit_bias": [[5, 1.5]]}  # fmt: skip
    receipt = page.chat("hi", settings=settings)[-1]["receipt"]
    assert receipt["sampling"].items() >= settings.items()
    body = {"run": "number-1", "turns": [], "text": "hi", "settings": {"top_p": 2}}
    assert "top_p" in page.ask("chat", body).json()["error"]["message"]


@pytest.mark.parametrize(
    "changed", [{"system": 1}, {"template_text": 1}, {"system": "x" * 100_001}]
)
def test_a_receipt_that_was_changed(page, changed):
    receipt = page.chat("hi")[-1]["receipt"] | changed
    body = {"run": "number-2", "turns": page.turns, "receipt": json.loads(json.dumps(receipt))}
    assert page.ask("again", body).status_code == 400
