"""How the proxy logs in at real servers: bound to the connection where the server can, in this process."""

from __future__ import annotations

from typing import ClassVar

from twisted.internet import reactor

from minimixproxy.c2s.errors import UpstreamProtocolError, UpstreamRefused
from minimixproxy.c2s.upstream import connecting, offer
from minimixproxy.c2s.upstream.connecting import Login, bind_resource, connect_upstream, open_stream
from minimixproxy.c2s.upstream.credentials import Credential, KeyCache
from minimixproxy.c2s.upstream.offer import Choice, ServerOffer, choose
from minimixproxy.config.settings import Domain, Limits
from minimixproxy.sasl.channel_binding import TLS_EXPORTER
from tests.integration.cases import IntegrationTestCase, on_servers
from tests.integration.ejabberd import Ejabberd
from tests.integration.logins.servers import BoundProsody, Sasl2Prosody
from tests.integration.prosody import Prosody
from tests.integration.servers import Account, Server, authority_file


class UpstreamCase(IntegrationTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.choices: list[Choice] = []

        def watched(offered: ServerOffer, credential: Credential) -> Choice:
            self.choices.append(choose(offered, credential))
            return self.choices[-1]

        self.patch(connecting, "choose", watched)

    async def log_in(self, account: Account, **domain: bool) -> str:
        """Log in and bind; return how."""
        settings = Domain(
            name=self.server.domain,
            upstream=f"tcp:127.0.0.1:{self.server.port}",
            upstream_trust=authority_file(),
            **domain,  # type: ignore[arg-type]
        )
        login = Login(settings, account.username, Credential.from_password(account.password), KeyCache())
        xs = await connect_upstream(reactor, login, Limits())
        self.addCleanup(xs.transport.abortConnection)
        await open_stream(xs)
        self.assertTrue((await bind_resource(xs, login.own)).startswith(account.jid))
        choice = self.choices[-1]
        return f"{choice.mechanism} {choice.binding.header.encoded().decode()}"


@on_servers(BoundProsody)
class BoundTests(UpstreamCase):
    """A Prosody that can bind logins to TLS 1.3."""

    async def test_bound(self) -> None:
        self.assertEqual(await self.log_in(await self.account()), "SCRAM-SHA-1-PLUS p=tls-exporter,,")

    async def test_not_if_it_is_switched_off(self) -> None:
        how = await self.log_in(await self.account(), upstream_channel_binding=False)
        self.assertEqual(how, "SCRAM-SHA-1 n,,")

    async def test_to_another_connection(self) -> None:
        """TLS ends before the server, or somebody stands in between. It is not for the account's sake."""
        account = await self.account()
        self.patch(offer, "bindings_as_client", lambda _layer: {TLS_EXPORTER: b"x" * 32})
        with self.assertRaisesRegex(UpstreamProtocolError, "does not take logins .* upstream_channel_binding = false"):
            await self.log_in(account)

    async def test_wrong_password(self) -> None:
        account = await self.account()
        with self.assertRaisesRegex(UpstreamRefused, "."):
            await self.log_in(account._replace(password="wrong"))


@on_servers(Sasl2Prosody)
class WantingTests(UpstreamCase):
    """It offers -PLUS in SASL2 only, and takes "y" in SASL1 for somebody attacked: the log names the switch."""

    async def test_named(self) -> None:
        account = await self.account()
        with self.assertRaisesRegex(UpstreamProtocolError, "wants, and does not offer, .*upstream_channel_binding"):
            await self.log_in(account)
        self.assertEqual(await self.log_in(account, upstream_channel_binding=False), "SCRAM-SHA-1 n,,")


class UnboundCase(UpstreamCase):
    expected: ClassVar[str]
    kind: ClassVar[type[Server]]

    async def logs_in(self) -> None:
        self.assertEqual(await self.log_in(await self.account()), self.expected)


@on_servers(Prosody)
class ProsodyTests(UnboundCase):
    """0.12 has tls-unique only, so with TLS 1.3 it offers none; "y" it takes."""

    expected = "SCRAM-SHA-1 y,,"

    async def test_log_in(self) -> None:
        await self.logs_in()


@on_servers(Ejabberd)
class EjabberdTests(UnboundCase):
    """23.01 has tls-unique only, and offers -PLUS all the same, without saying which types it knows."""

    expected = "SCRAM-SHA-256 n,,"

    async def test_log_in(self) -> None:
        await self.logs_in()
