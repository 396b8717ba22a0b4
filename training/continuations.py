"""How well a model goes on with source and prose: masked lines, bodies of functions, perplexity.

Knows documents and the engine; no dialogues and no prompts.
"""

import ast
import math
from concurrent.futures import ThreadPoolExecutor

import torch
from tqdm import tqdm
from transformers import AutoModelForCausalLM

from assistant.engine.protocol import Finished, Piece, Request
from assistant.sampling import Sampling
from training.answers import complete_function

AROUND = 10  # lines of context on either side of a masked place
BEFORE = 40  # lines of context before a function
LONGEST = {1: 128, 3: 256}  # tokens of a filled-in line or block
BODY = 96  # tokens of a body
SEEN = 1024  # tokens of a document that perplexity is measured on
NO_SHARES = ("nats per token", "perplexity", "bits per byte")  # figures in units of their own


def write(engine, prompts, longest, name):
    """[(text, whether it ended by itself)] of what the engine writes greedily after `prompts`
    (lists of ids), as many at once as it has slots."""

    def one(ids):
        end = frozenset({engine.tokenizer.eos_id})
        text, finished = "", None
        for item in engine.generate(Request(tuple(ids), Sampling(temperature=0), longest, end)):
            text += item.text if isinstance(item, Piece) else ""
            finished = item if isinstance(item, Finished) else finished
        return text, finished.reason == "stop"

    with ThreadPoolExecutor(engine.status().slots) as pool:
        return list(tqdm(pool.map(one, prompts), name, len(prompts)))


# ---------------------------------------------------------------------------------------------
# Fill-in-the-middle


def masked(documents, rng, lines):
    """(prefix, middle, suffix) of places drawn for ever: `lines` whole lines are the middle, each
    of at least six characters without its blanks."""
    while True:
        text = rng.choice(documents).text.split("\n")
        at = rng.randrange(max(len(text) - lines, 1))
        middle = text[at : at + lines]
        if at >= lines and all(len(line.strip()) >= 6 for line in middle):
            before, after = text[max(at - AROUND, 0) : at], text[at + lines : at + lines + AROUND]
            yield "\n".join([*before, ""]), "\n".join(middle), "\n".join(["", *after])


def around(tokenizer, prefix, suffix):
    """The ids that ask for what stands between, prefix first."""
    special, encode = tokenizer.special, tokenizer.encode
    before = [special["<fim_prefix>"], *encode(prefix)]
    return [*before, special["<fim_suffix>"], *encode(suffix), special["<fim_middle>"]]


def fill(engine, documents, rng, lines, count):
    """{"places", "exact", "copy of what stands before"}: shares of `count` masked places that are
    filled in to the letter, blanks at the end aside, in the order prefix, suffix, middle."""
    prompts, wanted, copied = [], [], 0
    for prefix, middle, suffix in masked(documents, rng, lines) if documents and count else ():
        ids = around(engine.tokenizer, prefix, suffix)
        if len(ids) + LONGEST[lines] > engine.window:
            continue
        prompts.append(ids)
        wanted.append(middle)
        copied += "\n".join(prefix.split("\n")[-1 - lines : -1]).rstrip() == middle.rstrip()
        if len(prompts) == count:
            break
    written = write(engine, prompts, LONGEST[lines], f"(b) {lines} masked")
    exact = sum(
        ended and text.rstrip() == middle.rstrip()
        for (text, ended), middle in zip(written, wanted, strict=True)
    )
    places = len(prompts)
    return {
        "places": places,
        "exact": exact / places if places else None,
        "copy of the lines before": copied / places if places else None,
    }


# ---------------------------------------------------------------------------------------------
# Completions


def documented(document):
    """(lines before, `def` and docstring) of a document's functions that have a docstring and
    more. The newline behind it is the model's to write: it is one token with the indentation."""
    text = document.text
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return
    lines = text.split("\n")
    for node in ast.walk(tree):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if ast.get_docstring(node) and len(node.body) > 1:
            start, end = node.lineno - 1, node.body[0].end_lineno
            if node.body[0].lineno > node.lineno and node.body[1].lineno > end:
                before = "".join(line + "\n" for line in lines[max(start - BEFORE, 0) : start])
                yield before, "\n".join(lines[start:end])


def functions(engine, documents, rng, count):
    """{"functions", "parse", "parse and not empty"}: shares of `count` functions whose `def`,
    docstring and written body are valid source."""
    every = [function for document in documents for function in documented(document)]
    rng.shuffle(every)
    prompts, heads = [], []
    for before, head in every:
        ids = engine.tokenizer.encode(before + head)
        if len(ids) + BODY <= engine.window and len(prompts) < count:
            prompts.append(ids)
            heads.append(head)
    parsed = full = 0
    for head, (text, ended) in zip(
        heads, write(engine, prompts, BODY, "(c) functions"), strict=True
    ):
        source, lines = complete_function(head, text, not ended)
        parsed, full = parsed + bool(source), full + bool(lines)
    made = len(prompts)
    return {
        "functions": made,
        "parse": parsed / made if made else None,
        "parse and not empty": full / made if made else None,
    }


# ---------------------------------------------------------------------------------------------
# Perplexity


@torch.no_grad()
def perplexity(folder, tokenizer, documents, device):
    """Over the first SEEN tokens of each document, in float32: the tokens counted, nats per token,
    perplexity and bits per byte of text."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    model.to(device)
    nats, tokens, size = 0.0, 0, 0
    for document in tqdm(documents, "(e) perplexity"):
        most = min(SEEN, model.config.n_positions)
        ids = tokenizer.encode(document.learned[: 8 * most])[:most]
        given = torch.tensor([ids], device=model.device)
        scores = model(given).logits[0, :-1].float()
        nats += torch.nn.functional.cross_entropy(scores, given[0, 1:], reduction="sum").item()
        tokens += len(ids) - 1
        size += len(tokenizer.decode(ids[1:]).encode())
    if not tokens:
        return {"tokens": 0}
    per_token = nats / tokens
    return {
        "tokens": tokens,
        "nats per token": per_token,
        "perplexity": math.exp(per_token),
        "bits per byte": nats / math.log(2) / size,
    }
