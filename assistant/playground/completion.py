"""complete(): a raw prompt goes in as it is, its continuation comes out as it is.

Knows no template and no roles. A raw prompt is what its author says it is: text that spells a
special token becomes it, and special tokens in the continuation are shown as they are spelt.
"""

from assistant.chat import Reply
from assistant.engine import Request
from assistant.generate import generate
from assistant.sampling import check_max_new_tokens, check_stops
from assistant.stops import StopScanner
from assistant.text import check_prompt
from assistant.window import fit


def complete(engine, prompt, *, sampling, max_new_tokens, stop=(), wait_s=0.1):
    """The continuation of `prompt` as a Reply, checked and submitted at the call.

    Raises RequestError, EngineBusy or EngineDead.
    """
    engine.check_room()
    limit = check_max_new_tokens(max_new_tokens, engine.window)
    stops = check_stops(stop)
    ids = engine.tokenizer.encode(check_prompt(prompt), trusted=True)
    ledger = fit(0, (), len(ids), limit, engine.window)
    sampling = sampling.seeded()
    request = Request(
        ids=tuple(ids),
        sampling=sampling,
        max_new_tokens=limit,
        stop_ids=frozenset({engine.tokenizer.eos_id}),
    )
    generation = generate(engine, request, StopScanner(strings=stops), wait_s=wait_s)
    return Reply(generation, ledger, sampling)
