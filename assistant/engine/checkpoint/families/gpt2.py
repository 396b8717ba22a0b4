"""gpt2: CodeParrot and other small models of its time (Radford et al., 2019)."""

from assistant.engine.checkpoint.families import gpt_bigcode
from assistant.engine.checkpoint.families.family import Family
from assistant.engine.checkpoint.families.fields import Fields
from assistant.engine.model.config import Config


def read(fields: Fields) -> Config:
    """The Config of a config.json of this model_type, with transformers' defaults."""
    fields.must_be("add_cross_attention", False)
    fields.must_be("scale_attn_by_inverse_layer_idx", False)
    values = gpt_bigcode.read_gpt2(fields, "gelu_new")
    return Config(family="gpt2", kv_heads=values["heads"], **values)


FAMILY = Family(read, gpt_bigcode.NAMES, transposed=True)
