"""A GGUF file's tokenizer: the same ids as the tokenizer.json that it was made from, and as
llama.cpp cuts and merges."""

import json
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from assistant.engine.checkpoint import gguf_tokenizer
from assistant.engine.checkpoint.gguf import GgufTokenizer
from assistant.engine.checkpoint.gguf_tokenizer import _CUTS, spec_from_gguf, tokenizer_from_gguf
from assistant.engine.tokenizer import load_tokenizer
from assistant.errors import CheckpointError
from tests.support.checkpoints import (
    CODELLAMA,
    METASPACE,
    SPECIAL,
    make_metaspace_tokenizer,
    make_tokenizer,
)

PATH = Path("model.gguf")
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6
TEXTS = st.lists(
    st.one_of(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="▁"), max_size=9),
        st.sampled_from(
            ["def ", "numbers", " ", "    ", "\n", "\r\n", "\t", "1234", "é日🙂", "a▁b", *SPECIAL]
        ),
    ),
    max_size=8,
).map("".join)


def said(folder, **changes):
    """What a GGUF file would say of the tokenizer in `folder`."""
    spec = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    vocab, merges = spec["model"]["vocab"], spec["model"]["merges"]
    special = {token["content"] for token in spec["added_tokens"]}
    tokens = sorted(vocab, key=vocab.get)
    ranks = {"".join(pair): rank for rank, pair in enumerate(merges)}
    metaspace = bool(spec["model"].get("byte_fallback"))
    kinds = [
        CONTROL if text in special else BYTE if metaspace and text.startswith("<0x") else NORMAL
        for text in tokens
    ]
    values = {
        "model": "llama" if metaspace else "gpt2",
        "pre": "default" if metaspace else "starcoder",
        "tokens": tokens,
        "scores": [-float(ranks.get(text, 10_000)) for text in tokens] if metaspace else None,
        "types": kinds,
        "merges": None if metaspace else [" ".join(pair) for pair in merges],
        "bos_id": 1 if metaspace else 0,
        "eos_id": 2 if metaspace else 0,
        "eot_id": None,
        "add_bos": metaspace,
        "chat_template": None,
    }
    return GgufTokenizer(**{**values, **changes})


@pytest.fixture(scope="module", params=[make_tokenizer, make_metaspace_tokenizer])
def both(request, tmp_path_factory):
    """(that of the GGUF file, that of the tokenizer.json)"""
    folder = request.param(tmp_path_factory.mktemp("tokenizer"))
    return tokenizer_from_gguf(said(folder), PATH), load_tokenizer(folder)


@given(TEXTS)
def test_a_text_s_ids_are_those_of_the_tokenizer_json(both, text):
    ours, theirs = both
    for trusted in (False, True):
        for start in (False, True):
            ids = theirs.encode(text, trusted=trusted, start=start)
            assert ours.encode(text, trusted=trusted, start=start) == ids
        assert ours.decode(ours.encode(text, trusted=trusted)) == text


def test_what_else_it_says(both):
    ours, theirs = both
    assert ours.special == theirs.special and len(ours) == len(theirs)
    assert (ours.eos_id, ours.bos_id, ours.end_ids) == (
        theirs.eos_id, theirs.bos_id, theirs.end_ids,
    )  # fmt: skip


def sentencepiece(text, scores):
    """As SentencePiece merges: whatever two neighbours make the best token, the first of these."""
    parts = list(text.replace(" ", "▁"))
    while True:
        pairs = [a + b for a, b in zip(parts, parts[1:], strict=False)]
        known = [(-scores[pair], at) for at, pair in enumerate(pairs) if pair in scores]
        if not known:
            return parts
        at = min(known)[1]
        parts[at : at + 2] = [pairs[at]]


PIECES = ["▁", "a", "b", "aa", "ab", "ba", "aab", "aba", "▁a", "▁▁", "▁▁▁▁", "▁ab", "baa",
          "aabaa", "bb", "abb", "▁▁a", "▁▁▁", "aaaa", "bbb"]  # fmt: skip


@given(st.text("ab ", max_size=24), st.permutations(PIECES))
def test_merges_do_what_sentencepiece_does(text, ranked):
    scores = {token: -float(rank) for rank, token in enumerate(ranked)}
    tokens = [*METASPACE, *(f"<0x{byte:02X}>" for byte in range(256)), *ranked]
    kinds = [UNKNOWN, CONTROL, CONTROL, *[BYTE] * 256, *[NORMAL] * len(ranked)]
    found = GgufTokenizer(
        "llama", "default", tokens, [*[0.0] * 259, *scores.values()], kinds, None, 1, 2, None,
        True, None,
    )  # fmt: skip
    ours = tokenizer_from_gguf(found, PATH)
    assert [tokens[id] for id in ours.encode(text)] == sentencepiece(text, scores)


def test_tokens_that_are_all_parts_of_one_text_are_refused(monkeypatch):
    """Each in a hundred ways: 288,000 merges of 7,260 tokens, of which no list is made."""
    monkeypatch.setattr(gguf_tokenizer, "MERGES_MAX", 1_000, raising=False)
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 120)))
    tokens = [text[a:b] for b in range(1, 121) for a in range(b)]
    found = GgufTokenizer(
        "llama", "default", tokens, None, [NORMAL] * len(tokens), None, None, None, None,
        False, None,
    )  # fmt: skip
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match="more than 1,000 merges"):
            spec_from_gguf(found, PATH)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


# How each name cuts this text, by its patterns in llama.cpp's src/llama-vocab.cpp.
TEXT = "I'LL x1234==\n\n  f();\r\n\t日本"
CUT = {
    "default": "I|'|LL| x|123|4|==|\n\n | f|();|\r\n|\t|日本",
    "gpt-2": "I|'|LL| x|1234|==|\n\n | f|();|\r\n|\t|日本",
    "starcoder": "I|'|LL| x|1|2|3|4|==|\n\n | f|();|\r\n|\t|日本",
    "llama-bpe": "I|'LL| x|123|4|==\n\n| | f|();\r\n|\t日本",
    "qwen2": "I|'LL| x|1|2|3|4|==\n\n| | f|();\r\n|\t日本",
    "seed-coder": "I|'LL| x|1|2|3|4|==|\n\n| | f|();|\r\n|\t日本",
    "deepseek-coder": "I|'|LL| x|1|2|3|4|==|\n|\n| | f|();|\r|\n|\t|日本",
}
ALIKE = {
    "gpt-2": ("mellum", "olmo"),
    "starcoder": ("refact", "smollm", "codeshell"),
    "llama-bpe": ("llama3", "llama-v3"),
    "qwen2": ("deepseek-r1-qwen",),
}


@pytest.mark.parametrize("name", [*CUT, ""])
def test_where_a_text_is_cut(tmp_path, name):
    make_tokenizer(tmp_path)
    for pre in (name, *ALIKE.get(name, ())):
        spec = spec_from_gguf(said(tmp_path, pre=pre), PATH)
        cuts = Tokenizer.from_str(json.dumps(spec)).pre_tokenizer.pre_tokenize_str(TEXT)
        pieces = [TEXT[start:end] for _, (start, end) in cuts]
        assert "|".join(pieces) == CUT[name or "default"]
        ours = tokenizer_from_gguf(said(tmp_path, pre=pre), PATH)
        assert ours.decode(ours.encode(TEXT)) == TEXT


def test_all_cuts_are_tried():
    assert {*CUT, *(name for names in ALIKE.values() for name in names)} == {*_CUTS}


@pytest.mark.parametrize("pre, whole", [("llama-bpe", True), ("qwen2", False)])
def test_a_word_that_is_a_token_may_need_no_merges(tmp_path, pre, whole):
    found = said(make_tokenizer(tmp_path), pre=pre)
    tokens, merges = [*found.tokens, "Ġzq"], found.merges
    changed = said(tmp_path, pre=pre, tokens=tokens, types=[*found.types, NORMAL], merges=merges)
    ids = tokenizer_from_gguf(changed, PATH).encode(" zq")
    assert (ids == [len(tokens) - 1]) == whole


def test_which_tokens_are_special(tmp_path):
    """Also what ends a text, or a turn, whatever kind the file says it is."""
    found = said(make_tokenizer(tmp_path))
    more = ["<think>", "<|im_end|>", "[PAD7]"]
    tokens, size = [*found.tokens, *more], len(found.tokens)
    kinds = [*found.types, USER_DEFINED, NORMAL, 5]
    changed = said(tmp_path, tokens=tokens, types=kinds, eos_id=size + 1, eot_id=2, bos_id=0)
    ours = tokenizer_from_gguf(changed, PATH)
    assert set(ours.special) == {*SPECIAL, "<think>", "<|im_end|>"}
    assert (ours.eos_id, ours.end_ids) == (size + 1, {size + 1, 2})
    assert ours.bos_id is None and len(ours) == size + 3
    for text in more:
        assert not set(ours.encode(text)) & {size, size + 1, size + 2}
        assert ours.decode(ours.encode(text)) == text
    assert ours.encode("<think>", trusted=True) == [size]
    spec = {t["content"]: t["special"] for t in spec_from_gguf(changed, PATH)["added_tokens"]}
    assert spec["<think>"] is False and spec["<|im_end|>"] and spec["<fim_prefix>"]


@pytest.mark.parametrize("add, bos", [(True, 0), (False, None)])
def test_what_stands_before_a_document(tmp_path, add, bos):
    assert tokenizer_from_gguf(said(make_tokenizer(tmp_path), add_bos=add), PATH).bos_id == bos


def test_tokens_that_spell_fill_in_the_middle(tmp_path):
    ours = tokenizer_from_gguf(said(make_metaspace_tokenizer(tmp_path)), PATH)
    for text in CODELLAMA:
        assert ours.encode(text, trusted=True) == [ours.special[text]]


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"model": "bert"}, "of the kind 'bert'; gpt2 and llama are supported"),
        ({"model": ""}, "of the kind ''"),
        ({"pre": "tekken"}, "as 'tekken' does, which is not supported; default, gpt-2, .*qwen2"),
        ({"merges": None}, "no merges"),
        ({"merges": ["a b", "no"]}, "cannot be used"),
        ({"merges": ["zzz qqq"]}, "cannot be used"),
        ({"eos_id": None, "tokens": [f"t{n}" for n in range(400)], "types": [1] * 400,
          "bos_id": None, "merges": []}, "no token that ends a document"),
        ({"tokens": ["a"] * 400, "types": [1] * 400, "merges": []}, "not a byte-level BPE"),
        ({"tokens": [""] * 400, "types": [CONTROL] * 400, "merges": []}, "cannot be used"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_said_in_a_sentence(tmp_path, changes, words):
    make_tokenizer(tmp_path)
    with pytest.raises(CheckpointError, match=words) as caught:
        tokenizer_from_gguf(said(tmp_path, **changes), PATH)
    assert str(PATH) in str(caught.value) and "\n" not in str(caught.value)
    assert tokenizer_from_gguf(said(tmp_path), PATH).encode("a")


def test_a_token_as_long_as_a_book_makes_no_merges(tmp_path):
    found = said(make_metaspace_tokenizer(tmp_path))
    tokens = [*found.tokens, "a" * 1_000_000]
    changed = said(
        tmp_path, tokens=tokens, scores=[*found.scores, 0.0], types=[*found.types, NORMAL]
    )
    ours = tokenizer_from_gguf(changed, PATH)
    assert ours.encode("def") == tokenizer_from_gguf(found, PATH).encode("def")
