"""Logging in through the proxy: every way that works, and how each that does not is told."""

import contextlib
import socket
from typing import Any

from twisted.internet.interfaces import INegotiated
from twisted.internet.threads import deferToThread

from tests.certificates import make_authority, make_certificate
from tests.integration.cases import IntegrationTestCase, on_both_servers
from tests.integration.client import NS_SASL, NS_TLS, Client
from tests.integration.ports import free_port
from tests.integration.processes import temporary_directory
from tests.integration.servers import authority, authority_file, breakable
from tests.integration.xmlcut import Received


def names(stanza: Received) -> list[str]:
    """Of the children; the first one of a failure is its condition."""
    return [child.name for child in stanza.element.elements()]


class LoginCase(IntegrationTestCase):
    async def secured(self, **where: Any) -> Client:
        """A client that can authenticate now."""
        client = await self.connect(**where)
        await client.open()
        await client.starttls()
        await client.open()
        return client


@on_both_servers
class LoginTests(LoginCase):
    async def test_starttls(self) -> None:
        account = await self.account()
        client = await self.client(account, "phone")
        self.assertEqual(client.jid, f"{account.jid}/phone")

    async def test_direct_tls(self) -> None:
        client = await self.client(direct_tls=True)
        await client.barrier()
        self.assertEqual(INegotiated(client.transport).negotiatedProtocol, b"xmpp-client")

    async def test_starttls_is_required(self) -> None:
        client = await self.connect()
        features = await client.open()
        only = f"<stream:features><starttls xmlns='{NS_TLS}'><required/></starttls></stream:features>"
        self.assertEqual(features.raw.decode(), only)

    async def test_resource_of_the_server(self) -> None:
        account = await self.account()
        client = await self.client(account)
        self.assertRegex(client.jid, f"^{account.jid}/.+")

    async def test_odd_passwords(self) -> None:
        for password in ("pässwörd", "a b  c", "<&>'", "密码", "x" * 500):
            account = await self.server.account("alice", password)
            await (await self.client(account)).barrier()

    async def test_wrong_password_then_the_right_one(self) -> None:
        account = await self.account()
        client = await self.secured()
        reply = await client.authenticate(account.username, "wrong")
        self.assertEqual(names(reply)[0], "not-authorized", reply)
        reply = await client.authenticate(account.username, account.password)
        self.assertEqual(reply.element.name, "success", reply)

    async def test_unknown_user(self) -> None:
        client = await self.secured()
        reply = await client.authenticate("nobody-here", "wrong")
        self.assertEqual(names(reply)[0], "not-authorized", reply)

    async def test_second_bind(self) -> None:
        """What the server says to it, directly and through the proxy; the session must not get lost."""
        account = await self.account()
        answers = []
        for direct in (True, False):
            client = await self.client(account, "phone", direct=direct)
            reply = await client.iq(
                "set", None, "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>x</resource></bind>"
            )
            answers.append((reply.get("type"), names(reply)))
            await client.close()
        self.assertEqual(answers[1], answers[0])

    async def test_taken_resource(self) -> None:
        """The server ends the older stream; the client behind the proxy is told why."""
        account = await self.account()
        older = await self.client(account, "phone")
        newer = await self.client(account, "phone")
        await older.expect_close("conflict")
        await newer.barrier()

    async def test_upstream_by_direct_tls(self) -> None:
        """A Twisted endpoint that does TLS by itself."""
        trust = temporary_directory("trust")
        (trust / "authority.pem").write_bytes(authority_file().read_bytes())
        upstream = f"tls:127.0.0.1:{self.server.direct_tls_port}:trustRoots={trust}"
        proxy = self.own_proxy(domain={"upstream": upstream})
        await (await self.client(proxy=proxy)).barrier()

    async def test_untrusted_server(self) -> None:
        other = temporary_directory("other") / "authority.pem"
        other.write_bytes(make_authority().certificate_pem())
        await self.refused(str(other), "temporary-auth-failure")

    async def test_server_of_another_name(self) -> None:
        """The certificate must be that of the domain, whatever address the server was reached at."""
        proxy = self.own_proxy(domain={"upstream_trust": str(authority_file())})
        text = proxy.configuration.read_text().replace(f'domain."{self.server.domain}"', 'domain."other.test"')
        pair = make_certificate(authority(), "other.test").write(proxy.directory, "other.test")
        for path in pair:
            text = text.replace(str(proxy.directory / f"{self.server.domain}{path.suffix}"), str(path))
        proxy.configuration.write_text(text)
        await deferToThread(proxy.stop)
        await deferToThread(proxy.start)
        client = await self.connect(proxy=proxy)
        client.domain = "other.test"
        await client.open()
        await client.starttls()
        await client.open()
        await self.is_refused(client, "temporary-auth-failure")

    async def refused(self, trust: str, condition: str) -> None:
        proxy = self.own_proxy(domain={"upstream_trust": trust})
        await self.is_refused(await self.secured(proxy=proxy), condition)

    async def is_refused(self, client: Client, condition: str) -> None:
        account = await self.account()
        reply = await client.authenticate(account.username, account.password)
        self.assertEqual(names(reply), [condition, "text"], reply)

    async def test_insecure_trusts_anything(self) -> None:
        proxy = self.own_proxy(domain={"upstream_trust": "insecure"})
        await (await self.client(proxy=proxy)).barrier()

    async def test_server_goes_and_returns(self) -> None:
        """Its clients are told; new ones are refused until it is back."""
        server = await deferToThread(breakable, self.kind)
        self.server = server
        proxy = self.own_proxy(server)
        account = await self.account()
        before = await self.client(account, proxy=proxy)
        await deferToThread(server.process.stop)
        await before.until_lost()
        self.assertTrue(before.stream_closed, before.transcript())
        await self.is_refused_now(await self.secured(proxy=proxy), account.username)
        server.process = await deferToThread(server.start)
        await (await self.client(account, proxy=proxy)).barrier()

    async def is_refused_now(self, client: Client, username: str) -> None:
        reply = await client.authenticate(username, "pass word")
        self.assertEqual(names(reply), ["temporary-auth-failure", "text"], reply)


class UnreachableTests(LoginCase):
    """No server is involved."""

    async def told(self, port: int) -> None:
        proxy = self.own_proxy(domain={"upstream": f"tcp:127.0.0.1:{port}"})
        client = await self.secured(proxy=proxy)
        reply = await client.authenticate("alice", "secret")
        self.assertEqual(names(reply), ["temporary-auth-failure", "text"], reply)
        client.send(f"<abort xmlns='{NS_SASL}'/>")

    async def test_nothing_listens(self) -> None:
        await self.told(free_port())

    async def test_something_else_listens(self) -> None:
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()

            def serve() -> None:
                connection, _address = other.accept()
                with connection, contextlib.suppress(ConnectionResetError):
                    connection.recv(1000)
                    connection.sendall(b"220 mail.example.org ESMTP ready\r\n")
                    connection.recv(1000)

            served = deferToThread(serve)
            await self.told(other.getsockname()[1])
            await served
