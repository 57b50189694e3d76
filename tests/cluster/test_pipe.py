"""Clients that reach another process than the one that holds their account: as if they had reached that one."""

from __future__ import annotations

import gc
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import formatEvent
from twisted.trial import unittest

from minimixproxy.c2s.errors import UpstreamRefused
from minimixproxy.c2s.server.elsewhere import Cluster, Elsewhere, Introduction, NotHandedOver
from minimixproxy.c2s.server.holder_search import LAST_PAUSE
from minimixproxy.c2s.transport.client_stream import CLOSE_TIMEOUT
from minimixproxy.c2s.transport.connection import SecurableConnection
from minimixproxy.cluster.edge_pipe import LEAVE_TIME, MAX_HELD, PATIENCE, HolderPipe
from minimixproxy.cluster.greeting import Greeting
from minimixproxy.cluster.handover_header import EDGE_LEAVES
from minimixproxy.cluster.pipes import EdgePipes
from minimixproxy.wire.events import Event
from tests.c2s.helpers import BIND, BOUND, HEADER, PLAIN_FEATURES, SERVER_HEADER, Lab, LabClient, plain
from tests.c2s.server.test_negotiation import RESPONSE, errors
from tests.c2s.server.test_sasl2 import authenticate, bind
from tests.cluster.lab import NUMBER, THERE, Pair
from tests.log_events import log_events
from tests.wires import Wire

NAMED = HEADER.replace(b" to=", b" from='a@example.org' to=")
SASL = b"urn:ietf:params:xml:ns:xmpp-sasl"
END = b"</stream:stream>"


class PipeCase(unittest.TestCase):
    lab: Callable[..., Lab] = Lab
    logins: tuple[str, ...] = ("PLAIN",)

    def setUp(self) -> None:
        self.pair = Pair(Path(self.mktemp()), type(self).lab, logins=self.logins)
        self.events = log_events(self)
        self.client = self.pair.edge.client(address="192.0.2.77")

    def told(self, text: str) -> bool:
        return any(text in (formatEvent(event) or "") for event in self.events)

    def send(self, data: bytes) -> bytes:
        """Send as the client; return what it gets."""
        return self.client.send(data) + self.flushed()

    def flushed(self) -> bytes:
        self.pair.flush()
        return self.client.wire.take()

    def accepted(self) -> LabClient:
        """The holder's server accepts the login; return the client as the holder has it."""
        upstream = Upstream(self.pair.holder)
        upstream.accept_login()
        return upstream

    def session(self, header: bytes = NAMED) -> LabClient:
        """Go up to a session."""
        self.send(header)
        self.send(plain())
        there = self.accepted()
        self.assertIn(b"<success", self.flushed())
        self.send(HEADER)
        there.serve(SERVER_HEADER + PLAIN_FEATURES)
        self.assertIn(b"<bind", self.flushed())
        there.upstream.take()
        return there

    def session_by_sasl2(self) -> None:
        """Go up to where the holder binds."""
        self.send(HEADER)
        self.send(authenticate(bind()))
        there = self.accepted()
        self.pair.holder.clock.advance(0)
        there.serve(SERVER_HEADER + PLAIN_FEATURES)
        self.assertIn(b"urn:ietf:params:xml:ns:xmpp-bind", there.upstream.take())


class Upstream(LabClient):
    """The server's side of a client that came by the pipe."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.wire = Wire()
        self.upstream = Wire()
        self.server = None


class LoginTest(PipeCase):
    def test_named_in_the_header(self) -> None:
        answer = self.send(NAMED)
        self.assertEqual(answer.count(b"<stream:stream"), 1)
        self.assertIn(b"<mechanism>PLAIN", answer)
        self.send(plain())
        self.assertEqual(self.pair.edge.logins, [])
        self.assertEqual(self.pair.holder.logins[0][0].credential.password, "secret")
        self.assertEqual(str(self.pair.holder.peers[-1]), "192.0.2.77:40000")

    def test_named_by_its_login(self) -> None:
        answer = self.send(HEADER)
        self.assertEqual(self.pair.joints, [])
        self.assertIn(b"<mechanism>PLAIN", answer)
        self.assertEqual(self.send(plain()), b"")
        self.assertEqual(len(self.pair.holder.logins), 1)
        self.accepted()
        self.assertEqual(self.flushed(), b"<success xmlns='%b'/>" % SASL)

    def test_session(self) -> None:
        for header in (NAMED, HEADER):
            self.client = self.pair.edge.client(address="192.0.2.77")
            there = self.session(header)
            self.send(BIND)
            self.assertEqual(there.upstream.take(), BIND)
            there.serve(BOUND)
            self.assertEqual(self.flushed(), BOUND)
            self.send(b"<message><bo")
            self.send(b"dy/></message>")
            self.assertEqual(there.upstream.take(), b"<message><body/></message>")
            self.assertIs(self.pair.holder.accounts.bound[-1].standalone, False)
        self.assertEqual(self.pair.holds.found, [], "who was handed over is not handed on")
        self.assertEqual(self.pair.holds.claimed, ["a@example.org"] * 2)
        self.assertTrue(self.told("session of a@example.org begins, from 192.0.2.77"))

    def test_sent_ahead(self) -> None:
        """All in one read, cut where it may be: nothing is lost."""
        self.client.send(NAMED + plain()[:50])
        self.send(plain()[50:])
        self.assertEqual(len(self.pair.holder.logins), 1)

    def test_cut_anywhere(self) -> None:
        data = NAMED + plain()
        for cut in range(1, len(data), 17):
            client = self.pair.edge.client()
            client.send(data[:cut])
            self.pair.flush()
            client.send(data[cut:])
            self.pair.flush()
            self.accepted()
            self.pair.flush()
            self.assertIn(b"<success", client.wire.take())
        self.assertEqual(len(self.pair.holder.logins), len(range(1, len(data), 17)))
        self.assertEqual(self.pair.edge.logins, [])

    def test_without_initial_response(self) -> None:
        self.send(HEADER)
        self.assertEqual(self.send(b"<auth xmlns='%b' mechanism='PLAIN'/>" % SASL), b"<challenge xmlns='%b'/>" % SASL)
        self.assertEqual(self.send(RESPONSE), b"")
        self.assertEqual(len(self.pair.holder.logins), 1)
        self.accepted()
        self.assertEqual(self.flushed(), b"<success xmlns='%b'/>" % SASL)

    def test_refused_login(self) -> None:
        """The client may try again, on the same pipe."""
        self.send(HEADER)
        self.send(plain())
        self.pair.holder.logins[0][1].errback(UpstreamRefused("not-authorized"))
        self.assertIn(b"<not-authorized/>", self.flushed())
        self.send(plain())
        self.assertEqual((len(self.pair.holder.logins), len(self.pair.joints)), (2, 1))

    def test_another_account_by_the_same_stream(self) -> None:
        """Its holder counts guesses at it, so nobody may guess elsewhere; and nobody learns who is held by whom."""
        for there in (True, False):
            if not there:
                self.pair.there.clear()
            lab = self.pair.holder if there else self.pair.edge
            for header, answer in ((NAMED, b"<invalid-authzid/>"), (HEADER, b"<reset ")):
                self.client = self.pair.edge.client()
                self.send(header)
                if header == HEADER:
                    self.send(plain())
                    lab.logins[-1][1].errback(UpstreamRefused("not-authorized"))
                    self.flushed()
                before = len(lab.logins)
                self.assertIn(answer, self.send(plain("b")))
                self.assertEqual((len(lab.logins), self.pair.asked.count("b@example.org")), (before, 0))
                self.assertEqual(self.client.wire.closing, header == HEADER)

    def test_another_account_that_is_named_when_it_is_asked_for(self) -> None:
        self.send(NAMED)
        self.send(b"<auth xmlns='%b' mechanism='PLAIN'/>" % SASL)
        other = plain("b").replace(b"<auth", b"<response").replace(b"</auth", b"</response")
        self.assertIn(b"<invalid-authzid/>", self.send(other))
        self.assertEqual(self.pair.holder.logins, [])

    def test_another_domain_is_asked_by_nobody(self) -> None:
        self.pair.there.clear()
        self.assertIn(b"<mechanism>PLAIN", self.send(NAMED))
        self.assertEqual(self.pair.joints, [])

    def test_login_time_is_the_holders(self) -> None:
        self.send(NAMED)
        self.pair.edge.clock.advance(3600)
        self.assertFalse(self.client.wire.closing)
        self.pair.holder.clock.advance(3600)
        self.assertEqual(errors(self.flushed()), [b"connection-timeout"])
        self.assertTrue(self.client.wire.closing)


class RefusedTest(PipeCase):
    def refused(self, why: str) -> None:
        """By its header; then it is looked for at once and a second later, and the client is told."""
        answer = self.send(NAMED)
        answer += self.flushed()
        self.assertEqual((answer, len(self.pair.asked)), (b"", 2))
        self.pair.edge.clock.advance(LAST_PAUSE)
        answer += self.flushed()
        self.assertEqual(errors(answer), [b"remote-connection-failed"])
        self.assertTrue(self.told(why), [formatEvent(event) for event in self.events])
        self.assertEqual(len(self.pair.asked), 3)
        self.assertEqual(self.pair.holder.logins, [])
        self.assertEqual((len(self.pair.holder.clients), len(self.pair.port.new)), (0, 0))

    def test_number_of_another_incarnation(self) -> None:
        self.pair.number += 1
        self.refused(f"is handed to process {NUMBER}, and this is {NUMBER + 1} by now")

    def test_account_that_is_not_held(self) -> None:
        self.pair.held.clear()
        self.refused("is not held here")

    def test_nobody_there(self) -> None:
        self.pair.down = True
        self.refused("its holder node-b does not take a client")

    def test_out_of_reach(self) -> None:
        self.pair.unreachable = True
        self.client.send(NAMED)
        self.pair.edge.clock.pump([10, 10, LAST_PAUSE, 10])
        self.assertEqual(errors(self.client.wire.take()), [b"remote-connection-failed"])
        self.assertTrue(self.told("/there: it is not reached in time"))

    def test_not_accepting(self) -> None:
        self.pair.holder.clients.accepting = False
        self.refused("no clients are accepted")

    def test_the_holder_stops(self) -> None:
        """Who has connected and not said whom it hands over is not served any more: the stop would wait for it."""
        self.client.send(NAMED)
        self.pair.port.doStart()
        self.pair.port.doStop()
        stopped = self.pair.holder.clients.shut_down()
        self.pair.joints[0].cut()
        self.pair.there.clear()
        self.assertIn(b"<mechanism>PLAIN", self.flushed())
        self.successResultOf(stopped)
        self.assertEqual(len(self.pair.port.new), 0)
        self.assertTrue(self.told("this process stops"))

    def test_domain_that_is_not_served_there(self) -> None:
        self.pair.holder.context.domains = {}
        self.refused("its domain is not served here")

    def test_refused_by_login(self) -> None:
        self.pair.held.clear()
        self.send(HEADER)
        self.assertEqual(self.send(plain()) + self.flushed(), b"")
        self.pair.edge.clock.advance(LAST_PAUSE)
        self.assertIn(b"<temporary-auth-failure/>", self.flushed())
        self.pair.held.add("a@example.org")
        self.assertEqual(self.send(plain()), b"")
        self.assertEqual(len(self.pair.holder.logins), 1)

    def test_moved_meanwhile(self) -> None:
        """It is here by the time that it is looked for again."""
        self.pair.held.clear()
        self.client.send(NAMED)
        self.pair.there.clear()
        self.assertIn(b"<mechanism>PLAIN", self.flushed())

    def test_it_stops(self) -> None:
        """A client that it has sent away is back before its accounts are another process's."""
        self.pair.down = True
        self.assertEqual(self.send(NAMED), b"")
        self.pair.there.clear()
        self.pair.edge.clock.advance(LAST_PAUSE)
        self.assertIn(b"<mechanism>PLAIN", self.flushed())

    def test_client_gone_in_the_pause(self) -> None:
        self.pair.down = True
        self.send(NAMED)
        self.client.vanish()
        self.pair.edge.clock.advance(LAST_PAUSE)
        self.assertEqual(len(self.pair.asked), 2)

    def test_silent_holder(self) -> None:
        self.client.send(NAMED)
        self.pair.edge.clock.pump([10, 10, LAST_PAUSE, 10])
        self.assertEqual(errors(self.client.wire.take()), [b"remote-connection-failed"])
        self.assertTrue(self.told("it does not answer in time"))


class EndTest(PipeCase):
    def test_holder_gone_before_the_login(self) -> None:
        self.send(NAMED)
        self.pair.joints[0].cut()
        self.assertEqual((self.flushed(), self.client.wire.closing), (b"", True))
        self.assertTrue(self.told("node-b, which held the account of the client at 192.0.2.77, is gone"))

    def test_holder_gone_in_session(self) -> None:
        """The stream is not closed: it may be resumed."""
        self.session()
        self.pair.joints[0].cut()
        self.assertEqual((self.flushed(), self.client.wire.closing), (b"", True))

    def test_holder_gone_within_a_stanza(self) -> None:
        self.send(NAMED)
        self.pair.joints[0].edge.dataReceived(b"<message><body>half")
        self.pair.joints[0].cut()
        self.assertEqual(self.client.wire.take(), b"<message><body>half")
        self.assertTrue(self.client.wire.closing)

    def test_holder_over(self) -> None:
        """It stands still, and others have its accounts: the client is not left waiting for it."""
        self.session()
        self.pair.pipes.cut(NUMBER + 1)
        self.assertFalse(self.pair.joints[0].edge_wire.aborted)
        self.pair.pipes.cut(NUMBER)
        self.assertTrue(self.pair.joints[0].edge_wire.aborted)
        self.assertEqual((self.flushed(), self.client.wire.closing), (b"", True))

    def test_holder_over_while_the_client_is_introduced(self) -> None:
        """It is looked for once more."""
        self.client.send(NAMED)
        self.pair.there.clear()
        self.pair.pipes.cut(NUMBER)
        self.pair.joints[0].cut()
        self.assertIn(b"<mechanism>PLAIN", self.flushed())

    def test_nothing_is_kept_of_pipes_that_are_closed(self) -> None:
        for end in (lambda: self.client.vanish(), lambda: self.pair.joints[-1].cut()):
            self.client = self.pair.edge.client()
            self.session()
            self.assertEqual(list(self.pair.pipes._open), [NUMBER])
            end()
            self.pair.flush()
            self.assertEqual(self.pair.pipes._open, {})
        self.pair.down = True
        self.client = self.pair.edge.client()
        self.send(NAMED)
        self.assertEqual(self.pair.pipes._open, {})

    def test_client_gone(self) -> None:
        there = self.session()
        self.client.vanish()
        self.pair.flush()
        self.assertTrue(self.pair.joints[0].over)
        self.assertEqual(len(self.pair.holder.clients), 0)
        self.assertEqual(there.upstream.take(), END)

    def test_client_gone_while_it_is_introduced(self) -> None:
        self.client.send(NAMED)
        self.client.vanish()
        self.assertTrue(self.pair.joints[0].edge_wire.aborted)

    def test_client_ends(self) -> None:
        self.send(NAMED)
        self.assertEqual(self.send(END), END)
        self.assertTrue(self.client.wire.closing)

    def test_edge_shuts_down(self) -> None:
        self.session()
        self.pair.edge.clients.dismiss()
        self.assertEqual(errors(self.flushed()), [b"system-shutdown"])
        self.assertTrue(self.pair.joints[0].over)
        self.assertEqual(len(self.pair.holder.clients), 0)

    def test_edge_shuts_down_before_the_second_stream_has_begun(self) -> None:
        """Behind a success of SASL: a stream error needs a stream. So it is whatever the client has sent of it."""
        for ahead in (b"", HEADER):
            self.setUp()
            self.send(NAMED)
            self.send(plain())
            self.accepted()
            self.assertIn(b"<success", self.flushed())
            if ahead:
                self.client.send(ahead)
            self.pair.edge.clients.dismiss()
            answer = self.flushed()
            self.assertTrue(answer.startswith(b"<?xml version='1.0'?><stream:stream "), answer)
            self.assertEqual(errors(answer), [b"system-shutdown"])

    def test_holder_shuts_down(self) -> None:
        self.session()
        self.pair.holder.clients.dismiss()
        answer = self.flushed()
        self.assertEqual(errors(answer), [b"system-shutdown"])
        self.assertEqual(answer.count(END), 1)
        self.assertTrue(self.client.wire.closing)

    def test_garbage(self) -> None:
        self.send(NAMED + b"<half")
        self.assertEqual(errors(self.send(b"<<<")), [b"not-well-formed"])
        self.assertTrue(self.pair.joints[0].over)

    def test_garbage_sent_ahead(self) -> None:
        self.client.send(NAMED + b"<a></b>")
        self.assertEqual(errors(self.flushed()), [b"not-well-formed"])
        self.assertTrue(self.pair.joints[0].over)
        self.assertEqual(len(self.pair.holder.clients), 0)

    def test_end_sent_ahead(self) -> None:
        self.client.send(NAMED + END)
        self.assertTrue(self.flushed().endswith(END))
        self.assertTrue(self.client.wire.closing)

    def test_closed_connections_are_aborted_in_the_end(self) -> None:
        self.send(NAMED)
        wire = self.pair.joints[0].edge_wire
        self.client.vanish()
        self.assertTrue(wire.closing)
        self.pair.edge.clock.advance(5)
        self.assertTrue(wire.aborted)


class EdgeLeavesTest(PipeCase):
    """The process that the client has reached stops; the one that holds its account goes on."""

    def bound(self) -> LabClient:
        there = self.session()
        self.send(BIND)
        there.serve(BOUND)
        self.flushed()
        there.upstream.take()
        return there

    def leave(self) -> bytes:
        self.pair.edge.clients.dismiss()
        return self.flushed()

    def test_what_is_on_its_way_comes_first(self) -> None:
        there = self.bound()
        there.serve(b"<message><body>late</body></message>")
        self.pair.edge.clients.dismiss()
        answer = self.flushed()
        self.assertTrue(answer.startswith(b"<message><body>late</body></message><stream:error>"), answer)
        self.assertEqual((errors(answer), answer.count(END)), ([b"system-shutdown"], 1))
        self.assertTrue(self.client.wire.closing)
        self.assertEqual((there.upstream.take(), len(self.pair.holder.clients)), (END, 0))

    def test_what_the_client_said_is_passed_on(self) -> None:
        """Also if it was in the middle of something, which nobody can pass on."""
        for half in (b"", b"<message><bo"):
            self.setUp()
            there = self.bound()
            self.client.send(b"<message/>" + half)
            self.assertEqual(errors(self.leave()), [b"system-shutdown"])
            self.assertEqual(there.upstream.take(), b"<message/>" + END)

    def test_all_that_the_client_said_is_passed_on(self) -> None:
        """Also if that takes more than one turn: it is told that its stream ends, and not what is lost of its words."""
        there = self.bound()
        said = b"".join(b"<presence to='b@example.org/%d'/>" % number for number in range(20))
        self.client.send(said)
        answer = self.leave()
        self.assertEqual(errors(answer + self.turns()), [b"system-shutdown"])
        self.assertEqual(there.upstream.take(), said + END)

    def test_all_that_the_client_said_before_it_closed_its_stream(self) -> None:
        there = self.bound()
        said = b"".join(b"<presence to='b@example.org/%d'/>" % number for number in range(20))
        self.client.send(said + END)
        self.leave()
        self.turns()
        self.assertEqual(there.upstream.take(), said + END)

    def turns(self) -> bytes:
        for _ in range(20):
            self.pair.holder.clock.advance(0)
            self.pair.flush()
        return self.client.wire.take()

    def test_the_client_closes_its_stream_at_the_same_time(self) -> None:
        """What its server still says comes, as it is taken to have come: the edge waits for the end of both."""
        there = self.bound()
        self.client.send(END)
        self.assertEqual(self.leave(), b"")
        there.serve(b"<message><body>last</body></message>" + END)
        self.assertEqual(self.flushed(), b"<message><body>last</body></message>" + END)
        self.assertTrue(self.client.wire.closing)

    def test_a_stream_that_can_be_resumed(self) -> None:
        """It is cut, and sleeps: the client resumes it by another process."""
        there = self.bound()
        enabled = self.send(b"<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
        self.assertIn(b"<enabled", enabled)
        there.serve(b"<message><body>1</body></message>")
        self.flushed()
        self.assertEqual((self.leave(), self.client.wire.closing), (b"", True))
        self.assertTrue(self.told("/r sleeps: its client is gone, and may come back"))
        self.assertFalse(self.told("is gone or has it no more"))
        self.assertNotIn(END, there.upstream.take())

    def test_what_comes_behind_the_end(self) -> None:
        """It is not handled, nor kept: the client says it again. A hostile one would say much, and not let us go."""
        there = self.bound()
        self.send(b"<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
        there.upstream.take()
        (stream,) = self.pair.holder.clients._streams
        stream.dataReceived(b"<message id='before'/>" + EDGE_LEAVES)
        stream.dataReceived(b"<message id='behind'/>" + EDGE_LEAVES)
        self.assertEqual(there.upstream.take(), b"<message id='before'/>")
        self.assertEqual(self.flushed(), b"")
        self.assertTrue(self.told("/r sleeps"))

    def test_before_the_login(self) -> None:
        self.send(NAMED)
        answer = self.leave()
        self.assertEqual((errors(answer), self.client.wire.closing), ([b"system-shutdown"], True))

    def test_told_twice(self) -> None:
        self.bound()
        self.pair.edge.clients.dismiss()
        self.pair.edge.clients.dismiss()
        self.assertEqual(self.pair.joints[0].edge_wire.value(), EDGE_LEAVES)
        self.assertEqual(errors(self.flushed()), [b"system-shutdown"])

    def test_the_holder_does_not_answer(self) -> None:
        self.bound()
        self.pair.edge.clients.dismiss()
        self.pair.edge.clock.advance(LEAVE_TIME - 0.1)
        self.assertEqual(self.client.wire.take(), b"")
        self.pair.edge.clock.advance(0.1)
        self.assertEqual(errors(self.client.wire.take()), [b"system-shutdown"])
        self.assertTrue(self.told("node-b does not end the stream of its client in time"))

    def test_the_holder_is_gone_meanwhile(self) -> None:
        self.bound()
        self.pair.edge.clients.dismiss()
        self.pair.joints[0].cut()
        self.assertEqual((self.client.wire.take(), self.client.wire.closing), (b"", True))
        self.pair.edge.clock.advance(LEAVE_TIME)
        self.assertFalse(self.told("in time"))

    def test_a_client_says_so(self) -> None:
        """It ends its own stream."""
        other = self.pair.edge.client(address="192.0.2.78")
        self.bound()
        self.assertEqual(errors(self.send(b"<message/>" + EDGE_LEAVES + b"<presence/>")), [b"system-shutdown"])
        self.pair.flush()
        self.assertEqual(other.wire.closing, False)
        self.assertEqual(errors(other.send(EDGE_LEAVES)), [b"unsupported-encoding"])


class BackpressureTest(PipeCase):
    def test_slow_client(self) -> None:
        self.session()
        self.client.wire.push_producer.pauseProducing()
        self.assertEqual(self.pair.joints[0].edge_wire.producerState, "paused")
        self.client.wire.push_producer.resumeProducing()
        self.assertEqual(self.pair.joints[0].edge_wire.producerState, "producing")

    def test_slow_holder(self) -> None:
        self.session()
        self.pair.joints[0].edge_wire.push_producer.pauseProducing()
        self.assertEqual(self.client.wire.producerState, "paused")
        self.pair.joints[0].edge_wire.push_producer.resumeProducing()
        self.assertEqual(self.client.wire.producerState, "producing")

    def test_after_the_end(self) -> None:
        self.session()
        producers = [self.client.wire.push_producer, self.pair.joints[0].edge_wire.push_producer]
        self.client.vanish()
        self.pair.flush()
        for producer in producers:
            producer.pauseProducing()
            producer.resumeProducing()


class Sasl2Test(PipeCase):
    def test_session(self) -> None:
        self.session_by_sasl2()


class TransparentTest(unittest.TestCase):
    """All that a client sends reaches its holder as it came, whatever the pieces, and whenever that is found."""

    def setUp(self) -> None:
        self.lab = Lab(Path(self.mktemp()))

    @given(
        st.lists(st.sampled_from([plain(), b" ", b"<message><body>\xc3\xa4</body></message>", b"<a:b xmlns:a='c'/>"])),
        st.lists(st.integers(0, 2000), max_size=6),
        st.integers(0, 6),
    )
    def test_in_any_pieces(self, elements: list[bytes], places: list[int], found_after: int) -> None:
        data = NAMED + b"".join(elements)
        bounds = sorted({0, len(data), len(NAMED), *(place % len(data) for place in places)})
        finder = SlowFinder()
        wire = Wire()
        self.lab.context.cluster = Cluster(finder, EdgePipes(lambda _address, bottom: joined(bottom, wire), Clock()))
        client = self.lab.client()
        for number, (start, end) in enumerate(pairwise(bounds)):
            client.stream.bottom.dataReceived(data[start:end])
            if number == found_after:
                finder.answer()
        finder.answer()
        pipe = client.stream.handler
        assert isinstance(pipe, HolderPipe)
        said = wire.take()
        header = said.index(b"<stream:stream")
        self.assertEqual(said[header:], data[data.index(b"<stream:stream") :])
        client.vanish()


def joined(bottom: SecurableConnection, wire: Wire) -> Deferred[Any]:
    """A holder that is content with whatever it is told."""
    bottom.makeConnection(wire)
    content = Deferred[Any]()
    content.callback(bottom)
    assert isinstance(bottom.upper, HolderPipe)
    greeted = bottom.upper.greeted

    def at_once() -> Deferred[None]:
        waiting = greeted()
        bottom.dataReceived(SERVER_HEADER)
        return waiting

    bottom.upper.greeted = at_once  # type: ignore[method-assign]
    return content


class SlowFinder:
    """(`elsewhere.Finder`) Answers when it is told to."""

    def __init__(self) -> None:
        self._asked: Deferred[Elsewhere] | None = None

    def answer(self) -> None:
        if self._asked is not None and not self._asked.called:
            self._asked.callback(THERE)

    async def find(self, bare: str) -> Elsewhere | None:
        self._asked = Deferred()
        return await self._asked

    async def claim(self, bare: str) -> Elsewhere | None:
        raise AssertionError("it is not logged in here")


class AloneTest(PipeCase):
    """A pipe whose holder is played by the test."""

    def setUp(self) -> None:
        super().setUp()
        self.send(HEADER)
        (self.stream,) = self.pair.edge.clients._streams
        self.clock, self.bottom, self.over = Clock(), Wire(), 0
        client = Introduction(self.stream.peer, "a@example.org", HEADER, {})
        self.pipe = HolderPipe(Greeting(b"PROXY", client), self.clock, "node-b", self._ended)

    def _ended(self, _pipe: HolderPipe) -> None:
        self.over += 1

    def greeted(self) -> Deferred[None]:
        self.pipe.makeConnection(self.bottom)
        greeted = self.pipe.greeted()
        self.assertEqual(self.bottom.take(), b"PROXY" + HEADER)
        return greeted

    def taken(self, said: bytes = SERVER_HEADER) -> None:
        greeted = self.greeted()
        self.pipe.dataReceived(said)
        self.successResultOf(greeted)
        self.assertEqual(self.bottom.producerState, "paused", "there is nobody yet who could be told more")

    def test_the_connection_ends_before_it_is_introduced(self) -> None:
        self.pipe.makeConnection(self.bottom)
        self.pipe.connectionLost()
        self.assertIn("ended the connection", str(self.failureResultOf(self.pipe.greeted(), NotHandedOver).value))
        self.assertEqual((self.bottom.take(), self.over), (b"", 1))

    def test_it_is_not_needed_before_it_is_introduced(self) -> None:
        """As somebody else listens there: nobody waits for an answer, and no fault of ours is logged."""
        self.pipe.makeConnection(self.bottom)
        self.pipe.abort()
        self.pipe.connectionLost()
        self.assertEqual((self.bottom.aborted, self.over), (True, 1))
        del self.pipe
        gc.collect()
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_it_does_not_answer(self) -> None:
        greeted = self.greeted()
        self.clock.advance(PATIENCE)
        self.assertIn("node-b: it does not answer in time", str(self.failureResultOf(greeted, NotHandedOver).value))
        self.assertTrue(self.bottom.aborted)
        self.pipe.connectionLost()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_what_it_says_before_the_client_is_there(self) -> None:
        """Has been read before it was paused."""
        self.taken(SERVER_HEADER)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.pipe.dataReceived(b"<a/>")
        self.pipe.dataReceived(b"<b/>")
        self.pipe.start(self.stream, [], "example.org")
        self.assertEqual(
            (self.client.wire.take(), self.bottom.producerState), (SERVER_HEADER + b"<a/><b/>", "producing")
        )
        self.assertEqual(self.pipe.domain, "example.org")
        self.pipe.dataReceived(b"<c/>")
        self.assertEqual(self.client.wire.take(), b"<c/>")

    def test_what_it_says_before_is_bounded(self) -> None:
        self.taken(b"x" * 1000)
        self.pipe.dataReceived(b"x" * (MAX_HELD - 1000))
        self.assertFalse(self.bottom.aborted)
        self.pipe.dataReceived(b"x")
        self.assertTrue(self.bottom.aborted)

    def test_it_is_gone_when_the_client_comes(self) -> None:
        """The client has what was said to it, and comes again."""
        self.taken()
        self.pipe.connectionLost()
        self.pipe.start(self.stream, self.early(b"<message/>"), "example.org")
        self.assertEqual((self.client.wire.take(), self.client.wire.closing), (SERVER_HEADER, True))
        self.assertEqual(self.bottom.take(), b"")
        self.assertTrue(self.told("node-b, which held the account of the client at 192.0.2.77"))

    def early(self, data: bytes) -> list[Event]:
        return self.stream.framer.feed(data)

    def test_what_was_sent_ahead(self) -> None:
        self.taken()
        self.pipe.start(self.stream, self.early(b"<message/> <presence/></stream:stream>"), "example.org")
        self.assertEqual(self.bottom.take(), b"<message/> <presence/>" + END)

    def test_a_client_that_is_gone_says_nothing_more(self) -> None:
        self.taken()
        self.pipe.start(self.stream, [], "example.org")
        self.pipe.client_lost()
        self.pipe.take(b"<message/>")
        self.assertEqual((self.bottom.take(), self.bottom.closing), (b"", True))
        self.pipe.dataReceived(b"<message/>")
        self.assertEqual(self.client.wire.take(), SERVER_HEADER)
        self.clock.advance(CLOSE_TIMEOUT)
        self.assertTrue(self.bottom.aborted)

    def test_who_has_gone_first_is_not_told_to_go(self) -> None:
        self.taken()
        self.pipe.start(self.stream, [], "example.org")
        self.pipe.connectionLost()
        self.pipe.client_lost()
        self.pipe.abort()
        self.assertEqual((self.bottom.closing, self.bottom.aborted, self.over), (False, False, 1))
        self.assertEqual(self.clock.getDelayedCalls(), [])
