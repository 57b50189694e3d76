"""`minimixproxy drain` at one of two processes: its accounts go on at the other one, and nobody misses anything."""

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from tests.integration.cases import on_both_servers
from tests.integration.commands import run
from tests.integration.inbox import Inbox
from tests.integration.managed import Device
from tests.integration.nodes import ClusterCase, Node

# So much is said while a process is drained: on a slow machine it would be more than is handed on (`MAX_HANDED`).
ENOUGH = 90


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
        for client in (phone, laptop):
            await client.expect_close("system-shutdown")
        await self.cut_off(tablet)
        await other.process.says(rf"is in {place}, as alice", 60)
        self.assertEqual(self.holder(alice), "node-1")
        for body in said[8:]:
            await self.say(bob, place, body)
        expected = [*said[:4], "mine", *said[4:]]
        another = await self.client(alice, "another", proxy=other)
        await self.join(another, place)
        await another.expect(f"<message><body>{said[-1]}</body></message>")  # the account has it all by now
        for device, name in ((phone, "phone"), (laptop, "laptop")):
            self.assertEqual(self.unseen(name), len(expected) - len(bodies(device)), name)
            again = await self.client(alice, name, proxy=other)
            await self.join(again, place)
            told = list(dict.fromkeys([*bodies(device), *bodies(again)]))
            self.assertEqual(told, expected, name)
        await self.resumes(tablet, other)
        await tablet.expect(f"<message><body>{said[-1]}</body></message>")
        self.assertEqual(bodies(tablet), expected)
        self.assertEqual(list(tablet.out), [], "it need not say anything again")

    async def test_a_client_with_stream_management_resumes(self) -> None:
        """Its session goes on at the other one: contacts see nothing, and nobody has to join anew."""
        one, other = await self.nodes()
        alice, place = await self.account("alice"), self.room()
        phone = Device(alice, one.port, "phone")
        self.addCleanup(phone.drop_all)
        await phone.come()
        await self.join(phone, place)
        bob = await self.witness(place)
        for number in range(4):
            await self.say(bob, place, f"before {number}")
        await phone.expect("<message><body>before 3</body></message>")
        await self.drain(one, "--timeout", "0")
        await self.cut_off(phone)
        await self.say(bob, place, "meanwhile")
        await self.resumes(phone, other)
        await phone.expect("<message><body>meanwhile</body></message>")
        self.assertEqual(bodies(phone), [*(f"before {number}" for number in range(4)), "meanwhile"])
        phone.send(f"<message to='{place}' type='groupchat'><body>here again</body></message>")
        await bob.expect("<message><body>here again</body></message>")
        await phone.expect("<message><body>here again</body></message>")
        bob.send(f"<message to='{phone.jid}' type='chat'><body>private</body></message>")
        await phone.expect("<message><body>private</body></message>")
        await phone.until_acknowledged()

    async def test_one_that_sleeps(self) -> None:
        """What it has not acknowledged, what waits for it, and who came and went meanwhile: all of it, once."""
        one, other = await self.nodes()
        alice, place, hall = await self.account("alice"), self.room(), self.room()
        phone = Device(alice, other.port, "phone")  # by way of the other process
        self.addCleanup(phone.drop_all)
        laptop = await self.client(alice, "laptop", proxy=one)
        await self.join(laptop, self.room())
        await phone.come()
        for room in (place, hall):
            await self.join(phone, room)
        self.assertEqual(self.holder(alice), "node-0")
        bob, carol = await self.witness(place), await self.client(await self.account("carol"), "desk", direct=True)
        for room in (place, hall):
            await self.join(carol, room, "carol")
        await phone.expect(f"<presence from='{hall}/carol'/>")
        await phone.until_acknowledged()
        phone.send(f"<presence to='{bob.jid}'/>")
        await bob.expect(f"<presence from='{phone.jid}'/>")
        phone.answers = False
        await self.say(bob, place, "not acknowledged")
        await phone.expect("<message><body>not acknowledged</body></message>")
        bob.send(f"<message to='{phone.jid}' type='chat'><body>nor this</body></message>")
        await phone.expect("<message><body>nor this</body></message>")
        phone.drop()
        await one.process.says(f"session of {phone.jid} sleeps", 60)
        await self.say(bob, place, "it sleeps")
        bob.send(f"<message to='{phone.jid}' type='chat'><body>for one that sleeps</body></message>")
        await self.say(carol, hall, "in the hall")
        await bob.barrier()
        await laptop.barrier()
        await self.drain(one, "--timeout", "0")
        await other.process.says(rf"is in {place}, as alice", 60)
        await other.process.says(rf"is in {hall}, as alice", 60)
        await self.say(bob, place, "it is moved")
        carol.send(f"<presence to='{hall}/carol' type='unavailable'/>")
        await carol.expect(f"<presence from='{hall}/carol' type='unavailable'/>")
        phone.answers = True
        await self.resumes(phone, other)
        await phone.expect("<message><body>it is moved</body></message>")
        await phone.expect(f"<presence from='{hall}/carol' type='unavailable'/>")
        told = bodies(phone)
        self.assertEqual(sorted(told), sorted(set(told)))
        self.assertEqual([body for body in told if body.startswith("it ")], ["it sleeps", "it is moved"])
        self.assertEqual(
            set(told),
            {"not acknowledged", "nor this", "it sleeps", "for one that sleeps", "in the hall", "it is moved"},
        )
        shown = [one.element for one in bob.received if one.element.name == "presence"]
        self.assertEqual([one["type"] for one in shown if one["from"] == phone.jid and one.hasAttribute("type")], [])

    async def test_the_one_stops_by_which_clients_have_come(self) -> None:
        """Their account stays where it is. What was on its way to them comes before the end, or when they resume."""
        one, other = await self.nodes()
        alice, _phone, place = await self.in_a_room(one)
        laptop = await self.client(alice, "laptop", proxy=other)
        tablet = Device(alice, other.port, "tablet")
        self.addCleanup(tablet.drop_all)
        await tablet.come()
        for device in (laptop, tablet):
            await self.join(device, place)
        bob, said = await self.witness(place), [f"n{number}" for number in range(40)]
        for body in said[:4]:
            await self.say(bob, place, body)
        stopping = deferToThread(other.stop)
        for body in said[4:]:
            await self.say(bob, place, body)
        await stopping
        await laptop.expect_close("system-shutdown")
        await self.cut_off(tablet)
        self.assertEqual(self.holder(alice), "node-0")
        again = await self.client(alice, "laptop", proxy=one)
        await self.join(again, place)
        self.assertEqual(list(dict.fromkeys([*bodies(laptop), *bodies(again)])), said)
        await self.resumes(tablet, one)
        await tablet.expect(f"<message><body>{said[-1]}</body></message>")
        self.assertEqual(bodies(tablet), said)
        self.assertEqual([line.stream_closed for line in tablet.lines], [False, False], "its stream was not ended")

    async def test_while_the_room_is_busy(self) -> None:
        """Somebody speaks without pause: each device gets each message once, and in order."""
        one, other = await self.nodes()
        alice, place = await self.account("alice"), self.room()
        phone, tablet = Device(alice, one.port, "phone"), Device(alice, other.port, "tablet")
        for device in (phone, tablet):
            self.addCleanup(device.drop_all)
            await device.come()
            await self.join(device, place)
            await device.until_acknowledged()
        bob = await self.witness(place)
        tablet.answers = False
        tablet.drop()
        await one.process.says(f"session of {tablet.jid} sleeps", 60)
        said: list[str] = []

        async def speaks(number: int) -> None:
            for _ in range(number):
                said.append(f"n{len(said)}")
                await self.say(bob, place, said[-1])

        bob.send(f"<message to='{place}/alice' type='chat'><body>in private</body></message>")
        await phone.expect("<message type='chat'><body>in private</body></message>")
        await speaks(5)
        draining = Deferred.fromCoroutine(self.drain(one, "--timeout", "0"))
        while not draining.called and len(said) < ENOUGH:
            await speaks(3)
        await draining
        await other.process.says(rf"is in {place}, as alice", 60)
        await self.cut_off(phone)
        await self.resumes(phone, other)
        await speaks(3)
        self.assertEqual(self.holder(alice), "node-1")
        tablet.answers = True
        await self.resumes(tablet, other)
        for device in (phone, tablet):
            device.send(f"<message to='{place}' type='groupchat'><body>by {device.resource}</body></message>")
            said.append(f"by {device.resource}")
            for each in (phone, tablet):
                await each.expect(f"<message><body>{said[-1]}</body></message>")
            await device.until_acknowledged()
        for device in (phone, tablet):
            told = bodies(device)
            self.assertEqual([body for body in told if body != "in private"], said, device.resource)
            self.assertEqual(told.count("in private"), 1, device.resource)
        another = await self.client(alice, "another", proxy=other)
        await self.join(another, place)
        await another.barrier()
        self.assertNotIn("in private", bodies(another))

    async def test_twice_while_the_room_is_busy(self) -> None:
        """From the first to the second, and right behind that to the third: each device gets each message once."""
        one, other = await self.nodes()
        third = self.node()
        alice, place = await self.account("alice"), self.room()
        phone, tablet = Device(alice, one.port, "phone"), Device(alice, other.port, "tablet")
        for device in (phone, tablet):
            self.addCleanup(device.drop_all)
            await device.come()
            await self.join(device, place)
            await device.until_acknowledged()
        bob = await self.witness(place)
        tablet.answers = False
        tablet.drop()
        await one.process.says(f"session of {tablet.jid} sleeps", 60)
        said: list[str] = []

        async def speaks(number: int) -> None:
            for _ in range(number):
                said.append(f"n{len(said)}")
                await self.say(bob, place, said[-1])

        bob.send(f"<message to='{place}/alice' type='chat'><body>in private</body></message>")
        await phone.expect("<message type='chat'><body>in private</body></message>")
        await speaks(5)
        for node, left in ((one, other), (other, third)):
            if left is third:
                await self.start(third)
                await other.process.says(
                    "node-2 at .* has come into the cluster", 60
                )  # else there is nobody to hand to
            draining = Deferred.fromCoroutine(self.drain(node, "--timeout", "0"))
            enough = len(said) + ENOUGH
            while not draining.called and len(said) < enough:
                await speaks(3)
            await draining
            await left.process.says(rf"is in {place}, as alice", 60)
            await self.cut_off(phone)
            await self.resumes(phone, left)
            await speaks(3)
        self.assertEqual(self.holder(alice), "node-2")
        tablet.answers = True
        await self.resumes(tablet, third)
        for device in (phone, tablet):
            device.send(f"<message to='{place}' type='groupchat'><body>by {device.resource}</body></message>")
            said.append(f"by {device.resource}")
            for each in (phone, tablet):
                await each.expect(f"<message><body>{said[-1]}</body></message>")
            await device.until_acknowledged()
        for device in (phone, tablet):
            told = bodies(device)
            self.assertEqual([body for body in told if body != "in private"], said, device.resource)
            self.assertEqual(told.count("in private"), 1, device.resource)
        another = await self.client(alice, "another", proxy=third)
        await self.join(another, place)
        await another.barrier()
        self.assertNotIn("in private", bodies(another))

    async def cut_off(self, device: Device) -> None:
        await device.until(lambda: device.line.lost is not None, "the end of the connection")

    async def resumes(self, device: Device, node: Node) -> None:
        device.port = node.port
        self.assertTrue(await device.resume(), node.process.tail())

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
