"""llama.cpp's architectures that run here, and what transformers calls their tensors."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from assistant.engine.checkpoint.gguf_header import NotSupported, told
from assistant.text import quoted

_LLAMA = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "model.layers.{n}.input_layernorm",
    "attn_q": "model.layers.{n}.self_attn.q_proj",
    "attn_k": "model.layers.{n}.self_attn.k_proj",
    "attn_v": "model.layers.{n}.self_attn.v_proj",
    "attn_output": "model.layers.{n}.self_attn.o_proj",
    "ffn_norm": "model.layers.{n}.post_attention_layernorm",
    "ffn_gate": "model.layers.{n}.mlp.gate_proj",
    "ffn_up": "model.layers.{n}.mlp.up_proj",
    "ffn_down": "model.layers.{n}.mlp.down_proj",
}
_STARCODER2 = _LLAMA | {
    "ffn_up": "model.layers.{n}.mlp.c_fc",
    "ffn_down": "model.layers.{n}.mlp.c_proj",
}
del _STARCODER2["ffn_gate"]
_GPT2 = {
    "token_embd": "transformer.wte",
    "position_embd": "transformer.wpe",
    "output_norm": "transformer.ln_f",
    "output": "lm_head",
    "attn_norm": "transformer.h.{n}.ln_1",
    "attn_qkv": "transformer.h.{n}.attn.c_attn",
    "attn_output": "transformer.h.{n}.attn.c_proj",
    "ffn_norm": "transformer.h.{n}.ln_2",
    "ffn_up": "transformer.h.{n}.mlp.c_fc",
    "ffn_down": "transformer.h.{n}.mlp.c_proj",
}
_NORMS = {"attn_norm", "ffn_norm", "output_norm"}
QKV = {"attn_q", "attn_k", "attn_v"}
ATTENTION, MLP = QKV | {"attn_output"}, {"ffn_gate", "ffn_up", "ffn_down"}


class Architecture(NamedTuple):
    """names: llama.cpp's to transformers', {n} for a layer's number. biased: what may have a bias.
    paired: whether the rows of queries and keys lie in pairs. transposed: whether transformers has
    the layers' matrices as [in, out]."""

    model_type: str
    names: Mapping[str, str]
    biased: set[str]
    paired: bool = False
    transposed: bool = False


ARCHITECTURES = {
    "llama": Architecture("llama", _LLAMA, ATTENTION | MLP, paired=True),
    "qwen2": Architecture("qwen2", _LLAMA, QKV),
    "starcoder2": Architecture("starcoder2", _STARCODER2, ATTENTION | MLP | _NORMS),
    "gpt2": Architecture("gpt2", _GPT2, {"attn_qkv"} | ATTENTION | MLP | _NORMS, transposed=True),
    "starcoder": Architecture("gpt_bigcode", _GPT2, {"attn_qkv"} | ATTENTION | MLP | _NORMS),
}
_NAME = re.compile(r"(?:blk\.(0|[1-9]\d{0,3})\.)?(\w+)\.(weight|bias)", re.ASCII)


def find_architecture(keys: Mapping[str, Any]) -> Architecture:
    """Raises NotSupported."""
    kind, name = keys.get("general.type", "model"), keys.get("general.architecture")
    if kind != "model":
        raise NotSupported(f"no whole model, but the general.type {told(kind)}")
    if not isinstance(name, str) or name not in ARCHITECTURES:
        raise NotSupported(
            f"the architecture {told(name)}; only {', '.join(ARCHITECTURES)} run here"
        )
    return ARCHITECTURES[name]


def split_name(name: str) -> tuple[int | None, str, str]:
    """(Layer, part, "weight" or "bias") of llama.cpp's name; the layer is None outside of them.
    Raises NotSupported for any other name."""
    found = _NAME.fullmatch(name)
    if not found:
        raise NotSupported(f"the tensor {quoted(name)}, which is not known")
    number, part, kind = found.groups()
    return None if number is None else int(number), part, kind


def name_tensor(architecture: Architecture, name: str) -> str:
    """transformers' name of the tensor that the file calls `name`. Raises NotSupported."""
    layer, part, kind = split_name(name)
    known = architecture.names.get(part, "")
    in_place = known and ("{n}" in known) == (layer is not None)
    if not in_place or (kind == "bias" and part not in architecture.biased):
        raise NotSupported(f"the tensor {quoted(name)}, which {architecture.model_type} has not")
    return f"{known.format(n=layer)}.{kind}"
