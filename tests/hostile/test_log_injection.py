"""A name is no line of the log, whoever gives it, and no terminal obeys it."""

import base64

from tests.integration.cases import IntegrationTestCase, on_both_servers
from tests.integration.client import NS_SASL, Client
from tests.integration.proxy import Proxy
from tests.integration.servers import Account

FAKE = "2026-01-01T00:00:00+0000 [minimixproxy#info] account stream open: victim"
NAMES = (
    "\x1b[2J\x1b]0;owned\x07",
    f"a\n{FAKE}",
    f"a\r{FAKE}",
    f"a\x85{FAKE}\u2028{FAKE}\u2029{FAKE}",
    "\u202etxt.exe",
    "a\x0b\x0c\x08\x08\x08b",
    "a from 192.0.2.1 refused: not-authorized",
    "x" * 1000,
)


@on_both_servers
class LogInjectionTests(IntegrationTestCase):
    timeout = 120

    async def test_before_login(self) -> None:
        proxy = self.own_proxy(limits={"failed_logins": 1000})
        for name in NAMES:
            client = await self.connect(proxy=proxy)
            await client.open()
            await client.starttls()
            await client.open()
            message = base64.b64encode(f"\0{name}\0guess".encode()).decode()
            client.send(f"<auth xmlns='{NS_SASL}' mechanism='PLAIN'>{message}</auth>")
            await client.expect(f"<failure xmlns='{NS_SASL}'/>", timeout=30.0)
        await self._check(proxy, "failed login from 127.0.0.1 as ")

    async def test_in_a_session(self) -> None:
        """Resources and nicks, as far as the server lets them through, and addresses that are none."""
        proxy = self.own_proxy()
        account, room = await self.account(), self.room()
        for resource in ("a\u202eb", "a\u2028b", "a from 192.0.2.1 refused: not-authorized", "\u200b\u200bx"):
            client = await self.connect(proxy=proxy)
            await self._bound(client, account, resource)
            client.send(f"<presence to='{room}/{resource}'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
            client.send(f"<iq type='get' id='1' to='{resource}@{resource}'><ping xmlns='urn:xmpp:ping'/></iq>")
            client.send("<a></b>")
            await client.until_lost()
        await self._check(proxy, "session of")

    async def _bound(self, client: Client, account: Account, resource: str) -> None:
        try:
            await client.login(account, resource)
        except AssertionError:  # the server takes no such resource
            await client.bind()

    async def _check(self, proxy: Proxy, wanted: str) -> None:
        await self.log_is_read(proxy)
        log = proxy.log
        self.assertTrue([line for line in log if wanted in line])
        for line in log:
            self.assertTrue(line.replace("\t", "").isprintable(), repr(line))
            self.assertFalse(line.startswith(FAKE[:20]), line)
            self.assertNotIn(" a from 192.0.2.1 refused", line)
            self.assertLess(len(line), 2000)
