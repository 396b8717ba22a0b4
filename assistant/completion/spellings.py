"""The fill-in-the-middle tokens that models have, and the orders that they were trained on.

A model is known by its tokenizer, which has the tokens of one of SPELLINGS. An order is written in
letters: P, S and M are the tokens before the prefix, the suffix and the middle, b and a the text
before and after the hole. Where a model was trained on an order is told by:

- StarCoder, StarCoder2, Granite Code: PSM and SPM, the latter with the prefix token first (Bavarian
  et al., arXiv:2207.14255; Li et al., arXiv:2305.06161; Mishra et al., arXiv:2405.04324).
- Mellum: its card at huggingface.co/JetBrains/Mellum-4b-base and arXiv:2510.05788, SPM alone. It
  has StarCoder's tokens, and is told by those of its turns.
- SantaCoder: its card at huggingface.co/bigcode/santacoder, PSM; of another order it says nothing.
- Qwen2.5-Coder: its README at github.com/QwenLM/Qwen2.5-Coder, PSM. CodeGemma has the
  same tokens: ai.google.dev/gemma/docs/codegemma/prompt-structure, PSM.
- DeepSeek-Coder: its README at github.com/deepseek-ai/DeepSeek-Coder, PSM.
- Code Llama: infilling_prompt_tokens() in github.com/meta-llama/codellama, llama/generation.py. The
  prefix is encoded as what a document begins with, so that its first word has a blank before it
  where the tokenizer adds one; the suffix is not.
- Seed-Coder: arXiv:2506.03524, SPM alone.
"""

from dataclasses import dataclass

from assistant.engine.protocol import Tokenizer

ORDERS = {"PSM": "the prefix", "SPM": "the suffix"}  # what the model reads first


@dataclass(frozen=True, slots=True)
class Spelling:
    """prefix, suffix, middle: the tokens. orders: by name, in letters; the first one is used unless
    another is asked for. told_by: a further token that such a model has."""

    prefix: str
    suffix: str
    middle: str
    orders: dict[str, str]
    told_by: str = ""

    @property
    def tokens(self) -> tuple[str, str, str]:
        return self.prefix, self.suffix, self.middle

    def prompt(self, before: str, after: str, order: str, tokenizer: Tokenizer) -> list[int]:
        """A prompt's ids, with what stands before a document. In neither text can a special token
        arise."""
        tokens = zip("PSM", self.tokens, strict=True)
        parts = {letter: [tokenizer.special[text]] for letter, text in tokens}
        parts |= {"b": tokenizer.encode(before, start=True), "a": tokenizer.encode(after)}
        bos = [] if tokenizer.bos_id is None else [tokenizer.bos_id]
        return bos + [token for letter in self.orders[order] for token in parts[letter]]


_PSM, _SPM, _SUFFIX_FIRST = {"PSM": "PbSaM"}, {"SPM": "PSaMb"}, {"SPM": "SaPbM"}
SPELLINGS = (
    Spelling("<fim_prefix>", "<fim_suffix>", "<fim_middle>", _SUFFIX_FIRST, "</assistant>"),
    Spelling("<fim_prefix>", "<fim_suffix>", "<fim_middle>", _PSM | _SPM),
    Spelling("<fim-prefix>", "<fim-suffix>", "<fim-middle>", _PSM),
    Spelling("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", _PSM),
    Spelling("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>", _PSM),
    Spelling("▁<PRE>", "▁<SUF>", "▁<MID>", _PSM | _SPM),
    Spelling("<[fim-prefix]>", "<[fim-suffix]>", "<[fim-middle]>", _SUFFIX_FIRST),
)


def find_spelling(tokenizer: Tokenizer) -> Spelling | None:
    """That of the tokenizer's model, None if it has none that is known."""
    for spelling in SPELLINGS:
        if {*spelling.tokens, *filter(None, [spelling.told_by])} <= tokenizer.special.keys():
            return spelling
    return None


def missing_tokens(tokenizer: Tokenizer) -> str | None:
    """None, or the sentence why the model cannot fill in."""
    if find_spelling(tokenizer):
        return None
    return (
        "This model cannot fill in the middle: its tokenizer lacks <fim_prefix>, <fim_suffix>, "
        "<fim_middle>, and all other tokens for it that are known."
    )


def missing_order(tokenizer: Tokenizer) -> str | None:
    """None, or the sentence that says which order the model does not know."""
    spelling = find_spelling(tokenizer)
    for order, first in ORDERS.items():
        if spelling and order not in spelling.orders:
            return (
                f"This model was not trained to fill in with {first} first ({order}); the order "
                f"must be {', '.join(spelling.orders)}."
            )
    return None
