"""Real engines on small checkpoints."""

from types import SimpleNamespace

from assistant.engine.local.engine import LocalEngine
from assistant.engine.tokenizer import load_tokenizer
from tests.support.reading import GREEDY, greedy, read  # noqa: F401


def load_module(folder, **config):
    """The transformers module in float32: the oracle, and what the engine's tensors come from."""
    from transformers import GPTBigCodeForCausalLM

    return GPTBigCodeForCausalLM.from_pretrained(folder, dtype="float32", **config).eval()


def tensors_of(module):
    """A transformers module's tensors under the names that the engine knows them by."""
    named = module.state_dict().items()
    return {name.removeprefix("transformer."): tensor for name, tensor in named}


def make_engine(folder, module=None, *, dtype="float32", **options):
    module = module or load_module(folder)
    checkpoint = SimpleNamespace(
        name="tiny",
        revision=None,
        embedded=False,
        config=module.config,
        tensors=tensors_of(module),
        tokenizer=load_tokenizer(folder),
        dtype=dtype,
    )
    return LocalEngine(lambda: checkpoint, **options)
