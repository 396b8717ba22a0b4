"""What a tokenizer.json holds, as this program uses it: its kind, each id's bytes, what is special.

Two kinds of BPE are known. Byte-level (GPT-2): a vocabulary of bytes in an alphabet of their own.
Metaspace (SentencePiece, as Llama 2 has it): a vocabulary of text in which ▁ stands for a blank,
and of 256 bytes for the characters that it lacks. All others are refused by name.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from assistant.errors import CheckpointError
from assistant.text import one_line, quoted

BLANK = "▁"  # U+2581, a blank in a Metaspace vocabulary
IDS_MAX = 1 << 24  # a table of bytes is made for all of them
SPECIAL_MAX = 20_000  # special tokens; the most that are known are some hundreds

Spec: TypeAlias = dict[str, Any]  # a part of tokenizer.json

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_LISTS = ("normalizers", "pretokenizers")  # where a Sequence has its steps
_EXACT = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
_TO_TEXT = {
    "type": "Sequence",
    "decoders": [
        {"type": "Replace", "pattern": {"String": BLANK}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ],
}


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """special: the special tokens, text to id. bytes: those of each id. plain: a tokenizer.json for
    text in which nothing is special; spec: the same one with the special tokens. opens_blank:
    whether a document's first word gets a blank before it. blank: the ids that spell a ▁ which is
    no blank; none in a byte-level one, where it is a character like others."""

    special: dict[str, int]
    bytes: dict[int, bytes]
    plain: str
    spec: str
    opens_blank: bool
    blank: tuple[int, ...]


def read_vocabulary(spec: Spec, path: Path) -> Vocabulary:
    """Of a parsed tokenizer.json. path: what to call it in messages.

    Left out is what would change a text: that a document's first word gets a blank (see
    opens_blank), white space that special tokens swallow, and a normalizer to NFC (Qwen2's;
    llama.cpp has none either, and hardly a text is in another form). An added token of one
    character is not special: DeepSeek-Coder has thirteen, which stand for bytes that no text has.
    Raises CheckpointError for another kind, anything for a broken one.
    """
    model, added = spec["model"], spec["added_tokens"]
    every = model["vocab"] | {token["content"]: token["id"] for token in added}
    if not all(type(id) is int and 0 <= id < IDS_MAX for id in every.values()):
        raise ValueError(f"an id is not a number from 0 to {IDS_MAX - 1}")
    special = {
        token["content"]: token["id"]
        for token in added
        if token.get("special") or len(token["content"]) != 1
    }
    if not all(special) or len(special) > SPECIAL_MAX:
        raise ValueError(f"a special token without text, or more than {SPECIAL_MAX:,} of them")
    space = _metaspace(spec, path)
    to_bytes: Callable[[str], bytes] = _metaspace_bytes if space else _alphabet_bytes
    blank: list[int] = []
    bare = spec | {"truncation": None, "padding": None, "normalizer": None, "post_processor": None}
    if space:
        pre = {"type": "Metaspace", "replacement": BLANK, "prepend_scheme": "never"}
        bare |= {"pre_tokenizer": pre | {"split": space.splits}, "decoder": _TO_TEXT}
        byte_ids = [model["vocab"][f"<0x{byte:02X}>"] for byte in range(256)]
        blank = [byte_ids[byte] for byte in BLANK.encode()]
    model = model | {"dropout": None}
    vocab = {token: id for token, id in model["vocab"].items() if token not in special}
    # Nothing special is in it, so that neither merges nor the unknown token can arrive there.
    plain = bare | {"added_tokens": [], "model": model | {"vocab": vocab, "unk_token": None}}
    tokens = [
        {"id": id, "content": text, "special": True, **_EXACT}
        for text, id in sorted(special.items(), key=lambda each: each[1])
    ]
    return Vocabulary(
        special,
        {id: to_bytes(text) for text, id in every.items()}
        | {id: text.encode() for text, id in special.items()},
        json.dumps(plain),
        json.dumps(bare | {"added_tokens": tokens, "model": model}),
        bool(space and space.opens),
        tuple(blank),
    )


@dataclass(frozen=True, slots=True)
class _Metaspace:
    """splits: whether no token holds blanks between words. opens: Vocabulary.opens_blank."""

    splits: bool
    opens: bool


def _metaspace(spec: Spec, path: Path) -> _Metaspace | None:
    """None for a byte-level BPE. Raises CheckpointError for what is of neither kind."""
    model, pre = spec["model"], _steps(spec.get("pre_tokenizer"))
    normalizers = _steps(spec.get("normalizer"))
    kinds = [step["type"] for step in pre]

    def refuse(what: str) -> CheckpointError:
        return CheckpointError(
            f"The tokenizer file {one_line(path)} is not a byte-level BPE and no BPE with byte "
            f"fallback, the only kinds that are supported: {what}."
        )

    if (kind := model.get("type", "BPE")) != "BPE":
        raise refuse(f"it is of the kind {quoted(kind)}")
    if "ByteLevel" in kinds:
        if others := [step["type"] for step in normalizers if step["type"] != "NFC"]:
            raise refuse(f"it has the normalizer {quoted(others[0])}")
        return None
    if not model.get("byte_fallback"):
        raise refuse("it has no byte fallback, and no pre-tokenizer of the kind 'ByteLevel'")
    prepend = {"type": "Prepend", "prepend": BLANK}
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": BLANK}
    if others := [step["type"] for step in normalizers if step not in (prepend, replace)]:
        raise refuse(f"it has the normalizer {quoted(others[0])}")
    if others := [kind for kind in kinds if kind != "Metaspace"]:
        raise refuse(f"it has the pre-tokenizer {quoted(others[0])}")
    if replace not in normalizers and not pre:
        raise refuse(f"it has no {BLANK} for a blank")
    return _Metaspace(
        splits=any(step.get("split", True) for step in pre),
        opens=prepend in normalizers or any(_opens(step) for step in pre),
    )


def _opens(metaspace: Spec) -> bool:
    """Older files have add_prefix_space for it."""
    known = metaspace.get("prepend_scheme")
    return known != "never" if known else bool(metaspace.get("add_prefix_space", True))


def _steps(part: Spec | None) -> list[Spec]:
    """A normalizer or pre-tokenizer, or those that a sequence of them has."""
    if part is None:
        return []
    if part["type"] != "Sequence":
        return [part]
    return [step for name in _LISTS for each in part.get(name, ()) for step in _steps(each)]


def _byte_alphabet() -> dict[int, int]:
    """The character that stands for each byte in a byte-level vocabulary, and that byte.

    A byte that Latin-1 prints stands for itself; the others follow from U+0100 on (GPT-2).
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {b: b for b in printable} | {256 + n: b for n, b in enumerate(others)}


_ALPHABET = _byte_alphabet()


def _alphabet_bytes(token: str) -> bytes:
    try:
        return token.translate(_ALPHABET).encode("latin-1")
    except UnicodeEncodeError:  # not in the alphabet: means itself
        return token.encode()


def _metaspace_bytes(token: str) -> bytes:
    if byte := _BYTE.fullmatch(token):
        return bytes.fromhex(byte[1])
    return token.replace(BLANK, " ").encode()
