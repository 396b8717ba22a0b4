"""A LoRA is merged as peft merges it, and one that cannot be is refused in a sentence."""

import json
import os
import shutil
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from assistant.engine.checkpoint.adapter import load_adapter
from assistant.engine.checkpoint.adapter_config import IGNORED, parse_adapter
from assistant.engine.checkpoint.config import read_config
from assistant.engine.checkpoint.gguf import open_gguf
from assistant.engine.checkpoint.load import load_checkpoint
from assistant.engine.checkpoint.read import read_tensors
from assistant.engine.checkpoint.weights import find_tensors, renamed
from assistant.engine.local.engine import LocalEngine
from assistant.engine.model import int4, int8
from assistant.engine.model.model import Chunk, Model
from assistant.errors import CheckpointError
from assistant.settings import Settings
from benchmarks.to_gguf import write_gguf
from tests.engine.checkpoint.test_families import make_module
from tests.support.adapters import CONFIG, WEIGHTS, factors, merged, write_adapter
from tests.support.engines import config_of
from tests.support.gguf_files import write_model
from tests.support.reading import greedy, read

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
ATTENTION, MLP = "transformer.h.0.attn.c_attn", "transformer.h.1.mlp.c_proj"
HEAD_WIDTH = 64 + 2 * 32  # of the tiny checkpoint's queries, and its one key and value


@pytest.fixture
def tensors():
    """For two matrices of the tiny checkpoint."""
    return factors(ATTENTION, HEAD_WIDTH, 64) | factors(MLP, 64, 256, seed=1)


@pytest.fixture
def adapter(tmp_path, tensors):
    return write_adapter(tmp_path / "lora", tensors)


def load(model, adapter=None, **options):
    named = adapter and str(adapter)
    options = {"device": "cpu", "dtype": "float32", **options}
    return load_checkpoint(Settings(model=str(model), adapter=named, **options))


def refusal(model, adapter):
    """The sentence; the model loads as before."""
    with pytest.raises(CheckpointError) as caught:
        load(model, adapter)
    sentence = str(caught.value)
    assert sentence.endswith(".") and "\n" not in sentence
    assert load(model).adapter is None
    return sentence


# -- what is merged ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_lora_is_added_in_float32(tiny_checkpoint, adapter, tensors, dtype):
    plain = load(tiny_checkpoint).tensors
    loaded = load(tiny_checkpoint, adapter, dtype=dtype)
    changed = {"layers.0.qkv.weight": ATTENTION, "layers.1.down.weight": MLP}
    kind = getattr(torch, dtype)
    for name, tensor in loaded.tensors.items():
        module = changed.get(name)
        expected = merged(plain[name], tensors, module) if module else plain[name]
        assert torch.equal(tensor, expected.to(kind)), name


def test_int4_and_int8_are_made_of_the_sum(tmp_path):
    """Of a part of a matrix too, whose other parts the file has in bfloat16."""
    module = make_module("llama", {}).bfloat16()
    module.save_pretrained(tmp_path)
    config = config_of(module)
    tensors = factors("model.layers.1.self_attn.v_proj", 32, 64)
    tensors |= factors("lm_head", 500, 64, seed=1)
    folder = write_adapter(tmp_path / "lora", tensors)
    found = find_tensors([tmp_path / "model.safetensors"], config)
    given = read_tensors(
        load_adapter(str(folder), config, "tiny").join(found, config), CPU, torch.bfloat16, "int4"
    )
    plain = renamed(config, module.state_dict())
    whole = plain["layers.1.qkv.weight"].float()
    whole[-32:] = merged(whole[-32:], tensors, "model.layers.1.self_attn.v_proj")
    head = int8.quantize(merged(plain["head.weight"], tensors, "lm_head"))
    for one, other in (
        (given["layers.1.qkv.weight"], int4.quantize(whole)),
        (given["layers.0.qkv.weight"], int4.quantize(plain["layers.0.qkv.weight"])),
        (given["head.weight"], head),
    ):
        for part, expected in zip(one[:2], other[:2], strict=True):
            assert torch.equal(part, expected)


PEFT = {
    "llama": (
        {"target_modules": ["q_proj", "v_proj", "o_proj", "gate_proj", "down_proj"]},
        {
            "rank_pattern": {"q_proj": 3, r"layers\.1\.mlp\.down_proj": 2},
            "alpha_pattern": {"model.layers.0.self_attn.v_proj": 5, r"layers.\d+.mlp.gate_proj": 1},
        },
    ),
    "gpt_bigcode": ({"target_modules": ["c_attn", "c_proj", "c_fc"]}, {"lora_dropout": 0.5}),
    "gpt2": ({"target_modules": ["c_attn", "c_proj", "c_fc"]}, {"use_rslora": True}),
    "qwen2": ({"target_modules": "all-linear"}, {"modules_to_save": ["norm", "embed_tokens"]}),
    "starcoder2": (
        {"target_modules": r".*\.(q_proj|c_fc|c_proj)"},
        {"layers_to_transform": None, "exclude_modules": ["model.layers.0.self_attn.q_proj"]},
    ),
    "llama, head": ({"target_modules": ["lm_head", "k_proj"]}, {"layers_to_transform": None}),
    "llama, layers": ({"target_modules": ["k_proj"]}, {"layers_to_transform": [0, 2]}),
    "gpt2, saved": ({"target_modules": ["c_attn"]}, {"modules_to_save": ["mlp", "ln_f"]}),
}


@pytest.mark.parametrize("case", PEFT)
@torch.inference_mode()
def test_the_merged_model_is_that_of_peft(case, tmp_path):
    import peft

    family = case.partition(",")[0]
    config_of_peft = peft.LoraConfig(
        r=4, lora_alpha=6, task_type="CAUSAL_LM", **PEFT[case][0], **PEFT[case][1]
    )
    module = make_module(family, {}, tmp_path)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it tells what it makes of settings
        torch.manual_seed(1)
        theirs = peft.get_peft_model(module, config_of_peft).eval()
        for name, tensor in theirs.named_parameters():
            if "lora_" in name or "modules_to_save" in name:
                tensor += 0.05 * torch.randn_like(tensor)
        theirs.save_pretrained(tmp_path / "lora")
        oracle = theirs.merge_and_unload()
    config = read_config(tmp_path, case)
    found = find_tensors([tmp_path / "model.safetensors"], config)
    adapter = load_adapter(str(tmp_path / "lora"), config, case)
    given = read_tensors(adapter.join(found, config), CPU, torch.float32)
    expected = renamed(config, oracle.state_dict())
    plain = read_tensors(found, CPU, torch.float32)
    assert given.keys() == expected.keys()
    for name, tensor in given.items():
        assert (tensor - expected[name]).abs().max() < 1e-6, name
    ids = torch.randint(500, (100,), generator=torch.Generator().manual_seed(1))

    def logits(tensors):
        model = Model(config, tensors)
        kv = [part.zero_() for part in model.new_kv(1, 512)]
        return model.logits(model.prefill([Chunk(ids.tolist(), 0, 0)], kv))

    ours, largest = logits(given), logits(expected).abs().max()
    assert (ours - logits(expected)).abs().max() < 1e-5 * largest
    assert (ours - oracle(ids[None]).logits[0]).abs().max() < 1e-4
    assert (ours - logits(plain)).abs().max() > 0.1


@pytest.mark.parametrize("kind", ["bin", "gguf", "no prefix"])
def test_whatever_the_model_is_in(tiny_checkpoint, adapter, tmp_path, kind):
    expected = load(tiny_checkpoint, adapter).tensors
    model = shutil.copytree(tiny_checkpoint, tmp_path / "model")
    weights = model / "model.safetensors"
    if kind == "gguf":
        write_gguf(tiny_checkpoint, model := tmp_path / "model.gguf", "f32")
    elif kind == "bin":
        torch.save(load_file(weights), model / "pytorch_model.bin")
        weights.unlink()
    else:
        named = {name.removeprefix("transformer."): t for name, t in load_file(weights).items()}
        save_file(named, weights)
    given = load(model, adapter, allow_bin=True).tensors
    assert given.keys() == expected.keys()
    assert all(torch.equal(given[name], tensor) for name, tensor in expected.items())


def test_the_queries_that_a_file_has_in_another_order(tmp_path):
    module = make_module("llama", {}, tmp_path)
    config, name = config_of(module), "layers.2.qkv.weight"
    tensors = factors("model.layers.2.self_attn.q_proj", 64, 64)
    adapter = load_adapter(str(write_adapter(tmp_path / "lora", tensors)), config, "tiny")
    gguf = open_gguf(write_model(tmp_path / "model.gguf", module))
    files = gguf, tmp_path / "model.safetensors"
    given, expected = (
        read_tensors(adapter.join(find_tensors([file], config), config), CPU, torch.float32)[name]
        for file in files
    )
    assert torch.equal(given, expected)
    assert not torch.equal(given, renamed(config, module.state_dict())[name])


def test_the_name_tells_the_files_apart(tiny_checkpoint, adapter, tensors):
    """A scale changes replies as well as a weight does."""
    names = {load(tiny_checkpoint, adapter).adapter}
    for change, config in ((0.0, {"lora_alpha": 9}), (0.5, {})):
        changed = {name: tensor + change for name, tensor in tensors.items()}
        names.add(load(tiny_checkpoint, write_adapter(adapter, changed, **config)).adapter)
    assert len(names) == 3 and all(name.startswith("lora · ") for name in names)
    assert {len(name) for name in names} == {len("lora · ") + 12}


def test_the_engine_answers_otherwise_and_says_with_what(tiny_checkpoint, adapter):
    def reply(adapter):
        named = Settings(
            model=str(tiny_checkpoint), adapter=adapter, device="cpu", dtype="float32", slots=1
        )
        engine = LocalEngine.open(named)
        try:
            ids = engine.tokenizer.encode("def total(")
            return engine.adapter, read(engine.generate(greedy(ids, 12)))[0]
        finally:
            engine.close()

    named, text = reply(str(adapter))
    assert named.startswith("lora · ") and (None, text) != (plain := reply(None))
    assert plain[0] is None and plain[1] != text


# -- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes, words",
    [
        (
            {"use_dora": True},
            "has 'use_dora' True, which is not supported: choose another, or merge",
        ),
        ({"peft_type": "IA3"}, "has peft_type 'IA3', which"),
        ({"bias": "all"}, "has bias 'all', which"),
        ({"lora_bias": True}, "has 'lora_bias' True"),
        ({"init_lora_weights": "pissa_niter_4"}, "has init_lora_weights 'pissa_niter_4', which"),
        ({"init_lora_weights": "olora"}, "has init_lora_weights 'olora', which"),
        ({"trainable_token_indices": [3]}, "has 'trainable_token_indices' [3], which"),
        ({"target_parameters": ["x"]}, "has 'target_parameters' ['x'], which"),
        ({"layer_replication": [[0, 2]]}, "has 'layer_replication' [[0, 2]], which"),
        ({"alora_invocation_tokens": [1]}, "has 'alora_invocation_tokens' [1], which"),
        ({"of_tomorrow": 0.5}, "has 'of_tomorrow' 0.5, which"),
        ({"layers_to_transform": [0, 2]}, "has 2 in layers_to_transform, and the model has the"),
        ({"layers_to_transform": [0]}, "does not fit tiny (2 tensors"),
        ({"layers_to_transform": 1}, "does not fit tiny (2 tensors"),
        ({"target_modules": ["c_attn"]}, "does not fit tiny (2 tensors"),
        ({"modules_to_save": ["lm_head"]}, "has 'lm_head' in modules_to_save, and no tensors"),
        ({"r": 5}, "does not fit tiny (4 tensors"),
        ({"rank_pattern": {"c_attn": 5}}, "does not fit tiny (2 tensors"),
        ({"r": 65}, "has the rank 65, and the model's width is 64: choose another, or merge"),
        ({"rank_pattern": {"x": 10**9}}, "has the rank 1000000000, and"),
        ({"rank_pattern": {"(a+)+": 4}}, "has the rank_pattern '(a+)+', which"),
        ({"rank_pattern": {".*.*Z0": 4}}, "has the rank_pattern '.*.*Z0', which"),
        ({"rank_pattern": {f"x{n}": 4 for n in range(1_025)}}, "must be at most 1,024 names"),
        ({"target_modules": ["x"] * 1_025}, "must be a list of at most 1,024 names"),
        ({"modules_to_save": ["x"] * 1_025}, "must be a list of at most 1,024 names"),
        ({"exclude_modules": ["x"] * 1_025}, "must be a list of at most 1,024 names"),
        ({"layers_to_transform": [0] * 1_025}, "layers_to_transform has 1,025 numbers"),
        ({"exclude_modules": ["c_proj"]}, "does not fit tiny (2 tensors"),
        ({"rank_pattern": {"\x1b\n": 0}}, r"'\x1b\n' is 0"),
        ({"alpha_pattern": {"\x1b\n": "x"}}, r"'\x1b\n' is 'x'"),
        ({"alpha_pattern": {".*" * 9: 4}}, "has the alpha_pattern '.*.*"),
        ({"r": 0}, "r is 0, and must be above 0"),
        ({"r": "4"}, "r is '4'"),
        ({"lora_alpha": 10**400}, "and must be above 0 and finite"),
        ({"lora_alpha": float("nan")}, "lora_alpha is nan"),
        ({"use_rslora": 1}, "use_rslora is 1"),
        ({"rank_pattern": ["x"]}, "rank_pattern is ['x']"),
        ({"alpha_pattern": {"*": 4}}, "alpha_pattern has '*', which is no pattern"),
        ({"target_modules": [3]}, "target_modules is [3], and must be a list of at most"),
    ],
)
def test_what_a_config_may_not_say(tiny_checkpoint, adapter, tensors, changes, words):
    write_adapter(adapter, tensors, **changes)
    assert words in refusal(tiny_checkpoint, adapter)
    assert load(tiny_checkpoint, write_adapter(adapter, tensors)).adapter


EMBEDDING, HEAD = "base_model.model.transformer.wte", "base_model.model.lm_head"
INSIDE = f"base_model.model.{MLP}"


@pytest.mark.parametrize(
    "more, words",
    [
        (factors("transformer.h.2.mlp.c_fc", 256, 64), "2 tensors have no place"),
        (factors("transformer.ln_f", 64, 64), "2 tensors have no place"),
        (factors("transformer.wpe", 256, 64), "2 tensors have no place"),
        (factors("h.0.mlp.c_fc", 256, 64), "'h.0.mlp.c_fc.lora_A.weight'"),
        (factors("transformer.h.0.mlp.c_fc", 64, 256), "2 tensors have no place"),
        (factors("transformer.h.0.mlp.c_fc", 256, 64, rank=3), "2 tensors have no place"),
        ({f"{INSIDE}.lora_magnitude_vector": torch.ones(64)}, "1 tensors have no place"),
        ({f"{INSIDE}.bias": torch.ones(65)}, "1 tensors have no place"),
        ({f"{INSIDE}.lora_A.weight": torch.ones(4, 256).int()}, "2 tensors have no place"),
        ({"transformer.ln_f.weight": torch.ones(64)}, "1 tensors have no place"),
        (
            {f"{EMBEDDING}.lora_embedding_A": torch.ones(4, 384)},
            "has a LoRA of an embedding, which",
        ),
        ({f"{EMBEDDING}.weight": torch.ones(384, 64)}, "in this model both are one matrix"),
        (factors("lm_head", 384, 64), "in this model both are one matrix"),
        (
            {f"{INSIDE}.lora_A.weight": torch.full((4, 256), torch.nan)},
            "values that are not finite",
        ),
        (
            {f"{INSIDE}.lora_B.weight": torch.full((64, 4), -torch.inf)},
            "values that are not finite",
        ),
        ({f"{INSIDE}.bias": torch.full((64,), 1e300, dtype=torch.double)}, "not finite"),
        ({f"{INSIDE}.lora_B.weight": torch.full((64, 4), 3e38)}, "not finite or too large"),
        ({f"{INSIDE}.bias": torch.full((64,), torch.inf)}, "values that are not finite"),
    ],
)
def test_tensors_that_do_not_fit(tiny_checkpoint, adapter, tensors, more, words):
    write_adapter(adapter, tensors | more)
    assert words in refusal(tiny_checkpoint, adapter)


def test_a_name_that_others_end_in_is_not_all_that_was_saved(tmp_path):
    """The last norm and none of the layers', whose names go on with it; then one of two."""
    config, saved = config_of(make_module("starcoder2", {})), {"modules_to_save": ["norm"]}
    prefix, ones = "base_model.model.model", torch.ones(64)
    norms = {
        f"{prefix}.layers.0.input_layernorm.{kind}": ones.clone() for kind in ("weight", "bias")
    }
    for more in ({}, {f"{prefix}.norm.weight": ones}):
        with pytest.raises(CheckpointError, match="'norm' in modules_to_save, and no tensors"):
            load_adapter(str(write_adapter(tmp_path / "lora", norms | more, **saved)), config, "x")
    whole = norms | {f"{prefix}.norm.{kind}": ones.clone() for kind in ("weight", "bias")}
    assert load_adapter(str(write_adapter(tmp_path / "lora", whole, **saved)), config, "x")


@pytest.mark.parametrize(
    "said, module, expected",
    [
        ({"target_modules": ["c_attn"], "layers_to_transform": [1]}, ATTENTION, False),
        ({"target_modules": [ATTENTION], "layers_to_transform": [1]}, ATTENTION, True),
        ({"target_modules": ["c_attn"], "exclude_modules": [ATTENTION]}, ATTENTION, False),
        ({"target_modules": ["c_attn"], "exclude_modules": ["attn"]}, ATTENTION, True),
        ({"target_modules": ["_attn"]}, ATTENTION, False),
        ({"target_modules": ["c_attn"], "modules_to_save": ["attn"]}, ATTENTION, False),
        ({"target_modules": ["c_attn"], "modules_to_save": ["tt"]}, ATTENTION, True),
    ],
)
def test_the_targets_are_those_of_peft(said, module, expected):
    import peft
    from peft.tuners.tuners_utils import _ExcludedModule, check_target_module_exists

    theirs = check_target_module_exists(peft.LoraConfig(**said), module)
    assert (bool(theirs) and not isinstance(theirs, _ExcludedModule)) == expected
    assert parse_adapter({"peft_type": "LORA", **said}, 64, 2).targets(module, 0) == expected


def test_half_of_a_lora_and_none(tiny_checkpoint, adapter, tensors):
    half = {name: tensor for name, tensor in tensors.items() if "lora_A" in name}
    write_adapter(adapter, half)
    assert "(2 tensors have no place" in refusal(tiny_checkpoint, adapter)
    write_adapter(adapter, {})
    assert "The adapter lora has no tensors" in refusal(tiny_checkpoint, adapter)


@pytest.mark.parametrize("family", ["llama", "gpt2", "starcoder2"])
def test_another_model(adapter, tmp_path, family):
    module = make_module(family, {})
    with pytest.raises(CheckpointError, match="does not fit other .* choose the model that it was"):
        load_adapter(str(adapter), config_of(module), "other")


def test_files_that_are_none(tiny_checkpoint, adapter, tmp_path):
    config, weights = (adapter / name for name in (CONFIG, WEIGHTS))
    whole, content = weights.read_bytes(), config.read_text()
    for cut in (b"", whole[:50], whole[:-1], b"\xff" * 200):
        weights.write_bytes(cut)
        assert "it is cut off or not a file of weights" in refusal(tiny_checkpoint, adapter)
    weights.rename(adapter / "adapter_model.bin")
    assert f"has no {WEIGHTS}, the only file that" in refusal(tiny_checkpoint, adapter)
    os.mkfifo(weights)
    assert "it is not a file" in refusal(tiny_checkpoint, adapter)
    weights.unlink()
    weights.write_bytes(whole)
    for text in ("", "[]", '{"r": ' + "1" * 5000 + "}", "[" * 100_000):
        config.write_text(text)
        assert f"{CONFIG} cannot be used" in refusal(tiny_checkpoint, adapter)
    config.unlink()
    assert f"is no adapter: it has no {CONFIG}." in refusal(tiny_checkpoint, adapter)
    config.write_text(content)
    assert load(tiny_checkpoint, adapter).adapter


@pytest.mark.parametrize(
    "named", ["lora", "/no/such", "~/x", "a/b/c", "./x/y", "@main", "\0", "x" * 5000]
)
def test_neither_folder_nor_hub_id(tiny_checkpoint, named):
    assert "is neither a folder nor a hub id" in refusal(tiny_checkpoint, named)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=6,
)
KEYS = st.sampled_from(
    ["peft_type", "r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern", "bias",
     "target_modules", "modules_to_save", "layers_to_transform", "init_lora_weights", "use_dora"]
) | st.text(max_size=20)  # fmt: skip
PATTERNS = st.dictionaries(st.text("ac_t.*+?{}|\\d$^)1,", max_size=12), st.integers(1, 5))


@given(st.dictionaries(KEYS, VALUES | PATTERNS, max_size=4))
def test_whatever_a_config_says(changes):
    """It is understood or refused; a rank and a scale are numbers."""
    raw = json.loads(json.dumps({"peft_type": "LORA", "r": 4, "lora_alpha": 8, **changes}))
    try:
        config = parse_adapter(raw, 64, 2)
    except ValueError:  # NotSupported is one
        return
    assert 1 <= config.rank(ATTENTION) <= 64 and 0 < config.scale(ATTENTION) < 1e309
    assert config.targets(ATTENTION, 0) in (True, False)


def test_the_keys_of_a_plain_lora_are_known():
    import peft

    raw = json.loads(json.dumps(peft.LoraConfig(target_modules=["q_proj"]).to_dict(), default=list))
    assert parse_adapter(raw, 64, 2).rank("q_proj") == 8
    assert set(raw) >= IGNORED  # none that peft does not have
