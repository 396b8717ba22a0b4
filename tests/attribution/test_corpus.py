"""The corpus: its documents, their lines, titles and licences, and the file that keeps them."""

import json
import lzma

import pytest

from training import corpus
from training.corpus import CODE, PROSE, Document, plain, read_corpus, sift, write_corpus

BISECT = """:mod:`bisect` --- Array bisection
=================================

.. module:: bisect

.. _here:

Insert *x* in a :class:`list`.
"""
LONG = "It says something that is worth a line.\n" * 8
GPL = "# You can redistribute it under the terms of the GNU General Public License.\n"
MIT = '"""Tables."""\n# Permission is hereby  granted, free\n#  of charge, to any person\n'


def write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())


@pytest.fixture(scope="module")
def docs(tmp_path_factory):
    root = tmp_path_factory.mktemp("docs")
    parts = [part for part in corpus.DOC_PARTS if "." not in part]
    write(root, {f"{part}/page.rst.txt": f"{part}\n=======\n\n{part} {LONG}" for part in parts})
    write(root, {"library/bisect.rst.txt": BISECT + LONG, "library/short.rst.txt": BISECT})
    write(root, {"glossary.rst.txt": f"Glossary\n{LONG}", "whatsnew/3.11.rst.txt": f"New\n{LONG}"})
    return root


@pytest.fixture(scope="module")
def stdlib(tmp_path_factory):
    root, body = tmp_path_factory.mktemp("stdlib"), "\ndef add(a, b):\n    return a + b\n" * 8
    write(root, {f"module_{number}.py": f'"""Part {number}."""\n{body}' for number in range(90)})
    write(root, {"same.py": f'"""Part 7."""\n{body}', "blanks.py": f'"""Part 8."""\n\n\n{body}\n'})
    write(root, {"copyleft.py": GPL + body, "given.py": MIT + body})
    hidden = ("test/a.py", "site-packages/a.py", "config-3.11/a.py", "_sysconfigdata__linux.py")
    write(root, {name: f"{name}\n{LONG}" for name in hidden})
    return root


@pytest.fixture(scope="module")
def found(docs, stdlib):
    return {document.path: document for document in corpus.documents(docs, stdlib)}


# --- which documents


def test_documents_are_pages_and_modules_without_tests(found):
    assert {"library/bisect.rst.txt", "glossary.rst.txt", "module_1.py"} <= set(found)
    assert len(found) == 7 + 91  # pages, and modules with the one whose terms are known
    assert not {"whatsnew/3.11.rst.txt", "_sysconfigdata__linux.py"} & set(found)
    assert {found[path].source for path in ("glossary.rst.txt", "given.py")} == {PROSE, CODE}


def test_dropped_documents_are_counted_by_their_reason(docs, stdlib, found):
    kept, dropped = sift(corpus.found(docs, stdlib))
    assert kept == list(found.values())
    assert dropped == {
        "too short": 1,
        "the same as another": 1,
        "the same but for blanks": 1,
        "licence unclear": 1,
    }
    assert "blanks.py" in found and "module_8.py" not in found  # the first one is kept


def test_whole_documents_are_held_out_for_good(found):
    held_out = {path for path, document in found.items() if document.held_out}
    assert held_out == {"module_83.py"}  # and the same on every machine


def test_a_missing_folder_is_named(tmp_path, docs):
    with pytest.raises(FileNotFoundError, match="python3.11-doc"):
        corpus.documents(tmp_path / "nothing", tmp_path)
    with pytest.raises(FileNotFoundError, match="standard library"):
        corpus.documents(docs, tmp_path / "nothing")


# --- what a document is


def test_the_text_keeps_the_lines_of_the_file(tmp_path, docs):
    text = "# \x0cone\u2028half\n\n\n\n# two\x85\r\n# three\n" + LONG
    write(tmp_path, {"odd.py": text, "even.py": LONG})
    lines = {d.path: d.text for d in corpus.documents(docs, tmp_path)}["odd.py"].split("\n")
    assert lines == (tmp_path / "odd.py").read_bytes().decode().split("\n")
    assert lines[6 - 1] == "# three"


def test_prose_is_learned_without_its_mark_up(found):
    page, module = found["library/bisect.rst.txt"], found["module_1.py"]
    assert page.text == BISECT + LONG
    assert page.learned.startswith("`bisect` --- Array bisection\n===")
    assert module.learned is module.text


@pytest.mark.parametrize(
    ("rst", "text"),
    [
        ("See :func:`~itertools.tee` and ``x``.", "See `itertools.tee` and `x`."),
        (":term:`iterables <iterable>` in :pep:`8`", "iterables in PEP 8"),
        ("`the page <https://python.org>`_", "the page"),
        ("a\n.. index:: a\n.. _here:\nb", "a\nb"),
        ("a\n\n\n\nb", "a\n\nb"),
    ],
)
def test_inline_markup_becomes_plain(rst, text):
    assert plain(rst) == text


@pytest.mark.parametrize(
    ("path", "text", "title"),
    [
        ("a.rst.txt", BISECT, "bisect — Array bisection"),
        ("a.rst.txt", "****\nA  *b*\n****\n\nSection\n-------\n", "A b"),
        ("a.rst.txt", ".. _here:\n\n====  ====\none   two\n====  ====\n", "a.rst.txt"),
        ("a.py", '# c\n\nr"""\n  Read  files.\n\n  More.\n"""\n', "Read files."),
        ("a.py", "'One.'\n", "One."),
        ("a.py", 'x = 1\n"""No docstring."""\n', "a.py"),
        ("a.py", '""" """\n', "a.py"),
        ("a.py", "print 'old'\n", "a.py"),
    ],
)
def test_titles(path, text, title):
    assert Document(path, text, path.endswith(".py")).title == title


# --- licences


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        ("x = 1\n", "PSF-2.0"),
        ("# Copyright 2007 A. All Rights Reserved.\n# Licensed to PSF under a", "PSF-2.0"),
        ("# You may redistribute it\n# under the same terms as Python itself", "PSF-2.0"),
        ("# SPDX-License-Identifier: MIT\n", "PSF-2.0 AND MIT"),
        (MIT, "PSF-2.0 AND MIT"),
        ("# Licensed under the Apache License,\n# Version 2.0", "PSF-2.0 AND Apache-2.0"),
        (GPL, ""),
        (MIT + GPL, ""),
        ("# SPDX-License-Identifier: LGPL-2.1-only\n", ""),
        ("# SPDX-License-Identifier: BUSL-1.1\n", ""),
        ("# Licensed under the terms of the Foo.", ""),
        ("# Permission to use, copy and sell this is granted to friends.", ""),
    ],
)
def test_a_licence_is_what_the_file_says_or_unclear(text, licence):
    assert Document("a.py", text, True).licence == licence


def test_code_in_the_documentation_has_two_licences(found):
    assert found["library/bisect.rst.txt"].licence == "PSF-2.0 AND 0BSD"


@pytest.mark.parametrize(
    ("name", "licence"),
    [
        ("bisect", "PSF-2.0"),
        ("logging/config", "PSF-2.0 AND HPND"),
        ("optparse", "PSF-2.0 AND BSD-3-Clause"),
        ("platform", "PSF-2.0 AND LicenseRef-eGenix"),
        ("profile", "PSF-2.0 AND Apache-2.0"),
        ("sqlite3/dbapi2", "PSF-2.0 AND Zlib"),
        ("tarfile", "PSF-2.0 AND MIT"),
        ("trace", "PSF-2.0 AND HPND"),
        ("turtle", "PSF-2.0 AND Zlib"),
        ("unittest/__init__", "PSF-2.0"),
        ("urllib/robotparser", "PSF-2.0"),
        ("wsgiref/validate", "PSF-2.0 AND (MIT OR Apache-2.0)"),
        ("xml/etree/ElementTree", "PSF-2.0 AND MIT-CMU"),
    ],
)
def test_licences_of_the_real_library(name, licence):
    path = corpus.STDLIB / f"{name}.py"
    if not path.is_file():  # Debian puts some modules into packages of their own
        pytest.skip(f"no {path.name} here")
    assert Document(f"{name}.py", path.read_text("utf-8"), True).licence == licence


# --- the file


def test_a_corpus_is_read_as_it_was_written(tmp_path, found):
    documents = [*found.values(), Document("é.py", "# 😀\u2028\r\n" + LONG, True)]
    path = tmp_path / "new" / "corpus.jsonl.xz"
    write_corpus(documents, path)
    assert read_corpus(path) == documents
    first = path.read_bytes()
    write_corpus(iter(documents), path)
    assert path.read_bytes() == first


def test_a_line_of_the_file_says_whose_text_it_is(tmp_path, docs, stdlib, capsys):
    path = tmp_path / "corpus.jsonl.xz"
    corpus.main(["--out", str(path), "--docs", str(docs), "--stdlib", str(stdlib)])
    rows = [json.loads(line) for line in lzma.decompress(path.read_bytes()).splitlines()]
    page = next(row for row in rows if row["path"] == "library/bisect.rst.txt")
    assert page == {
        "path": "library/bisect.rst.txt",
        "title": "bisect — Array bisection",
        "licence": "PSF-2.0 AND 0BSD",
        "source": "Python 3.11 documentation",
        "text": BISECT + LONG,
        "held_out": False,
    }
    assert sum(row["held_out"] for row in rows) == 1
    own = {row["path"]: row for row in rows if row["source"].startswith("Tech Assistant's own")}
    assert "dict.fromkeys" in own["questions/lists.md"]["text"]
    assert own["programs/lists_1.py"]["licence"] == "Apache-2.0"
    assert compile(own["programs/lists_1.py"]["text"], "programs", "exec")
    assert len(read_corpus(path)) == len(rows) - len(own)
    printed = capsys.readouterr().out
    assert f"{PROSE}: 7 documents" in printed and "1 held out" in printed
    assert "dropped, licence unclear: 1" in printed
