"""Training sequences: token ids, the positions they stand at, and which of them are learned.

Knows the mixture: short and long chats behind the short prompt's preamble, dialogues alone,
documentation and source with fill-in-the-middle, and long documents. A batch depends on the seed
and the step alone, so that a resumed run goes on exactly where it stopped.
"""

import random
import tomllib
from pathlib import Path

import numpy as np

from training.tokenizer import END, FIM_MIDDLE, FIM_PREFIX, FIM_SUFFIX

WINDOW = 8192
PROMPT = Path(__file__).parent.parent / "prompts" / "tech-assistant-short.toml"
NOT_LEARNED = -100  # the label that the loss leaves out
MIXTURE = {  # kind: (share of the batches, rows, tokens of a row)
    "prompt": (0.20, 4, 960),
    "chat": (0.20, 2, 1792),
    "dialogue": (0.40, 24, 160),
    "text": (0.17, 10, 384),
    "long": (0.02, 1, 3072),
    "window": (0.01, 1, WINDOW),
}
FIM_RATE, SPM_RATE = 0.5, 0.5
NEAR, NEAR_RATE = 1536, 0.7  # the share of rows that stand within the first positions
ASKED_LEARNED = 0.1  # the share of rows in which preamble and questions count in the loss


class Sequences:
    """Batches drawn from documents (a list of corpus.Document) and dialogues."""

    def __init__(self, encoder, documents, dialogues, prompt=PROMPT, seed=0):
        self.encoder, self.dialogues, self.seed = encoder, dialogues, seed
        self.template = tomllib.loads(Path(prompt).read_text("utf-8"))
        self.code = [d.text for d in documents if d.code]
        self.prose = [d.text for d in documents if not d.code]
        self.preamble = self.template["preamble"].lstrip("\n")
        self._weights = {
            id(texts): [len(text) ** 0.7 for text in texts] for texts in (self.code, self.prose)
        }

    def batch(self, step):
        """(kind, ids, positions, labels); each array is (rows, tokens), int64.

        labels are the ids that follow, NOT_LEARNED where the loss must not look.
        """
        rng = random.Random(f"{self.seed}/{step}")
        kinds = list(MIXTURE)
        kind = rng.choices(kinds, [MIXTURE[k][0] for k in kinds])[0]
        _, rows, size = MIXTURE[kind]
        drawn = [self._row(rng, kind, size) for _ in range(rows)]
        ids, positions, labels = (np.stack(parts) for parts in zip(*drawn, strict=True))
        return kind, ids, positions, labels

    def _row(self, rng, kind, size):
        if kind in ("prompt", "chat", "dialogue"):
            ids, learned = self.dialogue_ids(rng, size + 1, behind_prompt=kind != "dialogue")
        else:
            ids = self.text_ids(rng, size + 1)
            learned = [True] * len(ids)
        at_start = kind in ("prompt", "chat") and rng.random() < 0.75
        offset = 0 if at_start else random_offset(rng, size)
        ids = np.array(ids, dtype=np.int64)
        labels = np.where(learned, ids, NOT_LEARNED)[1:]
        return ids[:-1], np.arange(offset, offset + size), labels

    # --- dialogues: trusted and untrusted segments are encoded apart and joined as ids

    def dialogue_ids(self, rng, size, *, behind_prompt):
        """`size` ids of dialogues one after the other, and which of them are learned."""
        user, model = self.template["user"], self.template["assistant"]
        end, separator = self.template["turn_end"], self.template["separator"]
        preamble = self.preamble if behind_prompt else f"{separator}\n"
        counts = rng.random() < ASKED_LEARNED
        trusted, plain = self.encoder.trusted, self.encoder.plain
        ids = trusted(f"{preamble}\n{user}")
        learned = [counts] * len(ids)
        while len(ids) < size:
            turns = self.dialogues.draw(rng)
            for number, (question, answer) in enumerate(turns):
                last = number == len(turns) - 1
                close = last and rng.random() < 0.3
                after = f"{end}{separator}\n\n{user}" if close else f"{end}{user}"
                for segment, is_learned in (
                    (plain(f" {question.strip()}"), counts),
                    (trusted(f"{end}{model}"), True),
                    (plain(f" {answer.strip()}"), True),
                    (trusted(after), True),
                ):
                    ids += segment
                    learned += [is_learned] * len(segment)
        return ids[:size], learned[:size]

    # --- documents

    def text_ids(self, rng, size):
        """`size` ids of documents, or parts of them, each closed by END; code half of the time."""
        ids = []
        while len(ids) < size:
            code = rng.random() < 0.5
            texts = self.code if code else self.prose
            text = rng.choices(texts, self._weights[id(texts)])[0]
            if code and size <= 1024 and rng.random() < FIM_RATE:
                ids += self.fim_ids(rng, part_of(rng, text, 900)) + [END]
            else:
                ids += self.encoder.plain(part_of(rng, text, 4 * size)) + [END]
        return ids[:size]

    def fim_ids(self, rng, text):
        """A text with its middle at the end: PSM or SPM, cut at random characters.

        The parts are encoded apart, as StarCoder's were.
        """
        a, b = sorted(rng.randrange(len(text) + 1) for _ in range(2))
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


def random_offset(rng, size):
    """Where a row of `size` begins: in the first positions, where most chats are, or anywhere.

    Its two ends come more often than the rest, so that the first and the last position are visited.
    """
    window = NEAR if size < NEAR and rng.random() < NEAR_RATE else WINDOW
    return min(max(rng.randrange(-size, window), 0), window - size)
