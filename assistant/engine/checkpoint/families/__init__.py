"""The architectures that run here, by the model_type of a config.json."""

from assistant.engine.checkpoint.families import gpt2, gpt_bigcode, llama, qwen2, starcoder2
from assistant.engine.checkpoint.families.family import Family

FAMILIES: dict[str, Family] = {
    "gpt_bigcode": gpt_bigcode.FAMILY,
    "starcoder2": starcoder2.FAMILY,
    "llama": llama.FAMILY,
    "qwen2": qwen2.FAMILY,
    "gpt2": gpt2.FAMILY,
}
