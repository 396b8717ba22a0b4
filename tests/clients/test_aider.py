"""aider, in an environment of its own: it asks for older packages than the other clients."""

import re

import pytest

from .conftest import KEY, NO_KEY, QUESTION, ROOT

OFF = ("analytics", "check-update", "git", "pretty", "show-model-warnings", "show-release-notes")


@pytest.fixture
def ask(server, run):
    def ask(key):
        said = run(
            ROOT / ".venv-aider/bin/aider",
            *(f"--no-{name}" for name in OFF),
            *("--yes-always", "--edit-format", "ask", "--model", f"openai/{server.model}"),
            *("--llm-history-file", "sent.txt", "--message", QUESTION),
            OPENAI_API_BASE=server.api,
            OPENAI_API_KEY=key,
        )
        return " ".join(said.split())  # it breaks lines

    return ask


def messages(history):
    """Those that were sent, as aider's log has them: each line behind its role, rules between."""
    sent = history.partition("TO LLM")[2].partition("LLM RESPONSE")[0].partition("\n")[2]
    for part in filter(str.strip, sent.split("-------\n")):
        role = part.partition(" ")[0]
        lines = (line.removeprefix(role).removeprefix(" ") for line in part.strip("\n").split("\n"))
        yield {"role": role.lower(), "content": "\n".join(lines)}


def test_a_question(ask, server, tmp_path):
    said = ask(KEY)
    sent = list(messages((tmp_path / "sent.txt").read_text()))
    assert [message["role"] for message in sent[:2]] == ["system", "user"]
    assert QUESTION in sent[-1]["content"]
    reply = server.reply(*sent, max_tokens=None)
    assert len(reply) > 20 and reply in said


def test_a_wrong_key(ask):
    assert re.search(NO_KEY, ask("wrong"))
