"""Checks of what `[[websocket]]` says. As in `checks`: a value in, the value to use out, or ValueError."""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from string import Formatter
from typing import Any
from urllib.parse import urlsplit

_PLACES = {"domain", "host"}  # what a url may leave open


def path(value: str) -> str:
    """The path of a URL, as browsers write it."""
    if not value.startswith("/") or not value.isascii() or not value.isprintable() or set(value) & set(' ?#"<>\\'):
        raise ValueError('must be the path of a URL, such as "/xmpp-websocket"')
    if value.startswith("/.well-known/host-meta"):
        raise ValueError("is where host-meta is served: choose another path")
    return value


def origin(value: str) -> str:
    """What browsers write into `Origin` (RFC 6454 §6.1): no path, no default port, in lower case."""
    if value in ("*", "null"):
        return value
    try:
        parts = urlsplit(value)
        default = {"http": 80, "https": 443}.get(parts.scheme)
        bare = f"{parts.scheme}://{parts.netloc}" == value and bool(parts.hostname) and "@" not in value
        good = bare and value == value.lower() and value.isascii() and (parts.port is None or parts.port != default)
    except ValueError:
        good = False
    if not good:
        raise ValueError('must be an origin as browsers write it, such as "https://chat.example.org", or "*"')
    return value


def network(value: Any) -> IPv4Network | IPv6Network:
    """A network of addresses, or a single address."""
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    try:
        return ip_network(value if isinstance(value, str) else "")  # numbers are addresses to Python
    except ValueError:
        raise ValueError('must be an address or a network, such as "127.0.0.1" or "10.0.0.0/8"') from None


def url(value: str) -> str:
    """Where a WebSocket is; `{domain}` and `{host}` are filled in later."""
    try:
        places = {name for _text, name, spec, conversion in Formatter().parse(value) if name is not None}
        parts = urlsplit(value.replace("{domain}", "example.org").replace("{host}", "example.org:1"))
        good = places <= _PLACES and parts.scheme in ("wss", "ws") and bool(parts.hostname) and not parts.fragment
        good = good and value.isascii() and value.isprintable() and " " not in value
    except ValueError:
        good = False
    if not good:
        raise ValueError('must be a URL, such as "wss://chat.example.org/xmpp-websocket" or "wss://{domain}/ws"')
    return value


def behind_a_proxy(tls: str, trusted: Sequence[IPv4Network | IPv6Network]) -> None:
    """Refuse networks that nobody asks for, and a reverse proxy that nobody knows."""
    if tls == "proxy" and not trusted:
        raise ValueError(
            'tls = "proxy" needs trusted_proxies: the addresses from which the reverse proxy connects, such as '
            '["127.0.0.1", "::1"]'
        )
    if tls != "proxy" and trusted:
        raise ValueError('trusted_proxies is for tls = "proxy": nobody else may say who the client is')
