"""Continuations of raw prompts, one and several."""

import pytest

from assistant.completion.complete import PRESETS, SAMPLES_MAX, complete, samples
from assistant.completion.raw import Raw
from assistant.engine.protocol import Waiting
from assistant.errors import (
    EngineBusy,
    EngineError,
    RequestError,
    SamplingError,
    TextError,
    WindowError,
)
from assistant.generation.ends import Ends
from assistant.generation.generate import Done
from assistant.sampling import SEED_MAX, Sampling
from tests.support.fake_engine import FakeEngine

GREEDY = Sampling(temperature=0)


def run(engine, prompt="def f(", *, max_new_tokens=100, **options):
    options.setdefault("sampling", GREEDY)
    reply = complete(engine, prompt, max_new_tokens=max_new_tokens, **options)
    *events, done = (event for event in reply if not isinstance(event, Waiting))
    assert "".join(event.text for event in events) == done.text
    assert engine.status().running == 0
    return done


def test_text_goes_in_and_comes_out_as_it_is():
    engine = FakeEngine("  x):\n\n    Human:\n-----\n  ")
    done = run(engine, "\n def f(\t")
    assert engine.prompt() == "\n def f(\t"
    assert done.text == "  x):\n\n    Human:\n-----\n  "
    assert done.ids == tuple(engine.tokenizer.encode(done.text))
    assert (done.reason, done.stop) == ("stop", "<|endoftext|>")


def test_a_raw_prompt_is_trusted():
    engine = FakeEngine(["a", 2, "b"])
    done = run(engine, "<fim_prefix>x<fim_suffix>y<fim_middle>")
    special = engine.tokenizer.special
    (request,) = engine.requests
    assert [token for token in request.ids if token < len(special)] == [
        special["<fim_prefix>"],
        special["<fim_suffix>"],
        special["<fim_middle>"],
    ]
    assert (request.stop_ids, request.banned_ids, request.penalty_from) == ({0}, frozenset(), 0)
    assert done.text == "a<fim_middle>b"
    assert done.ids == (*engine.tokenizer.encode("a"), 2, *engine.tokenizer.encode("b"))


def test_what_stands_before_a_document_stands_there_once():
    engine = FakeEngine(special=("<|endoftext|>", "<s>"), bos="<s>")
    for prompt, special, sent in (
        ("def f", True, "<s>def f"),
        ("<s>def f", True, "<s>def f"),
        ("<s>def f", False, "<s><s>def f"),
        (Raw("<s>def f", ((0, 3),)), True, "<s><s>def f"),
        (engine.tokenizer.encode("def f"), True, "def f"),  # ids are taken as they are
    ):
        run(engine, prompt, special=special)
        assert engine.prompt() == sent and engine.requests[-1].ids.count(1) == (sent != "def f")
    for prompt, tokens in (("ab", 3), ([5, 6], 2)):
        reply = complete(engine, prompt, sampling=GREEDY, max_new_tokens=9)
        assert reply.ledger.prompt == tokens
        reply.close()


def test_all_ends_of_the_model_end_a_continuation():
    engine = FakeEngine(["a", 2, "b"])
    engine.tokenizer.end_ids = frozenset({0, 2})
    assert run(engine, "x").text == "a"
    assert run(engine, "x", ends=Ends(ignore_eos=True)).text == "ab"
    assert engine.requests[-1].banned_ids == {0, 2}


def test_a_switch_and_plain_ranges_read_special_tokens_as_text():
    engine = FakeEngine()
    prompt = "<fim_prefix>x<fim_suffix>"
    for given, special, counting in (
        (prompt, True, [1, 3]),
        (prompt, False, []),
        (Raw(prompt), True, [1, 3]),
        (Raw(prompt, ((0, 12),)), True, [3]),
        (Raw(prompt, ((0, 12),)), False, []),
    ):
        run(engine, given, special=special)
        ids = engine.requests[-1].ids
        assert [token for token in ids if token < len(engine.tokenizer.special)] == counting
        assert engine.prompt() == prompt


def test_a_continuation_goes_on_from_ids():
    engine = FakeEngine(" c")
    begun = engine.tokenizer.encode(" b")
    done = run(engine, "a", begun=begun)
    assert engine.prompt() == "a b" and done.text == " c"
    assert engine.requests[-1].ids == tuple(engine.tokenizer.encode("a") + begun)
    run(engine, "a", begun=(2, *begun))  # a raw prompt's continuation may hold a special token
    assert engine.prompt() == "a<fim_middle> b"


def test_a_stop_string_may_begin_in_what_was_there():
    engine = FakeEngine("D rest")
    done = run(engine, "a", begun=engine.tokenizer.encode("xxEN"), stop=["END"])
    assert (done.text, done.stop, done.cut) == ("", "END", 2)
    done = run(engine, "a", begun=engine.tokenizer.encode("END x"), stop=["END"])
    assert (done.text, done.reason) == ("D rest", "stop")


def test_stop_strings_and_length():
    engine = FakeEngine("one two three")
    done = run(engine, stop=["thr", "zzz"])
    assert (done.text, done.stop) == ("one two ", "thr")
    done = run(engine, max_new_tokens=3)
    assert (done.text, done.reason, done.stop) == ("one", "length", None)


def test_the_ledger_and_the_seed():
    engine = FakeEngine()
    reply = complete(engine, "abc", sampling=Sampling(), max_new_tokens=5)
    ledger = reply.ledger
    assert (ledger.preamble, ledger.history, ledger.message, ledger.reply) == (0, 0, 3, 5)
    assert reply.sampling == engine.requests[0].sampling
    assert reply.sampling.seed is not None
    reply.close()
    assert engine.cancelled == 1


@pytest.mark.parametrize("more, fits", [(-1, True), (0, True), (1, False)])
def test_the_edge_of_the_window(more, fits):
    engine = FakeEngine(window=20)
    if fits:
        assert run(engine, "x" * (10 + more), max_new_tokens=10).text == "Hello."
    else:
        with pytest.raises(
            WindowError, match=r"holds 20 tokens, and 11 for the text \+ 10 for the"
        ):
            run(engine, "x" * (10 + more), max_new_tokens=10)


@pytest.mark.parametrize(
    "prompt, options, error",
    [
        ("", {}, TextError),
        (None, {}, TextError),
        (["x"], {}, RequestError),
        ("x" * 200_001, {}, TextError),
        ("x", {"max_new_tokens": 0}, SamplingError),
        ("x", {"max_new_tokens": 1e9}, SamplingError),
        ("x", {"max_new_tokens": 2.7}, SamplingError),
        ("x", {"stop": "abc"}, SamplingError),
        ("x", {"stop": ["a" * 257]}, SamplingError),
        (Raw("", ()), {}, TextError),
        (Raw("x" * 200_001), {}, TextError),
        ("x", {"begun": [-1]}, RequestError),
        ("x", {"begun": [10**9]}, RequestError),
        ("x", {"begun": [True]}, RequestError),
        ("x", {"begun": ["7"]}, RequestError),
        ("x", {"begun": None}, RequestError),
        ("x", {"begun": "abc"}, RequestError),
        ("x", {"begun": [9] * 9000}, WindowError),
    ],
)
def test_what_is_asked_wrongly_never_reaches_the_engine(prompt, options, error):
    engine = FakeEngine()
    with pytest.raises(error):
        run(engine, prompt, **options)
    assert engine.requests == []
    assert run(engine).text == "Hello."


def test_an_error_in_the_middle_keeps_the_partial_text():
    engine = FakeEngine(["Half", EngineError("Out of memory.")])
    text = ""
    with pytest.raises(EngineError):
        for event in complete(engine, "x", sampling=GREEDY, max_new_tokens=9):
            text += event.text
    assert text == "Half"
    engine.script = "Fine."
    assert run(engine).text == "Fine."


# Several


def several(engine, count, **options):
    options = {"sampling": Sampling(temperature=1, seed=7), "max_new_tokens": 9} | options
    return samples(engine, "x", count, **options)


def test_samples_are_submitted_at_once_with_seeds_in_a_row():
    engine = FakeEngine(["one", "two", "three"])
    replies = several(engine, 3)
    assert len(engine.requests) == 3 == engine.status().running
    assert [request.sampling.seed for request in engine.requests] == [7, 8, 9]
    assert [reply.sampling.seed for reply in replies] == [7, 8, 9]
    assert len({request.ids for request in engine.requests}) == 1
    texts = [event.text for reply in replies for event in reply if isinstance(event, Done)]
    assert texts == ["one", "two", "three"]


def test_samples_without_a_seed_draw_the_first():
    engine = FakeEngine()
    seeds = [reply.sampling.seed for reply in several(engine, 2, sampling=Sampling())]
    assert seeds[1] == seeds[0] + 1


@pytest.mark.parametrize("count", [0, -1, SAMPLES_MAX + 1, 1.5, True, "2", None, [1], 1e99])
def test_how_many_samples(count):
    engine = FakeEngine()
    with pytest.raises(RequestError, match="number of samples must be from 1 to 8"):
        several(engine, count)
    assert engine.requests == []
    assert len(several(engine, 2.0)) == 2  # a slider's number


def test_the_seeds_of_samples_begin_again_behind_the_last_one():
    engine = FakeEngine()
    several(engine, 3, sampling=Sampling(seed=SEED_MAX - 1))
    found = [request.sampling.seed for request in engine.requests]
    assert found == [SEED_MAX - 1, SEED_MAX, 0]


def test_samples_run_all_or_none():
    engine = FakeEngine(slots=1, queue=1)
    with pytest.raises(EngineBusy):
        several(engine, 3)
    assert engine.active == [] and engine.cancelled == len(engine.requests)
    assert run(engine).text == "Hello."


def test_presets_say_what_they_are_for():
    for sampling, why in PRESETS.values():
        assert isinstance(sampling, Sampling) and sampling.seed is None
        assert why and "\n" not in why
