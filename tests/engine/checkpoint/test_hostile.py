"""Folders that somebody made to harm whoever loads them: each is one sentence, and nothing else."""

import json
import os
import shutil
import subprocess
import sys
import tracemalloc

import pytest

from assistant.engine.files import JSON_MAX
from assistant.paths import ROOT
from tests.engine.checkpoint.test_load import load, refusal, to_bin

CONFIG, TOKENIZER = "config.json", "tokenizer.json"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
JSON = (CONFIG, TOKENIZER, "tokenizer_config.json", "generation_config.json")
DIGITS = "9" * 5000


@pytest.fixture
def folder(tiny_checkpoint, tmp_path):
    return shutil.copytree(tiny_checkpoint, tmp_path / "tiny")


@pytest.fixture(autouse=True)
def healthy(tiny_checkpoint):
    yield
    assert load(tiny_checkpoint)


def endless(path):
    path.touch()
    os.truncate(path, JSON_MAX + 1)  # which takes no room


def replace(path, make):
    path.unlink(missing_ok=True)
    make(path)


KINDS = {
    "a folder": lambda path: path.mkdir(),
    "a pipe": os.mkfifo,
    "a loop": lambda path: path.symlink_to(path),
    "a link to nothing": lambda path: path.symlink_to("nothing"),
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a link to a folder": lambda path: path.symlink_to("/"),
    "a link to a secret": lambda path: path.symlink_to("/etc/passwd"),
    "without end": endless,
}


@pytest.mark.parametrize("name", [*JSON, WEIGHTS, INDEX])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_not_opened(folder, name, kind):
    if name == INDEX:
        (folder / WEIGHTS).unlink()
    replace(folder / name, KINDS[kind])
    sentence = refusal(folder)
    assert f"delete {folder / name} " in sentence, sentence
    assert len(sentence) < 600 and "root:" not in sentence


@pytest.mark.parametrize("name", JSON)
@pytest.mark.parametrize(
    "text",
    ["", "[" * 100_000, f'{{"a": {DIGITS}}}', '{"a": "\\ud800', "\0", '"x"', "{} {}", "\udcff"],
    ids=["empty", "deep", "digits", "cut", "nul", "text", "two", "bytes"],
)
def test_what_is_no_json_is_told(folder, name, text):
    (folder / name).write_bytes(text.encode(errors="surrogateescape"))
    assert f"delete {folder / name} " in refusal(folder)


@pytest.mark.parametrize(
    "key", ["n_layer", "n_embd", "n_head", "n_positions", "vocab_size", "n_inner"]
)
@pytest.mark.parametrize("value", [10**4000, 1 << 62, 1e308, float("nan"), "\0", [], -(10**4000)])
def test_sizes_that_no_model_has(folder, key, value):
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(config | {key: value}))
    assert len(refusal(folder)) < 600


@pytest.mark.parametrize(
    "name",
    ["../" + WEIGHTS, "/etc/passwd", "..", ".", "", "a\0.safetensors", "a\n.safetensors",
     "model.bin", "pytorch_model.bin", "weights.xsafetensors", "x/../y.safetensors",
     "C:\\x.safetensors", "x" * 5000 + ".safetensors"],
)  # fmt: skip
def test_an_index_names_files_of_its_kind_beside_it(folder, name):
    shutil.copy(folder / WEIGHTS, folder / "copy.safetensors")
    to_bin(folder)
    (folder / INDEX).write_text(json.dumps({"weight_map": {"a": name}}))
    for allow_bin in (False, True):
        sentence = refusal(folder, allow_bin=allow_bin)
        assert f"delete {folder / INDEX} " in sentence and "passwd" not in sentence


def test_names_of_folders_are_shown_on_one_line(folder):
    """Without what a terminal would take for an order."""
    odd = folder.rename(folder.with_name("a\x1b[31m\n\tb"))
    assert load(odd).name == "a  b"
    for name in (WEIGHTS, TOKENIZER, CONFIG):
        (odd / name).unlink()
        assert "\x1b" not in (sentence := refusal(odd)) and "a  b" in sentence


def test_an_index_of_endless_files(folder):
    (folder / WEIGHTS).unlink()
    names = {str(number): f"m{number}.safetensors" for number in range(100_000)}
    (folder / INDEX).write_text(json.dumps({"weight_map": names}))
    assert "100,000 files" in refusal(folder)


@pytest.mark.parametrize("make", [KINDS["a pipe"], KINDS["a folder"], KINDS["a loop"]])
def test_a_shard_is_looked_at_too(folder, make):
    (folder / WEIGHTS).rename(folder / "a.safetensors")
    replace(folder / "b.safetensors", make)
    index = {"weight_map": {"a": "a.safetensors", "b": "b.safetensors"}}
    (folder / INDEX).write_text(json.dumps(index))
    assert f"delete {folder / 'b.safetensors'} " in refusal(folder)


TOKENIZERS = {
    "no model": lambda spec: spec.pop("model"),
    "no vocabulary": lambda spec: spec["model"].update(vocab={}),
    "a list": lambda spec: spec["model"].update(vocab=[]),
    "negative": lambda spec: spec["model"]["vocab"].update(x=-1),
    "huge": lambda spec: spec["model"]["vocab"].update(x=2**32 - 1),
    "endless": lambda spec: spec["model"]["vocab"].update(x=10**400),
    "a float": lambda spec: spec["added_tokens"][0].update(id=0.5),
    "text": lambda spec: spec["added_tokens"][0].update(id="0"),
    "no text": lambda spec: spec["added_tokens"][0].update(content=5),
    "empty": lambda spec: spec["added_tokens"][0].update(content=""),
    "no list": lambda spec: spec.update(added_tokens={"a": 1}),
    "merges": lambda spec: spec["model"].update(merges=[["no", "such"]]),
    "merge of one": lambda spec: spec["model"].update(merges=[["a"]]),
    "another kind": lambda spec: spec["model"].update(type="Odd"),
    "unknown": lambda spec: spec["model"].update(unk_token="nowhere", byte_fallback=True),
    "a pattern": lambda spec: spec.update(
        pre_tokenizer={"type": "Split", "pattern": {"Regex": "(((("}, "behavior": "Isolated",
                       "invert": False}
    ),
    "a normalizer": lambda spec: spec.update(
        normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"}
    ),
    "a template": lambda spec: spec.update(
        post_processor={"type": "TemplateProcessing", "single": [], "pair": [],
                        "special_tokens": {}}
    ),
}  # fmt: skip


USABLE = ("unknown",)  # however odd


@pytest.mark.parametrize("name", TOKENIZERS)
def test_tokenizers_that_are_none(folder, name, capfd):
    spec = json.loads((folder / TOKENIZER).read_text())
    TOKENIZERS[name](spec)
    (folder / TOKENIZER).write_text(json.dumps(spec))
    if name in USABLE:
        load(folder)
    else:
        assert str(folder / TOKENIZER) in refusal(folder)


@pytest.mark.parametrize("kind", ["a pipe", "a loop", "without end"])
def test_the_program_says_one_sentence_and_ends(folder, kind):
    replace(folder / TOKENIZER, KINDS[kind])
    command = [sys.executable, "app.py", "--port", "0", "--device", "cpu", "--model", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert str(folder / TOKENIZER) in done.stderr and "Traceback" not in done.stderr


def test_a_table_of_all_ids_is_bounded(folder):
    """As much memory as before is enough to refuse it."""
    spec = json.loads((folder / TOKENIZER).read_text())
    TOKENIZERS["huge"](spec)
    (folder / TOKENIZER).write_text(json.dumps(spec))
    tracemalloc.start()
    try:
        assert "16777215" in refusal(folder)
        assert tracemalloc.get_traced_memory()[1] < 100_000_000
    finally:
        tracemalloc.stop()
