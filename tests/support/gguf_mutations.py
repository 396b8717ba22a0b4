"""A program that damages a GGUF file in many ways and reads each: `python -m ... FILE ROUNDS`.

Prints how many were refused and read, and how much memory, in bytes, all of them took beyond the
intact file. What is no CheckpointError of one sentence ends it.
"""

import random
import resource
import struct
import sys
from pathlib import Path

from assistant.engine.checkpoint.gguf import open_gguf
from assistant.errors import CheckpointError

EXTREMES = (0, 1, 2, 3, 7, 8, 9, 10, 12, 13, 255, 1 << 15, 1 << 20, (1 << 31) - 1, 1 << 31)
EXTREMES += ((1 << 32) - 1, 1 << 32, 1 << 40, 1 << 60, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
FLOATS = (0.0, -1.0, 1e-38, 3e38, float("nan"), float("inf"), -float("inf"))


def fields(data):
    """Where each key and each tensor's name stands in the file, by the text of it: what stands
    before is its length, what follows its kind or dimensions."""
    names = [b"general.architecture", b"tokenizer.ggml.tokens", b"tokenizer.ggml.merges"]
    names += [b"tokenizer.ggml.token_type", b"tokenizer.chat_template", b".block_count"]
    names += [b".context_length", b".embedding_length", b".feed_forward_length", b".head_count"]
    names += [b".head_count_kv", b"epsilon", b".rope.freq_base", b".rope.dimension_count"]
    names += [b"eos_token_id", b"token_embd.weight", b"output_norm.weight", b"blk.0.attn_q.weight"]
    names += [b"blk.0.attn_qkv.weight", b"blk.1.ffn_up.bias", b"blk.1.ffn_down.weight"]
    return [(found, len(name)) for name in names if (found := data.find(name)) >= 0]


def damage(data, header, rng):
    """The file with one thing changed, or a few. header: how many bytes come before the data."""
    kind = rng.choice(("flip", "cut", "number", "long", "before", "after", "value", "text", "swap"))
    changed = bytearray(data)
    at, length = rng.choice(fields(data))
    if kind == "flip":
        for _ in range(rng.choice((1, 1, 8, 64))):
            changed[rng.randrange(header)] ^= 1 << rng.randrange(8)
    elif kind == "cut":
        del changed[rng.choice((rng.randrange(len(data)), rng.randrange(header))) :]
    elif kind == "number":  # the version and the counts, or anywhere
        at = rng.choice((4, 8, 16, rng.randrange(header - 8)))
        struct.pack_into("<Q", changed, at, rng.choice(EXTREMES))
    elif kind == "long":
        struct.pack_into(
            "<I", changed, rng.randrange(header - 4), rng.choice(EXTREMES) & 0xFFFFFFFF
        )
    elif kind == "before":  # the length of a name
        while data[at - 1] > 32:  # the architecture's stands in front of many
            at -= 1
        struct.pack_into("<Q", changed, at - 8, rng.choice(EXTREMES))
    elif kind == "after":  # a kind of value, or what a tensor says: dimensions, kind, place
        struct.pack_into("<I", changed, at + length, rng.choice(EXTREMES) & 0xFFFFFFFF)
    elif kind == "value":
        start = at + length + rng.choice((4, 4, 8, 12, 16, 20, 24))
        form = rng.choice(("<Q", "<I", "<f"))
        value = rng.choice(FLOATS if form == "<f" else EXTREMES)
        struct.pack_into(form, changed, start, value & 0xFFFFFFFF if form == "<I" else value)
    elif kind == "text":
        changed[at : at + length] = bytes(rng.choice(b"\0\n\x1b\x7f\xff ./") for _ in range(length))
    else:  # one thing takes the place of another
        other, _ = rng.choice(fields(data))
        changed[at : at + length] = data[other : other + length]
    return bytes(changed)


def read(path):
    """Whether it was read; what is refused says one sentence."""
    try:
        file = open_gguf(path)
        for name, (shape, _) in file.tensors.items():
            assert tuple(file.read(name).shape) == shape
    except CheckpointError as error:
        sentence = str(error)
        assert sentence.isprintable() and str(path) in sentence and len(sentence) < 700, sentence
        return False
    return True


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main(path, rounds):
    path, rounds = Path(path), int(rounds)
    data = path.read_bytes()
    tensors = data.find(b"\x2a" * 64)  # the first tensor's numbers, as the test wrote them
    assert tensors > 0 and read(path)
    before, counts = peak(), [0, 0]
    other = path.with_name("damaged.gguf")
    for n in range(rounds):
        other.write_bytes(damage(data, tensors, random.Random(n)))
        counts[read(other)] += 1
    assert read(path)
    print(*counts, peak() - before)


if __name__ == "__main__":
    main(*sys.argv[1:])
