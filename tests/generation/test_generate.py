import copy
import itertools
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.engine.protocol import Finished, Request, Waiting
from assistant.errors import EngineBusy, EngineDead, EngineError, WindowError
from assistant.generation.generate import Delta, Done, generate
from assistant.generation.stops import StopScanner
from assistant.sampling import Sampling
from tests.support.fake_engine import FakeEngine, logprob


def request(engine, *, prompt="Hello", max_new_tokens=1000, **options):
    options.setdefault("stop_ids", frozenset({engine.tokenizer.eos_id}))
    ids = tuple(engine.tokenizer.encode(prompt))
    return Request(ids, Sampling(), max_new_tokens, **options)


def run(engine, scanner=None, **options):
    """All events of one generation without Waiting: the text of its Deltas, and its Done."""
    events = list(generate(engine, request(engine, **options), scanner or StopScanner()))
    events = [event for event in events if not isinstance(event, Waiting)]
    *deltas, done = events
    assert all(isinstance(delta, Delta) and delta.text for delta in deltas)
    assert isinstance(done, Done)
    assert "".join(delta.text for delta in deltas) == done.text
    assert engine.status().running == engine.status().waiting == 0
    return done


def healthy(engine):
    engine.script = "Fine."
    done = run(engine)
    assert (done.text, done.reason) == ("Fine.", "stop")


def chat(**options):
    return StopScanner(markers=("Human:",), separator="-----", strip=True, **options)


def test_events_come_in_order():
    engine = FakeEngine("Hé!")
    events = list(generate(engine, request(engine), StopScanner()))
    assert [event.text for event in events[:-1]] == ["H", "é", "!"]
    done = events[-1]
    assert done.ids == tuple(engine.tokenizer.encode("Hé!"))
    assert isinstance(done.finished, Finished)
    assert (done.finished.prompt_tokens, done.finished.new_tokens) == (5, 4)


@pytest.mark.parametrize(
    "script, scanner, options, expected",
    [
        ("One.", {}, {}, ("One.", "stop", "<|endoftext|>")),
        ("One.", {}, {"max_new_tokens": 2}, ("On", "length", None)),
        ("One.", {}, {"max_new_tokens": 4}, ("One.", "length", None)),
        ("One. Two", {"strings": ("Two",)}, {}, ("One. ", "stop", "Two")),
        ("One. Two", {"strings": ("Two!",)}, {}, ("One. Two", "stop", "<|endoftext|>")),
        ("One. Two", {"strings": ("Two!",)}, {"max_new_tokens": 7}, ("One. Tw", "length", None)),
        ("", {}, {}, ("", "stop", "<|endoftext|>")),
        ("  \n ", {"strip": True}, {}, ("", "stop", "<|endoftext|>")),
        ("Human:", {"markers": ("Human:",)}, {}, ("", "stop", "Human:")),
        ("a\n-----", {"separator": "-----", "strip": True}, {}, ("a", "stop", "-----")),
        ("a\n-----", {"separator": "-----"}, {"max_new_tokens": 7}, ("a\n", "stop", "-----")),
        ([b"a\xf0\x9f"], {}, {}, ("a\ufffd", "stop", "<|endoftext|>")),
        (["a", 1, "b"], {}, {}, ("a<fim_prefix>b", "stop", "<|endoftext|>")),
        (["a", 1, "b"], {}, {"banned_ids": frozenset({1})}, ("ab", "stop", "<|endoftext|>")),
        (["a", 1, "b"], {}, {"stop_ids": frozenset({0, 1})}, ("a", "stop", "<fim_prefix>")),
    ],
)
def test_how_a_reply_ends(script, scanner, options, expected):
    engine = FakeEngine(script)
    done = run(engine, StopScanner(**scanner), **options)
    assert (done.text, done.reason, done.stop) == expected
    assert done.finished.reason == done.reason
    healthy(engine)


def test_a_stop_cancels_the_engine_at_once():
    endless = FakeEngine(lambda request: itertools.cycle(["Human:"]))
    done = run(endless, chat())
    assert done.text == ""
    assert endless.cancelled == 1
    assert done.finished.reason == "stop"
    assert done.finished.new_tokens == len("Human:")
    assert done.finished.prompt_tokens == 5
    assert 0 <= done.finished.ttft_s <= done.finished.total_s
    healthy(endless)


# The ids of what is shown


@pytest.mark.parametrize(
    "script, scanner, text, count",
    [
        ("One.", StopScanner(), "One.", 4),
        (" One.\n\nHuman: x", chat(), "One.", 5),  # the space before it belongs to the turn
        ("One.\n\n", chat(), "One.", 4),
        ("é😀\nHuman:", chat(), "é😀", 6),
        ("One. Two", StopScanner(strings=(" T",)), "One.", 4),
        (["On", tuple(range(100, 103)), "e"], StopScanner(), "On_`ae", 6),
        ("", chat(), "", 0),
        ("Human:", chat(), "", 0),
    ],
)
def test_ids_make_up_exactly_the_text(script, scanner, text, count):
    engine = FakeEngine(script)
    done = run(engine, scanner)
    assert done.text == text
    assert len(done.ids) == count
    decoded = engine.tokenizer.decode(done.ids)
    assert (decoded.lstrip() if scanner.strip else decoded) == text


def test_no_ids_where_a_token_reaches_beyond_the_text():
    engine = FakeEngine(["One", 1])  # the token spells <fim_prefix>
    done = run(engine, StopScanner(strings=("_pre",)))
    assert (done.text, done.ids, done.stop) == ("One<fim", None, "_pre")


TEXTS = st.lists(
    st.sampled_from(
        [
            "Human:",
            "\nHuman:",
            "\n-----\n",
            "-----",
            "\n",
            " ",
            "END",
            "EN",
            "😀",
            "é",
            "```\n",
            "x",
        ]
    ),
    max_size=12,
).map("".join)


@settings(max_examples=500)
@given(TEXTS, st.data())
def test_streamed_text_equals_the_whole(text, data):
    """500 random replies with stops and emoji, cut into tokens at random bytes."""
    raw = text.encode()
    places = sorted(data.draw(st.sets(st.integers(0, len(raw)), max_size=12)) | {0, len(raw)})
    engine = FakeEngine()
    first = len(engine.tokenizer.special)
    engine.script = [
        tuple(byte + first for byte in raw[a:b]) for a, b in itertools.pairwise(places)
    ]
    whole = chat(strings=("END",))
    expected = whole.feed(text) + whole.flush()
    done = run(engine, chat(strings=("END",)))
    assert done.text == expected
    if whole.fired:
        assert done.stop == whole.fired
    assert engine.tokenizer.decode(done.ids).strip() == expected


@pytest.mark.parametrize(
    "before, script, text, cut", [("One", " two", " two", 0), ("One EN", "D", "", 3)]
)
def test_text_that_stood_there_is_not_given_out_again(before, script, text, cut):
    engine = FakeEngine(script)
    scanner = chat(strings=("END",))
    held = len(before) - len(scanner.feed(before))
    *_, done = generate(engine, request(engine), scanner, held=held)
    assert (done.text, done.cut) == (text, cut)
    assert engine.tokenizer.decode(done.ids) == text


# Waiting, leaving, failing


def test_waiting_is_passed_on_with_its_place():
    engine = FakeEngine(slots=1)
    first = generate(engine, request(engine), StopScanner())
    second = generate(engine, request(engine), StopScanner(), wait_s=0)
    third = generate(engine, request(engine), StopScanner(), wait_s=0)
    assert next(second) == Waiting(1)
    assert next(third) == Waiting(2)
    first.close()
    assert next(third) == Waiting(1)
    assert next(second).text == "H"
    second.close()
    assert [event for event in third][-1].text == "Hello."
    assert engine.cancelled == 2


def test_a_blocked_engine_lets_its_reader_leave():
    never = threading.Event()
    engine = FakeEngine(["One", never])
    events = generate(engine, request(engine), StopScanner(), wait_s=0.01)
    assert [next(events).text for _ in range(3)] == ["O", "n", "e"]
    assert next(events) == next(events) == Waiting(0)
    assert engine.status().running == 1
    events.close()
    events.close()
    assert engine.status().running == 0
    assert engine.cancelled == 1
    (done,) = events
    assert (done.text, done.reason, done.finished.new_tokens) == ("One", "cancelled", 3)
    healthy(engine)


def test_what_was_held_back_comes_after_a_stop():
    engine = FakeEngine(["First line.\nAss", threading.Event()])
    scanner = StopScanner(markers=["Assistant:"], strip=True)
    events = generate(engine, request(engine), scanner, wait_s=0.01)
    text = ""
    while not isinstance(event := next(events), Waiting):
        text += event.text
    assert text == "First line."
    events.close()
    tail, done = events
    assert tail.text == "\nAss"
    assert (done.text, done.reason) == ("First line.\nAss", "cancelled")
    assert engine.tokenizer.decode(done.ids) == done.text
    healthy(engine)


def test_closed_before_the_first_event():
    engine = FakeEngine()
    generate(engine, request(engine), StopScanner()).close()
    assert (engine.cancelled, engine.status().running) == (1, 0)
    healthy(engine)


@pytest.mark.parametrize(
    "error", [EngineError("Out of memory."), EngineDead("The engine has stopped.")]
)
@pytest.mark.parametrize("before", ["", "Some text and EN", "Text\n--"])
def test_an_error_keeps_the_text_before_it(error, before):
    engine = FakeEngine([before, error])
    events = generate(engine, request(engine), chat(strings=("END",)))
    text = ""
    with pytest.raises(type(error), match=str(error)):
        for event in events:
            text += event.text
    assert text == before
    assert list(events) == []
    assert engine.status().running == 0
    healthy(engine)


def test_an_engine_that_closes_ends_with_cancelled():
    engine = FakeEngine("One. EN")
    events = generate(engine, request(engine), StopScanner(strings=("END",)))
    shown = [next(events).text for _ in range(5)]
    engine.close()
    *rest, done = events
    assert (done.reason, done.stop) == ("cancelled", None)
    assert done.text == "".join(shown + [delta.text for delta in rest])


def test_refusals_come_at_the_call():
    engine = FakeEngine(window=10, slots=1, queue=0)
    with pytest.raises(WindowError):
        generate(engine, request(engine, max_new_tokens=6), StopScanner())
    running = generate(engine, request(engine, max_new_tokens=5), StopScanner())
    with pytest.raises(EngineBusy):
        generate(engine, request(engine, max_new_tokens=5), StopScanner())
    running.close()
    engine.dead = "The engine has stopped."
    with pytest.raises(EngineDead, match="stopped"):
        generate(engine, request(engine, max_new_tokens=5), StopScanner())
    engine.dead = None
    engine.script = "Fine."
    assert run(engine, max_new_tokens=5).text == "Fine."


# The tokens of what is shown


@pytest.mark.parametrize(
    "script, scanner, texts, tokens",
    [
        ("ab", StopScanner(), ["a", "b"], ["a", "b"]),
        ([b"\xc3", b"\xa9!"], StopScanner(), ["é", "!"], [b"\xc3\xa9", b"!"]),
        ("aENx", StopScanner(strings=("END",)), ["a", "ENx"], ["a", "ENx"]),
        ("aEND", StopScanner(strings=("END",)), ["a"], ["a"]),
        ("aé", StopScanner(strings=("é",)), ["a"], ["a"]),
        ("  a \nHuman:", chat(), ["a"], ["  a"]),
        (["a", 1], StopScanner(strings=("_pre",)), ["a", "<fim"], ["a", ""]),
        ([(100, 101), b"\xf0\x9f"], StopScanner(), ["_`", "\ufffd"], ["_`", b"\xf0\x9f"]),
        ("  ", chat(), [], []),
    ],
)
@pytest.mark.parametrize("logprobs", [None, 2])
def test_tokens_come_with_the_text_that_they_make_whole(script, scanner, texts, tokens, logprobs):
    scanner = copy.deepcopy(scanner)
    engine = FakeEngine(script)
    *deltas, done = generate(engine, request(engine, logprobs=logprobs), scanner)
    merged = [[delta.text, list(delta.tokens)] for delta in deltas]
    assert "".join(text for text, _ in merged) == "".join(texts)
    given = [pair for _, pairs in merged for pair in pairs] + list(done.tokens)
    expected = b"".join(part.encode() if isinstance(part, str) else part for part in tokens)
    shown = engine.tokenizer.bytes([token for token, _ in given])
    assert shown == (expected or (b"  " if not texts else b""))
    for token, known in given:
        assert known == (logprob(token, 2, len(engine.tokenizer)) if logprobs else None)
    so_far = scanned = ""
    for text, pairs in merged:
        so_far += text
        scanned += engine.tokenizer.decode([token for token, _ in pairs])
        assert so_far.strip().startswith(scanned.strip().rstrip("\ufffd"))
    stopped = done.finished.stop_logprob
    assert (stopped is not None) == bool(logprobs and done.finished.stop_id is not None)
