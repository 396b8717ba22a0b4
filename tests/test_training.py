"""The training of the embedded checkpoint, on a corpus of a page: no downloads, no long runs."""

import json
import random
import re
import tomllib

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from assistant.prompt import encode, load_template
from training import corpus, dialogues, train
from training.corpus import Fact
from training.dialogues import CORES, HELD_OUT, Dialogues, answer, question
from training.sequences import (
    MIXTURE,
    NOT_LEARNED,
    WINDOW,
    Sequences,
    part_of,
    random_offset,
)
from training.tokenizer import END, FIM_MIDDLE, FIM_PREFIX, FIM_SUFFIX, SPECIAL, Encoder
from training.tokenizer import train_tokenizer as train_bpe

BISECT = """:mod:`bisect` --- Array bisection
=================================

.. module:: bisect
   :synopsis: Array bisection algorithms.

.. _here:

.. function:: insort(a, x, lo=0)
              insort_right(a, x, lo=0)

   Insert *x* in *a* in sorted order. See :ref:`there` for more. This third sentence is left out.

.. class:: Tree(items)

   A :class:`Tree` is a :term:`sequence <sequence>` of items.

     >>> len("ab")
     2
"""
GLOSSARY = """.. glossary::

   iterator
      An object representing a stream of data.  Repeated calls give items.

   GIL
      See :term:`global interpreter lock`.
"""
FAQ = """Why are strings immutable?
--------------------------

One reason is performance, which is a sentence that is long enough for an answer.

Another is left out.

"""


@pytest.fixture(scope="module")
def docs(tmp_path_factory):
    root = tmp_path_factory.mktemp("docs")
    pages = {"library/bisect": BISECT, "glossary": GLOSSARY, "faq/design": FAQ}
    pages |= {f"{part}/page": f"{part} text. " * 60 for part in ("reference", "tutorial", "howto")}
    for name, text in pages.items():
        path = root / f"{name}.rst.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
    return root


@pytest.fixture(scope="module")
def stdlib(tmp_path_factory):
    root = tmp_path_factory.mktemp("stdlib")
    for number in range(90):
        name = f"module_{number}.py"
        (root / name).write_text(f"# {name}\n" + f"def f{number}(x):\n    return x\n" * 20)
    for name in ("test", "site-packages"):
        (root / name).mkdir()
        (root / name / "hidden.py").write_text("secret = 1\n" * 50)
    return root


@pytest.fixture(scope="module")
def encoder(docs, stdlib):
    texts = [document.text for document in corpus.documents(docs, stdlib)]
    preamble = load_template("tech-assistant-short").preamble
    return Encoder(train_bpe([*texts, preamble], 1200))


# --- corpus


@pytest.mark.parametrize(
    ("rst", "text"),
    [
        (":func:`len` of :class:`~a.B`", "`len` of `a.B`"),
        ("an :term:`iterator <iterators>`", "an iterator"),
        ("``x = 1`` and `Python <https://python.org>`_", "`x = 1` and Python"),
        (":pep:`8` by :rfc:`822`", "PEP 8 by RFC 822"),
        (".. _label:\n.. index:: words\nkept", "kept"),
    ],
)
def test_markup_becomes_back_quotes(rst, text):
    assert corpus.plain(rst) == text


def test_facts_of_a_page(docs):
    found = {fact.name: fact for fact in corpus.facts(docs)}
    assert found["bisect"] == Fact("module", "bisect", "Array bisection algorithms.")
    assert found["bisect.insort"].text == "Insert `x` in `a` in sorted order."
    assert found["bisect.Tree"].text == "A `Tree` is a sequence of items."
    assert found["bisect.Tree"].example == '>>> len("ab")\n2'
    assert found["iterator"].text.startswith("An object representing a stream of data.")
    assert found["Why are strings immutable?"].kind == "question"
    assert "GIL" not in found and "here" not in found


def test_documents_leave_out_tests_and_packages(docs, stdlib):
    found = corpus.documents(docs, stdlib)
    assert len([document for document in found if document.code]) == 90
    assert not any("secret" in document.text for document in found)
    assert 0 < sum(document.held_out for document in found) < 10


def test_missing_sources_are_named(tmp_path, stdlib):
    with pytest.raises(FileNotFoundError, match=r"nowhere is no folder.*python3.11-doc"):
        corpus.documents(tmp_path / "nowhere", stdlib)


# --- dialogues


@pytest.mark.parametrize(
    ("fact", "sentence"),
    [
        (("function", "len", "Return the length."), "`len` returns the length."),
        (
            ("function", "copy.copy", "Copy it. Raise an error."),
            "`copy.copy` copies it. It raises an error.",
        ),
        (("function", "list.sort", "This method sorts the list."), "`list.sort` sorts the list."),
        (("class", "c.Counter", "A `Counter` is a dict."), "`c.Counter` is a dict."),
        (("class", "c.Deque", "A queue."), "`c.Deque` is a queue."),
        (
            ("module", "re", "Regular expressions."),
            "The `re` module, in short: regular expressions.",
        ),
        (("module", "csv", "Write tables."), "The `csv` module is there to write tables."),
        (("term", "iterator", "An object."), "An iterator is an object."),
        (("question", "Why?", "Because."), "Because."),
        (("function", "f", "With one argument, this."), ""),
    ],
)
def test_an_answer_names_its_subject(fact, sentence):
    assert answer(Fact(*fact)) == sentence


def test_a_wrong_doctest_is_not_taught():
    text = "Return the length of an object."
    topics = dialogues.topics([Fact("function", "len", text, ">>> len('ab')\n3")])[0]
    assert topics[0].example == ""
    topics = dialogues.topics([Fact("function", "len", text, ">>> len('ab')\n2")])[0]
    assert ">>> len('ab')\n2" in topics[0].example


@pytest.fixture(scope="module")
def talk():
    return Dialogues([Fact("function", "itertools.tee", "Return independent iterators.")])


def test_wordings_for_evaluation_are_never_trained_on(talk):
    rng = random.Random(3)
    topic = talk.topics[0]
    frames = [re.escape(core).replace(r"\{x\}", ".+") for core in HELD_OUT["what"]]
    frame = re.compile("|".join(frames), re.I)
    for _ in range(3000):
        for asked, _answer in talk.draw(rng):
            assert not frame.search(asked)
            assert asked not in HELD_OUT["off_topic"]
    assert frame.fullmatch(question(rng, topic, talk.slots, held_out=True))
    assert not set(HELD_OUT["what"]) & set(CORES["what"])


def test_a_question_always_names_its_subject(talk):
    rng = random.Random(4)
    for _ in range(500):
        assert "tee" in question(rng, talk.topics[0], talk.slots).lower()


def _sayings():
    return tomllib.loads(dialogues.SAYINGS.read_text("utf-8"))


@pytest.mark.parametrize("saying", _sayings()["saying"], ids=lambda saying: saying["ask"][0])
def test_the_code_of_a_saying_runs(saying, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("a\nb\n")
    names = {}
    for block in re.findall(r"```python\n(.*?)```", saying["say"], re.S):
        exec(block, names)
    for code, value in re.findall(r"`([^`]+)` (?:returns|is) `([^`]+)`", saying["say"]):
        assert eval(code, names) == eval(value)


def test_every_slot_has_words():
    table = _sayings()
    used = {
        slot
        for saying in table["saying"]
        for ask in saying["ask"]
        for slot in re.findall(r"\{(\w+)\}", ask)
    }
    assert used == set(table["slots"])


# --- tokens and sequences


def test_special_tokens_come_first_and_digits_stand_alone(encoder):
    assert [encoder.trusted(text) for text in SPECIAL] == [[i] for i in range(19)]
    assert [encoder.decode([i]) for i in encoder.plain("x =    42")][-2:] == ["4", "2"]
    for text in ("a <|endoftext|> b", "<fim_middle>", "é 😀\r\n\t"):
        ids = encoder.plain(text)
        assert min(ids) > 18
        assert encoder.decode(ids) == text


@pytest.fixture(scope="module")
def sequences(encoder, docs, stdlib, talk):
    return Sequences(encoder, corpus.documents(docs, stdlib), talk, seed=7)


def test_dialogues_are_encoded_as_the_app_encodes_them(sequences, encoder):
    from assistant.conversation import Turn

    class AppTokenizer:
        @staticmethod
        def encode(text, *, trusted=False):
            return encoder.trusted(text) if trusted else encoder.plain(text)

    class Fixed:
        @staticmethod
        def draw(rng):
            return [("What is <|endoftext|>?", "An `id`.")]

    asked, said = Turn("user", "What is <|endoftext|>?"), Turn("assistant", "An `id`.")
    template = load_template("tech-assistant-short")
    wanted = encode(template.render([asked, said, asked]), AppTokenizer)
    fixed = Sequences(encoder, [], Fixed())
    rng = random.Random(1)  # its first dialogue is not followed by a separator
    ids, learned = fixed.dialogue_ids(rng, len(wanted), behind_prompt=True)
    assert ids == wanted
    assert END not in ids
    assert encoder.decode(np.array(ids)[learned]).startswith("\n\nAssistant: An `id`.\n\nHuman:")


def test_a_batch_depends_on_seed_and_step_alone(sequences):
    for step in range(12):
        kind, ids, positions, labels = sequences.batch(step)
        again = sequences.batch(step)
        assert kind == again[0] and (ids == again[1]).all()
        assert ids.shape == positions.shape == labels.shape == MIXTURE[kind][1:]
        assert positions.min() >= 0 and positions.max() < WINDOW
        assert ((labels[:, :-1] == ids[:, 1:]) | (labels[:, :-1] == NOT_LEARNED)).all()
        assert (labels != NOT_LEARNED).mean() > 0.2
        if kind == "prompt":
            assert "Human: Who are you?" in sequences.encoder.decode(ids[0])


def test_every_position_is_visited():
    rng, seen = random.Random(0), np.zeros(WINDOW, dtype=int)
    for _ in range(4000):
        start = random_offset(rng, 384)
        seen[start : start + 384] += 1
    assert seen.min() > 15


def test_fill_in_the_middle_keeps_the_text(sequences, encoder):
    rng, orders = random.Random(0), set()
    text = "def add(a, b):\n    return a + b\n"
    for _ in range(40):
        ids = sequences.fim_ids(rng, text)
        assert ids[0] == FIM_PREFIX
        head, end = ids[1 : ids.index(FIM_MIDDLE)], ids[ids.index(FIM_MIDDLE) + 1 :]
        cut = head.index(FIM_SUFFIX)
        prefix, suffix, rest = (encoder.decode(part) for part in (head[:cut], head[cut + 1 :], end))
        assert prefix + rest + suffix == text
        orders.add("SPM" if cut == 0 else "PSM")
    assert orders == {"PSM", "SPM"}


def test_parts_begin_at_a_line():
    rng, text = random.Random(0), "".join(f"line {i}\n" for i in range(500))
    for _ in range(200):
        part = part_of(rng, text, 200)
        assert part.startswith("line ") and len(part) <= 200


# --- the whole of it, in small


def _train(out, docs, stdlib, monkeypatch, steps, *more):
    monkeypatch.setattr("training.sequences.MIXTURE", {"text": (1, 2, 48), "dialogue": (1, 2, 48)})
    sizes = ["--layers", "1", "--width", "64", "--vocabulary", "400", "--warmup", "2"]
    places = ["--out", str(out), "--docs", str(docs), "--stdlib", str(stdlib)]
    train.main([*places, *sizes, "--steps", str(steps), "--device", "cpu", *more])
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_a_run_that_was_cut_off_goes_on_where_it_stopped(tmp_path, docs, stdlib, monkeypatch):
    whole = _train(tmp_path / "whole", docs, stdlib, monkeypatch, 6)

    class CutOff(Exception):
        pass

    def saved_twice(*args, saved=[], save=train.save):  # noqa: B006
        save(*args)
        saved.append(1)
        if len(saved) == 2:
            raise CutOff

    with monkeypatch.context() as patch:
        patch.setattr("training.train.save", saved_twice)
        with pytest.raises(CutOff):
            _train(tmp_path / "cut", docs, stdlib, monkeypatch, 6, "--save-every", "2")
    _train(tmp_path / "cut", docs, stdlib, monkeypatch, 6, "--save-every", "2")
    steps = {entry["step"]: entry["loss"] for entry in whole}
    resumed = [json.loads(line) for line in (tmp_path / "cut/log.jsonl").read_text().splitlines()]
    assert {entry["step"]: entry["loss"] for entry in resumed if entry["step"] > 3} == {
        step: loss for step, loss in steps.items() if step > 3
    }


def test_the_folder_loads_in_transformers(tmp_path, docs, stdlib, monkeypatch):
    _train(tmp_path, docs, stdlib, monkeypatch, 1)
    model = AutoModelForCausalLM.from_pretrained(tmp_path, dtype="auto")
    assert model.dtype == torch.bfloat16
    assert model.config.multi_query and model.config.n_positions == WINDOW
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.eos_token_id == tokenizer.bos_token_id == END
    assert tokenizer.convert_ids_to_tokens(range(19)) == list(SPECIAL)
