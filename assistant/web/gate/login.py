"""The login: attempts that are counted, one cookie, and an end for one's own session only.

Stands in place of Gradio's routes, whose sessions it shares: those let anyone try without end, have
the cookie sent with other sites' requests, and end everybody's session on a GET.
"""

import math
import secrets

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.requests import cookie_parser

from assistant.settings import Settings
from assistant.web.gate.limit import PerMinute, address
from assistant.web.gate.security import plain_error

ATTEMPTS = 10  # wrong ones a minute, of one client
TOLD = f"After {ATTEMPTS} wrong attempts, you may try again every {60 // ATTEMPTS} seconds."
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

    def cookie(request):
        return {
            "key": cookie_name(request.app.state.gradio),
            "httponly": True,
            "samesite": "none" if framed else "lax",
            "secure": framed or request.url.scheme == "https",
        }

    @router.post("/login")
    async def login(request: Request):
        form = await request.form(max_files=0, max_fields=10)
        client = address(request.scope)
        if wait := math.ceil(wrong.wait(client, count=False)):
            sentence = f"Too many wrong passwords came from you; wait {wait} seconds."
            raise HTTPException(429, sentence, {"Retry-After": str(wait)})
        user, password = settings.auth
        given = str(form.get("username", "")).strip(), str(form.get("password", ""))
        if not _same(given, (user, password)):
            wrong.wait(client)
            status, body = plain_error(400, WRONG)  # the status that Gradio's page knows
            return JSONResponse(body, status)
        token = secrets.token_urlsafe(16)
        request.app.state.gradio.tokens[token] = user
        answer = JSONResponse({"success": True})
        answer.set_cookie(value=token, **cookie(request))
        return answer

    @router.post("/logout")
    async def logout(request: Request):
        gradio = request.app.state.gradio
        gradio.tokens.pop(request.cookies.get(cookie_name(gradio)), None)
        answer = JSONResponse({"success": True})
        answer.delete_cookie(**cookie(request))
        return answer

    @router.get("/logout")
    async def ask():
        return HTMLResponse(PAGE)

    return router


def login_check(gradio_app):
    """Whether a Cookie header carries a session that the login gave out."""
    name = cookie_name(gradio_app)
    return lambda header: cookie_parser(header).get(name) in gradio_app.tokens


def cookie_name(gradio_app) -> str:
    return f"access-token-{gradio_app.cookie_id}"


def _same(given: tuple[str, str], right: tuple[str, str]) -> bool:
    """Takes as long for a wrong name as for a wrong password."""
    user, password = (
        secrets.compare_digest(a.encode(errors="surrogatepass"), b.encode(errors="surrogatepass"))
        for a, b in zip(given, right, strict=True)
    )
    return user and password
