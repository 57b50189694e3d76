"""The opening of a WebSocket: one request, the time that it has, and its answer."""

from __future__ import annotations

from typing import Any, Protocol

from minimixproxy.c2s.websocket.forwarded import Address
from minimixproxy.c2s.websocket.handshake import Handshake, Outcome, Site, answer
from minimixproxy.logs.logger import Logger
from minimixproxy.timing.clock import Timer

HANDSHAKE_TIMEOUT = 20.0  # seconds from the connection to a whole request, TLS included
MAX_REASON = 300  # characters of the log on why a request is refused: it says what a stranger has written


class Port(Protocol):
    """Where the client has connected to."""

    @property
    def site(self) -> Site:
        """What is served there."""

    def admits(self, client: Address | None) -> bool:
        """Count a client that a reverse proxy forwards; False: its address has too many connections."""

    def forwards(self) -> bool:
        """Whether who connected is a reverse proxy, and says in the request's headers who the client is."""

    def opened(self) -> None:
        """The WebSocket is open: somebody is to handle the stream."""


class Answering(Protocol):
    """The connection that the request comes on."""

    @property
    def peer_name(self) -> str:
        """Who is at the other end, for the log."""

    def open(self, outcome: Outcome) -> None:
        """The request was for a WebSocket: what follows is frames."""

    def answer(self, response: bytes) -> None:
        """Send an answer of HTTP, and close."""


class Opening:
    """Reads the request. Until there is a stream, this handles it (`client_stream.Handler`)."""

    log = Logger()

    domain = ""  # none is named yet

    def __init__(self, connection: Answering, port: Port, timer: Timer) -> None:
        self._connection = connection
        self._handshake = Handshake(port.site, port.admits, port.forwards)
        timer.start(HANDSHAKE_TIMEOUT, self._too_slow)

    def take(self, data: bytes) -> None:
        """Take what came of the request."""
        outcome = self._handshake.feed(data)
        if outcome is None:
            return
        if outcome.refusal:
            address = str(outcome.client) if outcome.client else self._connection.peer_name
            self.log.info("no WebSocket for {address}: {reason}", address=address, reason=outcome.refusal[:MAX_REASON])
        if outcome.opened:
            self._connection.open(outcome)
        else:
            self._connection.answer(outcome.response)

    def _too_slow(self) -> None:
        self.log.info("no WebSocket for {address}: it sent no request in time", address=self._connection.peer_name)
        self._connection.answer(answer(408))

    def client_events(self, events: list[Any]) -> None:
        """None come."""

    def client_lost(self) -> None:
        """Nobody needs to know."""

    def close(self, condition: str, text: str = "") -> None:
        """Say that it is no good time, whether the request is whole or not: the service is about to end."""
        self._connection.answer(answer(503))
