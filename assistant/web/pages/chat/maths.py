r"""LaTeX as MathML: what is maths in a line of text, and how it is shown.

A dollar is mostly a price or a shell's. So what stands between two is maths only if it is written
like maths, with no prose in it; what the library cannot read is shown as it was typed. Its output
is never taken as HTML: elements and attributes that are not in the lists below do not leave here.
"""

import re
from functools import lru_cache
from html import escape, unescape
from xml.etree.ElementTree import Element

from latex2mathml.converter import Converter

from assistant.text import clean

CHARS_MAX = 1_000  # of one formula: 0.02 s
DEPTH_MAX = 40  # elements in each other; browsers take long for deep ones
FORMULAS_KEPT = 500

# What stands between its signs is the first group. Between `$`, no blank stands at the edges, and
# no letter, digit or other dollar behind.
_FORMULA = re.compile(
    r"\$\$(?!\$)(?P<block>(?:[^$\\]|\\.)+)\$\$(?!\$)"
    r"|\$(?![\s$])(?P<line>(?:[^$\\\n]|\\[^\n])*(?<![\s(]))\$(?![\w$({\\])"
    r"|\\\((?P<round>(?:[^\\]|\\(?![()\[\]]).)+)\\\)"
    r"|\\\[(?P<square>(?:[^\\]|\\(?![()\[\]]).)+)\\\](?!\()",
    re.DOTALL,
)
_WORDS = r"arg|cos|cot|det|dim|exp|gcd|if|inf|lcm|lg|lim|ln|log|max|min|mod|otherwise|sin|sup|tan"
_TEXTS = re.compile(  # commands, and the words that stand in them
    r"\\(?:begin|end|math\w+|mbox|operatorname\*?|text\w*)\s*\{[^{}]*\}|\\[A-Za-z]+|\\."
)
_MATHS = re.compile(r"[\\^_=<>+*/|!()\[\]{},-]|^\s*(?:[^\W\d_]'*|\d+(?:\.\d+)?)\s*$")
_PROSE = re.compile(
    rf"(?:[^\W\d_]{{2}}|\d)\s+(?!(?:{_WORDS})\b)[^\W\d_]{{2}}"  # two words, or a number and one
    r"|[^\W\d_]{2}_[^\W\d_]{2}"  # a name of a program's
    r"|[\"#`;$@&]|&&|//|\w:\w|[\w/]/$"
)
# Their meaning would be lost, or grow without end.
_REFUSED = re.compile(r"\\(?:def|newcommand|newenvironment|DeclareMathOperator|rule|unicode)\b")
_ALIGNED = re.compile(r"\\(begin|end)\{aligned\}")  # the library knows its other name alone

_TAGS = frozenset(
    [
        "menclose",
        "mfrac",
        "mi",
        "mmultiscripts",
        "mn",
        "mo",
        "mover",
        "mpadded",
        "mphantom",
        "mprescripts",
        "mroot",
        "mrow",
        "mspace",
        "msqrt",
        "mstyle",
        "msub",
        "msubsup",
        "msup",
        "mtable",
        "mtd",
        "mtext",
        "mtr",
        "munder",
        "munderover",
        "none",
    ]
)
_ATTRIBUTES = frozenset(
    [
        "accent",
        "accentunder",
        "columnalign",
        "columnspacing",
        "depth",
        "displaystyle",
        "fence",
        "form",
        "height",
        "linethickness",
        "lspace",
        "mathvariant",
        "maxsize",
        "minsize",
        "movablelimits",
        "notation",
        "rowspacing",
        "rspace",
        "scriptlevel",
        "separator",
        "stretchy",
        "symmetric",
        "width",
    ]
)
_VALUE = re.compile(r"[+-]?\d(?:\.\d{1,4})?(?:em|ex|mu|%)?|[a-z-]{1,30}(?: [a-z]{1,10}){0,30}")


def formula_at(text: str, at: int) -> tuple[str, str, bool] | None:
    """A formula that begins at this place: with its signs, without them, and whether it stands in
    lines of its own. None if there is none."""
    if text[at] == "$" and at and (text[at - 1].isalnum() or text[at - 1] in "_$\\"):
        return None
    found = _FORMULA.match(text, at, at + CHARS_MAX)
    if not found or not found.lastgroup:
        return None
    source = found[found.lastgroup].strip()
    if not _is_maths(source):
        return None
    return found[0], source, found.lastgroup in ("block", "square")


def _is_maths(source: str) -> bool:
    aligned = "\\begin" in source
    bare = _TEXTS.sub(" ~ ", source)
    if aligned:
        bare = bare.replace("&", " ")
    return bool(_MATHS.search(source)) and not _PROSE.search(bare)


@lru_cache(maxsize=FORMULAS_KEPT)
def mathml(source: str, block: bool) -> str | None:
    """`source` as HTML; None if it cannot be shown so. block: in lines of its own."""
    if _REFUSED.search(source):
        return None
    source = _ALIGNED.sub(r"\\\1{align*}", source)
    try:
        root = Converter(display="block" if block else "inline").convert_to_element(source)
        html = _html(root, DEPTH_MAX)
    except Exception:  # the library raises what comes: of any kind, for any text that is no LaTeX
        return None
    if not block:
        return f"<math>{html}</math>"
    return f'<span class="formula"><math display="block">{html}</math></span>'


def _html(element: Element, depth: int) -> str:
    """What is in the element. Raises ValueError for what may not be there."""
    parts = [_text(element.text)]
    for child in element:
        if child.tag not in _TAGS or depth == 0:
            raise ValueError(child.tag)
        attributes = "".join(
            f' {name}="{value}"'
            for name, value in child.attrib.items()
            if name in _ATTRIBUTES and _VALUE.fullmatch(value)
        )
        parts.append(f"<{child.tag}{attributes}>{_html(child, depth - 1)}</{child.tag}>")
    return "".join(parts)


def _text(text: str | None) -> str:
    """The library leaves characters as their numbers, and what it does not know as it is."""
    if text and re.match(r"\\[A-Za-z]", text):
        raise ValueError(text)
    return escape(clean(unescape(text or "")))
