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
_FRAMES = [
    (re.compile(frame, re.I), short)
    for frame, short in (
        (r"^what is the difference between (.*)\?$", r"\1: the difference"),
        (r"^what (?:is|are) (?:an? |the )?(.*)\?$", r"\1"),
        (r"^what (?:does|do) (.*?) (?:do|mean)( in .*)?\?$", r"\1\2"),
    )
]
_HOW = re.compile(r"^how (do|can|should) (i|you) (.*?)[?.]?$", re.I)
_SIGNS = re.compile(
    r"[^\s,?]*[^\w\s,.?'\"/:;-][^\s,?]*|[^\s,?]*_[^\s,?]*"
)  # Markdown's, and code's
_TITLE = re.compile(r"\*\*.*\*\*\n\n")


@cache
def asked() -> dict[str, dict]:
    """The questions by the key of their topic, in a fixed order: {"ask", "held_out", "answer",
    "key", "check", "title"}, "key" being what an answer must hold; the last two may lack."""
    return {
        f"{path.stem} {number}": question
        for path in sorted((_HERE / "asked").glob("*.toml"))
        for number, question in enumerate(tomllib.loads(path.read_text("utf-8"))["question"])
    }


def asked_topics() -> list[Topic]:
    return [
        Topic(key, "asked", "", (), tuple(one["ask"]), titled(one), about=key)
        for key, one in asked().items()
    ]


def titled(one: dict) -> str:
    """An answer under a line that says what it answers, but where the question is about code."""
    question, answer = one["ask"][0], one["answer"].strip()
    if "```" in question:
        return answer
    title = one.get("title") or _SIGNS.sub(r"`\g<0>`", question)
    if how := _HOW.match(title):
        title = how[3]
        title = title[:1].upper() + title[1:]
    for frame, short in _FRAMES:  # the words that tell it from others come first
        title = frame.sub(short, title)
    return f"**{title}**\n\n{answer}"


def untitled(answer: str) -> str:
    """What stands under that line, if there is one."""
    return _TITLE.sub("", answer, count=1)


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
    """What can be said after `answer`, which is given again without its title: {key of
    follow_ups.toml: the answer to that}."""
    answer = untitled(answer)
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
