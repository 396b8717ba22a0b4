"""Preambles, taken apart into dialogues and put together again: the same text, or no parts."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.conversation import Turn
from assistant.errors import TextError
from assistant.prompting.dialogues import put_together, take_apart
from assistant.prompting.editor import DIALOGUES_MAX, TURNS_MAX, fields_to_toml, to_fields
from assistant.prompting.load import (
    TEMPLATE_CHARS_MAX,
    load_template,
    read_template,
    template_names,
)
from assistant.prompting.template import PromptTemplate

PLAIN = PromptTemplate("x", "Human:", "Assistant:", "\n\n", "", separator="-----")
TEMPLATES = [
    PLAIN,
    replace(PLAIN, separator=None),
    PromptTemplate("x", "<|user|>\n", "<|assistant|>\n", "<|end|>\n", ""),
    PromptTemplate("x", "USER:", "ASSISTANT:", " </s> ", "", separator="==="),
    PromptTemplate("x", "Q", "Q and A", "", ""),
    PromptTemplate("x", "### Human", "###", "\n", "", separator="***"),
]


@pytest.mark.parametrize("name", template_names())
def test_every_template_here_comes_apart_and_together(name):
    template = load_template(name)
    intro, dialogues = take_apart(template)
    assert put_together(intro, dialogues, template) == template.preamble
    assert read_template(fields_to_toml(to_fields(template))) == template
    if template.separator:
        assert intro.startswith("Below are dialogues") and "Human:" not in intro
        assert len(dialogues) > 4
        assert [turn.role for turn in dialogues[0][:2]] == ["user", "assistant"]
        assert dialogues[0][0].text == "Who are you?"


WORDS = st.text("ab \n\t`-=*QHuman:<|>/#", max_size=30)
TEXTS = st.lists(
    WORDS | st.sampled_from(["Human:", "\n\n", "-----", "\n", "Assistant:", "USER:", " </s> "])
    | st.sampled_from(["<|user|>\n", "<|end|>\n", "===", "###", "Q and A", "Q"]),
    max_size=12,
).map("".join)  # fmt: skip


@given(st.sampled_from(TEMPLATES), TEXTS)
def test_what_is_taken_apart_gives_the_same_text_again(template, text):
    template = replace(template, preamble=text)
    parts = take_apart(template)
    assert parts is None or put_together(*parts, template) == text
    assert fields_to_toml(to_fields(template)) == fields_to_toml(
        to_fields(template) | {"dialogues": None}
    )


SAID = st.from_regex(r"[a-z.]+( |\n\n?[a-z.]+){0,3}", fullmatch=True).map(str.strip)
TURNS = st.builds(Turn, st.sampled_from(["user", "assistant"]), SAID)


@pytest.mark.parametrize("template", TEMPLATES[:4])
@given(
    intro=st.just("") | st.from_regex(r"[A-Z][a-z]+(\n\n[a-z]+)?", fullmatch=True),
    dialogues=st.lists(st.lists(TURNS, min_size=1, max_size=4), max_size=4),
)
def test_what_was_put_together_comes_apart(template, intro, dialogues):
    preamble = put_together(intro, dialogues, template)
    parts = take_apart(replace(template, preamble=preamble))
    assert parts is not None
    if template.separator is None:  # nothing tells where one dialogue ends
        dialogues = [sum(dialogues, [])] if dialogues else []
    assert parts == (intro, dialogues)


@pytest.mark.parametrize(
    "preamble",
    ["Human: a", "A line.\n\nHuman: a\n\n-----\n", "Human: a\n\n-----\n\nMore.\n\n-----\n", " x\n"],
)
def test_what_would_be_written_in_another_way_stays_one_text(preamble):
    template = replace(PLAIN, preamble=preamble)
    assert take_apart(template) is None
    fields = to_fields(template)
    assert fields["dialogues"] is None and fields["preamble"] == preamble


@pytest.mark.parametrize("dialogues, turns", [(DIALOGUES_MAX, 2), (1, TURNS_MAX)])
def test_more_dialogues_than_a_page_may_send_are_one_text(dialogues, turns):
    spoken = [Turn("assistant" if n % 2 else "user", "a") for n in range(turns)]
    fits = replace(PLAIN, preamble=put_together("", [spoken] * dialogues, PLAIN))
    assert len(to_fields(fits)["dialogues"]) == dialogues
    more = [[*spoken, *spoken[:1]]] if dialogues == 1 else [spoken] * (dialogues + 1)
    long = replace(PLAIN, preamble=put_together("", more, PLAIN))
    assert to_fields(long)["dialogues"] is None and to_fields(long)["intro"] == ""


def test_dialogues_that_are_too_long_are_refused_before_they_are_written(monkeypatch):
    card = {"role": "user", "text": "a"}
    fields = to_fields(PLAIN) | {"user": "x" * 1_000, "dialogues": [[card] * 150]}
    monkeypatch.setattr("assistant.prompting.editor.put_together", pytest.fail)
    with pytest.raises(TextError, match="at most 100,000 characters; .* have 150,[0-9]{3}"):
        fields_to_toml(fields)
    with pytest.raises(TextError):
        fields_to_toml(fields | {"user": "x", "intro": "a" * (TEMPLATE_CHARS_MAX + 1)})
