"""The server sees clients' own addresses: told by the PROXY protocol, in its sessions, its log and its limits.

ejabberd speaks the protocol itself. Prosody's `mod_net_proxy` is in no Debian package: there a relay checks the header.
"""

import re
from pathlib import Path

from tests.integration import client as raw
from tests.integration.cases import IntegrationTestCase, on_both_servers
from tests.integration.client import NS_SASL, Client
from tests.integration.ejabberd import Ejabberd
from tests.integration.header_relay import HeaderRelay
from tests.integration.ports import free_port
from tests.integration.proxy import Proxy
from tests.integration.servers import Account

JOIN = "<presence to='{}'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
REGISTER = "<query xmlns='jabber:iq:register'><username>{}</username><password>secret</password></query>"


class TellingCase(IntegrationTestCase):
    timeout = 120

    async def device(self, account: Account, resource: str, source: str, proxy: Proxy, port: int = 0) -> Client:
        """A client logged in from an address of loopback."""
        client = await self.from_address(source, proxy, port)
        await client.login(account, resource)
        return client

    async def from_address(self, source: str, proxy: Proxy, port: int = 0) -> Client:
        client = await raw.connect(port or proxy.port, self.server.domain, source=source, label=source)
        self._clients.append(client)
        return client

    async def secured(self, source: str, proxy: Proxy) -> Client:
        """A client within TLS that has not logged in."""
        client = await self.from_address(source, proxy)
        await client.open()
        await client.starttls()
        await client.open()
        return client

    async def resources(self, account: Account) -> dict[str, str]:
        """The account's sessions at the server: by resource, the address that it sees."""
        raise NotImplementedError

    async def check_seen(self, proxy: Proxy) -> None:
        """Two devices, and the account stream of their rooms, which is the proxy's own."""
        account, room = await self.account(), self.room()
        phone = await self.device(account, "phone", "127.0.0.77", proxy)
        await self.device(account, "laptop", "127.0.0.78", proxy)
        phone.send(JOIN.format(f"{room}/alice"))
        await phone.expect(f"<message from='{room}' type='groupchat'><subject/></message>")
        seen = await self.resources(account)
        (streams,) = (name for name in seen if name.startswith("minimix"))
        self.assertEqual(seen, {"phone": "127.0.0.77", "laptop": "127.0.0.78", streams: "127.0.0.1"})
        await proxy.process.says(rf"session of {account.jid} begins, from 127\.0\.0\.77:\d+$")
        phone.drop()
        await proxy.process.says(rf"session of {account.jid}/phone ends, from 127\.0\.0\.77:\d+$")

    async def register(self, source: str, proxy: Proxy) -> str:
        """Make an account in band; return its name."""
        client = await self.secured(source, proxy)
        name = f"new{(await self.account()).username}"
        await self.succeeds(client, None, REGISTER.format(name))
        await client.close()
        return name


class ToldEjabberd(Ejabberd):
    """Its ports for clients expect the PROXY protocol; so does a UNIX socket. It bans by address."""

    name = "told-ejabberd"

    @property
    def socket(self) -> Path:
        return self.directory / "c2s"

    def configuration(self, certificate: Path) -> str:
        text = super().configuration(certificate)
        text = text.replace("module: ejabberd_c2s\n", "module: ejabberd_c2s\n    use_proxy_protocol: true\n")
        one, end, rest = text.partition("    starttls_required: true\n")
        listener = one.partition("listen:\n")[2] + end
        listener = listener.replace(f"port: {self.port}\n", f'port: "unix:{self.socket}"\n')
        listener = listener.replace('    ip: "127.0.0.1"\n', "")
        rest = rest.replace("modules:\n", "modules:\n  mod_fail2ban:\n    c2s_max_auth_failures: 2\n")
        return one + end + listener + rest


class ToldEjabberdTests(TellingCase):
    kind = ToldEjabberd

    async def resources(self, account: Account) -> dict[str, str]:
        user = f'<<"{account.username}">>, <<"{account.domain}">>'
        names = await self.server.evaluate(f"ejabberd_sm:get_user_resources({user})")
        return {name: await self.address(account, name) for name in re.findall(r'<<"([^"]*)">>', names)}

    async def address(self, account: Account, resource: str) -> str:
        session = f'<<"{account.username}">>, <<"{account.domain}">>, <<"{resource}">>'
        answer = await self.server.evaluate(f"inet:ntoa(element(1, ejabberd_sm:get_user_ip({session})))")
        return answer.strip('"')

    def told(self, upstream: str = "") -> Proxy:
        domain = {"upstream_proxy_protocol": True, **({"upstream": upstream} if upstream else {})}
        return self.own_proxy(domain=domain, limits={"failed_logins": 1000})

    async def test_in_its_sessions_and_its_log(self) -> None:
        start = len(self.server.process.lines)
        await self.check_seen(self.told())
        log = self.server.process
        await log.says(r"Accepted proxied connection 127\.0\.0\.77:\d+ -> ", start=start)
        await log.says(r"Accepted c2s \S+ authentication for \S+ by \w+ backend from 127\.0\.0\.77", start=start)

    async def test_on_a_unix_socket(self) -> None:
        """There the proxy has no address of its own, and the connection no ends."""
        assert isinstance(self.server, ToldEjabberd)
        proxy = self.told(f"unix:{self.server.socket}")
        account, room = await self.account(), self.room()
        phone = await self.device(account, "phone", "127.0.0.77", proxy)
        phone.send(JOIN.format(f"{room}/alice"))
        await phone.expect(f"<message from='{room}' type='groupchat'><subject/></message>")
        self.assertEqual(await self.address(account, "phone"), "127.0.0.77")

    async def test_ipv6(self) -> None:
        port = free_port()
        proxy = self.own_proxy(
            listen=[{"endpoint": f"tcp6:{port}:interface=\\:\\:"}], domain={"upstream_proxy_protocol": True}
        )
        await proxy.process.says(rf"starting on {port}\b")
        account = await self.account()
        await self.device(account, "six", "::1", proxy, port)
        await self.device(account, "four", "127.0.0.77", proxy, port)  # to IPv6, it comes from ::ffff:127.0.0.77
        self.assertEqual(await self.address(account, "six"), "::1")
        self.assertEqual(await self.address(account, "four"), "127.0.0.77")

    async def test_registration(self) -> None:
        start = len(self.server.process.lines)
        name = await self.register("127.0.0.79", self.told())
        await self.server.process.says(rf"{name}@\S+ was registered from IP address 127\.0\.0\.79", start=start)

    async def test_it_bans_the_guesser_and_nobody_else(self) -> None:
        """The limit is ejabberd's: without the header the proxy's address is banned, and with it all clients are."""
        proxy, account = self.told(), await self.account()
        owner = await self.device(account, "phone", "127.0.0.81", proxy)
        guesser = await self.secured("127.0.0.80", proxy)
        answers = [await self.guess(guesser, account) for _ in range(3)]
        self.assertEqual((answers[0], answers[2]), ("not-authorized", "temporary-auth-failure"))
        late = await self.secured("127.0.0.80", proxy)
        reply = await late.authenticate(account.username, account.password)
        self.assertEqual(next(reply.element.elements()).name, "temporary-auth-failure")
        await owner.barrier()
        await self.device(account, "laptop", "127.0.0.81", proxy)
        self.assertNotIn("upstream_proxy_protocol is on", "\n".join(proxy.log), "that is not what is wrong")

    async def guess(self, client: Client, account: Account) -> str:
        reply = await client.authenticate(account.username, "guess")
        return str(next(reply.element.elements()).name)


class ToldProsodyTests(TellingCase):
    async def told(self) -> tuple[Proxy, HeaderRelay]:
        relay = HeaderRelay(self.server.port)
        await relay.start()
        self.addCleanup(relay.stop)
        domain = {"upstream_proxy_protocol": True, "upstream": f"tcp:127.0.0.1:{relay.port}"}
        return self.own_proxy(domain=domain), relay

    async def resources(self, account: Account) -> dict[str, str]:
        sessions = f"prosody.bare_sessions['{account.jid}'].sessions"
        code = f"local t = '' for r, s in pairs({sessions}) do t = t .. r .. ' ' .. s.ip .. ';' end return t"
        return dict(re.findall(r"([\w.-]+) ([0-9a-f.:]+);", await self.server.evaluate(code)))

    async def test_in_its_sessions(self) -> None:
        proxy, _relay = await self.told()
        await self.check_seen(proxy)

    async def test_registration(self) -> None:
        proxy, relay = await self.told()
        await self.register("127.0.0.79", proxy)
        self.assertIn("127.0.0.79", relay.sources)


@on_both_servers
class UntoldServerTests(TellingCase):
    async def test_a_server_that_does_not_expect_the_header(self) -> None:
        """It finds no XML. The client is told to try later, the operator where to look; nobody tries again at once."""
        proxy = self.own_proxy(domain={"upstream_proxy_protocol": True})
        account = await self.account()
        client = await self.secured("127.0.0.77", proxy)
        for _attempt in range(2):
            start = len(proxy.process.lines)
            reply = await client.authenticate(account.username, account.password)
            self.assertEqual(next(reply.element.elements()).name, "temporary-auth-failure")
            self.assertEqual(reply.element.uri, NS_SASL)
            await proxy.process.says(f"no login for {re.escape(account.jid)} from ", start=start)
        lines = [line for line in proxy.log if f"no login for {account.jid} from " in line]
        self.assertEqual(len(lines), 2, "one for each attempt of the client")
        for line in lines:
            self.assertIn("upstream_proxy_protocol is on: does the server expect the PROXY protocol", line)
