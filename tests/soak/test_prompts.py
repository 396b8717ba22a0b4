"""The 60 technical questions behind each prompt, on a model that was trained on none of them: the
table of docs/prompts-on-a-real-model.md, without the questions whose code would have to be run."""

import subprocess
import sys

import pytest

from assistant.paths import ROOT
from tests.support.smollm2 import FILE

pytestmark = pytest.mark.soak

PROMPTS = ("tech-assistant", "tech-assistant-short", "model")


def test_the_questions_of_the_evaluation_on_a_real_model():
    if not FILE.exists():
        pytest.skip("there is no real model here; make soak fetches it")
    command = [sys.executable, "-m", "assistant.evaluation", "eval", "--dtype", "float32"]
    command += ["--model", FILE, *(f"--prompt={name}" for name in PROMPTS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    print(done.stdout)
    assert done.returncode == 0 and "failed" not in done.stderr, done.stderr
    head, *rows = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert all(name in head for name in PROMPTS)
    assert any(row.startswith("| all areas") and "–" not in row for row in rows)
