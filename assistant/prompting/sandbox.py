"""A chat template is a program that anyone may have written. It runs here, in a process of its own.

Jinja's sandbox keeps it from all but texts and numbers, as in transformers; the system's limits end
it where it takes too long or too much. main() is that process, which own.py starts.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NoReturn

from jinja2 import TemplateError as JinjaError
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from assistant.errors import TemplateError
from assistant.prompting.derive import Render, derive
from assistant.text import quoted

OUTPUT_MAX = 100_000  # characters of one conversation, which are short here
MENTIONED_MAX, MENTIONED_CHARS = 200, 200  # texts of the template that are tried, and their length


def main() -> None:
    """Reads [seconds of processor time, bytes of memory, template, tokens, special, bos, name] from
    stdin, and writes {"values"}, the keys of a prompt template, or {"why"}: why there are none."""
    seconds, memory, source, tokens, special, bos, name = json.load(sys.stdin)
    _limit(seconds, memory)
    answer: dict[str, Any]
    try:
        environment, render = make_render(source, tokens)
        answer = {"values": derive(render, mentioned(environment, source), special, bos, name)}
    except TemplateError as error:
        answer = {"why": str(error)}
    except MemoryError:
        answer = {"why": "it takes too much memory"}
    except RecursionError:
        answer = {"why": "it is nested too deeply"}
    except Exception as error:
        answer = {"why": _why(error)}
    json.dump(answer, sys.stdout)


def _limit(seconds: int, memory: int) -> None:
    with suppress(ImportError, ValueError, OSError):  # a system without these
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


def _why(error: Exception) -> str:
    return f"it fails with {quoted(str(error))}"


def make_render(
    source: str, tokens: Mapping[str, str]
) -> tuple[ImmutableSandboxedEnvironment, Render]:
    """The environment and the Render of a chat template. tokens: names that it may use for texts.
    What `source` does wrong is a TemplateError, or any error that Python has. There is no
    strftime_now: a prompt that changes with the day would make yesterday's receipts untrue."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals = {
        "range": environment.globals["range"],  # the sandbox's own, which is bounded
        "dict": _plain_dict,
        "namespace": _Names,
        "raise_exception": _refuse,
    }
    template = environment.from_string(source)

    def render(messages: list[dict[str, str]], new: bool) -> str:
        try:
            text = template.render(
                **tokens, messages=messages, tools=None, documents=None, add_generation_prompt=new
            )
        except JinjaError as error:  # also what it raises itself
            raise TemplateError(_why(error)) from None
        if len(text) > OUTPUT_MAX:
            raise TemplateError(f"it writes more than {OUTPUT_MAX:,} characters")
        return text

    return environment, render


def mentioned(environment: ImmutableSandboxedEnvironment, source: str) -> Sequence[str]:
    """The texts that stand in expressions of the template: what it may look for in a message."""
    texts = (node.value for node in environment.parse(source).find_all(nodes.Const))
    short = (text for text in texts if isinstance(text, str) and len(text) <= MENTIONED_CHARS)
    return list(dict.fromkeys(short))[:MENTIONED_MAX]


class _Generation(Extension):
    """{% generation %} marks, in transformers, what a model has written; here it marks nothing."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Names(Namespace):
    """A namespace without names that mean something to Python."""

    def __init__(*args: Any, **names: Any) -> None:
        self, values = args[0], dict(*args[1:], **names)
        for name in values:
            _check_name(name)
        Namespace.__init__(self, values)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        Namespace.__setitem__(self, name, value)


def _check_name(name: object) -> None:
    if not isinstance(name, str) or name.startswith("_"):
        raise SecurityError(f"the name {quoted(name)} in a namespace")


def _plain_dict(*args: Any, **values: Any) -> dict[Any, Any]:
    return dict(*args, **values)


def _refuse(message: object) -> NoReturn:
    raise JinjaError(str(message))


def _tojson(value: Any, ensure_ascii: bool = False, **how: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, **how)
