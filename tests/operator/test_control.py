"""The control socket: requests and answers line by line, its bounds, and the file itself."""

import json
import os
import shutil
import socket
import stat
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial import unittest

from minimixproxy.operator import control


class Refusal(RuntimeError):
    """What an answer may raise."""


def fail(_request: "dict[str, Any]") -> "dict[str, Any]":
    raise Refusal("of the test")


async def stopped(service: control.ControlService) -> None:
    """End a service that has a port."""
    port_closed = service.stopService()
    assert port_closed is not None
    await port_closed


class ProtocolTests(unittest.SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.factory = control.ControlFactory({"echo": lambda request: {"echo": request}, "fail": fail})

    def connect(self) -> "tuple[control.Control, StringTransport]":
        connection: object = self.factory.buildProtocol(None)
        assert isinstance(connection, control.Control)
        self.patch(connection, "callLater", self.clock.callLater)
        transport = StringTransport()
        connection.makeConnection(transport)
        return connection, transport

    def say(self, *data: bytes) -> "tuple[list[Any], StringTransport]":
        connection, transport = self.connect()
        for part in data:
            connection.dataReceived(part)
        self.addCleanup(connection.connectionLost)
        return [json.loads(line) for line in transport.value().splitlines()], transport

    def test_an_answer_may_take_longer_than_a_connection_may_be_idle(self) -> None:
        done: Deferred[dict[str, Any]] = Deferred()
        self.factory = control.ControlFactory({"wait": lambda _request: done})
        connection, transport = self.connect()
        connection.dataReceived(b'{"request": "wait"}\n')
        self.clock.advance(control.TIMEOUT + 1)
        self.assertFalse(transport.disconnecting)
        done.callback({"said": 1})
        self.assertEqual(transport.value(), b'{"said": 1}\n')
        self.clock.advance(control.TIMEOUT)
        self.assertTrue(transport.disconnecting)

    def test_gone_before_the_answer(self) -> None:
        done: Deferred[dict[str, Any]] = Deferred()
        self.factory = control.ControlFactory({"wait": lambda _request: done})
        connection, _transport = self.connect()
        connection.dataReceived(b'{"request": "wait"}\n')
        connection.connectionLost()
        done.callback({"said": 1})
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_that_does_not_read(self) -> None:
        """A goodbye would wait for it behind the answer, and hold its place for as long."""
        connection, transport = self.connect()
        connection.dataReceived(b'{"request": "echo"}\n')
        self.clock.advance(control.TIMEOUT)
        self.assertTrue(transport.disconnected)

    def test_request(self) -> None:
        answers, transport = self.say(b'{"request": "echo", "more": 1}\n')
        self.assertEqual(answers, [{"echo": {"request": "echo", "more": 1}}])
        self.assertEqual(transport.value().count(b"\n"), 1)

    def test_in_pieces_and_several(self) -> None:
        answers, _transport = self.say(b'{"requ', b'est": "echo"}\n{"request":', b' "echo"}\n')
        self.assertEqual(answers, [{"echo": {"request": "echo"}}] * 2)

    def test_not_understood(self) -> None:
        for line, error in (
            (b"status", "a request is a line of JSON"),
            (b"\xff", "a request is a line of JSON"),
            (b"[" * 4000, "a request is a line of JSON"),
            (b"[]", "a request is an object"),
            (b"{}", "a request is one of: echo, fail"),
            (b'{"request": ["echo"]}', "a request is one of: echo, fail"),
        ):
            answers, transport = self.say(line + b"\n")
            self.assertEqual(answers, [{"error": error}], line)
            self.assertFalse(transport.disconnecting)

    def test_our_own_fault(self) -> None:
        answers, _transport = self.say(b'{"request": "fail"}\n{"request": "echo"}\n')
        self.assertEqual(answers, [{"error": "internal error: see the log"}, {"echo": {"request": "echo"}}])
        self.assertEqual(len(self.flushLoggedErrors(Refusal)), 1)

    def test_one_that_takes_time(self) -> None:
        """Others on this connection are to wait for it; elsewhere nobody does."""
        later: Deferred[dict[str, Any]] = Deferred()
        self.factory._answers = {"later": lambda _request: later, **self.factory._answers}
        connection, transport = self.connect()
        self.addCleanup(connection.connectionLost)
        connection.dataReceived(b'{"request": "later"}\n{"request": "echo"}\n')
        self.assertEqual(json.loads(transport.value()), {"error": "one request after the other"})
        self.assertEqual(self.say(b'{"request": "echo"}\n')[0], [{"echo": {"request": "echo"}}])
        transport.clear()
        later.callback({"done": True})
        connection.dataReceived(b'{"request": "echo"}\n')
        answers = [json.loads(line) for line in transport.value().splitlines()]
        self.assertEqual(answers, [{"done": True}, {"echo": {"request": "echo"}}])

    def test_one_that_takes_time_and_fails(self) -> None:
        later: Deferred[dict[str, Any]] = Deferred()
        self.factory._answers = {"later": lambda _request: later}
        connection, _transport = self.connect()
        connection.dataReceived(b'{"request": "later"}\n')
        connection.connectionLost()
        later.errback(Refusal("of the test"))
        self.assertEqual(len(self.flushLoggedErrors(Refusal)), 1)

    def test_too_long(self) -> None:
        for data in (b"x" * (control.MAX_REQUEST + 2), b"x" * (control.MAX_REQUEST + 1) + b"\n"):
            answers, transport = self.say(data)
            self.assertEqual(answers, [{"error": f"a request has at most {control.MAX_REQUEST} bytes"}])
            self.assertTrue(transport.disconnecting)

    def test_silent(self) -> None:
        connection, transport = self.connect()
        self.clock.advance(control.TIMEOUT - 1)
        connection.dataReceived(b'{"request": "echo"}\n')
        self.clock.advance(control.TIMEOUT - 1)
        self.assertFalse(transport.disconnecting)
        self.clock.advance(1)
        self.assertTrue(transport.disconnecting)
        connection.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_gone(self) -> None:
        """Nothing is left of who goes, whatever they were waiting for."""
        connection, _transport = self.connect()
        connection.dataReceived(b'{"request"')
        connection.connectionLost(Failure(ConnectionDone()))
        self.assertEqual((self.clock.getDelayedCalls(), self.factory.connections), ([], set()))

    def test_too_many(self) -> None:
        first, _transport = self.connect()
        for _number in range(control.MAX_CONNECTIONS - 1):
            self.connect()
        refused, transport = self.connect()
        self.assertEqual(json.loads(transport.value()), {"error": "too many connections"})
        self.assertTrue(transport.disconnecting)
        refused.connectionLost()
        first.connectionLost()
        _accepted, transport = self.connect()
        self.assertFalse(transport.disconnecting)


class Asker(Protocol):
    def __init__(self) -> None:
        self.received = b""
        self.lost: Deferred[None] = Deferred()
        self.line: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        if self.received.endswith(b"\n"):
            self.line.callback(self.received)

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008
        self.lost.callback(None)


class ServiceTests(unittest.TestCase):
    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp())  # short: a socket's path has 107 bytes at most
        self.addCleanup(shutil.rmtree, self.directory)
        self.path = self.directory / "control"
        self.service = control.ControlService(self.directory, {"hello": lambda _request: {"hello": 1}}, reactor)

    async def asked(self) -> "tuple[Asker, Any]":
        asker = await connectProtocol(UNIXClientEndpoint(reactor, str(self.path)), Asker())
        asker.transport.write(b'{"request": "hello"}\n')
        return asker, json.loads(await asker.line)

    async def test_socket(self) -> None:
        self.service.startService()
        self.assertTrue(self.service.running)
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        asker, answer = await self.asked()
        self.assertEqual(answer, {"hello": 1})
        await stopped(self.service)
        await asker.lost
        self.assertEqual((self.service.running, list(self.directory.iterdir())), (0, []))

    def test_nobody_else_s_at_any_time(self) -> None:
        """Twisted sets the mode behind the binding; whoever connects in between would be heard."""
        bound: list[int] = []

        def listen(path: str, _factory: object, **_more: object) -> None:
            with socket.socket(socket.AF_UNIX) as listening:
                listening.bind(path)
            bound.append(stat.S_IMODE(self.path.stat().st_mode))

        self.patch(reactor, "listenUNIX", listen)
        self.addCleanup(os.umask, os.umask(0o022))
        self.service.startService()
        self.assertEqual((bound, os.umask(0o022)), ([0o600], 0o022))

    async def test_left_over_socket(self) -> None:
        killed = socket.socket(socket.AF_UNIX)
        killed.bind(str(self.path))
        killed.close()
        self.service.startService()
        asker, answer = await self.asked()
        self.assertEqual(answer, {"hello": 1})
        await stopped(self.service)
        await asker.lost

    def test_something_else_in_its_place(self) -> None:
        self.path.write_text("precious")
        self.service.startService()
        self.assertEqual(self.path.read_text(), "precious")
        self.assertIsNone(self.service.stopService())

    def test_no_place_for_a_socket(self) -> None:
        """The proxy does its work without."""
        for directory in (self.directory / "missing", self.directory / ("x" * 200)):
            service = control.ControlService(directory, {}, reactor)
            service.startService()
            self.assertIsNone(service.stopService())
