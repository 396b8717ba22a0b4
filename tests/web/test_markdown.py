"""Replies as HTML: whatever a text holds, no element, link or request comes from it."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.web.pages.chat import markdown as room
from assistant.web.pages.chat.markdown import (
    COLOURED,
    COLOURED_MAX,
    live,
    markdown,
    replies,
    welcome,
)

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
TAGS |= {"h2", "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td"}
TAGS |= {"div", "span", "button", "article", "i"}  # the transcript's own


class Elements(HTMLParser):
    """The elements that a page would hold, their attributes, and its text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes

    def handle_data(self, data):
        self.text += data


def is_inert(html):
    shown = Elements(html)
    assert set(shown.tags) <= TAGS
    for name, value in shown.attributes:
        assert name in ("href", "class", "start", "title", "style", "type")
        if name == "href":
            assert value.lower().startswith(("https://", "http://"))
        if name == "style":
            assert re.fullmatch(r"text-align:(left|right|center)", value)
        if name == "type":
            assert value == "button"
    return shown


@pytest.mark.parametrize("payload", HOSTILE)
@pytest.mark.parametrize("frame", ["{}", "text {} text", "- item\n\n  {}", "> {}", "a `b\n{}"])
def test_hostile_text_is_inert(payload, frame):
    text = frame.replace("{}", payload).strip()
    is_inert(live(text))
    (reply,) = replies([text])
    is_inert(reply)
    assert "\n" not in reply  # one block of HTML for Gradio's Markdown, which then leaves it alone


HOSTILE_PIECES = st.one_of(
    st.sampled_from(HOSTILE),
    st.sampled_from(
        ["`", "``", "```", "````", "~~~", "\n", "\n\n", "    ", "  ", "- ", "1. ", "> ", "\\", "|"]
        + ["<b>", "&lt;", "](", "]:", "[x]", "!", "$$", "$", '"', "javascript:", "```html\n", "\t"]
    ),
    st.text(max_size=5),
)


@given(st.lists(HOSTILE_PIECES, max_size=12).map("".join))
def test_any_text_is_inert(text):
    is_inert(live(text))


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
    assert CODE in is_inert(markdown(text)).text


def test_markdown_works():
    shown = is_inert(
        markdown(
            "# Title\n\n1. *one*\n2. **two**\n   - three\n\n> quote\n\n"
            "[link](https://x.example/?a=1&b=2 'title')\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"
        )
    )
    assert {"h3", "ol", "ul", "li", "em", "strong", "blockquote", "a", "table"} <= set(shown.tags)
    assert ("href", "https://x.example/?a=1&b=2") in shown.attributes


@pytest.mark.parametrize(
    "language, code",
    [
        *((name, "x = 1") for name in ("python", "toml")),
        *((name, "class X {}") for name in ("typescript", "csharp", "kotlin", "swift")),
        ("ruby", "class X; end"),
        ("diff", "-x\n+y"),
    ],
)
def test_code_is_highlighted(language, code):
    shown = markdown(f"```{language}\n{code}\n```")
    assert re.search(r'<span class="(k|m|g)', shown), shown


def fences(*blocks):
    return "\n".join(f"```python\n{block}\n```" for block in blocks)


@pytest.mark.parametrize("language", sorted(COLOURED))
def test_each_coloured_language_is_known(language):
    assert "code-text" in markdown(f"```{language}\nx\n```")


@pytest.mark.parametrize("language", ["systemd", "autohotkey", "xpp"])
def test_other_languages_are_shown_plain(language):
    """Pygments has lexers of these that take seconds for some short texts."""
    assert "<span " not in markdown(f"```{language}\n[x]\ny=1 # z\n```")


def test_long_code_is_shown_plain():
    fits, more = "x = 1\n" * (COLOURED_MAX // 6 - 1), "y = 2\n" * 3
    assert "<span " in markdown(fences(fits))
    assert "<span " not in markdown(fences(fits + more))
    both = markdown(fences(more, fits))  # together above it: the second stays plain
    assert '<span class="n">y' in both and '<span class="n">x' not in both
    assert fits in Elements(both).text


def test_a_reply_that_is_being_written_costs_no_colours(monkeypatch):
    asked = []
    monkeypatch.setattr(room, "highlight", lambda *arguments: asked.append(arguments) or "")
    room._finished.cache_clear()  # other tests may have filled it
    for end in range(1, 200):
        is_inert(live(fences("x = 1\n" * 40)[:end]))
    assert asked == [] and room._finished.cache_info().currsize == 0
    replies([fences("first = 'finished'")])
    assert len(asked) == 1 and room._finished.cache_info().currsize == 1


def test_control_characters_of_a_reply_are_not_shown():
    assert is_inert(live("a\x1b[31mb\x00c\x16")).text == "abc&#10;".replace("&#10;", "\n")


def test_examples_are_buttons():
    shown = is_inert(welcome(["<b>one</b>", "two"], "An <i>intro</i>."))
    assert shown.tags.count("button") == 2
    assert "An <i>intro</i>." in shown.text


@pytest.mark.parametrize(
    "text",
    [
        "`" * 10_000,
        " ".join("`" * n for n in range(1, 150)),
        "x" * 1_000_000,
        ">" * 10_000,
        "- " * 1_000,
        "\n".join("  " * n + "- a" for n in range(100)),
    ],
    ids=["ticks", "runs", "line", "quotes", "lists", "nested"],
)
def test_long_text_ends(text):
    is_inert(live(text))
