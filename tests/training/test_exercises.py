"""Exercises: what is taught as code is code that runs, and what is taught as broken is broken."""

import re
import tomllib
import warnings
from collections import Counter
from pathlib import Path

import pytest

from training import corpus
from training.corpus import Document
from training.exercises import (
    BROKEN_LINES,
    LINES,
    WIDTH,
    WRITINGS,
    description,
    exercises,
    free_names,
    snippets,
    written,
)
from training.mistakes import MEANING, MISTAKES, SYNTAX, broken, compiles

MODULE = '''"""A module."""
import math

def hypotenuse(a, b):
    """Return the length of the longest side.

    More is said here.
    """
    square = a * a + b * b
    return math.sqrt(square)

def area(a, b):
    """Return the area of a rectangle."""
    check(a, b)
    return a * b

def _hidden(a):
    """Return the number that is hidden."""
    a += 1
    return a

def vague(a):
    """Something about the number a."""
    a += 1
    return a

class Box:
    """A box."""
    def volume(self, height):
        """Compute the volume of the box."""
        area = self.area
        return area * height
'''


def _blocks(text):
    return re.findall(r"```python\n(.*?)\n```", text, re.S)


@pytest.fixture(scope="module")
def made():
    return exercises([Document("shapes.py", MODULE, True)])


@pytest.fixture(scope="module")
def library():
    """The topics made of the standard library of the Python that runs the tests."""
    files = sorted(corpus.STDLIB.glob("*.py"))
    texts = [(path.name, path.read_text("utf-8", "replace")) for path in files]
    return exercises([Document(name, text, True) for name, text in texts])


def _of(topics, kind):
    return [topic for topic in topics if topic.kind == kind]


# --- the standard library


def test_only_functions_that_say_what_they_do_are_explained(made):
    answers = {topic.key: topic.answer for topic in _of(made, "code") if topic.module}
    assert answers == {
        "code shapes.hypotenuse": "`hypotenuse` returns the length of the longest side.",
        "code shapes.area": "`area` returns the area of a rectangle.",
        "code shapes.Box.volume": "`volume` computes the volume of the box.",
    }


def test_the_code_is_shown_without_its_docstring(made):
    topic = next(topic for topic in made if topic.key == "code shapes.Box.volume")
    assert topic.module == "shapes"
    assert _blocks(topic.names[0]) == [
        "def volume(self, height):\n    area = self.area\n    return area * height"
    ]


def test_only_what_stands_on_its_own_is_to_be_written(made):
    keys = {topic.key: topic.answer for topic in _of(made, "write") if topic.module}
    assert list(keys) == ["write shapes.hypotenuse"]
    assert "```python\nimport math\n\ndef hypotenuse" in keys["write shapes.hypotenuse"]


def test_held_out_documents_are_not_taught():
    path = next(f"m{n}.py" for n in range(999) if Document(f"m{n}.py", "", True).held_out)
    assert snippets([Document(path, MODULE, True)]) == []


@pytest.mark.parametrize(
    ("docstring", "says"),
    [
        ("Return the *n* largest of ``items``. And more.", "returns the `n` largest of `items`"),
        ("Computes a sum\n    of numbers", "computes a sum of numbers"),
        ("Return x, or raise ValueError if none.", "returns x, or raises ValueError if none"),
        ("f(x) -> the value of x", ""),
        ("The sum of all of the numbers.", ""),
        ("Return it.", ""),
    ],
)
def test_a_docstring_becomes_a_description(docstring, says):
    assert description(docstring) == says


@pytest.mark.parametrize(
    ("code", "free"),
    [
        ("import a\ndef f(x):\n    return a.g(x, len(x))", set()),
        ("def f(x):\n    return a.g(x)", {"a"}),
        ("def f():\n    return [y for x in z for y in x]", {"z"}),
        ("class C:\n    n = 1\n    def f(self):\n        return C", set()),
    ],
)
def test_free_names(code, free):
    assert free_names(code) == free


def test_all_topics_keep_within_their_limits(library):
    assert max(Counter(topic.key for topic in library).values()) == 1
    for topic in library:
        assert all(topic.names) and "\n" not in topic.answer.split("```")[0].strip()
        for block in _blocks(topic.answer) + _blocks("\n".join(topic.names)):
            lines = block.split("\n")
            assert len(lines) <= LINES and max(map(len, lines)) <= WIDTH
            assert block.isascii() and (topic.kind == "fix" or compiles(block))
        assert len(topic.answer.split("```")[0]) <= 300


def test_the_order_depends_on_the_documents_alone(made):
    assert exercises([Document("shapes.py", MODULE, True)]) == made


# --- written by hand


@pytest.mark.parametrize("entry", WRITINGS["writing"], ids=lambda entry: entry["name"])
def test_a_program_runs_and_does_what_it_should(entry, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert free_names(entry["code"]) == set()
    assert _passes(entry["code"], entry["check"])


def _passes(code, check):
    names = {"__name__": "written"}
    exec(code, names)
    return bool(eval(check, {**names, "Path": Path}))


def test_a_library_function_to_be_written_runs(library):
    for topic in _of(library, "write"):
        if topic.module:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                exec(_blocks(topic.answer)[0], {"__name__": "written"})


def test_every_program_is_asked_for_in_words_of_its_own():
    asks = Counter(ask for entry in WRITINGS["writing"] for ask in entry["ask"])
    assert max(asks.values()) == 1
    assert max(Counter(entry["name"] for entry in WRITINGS["writing"]).values()) == 1


def test_nothing_is_asked_that_a_saying_answers(made):
    table = tomllib.loads((Path(corpus.__file__).parent / "sayings.toml").read_text("utf-8"))
    said = {ask.lower().rstrip(".?") for saying in table["saying"] for ask in saying["ask"]}
    asked = {
        ask.replace("{x}", name).lower().rstrip(".?")
        for topic in _of(made, "write")
        for ask in topic.asks
        for name in topic.names
    }
    assert not asked & said


def test_what_is_not_a_function_is_not_called_one(made):
    asks = {topic.key: topic.asks for topic in _of(made, "write")}
    assert not any("function" in ask for ask in asks["write Stack"])
    assert any("function" in ask for ask in asks["write gcd"])


# --- mistakes


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_every_mistake_is_made_and_shown_corrected(mistake, library):
    topics = [t for t in _of(library, "fix") if t.key.split()[1] == mistake.__name__]
    assert len(topics) >= 6
    for topic in topics:
        (wrong,), (right,) = _blocks(topic.names[0]), _blocks(topic.answer)
        assert compiles(right) and compiles(wrong) == (mistake in MEANING)
        assert len(right.split("\n")) == len(wrong.split("\n")) <= BROKEN_LINES
        differing = [a for a, b in zip(right.split("\n"), wrong.split("\n"), strict=True) if a != b]
        assert len(differing) == 1
    assert set(MISTAKES) == {*SYNTAX, *MEANING}


@pytest.mark.parametrize("mistake", MEANING, ids=lambda mistake: mistake.__name__)
def test_a_mistake_of_meaning_fails_the_check(mistake, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tried = 0
    for snippet, _, _ in written():
        for wrong, _said in broken(mistake, snippet.code):
            tried += 1
            try:
                assert not _passes(wrong, snippet.check), wrong
            except AssertionError:
                raise
            except Exception:  # an error is a failure as well
                continue
    assert tried > 2
