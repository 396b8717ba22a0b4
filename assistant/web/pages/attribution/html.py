"""What is found in the sources, as HTML: matches of a text, hits of a search.

Every text is untrusted and only ever escaped. Knows no events and no index.
"""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from assistant.attribution import CERTAIN, Hit
from assistant.web.pages.doors import one_line


def _lines(first: int, last: int) -> str:
    return f"line {first}" if first == last else f"lines {first}–{last}"


def _place(path: str, first: int, last: int, licence: str, url: str) -> str:
    name = escape(path)
    if url.startswith(("https://", "http://")):
        name = f'<a href="{escape(url)}" target="_blank" rel="noopener noreferrer">{name}</a>'
    return f"{name}, {_lines(first, last)}, {escape(licence)}"


def describe(match: dict[str, Any]) -> str:
    """A match, as the sources give it, in one line of text."""
    lines = _lines(match["start_line"], match["end_line"])
    return f"Matches {match['path']}, {lines}, {match['licence']}"


def underline(text: str, matches: Sequence[dict[str, Any]]) -> str:
    """`text` with its matches underlined, each in its own place."""
    parts, at = [], 0
    for match in matches:
        start, end = max(match["start"], at), match["end"]
        if end <= start:
            continue
        kind = "long" if match["length"] >= CERTAIN else "short"
        mark = f'<mark class="match {kind}" title="{escape(describe(match))}">'
        parts.append(escape(text[at:start]))
        for line in text[start:end].splitlines(keepends=True):
            core = line.strip()  # no line under indentation
            before, _, after = line.partition(core) if core else (line, "", "")
            parts.append(escape(before) + (f"{mark}{escape(core)}</mark>" if core else "") + after)
        at = end
    return "".join([*parts, escape(text[at:])])


def match_list(matches: Iterable[dict[str, Any]]) -> str:
    """The matches as a list."""
    items = []
    for match in matches:
        place = _place(match["path"], match["start_line"], match["end_line"], match["licence"],
                       match["url"])  # fmt: skip
        more = [match["source"], f"{match['length']:,} characters"]
        if match["others"]:
            places = "place" if match["others"] == 1 else "places"
            more.append(f"and in {match['others']:,} more {places}")
        items.append(f"<li>Matches {place} · {escape(' · '.join(filter(None, more)))}</li>")
    return one_line(f'<ul class="sources">{"".join(items)}</ul>') if items else ""


def hit_cards(found: Iterable[Hit]) -> str:
    """Hits of a search as cards, what was searched for marked in its lines."""
    cards = []
    for hit in found:
        parts, at = [], 0
        for start, end in hit.marks:
            parts += [escape(hit.text[at:start]), f"<mark>{escape(hit.text[start:end])}</mark>"]
            at = end
        parts.append(escape(hit.text[at:]))
        place = _place(hit.path, hit.start_line, hit.end_line, hit.licence, hit.url)
        cards.append(
            f'<article class="hit"><h3>{place}</h3><p>{escape(hit.language)} · '
            f"{escape(hit.source)}</p><pre>{''.join(parts)}</pre></article>"
        )
    return one_line("".join(cards))
