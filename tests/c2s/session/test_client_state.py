"""A client that is inactive (XEP-0352): who is told so, what waits for it, and how far it has come."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from twisted.internet.task import Clock

from minimixproxy.c2s.session.acknowledgements import EVERYTHING
from minimixproxy.minimix.interfaces.weighed import Change, Weighed, What
from minimixproxy.storage.gate import Gate
from minimixproxy.timing.turn_end import TurnEnd
from minimixproxy.wire.lazy_stanzas import LazyStanzas
from tests.c2s.helpers import BIND, BOUND, HEADER, SERVER_FEATURES, SERVER_HEADER, LabClient, plain
from tests.c2s.session.test_client_session import SessionTest

INACTIVE, ACTIVE = b"<inactive xmlns='urn:xmpp:csi:0'/>", b"<active xmlns='urn:xmpp:csi:0'/>"
OFFER = b"<csi xmlns='urn:xmpp:csi:0'/>"


def says(text: str, sequence: int) -> Weighed:
    return Weighed("r", "bob", lambda jid: f"<message to='{jid}'>{text}</message>".encode(), 10, sequence=sequence)


def shows(text: str) -> Weighed:
    return Weighed("r", "bob", lambda _jid: text.encode(), 10, change=Change(What.PRESENCE))


class ClientStateTest(SessionTest):
    def test_what_waits(self) -> None:
        """States and messages until something matters, or until the client is active."""
        self.assertEqual(self.up(INACTIVE), INACTIVE)
        self.session.deliver_weighed(shows("here 1"))
        self.session.deliver_weighed(says("hello", 1))
        self.session.deliver_weighed(shows("here 2"))
        self.assertEqual(self.turn(), b"")
        self.session.deliver(b"<iq/>")
        self.assertEqual(self.turn(), b"<message to='a@example.org/r'>hello</message>here 2<iq/>")
        self.session.deliver_weighed(shows("here 3"))
        self.session.deliver_all(LazyStanzas(1, iter([b"<presence/>"])))
        self.assertEqual(self.turn(), b"here 3<presence/>")
        self.session.deliver_weighed(shows("here 4"))
        self.assertEqual(self.turn(), b"")
        self.assertEqual(self.up(ACTIVE), ACTIVE)
        self.assertEqual(self.turn(), b"here 4")
        self.session.deliver(b"<message/>")
        self.assertEqual(self.turn(), b"<message/>")
        self.assertFalse(self.session.inactive)

    def test_the_account_is_told_when_messages_wait(self) -> None:
        """For the disk: states are not seen again, messages are."""
        self.up(INACTIVE)
        self.session.deliver_weighed(shows("here"))
        self.assertEqual(self.account.held, [])
        for number in (1, 2):
            self.session.deliver_weighed(says("hello", number))
        self.assertEqual(self.account.held, [True])
        self.session.deliver(b"<iq/>")
        self.session.deliver(b"<iq/>")
        self.assertEqual(self.account.held, [True, False])
        self.session.deliver_weighed(says("hello", 3))
        self.up(ACTIVE)
        self.assertEqual(self.account.held, [True, False, True, False])

    def test_what_matters_in_a_room(self) -> None:
        self.up(INACTIVE)
        self.session.deliver_weighed(Weighed("elsewhere", "", lambda _jid: b"waits", 1, change=Change(What.SUBJECT)))
        self.session.deliver_weighed(shows("here"))
        self.session.deliver_weighed(Weighed("r", "bob", lambda _jid: b"matters", 1, matters=True))
        self.assertEqual(self.turn(), b"herematters")

    def test_what_the_server_says_passes(self) -> None:
        """It holds back itself what can wait. What rooms say waits on."""
        self.up(INACTIVE)
        self.session.deliver_weighed(says("hello", 1))
        self.assertEqual(self.client.serve(b"<message id='1'/>"), b"<message id='1'/>")
        self.assertEqual(self.turn(), b"")

    def test_said_twice(self) -> None:
        for element in (INACTIVE, INACTIVE, ACTIVE, ACTIVE):
            self.assertEqual(self.up(element), element)
        self.session.deliver(b"<message/>")
        self.assertEqual(self.turn(), b"<message/>")

    def test_what_is_unknown_is_the_servers(self) -> None:
        for element in (b"<sleepy xmlns='urn:xmpp:csi:0'/>", b"<inactive xmlns='urn:other'/>"):
            self.assertEqual(self.up(element), element)
            self.assertFalse(self.session.inactive)


class SleepTest(SessionTest):
    """A session that sleeps is inactive, and active once it is resumed; the server hears of that if it was told."""

    def setUp(self) -> None:
        super().setUp()
        enabled = self.client.send(b"<enable xmlns='urn:xmpp:sm:3' resume='true'/>") + self.turn()
        found = re.search(rb" id='([^']+)'", enabled)
        assert found is not None, enabled
        self.previd = found[1]

    def sleeps(self) -> None:
        self.client.vanish()
        self.assertTrue(self.session.asleep)

    def resumes(self) -> bytes:
        """Return what the client is told, on its new connection."""
        upstream, server = self.client.upstream, self.client.server
        self.client = self.lab.client()
        self.client.log_in()
        told = self.client.send(b"<resume xmlns='urn:xmpp:sm:3' previd='%b' h='0'/>" % self.previd)
        self.client.upstream, self.client.server = upstream, server
        self.lab.clock.advance(0)
        return told + self.client.wire.take()

    def test_what_can_wait_does(self) -> None:
        self.sleeps()
        self.assertTrue(self.session.inactive)
        self.session.deliver_weighed(shows("<presence id='1'/>"))
        self.session.deliver_weighed(shows("<presence id='2'/>"))
        told = self.resumes()
        self.assertIn(b"<resumed ", told)
        self.assertTrue(told.endswith(b"<presence id='2'/>"), told)
        self.assertNotIn(b"<presence id='1'/>", told)
        self.assertFalse(self.session.inactive)
        self.assertEqual(self.client.upstream.take(), b"")

    def test_what_waits_is_not_acknowledged(self) -> None:
        self.up(INACTIVE)
        self.session.deliver_weighed(says("third", 3))
        self.lab.accounts.given = 3
        self.turn()
        self.assertEqual(self.session.reached, 2)
        self.sleeps()
        self.assertEqual(self.session.reached, 2)
        self.resumes()
        self.assertEqual(self.session.reached, 0)  # written, and not acknowledged
        self.client.send(b"<a xmlns='urn:xmpp:sm:3' h='1'/>")
        self.assertEqual(self.session.reached, EVERYTHING)

    def test_the_server_was_told(self) -> None:
        self.up(INACTIVE)
        self.sleeps()
        self.resumes()
        self.assertEqual(self.client.upstream.take(), ACTIVE)
        self.sleeps()
        self.resumes()
        self.assertEqual(self.client.upstream.take(), b"")


class ReachedTest(SessionTest):
    """What is held back has not been seen."""

    def deliver(self, sequence: int, deliver: Callable[..., None], what: Any) -> None:
        deliver(what)
        self.lab.accounts.given = sequence
        self.turn()

    def test_until_the_first_that_waits(self) -> None:
        self.deliver(1, self.session.deliver, b"<message/>")
        self.assertEqual(self.session.reached, EVERYTHING)
        self.up(INACTIVE)
        self.session.deliver(b"<message/>")  # the second
        self.deliver(3, self.session.deliver_weighed, says("third", 3))
        self.assertEqual(self.session.reached, 2)
        self.deliver(4, self.session.deliver_weighed, says("fourth", 4))
        self.client.serve(b"<message/>")
        self.assertEqual(self.session.reached, 2)
        self.client.vanish()
        self.assertLessEqual(self.session.reached, 2)

    def test_all_once_it_is_told(self) -> None:
        self.up(INACTIVE)
        self.deliver(3, self.session.deliver_weighed, says("third", 3))
        self.up(ACTIVE)
        self.turn()
        self.assertEqual(self.session.reached, EVERYTHING)

    def test_states_do_not_count(self) -> None:
        self.up(INACTIVE)
        self.deliver(3, self.session.deliver_weighed, shows("here"))
        self.assertEqual(self.session.reached, EVERYTHING)

    def test_after_its_stream_is_closed(self) -> None:
        self.up(INACTIVE)
        self.deliver(3, self.session.deliver_weighed, says("third", 3))
        reached = []
        self.account.session_closed = lambda session: reached.append(session.reached)  # type: ignore[method-assign]
        self.client.send(b"</stream:stream>")
        self.assertEqual(reached, [2])


class OfferTest(SessionTest):
    """Who uses what the client says."""

    def begin(self, features: bytes) -> tuple[LabClient, bytes]:
        client = self.lab.client()
        client.send(HEADER)
        client.send(plain())
        client.accept_login()
        client.send(HEADER)
        client.upstream.take()
        return client, client.serve(SERVER_HEADER + features)

    def test_the_server_does(self) -> None:
        _client, shown = self.begin(SERVER_FEATURES)
        self.assertEqual(shown.count(OFFER), 1)

    def test_the_server_does_not(self) -> None:
        client, shown = self.begin(SERVER_FEATURES.replace(OFFER, b""))
        self.assertEqual(shown.count(OFFER), 1)
        self.assertTrue(shown.endswith(OFFER + b"</stream:features>"), shown)
        client.send(INACTIVE + BIND)
        self.assertEqual(client.upstream.take(), BIND)
        client.serve(BOUND)
        session = self.lab.accounts.bound[-1]
        self.assertTrue(session.inactive)
        session.deliver_weighed(shows("here"))
        session.deliver(b"<iq/>")
        self.lab.clock.advance(0)
        self.assertTrue(client.wire.take().endswith(b"here<iq/>"))

    def test_nobody_does(self) -> None:
        sessions = self.lab.context.sessions
        self.lab.context.sessions = replace(sessions, client_state=lambda: False)
        client, shown = self.begin(SERVER_FEATURES.replace(OFFER, b""))
        self.assertNotIn(OFFER, shown)
        client.send(INACTIVE)
        self.assertEqual(client.upstream.take(), INACTIVE)


class GateTest(SessionTest):
    """What waits to be on disk keeps its place, whatever the client says meanwhile."""

    def setUp(self) -> None:
        super().setUp()
        clock = Clock()
        self.gate = Gate(TurnEnd(clock))
        self.lab.accounts.gated = self.gate.gated  # type: ignore[method-assign]
        client = self.lab.client()
        self.session, self.client = client.bind(), client

    def test_order(self) -> None:
        waiting: Any = []
        self.gate.close(waiting)
        self.session.deliver(b"1")
        self.up(INACTIVE)
        self.session.deliver_weighed(says("2", 2))
        self.up(ACTIVE)
        self.session.deliver(b"3")
        self.up(INACTIVE)
        self.session.deliver_weighed(says("4", 4))
        self.assertEqual(self.turn(), b"")
        self.gate.release(waiting)
        self.assertEqual(self.turn(), b"1<message to='a@example.org/r1'>2</message>3")
        self.up(ACTIVE)
        self.assertEqual(self.turn(), b"<message to='a@example.org/r1'>4</message>")
