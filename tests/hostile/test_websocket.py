"""Attacks through WebSocket: each is closed with the right code, and somebody else at the proxy does not notice."""

from __future__ import annotations

import zlib
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from tests.c2s.websocket.lab import framed
from tests.c2s.websocket.test_handshake import REFUSED as REFUSED_REQUESTS
from tests.integration import websocket
from tests.integration.cases import IntegrationTestCase, on_both_servers
from tests.integration.managedcase import enter, hear, say
from tests.integration.servers import Account
from tests.integration.websocket import WebSocketClient

MILLION = 1_000_000
BOMB = zlib.compress(b"<message/>" * 10_000_000, 9)
STANZA = b"<message to='nobody@localhost'><body>x</body></message>"
#: What is sent, and the code with which it is answered; the same before and after login.
ATTACKS: dict[str, tuple[bytes, int]] = {
    "not masked": (b"\x81\x0b<presence/>", 1002),
    "masked by its header, and not in fact": (b"\x81\x8bkeys<presence/>", 1008),
    "a compressed bomb": (b"\xc1" + framed(BOMB)[1:], 1002),
    "a reserved opcode": (framed(STANZA, opcode=7), 1002),
    "a binary message": (framed(STANZA, opcode=2), 1003),
    "not UTF-8": (framed(b"<message><body>\xc3\x28</body></message>"), 1007),
    "half a character": (framed(b"<body>\xe2\x82", final=False) + framed(b"</body>", opcode=0), 1007),
    "fragments without end": (framed(b"<", final=False) + framed(b"", opcode=0, final=False) * 20_000, 1008),
    "fragments that are too much": (
        framed(b"<" + b"x" * 65_000, final=False) + framed(b"x" * 65_000, opcode=0, final=False) * 5,
        1009,
    ),
    "a frame of exabytes": (b"\x81\xff\x7f" + b"\xff" * 7 + b"keys" + b"W" * 300_000, 1009),
    "a large message": (framed(b"<message><body>" + b"x" * 300_000 + b"</body></message>"), 1009),
    "a message within a message": (framed(b"<mess", final=False) + framed(b"age/>"), 1002),
    "a fragment of nothing": (framed(b"age/>", opcode=0), 1002),
    "a million pings": (framed(b"", opcode=9) * MILLION, 1008),
    "pongs that nobody asked for": (framed(b"", opcode=10) * 20_000, 1008),
    "a large ping": (framed(b"x" * 126, opcode=9), 1002),
    "a goodbye that is none": (framed(b"x", opcode=8), 1002),
    "two stanzas in one": (framed(STANZA + STANZA), 1008),
    "half a stanza": (framed(STANZA[:20]), 1008),
    "the other half": (framed(STANZA[20:]), 1008),
    "text": (framed(b"hello"), 1008),
    "entities": (framed(b"<!DOCTYPE m [<!ENTITY a 'aa'>]><m>&a;</m>"), 1008),
    "a stream within": (framed(b"<stream:stream xmlns:stream='http://etherx.jabber.org/streams'>"), 1008),
    "a header again": (
        framed(b"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='localhost' version='1.0'/>"),
        1008,
    ),
}


class Raw(Protocol):
    """A connection by hand."""

    def __init__(self) -> None:
        self.got = b""
        self.gone: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.got += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.gone.callback(None)


@on_both_servers
class WebSocketAttackTests(IntegrationTestCase):
    timeout = 180

    async def somebody(self) -> tuple[WebSocketClient, Any, str]:
        """Somebody in a room by WebSocket, with somebody else."""
        alice, bob, room = await self.account("alice"), await self.account("bob"), self.room()
        other = await self.client(bob, "desk", direct=True)
        await enter(other, room, "bob")
        form = "<x xmlns='jabber:x:data' type='submit'/>"
        await self.succeeds(other, room, f"<query xmlns='http://jabber.org/protocol/muc#owner'>{form}</query>")
        tab = await self.opened("tab")
        await tab.login(alice, "tab")
        await tab.online()
        await enter(tab, room, "alice")
        return tab, other, room

    async def opened(self, label: str) -> WebSocketClient:
        client = await websocket.connect(self.proxy.websocket_port, self.server.domain, label=label)
        self._clients.append(client)
        return client

    async def unharmed(self, tab: WebSocketClient, other: Any, room: str, text: str) -> None:
        tab.ping(text.encode())
        say(other, room, text, "groupchat")
        await hear(tab, text)
        await tab.until(lambda: tab.pongs[-1:] == [text.encode()], "a pong")

    async def mallory(self, name: str, account: Account | None) -> WebSocketClient:
        """Somebody before the login, or after it."""
        mallory = await self.opened(f"mallory: {name}")
        if account is None:
            await mallory.open()
        else:
            await mallory.login(account)
        return mallory

    async def attack(self, name: str, mallory: WebSocketClient) -> None:
        data, code = ATTACKS[name]
        mallory.send_raw(data)
        await mallory.until_lost(120)
        self.assertEqual(mallory.closed_with, code, f"{name}\n{mallory.transcript()[:3000]}")

    async def test_frames_and_messages(self) -> None:
        tab, other, room = await self.somebody()
        account = await self.account("mallory")
        for who in (None, account):
            mallories = {name: await self.mallory(name, who) for name in ATTACKS}  # one after the other: of one account
            attacks = [Deferred.fromCoroutine(self.attack(name, mallory)) for name, mallory in mallories.items()]
            await self.unharmed(tab, other, room, f"meanwhile {who}")
            await gatherResults(attacks, consumeErrors=True)
            await self.unharmed(tab, other, room, f"afterwards {who}")
        await tab.close()
        self.assertEqual(tab.closed_with, 1000)

    async def test_requests(self) -> None:
        """Each is answered once, and closed: behind it there is no other, for a reverse proxy would not see that."""
        tab, other, room = await self.somebody()
        endpoint = websocket.endpoint(self.proxy.websocket_port, self.server.domain)
        waiting = [await connectProtocol(endpoint, Raw()) for _ in range(50)]
        for raw in waiting:  # slow handshakes
            raw.transport.write(b"GET /xmpp-websocket HTTP/1.1\r\nHost: ")
        for name, (data, _status) in REFUSED_REQUESTS.items():
            raw = await connectProtocol(endpoint, Raw())
            raw.transport.write(data.replace(b" /ws ", b" /xmpp-websocket "))
            await raw.gone
            self.assertEqual(raw.got.count(b"HTTP/1.1 "), 1, name)
            self.assertNotIn(b"HTTP/1.1 101", raw.got, name)
            self.assertNotIn(b"HTTP/1.1 200", raw.got, name)
        await self.unharmed(tab, other, room, "there")
        for raw in waiting:
            self.assertEqual(raw.got, b"")
            raw.transport.abortConnection()
            await raw.gone
