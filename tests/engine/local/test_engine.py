"""The engine as a whole: equal to transformers, many at once, cancelled, refused, failing."""

import contextlib
import threading

import pytest
import torch

from assistant.engine.local.job import Job
from assistant.engine.protocol import Finished, Piece, Request, Waiting
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
from tests.support.checkpoints import VOCAB_SIZE
from tests.support.engines import greedy, load_module, make_engine, read
from tests.support.waiting import until

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


@pytest.mark.parametrize("temperature", [0, 0.7])
def test_guessed_tokens_change_the_speed_and_not_the_text(tiny_checkpoint, module, temperature):
    """With three tokens to choose from a reply repeats itself; the model's steps are counted."""
    plain = make_engine(tiny_checkpoint, module, slots=2, drafts=False)
    guessing = make_engine(tiny_checkpoint, module, slots=2)
    steps = []
    decode = guessing._scheduler.model.decode
    guessing._scheduler.model.decode = lambda *args: steps.append(len(args[0])) or decode(*args)
    for seed, ids in enumerate(PROMPTS[:6]):
        sampling = Sampling(temperature=temperature, seed=seed)
        banned = frozenset(range(VOCAB_SIZE)) - {20, 21, 22}
        request = Request(tuple(ids[:99]), sampling, 120, frozenset({22}), banned, logprobs=1)
        expected, given = (read_all(engine.generate(request)) for engine in (plain, guessing))
        assert given[::2] == expected[::2]
        assert given[1] == pytest.approx(expected[1], abs=1e-3)
    assert len(steps) < sum(steps) / (2 if temperature == 0 else 1.2)
    plain.close()
    guessing.close()


def read_all(stream):
    """Ids, their log-probabilities, and the finish reason."""
    items = list(stream)
    pieces = [item for item in items if isinstance(item, Piece)]
    logprobs = [logprob.logprob for piece in pieces for logprob in piece.logprobs]
    ids = [id for piece in pieces for id in piece.ids]
    return ids, logprobs, items[-1].reason


def test_log_probabilities_are_the_models_own(engine, module):
    request = Request(
        tuple(PROMPTS[1]), Sampling(seed=1, temperature=1.5), 12, frozenset(), frozenset({5}), 0, 3
    )
    pieces = [item for item in engine.generate(request) if isinstance(item, Piece)]
    ids = [id for piece in pieces for id in piece.ids]
    with torch.inference_mode():
        scores = module(torch.tensor([[*PROMPTS[1], *ids]])).logits[0].log_softmax(-1)
    for n, logprob in enumerate(logprob for piece in pieces for logprob in piece.logprobs):
        row = scores[len(PROMPTS[1]) + n - 1]
        assert logprob.logprob == pytest.approx(row[ids[n]].item(), abs=1e-3)
        assert [id for id, _ in logprob.top] == row.topk(3).indices.tolist()
        assert [p for _, p in logprob.top] == pytest.approx(row.topk(3).values.tolist(), abs=1e-3)
    row = scores[len(PROMPTS[1]) - 1]
    likeliest = row.argmax().item()
    *_, last = engine.generate(
        Request(tuple(PROMPTS[1]), Sampling(temperature=0), 12, frozenset({likeliest}),
                logprobs=2)
    )  # fmt: skip
    assert last.stop_id == likeliest
    assert last.stop_logprob.logprob == pytest.approx(row.max().item(), abs=1e-3)
    assert [id for id, _ in last.stop_logprob.top] == row.topk(2).indices.tolist()
    assert read(engine.generate(greedy(PROMPTS[1], 3)))[1] and not any(
        item.logprobs for item in engine.generate(greedy(PROMPTS[1], 3)) if isinstance(item, Piece)
    )


def scored(engine, ids, count, max_new_tokens=1):
    """The prompt's log-probabilities, and the Finished that they came with."""
    finished = read(engine.generate(greedy(ids, max_new_tokens, prompt_logprobs=count)))[2]
    return finished.prompt_logprobs, finished


@pytest.mark.parametrize("length", [1, 2, 64, 65, 129, 250])  # chunks are of 64
@pytest.mark.parametrize("count", [1, 20])
def test_log_probabilities_of_a_prompt_are_the_models_own(engine, module, length, count):
    ids = (PROMPTS[3] * 200)[:length]
    read(engine.generate(greedy(ids, 1)))  # what is cached must not be left out
    given, finished = scored(engine, ids, count)
    assert (finished.cached_tokens, finished.new_tokens, finished.repeatable) == (0, 1, True)
    assert given[0] is None and len(given) == length
    with torch.inference_mode():
        scores = module(torch.tensor([ids])).logits[0].log_softmax(-1)
    for token, row, logprob in zip(ids[1:], scores, given[1:], strict=False):
        best = row.topk(count)
        assert logprob.logprob == pytest.approx(row[token].item(), abs=1e-3)
        assert [p for _, p in logprob.top] == pytest.approx(best.values.tolist(), abs=1e-3)
        assert [id for id, _ in logprob.top] == best.indices.tolist()


def test_a_prompt_is_scored_beside_others(engine, oracle):
    alone = scored(engine, PROMPTS[5], 5)[0]
    with gate(engine) as steps:
        others = [engine.generate(greedy(PROMPTS[n], 64)) for n in (0, 1)]
        scoring = [engine.generate(greedy(PROMPTS[5], 30, prompt_logprobs=5)) for _ in range(2)]
        late = engine.generate(greedy(PROMPTS[2], 64))
        steps.release(10_000)
        for stream in scoring:
            _, ids, finished = read(stream)
            assert ids == oracle[5][:30]
            assert finished.prompt_logprobs == alone or not engine._scheduler.bitwise_stable
        assert [read(stream)[1] for stream in (*others, late)] == oracle[:3]
    healthy(engine, oracle)


def test_a_text_that_fills_the_window_is_scored_to_its_end(engine, oracle):
    ids = (PROMPTS[3] * 256)[:256]
    given, finished = scored(engine, ids, 1, max_new_tokens=0)
    assert (len(given), finished.new_tokens, finished.reason) == (256, 0, "length")
    with pytest.raises(WindowError):
        scored(engine, ids, 1)
    with pytest.raises(SamplingError):
        engine.generate(greedy(ids[:5], 0))
    healthy(engine, oracle)


def test_a_long_prompt_is_scored_in_bounded_memory(engine, monkeypatch):
    model, rows = engine._scheduler.model, []
    logits = model.logits
    monkeypatch.setattr(model, "logits", lambda hidden: rows.append(len(hidden)) or logits(hidden))
    monkeypatch.setattr(engine._scheduler.pace, "fixed", 200)  # as on CUDA: more than are scored
    scored(engine, (PROMPTS[3] * 256)[:250], 2)
    assert rows == [64, 64, 64, 8, 1, 49]


@pytest.mark.parametrize("passes", [1, 2])
def test_scoring_is_cancelled_within_one_step(engine, oracle, passes):
    with gate(engine) as steps:
        stream = engine.generate(greedy((PROMPTS[3] * 200)[:200], 9, prompt_logprobs=1))
        steps.release(passes)
        until(lambda: stream.job.computed == 64 * passes)
        finished = stream.close()
        steps.release(1)
        until(lambda: engine.status().running == 0)
    assert (finished.reason, finished.prompt_logprobs) == ("cancelled", None)
    healthy(engine, oracle)


def test_a_reader_that_leaves_behind_the_prompt_has_its_log_probabilities(engine, oracle):
    with gate(engine) as steps:
        stream = engine.generate(greedy(PROMPTS[3], 60, prompt_logprobs=1))
        steps.release(len(PROMPTS[3]) // 64 + 1)
        while not isinstance(next(stream), Piece):
            pass
        assert len(stream.close().prompt_logprobs) == len(PROMPTS[3])
    healthy(engine, oracle)


def test_scoring_that_fails_ends_alone(engine, oracle, monkeypatch, caplog):
    with gate(engine) as steps:
        other = engine.generate(greedy(PROMPTS[0], 64))
        stream = engine.generate(greedy(PROMPTS[3], 9, prompt_logprobs=1))
        failing_once(monkeypatch, engine._scheduler.decode_step, "scores", MemoryError())
        steps.release(10_000)
        with pytest.raises(EngineError, match="out of memory"):
            read(stream)
        assert read(other)[1] == oracle[0]
    healthy(engine, oracle)


@pytest.fixture
def unsteady(tiny_checkpoint, module):
    """An engine whose results depend on how many rows are computed at once, as on many GPUs."""
    engine = make_engine(tiny_checkpoint, module, slots=4)
    model = engine._scheduler.model
    prefill, decode = model.prefill, model.decode

    def noise(out, rows):
        return out + 0.3 * torch.sin(torch.arange(out.shape[-1]) * (1.0 + rows))

    def noisy_prefill(chunks, cache):
        out = prefill(chunks, cache)
        return noise(out, len(out))

    def noisy_decode(ids, *places):
        return noise(decode(ids, *places), len(ids))

    model.prefill, model.decode = noisy_prefill, noisy_decode
    engine._scheduler.bitwise_stable = False
    yield engine
    engine.close()


def test_a_cold_request_gives_the_same_again_whatever_its_company(unsteady):
    def request(n, **options):
        sampling = Sampling(temperature=1.0, top_p=1.0, seed=n)
        return Request(tuple(PROMPTS[n][:99] * 2), sampling, 40, **options)

    first = [read(unsteady.generate(request(n, cold=True))) for n in range(4)]
    assert [finished.repeatable for *_, finished in first] == [True] * 4
    with gate(unsteady) as steps:
        streams = [unsteady.generate(request(n, cold=n % 2 == 0)) for n in range(4)]
        steps.release(10_000)
        again = [read(stream) for stream in streams]
    for n in (0, 2):
        assert again[n][1] == first[n][1]
    for n in (1, 3):
        assert again[n][1] != first[n][1] and not again[n][2].repeatable


def test_a_cold_request_uses_no_cached_prefix(engine):
    ids = [28, *PROMPTS[7]]
    warm = read(engine.generate(greedy(ids, 20)))
    cold = read(engine.generate(greedy([*ids, *warm[1]], 5, cold=True)))[2]
    assert (cold.cached_tokens, cold.repeatable) == (0, True)
    further = read(engine.generate(greedy([*ids, *warm[1], 30], 5)))[2]
    assert further.cached_tokens == len(ids) + 20  # what it computed can be used again


def test_a_reply_says_whether_it_would_come_again(tiny_checkpoint, module):
    engine = make_engine(tiny_checkpoint, module, slots=2)
    steady = engine._scheduler.bitwise_stable  # as tried on this machine
    ids = PROMPTS[7]
    _, reply, first = read(engine.generate(greedy(ids, 20)))
    _, same, again = read(engine.generate(greedy(ids, 20)))
    assert first.repeatable == again.repeatable == steady and (same == reply or not steady)
    further = read(engine.generate(greedy([*ids, *reply, 30], 5)))[2]  # on what decode computed
    assert further.cached_tokens > len(ids) and not further.repeatable
    engine.close()


def test_the_counts_and_times_of_a_reply(engine):
    first = read(engine.generate(greedy(PROMPTS[2], 10)))[2]
    again = read(engine.generate(greedy(PROMPTS[2], 10)))[2]
    assert (first.prompt_tokens, first.new_tokens) == (len(PROMPTS[2]), 10)
    assert again.cached_tokens == len(PROMPTS[2]) - 1
    assert 0 <= again.waited_s <= again.ttft_s <= again.total_s
    decode_s = again.total_s - again.ttft_s  # 0 on a coarse clock
    assert again.tokens_per_s == (9 / decode_s if decode_s else None)


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


@pytest.mark.parametrize("banned", [{VOCAB_SIZE}, {-1}, set(range(VOCAB_SIZE))])
def test_bans_that_make_no_sense_are_refused(engine, oracle, banned):
    with pytest.raises(RequestError):
        engine.generate(greedy(PROMPTS[0], 5, banned_ids=frozenset(banned)))
    healthy(engine, oracle)


@pytest.mark.parametrize("name", ["logprobs", "prompt_logprobs"])
@pytest.mark.parametrize("count", [0, 21, -1, 1.5, True, "5", [5]])
def test_log_probabilities_of_an_impossible_number_are_refused(engine, oracle, name, count):
    with pytest.raises(SamplingError, match="logprobs"):
        engine.generate(greedy(PROMPTS[0], 5, **{name: count}))
    healthy(engine, oracle)


def test_banned_ids_are_never_drawn(engine, oracle):
    banned = frozenset(oracle[0])
    assert not banned & set(read(engine.generate(greedy(PROMPTS[0], 30, banned_ids=banned)))[1])


@contextlib.contextmanager
def gate(engine):
    """Holds the engine's thread before each forward pass; each release lets one through."""
    steps = threading.Semaphore(0)
    model = engine._scheduler.model
    passes = {"prefill": model.prefill, "decode": model.decode}

    def gated(forward):
        def wait_and_go(*args):
            steps.acquire()
            return forward(*args)

        return wait_and_go

    vars(model).update({name: gated(forward) for name, forward in passes.items()})
    try:
        yield steps
    finally:
        vars(model).update(passes)
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

    def failing(*args, **options):
        calls.append(args)
        if len(calls) == call:
            raise error
        return real(*args, **options)

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
@pytest.mark.parametrize(("name", "call"), [("prefill", 1), ("decode", 4)])
def test_a_failed_step_ends_with_a_sentence_and_the_next_request_works(
    engine, oracle, monkeypatch, error, sentence, name, call, caplog
):
    failing_once(monkeypatch, engine._scheduler.model, name, error, call=call)
    stream = engine.generate(greedy(PROMPTS[0], 64))
    with pytest.raises(EngineError, match=sentence):
        read(stream)
    assert next(stream, None) is None
    healthy(engine, oracle)


@pytest.mark.parametrize("part", ["cache", "sampler"])
def test_a_request_that_cannot_start_ends_alone(engine, oracle, monkeypatch, part, caplog):
    target, name = {
        "cache": (engine._scheduler.cache, "acquire"),
        "sampler": (engine._scheduler.sampler, "start"),
    }[part]
    failing_once(monkeypatch, target, name, RuntimeError("broken"))
    with gate(engine) as steps:
        streams = [engine.generate(greedy(PROMPTS[0], 64)) for _ in range(3)]
        steps.release(10_000)
        with pytest.raises(EngineError, match="send the message again"):
            read(streams[0])
        assert [read(stream)[1] for stream in streams[1:]] == [oracle[0]] * 2
    healthy(engine, oracle)
    assert sorted(engine._scheduler.cache.free) == [0, 1, 2, 3]


@pytest.mark.parametrize("name", ["prefill", "decode"])
def test_a_request_that_fails_in_company_ends_alone(engine, oracle, monkeypatch, name, caplog):
    """Whatever is computed with the token `bad` fails; the others of the same pass go on."""
    bad = 21
    model = engine._scheduler.model
    real = getattr(model, name)

    def failing(*args):
        ids = args[0].tolist() if name == "decode" else [i for chunk in args[0] for i in chunk.ids]
        if bad in ids:
            raise MemoryError
        return real(*args)

    others = [n for n in range(1, 20) if bad not in PROMPTS[n] + oracle[n]][:3]
    doomed = greedy(PROMPTS[0], 64, banned_ids=frozenset({bad}) ^ frozenset(range(VOCAB_SIZE)))
    if name == "prefill":
        doomed = greedy([*PROMPTS[0], bad], 64)
    with gate(engine) as steps:
        monkeypatch.setattr(model, name, failing)
        streams = [engine.generate(greedy(PROMPTS[n], 64)) for n in others]
        stream = engine.generate(doomed)
        steps.release(10_000)
        with pytest.raises(EngineError, match="out of memory"):
            read(stream)
        assert [read(stream)[1] for stream in streams] == [oracle[n] for n in others]
        monkeypatch.undo()
    healthy(engine, oracle)


def test_a_prefix_that_is_no_number_is_not_used_again(engine, oracle, monkeypatch):
    ids = [25, *PROMPTS[5]]
    model = engine._scheduler.model
    prefill = model.prefill

    def poisoned(chunks, cache):
        hidden = prefill(chunks, cache)
        for chunk in chunks:
            cache[0][:, chunk.slot] = torch.nan
        return hidden * torch.nan

    monkeypatch.setattr(model, "prefill", poisoned)
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
        failing_once(monkeypatch, core.model, "prefill", error)
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
    failing_once(monkeypatch, engine._scheduler.model, "prefill", MemoryError())
    with pytest.raises(EngineError, match="tokens of the prompt template could not be computed"):
        engine.pin(tuple(PROMPTS[6]))
    healthy(engine, oracle)


def test_a_prefix_that_is_no_number_is_not_kept(engine, oracle, monkeypatch):
    model, pinned = engine._scheduler.model, len(engine._scheduler.cache.pinned)
    prefill = model.prefill
    monkeypatch.setattr(model, "prefill", lambda *args: prefill(*args) * torch.nan)
    with pytest.raises(EngineError, match="could not be computed"):
        engine.pin((23, *PROMPTS[6]))
    monkeypatch.undo()
    assert len(engine._scheduler.cache.pinned) == pinned
    healthy(engine, oracle)


def test_a_prefix_without_room_to_keep_it_fails_alone(engine, oracle, monkeypatch, caplog):
    with gate(engine) as steps:
        stream = engine.generate(greedy(PROMPTS[0], 64))
        pin = Job(greedy((24, *PROMPTS[6]), 1), pin=True)
        engine._scheduler.submit(pin)
        failing_once(monkeypatch, engine._scheduler.cache, "pin", MemoryError())
        steps.release(10_000)
        assert read(stream)[1] == oracle[0]
        assert isinstance(pin.out.get(timeout=10), EngineError)
    healthy(engine, oracle)


def test_a_device_that_breaks_while_a_request_starts_ends_the_engine(
    tiny_checkpoint, module, monkeypatch, caplog
):
    engine = make_engine(tiny_checkpoint, module, slots=1)
    core = engine._scheduler
    with gate(engine) as steps:
        monkeypatch.setattr(core.model, "device", torch.device("cuda"))
        failing_once(monkeypatch, core.sampler, "start", RuntimeError("device-side assert"))
        streams = [engine.generate(greedy(PROMPTS[0], 5)) for _ in range(2)]
        steps.release(10_000)
        for stream in streams:
            with pytest.raises(EngineDead, match="restarted"):
                read(stream)
    assert "restarted" in engine.status().dead
    engine.close()


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
        engine._scheduler.submit(Job(greedy(PROMPTS[0], 5)))
    assert engine.status().waiting == 0
