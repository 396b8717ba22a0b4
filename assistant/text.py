"""Cleaning of untrusted text, and Markdown from it that is safe to show.

Knows characters, not tokens: how many tokens a text has is window.py's business.
"""

import re

from markdown_it import MarkdownIt

from assistant.errors import TextError
from assistant.sampling import shown

MESSAGE_CHARS_MAX = 32_000
PROMPT_CHARS_MAX = 200_000

# ECMA-48: a control sequence (CSI), an operating system command (OSC), any other escape.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b\]|\x9d)[^\x07\x1b\x9c\x9d\n]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]"
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_SURROGATES = re.compile(r"[\ud800-\udfff]")


def clean(text):
    """`text` with line ends as a newline, without control characters (tab and newline stay) and
    terminal escapes, and with U+FFFD for lone surrogates, which no encoding can carry."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = _CONTROLS.sub("", _ESCAPES.sub("", text))
    return _SURROGATES.sub("\ufffd", text)


def check_message(value):
    """A chat message, cleaned and stripped. Raises TextError; length is checked before all else."""
    text = clean(_checked("message", value, MESSAGE_CHARS_MAX)).strip()
    if not text:
        raise TextError("The message is empty.")
    return text


def check_prompt(value):
    """A raw prompt, cleaned but not stripped. Raises TextError."""
    text = clean(_checked("prompt", value, PROMPT_CHARS_MAX))
    if not text:
        raise TextError("The prompt is empty.")
    return text


def _checked(name, value, limit):
    if not isinstance(value, str):
        raise TextError(f"The {name} must be text, not {shown(value)}.")
    if len(value) > limit:
        raise TextError(f"The {name} may have at most {limit:,} characters; it has {len(value):,}.")
    return value


# Safe Markdown. The page's Markdown parser and this one may disagree about what is code, so what is
# written here leaves nothing to disagree about: prose holds no `<`, no link definition (its title
# could swallow a fence) and no $$ (LaTeX, which takes what stands between for its own); inline code
# is spelt in character references; a code block stands at the left margin behind a blank line, in a
# fence that is longer than any within.

_BLOCKS = MarkdownIt("commonmark", {"html": False})
_BLOCKS.core.ruler.enableOnly(["normalize", "block"])

_ESCAPE_OR_TICKS = re.compile(r"\\[!-/:-@[-`{-~]|`+")
_BAD_LINK = re.compile(r"\]\((?!https?://|mailto:)", re.IGNORECASE)
_LANGUAGE = re.compile(r"[\w+#.-]{1,30}")


def safe_markdown(text):
    """`text` of a user or a model as Markdown in which no HTML, image or script can come alive.

    HTML is shown as it is spelt, images become links, and links go to http, https and mailto alone.
    Works at every moment of a stream: a fence that is still open is closed.
    """
    text = clean(text)
    lines = text.split("\n")
    out = []
    at = outer_end = margin_end = 0
    for token in _BLOCKS.parse(text):
        if token.level == 0 and token.map:
            outer_end = token.map[1]
        if token.type in ("fence", "code_block"):
            start, end = token.map
            out += _prose(lines, at, start, margin_end)
            out.append(_code(token.content, token.info))
            at = end
            # A code block at the margin ends the list around it: what follows in the list must
            # not stay indented, or it would read as code.
            margin_end = outer_end if token.level else 0
    return "\n".join(out + _prose(lines, at, len(lines), margin_end))


def _prose(lines, start, end, margin_end):
    return [
        _inline(line.lstrip() if index < margin_end else line)
        for index, line in enumerate(lines[start:end], start)
    ]


def _code(code, info):
    language = info.split()[0] if info.split() else ""
    if not _LANGUAGE.fullmatch(language) or language.lower() == "mermaid":  # drawn, not shown
        language = ""
    if "$$" in code:
        return f"\n<pre><code>{_references(code)}</code></pre>\n"
    code = code.removesuffix("\n")
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", code)), default=0))
    return f"\n{fence}{language}\n{code}\n{fence}\n"


def _inline(line):
    """A line outside of code blocks."""
    out = []
    at = 0
    unclosed = set()  # lengths of backtick runs that have no partner in the rest of the line
    while match := _ESCAPE_OR_TICKS.search(line, at):
        out.append(_plain(line[at : match.start()]))
        at = match.end()
        if match[0][0] == "\\":
            out.append(_references(match[0][1]))
            continue
        ticks = len(match[0])
        close = None
        if ticks not in unclosed:
            close = re.compile(f"(?<!`)`{{{ticks}}}(?!`)").search(line, at)
        if close is None:
            unclosed.add(ticks)
            out.append(_references(match[0]))
            continue
        code = line[at : close.start()]
        if code.strip() and code[0] == code[-1] == " ":  # room for a backtick, not part of the code
            code = code[1:-1]
        out.append(f"<code>{_references(code)}</code>")
        at = close.end()
    return "".join(out) + _plain(line[at:])


def _plain(text):
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace("$$", "&#36;&#36;")
    text = text.replace("![", "&#33;[").replace("]:", "]&#58;")
    return _BAD_LINK.sub("]&#40;", text)


def _references(text):
    """`text` with a character reference for all that could mean something in HTML or Markdown."""
    return re.sub(r"[!-/:-@[-`{-~]", lambda match: f"&#{ord(match[0])};", text)
