"""The wire of a client that is gone: what still comes of it is nobody's."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.trial import unittest

from tests.c2s.helpers import HEADER, Lab


class GoneTests(unittest.TestCase):
    def test_what_comes_behind_the_end(self) -> None:
        """As of TLS, whose last records may be handed up when the connection is lost already."""
        client = Lab(Path(self.mktemp())).client()
        client.stream.connectionLost(Failure(ConnectionDone()))
        for data in (HEADER, b"garbage", b"</stream:stream>"):
            client.stream.dataReceived(data)
        self.assertEqual(client.wire.take(), b"")
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_a_fault_at_the_end(self) -> None:
        """It is gone all the same: the service's end waits for all clients."""
        lab = Lab(Path(self.mktemp()))
        client = lab.client()

        def fault() -> None:
            raise ZeroDivisionError

        self.patch(client.stream.handler, "client_lost", fault)
        with self.assertRaises(ZeroDivisionError):
            client.stream.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(len(lab.clients), 0)
