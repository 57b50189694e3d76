"""What `/metrics`, `/healthz` and `/readyz` say of a proxy that works for real clients on real servers."""

from __future__ import annotations

from tests.integration.cases import IntegrationTestCase, on_both_servers
from tests.integration.client import Client
from tests.integration.managedcase import ManagedCase
from tests.integration.proxy import Proxy
from tests.integration.servers import Account
from tests.integration.web import Numbers, ask, numbers, page

NS_MUC = "http://jabber.org/protocol/muc"
GET = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
#: What nobody should send, or not so.
HOSTILE = (
    b"",  # nothing at all
    b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX",  # and then nothing
    b"x" * 1_000_000,
    b"POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n" + b"x" * 100_000,
    b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 10_000,
    b"DELETE / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"Host: localhost\r\n" * 1000 + b"\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    GET * 10_000,
)


@on_both_servers
class MetricsTests(ManagedCase):
    async def begin(self) -> Proxy:
        self.behind = self.own_proxy(web=True)
        self.alice = await self.account("alice")
        self.bob = await self.client(await self.account("bob"), "desk", direct=True)
        self.place = self.room()
        await self.joins(self.bob, "bob")
        return self.behind

    async def joins(self, client: Client, nick: str) -> None:
        client.send(f"<presence to='{self.place}/{nick}'><x xmlns='{NS_MUC}'/></presence>")
        await client.expect("<message type='groupchat'><subject/></message>")

    async def says(self, client: Client, body: str, *listeners: Client) -> None:
        client.send(f"<message to='{self.place}' type='groupchat'><body>{body}</body></message>")
        for listener in (client, *listeners):
            await listener.expect(f"<message type='groupchat'><body>{body}</body></message>")

    async def kick(self, *devices: Client) -> None:
        item = f"<query xmlns='{NS_MUC}#admin'><item nick='alice' role='none'/></query>"
        await self.bob.iq("set", self.place, item)
        for device in devices:
            await device.expect(f"<presence from='{self.place}/alice' type='unavailable'/>")

    async def refused(self, account: Account) -> None:
        guess = await self.connect(proxy=self.behind)
        await guess.open()
        await guess.starttls()
        await guess.open()
        reply = await guess.authenticate(account.username, "wrong")
        self.assertEqual(reply.element.name, "failure")
        await guess.close()

    async def comes_and_goes(self, proxy: Proxy) -> None:
        """A client whose connection is cut, and one that comes back to its session."""
        cut = await self.client(await self.account("carol"), "cut", proxy=proxy)
        cut.drop()
        await proxy.process.says(f"session of {cut.jid} ends")
        tablet = await self.device(await self.account("dave"), "tablet")
        tablet.drop()
        await proxy.process.says("sleeps: its client is gone")
        self.assertTrue(await tablet.resume())

    @property
    def entrance(self) -> int:
        """Where devices connect to."""
        return self.behind.port

    async def test_a_known_sequence(self) -> None:
        """Logins, a refused one, joins, messages, a kick, a cut connection, one that is resumed."""
        proxy = await self.begin()
        await self.refused(self.alice)
        devices = phone, laptop = [await self.client(self.alice, name, proxy=proxy) for name in ("phone", "laptop")]
        for device in devices:
            await self.joins(device, "alice")
        for body in ("one", "two", "three"):
            await self.says(self.bob, body, *devices)
        await self.says(phone, "four", laptop, self.bob)
        await self.kick(*devices)
        await self.comes_and_goes(proxy)
        self.counted(await numbers(proxy))
        self.assertEqual(await page(proxy, "/healthz"), (200, "ok\n"))
        self.assertEqual(await page(proxy, "/readyz"), (200, "ready\n"))

    def counted(self, seen: Numbers) -> None:
        for name, value in (
            (("logins_total", "PLAIN", "success"), 5),  # the one that is resumed logs in twice
            (("logins_total", "PLAIN", "not-authorized"), 1),
            (("forked_copies_total", "message"), 8),
            (("received_stanzas_total", "message", "client"), 1),
            (("occupancy_changes_total", "removed", "ended"), 1),
            (("occupancy_changes_total", "join", "joining"), 1),
            (("resumptions_total", "success", "client"), 1),
            (("resumptions_total", "failure", "client"), 0),
            (("client_connections",), 3),
            (("sessions", "connected"), 3),
            (("sessions", "sleeping"), 0),
            (("occupancies", "joined"), 0),
            (("stanzas_dropped_total", "fault"), 0),
            (("journal_durable",), 1),
            (("ready",), 1),
            (("tls_handshakes_total", "client", "success"), 6),
            (("tls_handshakes_total", "client", "failure"), 0),
        ):
            self.assertEqual(seen[name], value, name)
        self.assertGreaterEqual(seen["received_stanzas_total", "message", "account"], 4)
        self.assertGreater(seen["xml_bytes_total", "sent", "client"], seen["xml_bytes_total", "received", "client"])

    async def test_hostile_requests_cost_nobody_anything(self) -> None:
        """Of each kind several, and they stay: a room is talked in, and the site answers who asks."""
        proxy = await self.begin()
        phone = await self.client(self.alice, "phone", proxy=proxy)
        await self.joins(phone, "alice")
        asking = [await ask(proxy, words) for words in HOSTILE for _ in range(10)]
        await self.says(self.bob, "is it slow?", phone)
        await self.says(phone, "no", self.bob)
        self.assertEqual(await page(proxy, "/readyz"), (200, "ready\n"))
        seen = await numbers(proxy)
        self.assertLessEqual(seen["scrape_seconds_count",], 5)  # of 100,000 that were asked for
        said = [one.said for one in asking]
        self.assertFalse([words for words in said if b"Traceback" in words or b"evil" in words])
        self.assertLessEqual(max(words.count(b"HTTP/1.1 ") for words in said), 1)


class NotReadyTests(IntegrationTestCase):
    async def test_no_server(self) -> None:
        """The process lives, and clients had better go elsewhere."""
        proxy = self.own_proxy(web=True, domain={"upstream": "tcp:127.0.0.1:1"})
        await proxy.process.says("offers before a login is not known")
        self.assertEqual(await page(proxy, "/healthz"), (200, "ok\n"))
        domain = self.server.domain
        self.assertEqual(await page(proxy, "/readyz"), (503, f"not ready: no server can be reached: {domain}\n"))
        self.assertEqual((await numbers(proxy))["ready",], 0)
