"""Cleaning and checking of untrusted text.

Knows characters, not tokens: how many tokens a text has is window.py's business.
"""

import io
import re
from typing import TextIO

from assistant.errors import TextError

MESSAGE_CHARS_MAX = 100_000
PROMPT_CHARS_MAX = 200_000

# ECMA-48: a control sequence (CSI), an operating system command (OSC), any other escape.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b\]|\x9d)[^\x07\x1b\x9c\x9d\n]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]"
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_SURROGATES = re.compile(r"[\ud800-\udfff]")

# Unicode's property Default_Ignorable_Code_Point (DerivedCoreProperties.txt), and the interlinear
# annotation characters, which browsers do not show either.
HIDDEN = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"
)
_PICTURE = "[©®‼⁉™ℹ\u2190-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff]"
_JOINING = (  # Arabic and its neighbours, the Indic scripts and theirs, Adlam
    "[\u0600-\u0dff\u0f00-\u109f\u1780-\u17ff\u1900-\u1c4f\ua800-\uabff\ufb50-\ufdff\ufe70-\ufefe"
    "\U00010a00-\U00011fff\U0001e900-\U0001e95f]"
)
_SHAPING = [  # where one hidden character, behind one that is seen, changes what is seen
    rf"{_PICTURE}[\ufe00\ufe0e\ufe0f]?(?:\u200d{_PICTURE}[\ufe0e\ufe0f]?)*",
    "[#*0-9]\ufe0f(?=\u20e3)",  # keycaps
    rf"{_JOINING}[\u200c\u200d]",
    "[\u1800-\u18af][\u180b-\u180f\u200c\u200d]",  # Mongolian
    "[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff][\ufe00-\ufe02\U000e0100-\U000e01ef]",
    # The flags of England, Scotland and Wales: a black flag and a region, spelt in tags.
    "\U0001f3f4\U000e0067\U000e0062(?:\U000e0065\U000e006e\U000e0067|\U000e0073\U000e0063\U000e0074"
    "|\U000e0077\U000e006c\U000e0073)\U000e007f",
]
_HIDDEN = re.compile(rf"((?![{HIDDEN}])(?:{'|'.join(reversed(_SHAPING))}))|[{HIDDEN}]")


def clean(text: str) -> str:
    """`text` with line ends as a newline, without control characters (tab and newline stay) and
    terminal escapes, and with U+FFFD for lone surrogates, which no encoding can carry.

    What cannot be seen leaves too: zero-width and tag characters, directions of writing, fillers,
    soft hyphens. The model would read, and the window pay for, what neither the person who pasted
    it nor the one who reads it knows of. What changes how the visible character before it is drawn
    stays: the joiners of Arabic, Persian and the Indic scripts, those and the variants of pictures,
    variants of ideographs, and the three flags that are spelt in tags."""
    text = _newlines(text)
    text = _CONTROLS.sub("", _ESCAPES.sub("", text))
    text = _HIDDEN.sub(lambda match: match[1] or "", text)
    return replace_surrogates(text)


def count_unseen(text: str) -> int:
    """How many characters leave a text that is cleaned."""
    return len(_newlines(text)) - len(clean(text))


def _newlines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def check_message(value: object) -> str:
    """A chat message, cleaned, without blank lines around it and blanks behind it: its first line
    keeps its indentation. Raises TextError; length is checked before all else."""
    text = clean(_check("message", value, MESSAGE_CHARS_MAX)).rstrip()
    if not text:
        raise TextError("The message is empty.")
    blank = len(text) - len(text.lstrip())
    return text[text.rfind("\n", 0, blank) + 1 :]


def check_prompt(value: object, name: str = "prompt") -> str:
    """A raw prompt, or a part of one, called `name`, which stays as it is to the letter. Raises
    TextError, also for what no encoding can carry."""
    text = _check(name, value, PROMPT_CHARS_MAX)
    if not text:
        raise TextError(f"The {name} is empty.")
    if lone := _SURROGATES.search(text):
        raise TextError(
            f"The {name} has a lone surrogate, {quoted(lone[0])}, at character {lone.start() + 1}: "
            "half of a character, which cannot be encoded."
        )
    return text


def _check(name: str, value: object, limit: int) -> str:
    if not isinstance(value, str):
        raise TextError(f"The {name} must be text, not {quoted(value)}.")
    if len(value) > limit:
        raise TextError(f"The {name} may have at most {limit:,} characters; it has {len(value):,}.")
    return value


def one_line(value: object) -> str:
    """`value`, such as the path of a file, which may be called anything, as a sentence can hold it:
    cleaned, with blanks for tabs and line ends."""
    return " ".join(clean(str(value)).replace("\t", " ").splitlines())


def allow_any_text(stream: TextIO) -> None:
    """What a terminal's encoding lacks is printed as a question mark."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="replace")


def replace_surrogates(text: str) -> str:
    """`text` with U+FFFD for each lone surrogate, which no encoding has; as long as it was."""
    return _SURROGATES.sub("\ufffd", text)


def quoted(value: object) -> str:
    """`value` as a person may read it in an error: short, escaped, on one line."""
    try:
        text = ascii(value)
    except (ValueError, RecursionError):  # of too many digits; nested too deeply
        return f"<{type(value).__name__}>"
    return text if len(text) <= 40 else text[:37] + "..."
