"""No more clients: begun, waited for, too late, undone."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.operator.drain import GRACE, HANDED_ON_WITHIN, LONGEST, Alone, Draining, HandsOn
from tests.operator.cases import CommandCase


class Doors:
    """The ports, and how many clients are there."""

    def __init__(self, clients: int) -> None:
        self.clients = clients
        self.open = True
        self.dismissed = 0
        self.fault = ""
        self._waiting: list[Deferred[None]] = []

    def close_ports(self) -> Deferred[None]:
        assert self.open
        self.open = False
        return succeed(None)

    def open_ports(self) -> None:
        if self.fault:
            raise CannotListenError("", 80, OSError(self.fault))
        assert not self.open
        self.open = True

    def connected(self) -> int:
        return self.clients

    def when_empty(self) -> Deferred[None]:
        empty: Deferred[None] = Deferred()
        self._waiting.append(empty)
        self.go(0)
        return empty

    def go(self, number: int) -> None:
        self.clients -= number
        if not self.clients:
            waiting, self._waiting = self._waiting, []
            for one in waiting:
                one.callback(None)

    def dismiss(self) -> None:
        self.dismissed += 1


class DrainingTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.doors = Doors(3)
        self.accounts: HandsOn = Alone()
        self.draining = Draining(self.doors, self.accounts, self.clock)

    def drain(self, timeout: object = 60, wait: bool = True) -> Deferred[dict[str, Any]]:
        return Deferred.fromCoroutine(self.draining.drain({"timeout": timeout, "wait": wait}))

    def test_all_go(self) -> None:
        waiting = self.drain()
        self.assertEqual((self.doors.open, self.draining.active), (False, True))
        (trouble,) = self.draining.troubles()
        self.assertIn("3 are still here", trouble.text)
        self.assertEqual(len(self.draining.reasons()), 1)
        self.doors.go(2)
        self.assertNoResult(waiting)
        self.doors.go(1)
        self.assertEqual(self.successResultOf(waiting), {"clients": 0, "dismissed": 0, "accounts": 0})
        self.clock.advance(1000)
        self.assertEqual(self.doors.dismissed, 0)
        self.assertTrue(self.draining.active, "until it is undone")

    def test_nobody_is_there(self) -> None:
        self.doors.clients = 0
        self.assertEqual(self.successResultOf(self.drain()), {"clients": 0, "dismissed": 0, "accounts": 0})

    def test_the_rest_is_told_to_go(self) -> None:
        waiting = self.drain(60)
        self.clock.advance(59)
        self.doors.go(1)
        self.assertEqual(self.doors.dismissed, 0)
        self.clock.advance(1)
        self.assertEqual(self.doors.dismissed, 1)
        self.doors.go(2)
        self.assertEqual(self.successResultOf(waiting), {"clients": 0, "dismissed": 2, "accounts": 0})

    def test_who_does_not_go_even_then(self) -> None:
        waiting = self.drain(0)
        self.clock.advance(0)
        self.assertEqual(self.doors.dismissed, 1)
        self.clock.advance(GRACE)
        self.assertEqual(self.successResultOf(waiting), {"clients": 3, "dismissed": 3, "accounts": 0})

    def test_without_waiting(self) -> None:
        self.assertEqual(self.successResultOf(self.drain(5, wait=False)), {"clients": 3, "dismissed": 0, "accounts": 0})
        self.clock.advance(5)
        self.assertEqual(self.doors.dismissed, 1)

    def test_again(self) -> None:
        """The last word on the time counts, and all who wait are answered."""
        first = self.drain(60)
        second = self.drain(10)
        self.clock.advance(10)
        self.assertEqual(self.doors.dismissed, 1)
        self.doors.go(3)
        for waiting in (first, second):
            self.assertEqual(self.successResultOf(waiting)["clients"], 0)

    def test_undone(self) -> None:
        waiting = self.drain(60)
        self.assertEqual(self.draining.undo({}), {"drained": True})
        self.assertIn("undone", self.successResultOf(waiting)["error"])
        self.assertEqual((self.doors.open, self.draining.troubles()), (True, []))
        self.assertEqual(self.draining.reasons(), [])
        self.clock.advance(1000)
        self.doors.go(3)
        self.assertEqual(self.doors.dismissed, 0)
        self.assertEqual(self.draining.undo({}), {"drained": False})
        self.doors.clients = 1
        self.assertNoResult(self.drain())

    def test_cannot_be_undone(self) -> None:
        self.successResultOf(self.drain(wait=False))
        self.doors.fault = "Permission denied"
        self.assertIn("Permission denied", self.draining.undo({})["error"])
        self.assertTrue(self.draining.active)
        self.doors.fault = ""
        self.assertEqual(self.draining.undo({}), {"drained": True})

    def test_refused(self) -> None:
        for timeout in (None, "5", -1, LONGEST + 1, True, float("nan")):
            self.assertIn("timeout: from 0", self.successResultOf(self.drain(timeout))["error"])
        self.assertTrue(self.doors.open)


class OfACluster:
    """Accounts that other processes take."""

    def __init__(self, left: int) -> None:
        self.left = left
        self.asked: list[str] = []
        self._waiting: list[Deferred[None]] = []

    def drain(self) -> None:
        self.asked.append("drain")

    def dismiss(self) -> None:
        self.asked.append("dismiss")

    def undrain(self) -> None:
        self.asked.append("undrain")

    def when_none_is_left(self) -> Deferred[None]:
        self._waiting.append(Deferred())
        gone = self._waiting[-1]
        self.go(0)
        return gone

    def go(self, number: int) -> None:
        self.left -= number
        if not self.left:
            waiting, self._waiting = self._waiting, []
            for one in waiting:
                one.callback(None)


class InAClusterTest(DrainingTest):
    """All of the same, and accounts go to other processes."""

    def setUp(self) -> None:
        super().setUp()
        self.some = OfACluster(0)
        self.accounts = self.some
        self.draining = Draining(self.doors, self.accounts, self.clock)

    def test_accounts_go_first(self) -> None:
        self.some.left = 5
        waiting = self.drain(60)
        self.doors.go(3)
        self.assertNoResult(waiting)
        self.assertEqual(self.some.asked, ["drain"])
        self.some.go(5)
        self.assertEqual(self.successResultOf(waiting), {"clients": 0, "dismissed": 0, "accounts": 0})

    def test_clients_are_told_to_go_with_their_accounts(self) -> None:
        """And those that have none, behind them."""
        self.some.left = 5
        waiting = self.drain(60)
        self.clock.advance(60)
        self.assertEqual((self.some.asked, self.doors.dismissed), (["drain", "dismiss"], 0))
        self.doors.go(2)
        self.some.go(5)
        self.assertEqual(self.doors.dismissed, 1)
        self.doors.go(1)
        self.assertEqual(self.successResultOf(waiting), {"clients": 0, "dismissed": 3, "accounts": 0})

    def test_some_do_not_go(self) -> None:
        """Nobody waits for ever, and clients of theirs are told to go all the same."""
        self.some.left = 5
        waiting = self.drain(0)
        self.clock.advance(0)
        self.clock.advance(HANDED_ON_WITHIN)
        self.assertEqual(self.doors.dismissed, 1)
        self.doors.go(3)
        self.assertNoResult(waiting)
        self.clock.advance(GRACE)
        self.assertEqual(self.successResultOf(waiting), {"clients": 0, "dismissed": 3, "accounts": 5})

    def test_undone_while_they_go(self) -> None:
        self.some.left = 5
        waiting = self.drain(0)
        self.clock.advance(0)
        self.draining.undo({})
        self.assertIn("undone", self.successResultOf(waiting)["error"])
        self.some.go(5)
        self.clock.advance(1000)
        self.assertEqual((self.doors.dismissed, self.some.asked), (0, ["drain", "dismiss", "undrain"]))


class CommandTest(CommandCase):
    def test_each(self) -> None:
        for arguments, request, answer, code, said in (
            (
                ["--timeout", "5"],
                {"request": "drain", "timeout": 5.0, "wait": True},
                {"clients": 0, "dismissed": 2},
                0,
                "no more clients are accepted; 0 are connected, 2 were told to go\n",
            ),
            (
                [],
                {"request": "drain", "timeout": 600.0, "wait": True},
                {"clients": 1, "dismissed": 1},
                1,
                "no more clients are accepted; 1 are connected, 1 were told to go\n",
            ),
            (
                ["--no-wait"],
                {"request": "drain", "timeout": 600.0, "wait": False},
                {"clients": 7, "dismissed": 0},
                0,
                "no more clients are accepted; 7 are connected\n",
            ),
            (
                ["--timeout", "0"],
                {"request": "drain", "timeout": 0.0, "wait": True},
                {"clients": 0, "dismissed": 1, "accounts": 5},
                1,
                "no more clients are accepted; 0 are connected, 1 were told to go; 5 accounts are still to go to other "
                "processes\n",
            ),
            (["--undo"], {"request": "undrain"}, {"drained": True}, 0, "clients are accepted again\n"),
            (["--undo"], {"request": "undrain"}, {"drained": False}, 0, "clients were accepted all the time\n"),
        ):
            self.serve(json.dumps(answer).encode() + b"\n")
            result = self.run_command("drain", "--config", str(self.file), *arguments)
            self.assertEqual(result, (code, said, ""), arguments)
            self.assertEqual(json.loads(self.requests.pop()), request)
            (self.directory / "control").unlink()
