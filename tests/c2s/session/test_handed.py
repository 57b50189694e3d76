"""A session that another process of the cluster goes on with: what goes along, when nothing does, and what follows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.c2s.session import client_management
from minimixproxy.c2s.session.client_session import QUIET, ClientSession
from minimixproxy.c2s.session.farewell import LONGEST
from minimixproxy.c2s.session.server_management import ASK_AFTER, ServerManagement
from minimixproxy.c2s.upstream.credentials import Credential
from minimixproxy.minimix.interfaces.handed import HandedSession
from minimixproxy.minimix.interfaces.journal import KeptLogin
from minimixproxy.sasl.scram import Challenge, ScramKeys
from minimixproxy.stream_management.unacknowledged import Tracked
from minimixproxy.wire.lazy_stanzas import LazyStanzas
from minimixproxy.wire.stanza import parse_stanza
from tests.c2s.helpers import Lab, LabClient
from tests.c2s.server.test_negotiation import END
from tests.c2s.session.test_managed_upstream import UpstreamTest
from tests.c2s.session.test_stream_management import ASK, MESSAGE, NS, ack, failed, resume

KEPT = KeptLogin("example.org", "a", password="secret")


def keep(_login: Any) -> KeptLogin:
    return KEPT


class HandedCase(UpstreamTest):
    """`elsewhere` is the other process."""

    def setUp(self) -> None:
        super().setUp()
        self.elsewhere = Lab(Path(self.mktemp()))
        self.up()

    def hand_on(self) -> HandedSession:
        handed = self.session.hand_on(keep, b"<show>away</show>")
        assert handed is not None
        return handed

    def goes_on(self) -> ClientSession:
        """The other process has it; the server is asked to resume."""
        login = self.session.login
        handed = self.hand_on()
        self.lab = self.elsewhere
        return ClientSession.restored(self.lab.context.sessions, handed, login)

    def resumes_upstream(self, h: int = 0, sent: int = 0, then: bytes = b"") -> bytes:
        """The server goes on. `h`: what it is to be told is handled; `sent`: what it has handled."""
        wire = self.comes_up()
        self.assertEqual(wire.take(), b"<resume %b previd='up' h='%d'/>" % (NS, h))
        assert self.client.server is not None
        self.client.server.dataReceived(b"<resumed %b previd='up' h='%d'/>" % (NS, sent) + then)
        return wire.take()

    def settles(self, session: ClientSession | None = None) -> Callable[[], int]:
        """Have a session settle; return what tells how often it has."""
        calls: list[None] = []
        (session or self.session).when_settled(lambda: calls.append(None))
        return lambda: len(calls)


class GoingOnTest(HandedCase):
    def test_nothing_is_open(self) -> None:
        before = self.client
        session = self.goes_on()
        self.assertEqual((before.wire.take(), before.wire.closing), (b"", True), "its stream is not closed")
        self.assertEqual((before.upstream.take(), before.upstream.disconnected), (b"", True), "nor the server's")
        self.assertEqual((session.jid, session.asleep, session.managed), ("a@example.org/up", True, True))
        self.assertEqual(self.lab.accounts.bound, [session])
        self.assertEqual(self.resumes_upstream(), b"")
        client, told = self.comes_back()
        self.assertEqual((told, session.asleep), (self.resumed(0), False))
        self.assertEqual(self.serve_to(client, MESSAGE % 1), MESSAGE % 1)

    def serve_to(self, client: LabClient, data: bytes) -> bytes:
        assert self.client.server is not None
        self.client.server.dataReceived(data)
        return self.turn(client)

    def test_what_was_counted(self) -> None:
        """Neither end begins anew."""
        self.client.serve(MESSAGE % 1 + MESSAGE % 2)
        self.client.send(MESSAGE % 3 + ack(2))
        self.lab.clock.advance(ASK_AFTER)
        self.client.serve(ack(1))
        self.up()
        session = self.goes_on()
        self.assertEqual(self.resumes_upstream(h=2, sent=1), b"")
        client, told = self.comes_back(h=2)
        self.assertEqual(told, self.resumed(1))
        self.assertEqual(self.say(ASK, client), ack(1))
        self.assertFalse(session.asleep)

    def test_what_was_not_acknowledged(self) -> None:
        """The client gets it again, and the server hears of it when the client has it; what it sends again is known."""
        self.client.serve(MESSAGE % 1 + MESSAGE % 2)
        self.session.deliver(MESSAGE % 3)
        self.turn()
        self.client.send(ack(1))
        self.client.serve(MESSAGE % 4)
        self.goes_on()
        self.assertEqual(self.resumes_upstream(h=1, then=MESSAGE % 2 + MESSAGE % 4 + MESSAGE % 5), b"")
        client, told = self.comes_back(h=2)
        self.assertEqual(told, self.resumed(0) + MESSAGE % 3 + MESSAGE % 4 + MESSAGE % 5)
        self.say(ack(5), client)
        assert self.client.server is not None
        self.client.server.dataReceived(ASK)
        self.assertEqual(self.client.upstream.take(), ack(4))

    def test_what_waits_for_one_that_sleeps(self) -> None:
        self.client.vanish()
        self.session.deliver(MESSAGE % 1)
        self.session.deliver_all(LazyStanzas(2, iter([MESSAGE % 2, MESSAGE % 3])))
        self.session.deliver(MESSAGE % 4)
        self.client.serve(MESSAGE % 5)
        self.goes_on()
        self.resumes_upstream(then=MESSAGE % 5)
        _client, told = self.comes_back()
        self.assertEqual(told, self.resumed(0) + b"".join(MESSAGE % number for number in range(1, 6)))

    def test_the_client_is_faster_than_the_server(self) -> None:
        self.goes_on()
        client, told = self.comes_back()
        self.assertEqual(told, self.resumed(0))
        self.lab.logins.pop()  # its own, which is not needed
        client.send(MESSAGE % 1)
        self.assertEqual(self.resumes_upstream(), MESSAGE % 1)

    def test_the_server_does_not_go_on(self) -> None:
        session = self.goes_on()
        self.comes_up().take()
        assert self.client.server is not None
        self.client.server.dataReceived(failed(b"item-not-found"))
        self.assertEqual(len(self.lab.resumable), 0)
        self.assertEqual(self.lab.accounts.account.closed, [session])
        _client, told = self.comes_back()
        self.assertEqual(told, failed(b"item-not-found", b" h='0'"))

    def test_no_client_comes(self) -> None:
        session = self.goes_on()
        self.resumes_upstream()
        self.lab.clock.advance(600)
        self.assertEqual(self.lab.accounts.account.closed, [session])
        self.assertEqual(self.client.upstream.take(), END)

    def test_what_it_was(self) -> None:
        self.session.device, self.session.carbons = "a device", True
        handed = self.hand_on()
        self.assertEqual((handed.device, handed.carbons, handed.language), ("a device", True, "de"))
        self.assertEqual((handed.shows, handed.login, handed.client.seconds), (b"<show>away</show>", KEPT, 600))
        self.assertTrue(handed.server.knows_state)

    def test_a_device_that_begins_another_session(self) -> None:
        """It is known by that, there as here."""
        self.session.device = "a device"
        session = self.goes_on()
        self.assertEqual(session.device, "a device")
        self.resumes_upstream()
        client = self.lab.client()
        other = client.bind()
        other.device = "a device"
        client.wire.take()
        self.enable(client)
        self.assertEqual(self.lab.accounts.account.closed, [session])

    def test_twice(self) -> None:
        session = self.goes_on()
        self.resumes_upstream()
        self.assertIsNotNone(session.hand_on(keep, b""))

    def test_twice_with_something_open(self) -> None:
        """What the server sends again has come: nothing else is to come again."""
        self.client.serve(MESSAGE % 1 + MESSAGE % 2)
        session = self.goes_on()
        self.resumes_upstream(then=MESSAGE % 1 + MESSAGE % 2)
        handed = session.hand_on(keep, b"")
        assert handed is not None
        self.assertEqual((handed.server.received, handed.server.open), (2, (True, True)))

    def test_again_before_the_server_has_gone_on(self) -> None:
        """That is waited for, though not for long."""
        session = self.goes_on()
        self.assertIsNone(session.hand_on(keep, b""))
        settled = self.settles(session)
        self.assertEqual(settled(), 0)
        self.resumes_upstream()
        self.lab.clock.advance(LONGEST)
        self.assertEqual(settled(), 1)
        self.assertIsNotNone(session.hand_on(keep, b""))

    def test_a_server_that_takes_its_time(self) -> None:
        """A machine may be busy with all that has just come."""
        session = self.goes_on()
        settled = self.settles(session)
        self.lab.clock.advance(LONGEST)
        self.lab.clock.advance(LONGEST)
        self.assertEqual(settled(), 0)
        self.resumes_upstream()
        self.lab.clock.advance(LONGEST)
        self.assertEqual(settled(), 1)
        self.assertIsNotNone(session.hand_on(keep, b""))

    def test_a_server_that_does_not_go_on(self) -> None:
        session = self.goes_on()
        settled = self.settles(session)
        for _ in range(4):
            self.lab.clock.advance(LONGEST)
        self.assertEqual(settled(), 0)
        self.lab.clock.advance(LONGEST)
        self.assertEqual(settled(), 1)

    def test_how_much_was_handled_in_the_end(self) -> None:
        """The account comes back here, without the session: what was handled when that went is not known for right."""
        here = self.lab
        self.goes_on()
        self.lab = here
        _client, told = self.comes_back()
        self.assertEqual(told, failed(b"item-not-found"))

    def test_the_account_has_just_gone(self) -> None:
        """The session is there, too: the client is not to think that it is over."""
        here = self.lab
        self.goes_on()
        self.lab = here
        client = self.lab.client()
        client.log_in()
        client.wire.take()
        self.lab.accounts.elsewhere.add("a@example.org")
        self.assertIn(b"<reset ", self.say(resume(self.previd), client))
        self.assertTrue(client.wire.closing)


class NotHandedTest(HandedCase):
    """Something is open: the session stays as it is, and is closed in order by whoever asked."""

    def stays(self) -> None:
        before = len(self.lab.resumable)
        self.assertIsNone(self.session.hand_on(keep, b""))
        self.assertEqual((self.client.wire.closing, self.client.upstream.closing), (False, False))
        self.assertEqual((self.account.closed, len(self.lab.resumable)), ([], before))

    def test_what_the_server_has_not_acknowledged(self) -> None:
        self.client.send(MESSAGE % 1)
        self.stays()

    def test_what_the_client_said_and_is_not_handled(self) -> None:
        self.account.taken_from_client = {"taken"}
        self.client.send(b"<message id='taken'/>")
        release = self.session.hold()
        self.stays()
        release()
        self.hand_on()

    def test_more_than_can_be_kept(self) -> None:
        self.patch(client_management, "MAX_HANDED", 100)
        self.client.serve(b"<message>%b</message>" % (b"x" * 100))
        self.stays()

    def test_what_others_than_its_server_wait_for(self) -> None:
        """A private message counts as given when its client has it: nobody would hear of that."""
        self.session.deliver(Tracked(MESSAGE % 1, lambda: None))
        self.turn()
        self.stays()

    def test_a_request_to_the_server_is_open_that_is_followed(self) -> None:
        self.client.send(b"<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>")
        self.lab.clock.advance(ASK_AFTER)
        self.client.serve(ack(1))
        self.stays()

    def test_the_server_is_lost(self) -> None:
        assert self.client.server is not None
        self.client.server.connectionLost(Failure(ConnectionLost()))
        self.stays()

    def test_a_login_that_cannot_be_kept(self) -> None:
        """Its password is not to be kept, and its keys have not been seen to last."""
        self.assertIsNone(self.session.hand_on(lambda _login: KeptLogin("example.org", "a"), b""))

    def test_without_stream_management(self) -> None:
        for client in (self.lab.client(), self.lab.client()):
            session = client.bind()
            self.assertIsNone(session.hand_on(keep, b""))

    def test_the_client_has_closed_its_stream(self) -> None:
        self.client.send(END)
        self.assertIsNone(self.session.hand_on(keep, b""))


class RestsTest(HandedCase):
    """Another process is to have the account by the way: only when no client would notice much of it."""

    def setUp(self) -> None:
        super().setUp()
        keys = Credential.from_keys("sha1", Challenge(b"salt", 4096), ScramKeys(b"c", b"s"))
        self.session.login = replace(self.session.login, credential=keys)

    def after_a_while(self) -> bool:
        """Tell whether it rests, and see that it can be handed on if so."""
        self.lab.clock.advance(QUIET)
        rests = self.session.rests
        if rests:
            self.hand_on()
        return rests

    def test_quiet(self) -> None:
        self.lab.clock.advance(QUIET - 1)
        self.assertFalse(self.session.rests, "its user may be at it")
        self.lab.clock.advance(1)
        self.assertTrue(self.session.rests)
        self.client.send(b"<message id='c'/>")
        self.client.serve(ack(1))
        self.assertFalse(self.session.rests)
        self.assertTrue(self.after_a_while())

    def test_it_sleeps(self) -> None:
        """With what waits for it."""
        self.client.serve(MESSAGE % 1)
        self.client.vanish()
        self.assertTrue(self.session.rests)
        self.hand_on()

    def test_more_waits_for_one_that_sleeps_than_can_go_along(self) -> None:
        self.patch(client_management, "MAX_HANDED", 100)
        self.client.vanish()
        self.session.deliver(b"<message>%b</message>" % (b"x" * 100))
        self.assertFalse(self.session.rests)

    def test_what_waits_is_not_made(self) -> None:
        self.client.vanish()
        self.session.deliver_all(LazyStanzas(1, iter([MESSAGE % 1])))
        self.assertFalse(self.session.rests)

    def test_it_has_not_acknowledged_all(self) -> None:
        self.client.serve(MESSAGE % 1)
        self.assertFalse(self.after_a_while())

    def test_its_server_has_not_acknowledged_all(self) -> None:
        self.client.send(MESSAGE % 1)
        self.assertFalse(self.after_a_while())

    def test_its_server_is_lost(self) -> None:
        assert self.client.server is not None
        self.client.server.connectionLost(Failure(ConnectionLost()))
        self.assertFalse(self.session.rests)

    def test_without_stream_management(self) -> None:
        self.assertFalse(self.lab.client().bind().rests)

    def test_it_cannot_log_in_elsewhere(self) -> None:
        """What it logged in with is a password, which is not kept."""
        self.client.vanish()
        self.session.login = self.session.login.with_password("secret")
        self.assertFalse(self.session.rests)


class SettlingTest(HandedCase):
    """What is open is waited for, before."""

    def test_one_that_sleeps(self) -> None:
        """It acknowledges nothing; its server does."""
        self.client.serve(MESSAGE % 1)
        self.client.send(MESSAGE % 2)
        self.client.vanish()
        settled = self.settles()
        self.assertEqual(settled(), 0)
        self.lab.clock.advance(ASK_AFTER)
        self.client.serve(ack(1))
        self.assertEqual(settled(), 1)
        self.hand_on()

    def test_resumption_by_who_is_not_asked_again(self) -> None:
        """The client resumes what is still here, before."""
        self.client.vanish()
        self.settles()
        client = self.lab.client()
        client.log_in()
        client.wire.take()
        self.assertTrue(self.say(resume(self.previd), client).startswith(b"<resumed "))


class ServerManagementTests(SynchronousTestCase):
    def test_when_it_can_be_handed_on(self) -> None:
        """Not before the server has said that the stream can be resumed."""
        for inner, can in (("", False), (" id='i' resume='true' max='60'", True)):
            management = ServerManagement("a@b/c", Clock(), lambda _data: None, lambda: None)
            self.assertIsNone(management.handed(False))
            management.element(parse_stanza(f"<enabled xmlns='urn:xmpp:sm:3'{inner}/>"))
            self.assertEqual(management.handed(False) is not None, can)
