"""The names that the server answers to, and the pages that may post to it."""

import re
from ipaddress import ip_address

from assistant.settings import Settings

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
PORTS = {"http": 80, "https": 443}  # the schemes that a page can have, and their ports
HOST = re.compile(r"(?:([\w.-]+)|\[([\da-f:.]+)\])(?::(\d{0,5}))?", re.A | re.I)


class Hosts:
    """The names that this server answers to: loopback, those that were given, those that it learns.

    A given name is that of pages at the usual ports, or at the one that was given with it;
    one that was learnt, of pages at https.
    """

    def __init__(self, settings: Settings) -> None:
        given = [*settings.allow_host, settings.host]
        self.names = {_hostname(name) for name in given} - {None, "0.0.0.0", "::"}
        self.pages = {_page(scheme, name) for name in settings.allow_host for scheme in PORTS}
        if settings.space_host:
            self.add(settings.space_host)

    def add(self, name: str) -> None:
        self.names.add(name.lower())
        self.pages.add(_page("https", name))

    def allow(self, host: str, server_address: str | None) -> bool:
        """Whether the header `host` names us; `server_address` is the connection's own end."""
        name = _hostname(host)
        return name is not None and (
            name in LOOPBACK or name in self.names or name == _plain_address(server_address)
        )

    def own(self, origin: str, host: str, scheme: str = "http") -> bool:
        """Whether a page of `origin` may post to the server that was reached as `host`, by `scheme`
        as far as it knows: in front of a given name, a proxy may add TLS and not say so."""
        asked, _, place = origin.partition("://")
        page = _page(asked, place)
        if page is None or (asked, scheme) == ("http", "https"):
            return False
        tls_unseen = page[1] in self.names - LOOPBACK
        same = page == _page(asked, host) and (asked == scheme or tls_unseen)
        return same or page in self.pages


def _place(host: str) -> tuple[str, int | None] | None:
    """The name and the port in a Host header, "[::1]:7860" for one; None where there is no name."""
    if host.count(":") > 1 and not host.startswith("["):
        host = f"[{host}]"
    found = HOST.fullmatch(host)
    if not found or int(found[3] or 0) > 65535:
        return None
    return (found[1] or found[2]).lower(), int(found[3] or 0) or None


def _hostname(host: str) -> str | None:
    place = _place(host)
    return place and place[0]


def _page(scheme: str, host: str) -> tuple[str, str, int] | None:
    """Scheme, name and port of a page at `host`; None where there is no such."""
    place = _place(host)
    if place is None or scheme not in PORTS:
        return None
    return scheme, place[0], place[1] or PORTS[scheme]


def _plain_address(address: str | None) -> str | None:
    """`address` without the IPv6 form of an IPv4 address."""
    try:
        ip = ip_address(address or "")
    except ValueError:
        return None
    return str(getattr(ip, "ipv4_mapped", None) or ip)
