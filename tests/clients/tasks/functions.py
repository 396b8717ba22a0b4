"""What lm-eval calls to see whether a function that was written passes its test."""

import subprocess
import sys


def passes(doc, results):
    """Runs the code in a process of its own. doc: a line of functions.jsonl; results: [text]."""
    code = f"{doc['prompt']}{results[0]}\n\n{doc['test']}\n"
    command = [sys.executable, "-I", "-c", code]
    try:
        done = subprocess.run(command, env={}, capture_output=True, timeout=10)
    except subprocess.TimeoutExpired:
        return {"passes": 0}
    return {"passes": int(done.returncode == 0)}
