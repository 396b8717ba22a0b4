import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from assistant.chat.assistant import Assistant
from assistant.chat.receipt import _READER, Receipt, first_difference
from assistant.conversation import Conversation
from assistant.errors import ReceiptError, SamplingError, WindowError
from assistant.prompting.template import PromptTemplate
from assistant.sampling import Sampling
from tests.chat.test_assistant import HELLO, TEMPLATE, assistant, behind, long_talk, read
from tests.support.engines import make_engine
from tests.support.fake_engine import FakeEngine


def receipt_of(helper, conversation, **options):
    """The receipt of a reply, and the conversation with it."""
    reply = helper.reply(conversation, **options)
    receipt = Receipt.of(helper, reply, read(reply))
    return receipt, Conversation((*conversation.drop_reply().turns, reply.turn))


def sent(receipt):
    """As it comes back from a browser."""
    return Receipt.from_dict(json.loads(json.dumps(receipt.to_dict())))


def test_a_receipt_says_how_a_reply_came_about():
    helper = assistant(" Hi.\n\nHuman:", window=250)
    sampling = Sampling(temperature=0.5, seed=7)
    conversation = long_talk().add_message("Hello")
    reply = helper.reply(conversation, sampling=sampling, max_new_tokens=50, stop=["END", "END"])
    done = read(reply)
    receipt = Receipt.of(helper, reply, done)
    ledger = helper.ledger(conversation, max_new_tokens=50)
    assert dataclasses.replace(receipt, ttft_s=0, tokens_per_s=0) == Receipt(
        model="fake",
        revision=None,
        template="plain",
        template_hash=TEMPLATE.hash,
        sampling=sampling,
        max_new_tokens=50,
        stop=("END",),
        preamble=ledger.preamble,
        history=ledger.history,
        message=ledger.message,
        reply=len(" Hi.\n\nHuman:"),
        cached=len(TEMPLATE.preamble),
        dropped=ledger.dropped,
        reason="stop",
        stopped_by="Human:",
        ttft_s=0,
        tokens_per_s=0,
        repeatable=True,
        window=250,
    )
    times = done.finished.ttft_s, done.finished.tokens_per_s  # no speed where a clock is coarse
    assert ledger.dropped and (receipt.ttft_s, receipt.tokens_per_s) == times
    assert sent(receipt) == receipt
    assert isinstance(json.dumps(receipt.to_dict(), allow_nan=False), str)


def test_again_is_the_same_prompt_computed_cold():
    """With the exchanges left out that were left out then, whatever fits or is pinned now."""
    helper = assistant(window=250)
    receipt, conversation = receipt_of(helper, long_talk().add_message("Hello"), stop=["END"])
    helper.engine.window = 8192
    turns = [dataclasses.replace(turn, pinned=True) for turn in conversation.turns]
    reply = sent(receipt).run_again(helper, Conversation(tuple(turns)))
    done = read(reply)
    first, second = helper.engine.requests
    assert receipt.dropped and second == dataclasses.replace(first, cold=True)
    assert done.finished.cached_tokens == 0 and done.finished.repeatable
    assert first_difference(conversation.turns[-1].ids, reply.turn.ids) is None
    again = Receipt.of(helper, reply, done)
    assert (again.dropped, again.stop, again.reason) == (receipt.dropped, ("END",), "stop")


def test_a_reply_that_was_continued_is_continued_again():
    helper = assistant()
    helper.engine.script = behind(helper, b"\n\nOne, two, three.")
    _, begun = receipt_of(helper, HELLO, max_new_tokens=6)
    receipt, whole = receipt_of(helper, begun)
    assert (receipt.continued, receipt.reply) == (6, len(" two, three."))
    reply = sent(receipt).run_again(helper, whole)
    read(reply)
    assert reply.turn == whole.turns[-1]
    assert helper.engine.requests[2] == dataclasses.replace(helper.engine.requests[1], cold=True)


@pytest.mark.parametrize("change", [{"ids": None}, {"ids": (6, 7)}, {"text": "Other."}])
def test_where_a_reply_was_continued_must_be_known(change):
    helper = assistant()
    helper.engine.script = behind(helper, b" One, two.")
    _, begun = receipt_of(helper, HELLO, max_new_tokens=5)
    receipt, whole = receipt_of(helper, begun)
    changed = dataclasses.replace(whole.turns[-1], **change)
    for conversation in (Conversation((*HELLO.turns, changed)), HELLO, Conversation()):
        with pytest.raises(ReceiptError, match="was continued, and where"):
            receipt.run_again(helper, conversation)


def test_an_adapter_is_part_of_the_model():
    helper = assistant()
    receipt, conversation = receipt_of(helper, HELLO)
    helper.engine.adapter = "lora · 0123456789ab"
    sentence = "by the model with no adapter; here it has the adapter lora · 0123456789ab."
    assert receipt.mismatch(helper).endswith(sentence)
    with pytest.raises(ReceiptError, match="by the model with no adapter"):
        receipt.run_again(helper, conversation)
    receipt, _ = receipt_of(helper, HELLO)
    assert sent(receipt).adapter == helper.engine.adapter and receipt.mismatch(helper) is None
    receipt.run_again(helper, conversation).close()


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"model": "other"}, "is by the model 'other'; here runs fake."),
        ({"revision": "abc"}, "is by the revision 'abc' of the model; here runs None."),
        ({"adapter": "a"}, "is by the model with the adapter 'a'; here it has no adapter."),
        ({"template_hash": "0" * 64}, "prompt template 'plain'; here it is with another text."),
        ({"template_hash": "0" * 64, "template": "x"}, "template 'x'; here it is 'plain'."),
    ],
)
def test_what_does_not_fit_is_said_and_not_run(change, sentence):
    helper = assistant()
    receipt, conversation = receipt_of(helper, HELLO)
    assert receipt.mismatch(helper) is None
    other = sent(dataclasses.replace(receipt, **change))
    assert other.mismatch(helper).endswith(sentence)
    with pytest.raises(ReceiptError, match="This reply"):
        other.run_again(helper, conversation)
    assert len(helper.engine.requests) == 1


@pytest.mark.parametrize(
    "then, now, sentence",
    [
        ({}, {}, None),
        ({"numerics": None, "window": None}, {"numerics": "int8", "window": 99}, None),
        ({"numerics": "int8"}, {"numerics": None}, None),
        (
            {"numerics": "int8"},
            {"numerics": "int4"},
            "It was computed in 'int8' then, and in int4 now.",
        ),
        (
            {"window": 16384},
            {"window": 8192},
            "The window had 16,384 tokens then, and has 8,192 now.",
        ),
        (
            {"numerics": "int8", "window": 250},
            {"numerics": "int4", "window": 9000},
            "It was computed in 'int8' then, and in int4 now. The window had 250 tokens then, and "
            "has 9,000 now.",
        ),
    ],
)
def test_what_is_another_now_is_said_and_refuses_nothing(then, now, sentence):
    helper = assistant(" Hi.")
    receipt, conversation = receipt_of(helper, HELLO)
    receipt = sent(dataclasses.replace(receipt, **then))
    for name, value in now.items():
        setattr(helper.engine, name, value)
    assert receipt.changed(helper.engine) == sentence
    assert receipt.mismatch(helper) is None


def test_what_fits_no_more_is_refused():
    helper = assistant()
    receipt, conversation = receipt_of(helper, long_talk().add_message("Hello"))
    helper.engine.window = 150
    with pytest.raises(WindowError):
        receipt.run_again(helper, conversation)
    with pytest.raises(SamplingError):
        dataclasses.replace(receipt, max_new_tokens=151).run_again(helper, conversation)
    with pytest.raises(Exception, match="cannot leave"):
        dataclasses.replace(receipt, dropped=(9,)).run_again(helper, conversation)


@pytest.mark.parametrize(
    "ids, again, index",
    [
        ((), (), None),
        ((1, 2), (1, 2), None),
        ((1, 2), [1, 2], None),
        ((1, 2), (1, 3), 1),
        ((1, 2), (1,), 1),
        ((), (1,), 0),
        ("abc", "abd", 2),
    ],
)
def test_first_difference(ids, again, index):
    assert first_difference(ids, again) == index
    assert first_difference(again, ids) == index


def test_a_real_engine_repeats_a_receipt(tiny_checkpoint):
    template = PromptTemplate("t", "Human:", "Assistant:", "\n\n", "A.\n", separator="-----")
    engine = make_engine(tiny_checkpoint, slots=2)
    helper = Assistant(engine, template, max_new_tokens=20)
    conversation = Conversation()
    for text in ("What is a list?", "And a tuple?"):
        sampling = Sampling(temperature=1.0, top_p=1.0)
        receipt, conversation = receipt_of(
            helper, conversation.add_message(text), sampling=sampling
        )
    replies = []
    for _ in range(2):
        reply = sent(receipt).run_again(helper, conversation)
        assert read(reply).finished.repeatable
        replies.append(reply.turn.ids)
    assert replies[0] == replies[1]
    engine.close()


# What a client sends

GOOD = Receipt(
    *("m", "r", "t", "0" * 64, Sampling(seed=1), 9, ("a",), 1, 2, 3, 4, 5, (0, 2)),
    *("length", None, 0.5, None, False),
).to_dict()


@pytest.mark.parametrize("value", [None, 7, "x", [], [GOOD], {}])
def test_what_is_no_receipt_is_refused(value):
    with pytest.raises(ReceiptError, match=r"receipt .*\.$"):
        Receipt.from_dict(value)


@pytest.mark.parametrize(
    "field, values",
    [
        ("model", [None, 7, "", "x" * 256]),
        ("revision", [7, "", "x" * 256]),
        ("adapter", [7, "", "x" * 301]),
        ("template", [None, ["t"]]),
        ("template_hash", [None, ""]),
        ("sampling", [None, {}, {"seed": None}, {"seed": 1, "top_p": 2}]),
        ("sampling", [{"seed": -1}, {"seed": 2**60}, {"seed": "1"}, {"seed": 1, "top_k": [1]}]),
        ("max_new_tokens", [None, -1, 1.5, True, 10**10, "9"]),
        ("stop", [None, "a", [""], [7], ["a"] * 65, ["x" * 257]]),
        ("message", [None, -1, 1.0, False]),
        ("dropped", [None, "0", [0, 0], [1, 0], [-1], [0.0], [None], {"a": 1}]),
        ("reason", [None, "done", ["stop"], {}]),
        ("stopped_by", [7, "", "x" * 256]),
        ("ttft_s", [None, -1, float("nan"), float("inf"), True, "1"]),
        ("tokens_per_s", [-1, float("nan"), "1"]),
        ("repeatable", [None, 0, "yes"]),
        ("continued", [None, -1, 0.5]),
        ("window", [-1, 0.5, True, "8192", 10**10]),
    ],
)
def test_a_forged_receipt_is_refused_in_one_sentence(field, values):
    assert Receipt.from_dict(GOOD).to_dict() == GOOD
    for value in values:
        with pytest.raises(ReceiptError) as caught:
            Receipt.from_dict(GOOD | {field: value})
        sentence = str(caught.value)
        assert sentence.isprintable() and len(sentence) < 200 and sentence.endswith(".")


def test_further_keys_are_ignored_and_some_may_be_missing():
    given = {**GOOD, "html": "<b>", "revision": None}
    for name in ("continued", "window", "revision", "stopped_by", "tokens_per_s"):
        del given[name]
    assert Receipt.from_dict(given).to_dict() == GOOD | {"revision": None}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=6,
)


@given(st.sampled_from(list(GOOD)), JSON)
def test_any_json_is_a_receipt_or_refused(field, value):
    helper = Assistant(FakeEngine(), TEMPLATE)
    try:
        receipt = Receipt.from_dict(GOOD | {field: value})
    except ReceiptError:
        return
    json.dumps(receipt.to_dict(), allow_nan=False)
    assert receipt.mismatch(helper)


@pytest.mark.parametrize("key", ["dropped", "stop"])
@pytest.mark.parametrize("item", ["x", 1, None, -1, [], {}])
def test_of_a_list_one_item_that_is_wrong_is_enough(key, item):
    helper = assistant(" Hi.")
    receipt, _ = receipt_of(helper, Conversation().add_message("Hello"))
    value = receipt.to_dict() | {key: [item] * 50_000}
    with pytest.raises(ReceiptError, match=f"no usable '{key}'|At most 64 stop strings"):
        Receipt.from_dict(value)
    with pytest.raises(ValidationError) as caught:
        _READER.validate_json(json.dumps(value | {"model": 5}), strict=True)
    assert caught.value.error_count() <= 3
    assert sent(receipt) == receipt
