"""The real client against a hub on loopback; each case is a process of its own, since
huggingface_hub reads its variables when it is imported."""

import hashlib
import os
import re
import subprocess
import sys

import pytest

from benchmarks.to_gguf import write_gguf
from tests.support.adapters import factors, write_adapter
from tests.support.loopback_hub import LARGE, TOKEN, loopback_hub

SHORT = {"HF_HUB_ETAG_TIMEOUT": "1", "HF_HUB_DOWNLOAD_TIMEOUT": "1"}  # where nothing comes

# Prints the file, or the sentence on stderr and exits with 1.
FETCH = """
import sys
from assistant.errors import HubError
from assistant.hub import fetch_file
repo, name, repo_type, revision = sys.argv[1:]
try:
    path = fetch_file(repo, name, repo_type=repo_type, revision=revision or None)
    print(path.parent.name, path.read_text())
except HubError as error:
    sys.exit(str(error))
"""

# Loads a checkpoint for each line of stdin and prints one line, so that torch is imported once.
LOAD = """
import sys
from assistant.engine.checkpoint.load import load_checkpoint
from assistant.errors import StartError
from assistant.settings import Settings
for line in sys.stdin:
    try:
        model, _, adapter = line.strip().partition(" ")
        loaded = load_checkpoint(Settings(model=model, adapter=adapter or None, device="cpu"))
        print(loaded.name, loaded.revision, loaded.embedded, loaded.tokenizer.decode([0]))
        if loaded.adapter:
            print(loaded.adapter)
    except StartError as error:
        print(error)
"""


@pytest.fixture
def hub(tiny_checkpoint):
    tiny = {path.name: path.read_bytes() for path in tiny_checkpoint.iterdir()}
    with loopback_hub(
        {"org/x": {"a.txt": b"some text"}, "datasets/org/p": {"v1.txt": b"one"}, "org/tiny": tiny}
    ) as hub:
        yield hub


@pytest.fixture
def environment(hub, tmp_path):
    return {
        **os.environ,
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(tmp_path / "home"),
    }


def run(code, *arguments, environment):
    """(exit code, output) of a fresh process. No token is ever in the output."""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    output = done.stdout + done.stderr
    for name, secret in environment.items():
        assert name != "HF_TOKEN" or secret.strip() not in output
    assert "Traceback" not in output
    return done.returncode, output


def fetch(environment, repo="org/x", name="a.txt", repo_type="model", revision="", code=FETCH):
    return run(code, repo, name, repo_type, revision, environment=environment)


def check_refusal(result, words):
    status, output = result
    assert status == 1
    sentence = output.strip()
    assert "\n" not in sentence and sentence.endswith("."), sentence
    for word in words:
        assert word in sentence, sentence


def test_a_file_is_fetched_then_taken_from_the_cache(hub, environment):
    expected = (0, f"{hub.commit('org/x')} some text\n")
    status, output = fetch(environment)
    assert (status, output[-len(expected[1]) :]) == expected
    assert fetch(environment) == expected
    assert [method for method, path, _ in hub.seen if method == "GET"] == ["GET"]
    assert fetch(environment | {"HF_HUB_OFFLINE": "1"}) == expected
    assert fetch(environment | {"HF_ENDPOINT": "http://127.0.0.1:9"}) == expected
    for hub.fault in ("gated, no token", "overloaded", "silence"):
        assert fetch(environment | SHORT) == expected


def test_a_changed_file_is_fetched_again_and_a_commit_stays(hub, environment):
    old = hub.commit("org/x")
    fetch(environment)
    hub.repos["org/x"]["a.txt"] = b"new text"
    assert "new text" in fetch(environment)[1]
    assert "some text" in fetch(environment | {"HF_HUB_OFFLINE": "1"}, revision=old)[1]


def test_a_dataset_is_fetched(environment):
    assert fetch(environment, "org/p", "v1.txt", "dataset")[1].endswith(" one\n")
    refused = fetch(environment, "org/q", "v1.txt", "dataset")
    check_refusal(refused, ["no dataset org/q", "check the name"])


def test_the_token_is_sent_to_the_hub_alone(hub, environment):
    hub.repos["org/x"]["large.txt"] = b"x" * LARGE
    assert fetch(environment | {"HF_TOKEN": TOKEN}, name="large.txt")[0] == 0
    sent = {path.split("/")[1]: authorization for _, path, authorization in hub.seen}
    assert sent == {"org": f"Bearer {TOKEN}", "store": None}


@pytest.mark.parametrize(
    "fault, token, words",
    [
        ("gated, no token", None, ["gated", "no token", "licence at {hub}/org/x", "HF_TOKEN"]),
        ("gated, no token", TOKEN, ["does not accept your token", "{hub}/settings/tokens"]),
        ("gated, not accepted", TOKEN, ["gated", "no access", "licence at {hub}/org/x"]),
        ("scope", TOKEN, ["fine-grained token", "read access to public gated repositories"]),
        ("bad token", "hf_expired", ["does not accept your token", "HF_TOKEN"]),
        ("not found", TOKEN, ["no model org/x", "check the name", "HF_TOKEN"]),
        ("not found, no token", None, ["no model org/x", "check the name", "HF_TOKEN"]),
        ("disabled", TOKEN, ["refuses access", "403"]),
        ("overloaded", None, ["503", "try again later"]),
        ("cut", None, ["cut off", "start again"]),
        ("short", None, ["cut off", "start again"]),
        ("silence", None, ["did not answer in time", "network"]),
    ],
)
def test_each_refusal_has_its_sentence(hub, environment, fault, token, words):
    hub.fault = fault
    if token:
        environment["HF_TOKEN"] = token
    patience = SHORT if fault == "silence" else {}
    sentence = fetch(environment | patience)
    check_refusal(sentence, [word.format(hub=hub.endpoint) for word in words])
    hub.fault = None
    environment.pop("HF_TOKEN", None)
    assert fetch(environment)[0] == 0


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"revision": "v9"}, ["org/x has no revision 'v9'"]),
        ({"name": "b.txt"}, ["org/x has no file b.txt"]),
        ({"repo": "org/none"}, ["no model org/none"]),
        ({"repo": "a b/c"}, ["not a hub id", "bigcode/starcoder"]),
        ({"repo": "-/--"}, ["not a hub id"]),
    ],
)
def test_what_does_not_exist(environment, arguments, words):
    check_refusal(fetch(environment, **arguments), words)


def test_no_network(hub, environment):
    gone = environment | {"HF_ENDPOINT": "http://127.0.0.1:9"}
    check_refusal(fetch(gone), ["cannot be reached (ConnectError)", "a.txt of org/x", "proxy"])
    check_refusal(fetch(environment | {"HF_HUB_OFFLINE": "1"}), ["HF_HUB_OFFLINE is set", "unset"])
    assert hub.seen == []
    proxied = environment | {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    check_refusal(fetch(proxied), ["cannot be reached", "proxy"])
    assert fetch(environment)[0] == 0


@pytest.mark.parametrize("token", ["hf_with\nline", "hf_ünïcode", "hf_\x00null"])
def test_a_token_that_no_header_can_carry(environment, token):
    if "\x00" in token:
        (home := environment["HF_HOME"]) and os.makedirs(home)
        with open(f"{home}/token", "wb") as file:  # no environment can hold it, a file can
            file.write(token.encode())
    else:
        environment["HF_TOKEN"] = token
    status, output = fetch(environment)
    assert status == 1 and "hf_" not in output and output.count("\n") == 1


def test_the_cache_cannot_be_written(environment, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    blocked = environment | {"HF_HOME": str(tmp_path / "file" / "home")}
    check_refusal(fetch(blocked), ["cache", str(tmp_path / "file"), "HF_HOME"])
    assert fetch(environment)[0] == 0


def test_the_disk_is_full(environment):
    full = "import shutil; shutil.disk_usage = lambda path: shutil._ntuple_diskusage(9, 9, 0)\n"
    refused = fetch(environment, "org/tiny", "model.safetensors", code=full + FETCH)
    check_refusal(refused, ["too full", "HF_HOME"])
    writing = "import pathlib\ndef full(*_, **__): raise OSError(28, 'No space left on device')\n"
    writing += "import huggingface_hub.file_download as d; d.http_get = full\n"
    check_refusal(fetch(environment, code=writing + FETCH), ["too full", "HF_HOME"])
    assert fetch(environment)[0] == 0


@pytest.mark.parametrize("name", ["tiny-F32.gguf", "below/tiny-F32.gguf"])
def test_a_gguf_file_from_the_hub(hub, environment, tiny_checkpoint, tmp_path, name):
    write_gguf(tiny_checkpoint, tmp_path / "x.gguf", "f32")
    data = (tmp_path / "x.gguf").read_bytes()
    hub.repos["org/gguf"] = {name: data, "other.gguf": b"x"}
    expected = f"org/gguf:{name} {hashlib.sha256(data).hexdigest()} False <|endoftext|>"
    names = [f"org/gguf:{name}", "org/gguf:gone.gguf", "org/none:x.gguf", f"org/gguf:{name}"]
    done = subprocess.run(
        [sys.executable, "-c", LOAD],
        env=environment,
        input="\n".join(names),
        capture_output=True,
        text=True,
    )
    first, gone, none, again = done.stdout.splitlines()
    assert first == again == expected
    assert "org/gguf has no file gone.gguf" in gone and "no model org/none" in none
    assert not any("other" in path for _, path, _ in hub.seen)


def test_an_adapter_from_the_hub(hub, environment, tmp_path):
    """Refused before the model's weights are asked for; only its two files are fetched."""
    folder = write_adapter(tmp_path / "lora", factors("transformer.h.0.mlp.c_fc", 256, 64))
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    wide = write_adapter(tmp_path / "wide", factors("transformer.h.0.mlp.c_fc", 512, 64))
    hub.repos |= {
        "org/lora": files | {"tokenizer.json": b"{}", "adapter_model.bin": b"x"},
        "org/bin": {name: data for name, data in files.items() if name.endswith(".json")},
        "org/wide": {path.name: path.read_bytes() for path in wide.iterdir()},
    }
    commit = hub.commit("org/lora")
    names = ["org/bin", "org/x", "org/wide", "org/lora@gone", "org/lora", f"org/lora@{commit}"]

    def load(names):
        lines = "\n".join(f"org/tiny {name}" for name in names)
        command = [sys.executable, "-c", LOAD]
        done = subprocess.run(command, env=environment, input=lines, capture_output=True, text=True)
        return done.stdout.splitlines()

    no_weights, no_adapter, wide, gone = load(names[:4])
    assert "org/bin has no file adapter_model.safetensors" in no_weights
    assert "org/x has no file adapter_config.json" in no_adapter
    assert "The adapter org/wide does not fit org/tiny (2 tensors" in wide
    assert "org/lora has no revision 'gone'" in gone
    assert not any("model.safetensors" in path for _, path, _ in hub.seen if "org/tiny" in path)
    _, named, _, pinned = load(names[4:])
    assert named == pinned == f"org/lora · {commit[:12]}"
    assert not any(
        "tokenizer" in path or ".bin" in path for _, path, _ in hub.seen if "lora" in path
    )


def test_the_tokenizer_is_looked_at_before_weights_are_fetched(hub, environment):
    hub.repos["org/odd"] = hub.repos["org/tiny"] | {"tokenizer.json": b"{}"}
    done = subprocess.run(
        [sys.executable, "-c", LOAD],
        env=environment,
        input="org/odd\norg/tiny",
        capture_output=True,
        text=True,
    )
    odd, tiny = done.stdout.splitlines()
    assert "tokenizer.json" in odd and tiny.startswith("org/tiny ")
    fetched = [path for _, path, _ in hub.seen if "model.safetensors" in path]
    assert fetched and not any("org/odd" in path for path in fetched)


def test_a_checkpoint_from_the_hub(hub, environment):
    """Cut off, whole, from the cache without a network; damaged in the cache, and repaired."""
    hub.repos["org/tiny"] |= {"other.safetensors": b"x", "onnx/model.safetensors": b"x"}
    commit = hub.commit("org/tiny")
    expected = f"org/tiny {commit} False <|endoftext|>"
    process = subprocess.Popen(
        [sys.executable, "-c", LOAD],
        env=environment | {"HF_TOKEN": TOKEN, "HF_HUB_ETAG_TIMEOUT": "5"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
    )

    def load():
        process.stdin.write("org/tiny\n")
        return process.stdout.readline().strip()

    with process:
        hub.fault = "short"
        assert "cut off" in load()
        hub.fault = None
        assert load() == expected
        asked = {path for _, path, _ in hub.seen}
        assert not any("other" in path or "onnx" in path for path in asked)
        hub.fault = "silence"
        assert load() == expected
        hub.fault = None

        home = environment["HF_HOME"]
        snapshot = f"{home}/hub/models--org--tiny/snapshots/{commit}"
        os.truncate(f"{snapshot}/model.safetensors", 1000)
        sentence = load()
        assert f"{snapshot}/model.safetensors cannot be used" in sentence
        os.remove(re.search(r"delete (\S+) and download it again", sentence)[1])
        assert load() == expected
        output = "".join(process.communicate())
    assert process.returncode == 0 and TOKEN not in output and "Traceback" not in output
