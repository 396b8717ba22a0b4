"""What a trained checkpoint can do, as a table: `python -m training.evaluate FOLDER`.

Asks as the app asks: its engine, its prompt templates, its stop rules, greedy. Questions are in
wordings that training never saw. Writes the table to stdout as Markdown and its figures to
FOLDER/evaluation.json. Parts: (a) questions, (b) fill-in-the-middle, (c) completions that parse,
(d) form of the replies, (e) perplexity, (f) other contexts, (g) int8 against float32, (h) what
people ask, (i) questions by hand, (j) functions and (k) gaps that are filled in and run.
"""

import argparse
import hashlib
import json
import math
import random
import shlex
import sys
from functools import cached_property
from pathlib import Path

import torch

from assistant.chat.assistant import Assistant
from assistant.engine.device import choose_device
from assistant.engine.open import open_engine
from assistant.prompting.load import load_template
from assistant.settings import Settings
from training import continuations, corpus, judging
from training.answers import first_sentence, well_formed
from training.dialogues import Dialogues
from training.exercises import exercises
from training.facts import facts
from training.questions import asides, ask_all, declining, long_chat, mean, questions, right, shares
from training.sequences import FULL, SHORT
from training.topics import BREADTHS

LONG_CHATS = 5  # different ones


def taught(args):
    """(documents of the corpus, Dialogues of what is taught from them)."""
    documents = corpus.documents(args.docs, args.stdlib)
    return documents, Dialogues(facts(args.docs), exercises(documents), args.breadth)


def row(what, figures):
    return {"what": what, **figures}


# ---------------------------------------------------------------------------------------------
# The parts: each gives the rows of a table


class Evaluation:
    """The parts (a) to (k) for the parsed arguments; what several need is made once."""

    def __init__(self, args):
        self.args = args
        self.documents, self.talk = taught(args)
        self.questions = questions(self.talk, self.rng("a"), args.questions)
        self.engine = self.open(args.dtype)

    def rng(self, part):
        return random.Random(f"evaluation {self.args.seed} {part}")

    def open(self, dtype):
        args = self.args
        return open_engine(
            Settings(model=str(args.folder), dtype=dtype, device=args.device, slots=args.slots)
        )

    def assistant(self, prompt, engine=None):
        template = load_template(prompt)
        return Assistant(engine or self.engine, template, max_new_tokens=self.args.max_new_tokens)

    @cached_property
    def replies(self):
        return ask_all(self.assistant(self.args.prompt), self.questions, "(a) questions")

    @cached_property
    def aside(self):
        every = list(asides(self.talk))
        return every, ask_all(self.assistant(self.args.prompt), every, "(a) asides")

    def a(self):
        pairs = list(zip(self.questions, self.replies, strict=True))
        modules = len({asked.module for asked in self.questions})
        yield row(f"all kinds, {modules} modules", shares(self.questions, self.replies))
        for kind in dict.fromkeys(asked.kind for asked in self.questions):
            yield row(kind, shares(*zip(*(p for p in pairs if p[0].kind == kind), strict=True)))
        declined = first_sentence(declining(self.talk))
        wrongly = [done.text.startswith(declined) for done in self.replies]
        yield row(
            "on topic, wrongly declined", {"questions": len(wrongly), "declined": mean(wrongly)}
        )
        pairs = list(zip(*self.aside, strict=True))
        for kind in dict.fromkeys(asked.kind for asked, _ in pairs):
            yield row(kind, shares(*zip(*(p for p in pairs if p[0].kind == kind), strict=True)))

    def b(self):
        for name, documents in self.code_files():
            for lines in (1, 3):
                figures = continuations.fill(
                    self.engine, documents, self.rng("b"), lines, self.args.places
                )
                what = "line" if lines == 1 else f"block of {lines} lines"
                yield row(f"masked {what}, {name} files", figures)

    def c(self):
        for name, documents in self.code_files():
            figures = continuations.functions(
                self.engine, documents, self.rng("c"), self.args.places
            )
            yield row(f"functions of {name} files", figures)

    def code_files(self):
        for name, held_out in (("trained", False), ("held-out", True)):
            yield name, [d for d in self.documents if d.code and d.held_out == held_out]

    def d(self):
        done = [*self.replies, *self.aside[1]]
        yield row("ended, no role shown, fences closed", {
            "replies": len(done), "share": mean(well_formed(d.text, d.reason) for d in done)
        })  # fmt: skip

    def h(self):
        return judging.what_people_ask(self)

    def i(self):
        return judging.questions_by_hand(self)

    def j(self):
        return judging.completions(self)

    def k(self):
        return judging.gaps(self)

    def e(self):
        held_out = [document for document in self.documents if document.held_out]
        device = choose_device(self.args.device)
        for name, code in (("documentation", False), ("code", True)):
            documents = [document for document in held_out if document.code == code]
            figures = continuations.perplexity(
                self.args.folder, self.engine.tokenizer, documents, device
            )
            yield row(f"held-out {name}", figures)

    def f(self):
        some = self.questions[: math.ceil(self.args.questions / 2)]
        yield row(f"{self.args.prompt} prompt", shares(some, self.replies[: len(some)]))
        rng, short = self.rng("f"), self.assistant(SHORT)
        chats = [long_chat(self.talk, rng, short) for _ in range(LONG_CHATS)]
        done = ask_all(short, some, "(f) long chats", chats)
        tokens = round(mean(reply.finished.prompt_tokens for reply in done))
        yield row(f"behind a chat, {tokens} tokens in the mean", shares(some, done))
        other = FULL if self.args.prompt != FULL else SHORT
        done = ask_all(self.assistant(other), some, f"(f) {other}")
        yield row(f"{other} prompt", shares(some, done))

    def g(self):
        some = self.questions[: math.ceil(self.args.questions / 3)]
        replies = {self.args.dtype: self.replies[: len(some)]}
        for dtype in {"float32", "int8"} - {self.args.dtype}:
            engine = self.open(dtype)
            assistant = self.assistant(self.args.prompt, engine)
            replies[dtype] = ask_all(assistant, some, f"(g) {dtype}")
            engine.close()
        same = zip(replies["int8"], replies["float32"], strict=True)
        same = mean(one.text == other.text for one, other in same)
        for dtype in ("float32", "int8"):
            yield row(dtype, {**shares(some, replies[dtype]), "same text": same})


TITLES = {
    "a": "(a) Questions in unseen wordings",
    "b": "(b) Fill-in-the-middle, exact",
    "c": "(c) Completions that parse",
    "d": "(d) Form of the replies of (a)",
    "e": "(e) Perplexity",
    "f": "(f) The same questions elsewhere",
    "g": "(g) int8 against float32",
    "h": "(h) What people ask, in unseen wordings",
    "i": "(i) Questions written by hand",
    "j": "(j) Functions completed from their docstring, run",
    "k": "(k) Gaps filled in, run",
}


def table(title, rows):
    """A Markdown table; a share is shown in per cent, another float with three decimals."""
    heads = list(dict.fromkeys(head for one in rows for head in one))
    text = [f"**{title}**", "", f"| {' | '.join(heads)} |".replace("| what |", "| |")]
    text.append("|---" * len(heads) + "|")
    for one in rows:
        cells = [_shown(head, one.get(head)) for head in heads]
        text.append(f"| {' | '.join(cells)} |")
    return "\n".join(text) + "\n"


def _shown(head, value):
    if isinstance(value, float):
        return f"{value:.3f}" if head in continuations.NO_SHARES else f"{value:.0%}"
    return "" if value is None else str(value)


def weights_hash(folder):
    """SHA-256 over the weight files, in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(Path(folder).glob("*.safetensors")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("folder", type=Path)
    add("--docs", type=Path, default=corpus.DOCS)
    add("--stdlib", type=Path, default=corpus.STDLIB)
    add("--breadth", choices=BREADTHS, default="few", help="what the checkpoint was taught")
    add("--part", default=",".join(TITLES), help="of a to k, as a,b,c; default: all")
    add("--questions", type=int, default=300, help="of (a); (f) asks half, (g) a third of them")
    add("--places", type=int, default=100, help="of (b) and (c), in trained and in held-out files")
    add("--prompt", default=SHORT, help="a template of prompts/")
    add("--dtype", default="float32", choices=("float32", "bfloat16", "float16", "int8"))
    add("--device", default="auto")
    add("--slots", type=int, default=8, help="questions asked at once")
    add("--max-new-tokens", type=int, default=512, help="of a reply, as the app's")
    add("--seed", type=int, default=0)
    add("--replies", type=Path, help="write the questions and replies of (a) to this file")
    args = parser.parse_args(argv)
    parts = args.part.split(",")
    if unknown := sorted(set(parts) - set(TITLES)):
        parser.error(f"there is no part {unknown[0]!r}; the parts are {', '.join(TITLES)}")
    run, figures = Evaluation(args), {}
    for part in parts:
        figures[part] = list(getattr(run, part)())
        print(table(TITLES[part], figures[part]), flush=True)
    if args.replies:
        write_replies(args.replies, [*run.questions, *run.aside[0]], [*run.replies, *run.aside[1]])
    run.engine.close()
    if len(parts) < len(TITLES):  # a look at a part; what the folder says is of one whole run
        return
    given = sys.argv[1:] if argv is None else argv
    about = {
        "command": f"python -m training.evaluate {shlex.join(map(str, given))}",
        "seed": args.seed,
        "torch": torch.__version__,
        "weights_sha256": weights_hash(args.folder),
        "parts": figures,
    }
    text = json.dumps(about, indent=1) + "\n"
    (args.folder / "evaluation.json").write_text(text, encoding="utf-8")


def write_replies(path, every, replies):
    """One JSON object a line: what was asked, what was wanted, what came."""
    with path.open("w", encoding="utf-8") as file:
        for asked, done in zip(every, replies, strict=True):
            said = {"kind": asked.kind, "right": right(asked, done), "asked": asked.messages}
            said |= {"answer": asked.answer, "reply": done.text, "reason": done.reason}
            file.write(json.dumps(said) + "\n")


if __name__ == "__main__":
    main()
