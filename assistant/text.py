"""Cleaning and checking of untrusted text.

Knows characters, not tokens: how many tokens a text has is window.py's business.
"""

import re

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
