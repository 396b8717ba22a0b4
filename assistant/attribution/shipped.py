"""The index of the corpus that ships with the embedded model: built on first use, then kept in the
user's cache directory.

Several programs may start at once: one builds, the others wait for it.
"""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from assistant.attribution.corpus import Corpus, Record
from assistant.attribution.index import VERSION, Index, Progress, build
from assistant.errors import DamagedIndex
from assistant.paths import EMBEDDED_MODEL

CORPUS = EMBEDDED_MODEL / "corpus.jsonl.xz"

# Where a person reads what the corpus took from each source.
ADDRESSES = {
    "Python 3.11 documentation": "https://docs.python.org/3.11/_sources/",
    "CPython standard library 3.11": "https://github.com/python/cpython/blob/3.11/Lib/",
}


class ShippedCorpus(Corpus):
    """Its records, each with its address."""

    def records(self, skip: int = 0) -> Iterator[Record]:
        for read, document in super().records(skip):
            if document and document.source in ADDRESSES:
                document = replace(document, url=ADDRESSES[document.source] + document.path)
            yield read, document


def shipped_index(progress: Progress = lambda read, total: None) -> Index:
    """The index, which is built where it is missing or damaged. Raises AttributionError."""
    corpus = ShippedCorpus(CORPUS)
    path = cache_dir() / f"sources-{VERSION}-{corpus.fingerprint[:16]}.db"
    build(corpus, path, progress)
    try:
        return open_checked(path)
    except DamagedIndex:
        path.unlink(missing_ok=True)
        build(corpus, path, progress)
        return open_checked(path)


def open_checked(path: Path) -> Index:
    index = Index(path)
    index.check()
    return index


def cache_dir() -> Path:
    """Where this program may keep files: XDG_CACHE_HOME or ~/.cache, else the temporary folder."""
    try:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tech-assistant"
        home.mkdir(parents=True, exist_ok=True)
        if os.access(home, os.W_OK):
            return home
    except (OSError, RuntimeError):  # RuntimeError: a user without a home
        pass
    return Path(tempfile.gettempdir()) / "tech-assistant"
