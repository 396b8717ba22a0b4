"""The checkpoint's tokenizer: byte-level BPE as StarCoder's, of a smaller vocabulary.

Knows how text becomes ids, in the two ways that a prompt needs: trusted text (the template's) and
untrusted text (everything else), from which no special token can arise.
"""

import json
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIAL = (  # ids 0 to 18, in StarCoder's order
    "<|endoftext|>",
    *("<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>"),
    *("<filename>", "<gh_stars>", "<issue_start>", "<issue_comment>", "<issue_closed>"),
    *("<jupyter_start>", "<jupyter_text>", "<jupyter_code>", "<jupyter_output>", "<empty_output>"),
    *("<commit_before>", "<commit_msg>", "<commit_after>", "<reponame>"),
)
END, FIM_PREFIX, FIM_MIDDLE, FIM_SUFFIX = 0, 1, 2, 3


def train_tokenizer(texts, size):
    """A Tokenizer with `size` ids: single digits, then GPT-2's byte-level pieces, no prefix space.

    The pre-tokenizer is StarCoder's; so are the special tokens.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


class Encoder:
    """Text to ids with a trained Tokenizer."""

    def __init__(self, tokenizer):
        self._trusted = Tokenizer.from_str(tokenizer.to_str())
        self._plain = Tokenizer.from_str(tokenizer.to_str())
        self._plain.encode_special_tokens = True  # "<fim_middle>" is read as any other text

    def trusted(self, text):
        return self._trusted.encode(text, add_special_tokens=False).ids

    def plain(self, text):
        return self._plain.encode(text, add_special_tokens=False).ids

    def decode(self, ids):
        return self._trusted.decode(list(ids), skip_special_tokens=False)


def save_tokenizer(tokenizer, folder):
    """tokenizer.json and tokenizer_config.json, so that AutoTokenizer keeps the digit rule."""
    folder = Path(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_prefix_space": False,
        "bos_token": SPECIAL[END],
        "eos_token": SPECIAL[END],
        "unk_token": SPECIAL[END],
        "additional_special_tokens": list(SPECIAL),
        "clean_up_tokenization_spaces": False,
        "model_max_length": 8192,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")
