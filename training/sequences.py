"""Training sequences: token ids, the positions they stand at, and which of them are learned.

Knows the mixture: dialogues alone, behind the preambles of the prompts and in long chats,
documentation and source with fill-in-the-middle, and long documents. Some batches are questions
with the starts of their answers alone, others answers alone. A batch depends on the seed and the
step alone, so that a resumed run goes on exactly where it stopped.
"""

import random
import tomllib
from pathlib import Path

import numpy as np
import torch

from training import small_code
from training.dialogues import STARTING
from training.model import WINDOW
from training.texts import Texts
from training.tokenizer import END

PROMPTS = Path(__file__).parent.parent / "prompts"
NOT_LEARNED = -100  # the label that the loss leaves out
MIXTURE = {  # kind: (share of the batches, rows, tokens of a row)
    "first": (0.05, 32, 128),  # questions and the starts of their answers, behind the short prompt
    "alone": (0.05, 32, 128),  # the same without a prompt, at any position
    "stubs": (0.03, 32, 128),  # programs up to their docstrings, and the starts of their bodies
    "answers": (0.28, 22, 184),  # answers alone, all told their topics
    "dialogue": (0.25, 22, 184),  # whole dialogues alone, at any position
    "prompt": (0.14, 22, 184),  # behind the short prompt
    "full": (0.01, 22, 184),  # behind the full prompt
    "later": (0.02, 22, 184),  # behind the short prompt and a chat of any length, shared too
    "chat": (0.002, 2, 2048),  # one long chat, with the short prompt in the row
    "code": (0.13, 22, 184),  # programs of the small world, whole and to be filled in
    "text": (0.03, 7, 576),  # documentation and source
    "window": (0.002, 1, WINDOW),  # the same, over all positions
}
QUESTIONS = 32, 128  # rows and tokens of the questions that each step has beside its batch
STUBS_RATE = 0.4  # of their rows without a prompt, those with programs instead
SHORT, FULL = "tech-assistant-short", "tech-assistant"
PROMPT_OF = {"first": SHORT, "prompt": SHORT, "later": SHORT, "full": FULL}  # shared by all rows
STARTS = "first", "alone"
ALONE = "alone", "answers", "dialogue"
CODE = "code", "stubs"
LATEST = 7000  # the longest chat that rows of "later" share, in tokens
NEAR, NEAR_RATE = 1536, 0.6  # the share of rows that stand within the first positions
NEXT_RATE = 0.6  # the share of rows that stand right behind their prompt, as a first message does
BEGIN_RATE = 0.7  # the share of rows of code at the beginning, where programs are completed
ASKED_LEARNED = 0.1  # the share of rows in which questions count in the loss
STARTED, BEGUN = 4, 12  # tokens of an answer, of a body, that tell which one it is
GAP_RATE = 0.5  # the share of starts behind which the next question stands as in a chat
LONGEST = 64  # tokens of a question before a start; what is longer is mostly code


class Row:
    """Ids, which of them are learned, and the topics that are told at them or NOT_LEARNED."""

    def __init__(self):
        self.ids, self.learned, self.topics = [], [], []

    def add(self, ids, learned=True, topic=NOT_LEARNED):
        """topic: told at the first and the last of `ids`."""
        self.ids += ids
        self.learned += [learned] * len(ids)
        between = [NOT_LEARNED] * (len(ids) - 2)
        self.topics += [topic, *between, topic][: len(ids)]


class Sequences:
    """Batches drawn from documents (a list of corpus.Document) and dialogues.

    times: how often the rows of the mixture are taken, for machines that like large batches.
    """

    def __init__(self, encoder, documents, dialogues, seed=0, times=1):
        self.encoder, self.dialogues, self.seed, self.times = encoder, dialogues, seed, times
        self.templates = {
            name: tomllib.loads((PROMPTS / f"{name}.toml").read_text("utf-8"))
            for name in (SHORT, FULL)
        }
        self.preambles = {
            name: encoder.trusted(template["preamble"].lstrip("\n"))
            for name, template in self.templates.items()
        }
        self.texts = Texts(encoder, documents, dialogues)

    def __getitem__(self, step):
        """(kind, batch, questions) of a step. The batch is (preamble, ids, positions, labels,
        topics), tensors of int64; questions, whose topics are to be told, are the same without
        labels.

        ids, positions, labels and topics are (rows, tokens). labels: the ids that follow. topics:
        the number of what a question is about at the first and the last token of the marker behind
        it, or of a program at the end of its docstring. Both are NOT_LEARNED elsewhere. preamble:
        (tokens,) ids that all rows see, or None.
        """
        rng = random.Random(f"{self.seed}/{step}")
        kinds = list(MIXTURE)
        kind = rng.choices(kinds, [MIXTURE[k][0] for k in kinds])[0]
        _, rows, size = MIXTURE[kind]
        shared = self.preambles.get(PROMPT_OF.get(kind), [])
        if kind == "later":
            least = len(shared) + 500  # short ones more often: they cost less and come more often
            shared = self.chat_ids(rng, least + int((LATEST - least) * rng.random() ** 2))
        drawn = [self._row(rng, kind, size, len(shared)) for _ in range(rows * self.times)]
        rng = random.Random(f"{self.seed}/{step}/questions")
        before = rng.choice((self.preambles[SHORT], []))
        asked = [self._questions(rng, len(before)) for _ in range(QUESTIONS[0] * self.times)]
        return kind, batch_of(shared, drawn), batch_of(before, asked)

    def _questions(self, rng, offset):
        """A row of questions alone, or of programs up to their docstrings where nothing stands
        before it."""
        row, size = Row(), QUESTIONS[1]
        template = self.templates[SHORT]
        mark = self.encoder.trusted(f"{template['turn_end']}{template['assistant']}")[:1]
        stubs = not offset and rng.random() < STUBS_RATE
        while len(row.ids) < size:
            ids, _, number = self.stub(rng) if stubs else self.asked(rng)
            before, at = (ids[:-1], ids[-1:]) if stubs else (ids, mark)
            row.add(before)
            row.add(at, topic=number)
        if rng.random() >= NEXT_RATE:
            offset += random_offset(rng, size, WINDOW - offset)
        return np.array(row.ids[:size]), offset + np.arange(size), np.array(row.topics[:size])

    def _row(self, rng, kind, size, offset):
        row = Row()
        if kind in ("text", "window"):
            row.add(self.texts.running(rng, size + 1))
        elif kind == "code":
            row.add(self.texts.programs(rng, size + 1))
        elif kind == "stubs":
            self.add_stubs(row, rng, size + 1)
        elif kind == "answers":
            self.add_answers(row, rng, size + 1)
        elif kind in STARTS:
            self.add_starts(row, rng, size + 1, kind)
        else:
            self.add_dialogues(row, rng, size + 1, kind)
        ids, topics = np.array(row.ids[: size + 1]), np.array(row.topics[:size])
        labels = np.where(row.learned[: size + 1], ids, NOT_LEARNED)[1:]
        if kind in ("first", "prompt", "full") and rng.random() >= NEXT_RATE:
            offset += random_offset(rng, size, WINDOW - offset)
        elif kind in (*ALONE, "text", "window") or kind in CODE and rng.random() > BEGIN_RATE:
            offset = random_offset(rng, size)
        return ids[:-1], np.arange(offset, offset + size), labels, topics

    # --- dialogues: trusted and untrusted segments are encoded apart and joined as ids

    def add_dialogues(self, row, rng, size, kind):
        """Dialogues one after the other, until the row has `size` ids."""
        template = self.templates[PROMPT_OF.get(kind, SHORT)]
        user, model = template["user"], template["assistant"]
        end, separator = template["turn_end"], template["separator"]
        counts = rng.random() < ASKED_LEARNED
        trusted, plain = self.encoder.trusted, self.encoder.plain
        row.add(self.before_chat(kind, template), learned=False)
        while len(row.ids) < size:
            turns = self.dialogues.draw(rng)
            for number, (question, answer, key) in enumerate(turns):
                last = number == len(turns) - 1
                close = last and rng.random() < 0.3
                topic = self.dialogues.number_of.get(key, NOT_LEARNED)
                row.add(plain(f" {question.strip()}"), learned=counts)
                row.add(trusted(f"{end}{model}"), topic=topic)
                row.add(plain(f" {answer.strip()}"))
                row.add(trusted(f"{end}{separator}\n\n{user}" if close else f"{end}{user}"))

    def add_starts(self, row, rng, size, kind):
        """Questions one after the other, each with the start of its answer, which alone is learned:
        there it is decided which answer a question gets."""
        template = self.templates[PROMPT_OF.get(kind, SHORT)]
        user, model, end = template["user"], template["assistant"], template["turn_end"]
        trusted = self.encoder.trusted
        row.add(self.before_chat(kind, template), learned=False)
        while len(row.ids) < size:
            question, answer, number = self.asked(rng)
            row.add(question, learned=False)
            row.add(trusted(f"{end}{model}"), learned=False, topic=number)
            row.add(answer[:STARTED])
            if len(answer) <= STARTED or rng.random() < GAP_RATE:
                row.add(trusted(f"{end}{user}"), learned=len(answer) <= STARTED)

    def add_answers(self, row, rng, size):
        """Answers one after the other, each behind its marker alone, where it is told its topic."""
        template, trusted = self.templates[SHORT], self.encoder.trusted
        user, model, end = template["user"], template["assistant"], template["turn_end"]
        while len(row.ids) < size:
            topic = rng.choice(self.dialogues.known)
            number = self.dialogues.number_of[topic.key]
            row.add(trusted(f"{end}{model}"), learned=False, topic=number)
            row.add(self.encoder.plain(f" {topic.answer.strip()}"))
            row.add(trusted(f"{end}{user}"))

    def question(self, rng):
        """(ids, number of the topic) of a question, or of a program up to its docstring."""
        ids, _, number = self.stub(rng) if rng.random() < STUBS_RATE / 2 else self.asked(rng)
        return ids, number

    def asked(self, rng):
        """(ids of a question, of its answer, number of its topic); no question is long."""
        while True:
            topic, question, answer = self.dialogues.turn(rng, STARTING)
            question, answer = (self.encoder.plain(f" {t.strip()}") for t in (question, answer))
            if len(question) <= LONGEST:
                return question, answer, self.dialogues.number_of[topic.key]

    def before_chat(self, kind, template):
        """What a row begins with, as a chat does; only kinds whose preamble is not shared carry it
        in the row."""
        trusted, user = self.encoder.trusted, template["user"]
        if kind == "later":
            return trusted(f"{template['turn_end']}{user}")
        alone = trusted(f"{template['separator']}\n") if kind in ALONE else []
        return (self.preambles[SHORT] if kind == "chat" else alone) + trusted(f"\n{user}")

    def chat_ids(self, rng, most):
        """At most `most` ids: the short prompt and a chat behind it that ends with an answer."""
        template = self.templates[SHORT]
        trusted, plain = self.encoder.trusted, self.encoder.plain
        user, model = template["user"], template["assistant"]
        ids, before = self.preambles[SHORT], f"\n{user}"
        while True:
            for question, answer, _ in self.dialogues.draw(rng):
                asked = trusted(before) + plain(f" {question.strip()}")
                said = trusted(f"{template['turn_end']}{model}") + plain(f" {answer.strip()}")
                if len(ids) + len(asked) + len(said) > most:
                    return ids
                ids, before = ids + asked + said, f"{template['turn_end']}{user}"

    def add_stubs(self, row, rng, size):
        """Programs up to their docstrings, each with the start of its body, which is learned."""
        while len(row.ids) < size:
            code, body, number = self.stub(rng)
            row.add(code[:-1], learned=False)
            row.add(code[-1:], learned=False, topic=number)
            row.add(body[:BEGUN])
            row.add([END], learned=len(body) <= BEGUN)

    def stub(self, rng):
        """(ids of a program up to its docstring, of its body, number of its kind); none is long."""
        while True:
            kind = rng.choice(self.dialogues.small_code)
            code, body = small_code.documented(small_code.program(kind, rng), rng)
            code, body = self.encoder.plain(code), self.encoder.plain(f"\n{body}")
            if len(code) <= LONGEST:
                return code, body, self.dialogues.number_of[kind.key]


def batch_of(shared, rows):
    """The preamble and the parts of `rows`, as tensors."""
    parts = (torch.from_numpy(np.stack(part)) for part in zip(*rows, strict=True))
    return torch.tensor(shared) if shared else None, *parts


def random_offset(rng, size, window=WINDOW):
    """Where a row of `size` begins: in the first positions, where most chats are, or anywhere.

    Its two ends come more often than the rest, so that the first and the last position are visited.
    """
    near = size < NEAR and rng.random() < NEAR_RATE
    window = min(NEAR, window) if near else window
    return min(max(rng.randrange(-size, window), 0), window - size)
