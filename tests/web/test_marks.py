"""Marks over the parts of a reply: exactly what is shown of them, and nothing else of the page."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.web.pages.chat import code
from assistant.web.pages.chat.markdown import Part, render
from tests.web.test_markdown import Elements, is_inert


@pytest.fixture(autouse=True, scope="module", params=["coloured", "plain"])
def time(request):
    """Code is coloured, or the time for it is always over."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(code, "clock", lambda: 0.0)
        patch.setattr(code, "COLOURS_S", 1.0 if request.param == "coloured" else 0.0)
        yield


class Marked(Elements):
    """The characters of a page, each with the numbers of the parts that are marked over it."""

    def __init__(self, html):
        self.over, self.marks, self.heading, self.shown = [], [], False, []
        super().__init__(html)

    def handle_starttag(self, tag, attributes):
        assert "mark" not in self.open  # a mark holds no element
        super().handle_starttag(tag, attributes)
        self.heading |= ("class", "code-head") in attributes
        if tag == "mark":
            self.over = dict(attributes)["data-parts"].split()
            self.marks.append("")

    def handle_endtag(self, tag):
        super().handle_endtag(tag)
        self.heading &= tag != "div"
        self.over = [] if tag == "mark" else self.over

    def handle_data(self, data):
        super().handle_data(data)
        if not self.heading:
            self.shown += [(character, self.over) for character in data]
        if self.over:
            assert "\n" not in data
            self.marks[-1] += data


def marked(text, *stretches):
    html = render(text, [Part(*each, "short") for each in stretches])
    for body in re.findall(r'(?s)<pre class="code-text">(.*?)</pre>', html):
        for line in re.sub(r"</?span.*?>", "", body).split("\n"):
            assert not re.search(r"^<mark[^>]*>\s|\s</mark>$", line)
    return Marked(html)


def of(text, part):
    return text.index(part), text.index(part) + len(part)


TABLE = "| a b | c |\n|--|--|\n| b | b \\| `b` |\n"
CODE = "x\n\n\tdef f():\n\n\t\treturn  1 \ny"


@pytest.mark.parametrize(
    "text, part, marks",
    [
        ("one two two three", "two t", ["two t"]),
        ("one  \n  two\\\nthree", "e  \n  two\\\nth", ["e", "two", "th"]),
        ("a **b c** d", "b c** d", ["b c", " d"]),
        ("a **b c** d", "a **", ["a "]),
        ("***a*** ~~b~~ 2 * 3 _4", "a*** ~~b~~ 2 * 3 _4", ["a", " ", "b", " 2 * 3 _4"]),
        ("a ``b ` c`` d", "``b ` c", ["b ` c"]),
        ("a `b\nc` d", "b\nc", ["b", "c"]),
        ("x `x` x", "x` x", ["x", " x"]),
        ("[a b](http://a.b/c 'd') e", "b](http://a.b/c 'd') e", ["b", " e"]),
        ("[[a](http://a.b)]", "[[a](http://a.b)]", ["[", "a", "]"]),
        ("[a b]\n\n[a b]: http://a.b/c", "b]\n\n[a b]: http://a.b/c", ["b]"]),
        ("a <http://a.b/c> d", "/c> d", ["/c", " d"]),
        ("a &amp; b &lt;", "&amp; b &lt;", ["& b <"]),
        ("a &amp; b", "mp", ["&"]),
        ("a&#10;b", "a&#10;b", ["a", "b"]),
        ("a \\* b", "\\", []),
        ("a ** b", "* b", ["* b"]),
        ("a \\* b \\c", "\\* b \\c", ["* b \\c"]),
        ("# a\n\n## # b ##\n\n1. # 1\n", "a\n\n## # b ##\n\n1. # 1\n", ["a", "# b", "1"]),
        ("a b\nc\n===\nd", "b\nc\n===\nd", ["b", "c", "d"]),
        ("> a\n> > b\nc\n> - d", "a\n> > b\nc\n> - d", ["a", "b", "c", "d"]),
        ("1. 1\n   - 1\n\n     1 ", "1. 1\n   - 1\n\n     1 ", ["1", "1", "1"]),
        ("- a\n\n  ```c\n  a  b\n    a\n  ```\n", "a  b\n    a\n  `", ["a  b", "a"]),
        (">     a b\n>\n>       c", "a b\n>\n>       c", ["a b", "c"]),
        ("-\t a\n\n\t\tb\tc", "a\n\n\t\tb\tc", ["a", "b\tc"]),
        ("```c\n// a\n    int b", "a\n    int", ["a", "int"]),
        (CODE, "f():\n\n\t\treturn  1 \ny", ["f():", "return  1", "y"]),
        ("```\n" + CODE, "f():\n\n\t\treturn  1 \ny", ["f():", "return  1", "y"]),
        (TABLE, "b | c |\n|--|--|\n| b | b \\| `b` |\n", ["b", "c", "b", "b | ", "b"]),
        ("10. 1 | 2\n    ---|---\n    1 | 2", "1 | 2", ["1", "2"]),
        ("1 | 1 | 1\n-|-|-", "| 1\n", ["1"]),
        ("1. # 1", "# 1", ["1"]),
        ("- a | b\n---|---", "- a | b", ["- a", "b"]),
        ("😀 a 😀\n```\n😀 b\n```\n", "a 😀\n```\n😀 b", ["a 😀", "😀 b"]),
        ("\u00a0\nb\nb", "b", []),  # a line that only Unicode knows as blank
        ("![a](http://a.b)", "a", ["a"]),
        ("<b>a</b>", "b>a<", ["b>a<"]),
        ("```py\nx = 1", "```py", []),
        ("a", "", []),
    ],
)
def test_what_is_marked(text, part, marks):
    shown = marked(text, of(text, part))
    joined = "\n".join(shown.marks)
    if "```" in text or "\tdef" in text:  # a mark is inside of each coloured word
        joined, marks = (re.sub(r"\s", "", each) for each in (joined, "".join(marks)))
    else:
        marks = "\n".join(marks)
    assert joined == marks
    assert shown.text == marked(text).text


def test_which_parts_lie_over_a_stretch():
    text = "one two three four"
    parts = [Part(0, 13, "known"), Part(4, 7, "short"), Part(4, 18, "long"), Part(5, 5, "none")]
    html = render(text, [*parts, Part(3, 8, '"&'), Part(90, 99, "far")])
    assert re.findall(r'<mark class="match (.*?)" data-parts="(.*?)">(.*?)</mark>', html) == [
        ("known", "0", "one"),
        ("&quot;&amp;", "4 0", " "),
        ("short", "1 4 0 2", "two"),
        ("&quot;&amp;", "4 0 2", " "),
        ("known", "0 2", "three"),
        ("long", "2", " four"),
    ]


def test_marks_lie_inside_of_the_colours():
    mark = '<mark class="match long" data-parts="0">'
    html = render("```python\ndef f(): pass", [Part(12, 15, "long")])
    body = html.partition('<pre class="code-text">')[2]
    assert body.startswith(
        f'<span class="k">de{mark}f</mark></span>{mark} </mark><span class="nf">{mark}f</mark>'
        if "<span" in body
        else f"de{mark}f f</mark>(): pass"
    )


def test_parts_of_another_text_are_not_marked():
    text = "a\u200bb\x1b[1m c"  # what is shown is what is left of it
    assert render(text, [Part(0, 9, "long")]) == render("ab c")
    assert "<mark" not in render("a\r# b", [Part(0, 9, "long")])


FRAGMENTS = [
    *("x", "x x", "# x", "## x ##", "x | x", "`x`", "`` x ` x ``", "**x**", "*x*", "~~x~~", "\t"),
    *("- ", "* x", "+ x", "1. ", "2) x", "> ", ">x", "   ", "    ", "```\n", "```py\n", "~~~"),
    *("| x | x |\n|---|---|\n", "| x | x \\| x |", "|---|---|", "---", "===", "  \n", "_", "***"),
    *("[x](http://a.b)", "[x]: http://a.b/x\n", '"x"', "<http://a.b/x>", "[x][y]", "[", "]", "~"),
    *("\\", "\\*", "\\x", "&amp;", "&#120;", "é", "😀", "[x `x` *x* x](http://x.y)", "\n", "\n\n"),
    *("\n- x", "\n> x", "\n```\nx = x  # x\n\tx\n", "\n---\n", "\n===\n", "\n    x  x\n"),
]
FIRST = 0x4E00


@given(
    st.lists(st.sampled_from(FRAGMENTS), max_size=15).map("".join),
    st.lists(st.tuples(st.integers(0, 99), st.integers(0, 50)), max_size=4),
)
def test_exactly_the_parts_are_marked(text, stretches):
    """Each x becomes a character that is nowhere else in the text."""
    letters = iter(range(FIRST, FIRST + len(text)))
    text = re.sub("x", lambda _: chr(next(letters)), text)
    stretches = [(start, start + length) for start, length in stretches]
    shown = marked(text, *stretches)
    assert shown.text == is_inert(render(text)).text
    lengths = {str(index): end - start for index, (start, end) in enumerate(stretches)}
    for letter, over in shown.shown:
        if FIRST <= ord(letter) < FIRST + len(text):
            at = text.index(letter)
            parts = [i for i, (start, end) in enumerate(stretches) if start <= at < end]
            assert over == sorted(map(str, parts), key=lengths.get), letter


WORDS = st.text(alphabet="ab1.,() \t\né😀", max_size=40)


@given(WORDS, WORDS, WORDS, st.sampled_from(["", "```\n", "```python\n"]))
def test_what_is_marked_is_the_part(before, part, after, fence):
    if not fence:  # no list, and no code that is indented
        before, part, after = (
            re.sub(r"\n[\t ]*|1", "\n", f"é{each}a") for each in (before, part, after)
        )
    start = len(fence) + len(before)
    shown = marked(fence + before + part + after, (start, start + len(part)))
    assert "".join("".join(shown.marks).split()) == "".join(part.split())
