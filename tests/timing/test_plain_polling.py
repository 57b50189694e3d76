"""An epoll reactor that is asked to do less does what it did."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.base import ReactorBase
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.main import CONNECTION_DONE
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.timing.plain_polling import poll_plainly


class Reads:
    """What the reactor reads of a socket; `meets` is called with each read."""

    def __init__(self, reactor: Any, meets: Any = None) -> None:
        self.here, self.there = socket.socketpair()
        self.here.setblocking(False)
        self.reactor = reactor
        self.meets = meets
        self.got: list[bytes] = []
        self.lost: list[Failure] = []
        self.fault: Exception | None = None
        reactor.addReader(self)

    def fileno(self) -> int:
        if self.fault is not None:
            raise self.fault
        return self.here.fileno()

    def doRead(self) -> Any:
        self.got.append(self.here.recv(100))
        if self.meets is not None:
            self.meets()
        return None if self.got[-1] else CONNECTION_DONE

    def connectionLost(self, reason: Failure) -> None:
        self.lost.append(reason)

    def logPrefix(self) -> str:
        return "reads"

    def close(self) -> None:
        self.reactor.removeReader(self)
        self.here.close()
        self.there.close()


class PlainPollingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor: Any = EPollReactor()
        poll_plainly(self.reactor)
        self.addCleanup(self.reactor._poller.close)

    def reads(self, meets: Any = None) -> Reads:
        reads = Reads(self.reactor, meets)
        self.addCleanup(reads.close)
        return reads

    def test_what_is_ready_is_read(self) -> None:
        one, other = self.reads(), self.reads()
        one.there.send(b"one")
        self.reactor.doIteration(0)
        other.there.send(b"other")
        self.reactor.doIteration(None)
        self.assertEqual((one.got, other.got), ([b"one"], [b"other"]))

    def test_nothing_is_ready(self) -> None:
        one = self.reads()
        self.reactor.doIteration(0)
        self.assertEqual(one.got, [])

    def test_one_that_ends(self) -> None:
        one = self.reads()
        one.there.close()
        self.reactor.doIteration(0)
        self.assertEqual([reason.value.__class__.__name__ for reason in one.lost], ["ConnectionDone"])
        self.assertNotIn(one, self.reactor.getReaders())

    def test_a_fault_costs_nobody_else_a_turn(self) -> None:
        def fault() -> None:
            raise RuntimeError("a fault")

        one, other = self.reads(fault), self.reads(fault)
        one.there.send(b"one")
        other.there.send(b"other")
        self.reactor.doIteration(0)
        self.assertEqual((one.got, other.got), ([b"one"], [b"other"]))
        self.assertEqual((len(one.lost), len(other.lost)), (1, 1))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)

    def test_one_that_another_has_closed(self) -> None:
        both: list[Reads] = []
        both += [self.reads(lambda: both[1].close()), self.reads(lambda: both[0].close())]
        for one in both:
            one.there.send(b"x")
        self.reactor.doIteration(0)
        self.assertEqual(sum(len(one.got) for one in both), 1)

    def test_other_reactors_stay_as_they_are(self) -> None:
        class Reactor(ReactorBase):
            def installWaker(self) -> None:
                """Nobody sleeps."""

        reactor = Reactor()
        poll_plainly(reactor)
        self.assertNotIn("doIteration", vars(reactor))
