"""What all clients together take of a turn of the reactor: counted in turns and stanzas, by a stopwatch of the test."""

from __future__ import annotations

import tempfile
from itertools import count
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial import unittest

from minimixproxy.c2s.session.paced_reading import AT_ONCE, PIECE, PIECES_TIME, WORK_TIME
from minimixproxy.minimix.interfaces.streams import SessionPort
from minimixproxy.timing.turn_shares import TURN, TurnShares
from minimixproxy.wire.stanza import Stanza
from tests.c2s.helpers import Lab, LabClient
from tests.timing.turns import next_turn


class One:
    """Somebody who goes on so often, which takes so many seconds each time."""

    def __init__(self, test: SharesTest, name: str, times: int, seconds: float) -> None:
        self.test = test
        self.name = name
        self.times = times
        self.seconds = seconds
        self.aborted = False

    def go_on(self) -> bool:
        self.test.seconds += self.seconds
        self.test.order.append(self.name)
        self.times -= 1
        if self.times < 0:
            raise RuntimeError("a fault")
        return self.times > 0

    def abort(self) -> None:
        self.aborted = True


class SharesTest(unittest.TestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.shares = TurnShares(self.clock)
        self.seconds = 0.0
        self.patch(self.shares, "stopwatch", lambda: self.seconds)
        self.order: list[str] = []

    def wait(self, account: str, name: str, times: int = 1, seconds: float = TURN * 1.01) -> One:
        one = One(self, name, times, seconds)
        self.shares.wait(account, one)
        return one

    def turn(self) -> list[str]:
        next_turn(self.clock)
        order, self.order = self.order, []
        return order

    def test_all_go_on_while_there_is_time(self) -> None:
        self.shares.took(TURN * 0.9)
        self.assertTrue(self.shares.may_go_on("a"))
        self.assertEqual(self.clock.getDelayedCalls(), [], "nothing to do")
        self.shares.took(TURN * 0.2)
        self.assertFalse(self.shares.may_go_on("b"))
        self.turn()
        self.assertTrue(self.shares.may_go_on("b"))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_behind_those_of_the_same_account_that_wait(self) -> None:
        self.wait("a", "a1")
        self.assertFalse(self.shares.may_go_on("a"))
        self.assertTrue(self.shares.may_go_on("b"))
        self.turn()
        self.turn()
        self.assertTrue(self.shares.may_go_on("a"))

    def test_a_turn_takes_so_long(self) -> None:
        for number in range(10):
            self.wait(f"{number}", f"{number}", times=1, seconds=TURN / 4)
        self.assertEqual(self.turn(), ["0", "1", "2", "3"])
        self.assertFalse(self.shares.may_go_on("x"), "nothing is left of this turn")
        self.assertEqual(self.turn(), ["4", "5", "6", "7"])
        self.assertEqual(self.turn(), ["8", "9"])
        self.assertTrue(self.shares.may_go_on("x"))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_an_account_goes_on_once_in_a_turn(self) -> None:
        """However many sessions it has, and be there time."""
        for number in range(3):
            self.wait("a", f"a{number}", times=2, seconds=0)
        self.wait("b", "b", times=2, seconds=0)
        turns = [self.turn() for _ in range(6)]
        self.assertEqual(turns, [["a0", "b"], ["a1", "b"], ["a2"], ["a0"], ["a1"], ["a2"]])

    def test_who_has_not_waited_is_first(self) -> None:
        for account in "abc":
            self.wait(account, account, times=9)
        self.assertEqual([self.turn() for _ in range(3)], [["a"], ["b", "a"], ["c", "b"]])
        self.wait("new", "new")
        self.assertEqual(self.turn(), ["new", "a"])
        self.assertEqual(self.turn(), ["c"])

    def test_those_who_are_always_new_do_not_keep_the_others_out(self) -> None:
        self.wait("old", "old", times=9)
        self.turn()
        for number in range(3):
            self.wait(f"{number}", f"{number}")
        self.assertEqual(self.turn(), ["0", "old"])
        self.assertEqual(self.turn(), ["1", "old"])

    def test_a_turn_that_is_just_used_up(self) -> None:
        """Nothing is left of it, and there is another: whoever took it, at once or after waiting."""
        for waits in (False, True):
            self.setUp()
            if waits:
                self.wait("a", "1", seconds=TURN)
                next_turn(self.clock)
            else:
                self.shares.took(TURN)
            self.assertFalse(self.shares.may_go_on("b"))
            next_turn(self.clock)
            self.assertTrue(self.shares.may_go_on("b"))

    def test_a_fault_ends_one(self) -> None:
        bad, good = self.wait("a", "bad", times=0, seconds=0), self.wait("a", "good", seconds=0)
        self.assertEqual(self.turn() + self.turn(), ["bad", "good"])
        self.assertTrue(bad.aborted)
        self.assertFalse(good.aborted)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])


EACH = TURN / 100  # seconds that a stanza takes


class SessionsTest(unittest.TestCase):
    """Sessions of a client each; every stanza takes so long."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.lab = Lab(Path(directory.name))
        self.handled = 0
        account = self.lab.accounts.account
        from_client = account.from_client

        def slowly(session: SessionPort, stanza: Stanza) -> bool:
            self.lab.stopwatch += EACH
            self.handled += 1
            return from_client(session, stanza)

        self.patch(account, "from_client", slowly)

    def client(self, username: str = "a") -> LabClient:
        client = self.lab.client()
        client.bind(username)
        return client

    def turn(self) -> int:
        """Return how many stanzas were handled in this turn."""
        before = self.handled
        next_turn(self.lab.clock)
        return self.handled - before

    def test_a_hundred_sessions_that_all_say_much(self) -> None:
        crowd = [self.client() for _ in range(100)]
        bystander = self.client("b")
        said = b"".join(b"<iq id='%d' type='result'/>" % number for number in range(200))
        before = self.handled
        for client in crowd:
            client.send(said)
        most = int(WORK_TIME / EACH) + 1
        self.assertIn(self.handled - before, (most - 1, most), "of the first one, and the others stand behind it")
        self.assertEqual([client.wire.producerState for client in crowd], ["paused"] * 100)
        bystander.send(b"<iq id='ping'/>")
        self.assertEqual(bystander.upstream.take(), b"<iq id='ping'/>", "of another account: there is time left")
        self.assertEqual(bystander.wire.producerState, "producing")
        while self.lab.clock.getDelayedCalls():
            self.assertLessEqual(self.turn(), 201)
        for client in crowd:
            self.assertEqual(client.upstream.take(), said)
            self.assertEqual(client.wire.producerState, "producing")

    def test_a_bystander_is_next_while_a_crowd_waits(self) -> None:
        crowd = [self.client(name) for name in "cdefgh" for _ in range(5)]
        bystander = self.client("b")
        for client in crowd:
            client.send(b"<iq id='i' type='result'/>" * 200)
        for _ in range(6):
            self.turn()  # each of these has gone on
        for number in range(5):
            bystander.send(b"<iq id='%d'/>" % number)
            self.turn()
            self.assertEqual(bystander.upstream.take(), b"<iq id='%d'/>" % number)

    def test_nothing_waits_for_a_turn_that_need_not(self) -> None:
        client = self.client()
        for _ in range(1000):
            client.send(b"<iq id='i'/>")
            self.lab.clock.advance(0)
            self.assertEqual(client.upstream.take(), b"<iq id='i'/>")
        client.send(b"<iq id='i'/>" * 10)
        self.assertEqual(client.upstream.take(), b"<iq id='i'/>" * 10)

    def test_one_that_takes_long_has_the_turn_for_itself(self) -> None:
        """As a question for a thousand rooms does; also of a client that is gone."""
        account = self.lab.accounts.account

        def long(_session: SessionPort, _stanza: Stanza) -> bool:
            self.lab.stopwatch += TURN
            self.handled += 1
            return True

        for gone in (False, True):
            client = self.client()
            self.patch(account, "from_client", long)
            before = self.handled
            client.send(b"<iq id='i'/>" * AT_ONCE)
            self.assertEqual(self.handled - before, 1)
            if gone:
                client.vanish()
            self.assertEqual([self.turn() for _ in range(AT_ONCE)], [1] * (AT_ONCE - 1) + [0])

    def test_a_large_read_is_taken_in_pieces(self) -> None:
        """An `ssl:` or `haproxy:` endpoint reads 64 KiB at once."""
        client = self.client()
        stanza = b"<iq id='i' type='result' to='%b'/>" % (b"x" * (PIECE // 64))
        said = stanza * (65536 // len(stanza))
        before = self.handled
        client.send(said)
        most = int(PIECES_TIME / EACH) + PIECE // len(stanza) + 1
        self.assertLessEqual(self.handled - before, most)
        self.assertLessEqual(self.turn(), most)
        self.lab.clock.advance(0)
        self.assertEqual(client.upstream.take(), said)

    def test_a_large_read_that_takes_no_time_is_taken_at_once(self) -> None:
        client = self.client()
        self.patch(self.lab.accounts.account, "from_client", lambda _session, _stanza: False)
        client.send(b"<iq id='i'/>" * 5000)
        self.assertEqual(client.upstream.take(), b"<iq id='i'/>" * 5000)

    def test_however_long_it_takes_some_goes_on(self) -> None:
        """The process may be stopped at any point: to the stopwatch that is a long time."""
        client = self.client()
        seconds = count(0.0, 1.0)
        self.patch(self.lab.turn_end.shares, "stopwatch", lambda: next(seconds))
        client.send(b"<iq id='i'/>" * 3)
        for _ in range(3):
            self.assertEqual(client.upstream.take(), b"<iq id='i'/>")
            self.turn()

    def test_what_only_passes_has_an_end_in_each_turn_too(self) -> None:
        """8 KiB are a thousand of the smallest; bystanders of other accounts wait for some of them at most."""
        client, bystander = self.client(), self.client("b")
        client.send(b"<iq/>" * 1000)
        bystander.send(b"<iq id='ping'/>")
        self.assertEqual(bystander.upstream.take(), b"<iq id='ping'/>", "in the same turn")
        passed = len(client.upstream.take())
        while turned := self.turn():
            self.assertLessEqual(turned * EACH, TURN)
            passed += len(client.upstream.take())
        self.assertEqual(passed, 5000)

    def test_what_only_passes_is_all_passed_on_in_its_order(self) -> None:
        """Also if the client ends its stream, or is gone, right behind it; and it is told so if it asks (XEP-0198)."""
        said = [b"<iq id='%d'/>" % number for number in range(2000)]
        for end, gone in ((b"", False), (b"</stream:stream>", False), (b"", True)):
            client, data = self.client(), b"".join(said)
            if not (end or gone):
                self.assertIn(b"<enabled ", client.send(b"<enable xmlns='urn:xmpp:sm:3'/>") + self.answer(client))
                data += b"<r xmlns='urn:xmpp:sm:3'/>"
            client.send(data[:8000])
            client.send(data[8000:] + end)
            if gone:
                client.vanish()
            passed = client.upstream.take()
            while self.turn():
                passed += client.upstream.take()
            passed += client.upstream.take()
            self.assertEqual(passed, b"".join(said) + (b"</stream:stream>" if end or gone else b""))
            if not (end or gone):
                self.assertIn(b"h='2000'", self.answer(client))

    def answer(self, client: LabClient) -> bytes:
        next_turn(self.lab.clock)
        return client.wire.take()

    def test_what_a_client_that_is_gone_has_said_goes_on(self) -> None:
        crowd = [self.client() for _ in range(3)]
        for client in crowd:
            client.send(b"<iq id='i' type='result'/>" * 200)
        crowd[2].vanish()
        self.lab.clock.advance(0)
        said = crowd[2].upstream.take()
        self.assertEqual(said, b"<iq id='i' type='result'/>" * 200 + b"</stream:stream>")

    def test_clients_that_say_much_and_go_do_not_pile_up(self) -> None:
        """Others come in their place: each is done with in one turn of its account's."""
        account = self.lab.accounts.account
        self.patch(account, "from_client", lambda _session, _stanza: True)
        crowd = [self.client() for _ in range(20)]
        for client in crowd:
            client.send(b"<presence to='r@m/n'/>" * 60)
            client.vanish()
        for _ in crowd:
            next_turn(self.lab.clock)
        self.assertEqual([client.upstream.take() for client in crowd], [b"</stream:stream>"] * 20)

    def test_a_fault_of_ours_ends_that_session(self) -> None:
        crowd = [self.client() for _ in range(3)]
        crowd[0].send(b"<iq id='i' type='result'/>" * 200)
        for client in crowd[1:]:
            client.send(b"<iq id='i'/>")
        write = crowd[1].upstream.write

        def fails_once(_data: bytes) -> None:
            self.patch(crowd[1].upstream, "write", write)
            raise ZeroDivisionError

        self.patch(crowd[1].upstream, "write", fails_once)
        crowd[1].wire.take()
        self.turn()  # the first one goes on, and stands behind the others then
        self.turn()
        self.assertIn(b"<internal-server-error", crowd[1].wire.take())
        self.turn()
        self.assertEqual(crowd[2].upstream.take(), b"<iq id='i'/>")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
