"""Replies as HTML: whatever a text holds, no element, link or request comes from it."""

import itertools
import re
from html import unescape
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.web.pages.chat import code, markdown, maths
from assistant.web.pages.chat.code import COLOURED, EAGER_MAX
from assistant.web.pages.chat.markdown import CELLS_MAX, Growing, Part, render

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '<svg onload="alert(1)"><circle r=9></svg>',
    "<form action=https://evil.example><input type=password name=p></form>",
    '<form id=f></form><button form=f formaction="https://evil.example">go</button>',
    '<div style="position:fixed;inset:0;background:url(https://evil.example/x)">x</div>',
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<video autoplay src=https://evil.example/v.mp4></video>",
    "<a href=javascript:alert(1)>x</a>",
    "<details open ontoggle=alert(1)><summary>x</summary></details>",
    "<!-- --><base href=https://evil.example/><!-- -->",
    "<style>body{display:none}</style>",
    "<custom-element onclick=alert(1)>x</custom-element>",
    "![x](https://evil.example/pixel.png)",
    "![x][y]\n\n[y]: https://evil.example/pixel.png",
    "[![x](https://evil.example/p.png)](javascript:alert(1))",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x]( javascript:alert(1))",
    "[x](<javascript:alert(1)>)",
    "[x](javascript\\:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](data:text/html,<script>alert(1)</script>)",
    "[x](vbscript:msgbox)",
    "[x]\n\n[x]: javascript:alert(1)",
    "<javascript:alert(1)>",
    '[a]: /x "\n```\n"\n<img src=x onerror=alert(1)>\n```\n',
    "$$<img src=x onerror=alert(1)>$$",
    "\\$$$<img src=x onerror=alert(1)>$$$\\$",
    "\\$$<img src=x onerror=alert(1)>\\$$",
    "$$\n```sh\necho $$ <img src=x onerror=alert(1)>\n```\n$$",
    "```sh\necho $$ <img src=x onerror=alert(1)> $$\n```",
    "```mermaid\n<img src=x onerror=alert(1)>\n```",
    "````mermaid\n```mermaid\n<img src=x onerror=alert(1)>\n```\n````",
    '```"><img src=x onerror=alert(1)>\ncode\n```',
    "- a\n  ```\n  code\n<img src=x onerror=alert(1)>\n",
    "> ```\n> code\n<img src=x onerror=alert(1)>\n",
    "```\ncode\n```~\n<img src=x onerror=alert(1)>\n```",
    "~~~\ncode\n~~~`\n<img src=x onerror=alert(1)>\n",
    "| `a | <img src=x onerror=alert(1)> | b` |\n|---|---|---|\n| 1 | 2 | 3 |",
    "\\`<img src=x onerror=alert(1)>`",
    "`a\n\n<img src=x onerror=alert(1)>`",
    "``a`<img src=x onerror=alert(1)>``",
    "`\\`<img src=x onerror=alert(1)>`",
    "<div>\n```\n</div>\n\n<img src=x onerror=alert(1)>\n```",
    "    code\n<img src=x onerror=alert(1)>",
    "%%%LATEX_BLOCK_0%%% <b>x</b>",
]
TAGS = {"p", "br", "hr", "ul", "ol", "li", "pre", "code", "blockquote", "em", "strong", "s", "a"}
TAGS |= {"h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td"}
TAGS |= {"div", "span", "button", "mark"}  # the transcript's own
MATHS = {"math", *maths._TAGS}
VALUES = {
    "href": r"(?is)https?://.*",
    "title": r"(?s).*",
    "class": r"[\w -]+",
    "start": r"\d+",
    "style": r"text-align:(left|right|center)",
    "type": r"button",
    "dir": r"auto|ltr",
    "target": r"_blank",
    "rel": r"noopener noreferrer nofollow",
    "data-parts": r"[\d ]+",
    "data-language": r"\S{1,20}",
    "data-name": r"[^\"'<>]{1,100}",
    "aria-pressed": r"false",
    "aria-label": r"done|to do",
    "role": r"img",
    "display": r"block",
    **dict.fromkeys(maths._ATTRIBUTES, r"[a-z -]+|[+-]?[\d.]+(em|ex|mu|%)?"),
}


@pytest.fixture(autouse=True, scope="module")
def no_time_passes():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(code, "clock", lambda: 0.0)
        yield


class Elements(HTMLParser):
    """The elements that a page would hold, their attributes, and its text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.text, self.open = [], [], "", []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag not in ("br", "hr"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data


def is_inert(html):
    shown = Elements(html)
    assert set(shown.tags) <= TAGS | MATHS
    for name, value in shown.attributes:
        assert re.fullmatch(VALUES[name], value), (name, value)
    assert shown.tags.count("a") == shown.attributes.count(("target", "_blank"))
    return shown


FRAMES = ["{}", "text {} text", "- item\n\n  {}", "> {}", "a `b\n{}", "```html\n{}", "# {}"]


@pytest.mark.parametrize("payload", HOSTILE)
@pytest.mark.parametrize("frame", FRAMES)
def test_hostile_text_is_inert(payload, frame):
    text = frame.replace("{}", payload).strip()
    is_inert(render(text))
    is_inert(render(text, [Part(0, len(text) - 1, "long"), Part(3, len(text) // 2, "known")]))
    finished, growing = Growing().update(text + "\n\nx")
    is_inert("".join(finished))
    is_inert(growing)


HOSTILE_PIECES = st.one_of(
    st.sampled_from(HOSTILE),
    st.sampled_from(
        ["`", "``", "```", "````", "~~~", "\n", "\n\n", "    ", "  ", "- ", "1. ", "> ", "\\", "|"]
        + ["<b>", "&lt;", "](", "]:", "[x]", "!", "$$", "$", '"', "javascript:", "```html\n", "\t"]
    ),
    st.text(max_size=5),
)


@given(st.lists(HOSTILE_PIECES, max_size=12).map("".join), st.lists(st.integers(0, 99), max_size=4))
def test_any_text_is_inert(text, edges):
    parts = [Part(*sorted(pair), "short") for pair in itertools.combinations(edges, 2)]
    assert is_inert(render(text, parts)).text == is_inert(render(text)).text


CODE = 'if a < b && c > d: print("<b>&lt;</b>")'


@pytest.mark.parametrize(
    "text",
    [
        f"```python\n{CODE}\n```",
        f"~~~\n{CODE}\n~~~",
        f"still open:\n\n```python\n{CODE}",
        f"`{CODE}`",
        f"    {CODE}\n\ntext",
        f"1. item\n\n   ```no-such-language\n   {CODE}\n   ```\n\n2. item",
        f"```\n$$ {CODE} $$\n```",
    ],
)
def test_code_is_shown_as_it_is(text):
    assert CODE in is_inert(render(text)).text


def test_markdown_works():
    shown = is_inert(
        render(
            "# Title\n\n1. *one*\n2. **two**\n   - ~~three~~\n\n> quote\n\nSecond\n---\n\n"
            "[link](https://x.example/?a=1&b=2 'title')\n\n| a | b |\n|---|:-:|\n| 1 | 2 |\n"
        )
    )
    assert {"h3", "h4", "ol", "ul", "li", "em", "strong", "s", "blockquote"} <= set(shown.tags)
    assert {"a", "table", "th", "td"} <= set(shown.tags)
    assert ("href", "https://x.example/?a=1&b=2") in shown.attributes


@pytest.mark.parametrize(
    "text, html",
    [
        ("a `b`", '<p dir="auto">a <code dir="ltr">b</code></p>'),
        ("###### a", '<h6 dir="auto">a</h6>'),
        ("- a", '<li dir="auto">a</li>'),
        ("- a\n\n  b", '<li dir="auto">\n<p>a</p>\n<p>b</p>'),  # by the letters of both
        ("> a", '<blockquote dir="auto">\n<p>a</p>'),
        ("|a|\n|-|\n|b|", '<td dir="auto">b</td>'),
        ("```\na", '<div class="code" dir="ltr">'),
    ],
)
def test_which_way_it_is_written(text, html):
    assert html in render(text)


def test_a_code_s_first_line_may_be_empty():
    assert '<pre class="code-text">\n\na</pre>' in render("```\n\na\n```")  # a pre drops one


@pytest.mark.parametrize(
    "language, sample",
    [
        *((name, "x = 1") for name in ("python", "toml")),
        *((name, "class X {}") for name in ("typescript", "csharp", "kotlin", "swift")),
        ("ruby", "class X; end"),
        ("diff", "-x\n+y"),
    ],
)
def test_code_is_coloured_as_it_grows(language, sample):
    growing = Growing()
    text = f"```{language}\n{sample}"
    for html in (render(text), growing.update(text)[1], *growing.finish(text)):
        assert re.search(r'<span class="(k|m|g)', html), html


@pytest.mark.parametrize("language", sorted(COLOURED))
def test_each_coloured_language_is_known(language):
    assert "code-text" in render(f"```{language}\nx\n```")


@pytest.mark.parametrize("language", ["systemd", "autohotkey", "xpp"])
def test_other_languages_are_shown_plain(language):
    """Pygments has lexers of these that take seconds for some short texts."""
    assert "<span class" not in render(f"```{language}\n[x]\ny=1 # z\n```")


LINES = [f"{name} = 1" for name in ("first", *"xyz" * 3_000, "last")]


def coloured(html, name):
    return f'<span class="n">{name}</span>' in html


def test_long_code_is_coloured():
    html = render("\n".join(["```python", *LINES]))
    assert coloured(html, "first") and coloured(html, "last")


@pytest.mark.parametrize(
    "language, lines",
    [
        ("python", ["first = 1", "x" * 1_000, "last = 1"]),
        ("python", ["first = 1", *[" "] * 100, "last = 1"]),
        ("pycon", [f">>> {line}" for line in [*LINES[:EAGER_MAX], LINES[-1]]]),
    ],
    ids=["line", "blanks", "eager"],
)
def test_what_a_lexer_could_be_slow_with_is_shown_plain(language, lines):
    html = render("\n".join([f"```{language}", *lines]))
    assert coloured(html, "first") and not coloured(html, "last")
    assert "\n".join(lines) in Elements(html).text


def test_colours_end_with_their_time(monkeypatch):
    ticks = itertools.count()
    monkeypatch.setattr(code, "clock", lambda: next(ticks) * code.COLOURS_S / 200)
    block = "\n".join(["```python", *LINES[:20], "last = 1", "```"])
    first, *_, last = render("\n".join([block] * 30)).split('<div class="code"')[1:]
    assert coloured(first, "first") and coloured(first, "last") and "<span class" not in last
    html = render("\n".join(["```python", *LINES]))
    assert coloured(html, "first") and not coloured(html, "last")
    assert "last = 1" in Elements(html).text


@pytest.mark.parametrize("language", sorted(COLOURED))
def test_the_last_line_is_coloured_like_the_others(language):
    """Without the end of a line, some lexers do not know it for what it is."""
    line = "+x = 1" if language == "diff" else "x = 1"
    short, long = (render("\n".join([f"```{language}", *[line] * n, "```"])) for n in (3, 4))
    assert classes(short, 2) == classes(long, 2)


def classes(html, number):
    """The class of each character of a line of the code."""
    found, name = [], None
    for tag, text in re.findall("(<.*?>)|([^<]+)", html.partition('<pre class="code-text">')[2]):
        name = (re.search('class="(.*?)"', tag) or [None, None])[1] if tag else name
        found += [(character, name) for character in unescape(text)]
    lines = [[]]
    for character, name in found:
        if character == "\n":
            lines.append([])
        else:
            lines[-1].append((character, name))
    return lines[number]


@pytest.mark.parametrize("values", [["x ", "= 2"], ["x", "x", " = 1"], ["x"], ["", "y"]])
def test_code_is_whole_whatever_a_lexer_makes_of_it(monkeypatch, values):
    class Lexer:
        def get_tokens(self, text):
            return [(code.STANDARD_TYPES.__iter__().__next__(), value) for value in values]

    monkeypatch.setattr(code, "get_lexer_by_name", lambda *_, **__: Lexer())
    assert Elements(render("```python\nx = 1")).text == "pythonWrapSaveCopyx = 1"


SAMPLES = {
    "python": 'def f(a):\n    """Text with = and\n\n    def."""\n    return f"{a}" + 1  # x\n\n\n',
    "javascript": "/* a\n b */\nconst f = (a) => {\n  return `x${a}\n` + 1; // y\n};\n",
    "c": "#include <a.h>\nint f(int a) {\n  /* b\n c */\n  return a + 1;\n}\n",
    "php": "$a = 'b';\n",
    "diff": "@@ -1 +1 @@\n-a\n+b\n c\n",
}
PHP = "<p>\n<?php\n"


@pytest.mark.parametrize("language", SAMPLES)
def test_long_code_keeps_its_colours_while_it_grows(monkeypatch, language):
    """Each line is coloured once the next one begins, as in the whole, and read a few times."""
    read = []
    lexer = code.get_lexer_by_name
    monkeypatch.setattr(code, "get_lexer_by_name", lambda *a, **k: Counted(lexer(*a, **k), read))
    sample, first = SAMPLES[language], PHP * (language == "php")
    text = first + sample * (7_000 // len(sample))
    whole = body_of(render(f"```{language}\n{text}"))
    read.clear()
    growing, steps = Growing(), range(len(first), len(text) + 1, len(sample))
    for end in steps:
        _, tail = growing.update(f"```{language}\n{text[:end]}")
        assert whole.startswith(body_of(tail).rpartition("\n")[0])  # the last may go on
    if not first:  # else it goes back to the tag that all stands in
        assert sum(read) < len(steps) * code.STEP * 4


class Counted:
    def __init__(self, lexer, read):
        self.lexer, self.read = lexer, read

    def get_tokens(self, text):
        self.read.append(len(text))
        return self.lexer.get_tokens(text)


def body_of(html):
    return html.partition('<pre class="code-text">')[2].partition("</pre>")[0]


def test_what_there_was_no_time_for_stays_plain_while_it_grows(monkeypatch):
    now = itertools.accumulate([code.COLOURS_S / 20] * 40 + [0] * 100_000)
    monkeypatch.setattr(code, "clock", lambda: next(now))
    growing, text = Growing(), "\n".join(["```python", *LINES[:20], "last = 1\n"])
    _, tail = growing.update(text)
    assert coloured(tail, "first") and not coloured(tail, "last")
    assert growing.update(f"{text}x = 1\n")[1].startswith(tail.partition("</pre>")[0])


def test_code_that_grows_for_too_long_is_coloured_no_more(monkeypatch):
    monkeypatch.setattr(code, "GROWING_S", 0)
    growing = Growing()
    assert not coloured(growing.update("```python\nfirst = 1\n")[1], "first")
    assert coloured("".join(growing.finish("```python\nfirst = 1\n")), "first")


@pytest.mark.parametrize(
    "info, language, name",
    [
        ("python", "python", ""),
        ("python app.py", "python", "app.py"),
        ("python name=src/app.py", "python", "src/app.py"),
        ('js title="my file.js"', "js", "my file.js"),
        ("python {1,2}", "python", ""),
        ("python a=b", "python", ""),
        ("x" * 30, "x" * 20, ""),
        ("py " + "x" * 101, "py", ""),
        ("", "", ""),
    ],
)
def test_what_stands_behind_a_fence(info, language, name):
    shown = is_inert(render(f"```{info}\nx\n```"))
    attributes = dict(shown.attributes)
    assert attributes.get("data-language", "") == language
    assert attributes.get("data-name", "") == name
    assert shown.text.startswith(f"{name or language}Wrap")


def test_tasks_are_boxes():
    html = render("- [ ] a\n- [x] **b**\n- [X]c\n- \\[ ] d\n\n[ ] e")
    shown = is_inert(html)
    assert shown.text.split() == ["☐", "a", "☑", "b", "[X]c", "[", "]", "d", "[", "]", "e"]
    assert 'role="img" aria-label="done">☑' in html and 'aria-label="to do">☐' in html


def test_a_table_has_so_many_cells_and_what_is_more_stays_text():
    row = "|a" * 10 + "|\n"
    text = row + "|-" * 10 + "|\n" + row * 1_000 + "|last" * 10
    for many in (text, f"{text}\n\n{text}", "- " + text.replace("\n", "\n  ")):
        shown = is_inert(render(many))
        cells = shown.tags.count("td") + shown.tags.count("th")
        assert CELLS_MAX * 0.8 < cells <= CELLS_MAX  # the outer lines may count as two
        assert "|last|last" in shown.text


@pytest.mark.parametrize("text", ["a\x1b[31mb\x00c\x16", "a\x1b[31mb\u200bc\r"])
def test_control_characters_of_a_reply_are_not_shown(text):
    assert is_inert(render(text)).text == "abc\n"


@pytest.mark.parametrize(
    "text",
    [
        "`" * 10_000,
        " ".join("`" * n for n in range(1, 150)),
        "x" * 1_000_000,
        ">" * 10_000,
        "- " * 1_000,
        "\n".join("  " * n + "- a" for n in range(100)),
        "|-" * 50 + "\n" + "|-" * 50 + "\n" + "a\n" * 5_000,
        "[a\n" * 5_000,
    ],
    ids=["ticks", "runs", "line", "quotes", "lists", "nested", "table", "links"],
)
def test_long_text_ends(text):
    is_inert(render(text, [Part(0, len(text), "long")]))
    growing = Growing()
    is_inert(growing.update(text)[1])
    is_inert("".join(growing.finish(text)))


def grown(text, steps):
    """What a growing reply gives for these many characters at a time; checks each step."""
    growing, shown, at = Growing(), "", 0
    whole = render(text)
    for step in steps:
        at += step
        finished, _ = growing.update(text[:at])
        assert all(finished)
        shown += "".join(finished)
        assert whole.startswith(shown), at  # so it never changes
    return shown, shown + "".join(growing.finish(text))


@pytest.mark.parametrize(
    "text",
    [
        "# a\n#\n#b\n\nc\n===\nd\n---\ne\n***\n",
        "x\na | b\n|---|---|z\n\nc",  # no table after all
        "x\na | b\n|---|---|\nc | d\n# e\n",
        "> a\nb\n\nc\n> d\n```\ne\n```\n> f",
        "- a\n\n- b\n\n\n  c\nd\n1. e\n2) f\n   g\n\nh",
        "-\n\n  a\n-\n  b\n",
        "a\n```py\nb\n\nc\n~~~\n```\nd\n~~~\ne\n   ",
        "    a\n\n\n    b\nc\n\td\n",
        # A link definition looks far ahead: for its title, or for the end of its name.
        "[x]: http://a.b\n    'a\n\nb",
        "[x]: http://a.b\n    'a\nb\nc'\n\n[x]",
        "[x]: http://a.b\n'a\n===\nb\nc'\n\n[x]",
        "- [x]: http://a.b\n      'a\nb\nc'\n\n[x]",
        "[x\n===\na]: http://a.b\n\n[x a]",
        "[x]\n\n[x]: http://a.b\n\n[x]\n\n[x]: http://c.d\n\n[x]",  # the first counts, once seen
        "[x]: http://a.bc\n[y]: http://d.ef\n\n[x] [y]",
        "a\x1b[31mb\n\x1b]0;c\x07d\n\n#\ufe0f\u20e3 e\u200d\nf\r\n\rg\x1b",
    ],
)
def test_what_is_finished_never_changes(text):
    assert grown(text, [1] * len(text))[1] == render(text)


FRAGMENTS = [
    *("a", "b c", "x", "#", "# ", "## d", "---", "===", "-", "=", "***", "   ", "    ", "\t"),
    *("- ", "* ", "+ ", "1. ", "2) ", "> ", ">", "```", "```py", "~~~", "`", "``", "**", "*", "_"),
    *("|", "| a | b |", "|---|---|", "x | y", "[x]", ": ", "[x]: http://a.b", "[x]: ", "[x", "]"),
    *('"t', 't"', "'", "\\", "~~", "<http://a.b>", "&amp;", "\x1b[3", "1m", "\x1b]0;", "\x07"),
    *("\u200b", "\u200d", "\U0001f600"),
]
LINE_ENDS = ["\n", "\n", "\n", "\n\n"]


@given(
    st.lists(st.sampled_from(FRAGMENTS) | st.sampled_from(LINE_ENDS), max_size=30).map("".join),
    st.lists(st.integers(0, 9), min_size=1, max_size=99),
)
def test_a_reply_that_grows_becomes_the_whole_one(text, steps):
    assert grown(text, steps)[1] == render(text)


def test_cells_are_counted_as_a_reply_grows(monkeypatch):
    monkeypatch.setattr(markdown, "CELLS_MAX", 12)
    text = "a|b\n-|-\n1|2\n3|4\n\n" * 3 + "x\n"
    shown, whole = grown(text, [1] * len(text))
    assert whole == render(text) and "<table>" in shown
    assert whole.count("<td ") + whole.count("<th ") == 12


@pytest.mark.parametrize(
    "piece",
    [
        "# {}\nb\n> c\n",
        "[{}] b\n\n",
        "[{}]\n```py\nx = a[0]\n```\n",
        "- {}\n- [b]\n\n# c\nd\n",
        "[{}]: http://a.b\n[b]: http://c.d\n\n",
    ],
)
def test_only_what_grows_is_rendered_again(piece):
    """Else a long reply would cost the square of its length."""
    growing, text = Growing(), ""
    for number in range(50):
        text += piece.format(number)
        _, rest = growing.update(text)
        assert len(rest) < 3 * len(render(piece + "\n[a]"))


HEAD = "```a b" + " " * 150_000 + "<\nx\n```"


def test_the_head_of_a_fence_is_read_in_one_pass():
    assert "data-name" not in render(HEAD)  # minutes, if it went back and forth
