"""The database's server comes later than the proxy: it is waited for, as `StateService` alone decides. No server."""

from __future__ import annotations

import atexit
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.minimix.interfaces.journal import KeptAccount
from minimixproxy.storage import service
from minimixproxy.storage.database import Database
from minimixproxy.storage.errors import StateError, Unreachable
from minimixproxy.storage.journal import OpenState, SQLJournal
from minimixproxy.storage.service import LONGEST_WAIT, Place, StateService
from minimixproxy.timing.turn_end import TurnEnd
from tests.log_events import log_events


class Reactor(Clock):
    """Has no threads: what is to run in one waits for the test."""

    def __init__(self) -> None:
        super().__init__()
        self.stops = 0

    def getThreadPool(self) -> None:
        """No pool."""

    def stop(self) -> None:
        self.stops += 1


class Journal(SQLJournal):
    """Knows whether it was opened, and ended."""

    begun = ended = 0

    def start(self, *_opened: Any) -> None:
        self.begun += 1

    def stop(self) -> Deferred[None]:
        self.ended += 1
        return succeed(None)


class Accounts:
    restored = 0

    def restore(self, _kept: list[KeptAccount]) -> None:
        self.restored += 1

    def kept(self) -> list[KeptAccount]:
        return []


class LateDatabaseTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor, self.events = Reactor(), log_events(self)
        self.looks: list[Deferred[None]] = []
        self.faults: list[Exception] = []  # what opening meets
        self.opening: list[str] = []
        self.at_exit: list[Callable[[], None]] = []
        self.patch(service, "deferToThreadPool", self._look)
        self.patch(sys, "setswitchinterval", lambda _seconds: None)
        self.patch(atexit, "register", self.at_exit.append)
        self.journal, self.accounts = Journal(self.reactor, TurnEnd(self.reactor)), Accounts()
        place = Place(Database(Path("state.sqlite")), Path(), opener=self._open)
        self.service = StateService(self.journal, place, self.accounts, self.reactor, self._while_opened)

    def _look(self, *_where: Any) -> Deferred[None]:
        self.looks.append(Deferred())
        return self.looks[-1]

    def _open(self, _place: Place, _reactor: Any) -> OpenState:
        if self.faults:
            raise self.faults.pop(0)
        nothing: Any = None
        return OpenState([], {}, {}, {}, nothing, 0, 0, nothing, nothing, nothing)

    @contextmanager
    def _while_opened(self) -> Iterator[None]:
        self.opening.append("begun")
        yield
        self.opening.append("done")

    def said(self) -> list[str]:
        return [formatEvent(event) or "" for event in self.events]

    def begin(self, *faults: Exception) -> None:
        self.faults = list(faults) or [Unreachable("not there")]
        self.service.startService()

    def waited(self) -> Deferred[None]:
        """The longest of waits; return the look that it ends with."""
        self.reactor.advance(1.5 * LONGEST_WAIT)
        return self.looks.pop()

    def test_it_comes(self) -> None:
        self.begin()
        self.assertFalse(self.service.is_open)
        for trouble in ("not there", "not there", "it starts up"):
            self.waited().errback(Failure(Unreachable(trouble)))
        self.assertEqual(self.looks, [], "the next look has its time")
        self.waited().callback(None)
        self.assertEqual((self.service.is_open, self.journal.begun, self.accounts.restored), (True, 1, 1))
        self.assertEqual(self.opening, ["begun", "begun", "done"])
        *waits, there, loaded = self.said()
        ending = ": waiting for it, and no client can log in before it is there"
        self.assertEqual(waits, [f"not there{ending}", f"it starts up{ending}"])
        self.assertTrue(there.endswith(f"is there, after {4 * 1.5 * LONGEST_WAIT:.0f} s"), there)
        self.assertEqual(loaded, "state loaded: 0 accounts")
        self.successResultOf(self.service.stopService())
        self.assertEqual((self.service.is_open, self.journal.ended), (False, 1))
        self.successResultOf(self.service.stopService())
        self.assertEqual(self.journal.ended, 1)

    def test_there_at_once(self) -> None:
        self.service.startService()
        self.assertEqual((self.service.is_open, self.said()), (True, ["state loaded: 0 accounts"]))

    def test_it_goes_again_before_it_is_opened(self) -> None:
        self.begin(Unreachable("not there"), Unreachable("gone again"))
        self.waited().callback(None)
        self.assertEqual((self.service.is_open, self.reactor.stops), (False, 0))
        self.waited().callback(None)
        self.assertTrue(self.service.is_open)

    def test_it_comes_and_is_none(self) -> None:
        for fault, why in ((StateError("of a later version"), "of a later version"), (OSError("odd"), None)):
            self.setUp()
            self.begin()
            self.waited().errback(Failure(fault))
            self.assertEqual((self.service.is_open, self.reactor.stops), (False, 1))
            self.assertEqual(self.at_exit, [service._exit_with_failure])
            self.assertEqual(self.reactor.getDelayedCalls(), [])
            self.assertEqual(self.said()[-1], f"{why or 'state cannot be opened'}; this proxy ends")
        self.assertEqual([type(error) for error in self.flushLoggedErrors(OSError)], [Failure])

    def test_stopped_meanwhile(self) -> None:
        for answer in (None, Failure(Unreachable("not there")), Failure(StateError("none"))):
            self.begin()
            self.reactor.advance(1.5 * LONGEST_WAIT)
            self.successResultOf(self.service.stopService())
            self.assertEqual(self.reactor.getDelayedCalls(), [])
            look = self.looks.pop()
            look.callback(None) if answer is None else look.errback(answer)
            self.assertEqual((self.journal.begun, self.reactor.stops, self.reactor.getDelayedCalls()), (0, 0, []))
            self.assertEqual(self.journal.ended, 0)

    def test_stopped_while_it_waits(self) -> None:
        self.begin()
        self.service.stopService()
        self.assertEqual(self.reactor.getDelayedCalls(), [])
