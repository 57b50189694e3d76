"""What a process of a cluster counts: each thing once, as what it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from twisted.python.failure import Failure

from minimixproxy.cluster import tallies
from minimixproxy.cluster.departures import GRACE
from minimixproxy.cluster.holding import LOOK
from minimixproxy.cluster.internal_port import HEADER_TIME, MAX_NEW
from minimixproxy.counting.tally import Tally
from minimixproxy.storage.errors import StateError
from tests.c2s.helpers import HEADER
from tests.cluster.test_handover_header import with_tlvs
from tests.cluster.test_holding import BARE, BOB, OTHER, HoldingTestCase
from tests.cluster.test_internal_port import GOOD, PortCase
from tests.cluster.test_pipe import NAMED, PipeCase
from tests.wires import Wire


@contextmanager
def counted(tally: Tally) -> Iterator[dict[str, int]]:
    """Give a dictionary that has, in the end, what has been counted meanwhile."""
    before, found = dict(tally.counts), dict[str, int]()
    yield found
    found.update(
        {values[0]: number - before[values] for values, number in tally.counts.items() if number > before[values]}
    )


class PipesTests(PipeCase):
    def test_opened(self) -> None:
        with counted(tallies.PIPES) as pipes, counted(tallies.HANDOVERS) as handovers:
            self.session()
        self.assertEqual((pipes, handovers), ({"success": 1}, {"success": 1}))
        self.assertEqual(len(self.pair.pipes), 1)
        self.client.vanish()
        self.pair.flush()
        self.assertEqual(len(self.pair.pipes), 0)

    def test_not_reached(self) -> None:
        """A holder that is gone is looked for twice."""
        self.pair.down = True
        with counted(tallies.PIPES) as pipes:
            self.send(NAMED)
        self.assertEqual(pipes, {"unreachable": 2})

    def test_does_not_answer_at_all(self) -> None:
        self.pair.unreachable = True
        with counted(tallies.PIPES) as pipes:
            self.client.send(NAMED)
            for _number in range(2):
                self.pair.edge.clock.advance(10)
        self.assertEqual(pipes, {"unreachable": 2})

    def test_not_taken(self) -> None:
        self.pair.held.clear()
        with counted(tallies.PIPES) as pipes, counted(tallies.HANDOVERS) as handovers:
            self.send(NAMED)
            self.flushed()
        self.assertEqual((pipes, handovers), ({"not-taken": 2}, {"not-held": 2}))

    def test_the_client_is_gone(self) -> None:
        """While its holder is dialled, or told of it."""
        for self.pair.unreachable in (True, False):
            self.client = self.pair.edge.client()
            with counted(tallies.PIPES) as pipes:
                self.client.send(NAMED)
                self.client.vanish()
            self.assertEqual(pipes, {"abandoned": 1})
            self.assertEqual(len(self.pair.pipes), 0)


class HandoversTests(PortCase):
    def counted_as(self, result: str, data: bytes = b"") -> None:
        with counted(tallies.HANDOVERS) as handovers:
            connection, wire = self.connection()
            connection.dataReceived(data)
            self.assertTrue(wire.aborted)
            connection.connectionLost(Failure(ConnectionError()))
        self.assertEqual(handovers, {result: 1}, data)

    def test_refused(self) -> None:
        self.counted_as("bad-header", HEADER)
        self.counted_as("ended", with_tlvs(NUMBER=bytes(8)))
        self.counted_as("not-held", with_tlvs(ACCOUNT=b"b@example.org"))
        self.lab.context.domains = {}
        self.counted_as("not-served", GOOD)
        self.lab.clients.accepting = False
        self.counted_as("closing", GOOD)

    def test_strangers(self) -> None:
        self.user = None
        self.counted_as("stranger")

    def test_too_late_and_too_many(self) -> None:
        with counted(tallies.HANDOVERS) as handovers:
            for _number in range(MAX_NEW + 2):
                self.port.buildProtocol(None).makeConnection(Wire())
        self.assertEqual(handovers, {"too-many": 2})
        with counted(tallies.HANDOVERS) as handovers:
            self.lab.clock.advance(HEADER_TIME)
        self.assertEqual(handovers, {"slow": MAX_NEW})


class AccountsTests(HoldingTestCase):
    def test_got_and_given_away(self) -> None:
        self.leases.orphans = [BARE, BOB]
        with counted(tallies.ACCOUNT_CHANGES) as changes:
            self.begin()
            self.ask("carol@example.org", claim=True)
            self.ask("carol@example.org", claim=True)
        self.assertEqual(changes, {"taken": 2, "claimed": 1})
        with counted(tallies.ACCOUNT_CHANGES) as changes:
            self.holding.let_go(BARE, to_others=True)
            self.clock.pump([GRACE / 4] * 5)  # the client of the third one has not come back
        self.assertEqual(changes, {"handed-on": 1, "let-go": 1})

    def test_elsewhere(self) -> None:
        self.begin()
        self.leases.elsewhere.add(BARE)
        with counted(tallies.ACCOUNT_CHANGES) as changes:
            self.ask(BARE)
        self.assertEqual(changes, {})

    def test_questions(self) -> None:
        self.leases.live.append(OTHER)
        with counted(tallies.QUESTIONS) as questions:
            self.begin()
            self.ask(BARE)
        self.assertEqual(questions, {"success": 2})
        self.leases.fault = StateError("out of reach")
        with counted(tallies.QUESTIONS) as questions:
            self.clock.advance(LOOK)
            self.ask(BARE).addErrback(lambda _failure: None)
        self.assertEqual(questions, {"failure": 2})
