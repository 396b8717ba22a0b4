"""The dialogues written by hand: their code runs, and no question kept for evaluation is taught."""

import builtins
import keyword
import re
import sys
import tomllib

import pytest

from assistant.paths import ROOT
from training import everyday, judging
from training.exercises import HOW, WRITINGS

TRAINING = ROOT / "training"
TABLE, HELD_OUT, WORDS = (
    tomllib.loads((TRAINING / f"{name}.toml").read_text("utf-8"))
    for name in ("sayings", "held_out", "phrasings")
)
SAYINGS, SLOTS = TABLE["saying"], {"x": ["X"], **WORDS["slots"], **TABLE["slots"]}
DECLINED = [s for s in SAYINGS if s.get("key") in ("off_topic", "third_party", "other_language")]
SLOT = re.compile(r"\{(\w+)\}")
WHO = ("Who are you?", "Are you ChatGPT?", "Are you a human?", "Do you remember me?")
TALK = ("Hello", "Thanks", "Bye", "You are wrong", "I don't understand", "You are stupid", "ok")
NOT_HOWTOS = {
    *("off_topic", "third_party", "other_language", "distress", "What can you do?"),
    *(*TALK, *WHO),
}
KEPT_BACK = {
    *HELD_OUT["off_topic"],
    *HELD_OUT["who"],
    *(ask for group in ("howto", "talk") for asks in HELD_OUT[group].values() for ask in asks),
}


def plain(text):
    """Words in lower case with single spaces: what is left of `text` without punctuation."""
    return " ".join(re.findall(r"\w+", text.lower()))


def pattern(core):
    """A regular expression for the plain() of all that `core` can become."""
    parts = SLOT.split(core)
    words = {name: "|".join(pattern(word) for word in SLOTS[name]) for name in parts[1::2]}
    parts = [f" ({words[part]}) " if i % 2 else plain(part) for i, part in enumerate(parts)]
    return re.sub(" +", " ", "".join(parts)).strip()


CORES = [re.compile(pattern(ask)) for saying in SAYINGS for ask in saying["ask"]]


@pytest.mark.parametrize("question", sorted(KEPT_BACK))
def test_no_question_of_the_evaluation_is_taught(question):
    assert not [core.pattern for core in CORES if core.fullmatch(plain(question))]


@pytest.mark.parametrize("kind", [kind for kind in WORDS["held_out"] if kind in WORDS["cores"]])
def test_no_wording_of_the_evaluation_is_composed(kind):
    cores = [re.compile(pattern(core)) for core in WORDS["cores"][kind]]
    for wording in WORDS["held_out"][kind]:
        assert not [core for core in cores if core.fullmatch(plain(wording.replace("{x}", "X")))]


@pytest.mark.parametrize(
    "question", ["who won the super bowl", "Explain `torch.Tensor`.", "Are you ChatGPT ?"]
)
def test_what_is_taught_is_recognized_with_any_punctuation(question):
    asked = plain(question.replace("Explain", "What is"))
    assert any(core.fullmatch(asked) for core in CORES)


def test_the_evaluation_asks_what_it_should():
    assert {"Who won the World Cup?", "How do I center a div?"} <= set(HELD_OUT["off_topic"])
    assert len(set(HELD_OUT["off_topic"])) == 60 and len(set(HELD_OUT["who"])) == 12
    howtos = [s["ask"][0] for s in SAYINGS if s.get("key", s["ask"][0]) not in NOT_HOWTOS]
    assert list(HELD_OUT["howto"]) == howtos
    asks = {saying["ask"][0] for saying in SAYINGS}
    assert set(HELD_OUT["talk"]) <= asks
    assert all(len(set(HELD_OUT[g][ask])) == 2 for g in ("howto", "talk") for ask in HELD_OUT[g])


@pytest.mark.parametrize("saying", SAYINGS, ids=lambda saying: saying["ask"][0])
def test_the_code_of_a_saying_runs(saying, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("a\nb\n")
    names = {}
    for block in re.findall(r"```python\n(.*?)```", saying["say"], re.S):
        assert block.count("\n") <= 8 and max(map(len, block.splitlines())) <= 76
        exec(block, names)
    for code, value in re.findall(r"`([^`]+)` (?:returns|is) `([^`]+)`", saying["say"]):
        assert eval(code, names) == eval(value)


def test_every_slot_is_used_and_has_words():
    asks = [ask for saying in SAYINGS for ask in saying["ask"]]
    asks += [core for cores in WORDS["cores"].values() for core in cores]
    assert {slot for ask in asks for slot in SLOT.findall(ask)} == set(SLOTS)


@pytest.mark.parametrize("words", SLOTS.values(), ids=SLOTS)
def test_the_words_of_a_slot_differ(words):
    assert len({word.lower() for word in words}) == len(words)


def test_no_two_answers_for_one_question():
    asks = [ask for s in SAYINGS for ask in {plain(ask) or ask for ask in s["ask"]}]
    assert sorted(asks) == sorted(set(asks))


def test_what_is_declined_is_no_name_of_python():
    names = sys.stdlib_module_names | set(keyword.kwlist) | set(dir(builtins))
    names |= {"class", "function", "generator", "iterator", "string", "queue", "thread", "method"}
    beside = {"thing", "tag", "markup"}  # only ever stand beside what tells them apart
    slots = {slot for saying in DECLINED for ask in saying["ask"] for slot in SLOT.findall(ask)}
    words = {word.lower() for slot in slots - beside for word in SLOTS[slot]}
    words |= {plain(ask) for saying in DECLINED for ask in saying["ask"]}
    assert words & {name.lower() for name in names} == set()


def test_all_is_declined_in_one_sentence():
    assert len(DECLINED) == 3
    assert len({saying["say"] for saying in DECLINED}) == 1


def test_whatever_it_is_asked_of_itself_it_says_who_it_is():
    said = {s.get("key", s["ask"][0]): s["say"] for s in SAYINGS}
    assert len({said[ask].split(". ")[0] for ask in WHO}) == 1


def test_nothing_that_is_taught_is_declined():
    asked = (ask for one in everyday.asked().values() for ask in one["ask"] + one["held_out"])
    declined = [re.compile(pattern(ask)) for saying in DECLINED for ask in saying["ask"]]
    own = {plain(text) for text in everyday.DECLINED["off_topic"] + everyday.DECLINED["near"]}
    found = {
        plain(ask): [core.pattern for core in declined if core.fullmatch(plain(ask))]
        for ask in asked
    }
    assert {ask: cores for ask, cores in found.items() if cores or ask in own} == {}


def test_nothing_that_is_judged_is_said_or_composed():
    """Of sayings, of programs to be written, of what is declined and of what follows an answer."""
    asks = [ask for one in WRITINGS["writing"] for ask in one["ask"]]
    follow_ups = (ask for one in everyday.FOLLOW_UPS.values() for ask in one["ask"])
    declined = everyday.DECLINED["off_topic"] + everyday.DECLINED["near"]
    taught = {plain(form.format(ask)) for form in HOW for ask in asks}
    taught |= {plain(text) for text in (*follow_ups, *declined)}
    judged = [plain(item["ask"]) for kind in judging.read("questions").values() for item in kind]
    composed = [ask for ask in judged if any(core.fullmatch(ask) for core in CORES)]
    assert composed == [] and not taught & set(judged)
