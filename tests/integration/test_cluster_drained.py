"""`minimixproxy drain` at one of two processes: its accounts go on at the other one, and nobody misses anything."""

import json
from typing import Any

from twisted.internet.defer import Deferred

from tests.integration.cases import on_both_servers
from tests.integration.commands import run
from tests.integration.inbox import Inbox
from tests.integration.managed import Device
from tests.integration.nodes import ClusterCase, Node


def bodies(client: Inbox) -> list[str]:
    """The texts that a client was told, in their order."""
    return [str(body) for one in client.received for body in one.element.elements("jabber:client", "body")]


@on_both_servers
class DrainedTests(ClusterCase):
    async def drain(self, node: Node, *arguments: str) -> dict[str, Any]:
        done = await run(node, "drain", "--json", *arguments)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    async def test_those_that_nobody_uses_go_at_once(self) -> None:
        one, other = await self.nodes()
        alice, phone, place = await self.in_a_room(one)
        bob, used, hall = await self.in_a_room(one)
        await phone.close()
        self.assertEqual((await self.drain(one, "--no-wait"))["clients"], 1)
        await other.process.says(rf"is in {place}, as alice", 60)
        self.assertEqual((self.holder(alice), self.holder(bob)), ("node-1", "node-0"))
        await self.say(used, hall, "still here")
        self.assertIn("1 accounts are still to go", (await run(one, "drain", "--no-wait")).stdout)

    async def test_clients_go_on_at_the_other_one(self) -> None:
        """One without stream management, one with it, and one that had come by the other process anyway."""
        one, other = await self.nodes()
        alice, phone, place = await self.in_a_room(one)
        laptop = await self.client(alice, "laptop", proxy=other)
        tablet = Device(alice, one.port, "tablet")
        self.addCleanup(tablet.drop_all)
        await tablet.come()
        await self.join(tablet, place)
        await self.join(laptop, place)
        bob = await self.witness(place)
        said = [f"n{number}" for number in range(12)]
        for body in said[:4]:
            await self.say(bob, place, body)
        tablet.send(f"<message to='{place}' type='groupchat'><body>mine</body></message>")
        for one_of_them in (phone, tablet, laptop):
            await one_of_them.expect("<message><body>mine</body></message>")
        tablet.acknowledge()
        draining = Deferred.fromCoroutine(self.drain(one, "--timeout", "0"))
        for body in said[4:8]:
            await self.say(bob, place, body)
        self.assertEqual(await draining, {"clients": 0, "dismissed": 3, "accounts": 0})
        for client in (phone, tablet.line, laptop):
            await client.expect_close("system-shutdown")
        self.assertEqual(tablet.give_up(), [], "it need not say anything again")
        await other.process.says(rf"is in {place}, as alice", 60)
        self.assertEqual(self.holder(alice), "node-1")
        for body in said[8:]:
            await self.say(bob, place, body)
        expected = [*said[:4], "mine", *said[4:]]
        another = await self.client(alice, "another", proxy=other)
        await self.join(another, place)
        await another.expect(f"<message><body>{said[-1]}</body></message>")  # the account has it all by now
        devices: list[tuple[Inbox, str]] = [(phone, "phone"), (laptop, "laptop"), (tablet, "tablet")]
        for device, name in devices:
            left = len(expected) - len(bodies(device))
            if device is tablet:  # it may not have come to acknowledging the last ones
                self.assertIn(self.unseen(name), range(left, left + 5), name)
            else:
                self.assertEqual(self.unseen(name), left, name)
            again = await self.client(alice, name, proxy=other)
            await self.join(again, place)
            told = list(dict.fromkeys([*bodies(device), *bodies(again)]))
            self.assertEqual(told, expected, name)

    def unseen(self, resource: str) -> int:
        """How many messages a device is to be shown, as the database has it."""
        ((number,),) = self.query(
            "SELECT count(*) FROM messages WHERE sequence > (SELECT sequence FROM cursors WHERE resource = %s)",
            resource,
        )
        return int(number)

    async def test_undone(self) -> None:
        """It takes accounts again."""
        one, _other = await self.nodes()
        await self.drain(one, "--timeout", "0")
        await self.drain(one, "--undo")
        alice, _phone, _place = await self.in_a_room(one)
        self.assertEqual(self.holder(alice), "node-0")
