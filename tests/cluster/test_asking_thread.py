"""Questions are answered in a thread, in their order."""

import threading
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.cluster.asking_thread import AskingThread


class FakeReactor:
    """Keeps what a thread hands over until it is asked for."""

    def __init__(self) -> None:
        self._calls: list[tuple[Any, ...]] = []
        self._there = threading.Condition()

    def callFromThread(self, *call: Any) -> None:
        with self._there:
            self._calls.append(call)
            self._there.notify_all()

    def take(self, number: int) -> None:
        with self._there:
            assert self._there.wait_for(lambda: len(self._calls) >= number, timeout=30)
            calls, self._calls = self._calls, []
        for call, *arguments in calls:
            call(*arguments)


class AskingThreadTests(SynchronousTestCase):
    def test_answers_and_faults_in_order(self) -> None:
        reactor = FakeReactor()
        thread = AskingThread(reactor)
        names: list[str] = []

        def name() -> str:
            names.append(threading.current_thread().name)
            return "done"

        first, second, third = thread.run(name), thread.run(lambda: 1 // 0), thread.run(name)
        self.assertNoResult(first)
        reactor.take(3)
        self.assertEqual((self.successResultOf(first), self.successResultOf(third)), ("done", "done"))
        self.failureResultOf(second, ZeroDivisionError)
        self.assertEqual(names, ["leases", "leases"])
        thread.stop(30)

    def test_stop_waits_no_longer_than_it_may(self) -> None:
        """And it need not have begun."""
        thread = AskingThread(FakeReactor())
        thread.stop(30)
        hangs, goes_on = threading.Event(), threading.Event()

        def hang() -> None:
            hangs.set()
            goes_on.wait(30)

        thread.run(hang)
        self.assertTrue(hangs.wait(30))
        thread.stop(0)
        goes_on.set()
