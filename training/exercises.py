"""Exercises: questions whose subject is code - explain it, write it, fix it.

Knows which functions of the standard library read well on their own, and the small programs of
writings.toml. The ways to break code are those of mistakes.py. Knows nothing of phrasings but
where they stand. `python -m training.exercises` prints counts and samples.
"""

import ast
import builtins
import random
import re
import symtable
import textwrap
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from training.mistakes import MISTAKES, broken, off_by_one
from training.sentences import WORDS, third_person
from training.topics import CORES, NO_MODULES, Topic

WRITINGS = tomllib.loads(Path(__file__).with_name("writings.toml").read_text("utf-8"))
LINES, WIDTH = 12, 76  # what a block of code may take
PART = 7  # how many methods of one class
BROKEN_LINES, BROKEN = 8, 16  # lines of a broken snippet; how many of each mistake
PUBLIC = {"_pydecimal": "decimal", "_collections_abc": "collections.abc"}
PUBLIC |= dict.fromkeys(("posixpath", "genericpath"), "os.path")
HOW = ("How do I {}?", "How can I {} in Python?", "How to {}", "Show me how to {}.", "{}.")
NOT_TAUGHT = re.compile(rf"(.*\.)?_.*|{'|'.join(WRITINGS['no_modules'])}|{NO_MODULES.pattern}")
_UNCLEAR = re.compile(r"->|=>|\.\.\.|internal|helper|deprecated|[Ss]ee |\bXXX\b|[{}<>|]|, e\.g|\* ")
_VERBS = {verb.lower() for verb in WORDS["verbs"]}
_VERBS |= {"yield", "call", "send", "close", "keep", "collect", "truncate"}
_FURTHER = re.compile(rf"((?:and|or|otherwise|\w,) )({'|'.join(sorted(_VERBS))})(?= [A-Za-z])")
_THIRD = {third_person(verb) for verb in _VERBS}


@dataclass(frozen=True, slots=True)
class Snippet:
    """A short program. name: of what it defines. says: what it does, in the third person, without
    a full stop. whole: the code with its imports, "" when it does not stand on its own. check: an
    expression that is true after it has run, "" for none."""

    name: str
    module: str
    code: str
    says: str
    whole: str = ""
    check: str = ""


def fenced(code):
    return f"```python\n{code}\n```"


# ---------------------------------------------------------------------------------------------
# The standard library


def snippets(documents):
    """The short functions of `documents` whose docstring says plainly what they do."""
    found, of_class = {}, Counter()
    for document in documents:
        module = re.sub(r"/__init__$", "", document.path.removesuffix(".py")).replace("/", ".")
        module = PUBLIC.get(module, module)
        if not document.code or document.held_out or NOT_TAUGHT.fullmatch(module):
            continue
        lines, tree = document.text.split("\n"), ast.parse(document.text)
        imports = _imports(tree)
        for node, owner in _functions(tree):
            says = description(ast.get_docstring(node) or "", [a.arg for a in node.args.args])
            code = says and _without_docstring(node, lines)
            if code and _reads_well(code):
                name = ".".join(filter(None, (module, owner, node.name)))
                whole = "" if owner else _standalone(code, imports)
                if of_class[module, owner] < PART or not owner:
                    found.setdefault(name, Snippet(name, module, code, says, whole))
                    of_class[module, owner] += 1
    codes = Counter(snippet.code for snippet in found.values())
    left_out = set(WRITINGS["left_out"])
    return [s for s in found.values() if codes[s.code] == 1 and s.name not in left_out]


def _functions(tree, owner=""):
    """(definition, name of its class or "") of the public functions and methods in `tree`."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not owner and not node.name.startswith("_"):
            yield from _functions(node, node.name)
        elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node, owner


def description(docstring, parameters=()):
    """The first sentence of `docstring` in the third person, or "" when it is none.

    parameters: names, which some docstrings write in capitals or between quotes.
    """
    paragraph = " ".join(docstring.split("\n\n")[0].split())
    sentence = re.split(r"(?<=[^\s.][^\s.][.!])\s+", paragraph)[0].rstrip(".!")
    sentence = re.sub(r"(?<![\w*])\*+(\w+)\*(?!\*)", r"`\1`", sentence)
    sentence = re.sub(r"`+([^`']+)[`']+", r"`\1`", sentence)
    sentence = re.sub(r" \(([^()]|\([^()]*\))*\)$", "", sentence)
    for name in parameters:
        sentence = re.sub(rf"'{name}'|\b{name.upper()}\b(?<=\w\w)", f"`{name}`", sentence)
    first, _, rest = sentence.partition(" ")
    verb = third_person(first) if first.lower() in _VERBS else first.lower()
    fits = verb in _THIRD and 20 <= len(sentence) <= 150 and sentence.isascii()
    if not fits or _UNCLEAR.search(sentence) or sentence.count("`") % 2:
        return ""
    return third(f"{first} {rest}") if first.lower() in _VERBS else f"{verb} {rest}"


def third(infinitive):
    """ "Find the gcd and return it" as "finds the gcd and returns it"."""
    verb, _, rest = infinitive.partition(" ")
    return f"{third_person(verb)} " + _FURTHER.sub(lambda m: m[1] + third_person(m[2]), rest)


def _without_docstring(node, lines):
    """The source of `node`, dedented; "" when it is too short, too long or too wide."""
    first = min([node.lineno, *(d.lineno for d in node.decorator_list)]) - 1
    doc = node.body[0]
    kept = lines[first : doc.lineno - 1] + lines[doc.end_lineno : node.end_lineno]
    code = textwrap.dedent("\n".join(line.rstrip() for line in kept if line.strip()))
    taken = code.split("\n")
    fits = 3 <= len(taken) <= LINES and max(map(len, taken)) <= WIDTH and len(node.body) > 1
    return code if fits and code.isascii() else ""


def _reads_well(code):
    """Whether `code` says something without the rest of its module."""
    private = re.findall(r"(?<![\w.])_[a-z]\w+|\b[A-Z_]{3,}\b|__\w+|\b(?:self|cls)\._", code)
    return len(private) <= 1 and not re.search(r"warn|XXX|FIXME|super\(|NotImplemented", code)


def free_names(code):
    """The names that `code` neither defines, imports nor finds among the builtins."""
    tables, free = [symtable.symtable(code, "", "exec")], set()
    symbols = tables[0].get_symbols()
    defined = {s.get_name() for s in symbols if s.is_assigned() or s.is_imported()}
    while tables:
        table = tables.pop()
        tables += table.get_children()
        top = table.get_type() == "module"
        free |= {s.get_name() for s in table.get_symbols() if top or s.is_global()}
    return free - defined - set(dir(builtins))


def _imports(tree):
    """The import statements at the top of `tree` by the names that they bind."""
    found = {}
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom) and not getattr(node, "level", 0):
            for alias in node.names:
                one = type(node)(**{**vars(node), "names": [alias]})
                found[alias.asname or alias.name.split(".")[0]] = ast.unparse(one)
    return found


def _standalone(code, imports):
    """`code` below the imports that it needs; "" when it needs more, or gets too long."""
    needed = [imports.get(name, "") for name in sorted(free_names(code))]
    whole = "\n".join([*needed, "", code] if needed else [code])
    return whole if all(needed) and whole.count("\n") < LINES else ""


# ---------------------------------------------------------------------------------------------
# Topics


def written():
    """(snippet, infinitives that ask for it, the sentence before the code) of writings.toml."""
    for entry in WRITINGS["writing"]:
        code = entry["code"].strip()
        says = third(entry["ask"][0])
        snippet = Snippet(entry["name"], "", code, says, code, entry["check"])
        yield snippet, entry["ask"], entry["say"]


def exercises(documents, seed=5):
    """The topics of the kinds code, write and fix, in a fixed order."""
    library, own = snippets(documents), list(written())
    found = [_explained(snippet) for snippet in [*library, *(entry[0] for entry in own)]]
    for snippet, asked, said in own:
        asks = CORES["write"]
        if not _is_function(snippet):
            asks = [core for core in asks if "function" not in core]
        asks = (*asks, *(form.format(ask) for ask in asked for form in HOW))
        names = tuple(map(third, asked))
        found.append(_topic("write", snippet, names, asks, f"{said}\n\n{fenced(snippet.whole)}"))
    for snippet in library:
        if snippet.whole:
            said = f"This function {snippet.says}:\n\n{fenced(snippet.whole)}"
            found.append(_topic("write", snippet, (snippet.says,), tuple(CORES["write"]), said))
    return found + list(_broken([snippet for snippet, _, _ in own] + library, seed))


def _is_function(snippet):
    return f"def {snippet.name.rpartition('.')[2]}(" in snippet.code


def _topic(kind, snippet, names, asks, said):
    return Topic(f"{kind} {snippet.name}", kind, snippet.module, names, asks, said)


def _explained(snippet):
    name = snippet.name.rpartition(".")[2]
    said = f"`{name}` {snippet.says}." if _is_function(snippet) else f"This code {snippet.says}."
    return _topic("code", snippet, (fenced(snippet.code),), tuple(CORES["code"]), said)


def _broken(pool, seed):
    """Up to BROKEN topics of each mistake, the snippets as different as can be."""
    rng, used = random.Random(seed), Counter()
    pool = [s for s in pool if (s.whole or s.code).count("\n") < BROKEN_LINES]
    for mistake in MISTAKES:
        made = []
        for snippet in sorted(rng.sample(pool, len(pool)), key=lambda s: used[s.name]):
            code = snippet.whole or snippet.code
            places = broken(mistake, code)
            if places and (snippet.check or mistake is not off_by_one) and len(made) < BROKEN:
                wrong, said = rng.choice(places)
                key = f"fix {mistake.__name__} {snippet.name}"
                said = f"{said}\n\n{fenced(code)}"
                asks = tuple(CORES["fix"])
                made.append(Topic(key, "fix", snippet.module, (fenced(wrong),), asks, said))
                used[snippet.name] += 1
        yield from made


def main():
    from training.corpus import documents

    found, rng = exercises(documents()), random.Random()
    for kind in ("code", "write", "fix"):
        of_kind = [topic for topic in found if topic.kind == kind]
        for topic in rng.sample(of_kind, 3):
            core = rng.choice(topic.asks).replace("{x}", rng.choice(topic.names))
            print(f"--- {topic.key}\n{core}\n\n> {topic.answer}\n")
        print(f"{len(of_kind)} of the kind {kind}\n")


if __name__ == "__main__":
    main()
