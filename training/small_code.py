"""A small world of code: kinds of functions and classes (kinds/), each in many forms.

One kind serves five: its programs are completed and filled in (pieces for sequences.py), written,
explained, mended and run in one's head (exchanges for dialogues.py). Knows names and sentences;
no tokens. `python -m training.small_code` shows samples.
"""

import ast
import builtins
import random
import string
import textwrap
import tomllib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from training.exercises import fenced, third

FOLDER = Path(__file__).with_name("kinds")
HELD_OUT = 12  # one kind of so many is never trained on
_FIRST = 0.4  # the share of draws with the first way to write a kind; the same for each name
INDENT = "    "


@dataclass(frozen=True, slots=True)
class Kind:
    """One idea. file: of kinds/, without its ending. says: what it does, as an infinitive; of a
    class what it is. codes: ways to write it, with $name for each of `words`. setup: lines before
    the checks, which are (expression, literal). wrong: (what stands in a code, what stands there
    by mistake, the sentence on it)."""

    file: str
    key: str
    says: tuple[str, ...]
    is_class: bool
    codes: tuple[str, ...]
    words: dict[str, tuple[str, ...]]
    setup: str
    checks: tuple[str, ...]
    wrong: tuple[tuple[str, str, str], ...]

    @property
    def held_out(self) -> bool:
        return zlib.crc32(self.key.encode()) % HELD_OUT == 0


@dataclass(frozen=True, slots=True)
class Program:
    """A form of a kind. says: as the kind's. code: without a docstring. bugs: (code, sentence)."""

    kind: Kind
    name: str
    says: str
    code: str
    setup: str
    checks: tuple[str, ...]
    bugs: tuple[tuple[str, str], ...]

    @property
    def sentence(self) -> str:
        """What it does or is, as the docstring says it."""
        return f"{self.says[0].upper()}{self.says[1:]}."

    @property
    def told(self) -> str:
        """What it does or is, as an answer says it."""
        what = f"is {self.says}" if self.kind.is_class else third(self.says)
        return f"`{self.name}` {what}."


@cache
def kinds() -> tuple[Kind, ...]:
    """All, in a fixed order, those that are held out too."""
    found = []
    for path in sorted(FOLDER.glob("*.toml")):
        for entry in tomllib.loads(path.read_text("utf-8"))["kind"]:
            words = {"name": entry["name"], **entry.get("words", {})}
            found.append(
                Kind(
                    path.stem,
                    entry["key"],
                    tuple(entry.get("says") or entry["is"]),
                    "is" in entry,
                    tuple(code.strip("\n") for code in entry["code"]),
                    {name: tuple(those) for name, those in words.items()},
                    entry.get("setup", "").strip("\n"),
                    tuple(entry["checks"]),
                    tuple((old, new, why) for old, new, why in entry["wrong"]),
                )
            )
    return tuple(found)


def taught() -> list[Kind]:
    return [kind for kind in kinds() if not kind.held_out]


def program(kind: Kind, rng: random.Random, plain: bool = False, way: int = 0) -> Program:
    """A form of `kind`, drawn at random. plain: the usual form, with the first names and the code
    number `way`."""
    while True:
        first = {name: plain or rng.random() < _FIRST for name in kind.words}
        names = {
            name: those[0] if first[name] else rng.choice(those)
            for name, those in kind.words.items()
        }
        if len(set(names.values())) == len(names):
            break
    fill = lambda text: string.Template(text).substitute(names)  # noqa: E731
    code = kind.codes[way] if plain or rng.random() < _FIRST else rng.choice(kind.codes)
    bugs = [(fill(code.replace(old, new)), why) for old, new, why in kind.wrong if old in code]
    says = kind.says[0] if plain else rng.choice(kind.says)
    return Program(
        kind, names["name"], says, fill(code), fill(kind.setup), tuple(map(fill, kind.checks)),
        tuple(bugs),
    )  # fmt: skip


def split(code: str, name: str) -> tuple[str, str]:
    """(all up to the line `def` or `class` of `name`, what follows in it), each without the newline
    between the two."""
    tree = ast.parse(code)
    node = next(node for node in tree.body if getattr(node, "name", "") == name)
    first = node.body[0]
    at = min([first.lineno, *(d.lineno for d in getattr(first, "decorator_list", ()))]) - 1
    lines = code.split("\n")
    while not lines[at - 1].strip():
        at -= 1
    return "\n".join(lines[:at]), "\n".join(lines[at:])


def documented(one: Program, rng: random.Random | None = None) -> tuple[str, str]:
    """(the beginning with the docstring, the rest), as people type and models complete. rng: now
    and then the docstring has an example, or stands as a comment above."""
    head, body = split(one.code, one.name)
    style = rng.random() if rng else 0.0
    doc = f'{INDENT}"""{one.sentence}"""'
    if style > 0.9 and not one.kind.is_class:
        lines = head.split("\n")
        at = next(n for n, line in enumerate(lines) if f"def {one.name}(" in line)
        return "\n".join([*lines[:at], f"# {one.sentence}", *lines[at:]]), body
    if style > 0.75 and not one.setup and rng:
        call, value = parts_of(rng.choice(one.checks))
        example = f">>> {call}\n{value}" if value != "None" else ""
        doc = textwrap.indent(f'"""{one.sentence}\n\n{example}\n"""', INDENT) if example else doc
        doc = "\n".join(line.rstrip() for line in doc.split("\n"))
    if one.kind.is_class and "\n\n" in body and rng and rng.random() < 0.5:
        doc += "\n"
    return f"{head}\n{doc}", body


def shape_of(code: str) -> str:
    """Its syntax tree without names, docstrings and hints: what programs have in common that do the
    same in the same way."""
    tree, names = ast.parse(code), dict[str, str]()
    for node in ast.walk(tree):
        for field in ("name", "id", "arg"):
            if isinstance(name := getattr(node, field, None), str) and name not in dir(builtins):
                setattr(node, field, names.setdefault(name, f"name_{len(names)}"))
        for field in ("returns", "annotation"):
            if hasattr(node, field):
                setattr(node, field, None)
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(node):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.dump(tree)


def usual(kind: Kind) -> list[Program]:
    """Its usual forms: one for each way to write it."""
    rng = random.Random(0)  # nothing is drawn
    return [program(kind, rng, plain=True, way=way) for way in range(len(kind.codes))]


@cache
def taught_shapes() -> set[str]:
    return {shape_of(one.code) for kind in taught() for one in usual(kind)}


def parts_of(check: str) -> tuple[str, str]:
    """(expression, literal) of a check."""
    tree = ast.parse(check, mode="eval").body
    assert isinstance(tree, ast.Compare)
    return ast.unparse(tree.left), ast.unparse(tree.comparators[0])


def whole(one: Program, rng: random.Random) -> str:
    """The program as a file, mostly with its docstring."""
    return one.code if rng.random() < 0.3 else "\n".join(documented(one, rng))


MIDDLES = {"line": 0.4, "block": 0.3, "expression": 0.2, "any": 0.1}


def middles(code: str, rng: random.Random, what: str = "") -> tuple[int, int]:
    """(start, end) in `code` of what is filled in: the rest of a line, a block of lines, an
    expression or any characters. what: a key of MIDDLES, else drawn."""
    what = what or rng.choices(list(MIDDLES), list(MIDDLES.values()))[0]
    lines = code.split("\n")
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    n = rng.choice([n for n, line in enumerate(lines) if line.strip()])
    indent = len(lines[n]) - len(lines[n].lstrip())
    if what == "line":
        words = [at for at, char in enumerate(lines[n][:-1]) if at > indent and char in " (=.[,"]
        at = indent if not words or rng.random() < 0.6 else rng.choice(words) + 1
        return starts[n] + at, starts[n] + len(lines[n])
    if what == "block":
        last = min(n + rng.choice((2, 2, 3, 3, 4, 6)), len(lines)) - 1
        at = indent if rng.random() < 0.6 else 0
        return starts[n] + at, starts[last] + len(lines[last])
    nodes = [
        node
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.expr) and node.lineno == node.end_lineno
    ]
    if what == "expression" and nodes:
        node = rng.choice(nodes)
        at = starts[node.lineno - 1]
        return at + node.col_offset, at + (node.end_col_offset or 0)
    a, b = sorted(rng.randrange(len(code) + 1) for _ in range(2))
    return a, b


# ---------------------------------------------------------------------------------------------
# What is said about them: (kind of question, what {x} stands for, answer)


def about(one: Program, rng: random.Random) -> tuple[str, str, str]:
    """Something asked about a program and the answer. The kind is a key of phrasings.toml."""
    what = rng.choices(("write", "code", "fix", "prints"), (0.45, 0.2, 0.2, 0.15))[0]
    if what == "fix" and one.bugs:
        wrong, why = rng.choice(one.bugs)
        return "fix", fenced(wrong), f"{why}\n\n{fenced(one.code)}"
    if what == "prints" and not one.setup:
        call, value = parts_of(rng.choice(one.checks))
        shown = str(ast.literal_eval(value))
        if shown.strip() and "\n" not in shown:
            x = fenced(f"{one.code}\n\nprint({call})")
            return "prints", x, f"It prints:\n\n```text\n{shown}\n```"
    if what == "code":
        return "code", fenced(one.code), one.told
    return written(one, rng)


def written(one: Program, rng: random.Random) -> tuple[str, str, str]:
    """It is to be written: in its usual form, or under the name that the question gives."""
    first, *_ = usual(one.kind)
    if one.kind.is_class:
        return "write class", one.says, f"This class is {first.says}:\n\n{fenced(first.code)}"
    x = third(one.says)
    if rng.random() < 0.25:
        head = split(one.code, one.name)[0].split("\n")[-1]
        named = head.strip().removeprefix("def ").removesuffix(":")
        said = f"This function {third(first.says)}:\n\n{fenced(one.code)}"
        return "write named", f"`{named}` that {x}", said
    return "write", x, f"This function {third(first.says)}:\n\n{fenced(first.code)}"


def samples(rng: random.Random, count: int = 4) -> Iterator[str]:
    for _ in range(count):
        one = program(rng.choice(kinds()), rng)
        yield "\n".join(documented(one, rng))
        yield "\n\n> ".join(about(one, rng))


if __name__ == "__main__":
    print("\n\n---\n\n".join(samples(random.Random())))
