"""Hostile and broken clients cost only themselves."""

import base64
import contextlib  # not its suppress by name: trial reads an attribute of that name
import itertools
import os
import random
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import ConnectError
from twisted.internet.threads import deferToThread

from tests.integration import client as raw
from tests.integration.cases import IntegrationTestCase, on_both_servers
from tests.integration.client import NS_SASL, NS_TLS, Client
from tests.integration.proxy import Proxy
from tests.patience import patiently

HEAD = (
    "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='{domain}' version='1.0'>"
)
LARGE = "x" * 300_000  # above the default limit of 256 KiB
BARRIERS = 50  # behind which all is settled on an idle machine
PLAIN = f"<auth xmlns='{NS_SASL}' mechanism='PLAIN'>"

# What is sent instead of a stream header, and the stream error that answers it.
NO_STREAM: dict[str, tuple[str | bytes, str]] = {
    "noise": (bytes(range(1, 256)), "not-well-formed"),
    "zero bytes": (bytes(100), "not-well-formed"),
    "HTTP": ("GET / HTTP/1.1\r\nHost: example.org\r\n\r\n", "not-well-formed"),
    "TLS": (bytes.fromhex("16030100c8010000c40303") + bytes(200), "not-well-formed"),
    "invalid UTF-8": (b"<stream:stream a='\xff\xfe'>", "not-well-formed"),
    "UTF-16": ("<?xml version='1.0'?>".encode("utf-16"), "unsupported-encoding"),
    "UTF-16 without its mark": (HEAD.encode("utf-16-be"), "unsupported-encoding"),
    "a document type": ("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "restricted-xml"),
    "a processing instruction": ("<?php echo 1 ?>" + HEAD, "restricted-xml"),
    "a comment": ("<!-- hello -->" + HEAD, "restricted-xml"),
    "a header without end": ("<stream:stream a='" + LARGE, "policy-violation"),
    "another root": ("<a xmlns='urn:x:a'>", "invalid-namespace"),
    "another stream namespace": (HEAD.replace("etherx", "other"), "invalid-namespace"),
    "a server's stream": (HEAD.replace("jabber:client", "jabber:server"), "invalid-namespace"),
    "another domain": (HEAD.replace("{domain}", "elsewhere.example"), "host-unknown"),
    "no domain": (HEAD.replace("to='{domain}'", ""), "improper-addressing"),
}
# What is sent within a stream, before authentication.
NOT_AUTHENTICATED: dict[str, tuple[str | bytes, str]] = {
    "not well-formed": ("<a></b>", "not-well-formed"),
    "an undeclared prefix": ("<a:b/>", "not-well-formed"),
    "an undefined entity": ("<a>&nbsp;</a>", "restricted-xml"),
    "a forbidden character": (b"<a>\x00</a>", "not-well-formed"),
    "a comment": ("<!-- hello -->", "restricted-xml"),
    "a stanza without end": ("<message><body>" + LARGE, "policy-violation"),
    "a large stanza": (f"<message><body>{LARGE}</body></message>", "policy-violation"),
    "a million attributes": (
        "<message " + " ".join(f"a{number}=''" for number in range(1_000_000)),
        "policy-violation",
    ),
    "deep nesting": ("<a>" * 5000, "policy-violation"),
    "text between stanzas": ("hello", "bad-format"),
    "a message": ("<message to='a@b'><body>early</body></message>", "not-authorized"),
    "a bind": ("<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>", "not-authorized"),
}
# What is sent once logged in and bound.
BOUND: dict[str, tuple[str | bytes, str]] = {
    "not well-formed": ("<a></b>", "not-well-formed"),
    "an undeclared prefix": ("<message to='a@b'><a:b/></message>", "not-well-formed"),
    "a comment": ("<message><!-- hello --></message>", "restricted-xml"),
    "a stanza without end": ("<message><body>" + LARGE, "policy-violation"),
}
# What is answered by a failure or an error, and the stream goes on.
FAILURES = {
    "an unknown mechanism": (f"<auth xmlns='{NS_SASL}' mechanism='X-NONE'>AA==</auth>", "invalid-mechanism"),
    "no base64": (PLAIN + "!!!</auth>", "incorrect-encoding"),
    "nothing in it": (PLAIN + "=</auth>", "malformed-request"),
    "no password": (PLAIN + base64.b64encode(b"\0alice").decode() + "</auth>", "malformed-request"),
    "not UTF-8": (PLAIN + base64.b64encode(b"\0\xff\xfe\0x").decode() + "</auth>", "malformed-request"),
    "another identity": (PLAIN + base64.b64encode(b"bob@x\0alice\0x").decode() + "</auth>", "invalid-authzid"),
    "a nameprepped nothing": (PLAIN + base64.b64encode("\0\u00ad\0x".encode()).decode() + "</auth>", "not-authorized"),
    "a very long password": (
        PLAIN + base64.b64encode(b"\0alice\0" + b"x" * 40_000).decode() + "</auth>",
        "malformed-request",
    ),
    "abort": (f"<auth xmlns='{NS_SASL}' mechanism='PLAIN'/><abort xmlns='{NS_SASL}'/>", "aborted"),
}
LONG = "x" * 1100
INVALID_ADDRESSES = ("@", "a@", "a b@{domain}", f"{LONG}@{{domain}}", "a@{domain}/" + LONG, "\u2260 \u0007", "a@b@c/d")


class HostileCase(IntegrationTestCase):
    async def _secured(self, proxy: Proxy | None = None) -> Client:
        client = await self.connect(proxy=proxy)
        await client.open()
        await client.starttls()
        await client.open()
        return client

    async def _before_a_handshake(self, proxy: Proxy) -> Client:
        client = await self.connect(proxy=proxy)
        await client.open()
        client.send(f"<starttls xmlns='{NS_TLS}'/>")
        await client.expect(f"<proceed xmlns='{NS_TLS}'/>")
        return client

    async def _before_direct_tls(self, proxy: Proxy) -> Client:
        client = await raw.connect(proxy.direct_tls_port, self.server.domain)
        self._clients.append(client)
        return client

    async def _spoil(self, client: Client) -> None:
        client.dataReceived = lambda data: None  # type: ignore[method-assign]  # a TLS alert
        client.send("no handshake at all" * 10)
        await client.until_lost()

    def _fill(self, data: str | bytes) -> str | bytes:
        return data.replace("{domain}", self.server.domain) if isinstance(data, str) else data

    async def _ends(self, client: Client, data: str | bytes, condition: str, name: str) -> None:
        """Send it; the stream must end with that error."""
        client.label = name
        client.send(self._fill(data))
        await client.expect_close(condition)


class BeforeLoginTests(HostileCase):
    """No server is involved yet: one is enough."""

    async def test_no_stream(self) -> None:
        for name, (data, condition) in NO_STREAM.items():
            await self._ends(await self.connect(), data, condition, name)

    async def test_no_stream_within_tls(self) -> None:
        for name, (data, condition) in NO_STREAM.items():
            await self._ends(await self.connect(direct_tls=True), data, condition, name)

    async def test_not_authenticated(self) -> None:
        for name, (data, condition) in NOT_AUTHENTICATED.items():
            client = await self.connect()
            await client.open()
            await self._ends(client, data, condition, name)

    async def test_not_authenticated_within_tls(self) -> None:
        for name, (data, condition) in NOT_AUTHENTICATED.items():
            await self._ends(await self._secured(), data, condition, name)

    async def test_password_without_tls(self) -> None:
        """It is not even looked at."""
        client = await self.connect()
        await client.open()
        client.send(PLAIN + base64.b64encode(b"\0alice\0secret").decode() + "</auth>")
        await client.expect(f"<failure xmlns='{NS_SASL}'><encryption-required/></failure>")

    async def test_failures(self) -> None:
        for name, (data, condition) in FAILURES.items():
            client = await self._secured()
            client.label = name
            client.send(data)
            await client.expect(f"<failure xmlns='{NS_SASL}'><{condition}/></failure>")

    async def test_bytes_smuggled_before_tls(self) -> None:
        """What comes in one packet with <starttls/> must not be taken for something said within TLS."""
        client = await self.connect()
        await client.open()
        client.send(f"<starttls xmlns='{NS_TLS}'/>" + HEAD.replace("{domain}", self.server.domain))
        await client.expect(f"<proceed xmlns='{NS_TLS}'/>")
        client.secure()
        await client.open()
        self.assertEqual(len(client.headers), 2, client.transcript())

    async def test_garbage_instead_of_a_handshake(self) -> None:
        for begin in (self._before_a_handshake, self._before_direct_tls):
            start = len(self.proxy.process.lines)
            await self._spoil(await begin(self.proxy))
            await self.proxy.process.says(r"TLS with the client at 127\.0\.0\.1:\d+ failed", start=start)

    async def test_silence(self) -> None:
        """Whoever does not authenticate in time is shown out, however far they came."""
        within = patiently(1.0)  # of connecting, TLS and all that is said here are to be done on a busy machine, too
        proxy = self.own_proxy(limits={"authentication_timeout": within})
        silent = await self.connect(proxy=proxy)
        silent_tls = await self.connect(proxy=proxy, direct_tls=True)
        opened = await self.connect(proxy=proxy)
        await opened.open()
        secured = await self._secured(proxy)
        await opened.expect_close("connection-timeout")
        await secured.expect_close("connection-timeout")
        await silent.until_lost()
        await silent_tls.until_lost()

    async def test_too_many_connections_of_one_address(self) -> None:
        proxy = self.own_proxy(limits={"connections_per_address": 3})
        kept = [await self.connect(proxy=proxy) for _number in range(3)]
        for client in kept:
            await client.open()
        with contextlib.suppress(ConnectError):  # the end may come before the connection is reported
            refused = await self.connect(proxy=proxy)
            await refused.until_lost()
        kept[0].drop()
        await kept[0].until_lost()
        await kept[1].close()  # by now the proxy has seen the end of the first
        await (await self.connect(proxy=proxy)).open()


@on_both_servers
class BoundTests(HostileCase):
    async def test_broken_streams(self) -> None:
        for name, (data, condition) in BOUND.items():
            await self._ends(await self.client(), data, condition, name)

    async def test_a_room_survives_a_broken_stream_of_another_device(self) -> None:
        account, room = await self.account(), self.room()
        phone, laptop = await self.client(account, "phone"), await self.client(account, "laptop")
        for client in (phone, laptop):
            client.send(f"<presence to='{room}/alice'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
            await client.expect(f"<message from='{room}' type='groupchat'><subject/></message>")
        for name, (data, condition) in BOUND.items():
            device = await self.client(account, "tablet")
            device.send(f"<presence to='{room}/alice'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
            await device.expect(f"<message from='{room}' type='groupchat'><subject/></message>")
            # within a stanza that would go to the room
            start = f"<message to='{room}' type='groupchat'>".encode()
            broken = data.encode() if isinstance(data, str) else data
            await self._ends(device, start + broken, condition, name)
        laptop.send(f"<message to='{room}' type='groupchat'><body>still here</body></message>")
        await phone.expect(f"<message from='{room}/alice'><body>still here</body></message>")

    async def test_from_of_somebody_else(self) -> None:
        """In a room: the account stream must not carry it. Elsewhere it is for the server to refuse."""
        account, room = await self.account(), self.room()
        phone = await self.client(account, "phone")
        phone.send(f"<presence to='{room}/alice'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
        await phone.expect(f"<message from='{room}' type='groupchat'><subject/></message>")
        phone.send(f"<message to='{room}' from='bob@{self.server.domain}/x' type='groupchat'><body>1</body></message>")
        second = await self.client(account, "laptop")
        second.send(f"<presence to='{room}/alice'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
        await second.expect(f"<message from='{room}' type='groupchat'><subject/></message>")
        second.send(f"<message to='{room}' type='groupchat'><body>2</body></message>")
        await second.expect(f"<message from='{room}/alice' type='groupchat'><body>2</body></message>")

    async def test_invalid_addresses(self) -> None:
        account, room = await self.account(), self.room()
        phone = await self.client(account, "phone")
        phone.send(f"<presence to='{room}/alice'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
        await phone.expect(f"<message from='{room}' type='groupchat'><subject/></message>")
        for number, address in enumerate(INVALID_ADDRESSES):
            to = str(self._fill(address)).replace("\u0007", "")
            client = await self.client(account, "tablet")
            client.send(f"<iq type='get' id='bad{number}' to='{to}'><ping xmlns='urn:xmpp:ping'/></iq>")
            client.send(f"<presence to='{to}'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
            client.drop()
        phone.send(f"<message to='{room}' type='groupchat'><body>still here</body></message>")
        await phone.expect(f"<message from='{room}/alice'><body>still here</body></message>")

    async def test_answers_nobody_asked_for(self) -> None:
        account, room = await self.account(), self.room()
        phone = await self.client(account, "phone")
        phone.send(f"<presence to='{room}/alice'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
        await phone.expect(f"<message from='{room}' type='groupchat'><subject/></message>")
        for to in (room, f"{room}/alice", self.server.domain):
            phone.send(f"<iq type='result' id='none' to='{to}'/>")
            phone.send(
                f"<iq type='error' id='none' to='{to}'><error type='cancel'>"
                "<item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
            )
            phone.send(
                f"<message type='error' to='{to}'><error type='cancel'>"
                "<item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>"
            )
        phone.send(f"<message to='{room}' type='groupchat'><body>still here</body></message>")
        await phone.expect(f"<message from='{room}/alice'><body>still here</body></message>")

    async def test_too_many_rooms(self) -> None:
        proxy = self.own_proxy(rooms={"max_rooms": 3})
        phone = await self.client(await self.account(), "phone", proxy=proxy)
        rooms = [self.room() for _number in range(4)]
        for room in rooms:
            phone.send(f"<presence id='j' to='{room}/alice'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
        for room in rooms[:3]:
            await phone.expect(f"<message from='{room}' type='groupchat'><subject/></message>")
        await phone.expect(
            f"<presence type='error' id='j' from='{rooms[3]}/alice'><error type='wait'>"
            "<resource-constraint xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>"
        )


class LeakTests(HostileCase):
    """A thousand broken connections leave nothing behind."""

    timeout = 180
    number = 1000
    at_once = 40

    async def test_file_descriptors_and_memory(self) -> None:
        proxy = self.own_proxy()
        bystander = await self.client(proxy=proxy)
        await self._attack(proxy, 200)  # memory that is allocated once
        descriptors, memory = await self._settled(proxy, bystander, None)
        await self._attack(proxy, self.number)
        after, memory_after = await self._settled(proxy, bystander, descriptors)
        self.assertEqual(after, descriptors)
        self.assertLess(memory_after - memory, 12 * 1024, f"KiB more than {memory} before")
        self.assertIsNone(bystander.lost, bystander.transcript())

    async def _attack(self, proxy: Proxy, number: int) -> None:
        order = random.Random(number)
        kinds = [
            *(self._hang_up, self._broken, self._broken_within_tls, self._failing, self._half_open),
            *(self._no_handshake, self._no_direct_handshake),
        ]
        for begin in range(0, number, self.at_once):
            batch = [order.choice(kinds)(proxy, order) for _ in range(min(self.at_once, number - begin))]
            await gatherResults([Deferred.fromCoroutine(one) for one in batch], consumeErrors=True)
            self._clients = [client for client in self._clients if client.lost is None]

    async def _hang_up(self, proxy: Proxy, order: random.Random) -> None:
        client = await self.connect(proxy=proxy, direct_tls=order.random() < 0.3)
        client.drop()
        await client.until_lost()

    async def _half_open(self, proxy: Proxy, order: random.Random) -> None:
        """Gone in the middle of something."""
        client = await self.connect(proxy=proxy)
        client.send(HEAD.replace("{domain}", self.server.domain)[: order.randrange(1, 80)])
        client.drop()
        await client.until_lost()

    async def _broken(self, proxy: Proxy, order: random.Random) -> None:
        client = await self.connect(proxy=proxy)
        opened = order.random() < 0.5
        if opened:
            await client.open()
        data, _condition = order.choice(list((NOT_AUTHENTICATED if opened else NO_STREAM).values()))
        client.send(self._fill(data))
        await client.until_lost()

    async def _broken_within_tls(self, proxy: Proxy, order: random.Random) -> None:
        client = await self._secured(proxy)
        data, _condition = order.choice(list(NOT_AUTHENTICATED.values()))
        client.send(data)
        await client.until_lost()

    async def _no_handshake(self, proxy: Proxy, _order: random.Random) -> None:
        await self._spoil(await self._before_a_handshake(proxy))

    async def _no_direct_handshake(self, proxy: Proxy, _order: random.Random) -> None:
        await self._spoil(await self._before_direct_tls(proxy))

    async def _failing(self, proxy: Proxy, order: random.Random) -> None:
        client = await self._secured(proxy)
        # wrong passwords are answered ever later, those are not for here
        data, _condition = order.choice([entry for entry in FAILURES.values() if entry[1] != "not-authorized"])
        client.send(data)
        await client.expect(f"<failure xmlns='{NS_SASL}'/>")
        client.drop()
        await client.until_lost()

    async def _settled(self, proxy: Proxy, bystander: Client, wanted: int | None) -> tuple[int, int]:
        """File descriptors and resident memory (KiB) once the ends of connections are dealt with."""
        end = reactor.seconds() + patiently(10.0)
        for tries in itertools.count(1):
            await bystander.barrier()
            descriptors = len(os.listdir(f"/proc/{proxy.process.pid}/fd"))
            if descriptors == wanted or (tries >= BARRIERS and (wanted is None or reactor.seconds() > end)):
                break
        return descriptors, await deferToThread(_resident, proxy.process.pid)


def _resident(pid: int) -> int:
    """Resident memory of a process in KiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")


del HostileCase  # else trial would collect it
