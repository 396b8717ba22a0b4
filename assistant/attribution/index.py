"""Index: the documents of a corpus in one SQLite file, with what finds texts in them.

`documents` holds the texts; `words` is a full-text index of their trigrams (FTS5, without a copy of
the text), for search; `pieces` has the hash of every 25 characters without blanks, for overlaps.
Built once, then only read. Knows no licence texts and no pages.
"""

import errno
import json
import logging
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from filelock import FileLock

from assistant.attribution.corpus import Corpus, Document
from assistant.attribution.pieces import PIECE, hash_rows, places_to_store, squeeze
from assistant.errors import AttributionError, DamagedIndex

VERSION = 1  # of the tables and of what stands in them
PLACES_MAX = 200  # of one piece that are looked at: those of licences stand in every file
COMMIT_CHARS = 8_000_000  # at most so much work is lost when a build is interrupted
CACHE_KIB = 64_000

Progress: TypeAlias = Callable[[int, int], None]  # bytes read, bytes in all

log = logging.getLogger(__name__)

_TABLES = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value);
CREATE TABLE documents (id INTEGER PRIMARY KEY, path TEXT, licence TEXT, source TEXT, line INTEGER,
    url TEXT, language TEXT, text TEXT);
CREATE VIRTUAL TABLE words USING fts5(text, content='', tokenize='trigram');
CREATE TABLE pieces (hash INTEGER, document INTEGER, place INTEGER);
"""


class Index:
    """An index that was built. Raises AttributionError where there is none, and from every method
    where it is damaged; usable from any thread."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise AttributionError(f"There is no index at {self.path}; build one first.")
        with self.open() as db:
            facts = dict(db.execute("SELECT name, value FROM facts"))
            db.execute("SELECT hash FROM pieces INDEXED BY places LIMIT 1").fetchone()
        if facts.get("version") != VERSION:
            raise AttributionError(f"The index {self.path} is of another version; build it again.")
        self.documents, self.characters = facts["documents"], facts["characters"]

    @contextmanager
    def open(self) -> Iterator[sqlite3.Connection]:
        """A connection that reads, closed behind the block."""
        address = f"{self.path.absolute().as_uri()}?mode=ro&immutable=1"
        try:
            with closing(sqlite3.connect(address, uri=True)) as db:
                db.execute("PRAGMA mmap_size = 4000000000")
                yield db
        except sqlite3.Error as error:
            log.warning("the index %s failed: %s", self.path, type(error).__name__)
            raise DamagedIndex(f"The index {self.path} is damaged; build it again.") from None

    def check(self) -> None:
        """Reads all of its structure; raises DamagedIndex."""
        with self.open() as db:
            (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise sqlite3.DatabaseError(found)

    @staticmethod
    def known(db: sqlite3.Connection, pieces: Sequence[int]) -> list[int]:
        """Those of `pieces`, hashes, that stand in the corpus."""
        query = (
            "SELECT value FROM json_each(?) WHERE EXISTS (SELECT 1 FROM pieces WHERE hash = value)"
        )
        return [each for (each,) in db.execute(query, (json.dumps(pieces),))]

    @staticmethod
    def places(db: sqlite3.Connection, piece: int) -> list[tuple[int, int]]:
        """(document, place) of a hash, at most PLACES_MAX; place: characters that are not blank
        before it."""
        query = "SELECT document, place FROM pieces WHERE hash = ? ORDER BY rowid LIMIT ?"
        return db.execute(query, (piece, PLACES_MAX)).fetchall()

    @staticmethod
    def document(db: sqlite3.Connection, number: int) -> Document:
        row = db.execute(
            "SELECT text, path, licence, source, line, url FROM documents WHERE id = ?", (number,)
        ).fetchone()
        return Document(*row)


@dataclass(frozen=True, slots=True)
class Built:
    """What a build made: documents, records that were left out, characters of text."""

    documents: int
    left_out: int
    characters: int


def build(
    corpus: Corpus, out: str | Path, progress: Progress = lambda read, total: None
) -> Built | None:
    """Makes the index `out` of the corpus, and says what it built; of what is there already, None.

    Goes on where an earlier build of the same corpus was interrupted, unless that was because the
    disk was full; who comes second waits for the first. Memory does not grow with the corpus.
    Raises AttributionError.
    """
    out = Path(out)
    if corpus.path.is_dir() and out.absolute().is_relative_to(corpus.path.absolute()):
        raise AttributionError("The index cannot stand in the folder that it is made of.")
    part = out.with_name(out.name + ".part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(out.with_name(out.name + ".lock")):
            if _same(out, corpus):
                return None
            if not _same(part, corpus):
                _remove(part)
            with _removed_if_no_room(part):
                try:
                    built = _build(corpus, part, progress)
                except sqlite3.DatabaseError as error:
                    if isinstance(error, sqlite3.OperationalError):
                        raise  # no room, no right to write
                    _remove(part)  # what was left of an earlier build is damaged
                    built = _build(corpus, part, progress)
            part.replace(out)
            return built
    except (sqlite3.Error, OSError) as error:
        raise AttributionError(f"The index {out} cannot be written: {error}.") from None


def _same(path: Path, corpus: Corpus) -> bool:
    """Whether `path` is an index of this corpus, begun or whole."""
    if not path.is_file():
        return False
    try:
        with closing(sqlite3.connect(path)) as db:
            facts = dict(db.execute("SELECT name, value FROM facts"))
            return (facts.get("version"), facts.get("corpus")) == (VERSION, corpus.fingerprint)
    except sqlite3.Error:
        return False


@contextmanager
def _removed_if_no_room(part: Path) -> Iterator[None]:
    """What fills a disk does not stay there."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
        if full or getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            with suppress(OSError):
                _remove(part)
        raise


def _remove(part: Path) -> None:
    for ending in ("", "-wal", "-shm"):
        part.with_name(part.name + ending).unlink(missing_ok=True)


def _build(corpus: Corpus, path: Path, progress: Progress) -> Built:
    with closing(sqlite3.connect(path)) as db:
        db.executescript(
            f"PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; "
            f"PRAGMA cache_size = -{CACHE_KIB}; PRAGMA temp_store = FILE;"
        )
        if not db.execute("SELECT 1 FROM sqlite_master").fetchone():
            db.executescript(_TABLES)
            counts = dict.fromkeys(("records", "left_out", "documents", "characters"), 0)
            _keep(db, {"version": VERSION, "corpus": corpus.fingerprint} | counts)
        facts: dict[str, Any] = dict(db.execute("SELECT name, value FROM facts"))
        pending = 0
        for read, document in corpus.records(skip=facts["records"]):
            facts["records"] += 1
            if document is None:
                facts["left_out"] += 1
                continue
            for each in document.parts():
                facts["documents"] += 1
                facts["characters"] += len(each.text)
                _add(db, facts["documents"], each)
            pending += len(document.text)
            if pending >= COMMIT_CHARS:
                _keep(db, facts)
                pending = 0
                progress(read, corpus.size)
        _keep(db, facts)
        progress(corpus.size, corpus.size)
        db.execute("CREATE INDEX IF NOT EXISTS places ON pieces (hash)")
        db.execute("PRAGMA journal_mode = DELETE")
        return Built(facts["documents"], facts["left_out"], facts["characters"])


def _keep(db: sqlite3.Connection, facts: Mapping[str, object]) -> None:
    db.executemany("REPLACE INTO facts VALUES (?, ?)", facts.items())
    db.commit()


def _add(db: sqlite3.Connection, number: int, document: Document) -> None:
    row = (number, document.path, document.licence, document.source, document.line, document.url,
           document.language, document.text)  # fmt: skip
    db.execute("INSERT INTO documents VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
    flat = " ".join(document.text.split())
    db.execute("INSERT INTO words (rowid, text) VALUES (?, ?)", (number, flat))
    codes, _ = squeeze(document.text)
    places = places_to_store(codes)
    found = hash_rows(codes[places[:, None] + np.arange(PIECE)])
    rows = (
        (each, number, place) for each, place in zip(found.tolist(), places.tolist(), strict=True)
    )
    db.executemany("INSERT INTO pieces VALUES (?, ?, ?)", rows)
