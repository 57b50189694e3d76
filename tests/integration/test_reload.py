"""The configuration is changed while clients talk: by SIGHUP, and by `minimixproxy reload`."""

import json
import os
import pwd
import signal
import socket
from typing import Any

from twisted.internet.error import ConnectError

from tests.certificates import make_certificate
from tests.integration.cases import IntegrationTestCase, on_both_servers
from tests.integration.client import Client
from tests.integration.commands import Done, run
from tests.integration.ejabberd import Ejabberd
from tests.integration.ports import free_port
from tests.integration.prosody import Prosody
from tests.integration.proxy import Proxy, toml
from tests.integration.servers import authority, running

NS_MUC = "http://jabber.org/protocol/muc"
DONE = "configuration (not )?reloaded"


class ReloadCase(IntegrationTestCase):
    timeout = 120

    async def begin(self) -> Proxy:
        """Alice is in a room by two devices, bob is there without the proxy."""
        proxy = self.own_proxy()
        self.alice = await self.account("alice")
        self.place = self.room()
        self.bob = await self.client(await self.account("bob"), "desk", direct=True)
        await self.joins(self.bob, "bob")
        self.phone = await self.client(self.alice, "phone", proxy=proxy)
        self.laptop = await self.client(self.alice, "laptop", proxy=proxy, direct_tls=True)
        for client in (self.phone, self.laptop):
            await self.joins(client, "alice")
        return proxy

    async def joins(self, client: Client, nick: str) -> None:
        client.send(f"<presence to='{self.place}/{nick}'><x xmlns='{NS_MUC}'/></presence>")
        await client.expect("<message type='groupchat'><subject/></message>")

    def says(self, client: Client, text: str) -> None:
        client.send(f"<message to='{self.place}' type='groupchat'><body>{text}</body></message>")

    async def heard(self, client: Client, text: str) -> None:
        await client.expect(f"<message type='groupchat'><body>{text}</body></message>")

    def edit(self, proxy: Proxy, *replacements: tuple[str, str], more: str = "") -> None:
        text = proxy.configuration.read_text()
        for old, new in replacements:
            self.assertIn(old, text)
            text = text.replace(old, new)
        proxy.configuration.write_text(text + more)

    async def hang_up(self, proxy: Proxy) -> str:
        """SIGHUP; the line that says what came of it."""
        start = len(proxy.process.lines)
        proxy.process.signal(signal.SIGHUP)
        return await proxy.process.says(DONE, start=start)

    async def command(self, proxy: Proxy) -> Done:
        """The operator's command; what it has logged is not to be taken for what a later reload does."""
        start = len(proxy.process.lines)
        done = await run(proxy, "reload")
        await proxy.process.says(DONE, start=start)
        return done

    async def reload(self, proxy: Proxy) -> list[str]:
        done = await self.command(proxy)
        self.assertEqual((done.returncode, done.stderr), (0, ""), proxy.tail())
        return done.stdout.splitlines()

    async def all_in(self, *messages: str) -> None:
        """These are all that the room has said since, to everybody, once and in this order; nobody has left it."""
        for client in (self.phone, self.laptop, self.bob):
            await client.barrier(self.place)
            bodies = [
                str(stanza.element.body)
                for stanza in client.received
                if stanza.element.name == "message" and stanza.element.body is not None
            ]
            self.assertEqual(bodies, list(messages), client.transcript())
        self.assertNotIn("type='unavailable'", self.bob.transcript().replace('"', "'"))


@on_both_servers
class ReloadTests(ReloadCase):
    async def test_nobody_is_dropped(self) -> None:
        """Ports come and go, limits and rooms change; the room notices nothing, and no message is lost."""
        proxy = await self.begin()
        added = free_port()
        self.says(self.bob, "before")
        await self.heard(self.phone, "before")
        self.edit(
            proxy,
            (f"tcp:{proxy.direct_tls_port}:interface=127.0.0.1", f"tcp:{added}:interface=127.0.0.1"),
            ("leave_grace = 0.3", 'leave_grace = 0.1\nhistory = 100\nfresh = 0\naway = "gone"'),
            ("connections_per_address = 5000", "connections_per_address = 4000\nsend_queue = 1000000"),
        )
        proxy.process.signal(signal.SIGHUP)
        for number in range(5):  # while it is read
            self.says(self.phone, f"meanwhile {number}")
        line = await proxy.process.says(DONE)
        await self.heard(self.laptop, "meanwhile 4")
        for change in (f"tcp:{added}:interface=127.0.0.1: new", "leave_grace: 0.3 -> 0.1", "send_queue: "):
            self.assertIn(change, line)
        self.says(self.laptop, "after")  # on a port that is closed
        await self.heard(self.phone, "after")
        await self.all_in("before", *(f"meanwhile {number}" for number in range(5)), "after")
        with self.assertRaises(ConnectError):
            await self.connect(direct_tls=True, proxy=proxy)
        proxy.direct_tls_port = added
        third = await self.client(self.alice, "third", proxy=proxy, direct_tls=True)
        await self.joins(third, "alice")

    async def test_what_cannot_be_changes_nothing(self) -> None:
        """A fault in the file, a port that is taken, a certificate that is none: the words are those of a start."""
        proxy = await self.begin()
        good = proxy.configuration.read_text()
        certificate = proxy.directory / f"{self.server.domain}.pem"
        whole = certificate.read_text()
        other = socket.socket()
        self.addCleanup(other.close)
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        for old, new, words in (
            ("history", "history", "[rooms] histry: unknown key; did you mean history?"),
            (f"tcp:{proxy.port}:", f"tcp:{taken}:", "cannot be bound: Address already in use"),
            ("CERTIFICATE", "CERTIFICATE", "holds no certificate in PEM"),
        ):
            if old == "history":
                proxy.configuration.write_text(good.replace("[rooms]", "[rooms]\nhistry = 1"))
            elif old == "CERTIFICATE":
                certificate.write_text("no certificate")
            else:
                proxy.configuration.write_text(good.replace(old, new).replace("[rooms]", "[rooms]\nhistory = 7"))
            done = await self.command(proxy)
            self.assertEqual(done.returncode, 1)
            self.assertIn(words, done.stderr)
            self.assertIn(words, await self.hang_up(proxy))
            certificate.write_text(whole)
            proxy.configuration.write_text(good)
            self.says(self.bob, words)
            await self.heard(self.phone, words)
            await (await self.client(self.alice, "new", proxy=proxy)).close()
        self.assertEqual(await self.reload(proxy), ["nothing has changed"])

    async def test_certificates_rotate(self) -> None:
        """Under load: each new handshake sees the new one, by STARTTLS and by SNI; nobody else notices."""
        proxy = await self.begin()
        said = []
        for number in range(3):
            pair = make_certificate(authority(), self.server.domain)
            pair.write(proxy.directory, self.server.domain)
            start = len(proxy.process.lines)
            proxy.process.signal(signal.SIGHUP)
            for client in (self.phone, self.laptop, self.bob):
                said.append(f"{client.label.partition('/')[2]} {number}")
                self.says(client, said[-1])
                await self.heard(self.bob, said[-1])
            await proxy.process.says(DONE, start=start)
            await self.hang_up(proxy)
            for direct_tls in (False, True):
                client = await self.connect(proxy=proxy, direct_tls=direct_tls)
                await client.open()
                if not direct_tls:
                    await client.starttls()
                    await client.open()
                transport: Any = client.transport
                shown = transport.getPeerCertificate()
                self.assertEqual(shown.get_serial_number(), pair.certificate.serial_number)
        await self.all_in(*said)

    async def test_another_server(self) -> None:
        """New logins go there; sessions that there are stay where they are."""
        proxy = await self.begin()
        here = f'upstream = "tcp:127.0.0.1:{self.server.port}"'
        self.edit(proxy, (here, f'upstream = "tcp:127.0.0.1:{free_port()}"'))
        (change,) = await self.reload(proxy)
        self.assertIn(f'[domain."{self.server.domain}"] upstream: ', change)
        late = await self.connect(proxy=proxy)
        await late.open()
        await late.starttls()
        await late.open()
        late.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGEAYg==</auth>")
        await late.expect("<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><temporary-auth-failure/></failure>")
        self.says(self.phone, "still here")
        await self.heard(self.laptop, "still here")
        self.edit(proxy, (f'upstream = "{change.rpartition(" ")[2]}"', here))
        await self.reload(proxy)
        await self.client(self.alice, "new", proxy=proxy)
        await self.all_in("still here")


class DomainTests(ReloadCase):
    """Both servers behind one proxy."""

    async def test_removed_and_back(self) -> None:
        """Its clients are told, those of the other domain notice nothing; later its accounts are back in rooms."""
        other = running(Ejabberd)
        self.need(Ejabberd.missing())
        proxy = self.own_proxy(running(Prosody), other)
        stays = await self.client(await self.account("stays"), "desk", proxy=proxy)
        self.server = other
        await self.begin_at(proxy)
        whole = proxy.configuration.read_text()
        parts = whole.split("\n[")
        proxy.configuration.write_text("\n[".join(part for part in parts if f'domain."{other.domain}"' not in part))
        self.assertEqual(await self.reload(proxy), [f'[domain."{other.domain}"]: removed'])
        await self.phone.expect_close("host-gone")
        await self.bob.expect(f"<presence type='unavailable' from='{self.place}/alice'/>")
        refused = await self.connect(proxy=proxy)
        refused.send(
            "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0' "
            f"to='{other.domain}'>"
        )
        await refused.expect_close("host-unknown")
        await stays.barrier()
        report = json.loads((await run(proxy, "status", "--json")).stdout)
        streams = [one["stream"] for one in report["accounts"] if one["account"] == self.alice.jid]
        self.assertEqual(streams, ["not-enrolled"])
        self.bob.inbox.clear()
        proxy.configuration.write_text(whole)
        self.assertEqual(await self.reload(proxy), [f'[domain."{other.domain}"]: new'])
        await self.bob.expect(f"<presence from='{self.place}/alice'/>")
        back = await self.client(self.alice, "phone", proxy=proxy)
        await self.joins(back, "alice")
        await stays.barrier()

    async def begin_at(self, proxy: Proxy) -> None:
        self.alice = await self.account("alice")
        self.place = self.room()
        self.bob = await self.client(await self.account("bob"), "desk", direct=True)
        await self.joins(self.bob, "bob")
        self.phone = await self.client(self.alice, "phone", proxy=proxy)
        await self.joins(self.phone, "alice")


class SignalTests(ReloadCase):
    """SIGHUP ended the process."""

    async def test_without_clients(self) -> None:
        """client_proxy alone: its domain connects anew when its table has changed, and only then."""
        port = free_port()
        section = {"domain": "p.example", "target": "a@b", "server": f"tcp:127.0.0.1:{port}", "secret": "x"}
        proxy = Proxy(client_proxy=[section], listen=[], start=False)
        proxy.configuration.write_text(toml("client_proxy", section, repeated=True))
        self.addCleanup(self._stop, proxy)
        proxy.start()
        await proxy.process.says("p.example: next try")
        self.assertIn("nothing has changed", await self.hang_up(proxy))
        proxy.configuration.write_text(toml("client_proxy", {**section, "domain": "q.example"}, repeated=True))
        line = await self.hang_up(proxy)
        self.assertIn("[[client_proxy]] p.example: removed; [[client_proxy]] q.example: new", line)
        await proxy.process.says("q.example: next try")

    async def test_many_at_once_and_during_the_end(self) -> None:
        proxy = await self.begin()
        for _ in range(50):
            proxy.process.signal(signal.SIGHUP)
        await proxy.process.says(DONE)
        proxy.process.signal(signal.SIGTERM)
        proxy.process.signal(signal.SIGHUP)
        await self.phone.expect_close("system-shutdown")
        self.assertIn(await proxy.process.ends(), (0, -signal.SIGTERM))

    async def test_as_another_user(self) -> None:
        """The file is root's, and twistd has dropped its privileges: what is missing is said."""
        if os.geteuid():
            raise self.skipTest("only root can drop privileges")
        nobody = pwd.getpwnam("nobody")
        proxy = Proxy(self.server, twistd=["--uid", str(nobody.pw_uid)], start=False)
        self.addCleanup(self._stop, proxy)
        proxy.directory.chmod(0o755)
        proxy.configuration.chmod(0o600)
        proxy.start()
        line = await self.hang_up(proxy)
        self.assertIn("cannot be read: Permission denied", line)
        await proxy.process.says(f"twistd has changed its user from 0 to {nobody.pw_uid} since the start")
        await self.client(await self.account(), "phone", proxy=proxy)
