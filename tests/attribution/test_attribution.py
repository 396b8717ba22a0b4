"""Attribution: what is found in the shipped corpus, and how an index is built."""

import errno
import importlib.util
import io
import json
import lzma
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.attribution import CERTAIN, Index, find_matches, search
from assistant.attribution import __main__ as command
from assistant.attribution import corpus as corpora
from assistant.attribution import index as indexes
from assistant.attribution import shipped as shipping
from assistant.attribution.corpus import Corpus, language
from assistant.attribution.fulltext import QUERY_CHARS_MAX, choices
from assistant.attribution.index import build
from assistant.attribution.licence import of_licence_text
from assistant.attribution.overlap import SHORTEST, TEXT_CHARS_MAX
from assistant.attribution.pieces import squeeze
from assistant.attribution.shipped import CORPUS
from assistant.errors import AttributionError, DamagedIndex, TextError
from assistant.paths import ROOT


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """The index of the shipped corpus."""
    out = tmp_path_factory.mktemp("attribution") / "index.db"
    build(Corpus(CORPUS), out)
    return Index(out)


@pytest.fixture(scope="module")
def texts():
    with lzma.open(CORPUS, "rt", encoding="utf-8") as file:
        return {record["path"]: record["text"] for record in map(json.loads, file)}


def bare(text):
    return "".join(text.split())


def flat(text):
    return " ".join(text.split())


def snippets(texts, count, draw):
    """(path, first line, last line, text): runs of 100 to 400 characters, white space as blanks."""
    while count:
        path = draw.choice(sorted(texts))
        text = texts[path]
        start, length = draw.randrange(len(text)), draw.randint(100, 400)
        end = start
        while end < len(text) and len(flat(text[start:end])) < length:
            end += 1
        snippet = text[start:end].strip()
        if len(flat(snippet)) < 100:
            continue
        count -= 1
        first = text.count("\n", 0, start + len(text[start:]) - len(text[start:].lstrip())) + 1
        yield path, first, first + snippet.count("\n"), snippet


def wrapped_anew(snippet, draw):
    """The same characters with other white space."""
    gaps = ["\n" + " " * draw.randrange(12), " ", "\t", "\n\n"]
    return re.sub(r"\s+", lambda _: draw.choice(gaps), snippet)


def written(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return Corpus(path)


def made(tmp_path, *records):
    """An index of records."""
    build(written(tmp_path / "corpus.jsonl", records), tmp_path / "index.db")
    return Index(tmp_path / "index.db")


CODE = "".join(
    f"def function_{n}(value):\n    return value * {n * n} + offset_{n}\n" for n in range(40)
)


# -- what is found -----------------------------------------------------------------------------


def test_every_snippet_is_found_with_its_file_and_lines(shipped, texts):
    assert {"library", "questions", "programs"} <= {path.partition("/")[0] for path in texts}
    draw = random.Random(1)
    for path, first, last, snippet in snippets(texts, 500, draw):
        asked = wrapped_anew(snippet, draw)
        found = [match for match in find_matches(shipped, asked) if bare(match.text) == bare(asked)]
        assert len(found) == 1, (path, first, snippet)
        places = [(found[0].path, found[0].start_line, found[0].end_line), *found[0].also]
        assert (path, first, last) in places
        ours = path.startswith(("questions/", "programs/"))
        licence = "Apache-2.0" if ours else "PSF-2.0"
        assert found[0].length == len(flat(asked)) and found[0].licence.startswith(licence)
        assert asked[found[0].start : found[0].end] == found[0].text


def test_new_code_is_called_a_match_once_in_a_hundred_at_most(shipped):
    draw = random.Random(2)
    folder = Path(importlib.util.find_spec("transformers").origin).parent
    files = sorted(folder.rglob("model*.py"))
    called = 0
    for _ in range(500):
        text = draw.choice(files).read_text(encoding="utf-8")
        text = text[text.find("import ") :]  # the licence above stands in the corpus, too
        start = draw.randrange(max(len(text) - 400, 1))
        found = find_matches(shipped, text[start : start + draw.randint(100, 400)])
        called += any(match.length >= CERTAIN for match in found)
    assert len(files) > 50 and called <= 5


@given(st.text(max_size=300), st.data())
def test_white_space_does_not_count(text, data):
    gaps = st.sampled_from(["\n", " ", "\t", "  \n "])
    other = re.sub(r"\s+", lambda _: data.draw(gaps), text)
    codes, offsets = squeeze(text)
    assert codes.tolist() == squeeze(other)[0].tolist()
    assert [ord(text[at]) for at in offsets] == codes.tolist()


@pytest.mark.parametrize("start", range(0, 60, 7))
@pytest.mark.parametrize("before", ["", "import antigravity; " * 3])
def test_99_characters_are_found_wherever_they_stand(tmp_path, start, before):
    index = made(tmp_path, {"text": CODE, "path": "a.py", "licence": "MIT", "line": 11})
    end = start + CERTAIN
    while len(flat(CODE[start:end])) < CERTAIN:
        end += 1
    (match,) = find_matches(index, before + CODE[start:end] + " whatever")
    assert match.length >= CERTAIN - 1 and match.licence == "MIT"  # ends may be white space
    assert match.start_line == 11 + CODE.count("\n", 0, start + (CODE[start] == "\n"))


def test_blanks_between_all_characters_hide_nothing(tmp_path):
    sparse = " ".join("abcdefghijklmnopqrstuvwxyz0123456789" * 2)
    index = made(tmp_path, {"text": sparse, "path": "a"})
    (match,) = find_matches(index, "   " + sparse[1 : 1 + CERTAIN + 1])
    assert match.length == CERTAIN


def test_what_is_shorter_than_50_characters_is_no_match(tmp_path):
    index = made(tmp_path, {"text": CODE, "path": "a"})
    assert find_matches(index, CODE[: SHORTEST - 1]) == []
    assert find_matches(index, "") == []


def test_a_part_of_a_longer_run_is_not_told_again(tmp_path):
    index = made(tmp_path, {"text": CODE, "path": "whole"}, {"text": CODE[200:500], "path": "part"})
    (match,) = find_matches(index, CODE[100:600])
    assert (match.path, match.also) == ("whole", [])
    (match,) = find_matches(index, CODE[250:450])
    assert (match.path, [path for path, _, _ in match.also]) == ("whole", ["part"])


def test_a_run_beside_rules_of_dashes_is_found(tmp_path):
    rules = "\n".join("-" * 79 for _ in range(300))
    records = [{"text": rules, "path": f"{n}"} for n in range(5)]
    text = "=" * 79 + "\nA heading of a page\n" + "-" * 79
    index = made(tmp_path, *records, {"text": f"other {text} text", "path": "page"})
    (match,) = (match for match in find_matches(index, text) if match.length > 120)
    assert match.path == "page" and bare(match.text) == bare(text)


@pytest.mark.parametrize("theirs, ours", [(100, 200), (200, 100), (30, 30), (79, 300)])
def test_a_rule_hides_nothing_beside_it(tmp_path, theirs, ours):
    beside = "\nabcdefgh" + "ijklmnop" * (theirs < 60) * 4
    index = made(tmp_path, {"text": "x = 1\n" + "-" * theirs + f"{beside}\nsecond", "path": "a"})
    (match,) = find_matches(index, "-" * ours + f"{beside}\nother")
    assert match.length == min(theirs, ours) + len(beside)


def test_pieces_that_stand_often_in_the_text_hide_nothing(tmp_path):
    parts = [f"{name}{number * 7919}_value = call({number}) # {name}" for number in (1, 2, 3, 4)
             for name in ["alpha"]]  # fmt: skip
    index = made(tmp_path, {"text": "".join(parts), "path": "a"})
    text = "".join(f"{part}\n!" * 150 for part in parts) + "?" + "".join(parts)
    longest = max(find_matches(index, text), key=lambda match: match.length)
    assert bare(longest.text).endswith(bare("".join(parts)))


def test_a_large_table_takes_no_time(shipped):
    rows = "+------+------+------+\n| name | 1000 | text |\n" * 4_000
    assert find_matches(shipped, rows[:TEXT_CHARS_MAX]) is not None  # and the run's own limit


def test_a_rule_is_no_match(shipped):
    assert find_matches(shipped, "#\n" * 200) == find_matches(shipped, "-=" * 100) == []


def test_too_long_a_text_is_refused(shipped):
    with pytest.raises(TextError, match="200,000"):
        find_matches(shipped, "x" * (TEXT_CHARS_MAX + 1))
    assert find_matches(shipped, "\ud800 \0 \x1b[0m") == []


# -- search ------------------------------------------------------------------------------------


PHRASES = {
    "itertools.rst.txt": "Make an iterator that aggregates elements from each of the iterables.",
    "functools.rst.txt": "Decorator to wrap a function with a memoizing callable",
    "heapq.rst.txt": "Heap elements can be tuples",
    "bisect.rst.txt": "This module provides support for maintaining a list in sorted order",
    "textwrap.py": "Text wrapping and filling.",
    "shutil.rst.txt": "offers a number of high-level operations on files",
    "json.rst.txt": "is a lightweight data interchange format",
    "csv.rst.txt": "most common import and export format for spreadsheets",
    "zipfile.rst.txt": "The ZIP file format is a common archive and compression standard",
    "threading.rst.txt": "constructs higher-level threading interfaces on top",
    "queue.rst.txt": "implements multi-producer, multi-consumer queues",
    "sched.py": "A generally useful event scheduler class.",
    "getpass.py": "Utilities to get a password and/or the current user name.",
    "fnmatch.rst.txt": "provides support for Unix shell-style wildcards",
    "statistics.rst.txt": "not intended to be a competitor to third-party libraries",
    "fractions.rst.txt": "provides support for rational number arithmetic",
    "secrets.rst.txt": "cryptographically strong random numbers suitable for managing",
    "enum.rst.txt": "set of symbolic names (members) bound to unique values",
    "colorsys.rst.txt": "bidirectional conversions of color values between colors",
    "contextlib.rst.txt": "utilities for common tasks involving the",
}


QUEUES = f'"{PHRASES["queue.rst.txt"]}"'


@pytest.mark.parametrize("name", PHRASES)
def test_a_known_phrase_returns_its_file_first(shipped, name):
    hits = search(shipped, f'"{PHRASES[name]}"')
    assert hits[0].path.endswith(name)
    ((start, end),) = hits[0].marks[:1]
    assert flat(hits[0].text[start:end]).lower() == PHRASES[name].lower()
    assert hits[0].start_line <= hits[0].end_line and len(hits) <= 10


@pytest.mark.parametrize(
    "query",
    ["AND", "NOT OR AND", "NEAR(", 'abc"def', "text:foo ^bar", "zip* -os",
     "'; DROP TABLE documents; --", "“multi-producer, multi-consumer”", "ﬁle ﬂow ß",
     "\ud800abc", "日本語テスト", "{x} (y) +zip", '"' * 500, "x" * QUERY_CHARS_MAX, "\0zip\0"],
)  # fmt: skip
def test_nothing_in_a_query_is_an_operator(shipped, query):
    try:
        search(shipped, query)
    except TextError:
        assert query == '"' * 500
    assert search(shipped, QUEUES)[0].path.endswith("queue.rst.txt")


@pytest.mark.parametrize("query", ["", "  ", None, 3, "a", "a b", '"', "*", "x" * 10_000])
def test_an_unusable_query_is_a_sentence(shipped, query):
    with pytest.raises(TextError, match=r"\.$"):
        search(shipped, query)


def test_quotes_make_a_phrase(shipped):
    (word, other) = search(shipped, "“multi-consumer queues”"), search(shipped, "queues consumer")
    assert word[0].path.endswith("queue.rst.txt") and len(word) < len(other)


def test_search_is_filtered(shipped):
    languages, licences = choices(shipped)
    assert "Python" in languages and "PSF-2.0" in licences
    hits = search(shipped, "decode", path="JSON/", language="Python", licence="PSF-2.0")
    assert hits and all(hit.path.startswith("json/") for hit in hits)
    assert search(shipped, "decode", language="COBOL") == []


def test_a_search_without_end_is_ended(shipped, monkeypatch):
    monkeypatch.setattr("assistant.attribution.fulltext.SECONDS_MAX", -1)
    with pytest.raises(TextError, match="longer phrase"):
        search(shipped, "import self return")
    monkeypatch.undo()
    assert search(shipped, "import self return")


# -- a corpus ----------------------------------------------------------------------------------


def test_a_folder_is_a_corpus(tmp_path):
    root = tmp_path / "code"
    (root / "lib" / "deep").mkdir(parents=True)
    (root / ".git").mkdir()
    (root / "LICENSE").write_text("Apache License\nVersion 2.0, January 2004\n")
    (root / "lib" / "COPYING.txt").write_text("This is nobody's standard licence.")
    (root / "a.py").write_text("# SPDX-License-Identifier: MIT OR Apache-2.0\n" + CODE)
    (root / "lib" / "deep" / "b.rs").write_text("fn main() {}\n" + CODE.replace("value", "x"))
    (root / "lib" / "License.java").write_text('class License { String of = "GPL"; }')
    (root / "main.c").write_text("int main() { return 0; }")
    (root / "image.png").write_bytes(b"\x89PNG\0\0\xff")
    (root / ".git" / "config").write_text("secret")
    (root / "link.py").symlink_to(root / "a.py")
    found = {document.path: document for _, document in Corpus(root).records() if document}
    assert sorted(found) == [
        "LICENSE", "a.py", "lib/COPYING.txt", "lib/License.java", "lib/deep/b.rs", "main.c",
    ]  # fmt: skip
    assert found["a.py"].licence == "MIT OR Apache-2.0"
    assert found["main.c"].licence == "Apache-2.0"
    assert found["lib/deep/b.rs"].licence == "see lib/COPYING.txt"
    assert found["lib/deep/b.rs"].language == "Rust"
    built = build(Corpus(root), tmp_path / "index.db")
    assert (built.documents, built.left_out) == (6, 1)
    (match,) = find_matches(Index(tmp_path / "index.db"), CODE[:300].replace("value", "x"))
    assert (match.path, match.start_line) == ("lib/deep/b.rs", 2)


@pytest.mark.parametrize(
    "text, name",
    [
        ("MIT\n\nPermission is hereby granted, free of charge, to\nany person obtaining a copy",
         "MIT"),
        ("GNU GENERAL PUBLIC LICENSE\n   Version 3, 29 June 2007", "GPL-3.0"),
        ("GNU LESSER GENERAL PUBLIC LICENSE\n Version 2.1, February 1999", "LGPL-2.1"),
        ("Mozilla Public License Version 2.0", "MPL-2.0"),
        ("Mozilla Public License Version 2.0\n... GNU Affero General Public License, Version 3.0",
         "MPL-2.0"),
        ("SPDX-License-Identifier: Zlib\n", "Zlib"),
        ("All rights reserved.", None),
    ],
)  # fmt: skip
def test_licences_are_told_by_their_texts(text, name):
    assert of_licence_text(text) == name


@pytest.mark.parametrize(
    "name, expected",
    [("a.py", "Python"), ("zip.rst.txt", "reStructuredText"), ("Makefile", "Makefile"),
     ("x.cpp", "C++"), ("README", "text"), ("notes.txt", "Text only"), ("a.b.unheard-of", "text")],
)  # fmt: skip
def test_languages_are_told_by_names(name, expected):
    assert language(name) == expected


RECORDS = [
    {"content": CODE, "max_stars_repo_path": "a.py", "max_stars_repo_licenses": ["MIT", "ISC"]},
    {"content": "", "max_stars_repo_path": "empty.py"},
    {
        "content": CODE[::-1] + "\0\ud83d",
        "max_stars_repo_path": "b.py",
        "max_stars_repo_name": "me/b",
    },
]


def test_parquet_is_a_corpus(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = [{**RECORDS[0], "more": 1}, RECORDS[1]]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "data.parquet")
    documents = [document for _, document in Corpus(tmp_path / "data.parquet").records()]
    assert (documents[0].path, documents[0].licence, documents[1]) == ("a.py", "MIT OR ISC", None)
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(AttributionError, match="damaged"):
        list(Corpus(tmp_path / "bad.parquet").records())


def test_records_that_are_none_are_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(corpora, "RECORD_BYTES_MAX", 4_000)
    path = tmp_path / "data.jsonl"
    lines = [*map(json.dumps, RECORDS), "[1]", "{", "[" * 3_000, json.dumps({"text": "x" * 9_000}),
             '{"text": 3, "path": "a"}', json.dumps({"text": "x", "path": "y", "line": 10**30}),
             '{"text": "last", "path": "z", "line": -1}']  # fmt: skip
    path.write_text("\n".join(lines))  # the last has no line end
    documents = [document for _, document in Corpus(path).records()]
    assert len(documents) == len(lines)
    assert [document.path for document in documents if document] == ["a.py", "b.py", "y", "z"]
    built = build(Corpus(path), tmp_path / "index.db")
    assert (built.documents, built.left_out) == (4, 6)
    assert Index(tmp_path / "index.db").documents == 4


def test_a_long_document_is_kept_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(corpora, "PART_CHARS", 1_000)
    monkeypatch.setattr(corpora, "OVERLAP_CHARS", 300)
    index = made(tmp_path, {"text": CODE, "path": "a.py", "line": 5})
    assert index.documents > 2
    for start in range(0, len(CODE) - 200, 37):
        snippet = CODE[start : start + 200].strip()
        match = max(find_matches(index, snippet), key=lambda match: match.length)
        at = CODE.index(snippet)
        first = 5 + CODE.count("\n", 0, at)
        assert (match.start_line, match.end_line) == (first, first + snippet.count("\n"))


@pytest.mark.parametrize("name", ["none.jsonl", "corpus.csv"])
def test_what_is_no_corpus_is_refused(tmp_path, name):
    with pytest.raises(AttributionError, match=r"corpus.*\.$"):
        Corpus(tmp_path / name)


def test_a_damaged_corpus_is_told(tmp_path):
    path = tmp_path / "corpus.jsonl.xz"
    path.write_bytes(CORPUS.read_bytes()[:200_000])
    with pytest.raises(AttributionError, match="damaged"):
        build(Corpus(path), tmp_path / "index.db")


# -- an index is built -------------------------------------------------------------------------


def contents(path):
    with Index(path).open() as db:
        tables = ("documents", "pieces ORDER BY document, place")
        return [db.execute(f"SELECT * FROM {table}").fetchall() for table in tables]


def test_a_build_that_was_interrupted_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(indexes, "COMMIT_CHARS", 5_000)
    corpus = written(
        tmp_path / "corpus.jsonl",
        [{"text": f"# file {n}\n{CODE}", "path": f"{n}.py"} for n in range(30)],
    )
    build(corpus, tmp_path / "whole.db")

    def half(read, total):
        if read > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(corpus, tmp_path / "index.db", half)
    assert not (tmp_path / "index.db").exists()
    seen = []
    built = build(corpus, tmp_path / "index.db", lambda read, total: seen.append(read / total))
    assert seen[0] > 0.5 and seen == sorted(seen) and seen[-1] == 1
    assert built.documents == 30
    assert contents(tmp_path / "index.db") == contents(tmp_path / "whole.db")
    assert build(corpus, tmp_path / "index.db") is None  # it is there


def test_a_build_that_finds_no_room_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(indexes, "COMMIT_CHARS", 5_000)
    records = [{"text": f"# file {n}\n{CODE}", "path": f"{n}.py"} for n in range(30)]
    corpus, folder = written(tmp_path / "corpus.jsonl", records), tmp_path / "cache"

    def full(db, facts):
        keep(db, facts)
        if facts.get("documents"):
            size = db.execute("PRAGMA page_count").fetchone()[0]
            db.execute(f"PRAGMA max_page_count = {size}")  # as a disk that is full

    keep = indexes._keep
    monkeypatch.setattr(indexes, "_keep", full)
    with pytest.raises(AttributionError, match="full"):
        build(corpus, folder / "index.db")
    assert [path.name for path in folder.iterdir()] == ["index.db.lock"]
    monkeypatch.setattr(indexes, "_keep", keep)
    assert build(corpus, folder / "index.db").documents == 30


FAILURES = [
    sqlite3.OperationalError("disk I/O error"),
    PermissionError(13, "not yours"),
    OSError(errno.ENOSPC, "no room"),
    OSError(errno.EDQUOT, "no room"),
]


@pytest.mark.parametrize("error", FAILURES, ids=str)
def test_a_build_that_fails_goes_on_unless_the_disk_is_full(tmp_path, monkeypatch, error):
    monkeypatch.setattr(indexes, "COMMIT_CHARS", 5_000)
    records = [{"text": f"# file {n}\n{CODE}", "path": f"{n}.py"} for n in range(30)]
    corpus, part = written(tmp_path / "corpus.jsonl", records), tmp_path / "index.db.part"

    def half(read, total):
        if read > total / 2:
            raise error

    with pytest.raises(AttributionError, match="cannot be written"):
        build(corpus, tmp_path / "index.db", half)
    full = "no room" in str(error)
    assert part.exists() != full
    seen = []
    built = build(corpus, tmp_path / "index.db", lambda read, total: seen.append(read / total))
    assert built.documents == 30 and (seen[0] > 0.5) != full


def test_who_gets_no_lock_removes_nothing(tmp_path, monkeypatch):
    corpus = written(tmp_path / "corpus.jsonl", [{"text": CODE, "path": "a.py"}])
    part = tmp_path / "index.db.part"
    part.write_bytes(b"what another process is building")

    def no_lock(path):
        raise OSError(errno.ENOLCK, "no locks")

    with monkeypatch.context() as patch:
        patch.setattr(indexes, "FileLock", no_lock)
        with pytest.raises(AttributionError, match="cannot be written"):
            build(corpus, tmp_path / "index.db")
    assert part.read_bytes() == b"what another process is building"
    assert build(corpus, tmp_path / "index.db").documents == 1


def test_what_a_build_left_damaged_is_made_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(indexes, "COMMIT_CHARS", 5_000)
    corpus = written(
        tmp_path / "corpus.jsonl", [{"text": f"{n}\n{CODE}", "path": f"{n}.py"} for n in range(60)]
    )

    def half(read, total):
        if read > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(corpus, tmp_path / "index.db", half)
    part = tmp_path / "index.db.part"
    with part.open("r+b") as file:
        file.seek(8192)
        file.write(b"x" * (part.stat().st_size - 8192))
    assert build(corpus, tmp_path / "index.db").documents == 60
    assert find_matches(Index(tmp_path / "index.db"), CODE[:300])


def test_an_index_does_not_overwrite_what_is_none(tmp_path, capsys):
    corpus = written(tmp_path / "corpus.jsonl", [{"text": CODE, "path": "a.py"}])
    (tmp_path / "notes.txt").write_text("mine")
    argv = ["build", str(corpus.path), "--out", str(tmp_path / "notes.txt")]
    assert command.main(argv) == 1
    assert "is not an index" in capsys.readouterr().err
    assert (tmp_path / "notes.txt").read_text() == "mine"
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "a.py").write_text(CODE)
    with pytest.raises(AttributionError, match="cannot stand in the folder"):
        build(Corpus(tmp_path / "code"), tmp_path / "code" / "index.db")


def test_a_text_that_is_damaged_is_told_without_the_text(tmp_path):
    index = made(tmp_path, {"text": CODE, "path": "a.py"})
    content = index.path.read_bytes()
    index.path.write_bytes(content.replace(b"def function_5(", b"\xff\xfff function_5(", 1))
    with pytest.raises(DamagedIndex) as told:
        find_matches(index, CODE[:200])
    assert "function" not in str(told.value)


def test_another_corpus_makes_another_index(tmp_path):
    made(tmp_path, {"text": CODE, "path": "a.py"})
    (tmp_path / "index.db.part").write_bytes(b"what another build left")
    index = made(tmp_path, {"text": CODE, "path": "b.py"})
    assert [match.path for match in find_matches(index, CODE[:200])] == ["b.py"]


def test_two_programs_build_one_index(tmp_path):
    code = (
        "import sys; from assistant.attribution.shipped import shipped_index\n"
        "print(shipped_index().documents)"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    assert [program.communicate()[0] for program in programs] == ["993\n", "993\n"]
    assert len(list(tmp_path.rglob("*.db*"))) == 2  # the index, and its lock


@pytest.mark.parametrize("at", ["start", "half", "cut"])
def test_a_damaged_index_is_built_again(tmp_path, shipped, monkeypatch, at):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    built = []
    monkeypatch.setattr(shipping, "build", lambda *args: built.append(build(*args)))
    name = f"sources-{indexes.VERSION}-{Corpus(CORPUS).fingerprint[:16]}.db"
    path = tmp_path / "tech-assistant" / name
    path.parent.mkdir()
    shutil.copy(shipped.path, path)
    size = path.stat().st_size
    with path.open("r+b") as file:
        if at == "cut":
            file.truncate(size // 2)
        else:
            file.seek(size // 2 // 4096 * 4096 if at == "half" else 0)
            file.write(random.Random(3).randbytes(200_000))
    index = shipping.shipped_index()
    assert built[-1].documents == 993
    assert search(index, QUEUES)[0].path.endswith("queue.rst.txt")


def test_damage_is_told_where_it_is_met(tmp_path):
    index = made(tmp_path, {"text": CODE, "path": "a.py"})
    index.path.write_bytes(b"SQLite format 3\0" + b"x" * 5_000)
    with pytest.raises(DamagedIndex):
        find_matches(index, CODE[:200])
    with pytest.raises(DamagedIndex):
        index.check()
    with pytest.raises(AttributionError, match="no index"):
        Index(tmp_path / "none.db")


def test_threads_share_an_index(shipped, texts):
    snippet = texts["library/queue.rst.txt"][1000:1300]
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(find_matches(shipped, snippet)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and all(each == found[0] for each in found)


# -- the command line --------------------------------------------------------------------------


def test_a_terminal_may_lack_a_character(tmp_path, monkeypatch):
    index = made(tmp_path, {"text": CODE, "path": "é.py"})
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", terminal)
    assert command.main(["search", "return value", "--index", str(index.path)]) == 0
    assert b"?.py, lines" in terminal.buffer.getvalue()


def test_the_command_line(tmp_path, capsys, monkeypatch):
    written(tmp_path / "corpus.jsonl", [{"text": CODE, "path": "a.py", "licence": "MIT"}])
    index = str(tmp_path / "index.db")
    assert command.main(["build", str(tmp_path / "corpus.jsonl"), "--out", index]) == 0
    assert capsys.readouterr().out.startswith("1 documents, ")

    def ask(*args, text=CODE[:300]):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        assert command.main([*args, "--index", index]) == 0
        return capsys.readouterr().out

    (match,) = json.loads(ask("check", "--json"))
    assert (match["path"], match["start_line"], match["licence"]) == ("a.py", 1, "MIT")
    assert match["length"] == len(flat(match["text"])) and match["end_line"] > 5
    assert json.loads(ask("check", "--json", text="nothing of it")) == []
    assert "match a.py, lines 1-" in ask("check")
    (hit,) = json.loads(ask("search", "--json", '"return value * 4"'))
    assert (hit["path"], hit["language"], hit["licence"]) == ("a.py", "Python", "MIT")
    assert hit["text"][slice(*hit["marks"][0])] == "return value * 4"
    assert "a.py, lines" in ask("search", "return value", "offset_2")

    assert command.main(["search", "a", "--index", index]) == 1
    assert capsys.readouterr().err == "A word to search for needs at least 3 characters.\n"
    assert command.main(["check", "--index", str(tmp_path / "none")]) == 1
    assert "no index" in capsys.readouterr().err
