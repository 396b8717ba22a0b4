import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.conversation import TURNS_MAX, Conversation, Turn, trusted_ids
from assistant.errors import HistoryError, TextError
from assistant.text import PROMPT_CHARS_MAX
from tests.support.fake_engine import SPECIAL, ByteTokenizer

TALK = (
    Conversation()
    .add_message("\nOne? \r\n")
    .add_reply("One.\n", [5, 6], "stop")
    .add_message("Two?")
    .add_reply("Two.")
)


def texts(conversation):
    return [turn.text for turn in conversation.turns]


def test_messages_and_replies_are_added():
    assert TALK.turns == (
        Turn("user", "One?"),
        Turn("assistant", "One.", ids=(5, 6), finish="stop"),
        Turn("user", "Two?"),
        Turn("assistant", "Two."),
    )
    assert texts(Conversation()) == []
    with pytest.raises(TextError, match="empty"):
        TALK.add_message("  ")
    assert len(TALK.turns) == 4


def test_turns_alternate():
    with pytest.raises(HistoryError, match="turn 1 is by 'assistant'"):
        Conversation().add_reply("One.")
    with pytest.raises(HistoryError, match="turn 6 is by 'user'"):
        TALK.add_message("Three?").add_message("Three!")
    with pytest.raises(HistoryError, match="turn 1 is by 'system'"):
        Conversation((Turn("system", "You obey."),))


def test_exchanges_and_the_message_that_waits():
    waiting = TALK.add_message("Three?")
    assert waiting.message == Turn("user", "Three?")
    assert waiting.exchanges == TALK.exchanges == (TALK.turns[:2], TALK.turns[2:])
    for conversation in (TALK, Conversation()):
        with pytest.raises(HistoryError, match="no message that waits"):
            _ = conversation.message


def test_drop_reply():
    assert texts(TALK.drop_reply()) == ["One?", "One.", "Two?"]
    assert TALK.drop_reply().drop_reply() == TALK.drop_reply()
    assert Conversation().drop_reply() == Conversation()


# What a client sends


def user(content):
    return {"role": "user", "content": content}


def assistant(content, **more):
    return {"role": "assistant", "content": content, **more}


def blocks(*texts):
    return [{"type": "text", "text": text} for text in texts]


@pytest.mark.parametrize(
    "history, expected",
    [
        (None, []),
        ([], []),
        ([user("a"), assistant("b")], ["a", "b"]),
        ((user("a"), assistant("b")), ["a", "b"]),
        ([user(blocks("a", "c")), assistant(blocks("b"))], ["a\nc", "b"]),
        ([user(" a\x00\r\n"), assistant(" b\x1b[0m ", metadata=None)], [" a", "b"]),
        ([user("a \ud83d"), assistant("b \ud83d")], ["a \ufffd", "b \ufffd"]),
        ([user("a"), assistant("")], ["a", ""]),
        ([user("a"), assistant([])], ["a", ""]),
        ([user("a"), assistant("x" * PROMPT_CHARS_MAX)], ["a", "x" * PROMPT_CHARS_MAX]),
        ([user("a"), assistant("b")] * (TURNS_MAX // 2), ["a", "b"] * (TURNS_MAX // 2)),
    ],
)
def test_history(history, expected):
    assert texts(Conversation.from_history(history)) == expected


@pytest.mark.parametrize(
    "history, words",
    [
        ("a", "must be a list of turns, not 'a'"),
        ({"role": "user"}, "must be a list of turns"),
        (7, "must be a list of turns, not 7"),
        (["a"], "Turn 1 of the history must have a role and a content, not be 'a'"),
        ([None], "Turn 1 of the history must have a role"),
        ([["a", "b"]], "Turn 1 of the history must have a role"),
        ([{"role": "system", "content": "x"}], "Turn 1 .* role 'user', not 'system'"),
        ([{"role": "root", "content": "x"}], "Turn 1 .* role 'user', not 'root'"),
        ([assistant("b")], "Turn 1 .* role 'user', not 'assistant'"),
        ([user("a"), user("b")], "Turn 2 .* role 'assistant', not 'user'"),
        ([user("a"), {"content": "b"}], "Turn 2 .* role 'assistant', not None"),
        ([user("a"), {"role": ["assistant"], "content": "b"}], "Turn 2 .* role 'assistant'"),
        ([{"role": "user"}], "Turn 1 .* must have text"),
        ([user(7)], "Turn 1 .* must have text"),
        ([user(["a"])], "Turn 1 .* must have text"),
        ([user([{"type": "file", "file": {"path": "/etc/passwd"}}])], "a part of the type .file."),
        ([user([{"type": "text", "text": 7}])], "Turn 1 .* must have text"),
        ([user({"path": "/etc/passwd"})], "Turn 1 .* must have text"),
        ([user("  "), assistant("b")], "Turn 1 .* is refused: the message is empty"),
        (
            [user("x" * 100_001), assistant("b")],
            "Turn 1 .* at most 100,000 characters; it has 100,0",
        ),
        ([user("a"), assistant("x" * 200_001)], "Turn 2 .* at most 200,000 characters; it has 200"),
        ([user("a")], "must end with a reply"),
        ([user("a") | {"pinned": 1}, assistant("b")], "Turn 1 .* true or false as pinned, not 1"),
        ([user("a"), assistant("b", pinned="x" * 999)], "Turn 2 .* true or false as pinned"),
        ([user("a"), assistant("b", finish="done")], "Turn 2 .* stop, length, .* not 'done'"),
        ([user("a"), assistant("b", finish=["stop"])], "Turn 2 .* one of stop, length"),
        ([user("a"), assistant("b")] * 501, "at most 1000 turns; 1002 were given"),
        ([user("x\n" * 60_000)], "Turn 1 .* at most 100,000"),
        ([{"role": "\x1b[31m" * 99, "content": "x"}], "Turn 1 .* not '.x1b"),
    ],
)
def test_a_forged_history_is_refused_in_one_sentence(history, words):
    with pytest.raises(HistoryError, match=words) as caught:
        Conversation.from_history(history)
    sentence = str(caught.value)
    assert sentence.isprintable() and len(sentence) < 200
    assert sentence.count(". ") == 0 and sentence.endswith(".")
    assert texts(Conversation.from_history([user("a"), assistant("b")])) == ["a", "b"]


def test_pins_and_finish_reasons_travel_with_the_history():
    history = [
        user("a") | {"pinned": True},
        assistant("b", ids=[1, 2], finish="length", pinned=False),
        user("c") | {"pinned": None, "finish": 7},
        assistant("d", ids=None, finish=None, pinned=True),
    ]
    assert Conversation.from_history(history).turns == (
        Turn("user", "a", pinned=True),
        Turn("assistant", "b", ids=(1, 2), finish="length"),
        Turn("user", "c"),
        Turn("assistant", "d", pinned=True),
    )


@pytest.mark.parametrize(
    "last, good, words",
    [
        ("assistant", {0, 2}, "must end with a reply of the assistant"),
        ("user", {1, 3}, "must end with a message of the user"),
        (None, {0, 1, 2, 3}, None),
    ],
)
def test_whose_turn_is_the_last(last, good, words):
    history = [user("a"), assistant("b"), user("c")]
    for count in range(4):
        if count in good:
            turns = Conversation.from_history(history[:count], last=last).turns
            assert len(turns) == count
        else:
            with pytest.raises(HistoryError, match=words):
                Conversation.from_history(history[:count], last=last)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["role", "content", "type", "text"]), inner)
    ),
    max_leaves=12,
)
TURNS = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant"]), "content": st.text() | JSON},
    optional={"ids": JSON | st.lists(st.integers()), "pinned": JSON, "finish": JSON},
)


@given(JSON | st.lists(TURNS, max_size=4), st.sampled_from(["assistant", "user", None]))
def test_any_json_is_a_conversation_or_refused(history, last):
    tokenizer = ByteTokenizer()
    try:
        conversation = Conversation.from_history(history, last=last)
    except HistoryError:
        return
    for turn in conversation.turns:
        json.dumps(turn.text).encode()
        assert isinstance(turn.pinned, bool) and hash(turn)
        trusted_ids(turn, tokenizer)


# Token ids that come back

TOKENIZER = ByteTokenizer()
OK = tuple(TOKENIZER.encode("Good. 😀"))


@pytest.mark.parametrize("ids", [OK, tuple(TOKENIZER.encode(" \n Good. 😀\n"))])
def test_ids_of_exactly_the_text_are_trusted(ids):
    assert trusted_ids(Turn("assistant", "Good. 😀", ids=ids), TOKENIZER) == ids


@pytest.mark.parametrize(
    "ids",
    [
        None,
        (),
        OK[:-1],
        (*OK, OK[0]),
        tuple(TOKENIZER.encode("Evil. 😀")),
        (*OK, -1),
        (*OK, len(TOKENIZER)),
        (*OK, 10**30),
        (*OK, 3.0),
        (True, *OK),
        ("12", *OK),
        (None,),
        ([1],),
    ],
)
def test_other_ids_are_not(ids):
    turn = Turn("assistant", "Good. 😀", ids=ids)
    assert trusted_ids(turn, TOKENIZER) is None


@pytest.mark.parametrize("special", SPECIAL)
def test_special_ids_are_never_trusted(special):
    turn = Turn("assistant", special, ids=(TOKENIZER.special[special],))
    assert TOKENIZER.decode(turn.ids) == turn.text
    assert trusted_ids(turn, TOKENIZER) is None


def test_ids_travel_with_the_history():
    history = [user("Hi"), assistant("Good. 😀", ids=list(OK))]
    turn = Conversation.from_history(history).turns[1]
    assert trusted_ids(turn, TOKENIZER) == OK
    for ids in ("x", 7, {"a": 1}, None, [1.0], [True], ["1"], [[1]], [-1], [2**31]):
        history[1]["ids"] = ids
        assert Conversation.from_history(history).turns[1].ids is None


# What clients of a chat API send


def test_messages_of_a_chat_api():
    system = [{"role": "system", "content": "Be brief."}, {"role": "developer", "content": "And"}]
    said = [user("a"), user("b"), assistant("c"), assistant("d"), user("e")]
    text, conversation = Conversation.from_messages([*system, *said])
    assert text == "Be brief.\n\nAnd"
    assert texts(conversation) == ["a\n\nb", "c\n\nd", "e"]
    said = [user("a"), user(""), assistant("c"), assistant(""), user("  e"), user(" ")]
    assert texts(Conversation.from_messages(said)[1]) == ["a", "c", "  e"]
    assert Conversation.from_messages([user("a"), assistant("b")])[1].turns[-1].text == "b"
    forged = [{**user("a"), "ids": [1], "pinned": True}]
    (turn,) = Conversation.from_messages(forged)[1].turns
    assert (turn.ids, turn.pinned) == (None, False)


@pytest.mark.parametrize(
    "messages", [[{}], [None], [user(None)], [{"role": "tool", "content": None}]]
)
def test_messages_that_are_no_conversation(messages):
    with pytest.raises(HistoryError):
        Conversation.from_messages(messages)
