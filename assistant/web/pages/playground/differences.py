"""Where two replies differ, word by word."""

import re
from difflib import SequenceMatcher

from assistant.web.pages.chat.marks import Part

WORDS_MAX = 800  # of a text; what is longer is shown without marks: time grows with their square
KIND = "differs"  # the CSS class of a mark
_WORD = re.compile(r"\s*(?:\w+|[^\w\s])")


def differences(text: str, other: str) -> list[Part]:
    """The parts of `text` that `other` does not have in that place."""
    found = list(_WORD.finditer(text))
    words, others = [match[0].strip() for match in found], _words(other)
    if max(len(words), len(others)) > WORDS_MAX:
        return []
    parts = []
    for change, start, end, _, _ in SequenceMatcher(None, words, others).get_opcodes():
        if change in ("replace", "delete"):
            first = found[start]
            begin = first.end() - len(first[0].lstrip())
            parts.append(Part(begin, found[end - 1].end(), KIND))
    return parts


def _words(text: str) -> list[str]:
    return [match[0].strip() for match in _WORD.finditer(text)]
