"""Push notifications (XEP-0357) on the wire: what a client asks its server for, what a service is told. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from twisted.words.xish import domish

from minimixproxy.jids import InvalidJID, parse_jid
from minimixproxy.namespaces import NS_DATA, NS_PUBSUB, NS_PUSH, NS_PUSH_SUMMARY
from minimixproxy.wire.stanza import Stanza, optional_attribute, serialize
from minimixproxy.wire.trees import child
from minimixproxy.xep.data_forms import submission

#: In every stanza that enables or disables.
MARK = NS_PUSH.encode()

LONGEST_NODE = 1024  # characters
MAX_OPTIONS = 8 * 1024  # bytes of the form that a client has a service shown
LONGEST_BODY = 500  # characters of a message that a service is told, where that is configured

#: What stands for a text that nobody is told. App servers tell by there being one that a message is worth an alert.
SOMETHING = "New Message!"


@dataclass(frozen=True, slots=True)
class Service:
    """What a device has enabled: the push service's JID, the node there, and the publish-options, a whole `<x/>`.

    `node` and `options` may be empty. The options hold what the service knows the device by: a secret.
    """

    jid: str
    node: str
    options: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Disabling:
    """What a device has disabled (§6). `node` None: all nodes of the service."""

    jid: str
    node: str | None

    def concerns(self, service: Service) -> bool:
        """Tell whether this is one of them."""
        return service.jid == self.jid and self.node in (None, service.node)


@dataclass(frozen=True, slots=True)
class Summary:
    """What a push service is told of messages (§7): how many there are, and who said the last one; None: not told."""

    count: int
    sender: str | None = None
    body: str | None = field(default=None, repr=False)


def request_in(iq: Stanza) -> Service | Disabling | None:
    """Return what an IQ set enables (§5) or disables (§6); None if it does neither, or too much is to be kept of it.

    Raises `UnusableStanza`.
    """
    enable, disable = iq.payload(NS_PUSH, "enable"), iq.payload(NS_PUSH, "disable")
    element = enable or disable
    if element is None or (enable is not None and disable is not None):
        return None
    node = element.getAttribute("node")
    try:
        jid = parse_jid(element.getAttribute("jid", "")).full
    except InvalidJID:
        return None  # the server is to say so
    if node is not None and len(node) > LONGEST_NODE:
        return None
    if element is disable:
        return Disabling(jid, node)
    options = _options(element)
    return Service(jid, node or "", options) if len(options) <= MAX_OPTIONS else None


def _options(enable: domish.Element) -> bytes:
    form = child(enable, NS_DATA, "x")
    return serialize(form) if form is not None else b""


def publication(service: Service, summary: Summary) -> bytes:
    """Return the payload of the IQ set that tells a push service of messages (§7)."""
    fields = {"message-count": str(summary.count)}
    if summary.sender is not None:
        fields["last-message-sender"] = summary.sender
    fields["last-message-body"] = (summary.body or SOMETHING)[:LONGEST_BODY]
    notification = b"<notification xmlns='%b'>%b</notification>" % (MARK, submission(NS_PUSH_SUMMARY, fields))
    options = b"<publish-options>%b</publish-options>" % service.options if service.options else b""
    return b"<pubsub xmlns='%b'><publish%b><item>%b</item></publish>%b</pubsub>" % (
        NS_PUBSUB.encode(),
        optional_attribute("node", service.node or None),
        notification,
        options,
    )
