"""What a checkpoint's config.json says of its model, checked before anything large is read."""

from dataclasses import dataclass, fields
from pathlib import Path

from assistant.engine.files import broken, read_json
from assistant.engine.model.model import ACTIVATIONS
from assistant.errors import CheckpointError
from assistant.text import quoted

# Older and other names, as transformers reads them
_ALSO = {
    "hidden_size": "n_embd",
    "max_position_embeddings": "n_positions",
    "num_attention_heads": "n_head",
    "num_hidden_layers": "n_layer",
}


@dataclass(frozen=True, kw_only=True)
class Config:
    """The keys of a gpt_bigcode model that decide what it computes, with the defaults that
    transformers' GPTBigCodeConfig has for them (5.17), whose file may leave them out.

    Raises ValueError for a value of another type, a size below 1, and sizes that do not fit.
    """

    vocab_size: int = 50_257
    n_positions: int = 1024
    n_embd: int = 768
    n_layer: int = 12
    n_head: int = 12
    n_inner: int | None = None  # None: 4 times n_embd
    activation_function: str = "gelu_pytorch_tanh"
    layer_norm_epsilon: float = 1e-5
    scale_attn_weights: bool = True
    multi_query: bool = True
    tie_word_embeddings: bool = True

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, field.type) or isinstance(value, bool) != (field.type is bool):
                raise ValueError(f"{field.name} is {quoted(value)}")
            if isinstance(value, int | float) and not isinstance(value, bool) and not value > 0:
                raise ValueError(f"{field.name} is {quoted(value)}, and must be above 0")
        if self.n_embd % self.n_head:
            raise ValueError(f"n_embd, {self.n_embd}, is not a multiple of n_head, {self.n_head}")


def read_config(folder: Path, name: str) -> Config:
    """The Config in `folder`; `name` is what people know the checkpoint by. Raises
    CheckpointError for what is broken, and for a model that cannot run here."""
    path = folder / "config.json"
    raw = read_json(path)
    if raw is None:
        raise CheckpointError(f"{folder} is no checkpoint: it has no config.json.")
    if raw.get("model_type") != "gpt_bigcode":
        raise CheckpointError(
            f"{name} has the architecture {quoted(raw.get('model_type'))}, and only gpt_bigcode "
            "(StarCoder's) runs here: serve it with another program and name that with --endpoint."
        )
    if raw.get("quantization_config"):
        raise CheckpointError(f"{name} is quantised, which is not supported: choose the original.")
    named = {_ALSO.get(key, key): value for key, value in raw.items()}
    known = {field.name for field in fields(Config)}  # not auto_map, which names code to run
    try:
        config = Config(**{key: value for key, value in named.items() if key in known})
    except ValueError as error:
        raise broken(path, error) from error
    if not config.multi_query:
        raise CheckpointError(f"{name} has no multi-query attention, the only kind that runs here.")
    if config.activation_function not in ACTIVATIONS:
        raise CheckpointError(
            f"{name} has the activation function {quoted(config.activation_function)}; only "
            f"{', '.join(ACTIVATIONS)} are supported."
        )
    return config
