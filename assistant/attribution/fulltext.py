"""search(): full-text search in an index, ranked by BM25, with the lines around what was found.

A query is words and "exact phrases"; nothing in it is an operator. Knows no pages.
"""

import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic

from assistant.attribution.index import Index
from assistant.errors import TextError

HITS = 10
QUERY_CHARS_MAX = 1_000
TERM_CHARS_MIN = 3  # the index knows runs of three characters
SECONDS_MAX = 5
BEFORE, AFTER = 2, 5  # lines around what was found
AROUND_CHARS = 500  # before what was found; behind it twice as many

_QUOTES = str.maketrans(dict.fromkeys("“”„‟«»＂", '"'))
_TERM = re.compile(r'"([^"]*)"?|([^\s"]+)')


@dataclass(frozen=True, slots=True)
class Hit:
    """A place in the corpus. text: its lines from start_line on; marks: (start, end) of what was
    searched for, in text."""

    path: str
    start_line: int
    end_line: int
    licence: str
    source: str
    language: str
    url: str
    text: str
    marks: list[tuple[int, int]]


def terms(query: object) -> list[str]:
    """The words and phrases of a query, white space as single blanks. Raises TextError."""
    if not isinstance(query, str) or not query.strip():
        raise TextError("There is nothing to search for.")
    if len(query) > QUERY_CHARS_MAX:
        raise TextError(
            f"A search may have at most {QUERY_CHARS_MAX:,} characters; this has {len(query):,}."
        )
    query = query.translate(_QUOTES).replace("\0", " ").encode(errors="replace").decode()
    found = [" ".join((phrase or word).split()) for phrase, word in _TERM.findall(query)]
    found = [term for term in dict.fromkeys(found) if len(term) >= TERM_CHARS_MIN]
    if not found:
        raise TextError(f"A word to search for needs at least {TERM_CHARS_MIN} characters.")
    return found


def search(
    index: Index,
    query: object,
    *,
    path: str = "",
    language: str = "",
    licence: str = "",
    hits: int = HITS,
) -> list[Hit]:
    """The best Hits for `query`: those with all of its terms, else with any. path: a part of it.
    Raises TextError and AttributionError."""
    wanted = terms(query)
    filters = {
        "instr(lower(path), lower(?))": path,
        "language = ?": language,
        "licence = ?": licence,
    }
    filters = {sql: _plain(value) for sql, value in filters.items() if value}
    where = "".join(f" AND {sql}" for sql in filters)
    sql = (
        f"SELECT documents.id FROM words JOIN documents ON documents.id = words.rowid "
        f"WHERE words MATCH ?{where} ORDER BY bm25(words), documents.id LIMIT ?"
    )
    quoted = ['"' + term.replace('"', '""') + '"' for term in wanted]
    with index.open() as db:
        end = monotonic() + SECONDS_MAX
        db.set_progress_handler(lambda: monotonic() > end, 1_000)
        try:
            for joined in dict.fromkeys((" AND ".join(quoted), " OR ".join(quoted))):
                rows = db.execute(sql, (joined, *filters.values(), hits)).fetchall()
                if rows:
                    break
        except sqlite3.OperationalError:
            if monotonic() < end:
                raise
            raise TextError(
                f"The search took more than {SECONDS_MAX} seconds; give it a longer phrase."
            ) from None
        finally:
            db.set_progress_handler(None, 0)
        return [_hit(db, number, wanted) for (number,) in rows]


def choices(index: Index) -> tuple[list[str], ...]:
    """(languages, licences) that stand in the corpus, sorted."""
    with index.open() as db:
        return tuple(
            [value for (value,) in db.execute(f"SELECT DISTINCT {name} FROM documents ORDER BY 1")]
            for name in ("language", "licence")
        )


def _plain(value: object) -> str:
    return str(value)[:QUERY_CHARS_MAX].replace("\0", "").encode(errors="replace").decode()


def _hit(db: sqlite3.Connection, number: int, wanted: Sequence[str]) -> Hit:
    query = "SELECT path, licence, source, language, url, line, text FROM documents WHERE id = ?"
    path, licence, source, language, url, line, text = db.execute(query, (number,)).fetchone()
    pattern = re.compile("|".join(map(_pattern, sorted(wanted, key=len, reverse=True))), re.I)
    at = _best(text, wanted)
    start, end = _around(text, at)
    shown, first = text[start:end], line + text.count("\n", 0, start)
    return Hit(
        path,
        first,
        first + shown.count("\n"),
        licence,
        source,
        language,
        url,
        shown,
        [found.span() for found in pattern.finditer(shown)],
    )


def _pattern(term: str) -> str:
    return r"\s+".join(map(re.escape, term.split()))


def _best(text: str, wanted: Sequence[str]) -> int:
    """Where the longest term that is in `text` first stands; 0 for none, as some fold of letters
    that the index knows may make it."""
    for term in sorted(wanted, key=len, reverse=True):
        if found := re.search(_pattern(term), text, re.IGNORECASE):
            return found.start()
    return 0


def _around(text: str, at: int) -> tuple[int, int]:
    """(start, end) of the lines around the one of `at`; of long lines a part."""
    start = text.rfind("\n", 0, at) + 1
    for _ in range(BEFORE):
        start = text.rfind("\n", 0, max(start - 1, 0)) + 1
    end = at
    for _ in range(AFTER + 1):
        after = text.find("\n", end + 1)
        end = len(text) if after < 0 else after
    return max(start, at - AROUND_CHARS), min(end, at + 2 * AROUND_CHARS)
