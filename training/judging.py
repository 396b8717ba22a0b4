"""What a checkpoint is judged by beside the documentation: what people ask in wordings that it
never saw, what it should decline, and small programs, completed and filled in, which are run.

judged/ was written by hand before any training with asked/ and kinds/. Knows questions and
programs; how they are asked is questions.py's, how they are written on is continuations.py's.
"""

import ast
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from training import everyday, small_code
from training.answers import code_of, deeper, depth_of, first_sentence
from training.continuations import around, write
from training.questions import EMPTY, Asked, ask_all, declining, long_chat, mean
from training.running import run_all
from training.sequences import FULL, SHORT

_JUDGED = Path(__file__).with_name("judged")
LONGEST = 200  # tokens of a body or a middle
_PLACES = 4  # of a program that are tried for a gap
LEFT_OUT = 2  # forms of each kind of small code that was left out of the training


def read(name):
    return tomllib.loads((_JUDGED / f"{name}.toml").read_text("utf-8"))


# ---------------------------------------------------------------------------------------------
# Questions


@dataclass(frozen=True, slots=True)
class Wanted:
    """A question of judged/ or asked/, and what an answer must hold: of each of `keys` one string.
    code: whether it has a block of Python, which must run behind `given` and make `checks` true."""

    asked: Asked
    keys: tuple[tuple[str, ...], ...] = ()
    code: bool = False
    checks: tuple[str, ...] = ()
    given: str = ""


def held_out_wordings(rng, count):
    """Up to `count` of what people ask, each in a wording that was never taught."""
    every = list(everyday.asked().values())
    return [
        Wanted(
            Asked("asked", "", "", (rng.choice(one["held_out"]),), one["answer"]),
            tuple((key,) for key in one["key"]),
            "```python" in one["answer"],
        )
        for one in rng.sample(every, min(count, len(every)))
    ]


def by_hand(kind):
    """Those of judged/questions.toml. kind: question, off_topic or near_miss."""
    return [
        Wanted(
            Asked(kind, "", "", (one["ask"],), ""),
            tuple(map(tuple, one.get("key", ()))),
            "check" in one,
            tuple(one.get("check", ())),
            one.get("given", ""),
        )
        for one in read("questions")[kind]
    ]


def follow_ups(rng, count):
    """Questions with what people say after the answer, in unseen words, and the answer to that."""
    found = []
    for topic in rng.sample(everyday.asked_topics(), count):
        after = everyday.follow_ups(topic, topic.answer)
        key = rng.choice(list(after))
        said = rng.choice(everyday.FOLLOW_UPS[key]["held_out"])
        asked = Asked("follow-up", "", "", (rng.choice(topic.asks), said), after[key])
        found.append(Wanted(asked, ((after[key],),)))
    return found


def answered(every, replies, declined="I cannot help"):
    """[whether it is right] of Wanted and the texts of their replies, of which none is right that
    begins with `declined`."""
    held = [
        not text.startswith(declined)
        and all(any(_holds(text, key) for key in keys) for keys in wanted.keys)
        and (not wanted.code or code_of(text) != "")
        for wanted, text in zip(every, replies, strict=True)
    ]
    programs = [
        (str(n), wanted.given + code_of(text), wanted.checks)
        for n, (wanted, text) in enumerate(zip(every, replies, strict=True))
        if wanted.code and held[n]
    ]
    failed = run_all(programs)
    return [right and str(n) not in failed for n, right in enumerate(held)]


def _holds(text, key):
    """Whether `key` stands in `text`, in any case; one of two letters or fewer as a word."""
    word = r"\b" * (len(key) < 3 and key.isalnum())
    return bool(re.search(word + re.escape(key) + word, text, re.IGNORECASE))


# ---------------------------------------------------------------------------------------------
# Programs


def stubs_by_hand(known=None):
    """(title, code up to the docstring, checks, setup). known: only those whose solution is a way
    of a kind that is taught, in other words; or only the others."""
    for n, stub in enumerate(read("stubs")["stub"]):
        shape = small_code.shape_of(stub["code"] + stub["solution"])
        if known in (None, shape in small_code.taught_shapes()):
            yield f"stub {n}", stub["code"].rstrip("\n"), stub["checks"], ""


def stubs_left_out(rng, times):
    """The same of the kinds that were left out of the training, `times` forms of each; but classes,
    whose methods nobody could guess."""
    for kind, n in _left_out(times):
        if kind.is_class:
            continue
        one = small_code.program(kind, rng)
        yield f"{kind.key} {n}", small_code.documented(one)[0], one.checks, one.setup


def fills_by_hand(what):
    """(title, prefix, suffix, checks, setup). what: line or block."""
    for n, fill in enumerate(read("fills")["fill"]):
        if fill["kind"] == what:
            yield f"fill {n}", fill["prefix"], fill["suffix"], fill["checks"], ""


def fills_left_out(rng, what, times):
    """Gaps that can be filled, since the name stands outside of them, and that have to be: neither
    nothing nor `pass` would do."""
    found, programs = [], []
    for kind, n in _left_out(times):
        one = small_code.program(kind, rng)
        text = "\n".join([*small_code.documented(one), ""])
        for _ in range(_PLACES):
            start, end = small_code.middles(text.rstrip("\n"), rng, what)
            before, after = text[:start], text[end:]
            if one.name not in before + after:
                continue
            found.append((f"{kind.key} {n}", before, after, one.checks, one.setup))
            programs += [
                (f"{len(found) - 1} {empty}", f"{before}{empty}{after}\n\n{one.setup}", one.checks)
                for empty in ("", "pass")
            ]
    failed, taken = run_all(programs), {}
    for n, (title, *rest) in enumerate(found):
        if f"{n} " in failed and f"{n} pass" in failed:
            taken.setdefault(title, (title, *rest))
    return list(taken.values())


def _left_out(times):
    held_out = [kind for kind in small_code.kinds() if kind.held_out]
    return [(kind, n) for n in range(times) for kind in held_out]


def complete(engine, stubs, name):
    """{"places", "parse", "right"} of stubs that the model completes."""
    stubs = list(stubs)
    prompts = [engine.tokenizer.encode(code) for _, code, *_ in stubs]
    found = []
    for (title, code, checks, setup), (text, _) in zip(
        stubs, write(engine, prompts, LONGEST, name), strict=True
    ):
        found.append((title, f"{code}{of_body(code, text)}\n\n{setup}", checks))
    return _figures(found)


def of_body(code, text):
    """What of `text` belongs to the last `def` or `class` of `code`."""
    last = [line for line in code.split("\n") if re.match(r"\s*(async def|def|class) ", line)][-1]
    first, *lines = text.split("\n")
    return "\n".join([first, *deeper(lines, depth_of(last))])


def fill(engine, fills, name):
    """{"places", "parse", "right"} of gaps that the model fills in."""
    fills = list(fills)
    prompts = [around(engine.tokenizer, prefix, suffix) for _, prefix, suffix, *_ in fills]
    found = []
    for (title, prefix, suffix, checks, setup), (text, _) in zip(
        fills, write(engine, prompts, LONGEST, name), strict=True
    ):
        found.append((title, f"{prefix}{text}{suffix}\n\n{setup}", checks))
    return _figures(found)


def _figures(programs):
    failed = run_all(programs)
    return {
        "places": len(programs),
        "parse": mean(_parses(code) for _, code, _ in programs),
        "right": mean(title not in failed for title, *_ in programs),
    }


def _parses(code):
    try:
        ast.parse(code)
    except (SyntaxError, ValueError):
        return False
    return True


# ---------------------------------------------------------------------------------------------
# Rows of the evaluation's tables. run: an evaluate.Evaluation


def what_people_ask(run):
    rng, short = run.rng("h"), run.assistant(SHORT)
    every = held_out_wordings(rng, run.args.questions)
    yield _asked(run, f"{SHORT} prompt", every, short)
    yield _asked(run, f"{FULL} prompt", every, run.assistant(FULL))
    yield _asked(run, "what is said after an answer", follow_ups(rng, len(every) // 3), short)
    for tokens in (3000, 6000):
        chat = long_chat(run.talk, rng, short, tokens)
        yield _asked(run, f"behind a chat of {tokens:,} tokens", every, short, chat)


def questions_by_hand(run):
    for kind in ("question", "near_miss", "off_topic"):
        yield _asked(run, kind.replace("_", " "), by_hand(kind), run.assistant(SHORT))


def _asked(run, what, every, assistant, chat=EMPTY):
    """How many are answered rightly, and how many are declined."""
    done = ask_all(assistant, [one.asked for one in every], what, (chat,))
    texts, declined = [reply.text for reply in done], first_sentence(declining(run.talk))
    right = answered(every, texts, declined) if any(one.keys for one in every) else []
    figures = {"questions": len(every), "right": mean(right)}
    figures["declined"] = mean(text.startswith(declined) for text in texts)
    return {"what": what, **figures}


def completions(run):
    for what, known in (
        ("", None),
        (", of a kind that is taught", True),
        (", of no such kind", False),
    ):
        figures = complete(run.engine, stubs_by_hand(known), f"(j) by hand{what}")
        yield {"what": f"written by hand{what}", **figures}
    left_out = stubs_left_out(run.rng("j"), LEFT_OUT)
    yield {"what": "kinds left out", **complete(run.engine, left_out, "(j) left out")}


def gaps(run):
    for what in ("line", "block"):
        by_hand = fill(run.engine, fills_by_hand(what), f"(k) {what}")
        yield {"what": f"a {what}, written by hand", **by_hand}
        left_out = fills_left_out(run.rng("k"), what, LEFT_OUT)
        yield {"what": f"a {what} of kinds left out", **fill(run.engine, left_out, f"(k) {what}")}
