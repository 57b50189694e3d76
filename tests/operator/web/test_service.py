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
from twisted.internet.endpoints import TCP4ClientEndpoint, clientFromString, connectProtocol, wrapClientTLS
from twisted.internet.protocol import Protocol
from twisted.internet.ssl import optionsForClientTLS
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from minimixproxy.c2s.transport.certificates import self_signed
from minimixproxy.c2s.transport.tls import trust_root
from minimixproxy.config.settings import Web
from minimixproxy.operator.readiness import Readiness
from minimixproxy.operator.web import site
from minimixproxy.operator.web.service import WebService
from minimixproxy.operator.web.watched import Watched
from tests.log_events import log_events

GET = b"GET /healthz HTTP/1.0\r\n\r\n"
SLOW = b"GET /slow HTTP/1.0\r\n\r\n"
WITH_HEADER = b"PROXY TCP4 192.0.2.1 192.0.2.9 1234 5290\r\n"


class Slow(Resource):
    """A page that is never made. `asked` fires when somebody asks for it."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.asked: Deferred[None] = Deferred()

    def render(self, request: Any) -> int:
        self.asked.callback(None)
        return NOT_DONE_YET


class Asking(Protocol):
    def __init__(self, request: bytes = GET) -> None:
        self.request = request
        self.data = b""
        self.done: Deferred[bytes] = Deferred()

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self.request)

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

    async def test_no_place(self) -> None:
        """Who is idle makes room; while all wait for answers nobody is let in; also by what Twisted wraps."""
        certificate, key = self_signed("localhost", self.directory)
        tcp = "tcp:0:interface=127.0.0.1"
        own = f"ssl:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}"
        self.patch(site, "MAX_CONNECTIONS", 1)
        for endpoint in (tcp, f"haproxy:{tcp}", own, f"haproxy:{own}"):
            service, slow = self.service(endpoint), Slow()
            service.put(b"slow", slow)
            header = WITH_HEADER if endpoint.startswith("haproxy") else b""
            place: Any = TCP4ClientEndpoint(reactor, "127.0.0.1", service._port.getHost().port)
            if "ssl:" in endpoint:
                place = wrapClientTLS(optionsForClientTLS("localhost", trust_root(certificate)), place)
            idle: Asking = await connectProtocol(place, Asking(header))
            waiting: Asking = await connectProtocol(place, Asking(header + SLOW))
            self.assertEqual(await idle.done, b"")
            await slow.asked
            refused: Asking = await connectProtocol(place, Asking(header + GET))
            self.assertEqual((await refused.done, waiting.done.called), (b"", False), endpoint)
            self.assertEqual(self.flushLoggedErrors(), [], endpoint)
            await service.stopService()
            await waiting.done

    async def test_systemd_without_systemd(self) -> None:
        self.patch(os, "environ", {**os.environ, "LISTEN_FDS": "0", "LISTEN_PID": "1"})
        events = log_events(self)
        self.service("tcp:0:interface=192.0.2.1")
        self.assertTrue(any("cannot listen" in str(event.get("log_format")) for event in events))
