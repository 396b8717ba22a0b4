"""The tokenizer and the window of the model that a server has.

A server says at most its model's name and window; the tokenizer is in the model's files, here or
on the hub, or behind a route of llama.cpp's server. Knows files and that route; no HTTP.
"""

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assistant.engine.files import read_json
from assistant.engine.protocol import ChatFiles, Tokenizer
from assistant.engine.remote import events
from assistant.engine.remote.dialects import Dialect
from assistant.engine.tokenizer import any_of, load_tokenizer, without_start
from assistant.errors import EngineError, HubError, SettingsError
from assistant.hub import fetch_file, fetch_snapshot
from assistant.paths import MODELS
from assistant.settings import EMBEDDED, Settings
from assistant.text import quoted, replace_surrogates

TOKEN_CHARS_MAX = 1024  # of one token's text: runs of white space are the longest
_FILES = ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json",
          "chat_template.jinja"]  # fmt: skip
_WINDOWS = ("n_positions", "max_position_embeddings", "n_ctx")
_LIKELY = ("<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>", "<|endoftext|>",
           "<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|im_start|>", "<|im_end|>",
           "<fim-prefix>", "<fim-suffix>", "<fim-middle>", "</assistant>",
           "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|file_sep|>",
           "<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>", "<|EOT|>",
           "<[fim-prefix]>", "<[fim-suffix]>", "<[fim-middle]>",
           "▁<PRE>", "▁<SUF>", "▁<MID>", "▁<EOT>")  # fmt: skip
_GUARD = "\n"  # no token of SentencePiece's begins or ends with it


@dataclass(frozen=True, slots=True)
class RemoteModel:
    """name: what people read. embedded: it is the checkpoint that ships with the repository.
    window: as its files say, None where they do not."""

    name: str
    tokenizer: Tokenizer
    window: int | None
    embedded: bool


def find_model(
    kind: Dialect, settings: Settings, make_tokenizer: "Callable[[], ServedTokenizer] | None"
) -> RemoteModel:
    """What a server of that kind has. make_tokenizer: where it has routes for a tokenizer. Raises
    SettingsError, HubError and CheckpointError."""
    given = settings.model if settings.model != EMBEDDED else None
    try:
        folder = _folder(given or kind.model, settings.revision, ours=bool(given))
    except HubError:
        if given or not make_tokenizer:
            raise
        folder = None
    if folder:
        config = read_json(folder / "config.json") or {}
        window = next((config[key] for key in _WINDOWS if type(config.get(key)) is int), None)
        embedded = folder.parent == MODELS
        # A folder on the hub is named after its commit.
        name = given or kind.model
        name = folder.name if embedded or Path(name).is_dir() else name
        return RemoteModel(name, load_tokenizer(folder), window, embedded)
    if make_tokenizer:
        return RemoteModel(Path(kind.model).name, make_tokenizer(), None, False)
    raise SettingsError(
        f"The server's model is called {quoted(kind.model)}, and no tokenizer of that name is "
        "found here, without which the window cannot be kept: give the model's folder or its hub "
        "id with --model."
    )


def _folder(name: str, revision: str | None, ours: bool) -> Path | None:
    """The folder of the model `name`: itself, the one that ships under that name, or its small
    files from the hub. None if there is none. ours: the name was given to this program."""
    try:
        path = Path(name).expanduser() if ours else Path(name)
        for folder in (path, MODELS / path.name):
            if (folder / "tokenizer.json").is_file():
                return folder.resolve()
    except (OSError, RuntimeError):  # no name of a file, or of somebody's home
        return None
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name, re.ASCII):
        return None
    folder = fetch_file(name, "tokenizer.json", revision=revision).parent
    return fetch_snapshot(name, revision=folder.name, allow_patterns=_FILES)


class ServedTokenizer:
    """The tokenizer behind /tokenize and /detokenize of llama.cpp's server. See the Tokenizer
    protocol; all of it may wait for that server, and raise EngineError. wait: a blocking_ask() of
    http. size: of the vocabulary. eos, bos: the texts of the tokens that end a document and may
    stand before one.

    With SentencePiece's vocabularies it puts a blank before each text, and behind special tokens:
    see assistant/engine/tokenizer.py. It is kept out by a guard before the text, whose ids go."""

    chat: ChatFiles | None = None  # nobody vouches for a server's own word

    def __init__(
        self,
        wait: Callable[[str, dict[str, Any]], dict[str, Any]],
        size: int,
        eos: str | None,
        bos: str | None = None,
    ) -> None:
        self._wait = wait
        self._guard: list[int] = []
        self._trusted = any_of([])
        self._size = size
        self._alone = functools.lru_cache(1 << 18)(lambda token: self.decode([token]))
        spelt = {text: self.encode(text, trusted=True) for text in {eos, bos, *_LIKELY} if text}
        self.special = {
            text: ids[0]
            for text, ids in spelt.items()
            if len(ids) == 1 and self.encode(text) != ids
        }
        if eos not in self.special:
            raise SettingsError(
                "The server does not say which token ends a document: give the model's folder or "
                "its hub id with --model."
            )
        self._spelt = {token: text for text, token in self.special.items()}
        self.eos_id = self.special[eos]
        self.end_ids = frozenset({self.eos_id})
        opened = self._ids("", add_special=True)
        self.bos_id = opened[0] if bos and opened == [self.special.get(bos)] else None
        guard = self._ids(_GUARD)
        if len(guard) == 2 and self.decode(guard) == " " + _GUARD:
            self._guard, self._trusted = guard, any_of(self.special)

    def __len__(self) -> int:
        return self._size

    def encode(self, text: str, *, trusted: bool = False, start: bool = False) -> list[int]:
        if not self._guard:
            return self._ids(text, parse_special=trusted)
        ids: list[int] = []
        for at, part in enumerate(self._trusted.split(text) if trusted else [text]):
            if at % 2:
                ids.append(self.special[part])
            elif part and start and ids in ([], [self.bos_id]):
                ids += self._ids(part)
            elif part:
                ids += self._ids(_GUARD + part)[len(self._guard) :]
        return ids

    def _ids(
        self, text: str, *, parse_special: bool = False, add_special: bool = False
    ) -> list[int]:
        body = {"content": replace_surrogates(text), "add_special": add_special}
        body["parse_special"] = parse_special
        ids: list[int] = self._ask("/tokenize", body, "tokens")
        if not all(type(token) is int and 0 <= token < self._size for token in ids):
            raise EngineError(
                "The model's server answered with something other than the tokens of a text."
            )
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        if all(token in self._spelt for token in ids):
            return "".join(self._spelt[token] for token in ids)
        text: str = self._ask("/detokenize", {"tokens": list(ids)}, "content")
        if len(text) > TOKEN_CHARS_MAX * len(ids):  # it may be kept, for each of many tokens
            raise EngineError(
                "The model's server answered with something other than the text of tokens."
            )
        return events.text(text)

    def texts(self, ids: Sequence[int], *, start: bool = False) -> list[str]:
        texts = [self._alone(token) for token in ids]
        return without_start(texts, ids, self.bos_id, bool(self._guard)) if start else texts

    def decoder(self) -> None:
        """None: asking for each token's text would take too long, and a part of a character has
        none there."""

    def _ask(self, path: str, body: dict[str, Any], key: str) -> Any:
        value = self._wait(path, body).get(key)
        if not isinstance(value, list if key == "tokens" else str):
            raise EngineError("The model's server does not tokenize texts at present; try again.")
        return value
