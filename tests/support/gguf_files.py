"""GGUF files of small models, written with the gguf package: its writer, its table of names."""

import gguf
import numpy as np

ARCHITECTURES = {"gpt_bigcode": "starcoder"} | {
    n: n for n in ("llama", "qwen2", "starcoder2", "gpt2")
}
KINDS = gguf.GGMLQuantizationType
TOKENS = [f"token {n}" for n in range(40)]
TOKENIZER = {
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "starcoder",
    "tokenizer.ggml.tokens": TOKENS,
    "tokenizer.ggml.token_type": [3] + [1] * 39,
    "tokenizer.ggml.merges": ["t o", "k e"],
    "tokenizer.ggml.bos_token_id": 0,
    "tokenizer.ggml.eos_token_id": 0,
    "tokenizer.chat_template": "{{ messages }}",
}


def write_file(path, architecture, keys, tensors):
    """keys: of all; an int is a uint32, a negative one an int32, a float a float32. tensors: to
    (array, kind)."""
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in keys.items():
        if key == "general.alignment":
            writer.data_alignment = value
        if isinstance(value, list):
            writer.add_array(key, value)
        else:
            kinds = {str: "string", bool: "bool", int: "uint32", float: "float32"}
            kind = "int32" if type(value) is int and value < 0 else kinds[type(value)]
            getattr(writer, f"add_{kind}")(key, value)
    for name, (array, kind) in tensors.items():
        writer.add_tensor(name, array, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def keys_of(config):
    """The keys that llama.cpp's converter writes for a config of transformers."""
    architecture = ARCHITECTURES[config.model_type]
    theirs = config.to_dict()

    def of(*names):
        return next(theirs[name] for name in names if theirs.get(name) is not None)

    heads = of("num_attention_heads", "n_head")
    width = of("hidden_size", "n_embd")
    values = {
        "context_length": of("max_position_embeddings", "n_positions"),
        "embedding_length": width,
        "feed_forward_length": theirs.get("intermediate_size") or theirs["n_inner"],
        "block_count": of("num_hidden_layers", "n_layer"),
        "attention.head_count": heads,
    }
    if architecture == "starcoder":
        values["attention.head_count_kv"] = 1
    if rope := theirs.get("rope_parameters"):
        values["attention.head_count_kv"] = theirs["num_key_value_heads"]
        values["rope.freq_base"] = float(rope["rope_theta"])
        values["rope.dimension_count"] = theirs.get("head_dim") or width // heads
    epsilon = "attention.layer_norm_epsilon"
    if "rms_norm_eps" in theirs:
        epsilon = "attention.layer_norm_rms_epsilon"
    values[epsilon] = float(of("rms_norm_eps", "norm_epsilon", "layer_norm_epsilon"))
    return {f"{architecture}.{name}": value for name, value in values.items()} | TOKENIZER


def tensors_of(model, kind="F32"):
    """llama.cpp's names to what its converter makes of the model's tensors: matrices as `kind`."""
    config = model.config
    architecture = ARCHITECTURES[config.model_type]
    number = next(n for n, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    names = gguf.get_tensor_name_map(number, config.num_hidden_layers)
    tensors = {}
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        array = tensor.numpy()
        if architecture == "gpt2" and ".c_" in name and array.ndim == 2:
            array = array.T
        for part, heads in (("q_proj", "num_attention_heads"), ("k_proj", "num_key_value_heads")):
            if architecture == "llama" and part in name:
                count = getattr(config, heads)
                halves = array.reshape(count, 2, len(array) // count // 2, *array.shape[1:])
                array = halves.swapaxes(1, 2).reshape(array.shape)
        own = KINDS[kind] if array.ndim == 2 else KINDS.F32
        raw = gguf.quantize(np.ascontiguousarray(array), own)
        tensors[names.get_name(name, (".weight", ".bias"))] = raw, own
    return tensors


def write_model(path, model, kind="F32", changes=None):
    """changes: other keys than keys_of(), None to leave one out."""
    keys = keys_of(model.config) | (changes or {})
    keys = {key: value for key, value in keys.items() if value is not None}
    architecture = ARCHITECTURES[model.config.model_type]
    return write_file(path, architecture, keys, tensors_of(model, kind))
