"""Facts as full sentences: what a thing does, what it takes, how a question describes it.

Knows the grammar of the documentation's descriptions ("Return the sum ..."). Knows nothing of
which facts are taught and how they are asked for.
"""

import re
import tomllib
from pathlib import Path

WORDS = tomllib.loads(Path(__file__).with_name("phrasings.toml").read_text("utf-8"))
_IMPERATIVE = set(WORDS["verbs"])
_OBJECT = r"(?= (?:an?|the|its?|all|any|each|them|one|every|`))"  # what follows is a verb before it
_FURTHER = re.compile(
    rf"(?<!to )\b((?:and|or|otherwise,?|but|then)(?: also)?) "
    rf"({'|'.join(_IMPERATIVE).lower()}){_OBJECT}"
)
_NEXT = re.compile(rf"(?<=\. )({'|'.join(_IMPERATIVE)}){_OBJECT}")


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
