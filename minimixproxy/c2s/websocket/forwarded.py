"""Which client a reverse proxy forwards: `X-Forwarded-*`, and `Forwarded` (RFC 7239). Pure.

Both headers say who the client is, and a proxy that writes one of them may let the other pass as the client wrote it.
So if both are there they have to agree.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import NamedTuple

Address = IPv4Address | IPv6Address
Networks = Sequence[IPv4Network | IPv6Network]
Headers = Sequence[tuple[bytes, bytes]]  # names in lower case

# Without spaces around "=", as RFC 7239 §4 has it: many of them, on both sides of no value, would cost their square.
_PAIR = re.compile(r"\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)=(?:\"((?:[^\"\\]|\\.)*)\"|([^\s;,\"]*))\s*(;|,|$)")
_SECURE = frozenset({"https", "wss"})


class ForgedHeaders(Exception):
    """The headers do not agree, or cannot be read."""


class Forwarded(NamedTuple):
    """The client. `address`: None if the proxy names none. `plain`: it came without TLS.

    `hosts`: what it asked for, in small letters; two if the headers do not agree.
    """

    address: Address | None
    plain: bool
    hosts: frozenset[str]


def forwarded(headers: Headers, trusted: Networks) -> Forwarded:
    """Read what proxies in the `trusted` networks have written. Raises `ForgedHeaders`."""
    elements = _elements(_joined(headers, b"forwarded"))
    ways = [way for way in (_x_forwarded_for(headers), [one["for"] for one in elements if "for" in one]) if way]
    clients = {_client(way, trusted) for way in ways}
    if len(clients) > 1:
        raise ForgedHeaders("X-Forwarded-For and Forwarded name two clients")
    schemes = _listed(_joined(headers, b"x-forwarded-proto")) + [one["proto"] for one in elements if "proto" in one]
    plain = any(scheme.lower() not in _SECURE for scheme in schemes)
    lists = (
        _listed(_joined(headers, b"x-forwarded-host")),
        [one["host"] for one in _of_our_proxies(elements, trusted) if "host" in one],
    )
    hosts = frozenset(names[-1].lower() for names in lists if names)
    return Forwarded(clients.pop() if clients else None, plain, hosts)


def is_in(address: Address, networks: Networks) -> bool:
    """Tell whether an address is in one of the networks; an IPv4-mapped one counts as IPv4."""
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in network for network in networks)


def _client(way: list[str], trusted: Networks) -> Address | None:
    """Return the right-most address that is none of our proxies: those before it are hearsay."""
    address = None
    for hop in reversed(way):
        address = _address(hop)
        if address is None or not is_in(address, trusted):
            break
    return address


def _of_our_proxies(elements: list[dict[str, str]], trusted: Networks) -> list[dict[str, str]]:
    """Return the elements of `Forwarded` that are no hearsay: from the one on that names who came to our proxies."""
    for number in reversed(range(len(elements))):
        address = _address(elements[number].get("for", ""))
        if address is None or not is_in(address, trusted):
            return elements[number:]
    return elements


def _address(text: str) -> Address | None:
    """Return an address, of which the port may be said, too; None for `unknown`, a made-up name, or nonsense."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _joined(headers: Headers, name: bytes) -> str:
    return ",".join(value.decode("ascii", "replace") for key, value in headers if key == name)


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _x_forwarded_for(headers: Headers) -> list[str]:
    return _listed(_joined(headers, b"x-forwarded-for"))


def _elements(text: str) -> list[dict[str, str]]:
    """Return the elements of `Forwarded`, each with its pairs."""
    elements: list[dict[str, str]] = [{}]
    position = 0
    while position < len(text):
        pair = _PAIR.match(text, position)
        if pair is None:
            raise ForgedHeaders("Forwarded cannot be read")
        value = pair[3] if pair[2] is None else re.sub(r"\\(.)", r"\1", pair[2])
        elements[-1][pair[1].lower()] = value
        position = pair.end()
        if pair[4] == ",":
            elements.append({})
    return elements
