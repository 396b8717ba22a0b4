"""The training of the embedded checkpoint, on a corpus of a page: no downloads, no long runs."""

import json
import random
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from assistant.conversation import Turn
from assistant.prompting.load import load_template
from assistant.prompting.template import encode
from training import corpus, train
from training.attention import _dense, attend
from training.dialogues import Dialogues, question, thinned
from training.facts import Fact, facts, parameters
from training.model import WINDOW, hidden, new_model, states
from training.muon import Muon, orthogonal
from training.sentences import WORDS, answer, description, parameters_answer
from training.sequences import (
    BEGUN,
    MIXTURE,
    NOT_LEARNED,
    PROMPT_OF,
    QUESTIONS,
    STARTED,
    STARTS,
    Row,
    Sequences,
    random_offset,
)
from training.texts import part_of
from training.tokenizer import END, FIM_MIDDLE, FIM_PREFIX, FIM_SUFFIX, SPECIAL, Encoder
from training.tokenizer import train_tokenizer as train_bpe
from training.topic_head import LOUDNESS, SCALE, TopicHead
from training.topics import CORES, Topic, topics

BISECT = """:mod:`bisect` --- Array bisection
=================================

.. module:: bisect
   :synopsis: Array bisection
              algorithms.

.. _here:

.. function:: insort(a, x, lo=0)
              insort_right(a, x, lo=0)

   Insert *x* in *a* in sorted order. See :ref:`there` for more. This third sentence is left out.

.. class:: Tree(items)

   A :class:`Tree` is a :term:`sequence <sequence>` of items.

     >>> len("ab")
     2

   .. method:: grow(by)

      Add *by* items.

   .. method:: tree < other

      Test whether a tree is smaller.

.. currentmodule:: bisect.trees

.. exception:: Empty

   Raised when a tree is empty.
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
    pages["reference/simple_stmts"] = "The :keyword:`!del` statement is used for this:\n\n"
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


# --- facts


def test_facts_of_a_page(docs):
    found = {fact.name: fact for fact in facts(docs)}
    text = "Insert `x` in `a` in sorted order."
    taken = (("a", None), ("x", None), ("lo", "0"))
    assert found["bisect"] == Fact("module", "bisect", "Array bisection algorithms.", "bisect")
    assert found["bisect.insort"] == Fact("function", "bisect.insort", text, "bisect", taken)
    assert found["bisect.Tree"].text == "A `Tree` is a sequence of items."
    assert found["bisect.Tree"].example == '>>> len("ab")\n2'
    assert found["Tree.grow"].text == "Add `by` items."
    assert found["bisect.trees.Empty"].kind == "exception"
    assert found["del statement"].text == "The `del` statement is used for this."
    assert found["iterator"].text.startswith("An object representing a stream of data.")
    assert found["Why are strings immutable?"].kind == "question"
    assert not [name for name in found if name.startswith(("tree", "Tree.tree"))]
    assert "GIL" not in found and "here" not in found


@pytest.mark.parametrize(
    ("signature", "found"),
    [
        ("f()", ()),
        ("f", ()),
        ("f(a, /, b=1, *, c=None)", (("a", None), ("b", "1"), ("c", "None"))),
        ("f(a[, b[, c]])", (("a", None), ("b", ""), ("c", ""))),
        ("f(a[, b, *, c=0])", (("a", None), ("b", ""), ("c", "0"))),
        ("f(*args, **kwargs)", (("*args", ""), ("**kwargs", ""))),
        ("f(a, b=g(1))", ()),
        ("f((a, b))", ()),
    ],
)  # fmt: skip
def test_parameters_of_a_signature(signature, found):
    assert parameters(signature) == found


# --- topics


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
        (("exception", "KeyError", "Raised when lost."), "`KeyError` is raised when lost."),
        (("exception", "e", "This exception is raised on x."), "`e` is raised on x."),
        (("question", "Why?", "Because."), "Because."),
        (("function", "f", "With one argument, this."), ""),
    ],
)
def test_an_answer_names_its_subject(fact, sentence):
    assert answer(Fact(*fact)) == sentence


def test_an_answer_about_parameters():
    fact = Fact("function", "f", "", "", (("a", None), ("b", "1"), ("c", ""), ("*d", "")))
    assert parameters_answer(fact) == (
        "`f` takes `a`, `b`, `c` and `*d`. By default `b` is `1`. `c` may be left out."
    )
    assert parameters_answer(Fact("function", "f", "", "", (("a", "x" * 30),))) == ""
    assert parameters_answer(Fact("function", "f", "")) == ""


def test_a_description_is_the_first_clause():
    text = "Return the `n` largest elements, where n is small. Raise nothing."
    assert description(Fact("function", "f", text)) == ""  # fits too many functions
    text = "Return the `n` largest of all elements (as a list), where n is small. Raise nothing."
    assert description(Fact("function", "f", text)) == "returns the `n` largest of all elements"
    text = "Return the value of the thing, i.e. of that one here."
    assert description(Fact("function", "f", text)) == ""
    assert description(Fact("function", "f", "The largest of all the elements.")) == ""


ONE = Fact("function", "itertools.tee", "Return independent iterators.", "itertools")
LENGTH = "Return the length of an object."


def test_every_kind_of_question_about_a_function():
    more = Fact("function", "len", LENGTH, "", (("a", None), ("b", "1")), ">>> len('ab')\n2")
    other = Fact("function", "sum", "Return what `len` does not.")
    found = {topic.key: topic.answer for topic in topics([more, other])}
    assert found["len"] == "`len` returns the length of an object."
    assert found["parameters len"] == "`len` takes `a` and `b`. By default `b` is `1`."
    assert found["which len"] == "That is `len`."
    assert ">>> len('ab')\n2" in found["example len"]
    assert found["difference sum len"].startswith("`sum` returns what `len`")


def test_a_wrong_doctest_is_not_taught():
    wrong = Fact("function", "len", LENGTH, example=">>> len('ab')\n3")
    assert "example len" not in {topic.key for topic in topics([wrong])}


def test_a_description_of_two_functions_asks_for_neither():
    both = [
        Fact("function", name, "Return the very same thing as others.") for name in ("len", "sum")
    ]
    assert not [topic for topic in topics(both) if topic.kind == "which"]


# --- dialogues


@pytest.fixture(scope="module")
def talk():
    return Dialogues([ONE])


@pytest.mark.parametrize("kind", [kind for kind in WORDS["held_out"] if kind in CORES])
def test_wordings_for_evaluation_are_never_trained_on(kind):
    frames = [re.escape(core).replace(r"\{x\}", ".*") for core in WORDS["held_out"][kind]]
    frame = re.compile("|".join(frames), re.I | re.S)
    for core in CORES[kind]:
        assert not frame.fullmatch(core.replace("{x}", "it"))


def test_held_out_questions_use_their_frames(talk):
    rng, topic = random.Random(3), talk.topics[0]
    frames = [re.escape(core).replace(r"\{x\}", ".+") for core in WORDS["held_out"]["what"]]
    asked = {question(rng, topic, talk.slots, held_out=True) for _ in range(50)}
    assert all(re.fullmatch("|".join(frames), text, re.I) for text in asked)


def test_a_question_always_names_its_subject(talk):
    rng = random.Random(4)
    for _ in range(500):
        assert "tee" in question(rng, talk.topics[0], talk.slots).lower()


def test_code_in_a_question_keeps_every_letter():
    block = "```python\ndef Add(a):\n    return f'{a}'\n```"
    topic, rng = Topic("code", "code", "", (block,), tuple(CORES["code"]), "x"), random.Random(5)
    for _ in range(300):
        assert block in question(rng, topic, {"a": ["wrong"]})


def test_an_everyday_question_lacks_words_at_times_and_never_code():
    ask, code = "how do I remove the first word of a long line", "what does `a or b` mean in a call"
    topic, rng = Topic("k", "asked", "", (), (ask, code), "x"), random.Random(6)
    asked = [question(rng, topic, {}) for _ in range(500)]
    lengths = {len(text.split()) for text in asked if set(text.split()) < set(ask.split())}
    assert {7, 8, 9, 10} <= lengths and min(lengths) > 1
    assert asked.count(code) > 200 and asked.count(ask) > 60
    assert all(thinned(rng, text) == text for text in ("args", "what is"))


def test_a_follow_up_is_about_the_same_thing():
    taken = (("a", None), ("b", "1"))
    talk = Dialogues([Fact("function", "len", LENGTH, "", taken)], breadth="few")
    what = "`len` returns the length of an object."
    takes = "`len` takes `a` and `b`. By default `b` is `1`."
    rng, pairs = random.Random(6), set()
    for _ in range(40_000):
        turns = talk.draw(rng)
        for first, second in zip(turns, turns[1:], strict=False):
            if (
                second[1] in (what, takes)
                and first[1] != second[1]
                and "len" not in second[0].lower()
            ):
                pairs.add((first[1], second[1]))
    which = "That is `len`."
    assert pairs == {(what, takes), (takes, what), (which, what), (which, takes)}


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


class AppTokenizer:
    """What the app's prompts ask of a tokenizer, on the training's Encoder."""

    bos_id = None

    def __init__(self, encoder):
        self.encoder = encoder

    def encode(self, text, *, trusted=False, start=False):
        return self.encoder.trusted(text) if trusted else self.encoder.plain(text)


@pytest.mark.parametrize("kind", ["chat", "first", "prompt", "full"])
def test_dialogues_are_encoded_as_the_app_encodes_them(kind, encoder):
    """And what is asked is told where the question ends and where the answer begins."""
    said = [("What is <|endoftext|>?", "An `id`.", "an id")]
    talk = SimpleNamespace(number_of={"an id": 5}, draw=lambda rng: said)
    asked, answer = Turn("user", "What is <|endoftext|>?"), Turn("assistant", "An `id`.")
    template = load_template("tech-assistant" if kind == "full" else "tech-assistant-short")
    wanted = encode(template.render([asked, answer, asked]), AppTokenizer(encoder))
    fixed, row = Sequences(encoder, [], talk), Row()
    before = fixed.preambles[PROMPT_OF[kind]] if kind in PROMPT_OF else []
    rng = random.Random(1)  # its first dialogue is not followed by a separator
    count = len(wanted) - len(before)
    fixed.add_dialogues(row, rng, count, kind)
    assert before + row.ids[:count] == wanted
    assert END not in row.ids
    learned = encoder.decode(np.array(row.ids)[row.learned])
    assert learned.startswith("\n\nAssistant: An `id`.\n\nHuman:")
    told = [at for at, topic in enumerate(row.topics) if topic != NOT_LEARNED]
    assert encoder.decode(row.ids[: told[0]]).endswith("What is <|endoftext|>?")
    assert encoder.decode(row.ids[: told[1] + 1]).endswith("?\n\nAssistant:")


def test_rows_behind_a_chat_go_on_as_the_app_goes_on(encoder):
    """The shared chat and a row give the ids of one long conversation."""
    said = [("What is it?", "An `id`.", "")]
    talk = SimpleNamespace(number_of={}, draw=lambda rng: said)
    sequences, rng, row = Sequences(encoder, [], talk), random.Random(1), Row()
    before = sequences.chat_ids(rng, len(sequences.preambles["tech-assistant-short"]) + 60)
    pair = [Turn("user", "What is it?"), Turn("assistant", "An `id`.")]
    template = load_template("tech-assistant-short")
    for count in range(2, 9):
        turns = pair * count + pair[:1]
        wanted = encode(template.render(turns), AppTokenizer(encoder))
        if len(wanted) > len(before) + 10:
            break
    sequences.add_dialogues(row, rng, len(wanted) - len(before), "later")
    assert before + row.ids[: len(wanted) - len(before)] == wanted


def test_a_batch_depends_on_seed_and_step_alone(sequences, monkeypatch):
    small = {kind: (share, rows, min(size, 64)) for kind, (share, rows, size) in MIXTURE.items()}
    monkeypatch.setattr("training.sequences.MIXTURE", small)
    seen = set()
    for step in range(40):
        kind, (preamble, *parts), (before, *asked) = sequences[step]
        again, (_, *same), (_, *same_asked) = sequences[step]
        assert kind == again
        assert all(map(torch.equal, (*parts, *asked), (*same, *same_asked)))
        assert {part.shape for part in parts} == {small[kind][1:]}
        ids, positions, labels, _ = parts
        assert positions.min() >= 0 and positions.max() < WINDOW
        assert ((labels[:, :-1] == ids[:, 1:]) | (labels[:, :-1] == NOT_LEARNED)).all()
        if preamble is not None:
            assert positions.min() >= len(preamble)
        ids, positions, _ = asked
        assert {part.shape for part in asked} == {QUESTIONS}
        assert positions.min() >= (0 if before is None else len(before))
        assert positions.max() < WINDOW
        seen.add(kind)
    assert {"alone", "first", "code", "stubs"} <= seen


@pytest.mark.parametrize("kind", STARTS)
def test_a_start_is_learned_and_its_topic_told_where_the_question_ends(kind, encoder):
    said = {"it": "It is.", "Alpha": "A letter. " * 99, "beta <|endoftext|>": "Another. " * 99}

    def turn(rng, families):
        name = rng.choice(list(said))
        return SimpleNamespace(key=name), f"What is {name}?", said[name]

    numbers = {name: number for number, name in enumerate(said)}
    sequences = Sequences(encoder, [], SimpleNamespace(number_of=numbers, turn=turn))
    row, endings, markers = Row(), set(), ("\n", "\n\nAssistant:")
    sequences.add_starts(row, random.Random(0), 400, kind)
    for at, topic in enumerate(row.topics):
        if topic != NOT_LEARNED:
            asked, _, marker = encoder.decode(row.ids[: at + 1]).rpartition("?")
            name = list(said)[topic]
            assert asked.endswith(f" What is {name}")
            endings.add((asked.endswith(f"\n\nHuman: What is {name}"), marker))
            if marker == markers[1]:
                start = encoder.plain(f" {said[name].strip()}")[:STARTED]
                assert row.ids[at + 1 :][: len(start)] == start
                learned = row.learned[at + 1 :]
                closing = encoder.trusted("\n\nHuman:") if name == "it" else []
                assert learned.index(False) == len(start) + len(closing)
    assert endings == {(as_in_a_chat, m) for as_in_a_chat in (True, False) for m in markers}


def test_answers_alone_stand_behind_markers_that_are_told_their_topics(encoder):
    said = {"it": "It is.", "Alpha": "A letter. " * 9, "beta <|endoftext|>": "<|endoftext|>."}
    known = [SimpleNamespace(key=name, answer=answer) for name, answer in said.items()]
    numbers = {name: number for number, name in enumerate(said)}
    row, found = Row(), set()
    talk = SimpleNamespace(known=known, number_of=numbers)
    Sequences(encoder, [], talk).add_answers(row, random.Random(0), 400)
    for at, topic in enumerate(row.topics):
        if topic != NOT_LEARNED and row.learned[at + 1]:
            answer = encoder.plain(f" {list(said.values())[topic].strip()}")
            assert row.ids[at + 1 :][: len(answer)] == answer
            assert encoder.decode(row.ids[: at + 1]).endswith("\n\nAssistant:")
            assert encoder.decode(row.ids[at + 1 + len(answer) :]).startswith("\n\nHuman:")
            found.add(topic)
    assert found == {0, 1, 2} and END not in row.ids


def test_topics_begin_as_the_words_of_their_questions():
    """Which of them is asked is told by words out of a question in any order, among others."""
    torch.manual_seed(0)
    rng, head = random.Random(0), TopicHead("abcd", 16)
    asked = [([4 + number, *rng.choices(range(4), k=3)], number) for number in range(4)] * 2700
    for ids, _ in asked:
        rng.shuffle(ids)
    assert head.begin(asked, 8) < 0.01
    assert head.logits(head.directions).argmax(1).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("offset", [0, 40])
def test_of_questions_alone_the_topic_is_told_where_each_ends(offset, encoder, talk):
    """Nothing is asked but that. Without a prompt before them some rows are of programs."""
    sequences, endings = Sequences(encoder, [], talk), set()
    every = [*talk.topics, *talk.asked, *talk.small_code]
    for seed in range(20):
        ids, positions, topics = sequences._questions(random.Random(seed), offset)
        assert positions[0] >= offset and (np.diff(positions) == 1).all()
        told = [at for at, topic in enumerate(topics) if topic != NOT_LEARNED]
        assert len(told) > 1
        for at in told:
            small = every[topics[at]] in talk.small_code
            endings.add((small, encoder.decode([ids[at]]).endswith("\n")))
    assert (False, True) in endings and (False, False) not in endings
    assert any(small and not line for small, line in endings) == (offset == 0)


def test_of_a_stub_the_start_of_its_body_is_learned(encoder, talk):
    kinds = {talk.number_of[kind.key]: kind for kind in talk.small_code}
    sequences, row = Sequences(encoder, [], talk), Row()
    sequences.add_stubs(row, random.Random(0), 3000)
    told = [at for at, topic in enumerate(row.topics) if topic != NOT_LEARNED]
    assert len(told) > 20
    for at in told:
        code = encoder.decode(row.ids[: at + 1]).rpartition("<|endoftext|>")[2].lower()
        assert any(says.lower()[:30] in code for says in kinds[row.topics[at]].says)
        assert not row.learned[at] and row.learned[at + 1]
        assert encoder.decode(row.ids[at + 1 :]).startswith("\n")
        assert not row.learned[at + BEGUN + 1] or row.ids[at + BEGUN + 1] == END


def test_each_topic_has_its_own_number(talk):
    every = *talk.topics, *talk.asked, *talk.small_code
    assert [talk.number_of[one.key] for one in every] == list(range(len(every)))


def test_topics_are_told_from_the_middle():
    torch.manual_seed(0)
    model, head = new_model(2, 64, 300), TopicHead("abc", 64)
    ids, positions = torch.randint(300, (2, 9)), torch.arange(9).expand(2, 9)
    topics = torch.full((2, 9), NOT_LEARNED)
    topics[0, 3], topics[1, 8] = 2, 1
    loss, topic_loss = train.losses(model, head, (None, ids, positions, ids, topics), torch.float32)
    wanted = model(ids, labels=torch.cat((ids[:, :1], ids), 1)[:, 1:], shift_labels=ids).loss
    torch.testing.assert_close(loss, wanted)
    half = model.transformer(ids, output_hidden_states=True).hidden_states[1]
    directions = torch.nn.functional.normalize(head.directions, dim=1)
    told = torch.nn.functional.layer_norm(half[[0, 1], [3, 8]], (64,))
    logits = SCALE * torch.nn.functional.normalize(told, dim=1) @ directions.T
    wanted = torch.nn.functional.cross_entropy(logits, torch.tensor([2, 1]))
    torch.testing.assert_close(topic_loss, wanted)
    topic_loss.backward()
    first, second = (block.mlp.c_fc.weight.grad for block in model.transformer.h)
    assert second is None and first.abs().sum() > 0 and head.directions.grad.abs().sum() > 0
    assert head.loss(half, torch.full((2, 9), NOT_LEARNED)) == 0


def test_some_rows_are_told_their_topics():
    """The share's first rows, where a topic is asked, and nothing else."""
    torch.manual_seed(0)
    head, given = TopicHead("abc", 64), torch.randn(4, 3, 64) * 7
    topics = torch.full((4, 3), NOT_LEARNED)
    topics[1, 2], topics[3, 0] = 2, 1
    assert torch.equal(head.told(given, topics, 0.0), given)
    found = head.told(given, topics, 0.5)
    assert (found != given).any(-1).nonzero().tolist() == [[1, 2]]
    direction = head.directions[2]
    assert torch.cosine_similarity(found[1, 2], direction, dim=0) > LOUDNESS - 0.2
    assert head.loss(found, topics) < head.loss(given, topics)


def test_what_is_told_reaches_the_layers_above_alone():
    torch.manual_seed(0)
    model, ids = new_model(4, 64, 300), torch.randint(300, (2, 9))
    positions = torch.arange(9).expand(2, 9)
    plain = states(model, ids, positions)
    changed = states(model, ids, positions, change=lambda x: x + 1)
    equal = [torch.equal(*pair) for pair in zip(plain, changed, strict=True)]
    assert equal == [True, True, True, False, False]
    assert len(states(model, ids, positions, layers=2)) == 3


def test_told_topics_change_what_is_said_and_not_what_is_asked():
    torch.manual_seed(0)
    model, head, ids = new_model(2, 64, 300), TopicHead("abc", 64), torch.randint(300, (2, 9))
    positions, topics = torch.arange(9).expand(2, 9), torch.full((2, 9), NOT_LEARNED)
    topics[0, 3] = 2
    batch = None, ids, positions, ids, topics
    found = [train.losses(model, head, batch, torch.float32, told) for told in (0.0, 1.0)]
    assert found[0][0] != found[1][0] and found[0][1] == found[1][1]
    alone = train.questions_loss(model, head, (None, ids, positions, topics), torch.float32)
    torch.testing.assert_close(alone, found[0][1])


def test_a_head_for_other_topics_begins_anew(tmp_path):
    one, same, other = (TopicHead(keys, 8) for keys in ("ab", "ab", "ba"))
    one.save(tmp_path / "topics.pt")
    loaded = [head.load(tmp_path / "topics.pt", "cpu") for head in (same, other)]
    assert loaded == [True, False] and not other.load(tmp_path / "none.pt", "cpu")
    assert torch.equal(same.directions, one.directions)
    assert not torch.equal(other.directions, one.directions)


def test_states_between_the_layers_are_those_of_the_whole():
    torch.manual_seed(0)
    model = new_model(3, 128, 300).eval()
    preamble, ids = torch.randint(300, (9,)), torch.randint(300, (3, 7))
    positions = torch.arange(9, 16).expand(3, 7)
    with torch.no_grad():
        whole = model.transformer(
            torch.cat((preamble.expand(3, 9), ids), dim=1), output_hidden_states=True
        )
        given = states(model, ids, positions, preamble)
    for one, wanted in zip(given[:-1], whole.hidden_states, strict=False):  # the last is normed
        torch.testing.assert_close(one, wanted[:, 9:], rtol=1e-4, atol=1e-5)


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
        ids = sequences.texts.fim_ids(rng, text)
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


# --- the model


def test_a_shared_preamble_gives_what_rows_with_it_in_them_give():
    """Against transformers' own forward pass, with and without a preamble."""
    torch.manual_seed(0)
    model = new_model(2, 128, 300).eval()
    preamble, ids = torch.randint(300, (9,)), torch.randint(300, (3, 7))
    positions = torch.arange(9, 16).expand(3, 7)
    whole = torch.cat((preamble.expand(3, 9), ids), dim=1)
    with torch.no_grad():
        wanted = model.transformer(whole).last_hidden_state
        given = hidden(model, ids, positions, preamble)
        torch.testing.assert_close(given, wanted[:, 9:], rtol=1e-4, atol=1e-5)
        alone = hidden(model, whole, torch.arange(16).expand(3, 16))
        torch.testing.assert_close(alone, wanted, rtol=1e-4, atol=1e-5)


def plainly(query, key, value, keys, values):
    """The same with all scores at hand."""
    tokens, length = query.shape[1], len(keys)
    key, value = (
        torch.cat((before.expand(len(query), -1, -1), own), 1)
        for before, own in ((keys, key), (values, value))
    )
    ahead = torch.ones(tokens, length + tokens, dtype=torch.bool).triu(length + 1)
    scores = torch.einsum("rthd,rkd->rhtk", query, key) * query.shape[3] ** -0.5
    weights = scores.masked_fill(ahead, -torch.inf).softmax(-1)
    return torch.einsum("rhtk,rkd->rthd", weights, value)


@pytest.mark.parametrize("length", [0, 5])
def test_fused_attention_gives_what_all_scores_at_hand_give(length):
    """Results and gradients; those of what all rows share are not wanted."""
    torch.manual_seed(0)
    wide = torch.randn(3, 6, 4, 16, requires_grad=True)
    key, value = (torch.randn(3, 6, 16, requires_grad=True) for _ in range(2))
    keys, values = torch.randn(2, length, 16)
    direction = torch.randn(3, 6, 4, 16)
    seen = (keys, values) if length else None
    found = [
        (mixed, *torch.autograd.grad((mixed * direction).sum(), (wide, key, value)))
        for mixed in (attend(wide, key, value, seen), plainly(wide, key, value, keys, values))
    ]
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_all_scores_at_hand_elsewhere():
    torch.manual_seed(0)
    parts = torch.randn(3, 6, 4, 16), *torch.randn(2, 3, 6, 16), *torch.randn(2, 5, 16)
    torch.testing.assert_close(_dense(*parts), plainly(*parts), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(48, 16), (16, 48), (32, 32)])
def test_muon_steps_as_torch_does(shape):
    """Which computes in bfloat16: so the singular values are about one, and no nearer."""
    torch.manual_seed(0)
    weights = torch.randn(shape)
    ours, theirs = torch.nn.Parameter(weights.clone()), torch.nn.Parameter(weights.clone())
    options = {"weight_decay": 0.1, "adjust_lr_fn": "match_rms_adamw"}
    optimizers = [Muon([ours], 0.01, torch.bfloat16), torch.optim.Muon([theirs], 0.01, **options)]
    for _ in range(3):
        gradient = torch.randn(shape)
        for parameter, optimizer in zip((ours, theirs), optimizers, strict=True):
            parameter.grad = gradient.clone()
            optimizer.step()
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-3)
    values = torch.linalg.svdvals(orthogonal(weights[None], torch.float32))
    assert values.min() > 0.5 and values.max() < 1.5


# --- the whole of it, in small


def _train(out, docs, stdlib, monkeypatch, steps, *more):
    monkeypatch.setattr("training.sequences.MIXTURE", {"text": (1, 2, 48), "alone": (1, 2, 48)})
    monkeypatch.setattr("training.train.ASKED", 100)
    sizes = ["--layers", "2", "--width", "64", "--vocabulary", "400", "--warmup", "2"]
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
    found = lambda entry: [entry[f"{what}loss"] for what in ("", "topic_", "questions_")]  # noqa: E731
    steps = {entry["step"]: found(entry) for entry in whole}
    resumed = [json.loads(line) for line in (tmp_path / "cut/log.jsonl").read_text().splitlines()]
    assert {entry["step"]: found(entry) for entry in resumed if entry["step"] > 3} == {
        step: loss for step, loss in steps.items() if step > 3
    }


def test_a_run_does_not_go_on_with_other_data(tmp_path, docs, stdlib, monkeypatch):
    _train(tmp_path, docs, stdlib, monkeypatch, 1)
    with pytest.raises(SystemExit, match=r"saw other data.*--start"):
        _train(tmp_path, docs, stdlib, monkeypatch, 2, "--seed", "1")
    source = next(stdlib.rglob("*.py"))
    text = source.read_text()
    source.write_text(text + "\nX = 1\n")
    with pytest.raises(SystemExit, match="saw other data"):
        _train(tmp_path, docs, stdlib, monkeypatch, 2)
    source.write_text(text)
    assert len(_train(tmp_path, docs, stdlib, monkeypatch, 2)) == 2


def test_a_run_begins_with_the_weights_of_another(tmp_path, docs, stdlib, monkeypatch):
    first = tmp_path / "first"
    _train(first, docs, stdlib, monkeypatch, 3)
    _train(tmp_path / "second", docs, stdlib, monkeypatch, 1, "--start", str(first), "--lr", "0")
    models = [AutoModelForCausalLM.from_pretrained(tmp_path / name) for name in ("first", "second")]
    for one, other in zip(*(model.parameters() for model in models), strict=True):
        assert torch.equal(one, other)
    heads = [torch.load(tmp_path / name / "topics.pt")["weights"] for name in ("first", "second")]
    assert all(torch.equal(heads[0][name], heads[1][name]) for name in heads[0])


def test_the_folder_loads_in_transformers(tmp_path, docs, stdlib, monkeypatch):
    _train(tmp_path, docs, stdlib, monkeypatch, 1)
    model = AutoModelForCausalLM.from_pretrained(tmp_path, dtype="auto")
    assert model.dtype == torch.bfloat16
    assert model.config.multi_query and model.config.n_positions == WINDOW
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.eos_token_id == tokenizer.bos_token_id == END
    assert tokenizer.convert_ids_to_tokens(range(19)) == list(SPECIAL)
