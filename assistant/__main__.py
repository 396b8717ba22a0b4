"""The entry point: settings, then engine, then web app.

python -m assistant --help
"""

import contextlib
import gc
import os
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from assistant.errors import AssistantError
from assistant.settings import Settings, read_settings
from assistant.text import allow_any_text
from assistant.web.loading import answering
from assistant.web.server import listen, local_address, serve, warnings


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code. What keeps the program from starting is one sentence on stderr, and 1."""
    allow_any_text(sys.stdout)
    try:
        start(read_settings(sys.argv[1:] if argv is None else argv, os.environ))
    except AssistantError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def start(settings: Settings) -> None:
    with listen(settings) as sock:
        for sentence in warnings(settings):
            say(sentence)
        with answering(sock), freeze_garbage_collector():
            app, took = load(settings)
        engine = app.state.assistant.engine
        named = f"{engine.model} with {engine.adapter}" if engine.adapter else engine.model
        say(f"{named} is at {local_address(settings, sock)} ({took})")
        serve(app, settings, sock, say)


@contextlib.contextmanager
def freeze_garbage_collector() -> Iterator[None]:
    """What the block makes stays: the garbage collector does not look through it again and again,
    which would take a second of a start."""
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


def load(settings: Settings) -> tuple[Any, str]:
    """The app (a FastAPI, which web/ alone imports), and a text that tells how long its parts took.
    Heavy imports wait until they are needed, so that what is wrong shows as soon as it can."""
    parts: dict[str, float] = {}
    clock = time.perf_counter()

    def done(part: str) -> None:
        nonlocal clock
        clock, before = time.perf_counter(), clock
        parts[part] = clock - before

    from assistant.attribution import Index
    from assistant.chat.assistant import Assistant
    from assistant.engine.open import open_engine
    from assistant.prompting.choose import MODEL, find_template, suitable_template
    from assistant.prompting.load import load_template

    if settings.sources:  # one that is not there shows before the model is loaded
        Index(settings.sources)
    named = settings.prompt
    template = load_template(named) if named and named != MODEL else None
    engine = open_engine(settings)
    done("model")
    template = template or find_template(named or suitable_template(engine, say), engine)
    assistant = Assistant(engine, template, max_new_tokens=settings.max_new_tokens)
    done("preamble")

    from assistant.web.app import build_app
    from assistant.web.pages.page import examples_for

    app = build_app(assistant, settings, examples_for(engine))
    done("page")
    return app, ", ".join(f"{part} {seconds:.1f} s" for part, seconds in parts.items())


def say(sentence: str) -> None:
    print(sentence, flush=True)


if __name__ == "__main__":
    sys.exit(main())
