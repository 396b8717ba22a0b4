import html
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from assistant.errors import TextError
from assistant.text import (
    MESSAGE_CHARS_MAX,
    PROMPT_CHARS_MAX,
    check_message,
    check_prompt,
    clean,
    safe_markdown,
)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("a\tb\nc", "a\tb\nc"),
        ("a\r\nb\rc", "a\nb\nc"),
        ("a\x00b\x07c\x7fd\x85e\x0bf", "abcdef"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x9b1;31mred", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bcreset", "reset"),
        ("\x1b]0;open, then more\ntext", "0;open, then more\ntext"),
        ("lone \ud83d, lone \ude00", "lone \ufffd, lone \ufffd"),
        ("😀 👩\u200d🚀 e\u0301 日本 \u202eרtl", "😀 👩\u200d🚀 e\u0301 日本 \u202eרtl"),
    ],
)
def test_clean(text, expected):
    assert clean(text) == expected


@given(st.text())
def test_cleaned_text_is_clean(text):
    once = clean(text)
    once.encode("utf-8")
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", once)
    assert clean(once) == once


def test_message():
    assert check_message(" \n hello \r\n world\x00 \n") == "hello \n world"
    assert len(check_message("x" * MESSAGE_CHARS_MAX)) == MESSAGE_CHARS_MAX
    assert check_prompt("  def f(\r\n") == "  def f(\n"
    assert len(check_prompt("x" * PROMPT_CHARS_MAX)) == PROMPT_CHARS_MAX


@pytest.mark.parametrize("value", [None, 7, ["a"], {"text": "a"}, b"a", True])
def test_what_is_not_text_is_refused(value):
    with pytest.raises(TextError, match="must be text, not"):
        check_message(value)
    with pytest.raises(TextError, match="must be text, not"):
        check_prompt(value)


@pytest.mark.parametrize("value", ["", " \n\t ", "\x00\x1b[0m"])
def test_empty_is_refused(value):
    with pytest.raises(TextError, match="empty"):
        check_message(value)


def test_too_long_is_refused_with_limit_and_size_before_all_else(monkeypatch):
    monkeypatch.setattr("assistant.text.clean", lambda text: pytest.fail("was cleaned"))
    with pytest.raises(TextError, match="at most 32,000 characters; it has 32,001"):
        check_message("x" * (MESSAGE_CHARS_MAX + 1))
    with pytest.raises(TextError, match="at most 200,000 characters; it has 1,000,000"):
        check_prompt(" " * 1_000_000)


# Safe Markdown

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
TAGS |= {"h1", "h2", "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td"}


class Elements(HTMLParser):
    """The elements that a page would hold, and its text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.text = set(), [], ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes += attributes

    def handle_data(self, data):
        self.text += data


def page(markdown):
    """As a Markdown parser shows it that lets HTML through."""
    parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    parser.validateLink = lambda link: True
    return Elements(parser.render(markdown))


def is_inert(markdown):
    shown = page(markdown)
    assert shown.tags <= TAGS
    for name, value in shown.attributes:
        assert name in ("href", "class", "start", "title", "style")
        assert (value or "").lower() != "language-mermaid"
        if name == "href":
            assert value.lower().startswith(("https://", "http://", "mailto:"))
        if name == "style":
            assert re.fullmatch(r"text-align:(left|right|center)", value)
    # What is no code block holds no tag but <code>, and nothing that begins a LaTeX block.
    prose = re.sub(r"(?ms)^(`{3,})[\w+#.-]*\n.*?^\1$", "", markdown)
    assert not re.search(r"<(?!/?code>|/?pre>)", prose)
    assert "$$" not in markdown
    return shown


@pytest.mark.parametrize("payload", HOSTILE)
@pytest.mark.parametrize("frame", ["{}", "text {} text", "- item\n\n  {}", "> {}", "a `b\n{}"])
def test_hostile_markdown_is_inert(payload, frame):
    is_inert(safe_markdown(frame.replace("{}", payload)))


HOSTILE_PIECES = st.one_of(
    st.sampled_from(HOSTILE),
    st.sampled_from(
        ["`", "``", "```", "````", "~~~", "\n", "\n\n", "    ", "  ", "- ", "1. ", "> ", "\\", "|"]
        + ["<b>", "&lt;", "](", "]:", "[x]", "!", "$$", "$", '"', "javascript:", "```html\n", "\t"]
    ),
    st.text(max_size=5),
)


@given(st.lists(HOSTILE_PIECES, max_size=12).map("".join))
def test_any_markdown_is_inert(text):
    is_inert(safe_markdown(text))


CODE = 'if a < b && c > d: print("<b>&lt;</b>")'


@pytest.mark.parametrize(
    "markdown",
    [
        f"```python\n{CODE}\n```",
        f"~~~\n{CODE}\n~~~",
        f"text\n```python\n{CODE}\n```\ntext",
        f"still open:\n\n```python\n{CODE}",
        f"`{CODE}`",
        f"text `` {CODE} `` text",
        f"    {CODE}\n\ntext",
        f"1. item\n\n   ```python\n   {CODE}\n   ```\n\n2. item",
        f"- item\n    - nested\n\n            {CODE}\n",
        f"> ```\n> {CODE}\n> ```",
        f"```\n$$ {CODE} $$\n```",
        f"``$$ {CODE} $$``",
        f"````\n```\n{CODE}\n```\n````",
        f"<div>\n```\n{CODE}\n```\n</div>",
        f"[a]: b\n```\n{CODE}\n```",
    ],
)
def test_code_is_shown_as_it_is(markdown):
    safe = safe_markdown(markdown)
    assert CODE in is_inert(safe).text
    assert "&amp;" not in safe


@pytest.mark.parametrize(
    "text, shown",
    [
        ("a < b, AT&T, &lt; and <T>", "a < b, AT&T, &lt; and <T>"),
        ("costs $5 or $$5", "costs $5 or $$5"),
        ("\\*not bold\\*", "*not bold*"),
        ("one ` alone", "one ` alone"),
        ("a \\` b ` c", "a ` b ` c"),
        ("vector<int> v;", "vector<int> v;"),
        ("![alt](https://x.example/p.png)", "!alt"),
        ("see [x](ftp://y)", "see [x](ftp://y)"),
        ("[x]: https://y.example", "[x]: https://y.example"),
        ("a `` ` `` b", "a ` b"),
    ],
)
def test_prose_is_shown_as_it_is_spelt(text, shown):
    assert is_inert(safe_markdown(text)).text.strip() == shown


def test_markdown_still_works():
    shown = page(
        safe_markdown(
            "# Title\n\n1. *one*\n2. **two**\n   - three\n\n> quote\n\n"
            "[link](https://x.example/?a=1&b=2 'title')\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"
        )
    )
    assert {"h1", "ol", "ul", "li", "em", "strong", "blockquote", "a", "table"} <= shown.tags
    assert ("href", "https://x.example/?a=1&b=2") in shown.attributes


def test_text_that_follows_code_in_a_list_is_no_code():
    shown = page(safe_markdown("10. item\n\n    ```sh\n    ls\n    ```\n\n    a < b\n\n11. next"))
    assert "a < b" in shown.text


def test_a_stream_is_inert_at_every_moment():
    reply = "\n\n".join(HOSTILE)
    for end in range(0, len(reply), 7):
        is_inert(safe_markdown(reply[:end]))


@pytest.mark.parametrize(
    "text",
    [
        "`" * 10_000,
        "\\``" * 10_000,
        " ".join("`" * n for n in range(1, 250)),
        "x" * 1_000_000,
        ">" * 10_000,
        "- " * 10_000,
        "\n".join("  " * n + "- a" for n in range(300)),
        "\x9d" * 100_000,
    ],
    ids=["ticks", "escapes", "runs", "line", "quotes", "lists", "nested", "escape codes"],
)
def test_long_text_ends(text):
    shown = safe_markdown(text)
    assert len(html.unescape(shown)) <= 2 * len(text) + 10
