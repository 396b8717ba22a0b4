"""Text to ids and back, straight from a checkpoint's tokenizer.json.

Knows byte-level BPE and which ids are special; knows no prompts, no roles and no models. Two
tokenizers are built from the one file: the trusted one matches special tokens, the plain one has
never heard of them, so that no text can spell its way to one. Decoding goes through a table of
each id's bytes, which costs the same for every token, however long the reply has become.
"""

import codecs
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from assistant.engine.chat_files import read_chat
from assistant.engine.files import broken_file, read_json
from assistant.engine.protocol import ChatFiles
from assistant.errors import CheckpointError
from assistant.text import replace_surrogates

_END_OF_TEXT = "<|endoftext|>"
IDS_MAX = 1 << 24  # a table of bytes is made for all of them
_PROBE = "Aé 1\n\t日"  # letter case, blanks, digits, 1 to 3 bytes: what other kinds do not return


def load_tokenizer(folder: Path) -> "BPETokenizer":
    """The one of the checkpoint in `folder`. Raises CheckpointError."""
    path = folder / "tokenizer.json"
    spec = read_json(path)
    if spec is None:
        raise CheckpointError(f"The checkpoint has no tokenizer: {path} does not exist.")
    try:
        spec |= {"truncation": None, "padding": None}
        special = {token["content"]: token["id"] for token in spec["added_tokens"]}
        ids = [*special.values(), *spec["model"]["vocab"].values()]
        if not all(type(id) is int and 0 <= id < IDS_MAX for id in ids):
            raise ValueError(f"an id is not a number from 0 to {IDS_MAX - 1}")
        tokenizer = BPETokenizer(spec, special, _eos_id(folder, special, path))
        exact = tokenizer.decode(tokenizer.encode(_PROBE)) == _PROBE
    except CheckpointError:
        raise
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # the library's panics are no Exception; others are anything
        raise broken_file(path, error) from error
    if not exact:
        raise CheckpointError(
            f"The tokenizer file {path} is not a byte-level BPE, the only kind that is supported."
        )
    tokenizer.chat = read_chat(folder)
    return tokenizer


class BPETokenizer:
    """A byte-level BPE tokenizer; see the Tokenizer protocol in assistant/engine/protocol.py.

    spec: the parsed tokenizer.json. special: its added tokens, text to id. eos_id: ends a document.
    """

    chat: ChatFiles | None = None

    def __init__(self, spec: dict[str, Any], special: dict[str, int], eos_id: int) -> None:
        self.special = special
        self.eos_id = eos_id
        self._trusted = Tokenizer.from_str(json.dumps(spec))
        self._plain = Tokenizer.from_str(json.dumps(_without_special(spec, special)))
        self._bytes = _bytes_table(self._trusted.get_vocab(), special)
        self._size = max(self._bytes) + 1

    def __len__(self) -> int:
        return self._size

    def encode(self, text: str, *, trusted: bool = False) -> list[int]:
        """Ids of `text`. Only trusted text can yield a special token's id.

        A lone surrogate, which UTF-8 cannot carry, is read as U+FFFD.
        """
        tokenizer = self._trusted if trusted else self._plain
        text = replace_surrogates(text)
        # A batch of one: unlike encode(), encode_batch() lets other threads run meanwhile.
        ids: list[int] = tokenizer.encode_batch([text], add_special_tokens=False)[0].ids
        return ids

    def spec(self) -> str:
        """As JSON: what tokenizer.json holds."""
        return self._trusted.to_str()

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`: special tokens as they are spelt, invalid UTF-8 as U+FFFD, and nothing
        for an id that has no token (a model may have more rows than its tokenizer has tokens)."""
        return self._joined(ids).decode("utf-8", errors="replace")

    def decoder(self) -> "Decoder":
        """A new incremental decoder for one reply."""
        return Decoder(self._joined)

    def texts(self, ids: Sequence[int]) -> list[str]:
        """What each of `ids` adds to the text: nothing while a character is unfinished. Together
        they are decode(ids)."""
        decoder = self.decoder()
        texts = [decoder.feed([id]) for id in ids]
        return [*texts[:-1], texts[-1] + decoder.flush()] if texts else []

    def _joined(self, ids: Sequence[int]) -> bytes:
        return b"".join([self._bytes.get(id, b"") for id in ids])


class Decoder:
    """Ids in, whole characters out; all that it gave, joined, equals decode() of all the ids."""

    def __init__(self, joined: Callable[[Sequence[int]], bytes]) -> None:
        self._joined = joined
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, ids: Sequence[int]) -> str:
        """The characters that `ids` complete; empty while one is unfinished."""
        return self._utf8.decode(self._joined(ids))

    def flush(self) -> str:
        """What is left at the end: U+FFFD for a character that was never finished."""
        return self._utf8.decode(b"", final=True)


def _without_special(spec: dict[str, Any], special: Mapping[str, int]) -> dict[str, Any]:
    """`spec` for text that nobody vouches for: no special token to match, and none in the
    vocabulary either, so that neither merges nor the unknown token can arrive at one."""
    vocab = {token: id for token, id in spec["model"]["vocab"].items() if token not in special}
    return spec | {"added_tokens": [], "model": spec["model"] | {"vocab": vocab, "unk_token": None}}


def _bytes_table(vocab: Mapping[str, int], special: Mapping[str, int]) -> dict[int, bytes]:
    """Each id's bytes."""
    latin1 = {ord(char): byte for char, byte in _byte_alphabet().items()}
    table = {}
    for token, id in vocab.items():
        try:
            table[id] = token.translate(latin1).encode("latin-1")
        except UnicodeEncodeError:  # not in the byte-level alphabet: means itself
            table[id] = token.encode()
    return table | {id: text.encode() for text, id in special.items()}


def _byte_alphabet() -> dict[str, int]:
    """The character that stands for each byte in a byte-level vocabulary, and that byte.

    A byte that Latin-1 prints stands for itself; the others follow from U+0100 on (GPT-2).
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(b): b for b in printable} | {chr(256 + n): b for n, b in enumerate(others)}


def _eos_id(folder: Path, special: Mapping[str, int], path: Path) -> int:
    token = (read_json(folder / "tokenizer_config.json") or {}).get("eos_token")
    if isinstance(token, dict):  # as older versions of transformers saved it
        token = token.get("content")
    generation_id = (read_json(folder / "generation_config.json") or {}).get("eos_token_id")
    if isinstance(token, str) and token in special:
        return special[token]
    for known in special.values():
        if known == generation_id:
            return known
    if _END_OF_TEXT in special:
        return special[_END_OF_TEXT]
    raise CheckpointError(f"The tokenizer file {path} has no token that ends a document.")
