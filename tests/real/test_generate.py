"""The engine writes what transformers' `generate` writes, and thinks of a text what it thinks."""

import pytest

from assistant.completion.inspector import score
from benchmarks.apart import in_process
from tests.real.oracle import ask
from tests.real.texts import TEXTS
from tests.support.reading import greedy, read

pytestmark = pytest.mark.real

PROMPT, NEW = 48, 64  # tokens


@pytest.fixture(scope="module")
def texts(engine):
    return [engine.tokenizer.encode(text) for text in TEXTS.values()]


@pytest.fixture(scope="module")
def prompts(texts):
    """20, half of them from each text."""
    return [ids[at : at + PROMPT] for ids in texts for at in range(0, 250, 25)]


@pytest.fixture(scope="module")
def oracle(prompts, texts):
    return in_process(ask, prompts, texts, NEW)


@pytest.mark.parametrize(("every", "together"), [(5, 1), (1, 4)])  # alone is slow: four of them
def test_greedy_ids_equal_generate(engine, prompts, oracle, every, together):
    expected, distance, _ = oracle
    assert distance > 1e-4  # the last bits of a sum decide nowhere
    chosen, found = prompts[::every], []
    for at in range(0, len(chosen), together):
        streams = [engine.generate(greedy(ids, NEW)) for ids in chosen[at : at + together]]
        found += [read(stream)[1] for stream in streams]
    assert len(expected) == 20 and found == expected[::every]


def test_the_inspector_says_what_transformers_computes(engine, texts, oracle):
    for ids, expected in zip(texts, oracle[2], strict=True):
        tokens = score(engine, ids[:1], ids[1:])
        assert "".join(token.text for token in tokens) == engine.tokenizer.decode(ids[1:])
        assert [token.logprob for token in tokens] == pytest.approx(expected, abs=2e-3)
