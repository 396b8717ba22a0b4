"""Each family computes what transformers' module of the same weights does, and says what of a
config.json it does not know."""

import dataclasses

import pytest
import torch
import transformers

from assistant.engine.checkpoint.config import parse_config, read_config
from assistant.engine.checkpoint.families import FAMILIES
from assistant.engine.checkpoint.families.fields import Fields
from assistant.engine.checkpoint.read import read_tensors
from assistant.engine.checkpoint.weights import find_tensors
from assistant.engine.model.int4 import Packed
from assistant.engine.model.int8 import Quantized, dequantize
from assistant.engine.model.model import Chunk, Model
from assistant.errors import CheckpointError
from tests.support.checkpoints import make_tokenizer
from tests.support.engines import greedy, make_engine, read, unpacked

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = {
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 500,
    "max_position_embeddings": 512,
}
# Keys that no result depends on: dropout and first values are for training, ids for generating,
# and what is computed in float32 or kept is so here anyway.
IGNORED = {
    "attention_dropout",
    "attention_softmax_in_fp32",
    "attn_pdrop",
    "bos_token_id",
    "embd_pdrop",
    "embedding_dropout",
    "eos_token_id",
    "initializer_range",
    "pad_token_id",
    "pretraining_tp",
    "reorder_and_upcast_attn",
    "resid_pdrop",
    "residual_dropout",
    "scale_attention_softmax_in_fp32",
    "summary_activation",
    "summary_first_dropout",
    "summary_proj_to_labels",
    "summary_type",
    "summary_use_proj",
    "use_cache",
}
GPT = {"n_layer": 2, "n_embd": 64, "n_head": 2, "n_positions": 512, "vocab_size": 500}


def rope(kind, theta=1e5, **more):
    return {"rope_parameters": {"rope_type": kind, "rope_theta": theta, **more}}


def yarn(**more):
    return rope("yarn", **{"factor": 4.0, **more})


def qwen2(layer_types, **more):
    sliding = {"use_sliding_window": True, "layer_types": layer_types}
    return {"model_type": "qwen2", **sliding, **more}


LLAMA3 = rope("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0)
LLAMA3["rope_parameters"]["original_max_position_embeddings"] = 128
YARN = rope("yarn", factor=4.0, original_max_position_embeddings=128)
SLIDING = {"use_sliding_window": True, "sliding_window": 50, "max_window_layers": 1}
BIASES = {"attention_bias": True, "mlp_bias": True}
CASES = {
    "gpt_bigcode": ("gpt_bigcode", {}),
    "gpt2": ("gpt2", {}),
    "llama": ("llama", {}),
    "llama, all heads of their own": ("llama", {"num_key_value_heads": 4, **BIASES}),
    "llama, one K/V head": ("llama", {"num_key_value_heads": 1, "tie_word_embeddings": True}),
    "llama, larger heads": ("llama", {"head_dim": 32}),
    "llama, linear": ("llama", rope("linear", factor=4.0)),
    "llama, llama3": ("llama", LLAMA3),
    "qwen2": ("qwen2", rope("default", 1e6)),
    "qwen2, yarn and sliding": ("qwen2", {**YARN, **SLIDING}),
    "starcoder2": ("starcoder2", rope("default")),
    "starcoder2, sliding": ("starcoder2", {"sliding_window": 100}),
}


def make_module(family, changes, folder=None):
    """A random module of transformers, saved to `folder`."""
    sizes = GPT if family.startswith("gpt") else SMALL
    ids = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0, "initializer_range": 0.2}
    config = transformers.AutoConfig.for_model(family, **{**sizes, **ids, **changes})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = transformers.AutoModelForCausalLM.from_config(config).eval()
        for tensor in module.parameters():
            if tensor.dim() == 1:
                tensor.data += 0.1 * torch.randn_like(tensor)
    if folder:
        module.save_pretrained(folder)
    return module


@pytest.mark.parametrize("case", CASES)
@torch.inference_mode()
def test_logits_are_those_of_transformers(case, tmp_path):
    """Of a prompt, of one behind a prefix that is there, and of single tokens."""
    module = make_module(*CASES[case], tmp_path)
    config = read_config(tmp_path, case)
    found = find_tensors([tmp_path / "model.safetensors"], config)
    model = Model(config, read_tensors(found, torch.device("cpu"), torch.float32))
    ids = torch.randint(500, (300,), generator=torch.Generator().manual_seed(1))
    expected = module(ids[None]).logits[0]
    kv = [part.fill_(torch.nan) for part in model.new_kv(2, 512)]
    parts = [model.prefill([Chunk(ids[:200].tolist(), 1, 0)], kv)]
    parts.append(model.prefill([Chunk(ids[200:290].tolist(), 1, 200)], kv))
    slots, places = torch.ones(10).long(), torch.arange(290, 300)
    given = [model.logits(part) for part in parts] + [model.decode(ids[290:], slots, places, kv)]
    assert (torch.cat(given) - expected).abs().max() < 1e-4

    cpu = torch.device("cpu")
    eight = Model(config, read_tensors(found, cpu, torch.float32), int8=True)
    packed = read_tensors(found, cpu, torch.bfloat16, "int4")
    four = Model(config, packed)
    plain = {name: dense(tensor) for name, tensor in packed.items()}
    same = Model(config, plain)
    kv = same.new_kv(2, 512)
    exact = same.logits(same.prefill([Chunk(ids.tolist(), 1, 0)], kv))
    for small, oracle in ((eight, expected), (four, exact)):
        kv = small.new_kv(2, 512)
        small.prefill([Chunk(ids[:290].tolist(), 1, 0)], kv)
        near = small.decode(ids[290:], slots, places, kv)
        assert (near - oracle[290:]).norm() < 0.1 * oracle[290:].norm()
        alone = small.decode(ids[295:296], slots[:1], places[5:6], kv)
        assert torch.equal(alone[0], near[5])


def dense(tensor):
    """One of read_tensors in float32."""
    if isinstance(tensor, Quantized):
        return dequantize(tensor, torch.float32)
    return unpacked(tensor) if isinstance(tensor, Packed) else tensor.float()


@pytest.mark.parametrize("case", ["gpt_bigcode", "llama", "llama, one K/V head"])
def test_a_head_lies_at_a_stretch_where_there_are_several(case, tmp_path):
    """What one head has of all positions is read twice as fast so; of one head it is together."""
    make_module(*CASES[case], tmp_path)
    config = read_config(tmp_path, case)
    tensors = read_tensors(
        find_tensors([tmp_path / "model.safetensors"], config), torch.device("cpu"), torch.float32
    )
    (kv,) = Model(config, tensors).new_kv(2, 8)
    assert kv.shape == (config.layers, 2, 8, 2 * config.kv_heads, config.head_dim)
    assert (kv if config.kv_heads == 1 else kv.transpose(2, 3)).is_contiguous()


@pytest.mark.parametrize("case", CASES)
def test_greedy_ids_in_batches_that_change(case, tmp_path):
    """Requests of different lengths that join and leave, some behind a prefix that is known, with
    guessed tokens: each gives what transformers' generate gives alone."""
    module = make_module(*CASES[case], tmp_path)
    module.generation_config.eos_token_id = None
    draw = torch.Generator().manual_seed(2)
    lengths, shared = (3, 150, 70, 21, 190, 1), torch.randint(1, 384, (60,), generator=draw)
    prompts = [torch.randint(1, 384, (length,), generator=draw) for length in lengths]
    prompts[2:2] = [torch.cat((shared, prompts[0])), torch.cat((shared, prompts[3]))]
    engine = make_engine(make_tokenizer(tmp_path), module, slots=3, queue=16)
    try:
        requests = [(prompt.tolist(), 10 + 9 * at) for at, prompt in enumerate(prompts)]
        streams = [engine.generate(greedy(ids, count)) for ids, count in requests]
        for stream, prompt, (ids, count) in zip(streams, prompts, requests, strict=True):
            alone = {"max_new_tokens": count, "do_sample": False, "pad_token_id": 0}
            whole = module.generate(prompt[None], **alone)
            assert read(stream)[1] == whole[0, len(ids) :].tolist()
    finally:
        engine.close()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_key_of_a_config_is_read_or_without_effect(family):
    """Those that transformers knows: whatever else a file holds changes nothing there."""
    fields = Fields(make_module(family, {}).config.to_dict())
    FAMILIES[family].read(fields)
    own = transformers.CONFIG_MAPPING[family]
    given = {field.name for field in dataclasses.fields(own)}
    given -= {field.name for field in dataclasses.fields(transformers.PreTrainedConfig)}
    given |= {"tie_word_embeddings", "bos_token_id"}
    assert given <= fields.read | IGNORED
    # What is read is not ignored as well.
    assert not fields.read & IGNORED


@pytest.mark.parametrize(
    ("family", "changes", "words"),
    [
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx True"),
        ("gpt2", {"add_cross_attention": True}, "add_cross_attention True"),
        ("llama", {"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "the scaling 'dynamic'"),
        ("llama", {"partial_rotary_factor": 0.5}, "a part of its heads"),
        ("llama", {"hidden_act": "relu2"}, "the activation function 'relu2'"),
        (
            "qwen2",
            {
                "use_sliding_window": True,
                "layer_types": ["sliding_attention", "full_attention"],
                "num_hidden_layers": 2,
            },
            "layer_types that alternate",
        ),
    ],
)
def test_what_would_change_the_result_is_refused_by_name(family, changes, words):
    with pytest.raises(CheckpointError) as caught:
        parse_config({"model_type": family, **SMALL, **changes}, "owner/name")
    assert str(caught.value).startswith("owner/name has ") and words in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_key_value_heads": 3}, "not a multiple of num_key_value_heads, 3"),
        ({"hidden_size": 66}, "not a multiple of num_attention_heads, 4"),
        ({"rope_parameters": [1]}, "rope_parameters is"),
        ({"rope_scaling": {"type": "linear", "factor": 0}}, "factor is 0, and must be above 0"),
        ({"rope_scaling": {"type": "linear"}}, "factor is missing"),
        ({"rope_theta": float("nan")}, "rope_theta is nan"),
        ({"rms_norm_eps": float("inf")}, "rms_norm_eps is inf"),
        ({"head_dim": 33}, "33, is odd"),
        ({"rope_theta": 1e-300}, "frequencies that are not finite"),
        ({"rope_scaling": {"type": "linear", "factor": 1e-320}}, "frequencies that are not finite"),
        (yarn(beta_fast=1e-320), "frequencies that are not finite"),
        (yarn(factor=1e-320), "frequencies that are not finite"),
        (yarn(attention_factor=1e300), "frequencies that are not finite"),
        (yarn(mscale=1e308, mscale_all_dim=1e-308), "frequencies that are not finite"),
        (qwen2(5), "layer_types is 5"),
        (qwen2({"sliding_attention": 1}), "layer_types is {'sliding_attention': 1}"),
        (qwen2("sliding_attention"), "layer_types is 'sliding_attention'"),
        (qwen2(None, max_window_layers=-(10**5000)), "max_window_layers is <int>"),
        (qwen2(None, max_window_layers="\x1b"), r"max_window_layers is '\\x1b'"),
        (qwen2(None, max_window_layers="x" * 99), r"max_window_layers is 'x*\.\.\.$"),
        ({"hidden_size": 1 << 50}, "at most"),
    ],
)
def test_values_that_are_wrong(changes, words):
    with pytest.raises(ValueError, match=words):
        parse_config({"model_type": "llama", **SMALL, **changes}, "owner/name")
