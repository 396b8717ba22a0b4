"""The evaluation of a checkpoint: its judge lets no wrong answer pass, its parts run in small."""

import json
import random
from collections import Counter

import pytest

from tests.support.checkpoints import make_checkpoint
from training import evaluate
from training.answers import complete_function, judge, well_formed
from training.continuations import AROUND, BEFORE, documented, masked
from training.corpus import Document
from training.dialogues import HELD_OUT, Dialogues
from training.facts import Fact
from training.questions import asides, questions

SUMS = (
    "`itertools.accumulate` makes an iterator that returns accumulated sums, or results of other "
    "binary functions. It has 2 forms."
)
INSORT = "`insort` takes `a`, `x`, `lo` and `hi`. By default `lo` is `0` and `hi` is `None`."
TEE = "For example:\n\n```python\n>>> tee([1, 2])\n(1, 2)\n>>> 1\n1\n```"
ADD = "This adds:\n\n```python\ndef add(a, b):\n    return a + b\n```"
YES = "Yes. Style is documented as PEP 8. Its authors are many."
CLOSED = "`close` does not wait for more than 10 seconds. It raises nothing."


@pytest.mark.parametrize(
    ("kind", "reply", "answer"),
    [
        ("what", SUMS, SUMS),
        ("what", SUMS.partition(". ")[0] + ". Anything else here.", SUMS),
        ("question", "So `close` does not wait for more than just 10 seconds.", CLOSED),
        ("question", YES.replace("Its authors are many.", "It is long."), YES),
        ("code", CLOSED, CLOSED),
        ("difference", f"{SUMS} {CLOSED}", f"{SUMS} {CLOSED}"),
        ("parameters", INSORT, INSORT),
        ("which", "It is `os.fsync()`, not `os.sync`.", "That is `os.fsync`."),
        ("example", TEE.replace(">>> 1\n1\n", ""), TEE),
        ("write", ADD.replace("This adds:", "Here:").replace("a + b", "(a+b)  # sum"), ADD),
        ("fix", ADD, ADD),
        ("saying", "I only know Python. And more.", "I only know Python. Ask me of it."),
    ],
)
def test_a_right_answer_passes(kind, reply, answer):
    assert judge(kind, reply, answer)


@pytest.mark.parametrize(
    ("kind", "reply", "answer"),
    [
        ("what", "", SUMS),
        ("what", SUMS.replace("itertools.accumulate", "itertools.count"), SUMS),
        ("what", SUMS.replace("sums", "products"), SUMS),
        ("what", SUMS.replace("`itertools.accumulate`", "`tee` and `itertools.accumulate`"), SUMS),
        ("what", "`tee` returns `n` iterators. " + SUMS, SUMS),
        ("what", "`f` turns strings into bytes.", "`f` turns bytes into strings."),
        ("question", CLOSED.replace("10", "100"), CLOSED),
        ("question", CLOSED.replace("10", "1"), CLOSED),
        ("question", CLOSED.replace("does not wait", "waits"), CLOSED),
        ("question", CLOSED, CLOSED.replace("does not wait", "does wait")),
        ("question", "It doesn't wait for long.", "It does wait for long."),
        ("question", "Yes. Students start with Pascal, which is still common.", YES),
        ("difference", SUMS, f"{SUMS} {CLOSED}"),
        ("parameters", INSORT.replace(", `lo` and", " and"), INSORT),
        ("parameters", INSORT.replace("`0`", "`1`"), INSORT),
        ("parameters", INSORT.replace("`hi`.", "`hi`, `key`."), INSORT),
        ("parameters", INSORT.replace("`lo` is `0`", "`lo` is `None`"), INSORT),
        ("parameters", INSORT.partition(" By")[0], INSORT),
        ("which", "That is `os.sync`.", "That is `os.fsync`."),
        ("which", "Not os.sync but `os.fsync`.", "That is `os.fsync`."),
        ("which", "", "That is `os.fsync`."),
        ("example", TEE.replace("[1, 2]", "[1, 2, 3]"), TEE),
        ("example", TEE.replace("(1, 2)", "(1, 3)"), TEE),
        ("example", ">>> tee([1, 2])\n(1, 2)", TEE),
        ("write", ADD.replace("a + b", "a - b"), ADD),
        ("write", ADD.replace("def add", "def sum"), ADD),
        ("write", ADD.replace("```", ""), ADD),
        ("fix", ADD.replace("b):", "b)"), ADD),
        ("saying", "I only know", "I only know Python. Ask me of it."),
    ],
)
def test_a_wrong_answer_does_not_pass(kind, reply, answer):
    assert not judge(kind, reply, answer)


def test_a_kind_without_a_rule_is_refused():
    with pytest.raises(ValueError, match="'poem'"):
        judge("poem", "a", "a")


@pytest.mark.parametrize(
    ("reply", "reason", "good"),
    [
        (ADD, "stop", True),
        (ADD, "length", False),
        (ADD.removesuffix("```"), "stop", False),
        ("Yes.\nHuman: no", "stop", False),
        ("A Human: marker in a line.", "stop", True),
    ],
)
def test_the_form_of_a_reply(reply, reason, good):
    assert well_formed(reply, reason) is good


HEAD = '    def f(self):\n        """It."""'


@pytest.mark.parametrize(
    ("behind", "cut_off", "lines"),
    [
        ("\n        return 1\n\n    def g(self):\n        !", False, 1),
        ("\n        return 1\nif", True, 1),
        ("\n        a = 1\n        return a + (", True, 1),
        ("\n        if self:\n            a = 1\n        else:\n            b", True, 2),
        ("\n        a = [\n            1,\n            2,\n            3", True, 0),
        ("", False, 0),
        ("", True, 0),
        ("  # note\n        return 1", False, 1),
        ("return 1\n", False, None),
        ("\n        return (1\n", False, None),
        ("\n        retrun 1\n        return 1", True, None),
        ("\n      return 1\n", False, None),
    ],
)
def test_the_body_of_a_completion(behind, cut_off, lines):
    source, found = complete_function(HEAD, behind, cut_off)
    assert (found if source else None) == lines


CODE = "".join(
    f'def function_{n}(x):\n    """Give x and {n}."""\n    y = x + {n}\n    return y\n\n\n'
    for n in range(40)
)


def test_masked_places_are_whole_lines_in_their_context():
    places = masked([Document("a.py", CODE, True)], random.Random(0), 3)
    for _ in range(50):
        prefix, middle, suffix = next(places)
        assert prefix + middle + suffix in CODE
        assert prefix.endswith("\n") and suffix.startswith("\n")
        assert prefix.count("\n") <= AROUND and suffix.count("\n") <= AROUND
        assert len(middle.split("\n")) == 3 and all(len(x.strip()) > 5 for x in middle.split("\n"))


def test_documented_functions_are_cut_behind_their_docstring():
    found = list(documented(Document("a.py", CODE, True)))
    assert len(found) == 40
    before, head = found[30]
    assert head == 'def function_30(x):\n    """Give x and 30."""'
    assert before + head in CODE and before.count("\n") == BEFORE


@pytest.fixture(scope="module")
def talk():
    text = "Return the {} of all the items."
    facts = [
        Fact("function", f"m{n % 7}.f{n}", text.format(n), f"m{n % 7}", (("a", "1"), ("b", "2")))
        for n in range(30)
    ]
    return Dialogues(facts)


def test_questions_are_spread_over_kinds_and_modules_in_held_out_wordings(talk):
    asked = questions(talk, random.Random(0), 12)
    kinds = Counter(one.kind for one in asked)
    assert kinds == {"what": 3, "parameters": 3, "which": 3, "follow-up": 3}
    assert len({one.module for one in asked}) == 7
    heads = {frame.split("{x}")[0][:5] for frame in HELD_OUT["what"] if frame[:3] != "{x}"}
    for one in asked:
        if one.kind == "what":
            assert one.messages[0].startswith(tuple(heads))
        if one.kind == "follow-up":
            assert one.messages[1] in HELD_OUT[f"again_{one.rule}"]
    every = Counter(one.kind for one in asides(talk))
    assert every["off topic, declined"] >= 40 and every["who are you, truthful"] >= 10
    assert every["how-tos"] >= 100 and every["small talk"] >= 16


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    root = tmp_path_factory.mktemp("sources")
    page = ".. module:: bisect\n   :synopsis: Array bisection.\n"
    page += "".join(
        f"\n.. function:: insort{n}(a, lo=0)\n\n   Insert {n} items in sorted order.\n"
        for n in range(5)
    )
    pages = {"library/bisect": page, "glossary": "..\n", "faq/design": "Words. " * 40}
    pages |= {f"{part}/{n}": f"{part} {n}. " * 60 for part in ("howto", "tutorial", "reference")
              for n in range(40)}  # fmt: skip
    for name, text in pages.items():
        path = root / "docs" / f"{name}.rst.txt"
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text, "utf-8")
    (root / "stdlib").mkdir()
    for n in range(90):
        (root / "stdlib" / f"m{n}.py").write_text(
            f"# {n}\n" + "\n\n\n".join(CODE.split("\n\n\n")[: n % 5 + 6])
        )
    return root


def test_all_parts_run_on_a_random_checkpoint(tmp_path, sources, capsys):
    folder = make_checkpoint(tmp_path / "tiny", n_positions=16384)
    places = ["--docs", str(sources / "docs"), "--stdlib", str(sources / "stdlib")]
    small = ["--questions", "4", "--places", "3", "--max-new-tokens", "8", "--slots", "2"]
    replies = tmp_path / "replies.jsonl"
    argv = [str(folder), *places, *small, "--device", "cpu", "--replies", str(replies)]
    evaluate.main([*argv, "--part", "e"])
    assert not (folder / "evaluation.json").exists()  # a look at a part
    evaluate.main(argv)
    shown = capsys.readouterr().out
    written = json.loads((folder / "evaluation.json").read_text("utf-8"))
    assert list(written["parts"]) == list(evaluate.TITLES)
    for part, rows in written["parts"].items():
        assert evaluate.table(evaluate.TITLES[part], rows) in shown
    every = written["parts"]["a"][0]
    assert every["questions"] == 4 and every["right"] == every["exact"] == 0
    assert written["parts"]["b"][0]["places"] == written["parts"]["c"][0]["functions"] == 3
    assert written["parts"]["e"][1]["perplexity"] > 1
    assert 5900 < int(written["parts"]["f"][1]["what"].split()[3]) < 8000
    assert written["command"].startswith("python -m training.evaluate ")
    said = [json.loads(line) for line in replies.read_text("utf-8").splitlines()]
    assert len(said) == 4 + sum(row["questions"] for row in written["parts"]["a"][-4:])
    assert not any(one["right"] for one in said)


def test_an_unknown_part_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        evaluate.main([str(tmp_path), "--part", "a,z"])
    assert "there is no part 'z'" in capsys.readouterr().err
