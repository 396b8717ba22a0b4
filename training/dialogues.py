"""Dialogues: the same few thousand answers behind ever new questions.

Knows phrasings. A question is composed at random from opener, core and closer, then roughened with
lower case, lost punctuation and typos: variety of phrasing, not size, is what lets a small model
answer a question that it has not seen. The held-out cores are for evaluation alone.
"""

import random
import re
import tomllib
from collections import defaultdict
from itertools import accumulate
from pathlib import Path

from training import everyday, small_code
from training.sentences import WORDS, lower_first
from training.topics import BREADTHS, CORES, Topic, topics

SAYINGS = Path(__file__).with_name("sayings.toml")
HELD_OUT = WORDS["held_out"]
OPENERS, CLOSERS = WORDS["openers"], WORDS["closers"]
SHARES = {  # how often a topic of a kind is drawn, against one of the kind "what"
    "what": 1.0,
    "parameters": 1.0,
    "which": 1.0,
    "question": 2.0,
    "example": 1.0,
    "difference": 1.0,
    "code": 0.35,
    "write": 0.6,
    "fix": 0.35,
    "saying": 4.0,
}
FAMILIES = {  # what a turn is about: its share of the turns
    "documentation": 0.40,  # facts and sayings, in the shares above
    "asked": 0.42,
    "small code": 0.10,
    "declined": 0.08,
}
STARTING = {  # the same where an answer's start is learned alone: the harder to tell, the more
    "documentation": 0.3,
    "asked": 0.5,
    "small code": 0.12,
    "declined": 0.08,
}
THINNED = 0.4  # the share of everyday questions of which words are left out
FOLLOWED = 0.12  # the share of turns behind which a question about the same comes
FOLLOW_UP = {
    "what": ("example", "parameters"),
    "parameters": ("example", "what"),
    "example": ("parameters", "what"),
    "which": ("what", "example", "parameters"),
}
BLOCKS = ("code", "fix", "prints")  # their {x} is code, which keeps its letters


def sayings(path=SAYINGS):
    """(topics, slots) of the dialogues that were written by hand; slots are those of all kinds."""
    table = tomllib.loads(Path(path).read_text("utf-8"))
    found = []
    for saying in table["saying"]:
        asks = tuple(saying["ask"])
        key = saying.get("key", asks[0])
        found.append(Topic(key, "saying", "", (), asks, saying["say"].strip(), saying["share"]))
    return found, WORDS["slots"] | table["slots"]


# ---------------------------------------------------------------------------------------------
# Questions


def question(rng, topic, slots, held_out=False, kind=None):
    """A question about `topic`, composed at random.

    slots: words for the {slot}s of a question. kind: asks with the cores of that kind,
    a follow-up's, instead of the topic's own.
    """
    if topic.kind == "asked" and kind is None:
        text = rng.choice(topic.asks)
        if "`" in text:
            return text
        text = thinned(rng, text) if rng.random() < THINNED else text
        return text if rng.random() < 0.5 else roughen(rng, text, topic)
    kind = kind or topic.kind
    asks = HELD_OUT.get(kind) if held_out else CORES.get(kind) if kind != topic.kind else None
    asks, names = asks or topic.asks, topic.names or ("",)
    # The more slots, the more questions a core stands for.
    (text,) = rng.choices(asks, [1 + ask.count("{") for ask in asks])
    text = re.sub(r"\{(\w\w+)\}", lambda slot: rng.choice(slots[slot[1]]), text)
    text = text if rng.random() < 0.2 else text[:1].upper() + text[1:]
    # In evaluation a question of the FAQ is asked in whole sentences, as it stands.
    name = rng.choice(names[:2] if held_out and topic.kind == "question" else names)
    if topic.kind not in BLOCKS:
        text = text.replace("{x}", name)
    text = text if held_out else roughen(rng, text, topic)
    return text.replace("{x}", name) if topic.kind in BLOCKS else text


def roughen(rng, text, topic):
    """`text` between an opener and a closer, in people's spelling."""
    if rng.random() < 0.25:
        opener = rng.choice(OPENERS)
        text = f"{opener} {lower_first(text) if opener[-1] != '.' else text}"
    if rng.random() < 0.2:
        text = f"{text} {rng.choice(CLOSERS)}"
    if rng.random() < 0.2:
        text = text.rstrip("?.!")
    if rng.random() < 0.15:
        text = text.lower()
    if rng.random() < 0.15:
        text = _typo(rng, text, topic)
    return text


def thinned(rng, text):
    """`text` with one word in five left out, two at least kept: none of them alone shall tell what
    is asked."""
    words = text.split(" ")
    kept = [word for word in words if rng.random() < 0.8]
    return " ".join(kept if len(kept) > 1 else words)


def _typo(rng, text, topic):
    """`text` with one letter lost, doubled or swapped in a word that is not the name."""
    words = text.split(" ")
    free = [i for i, word in enumerate(words) if word.isalpha() and len(word) > 3]
    names = " ".join(topic.names).lower()
    free = [i for i in free if words[i].lower() not in names]
    if not free:
        return text
    i = rng.choice(free)
    word, at = words[i], rng.randrange(1, len(words[i]) - 1)
    words[i] = rng.choice(
        (
            word[:at] + word[at + 1 :],
            word[:at] + word[at] + word[at:],
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
        )
    )
    return " ".join(words)


class Dialogues:
    """Draws exchanges for ever, of one to six turns. number_of: of each topic, and of each kind of
    small code, by its key.

    facts: of facts.facts(). exercises: further topics. breadth: few or many (taught.toml).
    """

    def __init__(self, facts, exercises=(), breadth="many"):
        written, self.slots = sayings()
        kinds = BREADTHS[breadth]["kinds"]
        exercises = [topic for topic in exercises if topic.kind in kinds]
        self.topics = [*topics(facts, breadth), *exercises, *written]
        self.asked = everyday.asked_topics()
        self.small_code = small_code.taught()
        self.topics_about = defaultdict(dict)
        for topic in self.topics:
            if topic.about:
                self.topics_about[topic.about][topic.kind] = topic
        said = {ask: topic for topic in written for ask in topic.asks}
        self.handed_on = {"thanks": said["Thanks"], "wrong": said["That is wrong"]}
        self.handed_on["more_thanks"] = self.handed_on["thanks"]
        self.declining = next(topic for topic in written if topic.key == "off_topic")
        every = *self.topics, *self.asked, *self.small_code
        self.number_of = {key: n for n, key in enumerate(dict.fromkeys(one.key for one in every))}
        self.known = [*self.topics, *self.asked]  # what has one answer each
        shares = [topic.share * SHARES[topic.kind] for topic in self.topics]
        self._cumulated = list(accumulate(shares))

    @property
    def data(self):
        """All that is drawn from."""
        topics = self.topics, WORDS, self.slots, self.asked, self.small_code
        return *topics, everyday.DECLINED, everyday.FOLLOW_UPS, FAMILIES, STARTING

    def draw(self, rng: random.Random):
        """One dialogue: a list of (question, answer, key of what it is about, or "")."""
        turns = []
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            topic, asked, answer = self.turn(rng)
            turns.append((asked, answer, topic.key))
            if rng.random() < FOLLOWED and (follow := self.follow_up(rng, topic)):
                turns.append((self.ask_again(rng, follow), follow.answer, follow.key))
            elif rng.random() < FOLLOWED:
                turns += self.after(rng, topic, answer)
        return turns

    def turn(self, rng, families=FAMILIES):
        """(topic, question, answer) of a family drawn by its share."""
        (family,) = rng.choices(list(families), list(families.values()))
        if family == "declined":
            topic = self.declining
            return topic, roughen(rng, everyday.declined(rng), topic), topic.answer
        if family == "documentation":
            (topic,) = rng.choices(self.topics, cum_weights=self._cumulated)
        elif family == "asked":
            topic = rng.choice(self.asked)
        else:
            topic = self.of_small_code(rng, rng.choice(self.small_code))
        return topic, question(rng, topic, self.slots), topic.answer

    def of_small_code(self, rng, kind):
        """Something asked about a program of `kind`."""
        what, x, answer = small_code.about(small_code.program(kind, rng), rng)
        return Topic(kind.key, what, "", (x,), tuple(CORES[what]), answer)

    def after(self, rng, topic, answer):
        """What people say after an answer, and the answer to that: a turn or none."""
        if topic.kind == "saying":
            return []
        found = everyday.follow_ups(topic, answer)
        found |= {key: said.answer for key, said in self.handed_on.items()}
        (key,) = rng.choices(list(found), [0.4 if key == "repeat" else 1 for key in found])
        said = rng.choice(everyday.FOLLOW_UPS[key]["ask"])
        return [(said if rng.random() < 0.7 else roughen(rng, said, topic), found[key], "")]

    def follow_up(self, rng, topic):
        """Another topic about the same thing, or None."""
        others = self.topics_about.get(topic.about, {})
        kinds = [kind for kind in FOLLOW_UP.get(topic.kind, ()) if kind in others]
        return others[rng.choice(kinds)] if kinds else None

    def ask_again(self, rng, topic, held_out=False):
        """A question about `topic` that does not name it ("And its parameters?")."""
        return question(rng, topic, self.slots, held_out, kind=f"again_{topic.kind}")
