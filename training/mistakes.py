"""Mistakes: known ways to break a correct program, each with the sentence that names it.

Knows Python's lines, not its meaning. A mistake takes the lines of a program and gives, for every
place where it can be made, (number of the line, the broken line, the sentence).
"""

import re
import warnings

HEADER = re.compile(r"(def|class|if|elif|else|for|while|with|try|except|finally)\b.*:$")
SPELLINGS = {"return": "retrun", "for": "fro", "while": "whlie", "import": "improt",
             "def": "dfe", "else": "esle", "class": "calss", "yield": "yeild"}  # fmt: skip


def colon(lines):
    for number, line in enumerate(lines):
        if HEADER.match(line.strip()):
            yield number, line[:-1], f"The colon after `{line.strip()[:-1]}` is missing."


def bracket(lines):
    names = {")": "parenthesis", "]": "bracket", "}": "brace"}
    for number, line in enumerate(lines):
        at = max(line.rfind(sign) for sign in names)
        if at >= 0 and re.fullmatch(r"[)\]}]:?", line[at:]):
            name = names[line[at]]
            changed = line[:at] + line[at + 1 :]
            said = f"The closing {name} `{line[at]}` is missing in `{changed.strip()}`."
            yield number, changed, said


def equals(lines):
    for number, line in enumerate(lines):
        if re.match(r"\s*(if|elif|while) [^=]* == ", line):
            said = "A comparison needs `==`; a single `=` assigns a value."
            yield number, line.replace(" == ", " = ", 1), said


def indentation(lines):
    for number, line in enumerate(lines[1:], 1):
        if lines[number - 1].endswith(":") and line.startswith("    "):
            said = (
                f"The line `{line.strip()}` must be indented below `{lines[number - 1].strip()}`."
            )
            yield number, line[4:], said


def extra_indent(lines):
    for number, line in enumerate(lines[1:], 1):
        if re.match(r"\s+\w", line) and not re.search(r"[:,(\[{]$", lines[number - 1]):
            yield number, f"  {line}", f"The line `{line.strip()}` is indented too far."


def spelling(lines):
    for number, line in enumerate(lines):
        word = line.strip().split(" ")[0].rstrip(":")
        if word in SPELLINGS:
            wrong = SPELLINGS[word]
            said = f"The keyword `{word}` is misspelled as `{wrong}`."
            yield number, line.replace(word, wrong, 1), said


def quote(lines):
    for number, line in enumerate(lines):
        if re.search(r"""(?<!["'\\])(["'])[^"'\\]+\1[^"']*$""", line):
            at = max(line.rfind('"'), line.rfind("'"))
            changed = line[:at] + line[at + 1 :]
            yield number, changed, f"The closing quote is missing in `{changed.strip()}`."


def plus_plus(lines):
    for number, line in enumerate(lines):
        match = re.fullmatch(r"(\s*)([\w.]+) ([+-])= 1", line)
        if match:
            indent, name, sign = match.groups()
            said = f"Python has no operator `{sign * 2}`; write `{name} {sign}= 1`."
            yield number, f"{indent}{name}{sign * 2}", said


def foreign_operator(lines):
    for number, line in enumerate(lines):
        for word, sign in ((" and ", " && "), (" or ", " || ")):
            if word in line and not re.search("[\"'#]", line):
                said = f"Python has no operator `{sign.strip()}`; write `{word.strip()}`."
                yield number, line.replace(word, sign), said


def else_if(lines):
    for number, line in enumerate(lines):
        if re.match(r"\s*elif ", line):
            yield number, line.replace("elif", "else if", 1), "Python writes `elif`, not `else if`."


def comma(lines):
    for number, line in enumerate(lines):
        if re.search(r"[\w)\]], [\w(\[]", line) and not re.search("[\"'#]|import", line):
            changed = re.sub(r"(?<=[\w)\]]), (?=[\w(\[])", " ", line, count=1)
            yield number, changed, f"A comma is missing in `{changed.strip()}`."


def lower_constant(lines):
    for number, line in enumerate(lines):
        match = re.search(r"\b(True|False|None)\b", line)
        if match and not re.search("[\"'#]", line):
            word = match[1]
            said = f"Python writes `{word}` with a capital letter."
            yield number, re.sub(rf"\b{word}\b", word.lower(), line), said


def no_self(lines):
    for number, line in enumerate(lines):
        match = re.match(r"\s*def (\w+)\(self(, )?", line)
        if match and any("self." in other for other in lines[number + 1 :]):
            changed = re.sub(r"\(self(, )?", "(", line)
            yield (
                number,
                changed,
                f"The method `{match[1]}` must take `self` as its first parameter.",
            )


def no_return(lines):
    for number, line in enumerate(lines):
        match = re.fullmatch(r"(\s+)return (\S.*[^\[({,])", line)
        if match and number == len(lines) - 1:
            said = f"The result is never returned: `return` is missing before `{match[2]}`."
            yield number, match[1] + match[2], said


def off_by_one(lines):
    for number, line in enumerate(lines):
        if re.search(r"range\(.*\+ 1\)", line):
            changed = re.sub(r"(range\(.*) \+ 1\)", r"\1)", line, count=1)
            said = "The last number is left out: `range` stops before its end, so it needs `+ 1`."
            yield number, changed, said


SYNTAX = (colon, bracket, equals, indentation, extra_indent, spelling, quote, plus_plus,
          foreign_operator, else_if, comma)  # fmt: skip
MEANING = (lower_constant, no_self, no_return, off_by_one)
MISTAKES = SYNTAX + MEANING


def compiles(code):
    """Whether `code` is a program to Python's parser."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        try:
            compile(code, "", "exec", dont_inherit=True)
        except SyntaxError:
            return False
    return True


def broken(mistake, code):
    """[(broken code, the sentence that names the mistake)], one for every place that fits."""
    lines, found = code.split("\n"), []
    for number, line, said in mistake(lines):
        wrong = "\n".join([*lines[:number], line, *lines[number + 1 :]])
        if compiles(wrong) == (mistake in MEANING):
            found.append((wrong, said))
    return found
