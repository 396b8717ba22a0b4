"""Completion templates and saved questions: those that ship, and how values are filled in."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.completion import library
from assistant.completion.complete import complete
from assistant.completion.library import Entry, Variable, completions, questions
from assistant.engine.open import open_engine
from assistant.errors import TemplateError, TextError
from assistant.generation.generate import Done
from assistant.sampling import Sampling
from assistant.settings import Settings
from assistant.text import MESSAGE_CHARS_MAX, check_message
from tests.support.checkpoints import SPECIAL
from tests.support.fake_engine import ByteTokenizer

TOKENIZER = ByteTokenizer(SPECIAL)
COMPLETIONS, QUESTIONS = completions(), questions()
# The special tokens of each format, in the order in which StarCoder was trained on them.
FORMATS = {
    "solution": ["<filename>"],
    "repository-file": ["<reponame>", "<filename>", "<gh_stars>"],
    "commit": ["<commit_before>", "<commit_msg>", "<commit_after>"],
    "notebook": ["<jupyter_start>", "<jupyter_text>", "<jupyter_code>"],
    "issue": ["<issue_start>", "<issue_comment>"],
    "function": [],
}
EVERY = [*COMPLETIONS.values(), *QUESTIONS.values()]


def example(entry):
    """Values for those variables that have no default."""
    return {each.name: "x = 1" for each in entry.variables if each.default is None}


def specials(raw, tokenizer=TOKENIZER):
    known = {token: text for text, token in tokenizer.special.items()}
    return [known[token] for token in raw.ids(tokenizer) if token in known]


# What ships


def test_what_ships():
    assert set(COMPLETIONS) == set(FORMATS)
    names = [entry.name for entry in COMPLETIONS.values()]
    assert names == sorted(names)
    assert len(QUESTIONS) >= 8
    kinds = {variable.kind for entry in EVERY for variable in entry.variables}
    assert kinds == set(library.KINDS)


@pytest.mark.parametrize("entry", EVERY, ids=lambda entry: entry.key)
def test_each_says_why_and_can_be_filled_in(entry):
    assert 20 < len(entry.why) < 130 and not entry.why.endswith(".")
    assert entry.missing_tokens(TOKENIZER) is None
    text = entry.fill(example(entry)).text
    for variable in entry.variables:
        assert variable.label and f"{{{variable.name}}}" not in text


@pytest.mark.parametrize("key", FORMATS)
def test_a_completion_spells_its_format(key, starcoder_tokenizer):
    raw = COMPLETIONS[key].fill({})
    for tokenizer in (TOKENIZER, starcoder_tokenizer):
        assert specials(raw, tokenizer) == FORMATS[key]
        assert raw.ids(tokenizer) == tokenizer.encode(raw.text, trusted=True)


@pytest.mark.parametrize("key", FORMATS)
def test_a_format_without_its_real_tokenizer(key):
    assert specials(COMPLETIONS[key].fill({})) == FORMATS[key]


def test_the_format_of_each():
    texts = {key: COMPLETIONS[key].fill({"code": "CODE"}).text for key in FORMATS}
    assert re.fullmatch(r"<filename>solutions/solution_1\.py\n# .+\nCODE", texts["solution"])
    assert re.fullmatch(
        r"<reponame>[\w/-]+<filename>[\w/.-]+<gh_stars>100-1000\nCODE", texts["repository-file"]
    )
    assert re.fullmatch(r"<commit_before>CODE<commit_msg>.+<commit_after>", texts["commit"])
    assert re.fullmatch(
        r"<jupyter_start><jupyter_text>(.|\n)+<jupyter_code>CODE", texts["notebook"]
    )
    assert re.fullmatch(
        r"<issue_start>Title: .+\nusername_0: (.|\n)+<issue_comment>username_1:", texts["issue"]
    )
    assert re.fullmatch(r'def \w+\(.*\):\n    """.+"""', texts["function"])
    stars = next(v for v in COMPLETIONS["repository-file"].variables if v.name == "stars")
    assert stars.choices == ("0", "1-10", "10-100", "100-1000", "1000+")


@pytest.mark.parametrize("entry", QUESTIONS.values(), ids=lambda entry: entry.key)
def test_a_question_is_a_message(entry):
    text = entry.fill(example(entry)).text
    assert check_message(text) == text and specials(entry.fill(example(entry))) == []


def test_the_model_that_ships_continues_each():
    engine = open_engine(Settings(device="cpu"))
    try:
        for entry in COMPLETIONS.values():
            assert entry.missing_tokens(engine.tokenizer) is None
            reply = complete(
                engine, entry.fill({}), sampling=Sampling(temperature=0), max_new_tokens=4
            )
            *_, done = reply
            assert isinstance(done, Done) and done.finished.new_tokens
    finally:
        engine.close()


# Filling in

WORD = Variable("word", label="Word", default="w")
CODE = Variable("code", "code", "Code")
COLOUR = Variable("colour", "choice", "Colour", "red", ("red", "green"))
COUNT = Variable("count", "number", "Count", "3", least=1, most=9)
ENTRY = Entry("e", "E", "why", "<filename>{word} {code}{word} {other} {}", (WORD, CODE))


def test_values_are_plain_text():
    raw = ENTRY.fill({"word": "<filename>", "code": "<fim_prefix>\n{word}"})
    assert raw.text == "<filename><filename> <fim_prefix>\n{word}<filename> {other} {}"
    assert [raw.text[a:b] for a, b in raw.plain] == [
        "<filename>",
        "<fim_prefix>\n{word}",
        "<filename>",
    ]
    assert specials(raw) == ["<filename>"]


@given(st.dictionaries(st.sampled_from(["word", "code"]), st.sampled_from([*SPECIAL, "x", "<"])))
def test_no_value_becomes_a_special_token(values):
    raw = ENTRY.fill({"code": "c"} | values)
    assert specials(raw) == ["<filename>"]


@pytest.mark.parametrize(
    "variable, value, text",
    [
        (WORD, " two words \x00", "two words"),
        (WORD, "", "w"),
        (WORD, None, "w"),
        (WORD, " \n", "w"),
        (CODE, "\n  a\r\n", "\n  a\n"),
        (COLOUR, "green", "green"),
        (COLOUR, None, "red"),
        (COUNT, "9", "9"),
        (COUNT, 9, "9"),
        (COUNT, 9.0, "9"),
        (COUNT, " 1 ", "1"),
        (COUNT, "", "3"),
    ],
)
def test_what_a_value_becomes(variable, value, text):
    assert variable.read(value) == text


@pytest.mark.parametrize(
    "variable, value, sentence",
    [
        (WORD, "a\nb", "Word must be one line."),
        (WORD, 5, "Word must be text, not 5."),
        (WORD, ["a"], "Word must be text, not ['a']."),
        (WORD, "x" * 501, "Word may have at most 500 characters; it has 501."),
        (CODE, "", "Code is empty; fill it in first."),
        (CODE, None, "Code is empty; fill it in first."),
        (CODE, "x" * (MESSAGE_CHARS_MAX + 1), "Code may have at most 100,000 characters; it has"),
        (COLOUR, "blue", "Colour must be one of red, green, not 'blue'."),
        (COUNT, "0", "Count must be from 1 to 9; 0 was given."),
        (COUNT, 10, "Count must be from 1 to 9; 10 was given."),
        (COUNT, "many", "Count must be a whole number, not 'many'."),
        (COUNT, "²", "Count must be a whole number, not"),
        (COUNT, 1.5, "Count must be a whole number, not '1.5'."),
        (COUNT, float("nan"), "Count must be a whole number, not nan."),
        (COUNT, float("inf"), "Count must be a whole number, not inf."),
        (COUNT, 10**400, "Count must be a whole number, not"),
        (COUNT, True, "Count must be a whole number, not True."),
    ],
)
def test_a_wrong_value_is_refused_in_one_sentence(variable, value, sentence):
    with pytest.raises(TextError) as caught:
        Entry("e", "E", "why", f"{{{variable.name}}}", (variable,)).fill({variable.name: value})
    assert str(caught.value).startswith(sentence) and len(str(caught.value)) < 100


def test_a_tokenizer_without_the_tokens():
    sentence = COMPLETIONS["commit"].missing_tokens(ByteTokenizer(("<|endoftext|>",)))
    assert sentence == (
        "Commit needs special tokens that this model's tokenizer lacks: "
        "<commit_before>, <commit_msg>, <commit_after>."
    )
    assert COMPLETIONS["function"].missing_tokens(ByteTokenizer(("<|endoftext|>",))) is None


# Files

GOOD = 'name = "N"\nwhy = "because"\ntext = "a {x}"\n[variables.x]\n'


def load(folder, monkeypatch, toml):
    (folder / "completion").mkdir()
    (folder / "completion" / "mine.toml").write_text(toml, encoding="utf-8")
    monkeypatch.setattr(library, "PROMPTS", folder)
    return completions()["mine"]


def test_the_least_that_a_file_needs(tmp_path, monkeypatch):
    entry = load(tmp_path, monkeypatch, GOOD)
    assert entry == Entry("mine", "N", "because", "a {x}", (Variable("x", label="x"),))


@pytest.mark.parametrize(
    "toml, words",
    [
        ("name = ", "cannot be read: Invalid value"),
        (GOOD.replace("name", "nome"), "unknown key 'nome'"),
        (GOOD.replace('"N"', "5"), "'name' must be a string"),
        (GOOD.replace('why = "because"', ""), "'why' must be a text on one line"),
        (GOOD.replace("because", "two\\nlines"), "'why' must be a text on one line"),
        (GOOD.replace("a {x}", " "), "'text' must be a text"),
        (GOOD.replace("{x}", "x"), r"its text has no \{x\}"),
        (GOOD + "size = 5", "unknown key 'size'"),
        (GOOD + 'kind = "float"', "'kind' must be one of text, code, choice, number, not 'float'"),
        (GOOD + 'kind = "choice"', "a choice, and nothing else, has 'choices'; look at 'x'"),
        (GOOD + 'choices = ["a"]', "a choice, and nothing else"),
        (GOOD + 'kind = "choice"\nchoices = [1]', "'choices' must be a list of strings"),
        (GOOD + 'kind = "number"\nleast = "1"', "'least' and 'most' must be whole numbers"),
        (GOOD + 'kind = "number"\ndefault = "x"', "default of 'x' is refused: x must be a whole"),
        (GOOD + "default = 5", "'default' must be a string"),
        (GOOD.replace("[variables.x]", "variables = 5"), "'variables' must be tables"),
        (GOOD.replace("[variables.x]", "[variables]\nx = 5"), "5 is not a table"),
    ],
)
def test_a_broken_file_is_named(tmp_path, monkeypatch, toml, words):
    with pytest.raises(TemplateError, match=words) as caught:
        load(tmp_path, monkeypatch, toml)
    assert "mine.toml" in str(caught.value) and str(caught.value).endswith(".")
