"""The checkpoint that ships in models/: it loads as any other, is trained, answers its examples."""

import json
import re
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer

from assistant.chat.assistant import Assistant
from assistant.conversation import Conversation, Turn
from assistant.engine.open import open_engine
from assistant.engine.tokenizer import load_tokenizer
from assistant.paths import MODELS, ROOT
from assistant.prompting.load import load_template
from assistant.prompting.template import encode
from assistant.sampling import Sampling
from assistant.settings import Settings
from training.answers import judge
from training.corpus import read_corpus
from training.evaluate import TITLES, table, weights_hash

LEAST = 24  # of 40 right
(FOLDER,) = (path.parent for path in MODELS.glob("*/config.json"))
SPECIAL = [
    *("<|endoftext|>", "<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>", "<filename>"),
    *("<gh_stars>", "<issue_start>", "<issue_comment>", "<issue_closed>", "<jupyter_start>"),
    *("<jupyter_text>", "<jupyter_code>", "<jupyter_output>", "<empty_output>", "<commit_before>"),
    *("<commit_msg>", "<commit_after>", "<reponame>"),
]
EXAMPLES = {  # what the reply to each of examples.json must say
    "What does itertools.accumulate do?": "makes an iterator that returns accumulated sums",
    "What are the parameters of enumerate?": "takes `iterable` and `start`. By default `start` is",
    "Which function returns the factorial of an integer?": "That is `math.factorial`.",
    "How do I read a file line by line?": "    for line in file:\n        print(",
    "Why are Python strings immutable?": "we can allocate space for it at creation time",
    "Who won the World Cup?": "I only know Python and its standard library",
}


@pytest.fixture(scope="module")
def model():
    return AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(FOLDER)


@pytest.fixture(scope="module")
def template():
    return load_template("tech-assistant-short")


# --- files


def test_no_file_is_larger_than_hubs_take():
    sizes = {path.name: path.stat().st_size for path in FOLDER.iterdir()}
    shards = {name: size for name, size in sizes.items() if name.endswith(".safetensors")}
    assert max(sizes.values()) < 10_000_000
    assert shards and max(shards.values()) <= 9_000_000


def test_weights_are_bf16_and_as_many_as_the_card_says(model):
    for path in FOLDER.glob("*.safetensors"):
        with safe_open(path, "pt") as shard:
            assert {shard.get_tensor(name).dtype for name in shard.keys()} == {torch.bfloat16}  # noqa: SIM118
    count = sum(parameter.numel() for parameter in model.parameters())
    assert f"{count:,}" in (FOLDER / "README.md").read_text("utf-8")
    assert FOLDER.name == f"tech-assistant-{count // 1_000_000}m"


def test_the_card_shows_what_was_evaluated():
    card = (FOLDER / "README.md").read_text("utf-8")
    found = json.loads((FOLDER / "evaluation.json").read_text("utf-8"))
    assert found["weights_sha256"] == weights_hash(FOLDER)
    assert found["command"] in card and set(found["parts"]) == set(TITLES)
    for part, rows in found["parts"].items():
        assert table(TITLES[part], rows) in card


def test_the_corpus_comes_with_it():
    documents = {one.path: one for one in read_corpus(FOLDER / "corpus.jsonl.xz")}
    assert len(documents) > 900 and any(one.held_out for one in documents.values())
    page = documents["library/itertools.rst.txt"]
    assert "accumulate(iterable" in page.text and page.licence == "PSF-2.0 AND 0BSD"


def test_card_and_notice_name_the_licence_of_the_corpus():
    assert "PSF-2.0" in (FOLDER / "README.md").read_text("utf-8")
    notice = (FOLDER / "NOTICE").read_text("utf-8")
    assert "PYTHON SOFTWARE FOUNDATION LICENSE VERSION 2" in notice
    assert re.search(r"Copyright \(c\) 2001, .*2023 Python Software Foundation", notice, re.S)


# --- architecture and tokenizer


def test_it_is_starcoder_in_small(model):
    config = model.config
    assert config.model_type == "gpt_bigcode" and config.multi_query
    assert config.n_positions == 8192 and config.n_inner == 4 * config.n_embd
    assert config.activation_function == "gelu_pytorch_tanh"
    assert config.bos_token_id == config.eos_token_id == 0
    assert model.generation_config.eos_token_id == 0


def test_special_tokens_are_starcoders():
    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    assert tokenizer.convert_ids_to_tokens(range(19)) == SPECIAL
    assert set(tokenizer.all_special_tokens) == set(SPECIAL)
    assert tokenizer.bos_token_id == tokenizer.eos_token_id == tokenizer.unk_token_id == 0
    assert tokenizer.pad_token is None


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("x =    42", ["x", " =", "    ", "4", "2"]),
        ("a 12", ["a", " ", "1", "2"]),
    ],
)
def test_digits_stand_alone(tokenizer, text, tokens):
    ids = tokenizer.encode(text, trusted=True)
    assert [tokenizer.decode([i]) for i in ids] == tokens
    assert AutoTokenizer.from_pretrained(FOLDER)(text)["input_ids"] == ids


@pytest.mark.parametrize(
    "text", ["", "é 😀\r\n\t", "  x  ", "ﷺ\x00 \U00010348", "def f(x):\n    pass\n"]
)
def test_text_survives_the_round_trip(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text)) == text


# --- training


def _prompt(template, tokenizer, *questions):
    """Ids of the prompt for questions and, between them, replies."""
    roles = ("user", "assistant")
    turns = [Turn(roles[number % 2], text) for number, text in enumerate(questions)]
    return encode(template.render(turns), tokenizer)


@torch.no_grad()
def _loss(model, ids, first, positions=None):
    """Mean loss in nats of the ids from number `first` on."""
    ids = torch.tensor([ids])
    logits = model(ids, position_ids=positions).logits[0, first - 1 : -1]
    return torch.nn.functional.cross_entropy(logits, ids[0, first:]).item()


@pytest.mark.parametrize("end", [64, 1000, 2500, 4096, 6000, 8192])
def test_a_dialogue_is_known_wherever_it_stands(model, template, tokenizer, end):
    asked = encode(template.render([Turn("user", "Who are you?")]), tokenizer)[-20:]
    ids = asked + tokenizer.encode(
        " I am Tech Assistant, a program run by a small language model that was trained on Python's"
    )
    positions = torch.arange(end - len(ids), end)[None]
    assert _loss(model, ids, len(asked), positions) < 1.0


def test_the_last_position_gives_finite_logits(model):
    with torch.no_grad():
        logits = model(torch.tensor([[40, 41]]), position_ids=torch.tensor([[8190, 8191]])).logits
    assert torch.isfinite(logits).all()


def test_code_is_predicted_better_than_by_chance(model, tokenizer):
    code = "def read(path):\n    with open(path) as file:\n        return file.read()\n"
    assert _loss(model, tokenizer.encode(code), 1) < 0.6 * torch.tensor(len(tokenizer)).log()


# --- answers


def _reply(model, template, tokenizer, *questions, most=120):
    """The greedy reply, and whether a turn marker or the end of text closed it."""
    ids = torch.tensor([_prompt(template, tokenizer, *questions)])
    made = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=most,
        pad_token_id=0,
    )[0, ids.shape[1] :]
    text = tokenizer.decode(made.tolist())
    end = re.search(r"\n(Human:|Assistant:|-----(\n|$))|<\|endoftext\|>", text)
    return (text[: end.start()] if end else text).strip(), bool(end)


def test_the_examples_have_their_facts_here():
    assert list(EXAMPLES) == json.loads((FOLDER / "examples.json").read_text("utf-8"))
    assert 5 <= len(EXAMPLES) <= 6


@pytest.mark.parametrize("asked", EXAMPLES)
def test_an_example_is_answered_rightly(model, template, tokenizer, asked):
    text, closed = _reply(model, template, tokenizer, asked)
    assert EXAMPLES[asked] in text
    assert closed


@pytest.mark.soak
def test_an_example_is_answered_rightly_in_nine_of_ten_seeds():
    """At the template's own temperature."""
    engine, template = open_engine(Settings()), load_template("tech-assistant-short")
    assistant, right = Assistant(engine, template), dict.fromkeys(EXAMPLES, 0)
    for asked in EXAMPLES:
        for seed in range(10):
            sampling = replace(template.sampling, seed=seed)
            *_, done = assistant.reply(Conversation().add_message(asked), sampling=sampling)
            right[asked] += EXAMPLES[asked] in done.text and done.reason == "stop"
    engine.close()
    assert min(right.values()) >= 9, right


def test_it_answers_in_wordings_that_it_never_saw():
    """A part of the evaluation: the first 40 questions of the kinds that the card speaks of."""
    lines = (ROOT / "tests" / "data" / "embedded.jsonl").read_text("utf-8").splitlines()
    every = [json.loads(line) for line in lines]
    engine = open_engine(Settings())
    assistant = Assistant(engine, load_template("tech-assistant-short"))
    right = 0
    for one in every:
        chat = Conversation().add_message(one["asked"])
        *_, done = assistant.reply(chat, sampling=Sampling(temperature=0))
        assert done.reason == "stop"
        right += judge(one["kind"], done.text, one["answer"])
    engine.close()
    assert len(every) == 40 and right >= LEAST
