"""Topics: what is taught, one answer each, and the questions that it answers.

Knows how a sentence of the documentation becomes an answer, and which facts are taught
(taught.toml). Knows nothing of openers, typos and dialogues.
"""

import builtins
import doctest
import importlib
import re
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).parent
_TAUGHT = tomllib.loads((_HERE / "taught.toml").read_text("utf-8"))
WORDS = tomllib.loads((_HERE / "phrasings.toml").read_text("utf-8"))
CORES = WORDS["cores"]
BREADTHS = {name: _TAUGHT[name] for name in ("few", "many")}
OFTEN = set(_TAUGHT["often"])
NO_MODULES = re.compile("|".join(_TAUGHT["no_modules"]))
FAQ_ABOUT = re.compile(r"^(Why|How|What|Is|Are|Can|When|Does|Do)\b")
_IMPERATIVE = set(WORDS["verbs"])
_OBJECT = r"(?= (?:an?|the|its?|all|any|each|them|one|every|`))"  # what follows is a verb before it
_FURTHER = re.compile(
    rf"(?<!to )\b((?:and|or|otherwise,?|but|then)(?: also)?) ({'|'.join(_IMPERATIVE).lower()}){_OBJECT}"
)
_NEXT = re.compile(rf"(?<=\. )({'|'.join(_IMPERATIVE)}){_OBJECT}")


@dataclass(frozen=True, slots=True)
class Topic:
    """One answer and the ways to ask for it.

    key: unique. kind: what, parameters, which, question, example, difference, code, write, fix or
    saying. module: where the thing belongs, "" for what is built in. names: what {x} in asks
    stands for. asks: cores of questions. share: how often it is drawn. about: the thing that a
    follow-up question may be about, "" for none.
    """

    key: str
    kind: str
    module: str
    names: tuple[str, ...]
    asks: tuple[str, ...]
    answer: str
    share: float = 1.0
    about: str = ""


# ---------------------------------------------------------------------------------------------
# Answers


def third_person(verb):
    """The verb of "Return the sum" as "returns"."""
    verb = verb.lower()
    if verb.endswith(("s", "sh", "ch", "x", "o")):
        return verb + "es"
    return verb[:-1] + "ies" if re.search(r"[^aeiou]y$", verb) else verb + "s"


def lower_first(text):
    """`text` with a small first letter, unless its first word is a name or an acronym."""
    return (
        text
        if re.match(r"(Python|Unix)\b|[A-Z`\"'\d][A-Z\d]|`", text)
        else text[:1].lower() + text[1:]
    )


def _returns(rest):
    """The rest of a description in the third person, its further verbs too."""
    rest = _FURTHER.sub(lambda m: f"{m[1]} {third_person(m[2])}", rest)
    return _NEXT.sub(lambda m: f"It {third_person(m[1])}", rest)


def answer(fact):
    """A fact's text as a full sentence that names its subject, or "" when it has another form."""
    first, _, rest = fact.text.partition(" ")
    name = f"`{fact.name}`"
    if fact.kind in ("question", "statement"):
        return fact.text
    if fact.kind == "module":
        if first in _IMPERATIVE and not rest.startswith("for "):
            return f"The {name} module is there to {lower_first(fact.text)}"
        return f"The {name} module, in short: {lower_first(fact.text)}"
    if fact.kind == "term":
        article = "An" if fact.name[0] in "aeiou" else "A"
        fits = (
            first in ("A", "An", "The", "Any") and fact.name not in fact.text[: len(fact.name) + 8]
        )
        fits = fits and fact.name[0].islower()
        return f"{article} {fact.name} is {lower_first(fact.text)}" if fits else ""
    if fact.kind == "exception":
        text = re.sub(r"^(This exception is|Exception) raised", "Raised", fact.text)
        return f"{name} is {lower_first(text)}" if text.startswith("Raised ") else ""
    if first in _IMPERATIVE and not rest.startswith("class "):
        return f"{name} {third_person(first)} {_returns(rest)}"
    if re.match(rf"(A|An|The) `{fact.name.rpartition('.')[2]}` ", fact.text):
        rest = rest.partition(" ")[2]
        of_a_kind = re.match(r"(class|instance|object|function)\b", rest)
        return f"{first} {name} {rest}" if of_a_kind else f"{name} {rest}"
    if first in ("A", "An"):
        return f"{name} is {lower_first(fact.text)}" if "argument" not in fact.text[:20] else ""
    if re.match(r"This (function|method|class) \w+s ", fact.text):
        return re.sub(r"^This \w+", name, fact.text)
    if first.endswith("s") and first[:-1] in _IMPERATIVE:
        return f"{name} {lower_first(fact.text)}"
    return f"{name} is a {lower_first(fact.text)}" if first in ("Class", "Decorator") else ""


def parameters_answer(fact, most=6):
    """What a call takes, as sentences; "" for nothing, too much, or long defaults."""
    names = [name for name, _ in fact.parameters]
    defaults = [f"`{n}` is `{d}`" for n, d in fact.parameters if d]
    optional = [f"`{n}`" for n, d in fact.parameters if d == "" and not n.startswith("*")]
    if not 0 < len(names) <= most or any(d and len(d) > 24 for _, d in fact.parameters):
        return ""
    said = f"`{fact.name}` takes {_listed([f'`{n}`' for n in names])}."
    if defaults:
        said += f" By default {_listed(defaults)}."
    if optional:
        said += f" {_listed(optional)} may be left out."
    return said


def _listed(words):
    return " and ".join([", ".join(words[:-1]), words[-1]] if words[1:] else words)


def description(fact, least=5, most=90):
    """What a function does, for "Which function ...?": its first clause in the third person, of at
    least so many words and at most so many characters, or ""."""
    first, _, rest = fact.text.partition(" ")
    if first not in _IMPERATIVE or re.search(r"i\.e|e\.g| --", rest):
        return ""
    rest = re.sub(r" \([^()]*\)", "", rest)
    clause = re.split(r"(?<=[.;:])\s|, (?:where|which|as|but|or|with|using|so)\b", rest)[0]
    text = f"{third_person(first)} {_returns(clause)}".rstrip(".;:,")
    fits = len(text.split()) > least and len(text) <= most and text.count("`") % 2 == 0
    return text if fits and "(" not in text.replace("()", "") else ""


def _runs(fact):
    """Whether the fact's doctest gives what it says, with the module's names at hand."""
    family = fact.module
    if fact.name in ("input", "open", "help", "breakpoint") or fact.module == "subprocess":
        return False
    names = {}
    if fact.name.rpartition(".")[2] not in fact.example:
        return False
    if "-->" in fact.example:
        return True
    if family:
        module = importlib.import_module(family)
        names = {
            **vars(module),
            family.split(".")[0]: importlib.import_module(family.split(".")[0]),
        }
    test = doctest.DocTestParser().get_doctest(fact.example + "\n", names, fact.name, None, 0)
    silent = lambda text: None  # noqa: E731
    return doctest.DocTestRunner(verbose=False).run(test, out=silent).failed == 0


# ---------------------------------------------------------------------------------------------
# Topics


def topics(facts, breadth="many"):
    """Everything of `facts` that is taught, in a fixed order. breadth: few or many."""
    kinds, chosen = BREADTHS[breadth]["kinds"], _chosen(facts, BREADTHS[breadth])
    last = Counter(fact.name.rpartition(".")[2] for fact in chosen)
    said = Counter(description(fact) for fact in chosen)
    found = []
    for fact in chosen:
        names = _names(fact, alone=last[fact.name.rpartition(".")[2]] == 1)
        about = fact.name if fact.kind in ("function", "class") else ""

        def add(kind, names, text, fact=fact, about=about):
            often = 4.0 if fact.name in OFTEN or f"module {fact.name}" in OFTEN else 1.0
            key = fact.name if kind == "what" else f"{kind} {fact.name}"
            key = f"module {fact.name}" if fact.kind == "module" else key
            asks = tuple(CORES[kind])
            if kind == "what" and fact.kind in ("term", "exception", "statement"):
                asks = tuple(a for a in asks if "call" not in a and "get from" not in a)
            found.append(Topic(key, kind, fact.module, names, asks, text, often, about))

        if fact.kind == "question":
            add("question", _asked(fact.name), answer(fact))
            continue
        add("what", names, answer(fact))
        if fact.kind not in ("function", "class"):
            continue
        if taken := parameters_answer(fact):
            add("parameters", names, taken)
        if (does := description(fact)) and said[does] == 1:
            add("which", (does,), f"That is `{fact.name}`.")
        if "example" in kinds and _runs(fact):
            add("example", names, f"For example:\n\n```python\n{fact.example}\n```")
    found += _differences(chosen)
    return [topic for topic in found if topic.kind in kinds]


def _chosen(facts, breadth):
    """The facts that are taught: of some modules most, of others the first few."""
    left_out = re.compile("|".join([*_TAUGHT["not_taught"], *breadth["left_out"]]))
    chosen, of_module = [], Counter()
    for fact in facts:
        said = answer(fact)
        if not said or not said.isascii() or left_out.search(fact.name):
            continue
        if re.search(r"(^|\.)_", fact.name) or NO_MODULES.fullmatch(fact.module):
            continue
        if fact.kind == "question" and not (FAQ_ABOUT.match(fact.name) and len(said) > 50):
            continue
        if fact.kind in ("function", "class", "exception"):
            of_class = fact.name.rpartition(".")[0]
            if not fact.module and not hasattr(builtins, of_class or fact.name):
                continue
            most = breadth["most"] if fact.module in breadth["whole"] else breadth["part"]
            most = most if fact.module else len(facts)  # what is built in is taught whole
            if of_module[fact.module] >= most:
                continue
            of_module[fact.module] += 1
        chosen.append(fact)
    return chosen


def _names(fact, alone):
    """How people write the name of a thing. alone: whether its last part names nothing else."""
    name, (family, _, last) = fact.name, fact.name.rpartition(".")
    if fact.kind == "module":
        return (
            f"the {name} module",
            f"the module {name}",
            f"the `{name}` module",
            f"module {name}",
        )
    if fact.kind == "term":
        article = "an" if name[0] in "aeiou" else "a"
        return (f"{article} {name}",) * 2 + (f"the word {name}", f"the term {name}")
    if fact.kind == "statement":
        word = name.split()[0]
        return (f"the {name}", f"the `{word}` statement", f"the {word} keyword", f"`{word}`")
    names = (f"`{name}`", name)
    if fact.kind == "exception":
        called = last if alone else name
        return (*names, f"the exception {called}", f"the {called} exception")
    names += (f"{name}()", f"`{name}()`")
    if fact.of_class:
        family = family.removeprefix("datetime.")
        names += (f"the {last} method of {family}", f"the {family} method {last}")
        names += (f"{fact.module}.{name}",) if fact.module else ()
    elif family:
        word = "class" if fact.kind == "class" else "function"
        names += (f"{last} from {family}", f"the {last} {word} of {family}")
    else:
        names += (f"the built-in {last}", f"the {last} function")
    return (*names, last) if alone and family and len(last) > 4 else names


def _asked(title):
    """A question of the FAQ as it stands, without "in Python", and as its longer words."""
    plain = title.replace("`", "")
    words = " ".join(w for w in re.findall(r"[\w.']+", plain) if len(w) > 3 or w[:1].isupper())
    short = re.sub(r" (in|with|from|for) (a )?Python( program| script)?(?=\?)", "", plain)
    return tuple(dict.fromkeys((title, plain, short, plain.rstrip("?"), words)))


def _differences(chosen):
    """Pairs of which the text of one names the other: "Like `x`, but ..."; both answers."""
    known = {fact.name: fact for fact in chosen if fact.kind in ("function", "class")}
    for fact in known.values():
        family = fact.name.rpartition(".")[0]
        for said in re.findall(r"`([\w.]+)(?:\(\))?`", fact.text):
            other = known.get(said) or known.get(f"{family}.{said}")
            if other in (None, fact) or other.module != fact.module:
                continue
            if len(fact.text) + len(other.text) > 260:
                continue
            a, b = fact.name, other.name
            names = (f"`{a}` and `{b}`", f"{a} and {b}", f"{b} and {a}", f"`{b}` and `{a}`")
            names += (f"{a}() and {b}()",)
            text, asks = f"{answer(fact)} {answer(other)}", tuple(CORES["difference"])
            yield Topic(f"difference {a} {b}", "difference", fact.module, names, asks, text)
            break
