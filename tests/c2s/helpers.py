"""What the tests of the client-to-server part share: certificates, in-memory connections, stub accounts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.test import iosim

from minimixproxy.c2s.certificates import self_signed
from minimixproxy.c2s.connection import SecurableConnection
from minimixproxy.config import Domain


def certified(name: str, directory: Path, **settings: Any) -> Domain:
    """A domain whose certificate is made in `directory`."""
    certificate, private_key = self_signed(name, directory)
    return Domain(name=name, certificate=certificate, private_key=private_key, **settings)


class Recorder(Protocol):
    """Keeps what arrives, and why it ended."""

    def __init__(self) -> None:
        self.received = b""
        self.reason: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.reason = reason


def connected(client: Protocol, server: Protocol) -> iosim.IOPump:
    """Join two protocols in memory; `pump.flush()` carries what they wrote."""
    return iosim.connect(
        server,
        iosim.FakeTransport(server, isServer=True),
        client,
        iosim.FakeTransport(client, isServer=False),
    )


def secured_pair(
    client_tls: TLSMemoryBIOFactory, server_tls: TLSMemoryBIOFactory
) -> tuple[Recorder, Recorder, iosim.IOPump]:
    """Two recorders that talk TLS, as far as they can agree."""
    uppers = (Recorder(), Recorder())
    client, server = (SecurableConnection(upper) for upper in uppers)
    pump = connected(client, server)
    server.start_tls(server_tls)
    client.start_tls(client_tls)
    pump.flush()
    return (*uppers, pump)
