"""Steps that are read one step late, as on CUDA, on a CPU; test_cuda.py has captured ones."""

import pytest
import torch

from assistant.errors import EngineError
from tests.engine.local.test_engine import PROMPTS, gate, healthy, idle, oracle  # noqa: F401
from tests.support.engines import greedy, load_module, make_engine, read


@pytest.fixture(scope="module")
def module(tiny_checkpoint):
    return load_module(tiny_checkpoint)


@pytest.fixture(scope="module", params=[False, True], ids=["alone", "drafts"])
def late(request, tiny_checkpoint, module):
    """An engine that reads what a step drew after it has launched the next one."""
    engine = make_engine(tiny_checkpoint, module, slots=8, queue=16, drafts=request.param)
    engine._scheduler.decode_step.late = True
    yield engine
    engine.close()


def test_one_step_late_gives_the_same_text(late, oracle):  # noqa: F811
    requests = [greedy(ids, 64, stop_ids=frozenset({0})) for ids in PROMPTS]
    streams = [late.generate(request) for request in requests]  # more, then fewer than drafts take
    for stream, expected in zip(streams, oracle, strict=True):
        assert read(stream)[1] == [token for token in expected if token != 0]
    healthy(late, oracle)


def test_one_step_late_a_next_turn_finds_what_was_computed(late, oracle):  # noqa: F811
    streams = [late.generate(greedy(ids, 20)) for ids in PROMPTS[:6]]
    for ids, stream, expected in zip(PROMPTS, streams, oracle, strict=False):
        reply = read(stream)[1]
        assert reply == expected[:20]
        idle(late)
        finished = read(late.generate(greedy([*ids, *reply, *expected[20:22]], 30)))
        assert finished[1] == expected[22:52]
        assert finished[2].cached_tokens >= len(ids) + 19


def test_one_step_late_cancels_failures_and_the_length_are_exact(late, oracle, monkeypatch):  # noqa: F811
    streams = [late.generate(greedy(ids, 64)) for ids in PROMPTS[:8]]
    for stream in streams[::2]:
        next(stream)
        stream.close()
    assert [read(stream)[1] for stream in streams[1::2]] == oracle[1:8:2]
    for count in (1, 2, 3):
        assert read(late.generate(greedy(PROMPTS[9], count)))[1] == oracle[9][:count]
    window = late.window
    ids = (PROMPTS[0] * 256)[: window - 30]
    streams = [late.generate(greedy(ids, 30)) for _ in range(6)]
    assert len({tuple(read(stream)[1]) for stream in streams}) == 1
    decode = late._scheduler.model.decode

    def poisoned(ids, slots, positions, cache):
        logits = decode(ids, slots, positions, cache)
        logits[slots == 0] = torch.nan
        return logits

    monkeypatch.setattr(late._scheduler.model, "decode", poisoned)
    streams = [late.generate(greedy(ids, 64)) for ids in PROMPTS[:8]]
    ends = []
    for stream, expected in zip(streams, oracle, strict=False):
        try:
            assert read(stream)[1] == expected
        except EngineError as error:
            ends.append(str(error))
    assert len(ends) == 1 and "not a number" in ends[0]
    monkeypatch.undo()
    healthy(late, oracle)


def test_one_step_late_a_failure_after_drawing_is_tried_again(
    late,
    oracle,  # noqa: F811
    monkeypatch,
    caplog,
):
    step = late._scheduler.decode_step
    decode, calls = step.decode, []

    def failing(rows, **options):
        drawn = decode(rows, **options)
        calls.append(len(rows))
        if len(calls) % 7 == 3 and len(rows) > 1:
            raise MemoryError
        return drawn

    monkeypatch.setattr(step, "decode", failing)
    with gate(late):  # until all have come
        streams = [late.generate(greedy(ids, 64)) for ids in PROMPTS[:8]]
    assert [read(stream)[1] for stream in streams] == oracle[:8]
    assert len(calls) > 64 and max(calls) > 5
    monkeypatch.undo()
    healthy(late, oracle)


def test_one_step_late_what_is_computed_by_itself_gives_the_same_text(late, oracle, monkeypatch):  # noqa: F811
    """Cold requests, on a machine whose results depend on their company."""
    scheduler, rows = late._scheduler, []
    monkeypatch.setattr(scheduler, "bitwise_stable", False)
    launch = scheduler._launch
    monkeypatch.setattr(
        scheduler, "_launch", lambda jobs, spare: rows.append(jobs) or launch(jobs, spare)
    )
    with gate(late):
        requests = [greedy(ids, 64, cold=n % 3 == 0) for n, ids in enumerate(PROMPTS)]
        streams = [late.generate(request) for request in requests]
    for stream, expected in zip(streams, oracle, strict=True):
        assert read(stream)[1] == expected
    assert max(map(len, rows)) > 3
    assert all(len(jobs) == 1 for jobs in rows if any(job.cold for job in jobs))
    monkeypatch.undo()
    healthy(late, oracle)
