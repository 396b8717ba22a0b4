"""Each question takes a right answer and refuses a near-miss; question files are checked."""

import tomllib
from pathlib import Path

import pytest

from assistant.errors import SettingsError
from assistant.evaluation.questions import load_questions
from assistant.evaluation.run_code import run_code
from assistant.paths import ROOT

QUESTIONS = load_questions()
ANSWERS = tomllib.loads((ROOT / "tests" / "data" / "answers.toml").read_text("utf-8"))


def test_there_are_60_with_an_answer_each():
    assert len(QUESTIONS) == 60
    assert [question.key for question in QUESTIONS] == list(ANSWERS)


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.key)
def test_the_right_answer_passes_and_the_near_miss_fails(question):
    right, wrong = ANSWERS[question.key]["right"], ANSWERS[question.key]["wrong"]
    assert question.faults(right) == ()
    if question.run:
        assert run_code(question.code(right), question.run) is None
        assert question.faults(wrong) == ()  # only running it tells
        assert run_code(question.code(wrong), question.run)
    else:
        assert question.faults(wrong)


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.key)
def test_other_wordings_of_the_right_answer_pass(question):
    for text in ANSWERS[question.key].get("also", ()):
        assert question.faults(text) == (), text


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.key)
@pytest.mark.parametrize("reply", ["", "I do not know.", "```python\n```", "ask"])
def test_no_question_takes_an_empty_phrase_or_itself(question, reply):
    text = question.ask if reply == "ask" else reply
    assert question.faults(text) or run_code(question.code(text), question.run)


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.key)
def test_no_question_takes_the_right_answer_to_another(question):
    for other in QUESTIONS:
        if other is not question and not (question.run and other.run):
            assert question.faults(ANSWERS[other.key]["right"]), other.key


GOOD = '[[question]]\nkey = "k"\narea = "a"\nask = "?"\nfacts = [["x"]]\n'


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("", r"must be \[\[question\]\] tables"),
        ("question = 3", "must be"),
        ("question = [3]", "Question 1 .* it is not a table"),
        ("[[question]", "cannot be read"),
        (GOOD + GOOD, "the key 'k' twice"),
        (GOOD + "fact = 1", "unknown key 'fact'"),
        (GOOD.replace('"?"', '" "'), "'ask' must be a text"),
        (GOOD.replace('[["x"]]', '["x"]'), "'facts' must be"),
        (GOOD.replace('[["x"]]', "[[]]"), "'facts' must be"),
        (GOOD.replace('[["x"]]', '[["("]]'), "'facts' must be"),
        (GOOD.replace('[["x"]]', "[]"), "nothing checks"),
        (GOOD + 'never = "x"', "'never' must be"),
        (GOOD + 'language = "Klingon"', "not 'Klingon'"),
        (GOOD + 'language = ["python"]', "'language' must be one of"),
        (GOOD + 'never = ["a{99999999999999}"]', "'never' must be"),
        (GOOD + f'never = ["{"(" * 5000}{")" * 5000}"]', "'never' must be"),
        (GOOD + f"facts = {'[' * 5000}", "cannot be read"),
        (GOOD + 'run = "assert 1"', "beside the language python"),
        (GOOD + 'language = "python"\nrun = "assert"', "'run' must be Python"),
    ],
)
def test_a_bad_file_is_refused_in_a_sentence(tmp_path, text, sentence):
    path = tmp_path / "q.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=sentence):
        load_questions(path)


def test_no_file():
    with pytest.raises(SettingsError, match="cannot be read"):
        load_questions(Path("/nowhere/q.toml"))
