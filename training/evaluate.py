"""What a trained checkpoint can do, as a table: `python -m training.evaluate models/NAME`.

Greedy, in float32, behind the short prompt as the app uses it. Questions are asked in wordings that
training never saw. Knows how a reply ends; the app has its own, stricter rules for that.
"""

import argparse
import math
import random
import re
from copy import deepcopy
from pathlib import Path

import torch
from tqdm import tqdm
from transformers import AutoModelForCausalLM, DynamicCache

from training import corpus
from training.dialogues import HELD_OUT, Dialogues, question
from training.sequences import Sequences
from training.tokenizer import END, FIM_MIDDLE, FIM_PREFIX, FIM_SUFFIX, Encoder, Tokenizer
from training.train import held_out_loss

REPLY_END = re.compile(r"\n(Human:|Assistant:|-----(\n|$))")


class Replies:
    """A checkpoint behind the short prompt; the preamble is computed once."""

    def __init__(self, folder):
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.encoder = Encoder(Tokenizer.from_file(str(Path(folder) / "tokenizer.json")))
        self.sequences = Sequences(self.encoder, [], None)
        self._head = self.encoder.trusted(self.sequences.preamble)
        self._cache = DynamicCache()
        with torch.no_grad():
            self.model(torch.tensor([self._head]), past_key_values=self._cache)

    def prompt(self, turns):
        """Ids of the prompt after the preamble. turns: (question, answer) pairs, the last answer
        None."""
        encoder, template = self.encoder, self.sequences.template
        user, model, end = (template[key] for key in ("user", "assistant", "turn_end"))
        ids = encoder.trusted(f"\n{user}")
        for question_, answer in turns:
            ids += encoder.plain(f" {question_.strip()}") + encoder.trusted(f"{end}{model}")
            if answer is not None:
                ids += encoder.plain(f" {answer.strip()}") + encoder.trusted(f"{end}{user}")
        return ids

    def reply(self, *turns, most=200):
        """(text, whether it ended by itself) of the greedy reply to the last of `turns`."""
        ids = self.prompt(turns)
        made = []
        for token in greedy(self.model, ids, deepcopy(self._cache), most):
            made.append(token)
            text = self.encoder.decode(made)
            if token == END or REPLY_END.search(text):
                return REPLY_END.split(text)[0].removesuffix("<|endoftext|>").strip(), True
        return self.encoder.decode(made).strip(), False


@torch.no_grad()
def greedy(model, ids, cache, most):
    """The most probable tokens after `ids`, one by one, at most `most`."""
    ids = torch.tensor([ids])
    for _ in range(most):
        token = model(ids, past_key_values=cache, logits_to_keep=1).logits[0, -1].argmax()
        yield int(token)
        ids = token.view(1, 1)


def holds(reply, answer):
    """Whether a reply says what an answer says: its first line of code, where it has code, else
    all longer words of its first sentence."""
    if "```" in answer:
        return answer.split("\n")[answer.split("\n").index("```python") + 1] in reply
    words = lambda text: {w.strip(".") for w in re.findall(r"[\w.]{4,}", text.lower())}  # noqa: E731
    return words(re.split(r"(?<=[.:])\s", answer)[0]) <= words(reply)


def ask_all(replies, pairs, name):
    """Shares of (question, answer) pairs: fact held, exact, ended by itself."""
    held = exact = ended = 0
    for asked, answer in tqdm(pairs, desc=name):
        text, done = replies.reply((asked, None))
        held, exact, ended = held + holds(text, answer), exact + (text == answer), ended + done
    return tuple(count / len(pairs) for count in (held, exact, ended))


def fill_lines(replies, documents, rng, count=40):
    """The share of masked source lines that are filled in exactly, in PSM order."""
    right = 0
    for document in tqdm(rng.choices(documents, k=count), desc="fill in"):
        lines = document.text[:40_000].split("\n")
        at = rng.choice([i for i, line in enumerate(lines) if len(line.strip()) > 5])
        prefix, suffix = "\n".join(lines[max(0, at - 12) : at]), "\n".join(lines[at + 1 : at + 13])
        plain = replies.encoder.plain
        ids = [FIM_PREFIX, *plain(prefix + "\n"), FIM_SUFFIX, *plain("\n" + suffix), FIM_MIDDLE]
        made = []
        for token in greedy(replies.model, ids, DynamicCache(), 60):
            if token == END:
                break
            made.append(token)
        right += replies.encoder.decode(made).strip() == lines[at].strip()
    return right / count


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--docs", type=Path, default=corpus.DOCS)
    parser.add_argument("--stdlib", type=Path, default=corpus.STDLIB)
    parser.add_argument("--questions", type=int, default=150)
    parser.add_argument("--show", type=int, default=0, help="print so many replies")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rng = random.Random("evaluation")
    replies, taught = Replies(args.folder), Dialogues(corpus.facts(args.docs))
    named = [topic for topic in taught.topics if topic.names]
    with_example = [topic for topic in named if topic.example]
    decline = next(topic.answer for topic in taught.topics if "{event}" in topic.key)
    ask = lambda topic, **how: question(rng, topic, taught.slots, **how)  # noqa: E731
    some, few = (
        rng.sample(named, args.questions),
        rng.sample(with_example, min(40, len(with_example))),
    )
    tables = {
        "facts, wordings seen in training": [(ask(t), t.answer) for t in some],
        "facts, unseen wordings": [(ask(t, held_out=True), t.answer) for t in some],
        "examples, unseen wordings": [
            (ask(t, example=True, held_out=True), t.example) for t in few
        ],
        "off-topic questions declined, unseen": [(q, decline) for q in HELD_OUT["off_topic"]],
    }
    for asked, answer in tables["facts, unseen wordings"][: args.show]:
        text, done = replies.reply((asked, None))
        print(f"\n[{'same' if text == answer else 'differs'}, ended {done}] {asked}\n  {text}")
    print("| | questions | fact held | exact | ended by itself |\n|---|---|---|---|---|")
    for name, pairs in tables.items():
        held, exact, ended = ask_all(replies, pairs, name)
        print(f"| {name} | {len(pairs)} | {held:.0%} | {exact:.0%} | {ended:.0%} |")
    documents = corpus.documents(args.docs, args.stdlib)
    held_out = [document for document in documents if document.held_out]
    for name, chosen in (
        ("trained", [d for d in documents if not d.held_out]),
        ("held out", held_out),
    ):
        share = fill_lines(replies, [d for d in chosen if d.code], rng)
        print(f"| masked source line, files {name} | 40 | | {share:.0%} | |")
    loss = held_out_loss(replies.model, replies.encoder, held_out, "cpu")
    print(f"\nheld-out loss {loss:.3f} nats per token, perplexity {math.exp(loss):.0f}")


if __name__ == "__main__":
    main()
