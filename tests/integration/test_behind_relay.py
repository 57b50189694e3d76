"""A relay acknowledges for a client that is out of reach: what it took is no loss of the client's."""

from tests.integration import client as raw
from tests.integration.cases import IntegrationTestCase, on_both_servers
from tests.integration.client import Client
from tests.integration.ports import free_port
from tests.integration.relay import Relay
from tests.integration.servers import Account

JOIN = "<presence to='{}'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
MISSED = 30  # more than anybody is shown who joins


@on_both_servers
class BehindRelayTests(IntegrationTestCase):
    timeout = 120

    async def test_messages_of_a_room_that_the_relay_took(self) -> None:
        relayed, plain = free_port(), free_port()
        proxy = self.own_proxy(
            listen=[
                {"endpoint": f"haproxy:tcp:{relayed}:interface=127.0.0.1"},
                {"endpoint": f"tcp:{plain}:interface=127.0.0.1"},
            ]
        )
        for port in (relayed, plain):
            await proxy.process.says(rf"starting on {port}\b")
        relay = Relay(relayed)
        relay.start()
        self.addCleanup(relay.stop)
        account, room = await self.account(), self.room()
        phone = await self.device(account, "phone", relay.port, f"PROXY TCP4 192.0.2.1 127.0.0.1 5 {relayed}\r\n")
        laptop = await self.device(account, "laptop", plain)
        for device in (phone, laptop):
            device.send(JOIN.format(f"{room}/alice"))
            await device.expect(f"<message from='{room}' type='groupchat'><subject/></message>")
        relay.silence()
        bodies = [f"number {number}" for number in range(MISSED)]
        for body in bodies:
            laptop.send(f"<message to='{room}' type='groupchat'><body>{body}</body></message>")
        await laptop.expect(f"<message from='{room}/alice'><body>{bodies[-1]}</body></message>")
        relay.cut()
        await proxy.process.says(rf"session of {account.jid}/phone ends")
        relay.hear()
        phone = await self.device(account, "phone", relay.port, f"PROXY TCP4 192.0.2.1 127.0.0.1 5 {relayed}\r\n")
        phone.send(JOIN.format(f"{room}/alice"))
        await phone.expect(f"<message from='{room}' type='groupchat'><subject/></message>")
        got = [str(body) for stanza in phone.received for body in stanza.element.elements("jabber:client", "body")]
        self.assertEqual(got, bodies)

    async def device(self, account: Account, resource: str, port: int, header: str = "") -> Client:
        client = await raw.connect(port, self.server.domain, label=resource)
        self._clients.append(client)
        if header:
            client.send(header)
        await client.login(account, resource)
        return client
