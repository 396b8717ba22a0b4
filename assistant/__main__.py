"""The entry point: settings, then engine, then web app.

python -m assistant --help
"""

import contextlib
import gc
import os
import sys
import time

from assistant.errors import AssistantError
from assistant.settings import read_settings
from assistant.web.loading import answering
from assistant.web.server import listen, local_address, serve, warnings


def main(argv=None):
    """The exit code. What keeps the program from starting is one sentence on stderr, and 1."""
    sys.stdout.reconfigure(errors="replace")  # a terminal may lack a character
    try:
        start(read_settings(sys.argv[1:] if argv is None else argv, os.environ))
    except AssistantError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def start(settings):
    with listen(settings) as sock:
        for sentence in warnings(settings):
            say(sentence)
        with answering(sock), kept():
            app, took = load(settings)
        model = app.state.assistant.engine.model
        say(f"{model} is at {local_address(settings, sock)} ({took})")
        serve(app, settings, sock, say)


@contextlib.contextmanager
def kept():
    """What the block makes stays: the garbage collector does not look through it again and again,
    which would take a second of a start."""
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


def load(settings):
    """The app, and a text that tells how long its parts took. Heavy imports wait until they are
    needed, so that what is wrong shows as soon as it can."""
    parts = {}
    clock = time.perf_counter()

    def done(part):
        nonlocal clock
        clock, before = time.perf_counter(), clock
        parts[part] = clock - before

    from assistant.attribution import Index
    from assistant.chat.assistant import Assistant
    from assistant.engine.open import open_engine
    from assistant.prompting.load import load_template, suitable_template

    if settings.sources:  # one that is not there shows before the model is loaded
        Index(settings.sources)
    template = load_template(settings.prompt) if settings.prompt else None
    engine = open_engine(settings)
    done("model")
    template = template or load_template(suitable_template(engine))
    assistant = Assistant(engine, template, max_new_tokens=settings.max_new_tokens)
    done("preamble")

    from assistant.web.app import build_app
    from assistant.web.pages.page import examples_for

    app = build_app(assistant, settings, examples_for(engine))
    done("page")
    return app, ", ".join(f"{part} {seconds:.1f} s" for part, seconds in parts.items())


def say(sentence):
    print(sentence, flush=True)


if __name__ == "__main__":
    sys.exit(main())
