"""Measures what a prompt template does to a model, from the command line:

python -m assistant.evaluation eval --model embedded --prompt tech-assistant-short --prompt my.toml

The table goes to stdout, progress and what went wrong to stderr.
"""

import argparse
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import NoReturn

from tqdm import tqdm

from assistant.chat.assistant import Assistant
from assistant.engine.open import open_engine
from assistant.engine.protocol import Engine
from assistant.errors import AssistantError, EngineDead, SettingsError
from assistant.evaluation.evaluate import Result, evaluate
from assistant.evaluation.questions import OURS, Question, load_questions
from assistant.evaluation.report import in_order, table, to_csv, to_json
from assistant.evaluation.run_code import check_system
from assistant.prompting.choose import MODEL, find_template, suitable_template
from assistant.prompting.load import load_template
from assistant.prompting.template import PromptTemplate
from assistant.settings import read_settings
from assistant.text import allow_any_text, quoted

SEEDS_MAX = 100
PROMPTS_MAX = 16


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise SettingsError(f"{message[:1].upper()}{message[1:]}; --help lists the flags.")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m assistant.evaluation", allow_abbrev=False)
    command = parser.add_subparsers(dest="command", required=True).add_parser(
        "eval",
        allow_abbrev=False,
        help="measure what prompt templates do to a model",
        description="Asks technical questions with each prompt template and prints what share of "
        "the answers is right, and how well-formed the replies are.",
        epilog="All else is as for app.py, flags and ASSISTANT_* variables: --model, --revision, "
        "--device, --dtype, --allow-bin, --slots (replies at once), --max-new-tokens.",
    )
    add = command.add_argument
    add(
        "--prompt",
        action="append",
        metavar="NAME_OR_FILE",
        help="a name in prompts/, a .toml file, or hub:OWNER/NAME; give several to compare them",
    )
    add("--seeds", default="1", help="replies to each question, with seeds 0, 1, ... (1)")
    add("--questions", type=Path, default=OURS, metavar="FILE", help="TOML; else 60 of ours")
    add("--csv", type=Path, metavar="FILE", help="write each reply with its checks")
    add("--json", type=Path, metavar="FILE", help="the same with model, prompts and sampling")
    add(
        "--run-code",
        action="store_true",
        help="run the Python code of replies against assertions; in a process with limits on time "
        "and memory, which is NO sandbox: the code can read your files and use the network",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 1 with one sentence on stderr, 130 where Ctrl-C ended it before its end."""
    allow_any_text(sys.stdout)
    try:
        args, rest = _parser().parse_known_args(sys.argv[1:] if argv is None else argv)
        settings = read_settings(rest, os.environ)
        questions = load_questions(args.questions)
        check(args)
        specs = args.prompt or ([settings.prompt] if settings.prompt else [])
        known = {spec: load_template(spec) for spec in specs if spec != MODEL}
        engine = open_engine(settings)
        try:
            names = specs or [suitable_template(engine)]
            templates = {name: known.get(name) or find_template(name, engine) for name in names}
            return measure(engine, templates, questions, args, settings.max_new_tokens)
        finally:
            engine.close()
    except AssistantError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def check(args: argparse.Namespace) -> None:
    """What would otherwise show when all is computed. Raises SettingsError."""
    if not re.fullmatch(r"0*[1-9]\d{0,2}", args.seeds) or int(args.seeds) > SEEDS_MAX:
        raise SettingsError(
            f"--seeds must be a whole number from 1 to {SEEDS_MAX}, not {quoted(args.seeds)}."
        )
    if len(args.prompt or ()) > PROMPTS_MAX:
        raise SettingsError(f"--prompt may be given {PROMPTS_MAX} times, not {len(args.prompt)}.")
    if args.run_code:
        check_system()
    for path in filter(None, (args.csv, args.json)):
        if not path.absolute().parent.is_dir() or path.is_dir():
            raise SettingsError(f"{path} cannot be written: there is no such folder.")


def measure(
    engine: Engine,
    templates: Mapping[str, PromptTemplate],
    questions: Sequence[Question],
    args: argparse.Namespace,
    max_new_tokens: int,
) -> int:
    """Evaluates and prints; gives the exit code. templates: by name."""
    assistants = {
        name: Assistant(engine, template, max_new_tokens=max_new_tokens)
        for name, template in templates.items()
    }
    seeds, code = int(args.seeds), 0
    results: list[Result] = []
    planned = len(templates) * len(questions) * seeds
    try:
        with closing(evaluate(assistants, questions, seeds, run=args.run_code)) as stream:
            # A bar where a person looks on; none in a log.
            for result in tqdm(stream, "replies", planned, disable=None):
                if result:
                    results.append(result)
    except KeyboardInterrupt:
        code = 130
    except EngineDead as error:
        say(error)
        code = 1
    results = in_order(results, questions, templates)
    if len(results) < planned:
        say(f"Ended early: {len(results)} of {planned} replies.")
    if failed := [result for result in results if result.error]:
        say(f"{len(failed)} of {planned} replies failed, the first: {failed[0].error}")
    print(f"{engine.model}: {len(questions)} questions, seeds: {seeds}\n")
    print(table(results, templates))
    unjudged = 0 if args.run_code else sum(each.run is not None for each in questions)
    if unjudged:
        print(f"\n{unjudged} questions are judged only with --run-code, and left out above.")
    write(args.csv, lambda: to_csv(results))
    write(args.json, lambda: to_json(results, assistants, seeds, args.run_code))
    return code


def write(path: Path | None, text: Callable[[], str]) -> None:
    if path is not None:
        try:
            path.write_text(text(), encoding="utf-8", newline="")
        except OSError as error:
            raise SettingsError(f"{path} cannot be written: {error.strerror}.") from None


def say(sentence: object) -> None:
    print(sentence, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
