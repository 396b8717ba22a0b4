"""The corpus: Python's documentation and standard library, as documents with their licences.

Knows the layout of the documentation's reStructuredText sources, which folders of the library are
tests, and the terms that stand in the files themselves. Knows nothing of tokens or dialogues.

    python -m training.corpus --out FILE.jsonl.xz     writes it down, for attribution
"""

import argparse
import ast
import hashlib
import json
import lzma
import re
import sysconfig
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from training import own

DOCS = Path("/usr/share/doc/python3.11/html/_sources")  # Debian's package python3.11-doc
STDLIB = Path(sysconfig.get_path("stdlib"))
DOC_PARTS = ("library", "reference", "tutorial", "howto", "faq", "glossary.rst.txt")
NOT_SOURCE = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}
NOT_SOURCE |= {"lib2to3", "idlelib", "turtledemo", "pydoc_data", "ensurepip", "lib-dynload"}
MADE_BY_BUILD = ("config-", "_sysconfigdata")  # they name folders of the machine that built them
HELD_OUT = 40  # one document of so many is never trained on
SHORTEST = 200  # characters; what is not longer says nothing
PROSE, CODE = "Python 3.11 documentation", "CPython standard library 3.11"


@dataclass(frozen=True, slots=True)
class Document:
    """A page or a module. path: relative to its root. code: Python source rather than prose.

    text: the file as it is, so that `text.split("\\n")[n - 1]` is its line n.
    """

    path: str
    text: str
    code: bool

    @property
    def source(self):
        return CODE if self.code else PROSE

    @property
    def learned(self):
        """The text as it is trained on: the source, or the prose without its inline mark-up."""
        return self.text if self.code else plain(self.text)

    @property
    def title(self):
        """The first line of the module's docstring or the first heading; else the path."""
        return (_docstring(self.text) if self.code else _heading(self.text)) or self.path

    @property
    def licence(self):
        """An SPDX expression, or "" for terms that are not known to be permissive.

        https://docs.python.org/3.11/license.html: Python and its documentation are under PSF-2.0,
        the code in the documentation under 0BSD too; parts of the library have further terms.
        """
        own = _own_terms(self.text)
        known = ("PSF-2.0",) if self.code else ("PSF-2.0", "0BSD")
        return "" if own is None else " AND ".join((*known, *own))

    @property
    def held_out(self):
        return hashlib.sha256(self.path.encode()).digest()[0] % HELD_OUT == 0


def documents(docs=DOCS, stdlib=STDLIB):
    """The documents of the corpus in a fixed order. Raises FileNotFoundError."""
    return sift(found(docs, stdlib))[0]


def found(docs=DOCS, stdlib=STDLIB):
    """Every page and module there is, in a fixed order. Raises FileNotFoundError."""
    for folder, package in ((docs, "python3.11-doc"), (stdlib, "Python's standard library")):
        if not Path(folder).is_dir():
            raise FileNotFoundError(f"{folder} is no folder: it should hold {package}.")
    for path in _doc_files(Path(docs)):
        yield Document(str(path.relative_to(docs)), _read(path), False)
    for path in sorted(Path(stdlib).rglob("*.py")):
        inside = path.relative_to(stdlib)
        if not NOT_SOURCE & set(inside.parts) and not inside.parts[0].startswith(MADE_BY_BUILD):
            yield Document(str(inside), _read(path), True)


def sift(documents):
    """(the documents worth keeping, Counter of why the others are dropped).

    Of documents that differ in blanks alone the first one is kept.
    """
    kept, dropped, seen = [], Counter(), {}
    for document in documents:
        words = " ".join(document.text.split())
        if len(document.learned) <= SHORTEST:
            dropped["too short"] += 1
        elif words in seen:
            same = seen[words] == document.text
            dropped["the same as another" if same else "the same but for blanks"] += 1
        elif not document.licence:
            dropped["licence unclear"] += 1
        else:
            kept.append(document)
            seen[words] = document.text
    return kept, dropped


def _doc_files(docs):
    for part in DOC_PARTS:
        path = docs / part
        yield from sorted(path.rglob("*.rst.txt")) if path.is_dir() else [path]


def _read(path):
    """The text of a file, its line ends untouched."""
    return path.read_bytes().decode("utf-8", "replace")


# ---------------------------------------------------------------------------------------------
# Titles

_HEADING = re.compile(r"^(?!\.\. )(.*\w.*)\n([=*#~^-])\2{2,}[ \t]*$", re.M)


def _heading(rst):
    match = _HEADING.search(rst)
    text = re.sub(r"[`*\\]", "", plain(match[1])) if match else ""
    return " ".join(text.replace("---", "—").split())


def _docstring(source):
    try:
        text = ast.get_docstring(ast.parse(source)) or ""
    except SyntaxError:
        return ""
    return " ".join(text.strip().split("\n")[0].split())


# ---------------------------------------------------------------------------------------------
# Licences

# Words that a file has where it states terms of its own (blanks and "#" aside) ...
_TERMS = re.compile(
    r"SPDX-License-Id|[Ll]icen[sc]ed under|[Pp]ermission (?:to use, copy|is hereby granted)"
    r"|[Rr]edistribut(?:e it|ed under|ion and use)|usage and redistribution"
    r"|GNU L?GPL|General Public Licen|\bA?GPL(?:v|-)\d|CC0 Public Domain"
)
# ... and those of the terms known here -> what they add to Python's licence, None: not permissive.
_KNOWN_TERMS = {
    r"two licenses when using this package: 1\) GNU GPLv2 2\) PSF license for Python": [],
    r"GNU L?GPL|General Public Licen|\bA?GPL(v|-)\d": None,
    r"SPDX-License-Identifier: MIT\b": ["MIT"],
    r"under the MIT license\b.{,90}\bunder the Apache License, 2\.0": ["(MIT OR Apache-2.0)"],
    r"Permission is hereby granted, free of charge, to any person": ["MIT"],
    r"Licensed under the Apache License, Version 2\.0": ["Apache-2.0"],
    r"Redistribution and use in source and binary forms.{,700}\bNeither the name": ["BSD-3-Clause"],
    r"must not be misrepresented; you must not claim that you wrote": ["Zlib"],
    r"By obtaining, using, and/or copying this software and/or its": ["MIT-CMU"],
    r"and distribute this (Python )?software and its (associated )?documentation for any purpose "
    r"(and )?without fee is hereby granted": ["HPND"],
    r"without fee or royalty is hereby granted.{,400}\bEGENIX\.COM": ["LicenseRef-eGenix"],
    r"redistributed under CNRI's Python 1\.6 license": ["CNRI-Python"],
    r"Secret Labs AB\. .{,90}information on usage and redistribution": ["CNRI-Python"],
    r"copy of the CC0 Public Domain Dedication": ["CC0-1.0"],
    r"under the same terms as Python itself": [],
}


def _own_terms(text):
    """The SPDX identifiers of the terms that a file states itself, or None where it states some
    that are not known here."""
    words = " ".join(text.replace("#", " ").split())
    if not _TERMS.search(words):
        return []
    return next((ids for terms, ids in _KNOWN_TERMS.items() if re.search(terms, words)), None)


# ---------------------------------------------------------------------------------------------
# reStructuredText -> plain text with back-quotes

_ROLE = re.compile(r":[a-zA-Z:]+:`([^`]+)`")
_LINK = re.compile(r"`([^`<]+?)\s*<[^`>]+>`__?")
_LITERAL = re.compile(r"``([^`]+)``")
_DROPPED = re.compile(r"^\s*\.\. (_[^:]+:|index::.*|XXX.*|sectionauthor::.*|moduleauthor::.*)$")


def _role(match):
    text = match.group(1)
    if "<" in text and not text.startswith("<"):
        text = text.split("<")[0].strip()
    text = text.removeprefix("~").removeprefix("!")
    role = match.group(0).split(":")[1]
    if role in ("pep", "rfc"):
        return f"{role.upper()} {text}"
    return text if role in ("term", "ref", "doc") else f"`{text}`"


def plain(rst):
    """`rst` with its inline mark-up as a reader of Markdown expects it; the blocks stay."""
    lines = [line.rstrip() for line in rst.split("\n") if not _DROPPED.match(line)]
    text = _LITERAL.sub(r"`\1`", "\n".join(lines))
    text = _LINK.sub(r"\1", _ROLE.sub(_role, text))
    return re.sub(r"\n{3,}", "\n\n", text)


# ---------------------------------------------------------------------------------------------
# The corpus as a file


def write_corpus(documents, path):
    """Writes JSON lines, compressed: path, title, licence, source, text, held_out of each document.

    The same documents give the same bytes. Folders above `path` are made.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    fields = ("path", "title", "licence", "source", "text", "held_out")
    with lzma.open(path, "wt", preset=9, encoding="utf-8", newline="\n") as file:
        for document in documents:
            row = {name: getattr(document, name) for name in fields}
            file.write(json.dumps(row) + "\n")


def read_corpus(path):
    """The pages and modules of a file that `write_corpus` wrote. Raises OSError or
    lzma.LZMAError."""
    with lzma.open(path, "rt", encoding="utf-8") as file:
        rows = [row for row in map(json.loads, file) if row["source"] in (PROSE, CODE)]
    return [Document(row["path"], row["text"], row["source"] == CODE) for row in rows]


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Write the corpus down and print its figures.")
    parser.add_argument("--out", type=Path, required=True, help="FILE.jsonl.xz")
    parser.add_argument("--docs", type=Path, default=DOCS)
    parser.add_argument("--stdlib", type=Path, default=STDLIB)
    args = parser.parse_args(arguments)
    kept, dropped = sift(found(args.docs, args.stdlib))
    ours = list(own.documents())
    write_corpus([*kept, *ours], args.out)
    print(f"{own.SOURCE}: {len(ours)} documents, {sum(len(o.text) for o in ours):,} characters")
    for source in (PROSE, CODE):
        of_source = [document for document in kept if document.source == source]
        size = sum(len(document.text) for document in of_source)
        held_out = sum(document.held_out for document in of_source)
        print(f"{source}: {len(of_source)} documents, {size:,} characters, {held_out} held out")
    for reason, count in dropped.items():
        print(f"dropped, {reason}: {count}")
    for licence, count in Counter(document.licence for document in kept).most_common():
        print(f"{licence}: {count}")
    print(f"{args.out}: {args.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
