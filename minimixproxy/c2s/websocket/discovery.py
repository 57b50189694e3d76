"""What tells clients where the WebSocket is: host-meta (RFC 6415) with the links of XEP-0156 §3. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

from minimixproxy.c2s.transport.certificates import ascii_domain
from minimixproxy.wire.stanza import escape

XML_PATH, JSON_PATH = "/.well-known/host-meta", "/.well-known/host-meta.json"
_REL = "urn:xmpp:alt-connections:websocket"
_HOST = re.compile(r"(?P<name>[^:]*)(?::(?P<port>[0-9]{0,5}))?")
_LAST_PORT = 65535
_XRD = b"http://docs.oasis-open.org/ns/xri/xrd-1.0"


def domain_of(host: str, domains: Iterable[str]) -> str | None:
    """Return which of the domains a `Host` names, with or without a port; None if none of them."""
    found = _HOST.fullmatch(host)
    if found is None or (found["port"] and not 0 < int(found["port"]) <= _LAST_PORT):
        return None
    wanted = found["name"].lower().removesuffix(".")
    return next((domain for domain in domains if ascii_domain(domain) == wanted), None)


def xml(urls: Sequence[str]) -> bytes:
    """Return host-meta as XRD."""
    links = b"".join(b"<Link rel='%b' href='%b'/>" % (_REL.encode(), escape(url)) for url in urls)
    return b"<?xml version='1.0' encoding='utf-8'?>\n<XRD xmlns='%b'>%b</XRD>\n" % (_XRD, links)


def json_text(urls: Sequence[str]) -> bytes:
    """Return host-meta as JSON (RFC 6415 §3)."""
    return json.dumps({"links": [{"rel": _REL, "href": url} for url in urls]}).encode() + b"\n"
