"""Topics: what is taught, one answer each, and the questions that it answers.

Knows which facts are taught (taught.toml) and how people write the names of things. How a fact is
said is sentences.py's; openers, typos and dialogues are dialogues.py's.
"""

import builtins
import doctest
import importlib
import re
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from training.sentences import WORDS, answer, description, parameters_answer

_HERE = Path(__file__).parent
_TAUGHT = tomllib.loads((_HERE / "taught.toml").read_text("utf-8"))
CORES = WORDS["cores"]
BREADTHS = {name: _TAUGHT[name] for name in ("few", "many")}
OFTEN = set(_TAUGHT["often"])
NO_MODULES = re.compile("|".join(_TAUGHT["no_modules"]))
FAQ_ABOUT = re.compile(r"^(Why|How|What|Is|Are|Can|When|Does|Do)\b")


@dataclass(frozen=True, slots=True)
class Topic:
    """One answer and the ways to ask for it.

    key: unique. kind: what, parameters, which, question, example, difference, code, write, fix,
    saying, asked, or another of phrasings.toml. module: where the thing belongs, "" for what is
    built in. names: what {x} in asks stands for. asks: cores of questions. share: how often it is
    drawn. about: the thing that a follow-up question may be about, "" for none.
    """

    key: str
    kind: str
    module: str
    names: tuple[str, ...]
    asks: tuple[str, ...]
    answer: str
    share: float = 1.0
    about: str = ""


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
