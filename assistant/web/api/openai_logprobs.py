"""Log-probabilities as the OpenAI-compatible API has them, which differ in its two routes.

Knows (id, Logprob) pairs and the text of tokens.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from assistant.engine.protocol import Logprob, Tokenizer
from assistant.sampling import check_logprobs
from assistant.web.gate.security import Json

LEAST = -9999.0  # what stands for less: JSON has no infinity

Pair: TypeAlias = tuple[int, Logprob | None]  # a token's id, and None where it has none


def check_top(name: str, count: int | None) -> int | None:
    """How many likeliest tokens are to be shown beside each: None, or 0 to 20. Raises
    SamplingError."""
    return check_logprobs(count, name, least=0)


def completion_logprobs(
    pairs: Sequence[Pair],
    texts: Sequence[str],
    top: int | None,
    start: int,
    decode: Callable[[list[int]], str],
    as_ids: bool | None = False,
) -> Json:
    """Of a completion. pairs: the first token of a prompt has no Logprob. texts: theirs. start:
    where in the whole text they begin. as_ids: tokens are named by their ids, as vLLM does."""

    def name_of(token: int) -> str:
        return f"token_id:{token}" if as_ids else decode([token])

    offsets: list[int] = []
    tops: list[dict[str, float] | None] = []
    names = [name_of(token) for token, _ in pairs] if as_ids else texts
    for (_, known), name, text in zip(pairs, names, texts, strict=True):
        offsets.append(start)
        start += len(text)
        if known is None or not top:
            tops.append(None)
            continue
        likeliest = {name_of(token): _value(value) for token, value in known.top[:top][::-1]}
        tops.append({name: _value(known.logprob)} | likeliest)
    return {
        "tokens": names,
        "token_logprobs": [_value(known.logprob) if known else None for _, known in pairs],
        "top_logprobs": tops if top else None,
        "text_offset": offsets,
    }


def chat_logprobs(
    pairs: Iterable[Pair], top: int | None, tokenizer: Tokenizer, as_ids: bool | None = False
) -> Json:
    """Of a chat's reply. as_ids: as in completion_logprobs."""

    def entry(token: int, value: float) -> Json:
        text = tokenizer.decode([token])
        whole = "\ufffd" not in text  # else it is a part of a character
        spelt = list(text.encode()) if whole else None
        name = f"token_id:{token}" if as_ids else text
        return {"token": name, "logprob": _value(value), "bytes": spelt}

    content = []
    for token, known in pairs:
        if known is not None:
            likeliest = [entry(*pair) for pair in known.top[:top]]
            content.append({**entry(token, known.logprob), "top_logprobs": likeliest})
    return {"content": content, "refusal": None}


def _value(logprob: float) -> float:
    return max(logprob, LEAST)
