"""How tests ask an engine, and read what it gives."""

from assistant.engine.protocol import Finished, Piece, Request
from assistant.sampling import Sampling

GREEDY = Sampling(temperature=0)


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
