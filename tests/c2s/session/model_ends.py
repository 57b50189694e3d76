"""The client and the server of `test_cuts`, and the account of the session between them."""

from __future__ import annotations

from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure
from twisted.words.protocols.jabber.jid import JID
from twisted.words.protocols.jabber.xmlstream import Authenticator

from minimixproxy.c2s.upstream.connecting import server_framing
from minimixproxy.minimix.interfaces.streams import SessionPort
from minimixproxy.wire.stanza import Stanza
from minimixproxy.wire.xmlstream import FramedXmlStream
from tests.c2s.helpers import SERVER_FEATURES, SERVER_HEADER, Lab, LabClient, StubAccount
from tests.c2s.session.both_ends import NS, End, Link, h_of, ids_of, stanza
from tests.wires import Wire

TAKEN = "t"  # what the account takes has an id that begins so


class Account(StubAccount):
    """`expected`: what the client is to get, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.of_client: list[str] = []
        self.of_server: list[str] = []
        self.expected: list[str] = []

    def from_client(self, session: SessionPort, stanza: Stanza) -> bool:
        name = stanza.get("id") or ""
        self.of_client.append(name)
        return name.startswith(TAKEN)

    def from_server(self, session: SessionPort, stanza: Stanza) -> bool:
        name = stanza.get("id") or ""
        self.of_server.append(name)
        if not name.startswith(TAKEN):
            self.expected.append(name)
        return name.startswith(TAKEN)

    def leaves_from_server(self, messages: bytes) -> bool:
        names = ids_of(messages)
        if any(name.startswith(TAKEN) for name in names):
            return False
        self.of_server += names
        self.expected += names
        return True


class ModelClient(End):
    """`forgetful`: it does not send everything again."""

    def __init__(self, lab: Lab) -> None:
        super().__init__()
        self.lab = lab
        self.previd = b""
        self.forgetful = False
        self.refused = False
        self.left: list[Link] = []  # connections that it has left; the proxy does not know

    def connect(self) -> LabClient:
        client = self.lab.client()
        self.link = Link(client.wire, client.stream.bottom.dataReceived, client.vanish)
        return client

    def leave(self) -> None:
        """Take another connection; what was said on this one may still come to the proxy."""
        assert self.link is not None
        if self.resumes:  # a wish to resume that comes late would take the session from the next connection
            self.link.to_proxy = b""
        self.left.append(self.link)
        self.link, self.questions = None, 0

    def resume(self) -> None:
        client = self.connect()
        client.log_in()
        client.wire.take()
        self.resumes = True
        self.send(b"<resume %b previd='%b' h='%d'/>" % (NS, self.previd, len(self.heard)))

    def handle(self, name: bytes, element: bytes) -> None:
        if name == b"resumed":
            self.resumes = False
            self.acknowledged_to(h_of(element))
            again = self.unacknowledged()
            if self.forgetful:
                del again[::2]
            self.numbered[self.acknowledged :] = again
            self.send(b"".join(map(stanza, again)))
            return
        if element.startswith(b"<failed"):
            self.refused = True
        super().handle(name, element)


class ModelServer(End):
    """Sends again all that is not acknowledged."""

    def __init__(self) -> None:
        super().__init__()
        self.forgets = False

    def accept(self, lab: Lab) -> FramedXmlStream:
        """Accept a connection; return it as the proxy has it, logged in."""
        wire = Wire()
        xs = FramedXmlStream(Authenticator(), server_framing(lab.settings.limits))
        xs.namespace = "jabber:client"
        xs.makeConnection(wire)
        xs.otherEntity = JID("example.org")  # type: ignore[assignment]
        self.join(xs, wire)
        self.resumes = True
        self.send(SERVER_HEADER + SERVER_FEATURES)
        return xs

    def join(self, xs: FramedXmlStream, wire: Wire) -> None:
        self.link = Link(wire, xs.dataReceived, lambda: xs.connectionLost(Failure(ConnectionLost())))

    def handle(self, name: bytes, element: bytes) -> None:
        if name == b"resume" and self.forgets:
            self.send(b"<failed %b h='%d'/>" % (NS, len(self.heard)))
        elif name == b"resume":
            self.resumes = False
            self.acknowledged_to(h_of(element))
            self.send(b"<resumed %b previd='up' h='%d'/>" % (NS, len(self.heard)))
            self.send(b"".join(map(stanza, self.unacknowledged())))
        else:
            super().handle(name, element)
