"""A corpus: the documents of a folder, or of a file of JSON lines (.xz too) or Parquet, in order.

Reads one record at a time, so that memory does not grow with the corpus. Knows no index. What is
not text, or too large, is left out.
"""

import hashlib
import json
import lzma
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import IO, TypeAlias

from pygments.lexers import find_lexer_class_for_filename

from assistant.attribution import licence
from assistant.errors import AttributionError

RECORD_BYTES_MAX = 16_000_000
PART_CHARS = 1_000_000  # a longer document is kept in parts
OVERLAP_CHARS = 4_000  # that two parts share: a run of 99 characters lies whole in one of them

# What a column may be called, for corpora in the form of The Stack too.
_NAMES = {
    "text": ("text", "content"),
    "path": ("path", "max_stars_repo_path"),
    "licence": ("licence", "license", "licenses", "max_stars_repo_licenses", "detected_licenses"),
    "source": ("source", "repo_name", "max_stars_repo_name"),
    "line": ("line", "line_offset"),
    "url": ("url",),
}
_SURROGATES = re.compile("[\ud800-\udfff\x00]")


@dataclass(frozen=True, slots=True)
class Document:
    """A text of the corpus. path: within its source. line: number of its first line, from 1. url:
    where a person can read it, http(s), or empty."""

    text: str
    path: str
    licence: str = licence.UNKNOWN
    source: str = ""
    line: int = 1
    url: str = ""

    @property
    def language(self) -> str:
        return language(os.path.basename(self.path))

    def parts(self) -> Iterator["Document"]:
        """The document in parts of at most PART_CHARS, each but the first beginning where the one
        before is about to end."""
        if len(self.text) <= PART_CHARS:
            yield self
            return
        line = self.line
        for start in range(0, len(self.text), PART_CHARS - OVERLAP_CHARS):
            yield replace(self, text=self.text[start : start + PART_CHARS], line=line)
            line += self.text.count("\n", start, start + PART_CHARS - OVERLAP_CHARS)


def language(name: str) -> str:
    """The language of a file, by its name; "text" where that does not tell."""
    stem, dot, ending = name.removesuffix(".txt").rpartition(".")
    return _language("x." + ending if dot and stem else name)


@lru_cache(maxsize=2_000)
def _language(name: str) -> str:
    found = find_lexer_class_for_filename(name)
    return found.name if found else "text"


Record: TypeAlias = tuple[int, Document | None]


class Corpus:
    """What is at `path`: a folder, or a .jsonl, .jsonl.xz or .parquet file. `size`: its bytes;
    `fingerprint`: changes with it. Raises AttributionError."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self.size, self.fingerprint = self._measure()
        except OSError as error:
            raise AttributionError(
                f"The corpus {self.path} cannot be read: {error.strerror}."
            ) from None

    def _measure(self) -> tuple[int, str]:
        digest, size = hashlib.sha256(), 0
        for file in self._files():
            stat = file.stat()
            size += stat.st_size
            if self.path.is_dir():
                name = file.relative_to(self.path)
                digest.update(
                    f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode(errors="replace")
                )
            else:  # by what it holds: a copy of it has the same index
                with file.open("rb") as opened:
                    digest.update(hashlib.file_digest(opened, "sha256").digest())
        return size, digest.hexdigest()

    def records(self, skip: int = 0) -> Iterator[Record]:
        """(bytes read so far, Document or None) of each record behind the first `skip`; None for
        what is left out."""
        if self.path.is_dir():
            return self._folder(skip)
        return self._parquet(skip) if self.path.suffix == ".parquet" else self._lines(skip)

    def _files(self) -> Iterator[Path]:
        """The files it is read from, in a fixed order; no hidden ones and no links."""
        if not self.path.is_dir():
            if not self.path.name.endswith((".jsonl", ".jsonl.xz", ".parquet")):
                raise AttributionError(
                    f"A corpus must be a folder or a .jsonl, .jsonl.xz or .parquet file, not "
                    f"{self.path}."
                )
            if not self.path.is_file():
                raise AttributionError(f"There is no corpus at {self.path}.")
            yield self.path
            return
        for folder, folders, names in os.walk(self.path):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                file = Path(folder, name)
                if not name.startswith(".") and file.is_file() and not file.is_symlink():
                    yield file

    def _folder(self, skip: int) -> Iterator[Record]:
        nearest, read = licence.Nearest(self.path), 0
        for number, file in enumerate(self._files()):
            if number >= skip:
                yield read, self._file(file, nearest)
            with suppress(OSError):  # it has gone since
                read += file.stat().st_size

    def _file(self, file: Path, nearest: licence.Nearest) -> Document | None:
        try:
            if file.stat().st_size > RECORD_BYTES_MAX:
                return None
            text = file.read_bytes().decode("utf-8-sig")
        except (OSError, ValueError):
            return None
        if "\0" in text[:8_000] or not text.strip():
            return None
        path = file.relative_to(self.path).as_posix()
        found = licence.spdx(text) or nearest.of(file.parent)
        return Document(text, _SURROGATES.sub("\ufffd", path), found, self.path.name)

    def _lines(self, skip: int) -> Iterator[Record]:
        with self._open() as (file, raw):
            number = -1
            while line := file.readline(RECORD_BYTES_MAX):
                number += 1
                whole = line.endswith(b"\n") or len(line) < RECORD_BYTES_MAX
                while not whole and (rest := file.readline(RECORD_BYTES_MAX)):
                    whole = rest.endswith(b"\n")
                    line = b""
                if number >= skip:
                    yield raw.tell(), _document(_json(line))

    @contextmanager
    def _open(self) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
        with self.path.open("rb") as raw:
            if self.path.suffix != ".xz":
                yield raw, raw
                return
            try:
                with lzma.open(raw) as file:
                    yield file, raw
            except (lzma.LZMAError, EOFError):
                raise AttributionError(f"The corpus {self.path} is damaged.") from None

    def _parquet(self, skip: int) -> Iterator[Record]:
        try:
            from pyarrow import ArrowException, parquet
        except ImportError:
            raise AttributionError(
                "Reading .parquet files needs pyarrow: pip install pyarrow."
            ) from None
        try:
            with parquet.ParquetFile(self.path) as file:
                known = {name for names in _NAMES.values() for name in names}
                columns = [name for name in file.schema_arrow.names if name in known]
                total, number = max(file.metadata.num_rows, 1), -1
                for batch in file.iter_batches(batch_size=64, columns=columns):
                    for record in batch.to_pylist():
                        number += 1
                        if number >= skip:
                            yield self.size * (number + 1) // total, _document(record)
        except (ArrowException, OSError) as error:
            raise AttributionError(f"The corpus {self.path} is damaged: {error}.") from None


def _json(line: bytes) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _document(record: object) -> Document | None:
    """The Document of a record, or None where it is none."""
    if not isinstance(record, dict):
        return None
    values = {
        field: next((record[name] for name in names if record.get(name) is not None), None)
        for field, names in _NAMES.items()
    }
    text, path, line = values["text"], values["path"], values["line"]
    if not (isinstance(text, str) and isinstance(path, str) and text.strip()):
        return None
    licences = values["licence"]
    licences = " OR ".join(map(str, licences)) if isinstance(licences, list) else licences
    url = str(values["url"] or "")
    return Document(
        _plain(text),
        _plain(path),
        _plain(licences or licence.UNKNOWN),
        _plain(values["source"] or ""),
        line if type(line) is int and 0 < line < 2**31 else 1,
        url if url.startswith(("https://", "http://")) else "",
    )


def _plain(value: object) -> str:
    """A text that SQLite can hold."""
    return _SURROGATES.sub("\ufffd", str(value))
