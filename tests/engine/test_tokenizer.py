import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.engine.tokenizer import load_tokenizer
from assistant.errors import CheckpointError
from tests.support.checkpoints import SPECIAL, VOCAB_SIZE, make_tokenizer

# Any text, special tokens and near misses among it. Surrogates have a test of their own.
PIECES = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.sampled_from(
        [*SPECIAL, "<|", "|>", "<fim_", "fim_prefix", "\n\nHuman:", "  42", "👩\u200d🚀"]
    ),
)
TEXTS = st.lists(PIECES, max_size=8).map("".join)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return load_tokenizer(make_tokenizer(tmp_path_factory.mktemp("tokenizer")))


def edited(folder, **changes):
    """A tokenizer folder whose tokenizer.json has some top-level keys replaced."""
    path = make_tokenizer(folder) / "tokenizer.json"
    spec = json.loads(path.read_text("utf-8"))
    for key, change in changes.items():
        spec[key] = change(spec[key]) if callable(change) else change
    path.write_text(json.dumps(spec))
    return folder


def disguises(token):
    """Spellings around a special token that a person may try."""
    return [
        token,
        token.upper(),
        token.title(),
        token[:2] + "\u200d" + token[2:],
        token[0] + token + token[1:],  # nested
        token[:-1] + token,  # overlapping
        token + token,
        f"a{token}b",
        f" {token}\n",
        f"\n\nHuman: {token} -----",
        "\ufeff" + token,
        token[:3] + "\ud800" + token[3:],
    ]


@given(TEXTS)
def test_round_trip_and_no_special_id(tokenizer, text):
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert not set(ids) & set(tokenizer.special.values())
    assert tokenizer.decode(tokenizer.encode(text, trusted=True)) == text


@pytest.mark.parametrize("token", SPECIAL)
def test_only_trusted_text_yields_special_ids(tokenizer, token):
    id = SPECIAL.index(token)
    assert tokenizer.special[token] == id
    for text in disguises(token):
        assert not set(tokenizer.encode(text)) & set(tokenizer.special.values()), text
    assert tokenizer.encode(token, trusted=True) == [id]
    assert tokenizer.encode(token + token, trusted=True) == [id, id]
    assert tokenizer.encode(f"a{token}b", trusted=True).count(id) == 1
    assert tokenizer.decode([id]) == token


def test_an_unknown_token_is_no_way_to_a_special_id(tmp_path):
    """A byte that the vocabulary lacks is lost, and is not read as the end of the document."""

    def lacking(model):
        vocab = {token: id for token, id in model["vocab"].items() if token != "ñ"}  # byte F1
        return model | {"vocab": vocab, "unk_token": "<|endoftext|>"}

    tokenizer = load_tokenizer(edited(tmp_path, model=lacking))
    assert tokenizer.encode("a\U00050000b", trusted=True).count(0) == 1  # the library's way
    assert 0 not in tokenizer.encode("a\U00050000b")


def test_lone_surrogates_are_replaced(tokenizer):
    assert tokenizer.decode(tokenizer.encode("a\ud83d b\udfff")) == "a\ufffd b\ufffd"
    assert tokenizer.decode(tokenizer.encode("\udcff", trusted=True)) == "\ufffd"


@given(TEXTS, st.data())
def test_decoding_in_pieces_equals_decoding_at_once(tokenizer, text, data):
    ids = tokenizer.encode(text, trusted=data.draw(st.booleans()))
    decoder, pieces, rest = tokenizer.decoder(), [], ids
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        pieces.append(decoder.feed(rest[:size]))
        rest = rest[size:]
    assert "".join([*pieces, decoder.flush()]) == text
    assert all("\ufffd" not in piece or "\ufffd" in text for piece in pieces)


@given(st.lists(st.integers(0, VOCAB_SIZE + 5), max_size=30))
def test_any_ids_decode_as_the_library_decodes_them(tokenizer, ids):
    """Also ids that are no UTF-8, one at a time or at once; ids without a token are nothing."""
    decoder = tokenizer.decoder()
    streamed = "".join([decoder.feed([id]) for id in ids] + [decoder.flush()])
    assert streamed == tokenizer.decode(ids)
    if not set(ids) & set(tokenizer.special.values()):  # the library drops bytes beside them
        assert streamed == tokenizer._trusted.decode(ids, skip_special_tokens=False)


def test_a_character_waits_until_it_is_whole(tokenizer):
    ids = tokenizer.encode("é🙂")
    assert len(ids) == 6
    decoder = tokenizer.decoder()
    assert [decoder.feed([id]) for id in ids] == ["", "é", "", "", "", "🙂"]
    assert decoder.flush() == ""
    assert decoder.feed(ids[:1]) == "" and decoder.flush() == "\ufffd"


def test_length_and_end_of_document(tokenizer):
    assert len(tokenizer) == VOCAB_SIZE
    assert tokenizer.eos_id == 0


@pytest.mark.parametrize(
    "name, content, eos",
    [
        ("tokenizer_config.json", {"eos_token": "<fim_pad>"}, 4),
        ("tokenizer_config.json", {"eos_token": {"content": "<fim_pad>"}}, 4),
        ("tokenizer_config.json", {"eos_token": "unheard of"}, 0),
        ("tokenizer_config.json", {}, 0),
        ("generation_config.json", {"eos_token_id": 4}, 4),
        ("generation_config.json", {"eos_token_id": None}, 0),
    ],
)
def test_where_the_end_of_document_is_found(tmp_path, name, content, eos):
    make_tokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()
    (tmp_path / name).write_text(json.dumps(content))
    assert load_tokenizer(tmp_path).eos_id == eos


def test_tokens_added_behind_the_vocabulary(tmp_path):
    """StarChat's turn markers have ids above the vocabulary, some tokenizers plain additions."""
    rest = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    chat = {"id": VOCAB_SIZE, "content": "<|user|>", "special": True, **rest}
    plain = {"id": VOCAB_SIZE + 1, "content": "plain addition", "special": False, **rest}
    tokenizer = load_tokenizer(edited(tmp_path, added_tokens=lambda old: [*old, chat, plain]))
    assert len(tokenizer) == VOCAB_SIZE + 2
    for text, id in {"<|user|>": VOCAB_SIZE, "plain addition": VOCAB_SIZE + 1}.items():
        assert tokenizer.special[text] == id
        assert tokenizer.encode(text, trusted=True) == [id]
        assert id not in tokenizer.encode(text)
        assert tokenizer.decode([id]) == text


def test_truncation_and_padding_in_the_file_are_ignored(tmp_path):
    truncation = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    tokenizer = load_tokenizer(edited(tmp_path, truncation=truncation))
    assert (
        tokenizer.decode(tokenizer.encode("nine words of text " * 9)) == "nine words of text " * 9
    )


@pytest.mark.parametrize(
    "name, content",
    [
        ("tokenizer.json", None),
        ("tokenizer.json", b""),
        ("tokenizer.json", b"{"),
        ("tokenizer.json", b"[]"),
        ("tokenizer.json", b"\xff\xfe"),
        ("tokenizer.json", b"{}"),
        ("tokenizer.json", b'{"added_tokens": [], "model": {}}'),
        ("tokenizer.json", b'{"added_tokens": 3, "model": {"vocab": 3}}'),
        ("tokenizer_config.json", b"{"),
    ],
)
def test_a_broken_file_is_named(tmp_path, name, content):
    path = make_tokenizer(tmp_path) / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        load_tokenizer(tmp_path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert load_tokenizer(make_tokenizer(tmp_path)).encode("a")


@pytest.mark.parametrize(
    "changes",
    [
        {"pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"}},
        {"pre_tokenizer": {"type": "Whitespace"}},
        {"normalizer": {"type": "Lowercase"}},
        {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True}},
    ],
)
def test_other_kinds_of_tokenizer_are_refused(tmp_path, changes):
    with pytest.raises(CheckpointError, match="not a byte-level BPE"):
        load_tokenizer(edited(tmp_path, **changes))


def test_a_special_token_that_merges_can_reach_is_refused(tmp_path):
    """Such a vocabulary would turn a user's text into a control token."""

    path = make_tokenizer(tmp_path) / "tokenizer.json"
    spec = json.loads(path.read_text("utf-8"))
    merged = "".join(spec["model"]["merges"][0])
    spec["added_tokens"].append(
        spec["added_tokens"][0] | {"id": spec["model"]["vocab"][merged], "content": merged}
    )
    path.write_text(json.dumps(spec))
    with pytest.raises(CheckpointError, match="cannot be used"):
        load_tokenizer(tmp_path)


# -- StarCoder's own tokenizer ----------------------------------------------------------------


@pytest.mark.parametrize(
    "text, ids",
    [
        ("x =    42", [106, 280, 262, 38, 36]),
        ("def", [589]),
        ("\n\nHuman:", [203, 203, 21390, 44]),
        ("\n\n", [478]),
        (" Human", [26929]),
        ("Assistant: ", [35263, 44, 225]),
        ("-----", [6736]),
        ("----------", [6056]),
        ("    ", [262]),
        ("\r\n", [437]),
    ],
)
def test_starcoder_known_ids(starcoder_tokenizer, text, ids):
    assert starcoder_tokenizer.encode(text) == ids
    assert starcoder_tokenizer.encode(text, trusted=True) == ids
    assert starcoder_tokenizer.decode(starcoder_tokenizer.encode(text)) == text


def test_starcoder_special_tokens(starcoder_tokenizer):
    assert list(starcoder_tokenizer.special) == SPECIAL
    assert len(starcoder_tokenizer) == 49152 and starcoder_tokenizer.eos_id == 0
    for id, token in enumerate(SPECIAL):
        assert starcoder_tokenizer.encode(token, trusted=True) == [id]
        for text in disguises(token):
            assert min(starcoder_tokenizer.encode(text)) > 18
