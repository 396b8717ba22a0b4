import pytest

from assistant.engine import Waiting
from assistant.errors import EngineError, SamplingError, TextError, WindowError
from assistant.playground import complete
from assistant.sampling import Sampling
from tests.fake_engine import FakeEngine

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
        (["x"], {}, TextError),
        ("x" * 200_001, {}, TextError),
        ("x", {"max_new_tokens": 0}, SamplingError),
        ("x", {"max_new_tokens": 1e9}, SamplingError),
        ("x", {"max_new_tokens": 2.7}, SamplingError),
        ("x", {"stop": "abc"}, SamplingError),
        ("x", {"stop": ["a" * 65]}, SamplingError),
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
