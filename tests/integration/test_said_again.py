"""A phone that gives its session up, and says in its next one what it does not know to be handled (XEP-0198)."""

from __future__ import annotations

from minimixproxy.c2s.session.server_management import ASK_AFTER
from tests.integration.cases import on_both_servers
from tests.integration.faults import pause
from tests.integration.managedcase import ManagedCase, bodies, enter, hear, say
from tests.integration.relay import Relay


@on_both_servers
class SaidAgainTests(ManagedCase):
    async def test_behind_what_is_said_to_a_room_while_the_server_is_silent(self) -> None:
        """The account's stream is resumed later, and what was said first arrives with it: once.

        So does what went to others by the session's own stream.
        """
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
        say(phone, bob.jid, "in private")
        await hear(bob, "in private")
        await pause(2 * ASK_AFTER)  # by then the proxy has asked the server what it has
        await phone.barrier()  # the answer to that came before this one's
        phone.drop()
        await phone.line.until_lost()
        left = [stanza for stanza in phone.give_up() if "<message" in stanza]
        self.assertEqual(len(left), 3)
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
            self.assertEqual(bodies(listener, "groupchat"), ["one", "two", "three"])
        self.assertEqual(bodies(bob, "chat"), ["in private"])
