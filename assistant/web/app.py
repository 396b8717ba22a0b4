"""build_app(): Gradio's page, /health and /metrics in one FastAPI app, behind the Gate."""

import asyncio
import os
import time

# Read by Gradio when it is imported: no calls home, and no statistics of every event.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["GRADIO_ANALYTICS_CACHE_FREQUENCY"] = str(10**9)

import gradio as gr  # noqa: E402
from fastapi import Depends, FastAPI  # noqa: E402
from fastapi.responses import JSONResponse, Response  # noqa: E402
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest  # noqa: E402
from starlette.routing import Route  # noqa: E402

from assistant.paths import ROOT
from assistant.web.api.openai import v1_router  # noqa: E402
from assistant.web.api.overlap import overlap_router  # noqa: E402
from assistant.web.api.replies import OtherMethods, add_errors, check_key  # noqa: E402
from assistant.web.api.tgi import TGI_ERRORS, tgi_router  # noqa: E402
from assistant.web.gate.access import Access  # noqa: E402
from assistant.web.gate.bodies import Parts  # noqa: E402
from assistant.web.gate.hosts import Hosts  # noqa: E402
from assistant.web.gate.limit import Limit, free_events  # noqa: E402
from assistant.web.gate.login import TOLD, login_check, login_router  # noqa: E402
from assistant.web.gate.metrics import Measured  # noqa: E402
from assistant.web.gate.security import Gate  # noqa: E402
from assistant.web.gradio_inside import bound_calls  # noqa: E402
from assistant.web.pages.page import EXAMPLES, SESSIONS_MAX, build_page, look  # noqa: E402
from assistant.web.scripts import Scripts  # noqa: E402
from assistant.web.sources import Sources  # noqa: E402


def build_app(assistant, settings, examples=EXAMPLES):
    """The ASGI app. `app.state` has hosts (a Hosts), the assistant, whose engine is Measured from
    here on, and gradio (Gradio's app)."""

    async def build():
        return _build(assistant, settings, examples)

    # For each lock that it makes, Gradio opens an event loop, unless one is running.
    return asyncio.run(build())


def _build(assistant, settings, examples):
    assistant.engine = engine = Measured(assistant.engine)
    started = time.monotonic()
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/health")
    async def health():
        status = engine.status()
        body = {
            "model": engine.model,
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
    async def metrics():
        return Response(generate_latest(engine.registry), media_type=CONTENT_TYPE_LATEST)

    sources = Sources(settings.attribution, settings.sources)
    routers = [v1_router(assistant, key), tgi_router(engine, key), overlap_router(sources, key)]
    if settings.auth:
        routers.append(login_router(settings))
    routes = [*app.routes, *(route for router in routers for route in router.routes)]
    for router in routers:
        app.include_router(router)
    for route in routes:
        if route.path != "/":  # which is the page's, too
            app.router.routes.append(Route(route.path, OtherMethods(route)))
    add_errors(app, TGI_ERRORS, engine.refused)
    app.mount("/page/static", Scripts())

    page = build_page(assistant, examples, sources, settings.accept_license)
    # The engine's waiting room is the only one: Gradio lets all that it admits run at once.
    events = 4 * (settings.slots + settings.queue) + 40
    page.max_threads = events
    page.queue(max_size=events, api_open=False, default_concurrency_limit=None)
    page.state_session_capacity = SESSIONS_MAX
    page.space_id = None  # on a Space it would load a header and fonts from other hosts
    gr.mount_gradio_app(
        app,
        page,
        path="/",
        auth=settings.auth,
        auth_message=TOLD,
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
    app.state.gradio = app.routes[-1].app
    bound_calls(page, app.state.gradio)
    if limit := settings.max_requests_per_minute:
        app.add_middleware(Limit, limit=limit, free=free_events(page), errors=TGI_ERRORS)
    app.add_middleware(Parts, errors=TGI_ERRORS)
    app.add_middleware(
        Gate,
        hosts=app.state.hosts,
        errors=TGI_ERRORS,
        root_path=settings.root_path,
        framed_by_hub=settings.on_space,
        logged_in=login_check(app.state.gradio) if settings.auth else None,
    )
    app.add_middleware(Access, write=settings.access_log)
    return app
