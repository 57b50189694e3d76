"""WebSockets behind HAProxy and nginx that are set up as docs/websocket.md says. One server is enough."""

from __future__ import annotations

import contextlib
import json
import re
from typing import ClassVar

from twisted.internet.endpoints import connectProtocol
from twisted.internet.error import ConnectError

from minimixproxy.c2s.websocket import liveness
from tests.integration import websocket
from tests.integration.managedcase import enter, hear, say
from tests.integration.ports import free_port
from tests.integration.processes import temporary_directory
from tests.integration.proxy import Proxy
from tests.integration.reverse_proxies import (
    CLIENT,
    TRUSTED,
    CachingNginx,
    HAProxy,
    Nginx,
    ReverseProxy,
    websocket_table,
)
from tests.integration.servers import in_path
from tests.integration.test_websocket import AS_IT_IS, WebSocketTestCase
from tests.integration.web import Asking

LOOK_EVERY = 0.5  # seconds instead of 25, where nginx gives up after 8 instead of 60
HURRIED = f"from minimixproxy.c2s.websocket import liveness\nliveness.LOOK_EVERY = {LOOK_EVERY}\n"


class ReverseProxyTestCase(WebSocketTestCase):
    reverse_proxy: ClassVar[type[ReverseProxy]]
    package: ClassVar[str]

    def setUp(self) -> None:
        super().setUp()
        self.need(None if in_path(self.reverse_proxy.program()) else self.package)

    async def page(
        self, path: str, port: int, *headers: str, tls: bool = True, source: str = CLIENT, host: str = ""
    ) -> tuple[bytes, bytes]:
        """Head and body of an answer, when the connection is closed."""
        lines = [f"GET {path} HTTP/1.1", f"Host: {host or self.server.domain}", "Connection: close", *headers, "", ""]
        page = Asking("\r\n".join(lines).encode())
        await connectProtocol(websocket.endpoint(port, self.server.domain, tls=tls, source=source), page)
        head, _, body = (await page.lost).partition(b"\r\n\r\n")
        return head, body


class BehindHAProxyTests(ReverseProxyTestCase):
    """What each reverse proxy has to do; by HAProxy here."""

    reverse_proxy: ClassVar[type[ReverseProxy]] = HAProxy
    package: ClassVar[str] = "haproxy"

    async def behind(self, **settings: str) -> tuple[Proxy, int, ReverseProxy]:
        """A proxy, its plain port, and the reverse proxy before it."""
        plain = free_port()
        proxy = self.own_proxy(websocket=[websocket_table(plain)], environment=settings or None)
        await proxy.process.says(rf"starting on {plain}\b")
        front = self.reverse_proxy(self.server.domain, plain)
        self.addCleanup(front.process.stop)
        return proxy, plain, front

    async def test_login_and_talk(self) -> None:
        proxy, _plain, front = await self.behind()
        alice, bob, room = await self.account("alice"), await self.account("bob"), self.room()
        spoofed = [("Origin", websocket.ORIGIN), ("X-Forwarded-For", "203.0.113.9")]
        tab = await self.browser(alice, "tab", front.port, source=CLIENT, headers=spoofed)
        await proxy.process.says(rf"session of {alice.jid} begins, from {CLIENT}$")
        await enter(tab, room, "alice")
        await self.succeeds(tab, room, AS_IT_IS)
        other = await self.client(bob, "desk", direct=True)
        await enter(other, room, "bob")
        for sender, body in ((other, "through a reverse proxy"), (tab, "x" * 70_000)):
            say(sender, room, body, "groupchat")
            for client in (tab, other):
                await hear(client, body)
        tab.ping(b"there?")
        await tab.until(lambda: tab.pongs == [b"there?"], "a pong")
        await tab.close()
        self.assertEqual(tab.closed_with, 1000)
        self.assertTrue(tab.stream_closed)

    async def test_pages_of_strangers_and_host_meta(self) -> None:
        _proxy, _plain, front = await self.behind()
        evil = [("Origin", "https://evil.example")]
        stranger = await websocket.begin(front.port, self.server.domain, source=CLIENT, headers=evil)
        await stranger.until(lambda: stranger.rejected is not None, "an answer")  # HAProxy waits for another request
        stranger.drop()
        self.assertEqual(stranger.rejected, 403)
        url = f"wss://{self.server.domain}/xmpp-websocket"
        head, body = await self.page("/.well-known/host-meta.json", front.port)
        self.assertIn(b" 200 ", head.partition(b"\r\n")[0])
        self.assertIn(b"access-control-allow-origin: *", head.lower())
        link = {"rel": "urn:xmpp:alt-connections:websocket", "href": url}
        self.assertEqual(json.loads(body), {"links": [link]})
        forged = ("X-Forwarded-Host: evil.example", "Forwarded: for=203.0.113.9;host=evil.example")
        head, body = await self.page("/.well-known/host-meta", front.port, *forged)
        self.assertIn(url.encode(), body)
        self.assertNotIn(b"private", head, "no client can have said the host by a header of its own")

    async def test_who_may_forward(self) -> None:
        """A reverse proxy is believed whom it forwards, and whether that one came by TLS; a stranger is cut."""
        proxy, plain, _front = await self.behind()
        bob = await self.account("bob")
        named = [("X-Forwarded-For", "192.0.2.7"), ("X-Forwarded-Proto", "https")]
        await self.browser(bob, "named", plain, tls=False, source=TRUSTED, headers=named)
        await proxy.process.says(rf"session of {bob.jid} begins, from 192.0.2.7$")
        unsafe = [("X-Forwarded-Proto", "http"), ("X-Forwarded-For", "192.0.2.8")]
        refused = await websocket.begin(plain, self.server.domain, tls=False, source=TRUSTED, headers=unsafe)
        await refused.until_lost()
        self.assertEqual(refused.rejected, 403)
        await proxy.process.says("no WebSocket for 192.0.2.8: the client came to the reverse proxy without TLS")
        with contextlib.suppress(ConnectError):  # so soon it may be cut
            stranger = await websocket.begin(plain, self.server.domain, tls=False, source=CLIENT, headers=named)
            await stranger.until_lost()
        await proxy.process.says(f"WebSocket: {CLIENT} is not among trusted_proxies, and is refused")
        head, _body = await self.page("/", plain, tls=False, source=TRUSTED)
        self.assertIn(b" 404 ", head.partition(b"\r\n")[0])


class BehindNginxTests(BehindHAProxyTests):
    reverse_proxy: ClassVar[type[ReverseProxy]] = Nginx
    package: ClassVar[str] = "nginx-light"

    async def test_idle_for_longer_than_nginx_waits(self) -> None:
        """Pings keep the connection; without them `proxy_read_timeout` ends it."""
        self.assertLess(LOOK_EVERY, liveness.LOOK_EVERY)  # it is set where it is used
        library = temporary_directory("hurried")
        (library / "sitecustomize.py").write_text(HURRIED)
        _proxy, _plain, front = await self.behind(PYTHONPATH=str(library))
        assert isinstance(front, Nginx)
        tab = await self.browser(await self.account(), "tab", front.port, source=CLIENT)
        first = tab.pings
        idle = first + 2 + int(front.PATIENCE / LOOK_EVERY)  # pings that take longer than that together
        await tab.until(lambda: tab.pings >= idle, "pings")
        await tab.barrier()
        hasty = await websocket.begin(front.short, self.server.domain, source=CLIENT)
        await hasty.until_lost()


class BehindCacheTests(ReverseProxyTestCase):
    """What one client asks for is not what others are told, though the cache is set up carelessly."""

    reverse_proxy: ClassVar[type[ReverseProxy]] = CachingNginx
    package: ClassVar[str] = "nginx-light"

    async def test_host_meta(self) -> None:
        plain = free_port()
        proxy = self.own_proxy(websocket=[{**websocket_table(plain), "url": "wss://{host}/xmpp-websocket"}])
        await proxy.process.says(rf"starting on {plain}\b")
        front = self.reverse_proxy(self.server.domain, plain)
        self.addCleanup(front.process.stop)
        domain = self.server.domain

        async def told(*headers: str, host: str = "") -> tuple[str, str]:
            """Where the WebSocket is, and whether that was in the cache."""
            head, body = await self.page("/.well-known/host-meta.json", front.port, *headers, host=host)
            cached = re.search(rb"X-Cache: (\w+)", head)
            assert cached is not None, head
            links = json.loads(body)["links"] if b" 200 " in head else [{"href": ""}]
            return links[0]["href"].removesuffix("/xmpp-websocket"), cached[1].decode()

        forged = (f"X-Forwarded-Host: {domain}:666", f"Forwarded: host={domain}:666", "X-Forwarded-Host: evil.example")
        kept = "MISS"
        for header, url in zip(forged, (f"wss://{domain}:666", f"wss://{domain}:666", ""), strict=True):
            self.assertEqual(await told(header), (url, "MISS"))
            self.assertEqual(await told(), (f"wss://{domain}", kept))
            self.assertEqual(await told(header), (url, "MISS"))
            kept = "HIT"
        self.assertEqual(await told(host=f"{domain}:666"), (f"wss://{domain}:666", "MISS"))
        self.assertEqual(await told(forged[0]), (f"wss://{domain}:666", "MISS"))
        self.assertEqual(await told(), (f"wss://{domain}", "HIT"))
