"""The prompt templates that ship: what they demonstrate must be right.

Reads the TOML itself: loading and rendering are test_template.py's.
"""

import functools
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from assistant.paths import PROMPTS
from assistant.prompting.load import template_names
from assistant.prompting.template import LATER
from assistant.sampling import Sampling

BUDGETS = {"tech-assistant": 2600, "tech-assistant-short": 700}  # StarCoder tokens
DIALOGUES = {"tech-assistant": 10, "tech-assistant-short": 3}  # at least
KEYS = {"name", "user", "assistant", "turn_end", "separator", "system", "stop", "preamble"}
FENCE = re.compile(r"^```(.*)\n((?:.*\n)*?)```$", re.MULTILINE)
CLAIM = re.compile(r"`([^`\n]+)` (?:returns|is) `([^`\n]+)`")
SPECIAL = re.compile(
    r"<\|[^|\n]+\|>|<(?:fim_|issue_|jupyter_|commit_)\w+>"
    r"|<(?:filename|gh_stars|empty_output|reponame)>"
)
SECRET = re.compile(r"\bhf_\w{8,}|HF_TOKEN|ASSISTANT_|/home/|/root\b|/tmp/|[A-Z]:\\Users")


@functools.cache
def load(name):
    return tomllib.loads((PROMPTS / f"{name}.toml").read_text(encoding="utf-8"))


def dialogues(name):
    """The dialogues of a preamble, without the part that stands before the first."""
    return load(name)["preamble"].split("\n-----\n")[1:-1]


def blocks(dialogue, language):
    return [code for tag, code in FENCE.findall(dialogue) if tag == language]


ALL = template_names()
FILES = sorted(path.relative_to(PROMPTS) for path in PROMPTS.rglob("*.toml"))
EVERY_DIALOGUE = [
    pytest.param(dialogue, id=f"{name}-{number}")
    for name in BUDGETS
    for number, dialogue in enumerate(dialogues(name))
]


def with_block(language):
    return [param for param in EVERY_DIALOGUE if blocks(param.values[0], language)]


def run(*command, **kwargs):
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(command, capture_output=True, encoding="utf-8", **kwargs)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ALL)
def test_keys_and_sampling(name):
    template = dict(load(name))
    Sampling(**template.pop("sampling"))
    assert KEYS - {"separator"} <= set(template) <= KEYS


@pytest.mark.parametrize("path", FILES, ids=str)
def test_no_secret_or_path(path):
    text = (PROMPTS / path).read_text(encoding="utf-8")
    assert not SECRET.search(text)


@pytest.mark.parametrize("name", BUDGETS)
def test_no_special_token(name):
    assert not SPECIAL.search((PROMPTS / f"{name}.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", BUDGETS)
def test_shape(name):
    template = load(name)
    assert template["preamble"].endswith("\n\n-----\n")
    assert len(dialogues(name)) >= DIALOGUES[name]
    for dialogue in dialogues(name):
        assert dialogue.startswith("\nHuman: ") and dialogue.endswith("\n")
        markers = re.findall(r"^(Human|Assistant):", dialogue, re.MULTILINE)
        assert markers == ["Human", "Assistant"] * (len(markers) // 2)
        turns = re.split(r"\n(?:Human|Assistant):", dialogue)
        assert turns[0] == ""
        for turn in turns[1:]:
            assert turn.startswith(" ") and turn.endswith("\n")
            assert turn == f" {turn.strip()}\n"


def test_topics():
    text = dialogues("tech-assistant")
    languages = {tag for dialogue in text for tag, _ in FENCE.findall(dialogue)}
    assert {"python", "javascript", "c", "bash", "sql", "regex"} <= languages
    assert max(dialogue.count("\nHuman: ") for dialogue in text) >= 3
    for name in BUDGETS:
        assert any("\nHuman: Who are you?\n" in dialogue for dialogue in dialogues(name))
        assert any("outside my field" in dialogue for dialogue in dialogues(name))
        # The last dialogue weighs most: it must not be the one that declines.
        assert "outside my field" not in dialogues(name)[-1]


CHECKED = {"python", "javascript", "c", "bash", "sql", "regex"}


@pytest.mark.parametrize("dialogue", EVERY_DIALOGUE)
def test_every_fence_is_closed_and_checked_below(dialogue):
    assert dialogue.count("```") == 2 * len(FENCE.findall(dialogue))
    assert {tag for tag, _ in FENCE.findall(dialogue)} <= CHECKED


@pytest.mark.parametrize("dialogue", with_block("python"))
def test_python_runs(dialogue, tmp_path):
    code = "\n\n".join(blocks(dialogue, "python"))
    claims = [f"assert ({left}) == ({right})" for left, right in CLAIM.findall(dialogue)]
    path = tmp_path / "test_dialogue.py"
    path.write_text("\n".join([code, *claims]), encoding="utf-8")
    run(sys.executable, "-I", str(path))
    if "def test_" in code:
        run(sys.executable, "-m", "pytest", "-q", str(path), cwd=tmp_path)


@pytest.mark.parametrize("dialogue", with_block("sql"))
def test_sql_runs(dialogue):
    with_tables = sqlite3.connect(":memory:")
    for table, columns in re.findall(r"\b(\w+)\((id, [\w, ]+)\)", dialogue):
        with_tables.execute(f"CREATE TABLE {table} ({columns})")
    with_tables.executescript("""
        INSERT INTO customers VALUES (1, 'Ada'), (2, 'Bob'), (3, 'Bob'), (4, 'Cy');
        INSERT INTO orders VALUES (1, 1, 5, '2024-01-01'), (2, 1, 7, '2024-12-31'),
                                  (3, 2, 9, '2023-12-31'), (4, 3, 1, '2025-01-01');
    """)
    results = [with_tables.execute(sql).fetchall() for sql in blocks(dialogue, "sql")]
    with_tables.close()
    assert results[0][:2] == [("Ada", 12), ("Bob", 9)]
    assert results[1][0] == ("Ada", 12) and sorted(results[1][1:])[0] == ("Bob", 0)
    for rows in results:
        assert len(rows) == 4 and ("Cy", 0) in rows


@pytest.mark.parametrize("dialogue", with_block("regex"))
def test_regex_matches_what_it_says(dialogue):
    for pattern in blocks(dialogue, "regex"):
        examples = re.findall(r"like (\d\S+)\.\n|`([^`]+)` matches", dialogue)
        assert len(examples) == 2
        for example in map("".join, examples):
            assert re.search(pattern.strip(), example), example
        for other in ("2024-13-01", "2024-00-10", "2024-01-32", "2024-1-1", "x2024-01-01"):
            assert not re.search(pattern.strip(), other), other


@pytest.mark.parametrize("dialogue", with_block("bash"))
def test_bash_parses(dialogue):
    for code in blocks(dialogue, "bash"):
        run("bash", "-n", input=code)


@pytest.mark.parametrize("dialogue", with_block("javascript"))
def test_javascript_parses(dialogue, tmp_path):
    for code in blocks(dialogue, "javascript"):
        path = tmp_path / "code.js"
        path.write_text(code, encoding="utf-8")
        run("node", "--check", str(path))


@pytest.mark.parametrize("dialogue", with_block("c"))
def test_c_compiles(dialogue):
    asked, answered = blocks(dialogue, "c")
    run("gcc", "-x", "c", "-fsyntax-only", "-Wall", "-Werror", "-", input=asked)
    run("gcc", "-x", "c", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-", input=answered)


@pytest.mark.parametrize("name", BUDGETS)
def test_token_budget(name):
    folder = os.environ.get("STARCODER_TOKENIZER")
    if not folder:
        pytest.skip("STARCODER_TOKENIZER names no folder with StarCoder's tokenizer")
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
    preamble = load(name)["preamble"]
    count = len(tokenizer.encode(preamble).ids)
    assert count <= BUDGETS[name]
    assert f"| `{name}.toml` " in (readme := (PROMPTS / "README.md").read_text(encoding="utf-8"))
    assert f"| {count:,} |" in readme
    # The preamble's ids are a prefix of the whole prompt's: its cached KV can be used again.
    prompt = tokenizer.encode(preamble + "\nHuman: Hello\n\nAssistant:").ids
    assert prompt[:count] == tokenizer.encode(preamble).ids


def test_readme_shows_the_formats():
    readme = (PROMPTS / "README.md").read_text(encoding="utf-8")
    chat, exact, completion, question = re.findall(r"```toml\n(.*?)```", readme, re.DOTALL)
    assert set(tomllib.loads(chat)) == KEYS | {"sampling"}
    assert set(tomllib.loads(exact)) == set(LATER)
    assert completion == (PROMPTS / "completion" / "repository-file.toml").read_text("utf-8")
    saved = tomllib.loads((PROMPTS / "questions.toml").read_text("utf-8"))
    assert tomllib.loads(question).items() <= saved.items()
    for path in FILES:
        assert f"`{path}`" in readme
