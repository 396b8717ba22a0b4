"""The licence of a file: its SPDX header, else that of the nearest licence file above it.

Knows names of files and tell-tale sentences; it gives no legal advice.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

UNKNOWN = "unknown"
HEADER_CHARS = 4_000  # in which an SPDX header stands

# https://spdx.github.io/spdx-spec/v2.3/using-SPDX-short-identifiers-in-source-files/
_SPDX = re.compile(r"SPDX-License-Identifier:\s*([\w.+()-]+(?: (?:AND|OR|WITH) [\w.+()-]+)*)")
_FILE = re.compile(r"(licen[cs]e|copying|unlicense)(-[\w.]+)?(\.(txt|md|rst))?", re.IGNORECASE)
# The one that stands first in the text, whatever its white space and commas before a version.
_TELLTALES = (
    ("AGPL-3.0", "GNU AFFERO GENERAL PUBLIC LICENSE Version 3"),
    ("LGPL-3.0", "GNU LESSER GENERAL PUBLIC LICENSE Version 3"),
    ("LGPL-2.1", "GNU LESSER GENERAL PUBLIC LICENSE Version 2.1"),
    ("GPL-3.0", "GNU GENERAL PUBLIC LICENSE Version 3"),
    ("GPL-2.0", "GNU GENERAL PUBLIC LICENSE Version 2"),
    ("MPL-2.0", "Mozilla Public License Version 2.0"),
    ("EPL-2.0", "Eclipse Public License - v 2.0"),
    ("Apache-2.0", "Apache License Version 2.0"),
    ("PSF-2.0", "PYTHON SOFTWARE FOUNDATION LICENSE VERSION 2"),
    ("BSL-1.0", "Boost Software License - Version 1.0"),
    ("CC0-1.0", "CC0 1.0 Universal"),
    ("Unlicense", "This is free and unencumbered software released into the public domain"),
    ("MIT", "Permission is hereby granted, free of charge, to any person obtaining a copy"),
    ("ISC", "Permission to use, copy, modify, and/or distribute this software for any purpose"),
    ("BSD-3-Clause", "endorse or promote products derived from this software without specific"),
    ("BSD-2-Clause", "Redistribution and use in source and binary forms, with or without"),
)


def spdx(text: str) -> str | None:
    """The expression of the SPDX header in the first lines of `text`, or None."""
    found = _SPDX.search(text, 0, HEADER_CHARS)
    return found[1] if found else None


def of_licence_text(text: str) -> str | None:
    """The SPDX name of the licence whose text this is, or None."""
    flat = " ".join(text[:40_000].split()).lower().replace(", version", " version")
    named: list[tuple[int, str | None]]
    named = [(flat.find(sentence.lower()), name) for name, sentence in _TELLTALES]
    return spdx(text) or min((at, name) for at, name in [*named, (len(flat), None)] if at >= 0)[1]


class Nearest:
    """The licences of the folders below `root`, each looked up once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.of: Callable[[Path], str] = lru_cache(maxsize=10_000)(self._of)

    def _of(self, folder: Path) -> str:
        """The licence of the files in `folder`: of the nearest licence file up to the root."""
        for path in sorted(folder.iterdir()):
            if _FILE.fullmatch(path.name) and path.is_file() and not path.is_symlink():
                try:
                    with path.open(encoding="utf-8", errors="replace") as file:
                        text = file.read(100_000)
                except OSError:
                    continue
                name = path.relative_to(self.root).as_posix()
                return of_licence_text(text) or f"see {name}"
        return UNKNOWN if folder == self.root else self.of(folder.parent)
