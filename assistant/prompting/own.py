"""own_template(): the prompt template that a model's own chat template amounts to.

Has the chat template run in a process of its own (sandbox.py), and believes nothing that comes back
from there: it is checked as a visitor's template is. What the model's files say
of sampling goes with it.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from assistant.engine.protocol import ChatFiles, Engine
from assistant.errors import SamplingError, TemplateError
from assistant.prompting.load import TEMPLATE_CHARS_MAX, parse_template
from assistant.prompting.template import PromptTemplate
from assistant.sampling import RANGES, Sampling

NAME = "The model's own"
SOURCE_MAX = 100_000  # characters of a chat template; the longest that is known has 30,000
CPU_S, WALL_S = 5, 20  # seconds of processor time, and of a busy machine's clock
MEMORY_BYTES = 512 * 1024**2
_TOO_MUCH = "it takes too long or too much memory"
_CHILD = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from assistant.prompting.sandbox import main
main()
"""


def own_template(engine: Engine) -> PromptTemplate:
    """Raises TemplateError where the model has none, and where it does what a PromptTemplate
    cannot say."""
    files, tokenizer = engine.tokenizer.chat, engine.tokenizer
    if files is None:
        raise TemplateError(
            f"The model {engine.model} has no chat template of its own; choose another prompt with "
            "--prompt, such as tech-assistant."
        )
    if len(files.template) > SOURCE_MAX:
        raise _unusable(
            f"it has {len(files.template):,} characters, and at most {SOURCE_MAX:,} are read"
        )
    bos = next((text for text, id in tokenizer.special.items() if id == tokenizer.bos_id), "")
    special = list(tokenizer.special)
    task = [CPU_S, MEMORY_BYTES, files.template, dict(files.tokens), special, bos, NAME]
    try:
        answer = _run(json.dumps(task))
    except subprocess.TimeoutExpired:
        raise _unusable(_TOO_MUCH) from None
    except OSError as error:  # such as no room for one more process
        raise _unusable(f"no process can be started for it ({error.strerror})") from None
    if "values" not in answer:
        raise _unusable(answer["why"])
    values = {**answer["values"], "sampling": _sampling(files)}
    if sum(len(text) for text in values.values() if isinstance(text, str)) > TEMPLATE_CHARS_MAX:
        raise _unusable(f"it writes more than {TEMPLATE_CHARS_MAX:,} characters around messages")
    template = parse_template(values, "that the model brings")
    template.check(tokenizer)
    return template


def is_tuned(engine: Engine) -> bool:
    """Whether the model was tuned for chats, as far as one can tell: it has a chat template, and a
    name that says so, or its texts end with what its chat template ends a reply with. Base models
    come with a chat template, too, which is their tuned relatives'."""
    tokenizer = engine.tokenizer
    if tokenizer.chat is None:
        return False
    if any(word in engine.model.lower() for word in ("instruct", "chat")):
        return True
    try:
        template = own_template(engine)
    except TemplateError:
        return False
    ends = (text for text, id in tokenizer.special.items() if id in tokenizer.end_ids)
    return any(end in str(template.reply_end) for end in ends)


@lru_cache(maxsize=4)
def _run(task: str) -> dict[str, Any]:
    """What the process answers, as sandbox.main() tells. A machine that is busy or full is an
    exception, subprocess.TimeoutExpired or OSError, which is not kept: it may pass."""
    command = [sys.executable, "-I", "-S", "-X", "utf8", "-c", _CHILD, json.dumps(sys.path)]
    done = subprocess.run(
        command,
        input=task.encode("utf-8", "surrogatepass"),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={},
        timeout=WALL_S,
    )
    if done.returncode:
        return {"why": _TOO_MUCH}
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _unusable(why: str) -> TemplateError:
    return TemplateError(
        f"The model's own chat template cannot be used: {why}; choose another prompt with "
        "--prompt, such as tech-assistant."
    )


def _sampling(files: ChatFiles) -> dict[str, Any]:
    """What the model's files say of sampling: where they ask for any, and as far as it is known
    here and in range."""
    values: Mapping[str, object] = files.generation
    if values.get("do_sample") is not True:
        return {}
    kept = {}
    for name in RANGES:
        if values.get(name) is None:
            continue
        try:
            Sampling(**{name: values[name]})  # type: ignore[arg-type]
        except SamplingError:
            continue
        kept[name] = values[name]
    return kept
