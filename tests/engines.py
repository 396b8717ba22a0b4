"""Real engines on small checkpoints, and how tests read from them."""

from types import SimpleNamespace

from assistant.engine import Finished, Piece, Request
from assistant.engine.local import LocalEngine
from assistant.engine.tokenizer import load_tokenizer
from assistant.sampling import Sampling

GREEDY = Sampling(temperature=0)


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


def greedy(ids, max_new_tokens, **options):
    return Request(tuple(ids), GREEDY, max_new_tokens, **options)


def read(stream):
    """All of a stream: its text, its ids and its Finished."""
    text, ids = "", []
    for item in stream:
        if isinstance(item, Piece):
            text += item.text
            ids += item.ids
        elif isinstance(item, Finished):
            return text, ids, item
    raise AssertionError("the stream ended without Finished")
