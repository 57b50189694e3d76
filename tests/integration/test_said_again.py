"""A phone that gives its session up, and says in its next one what it does not know to be handled (XEP-0198)."""

from __future__ import annotations

from tests.integration.cases import on_both_servers
from tests.integration.managedcase import ManagedCase, bodies, enter, say
from tests.integration.relay import Relay


@on_both_servers
class SaidAgainTests(ManagedCase):
    async def test_to_a_room_whose_server_is_silent(self) -> None:
        """The account's stream is resumed later, and what was said first arrives with it: once."""
        relay = Relay(self.server.port)
        relay.start()
        self.addCleanup(relay.stop)
        proxy = self.own_proxy(domain={"upstream": f"tcp:127.0.0.1:{relay.port}"})
        account, room = await self.account(), self.room()
        bob = await self.device(await self.account("bob"), port=self.server.port)
        await enter(bob, room, "bob")
        phone = await self.device(account, port=proxy.port)
        await enter(phone, room, "alice")
        link = relay.links[-1]  # of the account stream: opened by the join
        await phone.until_acknowledged()

        relay.silence(link)
        for body in ("one", "two"):
            say(phone, room, body, "groupchat")
        await phone.barrier()
        phone.drop()
        await phone.line.until_lost()
        left = [stanza for stanza in phone.give_up() if "groupchat" in stanza]
        self.assertEqual(len(left), 2)
        await phone.come()
        await enter(phone, room, "alice")
        for stanza in left:
            phone.send(stanza)
        say(phone, room, "three", "groupchat")
        await phone.barrier()
        relay.cut(link)
        for listener in (bob, phone):
            await listener.expect("<message type='groupchat'><body>three</body></message>")
        await phone.until_acknowledged()
        await bob.barrier(room)
        for listener in (bob, phone):
            self.assertEqual(bodies(listener), ["one", "two", "three"])
