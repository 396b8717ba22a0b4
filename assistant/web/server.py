"""listen() and serve(): the socket, the running server, its end, and the public link.

Imports nothing heavy before it is needed: a port that is taken shows before a model is loaded.
"""

import asyncio
import errno
import socket
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from assistant.errors import PortError
from assistant.settings import Settings
from assistant.web.gate import access, writing

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

GRACE_S = 2  # seconds that open connections get once the replies have ended
BACKLOG = 1024  # connections that the system keeps until they are accepted
ACCEPTED = 16  # of these at a time: they take descriptors before they can be told to leave


def listen(settings: Settings) -> socket.socket:
    """The listening socket. Raises PortError."""
    host, port = settings.host, settings.port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host,
            port,
            type=socket.SOCK_STREAM,
            proto=socket.IPPROTO_TCP,
            flags=socket.AI_PASSIVE,
        )[0]
        # asyncio looks for TCP here: only then it sends small answers without waiting for more.
        sock = socket.socket(family, kind, protocol)  # fails where there is no IPv6
    except OSError:
        raise PortError(f"--host {host!r} is not an address of this machine.") from None
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise PortError(f"--host {host!r} is not an address of this machine.") from None
        raise PortError(
            f"Cannot listen on {host}:{port} ({error.strerror}); --port 0 takes a free port, "
            "--port N another."
        ) from None
    return sock


def local_address(settings: Settings, sock: socket.socket) -> str:
    """The page's address on this machine."""
    host, port = sock.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{host}:{port}"


def warnings(settings: Settings) -> Iterator[str]:
    """What a person should know about who can reach the page: sentences."""
    if settings.auth or settings.on_space:
        return
    if not settings.on_loopback:
        yield (
            f"Everyone who can reach {settings.host} can use this page; --auth USER:PASSWORD asks "
            "for a login."
        )
    if settings.share:
        yield (
            "--share without --auth opens the chat, the playground and their API to everyone who "
            "has the link."
        )


def serve(
    app: "FastAPI",
    settings: Settings,
    sock: socket.socket,
    say: Callable[[str], object] = print,
) -> None:
    """Serve until SIGTERM or Ctrl-C. say: takes sentences for the person at the terminal."""
    writing.write_plainly()
    if settings.access_log:
        access.write_to_stdout()
    make_server(app, settings, say).run(sockets=[sock])


def make_server(
    app: "FastAPI", settings: Settings, say: Callable[[str], object] = print
) -> "uvicorn.Server":
    import uvicorn

    from assistant.web.gate.connections import Connection, drop_late, places, quiet_handler
    from assistant.web.gradio_inside import close_tunnels, end_heartbeats

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            sockets = sockets or []
            asyncio.get_running_loop().set_exception_handler(quiet_handler())
            await super().startup(sockets)
            for sock in sockets:
                sock.listen(BACKLOG)
            if settings.share:
                arguments = (app, settings, sockets[0], say)
                threading.Thread(target=share, args=arguments, daemon=True).start()

        async def on_tick(self, counter: int) -> bool:  # ten times a second
            if counter % 5 == 0:
                connections = cast(set[Connection], self.server_state.connections)
                drop_late(connections, asyncio.get_running_loop().time())
            return await super().on_tick(counter)

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            # Replies end first, as cancelled, so that what was written reaches its page; then the
            # pages' heartbeats, which would otherwise go on for ever.
            await asyncio.to_thread(app.state.assistant.engine.close)
            end_heartbeats(app.state.gradio)
            if settings.share:
                close_tunnels()
            await super().shutdown(sockets)

    return Server(
        uvicorn.Config(
            app,
            http=Connection,
            ws="none",
            limit_concurrency=places(),
            backlog=ACCEPTED,
            log_level="critical",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_S,
        )
    )


def share(
    app: "FastAPI",
    settings: Settings,
    sock: socket.socket,
    say: Callable[[str], object] = print,
) -> None:
    """Open Gradio's tunnel to our port and let its host in; or say why there is none."""
    from assistant.web.gradio_inside import open_tunnel

    local, port = local_address(settings, sock), sock.getsockname()[1]
    if settings.on_space:
        say("--share is not needed on a Space: it has an address of its own.")
        return
    try:
        host = urlsplit(open_tunnel(urlsplit(local).hostname or "", port)).hostname or ""
    except Exception as error:  # a tunnel can fail in many ways; the local page goes on
        reason = str(error).strip().split("\n")[0].rstrip(".")
        say(f"No public link could be made ({reason}); the page is at {local} only.")
        return
    app.state.hosts.add(host)
    say(f"Public link: https://{host}")
