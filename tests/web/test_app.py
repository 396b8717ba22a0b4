"""The whole program as people start it: app.py in a process of its own, with real weights."""

import os
import re
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from gradio_client import Client

from assistant.engine.tokenizer import load_tokenizer
from assistant.paths import MODELS, ROOT
from tests.support.engines import greedy, load_module, make_engine, read
from tests.support.loopback_hub import TOKEN, loopback_hub
from tests.support.waiting import until


def start(*arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "app.py", "--port", "0", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


# -- what keeps it from starting --------------------------------------------------------------


def broken(folder, tiny, fault):
    """A copy of the tiny checkpoint with a fault."""
    shutil.copytree(tiny, folder)
    if fault == "cut":
        weights = folder / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:5000])
    elif fault == "large":
        config = folder / "config.json"
        text = re.sub(r'"n_embd": \d+', '"n_embd": 65536', config.read_text())
        config.write_text(re.sub(r'"n_layer": \d+', '"n_layer": 200', text))
    elif fault == "other":
        config = folder / "config.json"
        config.write_text(config.read_text().replace("gpt_bigcode", "mixtral"))
    return str(folder)


def test_what_keeps_it_from_starting_is_one_sentence(tmp_path, tiny_checkpoint):
    small = {path.name: path.read_bytes() for path in tiny_checkpoint.iterdir()}
    short = {"HF_HUB_ETAG_TIMEOUT": "1", "HF_HUB_DOWNLOAD_TIMEOUT": "1"}
    with loopback_hub({"org/gated": small}) as gated, loopback_hub({"org/x": small}) as silent:
        gated.fault, silent.fault = "gated, no token", "silence"
        cases = [
            (["--model", "org/gated"], {"HF_ENDPOINT": gated.endpoint}, "accept its licence"),
            (["--model", "org/x"], {"HF_ENDPOINT": silent.endpoint, **short}, "in time"),
            (["--model", "org/x"], {"HF_TOKEN": TOKEN}, "cannot be reached"),
            (["--model", str(tmp_path / "none")], {}, "neither a folder nor a hub id"),
            (["--model", broken(tmp_path / "a", tiny_checkpoint, "cut")], {}, "delete"),
            (["--model", broken(tmp_path / "b", tiny_checkpoint, "large")], {}, "GB are free"),
            (["--model", broken(tmp_path / "c", tiny_checkpoint, "other")], {}, "--endpoint"),
            (["--prompt", "none"], {}, "There is no prompt template 'none'"),
            (["--prompt", "starchat"], {}, "<|system|>"),
        ]

        def run(case):
            arguments, environment, sentence = case
            home = {"HF_HOME": str(tmp_path / "home"), "CUDA_VISIBLE_DEVICES": ""}
            process = start(*arguments, **home, **environment)
            out, err = process.communicate()
            return process.returncode, out, err, sentence

        with ThreadPoolExecutor(2) as pool:
            for code, out, err, sentence in pool.map(run, cases):
                assert (code, out) == (1, ""), err
                assert sentence in err
                assert err.count("\n") == 1 and TOKEN not in err


# -- the embedded checkpoint ------------------------------------------------------------------

FOLDER = next(path.parent for path in MODELS.glob("*/config.json"))


@pytest.fixture(scope="module")
def url():
    process = start("--dtype", "float32")
    try:
        line = process.stdout.readline()
        yield re.search(r"http://\S+", line)[0]
    finally:
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM


@pytest.fixture(scope="module")
def client(url):
    client = Client(url, verbose=False)
    yield client
    client.close()


def health(url):
    return httpx.get(url + "/health").json()


def test_a_question_is_answered_and_a_second_one(client, url):
    first = client.predict(message="Who are you?", temperature=0, api_name="/chat")
    assert first
    history = [
        {"role": "user", "content": "Who are you?"},
        {"role": "assistant", "content": first},
    ]
    assert client.predict(message="And what is a list?", history=history, api_name="/chat")
    until(lambda: health(url)["running"] == 0)


def test_a_conversation_longer_than_the_window_goes_on(client, url):
    turn = "print(sum(range(10)))  # and so on " * 60
    history = [{"role": role, "content": turn} for _ in range(12) for role in ("user", "assistant")]
    options = {"temperature": 0, "max_new_tokens": 40, "api_name": "/chat"}
    assert client.predict(message="What is a list?", history=history, **options)
    with pytest.raises(Exception, match="window holds 8192 tokens, and .* for the prompt template"):
        client.predict(message=turn * 15, **options)
    assert client.predict(message="What is a list?", **options)
    assert health(url)["running"] == 0


def test_the_last_position_of_the_window_can_be_used(client):
    prompt = "x = 1\n" * 1600
    count = len(load_tokenizer(FOLDER).encode(prompt))
    options = {"prompt": prompt, "api_name": "/complete"}
    assert client.predict(max_new_tokens=8192 - count, **options)
    with pytest.raises(Exception, match="window holds 8192 tokens"):
        client.predict(max_new_tokens=8193 - count, **options)


def test_the_embedded_checkpoint_equals_generate():
    """20 prompts x 64 tokens, greedy, in float32: alone, and four at once."""
    import torch

    module = load_module(FOLDER)
    engine = make_engine(FOLDER, module, slots=4, queue=20)
    source = (ROOT / "assistant" / "settings.py").read_text()
    prompts = [engine.tokenizer.encode(source[at : at + 300]) for at in range(0, 4000, 200)]
    expected = [
        module.generate(
            torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            max_new_tokens=64,
            min_new_tokens=64,
            do_sample=False,
            pad_token_id=0,
        )[0, len(ids) :].tolist()
        for ids in prompts
    ]
    requests = [greedy(ids, 64, banned_ids=frozenset({0})) for ids in prompts]
    assert len(requests) == 20
    alone = [read(engine.generate(request))[1] for request in requests]
    streams = [engine.generate(request) for request in requests]
    together = [read(stream)[1] for stream in streams]
    engine.close()
    assert alone == expected
    assert together == expected
