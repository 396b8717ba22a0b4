import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.errors import SamplingError
from assistant.sampling import (
    SEED_MAX,
    TEMPERATURE_MIN,
    Sampling,
    check_max_new_tokens,
    check_stops,
)
from assistant.text import quoted

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    "name, value, kept",
    [
        ("temperature", 0, 0.0),
        ("temperature", -0.0, 0.0),
        ("temperature", 1e-45, TEMPERATURE_MIN),
        ("temperature", 0.01, 0.01),
        ("temperature", 2, 2.0),
        ("top_p", 1, 1.0),
        ("top_p", 1e-9, 1e-9),
        ("top_k", 0, 0),
        ("top_k", 40.0, 40),
        ("top_k", 1000, 1000),
        ("repetition_penalty", 0.5, 0.5),
        ("repetition_penalty", 2, 2.0),
        ("seed", None, None),
        ("seed", 0, 0),
        ("seed", 7.0, 7),
        ("seed", SEED_MAX, SEED_MAX),
    ],
)
def test_values_in_range_are_kept(name, value, kept):
    result = getattr(Sampling(**{name: value}), name)
    assert (result, type(result)) == (kept, type(kept))


@pytest.mark.parametrize(
    "name, values, words",
    [
        ("temperature", [NAN, INF, -INF, -1, -1e-9, 2.01, 99, 10**400], "must be from 0 to 2; "),
        ("temperature", ["hot", "0.2", None, True, [1], {}], "must be a number, not "),
        ("top_p", [NAN, INF, 0, -0.1, 1.5], "must be above 0 and at most 1; "),
        ("top_p", ["x", None, False], "must be a number, not "),
        ("top_k", [-5, -1, 1001, 10**9, 10**400], "must be from 0 to 1000; "),
        ("top_k", [2.7, NAN, INF, "5", None, True], "must be a whole number, not "),
        ("repetition_penalty", [0, 0.49, 2.1, NAN, INF], "must be from 0.5 to 2; "),
        ("repetition_penalty", ["x", None, True], "must be a number, not "),
        ("seed", [-1, SEED_MAX + 1, 10**40], "must be from 0 to 9007199254740991; "),
        ("seed", [0.5, NAN, "7", True], "must be a whole number, not "),
    ],
)
def test_other_values_are_refused_with_the_range(name, values, words):
    for value in values:
        with pytest.raises(SamplingError) as caught:
            Sampling(**{name: value})
        sentence = str(caught.value)
        assert sentence.startswith(f"{name} {words}")
        assert quoted(value) in sentence and len(sentence) < 120
    assert Sampling().temperature == 0.2


@pytest.mark.parametrize("value", [1, 512, 512.0, 8192])
def test_max_new_tokens(value):
    assert check_max_new_tokens(value, 8192) == value
    assert type(check_max_new_tokens(value, 8192)) is int


@pytest.mark.parametrize(
    "value, words",
    [
        (0, "must be from 1 to 8192; 0 was given"),
        (-1, "must be from 1 to 8192; -1 was given"),
        (8193, "must be from 1 to 8192; 8193 was given"),
        (1e9, "must be from 1 to 8192; 1000000000 was given"),
        (2.7, "must be a whole number, not 2.7"),
        ("abc", "must be a whole number, not 'abc'"),
        (None, "must be a whole number, not None"),
        (NAN, "must be a whole number, not nan"),
        (True, "must be a whole number, not True"),
    ],
)
def test_bad_max_new_tokens(value, words):
    with pytest.raises(SamplingError, match=f"max_new_tokens {words}"):
        check_max_new_tokens(value, 8192)


@pytest.mark.parametrize(
    "stops, kept",
    [
        (None, ()),
        ([], ()),
        (("END",), ("END",)),
        (["b", "a", "b"], ("b", "a")),
        (["\n", " ", "x" * 64, "😀"], ("\n", " ", "x" * 64, "😀")),
    ],
)
def test_stops(stops, kept):
    assert check_stops(stops) == kept


@pytest.mark.parametrize(
    "stops, words",
    [
        ("END", "must be a list of strings"),
        ([1], "must be a list of strings"),
        ({"END": 1}, "must be a list of strings"),
        (["a"] * 65, "At most 64 stop strings are allowed; 65 were given"),
        ([""], "must have 1 to 256 characters; one has 0"),
        (["x" * 257], "must have 1 to 256 characters; one has 257"),
        (["x" * 1000], "must have 1 to 256 characters; one has 1000"),
    ],
)
def test_bad_stops(stops, words):
    with pytest.raises(SamplingError, match=words):
        check_stops(stops)


def test_seeds():
    assert Sampling(seed=7).seeded() == Sampling(seed=7)
    seeds = {Sampling().seeded().seed for _ in range(20)}
    assert len(seeds) == 20
    assert all(0 <= seed <= SEED_MAX for seed in seeds)
    assert Sampling(top_k=5).seeded().top_k == 5


ANY = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)


@given(ANY, ANY, ANY, ANY, ANY)
def test_any_value_is_in_range_or_refused(temperature, top_p, top_k, penalty, seed):
    try:
        sampling = Sampling(temperature, top_p, top_k, penalty, seed)
    except SamplingError as error:
        assert str(error).isascii() and "\n" not in str(error)
        return
    assert sampling.temperature == 0 or 0.01 <= sampling.temperature <= 2
    assert 0 < sampling.top_p <= 1
    assert 0 <= sampling.top_k <= 1000
    json.dumps([sampling.temperature, sampling.seed], allow_nan=False)


@pytest.mark.parametrize("value", ["\x1b[31m\n", "\ud83d", "é" * 99, list(range(99)), 1 << 999])
def test_shown_values_are_short_and_plain(value):
    text = quoted(value)
    assert text.isascii() and text.isprintable() and len(text) <= 40


def test_what_cannot_be_shown_is_named():
    deep = []
    for _ in range(5_000):
        deep = [deep]
    for value, name in ((16**9_000, "<int>"), (deep, "<list>")):
        assert quoted(value) == name
        with pytest.raises(SamplingError, match=name):
            Sampling(seed=value)
