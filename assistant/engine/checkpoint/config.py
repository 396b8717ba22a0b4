"""What a checkpoint's config.json says of its model, checked before anything large is read."""

from dataclasses import fields
from pathlib import Path

from assistant.engine.files import broken_file, read_json
from assistant.engine.model.config import ACTIVATIONS, Config
from assistant.errors import CheckpointError
from assistant.text import quoted

# Older and other names, as transformers reads them
_ALSO = {
    "hidden_size": "n_embd",
    "max_position_embeddings": "n_positions",
    "num_attention_heads": "n_head",
    "num_hidden_layers": "n_layer",
}


def read_config(folder: Path, name: str) -> Config:
    """The Config in `folder`; `name` is what people know the checkpoint by. Raises
    CheckpointError for what is broken, and for a model that cannot run here."""
    path = folder / "config.json"
    raw = read_json(path)
    if raw is None:
        raise CheckpointError(f"{folder} is not a checkpoint: it has no config.json.")
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
        raise broken_file(path, error) from error
    if not config.multi_query:
        raise CheckpointError(f"{name} has no multi-query attention, the only kind that runs here.")
    if config.activation_function not in ACTIVATIONS:
        raise CheckpointError(
            f"{name} has the activation function {quoted(config.activation_function)}; only "
            f"{', '.join(ACTIVATIONS)} are supported."
        )
    return config
