"""What tests of logins by clients' rules begin with."""

from collections.abc import Mapping

from tests.integration.cases import IntegrationTestCase
from tests.integration.logins.connection import Connection
from tests.integration.logins.device import Device, Failed
from tests.integration.logins.rules import EVERYBODY, Rules
from tests.integration.logins.scram import Refused

NOTHING_USABLE = "refuses: no mechanism that this client would use is offered"
NO_BINDING = "refuses: no channel binding is offered"


class LoginRulesCase(IntegrationTestCase):
    timeout = 120

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
            return f"refuses: {reason}"
        except Failed as condition:
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
