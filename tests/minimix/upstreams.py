"""Stand-ins for the server at the other end of account streams, in memory, and for logins."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport
from twisted.words.protocols.jabber.xmlstream import Authenticator

from minimixproxy.minimix.interfaces.journal import KeptLogin
from minimixproxy.wire.xmlstream import FramedXmlStream
from tests.minimix.fakes import HEADER, STREAM

LOGIN: Any = object()


class Transport(StringTransport):
    """A transport that can be seen to be aborted."""

    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True


class Upstream:
    """A server end: connects when told to, and keeps what it got."""

    def __init__(self) -> None:
        self.attempts: list[Deferred[tuple[FramedXmlStream, str]]] = []
        self.transport = Transport()
        self.xmlstream: FramedXmlStream | None = None

    def connect(self, *_login: object) -> Deferred[tuple[FramedXmlStream, str]]:
        attempt: Deferred[tuple[FramedXmlStream, str]] = Deferred()
        self.attempts.append(attempt)
        return attempt

    def accept(self) -> FramedXmlStream:
        self.transport = Transport()
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
        value: bytes = self.transport.value()
        self.transport.clear()
        return value


class FakeLogins:
    """Keeps nothing of logins."""

    def keep(self, _login: object, _before: object) -> KeptLogin:
        return KeptLogin("a.test", "alice")

    def renew(self, login: Any, _password: str) -> Any:
        return login

    def revive(self, _kept: object, _bare: str) -> None:
        return None
