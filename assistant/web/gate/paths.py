"""Which addresses there are, which of them are the APIs', and which one a client means.

Knows paths, not what stands behind them.
"""

import re

from starlette.types import Scope

# What other programs ask: OpenAI's API, TGI's, and what editors use of llama.cpp's. TGI's / is
# among them where something is posted to it; else it is the page.
API_PATHS = re.compile(
    r"/v1/(?:models(?:/.{1,300})?|(?:chat/)?completions|responses)"
    r"|/generate(?:_stream)?|/info|/(?:de)?tokenize|/tokenizer_info|/infill|/completion|/props|/health"
)
# Those, and what the page and its API use. All else that Gradio mounts (uploads, files, proxies,
# recordings, run histories, monitoring ...) is closed.
OPEN_PATHS = re.compile(
    rf"/|{API_PATHS.pattern}|/metrics|/overlap"
    r"|/config/?|/theme\.css|/robots\.txt|/favicon\.ico"
    r"|/page/static/[\w/]{1,100}\.js"
    r"|/page/(?:facts|chat|again|stop|count|prompt|render|sources|template)"
    r"|/page/(?:library|library/use|look|complete|complete/stop|inspect)"
    r"|/(?:static|assets|svelte)/.{1,200}"
    r"|/gradio_api/(?:info/?|user/?|login_check/?|app_id/?|theme\.css|startup-events"
    r"|queue/join|queue/data|call/.+|cancel|reset/?|heartbeat/[^/]+)"
)
LOGIN_PATHS = frozenset({"/login", "/logout"})  # where a login is asked
# What the scripts ask, and what Gradio itself leaves open to visitors who have not logged in.
BEHIND_LOGIN = re.compile(
    r"/page/(?!static/).+|/gradio_api/(?:app_id|startup-events|cancel|reset|heartbeat)\b.*"
)
# Of the page's own scripts alone, not of other programs. A form of another site cannot send JSON.
OF_PAGE = re.compile(r"/page/.+")

# Here a call is only taken up, not run: what fails is what it names, or the shape of its values.
CALL_PATHS = re.compile(r"/gradio_api/(?:queue/join|call/.+)")


def of_api(scope: Scope, method: str | None = None) -> bool:
    """Whether a request is for one of the APIs, or for what this one lacks of OpenAI's. method:
    another one than the request's own."""
    path = scope["path"]
    root = path == "/" and (method or scope["method"]) == "POST"
    return root or path.startswith("/v1/") or API_PATHS.fullmatch(path) is not None


def as_meant(scope: Scope) -> Scope:
    """`scope` with the address of an API as it is known here: clients double slashes, and add one
    at the end. HEAD is read as GET there; the answer's body is left out by the server."""
    path = re.sub("/+", "/", scope["path"]).rstrip("/")
    if API_PATHS.fullmatch(path):
        scope = {**scope, "path": path, "raw_path": path.encode()}
        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
    return scope
