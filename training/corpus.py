"""The corpus: Python's documentation and standard library, as documents and as facts.

Knows the layout of the documentation's reStructuredText sources and which folders of the library
are tests. Knows nothing of tokens or dialogues. Everything here is under the PSF licence (PSF-2.0).
"""

import hashlib
import re
import sysconfig
import textwrap
from dataclasses import dataclass
from pathlib import Path

DOCS = Path("/usr/share/doc/python3.11/html/_sources")  # Debian's package python3.11-doc
STDLIB = Path(sysconfig.get_path("stdlib"))
DOC_PARTS = ("library", "reference", "tutorial", "howto", "faq", "glossary.rst.txt")
NOT_SOURCE = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}
NOT_SOURCE |= {"lib2to3", "idlelib", "turtledemo", "pydoc_data", "ensurepip", "lib-dynload"}
FIRST_PAGES = ("functions.rst.txt", "stdtypes.rst.txt")  # their names win over methods of others
HELD_OUT = 40  # one document of so many is never trained on


@dataclass(frozen=True, slots=True)
class Document:
    """path: relative to its root. code: Python source rather than prose."""

    path: str
    text: str
    code: bool

    @property
    def held_out(self):
        return hashlib.sha256(self.path.encode()).digest()[0] % HELD_OUT == 0


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that the documentation says. kind: function, class, module, term or question.

    name: how the documentation calls it ("itertools.accumulate", "str.join"); for a question its
    wording. text: the first sentences. example: a doctest, or "".
    """

    kind: str
    name: str
    text: str
    example: str = ""


def documents(docs=DOCS, stdlib=STDLIB):
    """All documents in a fixed order, without duplicates. Raises FileNotFoundError."""
    for folder, package in ((docs, "python3.11-doc"), (stdlib, "Python's standard library")):
        if not Path(folder).is_dir():
            raise FileNotFoundError(f"{folder} is no folder: it should hold {package}.")
    found, seen = [], set()
    for path in _doc_files(Path(docs)):
        found.append(Document(str(path.relative_to(docs)), plain(path.read_text("utf-8")), False))
    for path in sorted(Path(stdlib).rglob("*.py")):
        inside = path.relative_to(stdlib)
        if not NOT_SOURCE & set(inside.parts) and not inside.parts[0].startswith("config-"):
            found.append(Document(str(inside), path.read_text("utf-8", "replace"), True))
    unique = []
    for document in found:
        if len(document.text) > 200 and document.text not in seen:
            seen.add(document.text)
            unique.append(document)
    return unique


def _doc_files(docs):
    for part in DOC_PARTS:
        path = docs / part
        yield from sorted(path.rglob("*.rst.txt")) if path.is_dir() else [path]


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


def _inline(rst):
    """A paragraph of `rst` on one line, emphasis and footnote marks taken off."""
    text = re.sub(r":ref:`[^`<]+`", _NOWHERE, rst)
    text = re.sub(r"\s*\[[#\w-]+\]_", "", plain(text))
    text = re.sub(r"`([^`]+)`__?(?!\w)|\b([a-z]+)_(?=[\s,.)])", r"\1\2", text)
    text = re.sub(r"(?<![\w*`])\*([^*\s][^*]*?)\*(?![\w*])", r"`\1`", text)
    return re.sub(r"\s+", " ", text.replace("\\", "").replace("|version|", "3.11")).strip()


# ---------------------------------------------------------------------------------------------
# Facts

_NOWHERE = "(no such page here)"  # stands for a bare cross-reference; its sentence is not taken
_SENTENCE_END = re.compile(r"(?<=[.!?])(?<!e\.g\.)(?<!i\.e\.)\s+(?=[A-Z`])")
_DIRECTIVE = re.compile(r"^( *)\.\. (function|class|method|decorator|module):: *(.+)$")
_QUESTION = re.compile(r"^([A-Z][^\n]{8,90}\?)\n-{5,}\n\n(.+?\n\n.+?)\n(?:\n|$)", re.M | re.S)


def first_sentences(paragraph, limit):
    """As many whole sentences as fit into `limit` characters, or "" when the first does not."""
    taken = ""
    for sentence in _SENTENCE_END.split(paragraph):
        longer = f"{taken} {sentence}".strip()
        if len(longer) > limit or _NOWHERE in longer or sentence.startswith("See "):
            break
        taken = longer
    return taken if taken.endswith((".", "!", "?")) else ""


def facts(docs=DOCS, limit=150):
    """The facts of the library reference, the glossary and the FAQ, in a fixed order.

    limit: characters of an answer, in whole sentences. Names are unique: the first one wins.
    """
    docs, found = Path(docs), {}
    pages = sorted((docs / "library").glob("*.rst.txt"))
    for path in sorted(pages, key=lambda page: page.name not in FIRST_PAGES):
        for fact in _reference_facts(path.read_text("utf-8"), limit):
            if path.name in FIRST_PAGES or fact.kind == "module" or "." in fact.name:
                found.setdefault(fact.name, fact)
    for term, body in _entries((docs / "glossary.rst.txt").read_text("utf-8")):
        text = first_sentences(_inline(body), limit)
        if text:
            found.setdefault(term, Fact("term", term, text))
    for path in sorted((docs / "faq").glob("*.rst.txt")):
        for title, body in _QUESTION.findall(path.read_text("utf-8")):
            first, _, second = body.partition("\n\n")
            whole = first if len(first) > 60 else f"{first}\n{second}"
            text = first_sentences(_inline(whole), 2 * limit)
            if text and "::" not in whole and not body.startswith((" ", ".", "*")):
                found.setdefault(_inline(title), Fact("question", _inline(title), text))
    return list(found.values())


def _reference_facts(rst, limit):
    """Facts of one page: its directives with the first paragraph below each."""
    lines, module = rst.split("\n"), ""
    for number, line in enumerate(lines):
        match = _DIRECTIVE.match(line)
        if not match:
            continue
        indent, kind, signature = len(match[1]), match[2], match[3]
        body = _body(lines, number + 1, indent)
        if kind == "module":
            module = signature.strip()
            synopsis = re.search(r":synopsis: (.+)", body)
            if synopsis and not synopsis[1].startswith("Deprecated"):
                yield Fact("module", module, _inline(synopsis[1]).rstrip(".;") + ".")
            continue
        name = re.split(r"[(\[ ]", signature.removeprefix("class "))[0]
        paragraph = next((p for p in body.split("\n\n") if re.match(r"[A-Z`*:]\S*\s+\S", p)), "")
        text = first_sentences(_inline(paragraph), limit)
        if not text or not name.isascii() or not re.fullmatch(r"[\w.]+", name):
            continue
        own = module and kind != "method" and "." not in name and not name.startswith(module + ".")
        kind = "function" if kind in ("method", "decorator") else kind
        yield Fact(kind, f"{module}.{name}" if own else name, text, _doctest(body))


def _body(lines, start, indent):
    """The indented block that begins at `start`, dedented; further names of a directive skipped."""
    taken = []
    for line in lines[start:]:
        if line.strip() and len(line) - len(line.lstrip()) <= indent:
            break
        taken.append(line)
    body = textwrap.dedent("\n".join(taken))
    return re.sub(r"^( *[\w.]+\([^\n]*\)\n)+", "", body).strip("\n")


def _doctest(body, most=6):
    """The first example of `body` that is complete within `most` lines, or "".

    A doctest, or the comments "# f(x) --> y" of the page on itertools.
    """
    arrows = re.findall(r"# (\w[\w.]*\(.*\) --> .+)", body)
    if arrows:
        return "\n".join(arrows[:2])
    for block in re.findall(r"(?:^ *>>> .*\n?(?:^ *\S.*\n?)*)", body, re.M):
        lines = textwrap.dedent(block).strip().split("\n")
        shown = lines[1:] and not lines[-1].startswith((">>>", "..."))
        if len(lines) <= most and shown and max(map(len, lines)) <= 76:
            return re.sub(r" *# ?doctest:.*", "", "\n".join(lines))
    return ""


def _entries(rst):
    """(term, first paragraph) of the glossary."""
    body = rst.partition(".. glossary::")[2]
    for match in re.finditer(r"^   (\S[^\n]*)\n((?:      [^\n]*\n)+)", body, re.M):
        if re.fullmatch(r"[\w -]+", match[1]):
            yield match[1], textwrap.dedent(match[2])
