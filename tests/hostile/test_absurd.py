"""Stanzas that make no sense, from strangers, occupants and the account's own clients, cost nobody anything.

A fault in the proxy's log fails these tests: `IntegrationTestCase` looks for them.
"""

import re
from random import Random

from twisted.internet.task import LoopingCall

from tests.absurd import Absurd
from tests.hostile.ground import PATIENCE
from tests.hostile.test_addresses import AddressCase
from tests.integration.cases import on_both_servers
from tests.integration.client import Client
from tests.integration.xmlcut import Received

STANZAS = 150
_FROM = re.compile(r"(?<=^<)(message|presence|iq)( from='[^']*')")


@on_both_servers
class AbsurdTests(AddressCase):
    timeout = 240

    async def _attack(self, client: Client, seed: int, *addresses: str) -> None:
        """Say it all, and wait until the server has dealt with it. Many a server ends the stream before."""
        absurd = Absurd(Random(seed), addresses)
        for _number in range(STANZAS):
            xml = _FROM.sub(r"\1", absurd.stanza())
            if client.lost is None and "jabber:component:accept" not in xml:
                client.send(xml)
        await self._dealt_with(client)
        client.drop()  # for Prosody's code fails at the end, too, and leaves the stream open
        await client.until_lost()

    async def _dealt_with(self, client: Client) -> None:
        """Prosody, behind a stanza that its code fails at, leaves what it has read until one more comes."""
        ping = f"<iq type='get' id='all-said' to='{self.server.domain}'><ping xmlns='urn:xmpp:ping'/></iq>"
        more = LoopingCall(client.send, ping)
        more.start(0.2)

        def is_answer(stanza: Received) -> bool:
            return b"all-said" in stanza.raw and stanza.get("id") == "all-said"

        def is_over() -> bool:
            return client.lost is not None or any(is_answer(stanza) for stanza in client.received)

        try:
            await client.until(is_over, "the answer behind all that was said", PATIENCE)
        finally:
            more.stop()

    async def _still_there(self) -> None:
        await self.phone.barrier(self.secret)
        self.phone.send(f"<message to='{self.secret}' type='groupchat' id='there'><body>still here</body></message>")
        await self.phone.expect(f"<message from='{self.secret}/a' type='groupchat' id='there'/>")

    async def test_from_a_stranger_and_an_occupant(self) -> None:
        await self.scene()
        room, host = self.secret, self.server.domain
        for seed in range(3):
            addresses = (self.stream, self.stream, f"{room}/a", f"{room}/a", room, self.phone.bare, self.phone.jid)
            stranger = await self.client(await self.account("stranger"), "x", direct=True)
            await self._attack(stranger, seed, *addresses, host)
            occupant = await self.client(await self.account("occupant"), "x", direct=True)
            await self.join(occupant, room, f"o{seed}")
            await self._attack(occupant, seed, *addresses, f"{room}/o{seed}")
            await self._still_there()

    async def test_from_the_accounts_own_clients(self) -> None:
        await self.scene()
        for seed in range(3):
            tablet = await self.client(self.alice, "tablet")
            await self.join(tablet, self.secret, "a")
            addresses = (self.secret, f"{self.secret}/a", f"{self.secret}/eve", self.stream, tablet.bare)
            await self._attack(tablet, seed, *addresses, self.phone.jid, self.server.domain)
            await self._still_there()
