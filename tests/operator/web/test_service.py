"""Where the site listens, and what happens if it cannot."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.trial.unittest import TestCase

from minimixproxy.config.settings import Web
from minimixproxy.operator.readiness import Readiness
from minimixproxy.operator.web.service import WebService
from minimixproxy.operator.web.watched import Watched
from tests.log_events import log_events

GET = b"GET /healthz HTTP/1.0\r\n\r\n"


class Asking(Protocol):
    def __init__(self) -> None:
        self.data = b""
        self.done: Deferred[bytes] = Deferred()

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(GET)

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Any = None) -> None:
        self.done.callback(self.data)


class ListeningTests(TestCase):
    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.directory)
        self.path = self.directory / "web"

    def service(self, endpoint: str) -> WebService:
        service = WebService(Web(endpoint=endpoint), Watched(), Readiness(), reactor)
        service.startService()
        self.addCleanup(service.stopService)
        return service

    async def asked(self, endpoint: str) -> bytes:
        asking: Asking = await connectProtocol(clientFromString(reactor, endpoint), Asking())
        return await asking.done

    async def test_unix(self) -> None:
        """Its owner's from the beginning: there is no moment in which others may connect."""
        modes: list[int] = []
        chmod = os.chmod

        def noted(path: str, mode: int) -> None:
            modes.append(os.stat(path).st_mode)
            chmod(path, mode)

        self.patch(os, "chmod", noted)
        self.service(f"unix:{self.path}")
        self.assertEqual([stat.S_IMODE(mode) & 0o077 for mode in modes], [0])
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        self.assertIn(b"200 OK", await self.asked(f"unix:{self.path}"))

    async def test_mode(self) -> None:
        self.service(f"unix:{self.path}:mode=660")
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o660)

    async def test_stopped(self) -> None:
        service = self.service(f"unix:{self.path}")
        connection = await connectProtocol(clientFromString(reactor, f"unix:{self.path}"), Asking())
        await connection.done
        await service.stopService()
        self.assertFalse(self.path.exists())

    async def test_cannot_listen(self) -> None:
        """It is told, in a line, and nothing else fails."""
        events = log_events(self)
        self.service(f"unix:{self.directory}/missing/web")
        errors = [event for event in events if "cannot listen" in str(event.get("log_format"))]
        self.assertEqual(len(errors), 1)
        self.assertEqual(self.flushLoggedErrors(), [])

    async def test_systemd_without_systemd(self) -> None:
        self.patch(os, "environ", {**os.environ, "LISTEN_FDS": "0", "LISTEN_PID": "1"})
        events = log_events(self)
        self.service("tcp:0:interface=192.0.2.1")
        self.assertTrue(any("cannot listen" in str(event.get("log_format")) for event in events))
