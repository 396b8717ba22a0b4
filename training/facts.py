"""What the documentation says, as facts: one name, one short text, its parameters, an example.

Knows the layout of the reference pages, the glossary and the FAQ. Knows nothing of questions.
"""

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

from training.corpus import DOCS, plain

# Their names win over those of other pages.
FIRST_PAGES = ("functions.rst.txt", "stdtypes.rst.txt", "exceptions.rst.txt")


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that the documentation says.

    kind: function, class, exception, statement, module, term or question. name: how the
    documentation calls it ("itertools.accumulate", "dict.get"); of a question its wording. text:
    the first sentences. module: where it is documented, "" for what is built in. parameters:
    (name, default or "" or None when it must be given) of a call. example: a doctest, or "".
    of_class: whether it is a method.
    """

    kind: str
    name: str
    text: str
    module: str = ""
    parameters: tuple[tuple[str, str | None], ...] = ()
    example: str = ""
    of_class: bool = False


_NOWHERE = "(no such page here)"  # stands for a bare cross-reference; its sentence is not taken
_ELSEWHERE = re.compile(  # what the sentence speaks of stands elsewhere on its page
    re.escape(_NOWHERE) + r"|\b(below|above|following types|this conversion table)\b"
)
_SENTENCE_END = re.compile(r"(?<=[.!?])(?<!e\.g\.)(?<!i\.e\.)\s+(?=[A-Z`])")
_DIRECTIVE = re.compile(
    r"^( *)\.\. (function|class|(?:class|static)?method|decorator|exception|(?:current)?module)"
    r":: *(.+)$"
)
_QUESTION = re.compile(r"^([A-Z][^\n]{8,90}\?)\n-{5,}\n\n(.+?\n\n.+?)\n(?:\n|$)", re.M | re.S)
_STATEMENT = re.compile(r"^(The :keyword:`!?(\w+)` statement (?:.+\n)+)", re.M)


def _inline(rst):
    """A paragraph of `rst` on one line, emphasis and footnote marks taken off."""
    text = re.sub(r":ref:`[^`<]+`", _NOWHERE, rst)
    text = re.sub(r"\s*\[[#\w-]+\]_", "", plain(text))
    text = re.sub(r"`([^`]+)`__?(?!\w)|\b([a-z]+)_(?=[\s,.)])", r"\1\2", text)
    text = re.sub(r"(?<![\w*`])\*([^*\s][^*]*?)\*(?![\w*])", r"`\1`", text)
    return re.sub(r"\s+", " ", text.replace("\\", "").replace("|version|", "3.11")).strip()


def first_sentences(paragraph, limit):
    """As many whole sentences as fit into `limit` characters, or "" when the first does not."""
    taken = ""
    for sentence in _SENTENCE_END.split(paragraph):
        longer = f"{taken} {sentence}".strip()
        if len(longer) > limit or _ELSEWHERE.search(sentence) or sentence.startswith("See "):
            break
        taken = longer
    return taken if taken.endswith((".", "!", "?")) else ""


def facts(docs=DOCS, limit=150):
    """The facts of the library reference, the statements, the glossary and the FAQ, in order.

    limit: characters of a text, in whole sentences. Names are unique: the first one wins.
    """
    docs, found = Path(docs), {}
    pages = sorted((docs / "library").glob("*.rst.txt"))
    for path in sorted(pages, key=lambda page: page.name not in FIRST_PAGES):
        for fact in _reference_facts(path.read_text("utf-8"), limit):
            bare = fact.kind in ("function", "class") and "." not in fact.name
            if path.name in FIRST_PAGES or not bare:
                known = found.setdefault(fact.name, fact)
                if fact.kind == "class" and known.kind == "function":
                    found[fact.name] = fact  # `datetime.time` is a class and a method of another
    for path in sorted((docs / "reference").glob("*_stmts.rst.txt")):
        for paragraph, keyword in _STATEMENT.findall(path.read_text("utf-8")):
            text = first_sentences(re.sub(r":+$", ".", _inline(paragraph)), 2 * limit)
            if text:
                name = f"{keyword} statement"
                found.setdefault(name, Fact("statement", name, text))
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
    lines, module, classes = rst.split("\n"), "", []
    for number, line in enumerate(lines):
        match = _DIRECTIVE.match(line)
        if not match:
            continue
        indent, kind, signature = len(match[1]), match[2], match[3]
        classes = [(at, name) for at, name in classes if at < indent]
        body = _body(lines, number + 1, indent)
        if kind.endswith("module"):
            module = signature.strip()
        if kind == "currentmodule":
            continue
        if kind == "module":
            synopsis = re.search(r":synopsis: (.+(?:\n(?! *:)\s+\S.*)*)", body)
            if synopsis and not synopsis[1].startswith("Deprecated"):
                text = _inline(synopsis[1]).rstrip(".;") + "."
                yield Fact("module", module, text, module)
            continue
        name, bracket, _ = re.sub(r"^(class|async) ", "", signature).partition("(")
        name = name.strip() if bracket else name.partition("[")[0].strip()
        if kind in ("class", "exception"):
            classes.append((indent, name.rpartition(".")[2]))
        paragraph = next((p for p in body.split("\n\n") if re.match(r"[A-Z`*:]\S*\s+\S", p)), "")
        text = first_sentences(_inline(paragraph), limit)
        if not text or not name.isascii() or not re.fullmatch(r"[\w.]+", name):
            continue
        of_class = kind in ("method", "classmethod", "staticmethod")
        if of_class and "." not in name and classes:
            name = f"{classes[-1][1]}.{name}"
        if of_class and name.startswith("time."):
            name = f"datetime.{name}"  # not of the module of that name
        elif module and not of_class and not name.startswith(module + "."):
            name = name if "." in name else f"{module}.{name}"
        kind = kind if kind in ("class", "exception") else "function"
        taken = () if module == "typing" else parameters(signature)  # there: what it derives from
        yield Fact(kind, name, text, module, taken, _doctest(body), of_class)


def parameters(signature):
    """((name, default), ...) of a documented signature such as `f(a, b=1[, c], *, d=None)`.

    default: None for what must be given, "" for what may be left out without a stated default.
    () for a signature that is none, or in a notation of its own.
    """
    inside = re.fullmatch(r"[^(]*\((.*)\)", signature.replace("\\", ""))
    found, optional = [], 0
    for part in re.findall(r"[\[\]]|[^,\[\]]+", inside[1] if inside else ""):
        if part in "[]":
            optional += 1 if part == "[" else 0
            continue
        name, equals, default = (piece.strip() for piece in part.partition("="))
        if name in ("", "/", "*"):
            continue
        if not re.fullmatch(r"\*{0,2}[A-Za-z_]\w*", name) or "(" in default:
            return ()
        left_out = default if equals else "" if optional or name.startswith("*") else None
        found.append((name, left_out))
    return tuple(found)


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
