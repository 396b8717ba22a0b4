"""Programs of other people against a running server: lm-eval's local-completions, and llm.

They live in an environment of their own; make test-clients makes it, and runs this.
"""

import json
import os
import subprocess
from pathlib import Path

import httpx
import pytest

from assistant.completion.complete import complete
from assistant.completion.inspector import score
from assistant.engine.open import open_engine
from assistant.prompting.load import load_template
from assistant.sampling import Sampling
from assistant.settings import Settings
from tests.support.server import running

pytestmark = pytest.mark.clients

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
BIN = ROOT / ".venv-clients" / "bin"
TOKENIZER = ROOT / "models" / "tech-assistant-7m"
ASKED = [
    ("import itertools\n\nfor pair in itertools.", ["pairwise(items):", "elephants(items):"], 0),
    ("The function `bisect.insort`", ["sings a song about rain.", "inserts an item."], 1),
    ("def add(a, b):\n    return", ["a + b", "import"], 0),
    ("é \U0001f600 `len(x)` returns the", ["banana of x", "length of x"], 1),
]


@pytest.fixture(scope="module")
def server():
    engine = open_engine(Settings(dtype="float32"))
    with running(engine, template=load_template("tech-assistant-short")) as server:
        yield server
    engine.close()


def run(command, folder, **environment):
    """What a client's command prints."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(folder / "hf")}
    done = subprocess.run(
        [str(BIN / command[0]), *map(str, command[1:])],
        cwd=folder,
        env={**kept, **offline, "HOME": str(folder), **environment},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def name_of(server):
    return server.get("/v1/models").json()["data"][0]["id"]


@pytest.mark.timeout(900)
def test_lm_eval_scores_and_generates(server, tmp_path):
    lines = [dict(zip(("question", "choices", "answer"), asked, strict=True)) for asked in ASKED]
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(line) + "\n" for line in lines))
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    for path in (HERE / "tasks").glob("*.yaml"):
        (tasks / path.name).write_text(path.read_text().replace("DATA", str(data)))
    model = {
        "model": name_of(server),
        "base_url": f"{server.url}/v1/completions",
        "tokenizer": TOKENIZER,
        "tokenizer_backend": "huggingface",
        "num_concurrent": 2,
        "max_retries": 1,
        "max_length": 8192,
    }
    arguments = ",".join(f"{key}={value}" for key, value in model.items())
    run(
        ["lm_eval", "--model", "local-completions", "--model_args", arguments,
         "--include_path", tasks, "--tasks", "local_choice,local_write", "--batch_size", "2",
         "--log_samples", "--output_path", tmp_path / "out"],
        tmp_path,
    )  # fmt: skip

    engine, tokenizer = server.engine, server.engine.tokenizer
    chosen = samples(tmp_path, "local_choice")
    assert len(chosen) == len(ASKED)
    for sample in chosen:
        line = sample["doc"]
        for choice, ((likelihood, greedy),) in zip(line["choices"], sample["resps"], strict=True):
            ids = tokenizer.encode(line["question"])
            tokens = score(
                engine, ids, tokenizer.encode(f"{line['question']} {choice}")[len(ids) :]
            )
            expected = sum(token.logprob for token in tokens)
            assert float(likelihood) == pytest.approx(expected, abs=0.01)
            likeliest = all(token.id == token.top[0][0] for token in tokens)
            assert (str(greedy) == "True") == likeliest
    right = sum(sample["acc"] for sample in chosen)
    assert right >= 3

    for sample in samples(tmp_path, "local_write"):
        reply = complete(
            engine,
            sample["doc"]["question"],
            sampling=Sampling(temperature=0, top_p=1),
            max_new_tokens=16,
            stop=["\n"],
        )
        *_, done = reply
        assert sample["resps"] == [[done.text]]


def samples(folder, task):
    (path,) = (folder / "out").rglob(f"samples_{task}_*.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("stream", [True, False])
def test_llm_chats_and_completes(server, tmp_path, stream):
    name = name_of(server)
    common = f"  model_name: {name}\n  api_base: {server.url}/v1\n"
    (tmp_path / "extra-openai-models.yaml").write_text(
        f"- model_id: chat\n{common}- model_id: raw\n{common}  completion: true\n"
    )
    more = [] if stream else ["--no-stream"]

    def ask(model, *words):
        options = ["-o", "temperature", "0", "-o", "max_tokens", "24"]
        command = ["llm", "prompt", "-m", model, *options, *more, *words]
        return run(command, tmp_path, LLM_USER_PATH=str(tmp_path)).strip()

    question = "What does `bisect.insort` do?"
    system = "Keep it short."
    body = {"temperature": 0, "max_tokens": 24}
    for said in ([], [{"role": "system", "content": system}]):
        messages = [*said, {"role": "user", "content": question}]
        answer = httpx.post(
            f"{server.url}/v1/chat/completions", json={**body, "messages": messages}, timeout=100
        )
        expected = answer.json()["choices"][0]["message"]["content"]
        assert ask("chat", *(["-s", system] if said else []), question) == expected
    answer = server.post("/v1/completions", json={**body, "prompt": "import os\n"}, timeout=100)
    assert ask("raw", "import os\n") == answer.json()["choices"][0]["text"].strip()
