"""Maths in replies: drawn where it is maths, text where it is not, and never anything else."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.web.pages.chat import inline
from assistant.web.pages.chat.markdown import Growing, Part, render
from assistant.web.pages.chat.maths import CHARS_MAX, mathml
from tests.web.test_markdown import MATHS, grown, is_inert

MATHS_TEXTS = [
    "$x$",
    "$5$",
    "$-1$",
    "$O(n)$",
    "$O(n log n)$",
    "$O(n \\log n)$",
    "$x^2 + y^2 = z^2$",
    "$f'(x)$",
    "$a,b$",
    "$i < n$",
    "$x_{max}$",
    "$\\frac{a}{b}$",
    "$\\text{speed of light} = c$",
    "$\\begin{pmatrix}a & b\\\\ c & d\\end{pmatrix}$",
    "$$x = 1$$",
    "$$\n\\begin{aligned}\na &= b \\\\\n  &= c\n\\end{aligned}\n$$",
    "$$ speed = \\frac{distance}{time} $$",
    "\\(O(n)\\)",
    "\\[\\sum_{i=1}^n i = \\frac{n(n+1)}{2}\\]",
    "\\[\nx\n\\]",
]
PROSE = [
    "It costs $5 and $10.",
    "It costs $1,000, or $2,000 a year.",
    "From $5-$10, US$5.",
    "Between $5 and 10$ each.",
    "echo $HOME and $PATH",
    "cd $HOME/$USER:$PATH",
    "$x and $y are variables, $name$ a place.",
    "export $FOO_BAR$ and $max_iter$",
    "kill $$; echo $$ and $$",
    "${A}${B} $(ls)$(pwd) $1$2",
    "for ($i = 0; $i < $n; $i++)",
    "$('#a').on($)",
    "^foo$|^bar$",
    "a \\$x\\$ b",
    "`$x$` and `$$y$$`",
    "\\[see the note\\] and \\[a\\](b) c\\)",
    "$ x $ $x $ $$ $$$ $",
    "\\( \\[",
]


@pytest.mark.parametrize("text", MATHS_TEXTS)
@pytest.mark.parametrize("frame", ["{}", "So {}, and **{}**.", "- {}", "|a|\n|-|\n|{}|", "# {}"])
def test_maths_is_drawn(text, frame):
    if "\n" in text or ("|" in frame and "\\\\" in text):
        frame = "{}"
    shown = is_inert(render(frame.replace("{}", text)))
    assert shown.tags.count("math") == frame.count("{}")
    assert "$" not in shown.text and "\\" not in shown.text


@pytest.mark.parametrize("text", PROSE)
def test_what_is_no_maths_stays_text(text):
    shown = is_inert(render(text))
    assert "math" not in shown.tags
    assert shown.text.count("$") == text.count("$")


def test_maths_in_lines_of_its_own_is_set_apart():
    assert '<span class="formula"><math display="block">' in render("$$x$$")
    assert render("\\(x\\)") == '<p dir="auto"><math><mrow><mi>x</mi></mrow></math></p>\n'


@pytest.mark.parametrize(
    "source",
    [
        "\\frac{",
        "x^",
        "x_1_2",
        "\\left( x",
        "{" * 300,
        "^" * 300,
        "\\sqrt{" * 60 + "x" + "}" * 60,
        "\\unheardof{x} + 1",
        "\\def\\a{xx}\\def\\b{\\a\\a}\\b + 1",
        "\\newcommand{\\a}{\\a\\a}\\a + 1",
        "\\unicode{x3c} + 1",
        "\\rule{9em}{9em} + 1",
    ],
)
def test_what_cannot_be_drawn_is_shown_as_it_was_typed(source):
    assert mathml(source, False) is None
    assert is_inert(render(f"**a** ${source}$")).text == f"a ${source}$\n"


@pytest.mark.parametrize(
    "source",
    [
        "\\href{javascript:alert(1)}{x}",
        "\\href{https://evil.example}{x}",
        "\\style{position:fixed}{x}",
        "\\class{act}{x}",
        "\\text{<img src=x onerror=alert(1)>}",
        "\\text{&#60;script&#62;alert(1)&#60;/script&#62;}",
        "\\text{&lt;b&gt;}",
        '\\color{red" onclick="alert(1)}{x}',
        "\\color{url(https://evil.example)}{x}",
        "\\hspace{9999em}x",
        "\\mbox{$<b>$}",
        "x <script> y",
        "\\operatorname{<b>}",
        "\\begin{<b>}x\\end{<b>}",
    ],
)
def test_hostile_maths_is_inert(source):
    html = mathml(source, True) or ""
    shown = is_inert(html)
    assert set(shown.tags) <= MATHS | {"span"}
    names = {name for name, _ in shown.attributes}
    assert not names & {"href", "style", "mathcolor", "mathbackground", "id"}
    assert not re.search(r"\d\dem", html)
    for frame in ("${}$", "$${}$$", "\\({}\\)", "\\[{}\\]"):
        is_inert(render(frame.replace("{}", source)))


LATEX = st.sampled_from(
    [
        "\\frac",
        "{",
        "}",
        "^",
        "_",
        "x",
        "1",
        "&",
        "\\\\",
        "\\text{<b>",
        "\\href{javascript:a}",
        "\\",
    ]
    + ["\\begin{matrix}", "\\end{matrix}", "\\left(", "\\right)", "\\sqrt", "[", "]", "<", '"', "'"]
    + ["\\style{x}", "\\class{x}", "\\color{red}", "\\sum", "\\mathbb{R}", "$", "&#60;", " ", "\n"]
)


@given(st.lists(LATEX, max_size=20).map("".join), st.sampled_from(["$", "$$"]))
def test_any_maths_is_inert(source, sign):
    is_inert(mathml(source, False) or "")
    text = f"a {sign}{source}{sign} b"
    marked = is_inert(render(text, [Part(1, len(text) - 1, "long")]))
    assert marked.text == is_inert(render(text)).text
    assert not re.search("<math.*<mark.*</math>", render(text, [Part(0, len(text), "long")]))


@pytest.mark.parametrize("text", [*MATHS_TEXTS, *PROSE])
def test_maths_that_grows_becomes_the_whole(text):
    text = f"One {text} two.\n\n{text}\n\nThree.\n"
    assert grown(text, [1] * len(text))[1] == render(text)


def test_a_long_formula_and_too_many_are_text(monkeypatch):
    long = "x+" * (CHARS_MAX // 2)
    assert "<math" not in render(f"${long}x$")
    monkeypatch.setattr(inline, "MATHS_MAX", 10)
    monkeypatch.setattr("assistant.web.pages.chat.markdown.MATHS_MAX", 10)
    text = "$x+1$\n\n$x+2$\n\n$x+3$\n"
    assert render(text).count("<math") == 2
    assert grown(text, [1] * len(text))[1] == render(text)


@pytest.mark.parametrize(
    "piece", ["$", "$a", "\\(", "\\[a", "$$a ", "$x$ ", "$\\text{", "$x_{", "\\(\\text{a}"]
)
def test_much_of_it_ends(piece):
    text = piece * 5_000
    is_inert(render(text))
    is_inert(Growing().update(text)[1])
