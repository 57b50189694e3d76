"""An account stream at a server with stream management (XEP-0198): what is counted and acknowledged, what is not."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.accountstream import managed_stream
from minimixproxy.accountstream.connection import ANSWER_WITHIN
from minimixproxy.accountstream.errors import CannotOpen
from minimixproxy.accountstream.keepalive import CLOSE_TIMEOUT
from minimixproxy.accountstream.managed_stream import MAX_BYTES
from minimixproxy.accountstream.phases import StreamState
from minimixproxy.accountstream.stream import MAX_REPLIES, AccountStream, StreamOptions
from minimixproxy.minimix.interfaces.streams import Followed
from minimixproxy.wire.fast_framing import FastFramer
from minimixproxy.wire.framing import FramingLimits
from minimixproxy.xep.stream_management import REQUEST, Enabled
from tests.accountstream.places import Places
from tests.accountstream.test_resuming import Disk, Hears
from tests.minimix.fakes import BARE, HEADER, STREAM
from tests.minimix.upstreams import Upstream

ASKS = REQUEST.decode()
RESUMABLE = Enabled("id", 300, "")
ERROR = "<stream:error><{} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>"


def a(h: int | str) -> bytes:
    return f"<a xmlns='urn:xmpp:sm:3' h='{h}'/>".encode()


class ManagedTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.upstream = Upstream()
        self.disk = Disk()
        slots = Places()
        self.stream = AccountStream(
            BARE, self.upstream, self.clock, slots, StreamOptions(on_disk=self.disk), lambda: 0.5
        )
        self.hears = Hears(self.disk)
        self.hears.setHandlerParent(self.stream)
        self.told: list[str] = []
        self.patch(self.hears, "unreachable", lambda *, refused: self.told.append(f"unreachable {refused}"))

    def opened(self, enabled: Enabled = RESUMABLE, behind: bytes = b"") -> None:
        self.stream.reopen()
        self.upstream.accept(enabled=enabled, behind=behind)

    def says(self, xml: str) -> bytes:
        self.upstream.says(xml)
        return self.upstream.take()

    def breaks(self) -> None:
        assert self.upstream.xmlstream is not None
        self.upstream.xmlstream.connectionLost(Failure(ConnectionDone()))

    def sent(self, *numbers: int) -> None:
        for number in numbers:
            self.stream.send(b"<message id='%d'/>" % number)

    def acknowledged(self, what: str) -> Callable[[], None]:
        return lambda: self.told.append(what)


class Receiving(ManagedTest):
    def test_stanzas_are_counted(self) -> None:
        self.opened()
        self.says("<message id='1'/><presence/><iq type='result' id='2'/> <r xmlns='urn:x'/><a xmlns='urn:x'/>")
        self.assertEqual(self.says(ASKS), a(3))

    def test_what_came_before_is_not_counted(self) -> None:
        self.stream.reopen()
        enabled = b"<message id='1'/><enabled xmlns='urn:xmpp:sm:3'/><message id='2'/>"
        self.upstream.accept(behind=enabled, enabled=None)  # in its place among the others
        self.assertEqual(self.hears.heard, [1, 2])
        self.stream.close()
        self.setUp()
        self.stream.reopen()
        self.upstream.accept(enabled=RESUMABLE, before=b"<message id='1'/>", behind=b"<message id='2'/>")
        self.assertEqual(self.hears.heard, [1, 2])
        self.assertEqual(self.says(ASKS), a(1))

    def test_one_that_is_too_large_counts(self) -> None:
        self.opened()
        assert self.upstream.xmlstream is not None
        self.upstream.xmlstream.framer = FastFramer(FramingLimits(300, skips=True))
        self.upstream.xmlstream.dataReceived(HEADER + b"<message id='1'>%b</message>" % (b"x" * 400))
        self.assertEqual(self.says(ASKS), a(1))

    def test_the_answer_waits_for_the_disk(self) -> None:
        """It is true, and not less than was asked for."""
        self.opened()
        self.disk.slow = True
        self.assertEqual(self.says(f"<message id='1'/>{ASKS}"), b"")
        self.disk.write(2)
        self.assertEqual(self.upstream.take(), b"")
        self.disk.write(1)
        self.assertEqual(self.upstream.take(), a(1))

    def test_the_answer_comes_too_late(self) -> None:
        """The connection has gone meanwhile: the next one tells."""
        self.opened()
        self.disk.slow = True
        self.says(f"<message id='1'/>{ASKS}")
        self.breaks()
        resumable = self.upstream.resumable
        assert resumable is not None
        self.assertEqual(resumable.resuming(), ("id", 0))
        self.disk.write(3)
        resumable.resumed(0)
        self.upstream.accept(resumed=True, behind=b"<message id='1'/><message id='2'/>")
        self.assertEqual(self.upstream.take(), b"")
        self.disk.write(10)
        self.assertEqual((self.says(ASKS), self.hears.heard), (b"", [1, 2]))
        self.disk.write(10)
        self.assertEqual(self.upstream.take(), a(2))

    def test_a_fault_of_a_handler_counts_as_handled(self) -> None:
        self.opened()

        def explode(_stanza: object) -> None:
            raise RuntimeError("a fault")

        self.patch(self.hears, "take", explode)
        assert self.stream._xmlstream is not None
        self.stream._xmlstream.addObserver("/presence", explode)
        self.says("<presence/>")
        self.assertEqual(self.says(ASKS), a(1))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)


class Sending(ManagedTest):
    def test_who_waits_for_an_acknowledgement(self) -> None:
        self.sent(1)
        self.stream.when_acknowledged(self.acknowledged("one"))
        self.upstream.accept(enabled=RESUMABLE)
        self.sent(2)
        self.stream.when_acknowledged(self.acknowledged("two"))
        self.assertEqual(self.upstream.take(), b"<message id='1'/>" + REQUEST + b"<message id='2'/>")
        self.says(a(1).decode())
        self.assertEqual(self.told, ["one"])
        self.says(a(2).decode())
        self.stream.when_acknowledged(self.acknowledged("nothing is open"))
        self.assertEqual(self.told, ["one", "two", "nothing is open"])

    def test_at_a_server_that_acknowledges_nothing(self) -> None:
        self.stream.when_acknowledged(self.acknowledged("nothing was sent"))
        self.sent(1)
        self.stream.when_acknowledged(self.acknowledged("written"))
        self.assertEqual(self.told, ["nothing was sent"])
        self.upstream.accept()
        self.stream.when_acknowledged(self.acknowledged("at once"))
        self.assertEqual(self.told, ["nothing was sent", "written", "at once"])

    def test_who_waits_while_it_is_opened_in_vain(self) -> None:
        self.sent(1)
        self.stream.when_acknowledged(self.acknowledged("lost"))
        self.upstream.attempts.pop().errback(CannotOpen("not now"))
        self.assertEqual(self.told, ["unreachable False", "lost"])

    def test_an_acknowledgement_that_cannot_be(self) -> None:
        for h in (2, -1, 2**32, "x", ""):
            self.setUp()
            self.opened()
            self.sent(1)
            self.says(a(h).decode())
            self.assertEqual((self.stream.state, self.told), (StreamState.CLOSED, ["unreachable False"]), h)
            self.assertTrue(self.upstream.transport.aborted, h)
            self.assertEqual(self.hears.returned, [1], h)

    def test_a_server_that_acknowledges_nothing_any_more(self) -> None:
        self.patch(managed_stream, "MAX_UNACKNOWLEDGED", 1000)
        self.opened()
        self.sent(*range(1000))
        self.assertEqual(self.told, [])
        self.sent(0)
        self.assertEqual((self.told, self.upstream.transport.aborted), (["unreachable False"], True))

    def test_so_many_bytes_may_wait(self) -> None:
        for more, ends in ((0, False), (1, True)):
            self.setUp()
            self.opened()
            stanza = b"<message id='1'>%b</message>"
            for size in (*[200_000] * (MAX_BYTES // 200_000), MAX_BYTES % 200_000 + more):
                self.stream.send(stanza % (b"x" * (size - len(stanza) + 2)))
            self.assertEqual(bool(self.told), ends, more)

    def test_a_server_that_is_asked_and_does_not_answer(self) -> None:
        """Though it says much else: the connection is no good."""
        self.opened()
        self.sent(1)
        for _ in range(int(ANSWER_WITHIN)):
            self.says("<presence/>")
            self.clock.advance(1)
        self.assertTrue(self.upstream.transport.aborted)
        self.assertEqual((self.stream.state, self.told), (StreamState.RESUMING, []))
        self.upstream.accept(resumed=True)
        self.assertEqual(self.upstream.take(), b"<message id='1'/>" + REQUEST)
        for _ in range(int(ANSWER_WITHIN)):
            self.says("<presence/>")
            self.clock.advance(1)
        self.assertTrue(self.upstream.transport.aborted)
        self.assertEqual((self.stream.state, self.told), (StreamState.CLOSED, ["unreachable False"]))
        self.assertEqual(self.hears.returned, [1])

    def test_one_that_answers_late(self) -> None:
        self.opened()
        for number in range(1, 4):
            self.sent(number)
            for _ in range(int(ANSWER_WITHIN) - 1):
                self.says("<presence/>")
                self.clock.advance(1)
            self.says(a(number).decode())
        self.sent(4)
        self.says(a(4).decode())
        self.assertIs(self.stream.state, StreamState.OPEN)
        for _ in range(3 * int(ANSWER_WITHIN)):
            self.says("<presence/>")
            self.clock.advance(1)
        self.assertIs(self.stream.state, StreamState.OPEN)
        self.assertFalse(self.upstream.transport.aborted)

    def test_others_are_not_answered_then(self) -> None:
        """Somebody who asks and asks costs the account no stream."""
        self.opened()
        answer = b"<iq>%b</iq>" % (b"x" * 1024)
        for _ in range(2 * MAX_REPLIES // 1024):
            self.stream.reply(answer)
        self.sent(1)
        managed = self.stream._life.managed
        assert managed is not None
        self.assertLess(managed.unacknowledged.size, MAX_REPLIES + 2048)
        self.assertEqual(list(managed.unacknowledged)[-1], b"<message id='1'/>")

    def test_what_is_no_stanza_is_not_counted(self) -> None:
        """Handlers are anybody's."""
        self.opened()
        self.stream.send(b"<other xmlns='urn:x'/>")
        self.assertEqual(self.upstream.take(), b"<other xmlns='urn:x'/>")
        self.says(a(0).decode())
        self.assertIs(self.stream.state, StreamState.OPEN)


class Lost(ManagedTest):
    """Nothing is resumed: whoever has sent something is told, and then those who wait for acknowledgements."""

    def lost(self, *returned: int) -> None:
        self.assertEqual((self.told, self.hears.returned), (["unreachable False", "lost"], list(returned)))
        self.assertIs(self.stream.state, StreamState.CLOSED)

    def lost_and_open(self, *returned: int) -> None:
        self.assertEqual((self.told, self.hears.returned), (["unreachable False", "lost"], list(returned)))
        self.assertIs(self.stream.state, StreamState.OPEN)

    def waits(self) -> None:
        self.sent(1, 2)
        self.stream.when_acknowledged(self.acknowledged("lost"))

    def test_a_server_that_would_not_resume_it(self) -> None:
        self.opened(Enabled("", None, ""))
        self.waits()
        self.breaks()
        self.lost(1, 2)

    def test_a_server_that_has_ended_it(self) -> None:
        for end in ("</stream:stream>", ERROR.format("conflict"), "</a>"):
            self.setUp()
            self.opened()
            self.waits()
            self.says(end)
            self.breaks()
            self.lost(1, 2)

    def test_only_messages_are_returned_that_are_no_errors(self) -> None:
        self.opened(Enabled("", None, ""))
        for stanza in (b"<iq id='1'/>", b"<presence id='2'/>", b"<message type='error' id='3'/>", b"<message"):
            self.stream.send(stanza)
        self.waits()
        self.breaks()
        self.lost(1, 2)

    def test_nor_what_is_followed(self) -> None:
        """Whoever sends it finds out by itself; also of what waited for the stream to open, or to be resumed."""
        self.stream.send(Followed(b"<message id='3'/>"))
        self.opened()
        self.stream.send(Followed(b"<message id='4'/>"))
        self.breaks()
        self.stream.send(Followed(b"<message id='5'/>"))
        self.waits()
        self.upstream.accept(enabled=RESUMABLE)
        self.lost_and_open(1, 2)

    def not_resumed(self, h: int | None) -> None:
        self.opened()
        self.waits()
        self.breaks()
        self.assertEqual((self.told, self.stream.state), ([], StreamState.RESUMING))
        resumable = self.upstream.resumable
        assert resumable is not None
        resumable.not_resumed(h)

    def test_the_server_knows_it_no_more(self) -> None:
        """Another is open at once; what the server says that it had handled is not returned."""
        for h, returned in ((None, [1, 2]), (0, [1, 2]), (1, [2]), (2, []), (3, [1, 2])):
            self.setUp()
            self.not_resumed(h)
            self.upstream.accept(enabled=RESUMABLE)
            told = ["unreachable False", "lost"] if h != 2 else ["lost", "unreachable False"]  # it was handled
            self.assertEqual((self.told, self.hears.returned), (told, returned), h)
            self.assertEqual((self.stream.state, self.hears.made), (StreamState.OPEN, 2), h)
            self.assertEqual(self.says(f"<message id='7'/>{ASKS}"), a(1), h)

    def test_and_then_it_cannot_be_opened(self) -> None:
        self.not_resumed(None)
        self.upstream.attempts.pop().errback(CannotOpen("not now"))
        self.clock.advance(0)
        self.lost(1, 2)

    def test_closed_when_it_is_lost(self) -> None:
        """Whoever is told wants it no more: the other that is open is ended."""
        self.not_resumed(None)
        self.patch(self.hears, "unreachable", lambda *, refused: self.stream.close())
        attempt = self.upstream.attempts[0]
        self.upstream.accept(enabled=RESUMABLE)
        self.assertTrue(attempt.called)
        self.assertIs(self.stream.state, StreamState.CLOSED)
        self.assertTrue(self.upstream.transport.aborted)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_what_is_sent_when_it_is_lost_goes_out_on_the_next(self) -> None:
        self.not_resumed(None)
        self.patch(self.hears, "unreachable", lambda *, refused: self.sent(9))
        self.upstream.accept(enabled=RESUMABLE)
        self.assertEqual(self.upstream.take(), b"<message id='9'/>" + REQUEST)


class Resumed(ManagedTest):
    def resumed(self, h: int) -> None:
        resumable = self.upstream.resumable
        assert resumable is not None
        resumable.resuming()
        resumable.resumed(h)
        self.upstream.accept(resumed=True)

    def test_what_is_sent_meanwhile_waits(self) -> None:
        self.opened()
        self.sent(1, 2)
        self.breaks()
        self.sent(3)
        self.assertEqual((self.stream.state, self.stream.jid), (StreamState.RESUMING, STREAM))
        self.resumed(1)
        self.assertEqual(self.upstream.take(), b"<message id='2'/><message id='3'/>" + REQUEST)
        self.assertEqual((self.told, self.hears.made), ([], 1))

    def test_the_first_try_is_at_once_and_then_waits_grow(self) -> None:
        self.opened()
        self.says("<message id='1'/>")
        self.breaks()
        for wait in (0, 1, 2, 4, 8, 10, 10):
            self.assertEqual(self.stream.opens_in, wait)
            self.clock.advance(wait)
            self.upstream.attempts.pop().errback(CannotOpen("not now"))

    def test_one_that_breaks_before_anything_is_said_waits(self) -> None:
        self.opened()
        self.says("<message id='1'/>")
        self.breaks()
        self.resumed(0)
        self.breaks()
        self.assertEqual((self.upstream.attempts, self.stream.opens_in), ([], 1))

    def test_a_resumption_that_takes_too_long_is_tried_again(self) -> None:
        self.opened()
        self.says("<message id='1'/>")
        self.breaks()
        (attempt,) = self.upstream.attempts
        self.clock.advance(60)
        self.assertTrue(attempt.called)
        self.clock.advance(1)
        self.assertEqual(len(self.upstream.attempts), 2)


class Closing(ManagedTest):
    def test_the_server_is_told_what_is_handled(self) -> None:
        self.opened()
        self.says("<message id='1'/>")
        self.stream.close()
        self.assertEqual(self.upstream.take(), a(1) + b"</stream:stream>")
        self.assertTrue(self.upstream.transport.disconnecting)

    def test_that_waits_for_the_disk(self) -> None:
        self.opened()
        self.disk.slow = True
        self.says("<message id='1'/>")
        done = self.stream.shut_down()
        self.assertEqual(self.upstream.take(), b"")
        self.disk.write(10)
        self.assertEqual(self.upstream.take(), a(1) + b"</stream:stream>")
        self.breaks()
        self.successResultOf(done)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_but_not_for_ever(self) -> None:
        self.opened()
        self.disk.slow = True
        self.says("<message id='1'/>")
        self.stream.close()
        self.clock.advance(CLOSE_TIMEOUT)
        self.assertEqual(self.upstream.take(), a(0) + b"</stream:stream>")
        self.disk.write(10)
        self.assertEqual(self.upstream.take(), b"")

    def test_it_breaks_while_that_waits(self) -> None:
        self.opened()
        self.disk.slow = True
        self.says("<message id='1'/>")
        done = self.stream.shut_down()
        self.breaks()
        self.disk.write(10)
        self.successResultOf(done)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_whoever_waits_for_an_acknowledgement_is_called(self) -> None:
        self.opened()
        self.sent(1)
        self.stream.when_acknowledged(self.acknowledged("over"))
        self.stream.close()
        self.assertEqual(self.told, [])
        self.breaks()
        self.assertEqual((self.told, self.hears.returned), (["over"], []))

    def leaving(self) -> None:
        self.opened()
        self.says("<message id='1'/>")
        self.breaks()
        self.stream.send(b"<presence type='unavailable'/>")
        self.stream.when_acknowledged(self.acknowledged("over"))
        self.stream.close()
        self.assertEqual((self.stream.state, self.stream.jid, self.told), (StreamState.CLOSED, "", []))

    def test_while_it_is_resumed(self) -> None:
        """The server is to keep nothing, and rooms are to hear of it."""
        self.leaving()
        resumable = self.upstream.resumable
        assert resumable is not None
        resumable.resuming()
        resumable.resumed(0)
        self.upstream.accept(resumed=True, behind=b"<message id='2'/>")
        written = self.upstream.take()
        self.assertEqual(written, b"<presence type='unavailable'/>" + REQUEST + a(1) + b"</stream:stream>")
        self.assertEqual(self.hears.heard, [1], "nobody is there to hear more")
        self.breaks()
        self.assertEqual((self.told, self.clock.getDelayedCalls()), (["over"], []))

    def test_while_it_cannot_be_resumed(self) -> None:
        self.leaving()
        assert self.upstream.resumable is not None
        self.assertFalse(self.upstream.resumable.is_wanted)
        self.upstream.accept(enabled=RESUMABLE)
        self.assertEqual(self.upstream.take(), b"</stream:stream>")
        self.breaks()
        self.assertEqual((self.told, self.clock.getDelayedCalls()), (["over"], []))

    def test_needed_again_meanwhile(self) -> None:
        """It is opened anew: the server ends what it has kept then."""
        for sends in (True, False):
            self.setUp()
            self.leaving()
            (attempt,) = self.upstream.attempts
            self.sent(5) if sends else self.stream.reopen()
            self.assertTrue(attempt.called)
            self.assertEqual(self.told, ["over"])
            self.clock.advance(5)
            self.assertIsNone(self.upstream.resumable)
            self.upstream.accept(enabled=RESUMABLE)
            self.assertIs(self.stream.state, StreamState.OPEN)

    def test_the_service_stops_meanwhile(self) -> None:
        self.opened()
        self.says("<message id='1'/>")
        self.breaks()
        self.successResultOf(self.stream.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])
