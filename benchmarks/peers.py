"""llama.cpp, in an interpreter of its own: a GGUF file from a GPTBigCode folder, and its timings.

    .venv-peers/bin/python benchmarks/peers.py CHECKPOINT --type q8_0

Writes its name and the bytes that a decode step reads as a line of JSON (see contenders.py); then
reads one object a line from stdin, `{"prompts": [[ids], ...], "new_tokens": n}`, decodes all
prompts together, greedily, each in a sequence of its own, and writes one line to stdout:
`{"ids": [[...], ...], "times": [[...], ...]}`, the new tokens and the seconds from the start until
each. Imports nothing of the assistant, and no torch.
"""

import argparse
import ctypes
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import gguf
import llama_cpp as llama
import numpy as np

BATCH = 512  # llama.cpp's own default: tokens of a prompt computed at once
ROOM = 256  # positions beyond those asked for, so that a follow-up finds its sequence again
NAMES = {  # GPTBigCode's names to llama.cpp's
    "transformer.wte": "token_embd",
    "transformer.wpe": "position_embd",
    "transformer.ln_f": "output_norm",
    "ln_1": "attn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "ln_2": "ffn_norm",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}


def read_safetensors(path):
    """Yields (name, float32 array) of a file of F32 or BF16: a length, a JSON header, raw bytes."""
    raw = np.memmap(path, np.uint8, "r")
    end = 8 + int(raw[:8].view("<u8")[0])
    header = json.loads(bytes(raw[8:end]))
    header.pop("__metadata__", None)
    for name, entry in header.items():
        start, stop = (end + offset for offset in entry["data_offsets"])
        data = np.frombuffer(
            raw[start:stop].tobytes(), {"F32": "<f4", "BF16": "<u2"}[entry["dtype"]]
        )
        if entry["dtype"] == "BF16":  # the upper half of a float32
            data = (data.astype(np.uint32) << 16).view(np.float32)
        yield name, data.reshape(entry["shape"])


def llama_name(name):
    module, _, kind = name.rpartition(".")
    if module in NAMES:
        return f"{NAMES[module]}.{kind}"
    layer, _, part = module.removeprefix("transformer.h.").partition(".")
    return f"blk.{layer}.{NAMES[part]}.{kind}"


def write_gguf(folder, path, kind):
    """Writes the checkpoint in `folder` as GGUF: matrices as `kind` (f32 or q8_0), the rest f32.
    Gives the bytes of the matrices that a decode step reads, and of a token's KV in float16.

    Positions are looked up, not multiplied, and stay f32. No vocabulary: ids go in, ids come out.
    """
    config = json.loads((folder / "config.json").read_text())
    writer = gguf.GGUFWriter(path, "starcoder")
    writer.add_context_length(config["n_positions"])
    writer.add_embedding_length(config["n_embd"])
    writer.add_feed_forward_length(config.get("n_inner") or 4 * config["n_embd"])
    writer.add_block_count(config["n_layer"])
    writer.add_head_count(config["n_head"])
    writer.add_head_count_kv(1)
    writer.add_layer_norm_eps(config["layer_norm_epsilon"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("no_vocab")
    streamed, quantised = 0, gguf.GGMLQuantizationType[kind.upper()]
    for file in sorted(folder.glob("*.safetensors")):
        for name, data in read_safetensors(file):
            if name == "lm_head.weight":  # tied to wte
                continue
            matrix = data.ndim == 2 and "wpe" not in name
            as_type = quantised if matrix else gguf.GGMLQuantizationType.F32
            raw = gguf.quantize(data, as_type)
            streamed += raw.nbytes * matrix
            writer.add_tensor(llama_name(name), raw, raw_dtype=as_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return streamed, 4 * config["n_layer"] * config["n_embd"] // config["n_head"]


class Sequences:
    """A context with room for `count` sequences of `window` tokens, and what each holds."""

    def __init__(self, model, count, window, threads):
        parameters = llama.llama_context_default_params()
        parameters.n_ctx = count * window
        parameters.n_seq_max = count
        parameters.n_batch = parameters.n_ubatch = max(BATCH, count)
        parameters.n_threads = parameters.n_threads_batch = threads
        self.context = llama.llama_init_from_model(model, parameters)
        if not self.context:
            raise SystemExit(f"llama.cpp has no room for {count} sequences of {window} tokens.")
        self.memory = llama.llama_get_memory(self.context)
        self.batch = llama.llama_batch_init(max(BATCH, count), 0, 1)
        self.vocabulary = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))
        self.held = [[] for _ in range(count)]
        self.shape = (count, window)

    def close(self):
        llama.llama_batch_free(self.batch)
        llama.llama_free(self.context)

    def compute(self, rows):
        """One pass over `rows` of (sequence, token, are its logits wanted); those logits."""
        self.batch.n_tokens = len(rows)
        for i, (sequence, token, wanted) in enumerate(rows):
            self.batch.token[i] = token
            self.batch.pos[i] = len(self.held[sequence])
            self.batch.n_seq_id[i] = 1
            self.batch.seq_id[i][0] = sequence
            self.batch.logits[i] = wanted
            self.held[sequence].append(token)
        if llama.llama_decode(self.context, self.batch):
            raise SystemExit("llama.cpp could not compute a batch.")
        wanted = [i for i, row in enumerate(rows) if row[2]]
        pointers = [llama.llama_get_logits_ith(self.context, i) for i in wanted]
        return [np.ctypeslib.as_array(p, (self.vocabulary,)) for p in pointers]

    def prefill(self, sequence, ids):
        """The logits behind `ids`. What the sequence holds of them already is not computed again,
        as llama.cpp's own server does it."""
        held, keep = self.held[sequence], 0
        while keep < min(len(held), len(ids) - 1) and held[keep] == ids[keep]:
            keep += 1
        llama.llama_memory_seq_rm(self.memory, sequence, keep, -1)
        del held[keep:]
        for start in range(keep, len(ids), BATCH):
            part = ids[start : start + BATCH]
            last = len(ids) - start - 1
            logits = self.compute([(sequence, token, i == last) for i, token in enumerate(part)])
        return logits[0]


def generate(sequences, prompts, new_tokens):
    """Greedy decoding of all prompts together: their new ids, and the seconds until each."""
    started = time.perf_counter()
    ids, times = [], []
    for sequence, prompt in enumerate(prompts):
        ids.append([int(sequences.prefill(sequence, prompt).argmax())])
        times.append([time.perf_counter() - started])
    for _ in range(new_tokens - 1):
        logits = sequences.compute([(i, row[-1], True) for i, row in enumerate(ids)])
        for row, scores in zip(ids, logits, strict=True):
            row.append(int(scores.argmax()))
        for row in times:
            row.append(time.perf_counter() - started)
    return {"ids": ids, "times": times}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--type", choices=("f32", "q8_0"), default="q8_0")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    arguments = parser.parse_args()
    quiet = llama.llama_log_callback(lambda *_: None)
    llama.llama_log_set(quiet, ctypes.c_void_p(0))
    llama.llama_backend_init()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.gguf")
        weight_bytes, kv_bytes = write_gguf(arguments.checkpoint, path, arguments.type)
        model = llama.llama_model_load_from_file(
            str(path).encode(), llama.llama_model_default_params()
        )
    if not model:
        raise SystemExit("llama.cpp did not read the file.")
    facts = {"weight_bytes": weight_bytes, "kv_bytes": kv_bytes}
    facts |= {"name": f"llama.cpp {arguments.type}", "reuses": True}
    print(json.dumps(facts), flush=True)
    sequences, count, window = None, 0, 0
    for line in sys.stdin:
        request = json.loads(line)
        prompts, new_tokens = request["prompts"], request["new_tokens"]
        longest = max(map(len, prompts)) + new_tokens
        if len(prompts) != count or longest > window:
            if sequences:
                sequences.close()
            count, window = len(prompts), longest + ROOM
            sequences = Sequences(model, count, window, arguments.threads)
        print(json.dumps(generate(sequences, prompts, new_tokens)), flush=True)


if __name__ == "__main__":
    main()
