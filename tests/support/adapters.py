"""LoRA adapters on disk, in peft's files, written by hand."""

import json

import torch
from safetensors.torch import save_file

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def factors(module, rows, columns, rank=4, seed=0):
    """The two tensors of a LoRA for a matrix [rows, columns], by the names of peft's files."""
    draw = torch.Generator().manual_seed(seed)
    return {
        f"base_model.model.{module}.lora_A.weight": torch.randn(rank, columns, generator=draw),
        f"base_model.model.{module}.lora_B.weight": torch.randn(rows, rank, generator=draw),
    }


def write_adapter(folder, tensors, **config):
    """Rank 4 with alpha 8, so that the scale is 2, unless `config` says otherwise."""
    folder.mkdir(exist_ok=True)
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, **config}
    (folder / CONFIG).write_text(json.dumps(config))
    save_file(tensors, folder / WEIGHTS)
    return folder


def merged(weight, tensors, module, scale=2.0):
    """weight + scale * B @ A in float32. weight: [out, in]."""
    down, up = (tensors[f"base_model.model.{module}.lora_{half}.weight"] for half in "AB")
    return torch.addmm(weight.float(), up.float(), down.float(), alpha=scale)
