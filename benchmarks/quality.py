"""What int8 weights change in the text, and how often the same request gives the same text again.

The first reads logits, which no stream gives out, and so reaches into the engine for its model.
"""

from concurrent.futures import ThreadPoolExecutor

import torch

from assistant.conversation import Conversation
from assistant.engine.model.model import Chunk
from assistant.engine.protocol import Request
from assistant.sampling import Sampling
from benchmarks.chats import prompt_ids, questions
from benchmarks.contenders import GREEDY, follow, open_ours
from benchmarks.report import Line
from benchmarks.speed import FIRST_ID

TEXTS, LENGTH = 32, 100  # 3,200 positions of float32's own text
AGAIN, TOGETHER, REPLY = 200, 8, 48  # requests, how many at once, tokens of each


@torch.inference_mode()
def forced_logits(engine, prompt, text):
    """Logits [len(text), vocabulary] of the engine's decode, fed `text` behind `prompt`."""
    model = engine._scheduler.model
    kv = model.new_kv(1, len(prompt) + len(text))
    rows = [model.logits(model.prefill([Chunk(prompt, 0, 0)], kv)[-1:])[0]]
    for position, token in enumerate(text[:-1], len(prompt)):
        single = (torch.tensor([value]) for value in (token, 0, position))
        rows.append(model.decode(*single, kv)[0])
    return torch.stack(rows)


def int8(model):
    """Agreement of int8 with float32: fed the same text, and each running free."""
    engines = {dtype: open_ours(model, dtype, slots=1) for dtype in ("float32", "int8")}
    loss, equal, free = dict.fromkeys(engines, 0.0), 0, 0
    try:
        for question in questions(TEXTS):
            chat = Conversation().add_message(question)
            prompt = prompt_ids(engines["float32"], chat)
            texts = {
                dtype: follow(engine.generate(Request(tuple(prompt), GREEDY, LENGTH)))[0].ids
                for dtype, engine in engines.items()
            }
            text = torch.tensor(texts["float32"])
            for dtype, engine in engines.items():
                logits = forced_logits(engine, prompt, texts["float32"])
                loss[dtype] += torch.nn.functional.cross_entropy(
                    logits, text, reduction="sum"
                ).item()
                if dtype == "int8":
                    equal += (logits.argmax(1) == text).sum().item()
            same = torch.tensor(texts["int8"]) == text
            free += same.long().cumprod(0).sum().item()
    finally:
        for engine in engines.values():
            engine.close()
    positions = TEXTS * LENGTH
    ratio = torch.tensor((loss["int8"] - loss["float32"]) / positions).exp().item() - 1
    yield Line(
        f"int8, fed float32's own text: the same argmax at 98 % of {positions:,} positions",
        f"{equal / positions:.2%}",
        equal >= 0.98 * positions,
    )
    yield Line("the same: perplexity within 0.5 %", f"{ratio:+.2%}", abs(ratio) <= 0.005)
    yield Line("int8, running free: tokens before the first difference", f"{free / positions:.0%}")


def receipts(engine):
    """How many of AGAIN requests give their first text again, {cold, warm} x {alone, together}.

    The first text is that of a cold request alone. Each prompt starts with an id of its own, so
    that what another request left behind is no prefix of it.
    """
    requests = []
    for number, question in enumerate(questions(AGAIN)):
        ids = prompt_ids(engine, Conversation().add_message(question))
        sampling = Sampling(temperature=0.8, seed=number)
        requests.append(Request((FIRST_ID + number, *ids), sampling, REPLY))
    first, warm_alone = _twice(engine, requests, 1)
    cold_alone, _ = _twice(engine, requests, 1)
    cold_together, warm_together = _twice(engine, requests, TOGETHER)
    for condition, texts, goal in (
        ("cold, alone", cold_alone, True),
        ("warm prefix, alone", warm_alone, False),
        (f"cold, {TOGETHER} together", cold_together, False),
        (f"warm prefix, {TOGETHER} together", warm_together, False),
    ):
        same = sum(a == b for a, b in zip(first, texts, strict=True)) / len(first)
        promise = f"{AGAIN} requests give the same text again: {condition}"
        yield Line(promise + " (goal 100 %)" * goal, f"{same:.1%}", same == 1 if goal else None)


def _twice(engine, requests, size):
    """The ids of all replies when groups of `size` come cold, and when each group comes again."""
    cold, warm = [], []
    for start in range(0, len(requests), size):
        for texts in (cold, warm):
            streams = [engine.generate(request) for request in requests[start : start + size]]
            with ThreadPoolExecutor(size) as readers:
                for reply, finished in readers.map(follow, streams):
                    if bool(finished.cached_tokens) != (texts is warm):
                        raise RuntimeError("a prompt was warm that should be cold, or cold")
                    texts.append(reply.ids)
    return cold, warm
