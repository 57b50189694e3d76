"""A push service (XEP-0357) as a component (XEP-0114): keeps what is published, and answers as a test wants."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha1
from typing import NamedTuple

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.interfaces import ITransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.words.xish import domish

from minimixproxy.xep.data_forms import fields_of
from tests.integration.inbox import TIMEOUT, Inbox, quoted
from tests.integration.servers import COMPONENT_SECRET, Server
from tests.integration.xmlcut import Cutter, Received
from tests.patience import patiently

NS_COMPONENT = "jabber:component:accept"


class Publication(NamedTuple):
    """What a push service is told (XEP-0357 §7): of which device, and the fields of the summary."""

    node: str
    summary: dict[str, str]


def read_publication(iq: Received) -> Publication:
    publish = _first(iq.element, "pubsub", "publish")
    form = _first(publish, "item", "notification", "x")
    return Publication(publish.getAttribute("node", ""), {name: "".join(values) for name, values in fields_of(form)})


def _first(element: domish.Element, *names: str) -> domish.Element:
    """Return the first child of that name, of it the first of the next name, and so on."""
    for name in names:
        element = next(child for child in element.elements() if child.name == name)
    return element


class PushService(Inbox, Protocol):
    """`answer` makes the children of the reply to a publication: an `<error/>`, or nothing; None: no reply."""

    transport: ITransport

    def __init__(self, domain: str) -> None:
        super().__init__(domain, domain)
        self.published: list[Received] = []
        self.answer: Callable[[Received], str | None] = lambda _publication: ""
        self._cutter = Cutter(self._opened, self._came, lambda: None)

    def dataReceived(self, data: bytes) -> None:
        self._cutter.feed(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = reason
        self._wake()

    def send(self, data: str | bytes) -> None:
        raw = data.encode() if isinstance(data, str) else data
        self._note(f"> {raw.decode()}")
        self.transport.write(raw)

    def _opened(self, root: domish.Element, _raw: bytes) -> None:
        digest = sha1((root["id"] + COMPONENT_SECRET).encode()).hexdigest()
        self.send(f"<handshake>{digest}</handshake>")

    def _came(self, stanza: Received) -> None:
        if stanza.element.name == "iq" and stanza.get("type") == "set" and b"urn:xmpp:push:0" in stanza.raw:
            self.published.append(stanza)
            self._reply(stanza)
        super()._came(stanza)

    def _reply(self, stanza: Received) -> None:
        inner = self.answer(stanza)
        if inner is not None:
            kind = "error" if inner else "result"
            to, sender, number = (str(stanza.get(name)) for name in ("from", "to", "id"))
            self.send(f"<iq type='{kind}' id={quoted(number)} from={quoted(sender)} to={quoted(to)}>{inner}</iq>")

    async def hears_out(self, publisher: str) -> None:
        """When this returns, all has arrived that this JID had published before."""
        number = self.new_id("barrier-")
        ping = "<ping xmlns='urn:xmpp:ping'/>"
        self.send(f"<iq type='get' id='{number}' from='{self.domain}' to={quoted(publisher)}>{ping}</iq>")
        await self.expect(lambda stanza: stanza.get("id") == number)

    async def told(self, count: int) -> None:
        """Wait until so much has been published."""
        await self.until(lambda: len(self.published) >= count, f"publication {count}")


async def push_service(server: Server) -> PushService:
    """The service `push.` of a server, connected."""
    service = PushService(f"push.{server.domain}")
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", server.component_port, timeout=patiently(TIMEOUT))
    await connectProtocol(endpoint, service)
    service.send(
        f"<stream:stream xmlns='{NS_COMPONENT}' xmlns:stream='http://etherx.jabber.org/streams' to='{service.domain}'>"
    )
    await service.expect(lambda stanza: stanza.element.name == "handshake")
    return service
