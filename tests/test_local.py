"""The engine as a whole: equal to transformers, many at once, cancelled, refused, failing."""

import contextlib
import threading

import pytest
import torch

from assistant.engine import Finished, Piece, Request, Waiting, scheduler
from assistant.errors import (
    CheckpointError,
    EngineBusy,
    EngineDead,
    EngineError,
    RequestError,
    SamplingError,
    WindowError,
)
from assistant.sampling import Sampling
from tests.checkpoints import VOCAB_SIZE
from tests.engines import greedy, load_module, make_engine, read
from tests.waiting import until

RANDOM = torch.Generator().manual_seed(2)
PROMPTS = [
    torch.randint(19, VOCAB_SIZE, (int(length),), generator=RANDOM).tolist()
    for length in torch.randint(1, 180, (20,), generator=RANDOM)
]


@pytest.fixture(scope="module")
def module(tiny_checkpoint):
    return load_module(tiny_checkpoint)


@pytest.fixture(scope="module")
def engine(tiny_checkpoint, module):
    engine = make_engine(tiny_checkpoint, module, slots=4, queue=16)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def oracle(module):
    """What transformers' generate gives for each of PROMPTS, 64 tokens, greedy."""
    return [
        module.generate(
            torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            max_new_tokens=64,
            do_sample=False,
            pad_token_id=0,
        )[0, len(ids) :].tolist()
        for ids in PROMPTS
    ]


def idle(engine):
    until(lambda: engine.status().running == engine.status().waiting == 0)


def healthy(engine, oracle):
    """Every fault ends with this: one normal request is served, and nothing is left behind."""
    idle(engine)
    assert read(engine.generate(greedy(PROMPTS[0], 64)))[1] == oracle[0]
    idle(engine)


def test_greedy_equals_generate_alone(engine, oracle):
    for ids, expected in zip(PROMPTS, oracle, strict=True):
        text, new, finished = read(engine.generate(greedy(ids, 64, stop_ids=frozenset({0}))))
        assert new == [token for token in expected if token != 0]
        assert text == engine.tokenizer.decode(new)
        assert finished.reason == ("stop" if 0 in expected else "length")


def test_greedy_equals_generate_with_four_at_once(engine, oracle):
    requests = [greedy(ids, 64, stop_ids=frozenset({0})) for ids in PROMPTS]
    streams = [engine.generate(request) for request in requests]
    for stream, expected in zip(streams, oracle, strict=True):
        assert read(stream)[1] == [token for token in expected if token != 0]


def test_a_seed_gives_the_same_alone_and_in_company(engine):
    def request(seed):
        return Request(tuple(PROMPTS[1]), Sampling(temperature=1.0, top_p=1.0, seed=seed), 40)

    alone = [read(engine.generate(request(seed)))[1] for seed in range(4)]
    together = [engine.generate(request(seed)) for seed in range(4)]
    assert [read(stream)[1] for stream in together] == alone
    assert len({tuple(ids) for ids in alone}) == 4


def test_the_counts_and_times_of_a_reply(engine):
    first = read(engine.generate(greedy(PROMPTS[2], 10)))[2]
    again = read(engine.generate(greedy(PROMPTS[2], 10)))[2]
    assert (first.prompt_tokens, first.new_tokens) == (len(PROMPTS[2]), 10)
    assert again.cached_tokens == len(PROMPTS[2]) - 1
    assert 0 <= again.waited_s <= again.ttft_s <= again.total_s
    assert again.tokens_per_s > 0


def test_a_pinned_prefix_is_not_computed_again(tiny_checkpoint, module):
    engine = make_engine(tiny_checkpoint, module, slots=1)
    engine.pin(tuple(PROMPTS[3]))
    engine.pin(tuple(PROMPTS[3]))
    read(engine.generate(greedy(PROMPTS[4], 5)))
    finished = read(engine.generate(greedy([*PROMPTS[3], 30], 5)))[2]
    assert finished.cached_tokens == len(PROMPTS[3])
    engine.close()


def test_the_window_is_used_to_its_last_position_and_not_beyond(engine, oracle):
    ids = (PROMPTS[0] * 256)[:200]
    assert len(read(engine.generate(greedy(ids, 56)))[1]) == 56
    with pytest.raises(WindowError, match="200 tokens and 57 new ones .* holds 256"):
        engine.generate(greedy(ids, 57))
    healthy(engine, oracle)


@pytest.mark.parametrize(
    ("ids", "count", "error"),
    [
        ((), 5, RequestError),
        ((VOCAB_SIZE,), 5, RequestError),
        ((-1,), 5, RequestError),
        ((1,), 0, SamplingError),
        ((1,), 257, SamplingError),
        ((1,) * 257, 5, WindowError),
    ],
)
def test_bad_requests_are_refused_before_any_compute(engine, oracle, ids, count, error):
    with pytest.raises(error):
        engine.generate(greedy(ids, count))
    healthy(engine, oracle)


def test_banned_ids_are_never_drawn(engine, oracle):
    banned = frozenset(oracle[0])
    assert not banned & set(read(engine.generate(greedy(PROMPTS[0], 30, banned_ids=banned)))[1])


@contextlib.contextmanager
def gate(engine):
    """Holds the engine's thread before each forward pass; each release lets one through."""
    steps = threading.Semaphore(0)
    model = engine._scheduler.model
    forward = model.forward

    def gated(*args):
        steps.acquire()
        return forward(*args)

    model.forward = gated
    try:
        yield steps
    finally:
        model.forward = forward
        steps.release(10_000)


def test_a_reader_is_never_held_and_sees_its_place(engine, oracle):
    with gate(engine) as steps:
        streams = [engine.generate(greedy(PROMPTS[0], 64), wait_s=0.02) for _ in range(7)]
        steps.release(1)  # the first step may have begun before all had come
        until(lambda: engine.status().running == 4)
        assert [next(stream) for stream in streams[4:]] == [Waiting(1), Waiting(2), Waiting(3)]
        streams[4].close()
        streams[0].close()
    assert next(streams[0], None) is None
    for stream in (streams[1], streams[5]):
        assert read(stream)[1] == oracle[0]
    healthy(engine, oracle)


def test_a_full_waiting_room_is_refused_at_once(engine, oracle):
    with gate(engine):
        streams = [engine.generate(greedy(PROMPTS[0], 64)) for _ in range(20)]
        with pytest.raises(EngineBusy, match="20 requests .*4 slots and a queue of 16"):
            engine.generate(greedy(PROMPTS[0], 64))
    assert all(read(stream)[1] == oracle[0] for stream in streams)
    healthy(engine, oracle)


def test_cancel_takes_effect_within_one_step(engine, oracle):
    with gate(engine) as steps:
        stream = engine.generate(greedy(PROMPTS[0], 64))
        steps.release(3)
        ids = []
        while len(ids) < 3:
            item = next(stream)
            ids += item.ids if isinstance(item, Piece) else ()
        so_far = stream.close()
        steps.release(1)
        until(lambda: engine.status().running == 0)
    assert ids == oracle[0][:3]
    assert (so_far.reason, so_far.new_tokens) == ("cancelled", 3)
    healthy(engine, oracle)


def test_a_stream_that_is_dropped_frees_its_slot(engine, oracle):
    stream = engine.generate(greedy(PROMPTS[0], 64))
    next(stream)
    del stream
    healthy(engine, oracle)


def failing_once(monkeypatch, target, name, error, call=1):
    """Makes the `call`-th call of `target.name` raise `error`; all others go through."""
    real, calls = getattr(target, name), []

    def failing(*args):
        calls.append(args)
        if len(calls) == call:
            raise error
        return real(*args)

    monkeypatch.setattr(target, name, failing)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (RuntimeError("broken"), "send the message again"),
        (torch.OutOfMemoryError("out"), "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out of memory"),
        (MemoryError(), "out of memory"),
    ],
)
def test_a_failed_step_ends_with_a_sentence_and_the_next_request_works(
    engine, oracle, monkeypatch, error, sentence, caplog
):
    failing_once(monkeypatch, engine._scheduler.model, "forward", error, call=4)
    stream = engine.generate(greedy(PROMPTS[0], 64))
    with pytest.raises(EngineError, match=sentence):
        read(stream)
    assert next(stream, None) is None
    healthy(engine, oracle)


@pytest.mark.parametrize("part", ["cache", "sampler"])
def test_a_request_that_cannot_start_ends_alone(engine, oracle, monkeypatch, part, caplog):
    target, name = {
        "cache": (engine._scheduler.cache, "take"),
        "sampler": (scheduler, "Sampler"),
    }[part]
    failing_once(monkeypatch, target, name, RuntimeError("broken"))
    with gate(engine) as steps:
        streams = [engine.generate(greedy(PROMPTS[0], 64)) for _ in range(3)]
        steps.release(10_000)
        with pytest.raises(EngineError, match="send the message again"):
            read(streams[0])
        assert [read(stream)[1] for stream in streams[1:]] == [oracle[0]] * 2
    for _ in range(6):
        healthy(engine, oracle)


def test_a_prefix_that_is_no_number_is_not_used_again(engine, oracle, monkeypatch):
    ids = [25, *PROMPTS[5]]
    model = engine._scheduler.model
    forward = model.forward

    def poisoned(chunks, cache):
        logits = forward(chunks, cache)
        for chunk in chunks:
            cache[:, chunk.slot] = torch.nan
        return logits * torch.nan

    monkeypatch.setattr(model, "forward", poisoned)
    with pytest.raises(EngineError, match="not a number"):
        read(engine.generate(greedy(ids, 5)))
    monkeypatch.undo()
    assert read(engine.generate(greedy(ids, 5)))[2].new_tokens == 5
    healthy(engine, oracle)


@pytest.mark.parametrize("handler", [False, True])
def test_a_broken_device_marks_the_engine_dead(
    tiny_checkpoint, module, monkeypatch, caplog, handler
):
    """Also when the handling of an error fails in its turn, as it does on a broken device."""
    engine = make_engine(tiny_checkpoint, module, slots=1)
    core = engine._scheduler
    with gate(engine) as steps:
        monkeypatch.setattr(core.model, "device", torch.device("cuda"))
        error = torch.OutOfMemoryError() if handler else RuntimeError("device-side assert")
        streams = [engine.generate(greedy(PROMPTS[0], 5)) for _ in range(2)]
        failing_once(monkeypatch, core.model, "forward", error)
        failing_once(monkeypatch, torch.cuda, "empty_cache", RuntimeError("device-side assert"))
        steps.release(10_000)
        for stream in streams:
            with pytest.raises(EngineDead, match="restarted"):
                read(stream)
    assert "restarted" in engine.status().dead
    for call in (engine.check_room, lambda: engine.generate(greedy(PROMPTS[0], 5))):
        with pytest.raises(EngineDead):
            call()
    engine.close()


def test_a_prefix_that_cannot_be_computed_is_said(engine, oracle, monkeypatch, caplog):
    failing_once(monkeypatch, engine._scheduler.model, "forward", MemoryError())
    with pytest.raises(EngineError, match="tokens of the prompt template could not be computed"):
        engine.pin(tuple(PROMPTS[6]))
    healthy(engine, oracle)


def test_weights_that_are_not_numbers_are_refused_at_start(tiny_checkpoint):
    module = load_module(tiny_checkpoint)
    torch.nn.init.constant_(module.transformer.h[1].mlp.c_fc.weight, torch.nan)
    with pytest.raises(CheckpointError, match="not numbers"):
        make_engine(tiny_checkpoint, module)


def test_close_ends_replies_as_cancelled(tiny_checkpoint, module):
    engine = make_engine(tiny_checkpoint, module, slots=1)
    with gate(engine):
        streams = [engine.generate(greedy(PROMPTS[0], 64)) for _ in range(2)]
        closing = threading.Thread(target=engine.close)
        closing.start()
        until(lambda: engine._closing)
    closing.join(10)
    for stream in streams:
        last = [item for item in stream if isinstance(item, Finished)]
        assert [item.reason for item in last] == ["cancelled"]
    with pytest.raises(EngineDead):
        engine.generate(greedy(PROMPTS[0], 5))


def test_a_request_that_comes_after_the_end_is_refused_not_lost(tiny_checkpoint, module):
    engine = make_engine(tiny_checkpoint, module, slots=1)
    engine.close()
    with pytest.raises(EngineDead, match="closed"):
        engine._scheduler.submit(scheduler.Job(greedy(PROMPTS[0], 5)))
    assert engine.status().waiting == 0
