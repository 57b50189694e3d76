"""Carbons (XEP-0280) for private messages, and against the server's own of the account stream. Pure."""

from __future__ import annotations

from minimixproxy.jids import is_bare_of
from minimixproxy.minimix.muc import NS_HINTS
from minimixproxy.stanza import Stanza, escape, rewrite

NS_CARBONS = "urn:xmpp:carbons:2"
NS_FORWARD = "urn:xmpp:forward:0"


def is_private(stanza: Stanza) -> bool:
    """Tell whether the sender wants no copies made (§9, and XEP-0334)."""
    return stanza.has_payload(NS_CARBONS, "private") or stanza.has_payload(NS_HINTS, "no-copy")


def sent_copy(stanza: Stanza, author: str, bare: str, to: str) -> bytes:
    """Return the carbon that shows `to` what `author`, another client of the account `bare`, sent."""
    message = rewrite(stanza.self_contained(), {"from": author, "xmlns": "jabber:client"})
    return (
        b"<message from='%b' to='%b' type='chat'><sent xmlns='%b'><forwarded xmlns='%b'>%b</forwarded></sent></message>"
        % (
            escape(bare),
            escape(to),
            NS_CARBONS.encode(),
            NS_FORWARD.encode(),
            message,
        )
    )


def is_carbon_of(stanza: Stanza, stream_jid: str) -> bool:
    """Tell whether a stanza is the server's carbon of a message to or from the account stream.

    Only the account's own bare JID sends carbons (§11); what others send in that shape is not ours to judge.
    """
    if not is_bare_of(stanza.get("from"), stream_jid):
        return False
    for direction in ("sent", "received"):
        wrapper = stanza.payload(NS_CARBONS, direction)
        if wrapper is None:
            continue
        for forwarded in wrapper.elements(NS_FORWARD, "forwarded"):
            for message in forwarded.elements():
                if stream_jid in (message.getAttribute("from"), message.getAttribute("to")):
                    return True
    return False
