"""Filling in the middle: the tokens and orders of models, several holes, candidates."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.completion.fill import FILL_HERE, HOLES_MAX, fill, parts_of
from assistant.completion.spellings import (
    ORDERS,
    SPELLINGS,
    find_spelling,
    missing_order,
    missing_tokens,
)
from assistant.engine.protocol import Waiting
from assistant.engine.remote.model import _LIKELY
from assistant.engine.tokenizer import load_tokenizer
from assistant.errors import (
    EngineBusy,
    EngineError,
    RequestError,
    SamplingError,
    TextError,
    WindowError,
)
from assistant.generation.generate import Delta, Done
from assistant.sampling import Sampling
from tests.support.checkpoints import CODELLAMA, SPECIAL, make_metaspace_tokenizer
from tests.support.fake_engine import STARCHAT, ByteTokenizer, FakeEngine

GREEDY = Sampling(temperature=0)
TOKENIZER = ByteTokenizer(SPECIAL)
FIM = [TOKENIZER.special[f"<fim_{name}>"] for name in ("prefix", "middle", "suffix")]


def start(engine, text, **options):
    options = {"sampling": GREEDY, "max_new_tokens": 50, "wait_s": 0.01} | options
    return fill(engine, text, **options)


def read(filling):
    """Reads a Filling to its end and gives its Done."""
    *events, done = (event for event in filling if not isinstance(event, Waiting))
    assert isinstance(done, Done) and all(isinstance(event, Delta) for event in events)
    assert "".join(event.text for event in events) == "".join(f.text for f in filling.fills)
    return done


def fills(engine, text, **options):
    (filling,) = start(engine, text, **options)
    read(filling)
    assert engine.active == []
    for each in filling.fills:
        assert each.whole[each.start : each.end] == each.text
    return filling.fills


def test_the_orders_that_starcoder_was_trained_on():
    engine = FakeEngine("mid", special=SPECIAL)
    for order, spelt in (
        ("PSM", "<fim_prefix>before <fim_suffix> after<fim_middle>"),
        ("SPM", "<fim_prefix><fim_suffix> after<fim_middle>before "),
    ):
        (done,) = fills(engine, f"before {FILL_HERE} after", order=order)
        assert engine.prompt() == spelt
        assert engine.requests[-1].ids == tuple(TOKENIZER.encode(spelt, trusted=True))
        assert (done.text, done.whole, done.reason) == ("mid", "before mid after", "stop")


END, TURN = "<|endoftext|>", "</assistant>"
DEEPSEEK = ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>")
MODELS = {  # name: (its special tokens, the prompts that it was trained on)
    "StarCoder": (
        SPECIAL,
        {
            "PSM": "<fim_prefix>bef<fim_suffix>aft<fim_middle>",
            "SPM": "<fim_prefix><fim_suffix>aft<fim_middle>bef",
        },
    ),
    "Mellum": ((*SPECIAL, TURN), {"SPM": "<fim_suffix>aft<fim_prefix>bef<fim_middle>"}),
    "SantaCoder": (
        (END, "<fim-prefix>", "<fim-suffix>", "<fim-middle>"),
        {"PSM": "<fim-prefix>bef<fim-suffix>aft<fim-middle>"},
    ),
    "Qwen2.5-Coder": (
        (END, "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|im_end|>"),
        {"PSM": "<|fim_prefix|>bef<|fim_suffix|>aft<|fim_middle|>"},
    ),
    "DeepSeek-Coder": (
        (END, *DEEPSEEK),
        {"PSM": "<｜fim▁begin｜>bef<｜fim▁hole｜>aft<｜fim▁end｜>"},
    ),
    "Seed-Coder": (
        (END, "<[fim-prefix]>", "<[fim-suffix]>", "<[fim-middle]>"),
        {"SPM": "<[fim-suffix]>aft<[fim-prefix]>bef<[fim-middle]>"},
    ),
}


@pytest.mark.parametrize("bos", [None, "<s>"])
@pytest.mark.parametrize("model", MODELS)
def test_each_model_fills_in_as_it_was_trained(model, bos):
    special, orders = MODELS[model]
    engine = FakeEngine("mid", special=(*special, "<s>"), bos=bos)
    assert list(find_spelling(engine.tokenizer).orders) == list(orders)
    asked = [*orders.items(), (None, next(iter(orders.values())))]
    for order, spelt in asked:
        (done,) = fills(engine, ("bef", "aft"), order=order)
        assert engine.prompt() == (bos or "") + spelt and done.whole == "befmidaft"
        ids = engine.tokenizer.encode(spelt, trusted=True)
        assert [i for i in engine.requests[-1].ids if i != engine.tokenizer.bos_id] == ids
    for order in ORDERS.keys() - orders.keys():
        sentence = f"not trained to fill in with {ORDERS[order]} first .{order}"
        with pytest.raises(RequestError, match=sentence):
            start(engine, ("bef", "aft"), order=order)
        assert ORDERS[order] in missing_order(engine.tokenizer)
    assert bool(missing_order(engine.tokenizer)) == (len(orders) == 1)
    assert len(engine.requests) == len(asked)


def test_code_llama_fills_in_as_it_was_trained(tmp_path):
    """What stands before the hole begins with a blank, as a document does; what stands behind it
    does not."""
    tokenizer = load_tokenizer(make_metaspace_tokenizer(tmp_path))
    engine = FakeEngine("")
    engine.tokenizer = tokenizer
    bos, (pre, suf, mid, eot) = 1, (tokenizer.special[text] for text in CODELLAMA)
    before, after = tokenizer.encode(" def f(a):\n    "), tokenizer.encode("numbers")
    for text, order, ids in (
        ("def f(a):\n    ", "PSM", (bos, pre, *before, suf, *after, mid)),
        ("def f(a):\n    ", "SPM", (bos, pre, suf, *after, mid, *before)),
        ("", "PSM", (bos, pre, suf, *after, mid)),
    ):
        start(engine, (text, "numbers"), order=order)
        assert engine.requests[-1].ids == ids and eot in engine.requests[-1].stop_ids


def test_a_server_is_asked_for_all_tokens_that_are_known():
    tokens = {text for each in SPELLINGS for text in (*each.tokens, each.told_by) if text}
    assert tokens <= {*_LIKELY}


@pytest.mark.parametrize("order", ORDERS)
@given(st.lists(st.sampled_from([*SPECIAL, "a", "\n", "é😀"])), st.integers(0, 9))
def test_exactly_one_of_each_token(order, parts, cut):
    before, after = "".join(parts[:cut]), "x" + "".join(parts[cut:])
    engine = FakeEngine("", special=SPECIAL)
    fills(engine, (before, after), order=order)
    ids = engine.requests[-1].ids
    assert sorted(token for token in ids if token < len(SPECIAL)) == sorted(FIM)
    assert engine.tokenizer.decode([i for i in ids if i >= len(SPECIAL)]) in (
        before + after,
        after + before,
    )


def test_any_special_token_ends_a_fill_and_is_no_part_of_it():
    engine = FakeEngine(["mid", TOKENIZER.special["<filename>"], "more"], special=SPECIAL)
    (done,) = fills(engine, f"a{FILL_HERE}b")
    assert (done.whole, done.reason) == ("amidb", "stop")


def test_what_stands_after_a_fill_is_kept_when_it_is_cut_by_length():
    (done,) = fills(FakeEngine("x" * 99), f"a{FILL_HERE}b", max_new_tokens=3)
    assert (done.whole, done.reason) == ("axxxb", "length")


def test_a_stop_string_ends_a_fill():
    (done,) = fills(FakeEngine("one\ntwo"), f"a {FILL_HERE}\nb", stop=["\n"])
    assert (done.whole, done.reason) == ("a one\nb", "stop")


def test_a_repetition_penalty_does_not_count_the_text_around():
    engine = FakeEngine()
    fills(engine, f"a{FILL_HERE}b", sampling=Sampling(repetition_penalty=1.2))
    assert engine.requests[0].penalty_from == len(engine.requests[0].ids)


@pytest.mark.parametrize("order", ORDERS)
def test_holes_are_filled_in_turn(order):
    engine = FakeEngine(["1", "22", "333"])
    text = f"a{FILL_HERE}b{FILL_HERE}c{FILL_HERE}d"
    one, two, three = fills(engine, text, order=order)
    prompts = [engine.prompt(n) for n in range(3)]
    spell = {
        "PSM": "<fim_prefix>{}<fim_suffix>{}<fim_middle>",
        "SPM": "<fim_prefix><fim_suffix>{1}<fim_middle>{0}",
    }[order]
    assert prompts == [
        spell.format(*each) for each in (("a", "bcd"), ("a1b", "cd"), ("a1b22c", "d"))
    ]
    assert one.whole == f"a1b{FILL_HERE}c{FILL_HERE}d"
    assert two.whole == f"a1b22c{FILL_HERE}d"
    assert three.whole == "a1b22c333d"
    for each in (one, two, three):
        assert three.whole[each.start : each.end] == each.text
    assert [each.hole for each in (one, two, three)] == [0, 1, 2]


def test_what_a_fill_spells_is_no_hole():
    engine = FakeEngine([FILL_HERE, "2"])
    *_, last = fills(engine, f"a{FILL_HERE}b{FILL_HERE}c")
    assert last.whole == f"a{FILL_HERE}b2c" and len(engine.requests) == 2


def test_a_fill_can_be_seen_while_it_is_written():
    go = threading.Event()
    (filling,) = start(FakeEngine([["1"], ["2", go, "2"]]), f"a{FILL_HERE}b{FILL_HERE}c")
    for _ in filling:
        if len(filling.fills) == 2 and filling.fills[1].text:
            break
    done, writing = filling.fills
    assert (done.reason, writing.reason, writing.whole) == ("stop", None, "a1b2c")
    go.set()
    read_all = [event for event in filling if isinstance(event, Done)]
    assert len(read_all) == 1 and filling.fills[1].whole == "a1b22c"


def test_candidates_run_at_once_by_seed():
    engine = FakeEngine(["one", "two", "three"])
    fillings = start(engine, f"a{FILL_HERE}b", count=3, sampling=Sampling(seed=5))
    assert engine.status().running == 3
    assert [request.sampling.seed for request in engine.requests] == [5, 6, 7]
    for filling in fillings:
        read(filling)
    assert [filling.fills[0].whole for filling in fillings] == ["aoneb", "atwob", "athreeb"]
    assert [filling.sampling.seed for filling in fillings] == [5, 6, 7]
    assert fillings[0].ledger.prompt == len(engine.requests[0].ids)


# Ends


def test_closing_keeps_what_was_written():
    never = threading.Event()
    engine = FakeEngine([["1"], ["2", never], ["3"]])
    (filling,) = start(engine, f"a{FILL_HERE}b{FILL_HERE}c{FILL_HERE}d")
    for _ in filling:
        if filling.fills and filling.fills[-1].text == "2":
            filling.close()
            break
    (done,) = (event for event in filling if isinstance(event, Done))
    assert done.reason == filling.fills[-1].reason == "cancelled"
    assert filling.fills[-1].whole == f"a1b2c{FILL_HERE}d"
    assert engine.active == [] and len(engine.requests) == 2


def test_an_engine_that_closes_ends_a_fill():
    engine = FakeEngine([["1", threading.Event()]])
    (filling,) = start(engine, f"a{FILL_HERE}b{FILL_HERE}c")
    next(filling)
    engine.close()
    *_, done = filling
    assert done.reason == filling.fills[-1].reason == "cancelled"
    assert filling.fills[-1].whole == f"a1b{FILL_HERE}c"


class Filled(FakeEngine):
    """An engine that is full from now on, where `full`; what runs goes on."""

    full = False

    def check_room(self):
        if self.full:
            raise EngineBusy("Try again.")
        super().check_room()


def waiting():
    """A Filling whose second hole waits for room, and its engine."""
    engine = Filled(["1", "2"])
    (filling,) = start(engine, f"a{FILL_HERE}b{FILL_HERE}c")
    engine.full = True
    assert next(filling).text == "1"
    assert [next(filling) for _ in range(3)] == [Waiting(1)] * 3
    return filling, engine


def test_a_later_hole_waits_while_the_engine_is_full():
    filling, engine = waiting()
    engine.full = False
    *_, done = filling
    assert done.reason == "stop"
    assert [each.text for each in filling.fills] == ["1", "2"]


def test_closing_while_a_later_hole_waits():
    filling, engine = waiting()
    filling.close()
    (done,) = filling
    assert done.reason == "cancelled" and engine.active == []
    assert filling.fills[-1].whole == f"a1b{FILL_HERE}c"


def test_a_failure_comes_behind_its_text():
    engine = FakeEngine(["ha", EngineError("Out of memory.")])
    (filling,) = start(engine, f"a{FILL_HERE}b")
    with pytest.raises(EngineError, match="Out of memory"):
        read(filling)
    assert filling.fills[-1].whole == "ahab"
    engine.script = "fine"
    assert fills(engine, f"a{FILL_HERE}b")[0].whole == "afineb"


# What cannot be filled


@pytest.mark.parametrize(
    "text, options, error, words",
    [
        ("no hole", {}, RequestError, "at 1 to 8 places; the text has it 0 times"),
        (FILL_HERE.join("x" * (HOLES_MAX + 2)), {}, RequestError, "has it 9 times"),
        (FILL_HERE, {}, RequestError, "empty"),
        (("", ""), {}, TextError, "empty"),
        (("x",), {}, RequestError, "0 times"),
        (("x", 5), {}, TextError, "must be text"),
        (("x" * 150_000, "y" * 60_000), {}, TextError, "at most 200,000"),
        (f"a{FILL_HERE}", {"order": "MSP"}, RequestError, "PSM, SPM, not 'MSP'"),
        (f"a{FILL_HERE}", {"count": 0}, RequestError, "number of candidates"),
        (f"a{FILL_HERE}", {"count": 9}, RequestError, "number of candidates"),
        (f"a{FILL_HERE}", {"max_new_tokens": 0}, SamplingError, "max_new_tokens"),
        (f"a{FILL_HERE}", {"stop": [""]}, SamplingError, "stop string"),
    ],
)
def test_what_is_asked_wrongly_never_reaches_the_engine(text, options, error, words):
    engine = FakeEngine()
    with pytest.raises(error, match=words):
        start(engine, text, **options)
    assert engine.requests == []
    assert fills(engine, f"a{FILL_HERE}b")[0].whole == "aHello.b"


def test_parts_stay_as_they_are():
    assert parts_of(f"a\r\n\x00{FILL_HERE}\x1b[1mb") == ["a\r\n\x00", "\x1b[1mb"]
    assert parts_of((f"a{FILL_HERE}", "b")) == [f"a{FILL_HERE}", "b"]  # two panes hold no marks


@pytest.mark.parametrize("special", [STARCHAT, ("<|endoftext|>", "<fim-prefix>", "<fim-middle>")])
def test_a_model_without_the_tokens_says_so(special):
    engine = FakeEngine(special=special)
    with pytest.raises(RequestError, match="lacks <fim_prefix>, <fim_suffix>, <fim_middle>"):
        start(engine, f"a{FILL_HERE}b")
    assert missing_tokens(engine.tokenizer) and engine.requests == []
    assert missing_tokens(TOKENIZER) is None


@pytest.mark.parametrize("more, fits", [(0, True), (1, False)])
def test_every_hole_must_have_room(more, fits):
    engine = FakeEngine("zz", window=3 + 10 + 2 * 4)
    text = f"{'x' * (5 + more)}{FILL_HERE}{'y' * 5}{FILL_HERE}"
    if fits:
        assert len(fills(engine, text, max_new_tokens=4)) == 2
    else:
        with pytest.raises(WindowError, match="14 for the text \\+ 8 for the reply"):
            start(engine, text, max_new_tokens=4)
        assert engine.requests == []


def test_candidates_run_all_or_none():
    engine = FakeEngine(slots=1, queue=1)
    with pytest.raises(EngineBusy):
        start(engine, f"a{FILL_HERE}b", count=3)
    assert engine.active == [] and engine.cancelled == 2


def test_the_model_that_ships_fills_in():
    from assistant.engine.open import open_engine
    from assistant.settings import Settings

    engine = open_engine(Settings(device="cpu"))
    try:
        text = f"def add(a, b):\n    return {FILL_HERE}\n\n\nprint(add(1, 2))\n"
        for order in ORDERS:
            options = {"order": order, "max_new_tokens": 8, "stop": ["\n"], "count": 2}
            for filling in start(engine, text, sampling=Sampling(0.4, seed=1), **options):
                read(filling)
                (done,) = filling.fills
                assert done.whole.endswith("\n\n\nprint(add(1, 2))\n") and done.text
    finally:
        engine.close()
