"""The login: attempts that are counted, one cookie, and an end for one's own session only.

Stands in place of Gradio's routes, whose sessions it shares: those let anyone try without end, have
the cookie sent with other sites' requests, and end everybody's session on a GET.
"""

import math
import secrets
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse
from gradio.routes import App
from starlette.requests import cookie_parser

from assistant.settings import Settings
from assistant.web.gate.limit import PerMinute, address
from assistant.web.gate.security import plain_error
from assistant.web.gradio_inside import close_session, has_session, open_session, session_cookie

ATTEMPTS = 10  # wrong ones a minute, of one client
ATTEMPTS_NOTE = (
    f"After {ATTEMPTS} wrong attempts, you may try again every {60 // ATTEMPTS} seconds."
)
WRONG = "This is not the user name and password of this server."
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><title>Log out</title></head>
<body style="font: 1.1rem system-ui, sans-serif; margin: 20vh auto; max-width: 30rem">
<p><button style="font: inherit">Log out</button></p>
<script>
document.querySelector("button").onclick = () =>
  fetch("logout", {method: "POST"}).then(() => location.replace("./"));
</script></body></html>
"""


def login_router(settings: Settings) -> APIRouter:
    """The routes /login and /logout. Gradio's app is app.state.gradio."""
    router, wrong = APIRouter(), PerMinute(ATTEMPTS)
    framed = settings.on_space  # by another site, whose frame must have the cookie too

    def cookie(request: Request) -> dict[str, Any]:
        return {
            "key": session_cookie(request.app.state.gradio),
            "httponly": True,
            "samesite": "none" if framed else "lax",
            "secure": framed or request.url.scheme == "https",
        }

    @router.post("/login")
    async def login(request: Request) -> JSONResponse:
        form = await request.form(max_files=0, max_fields=10)
        client = address(request.scope)
        if wait := math.ceil(wrong.wait(client, count=False)):
            sentence = f"Too many wrong passwords came from you; wait {wait} seconds."
            raise HTTPException(429, sentence, {"Retry-After": str(wait)})
        given = str(form.get("username", "")).strip(), str(form.get("password", ""))
        if settings.auth is None or not _same(given, settings.auth):
            wrong.wait(client)
            status, body = plain_error(400, WRONG)  # the status that Gradio's page knows
            return JSONResponse(body, status)
        token = open_session(request.app.state.gradio, settings.auth[0])
        answer = JSONResponse({"success": True})
        answer.set_cookie(value=token, **cookie(request))
        return answer

    @router.post("/logout")
    async def logout(request: Request) -> JSONResponse:
        close_session(request.app.state.gradio, request.cookies)
        answer = JSONResponse({"success": True})
        answer.delete_cookie(**cookie(request))
        return answer

    @router.get("/logout")
    async def ask() -> HTMLResponse:
        return HTMLResponse(PAGE)

    return router


def login_check(gradio_app: App) -> Callable[[str], bool]:
    """Whether a Cookie header carries a session that the login gave out."""
    return lambda header: has_session(gradio_app, cookie_parser(header))


def _same(given: tuple[str, str], right: tuple[str, str]) -> bool:
    """Takes as long for a wrong name as for a wrong password."""
    user, password = (
        secrets.compare_digest(a.encode(errors="surrogatepass"), b.encode(errors="surrogatepass"))
        for a, b in zip(given, right, strict=True)
    )
    return user and password
