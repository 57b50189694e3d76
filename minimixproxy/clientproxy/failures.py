"""Errors in place of answers: those that close a request, and those that a server makes. Pure."""

from __future__ import annotations

from minimixproxy.clientproxy.requests import Request
from minimixproxy.namespaces import NS_STANZAS
from minimixproxy.wire.stanza import Stanza
from minimixproxy.xep.iq import iq
from minimixproxy.xep.stanza_errors import error_payload


def iq_error(request: Request, error_type: str, condition: str) -> bytes:
    """Return the error that closes a request."""
    error = error_payload(error_type, condition)
    return iq("error", error, id=request.id, sender=request.answer_from, to=request.asker)


def is_bounced(iq: Stanza) -> bool:
    """Tell whether the server may have said it, in the name of a resource that is gone (RFC 6120 §8.3.3.13).

    For the time between a resource's end and the word of it, servers say what a resource says that does not know the
    request (RFC 6121 §8.5.3.2.3). Another may know it.
    """
    return any(
        child.uri == NS_STANZAS and child.name in ("recipient-unavailable", "service-unavailable")
        for error in iq.elements(iq.uri, "error")
        for child in error.elements()
    )
