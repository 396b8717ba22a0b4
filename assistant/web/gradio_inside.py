"""All that reaches into Gradio's inside, for which it has no public way.

Each function has a test of its own that fails where Gradio changes there. Knows no other room.
"""

import json
import logging
import os
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

# Read when Blocks are made: no calls home, and no statistics of every event.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["GRADIO_ANALYTICS_CACHE_FREQUENCY"] = str(10**9)

import gradio as gr  # noqa: E402
from fastapi import FastAPI, Request  # noqa: E402
from fastapi.exceptions import RequestValidationError  # noqa: E402
from fastapi.responses import JSONResponse  # noqa: E402
from gradio import networking, queueing, route_utils, routes, tunneling  # noqa: E402
from gradio.routes import App  # noqa: E402
from starlette.routing import Mount  # noqa: E402

log = logging.getLogger(__name__)

# Gradio prints what an event raises, and with it what a visitor sent.
for _module in (queueing, route_utils, routes):
    _module.traceback = SimpleNamespace(  # type: ignore[attr-defined]  # no hook
        print_exc=lambda: log.error("an event of the page failed", exc_info=True)
    )

# Options of an event that writes no reply.
FREE: dict[str, Any] = {"concurrency_id": "no reply", "concurrency_limit": None}


def set_limits(page: gr.Blocks, *, events: int, sessions: int) -> None:
    """events: that run at once. sessions: open pages that are served; the oldest leave."""
    page.max_threads = events  # which queue() reads
    page.queue(max_size=events, api_open=False, default_concurrency_limit=None)
    page.state_session_capacity = sessions


def find_folder() -> None:
    """Gradio makes a folder when it starts, in one that all users of a machine share, or that
    GRADIO_TEMP_DIR names. Where it may not, it gets one of its own: nothing is kept there."""
    try:
        Path(routes.DEFAULT_TEMP_DIR, "vibe_edit_history").mkdir(parents=True, exist_ok=True)
    except OSError:
        folder = tempfile.mkdtemp(prefix="gradio-")
        routes.DEFAULT_TEMP_DIR = os.environ["GRADIO_TEMP_DIR"] = folder


def forget_space(page: gr.Blocks) -> None:
    """On a Space the page would load a header and fonts from other hosts."""
    page.space_id = None


def mounted_app(app: FastAPI) -> App:
    """Gradio's own app, right after mount_gradio_app(app, ...)."""
    mount = app.routes[-1]
    if not (isinstance(mount, Mount) and isinstance(mount.app, App)):
        raise TypeError("Gradio mounts its app in another way")
    return mount.app


def refuse_misfits(page: gr.Blocks, app: App, sentence: str, body: dict[str, Any]) -> None:
    """Calls that do not fit a function get `sentence`, or `body` with the status 400. Gradio sends
    all of it back, once for each value that is missing, and writes it to the log."""

    def validate_inputs(function: Any, inputs: list[Any]) -> None:
        if len(inputs) < len(function.inputs):
            raise gr.Error(sentence, print_exception=False)

    async def answer(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse(body, 400)

    page.validate_inputs = validate_inputs  # type: ignore[method-assign, assignment]  # no hook
    app.add_exception_handler(RequestValidationError, answer)


def free_events(page: gr.Blocks) -> frozenset[int]:
    """The numbers of the events that write no reply: only those that give their values step by
    step write one, and of these not those with the options FREE."""
    free = FREE["concurrency_id"]
    return frozenset(
        number
        for number, function in page.fns.items()
        if not function.types_generator or function.concurrency_id == free
    )


def read_call(body: bytes) -> tuple[int | None, str | None]:
    """The event's number in a request of the page, and its session; None for what is not there."""
    try:
        call = json.loads(body)
        number, session = call["fn_index"], call.get("session_hash")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None, None
    return number if type(number) is int else None, session if isinstance(session, str) else None


def session_cookie(app: App) -> str:
    """The name of the cookie that holds a session's token."""
    return f"access-token-{app.cookie_id}"


def open_session(app: App, user: str) -> str:
    """The token of a new session."""
    token = secrets.token_urlsafe(16)
    app.tokens[token] = user
    return token


def has_session(app: App, cookies: Mapping[str, str]) -> bool:
    return cookies.get(session_cookie(app)) in app.tokens


def close_session(app: App, cookies: Mapping[str, str]) -> None:
    app.tokens.pop(cookies.get(session_cookie(app)), None)


def end_heartbeats(app: App) -> None:
    """End the streams that open pages keep for ever."""
    app.stop_event.set()


def open_tunnel(host: str, port: int) -> str:
    """The public address of a tunnel to host:port. Fails in many ways."""
    return networking.setup_tunnel(host, port, secrets.token_urlsafe(32), None, None)


def close_tunnels() -> None:
    for tunnel in tunneling.CURRENT_TUNNELS:
        tunnel.kill()
