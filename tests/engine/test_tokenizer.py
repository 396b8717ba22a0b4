import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from assistant.engine.tokenizer import load_tokenizer
from assistant.errors import CheckpointError
from tests.support.checkpoints import (
    CODELLAMA,
    SPACES,
    SPECIAL,
    VOCAB_SIZE,
    make_metaspace_tokenizer,
    make_tokenizer,
)

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


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    folder = make_tokenizer(tmp_path_factory.mktemp("library"))
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def edited(folder, make=make_tokenizer, **changes):
    """A tokenizer folder whose tokenizer.json has some top-level keys replaced."""
    path = make(folder) / "tokenizer.json"
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
    """A byte that the vocabulary lacks is lost, and is not read as the end of the document, as
    the library would read it."""

    def lacking(model):
        vocab = {token: id for token, id in model["vocab"].items() if token != "ñ"}  # byte F1
        return model | {"vocab": vocab, "unk_token": "<|endoftext|>"}

    tokenizer = load_tokenizer(edited(tmp_path, model=lacking))
    library = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert library.encode("a\U00050000b").ids.count(0) == 1
    for trusted in (False, True):
        assert 0 not in tokenizer.encode("a\U00050000b", trusted=trusted)


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
def test_any_ids_decode_as_the_library_decodes_them(tokenizer, library, ids):
    """Also ids that are no UTF-8, one at a time or at once; ids without a token are nothing."""
    decoder = tokenizer.decoder()
    streamed = "".join([decoder.feed([id]) for id in ids] + [decoder.flush()])
    assert streamed == tokenizer.decode(ids)
    if not set(ids) & set(tokenizer.special.values()):  # the library drops bytes beside them
        assert streamed == library.decode(ids, skip_special_tokens=False)


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


LOWER, NFC = {"type": "Lowercase"}, {"type": "NFC"}
PREFIXED = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True}


@pytest.mark.parametrize(
    "make, changes, what",
    [
        (make_tokenizer, {"model": lambda m: {"type": "WordPiece", "vocab": m["vocab"]}}, "Piece"),
        (make_tokenizer, {"model": lambda m: m | {"type": "Unigram"}}, "kind 'Unigram'"),
        (make_tokenizer, {"pre_tokenizer": {"type": "Metaspace"}}, "no byte fallback"),
        (make_tokenizer, {"pre_tokenizer": {"type": "Whitespace"}}, "no byte fallback"),
        (make_tokenizer, {"pre_tokenizer": PREFIXED}, "does not come back"),
        (make_tokenizer, {"normalizer": LOWER}, "normalizer 'Lowercase'"),
        (make_tokenizer, {"normalizer": {"type": "NFKC"}}, "normalizer 'NFKC'"),
        (
            make_tokenizer,
            {"normalizer": {"type": "Sequence", "normalizers": [NFC, LOWER]}},
            "'Lowercase'",
        ),
        (make_metaspace_tokenizer, {"normalizer": LOWER}, "normalizer 'Lowercase'"),
        (make_metaspace_tokenizer, {"pre_tokenizer": {"type": "Whitespace"}}, "'Whitespace'"),
        (make_metaspace_tokenizer, {"normalizer": None}, "no ▁ for a blank"),
    ],
)
def test_other_kinds_of_tokenizer_are_refused_by_name(tmp_path, make, changes, what):
    with pytest.raises(CheckpointError, match="not a byte-level BPE") as caught:
        load_tokenizer(edited(tmp_path, make=make, **changes))
    assert what in str(caught.value) and "\n" not in str(caught.value)


def test_a_byte_that_the_vocabulary_lacks_is_named(tmp_path):
    def lacking(model):
        vocab = {token: id for token, id in model["vocab"].items() if token != "<0x96>"}
        return model | {"vocab": vocab}

    with pytest.raises(CheckpointError, match="cannot be used .*<0x96>"):
        load_tokenizer(edited(tmp_path, make=make_metaspace_tokenizer, model=lacking))


def test_a_normal_form_is_not_forced_on_a_text(tmp_path):
    """Qwen2's file asks for NFC: what is in it already has the same ids, other text stays."""
    tokenizer = load_tokenizer(edited(tmp_path, normalizer=NFC))
    library = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert tokenizer.encode("caf\u00e9") == library.encode("caf\u00e9").ids
    for text in ("cafe\u0301", "\u212b"):
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_an_added_letter_is_a_letter(tmp_path):
    """DeepSeek-Coder's file has added tokens such as "\u00fc", for bytes that UTF-8 never has."""
    letter = {"id": VOCAB_SIZE, "content": "\u00fc", "special": False, "single_word": False,
              "lstrip": False, "rstrip": False, "normalized": True}  # fmt: skip

    def lacking(model):
        return model | {"vocab": {t: id for t, id in model["vocab"].items() if t != "\u00fc"}}

    added = {"added_tokens": lambda old: [*old, letter], "model": lacking}
    tokenizer = load_tokenizer(edited(tmp_path, **added))
    assert "\u00fc" not in tokenizer.special and len(tokenizer) == VOCAB_SIZE + 1
    for trusted in (False, True):
        ids = tokenizer.encode("\u00fcber", trusted=trusted)
        assert VOCAB_SIZE not in ids and tokenizer.decode(ids) == "\u00fcber"


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


# -- Metaspace and byte fallback ---------------------------------------------------------------

WRITTEN = [
    "def ",
    "f",
    " ",
    "   ",
    "\n",
    "\t",
    "\r\n",
    "é",
    "日本",
    "🙂",
    "Human:",
    "numbers",
    "42",
]
CODE = st.lists(st.sampled_from(WRITTEN), max_size=12).map("".join)
ODD = st.lists(st.one_of(PIECES, st.sampled_from(["▁", " ", "<0x0A>", "<s>", *CODELLAMA])),
               max_size=8).map("".join)  # fmt: skip


@pytest.fixture(scope="module", params=SPACES)
def metaspace(request, tmp_path_factory):
    """(ours, transformers')"""
    from transformers import AutoTokenizer

    folder = make_metaspace_tokenizer(tmp_path_factory.mktemp("metaspace"), request.param)
    return load_tokenizer(folder), AutoTokenizer.from_pretrained(folder)


@given(ODD, ODD)
def test_texts_encoded_apart_are_both_texts(metaspace, a, b):
    """No blank is invented, and none is lost, not even of ▁ itself."""
    ours, _ = metaspace
    for trusted in (False, True):
        ids = ours.encode(a, trusted=trusted) + ours.encode(b, trusted=trusted)
        assert ours.decode(ids) == "".join(ours.texts(ids)) == a + b
    assert not set(ours.encode(a)) & set(ours.special.values())


@given(ODD)
def test_a_document_s_text_comes_back(metaspace, text):
    ours, _ = metaspace
    for trusted in (False, True):
        ids = ours.encode(text, trusted=trusted, start=True)
        before = [] if text.startswith("<s>") and trusted else [ours.bos_id]
        shown = "".join(ours.texts(before + ids, start=True))
        assert shown == (text if before else text.removeprefix("<s>"))


@given(CODE)
def test_a_document_has_the_ids_that_transformers_gives(metaspace, text):
    """But for one that begins with a blank, which not every file tells from one without."""
    ours, theirs = metaspace
    ids = [ours.bos_id, *ours.encode(text, start=True)]
    if not text.startswith(" ") or "Prepend" in theirs.backend_tokenizer.to_str():
        assert ids == theirs(text)["input_ids"]
    assert "".join(ours.texts(ids, start=True)) == text


@pytest.mark.parametrize("space", SPACES)
def test_the_blank_before_the_first_word(tmp_path, space):
    ours = load_tokenizer(make_metaspace_tokenizer(tmp_path, space))
    opens = space not in ("never", "replace")
    apart = ours.encode("def f")
    assert ours.decode(apart) == "def f" and ours.encode(" def f") != apart
    for text in ("def f", "<s>def f"):
        ids = ours.encode(text, trusted=True, start=True)
        assert ids[-len(apart) :] == apart or opens
        assert (ours.encode(" def f") == [id for id in ids if id != ours.bos_id]) == opens
    # Behind another special token it stands in the middle of a document.
    assert ours.encode("</s>def", trusted=True, start=True)[1:] == ours.encode("def")
    assert ours.encode("", start=True) == []


@given(ODD, st.data())
def test_metaspace_in_pieces_equals_all_at_once(metaspace, text, data):
    ours, _ = metaspace
    ids, decoder = ours.encode(text, trusted=True), ours.decoder()
    cut = data.draw(st.integers(0, len(ids)))
    assert decoder.feed(ids[:cut]) + decoder.feed(ids[cut:]) + decoder.flush() == text


def test_special_spellings_with_a_blank_sign(tmp_path):
    ours = load_tokenizer(make_metaspace_tokenizer(tmp_path))
    for text in CODELLAMA:
        assert ours.encode(text, trusted=True) == [ours.special[text]]
        for spelt in (*disguises(text), " " + text[1:], text.replace("▁", "▁▁")):
            assert not set(ours.encode(spelt)) & set(ours.special.values()), spelt
        assert ours.decode(ours.encode(text)) == text


def test_a_grammar_knows_the_tokens_of_each_kind(tmp_path):
    from llguidance import LLMatcher, LLTokenizer

    for at, make in enumerate((make_tokenizer, make_metaspace_tokenizer)):
        ours = load_tokenizer(make(tmp_path / str(at)))
        known = LLTokenizer(ours.spec(), n_vocab=len(ours), eos_token=ours.eos_id)
        matcher = LLMatcher(known, LLMatcher.grammar_from_regex("def [a-z]+ é日"))
        assert matcher.consume_tokens(ours.encode("def total é日")), matcher.get_error()
        assert matcher.is_accepting()
        assert not LLMatcher(known, LLMatcher.grammar_from_regex("def")).consume_tokens(
            ours.encode(" def")
        )


# -- what stands before a document, and what ends a reply --------------------------------------

LLAMA = {"bos_token": "<s>", "eos_token": "</s>"}


@pytest.mark.parametrize(
    "processor, config, bos",
    [
        (True, LLAMA, 1),
        (False, LLAMA, None),
        (True, LLAMA | {"add_bos_token": False}, 1),
        (False, LLAMA | {"add_bos_token": True}, None),
        (True, {"eos_token": "</s>"}, 1),
        (True, LLAMA | {"tokenizer_class": "LlamaTokenizerFast", "add_bos_token": True}, 1),
        (False, LLAMA | {"tokenizer_class": "LlamaTokenizerFast"}, None),
    ],
)
def test_what_stands_before_a_document(tmp_path, processor, config, bos):
    from transformers import AutoTokenizer

    make_metaspace_tokenizer(tmp_path, bos=processor)
    config = {"tokenizer_class": "PreTrainedTokenizerFast"} | config
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    assert load_tokenizer(tmp_path).bos_id == bos
    theirs = AutoTokenizer.from_pretrained(tmp_path)("def")["input_ids"]
    assert (theirs[0] == 1) == (bos == 1)


@pytest.mark.parametrize("bos", ["<s>", {"content": "<s>"}, None])
def test_a_llama_tokenizer_whose_config_asks_for_a_bos(tmp_path, bos):
    make_metaspace_tokenizer(tmp_path, bos=False)
    config = {"tokenizer_class": "LlamaTokenizerFast", "add_bos_token": True, "bos_token": bos}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config | {"eos_token": "</s>"}))
    assert load_tokenizer(tmp_path).bos_id == (1 if bos else None)


def test_a_byte_level_model_may_have_a_bos_too(tmp_path):
    single = [{"SpecialToken": {"id": "<fim_pad>", "type_id": 0}}, {"Sequence": {"id": "A"}}]
    template = {"type": "TemplateProcessing", "single": single}
    processor = {"type": "Sequence", "processors": [{"type": "ByteLevel"}, template]}
    assert load_tokenizer(edited(tmp_path, post_processor=processor)).bos_id == 4
    assert load_tokenizer(make_tokenizer(tmp_path)).bos_id is None


@pytest.mark.parametrize(
    "listed, eos, ends",
    [
        ([2, 5], 0, {0, 2, 5}),  # tokenizer_config.json names 0
        (5, 0, {0, 5}),
        ([], 0, {0}),
        (None, 0, {0}),
        ([10**9, -1, "x", None, True, 200], 0, {0}),  # of no special token
    ],
)
def test_all_that_ends_a_reply(tmp_path, listed, eos, ends):
    make_tokenizer(tmp_path)
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": listed}))
    tokenizer = load_tokenizer(tmp_path)
    assert (tokenizer.eos_id, tokenizer.end_ids) == (eos, ends)
    (tmp_path / "tokenizer_config.json").unlink()
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.eos_id == (listed[0] if listed == [2, 5] else listed if listed == 5 else 0)


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
