"""What a checkpoint is judged by: answers by what they hold, programs by running them."""

import random

import pytest

from training import judging, small_code
from training.judging import Wanted, answered, by_hand, of_body
from training.questions import Asked

ASKED = Asked("asked", "", "", ("?",), "")


@pytest.fixture
def writes(monkeypatch):
    """Engines that write what they are told, and what they were asked to go on with."""
    seen = []

    def told(texts):
        def write(engine, prompts, longest, name):
            seen.extend(prompts)
            return [(text, True) for text in texts]

        monkeypatch.setattr(judging, "write", write)
        return Engine()

    class Engine:
        class tokenizer:
            special = {"<fim_prefix>": "P", "<fim_suffix>": "S", "<fim_middle>": "M"}
            encode = staticmethod(list)

    told.seen = seen
    return told


@pytest.mark.parametrize(
    ("keys", "code", "reply", "right"),
    [
        ((("sorted(",),), False, "Use `Sorted(items)`.", True),
        ((("sorted(",),), False, "Use `items.sort()`.", False),
        ((("sorted(", ".sort("),), False, "Use `items.sort()`.", True),
        ((("open(",), ("with",)), False, "with open(path) as file:", True),
        ((("open(",), ("with",)), False, "open(path)", False),
        ((("x",),), True, "```python\nx = 1\n```", True),
        ((("x",),), True, "```python\nx = \n```", False),
        ((("x",),), True, "```python\nx = y\n```", False),
        ((("x",),), True, "x", False),
        ((("in",),), False, "a string", False),
        ((("in",),), False, "x in items", True),
        ((("x",),), False, "I cannot help with that: I only know x.", False),
    ],
)
def test_an_answer_holds_what_it_must_and_its_code_runs(keys, code, reply, right):
    assert answered([Wanted(ASKED, keys, code)] * 2, [reply, reply]) == [right, right]


def test_wordings_that_were_never_taught_are_asked():
    every = judging.held_out_wordings(random.Random(1), 200)
    taught = {ask for one in judging.everyday.asked().values() for ask in one["ask"]}
    assert len(every) == 200 and not {one.asked.messages[0] for one in every} & taught
    answers = [one.asked.answer for one in every]
    assert all(answered(every, answers)) and not any(answered(every, [""] * 200))


@pytest.mark.parametrize(
    ("kind", "least"), [("question", 200), ("off_topic", 60), ("near_miss", 40)]
)
def test_questions_by_hand(kind, least):
    assert len(by_hand(kind)) >= least


@pytest.mark.parametrize(
    ("code", "text", "body"),
    [
        ("def f(x):", "\n    return x\n\nprint(1)", "\n    return x\n"),
        (
            "class A:\n    def f(self):",
            "\n        return 1\n    def g(self):",
            "\n        return 1",
        ),
        ("class A:", "\n    x = 1\n\n    y = 2\nz = 3", "\n    x = 1\n\n    y = 2"),
        ("import os\n\ndef f(x):", " return x\ny", " return x"),
    ],
)
def test_what_belongs_to_the_body(code, text, body):
    assert of_body(code, text) == body


def test_what_a_stub_is_completed_with_is_run(writes):
    solutions = [stub["solution"] for stub in judging.read("stubs")["stub"]]
    engine = writes([f"\n{text}\nprint(undefined)" for text in solutions])
    figures = judging.complete(engine, judging.stubs_by_hand(), "stubs")
    assert figures == {"places": len(solutions), "parse": 1, "right": 1}
    assert not any("".join(prompt).endswith("\n") for prompt in writes.seen)
    figures = judging.complete(writes(["\n    return"] * 110), judging.stubs_by_hand(), "stubs")
    assert figures["right"] < 0.1


@pytest.mark.parametrize("what", ["line", "block"])
def test_what_a_gap_is_filled_with_is_run(writes, what):
    middles = [fill["middle"] for fill in judging.read("fills")["fill"] if fill["kind"] == what]
    figures = judging.fill(writes(middles), judging.fills_by_hand(what), "gaps")
    assert figures == {"places": len(middles), "parse": 1, "right": 1}
    assert all(prompt[0] == "P" and prompt[-1] == "M" for prompt in writes.seen)
    figures = judging.fill(writes(["pass"] * len(middles)), judging.fills_by_hand(what), "gaps")
    assert figures["right"] < 0.1


def test_what_is_left_out_is_never_taught_and_can_be_met(writes):
    keys = {kind.key for kind in small_code.taught()}
    stubs = list(judging.stubs_left_out(random.Random(2), 2))
    gaps = list(judging.fills_left_out(random.Random(2), "line", 1))
    assert len(stubs) > 100 and len(gaps) > 60
    assert not keys & {title.rpartition(" ")[0] for title, *_ in (*stubs, *gaps)}


def test_the_declining_answer_is_right_nowhere():
    every = [*by_hand("question"), *judging.held_out_wordings(random.Random(2), 2000)]
    assert len(every) > 1700
    declined = "I cannot help with that: I only know Python. Ask me, for instance, what `x` does."
    assert not any(answered(every, [declined] * len(every)))
    assert not any(answered(every, ["What?"] * len(every)))


@pytest.mark.parametrize(
    ("wanted", "reply", "right"),
    [
        (
            Wanted(ASKED, (), True, ("f(2) == 4",)),
            "```python\ndef f(x):\n    return x * x\n```",
            True,
        ),
        (Wanted(ASKED, (), True, ("f(2) == 4",)), "```python\ndef f(x):\n    return x\n```", False),
        (Wanted(ASKED, (), True, ("n == [1]",), "n = []\n"), "```python\nn.append(1)\n```", True),
    ],
)
def test_code_that_is_asked_for_does_what_it_must(wanted, reply, right):
    assert answered([wanted], [reply]) == [right]


def test_follow_ups_in_unseen_words():
    every = judging.follow_ups(random.Random(3), 40)
    taught = {ask for one in judging.everyday.FOLLOW_UPS.values() for ask in one["ask"]}
    assert all(len(one.asked.messages) == 2 for one in every)
    assert not {one.asked.messages[1] for one in every} & taught
    assert all(answered(every, [one.asked.answer for one in every]))


def test_stubs_are_known_or_not():
    known, others = (list(judging.stubs_by_hand(known)) for known in (True, False))
    assert known and others and len(known) + len(others) == len(list(judging.stubs_by_hand()))
    shape, other = small_code.shape_of, "def g(n: int) -> int:\n    return n + 1"
    assert shape("def f(a):\n    'A.'\n    return a + 1") == shape(other)
    assert shape("def f(a): return a.upper()") != shape("def f(a): return a.lower()")
