"""llama.cpp, on the same file, sees the same tokens and nearly the same next one. It computes in
8 bits what the engine computes in float32, so they are not the same to the bit."""

import subprocess

import httpx
import pytest

from assistant.completion.inspector import score
from assistant.paths import ROOT
from benchmarks.apart import PEERS_PYTHON, environment
from tests.real.compare import compare
from tests.real.texts import TEXTS
from tests.support.smollm2 import FILE

pytestmark = pytest.mark.real

TOP = 20


@pytest.fixture(scope="module")
def llama_cpp(engine):
    """Asks its server: a route, and the body."""
    if not PEERS_PYTHON.exists():
        pytest.skip("there is no llama.cpp here; make test-real installs it")
    command = [PEERS_PYTHON, "-m", "tests.real.llama_cpp", FILE]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, env=environment(), **pipes) as process:
        url = process.stdout.readline().strip()
        with httpx.Client(base_url=url, timeout=60) as http:
            yield lambda route, **body: http.post(route, json=body).raise_for_status().json()
        process.stdin.close()


@pytest.mark.parametrize(
    "text", [*TEXTS.values(), "  naïve\t ½\r\n\n\n日本 <|im_start|>don't  12345"]
)
def test_token_ids_are_equal(engine, llama_cpp, text):
    for trusted in (True, False):
        told = llama_cpp("/tokenize", content=text, add_special=False, parse_special=trusted)
        assert engine.tokenizer.encode(text, trusted=trusted) == told["tokens"]


def test_the_likeliest_next_token_is_the_same(engine, llama_cpp):
    ours, theirs = [], []
    for text in TEXTS.values():
        ids = engine.tokenizer.encode(text)[:260]
        ours += [
            [(id, logprob) for id, _, logprob in token.top]
            for token in score(engine, ids[:1], ids[1:], TOP)
        ]
        for end in range(1, len(ids)):
            told = llama_cpp(
                "/completion", prompt=ids[:end], n_predict=1, n_probs=TOP, temperature=0, id_slot=0
            )
            (next_token,) = told["completion_probabilities"]
            theirs.append([(each["id"], each["logprob"]) for each in next_token["top_logprobs"]])
    assert len(ours) > 500
    same, apart = compare(theirs, ours)
    print(f"llama.cpp: the same likeliest token at {same:.1%} of {len(ours)} positions, "
          f"a divergence of {apart:.5f}")  # fmt: skip
    assert same >= 0.97
