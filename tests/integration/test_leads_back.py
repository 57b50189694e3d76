"""A server that turns out to be the proxy itself: one login does not become a hundred."""

from tests.integration.cases import IntegrationTestCase
from tests.integration.relay import Relay
from tests.integration.test_block import names


class LeadsBackTests(IntegrationTestCase):
    async def test_a_login(self) -> None:
        """Names and relays in between do not matter."""
        relay = Relay(0)
        relay.start()
        self.addCleanup(relay.stop)
        proxy = self.own_proxy(domain={"upstream": f"tcp:127.0.0.1:{relay.port}", "logins": ["PLAIN"]})
        relay.target = proxy.port
        client = await self.connect(proxy=proxy)
        await client.open()
        await client.starttls()
        await client.open()
        await proxy.process.says("leads back to this proxy")  # as soon as it asks what the server offers
        before = relay.opened
        answer = await client.authenticate("alice", "secret")
        self.assertEqual(names(answer)[0], "temporary-auth-failure")
        self.assertLessEqual(relay.opened - before, 1)
        self.assertFalse([line for line in proxy.process.lines if "too many connections" in line])
