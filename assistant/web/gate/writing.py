"""What the program writes of failures while it serves: which, and where, never what a visitor sent.

The message of an exception, or of a warning, may quote a prompt: lines that look like the log's
own, sequences that a terminal obeys, a megabyte. So only kinds and places are written, and of
messages those that torch has of a device.
"""

import asyncio
import logging
import sys
import threading
import traceback
import warnings
from types import TracebackType
from typing import Any, TypeAlias

log = logging.getLogger(__name__)

FRAMES = 12  # of a failure, the innermost ones
CAUSES = 3  # that are named, too
OURS = "assistant."  # the loggers whose lines quote nothing
OF_TORCH = "assistant.engine.local"  # whose RuntimeErrors are torch's, and tell of devices

Raised: TypeAlias = (
    tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
)


def name_failure(error: BaseException | None) -> str:
    """On one line: its kind, the places that it came through, and the same of its causes; of a
    group's errors, the first one is its cause."""
    parts: list[str] = []
    while error is not None and len(parts) <= CAUSES:
        frames = traceback.extract_tb(error.__traceback__)[: -FRAMES - 1 : -1]
        places = [
            f"{'/'.join(frame.filename.replace(chr(92), '/').split('/')[-2:])}:{frame.lineno}"
            for frame in frames
        ]
        parts.append(f"{type(error).__name__} at {' < '.join(places) or 'no place'}")
        hidden = error.__suppress_context__
        cause = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error.__cause__
        error = cause or (None if hidden else error.__context__)
    return "; after ".join(parts)


class Plain(logging.Formatter):
    """One line for each record."""

    def format(self, record: logging.LogRecord) -> str:
        if record.name.startswith(OURS):
            line = record.getMessage()
        else:
            line = f"{record.levelname} of {record.name} at {record.filename}:{record.lineno}"
        if record.exc_info:
            error = record.exc_info[1]
            line = f"{line}: {name_failure(error)}"
            if record.name.startswith(OF_TORCH) and isinstance(error, RuntimeError):
                line = f"{line}: {error}"
        return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)


def handle_loop_failure(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """An event loop's exception handler: asyncio's own writes what tasks look like, and their
    exceptions' messages. Its message spells a callback's arguments."""
    what, callback, _ = context["message"].partition(" callback ")
    log.error("%s: %s", what + callback.rstrip(), name_failure(context.get("exception")))


def write_plainly() -> None:
    """From here on what Python itself, or a library that is imported, would write to stderr through
    logging or warnings is one plain line."""
    for logger in (logging.root, *logging.root.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger) and not logger.name.startswith(OURS):
            # torch and huggingface_hub bring some of their own, which quote.
            own = [each for each in logger.handlers if type(each) is not logging.StreamHandler]
            logger.handlers = own
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    handler.setFormatter(Plain())
    logging.lastResort = handler

    def warn(message: Warning | str, category: type[Warning], filename: str, lineno: int,
             file: object = None, line: str | None = None) -> None:  # fmt: skip
        log.warning("%s at %s:%d", category.__name__, filename, lineno)

    warnings.showwarning = warn
    threading.excepthook = lambda args: log.error("a thread: %s", name_failure(args.exc_value))
    sys.unraisablehook = lambda args: log.error("ignored: %s", name_failure(args.exc_value))
