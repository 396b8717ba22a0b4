"""GGUF files against the models that they were written from, and block by block."""

import os
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM

from assistant.engine.checkpoint.gguf import open_gguf, sha256
from assistant.engine.checkpoint.gguf_header import KINDS
from assistant.errors import CheckpointError
from tests.support.gguf_files import TOKENIZER, TOKENS, keys_of, tensors_of, write_file, write_model

NEW = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "vocab_size": 48,
}
OLD = {"n_embd": 64, "n_inner": 96, "n_layer": 2, "n_head": 4, "n_positions": 64, "vocab_size": 48}
CONFIGS = {
    "gpt_bigcode": OLD,
    "gpt_bigcode, own head": OLD | {"tie_word_embeddings": False},
    "gpt2": OLD,
    "llama": NEW,
    "llama, tied and biased": NEW
    | {"tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True},
    "llama, one bias": NEW | {"attention_bias": True, "rope_theta": 5e5, "rms_norm_eps": 1e-3},
    "qwen2": NEW | {"rope_theta": 1e6},
    "qwen2, tied": NEW | {"tie_word_embeddings": True},
    "starcoder2": NEW | {"sliding_window": None},
    "starcoder2, plain": NEW | {"sliding_window": None, "use_bias": False},
}


@pytest.fixture(scope="module")
def make():
    made = {}

    def model(name):
        if name not in made:
            torch.manual_seed(0)
            kind = name.partition(",")[0]
            config = AutoConfig.for_model(kind, initializer_range=0.2, **CONFIGS[name])
            made[name] = AutoModelForCausalLM.from_config(config).eval()
            for tensor in made[name].parameters():  # biases and norms have one value at first
                torch.nn.init.normal_(tensor, std=0.2) if tensor.ndim == 1 else None
        return made[name]

    return model


def refusal(path):
    with pytest.raises(CheckpointError) as caught:
        open_gguf(path)
    sentence = str(caught.value)
    assert str(path) in sentence and len(sentence) < 700 and sentence.isprintable()
    return sentence


# -- whole models -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONFIGS)
@torch.no_grad()
def test_a_file_holds_the_model_that_it_was_written_from(make, tmp_path, name):
    model = make(name)
    file = open_gguf(write_model(tmp_path / "a.gguf", model))
    assert file.config["model_type"] == model.config.model_type
    config = AutoConfig.for_model(**file.config)
    again = AutoModelForCausalLM.from_config(config).eval()
    tensors = {name: file.read(name) for name in file.tensors}
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    assert shapes == {name: shape for name, (shape, _) in file.tensors.items()}
    expected = model.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in tensors.items())
    missing, unexpected = again.load_state_dict(tensors, strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}
    again.tie_weights()
    ids = torch.arange(48)[None]
    torch.testing.assert_close(again(ids).logits, model(ids).logits)


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"])
def test_the_same_in_fewer_bits(make, tmp_path, kind):
    """Rows of LLaMA's queries find their place, however they are packed."""
    model = make("llama, tied and biased")
    file = open_gguf(write_model(tmp_path / "a.gguf", model, kind))
    dtype = {"F16": torch.float16, "BF16": torch.bfloat16}.get(kind, torch.float32)
    for name, expected in model.state_dict().items():
        if name == "lm_head.weight":
            continue
        tensor = file.read(name)
        assert tensor.dtype == (dtype if tensor.ndim == 2 else torch.float32)
        assert file.tensors[name] == (tuple(expected.shape), kind if tensor.ndim == 2 else "F32")
        off = (tensor.float() - expected).abs().max() / expected.abs().max()
        bound = {"F16": 1e-3, "BF16": 4e-3, "Q8_0": 5e-3}.get(kind, 0.14)
        assert off < bound, name


def test_a_long_tensor_is_read_in_pieces(make, tmp_path, monkeypatch):
    model = make("llama")
    file = open_gguf(write_model(tmp_path / "a.gguf", model, "Q8_0"))
    whole = {name: file.read(name) for name in file.tensors}
    for step in (1, 200, 1000):
        monkeypatch.setattr("assistant.engine.checkpoint.gguf._STEP", step)
        assert all(torch.equal(file.read(name), tensor) for name, tensor in whole.items())


# -- kinds ------------------------------------------------------------------------------------


def half(raw, at):
    return float(raw[at : at + 2].view(np.float16)[0])


def scale_and_least(packed, n):
    """The n-th of eight scales and minimums of 6 bits in 12 bytes (ggml's K-quants)."""
    low = [int(byte) for byte in packed]
    if n < 4:
        return low[n] & 63, low[n + 4] & 63
    return (low[n + 4] & 15) | (low[n - 4] >> 6 << 4), (low[n + 4] >> 4) | (low[n] >> 6 << 4)


def unpack_45(raw, fifth):
    """Q4_K and Q5_K, number by number."""
    step, least, scales = half(raw, 0), half(raw, 2), raw[4:16]
    high, low = (raw[16:48], raw[48:]) if fifth else (np.zeros(32, np.uint8), raw[16:])
    numbers = []
    for n in range(8):
        scale, minimum = scale_and_least(scales, n)
        for i in range(32):
            value = int(low[n // 2 * 32 + i]) >> (4 * (n % 2)) & 15
            value += (int(high[i]) >> n & 1) << 4
            numbers.append(step * scale * value - least * minimum)
    return numbers


def unpack_6(raw):
    low, high, scales, step = raw[:128], raw[128:192], raw[192:208].view(np.int8), half(raw, 208)
    numbers = []
    for n in range(256):
        part, quarter, i = n // 128, n % 128 // 32, n % 32
        value = int(low[64 * part + 32 * (quarter % 2) + i]) >> (4 * (quarter // 2)) & 15
        value |= (int(high[32 * part + i]) >> (2 * quarter) & 3) << 4
        numbers.append(step * int(scales[n // 16]) * (value - 32))
    return numbers


UNPACK = {
    "Q4_K": lambda raw: unpack_45(raw, False),
    "Q5_K": lambda raw: unpack_45(raw, True),
    "Q6_K": unpack_6,
}


@pytest.mark.parametrize("kind", UNPACK)
def test_blocks_of_256(tmp_path, kind):
    """The gguf package cannot write these: random blocks, unpacked here one number at a time."""
    _, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    blocks = np.random.default_rng(0).integers(0, 256, (6, size), dtype=np.uint8)
    steps = np.array([0.5, 0.25], np.float16).view(np.uint8)
    if kind == "Q6_K":
        blocks[:, 208:] = steps[:2]
    else:
        blocks[:, :4] = steps
    tensors = {
        "token_embd.weight": (np.zeros((48, 64), np.float32), gguf.GGMLQuantizationType.F32),
        "blk.0.ffn_up.weight": (blocks.reshape(3, 2 * size), gguf.GGMLQuantizationType[kind]),
    }
    keys = keys_of(AutoConfig.for_model("gpt_bigcode", **OLD))
    file = open_gguf(write_file(tmp_path / "a.gguf", "starcoder", keys, tensors))
    assert file.tensors["transformer.h.0.mlp.c_fc.weight"] == ((3, 512), kind)
    expected = torch.tensor([UNPACK[kind](block) for block in blocks]).view(3, 512)
    tensor = file.read("transformer.h.0.mlp.c_fc.weight")
    torch.testing.assert_close(tensor, expected.to(tensor.dtype))


@pytest.mark.parametrize("kind", ["Q2_K", "IQ4_XS", "MXFP4", "F64", "I8"])
def test_other_kinds_are_refused_by_name(tmp_path, make, kind):
    number = gguf.GGMLQuantizationType[kind]
    block, size = gguf.GGML_QUANT_SIZES[number]
    row = np.zeros((1, 256 // block * size), np.uint8)
    tensors = tensors_of(make("llama")) | {"output_norm.weight": (row, number)}
    keys = keys_of(make("llama").config)
    sentence = refusal(write_file(tmp_path / "a.gguf", "llama", keys, tensors))
    assert kind in sentence and ", ".join(KINDS) in sentence and "--endpoint" in sentence


# -- what it says of its model ----------------------------------------------------------------


def config_of(tmp_path, model, changes, factors=None):
    tensors = tensors_of(model)
    if factors is not None:
        array = np.array(factors, np.float32)
        tensors["rope_freqs.weight"] = array, gguf.GGMLQuantizationType.F32
    keys = keys_of(model.config)
    kind = next(key for key in keys if key.endswith("block_count")).partition(".")[0]
    keys |= {f"{kind}.{name}" if "@" not in name else name[1:]: v for name, v in changes.items()}
    keys = {key: value for key, value in keys.items() if value is not None}
    return write_file(tmp_path / "a.gguf", kind, keys, tensors)


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({}, None),
        ({"rope.scaling.type": "none", "rope.scaling.factor": 4.0}, None),
        ({"rope.scaling.type": "linear", "rope.scaling.factor": 0.0}, None),
        ({"rope.scaling.factor": 4.0}, {"rope_type": "linear", "factor": 4.0}),
        ({"rope.scale_linear": 2.0}, {"rope_type": "linear", "factor": 2.0}),
        (
            {"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0}
            | {"rope.scaling.original_context_length": 16},
            {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
            | {"beta_fast": 32.0, "beta_slow": 1.0},
        ),
    ],
)
def test_stretched_positions(make, tmp_path, changes, expected):
    config = open_gguf(config_of(tmp_path, make("llama"), changes)).config
    assert config["rope_scaling"] == expected
    told = AutoConfig.for_model(**config).rope_parameters
    assert told["rope_theta"] == 10_000 and told["rope_type"] == (expected or told)["rope_type"]


def llama3_factors(theta, head_dim, scaling):
    """What the converter writes: transformers' plain frequencies by the stretched ones."""
    config = AutoConfig.for_model(
        "llama", **NEW | {"head_dim": head_dim}, rope_theta=theta, rope_scaling=dict(scaling)
    )
    stretched, _ = transformers.modeling_rope_utils.ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
    plain = 1 / theta ** (torch.arange(0, head_dim, 2) / head_dim)
    return (plain / stretched).tolist()


LLAMA3 = {
    "rope_type": "llama3",
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


def test_llama_3_s_positions_are_known_by_their_factors(make, tmp_path):
    factors = llama3_factors(1e4, 16, LLAMA3)
    assert len({round(factor, 3) for factor in factors}) > 2
    path = config_of(tmp_path, make("llama"), {}, factors)
    scaling = open_gguf(path).config["rope_scaling"]
    assert scaling == LLAMA3 | {"factor": pytest.approx(32)}
    assert "rope_freqs.weight" not in open_gguf(path).tensors


@pytest.mark.parametrize(
    "factors",
    [
        llama3_factors(1e4, 16, LLAMA3 | {"original_max_position_embeddings": 2048}),
        [1.0] * 7 + [float("nan")],
        [1.0, 2.0],
        [2.0] * 8,
        [float("inf")] * 8,
        [-1.0] * 8,
        [1.0] * 2_000,
    ],
)
def test_other_factors_are_refused(make, tmp_path, factors):
    assert "rope_freqs.weight" in refusal(config_of(tmp_path, make("llama"), {}, factors))


def test_factors_of_one_are_none(make, tmp_path):
    path = config_of(tmp_path, make("llama"), {}, [1.0] * 8)
    assert open_gguf(path).config["rope_scaling"] is None


@pytest.mark.parametrize(
    "name, changes, word",
    [
        ("llama", {"expert_count": 8}, "expert_count"),
        ("llama", {"attention.clamp_kqv": 8.0}, "attention.clamp_kqv"),
        ("llama", {"logit_scale": 0.5}, "logit_scale"),
        ("llama", {"residual_scale": 0.5}, "residual_scale"),
        ("llama", {"embedding_scale": 12.0}, "embedding_scale"),
        ("llama", {"attention.causal": False}, "attention.causal"),
        ("llama", {"attention.sliding_window": 32}, "attention.sliding_window"),
        ("qwen2", {"attention.sliding_window": 32}, "attention.sliding_window"),
        ("llama", {"something.new": "yes"}, "something.new"),
        ("llama", {"rope.dimension_count": 8}, "rope.dimension_count 8"),
        ("llama", {"attention.value_length": 8}, "attention.value_length 8"),
        ("llama", {"rope.scaling.type": "longrope"}, "longrope"),
        ("llama", {"rope.scaling.attn_factor": 1.5}, "attn_factor"),
        ("gpt2", {"attention.head_count_kv": 2}, "head_count_kv"),
        ("gpt_bigcode", {"attention.head_count_kv": 2}, "head_count_kv"),
        ("llama", {"attention.head_count": [4, 4]}, "attention.head_count"),
        ("llama", {"attention.head_count": 0}, "attention.head_count"),
        ("llama", {"attention.head_count": 3}, "not a multiple"),
        ("llama", {"attention.head_count": 8, "rope.dimension_count": None}, "rows for 2 heads"),
        ("llama", {"block_count": 1}, "block_count"),
        ("llama", {"context_length": None}, "context_length"),
        ("llama", {"attention.layer_norm_rms_epsilon": float("nan")}, "epsilon"),
        ("llama", {"@general.type": "adapter"}, "adapter"),
        ("llama", {"@general.quantization_version": 1}, "general.quantization_version"),
        ("llama", {"@split.count": 3}, "llama-gguf-split"),
        ("llama", {"@general.alignment": 24}, "general.alignment"),
        ("llama", {"@tokenizer.ggml.tokens": None}, "no tokenizer"),
        ("llama", {"@tokenizer.ggml.tokens": [1, 2]}, "tokens"),
        ("llama", {"@tokenizer.ggml.token_type": [1] * 39}, "token_type"),
        ("llama", {"@tokenizer.ggml.scores": [1.0]}, "scores"),
        ("llama", {"@tokenizer.ggml.merges": "a b"}, "merges"),
        ("llama", {"@tokenizer.ggml.eos_token_id": 40}, "eos_token_id"),
        ("llama", {"@tokenizer.chat_template": 5}, "chat_template"),
        (
            "llama",
            {"@tokenizer.ggml.model": "llama", "@tokenizer.ggml.add_space_prefix": False},
            "add_space_prefix",
        ),
    ],
)  # fmt: skip
def test_what_would_change_the_result_is_refused_by_name(make, tmp_path, name, changes, word):
    assert word in refusal(config_of(tmp_path, make(name), changes))
    assert open_gguf(config_of(tmp_path, make(name), {}))


def test_what_changes_nothing_is_not(make, tmp_path):
    changes = {"expert_count": 0, "attention.causal": True, "vocab_size": 9, "@split.count": 1}
    changes |= {"attention.sliding_window": 0, "@made.by": "nobody", "@general.alignment": 64}
    assert open_gguf(config_of(tmp_path, make("llama"), changes))


def test_starcoder2_s_window(make, tmp_path):
    def sliding(changes):
        return open_gguf(config_of(tmp_path, make("starcoder2"), changes)).config["sliding_window"]

    assert sliding({"attention.sliding_window": 32}) == 32
    assert sliding({}) is None and sliding({"attention.sliding_window": 0}) is None


@pytest.mark.parametrize(
    "name, extra",
    [
        ("llama", "blk.0.attn_norm.bias"), ("qwen2", "blk.0.attn_output.bias"),
        ("llama", "token_embd.bias"), ("llama", "blk.00.attn_q.bias"), ("llama", "attn_q.weight"),
        ("llama", "blk.1.output_norm.weight"), ("llama", "blk.0.ffn_gate_exps.weight"),
        ("llama", "position_embd.weight"), ("starcoder2", "blk.0.ffn_gate.weight"),
        ("gpt2", "rope_freqs.weight"), ("llama", "\x1b[31mred"), ("llama", "blk.1e9.attn_q.weight"),
    ],
)  # fmt: skip
def test_a_tensor_that_the_model_should_not_have(make, tmp_path, name, extra):
    array = np.zeros(64, np.float32), gguf.GGMLQuantizationType.F32
    tensors, keys = tensors_of(make(name)) | {extra: array}, keys_of(make(name).config)
    kind = next(key for key in keys if key.endswith("block_count")).partition(".")[0]
    sentence = refusal(write_file(tmp_path / "a.gguf", kind, keys, tensors))
    assert extra.partition("\x1b")[2] in sentence


@pytest.mark.parametrize("name", ["mamba", "gptneox", "llama4", "qwen3", "LLAMA"])
def test_another_architecture_is_refused_with_the_list(make, tmp_path, name):
    keys = keys_of(make("llama").config)
    sentence = refusal(write_file(tmp_path / "a.gguf", name, keys, tensors_of(make("llama"))))
    assert f"'{name}'" in sentence and "llama, qwen2, starcoder2, gpt2, starcoder" in sentence


# -- its tokenizer, and the file itself -------------------------------------------------------


def test_the_tokenizer_as_it_stands_there(make, tmp_path):
    tokenizer = open_gguf(write_model(tmp_path / "a.gguf", make("llama"))).tokenizer
    assert tokenizer.model == "gpt2" and tokenizer.pre == "starcoder"
    assert tokenizer.tokens == TOKENS and tokenizer.types == TOKENIZER["tokenizer.ggml.token_type"]
    assert tokenizer.merges == ["t o", "k e"] and tokenizer.scores is None
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.eot_id) == (0, 0, None)
    assert tokenizer.chat_template == "{{ messages }}" and not tokenizer.add_bos


@pytest.mark.parametrize(
    "model, pre, told, expected",
    [
        ("gpt2", "qwen2", None, False), ("llama", None, None, True), ("llama", None, False, False),
        ("gpt2", "llama-bpe", None, True), ("gpt2", "llama-bpe", False, False),
        ("gpt2", None, True, True),
    ],
)  # fmt: skip
def test_whether_texts_begin_with_bos(make, tmp_path, model, pre, told, expected):
    changes = {"tokenizer.ggml.model": model, "tokenizer.ggml.pre": pre}
    changes |= {"tokenizer.ggml.add_bos_token": told, "tokenizer.ggml.scores": [0.5] * 40}
    changes |= {"tokenizer.ggml.token_type": None, "tokenizer.ggml.merges": None}
    path = write_model(tmp_path / "a.gguf", make("llama"), changes=changes)
    tokenizer = open_gguf(path).tokenizer
    assert tokenizer.add_bos is expected and tokenizer.pre == (pre or "")
    assert tokenizer.scores == [0.5] * 40 and tokenizer.types == [1] * 40
    assert tokenizer.merges is None


def test_no_file(tmp_path):
    assert "no file" in refusal(tmp_path / "a.gguf")
    assert "not a file" in refusal(tmp_path)


def test_a_file_that_shrinks_after_it_was_opened(make, tmp_path):
    file = open_gguf(write_model(tmp_path / "a.gguf", make("llama")))
    os.truncate(file.path, file.path.stat().st_size - 1_000)
    with pytest.raises(CheckpointError, match="cut off"):
        [file.read(name) for name in file.tensors]
    file.path.unlink()
    with pytest.raises(CheckpointError, match="No such file"):
        file.read("model.norm.weight")
    with pytest.raises(CheckpointError, match="No such file"):
        sha256(file.path)


def test_a_file_is_known_by_its_hash(tmp_path):
    (tmp_path / "a.gguf").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, B.1
    assert sha256(tmp_path / "a.gguf") == expected


REAL = os.environ.get("TEST_GGUF")  # such as SmolLM2-135M-Instruct.Q4_1.gguf


@pytest.mark.skipif(not REAL, reason="TEST_GGUF names no file")
def test_a_real_file_against_transformers():
    path = Path(REAL)
    model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype="float32")
    file, expected = open_gguf(path), model.state_dict()
    assert set(expected) - set(file.tensors) <= {"lm_head.weight"}
    assert all(torch.equal(file.read(name), expected[name]) for name in file.tensors)
    ours = AutoConfig.for_model(**file.config)
    assert ours.rope_parameters == model.config.rope_parameters
