"""Errors in place of answers: those that close a request, and those that a server makes. Pure."""

from __future__ import annotations

from minimixproxy.clientproxy.requests import Request
from minimixproxy.stanza import NS_STANZAS, Stanza, error_payload, escape


def iq_error(request: Request, error_type: str, condition: str) -> bytes:
    """Return the error that closes a request."""
    return b"<iq type='error' id='%b' from='%b' to='%b'>%b</iq>" % (
        escape(request.id),
        escape(request.answer_from),
        escape(request.asker),
        error_payload(error_type, condition),
    )


def is_bounced(iq: Stanza) -> bool:
    """Tell whether the server says, in the resource's name, that it could not deliver (RFC 6120 §8.3.3.13)."""
    return any(
        child.uri == NS_STANZAS and child.name == "recipient-unavailable"
        for error in iq.elements(iq.uri, "error")
        for child in error.elements()
    )
