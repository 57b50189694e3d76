"""A room service that says what a test tells it to: a component (XEP-0114) of the real server."""

from hashlib import sha1

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol

from tests.integration.cases import IntegrationTestCase
from tests.integration.client import TIMEOUT, Client
from tests.integration.servers import COMPONENT_SECRET
from tests.integration.xmlcut import Received
from tests.patience import patiently

NS_USER = "http://jabber.org/protocol/muc#user"


class RoomService(Client):
    """`domain` is its own; what was sent to it is in `inbox`."""

    async def introduce(self) -> None:
        """Shake hands with the server."""
        self.send(
            "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams'"
            f" to='{self.domain}'>"
        )
        await self.until(lambda: bool(self.headers), "a stream header")
        proof = sha1((self.headers[-1]["id"] + COMPONENT_SECRET).encode()).hexdigest()
        self.send(f"<handshake>{proof}</handshake>")
        await self.expect(lambda stanza: stanza.element.name == "handshake")

    async def presence(self, kind: str | None = None, timeout: float = TIMEOUT) -> Received:
        """The next presence of that type to one of the rooms."""
        return await self.expect(lambda one: one.element.name == "presence" and one.get("type") == kind, timeout)

    def shows(self, occupant: str, to: str, codes: str = "", attributes: str = "", item: str = "") -> None:
        """Show an occupant; `codes` of its status, `attributes` of the presence, `item` of its item."""
        statuses = "".join(f"<status code='{code}'/>" for code in codes.split())
        self.send(
            f"<presence from='{occupant}' to='{to}' {attributes}>"
            f"<x xmlns='{NS_USER}'><item affiliation='member' role='participant' {item}/>{statuses}</x></presence>"
        )

    def subject(self, room: str, to: str, text: str = "") -> None:
        self.send(f"<message type='groupchat' from='{room}' to='{to}'><subject>{text}</subject></message>")

    def refuses(self, join: Received, condition: str = "forbidden", occupant: str = "", stanza_id: str = "") -> None:
        """Answer a join by an error, as `occupant` and with `stanza_id`, or as the room should."""
        self.send(
            f"<presence type='error' from='{occupant or join.get('to')}' to='{join.get('from')}'"
            f" id='{stanza_id or join.get('id')}'>"
            f"<error type='auth'><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>"
        )


async def room_service(case: IntegrationTestCase, label: str = "echo") -> RoomService:
    """A connected service at `label` below the domain of the test's server; it ends with the test."""
    domain = f"{label}.{case.server.domain}"
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", case.server.component_port, timeout=patiently(TIMEOUT))
    service: RoomService = await connectProtocol(endpoint, RoomService(domain, "room service"))
    case._clients.append(service)
    await service.introduce()
    return service
