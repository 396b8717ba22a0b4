"""lm-eval's local-completions: likelihoods, free text, and functions with HumanEval's stops."""

import json
from pathlib import Path

import pytest

from .conftest import KEY
from .tasks.functions import passes

TASKS = Path(__file__).parent / "tasks"
STOPS = ["\nclass", "\ndef", "\n#", "\nif", "\nprint"]  # HumanEval's, as lm-eval has them


@pytest.fixture
def samples(server, run, tmp_path):
    """The samples that lm-eval wrote, by task."""
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    for path in TASKS.iterdir():
        if path.is_file():
            (tasks / path.name).write_text(path.read_text().replace("DATA", str(TASKS)))
    model = {
        "model": server.model,
        "base_url": f"{server.api}/completions",
        "auth_token": KEY,  # with which it asks for the tokenizer
        "num_concurrent": 2,
        "max_retries": 1,
        "max_length": 8192,
    }
    run(
        "lm_eval", "--model", "local-completions",
        "--model_args", ",".join(f"{key}={value}" for key, value in model.items()),
        "--include_path", tasks, "--tasks", "local_choice,local_write,local_functions",
        "--batch_size", "2", "--log_samples", "--output_path", tmp_path / "out",
        "--confirm_run_unsafe_code",
        OPENAI_API_KEY=KEY,
    )  # fmt: skip
    found = {}
    for path in (tmp_path / "out").rglob("samples_*.jsonl"):
        task = path.name.removeprefix("samples_").rpartition("_")[0]
        found[task] = [json.loads(line) for line in path.read_text().splitlines()]
    return found


def likelihood(server, context, choice):
    """Of a choice behind a context, and whether it is what would have been written."""
    answer = server.completion(f"{context} {choice}", echo=True, logprobs=1, max_tokens=0)
    known = answer["choices"][0]["logprobs"]
    begin = known["text_offset"].index(len(context))
    likeliest = [max(top, key=top.get) for top in known["top_logprobs"][begin:]]
    return sum(known["token_logprobs"][begin:]), likeliest == known["tokens"][begin:]


def test_scores_and_generates(server, samples):
    chosen = samples["local_choice"]
    assert len(chosen) == 4 and sum(sample["acc"] for sample in chosen) >= 3
    for sample in chosen:
        line = sample["doc"]
        for choice, ((found, greedy),) in zip(line["choices"], sample["resps"], strict=True):
            expected, likeliest = likelihood(server, line["question"], choice)
            assert float(found) == pytest.approx(expected, abs=0.01)
            assert (str(greedy) == "True") == likeliest
    for sample in samples["local_write"]:
        text = server.text(sample["doc"]["question"], max_tokens=16, stop=["\n"])
        assert sample["resps"] == [[text]]
    functions = samples["local_functions"]
    for sample in functions:
        text = server.text(sample["doc"]["prompt"], max_tokens=128, stop=STOPS)
        assert sample["resps"] == [[text]]
        assert sample["passes"] == passes(sample["doc"], [text])["passes"]
    # The model can hardly code, but not all of them are wrong.
    assert len(functions) == 5 and any(sample["passes"] for sample in functions)
