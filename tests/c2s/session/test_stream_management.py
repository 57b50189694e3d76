"""Stream management towards clients (XEP-0198): what is counted, what is kept, and sessions that are resumed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.c2s.session import client_management
from minimixproxy.c2s.session.client_management import ANSWER_WITHIN, ASK_AFTER, ASK_AT, ASK_WITH
from minimixproxy.c2s.session.farewell import LONGEST
from minimixproxy.c2s.session.output import MAX_UNACKNOWLEDGED
from minimixproxy.c2s.transport.client_stream import CLOSE_TIMEOUT
from minimixproxy.wire.lazy_stanzas import LazyStanzas
from minimixproxy.wire.stanza import parse_stanza
from tests.c2s.helpers import BIND, BOUND, HEADER, SERVER_FEATURES, SERVER_HEADER, Lab, LabClient, plain
from tests.c2s.server.test_negotiation import END, errors

NS = b"xmlns='urn:xmpp:sm:3'"
ENABLE = b"<enable %b resume='true'/>" % NS
ASK = b"<r %b/>" % NS
MESSAGE = b"<message id='%d'/>"


def ack(h: object) -> bytes:
    return b"<a %b h='%b'/>" % (NS, str(h).encode())


def resume(previd: bytes, h: int = 0) -> bytes:
    return b"<resume %b previd='%b' h='%d'/>" % (NS, previd, h)


def failed(condition: bytes, h: bytes = b"") -> bytes:
    return b"<failed %b%b><%b xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>" % (NS, h, condition)


class ManagedTest(SynchronousTestCase):
    """`client` is one with stream management that is enabled."""

    limits: dict[str, Any] = {}

    def setUp(self) -> None:
        self.lab = Lab(Path(self.mktemp()), **self.limits)
        self.account = self.lab.accounts.account
        self.client = self.lab.client()
        self.session = self.client.bind()
        self.previd = self.enable(self.client)

    def enable(self, client: LabClient) -> bytes:
        answer = client.send(ENABLE)
        match = re.fullmatch(rb"<enabled xmlns='urn:xmpp:sm:3' id='([^']+)' resume='true' max='600'/>", answer)
        assert match is not None, answer
        return match[1]

    def turn(self, client: LabClient | None = None) -> bytes:
        self.lab.clock.advance(0)
        return (client or self.client).wire.take()

    def say(self, data: bytes, client: LabClient | None = None) -> bytes:
        """Send as a client; return what it gets in the same turn."""
        return (client or self.client).send(data) + self.turn(client)

    def comes_back(
        self, previd: bytes | None = None, h: int = 0, username: str = "a", password: str = "secret"
    ) -> tuple[LabClient, bytes]:
        """Another client logs in and resumes; return it, and what it is told."""
        client = self.lab.client()
        client.log_in(username, password=password)
        client.wire.take()
        return client, self.say(resume(self.previd if previd is None else previd, h), client)

    def resumed(self, h: int) -> bytes:
        return b"<resumed %b previd='%b' h='%d'/>" % (NS, self.previd, h)

    def handled(self) -> bytes:
        return self.say(ASK)


class OfferTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.lab = Lab(Path(self.mktemp()))
        self.client = self.lab.client()

    def test_it_is_offered_once(self) -> None:
        self.client.send(HEADER + plain())
        self.client.accept_login()
        self.client.send(HEADER)
        self.assertEqual(self.client.serve(SERVER_HEADER + SERVER_FEATURES).count(b"<sm "), 1)

    def test_not_before_there_is_a_resource(self) -> None:
        self.client.log_in()
        self.client.wire.take()
        self.client.send(ENABLE)
        self.lab.clock.advance(0)
        self.assertEqual(self.client.wire.take(), failed(b"unexpected-request"))

    def test_before_it_is_enabled_nothing_is_acknowledged(self) -> None:
        self.client.bind()
        self.client.wire.take()
        for element in (ASK, ack(0)):
            self.client.send(element)
            self.lab.clock.advance(0)
            self.assertEqual(self.client.wire.take(), failed(b"unexpected-request"))

    def test_not_in_the_middle_of_something(self) -> None:
        """What waits to be written has elements in it that do not count."""
        session = self.client.bind()
        self.client.wire.take()
        session.deliver_all(LazyStanzas(1, self.one_that_fills()))
        self.client.send(ASK + ENABLE)
        self.client.wire.push_producer.resumeProducing()
        self.lab.clock.advance(0)
        self.assertEqual(self.client.wire.take().count(failed(b"unexpected-request")), 2)
        self.assertTrue(self.client.send(ENABLE).startswith(b"<enabled "))

    def one_that_fills(self) -> Iterator[bytes]:
        yield b"<message/>"
        self.client.wire.push_producer.pauseProducing()
        yield b"<message>%b</message>" % (b"x" * 40_000)

    def test_without_resumption(self) -> None:
        self.client.bind()
        self.client.wire.take()
        self.assertEqual(self.client.send(b"<enable %b/>" % NS), b"<enabled %b/>" % NS)
        self.client.vanish()
        self.assertEqual(self.client.upstream.take(), END)

    def test_for_as_long_as_the_client_wants_at_most(self) -> None:
        for wanted, seconds in (("5", b"5"), ("99999", b"600"), ("x", b"600")):
            client = self.lab.client()
            client.bind()
            client.wire.take()
            self.assertIn(b"max='%b'" % seconds, client.send(ENABLE.replace(b"/>", b" max='%b'/>" % wanted.encode())))


class CountedTest(ManagedTest):
    def test_twice(self) -> None:
        self.client.send(ENABLE)
        self.assertEqual(self.turn(), failed(b"unexpected-request"))
        self.client.vanish()
        self.assertTrue(self.session.asleep)

    def test_what_the_client_sent(self) -> None:
        self.account.taken_from_client = {"taken"}
        self.client.send(b"<message/><presence/> <iq id='taken'/><active xmlns='urn:xmpp:csi:0'/>")
        self.assertEqual(self.handled(), ack(3))

    def test_one_that_is_a_fault_of_ours_is_handled_too(self) -> None:
        self.client.send(b"<message id='explode'/>")
        self.assertEqual(self.handled(), ack(1))
        self.flushLoggedErrors()

    def test_passed_and_forked_alike(self) -> None:
        self.client.serve(MESSAGE % 1)
        self.session.deliver(MESSAGE % 2)
        self.turn()
        self.session.deliver_all(LazyStanzas(2, iter([MESSAGE % 3, MESSAGE % 4])))
        self.turn()
        self.client.serve(b" <other xmlns='urn:other'/>" + MESSAGE % 5)
        self.client.send(ack(5))
        self.assertFalse(self.client.wire.closing)
        self.assertIn(b"<handled-count-too-high xmlns='urn:xmpp:sm:3' h='6' send-count='5'/>", self.say(ack(6)))

    def test_acknowledgements_that_are_not_true(self) -> None:
        for h, condition in ((1, b"undefined-condition"), (-1, b"policy-violation"), ("x", b"policy-violation")):
            self.setUp()
            self.assertEqual(errors(self.say(ack(h)))[:1], [condition])
            self.assertEqual(self.client.upstream.take(), END)
            self.assertEqual(len(self.lab.resumable), 0)

    def test_too_much_behind_something_that_is_not_handled(self) -> None:
        """What is noted of each is small, however large it is itself; and of so many, no more."""
        self.patch(client_management, "MAX_UNHANDLED", 50)
        self.account.taken_from_client = {"taken"}
        self.client.send(b"<message id='taken'/>")
        self.session.hold()
        large = b"<message id='taken'><body>%b</body></message>" % (b"x" * 100_000)
        for count in range(50):
            self.assertEqual(self.account.closed, [], count)
            self.say(large)
        management = self.session._client._management
        assert management is not None
        keys = [received.key for received in management.handled._open]
        self.assertEqual((len(keys), {type(key) for key in keys[1:]}), (51, {int}))
        self.assertEqual(self.account.closed, [self.session])
        self.assertEqual((len(self.account.seen_from_client), self.client.upstream.take()), (50, END))
        self.assertFalse(self.session.receives(parse_stanza(large)), "what is too much passes nowhere")

    def test_going_back(self) -> None:
        self.client.serve(MESSAGE % 1 + MESSAGE % 2)
        self.assertEqual(errors(self.say(ack(2) + ack(1)))[:1], [b"undefined-condition"])

    def test_what_only_a_server_says(self) -> None:
        self.client.send(b"<enabled %b/>" % NS)
        self.assertEqual(self.turn(), failed(b"unexpected-request"))


class AskingTest(ManagedTest):
    def test_once_for_several(self) -> None:
        for number in range(3):
            self.assertEqual(self.client.serve(MESSAGE % number), MESSAGE % number)
        self.lab.clock.advance(ASK_AFTER)
        self.assertEqual(self.turn(), ASK)
        self.client.serve(MESSAGE % 4)
        self.lab.clock.advance(ASK_AFTER)
        self.assertEqual(self.turn(), b"", "one question is open")
        self.client.send(ack(3))
        self.lab.clock.advance(ASK_AFTER)
        self.assertEqual(self.turn(), ASK)
        self.client.send(ack(4))
        self.lab.clock.advance(ASK_AFTER)
        self.assertEqual(self.turn(), b"", "nothing is open")

    def test_soon_when_there_is_much(self) -> None:
        told = self.client.serve(b"".join(MESSAGE % number for number in range(ASK_AT))) + self.turn()
        self.assertTrue(told.endswith(ASK))
        self.assertEqual(told.count(ASK), 1)

    def test_a_client_that_never_answers(self) -> None:
        self.client.serve(MESSAGE % 1)
        self.lab.clock.advance(ASK_AFTER)
        self.lab.clock.advance(ANSWER_WITHIN)
        self.assertTrue(self.client.wire.disconnected)
        self.client.vanish()
        self.assertTrue(self.session.asleep)

    def test_one_that_may_take_no_more_is_asked_for_what_it_has(self) -> None:
        """Most clients acknowledge only what they are asked for."""
        for give in (self.give_at_once, self.give_lazily):
            self.setUp()
            give(MAX_UNACKNOWLEDGED + 1)
            told = self.turn()
            count = told.count(b"<message")
            self.assertIn(ASK, told)
            told = self.say(ack(count - 1))
            self.lab.clock.advance(ASK_AFTER)
            self.assertEqual((told + self.turn()).count(ASK), 1)

    def give_at_once(self, count: int) -> None:
        for _ in range(2):
            for number in range(count):
                self.session.deliver(MESSAGE % number)

    def give_lazily(self, count: int) -> None:
        self.session.deliver_all(LazyStanzas(2 * count, (MESSAGE % number for number in range(2 * count))))

    def test_on_a_new_connection_nothing_is_open(self) -> None:
        """What was asked on the old one, which still stands, is not answered there."""
        self.client.serve(MESSAGE % 1)
        self.lab.clock.advance(ASK_AFTER)
        self.turn()
        client, _told = self.comes_back(h=1)
        self.lab.clock.advance(ANSWER_WITHIN)
        self.assertFalse(client.wire.disconnected)
        self.client.serve(MESSAGE % 2)
        self.lab.clock.advance(ASK_AFTER)
        self.assertTrue(self.turn(client).endswith(ASK))

    def test_a_client_that_acknowledges_slowly_lets_its_server_wait(self) -> None:
        stanza = b"<message/>"
        count = 0
        assert self.client.server is not None
        while self.client.upstream.producerState == "producing" and count < 10_000:
            self.client.serve(stanza * 100)
            count += 100
        self.assertEqual(count, MAX_UNACKNOWLEDGED)
        self.client.send(ack(count))
        self.assertEqual(self.client.upstream.producerState, "producing")

    def test_more_than_it_may_leave_unacknowledged(self) -> None:
        """It is asked in between, though it is told nothing else, and again at once when it has answered."""
        many = 2 * MAX_UNACKNOWLEDGED
        stanzas = b"x" * 100 + MESSAGE % 1
        self.session.deliver_all(LazyStanzas(many, iter([stanzas] * many)))
        told = self.turn()
        first = told.count(MESSAGE % 1)
        self.assertTrue(MAX_UNACKNOWLEDGED <= first < many, first)
        self.assertIn(ASK, told)
        told = self.say(ack(first))
        self.assertEqual(told.count(MESSAGE % 1), many - first)
        self.assertIn(ASK, told)

    def test_with_a_stanza_if_there_is_one(self) -> None:
        """A question by itself is one more write for the proxy, and a packet for the phone."""
        self.client.serve(MESSAGE % 1)
        self.lab.clock.advance(ASK_WITH - 0.1)
        self.assertEqual(self.client.serve(MESSAGE % 2), MESSAGE % 2)
        self.lab.clock.advance(0.1)
        self.assertEqual(self.client.serve(MESSAGE % 3), MESSAGE % 3 + ASK)
        self.lab.clock.advance(10)
        self.assertEqual(self.turn(), b"")

    def test_acknowledgements_in_pieces_and_among_others(self) -> None:
        """An answer in one read by itself takes a shorter way, which is to make no difference."""
        for pieces in (
            (ack(1),),
            (ack(1) + b"<message/>",),
            (b"<message/>" + ack(1),),
            (ack(1)[:10], ack(1)[10:]),
            (b"<message>", b"<a/>", b"</message>", ack(1)),
            (b"<message><body>", ack(9), b"</body></message>" + ack(1)),
        ):
            self.setUp()
            self.client.serve(MESSAGE % 1)
            self.assertEqual(self.session.reached, 0)
            for piece in pieces:
                self.client.send(piece)
            self.assertEqual(errors(self.turn()), [])
            self.assertEqual(self.session.reached, float("inf"), pieces)
            upstream = self.client.upstream.take()
            self.assertEqual(upstream.count(b"<message"), b"".join(pieces).count(b"<message"))


class SleepingTest(ManagedTest):
    def test_nothing_is_lost_and_nothing_comes_twice(self) -> None:
        self.client.serve(MESSAGE % 1 + MESSAGE % 2)
        self.client.vanish()
        self.assertTrue(self.session.asleep)
        self.assertEqual(self.client.upstream.take(), b"")
        self.client.serve(MESSAGE % 3)
        self.session.deliver(MESSAGE % 4)
        self.session.deliver_all(LazyStanzas(1, iter([MESSAGE % 5])))
        self.session.deliver(MESSAGE % 6)
        self.turn()
        client, told = self.comes_back(h=1)
        self.assertEqual(told, self.resumed(0) + b"".join(MESSAGE % number for number in (2, 3, 4, 5, 6)))
        self.assertEqual(client.upstream.take(), END, "its own stream upstream was only for the login")
        self.assertFalse(self.session.asleep)
        self.assertEqual(errors(self.say(ack(6), client)), [])

    def test_the_session_goes_on(self) -> None:
        self.client.vanish()
        client, _told = self.comes_back()
        client.send(b"<message id='up'/>")
        self.assertEqual(self.client.upstream.take(), b"<message id='up'/>")
        self.client.serve(b"<message id='down'/>")
        self.assertEqual(client.wire.take(), b"<message id='down'/>")
        self.assertEqual(self.account.closed, [])
        self.assertEqual(len(self.lab.accounts.bound), 1)

    def test_again_and_again(self) -> None:
        client = self.client
        for number in range(5):
            self.client.serve(MESSAGE % number)
            client.vanish()
            client, told = self.comes_back(h=number)
            self.assertEqual(told, self.resumed(number) + MESSAGE % number)
            client.send(ack(number + 1) + MESSAGE % number)
            self.assertEqual(self.client.upstream.take(), MESSAGE % number)

    def test_a_client_that_has_forgotten_its_resource(self) -> None:
        """Converse.js makes up another when its page is loaded anew; ejabberd ends the stream for it."""
        self.client.vanish()
        client, _told = self.comes_back()
        client.send(b"<message from='a@example.org/made-up' to='c@example.org' id='1'>&lt;</message>")
        self.assertEqual(self.client.upstream.take(), b"<message to='c@example.org' id='1'>&lt;</message>")
        for known in (b"from='a@example.org' ", b"from='%b' " % self.session.jid.encode(), b""):
            said = b"<message %bto='c@example.org' id='2'/>" % known
            client.send(said)
            self.assertEqual(self.client.upstream.take(), said)

    def test_its_room_and_account_do_not_mind_either(self) -> None:
        self.client.vanish()
        client, _told = self.comes_back()
        client.send(b"<presence from='a@example.org/made-up' to='room@muc.example.org/a'/>")
        self.assertEqual(self.account.seen_from_client, [b"<presence to='room@muc.example.org/a'/>"])

    def test_somebody_else_s_address_is_for_the_server_to_judge(self) -> None:
        """So is whatever a client says that has not forgotten anything."""
        said = b"<message from='%b' to='c@example.org' id='1'/>"
        self.client.send(said % b"a@example.org/made-up")
        self.assertEqual(self.client.upstream.take(), said % b"a@example.org/made-up")
        self.client.vanish()
        client, _told = self.comes_back()
        for other in (b"b@example.org/made-up", b"a@@b"):
            client.send(said % other)
            self.assertEqual(self.client.upstream.take(), said % other)

    def test_what_the_client_said_behind_the_resumption(self) -> None:
        self.client.vanish()
        client = self.lab.client()
        client.log_in()
        client.send(resume(self.previd) + b"<message id='1'/><message id='2'/><mess")
        client.send(b"age id='3'/>")
        self.assertEqual(self.client.upstream.take(), b"<message id='1'/><message id='2'/><message id='3'/>")

    def test_a_connection_that_still_stands(self) -> None:
        self.client.serve(MESSAGE % 1)
        client, told = self.comes_back(h=0)
        self.assertEqual(errors(self.client.wire.take()), [b"conflict"])
        self.assertTrue(self.client.wire.closing)
        self.assertEqual(told, self.resumed(0) + MESSAGE % 1)
        self.client.send(b"<message id='late'/>")
        self.client.vanish()
        self.assertFalse(self.session.asleep)
        self.assertEqual(self.client.upstream.take(), b"")
        client.send(b"<message id='new'/>")
        self.assertEqual(self.client.upstream.take(), b"<message id='new'/>")

    def test_a_new_connection_that_is_full_at_once(self) -> None:
        self.client.serve(MESSAGE % 1)
        self.client.vanish()
        self.session.deliver_all(LazyStanzas(1, iter([MESSAGE % 2])))
        client = self.lab.client()
        client.log_in()
        client.wire.take()
        write = client.wire.write

        def write_much(data: bytes) -> None:
            write(data)
            client.wire.push_producer.pauseProducing()

        self.patch(client.wire, "write", write_much)
        self.assertEqual(self.say(resume(self.previd), client), self.resumed(0) + MESSAGE % 1)
        self.assertEqual(self.client.upstream.producerState, "paused")
        self.patch(client.wire, "write", write)
        client.wire.push_producer.resumeProducing()
        self.assertEqual(self.turn(client), MESSAGE % 2)
        self.assertEqual(self.client.upstream.producerState, "producing")

    def test_a_connection_that_is_lost_before_its_turn_comes(self) -> None:
        client = self.lab.client()
        client.log_in()
        self.client.send(b"<presence/>" * 30)  # so that the account has to wait
        client.send(resume(self.previd))
        client.vanish()
        self.client.vanish()
        for _ in range(20):
            self.lab.clock.advance(0)
        self.assertTrue(self.session.asleep)
        _client, told = self.comes_back()
        self.assertTrue(told.startswith(b"<resumed "), told)

    def test_twice_at_once(self) -> None:
        self.client.vanish()
        first, second = self.lab.client(), self.lab.client()
        for client in (first, second):
            client.log_in()
            client.wire.take()
        self.assertEqual(self.say(resume(self.previd), first), self.resumed(0))
        self.assertEqual(self.say(resume(self.previd), second), self.resumed(0))
        self.assertEqual(errors(first.wire.take()), [b"conflict"])

    def test_a_client_that_closes_its_stream_does_not_sleep(self) -> None:
        self.client.send(END)
        self.client.vanish()
        self.assertFalse(self.session.asleep)
        _client, told = self.comes_back()
        self.assertEqual(told, failed(b"item-not-found", b" h='0'"))

    def test_one_that_does_not_come_back(self) -> None:
        self.client.send(b"<message/>")
        self.client.vanish()
        self.client.upstream.take()
        self.lab.clock.advance(599)
        self.assertEqual(self.account.closed, [])
        self.lab.clock.advance(1)
        self.assertEqual(self.account.closed, [self.session])
        self.assertEqual(self.client.upstream.take(), END)
        self.assertEqual((len(self.lab.resumable), self.lab.resumable.sleeping), (0, 0))
        client, told = self.comes_back()
        self.assertEqual(told, failed(b"item-not-found", b" h='1'"))
        client.send(b"<iq type='set' id='b1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
        self.assertIn(b"<bind ", client.upstream.take(), "it goes on with a session of its own")

    def test_the_server_ends_the_stream_of_one_that_sleeps(self) -> None:
        self.client.vanish()
        assert self.client.server is not None
        self.client.server.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.account.closed, [self.session])
        self.assertEqual(self.lab.resumable.sleeping, 0)

    def test_the_service_ends(self) -> None:
        self.client.vanish()
        self.lab.clients.shut_down()
        self.assertEqual(self.client.upstream.take(), END)
        self.assertEqual(self.lab.resumable.sleeping, 0)

    def test_the_service_ends_before_it_sleeps(self) -> None:
        """Much that the client has said is still to be handled."""
        self.client.send(b"<presence/>" * 30)
        self.client.vanish()
        self.assertFalse(self.session.asleep)
        self.lab.clients.shut_down()
        for _ in range(10):
            self.lab.clock.advance(0)
        self.assertTrue(self.client.upstream.take().endswith(END))
        self.assertEqual(len(self.lab.resumable), 0)

    def test_a_resource_that_is_bound_anew(self) -> None:
        """By a client that has not said which device it is: what its last session has left ends at once, and no other.

        Its server may be out of reach and cannot say so.
        """
        other = self.lab.client()
        other.bind()
        self.enable(other)
        for client in (self.client, other):
            client.vanish()
        client = self.lab.client()
        client.log_in()
        client.send(BIND)
        client.serve(BOUND)
        self.assertEqual(self.lab.accounts.account.closed, [])
        self.enable(client)
        self.assertEqual(self.lab.accounts.account.closed, [self.session])
        self.assertEqual((len(self.lab.resumable), self.lab.resumable.sleeping), (2, 1))

    def test_too_many_of_an_account(self) -> None:
        clients = [self.client]
        for _ in range(10):
            client = self.lab.client()
            client.bind()
            client.wire.take()
            self.enable(client)
            clients.append(client)
        for client in clients:
            client.vanish()
        self.assertEqual(self.lab.resumable.sleeping, 10)
        self.assertEqual(self.account.closed, [self.session], "it slept for longest")

    def test_what_was_in_the_middle_of_something_when_the_connection_went(self) -> None:
        """A stanza of which a part came is no stanza; those behind a busy turn are not lost for being late."""
        self.client.send(b"".join(b"<presence id='%d'/>" % number for number in range(30)) + b"<mess")
        client, told = self.comes_back()
        self.assertRegex(told, rb"^<resumed [^>]* h='\d+'/>$")
        h = int(re.findall(rb"h='(\d+)'", told)[0])
        for number in range(h, 30):
            client.send(b"<presence id='%d'/>" % number)
        for _ in range(40):
            self.lab.clock.advance(0)
        passed = self.client.upstream.take()
        self.assertEqual(re.findall(rb"id='(\d+)'", passed), [b"%d" % number for number in range(30)])


class LastWordTest(ManagedTest):
    """Whatever ends a session, its client knows what it need not say again."""

    def setUp(self) -> None:
        super().setUp()
        self.account.taken_from_client = {"taken"}
        self.client.send(b"<message id='taken'/>" * 2)
        self.client.wire.take()

    def test_the_proxy_ends_it(self) -> None:
        self.session.close("system-shutdown")
        told = self.client.wire.take()
        self.assertTrue(told.startswith(ack(2) + b"<stream:error><system-shutdown "), told)

    def test_the_client_closes_its_stream(self) -> None:
        self.client.send(END)
        self.lab.clock.advance(CLOSE_TIMEOUT)
        self.assertEqual(self.client.wire.take(), ack(2) + END)

    def test_no_less_is_said_later(self) -> None:
        """What was handled between the client's goodbye and ours counts, too, for one that asks what became of it."""
        self.client.send(b"<message id='taken'/>")
        release = self.session.hold()
        self.client.send(END)
        release()
        self.lab.clock.advance(CLOSE_TIMEOUT)
        self.assertEqual(self.client.wire.take(), ack(3) + END)
        _client, told = self.comes_back()
        self.assertEqual(told, failed(b"item-not-found", b" h='3'"))

    def test_not_what_is_not_handled(self) -> None:
        self.client.send(b"<message id='taken'/>")
        self.session.hold()
        self.client.send(b"<message id='taken'/>")
        self.session.close("reset")
        self.assertTrue(self.client.wire.take().startswith(ack(2) + b"<stream:error>"))

    def test_a_client_that_does_not_count_is_not_told(self) -> None:
        client = self.lab.client()
        session = client.bind()
        client.wire.take()
        session.close("system-shutdown")
        self.assertTrue(client.wire.take().startswith(b"<stream:error>"))


class FarewellTest(ManagedTest):
    """Another process is to have the account: the client is let know all, and let tell all, before it is closed."""

    def setUp(self) -> None:
        super().setUp()
        self.settled = 0
        self.account.taken_from_client = {"taken"}

    def settle(self) -> None:
        def settled() -> None:
            self.settled += 1

        self.session.when_settled(settled)

    def test_nothing_is_open(self) -> None:
        self.settle()
        self.assertEqual((self.settled, self.turn()), (1, b""))

    def test_what_it_said_is_handled(self) -> None:
        self.client.send(b"<message id='taken'/>")
        first, second = self.session.hold(), self.session.hold()
        self.settle()
        first()
        self.assertEqual(self.settled, 0)
        second()
        self.assertEqual(self.settled, 1)

    def test_it_acknowledges(self) -> None:
        """It is asked at once."""
        self.client.serve(MESSAGE % 1 + MESSAGE % 2)
        self.turn()
        self.settle()
        self.assertEqual(self.turn(), ASK)
        self.client.send(ack(1))
        self.assertEqual(self.settled, 0)
        self.client.send(ack(2))
        self.assertEqual(self.settled, 1)

    def test_it_is_not_asked_twice_at_once(self) -> None:
        self.client.serve(MESSAGE % 1)
        self.lab.clock.advance(ASK_AFTER)
        self.assertIn(ASK, self.client.wire.take())
        self.settle()
        self.assertEqual(self.turn(), b"")

    def test_it_says_nothing(self) -> None:
        self.client.serve(MESSAGE % 1)
        self.settle()
        self.lab.clock.advance(LONGEST)
        self.assertEqual(self.settled, 1)
        self.client.send(ack(1))
        self.lab.clock.advance(LONGEST)
        self.assertEqual(self.settled, 1)

    def test_its_connection_breaks(self) -> None:
        self.client.serve(MESSAGE % 1)
        self.settle()
        self.client.vanish()
        self.assertEqual((self.settled, self.session.asleep), (1, True))
        self.settle()
        self.assertEqual(self.settled, 2)

    def test_the_session_ends(self) -> None:
        self.client.serve(MESSAGE % 1)
        self.settle()
        self.session.close("reset")
        self.assertEqual(self.settled, 1)

    def test_a_client_that_does_not_acknowledge(self) -> None:
        client = self.lab.client()
        self.session = client.bind()
        client.serve(MESSAGE % 1)
        self.settle()
        self.assertEqual(self.settled, 1)


class NotResumedTest(ManagedTest):
    def test_another_account(self) -> None:
        self.client.vanish()
        _client, told = self.comes_back(username="b")
        self.assertEqual(told, failed(b"item-not-found"))
        self.lab.clock.advance(600)
        _client, told = self.comes_back(username="b")
        self.assertEqual(told, failed(b"item-not-found"), "nor is it told what became of the other's")

    def test_nothing_of_that_name(self) -> None:
        _client, told = self.comes_back(b"unknown")
        self.assertEqual(told, failed(b"item-not-found"))

    def test_without_what_belongs_to_it(self) -> None:
        client = self.lab.client()
        client.log_in()
        client.wire.take()
        for attributes in (b"", b"h='0'", b"previd='%b'" % self.previd, b"previd='%b' h='-1'" % self.previd):
            client.send(b"<resume %b %b/>" % (NS, attributes))
            self.assertEqual(self.turn(client), failed(b"bad-request"))

    def test_more_than_was_sent(self) -> None:
        """The one that says so is wrong; the session sleeps on."""
        self.client.vanish()
        _client, told = self.comes_back(h=7)
        self.assertIn(b"<handled-count-too-high xmlns='urn:xmpp:sm:3' h='7' send-count='0'/>", told)
        self.assertTrue(self.session.asleep)
        _client, told = self.comes_back(h=0)
        self.assertEqual(told, self.resumed(0))

    def test_a_session_that_is_bound_already(self) -> None:
        client = self.lab.client()
        client.bind()
        client.wire.take()
        client.send(resume(self.previd))
        self.assertEqual(self.turn(client), failed(b"unexpected-request"))


class BoundedTest(ManagedTest):
    limits = {"send_queue": 64 * 1024}

    def test_what_a_sleeping_session_may_have_waiting(self) -> None:
        self.client.vanish()
        self.session.deliver(b"x" * 60_000)
        self.assertEqual(self.account.closed, [])
        self.session.deliver(b"x" * 6000)
        self.assertEqual(self.account.closed, [self.session])
        self.assertEqual(self.client.upstream.take(), END)

    def test_what_its_server_says_counts(self) -> None:
        self.client.vanish()
        for _ in range(10):
            self.client.serve(b"<message>%b</message>" % (b"x" * 7000))
        self.assertEqual(self.account.closed, [self.session])

    def test_what_is_unacknowledged_counts(self) -> None:
        self.session.deliver(b"x" * 30_000)
        self.turn()
        self.client.vanish()
        self.session.deliver(b"x" * 36_000)
        self.assertEqual(self.account.closed, [self.session])

    def test_one_that_may_have_no_more_is_asked_and_answered_all_the_same(self) -> None:
        for _ in range(3):
            self.session.deliver(b"x" * 11_000)
        self.turn()
        self.session.deliver(MESSAGE % 1)
        self.assertEqual(self.turn(), b"")
        self.lab.clock.advance(ASK_AFTER)
        self.assertEqual(self.turn(), ASK)
        self.assertEqual(self.handled(), ack(0))
        self.assertEqual(self.say(ack(3)), MESSAGE % 1)

    def test_a_stanza_that_alone_is_more_than_may_wait(self) -> None:
        self.client.serve(b"<message>%b</message>" % (b"x" * 200_000))
        self.session.deliver(b"<message/>")
        self.turn()
        self.assertEqual(self.account.closed, [])
        self.session.deliver(b"x" * 33_000)
        self.assertEqual(self.account.closed, [self.session])

    def test_a_client_that_asks_and_does_not_read(self) -> None:
        self.client.wire.push_producer.pauseProducing()
        for _ in range(30):
            self.client.send(ASK * 100)
            self.turn()
        self.assertEqual(self.account.closed, [self.session])

    def test_one_without_stream_management(self) -> None:
        client = self.lab.client()
        session = client.bind()
        client.wire.push_producer.pauseProducing()
        for _ in range(10):
            client.send(ASK * 100)
            self.turn()
        self.assertEqual(self.account.closed, [session])


class ReachedTest(ManagedTest):
    """What was acknowledged is what has been seen."""

    def test_as_far_as_it_is_acknowledged(self) -> None:
        for number in (5, 6, 7):
            self.lab.accounts.given = number
            self.session.deliver(MESSAGE % number)
            self.turn()
        self.assertEqual(self.session.reached, 0)
        self.client.send(ack(2))
        self.assertEqual(self.session.reached, 6)
        self.client.send(ack(3))
        self.assertEqual(self.session.reached, float("inf"))

    def test_what_was_never_made_has_not_come(self) -> None:
        """Its connection was slow, and is gone for good: it has acknowledged all that was written."""
        reached: list[float] = []
        self.patch(self.account, "session_closed", lambda session: reached.append(session.reached))
        client = self.lab.client()
        session = client.bind()
        client.send(b"<enable %b/>" % NS)
        client.wire.push_producer.pauseProducing()
        self.lab.accounts.given = 5
        session.deliver_all(LazyStanzas(1, iter([MESSAGE % 5])))
        self.turn(client)
        self.assertEqual(session.reached, 0)
        client.vanish()
        self.assertEqual(reached, [0])

    def test_while_it_sleeps(self) -> None:
        self.lab.accounts.given = 5
        self.session.deliver(MESSAGE % 5)
        self.turn()
        self.client.send(ack(1))
        self.client.vanish()
        self.assertEqual(self.session.reached, float("inf"))
        self.lab.accounts.given = 6
        self.session.deliver(MESSAGE % 6)
        self.assertEqual(self.session.reached, 5)
        self.comes_back(h=1)
        self.assertEqual(self.session.reached, 5)
