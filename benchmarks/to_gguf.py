"""A GGUF file, which llama.cpp reads, from the folder of a GPTBigCode checkpoint or another file.

Runs in the peers' environment: no torch there, and nothing of the assistant.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np

_ARCHITECTURE = gguf.Keys.General.ARCHITECTURE


def write_gguf(folder: Path, path: Path, kind: str) -> tuple[int, int]:
    """Writes the checkpoint in `folder` as GGUF: matrices as `kind` (f32 or q8_0), the rest f32.
    Gives the bytes of the matrices that a decode step reads, and of a token's KV in float16.

    Positions are looked up, not multiplied, and stay f32.
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
    _add_vocabulary(writer, folder, config)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.STARCODER, config["n_layer"])
    streamed, quantised = 0, gguf.GGMLQuantizationType[kind.upper()]
    for file in sorted(folder.glob("*.safetensors")):
        for name, data in _read_safetensors(file):
            if name == "lm_head.weight":  # tied to wte
                continue
            matrix = data.ndim == 2 and "wpe" not in name
            as_type = quantised if matrix else gguf.GGMLQuantizationType.F32
            raw = gguf.quantize(data, as_type)
            streamed += raw.nbytes * matrix
            llama_name = names.get_name(name, (".weight", ".bias"))
            writer.add_tensor(llama_name, raw, raw_dtype=as_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return streamed, 4 * config["n_layer"] * config["n_embd"] // config["n_head"]


def requantise(file: Path, path: Path, kind: str) -> None:
    """The GGUF `file` again, as `path`: each matrix made dense in float32 (gguf.dequantize), then
    `kind` (gguf.quantize); the rest in f32, the keys as they are but general.file_type."""
    reader = gguf.GGUFReader(file)
    writer = gguf.GGUFWriter(path, reader.fields[_ARCHITECTURE].contents())
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name in (_ARCHITECTURE, "general.file_type"):
            continue
        items = field.types[1] if len(field.types) > 1 else None
        writer.add_key_value(name, field.contents(), field.types[0], items)
    quantised = gguf.GGMLQuantizationType[kind.upper()]
    for tensor in reader.tensors:
        dense = gguf.dequantize(tensor.data, tensor.tensor_type)
        as_type = quantised if dense.ndim == 2 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(tensor.name, gguf.quantize(dense, as_type), raw_dtype=as_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_vocabulary(writer: gguf.GGUFWriter, folder: Path, config: dict) -> None:
    """The tokens, since llama.cpp's server writes text. A model may have more rows than its
    tokenizer has tokens: the others get a name of their own."""
    spec = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    names = [f"[unused {n}]" for n in range(config["vocab_size"])]
    types = [gguf.TokenType.UNUSED] * len(names)
    for name, number in spec["model"]["vocab"].items():
        names[number], types[number] = name, gguf.TokenType.NORMAL
    for token in spec["added_tokens"]:
        names[token["id"]], types[token["id"]] = token["content"], gguf.TokenType.CONTROL
    merges = [m if isinstance(m, str) else " ".join(m) for m in spec["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("starcoder")
    writer.add_token_list(names)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])


def _read_safetensors(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """(name, float32 array) of a file of F32 or BF16: a length, a JSON header, raw bytes."""
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
