"""A running server with the embedded model and a key, and what it answers without any client.

These tests run in an environment of the clients alone (make test-clients), so they know nothing of
this project but its program, which is started as people start it.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

# Before any client is imported: no accounts of this machine, and nothing leaves it. Whatever asks
# for another address, such as a hub or a list of prices, meets one where nobody listens.
FOREIGN = (
    "AIDER",
    "ANTHROPIC",
    "ASSISTANT_",
    "HF_",
    "HUGGING",
    "LANGCHAIN",
    "LANGSMITH",
    "LITELLM",
)
FOREIGN += ("LLM_", "OPENAI", "PYTEST_ADDOPTS")
for name in list(os.environ):
    if name.startswith(FOREIGN) or name.upper().endswith("_PROXY"):
        del os.environ[name]
NOWHERE = "http://127.0.0.1:9"
OFFLINE = {
    "HF_DATASETS_OFFLINE": "1",
    "HF_ENDPOINT": NOWHERE,
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HTTP_PROXY": NOWHERE,
    "HTTPS_PROXY": NOWHERE,
    "LANGSMITH_TRACING": "false",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "NO_PROXY": "127.0.0.1",
}
os.environ |= OFFLINE

import httpx  # noqa: E402
import pytest  # noqa: E402

ROOT = Path(__file__).parents[2]
KEY = "open-sesame"
QUESTION = "What does `bisect.insort` do?"
PROMPT = "import os\n"
TOO_LONG = "a b c " * 9000  # tokens: three times the window
WINDOW = r"The model's window holds 8192 tokens, and .* for the reply are 2\d{4}; shorten the text"
NO_KEY = r"Send the API key of this server in the header Authorization: Bearer KEY\."


class Server:
    """url: its address, with /v1 as api; model: its model's name."""

    def __init__(self, url):
        self.url, self.api = url, f"{url}/v1"
        self.http = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {KEY}"}, timeout=120
        )
        self.model = self.http.get("/v1/models").json()["data"][0]["id"]

    def post(self, path, **body):
        answer = self.http.post(path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def completion(self, prompt=PROMPT, **options):
        """The raw answer to a prompt, greedy, of at most 24 tokens."""
        body = {"prompt": prompt, "temperature": 0, "max_tokens": 24, **options}
        return self.post("/v1/completions", **body)

    def text(self, prompt=PROMPT, **options):
        return self.completion(prompt, **options)["choices"][0]["text"]

    def chat(self, *messages, **options):
        """The raw answer to messages, or to QUESTION, greedy, of at most 24 tokens."""
        messages = messages or ({"role": "user", "content": QUESTION},)
        body = {"messages": messages, "temperature": 0, "max_tokens": 24, **options}
        return self.post("/v1/chat/completions", **body)

    def reply(self, *messages, **options):
        return self.chat(*messages, **options)["choices"][0]["message"]["content"]


@pytest.fixture(scope="session")
def program():
    command = [ROOT / ".venv/bin/python", ROOT / "app.py", "--port", "0", "--dtype", "float32"]
    command += ["--prompt", "tech-assistant-short"]
    environment = os.environ | {"ASSISTANT_API_KEY": KEY}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            said = (re.search(r" is at (http://\S+)", line) for line in process.stdout)
            found = next(filter(None, said), None)
            assert found, "the program ended before it listened"
            yield Server(found[1])
        finally:
            process.terminate()


@pytest.fixture
def server(program):
    """The server, which answers still when the test is over."""
    yield program
    assert program.completion()["usage"]["completion_tokens"] == 24


@pytest.fixture
def run(tmp_path):
    """Runs a command of this environment in an empty folder; all that it says. fails: whether it
    has to end with an error."""

    def run(command, *arguments, fails=False, **variables):
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        home = {"HOME": str(tmp_path), "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(
            [str(Path(sys.executable).parent / command), *map(str, arguments)],
            cwd=tmp_path,
            env={**kept, **OFFLINE, **home, **variables},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout + done.stderr if fails else done.stdout

    return run
