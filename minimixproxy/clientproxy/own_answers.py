"""What the domain says of itself: disco#info, ping, version, last activity. Pure.

XEP-0030, XEP-0199, XEP-0092, XEP-0012. Everything else that is asked of the domain is the target's to answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from twisted.words.xish import domish

from minimixproxy import __version__
from minimixproxy.clientproxy.targets import MAX_FEATURES, Resource
from minimixproxy.namespaces import NS_DISCO_INFO, NS_DISCO_ITEMS, NS_LAST, NS_PING, NS_VERSION
from minimixproxy.wire.children import payload_attributes
from minimixproxy.wire.stanza import Stanza, escape
from minimixproxy.xep.iq import answer_to, iq

_OWN_FEATURES = (NS_DISCO_INFO, NS_DISCO_ITEMS, NS_PING, NS_VERSION, NS_LAST)


class Identity(NamedTuple):
    """An identity in service discovery."""

    category: str
    type: str
    name: str


class OwnAnswers:
    """Answers for one domain. `resources` tells the target's resources as they are now.

    `changes` returns the same as long as those are the same: with many of them, an answer takes a tenth of a second.
    """

    def __init__(
        self,
        identity: Identity,
        clock: Callable[[], float],
        resources: Callable[[], Iterable[Resource]],
        changes: Callable[[], object] = object,
    ) -> None:
        self._identity = identity
        self._clock = clock
        self._started = clock()
        self._resources = resources
        self._changes = changes
        self._said: tuple[object, bytes] = (None, b"")  # of which state of the resources, and what
        self._answers: dict[tuple[str, str], Callable[[], bytes]] = {
            (NS_DISCO_INFO, "query"): self.info,
            (NS_PING, "ping"): lambda: b"",
            (NS_VERSION, "query"): self.version,
            (NS_LAST, "query"): self.last,
        }

    def answer(self, iq: Stanza) -> bytes | None:
        """Return the content of the result for a get addressed to the bare domain; None: it is not ours to answer.

        The IQ has a payload.
        """
        if iq.attributes.get("type") != "get":
            return None
        answer = self._answers.get(iq.payloads[0])
        if answer is None or self._about_a_node(iq):
            return None
        return answer()

    def _about_a_node(self, iq: Stanza) -> bool:
        queries = payload_attributes(iq, NS_DISCO_INFO, "query")  # no tree: anybody may ask, and write much into it
        return bool(queries and queries[0].get("node"))

    def info(self) -> bytes:
        """Our identity and features, with those of all resources: a request goes to one that has the feature."""
        changes = self._changes()
        if self._said[0] != changes:
            self._said = changes, self._info()
        return self._said[1]

    def _info(self) -> bytes:
        identities = {self._identity: None}
        features = dict.fromkeys(_OWN_FEATURES)
        for resource in sorted(self._resources(), key=lambda resource: resource.jid):
            identities.update(dict.fromkeys(Identity(*identity) for identity in resource.identities))
            features.update(dict.fromkeys(sorted(resource.features or ())))
        said = b"".join(map(_identity, identities)) + b"".join(b"<feature var='%b'/>" % escape(var) for var in features)
        return b"<query xmlns='%b'>%b</query>" % (NS_DISCO_INFO.encode(), said)

    def version(self) -> bytes:
        """Name and version of this program."""
        return b"<query xmlns='%b'><name>minimixproxy</name><version>%b</version></query>" % (
            NS_VERSION.encode(),
            escape(__version__),
        )

    def last(self) -> bytes:
        """Seconds since the start (XEP-0012 §4 for a component)."""
        return b"<query xmlns='%b' seconds='%d'/>" % (NS_LAST.encode(), self._clock() - self._started)


def _identity(identity: Identity) -> bytes:
    category, type_, name = map(escape, identity)
    return b"<identity category='%b' type='%b'%b/>" % (category, type_, b" name='%b'" % name if name else b"")


def read_info(reply: Stanza) -> tuple[list[str], tuple[tuple[str, str, str], ...]]:
    """Return what a resource's disco#info gives to the domain's: features and identities.

    Left out: interests in personal events (`+notify`) and being a client, which the domain is not.
    """
    query = reply.payload(NS_DISCO_INFO, "query")
    if query is None:
        return [], ()
    features = [var for element in query.elements(NS_DISCO_INFO, "feature") if (var := element.getAttribute("var"))]
    identities = tuple(
        (category, element.getAttribute("type") or "", element.getAttribute("name") or "")
        for element in query.elements(NS_DISCO_INFO, "identity")
        if (category := element.getAttribute("category")) and category != "client"
    )
    return [var for var in features if not var.endswith("+notify")][:MAX_FEATURES], identities[:20]


def info_request(domain: str, resource: str, id_: str) -> bytes:
    """Return our own question about a resource's features."""
    return _question(domain, resource, id_, b"<query xmlns='%b'/>" % NS_DISCO_INFO.encode())


def ping_request(domain: str, resource: str, id_: str) -> bytes:
    """Return our own question whether a resource is still there."""
    return _question(domain, resource, id_, b"<ping xmlns='%b'/>" % NS_PING.encode())


def _question(domain: str, resource: str, id_: str, payload: bytes) -> bytes:
    return iq("get", payload, id=id_, sender=domain, to=resource)


def result(iq: Stanza, content: bytes) -> bytes:
    """Return the result that answers `iq`."""
    return answer_to(iq, content, sender=iq["to"], to=iq["from"])


def translate_items(reply: Stanza, is_target: Callable[[str], bool], address: str) -> domish.Element | None:
    """Put the items of a disco#items result that are at the target's own JIDs at `address` instead.

    Otherwise whoever browses the domain is led past it, to one resource that may be gone at the next step.
    Returns the reply's tree, changed, or None if nothing had to be.
    """
    query = reply.payload(NS_DISCO_ITEMS, "query")
    items = [] if query is None else list(query.elements(NS_DISCO_ITEMS, "item"))
    translated = [item for item in items if is_target(item.getAttribute("jid") or "")]
    for item in translated:
        item["jid"] = address
    return reply.element if translated else None
