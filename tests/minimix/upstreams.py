"""Stand-ins for the server at the other end of account streams, in memory, and for logins."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.words.protocols.jabber.xmlstream import Authenticator

from minimixproxy.accountstream.attempt import Opened, Resumable
from minimixproxy.c2s.upstream.connecting import Login
from minimixproxy.c2s.upstream.credentials import Credential, KeyCache
from minimixproxy.config.settings import Domain
from minimixproxy.minimix.interfaces.journal import KeptLogin
from minimixproxy.wire.framing import FramingLimits
from minimixproxy.wire.xmlstream import FramedXmlStream
from minimixproxy.xep.displayed import MARK
from minimixproxy.xep.stream_management import Enabled
from tests.minimix.fakes import HEADER, STREAM, written
from tests.wires import Wire

_KEYS = KeyCache()


def login(username: str = "alice", domain: str = "a.test") -> Login:
    """Return a login; each is another one."""
    return Login(Domain(name=domain), username, Credential.from_password("pencil"), _KEYS)


LOGIN = login()


class Listened(Wire):
    """Calls `written` with what is written."""

    def __init__(self, written: Callable[[bytes], None]) -> None:
        super().__init__()
        self._written = written

    def write(self, data: bytes) -> None:
        self._written(data)


class Upstream:
    """A server end: connects when told to, and keeps what it got."""

    def __init__(self) -> None:
        self.attempts: list[Deferred[Opened]] = []
        self.transport = Wire()
        self.xmlstream: FramedXmlStream | None = None
        self.resumable: Resumable | None = None  # of the last attempt

    def open(self, resumable: Resumable | None = None) -> Deferred[Opened]:
        """Be the login of a stream, too (`accountstream.stream.StreamLogin`)."""
        self.resumable = resumable
        return self.connect()

    def opened(self) -> None:
        pass

    def is_refused(self) -> bool:
        return True

    def connect(self, *_login: object) -> Deferred[Opened]:
        attempt: Deferred[Opened] = Deferred()
        self.attempts.append(attempt)
        return attempt

    def accept(
        self,
        written: Callable[[bytes], None] | None = None,
        enabled: Enabled | None = None,
        behind: bytes = b"",
        before: bytes = b"",
        *,
        resumed: bool = False,
    ) -> FramedXmlStream:
        """Let the stream in; `written` is called with what is written, instead of keeping it.

        `enabled`: with stream management; `before` and `behind`: what came around the word on that.
        """
        self.transport = Wire()
        if written is not None:
            self.transport = Listened(written)
        xmlstream = self.xmlstream = FramedXmlStream(Authenticator(), FramingLimits(skips=True))
        xmlstream.makeConnection(self.transport)
        xmlstream.hand_to(xmlstream.keep())
        managed = b"<enabled xmlns='urn:xmpp:sm:3'/>" if enabled is not None else b""
        xmlstream.dataReceived(HEADER + before + managed + behind)
        self.transport.clear()
        self.attempts.pop().callback(Opened(xmlstream, STREAM, enabled, resumed))
        return xmlstream

    def says(self, xml: str) -> None:
        assert self.xmlstream is not None
        self.xmlstream.dataReceived(xml.encode())

    def take(self) -> bytes:
        return self.transport.take()

    def take_of_reader(self) -> bytes:
        """What was sent; nothing was ever published of what the account has read, which the server answers."""
        sent = self.take()
        for stanza in written(sent):
            if MARK in stanza.raw:
                error = "<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
                self.says(f"<iq type='error' id='{stanza['id']}' to='{STREAM}'>{error}</iq>")
        return sent


class SilentServer:
    """A login of a stream that is never answered."""

    def open(self, resumable: Resumable | None = None) -> Deferred[Opened]:
        return Deferred()

    def opened(self) -> None:
        pass

    def is_refused(self) -> bool:
        return True


class FakeLogins:
    """Opens streams by `connect`, or never; keeps of a login whose it is, and nothing to log in with."""

    def __init__(self, connect: Callable[[Login, str], Deferred[Opened]] | None = None) -> None:
        self._connect = connect

    def open(self, login: Login, resource: str, resumable: Resumable | None = None) -> Deferred[Opened]:
        return self._connect(login, resource) if self._connect is not None else Deferred()

    def prove(self, login: Login) -> Deferred[None]:
        return Deferred()

    def keep(self, login: Login, before: KeptLogin | None) -> KeptLogin:
        return KeptLogin(login.domain.name, login.username)

    def renew(self, login: Login, password: str) -> Login:
        return login

    def serves(self, domain: str) -> bool:
        return domain == "a.test"

    def new(self, bare: str, password: str) -> Login | None:
        return None

    def revive(self, kept: KeptLogin, bare: str) -> Login | None:
        return login(kept.username, kept.domain) if f"{kept.username}@{kept.domain}" == bare else None
