"""llm, a command line with plug-ins."""

import json
import re

import pytest

from .conftest import KEY, NO_KEY, PROMPT, QUESTION, TOO_LONG, WINDOW

SYSTEM = "Keep it short."


@pytest.fixture
def ask(server, run, tmp_path):
    common = f"  model_name: {server.model}\n  api_base: {server.api}\n  api_key_name: assistant\n"
    (tmp_path / "extra-openai-models.yaml").write_text(
        f"- model_id: chat\n{common}- model_id: raw\n{common}  completion: true\n"
    )
    (tmp_path / "keys.json").write_text(json.dumps({"assistant": KEY}))

    def ask(model, *words, **options):
        greedy = ["-o", "temperature", "0", "-o", "max_tokens", "24"]
        return run(
            "llm", "prompt", "-m", model, *greedy, *words, LLM_USER_PATH=str(tmp_path), **options
        )

    return ask


@pytest.mark.parametrize("more", [[], ["--no-stream"]], ids=["stream", "whole"])
def test_a_chat(ask, server, more):
    told = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION}]
    assert ask("chat", *more, "-s", SYSTEM, QUESTION).strip() == server.reply(*told)


def test_a_completion(ask, server):
    assert ask("raw", PROMPT).strip() == server.text().strip()


@pytest.mark.parametrize(
    ("words", "sentence"), [((TOO_LONG,), WINDOW), (("--key", "wrong", QUESTION), NO_KEY)]
)
def test_errors(ask, words, sentence):
    assert re.search(sentence, ask("chat", *words, fails=True))
