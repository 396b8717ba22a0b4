"""A GGUF file's tokenizer as a tokenizer.json, which such a file has not.

Tokens get the ids that llama.cpp's give them (src/llama-vocab.cpp there), but for what this program
does on purpose: special tokens are found in trusted text alone. So are a file's user-defined ones,
which llama.cpp finds in any text: they are what a tokenizer.json's added tokens become.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from assistant.engine.checkpoint.gguf import GgufTokenizer
from assistant.engine.protocol import ChatFiles
from assistant.engine.tokenizer import BPETokenizer, make_tokenizer
from assistant.engine.vocabulary import BLANK, Spec
from assistant.errors import CheckpointError
from assistant.text import one_line, quoted

_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED = 1, 2, 3, 4  # gguf.TokenType
MERGES_MAX = 2_000_000  # the largest vocabularies that are known, of 256,000 tokens, have 600,000
_MERGED_CHARS_MAX = 128  # of a token that merges lead to; SentencePiece's own have 16 at most

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_ENGLISH = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
_LINES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_LLAMA3 = rf"{_ENGLISH}|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_LINES}"
_QWEN2 = rf"{_ENGLISH}|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_LINES}"
_SEED = rf"{_ENGLISH}|\p{{N}}| ?[^\s\p{{L}}\p{{N}}\r\n]+|{_LINES}"
_DIGITS = (r"\p{N}", _GPT2)
# Where a text is cut, one pattern after the other, by llama.cpp's name of the pre-tokenizer.
_CUTS: dict[str, tuple[str, ...]] = {
    "default": (r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", "[0-9][0-9][0-9]"),
    **dict.fromkeys(("gpt-2", "mellum", "olmo"), (_GPT2,)),
    **dict.fromkeys(("starcoder", "refact", "smollm", "codeshell"), _DIGITS),
    **dict.fromkeys(("llama-bpe", "llama3", "llama-v3"), (_LLAMA3,)),
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen"), (_QWEN2,)),
    "seed-coder": (_SEED,),
    "deepseek-coder": (
        r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+", r"\p{N}",
    ),
}  # fmt: skip
_WHOLE_WORDS = ("llama-bpe", "llama3", "llama-v3")  # a word that is a token is not merged together


def tokenizer_from_gguf(found: GgufTokenizer, path: Path) -> BPETokenizer:
    """path: the file, for what is said of it. Raises CheckpointError."""
    named = {"eos_token": found.eos_id, "bos_token": found.bos_id}
    config = {name: found.tokens[id] for name, id in named.items() if id is not None}
    ends = [id for id in (found.eos_id, found.eot_id) if id is not None]
    spec = spec_from_gguf(found, path)
    tokenizer = make_tokenizer(spec, path, config, {"eos_token_id": ends})
    if found.chat_template:
        tokenizer.chat = ChatFiles(found.chat_template, config)
    return tokenizer


def spec_from_gguf(found: GgufTokenizer, path: Path) -> Spec:
    """A tokenizer.json, parsed. Raises CheckpointError for kinds that are not supported."""
    if found.model not in ("gpt2", "llama"):
        raise CheckpointError(
            f"The file {one_line(path)} has a tokenizer of the kind {quoted(found.model)}; "
            "gpt2 and llama are supported."
        )
    ends = {found.bos_id, found.eos_id, found.eot_id}
    added = [
        {"id": id, "content": text, "special": kind != _USER_DEFINED or id in ends}
        for id, (text, kind) in enumerate(zip(found.tokens, found.types, strict=True))
        if kind in (_UNKNOWN, _CONTROL, _USER_DEFINED) or id in ends
    ]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    spec = {
        "version": "1.0",
        "added_tokens": [token | flags for token in added],
        "post_processor": _bos(found),
    }
    vocab = {text: id for id, text in enumerate(found.tokens)}
    model: Spec = {"type": "BPE", "vocab": vocab, "dropout": None, "unk_token": None}
    if found.model == "llama":
        return spec | _sentencepiece(model, found, path)
    return spec | _byte_level(model, found, path)


def _byte_level(model: Spec, found: GgufTokenizer, path: Path) -> Spec:
    pre = found.pre or "default"
    if pre not in _CUTS:
        raise CheckpointError(
            f"The file {one_line(path)} cuts text as {quoted(pre)} does, which is not supported; "
            f"{', '.join(_CUTS)} are."
        )
    if found.merges is None:
        raise CheckpointError(f"The file {one_line(path)} has no merges for its tokenizer.")
    cuts = [
        {"type": "Split", "pattern": {"Regex": cut}, "behavior": "Isolated", "invert": False}
        for cut in _CUTS[pre]
    ]
    bytes_of = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    return {
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [*cuts, bytes_of | {"use_regex": False}],
        },
        "decoder": bytes_of | {"use_regex": True},
        "model": model
        | {
            "merges": [merge.split(" ") for merge in found.merges],
            "ignore_merges": pre in _WHOLE_WORDS,
        },
    }


def _sentencepiece(model: Spec, found: GgufTokenizer, path: Path) -> Spec:
    """SentencePiece merges whatever two neighbours make the best token of all; merges in the order
    of the scores do the same."""
    return {
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": BLANK},
                {"type": "Replace", "pattern": {"String": " "}, "content": BLANK},
            ],
        },
        "pre_tokenizer": None,
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": BLANK}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        },
        "model": model | {"byte_fallback": True, "merges": [*_merges(found, path)]},
    }


def _merges(found: GgufTokenizer, path: Path) -> Iterator[tuple[str, str]]:
    """All pairs of tokens that make a third, best first; alike ones with the longer left first.
    Raises CheckpointError for too many."""
    scores = found.scores or [0.0] * len(found.tokens)
    kinds = zip(found.tokens, found.types, scores, strict=True)
    normal = {text: score for text, kind, score in kinds if kind == _NORMAL}
    every = (
        (-score, -at, text)
        for text, score in normal.items()
        if len(text) <= _MERGED_CHARS_MAX
        for at in range(1, len(text))
        if text[:at] in normal and text[at:] in normal
    )
    pairs = [*islice(every, MERGES_MAX + 1)]
    if len(pairs) > MERGES_MAX:
        raise CheckpointError(
            f"The file {one_line(path)} has a tokenizer with more than {MERGES_MAX:,} merges, the "
            "most that are read: choose another."
        )
    for _, at, text in sorted(pairs):
        yield text[:-at], text[-at:]


def _bos(found: GgufTokenizer) -> dict[str, Any] | None:
    if not found.add_bos or found.bos_id is None:
        return None
    text = found.tokens[found.bos_id]
    single = [
        {"SpecialToken": {"id": text, "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
    ]
    known = {text: {"id": text, "ids": [found.bos_id], "tokens": [text]}}
    return {
        "type": "TemplateProcessing", "single": single, "pair": single, "special_tokens": known,
    }  # fmt: skip
