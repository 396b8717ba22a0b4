"""The RemoteEngine in front of programs as they are: `transformers serve` with the checkpoint that
ships, and this program itself."""

import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from assistant.chat.assistant import Assistant
from assistant.completion.complete import complete
from assistant.completion.inspector import score
from assistant.conversation import Conversation
from assistant.engine.open import open_engine
from assistant.engine.remote import servers
from assistant.engine.remote.dialects import TextGeneration
from assistant.engine.remote.http import ask
from assistant.errors import EngineError
from assistant.paths import MODELS
from assistant.prompting.load import load_template
from assistant.settings import Settings
from tests.support.reading import GREEDY, greedy, read
from tests.support.server import running
from tests.support.waiting import until

MODEL = MODELS / "tech-assistant-7m"
START_S = 300
PROMPTS = (
    "def fibonacci(n):\n", "import os\n\nfor name in os.", "class Stack:\n    def __init__(self",
    "# Reads a file line by line.\nwith open(", "The zip() function returns", "x = [n for n in",
    "try:\n    value = int(text)\nexcept", "Human: What does len do in Python?\n\nAssistant:",
    "json.dumps(", "A dictionary maps", "def reverse(items):\n    return", "while True:\n    ",
    "from collections import", "print(f\"", "sorted(names, key=", "é à 日本", "assert isinstance(",
    "re.compile(r'", "<fim_prefix>def add(a, b):\n<fim_suffix>\n<fim_middle>", "async def f():\n",
)  # fmt: skip


@pytest.fixture(scope="module")
def local():
    engine = open_engine(Settings(dtype="float32"))
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def server(local):
    with running(local) as server:  # closes the engine at its end
        yield server


@contextlib.contextmanager
def transformers_serve(count=1):
    """As many processes of `transformers serve` with the checkpoint: [(process, address)]."""
    program = Path(sys.executable).with_name("transformers")
    started = []
    try:
        for _ in range(count):
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = str(free.getsockname()[1])
            command = [program, "serve", MODEL, "--port", port, "--host", "127.0.0.1"]
            process = subprocess.Popen(
                [*command, "--dtype", "float32", "--device", "cpu"],
                env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            started.append((process, f"http://127.0.0.1:{port}"))
        for process, url in started:
            until(lambda process=process, url=url: process.poll() or answers(url), START_S)
            assert process.poll() is None
        yield started
    finally:
        for process, _ in started:
            process.kill()
        for process, _ in started:
            process.wait()


def answers(url):
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"{url}/health", timeout=5).status_code == 200


@contextlib.contextmanager
def in_front_of(*urls, model=str(MODEL)):
    engine = open_engine(Settings(endpoint=urls, model=model))
    try:
        yield engine
    finally:
        engine.close()


def text_of(reply):
    *_, done = reply
    return done.text, done.reason, done.stop


def same_greedy_text(engine, local):
    for prompt in PROMPTS:
        options = {"sampling": GREEDY, "max_new_tokens": 24}
        assert text_of(complete(engine, prompt, **options)) == text_of(
            complete(local, prompt, **options)
        )
    template = load_template("tech-assistant-short")
    for question in ("What does zip do in Python?", "How do I sort a list?"):
        asked = Conversation().add_message(question)
        one, other = (
            text_of(Assistant(each, template, max_new_tokens=40).reply(asked, sampling=GREEDY))
            for each in (engine, local)
        )
        assert one == other


def test_transformers_serve_gives_the_greedy_text_of_the_local_engine(local):
    with transformers_serve() as [(_, url)], in_front_of(url) as engine:
        assert engine.embedded and engine.window == local.window == 8192
        assert {"ids", "logprobs", "seed"} <= set(engine.limitations)
        same_greedy_text(engine, local)
        prompt = tuple(local.tokenizer.encode("def f("))
        text, _, finished = read(engine.generate(greedy(prompt, 5)))
        assert finished.reason == "length" and finished.new_tokens == 5 and text


def test_one_of_two_is_killed_in_a_reply_and_the_other_takes_the_next(local):
    with transformers_serve(2) as servers, in_front_of(*(url for _, url in servers)) as engine:
        prompt = tuple(local.tokenizer.encode("import os\n"))
        stream, seen = engine.generate(greedy(prompt, 2000)), ""
        while not seen:
            seen += getattr(next(stream), "text", "")
        busy = [one.busy for one in engine._servers.endpoints]
        servers[busy.index(1)][0].kill()
        with pytest.raises(EngineError, match="broke before the reply's end"):
            for item in stream:
                seen += getattr(item, "text", "")
        assert seen
        for _ in range(3):
            text, _, finished = read(engine.generate(greedy(prompt, 8)))
            assert text and finished.reason == "length"
        assert engine.status().running == engine.status().waiting == 0


def test_this_program_in_front_of_itself(local, server):
    with in_front_of(server.url, model="embedded") as engine:
        assert engine.embedded and engine.model == local.model and engine.window == local.window
        assert set(engine.limitations) == {"cold", "banned", "grammar"}
        same_greedy_text(engine, local)
        prompt = local.tokenizer.encode("def f(")
        ids = local.tokenizer.encode("a, b):")
        for one, other in zip(score(engine, prompt, ids), score(local, prompt, ids), strict=True):
            assert (one.id, one.text) == (other.id, other.text)
            assert one.logprob == pytest.approx(other.logprob, abs=1e-4)
            assert [top[0] for top in one.top] == [top[0] for top in other.top]
        request = greedy(prompt, 6, logprobs=3)
        pieces = [piece for piece in engine.generate(request) if hasattr(piece, "logprobs")]
        assert sum(len(piece.logprobs) for piece in pieces) == 6


def test_the_surface_of_text_generation_inference_of_this_program(local, server, monkeypatch):
    async def kind(client, settings):
        info = await ask(client, "GET", "/info")
        return TextGeneration(info["model_id"], info["max_total_tokens"]), None

    monkeypatch.setattr(servers, "find_kind", kind)
    with in_front_of(server.url, model="embedded") as engine:
        assert engine.window == local.window and "ids" in engine.limitations
        same_greedy_text(engine, local)
