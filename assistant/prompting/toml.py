"""read_toml(): the values of a TOML text that a visitor wrote.

The standard library's parser takes memory with the square of a key's dotted parts, and calls itself
for each bracket within another. So the marks that part and nest things are counted first, in one
pass. Knows no keys.
"""

import re
import tomllib
from typing import Any

from assistant.errors import TextError
from assistant.text import check_prompt, clean

MARKS_MAX = 200  # a template uses about 30
_MARKS = re.compile(r"[.,=\[{]")
# Where they mean nothing: strings, also one that is not closed, and comments.
_TEXTS = re.compile(
    r'"""(?:[^"\\]++|\\.?|"(?!""))*+(?:"{3,5})?'
    r"|'''(?:[^']++|'(?!''))*+(?:'{3,5})?"
    r'|"(?:[^"\\\n]++|\\.?)*+"?'
    r"|'[^'\n]*+'?"
    r"|#[^\n]*+",
    re.DOTALL,
)


def read_toml(text: object) -> dict[str, Any]:
    """The keys and values of `text`, which may have PROMPT_CHARS_MAX characters and, outside
    strings and comments, MARKS_MAX dots, commas, equals signs and opening brackets.

    Raises TextError for more, and ValueError, which names the line, for what is not TOML.
    """
    checked = clean(check_prompt(text))
    marks = len(_MARKS.findall(_TEXTS.sub("", checked)))
    if marks > MARKS_MAX:
        raise TextError(
            f"A template may have at most {MARKS_MAX} dots, commas, equals signs and opening "
            f"brackets outside strings, not {marks:,}: perhaps a quotation mark is missing."
        )
    try:
        return tomllib.loads(checked)
    except tomllib.TOMLDecodeError:
        raise
    except ValueError:  # Python's own bound
        raise TextError("A number of a template may have at most 4,300 digits.") from None
