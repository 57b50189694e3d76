"""What tests of logins by clients' rules begin with."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from tests.integration.cases import IntegrationTestCase
from tests.integration.ejabberd import Ejabberd
from tests.integration.logins.connection import Connection
from tests.integration.logins.device import Device, Failed
from tests.integration.logins.rules import DINO, EVERYBODY, MONAL, MONAL_2024, MONAL_WITH_PLAIN, PLAIN, Rules
from tests.integration.logins.scram import Refused
from tests.integration.logins.servers import BoundProsody
from tests.integration.prosody import Prosody
from tests.integration.proxy import Proxy
from tests.integration.servers import Account, Server

NOTHING_USABLE = "refuses: no mechanism that this client would use is offered"
NO_BINDING = "refuses: no channel binding is offered"

HASHES: dict[type[Server], str] = {Prosody: "SCRAM-SHA-1", BoundProsody: "SCRAM-SHA-1", Ejabberd: "SCRAM-SHA-256"}
ENROLLING = replace(DINO, client="whoever shows the password", mechanisms=(PLAIN,))
EXPORTER, END_POINT = "-PLUS p=tls-exporter,,", "-PLUS p=tls-server-end-point,,"
WRONG = "is refused: not-authorized"
NOT_VOUCHED_FOR = "refuses: no channel binding, and nothing vouches for that"
MONALS = (MONAL, MONAL_2024, MONAL_WITH_PLAIN)


class LoginRulesCase(IntegrationTestCase):
    timeout = 120
    maxDiff = None

    async def login(self, device: Device, port: int, tls: str = "1.3") -> Connection:
        """A login that succeeds; the connection is closed at the end of the test."""
        client = await device.login(port, tls)
        self._clients.append(client)
        return client

    async def outcome(self, device: Device, port: int, tls: str = "1.3") -> str:
        """Of a login: the mechanism and the header of GS2; or why there was none, and who says so."""
        try:
            client = await device.login(port, tls)
            await client.barrier()
            await client.close()
        except Refused as reason:
            await device.client.until_lost()
            return f"refuses: {reason}"
        except Failed as condition:
            await device.client.until_lost()
            return f"is refused: {condition}"
        return f"{device.way.mechanism} {device.way.header}".strip()

    async def outcomes(self, port: int, tls: str) -> dict[str, str]:
        """Of everybody, each with an account of its own that was never used."""
        return {
            rules.client: await self.outcome(Device(rules, await self.account("rules")), port, tls)
            for rules in EVERYBODY
        }


def named(expected: Mapping[Rules, str]) -> dict[str, str]:
    return {rules.client: outcome for rules, outcome in expected.items()}


class ProxiedCase(LoginRulesCase):
    """`logins` as the configuration has it; None: it says nothing of them."""

    logins: ClassVar[tuple[str, ...] | None] = None

    def setUp(self) -> None:
        super().setUp()
        self.own = self.own_proxy(domain=self.domain)
        self.port = self.own.port
        self.hash = HASHES[self.kind]
        self._known = False

    @property
    def domain(self) -> dict[str, list[str]]:
        """What the configuration says of the server's domain."""
        return {} if self.logins is None else {"logins": list(self.logins)}

    async def outcome(self, device: Device, port: int, tls: str = "1.3") -> str:
        if port == self.port and not self._known:
            self._known = True
            await self.learned(self.own)
        return await super().outcome(device, port, tls)

    async def learned(self, proxy: Proxy) -> None:
        """Wait until it knows what the server offers: before, it offers hashes that these servers do not have."""
        names = ["SCRAM-SHA-512"]
        while "SCRAM-SHA-512" in names:
            client = await self.connect(proxy=proxy)
            await client.open()
            await client.starttls()
            features = await client.open()
            names = re.findall("<mechanism>([^<]*)", str(features))
            client.drop()

    async def enrolled(self) -> Account:
        """An account whose keys the proxy knows, since somebody has logged in with the password."""
        account = await self.account("rules")
        self.assertEqual(await self.outcome(Device(ENROLLING, account), self.port), PLAIN)
        return account

    def expected(self) -> dict[Rules, str]:
        """Of clients that use no channel binding."""
        expected = dict.fromkeys(EVERYBODY, f"{self.hash} n,,")
        if self.hash != "SCRAM-SHA-1":
            expected[DINO] = PLAIN
        return expected

    async def everybody(self, tls: str, *, enrolled: bool) -> dict[str, str]:
        outcomes = {}
        for rules in EVERYBODY:
            account = await (self.enrolled() if enrolled else self.account("rules"))
            outcomes[rules.client] = await self.outcome(Device(rules, account), self.port, tls)
        return outcomes
