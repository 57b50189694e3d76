"""Answers to first-level elements that ask for what the proxy does not do, at any time of a stream. Pure."""

from __future__ import annotations

from typing import NamedTuple

from minimixproxy.namespaces import NS_COMPRESS, NS_SM, NS_STANZAS, NS_TLS
from minimixproxy.wire.stanza import Stanza


class ElementRefusal(NamedTuple):
    """What to answer, and whether the stream ends with it."""

    answer: bytes
    final: bool


def refusal_of_element(stanza: Stanza) -> ElementRefusal | None:
    """Return the answer to an element of stream management, compression or STARTTLS; None for any other."""
    if stanza.uri in NS_SM:  # XEP-0198 §3; its acknowledgements have no business here either
        failed = b"<failed xmlns='%b'><feature-not-implemented xmlns='%b'/></failed>"
        return ElementRefusal(failed % (stanza.uri.encode(), NS_STANZAS.encode()), final=False)
    if stanza.uri == NS_COMPRESS:  # XEP-0138 §3
        return ElementRefusal(b"<failure xmlns='%b'><setup-failed/></failure>" % NS_COMPRESS.encode(), final=False)
    if stanza.uri == NS_TLS:  # RFC 6120 §5.4.2.2: the stream ends
        return ElementRefusal(b"<failure xmlns='%b'/>" % NS_TLS.encode(), final=True)
    return None
