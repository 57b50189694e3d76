"""What the account stream answers by itself, and the caps (XEP-0115) that promise exactly these answers. Pure."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable

from minimixproxy import __version__
from minimixproxy.namespaces import NS_CAPS, NS_DISCO_INFO, NS_MUC, NS_PING, NS_VERSION
from minimixproxy.wire.children import payload_attributes
from minimixproxy.wire.stanza import Stanza, escape, optional_attribute
from minimixproxy.xep.stanza_errors import error_payload

PING = b"<ping xmlns='%b'/>" % NS_PING.encode()

# Names the software (XEP-0115 §4). A URL would be better, but the project has no address; RFC 4151 asks for none.
NODE = "tag:minimixproxy,2026:caps"
IDENTITY = ("client", "pc", "minimixproxy")
FEATURES = tuple(sorted((NS_CAPS, NS_DISCO_INFO, NS_MUC, NS_PING, NS_VERSION)))


def _verification() -> str:
    """XEP-0115 §5.1, for one identity without language and no forms."""
    category, kind, name = IDENTITY
    text = "".join(f"{part}<" for part in (f"{category}/{kind}//{name}", *FEATURES))
    return base64.b64encode(hashlib.sha1(text.encode(), usedforsecurity=False).digest()).decode()


VERIFICATION = _verification()
CAPS = b"<c xmlns='%b' hash='sha-1' node='%b' ver='%b'/>" % (NS_CAPS.encode(), NODE.encode(), VERIFICATION.encode())


def answer(stanza: Stanza) -> bytes | None:
    """Return the children of the reply to an IQ get that is answered here; None if it is not for us.

    An IQ get for which there is an answer but not this one (an unknown disco node) gets an `<error/>`.
    """
    if stanza.get("type") != "get":
        return None
    if stanza.has_payload(NS_PING, "ping"):
        return b""
    if stanza.has_payload(NS_VERSION, "query"):
        return b"<query xmlns='%b'><name>minimixproxy</name><version>%b</version></query>" % (
            NS_VERSION.encode(),
            escape(__version__),
        )
    queries = payload_attributes(stanza, NS_DISCO_INFO, "query")  # no tree: anybody may ask, and write much into it
    return _disco_info(queries[0].get("node")) if queries else None


def _disco_info(node: str | None) -> bytes:
    if node not in (None, f"{NODE}#{VERIFICATION}"):
        return error_payload("cancel", "item-not-found")
    return disco_info(node, IDENTITY, FEATURES)


def disco_info(node: str | None, identity: tuple[str, str, str], features: Iterable[str]) -> bytes:
    """Return a disco#info `<query/>` (XEP-0030 §3.1); the identity is category, type and name."""
    category, kind, name = (escape(part) for part in identity)
    return b"<query xmlns='%b'%b><identity category='%b' type='%b' name='%b'/>%b</query>" % (
        NS_DISCO_INFO.encode(),
        optional_attribute("node", node or None),
        category,
        kind,
        name,
        b"".join(b"<feature var='%b'/>" % escape(feature) for feature in features),
    )
