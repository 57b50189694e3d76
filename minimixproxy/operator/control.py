"""The control socket: a UNIX socket in the directory of state by which the operator asks a running proxy.

A request is one line of JSON, such as {"request": "status"}; so is its answer. The socket is its owner's only (and
root's).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineOnlyReceiver
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure

from minimixproxy.logs.logger import Logger
from minimixproxy.unix_sockets import listen_alone

NAME = "control"

MAX_REQUEST = 64 * 1024  # bytes
MAX_CONNECTIONS = 16
TIMEOUT = 30.0  # seconds that a connection may be idle

#: Answers a request, as it came, with an object of what JSON has, now or later.
Answer = Callable[[dict[str, Any]], "dict[str, Any] | Deferred[dict[str, Any]]"]


class BadRequest(Exception):
    """A request that is not understood; `str()` says why."""


class Control(LineOnlyReceiver, TimeoutMixin):
    """One connection of the operator's."""

    log = Logger()

    delimiter = b"\n"
    MAX_LENGTH = MAX_REQUEST
    transport: Any
    factory: ControlFactory
    _answering = False  # a request that takes time

    def connectionMade(self) -> None:
        self.setTimeout(TIMEOUT)
        if len(self.factory.connections) >= MAX_CONNECTIONS:
            self._say({"error": "too many connections"})
            self.transport.loseConnection()
        else:
            self.factory.connections.add(self)

    def timeoutConnection(self) -> None:
        self.transport.abortConnection()  # who does not read would never be said goodbye to

    def connectionLost(self, _reason: object = None) -> None:
        self.connected = 0  # Twisted leaves that to us; an answer may still come
        self.setTimeout(None)
        self.factory.connections.discard(self)

    def lineReceived(self, line: bytes) -> None:
        self.resetTimeout()
        if self._answering:
            self._say({"error": "one request after the other"})
            return
        self._answering = True
        self.setTimeout(None)  # each answer has an end of its own
        answering: Deferred[dict[str, Any]] = maybeDeferred(self._answer, line)
        answering.addErrback(self._failed)
        answering.addCallback(self._answered)

    def _answer(self, line: bytes) -> Any:
        request = _request(line)
        return self.factory.answer_to(request)(request)

    def _failed(self, failure: Failure) -> dict[str, Any]:
        if isinstance(failure.value, BadRequest):
            return {"error": str(failure.value)}
        self.log.failure("while answering on the control socket", failure)
        return {"error": "internal error: see the log"}

    def _answered(self, answer: dict[str, Any]) -> None:
        self._answering = False
        if self.connected:
            self.setTimeout(TIMEOUT)
        self._say(answer)

    def lineLengthExceeded(self, _line: bytes) -> None:
        self._say({"error": f"a request has at most {MAX_REQUEST} bytes"})
        self.transport.loseConnection()

    def _say(self, answer: dict[str, Any]) -> None:
        self.sendLine(json.dumps(answer).encode())


def _request(line: bytes) -> dict[str, Any]:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadRequest("a request is a line of JSON") from error
    if not isinstance(request, dict):
        raise BadRequest("a request is an object")
    return request


class ControlFactory(Factory):
    """Makes `Control`s, and knows those that are connected."""

    protocol = Control  # type: ignore[assignment]
    noisy = False

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        self._answers = answers
        self.connections: set[Control] = set()

    def answer_to(self, request: dict[str, Any]) -> Answer:
        """Return what answers a request. Raises `BadRequest`."""
        answer = self._answers.get(str(request.get("request")))
        if answer is None:
            raise BadRequest(f"a request is one of: {', '.join(self._answers)}")
        return answer


class ControlService(Service):
    """Listens on the socket `NAME` in a directory, which this process must have locked (see `exclusive`).

    `answers`: what answers a request, by its name.
    """

    log = Logger()

    def __init__(self, directory: Path, answers: Mapping[str, Answer], reactor: Any) -> None:
        self._path = directory / NAME
        self._factory = ControlFactory(answers)
        self._reactor = reactor
        self._port: Any = None

    def startService(self) -> None:
        """Listen. A proxy that cannot tell its status works all the same, so an obstacle is only logged."""
        super().startService()
        try:
            self._port = listen_alone(self._reactor, self._path, self._factory)
        except (OSError, CannotListenError) as error:
            self.log.error("no status can be asked for on {path}: {error}", path=str(self._path), error=error)

    def stopService(self) -> Deferred[None] | None:
        """Listen no more, and drop who is connected."""
        super().stopService()
        for connection in list(self._factory.connections):
            connection.transport.abortConnection()
        port, self._port = self._port, None
        stopped: Deferred[None] | None = port.stopListening() if port is not None else None
        return stopped
