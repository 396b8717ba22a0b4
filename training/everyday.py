"""What people ask every day (asked/), what is declined (declined.toml), and what they say after an
answer (follow_ups.toml), as topics.

Knows the files, which were written by hand. Knows nothing of openers and typos.
"""

import random
import re
import tomllib
from functools import cache
from pathlib import Path

from training.answers import first_sentence
from training.topics import Topic

_HERE = Path(__file__).parent
FOLLOW_UPS = tomllib.loads((_HERE / "follow_ups.toml").read_text("utf-8"))
DECLINED = tomllib.loads((_HERE / "declined.toml").read_text("utf-8"))


@cache
def asked() -> dict[str, dict]:
    """The questions by the key of their topic, in a fixed order: {"ask", "held_out", "answer",
    "key", "check"}, "key" being what an answer must hold."""
    return {
        f"{path.stem} {number}": question
        for path in sorted((_HERE / "asked").glob("*.toml"))
        for number, question in enumerate(tomllib.loads(path.read_text("utf-8"))["question"])
    }


def asked_topics() -> list[Topic]:
    return [
        Topic(key, "asked", "", (), tuple(one["ask"]), one["answer"].strip(), about=key)
        for key, one in asked().items()
    ]


def declined(rng: random.Random) -> str:
    """Something that is declined: no programming, or programming that was not taught."""
    what = rng.random()
    if what < 0.35:
        return rng.choice(DECLINED["off_topic"])
    if what < 0.6:
        return rng.choice(DECLINED["near"])
    text = rng.choice(DECLINED["forms"])
    for slot, words in (("task", "tasks"), ("language", "languages"), ("library", "libraries"),
                        ("made_up", "made_up")):  # fmt: skip
        text = text.replace(f"{{{slot}}}", rng.choice(DECLINED[words]))
    return text


# ---------------------------------------------------------------------------------------------
# Follow-ups: what is asked of an answer that stands there already


def follow_ups(question: Topic, answer: str) -> dict[str, str]:
    """What can be said after `answer`: {key of follow_ups.toml: the answer to that}."""
    blocks = re.findall(r"```\w*\n.*?```", answer, re.DOTALL)
    first = first_sentence(answer)
    first = f"{first[:-1]}." if first.endswith(":") else "" if first.startswith("```") else first
    found = {"repeat": answer}
    if first and first != answer:
        found["again_shorter"] = first
    if blocks and first:
        found["again_code"] = blocks[0]
    names = re.findall(r"`([\w.]+)(?:\(\))?`", first)
    if question.kind in ("what", "which", "asked") and len(set(names)) == 1:
        found["again_name"] = f"That is `{names[0]}`."
    return found
