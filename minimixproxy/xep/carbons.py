"""Carbons (XEP-0280) for private messages, and against the server's own of the account stream. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from minimixproxy.jids import Whose, whose
from minimixproxy.namespaces import NS_CARBONS, NS_CLIENT, NS_FORWARD, NS_HINTS, NS_MUC_USER
from minimixproxy.wire.stanza import Stanza, escape, rewrite
from minimixproxy.xep.forwarded import forwarded_in, qualified

MARK = NS_CARBONS.encode()  # in every carbon
_DIRECTIONS = {qualified(NS_CARBONS, "sent"), qualified(NS_CARBONS, "received")}


def is_private(stanza: Stanza) -> bool:
    """Tell whether the sender wants no copies made (§9, and XEP-0334)."""
    return stanza.has_payload(NS_CARBONS, "private") or stanza.has_payload(NS_HINTS, "no-copy")


def sent_copy(stanza: Stanza, author: str, bare: str, to: str) -> bytes:
    """Return the carbon that shows `to` the private message that `author`, another client of the account, sent."""
    message = rewrite(stanza.self_contained(), {"from": author, "xmlns": NS_CLIENT})
    if not stanza.has_payload(NS_MUC_USER, "x") and not message.endswith(b"/>"):
        message = _marked(message, message.rindex(b"</"))
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


def as_private(carbon: Stanza) -> bytes:
    """Return a carbon whose message says that it is a room's private one (XEP-0045 §7.5): else it opens a chat."""
    raw = carbon.self_contained()
    for message in reversed(forwarded_in(raw, _DIRECTIONS)):
        if not message.is_private:
            raw = _marked(raw, message.end)
    return raw


def _marked(raw: bytes, end: int) -> bytes:
    """Return `raw` with the mark in front of the end tag that begins at `end`."""
    return b"%b<x xmlns='%b'/>%b" % (raw[:end], NS_MUC_USER.encode(), raw[end:])


@dataclass(frozen=True, slots=True)
class Carbon:
    """What the server copied: a message from or to the account stream."""

    sent: bool
    to: str
    id: str | None


def carbon_of(stanza: Stanza, stream_jid: str) -> Carbon | None:
    """Return what a stanza is the server's carbon of, if that came from or went to the account stream; else None.

    Only the account's own bare JID sends carbons (§11); what others send in that shape is not ours to judge.
    """
    if whose(stanza.get("from"), stream_jid) is not Whose.ACCOUNT:
        return None
    for message in forwarded_in(stanza.self_contained(), _DIRECTIONS):
        sender, to = message.attributes.get("from"), message.attributes.get("to", "")
        if stream_jid in (sender, to):
            return Carbon(sender == stream_jid, to, message.attributes.get("id"))
    return None
