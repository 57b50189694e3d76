"""IQs that the proxy writes itself: the one place that builds them (RFC 6120 §8.2.3). No state."""

from __future__ import annotations

from minimixproxy.wire.stanza import Stanza, optional_attribute


def iq(kind: str, payload: bytes = b"", *, id: str | None, to: str | None = None, sender: str | None = None) -> bytes:
    """Return an IQ of type `kind` with `payload` in it. What is None is left out; what is "" is not."""
    return b"<iq type='%b'%b%b%b>%b</iq>" % (
        kind.encode(),
        optional_attribute("id", id),
        optional_attribute("from", sender),
        optional_attribute("to", to),
        payload,
    )


def answer_to(stanza: Stanza, payload: bytes, *, to: str | None, sender: str | None = None) -> bytes:
    """Return the IQ that answers `stanza`: an error if `payload` is an `<error/>`, else a result."""
    return iq(
        "error" if payload.startswith(b"<error ") else "result", payload, id=stanza.get("id"), to=to, sender=sender
    )
