"""README and its relatives say what the code does: flags, versions, files, steps."""

import ast
import json
import re
import tomllib
from dataclasses import replace

import pytest
import yaml
from packaging.requirements import Requirement

import assistant
from assistant.paths import ROOT
from assistant.settings import _parser
from assistant.web.gate.metrics import Measured
from tests.support.fake_engine import FakeEngine
from tests.support.server import running

README = (ROOT / "README.md").read_text(encoding="utf-8")
FLAGS = [action for action in _parser(on_space=False)._actions if action.dest != "help"]
PAPERS = (
    *("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "prompts/README.md"),
    *("docs/adapters.md", "docs/clients.md", "docs/deploy.md", "docs/gpu.md", "docs/scaling.md"),
)


def rows():
    """The table of flags: flag to (variable, default)."""
    cells = re.findall(r"^\| `(--[\w-]+)` \| `(\w+)` \| (.*?) ?\|", README, re.MULTILINE)
    return {flag: (variable, default) for flag, variable, default in cells}


def requirement(name):
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    return next(
        found
        for line in lines
        if (text := line.partition("#")[0].strip()) and (found := Requirement(text)).name == name
    )


def test_the_package_needs_what_requirements_say():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    texts = filter(None, (line.partition("#")[0].strip() for line in lines))
    assert [*map(Requirement, project["dependencies"])] == [*map(Requirement, texts)]


def test_the_newest_version_in_the_changelog_is_the_program_s():
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    versions = re.findall(r"^## \[([\d.]+)\] - \d{4}-\d\d-\d\d$", text, re.MULTILINE)
    assert versions[0] == assistant.__version__ and "0.1.0" in versions


def pinned(name):
    return re.search(rf"^{name}==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)[1]


@pytest.mark.parametrize("action", FLAGS, ids=lambda action: action.dest)
def test_readme_names_every_flag(action):
    (flag,) = action.option_strings
    variable, default = rows()[flag]
    assert variable == "ASSISTANT_" + action.dest.upper()
    if action.default not in (None, False, ""):
        assert str(action.default) in default


def test_readme_names_no_flag_that_is_gone():
    assert set(rows()) == {action.option_strings[0] for action in FLAGS}


DEPLOY, GPU = (
    (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in ("deploy", "gpu")
)


def test_deploy_names_only_what_exists():
    known = {flag for action in FLAGS for flag in action.option_strings}
    program = re.findall(r"(?:app\.py|^ +tech-assistant:cuda) (--.*)", DEPLOY, re.MULTILINE)
    spoken = re.findall(r"`(--[\w-]+)[ `]", DEPLOY)
    assert {flag for line in program for flag in re.findall(r"--[\w-]+", line)} <= known
    assert len(spoken) > 8 and set(spoken) <= known
    variables = {"ASSISTANT_" + action.dest.upper() for action in FLAGS}
    variables |= {"ASSISTANT_ENDPOINT_KEY"}  # a secret: a variable or a file, no flag
    variables.add("ASSISTANT_ENDPOINT_KEY")  # a secret is no flag, it would show in lists
    assert set(re.findall(r"\bASSISTANT_\w+", DEPLOY)) <= variables


def test_the_end_waits_no_longer_than_deploy_says():
    from assistant.engine.local.engine import STEP_S
    from assistant.engine.remote.engine import CLOSE_S
    from assistant.web.server import GRACE_S

    seconds = int(re.search(r"the process is gone within (\d+) seconds", DEPLOY)[1])
    assert max(STEP_S, CLOSE_S) + GRACE_S < seconds


@pytest.mark.parametrize(("paper", "flag"), [("scaling", "--endpoint"), ("gpu", "--device")])
def test_commands_have_only_flags_that_exist(paper, flag):
    text = (ROOT / "docs" / f"{paper}.md").read_text(encoding="utf-8").replace("\\\n", " ")
    known = {flag for action in FLAGS for flag in action.option_strings}
    lines = re.findall(r"python app\.py (.*)", text)
    flags = {flag for line in lines for flag in re.findall(r"--[\w-]+", line)}
    assert flag in flags and flags <= known


def test_deploy_names_every_metric():
    told = set(re.findall(r"`(assistant_\w+)", DEPLOY.partition("| metric |")[2]))
    families = Measured(FakeEngine()).registry.collect()
    names = {
        family.name + "_total" * (family.type == "counter")
        for family in families
        if family.name.startswith("assistant_")
    }
    assert told == names


def test_the_image_holds_what_the_program_needs():
    copied = re.findall(r"^COPY (.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    copied = {name for line in copied for name in line.split()}
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line[0] == "!"}
    assert copied == sent and all((ROOT / name).exists() for name in copied)
    assert {"app.py", "assistant", "models", "prompts", "requirements.txt"} <= copied


def test_the_image_for_cards_has_what_triton_needs():
    text = (ROOT / "Dockerfile").read_text()
    assert "gcc libc6-dev" in text and re.search(r"^FROM python:\S+-slim$", text, re.M)
    folder = re.search(r"^ENV .*TRITON_CACHE_DIR=(\S+)", text, re.M)[1]
    assert folder.startswith(re.search(r"^VOLUME (\S+)$", text, re.M)[1] + "/")
    assert f"TRITON_CACHE_DIR={folder}" in GPU


def test_front_matter():
    matter = yaml.safe_load(README.split("---\n")[1])
    assert README.startswith("---\n")
    assert matter["sdk"] == "gradio" and matter["license"] == "apache-2.0"
    assert matter["sdk_version"] == pinned("gradio")
    assert requirement("gradio").specifier.contains(matter["sdk_version"])
    assert matter["app_file"] == "app.py" and "bigcode/starcoder" in matter["models"]
    assert len(matter["short_description"]) <= 60  # the hub refuses a longer one
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert matter["python_version"] == project["requires-python"].removeprefix(">=")


@pytest.mark.parametrize("text", ["README", "GPU"])
def test_hints_name_the_tested_torch(text):
    assert f"torch=={pinned('torch')} " in globals()[text]


def test_papers_name_the_driver_that_the_program_asks_for():
    from assistant.engine.card import DRIVERS

    for cuda, driver in re.findall(r"^\| (1\d)\.\d+ \| (\d+) or newer \|", GPU, re.M):
        assert DRIVERS[cuda] == int(driver)
    newest = f"{DRIVERS['13']} or newer"
    assert newest in README and newest in DEPLOY.replace("\n", " ")


@pytest.mark.parametrize("paper", PAPERS)
def test_links_and_pictures_exist(paper):
    path = ROOT / paper
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (path.parent / target).exists(), target


def test_readme_names_only_targets_that_make_knows():
    known = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:`|^)make (\w+)", README, re.MULTILINE)) <= known


def test_the_examples_run(capsys):
    openai, gradio = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    engine = FakeEngine("Hello.")
    with running(engine) as server:
        values = {}
        exec(openai.replace("http://127.0.0.1:7860", server.url), values)
        assert capsys.readouterr().out == "Hello."
        assert {values[name].choices[0].text for name in ("raw", "middle")} == {"Hello."}
        values["client"].close()
        (curl,) = re.findall(r"^curl http://127.0.0.1:7860(\S+) .*\n +-d '(.*)'", README, re.M)
        answer = server.post(curl[0], json=json.loads(curl[1]))
        assert answer.json()["choices"][0]["message"]["content"] == "Hello."
        exec(gradio.replace("http://127.0.0.1:7860", server.url), values)
        values["client"].close()
        server.idle()
    assert values["reply"] and values["more"] and values["code"]


def spoken():
    """Every string in the program, with a NUL where an f-string puts a value."""
    for path in sorted((ROOT / "assistant").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                yield "".join(
                    getattr(part, "value", "\0") if isinstance(part, ast.Constant) else "\0"
                    for part in node.values
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


@pytest.mark.parametrize(
    ("paper", "heading"), [("README", "## Troubleshooting"), ("GPU", "## What it says, and")]
)
def test_sentences_that_are_explained_exist(paper, heading):
    table = globals()[paper].partition(heading)[2].partition("## ")[0]
    quoted = re.findall(r"^\| `(.+?)` \|", table, re.MULTILINE)
    said = list(spoken())
    assert len(quoted) > 10
    for text in quoted:
        parts = [re.escape(part) for part in text.split("…")]
        assert any(re.search(".*".join(parts), sentence) for sentence in said), text


BIGCODE = {  # layers, width, heads: of the published config.json files, as all below
    "bigcode/tiny_starcoder_py": (20, 768, 12),
    "bigcode/starcoderbase-1b": (24, 2048, 16),
    "bigcode/starcoderbase-3b": (36, 2816, 22),
    "bigcode/starcoderbase-7b": (42, 4096, 32),
    "bigcode/starcoder": (40, 6144, 48),
    "ibm-granite/granite-20b-code-base-8k": (52, 6144, 48),
}
OTHERS = {  # layers, width, heads, K/V heads, inner, vocabulary, positions, tied
    "Qwen/Qwen2.5-Coder-0.5B": (24, 896, 14, 2, 4864, 151_936, 32_768, True),
    "Qwen/Qwen2.5-Coder-1.5B": (28, 1536, 12, 2, 8960, 151_936, 32_768, True),
    "Qwen/Qwen2.5-Coder-7B": (28, 3584, 28, 4, 18_944, 152_064, 32_768, False),
    "ibm-granite/granite-3b-code-base-2k": (32, 2560, 32, 32, 10_240, 49_152, 2048, True),
    "ibm-granite/granite-8b-code-base-4k": (36, 4096, 32, 8, 14_336, 49_152, 4096, True),
    "HuggingFaceTB/SmolLM2-135M-Instruct": (30, 576, 9, 3, 1536, 49_152, 8192, True),
}
PARAMETERS = {"135M": 0.135, "0.5B": 0.494, "1.5B": 1.54, "7B": 7.62, "3b": 3.48, "8b": 8.05}


def configuration(model):
    """What runs of it here: at most 8,192 tokens."""
    from transformers import AutoConfig

    from assistant.engine.checkpoint.config import parse_config

    ids = {"bos_token_id": 0, "eos_token_id": 0}
    if model in BIGCODE:
        layers, width, heads = BIGCODE[model]
        kind, more = "gpt_bigcode", {"n_layer": layers, "n_embd": width, "n_head": heads}
        more |= {"n_positions": 8192, "vocab_size": 49_152}
    else:
        layers, width, heads, groups, inner, vocabulary, positions, tied = OTHERS[model]
        kind = "qwen2" if model.startswith("Qwen") else "llama"
        more = {"num_hidden_layers": layers, "hidden_size": width, "num_attention_heads": heads}
        more |= {"num_key_value_heads": groups, "intermediate_size": inner}
        more |= {"vocab_size": vocabulary, "max_position_embeddings": positions}
        more |= {"tie_word_embeddings": tied}
        if "granite" in model:
            more |= {"attention_bias": True, "mlp_bias": True}
    config = parse_config(AutoConfig.for_model(kind, **ids, **more).to_dict(), model)
    return replace(config, window=min(config.positions, 8192))


@pytest.mark.parametrize("model", OTHERS)
def test_the_shapes_are_those_of_models_that_size(model):
    from assistant.engine.checkpoint.shapes import count_parameters

    billions = count_parameters(configuration(model)) / 1e9
    (published,) = (n for name, n in PARAMETERS.items() if f"-{name}" in model)
    assert billions == pytest.approx(published, rel=0.005)


def in_all(model, place, dtype, kind=None):
    """GB with 8 slots, as the program asks for them."""
    import torch

    from assistant.engine.checkpoint.shapes import bytes_needed
    from assistant.engine.device import RESERVE

    config = configuration(model)
    size = bytes_needed(config, 8, torch.device(place), getattr(torch, dtype), kind)
    return (size + RESERVE) / 1e9


def test_readme_gives_the_memory_that_the_program_asks_for():
    """Of the rows of the table; without a GPU, int8 stands beside what prompts are read with."""
    rows = re.findall(
        r"^\|([^|]*)\| `([\w./-]+/[\w./-]+)`[^|]*"
        r"\| ([\d.]+) \| ([\d.]+) \| ([\d.]+)(?:,[^|]*)? \|$",
        README.replace("**", ""),
        re.MULTILINE,
    )
    assert {*OTHERS} <= {model for _, model, *_ in rows}
    place = ""
    for have, model, *figures in rows:
        place = "cpu" if "no GPU" in have else "cuda" if have.strip() else place
        sizes = [in_all(model, place, "bfloat16", kind) for kind in (None, "int8", "int4")]
        assert figures == [f"{size:.1f}" for size in sizes], (model, sizes)


@pytest.mark.parametrize("model", BIGCODE)
def test_the_table_of_cards_gives_the_memory_that_the_program_asks_for(model):
    sizes = (in_all(model, "cuda", "bfloat16", kind) for kind in (None, "int8", "int4"))
    figures = " | ".join(f"{size:.1f}" for size in sizes)
    assert f"| `{model}` | {figures} |" in GPU
