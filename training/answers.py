"""Judges by program what a model wrote: does a reply hold the fact, is its form right, does a
completion parse.

Strict on purpose: a reply that names another thing, another number or one parameter less is wrong,
even if a person would let it pass. Knows text; no models and no topics.
"""

import ast
import codeop
import re
import textwrap
from itertools import takewhile

from assistant.evaluation.checks import blocks, check

_SENTENCE_END = re.compile(r"(?<=[.!?])(?<!e\.g\.)(?<!i\.e\.)\s+(?=[A-Z`\"'(])|\n\n")
_QUOTED = re.compile(r"`([^`]+)`")
_NAME = re.compile(r"`([^`]+)`|\b([A-Za-z_]\w*(?:\.\w+)+)")
TERMS = 3  # fewer say too little to tell answers apart
NEGATIONS = {"no", "not", "never", "without", "nor", "cannot", "none"}
STOP_WORDS = set(
    re.findall(
        r"\w+",
        """also been before being both case cases does each even from given have here into just like
        made make more most much must only other over same should some such than that their them
        then there these they this those through under used uses using very want well were what
        when where which while will with would your""",
    )
)


def judge(kind, reply, answer):
    """Whether `reply` holds what `answer` says, by the rule of the answer's kind (a Topic's).

    what, question, code: the first sentence has the answer's names in back-quotes, numbers and
    negations, in order and no others, and its words of four letters and more, in order; where it
    says little ("Yes."), the next ones count too. difference: so do all sentences. parameters: the
    same names and defaults in order. which: the first name is the answer's. example: its block
    begins with the answer's first call and result. write, fix: its code has the answer's syntax
    tree. saying: it begins with the answer's first sentence and has its code.
    Raises ValueError for another kind.
    """
    if kind in ("what", "question", "code", "difference"):
        if kind != "difference":
            reply, answer = same_start(reply, answer)
        return _hard(reply) == _hard(answer) and _in_order(_words(answer), _words(reply))
    if kind == "parameters":
        return _QUOTED.findall(reply) == _QUOTED.findall(answer)
    if kind == "which":
        return names(reply)[:1] == names(answer)[:1]
    if kind == "example":
        wanted = _first_call(code_of(answer))
        return bool(wanted) and _lines(code_of(reply))[: len(wanted)] == wanted
    if kind in ("write", "fix"):
        return same_code(code_of(reply), code_of(answer))
    if kind == "saying":
        same = "```" not in answer or _lines(code_of(reply)) == _lines(code_of(answer))
        return same and reply.startswith(first_sentence(answer))
    raise ValueError(f"There is no rule for answers of the kind {kind!r}.")


def first_sentence(text):
    """Up to the first full stop before a capital, or the end of the first paragraph."""
    return _SENTENCE_END.split(text.strip(), maxsplit=1)[0]


def same_start(reply, answer):
    """The sentences of `answer` that hold at least TERMS terms, and as many of `reply`."""
    wanted, said = (_SENTENCE_END.split(text.strip()) for text in (answer, reply))
    count = 1
    while count < len(wanted) and _terms(wanted[:count]) < TERMS:
        count += 1
    return " ".join(said[:count]), " ".join(wanted[:count])


def names(text):
    """The names in back-quotes, and those with a dot, in order; brackets of a call left off."""
    return [(quoted or dotted).removesuffix("()") for quoted, dotted in _NAME.findall(text)]


def code_of(text):
    """The code of the first closed fence of `text`, or ""."""
    return next((block.code for block in blocks(text) if block.closed), "")


def same_code(one, other):
    """Whether two pieces of source have the same syntax tree; False for what does not parse."""
    try:
        return bool(other) and ast.dump(ast.parse(one)) == ast.dump(ast.parse(other))
    except (SyntaxError, ValueError):
        return False


def well_formed(reply, reason):
    """Whether a reply ended by itself, shows no role, and closed its fences.

    reason: the finish reason ("stop", "length").
    """
    found = check(reply, reason)
    return found.stopped and found.no_role_text and found.fences_closed


def _hard(text):
    """What must be equal: names in back-quotes, numbers and negations outside of them."""
    found = re.findall(r"`[^`]+`|\d[\d.,]*\d|\d|\b[A-Za-z]+(?:'t)?", text)
    return [
        part for part in found if not part[0].isalpha() or part.lower() in NEGATIONS
        or part.endswith("n't")
    ]  # fmt: skip


def _words(text):
    plain = _QUOTED.sub(" ", text).lower()
    return [word for word in re.findall(r"[^\W\d_]{4,}", plain) if word not in STOP_WORDS]


def _terms(sentences):
    text = " ".join(sentences)
    return len(_hard(text)) + len(_words(text))


def _in_order(few, many):
    rest = iter(many)
    return all(word in rest for word in few)


def _lines(code):
    return [line.rstrip() for line in code.strip("\n").split("\n")]


def _first_call(code):
    """The lines of a doctest up to its second prompt behind a result; of other code its first."""
    lines = _lines(code)
    if not lines[0].startswith(">>>"):
        return lines[:1] if lines[0] else []
    prompt = [line.startswith((">>>", "...")) for line in lines]
    for number in range(1, len(lines)):
        if prompt[number] and not prompt[number - 1]:
            return lines[:number]
    return lines


# ---------------------------------------------------------------------------------------------
# Completions


def complete_function(head, completion, cut_off):
    """(source of the function, its lines of completed body) or ("", 0) where it does not parse.

    head: the lines of a `def` and its docstring, at their indentation, without the last line's
    newline. completion: what was written behind them; it ends where a line is indented no deeper
    than the `def`. cut_off: whether it ended for want of tokens; then what is unfinished at its
    end is left out.
    """
    first, *lines = completion.split("\n")
    body = deeper(lines, depth_of(head))
    head += first
    if cut_off and len(body) == len(lines):
        body = body[:-1]
        while body and _unfinished(head, body):
            body.pop()
    source = textwrap.dedent("\n".join([head, *body, ""]))
    try:
        ast.parse(source)
    except (SyntaxError, ValueError):
        return "", 0
    return source, sum(bool(line.strip()) for line in body)


def depth_of(line):
    """How many blanks it begins with."""
    return len(line) - len(line.lstrip())


def deeper(lines, depth):
    """The lines up to the first one that is indented no deeper than `depth`, blank ones aside."""
    return list(takewhile(lambda line: not line.strip() or depth_of(line) > depth, lines))


def _unfinished(head, body):
    """Whether more lines could make valid source of what is none yet."""
    source = textwrap.dedent("\n".join([head, *body, ""]))
    try:
        ast.parse(source)
    except (SyntaxError, ValueError):
        try:
            return codeop.compile_command(source.rstrip("\n"), symbol="exec") is None
        except (SyntaxError, ValueError, OverflowError):
            return False
    return False
