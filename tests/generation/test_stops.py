import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from assistant.generation.stops import StopScanner

MARKERS = ("Human:", "Assistant:")
CHAT = {"markers": MARKERS, "separator": "-----", "strip": True}


def scan(pieces, **stops):
    """What is shown of `pieces`, and the stop that fired."""
    scanner = StopScanner(**stops)
    shown = [scanner.feed(piece) for piece in pieces]
    return "".join(shown) + scanner.flush(), scanner.fired


@pytest.mark.parametrize(
    "text, shown, fired",
    [
        ("Hello.", "Hello.", None),
        ("  Hello. \n\n", "Hello.", None),
        ("", "", None),
        (" \n ", "", None),
        # Markers stop at the start of a line.
        ("One.\n\nHuman: two", "One.", "Human:"),
        ("One.\nAssistant: two", "One.", "Assistant:"),
        ("Human: one", "", "Human:"),
        (" \n Human: one", "", "Human:"),
        ("One. Human: two", "One. Human: two", None),
        ("One.\n  Human: two", "One.\n  Human: two", None),
        ("One.\nHumans: two", "One.\nHumans: two", None),
        ("One.\nHuman", "One.\nHuman", None),
        ("```\nHuman:\n```", "```", "Human:"),
        # The separator stops as a whole line.
        ("One.\n\n-----\n\nHuman:", "One.", "-----"),
        ("One.\n----- \t\r\nTwo", "One.", "-----"),
        ("One.\n-----", "One.", "-----"),
        ("One.\n-----  ", "One.", "-----"),
        ("-----\nTwo", "", "-----"),
        (" -----", "", "-----"),
        ("One.\n------\nTwo", "One.\n------\nTwo", None),
        ("One.\n-----|-----\nTwo", "One.\n-----|-----\nTwo", None),
        ("One.\n----- x\nTwo", "One.\n----- x\nTwo", None),
        ("One.\n ----- \nTwo", "One.\n ----- \nTwo", None),
        ("One. -----\nTwo", "One. -----\nTwo", None),
        ("One.\n----\n-\nTwo", "One.\n----\n-\nTwo", None),
        # But not inside a fence.
        ("```\n-----\n```", "```\n-----\n```", None),
        ("```yaml\n-----\n```\n-----\n", "```yaml\n-----\n```", "-----"),
        ("```\n-----", "```\n-----", None),
        ("~~~~\n-----\n~~~\n-----\n~~~~~ \n-----", "~~~~\n-----\n~~~\n-----\n~~~~~", "-----"),
        ("```\n~~~\n-----\n", "```\n~~~\n-----", None),
        ("```\n``` x\n-----\n", "```\n``` x\n-----", None),
        ("``` a`b\n-----\n", "``` a`b", "-----"),
        ("``\n-----\n", "``", "-----"),
        ("1. a\n    ```\n-----\n    ```\n-----", "1. a\n    ```\n-----\n    ```", "-----"),
        ("```\n    ```\n-----\n```\n-----", "```\n    ```\n-----\n```", "-----"),
    ],
)
def test_chat_stops(text, shown, fired):
    assert scan([text], **CHAT) == (shown, fired)
    assert scan(text, **CHAT) == (shown, fired)


@pytest.mark.parametrize(
    "text, strings, shown, fired",
    [
        ("abcabd", ("abd",), "abc", "abd"),
        ("aab", ("ab",), "a", "ab"),
        ("one two", ("two", "one"), "", "one"),
        ("xabcd", ("bc", "abcd"), "xa", "bc"),  # the earliest that is complete
        ("xabc", ("c", "abc", "bc"), "x", "abc"),  # of those complete together the longest
        ("a\n-----\nb", ("\n",), "a", "\n"),
        ("a😀b", ("😀",), "a", "😀"),
        ("  a  ", ("b",), "  a  ", None),
        ("ab", ("abc",), "ab", None),
        ("aaa", ("a",), "", "a"),
    ],
)
def test_strings_stop_anywhere(text, strings, shown, fired):
    assert scan([text], strings=strings) == (shown, fired)
    assert scan(text, strings=strings) == (shown, fired)


def test_a_string_that_ends_with_the_separator_line_loses_to_it():
    assert scan(["a\n-----\nb"], separator="-----", strings=("\n-", "--\n")) == ("a", "\n-")
    assert scan(["a\n-----\nb"], separator="-----", strings=("--\n",)) == ("a\n", "-----")


def test_text_is_given_out_as_soon_as_it_is_safe():
    scanner = StopScanner(**CHAT, strings=("END",))
    steps = [
        (" ", ""),
        ("Hello", "Hello"),
        (" \n", ""),
        ("Hum", ""),
        ("bug!", " \nHumbug!"),
        (" E", ""),
        ("N", ""),
        ("T", " ENT"),
        ("\n", ""),
        ("-----", ""),
        ("-", "\n------"),
        ("\nHuman", ""),
        (":", ""),
        ("Hello", ""),
    ]
    for piece, shown in steps:
        assert scanner.feed(piece) == shown
    assert scanner.fired == "Human:"
    assert scanner.flush() == ""


def test_in_a_fence_a_separator_is_not_held_back():
    scanner = StopScanner(**CHAT)
    pieces = ["```\n", "-----", "\n```", "\n-----", " x"]
    assert [scanner.feed(piece) for piece in pieces] == ["```", "\n-----", "\n```", "", "\n----- x"]


def test_a_separator_that_begins_a_marker():
    stops = {"markers": ("--> You:",), "separator": "--", "strip": True}
    assert scan("```\n--\n```\n--> You: x", **stops) == ("```\n--\n```", "--> You:")
    assert scan("One\n--\nTwo", **stops) == ("One", "--")


def first_stop(text, markers, separator, strings):
    """The definition: the earliest position that completes a stop; there the longest. Returns its
    start, and the stop."""
    for end in range(1, len(text) + 1):
        found = [(len(s), s) for s in strings if text[:end].endswith(s)]
        for marker in markers:
            before = text[: end - len(marker)]
            if text[:end].endswith(marker) and (not before.strip() or before.endswith("\n")):
                found.append((len(marker), marker))
        if separator is not None and text[end - 1] == "\n":
            found += separator_line(text[: end - 1], 1, separator)
        if found:
            length, stop = max(found)
            return end - length, stop
    if separator is not None:
        for length, stop in separator_line(text, 0, separator):
            return len(text) - length, stop
    return len(text), None


def separator_line(text, more, separator):
    before, _, line = text.rpartition("\n")
    if not before.strip():
        line = line.lstrip()
    if line.rstrip(" \t\r") != separator or open_fence(before):
        return []
    return [(len(line) + more, separator)]


def open_fence(text):
    """Whether `text` ends inside a code fence, as a Markdown parser sees it."""
    parser = MarkdownIt("commonmark").disable(["html_block", "reference", "list", "code"])
    parser = parser.disable(["blockquote", "heading"])
    lines = text.lstrip().split("\n")
    tokens = parser.parse(text.lstrip() + "\n\x01")
    return any(t.type == "fence" and t.map[1] == len(lines) + 1 for t in tokens)


PIECES = st.one_of(
    st.sampled_from(
        ["Human:", "Assistant:", "Human", ":", "-----", "--", "-", "\n", "\n\n", " ", "```", "~~~"]
        + ["````", "`", "END", "EN", "E", "\nHuman:", "\n-----\n", "\n```\n", "😀", "👩\u200d🚀"]
    ),
    st.text(max_size=3),
)
TEXTS = st.lists(PIECES, max_size=16).map("".join)
STOPS = st.lists(
    st.sampled_from(["END", "ND", "D\n", "E", "😀", "\u200d", "\n\n", "---", ":", "aab", "ab"]),
    max_size=3,
    unique=True,
).map(tuple)


def cut(data, text):
    """`text` in pieces, some of them empty."""
    places = data.draw(st.lists(st.integers(0, len(text)), max_size=12).map(sorted))
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


@settings(max_examples=500)
@given(st.data(), TEXTS, STOPS, st.sampled_from([None, "-----"]), st.booleans())
def test_streamed_equals_whole_for_every_cut(data, text, strings, separator, strip):
    stops = {"markers": MARKERS, "separator": separator, "strings": strings}
    start, stop = first_stop(text, **stops)
    expected = text[:start].strip() if strip else text[:start]
    for pieces in ([text], text, cut(data, text)):
        assert scan(pieces, **stops, strip=strip) == (expected, stop)


@given(st.data(), TEXTS)
def test_the_order_of_stops_does_not_matter(data, text):
    strings = data.draw(st.permutations(["END", "ND", "E", "ab", "\n-"]))
    expected = scan([text], **CHAT, strings=("END", "ND", "E", "ab", "\n-"))
    assert scan([text], **CHAT, strings=tuple(strings)) == expected


@example("a" * 40)
@given(TEXTS)
def test_without_a_stop_nothing_is_lost(text):
    assert scan(text) == (text, None)
    assert scan(text, strip=True) == (text.strip(), None)
