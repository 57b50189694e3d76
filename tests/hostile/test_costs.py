"""What hostile people may cost: counted in trees, bytes and lines, not in time (for that see `make bench`)."""

import json
from typing import Any

from twisted.internet.threads import deferToThread

from minimixproxy.logs.flood import BURST
from tests.hostile.ground import JOIN, enter, heard, user, victim
from tests.hostile.outside import corrections
from tests.hostile.roomservice import room_service
from tests.hostile.test_scenarios import ScenarioCase
from tests.integration.cases import on_both_servers
from tests.integration.proxy import Proxy
from tests.integration.test_status import status

ANSWERS = 1000
ROUNDS = 15  # of private messages, one each way


class CostCase(ScenarioCase):
    async def stanzas(self, proxy: Proxy) -> Any:
        """What the status tells of stanzas."""
        return json.loads((await status(proxy, "--json")).stdout)["stanzas"]


@on_both_servers
class TreeTests(CostCase):
    async def test_corrections(self) -> None:
        """Three hundred, in a history of three hundred: some trees for each, not hundreds (issue 8, A5)."""
        attack = await corrections(self)
        before = (await self.stanzas(self.proxy))["trees"]
        await attack()
        built = (await self.stanzas(self.proxy))["trees"] - before
        self.assertLess(built, 300 * 10)

    async def test_private_messages(self) -> None:
        """Of an occupant, and to one: each of an account's devices gets a copy, the server's or ours.

        Some trees are made meanwhile for other things that go on, the more of them the longer it takes.
        """
        place = await victim(self)
        await place.laptop.iq("set", None, "<enable xmlns='urn:xmpp:carbons:2'/>")
        many = f"<p xmlns='urn:x'>{'<a/>' * 2000}</p>"
        before = (await self.stanzas(self.proxy))["trees"]
        for number in range(ROUNDS):
            for sender, to in ((place.phone, "mallory"), (place.mallory, "alice")):
                start = f"<message type='chat' id='to-{to}-{number}' to='{place.room}/{to}'>"
                sender.send(f"{start}<body>x</body>{many}</message>")
        for last in (f"to-alice-{ROUNDS - 1}", f"to-mallory-{ROUNDS - 1}"):
            await heard(place.laptop, last)
        built = (await self.stanzas(self.proxy))["trees"] - before
        self.assertLess(built, 2 * ROUNDS)


@on_both_servers
class OwnClientTests(CostCase):
    async def test_joins_that_wait(self) -> None:
        """Rooms that never answer, and joins of 200 KB: beyond 8 MiB they are refused; the account goes on (A10)."""
        service = await room_service(self)
        service.ignore = lambda _stanza: True
        eve, room = await user(self)
        for number in range(60):
            to = f"r{number}@{service.domain}/eve"
            eve.send(f"<presence to='{to}' id='j{number}'><status>{'x' * 200_000}</status>{JOIN}</presence>")
        refusal = "<error><resource-constraint xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
        refused = await eve.expect(f"<presence type='error'>{refusal}</presence>", 100.0)
        self.assertGreater(int((refused.get("id") or "j0")[1:]), 30)
        await eve.barrier(room)
        await eve.barrier()

    async def test_a_large_presence_in_many_rooms(self) -> None:
        """Rooms see how available one is, and all of them keep the account."""
        eve, first = await user(self)
        rooms = [first, *(self.room() for _ in range(29))]
        for room in rooms[1:]:
            await enter(eve, room, "eve")
        watcher = await self.client(direct=True)
        await enter(watcher, rooms[-1], "watcher")
        eve.send(f"<presence><show>dnd</show><status>{'x' * 200_000}</status></presence>")
        shown = await watcher.expect(f"<presence from='{rooms[-1]}/eve'><show>dnd</show></presence>", 100.0)
        self.assertLess(len(shown.raw), 2000)
        await eve.barrier(*rooms)
        eve.send("<presence><show>xa</show><status>back</status></presence>")
        await watcher.expect(f"<presence from='{rooms[-1]}/eve'><show>xa</show><status>back</status></presence>")


@on_both_servers
class LogTests(CostCase):
    async def test_a_line_for_each_stanza(self) -> None:
        """A stranger answers what nobody asked: of the lines about it there are some."""
        place = await victim(self)
        start = len(self.proxy.process.lines)
        stranger = await self.client(direct=True)
        for number in range(ANSWERS):
            stranger.send(f"<iq type='result' id='i{number}' to='{place.stream}'/>")
        await stranger.barrier()
        place.mallory.send(f"<message to='{place.room}' type='groupchat' id='end'><body>b</body></message>")
        await heard(place.phone, "end")
        later = await self.client()
        await deferToThread(self.proxy.process.wait_for, f"session of {later.jid} is bound", start=start)
        lines = [line for line in self.proxy.process.lines[start:] if "does not wait for, or not any more" in line]
        self.assertGreaterEqual(len(lines), BURST)
        self.assertLess(len(lines), ANSWERS // 2)  # those that time allows are in it
