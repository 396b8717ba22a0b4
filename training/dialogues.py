"""Dialogues from facts: the same few hundred answers behind ever new questions.

Knows phrasings. A question is composed at random from opener, core and closer, then roughened with
lower case, lost punctuation and typos: variety of phrasing, not size, is what lets a small model
answer a question that it has not seen. HELD_OUT cores are for evaluation alone.
"""

import builtins
import doctest
import importlib
import random
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

SAYINGS = Path(__file__).with_name("sayings.toml")

_PHRASINGS = tomllib.loads(Path(__file__).with_name("phrasings.toml").read_text("utf-8"))
FAMILIES, MODULES = _PHRASINGS["families"], _PHRASINGS["modules"]
CORES, HELD_OUT = _PHRASINGS["cores"], _PHRASINGS["held_out"]
OFTEN = set(_PHRASINGS["often"])
OPENERS, CLOSERS = _PHRASINGS["openers"], _PHRASINGS["closers"]
_IMPERATIVE = set(_PHRASINGS["verbs"])
FAQ_ABOUT = re.compile(r"^(Why|How do (I|you)|What is)")
NOT_TAUGHT = re.compile("|".join(_PHRASINGS["not_taught"]))


@dataclass(frozen=True, slots=True)
class Topic:
    """One answer and the ways to ask for it. asks: cores, already filled in with names.

    key: a name of the fact for evaluation. example: the answer to a request for an example, or "".
    """

    key: str
    kind: str
    names: tuple[str, ...]
    asks: tuple[str, ...]
    answer: str
    example: str = ""
    share: float = 1.0


# ---------------------------------------------------------------------------------------------
# Answers


def third_person(verb):
    """The verb of "Return the sum" as "returns"."""
    verb = verb.lower()
    if verb.endswith(("s", "sh", "ch", "x", "o")):
        return verb + "es"
    return verb[:-1] + "ies" if re.search(r"[^aeiou]y$", verb) else verb + "s"


def _lower(text):
    """`text` with a small first letter, unless its first word is a name or an acronym."""
    return (
        text
        if re.match(r"(Python|Unix)\b|[A-Z`\"'\d][A-Z\d]|`", text)
        else text[:1].lower() + text[1:]
    )


def answer(fact):
    """A fact's text as a full sentence that names its subject, or "" when it has another form."""
    first, _, rest = fact.text.partition(" ")
    name = f"`{fact.name}`"
    if fact.kind == "question":
        return fact.text
    if fact.kind == "module":
        if first in _IMPERATIVE and not rest.startswith("for "):
            return f"The {name} module is there to {_lower(fact.text)}"
        return f"The {name} module, in short: {_lower(fact.text)}"
    if fact.kind == "term":
        article = "An" if fact.name[0] in "aeiou" else "A"
        fits = (
            first in ("A", "An", "The", "Any") and fact.name not in fact.text[: len(fact.name) + 8]
        )
        fits = fits and fact.name[0].islower()
        return f"{article} {fact.name} is {_lower(fact.text)}" if fits else ""
    if first in _IMPERATIVE:
        rest = re.sub(r"\b(and|otherwise|but) (return|raise)\b", r"\1 \2s", rest)
        rest = re.sub(r"(?<=\. )(Raise|Return)\b", lambda m: f"It {third_person(m[1])}", rest)
        return f"{name} {third_person(first)} {rest}"
    if re.match(rf"(A|An|The) `{fact.name.rpartition('.')[2]}` ", fact.text):
        return f"{name} {rest.partition(' ')[2]}"
    if first in ("A", "An", "The"):
        return f"{name} is {_lower(fact.text)}" if "argument" not in fact.text[:20] else ""
    if re.match(r"This (function|method) \w+s ", fact.text):
        return re.sub(r"^This \w+", name, fact.text)
    if first.endswith("s") and first[:-1] in _IMPERATIVE:
        return f"{name} {_lower(fact.text)}"
    return f"{name} is a {_lower(fact.text)}" if first in ("Class", "Decorator") else ""


def _runs(fact):
    """Whether the fact's doctest gives what it says, with the module's names at hand."""
    family, _, _ = fact.name.rpartition(".")
    if fact.name in ("input", "open", "help", "breakpoint") or not fact.example:
        return False
    names = {}
    if fact.name.rpartition(".")[2] not in fact.example:
        return False
    if "-->" in fact.example:
        return True
    if family and family != "str":
        module = importlib.import_module(family)
        names = {
            **vars(module),
            family.split(".")[0]: importlib.import_module(family.split(".")[0]),
        }
    test = doctest.DocTestParser().get_doctest(fact.example + "\n", names, fact.name, None, 0)
    silent = lambda text: None  # noqa: E731
    return doctest.DocTestRunner(verbose=False).run(test, out=silent).failed == 0


def topics(facts, sayings=SAYINGS):
    """Everything that is taught: facts of the chosen families, modules, terms, FAQ, sayings."""
    chosen = [topic for fact in facts if (topic := _topic(fact))]
    table = tomllib.loads(Path(sayings).read_text("utf-8"))
    for saying in table["saying"]:
        asks = tuple(saying["ask"])
        text = saying["say"].strip()
        chosen.append(Topic(asks[0], "saying", (), asks, text, share=4 * saying["share"]))
    return chosen, table["slots"]


def _topic(fact):
    said = answer(fact)
    family, _, last = fact.name.rpartition(".")
    if not said or fact.name.startswith("_") or not said.isascii() or NOT_TAUGHT.search(fact.name):
        return None
    if fact.kind in ("function", "class"):
        if family not in FAMILIES or not (family or hasattr(builtins, fact.name)):
            return None
        names = (f"`{fact.name}`", fact.name, f"{fact.name}()", f"`{fact.name}()`")
        if family and family != "str":
            names += (f"{last} from {family}", f"the {last} function of {family}")
        elif family:
            names += (f"the string method {last}",)
        else:
            names += (f"the built-in {last}", f"the {last} function")
        example = f"For example:\n\n```python\n{fact.example}\n```" if _runs(fact) else ""
        return Topic(fact.name, "what", names, tuple(CORES["what"]), said, example)
    if fact.kind == "module" and fact.name in MODULES:
        names = (f"the {fact.name} module", f"the module {fact.name}", f"the `{fact.name}` module")
        names += (f"module {fact.name}",)
        return Topic(f"module {fact.name}", "what", names, tuple(CORES["what"]), said)
    if fact.kind == "term":
        article = "an" if fact.name[0] in "aeiou" else "a"
        names = (f"{article} {fact.name}",) * 2 + (f"the word {fact.name}", f"the term {fact.name}")
        cores = [core for core in CORES["what"] if "call" not in core and "does {x}" not in core]
        return Topic(fact.name, "what", names, tuple(cores), said)
    if fact.kind == "question" and FAQ_ABOUT.match(fact.name) and len(said) > 50:
        return Topic(fact.name, "question", (), (fact.name,), said)
    return None


# ---------------------------------------------------------------------------------------------
# Questions


def question(rng, topic, slots, *, example=False, held_out=False):
    """A question about `topic`, composed at random."""
    kind = "example" if example else topic.kind
    if held_out and kind in HELD_OUT:
        core = rng.choice(HELD_OUT[kind])
    else:
        core = rng.choice(CORES[kind] if example else topic.asks)
    if topic.names:
        core = core.replace("{x}", rng.choice(topic.names))
    text = re.sub(r"\{(\w+)\}", lambda slot: rng.choice(slots[slot[1]]), core)
    text = text if text.startswith("`") or rng.random() < 0.2 else text[:1].upper() + text[1:]
    return text if held_out else roughen(rng, text, topic)


def roughen(rng, text, topic):
    """`text` between an opener and a closer, in people's spelling."""
    if rng.random() < 0.25:
        opener = rng.choice(OPENERS)
        text = f"{opener} {_lower(text) if opener[-1] != '.' else text}"
    if rng.random() < 0.2:
        text = f"{text} {rng.choice(CLOSERS)}"
    if rng.random() < 0.2:
        text = text.rstrip("?.!")
    if rng.random() < 0.15:
        text = text.lower()
    if rng.random() < 0.15:
        text = _typo(rng, text, topic)
    return text


def _typo(rng, text, topic):
    """`text` with one letter lost, doubled or swapped in a word that is not the name."""
    words = text.split(" ")
    free = [i for i, word in enumerate(words) if word.isalpha() and len(word) > 3]
    names = " ".join(topic.names).lower()
    free = [i for i in free if words[i].lower() not in names]
    if not free:
        return text
    i = rng.choice(free)
    word, at = words[i], rng.randrange(1, len(words[i]) - 1)
    words[i] = rng.choice(
        (
            word[:at] + word[at + 1 :],
            word[:at] + word[at] + word[at:],
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
        )
    )
    return " ".join(words)


class Dialogues:
    """Draws exchanges for ever: (question, answer) pairs of one to four turns."""

    def __init__(self, facts, sayings=SAYINGS):
        self.topics, self.slots = topics(facts, sayings)
        often = [(4 if t.key in OFTEN else 1) * (2 if t.example else 1) for t in self.topics]
        self._shares = [t.share * times for t, times in zip(self.topics, often, strict=True)]

    def draw(self, rng: random.Random):
        """One dialogue: a list of (question, answer)."""
        turns = []
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            topic = rng.choices(self.topics, self._shares)[0]
            if topic.example and rng.random() < 0.4:
                turns.append((question(rng, topic, self.slots, example=True), topic.example))
                continue
            turns.append((question(rng, topic, self.slots), topic.answer))
            if topic.example and rng.random() < 0.3:
                turns.append((roughen(rng, rng.choice(CORES["again"]), topic), topic.example))
        return turns
