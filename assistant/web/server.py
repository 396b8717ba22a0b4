"""listen() and serve(): the socket, the running server, its end, and the public link.

Imports nothing heavy before it is needed: a port that is taken shows before a model is loaded.
"""

import asyncio
import errno
import secrets
import socket
import threading
from urllib.parse import urlsplit

from assistant.errors import PortError
from assistant.web.gate import access

GRACE_S = 2  # seconds that open connections get once the replies have ended
BACKLOG = 1024  # connections that the system keeps until they are accepted
ACCEPTED = 16  # of these at a time: they take descriptors before they can be told to leave


def listen(settings):
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
        raise PortError(f"--host {host!r} is no address of this machine.") from None
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise PortError(f"--host {host!r} is no address of this machine.") from None
        raise PortError(
            f"Cannot listen on {host}:{port} ({error.strerror}); --port 0 takes a free port, "
            "--port N another."
        ) from None
    return sock


def local_address(settings, sock):
    """The page's address on this machine."""
    host, port = sock.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{host}:{port}"


def warnings(settings):
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


def serve(app, settings, sock, say=print):
    """Serve until SIGTERM or Ctrl-C. say: takes sentences for the person at the terminal."""
    if settings.access_log:
        access.write_to_stdout()
    make_server(app, settings, say).run(sockets=[sock])


def make_server(app, settings, say=print):
    import uvicorn

    from assistant.web.gate.connections import Connection, drop_late, places, quiet_handler

    class Server(uvicorn.Server):
        async def startup(self, sockets=None):
            asyncio.get_running_loop().set_exception_handler(quiet_handler())
            await super().startup(sockets)
            for sock in sockets:
                sock.listen(BACKLOG)
            if settings.share:
                arguments = (app, settings, sockets[0], say)
                threading.Thread(target=share, args=arguments, daemon=True).start()

        async def on_tick(self, counter):  # ten times a second
            if counter % 5 == 0:
                drop_late(self.server_state.connections, asyncio.get_running_loop().time())
            return await super().on_tick(counter)

        async def shutdown(self, sockets=None):
            # Replies end first, as cancelled, so that what was written reaches its page; then the
            # pages' heartbeats, which would otherwise go on for ever.
            await asyncio.to_thread(app.state.assistant.engine.close)
            app.state.gradio.stop_event.set()
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


def share(app, settings, sock, say=print):
    """Open Gradio's tunnel to our port and let its host in; or say why there is none."""
    from gradio import networking

    local = urlsplit(local_address(settings, sock))
    if settings.on_space:
        return say("--share is not needed on a Space: it has an address of its own.")
    try:
        link = networking.setup_tunnel(
            local.hostname, local.port, secrets.token_urlsafe(32), None, None
        )
        host = urlsplit(link).hostname
    except Exception as error:  # a tunnel can fail in many ways; the local page goes on
        reason = str(error).strip().split("\n")[0].rstrip(".")
        return say(
            f"No public link could be made ({reason}); the page is at {local.geturl()} only."
        )
    app.state.hosts.add(host)
    say(f"Public link: https://{host}")


def close_tunnels():
    from gradio.tunneling import CURRENT_TUNNELS

    for tunnel in CURRENT_TUNNELS:
        tunnel.kill()
