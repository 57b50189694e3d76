"""Carbons (XEP-0280) for private messages, and against the server's own of the account stream. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from twisted.words.xish import domish

from minimixproxy.jids import Whose, whose
from minimixproxy.namespaces import NS_CARBONS, NS_CLIENT, NS_FORWARD, NS_HINTS, NS_MUC_USER
from minimixproxy.wire.stanza import Stanza, escape, parse_element, parse_stanza, rewrite, serialize

MARK = NS_CARBONS.encode()  # in every carbon


def is_private(stanza: Stanza) -> bool:
    """Tell whether the sender wants no copies made (§9, and XEP-0334)."""
    return stanza.has_payload(NS_CARBONS, "private") or stanza.has_payload(NS_HINTS, "no-copy")


def sent_copy(stanza: Stanza, author: str, bare: str, to: str) -> bytes:
    """Return the carbon that shows `to` the private message that `author`, another client of the account, sent."""
    message = rewrite(stanza.self_contained(), {"from": author, "xmlns": NS_CLIENT})
    carbon = (
        b"<message from='%b' to='%b' type='chat'><sent xmlns='%b'><forwarded xmlns='%b'>%b</forwarded></sent></message>"
        % (
            escape(bare),
            escape(to),
            NS_CARBONS.encode(),
            NS_FORWARD.encode(),
            message,
        )
    )
    return as_private(parse_stanza(carbon))


def as_private(carbon: Stanza) -> bytes:
    """Return a carbon whose message says that it is a room's private one (XEP-0045 §7.5): else it opens a chat."""
    messages = list(_messages(carbon.element))
    if all(any(message.elements(NS_MUC_USER, "x")) for message in messages):
        return carbon.self_contained()
    element = parse_element(carbon.self_contained(), {"": NS_CLIENT})
    for message in _messages(element):
        if not any(message.elements(NS_MUC_USER, "x")):
            message.addElement((NS_MUC_USER, "x"))
    return serialize(element)


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
    for message in _messages(stanza.element):
        sender, to = message.getAttribute("from"), message.getAttribute("to", "")
        if stream_jid in (sender, to):
            return Carbon(sender == stream_jid, to, message.getAttribute("id"))
    return None


def _messages(carbon: domish.Element) -> Iterator[domish.Element]:
    """Yield what a carbon has of messages: one, if it is well made."""
    for direction in ("sent", "received"):
        for wrapper in carbon.elements(NS_CARBONS, direction):
            for forwarded in wrapper.elements(NS_FORWARD, "forwarded"):
                yield from forwarded.elements(NS_CLIENT, "message")
