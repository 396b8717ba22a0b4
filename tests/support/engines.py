"""Real engines on small checkpoints."""

from types import SimpleNamespace

from assistant.engine.checkpoint.config import parse_config
from assistant.engine.checkpoint.weights import renamed
from assistant.engine.local.engine import LocalEngine
from assistant.engine.tokenizer import load_tokenizer
from tests.support.reading import GREEDY, greedy, read  # noqa: F401


def load_module(folder, **config):
    """The transformers module in float32: the oracle, and what the engine's tensors come from."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype="float32", **config).eval()


def config_of(module):
    """The engine's Config of a transformers module, or of its configuration."""
    config = getattr(module, "config", module)
    return parse_config(config.to_dict(), "tiny")


def tensors_of(module):
    """A transformers module's tensors under the names that the engine knows them by."""
    return renamed(config_of(module), module.state_dict())


def make_engine(folder, module=None, *, dtype="float32", **options):
    module = module or load_module(folder)
    checkpoint = SimpleNamespace(
        name="tiny",
        revision=None,
        embedded=False,
        config=config_of(module),
        tensors=tensors_of(module),
        tokenizer=load_tokenizer(folder),
        dtype=dtype,
    )
    return LocalEngine(lambda: checkpoint, **options)
