"""The account stream and its handlers, on an in-memory transport."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from twisted.words.protocols.jabber.xmlstream import Authenticator

from minimixproxy.config import Settings
from minimixproxy.minimix.accounts import Accounts
from minimixproxy.minimix.accountstream import MAX_QUEUED, PING_INTERVAL, AccountStream, StreamState
from minimixproxy.minimix.journal import NullJournal
from minimixproxy.xmlstream import FramedXmlStream
from tests.minimix.fakes import BARE, HEADER, ROOM, STREAM, FakeSession, kinds


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


class Lifecycle(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.upstream = Upstream()
        self.stream = AccountStream(BARE, self.upstream.connect, self.clock)
        self.lost: list[bool] = []
        self.pings: list[bool] = []
        self.stream.lost = lambda: self.lost.append(True)
        self.stream.ping = lambda: self.pings.append(True)

    def opened(self) -> None:
        self.stream.send(b"<a/>")
        self.upstream.accept()
        self.assertEqual(self.upstream.take(), b"<a/>")

    def test_opens_with_the_first_stanza(self) -> None:
        self.assertEqual((self.stream.state, self.upstream.attempts), (StreamState.CLOSED, []))
        self.stream.send(b"<a/>")
        self.stream.send(b"<b/>")
        self.assertEqual((self.stream.state, len(self.upstream.attempts)), (StreamState.OPENING, 1))
        self.upstream.accept()
        self.assertEqual((self.upstream.take(), self.stream.jid), (b"<a/><b/>", STREAM))
        self.stream.send(b"<c/>")
        self.assertEqual((self.upstream.take(), self.stream.state), (b"<c/>", StreamState.OPEN))

    def test_cannot_open(self) -> None:
        self.upstream.connect = lambda *_: fail(OSError("no way"))  # type: ignore[method-assign]
        stream = AccountStream(BARE, self.upstream.connect, self.clock)
        stream.lost = lambda: self.lost.append(True)
        stream.send(b"<a/>")
        self.assertEqual((self.lost, stream.state), ([True], StreamState.CLOSED))

    def test_closed_while_opening(self) -> None:
        self.stream.send(b"<a/>")
        attempt = self.upstream.attempts[0]
        self.stream.close()
        self.assertTrue(attempt.called)
        self.assertEqual((self.lost, self.stream.state), ([], StreamState.CLOSED))

    def test_close(self) -> None:
        self.opened()
        self.stream.close()
        self.assertEqual(self.upstream.take(), b"</stream:stream>")
        self.assertTrue(self.upstream.transport.disconnecting)
        self.assertEqual((self.lost, self.stream.jid, self.clock.getDelayedCalls()), ([], "", []))

    def test_connection_lost(self) -> None:
        self.opened()
        assert self.upstream.xmlstream is not None
        self.upstream.xmlstream.connectionLost(None)
        self.assertEqual((self.lost, self.stream.state, self.stream.jid), ([True], StreamState.CLOSED, ""))
        self.stream.send(b"<again/>")
        self.upstream.accept()
        self.assertEqual(self.upstream.take(), b"<again/>")

    def test_pings_after_silence_and_gives_up(self) -> None:
        self.opened()
        self.clock.advance(PING_INTERVAL - 1)
        self.upstream.says("<presence/>")
        self.clock.advance(PING_INTERVAL - 1)
        self.assertEqual(self.pings, [])
        self.clock.advance(1)
        self.assertEqual(self.pings, [True])
        self.clock.advance(PING_INTERVAL)
        self.assertEqual((self.lost, self.upstream.transport.aborted), ([True], True))

    def test_an_answered_ping_keeps_it(self) -> None:
        self.opened()
        for _ in range(5):
            self.clock.advance(PING_INTERVAL)
            self.upstream.says("<iq/>")
        self.assertEqual((self.lost, len(self.pings)), ([], 5))

    def test_a_server_that_does_not_read(self) -> None:
        self.opened()
        self.stream.pauseProducing()
        self.stream.send(b"x" * MAX_QUEUED)
        self.assertEqual(self.lost, [])
        self.stream.resumeProducing()
        self.stream.pauseProducing()
        self.stream.send(b"x" * MAX_QUEUED)
        self.stream.send(b"x")
        self.assertEqual((self.lost, self.upstream.transport.aborted), ([True], True))

    def test_too_much_before_it_opens(self) -> None:
        self.stream.send(b"x" * MAX_QUEUED)
        self.stream.send(b"x")
        self.assertEqual((self.lost, self.stream.state), ([True], StreamState.CLOSED))


class Composed(SynchronousTestCase):
    """Accounts, account, stream and handlers together: what arrives as bytes reaches the session."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.upstream = Upstream()
        self.accounts = Accounts(Settings.model_construct(), self.clock, self.upstream.connect, NullJournal())  # type: ignore[arg-type]
        self.phone = FakeSession("phone", self.clock)
        self.account = self.accounts.session_bound(self.phone, None)  # type: ignore[arg-type]

    def join(self) -> None:
        from minimixproxy.stanza import parse_stanza

        xml = f"<presence to='{ROOM}/alice'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
        self.account.from_client(self.phone, parse_stanza(xml))
        self.upstream.accept()
        user = "xmlns='http://jabber.org/protocol/muc#user'"
        self.upstream.says(
            f"<presence from='{ROOM}/alice' to='{STREAM}'><x {user}><status code='110'/></x></presence>"
            f"<message type='groupchat' from='{ROOM}' to='{STREAM}'><subject/></message>"
        )

    def test_join_and_fork(self) -> None:
        self.join()
        self.upstream.says(f"<message type='groupchat' from='{ROOM}/bob' to='{STREAM}'><body>hi</body></message>")
        self.assertEqual(kinds(self.phone.received), ["presence alice 110", "subject ", "bob: hi"])

    def test_iq(self) -> None:
        self.join()
        self.upstream.take()
        self.upstream.says(f"<iq type='get' id='1' from='{ROOM}/bob' to='{STREAM}'><ping xmlns='urn:xmpp:ping'/></iq>")
        self.assertEqual(self.upstream.take(), f"<iq type='result' to='{ROOM}/bob' id='1'></iq>".encode())

    def test_invalid_addresses_cost_nothing(self) -> None:
        self.join()
        for name in ["presence", "message", "iq"]:
            self.upstream.says(f"<{name} from='@' id='1'/>")
        self.upstream.says(f"<message type='groupchat' from='{ROOM}/bob' to='{STREAM}'><body>hi</body></message>")
        self.assertEqual(kinds(self.phone.received)[-1], "bob: hi")

    def test_stream_lost(self) -> None:
        self.join()
        assert self.upstream.xmlstream is not None
        self.upstream.xmlstream.connectionLost(None)
        self.assertEqual(kinds(self.phone.received)[-1], "unavailable alice 110 333")

    def test_same_account_until_idle(self) -> None:
        laptop = FakeSession("laptop", self.clock)
        self.assertIs(self.accounts.session_bound(laptop, None), self.account)  # type: ignore[arg-type]
        self.account.session_closed(laptop)
        self.account.session_closed(self.phone)
        self.assertIsNot(self.accounts.session_bound(self.phone, None), self.account)  # type: ignore[arg-type]

    def test_stop(self) -> None:
        self.join()
        self.upstream.take()
        self.accounts.startService()
        self.accounts.stopService()
        self.assertEqual(self.upstream.take(), b"</stream:stream>")
