"""Attribution from the command line:

python -m assistant.attribution build FOLDER_OR_FILE --out INDEX
python -m assistant.attribution check < code.py
python -m assistant.attribution search "exact phrase" words

Results go to stdout, progress and what went wrong to stderr.
"""

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from assistant.attribution import Index, find_matches, search
from assistant.attribution.corpus import Corpus
from assistant.attribution.index import Progress, build
from assistant.attribution.shipped import shipped_index
from assistant.errors import AssistantError, AttributionError
from assistant.text import allow_any_text

SQLITE = b"SQLite format 3"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m assistant.attribution", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    build_ = commands.add_parser("build", help="make an index of a corpus")
    build_.add_argument(
        "corpus", help="a folder, or a .jsonl, .jsonl.xz or .parquet file of texts with their paths"
    )
    build_.add_argument("--out", type=Path, required=True, metavar="INDEX")
    check = commands.add_parser("check", help="what of the code on standard input stands in it")
    search_ = commands.add_parser("search", help='words and "exact phrases"')
    search_.add_argument("query", nargs="+")
    search_.add_argument("--path", default="", help="only where the path holds this")
    search_.add_argument("--language", default="", help="such as Python")
    search_.add_argument("--licence", default="", help="such as PSF-2.0")
    for command in (check, search_):
        command.add_argument("--index", type=Path, help="else that of the embedded model's corpus")
        command.add_argument("--json", action="store_true")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 1 with one sentence on stderr, 130 for Ctrl-C; a build then goes on where it
    was when it is started again."""
    allow_any_text(sys.stdout)
    args = _parser().parse_args(argv)
    try:
        {"build": make, "check": check, "search": find}[args.command](args)
        sys.stdout.flush()
    except AssistantError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A bar where a person looks on; none in a log."""
    with tqdm(unit="B", unit_scale=True, desc="index", disable=None) as bar:

        def progress(read: int, total: int) -> None:
            bar.total = total
            bar.update(read - bar.n)

        yield progress


def make(args: argparse.Namespace) -> None:
    started = time.monotonic()
    if args.out.is_file() and not _head(args.out).startswith(SQLITE):
        raise AttributionError(f"{args.out} is not an index; give --out another name.")
    with progress_bar() as progress:
        built = build(Corpus(args.corpus), args.out, progress)
    if built is None:
        print(f"{args.out} is the index of this corpus already.")
        return
    took = max(time.monotonic() - started, 0.001)
    left = f", {built.left_out:,} left out (no text, or too large)" if built.left_out else ""
    print(
        f"{built.documents:,} documents{left}, {built.characters / 1e6:,.1f} million characters "
        f"in {took:,.0f} s ({built.characters / 1e6 / took:.1f} million a second)"
    )


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(16)


def open_index(args: argparse.Namespace) -> Index:
    if args.index:
        return Index(args.index)
    with progress_bar() as progress:
        return shipped_index(progress)


def check(args: argparse.Namespace) -> None:
    text = sys.stdin.buffer.read().decode("utf-8", errors="replace")
    matches = find_matches(open_index(args), text)
    if args.json:
        print(json.dumps([dataclasses.asdict(match) for match in matches], indent=1))
        return
    for match in matches:
        lines = f"lines {match.start_line}-{match.end_line}"
        print(f"{match.length} characters match {match.path}, {lines}, {match.licence}")


def find(args: argparse.Namespace) -> None:
    # As one query: the shell has taken the quotes around a phrase off.
    query = " ".join(f'"{each}"' if " " in each else each for each in args.query)
    if len(args.query) == 1:
        (query,) = args.query
    filters = {"path": args.path, "language": args.language, "licence": args.licence}
    hits = search(open_index(args), query, **filters)
    if args.json:
        print(json.dumps([dataclasses.asdict(hit) for hit in hits], indent=1))
        return
    for hit in hits:
        print(f"{hit.path}, lines {hit.start_line}-{hit.end_line}, {hit.licence}\n{hit.text}\n")


if __name__ == "__main__":
    sys.exit(main())
