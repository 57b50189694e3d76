"""Ports for tests: none twice, none that anything has, none from where outgoing connections have theirs."""

import socket
from itertools import islice
from pathlib import Path

from twisted.trial import unittest

from tests import other_process
from tests.integration import ports
from tests.integration.ports import RANGE, Ports, free_port, usable

ROOT = Path(__file__).resolve().parents[2]


class UsableTests(unittest.SynchronousTestCase):
    def test_outside_the_ephemeral_range(self) -> None:
        for ephemeral, expected in (
            ((32768, 60999), range(10000, 32768)),
            ((10000, 40000), range(40001, 65536)),
            ((1024, 65535), range(10000, 65536)),  # there is nothing else
        ):
            self.assertEqual(usable(ephemeral), expected)

    def test_of_this_machine(self) -> None:
        low, high = ports.ephemeral_range()
        if usable((low, high)) == range(10000, 65536):
            raise unittest.SkipTest("outgoing connections may have every port here")
        self.assertFalse(low <= free_port() <= high)


class PortsTests(unittest.SynchronousTestCase):
    def setUp(self) -> None:
        low = usable(ports.ephemeral_range()).start
        self.some = range(low, low + 40 * RANGE)

    def ports(self, some: range, start: int = 0) -> Ports:
        made = Ports(some, start)
        self.addCleanup(made.close)
        return made

    def test_none_twice(self) -> None:
        found = list(islice(self.ports(self.some), 3 * RANGE))
        self.assertEqual(len(set(found)), 3 * RANGE)
        self.assertLess(set(found), set(self.some))

    def test_two_at_once(self) -> None:
        one, other = (list(islice(self.ports(self.some), RANGE)) for _ in range(2))
        self.assertEqual(set(one) & set(other), set())

    def test_another_process(self) -> None:
        code = "from tests.integration.ports import Ports; import itertools, sys\n"
        code += f"made = Ports({self.some!r}, 0); print(*itertools.islice(made, 50), flush=True); sys.stdin.read()"
        process = other_process.start("-c", code)
        self.addCleanup(process.communicate)
        assert process.stdin is not None and process.stdout is not None
        theirs = {int(port) for port in process.stdout.readline().split()}
        ours = set(islice(self.ports(self.some), 50))
        self.assertEqual((len(theirs), theirs & ours), (50, set()))

    def test_what_is_in_use_is_left_out(self) -> None:
        first = next(iter(self.ports(self.some)))
        for address in ("127.0.0.1", "0.0.0.0"):
            made = iter(self.ports(self.some, 5))
            taken = next(made) + 1
            with socket.socket() as listening:
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listening.bind((address, taken))
                listening.listen()
                self.assertGreater(next(made), taken)
        self.assertIn(first, self.some)

    def test_no_more(self) -> None:
        few = range(self.some.start, self.some.start + 3 * RANGE)
        found: list[int] = []
        with self.assertRaises(RuntimeError):
            found.extend(iter(self.ports(few)))  # somebody else may have some of them
        self.assertLessEqual(len(found), 3 * (RANGE - 1))
        self.assertEqual(len(set(found)), len(found))

    def test_given_back(self) -> None:
        one = self.ports(self.some)
        first = next(iter(one))
        one.close()
        self.assertLess(next(iter(self.ports(self.some))) - first, RANGE)
