"""Documents, and programs of the small world, as token ids: whole, or with a middle to fill in."""

from itertools import accumulate

from training import small_code
from training.tokenizer import END, FIM_MIDDLE, FIM_PREFIX, FIM_SUFFIX

CODE_RATE = 0.75  # of the documents, by number; the rest is prose
FIM_RATE, SPM_RATE, LINES_RATE = 0.5, 0.5, 0.5
BREAK_RATE = 0.4  # the share of whole programs that are encoded in two parts


class Texts:
    """Draws from documents (a list of corpus.Document) and the small code of dialogues."""

    def __init__(self, encoder, documents, dialogues):
        self.encoder, self.dialogues = encoder, dialogues
        self._texts, self._cumulated = {}, {}
        for code in (True, False):
            texts = [d.learned for d in documents if d.code == code]
            self._texts[code] = texts
            self._cumulated[code] = list(accumulate(len(text) ** 0.7 for text in texts))

    def running(self, rng, size):
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

    def programs(self, rng, size):
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
