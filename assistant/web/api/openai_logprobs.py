"""Log-probabilities as the OpenAI-compatible API has them, which differ in its two routes.

Knows (id, Logprob) pairs and the text of tokens.
"""

from assistant.sampling import check_logprobs

LEAST = -9999.0  # what stands for less: JSON has no infinity


def check_top(name, count):
    """How many likeliest tokens are to be shown beside each: None, or 0 to 20. Raises
    SamplingError."""
    return count if not count else check_logprobs(count, name)


def completion_logprobs(pairs, texts, top, start, decode, as_ids=False):
    """Of a completion. pairs: (id, Logprob), None for the first token of a prompt. texts: theirs.
    start: where in the whole text they begin. decode: ids to text. as_ids: tokens are named by
    their ids, as vLLM names them."""
    offsets, tops = [], []
    names = [f"token_id:{token}" for token, _ in pairs] if as_ids else texts
    named = "token_id:{}".format if as_ids else lambda token: decode([token])
    for (_, known), name, text in zip(pairs, names, texts, strict=True):
        offsets.append(start)
        start += len(text)
        if known is None or not top:
            tops.append(None)
            continue
        likeliest = {named(token): _value(value) for token, value in known.top[:top][::-1]}
        tops.append({name: _value(known.logprob)} | likeliest)
    return {
        "tokens": names,
        "token_logprobs": [known and _value(known.logprob) for _, known in pairs],
        "top_logprobs": tops if top else None,
        "text_offset": offsets,
    }


def chat_logprobs(pairs, top, tokenizer):
    """Of a chat's reply."""

    def entry(token, value):
        text = tokenizer.decode([token])
        whole = "\ufffd" not in text  # else it is a part of a character
        spelt = list(text.encode()) if whole else None
        return {"token": text, "logprob": _value(value), "bytes": spelt}

    content = []
    for token, known in pairs:
        if known is not None:
            likeliest = [entry(*pair) for pair in known.top[:top]]
            content.append({**entry(token, known.logprob), "top_logprobs": likeliest})
    return {"content": content, "refusal": None}


def _value(logprob):
    return max(logprob, LEAST)
