"""What sessions say while the account is on its way back: sent, or told to be lost, each once; nothing is kept."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.bounds.byte_budget import ByteBudget
from minimixproxy.minimix.interfaces.streams import SessionPort
from minimixproxy.minimix.room.outbox import MAX_BYTES, MAX_HELD, PATIENCE, Outbox
from minimixproxy.wire.stanza import Stanza, parse_stanza
from tests.minimix.fakes import ROOM, FakeSession


class HoldingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.budget = ByteBudget(10 * MAX_BYTES)
        self.outbox = Outbox(self.clock, self.budget)
        self.phone, self.laptop = FakeSession("phone", self.clock), FakeSession("laptop", self.clock)
        self.sent: list[str] = []
        self.acknowledged: list[Callable[[], None]] = []  # to be called when the server has what was sent

    def says(self, session: FakeSession, stanza_id: str, body: str = "x", kind: str = "groupchat") -> None:
        xml = f"<message to='{ROOM}' type='{kind}' id='{stanza_id}'><body>{body}</body></message>"
        self.outbox.add(session, parse_stanza(xml))

    def send(self, session: SessionPort, stanza: Stanza) -> None:
        self.sent.append(f"{session.jid.partition('/')[2]} {stanza['id']}")

    def refused(self, session: FakeSession) -> list[str]:
        """What a session is told that it was not sent, and why."""
        told = session.take()
        for one in told:
            self.assertEqual((one["type"], one["to"]), ("error", session.jid))
        return [f"{one['id']} {next(e.name for e in one.element.error.elements())}" for one in told]

    def assert_nothing_waits(self) -> None:
        self.outbox.release(self.send, self.acknowledged.append)
        self.assertEqual((len(self.outbox), self.budget.used), (0, 0))
        self.assertEqual((self.sent, self.clock.getDelayedCalls()), ([], []))
        self.clock.advance(2 * PATIENCE)
        self.assertEqual((self.refused(self.phone), self.refused(self.laptop)), ([], []))

    def test_when_it_may_be_acknowledged(self) -> None:
        """By what happens: at once, or when the server has it."""
        for happens, held, later in (
            (lambda: self.outbox.release(self.send, self.acknowledged.append), 1, 0),
            (lambda: self.outbox.refuse("gone"), 0, 0),
            (lambda: self.outbox.refuse_one(self.phone, "gone"), 0, 0),
            (lambda: self.clock.advance(PATIENCE), 0, 0),
        ):
            self.says(self.phone, "1")
            self.assertEqual(self.phone.held, 1)
            happens()
            self.assertEqual(self.phone.held, held)
            while self.acknowledged:
                self.acknowledged.pop()()
            self.assertEqual(self.phone.held, later)

    def test_what_becomes_of_it(self) -> None:
        """By what happens: what is sent, and what the phone and the laptop are told."""
        outbox, waiting = self.outbox, "remote-server-timeout"
        for happens, sent, phone, laptop in (
            (lambda: outbox.release(self.send, self.acknowledged.append), ["phone 1", "laptop 2", "phone 3"], [], []),
            (lambda: outbox.refuse("gone"), [], ["1 gone", "3 gone"], ["2 gone"]),
            (lambda: outbox.refuse_one(self.phone, "gone"), ["laptop 2"], ["1 gone", "3 gone"], []),
            (lambda: outbox.drop(self.phone), ["phone 1", "laptop 2", "phone 3"], [], []),
            (lambda: self.clock.advance(PATIENCE), [], [f"1 {waiting}", f"3 {waiting}"], [f"2 {waiting}"]),
        ):
            self.sent.clear()
            self.says(self.phone, "1")
            self.says(self.laptop, "2")
            self.says(self.phone, "3")
            self.assertEqual(len(outbox), 3)
            happens()
            outbox.release(self.send, self.acknowledged.append)
            self.assertEqual((self.sent, self.refused(self.phone), self.refused(self.laptop)), (sent, phone, laptop))
            self.sent.clear()
            self.assert_nothing_waits()

    def test_out_of_reach_again_while_all_is_sent(self) -> None:
        """What is not sent waits on, in its order; nothing else that its client has said since is held for it."""
        for number in "123":
            self.says(self.phone, number)
        self.phone.held = 0
        held = self.phone.held

        def send(session: SessionPort, stanza: Stanza) -> None:
            if self.sent:
                self.outbox.add(session, stanza)
            else:
                self.send(session, stanza)

        self.outbox.release(send, self.acknowledged.append)
        self.assertEqual((self.sent, len(self.acknowledged), self.phone.held), (["phone 1"], 1, held))
        self.outbox.release(self.send, self.acknowledged.append)
        self.assertEqual((self.sent, len(self.acknowledged)), (["phone 1", "phone 2", "phone 3"], 3))
        self.sent.clear()
        self.assert_nothing_waits()

    def test_a_session_is_gone(self) -> None:
        """What it said to all is sent, unless its client does not know that it was taken, and says it again."""
        for managed, kind, sent in ((False, "groupchat", ["phone 1"]), (True, "groupchat", []), (False, "chat", [])):
            self.sent.clear()
            self.phone.managed = managed
            self.says(self.phone, "1", kind=kind)
            self.says(self.laptop, "2")
            self.outbox.drop(self.phone)
            self.outbox.release(self.send, self.acknowledged.append)
            self.assertEqual(self.sent, [*sent, "laptop 2"])
        self.sent.clear()
        self.assert_nothing_waits()

    def test_each_for_its_own_time(self) -> None:
        self.says(self.phone, "1")
        self.clock.advance(PATIENCE / 2)
        self.says(self.phone, "2")
        self.clock.advance(PATIENCE / 2)
        self.assertEqual(self.refused(self.phone), ["1 remote-server-timeout"])
        self.clock.advance(PATIENCE / 2)
        self.assertEqual(self.refused(self.phone), ["2 remote-server-timeout"])
        self.assert_nothing_waits()

    def test_errors_are_not_answered(self) -> None:
        for kind in ("error", "result"):
            self.says(self.phone, "1", kind=kind)
        self.outbox.refuse("gone")
        self.assertEqual(self.refused(self.phone), [])

    def test_bounds(self) -> None:
        """In count, in bytes, and of the account's budget; what came before waits on, and leaves all that it took."""
        half = "x" * (MAX_BYTES // 2)
        for limit, body, fits in ((10**9, "x", MAX_HELD), (10**9, half, 1), (5000, "x" * 1000, 3)):
            for leaves in (lambda: self.outbox.refuse_one(self.laptop, "gone"), lambda: self.clock.advance(PATIENCE)):
                self.setUp()
                self.outbox = Outbox(self.clock, ByteBudget(limit))
                for _ in range(2):  # as much again when the first have gone
                    for number in range(fits + 1):
                        self.says(self.laptop, str(number), body)
                    self.assertEqual(self.refused(self.laptop), [f"{fits} resource-constraint"])
                    self.assertEqual(len(self.outbox), fits)
                    leaves()
                    self.assertEqual((len(self.refused(self.laptop)), len(self.outbox)), (fits, 0))
