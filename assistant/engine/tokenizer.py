"""Text to ids and back, straight from a checkpoint's tokenizer.json.

Knows text, ids and which of them are special; knows no prompts, no roles and no models. Special
tokens are looked for here, in trusted text alone: the library's tokenizer has never heard of them,
so that no text can spell its way to one. Decoding goes through a table of each id's bytes, which
costs the same for every token, however long the reply has become.

The blank before the first word. A tokenizer made with SentencePiece puts a ▁ before a text, so that
its first word is the token that it is behind a blank. A prompt is made of texts that are encoded
apart, and a reply goes on behind it: a blank at each joint would be one that nobody wrote. So
encode() adds none, and the ids of texts, one behind the other, are those of a text that is all of
them; encode(start=True) adds it to what a document begins with, as the model saw it in training.
There it is added to each text, as SentencePiece does; transformers leaves it out of one that begins
with a blank where the file says Metaspace, so that such a text cannot be told from the other.
"""

import codecs
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from assistant.engine.chat_files import read_chat
from assistant.engine.files import broken_file, read_json
from assistant.engine.protocol import ChatFiles
from assistant.engine.vocabulary import BLANK, Spec, Vocabulary, read_vocabulary
from assistant.errors import CheckpointError
from assistant.text import one_line, replace_surrogates

_END_OF_TEXT = "<|endoftext|>"
_PROBE = "Aé 1\n\t日 <0x0A>▁"  # cases, blanks, digits, 1 to 3 bytes: what other kinds do not return


def load_tokenizer(folder: Path) -> "BPETokenizer":
    """The one of the checkpoint in `folder`. Raises CheckpointError."""
    path = folder / "tokenizer.json"
    spec = read_json(path)
    if spec is None:
        raise CheckpointError(f"The checkpoint has no tokenizer: {one_line(path)} does not exist.")
    config = read_json(folder / "tokenizer_config.json") or {}
    generation = read_json(folder / "generation_config.json") or {}
    tokenizer = make_tokenizer(spec, path, config, generation)
    tokenizer.chat = read_chat(folder)
    return tokenizer


def make_tokenizer(
    spec: Spec, path: Path, config: Mapping[str, Any], generation: Mapping[str, Any]
) -> "BPETokenizer":
    """spec: a parsed tokenizer.json. path: where it is from. config, generation: what
    tokenizer_config.json and generation_config.json hold. Raises CheckpointError."""
    try:
        vocabulary = read_vocabulary(spec, path)
        special = vocabulary.special
        listed = generation.get("eos_token_id")
        listed = listed if isinstance(listed, list) else [listed]
        ends = [id for id in listed if type(id) is int and id in special.values()]
        eos_id = _eos_id(special, _token(config, "eos_token"), ends)
        if eos_id is None:
            raise CheckpointError(
                f"The tokenizer file {one_line(path)} has no token that ends a document."
            )
        tokenizer = BPETokenizer(
            vocabulary,
            eos_id,
            bos_id=_bos_id(special, config, spec.get("post_processor")),
            end_ids=frozenset({eos_id, *ends}),
        )
        exact = tokenizer.decode(tokenizer.encode(_PROBE)) == _PROBE
    except CheckpointError:
        raise
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # the library's panics are no Exception; others are anything
        raise broken_file(path, error) from error
    if not exact:
        raise CheckpointError(
            f"The tokenizer file {one_line(path)} is not a byte-level BPE and no BPE with byte "
            "fallback, the only kinds that are supported: a text does not come back from it as it "
            "was."
        )
    return tokenizer


class BPETokenizer:
    """See the Tokenizer protocol in assistant/engine/protocol.py."""

    chat: ChatFiles | None = None

    def __init__(
        self,
        vocabulary: Vocabulary,
        eos_id: int,
        *,
        bos_id: int | None = None,
        end_ids: frozenset[int] | None = None,
    ) -> None:
        self.special = vocabulary.special
        self.eos_id, self.bos_id = eos_id, bos_id
        self.end_ids = end_ids or frozenset({eos_id})
        self._opens_blank, self._blank = vocabulary.opens_blank, vocabulary.blank
        self._bytes, self._spec = vocabulary.bytes, vocabulary.spec
        self._tokenizer = Tokenizer.from_str(vocabulary.plain)
        self._ids: dict[str, tuple[int, ...]] = {t: (id,) for t, id in self.special.items()}
        if self._blank:
            self._ids.setdefault(BLANK, self._blank)
        self._trusted = any_of(self._ids)
        self._plain = any_of([BLANK] if self._blank else [])
        self._size = max(self._bytes) + 1

    def __len__(self) -> int:
        return self._size

    def encode(self, text: str, *, trusted: bool = False, start: bool = False) -> list[int]:
        """Ids of `text`. Only trusted text can yield a special token's id. start: a document begins
        with it; see the module's docstring. A lone surrogate, which UTF-8 cannot carry, is read as
        U+FFFD."""
        text = replace_surrogates(text)
        # Text, what has ids of its own, text, ...
        parts = (self._trusted if trusted else self._plain).split(text)
        if start and self._opens_blank:
            opened = parts[0] == "" and self._ids.get("".join(parts[1:2])) == (self.bos_id,)
            at = 2 if opened else 0
            if parts[at] or parts[at + 1 : at + 2] == [BLANK]:
                parts[at] = " " + parts[at]
        # Unlike encode(), encode_batch() lets other threads run meanwhile.
        found = self._tokenizer.encode_batch(parts[::2], add_special_tokens=False)
        ids: list[int] = found[0].ids
        for spelt, behind in zip(parts[1::2], found[1:], strict=True):
            ids += [*self._own(spelt, trusted), *behind.ids]
        return ids

    def spec(self) -> str:
        """As JSON: a tokenizer.json, with special tokens, that adds no blank."""
        return self._spec

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`: special tokens as they are spelt, invalid UTF-8 as U+FFFD, and nothing
        for an id that has no token (a model may have more rows than its tokenizer has tokens)."""
        return self._joined(ids).decode("utf-8", errors="replace")

    def decoder(self) -> "Decoder":
        """A new incremental decoder for one reply."""
        return Decoder(self._joined)

    def texts(self, ids: Sequence[int], *, start: bool = False) -> list[str]:
        """What each of `ids` adds to the text: nothing while a character is unfinished. Together
        they are decode(ids). start: a document begins with them; bos_id and the blank before the
        first word add nothing then, and together they are the text that the document had."""
        decoder = self.decoder()
        texts = [decoder.feed([id]) for id in ids]
        if texts:
            texts[-1] += decoder.flush()
        return without_start(texts, ids, self.bos_id, self._opens_blank) if start else texts

    def _own(self, spelt: str, trusted: bool) -> tuple[int, ...]:
        return self._ids[spelt] if trusted else self._blank

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


def without_start(
    texts: list[str], ids: Sequence[int], bos_id: int | None, opens_blank: bool
) -> list[str]:
    """`texts`, those of `ids`, less what a document begins with in addition to its own text."""
    first = 1 if ids and ids[0] == bos_id else 0
    blank = " " if opens_blank else ""
    cut = [text.removeprefix(blank) for text in texts[first : first + 1]]
    return [""] * first + cut + texts[first + 1 :]


def any_of(spelt: Iterable[str]) -> re.Pattern[str]:
    """Finds the longest of `spelt`, in a group; by their first character, so that few are tried."""
    by_first: dict[str, list[str]] = {}
    for text in sorted(spelt, key=len, reverse=True):
        by_first.setdefault(text[0], []).append(re.escape(text[1:]))
    found = (f"{re.escape(first)}(?:{'|'.join(rest)})" for first, rest in by_first.items())
    return re.compile(f"({'|'.join(found) or '(?!)'})")


def _token(config: Mapping[str, Any], name: str) -> str | None:
    token = config.get(name)
    if isinstance(token, dict):  # as older versions of transformers saved it
        token = token.get("content")
    return token if isinstance(token, str) else None


def _eos_id(special: Mapping[str, int], named: str | None, ends: Sequence[int]) -> int | None:
    if named is not None and named in special:
        return special[named]
    return ends[0] if ends else special.get(_END_OF_TEXT)


def _bos_id(
    special: Mapping[str, int], config: Mapping[str, Any], processor: Spec | None
) -> int | None:
    """The token that stands before a document: that which tokenizer.json's post-processor puts
    there, as in transformers; where it puts none, that of a Llama tokenizer whose config says so
    (DeepSeek-Coder's), which transformers adds in version 4."""
    steps = (processor or {}).get("processors") or [processor or {}]
    firsts = [step["single"][0] for step in steps if step.get("type") == "TemplateProcessing"]
    named = [each["SpecialToken"]["id"] for each in firsts if "SpecialToken" in each]
    llama = "Llama" in str(config.get("tokenizer_class"))
    if not named and llama and config.get("add_bos_token") is True:
        named = [_token(config, "bos_token")]
    return special.get(str(named[0])) if named else None
