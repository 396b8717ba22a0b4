"""build_app(): Gradio's page, /health and /metrics in one FastAPI app, behind the Gate."""

import asyncio
import os
import time
from collections.abc import Sequence

from fastapi import Depends, FastAPI
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from gradio import mount_gradio_app
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.routing import Route

from assistant.chat.assistant import Assistant
from assistant.paths import ROOT
from assistant.settings import Settings
from assistant.web.api.llama import llama_router
from assistant.web.api.openai import openai_router
from assistant.web.api.overlap import overlap_router
from assistant.web.api.replies import OtherMethods, add_errors, check_key
from assistant.web.api.tgi import TGI_ERRORS, tgi_router
from assistant.web.api.tokens import tokens_router
from assistant.web.gate.access import Access
from assistant.web.gate.bodies import Parts
from assistant.web.gate.hosts import Hosts
from assistant.web.gate.limit import Limit
from assistant.web.gate.login import ATTEMPTS_NOTE, login_check, login_router
from assistant.web.gate.metrics import Measured
from assistant.web.gate.origins import Origins
from assistant.web.gate.security import BAD_CALL, Gate, Json, plain_error
from assistant.web.gradio_inside import (
    find_folder,
    forget_space,
    free_events,
    mounted_app,
    refuse_misfits,
    set_limits,
)
from assistant.web.gradio_sessions import Listening, keep_sessions
from assistant.web.pages.attribution.routes import sources_router
from assistant.web.pages.chat.routes import chat_router
from assistant.web.pages.chat.tab import chat_facts
from assistant.web.pages.chat.templates import Assistants
from assistant.web.pages.licence import licence_of
from assistant.web.pages.page import EXAMPLES, SESSIONS_MAX, build_page, look
from assistant.web.pages.playground.routes import playground_router
from assistant.web.pages.templates.routes import templates_router
from assistant.web.scripts import Scripts
from assistant.web.sources import Sources


def build_app(
    assistant: Assistant, settings: Settings, examples: Sequence[str] = EXAMPLES
) -> FastAPI:
    """The ASGI app. `app.state` has hosts (a Hosts), the assistant, whose engine is Measured from
    here on, and gradio (Gradio's app)."""

    async def build() -> FastAPI:
        return _build(assistant, settings, examples)

    # For each lock that it makes, Gradio opens an event loop, unless one is running.
    return asyncio.run(build())


def _build(assistant: Assistant, settings: Settings, examples: Sequence[str]) -> FastAPI:
    assistant.engine = engine = Measured(assistant.engine)
    started = time.monotonic()
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/health", response_model=None)
    async def health() -> Json | Response:
        status = engine.status()
        body = {
            "status": "error" if status.dead else "ok",  # for llama.cpp's clients
            "model": engine.model,
            "adapter": engine.adapter,
            "window": engine.window,
            "numerics": engine.numerics,
            "running": status.running,
            "waiting": status.waiting,
            "uptime_s": round(time.monotonic() - started, 1),
        }
        if status.dead:
            return JSONResponse({**body, "error": status.dead}, 503)
        return body

    key = check_key(settings)

    @app.get("/metrics", dependencies=[Depends(key)])
    async def metrics() -> Response:
        return Response(generate_latest(engine.registry), media_type=CONTENT_TYPE_LATEST)

    sources = Sources(settings.attribution, settings.sources)
    assistants = Assistants(assistant)

    def facts() -> Json:
        licence = None if settings.accept_license else licence_of(engine.model)
        more = {"licence": licence, "service": sources.host}
        return chat_facts(assistants, examples) | more

    routers = [
        openai_router(assistant, key),
        tgi_router(engine, key),
        llama_router(assistant, key),
        tokens_router(assistant, key),
        overlap_router(sources, key),
        chat_router(assistants, facts),
        sources_router(sources),
        playground_router(engine),
        templates_router(assistants),
    ]
    if settings.auth:
        routers.append(login_router(settings))
    routes = [*app.routes, *(route for router in routers for route in router.routes)]
    for router in routers:
        app.include_router(router)
    for route in routes:
        if isinstance(route, APIRoute) and route.path != "/":  # which is the page's, too
            app.router.routes.append(Route(route.path, OtherMethods(route)))
    add_errors(app, TGI_ERRORS, engine.count_refusal)
    app.mount("/page/static", Scripts())

    find_folder()
    page = build_page(assistants, sources)
    # The engine's waiting room is the only one: Gradio lets all that it admits run at once.
    events = 4 * (settings.slots + settings.queue) + 40
    set_limits(page, events=events, sessions=SESSIONS_MAX)
    forget_space(page)
    mount_gradio_app(
        app,
        page,
        path="/",
        auth=settings.auth,
        auth_message=ATTEMPTS_NOTE,
        root_path=settings.root_path or None,
        show_error=False,
        enable_monitoring=False,
        max_file_size="1kb",
        blocked_paths=[str(ROOT), os.path.expanduser("~")],
        run_history=False,
        footer_links=[],
        mcp_server=False,
        ssr_mode=False,
        pwa=False,
        **look(),
    )
    app.state.hosts = Hosts(settings)
    app.state.assistant = assistant
    app.state.gradio = mounted_app(app)
    refuse_misfits(page, app.state.gradio, BAD_CALL, plain_error(400, BAD_CALL)[1])
    sessions = keep_sessions(page, app.state.gradio)
    app.add_middleware(Listening, sessions=sessions)
    if limit := settings.max_requests_per_minute:
        app.add_middleware(
            Limit, limit=limit, free=free_events(page), known=sessions, errors=TGI_ERRORS
        )
    app.add_middleware(Parts, errors=TGI_ERRORS)
    app.add_middleware(
        Gate,
        hosts=app.state.hosts,
        origins=Origins(settings.allow_origin),
        errors=TGI_ERRORS,
        root_path=settings.root_path,
        framed_by_hub=settings.on_space,
        logged_in=login_check(app.state.gradio) if settings.auth else None,
    )
    app.add_middleware(Access, write=settings.access_log)
    return app
