"""Training sequences: token ids, the positions they stand at, and which of them are learned.

Knows the mixture: dialogues alone, behind the preambles of the prompts and in long chats,
documentation and source with fill-in-the-middle, and long documents. A batch depends on the seed
and the step alone, so that a resumed run goes on exactly where it stopped.
"""

import random
import tomllib
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch

from training import small_code
from training.model import WINDOW
from training.tokenizer import END, FIM_MIDDLE, FIM_PREFIX, FIM_SUFFIX

PROMPTS = Path(__file__).parent.parent / "prompts"
NOT_LEARNED = -100  # the label that the loss leaves out
MIXTURE = {  # kind: (share of the batches, rows, tokens of a row)
    "alone": (0.17, 100, 40),  # questions and the beginnings of their answers, at any position
    "first": (0.33, 100, 40),  # the same behind the short prompt, which all rows share
    "dialogue": (0.08, 22, 184),  # dialogues alone, at any position
    "prompt": (0.09, 22, 184),  # behind the short prompt
    "full": (0.03, 80, 46),  # behind the full prompt
    "later": (0.05, 80, 46),  # behind the short prompt and a chat of any length, shared too
    "chat": (0.002, 2, 2048),  # one long chat, with the short prompt in the row
    "code": (0.215, 22, 184),  # programs of the small world, whole and to be filled in
    "text": (0.03, 7, 576),  # documentation and source
    "window": (0.003, 1, WINDOW),  # the same, over all positions
}
SUBJECTS = {  # the same, of batches that teach which topic a question is about (subjects.py)
    "subject": (0.5, 32, 128),  # questions alone, and beginnings of programs
    "subject first": (0.38, 32, 128),  # behind the short prompt
    "subject later": (0.12, 32, 128),  # behind the short prompt and a chat
}
SHORT, FULL = "tech-assistant-short", "tech-assistant"
PROMPT_OF = {"first": SHORT, "prompt": SHORT, "later": SHORT, "full": FULL}
PROMPT_OF |= {"subject first": SHORT, "subject later": SHORT}
ALONE = "alone", "dialogue", "subject"
FIRST = "first", "prompt", "full", "subject first"
LATER = "later", "subject later"
LATEST = 7000  # the longest chat that rows of "later" share, in tokens
CODE_RATE = 0.75  # of the documents, by number; the rest is prose
FIM_RATE, SPM_RATE, LINES_RATE = 0.5, 0.5, 0.5
NEAR, NEAR_RATE = 1536, 0.6  # the share of rows that stand within the first positions
NEXT_RATE = 0.6  # the share of rows that stand right behind their prompt, as a first message does
BEGIN_RATE = 0.7  # the share of rows of code at the beginning, where programs are completed
BREAK_RATE = 0.4  # the share of whole programs that are encoded in two parts
ASKED_LEARNED = 0.1  # the share of rows in which questions count in the loss
STUBS_RATE = 0.35  # the share of rows of "subject" that are beginnings of programs
LONGEST = 64  # tokens of a question in the rows of SUBJECTS; longer ones are mostly code


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
        self._texts, self._cumulated = {}, {}
        for code in (True, False):
            texts = [d.learned for d in documents if d.code == code]
            self._texts[code] = texts
            self._cumulated[code] = list(accumulate(len(text) ** 0.7 for text in texts))

    def __getitem__(self, step):
        """The two batches of a step, of MIXTURE and of SUBJECTS: (kind, preamble, ids, positions,
        labels, topics) each, tensors of int64.

        ids, positions, labels and topics are (rows, tokens); labels are the ids that follow, topics
        the number of what a question is about where it ends and where its answer begins; both are
        NOT_LEARNED where the loss must not look. preamble: (tokens,) ids that all rows see or None.
        """
        rng = random.Random(f"{self.seed}/{step}")
        return [self._batch(rng, mixture) for mixture in (MIXTURE, SUBJECTS)]

    def _batch(self, rng, mixture):
        kind = rng.choices(list(mixture), [share for share, *_ in mixture.values()])[0]
        _, rows, size = mixture[kind]
        shared = self.preambles.get(PROMPT_OF.get(kind), [])
        if kind in LATER:
            least = len(shared) + 500  # short ones more often: they cost less and come more often
            shared = self.chat_ids(rng, least + int((LATEST - least) * rng.random() ** 2))
        drawn = [self._row(rng, kind, size, len(shared)) for _ in range(rows * self.times)]
        rows = (torch.from_numpy(np.stack(parts)) for parts in zip(*drawn, strict=True))
        return kind, torch.tensor(shared) if shared else None, *rows

    def _row(self, rng, kind, size, offset):
        if kind in SUBJECTS:
            ids, topics = self.subject_ids(rng, size, kind)
            labels = [NOT_LEARNED] * size
        else:
            topics = [NOT_LEARNED] * size
            if kind in ("text", "window"):
                ids = self.text_ids(rng, size + 1)
                learned = [True] * len(ids)
            elif kind == "code":
                ids = self.code_ids(rng, size + 1)
                learned = [True] * len(ids)
            else:
                ids, learned, topics = self.dialogue_ids(rng, size + 1, kind)
            labels = np.where(learned, ids, NOT_LEARNED)[1:]
        if kind in FIRST and rng.random() >= NEXT_RATE:
            offset += random_offset(rng, size, WINDOW - offset)
        elif kind in (*ALONE, "text", "window") or kind == "code" and rng.random() > BEGIN_RATE:
            offset = random_offset(rng, size)
        positions = np.arange(offset, offset + size)
        return np.array(ids[:size]), positions, np.array(labels), np.array(topics[:size])

    # --- questions without answers

    def subject_ids(self, rng, size, kind):
        """`size` ids of questions one after the other, without answers, and as many topics: some
        end before the assistant's marker and some behind it."""
        template = self.templates[SHORT]
        user, end = template["user"], template["turn_end"]
        after = self.encoder.trusted(f"{end}{template['assistant']}")
        stubs = kind == "subject" and rng.random() < STUBS_RATE
        ids = [] if stubs else self.beginning(kind, template)
        topics, before = [NOT_LEARNED] * len(ids), []
        while len(ids) < size:
            if stubs:
                of = rng.choice(self.dialogues.small_code)
                code, _ = small_code.documented(small_code.program(of, rng), rng)
                piece, ends = [END, *self.encoder.plain(code)], 1
            else:
                of, asked, _ = self.dialogues.turn(rng)
                ends = 1 if rng.random() < 0.7 else len(after)
                piece = before + self.encoder.plain(f" {asked.strip()}") + after[:ends]
            if len(piece) > LONGEST:
                continue
            before = self.encoder.trusted(f"{end}{user}")
            ids += piece
            topics += [NOT_LEARNED] * len(piece)
            topics[-1] = topics[-ends] = self.dialogues.numbers[of.key]
        return ids[:size], topics[:size]

    def beginning(self, kind, template):
        """What stands before the first question of a row, but for a preamble that is shared."""
        trusted, user = self.encoder.trusted, template["user"]
        if kind in LATER:
            return trusted(f"{template['turn_end']}{user}")
        before = trusted(f"{template['separator']}\n") if kind in ALONE else []
        before = self.preambles[SHORT] if kind == "chat" else before
        return before + trusted(f"\n{user}")

    # --- dialogues: trusted and untrusted segments are encoded apart and joined as ids

    def dialogue_ids(self, rng, size, kind):
        """`size` ids of dialogues one after the other, which of them are learned, and topics.

        The row begins as a chat does: after the preamble, with the user's marker. Only kinds whose
        preamble is not shared carry it in the row.
        """
        template = self.templates[PROMPT_OF.get(kind, SHORT)]
        user, model = template["user"], template["assistant"]
        end, separator = template["turn_end"], template["separator"]
        counts = rng.random() < ASKED_LEARNED
        trusted, plain = self.encoder.trusted, self.encoder.plain
        ids = self.beginning(kind, template)
        learned, topics = [False] * len(ids), [NOT_LEARNED] * len(ids)
        while len(ids) < size:
            turns = self.dialogues.draw(rng)
            for number, (question, answer, key) in enumerate(turns):
                last = number == len(turns) - 1
                close = last and rng.random() < 0.3
                after = f"{end}{separator}\n\n{user}" if close else f"{end}{user}"
                topic = self.dialogues.numbers.get(key, NOT_LEARNED)
                for segment, is_learned, about in (
                    (plain(f" {question.strip()}"), counts, NOT_LEARNED),
                    (trusted(f"{end}{model}"), True, topic),
                    (plain(f" {answer.strip()}"), True, NOT_LEARNED),
                    (trusted(after), True, NOT_LEARNED),
                ):
                    ids += segment
                    learned += [is_learned] * len(segment)
                    topics += [about, *[NOT_LEARNED] * (len(segment) - 2), about][: len(segment)]
        return ids[:size], learned[:size], topics[:size]

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

    # --- documents

    def text_ids(self, rng, size):
        """`size` ids of documents, or parts of them, each closed by END; only running text is cut
        off at the row's end."""
        ids = []
        while len(ids) < size:
            code = rng.random() < CODE_RATE
            text = rng.choices(self._texts[code], cum_weights=self._cumulated[code])[0]
            if code and size <= 1024 and rng.random() < FIM_RATE:
                piece = self.fim_ids(rng, part_of(rng, text, 900)) + [END]
                ids += piece if len(ids) + len(piece) <= size else []
            else:
                ids += self.encoder.plain(part_of(rng, text, 4 * size)) + [END]
        return ids[:size]

    def code_ids(self, rng, size):
        """`size` ids of programs of the small world, half of them to be filled in."""
        ids = []
        while len(ids) < size:
            one = small_code.program(rng.choice(self.dialogues.small_code), rng)
            text = f"{small_code.whole(one, rng)}\n"
            if rng.random() < FIM_RATE:
                place = small_code.middles(text.rstrip("\n"), rng)
                piece = [*self.filled_in(rng, text, *place), END]
                ids += piece if len(ids) + len(piece) <= size else []
            else:
                cut = self.break_of(rng, text)
                ids += [*self.encoder.plain(text[:cut]), *self.encoder.plain(text[cut:]), END]
        return ids[:size]

    def break_of(self, rng, text):
        """Where a person stops typing and the model goes on: what is typed is encoded apart."""
        what = rng.random()
        if what > BREAK_RATE:
            return 0
        at = text.index("\n", rng.randrange(len(text)))
        if what < BREAK_RATE / 3:
            return at
        line = text[at + 1 :]
        return at + 1 + (len(line) - len(line.lstrip(" ")) if what < 2 * BREAK_RATE / 3 else 0)

    def fim_ids(self, rng, text):
        """A text with its middle at the end, PSM or SPM, the parts encoded apart as StarCoder's.

        The middle is cut at random characters, as there, or is one to four whole lines, as people
        ask for it.
        """
        a, b = sorted(rng.randrange(len(text) + 1) for _ in range(2))
        if rng.random() < LINES_RATE:
            lines = text.splitlines(keepends=True)
            first = rng.randrange(len(lines))
            a = sum(map(len, lines[:first]))
            b = a + sum(map(len, lines[first : first + rng.randint(1, 4)]))
            b -= text[a:b].endswith("\n")
        return self.filled_in(rng, text, a, b)

    def filled_in(self, rng, text, a, b):
        prefix, middle, suffix = (self.encoder.plain(t) for t in (text[:a], text[a:b], text[b:]))
        if rng.random() < SPM_RATE:
            return [FIM_PREFIX, FIM_SUFFIX, *suffix, FIM_MIDDLE, *prefix, *middle]
        return [FIM_PREFIX, *prefix, FIM_SUFFIX, *suffix, FIM_MIDDLE, *middle]


def part_of(rng, text, characters):
    """About `characters` of `text`, beginning at its start or at a line."""
    if len(text) <= characters:
        return text
    start = rng.randrange(-characters // 2, len(text) - characters // 2)
    start = text.rfind("\n", 0, start) + 1 if start > 0 else 0
    return text[start : start + characters]


def random_offset(rng, size, window=WINDOW):
    """Where a row of `size` begins: in the first positions, where most chats are, or anywhere.

    Its two ends come more often than the rest, so that the first and the last position are visited.
    """
    near = size < NEAR and rng.random() < NEAR_RATE
    window = min(NEAR, window) if near else window
    return min(max(rng.randrange(-size, window), 0), window - size)
