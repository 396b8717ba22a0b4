"""The small world of code: each kind runs in all its forms, each bug is one, and what is drawn from
a kind says what is true of it."""

import ast
import random
import re
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.training.test_asked import words
from training import everyday, judging, small_code
from training.dialogues import CORES, HELD_OUT, Dialogues
from training.running import run_all
from training.small_code import documented, kinds, middles, parts_of, program, taught, whole

PARTS = 12  # of all kinds, a test each


def forms(kind):
    """The usual forms of a kind, one for each way to write it, and one other."""
    return [*small_code.usual(kind), program(kind, random.Random(kind.key))]


@pytest.mark.parametrize("part", range(PARTS))
def test_every_form_runs_and_every_bug_is_one(part):
    right, wrong = [], []
    for kind in kinds()[part::PARTS]:
        for n, one in enumerate(forms(kind)):
            title, setup, checks = f"{kind.key} {n}", f"\n\n{one.setup}", list(one.checks)
            assert ast.parse("\n".join(documented(one, random.Random(n))))
            if not one.setup:  # what is printed is what the check says
                calls = map(parts_of, checks)
                checks += [f"str({call}) == str({value})" for call, value in calls]
            right.append((title, one.code + setup, checks))
            if n < len(kind.codes):
                wrong += [(f"{title} {why}", code + setup, one.checks) for code, why in one.bugs]
    assert run_all(right) == {}
    assert {title for title, *_ in wrong} == set(run_all(wrong))


def test_kinds_differ_and_some_are_held_out():
    every = kinds()
    assert len(every) > 900 and len({kind.key for kind in every}) == len(every)
    assert 0.06 < 1 - len(taught()) / len(every) < 0.1
    assert all(len(set(kind.says)) == len(kind.says) >= 4 for kind in every)


def test_no_docstring_of_the_evaluation_is_taught():
    texts = [stub["code"] for stub in judging.read("stubs")["stub"]]
    fills = judging.read("fills")["fill"]
    texts += [fill["prefix"] + fill["middle"] + fill["suffix"] for fill in fills]
    judged = {words(said) for text in texts for said in re.findall(r'"""(.*?)"""', text, re.S)}
    assert {words(text) for kind in kinds() for text in kind.says} & judged == set()


def test_what_is_held_out_is_taught_under_no_other_name():
    held_out = [one.code for kind in kinds() if kind.held_out for one in small_code.usual(kind)]
    assert {small_code.shape_of(code) for code in held_out} & small_code.taught_shapes() == set()
    said = {held_out: {words(text) for kind in kinds() if kind.held_out is held_out
                       for text in kind.says} for held_out in (True, False)}  # fmt: skip
    assert said[True] & said[False] == set()


@given(st.integers(0, len(kinds()) - 1), st.integers(0, 10**6))
@example(780, 74088)  # the line ends with a bracket
def test_a_middle_lies_inside(at, seed):
    rng = random.Random(seed)
    text = whole(program(kinds()[at], rng), rng)
    start, end = middles(text, rng)
    assert 0 <= start <= end <= len(text)
    start, end = middles(text, rng, "line")
    assert text[start:end].strip() and "\n" not in text[start:end] and text[end : end + 1] in "\n"
    start, end = middles(text, rng, "block")
    assert text[start:end].strip() and text[end : end + 1] in "\n"
    assert not text[:start].rpartition("\n")[2].strip()  # it begins at a line, or its indentation


def test_the_usual_names_and_ways_come_most():
    kind = next(kind for kind in kinds() if len(kind.codes) == 3)
    rng, (first, *_) = random.Random(1), kind.words["name"]
    drawn = [program(kind, rng) for _ in range(20_000)]
    names = Counter(one.name for one in drawn)
    assert names.most_common(1)[0][0] == first and names[first] < 0.8 * len(drawn)
    assert {one.code for one in small_code.usual(kind)} <= {one.code for one in drawn}


@given(st.integers(0, len(kinds()) - 1), st.integers(0, 10**6))
def test_what_is_said_of_a_program_is_true_of_it(at, seed):
    rng = random.Random(seed)
    one = program(kinds()[at], rng)
    what, x, answer = small_code.about(one, rng)
    assert what in CORES and what in HELD_OUT and x.strip()
    blocks = re.findall(r"```python\n(.*?)\n```", answer, re.S)
    if what == "code":
        assert answer == one.told and f"`{one.name}`" in answer
    elif what == "prints":
        call = re.search(r"\nprint\((.*)\)\n```$", x)[1]
        values = dict(map(parts_of, one.checks))
        assert f"```text\n{ast.literal_eval(values[call])}\n```" in answer
    else:
        assert len(blocks) == 1 and ast.parse(blocks[0])
        assert what != "fix" or one.code == blocks[0] != x


def test_follow_ups_differ_in_words_and_are_held_out_in_part():
    counts = Counter(
        words(text) for one in everyday.FOLLOW_UPS.values() for text in one["ask"] + one["held_out"]
    )
    assert [text for text, count in counts.items() if count > 1] == []


@pytest.mark.parametrize(
    ("answer", "key", "expected"),
    [
        ("`len` counts. It is fast.", "again_shorter", "`len` counts."),
        ("Use `sorted`:\n\n```python\nsorted([2, 1])\n```", "again_shorter", "Use `sorted`."),
        (
            "Use `sorted`:\n\n```python\nsorted([2, 1])\n```",
            "again_code",
            "```python\nsorted([2, 1])\n```",
        ),
        ("Use `sorted`:\n\n```python\nsorted([2, 1])\n```", "again_name", "That is `sorted`."),
        ("`a` or `b`.", "again_name", None),
        ("It is 3.11 now, e.g. here. More.", "again_shorter", "It is 3.11 now, e.g. here."),
        ("One sentence.", "again_shorter", None),
        ("One sentence.", "again_code", None),
    ],
)
def test_what_comes_after_an_answer(answer, key, expected):
    topic = everyday.asked_topics()[0]
    assert everyday.follow_ups(topic, answer).get(key) == expected


def test_each_family_is_drawn():
    talk, rng = Dialogues([], breadth="few"), random.Random(1)
    answers = {answer for _ in range(600) for _, answer, _ in talk.draw(rng)}
    asked = {topic.answer for topic in talk.asked}
    assert talk.declining.answer in answers and len(answers & asked) > 100
    assert any(answer.startswith("This function ") for answer in answers)
    held_out = {kind.key for kind in kinds() if kind.held_out}
    assert held_out.isdisjoint(kind.key for kind in talk.small_code)
