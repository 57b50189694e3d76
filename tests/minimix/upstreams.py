"""Stand-ins for the server at the other end of account streams, in memory, and for logins."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.words.protocols.jabber.xmlstream import Authenticator

from minimixproxy.c2s.upstream.connecting import Login
from minimixproxy.c2s.upstream.credentials import Credential, KeyCache
from minimixproxy.config.settings import Domain
from minimixproxy.minimix.interfaces.journal import KeptLogin
from minimixproxy.wire.xmlstream import FramedXmlStream
from tests.minimix.fakes import HEADER, STREAM
from tests.wires import Wire

_KEYS = KeyCache()


def login(username: str = "alice", domain: str = "a.test") -> Login:
    """Return a login; each is another one."""
    return Login(Domain(name=domain), username, Credential.from_password("pencil"), _KEYS)


LOGIN = login()


class Upstream:
    """A server end: connects when told to, and keeps what it got."""

    def __init__(self) -> None:
        self.attempts: list[Deferred[tuple[FramedXmlStream, str]]] = []
        self.transport = Wire()
        self.xmlstream: FramedXmlStream | None = None

    def connect(self, *_login: object) -> Deferred[tuple[FramedXmlStream, str]]:
        attempt: Deferred[tuple[FramedXmlStream, str]] = Deferred()
        self.attempts.append(attempt)
        return attempt

    def accept(self) -> FramedXmlStream:
        self.transport = Wire()
        xmlstream = self.xmlstream = FramedXmlStream(Authenticator())
        xmlstream.makeConnection(self.transport)
        xmlstream.dataReceived(HEADER)
        self.transport.clear()
        self.attempts.pop().callback((xmlstream, STREAM))
        return xmlstream

    def says(self, xml: str) -> None:
        assert self.xmlstream is not None
        self.xmlstream.dataReceived(xml.encode())

    def take(self) -> bytes:
        return self.transport.take()


class FakeLogins:
    """Keeps of a login whose it is, and nothing to log in with."""

    def keep(self, login: Login, before: KeptLogin | None) -> KeptLogin:
        return KeptLogin(login.domain.name, login.username)

    def renew(self, login: Login, password: str) -> Login:
        return login

    def revive(self, kept: KeptLogin, bare: str) -> Login | None:
        return login(kept.username, kept.domain) if f"{kept.username}@{kept.domain}" == bare else None
