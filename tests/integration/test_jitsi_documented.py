"""The recipe for Jitsi in docs/client-proxy.md works as it is written there, on both servers."""

import re
import tomllib
from pathlib import Path

from tests.integration.cases import IntegrationTestCase
from tests.integration.client import Client, connect
from tests.integration.ejabberd import Ejabberd
from tests.integration.jitsi import Browser, Jicofo
from tests.integration.ports import free_port
from tests.integration.prosody import Prosody
from tests.integration.proxy import Proxy
from tests.integration.servers import Account, Server, beside

RECIPE = (
    (Path(__file__).resolve().parents[2] / "docs" / "client-proxy.md")
    .read_text("utf-8")
    .partition("\n## Jitsi Meet\n")[2]
)
DOMAIN = "meet.example.org"
FOCUS = f"focus.{DOMAIN}"
ACCOUNT = Account("focus", f"auth.{DOMAIN}", "pass word")
MUC = "http://jabber.org/protocol/muc"


def block(language: str) -> str:
    """The recipe's fenced block of that language."""
    found = re.search(rf"```{language}\n(.*?)```", RECIPE, re.DOTALL)
    assert found is not None
    return found[1]


class JitsiProsody(Prosody):
    """Jitsi's hosts, guests logging in without a password, and the recipe's component."""

    domain = DOMAIN
    more_names = (ACCOUNT.domain,)

    def template(self) -> str:
        host = 'VirtualHost "@domain@"'
        hosts = f'{host}\n\tauthentication = "anonymous"\nVirtualHost "{ACCOUNT.domain}"\n'
        return beside("prosody.cfg.lua").replace(host, hosts).replace("@components@", block("lua"))

    async def prepare(self) -> None:
        await self._done(f"require 'core.usermanager'.create_user('focus', '{ACCOUNT.password}', '{ACCOUNT.domain}')")
        arguments = f"('focus', '{ACCOUNT.domain}', '{FOCUS}')"  # what mod_roster_command does
        roster = "require 'core.rostermanager'"
        await self.evaluate(f"{roster}.set_contact_pending_in{arguments}; {roster}.subscribed{arguments}")


class JitsiEjabberd(Ejabberd):
    """The recipe's whole configuration, its ports and its certificate replaced."""

    domain = DOMAIN
    more_names = (ACCOUNT.domain,)

    def configuration(self, certificate: Path) -> str:
        self.websocket_port = free_port()
        text = block("yaml").replace("/etc/ejabberd/meet.example.org.pem", str(certificate))
        for documented, port in ((5222, self.port), (5280, self.websocket_port), (5347, self.component_port)):
            text = text.replace(f"port: {documented}\n", f"port: {port}\n")
        return text + "loglevel: info\nacme:\n  auto: false\n"

    async def prepare(self) -> None:
        """What the recipe's two commands do."""
        words = re.findall(r"ejabberdctl (add_rosteritem.*)", RECIPE)[0].split()
        command, arguments = words[0], ", ".join(f'<<"{word.strip(chr(34))}">>' for word in words[1:])
        for call in (
            f'ejabberd_auth:try_register(<<"focus">>, <<"{ACCOUNT.domain}">>, <<"{ACCOUNT.password}">>)',
            f"mod_admin_extra:{command}({arguments})",
        ):
            answer = await self.evaluate(call)
            if answer != "ok":
                raise AssertionError(f"ejabberd did not take {call}: {answer}")


class DocumentedTests(IntegrationTestCase):
    async def test_on_prosody(self) -> None:
        await self.follow(JitsiProsody)

    async def test_on_ejabberd(self) -> None:
        await self.follow(JitsiEjabberd)

    async def follow(self, kind: type[JitsiProsody] | type[JitsiEjabberd]) -> None:
        """Guests and jicofo on a server of their own, from the request to the room."""
        self.need(kind.missing())
        server = kind()
        self.addCleanup(server.process.stop)
        await server.prepare()
        await self.start_proxy(server)
        jicofo = Jicofo(await self.logged_in(server, ACCOUNT.domain), FOCUS)
        jicofo.come()
        await jicofo.known()
        alice = Browser(await self.logged_in(server, DOMAIN), FOCUS)
        room = server.room()
        self.assertEqual(await alice.enter(room), "ready")
        self.assertEqual((jicofo.rooms, jicofo.subscribers), ({room: [alice.client.jid]}, []))
        self.assertEqual(alice.focus, {ACCOUNT.jid})
        for client, nick in ((jicofo.client, "focus"), (alice.client, "alice")):
            client.send(f"<presence to='{room}/{nick}'><x xmlns='{MUC}'/></presence>")
            await client.expect(
                f"<presence from='{room}/{nick}'><x xmlns='{MUC}#user'><status code='110'/></x></presence>"
            )

    async def start_proxy(self, server: Server) -> None:
        (table,) = tomllib.loads(block("toml"))["client_proxy"]
        table["server"] = table["server"].replace("5347", str(server.component_port))
        proxy = self._watch(Proxy(listen=(), client_proxy=[table]), 0)
        self.addCleanup(proxy.stop)
        await proxy.process.says(f"{FOCUS}: connected")

    async def logged_in(self, server: Server, domain: str) -> Client:
        """jicofo by its password, everybody else without."""
        client = await connect(server.port, domain, label=domain)
        self._clients.append(client)
        if domain == ACCOUNT.domain:
            await client.login(ACCOUNT, "focus")
            return client
        await client.open()
        await client.starttls()
        await client.open()
        reply = await client.authenticate_as_guest()
        self.assertEqual(reply.element.name, "success", str(reply))
        await client.open()
        await client.bind()
        return client
