"""A model in one GGUF file: its config, tensors and tokenizer under transformers' names."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GgufTokenizer:
    """What the file says of its tokenizer, as it stands there: lengths and kinds of value are
    checked, nothing is made of them. Each token's text, score (SentencePiece's alone) and type
    (gguf.TokenType) stand at its id; a merge is two of them with a blank between.
    """

    model: str  # "gpt2" is byte-level BPE, "llama" SentencePiece's
    pre: str  # llama.cpp's name of the pre-tokenizer; empty where the file has none
    tokens: list[str]
    scores: list[float] | None
    types: list[int]
    merges: list[str] | None
    bos_id: int | None
    eos_id: int | None
    eot_id: int | None  # what ends a turn, where that is not the end of a text
    add_bos: bool
    chat_template: str | None
