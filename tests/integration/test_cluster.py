"""Two processes serve the same accounts: each client reaches its account by whichever it comes to."""

import json
import signal

from twisted.internet.threads import deferToThread

from tests.integration.cases import on_both_servers
from tests.integration.commands import run
from tests.integration.nodes import ClusterCase
from tests.integration.relay import Relay
from tests.storage import postgresql

LONG = 60.0  # seconds: a row is good for 15


@on_both_servers
class ClusterTests(ClusterCase):
    async def test_two_devices_on_two_nodes(self) -> None:
        """They are of one account: it is in the room once, and both see what is said."""
        one, other = await self.nodes()
        alice, phone, place = await self.in_a_room(one)
        self.assertEqual(self.holder(alice), "node-0")
        laptop = await self.client(alice, "laptop", proxy=other)
        await self.join(laptop, place)
        self.assertEqual(self.holder(alice), "node-0")
        bob = await self.witness(place)
        for number in range(20):
            await self.say(bob, place, f"n{number}")
            for device in (phone, laptop):
                await device.expect(f"<message><body>n{number}</body></message>")
        await self.say(laptop, place, "by the other node")
        await phone.expect("<message><body>by the other node</body></message>")
        shown = {one.element.getAttribute("from") for one in bob.received if one.element.name == "presence"}
        self.assertEqual(
            {jid for jid in shown if jid and jid.startswith(f"{place}/")}, {f"{place}/alice", f"{place}/bob"}
        )

    async def test_accounts_are_shared_out(self) -> None:
        """Each by the node that its first client comes to."""
        one, other = await self.nodes()
        for node in (one, other):
            account = await self.account("alice")
            await self.join(await self.client(account, "phone", proxy=node), self.room())
            self.assertEqual(self.holder(account), f"node-{(one, other).index(node)}")

    async def test_status_names_all_nodes(self) -> None:
        one, other = await self.nodes()
        alice = await self.account("alice")
        await self.join(await self.client(alice, "phone", proxy=one), self.room())
        for node, name, holds in ((one, "node-0", 1), (other, "node-1", 0)):
            told = json.loads((await run(node, "status", "--json")).stdout)["cluster"]
            self.assertEqual((told["name"], told["accounts"]), (name, holds))
            self.assertTrue(0 < told["left"] <= 15)
            self.assertEqual((told["address"], told["draining"]), (f"{node.directory}/internal.sock", False))
            self.assertEqual((told["seen"], told["free"], told["left_by"]), (True, 0, []))
        asked = await run(other, "status", "--account", alice.jid)
        self.assertIn(f"{alice.jid} is held by node-0 ({one.directory}/internal.sock): ask there", asked.stderr)
        self.assertIn("room", (await run(one, "status", "--account", alice.jid)).stdout)
        (found,) = told["others"]
        self.assertEqual((found["name"], found["address"]), ("node-0", f"{one.directory}/internal.sock"))

    async def test_each_tells_who_comes_and_goes(self) -> None:
        """In its log, and in its status: whoever has ended is not counted any more."""
        (one,) = await self.nodes(1)
        other = self.node()
        await self.start(other)
        seen = rf"node-1 at {other.directory}/internal.sock (has come into|is in) the cluster"  # when it looks
        await one.process.says(seen, LONG)
        await other.process.says(r"node-0 at .* is in the cluster already", LONG)
        self.assertIn("2 processes, ", (await run(one, "status")).stdout)
        await deferToThread(other.stop)
        await one.process.says("node-1, number .*, is no more in the cluster", LONG)
        self.assertIn("          1 process, 0 accounts\n", (await run(one, "status")).stdout)

    async def test_the_operator_asks_the_wrong_node(self) -> None:
        """It names the one that has the account; nothing is done by two."""
        one, other = await self.nodes()
        alice, _phone, _place = await self.in_a_room(one)
        done = await run(other, "block", alice.jid)
        self.assertIn(f"{alice.jid} is held by node-0 ({one.directory}/internal.sock): ask there", done.stderr)
        self.assertEqual((done.returncode, self.query("SELECT * FROM blocked")), (1, []))
        self.assertEqual((await run(one, "block", alice.jid)).returncode, 0)
        self.assertEqual(len(self.query("SELECT * FROM blocked")), 1)

    async def test_a_node_is_started_again_after_a_kill(self) -> None:
        """Its accounts need not wait until its row has run out: its directory shows that it is gone."""
        (one,) = await self.nodes(1)
        alice, _phone, place = await self.in_a_room(one)
        before = self.query("SELECT number, expires FROM holders")
        await one.restart(kill=True)
        await one.process.says(rf"is in {place}, as alice", LONG)
        ((number, expires),) = before
        ((now,),) = self.query("SELECT extract(epoch FROM clock_timestamp())::float")
        self.assertLess(now, expires)
        self.assertNotEqual(self.query("SELECT holder FROM leases WHERE bare = %s", alice.jid), [(number,)])

    async def test_a_proxy_that_was_alone_becomes_a_node(self) -> None:
        """Its key opens what it had sealed: its accounts are back in their rooms, and no client has to log in."""
        node = self.node()
        with_cluster = node.configuration.read_text()
        node.configuration.write_text(with_cluster.partition("[cluster]")[0])
        await self.start(node)
        alice, phone, place = await self.in_a_room(node)
        await phone.close()
        await deferToThread(node.stop)
        node.configuration.write_text(with_cluster)
        await deferToThread(node.start)
        await node.process.says(rf"{alice.jid} is in {place}, as alice", LONG)
        self.assertEqual(self.holder(alice), "node-0")
        self.assertEqual(node.faults(), [])

    async def test_a_node_is_killed(self) -> None:
        """Its accounts are back in their rooms by the other one, and what was said meanwhile is told once."""
        one, other = await self.nodes()
        alice, phone, place = await self.in_a_room(one)
        bob = await self.witness(place)
        for number in range(5):
            await self.say(bob, place, f"before {number}")
            await phone.expect(f"<message><body>before {number}</body></message>")
        await deferToThread(one.process.kill)
        await other.process.says(rf"is in {place}, as alice", LONG)
        await self.say(bob, place, "meanwhile")
        again = await self.client(alice, "phone", proxy=other)
        await self.join(again, place)
        bodies = [str(body) for one in again.received for body in one.element.elements("jabber:client", "body")]
        self.assertIn("meanwhile", bodies)
        self.assertEqual(len(bodies), len(set(bodies)))
        self.assertEqual(self.holder(alice), "node-1")

    async def test_a_node_stands_still(self) -> None:
        """Longer than its row is good. When it goes on it finds that it is over, writes nothing, and ends."""
        one, other = await self.nodes()
        alice, phone, place = await self.in_a_room(one)
        bob = await self.witness(place)
        await self.say(bob, place, "before")
        await phone.expect("<message><body>before</body></message>")
        ((slot,),) = self.query("SELECT slot FROM holders WHERE name = 'node-0'")
        one.process.process.send_signal(signal.SIGSTOP)
        try:
            await other.process.says(rf"is in {place}, as alice", LONG)
            written = self.query("SELECT count(*) FROM messages WHERE mod(sequence, 1024) = %s", slot)
            for number in range(5):
                await self.say(bob, place, f"meanwhile {number}")
        finally:
            one.process.process.send_signal(signal.SIGCONT)
        await one.process.says("this proxy ends", LONG)
        self.assertEqual(await deferToThread(one.process.process.wait, 60), 1)
        self.assertEqual(self.query("SELECT count(*) FROM messages WHERE mod(sequence, 1024) = %s", slot), written)
        self.assertEqual(self.holder(alice), "node-1")
        again = await self.client(alice, "phone", proxy=other)
        await self.join(again, place)
        said = [str(body) for one in again.received for body in one.element.elements("jabber:client", "body")]
        self.assertEqual([body for body in said if body != "before"], [f"meanwhile {number}" for number in range(5)])

    async def test_a_node_stands_still_that_another_one_pipes_to(self) -> None:
        """Its clients at the other one are not left in the belief that somebody hears them."""
        one, other = await self.nodes()
        alice, _phone, place = await self.in_a_room(one)
        laptop = await self.client(alice, "laptop", proxy=other)
        await self.join(laptop, place)
        one.process.process.send_signal(signal.SIGSTOP)
        try:
            await other.process.says(rf"is in {place}, as alice", LONG)
            await laptop.until_lost(LONG)
            again = await self.client(alice, "laptop", proxy=other)
            await self.join(again, place)
        finally:
            one.process.process.send_signal(signal.SIGCONT)

    async def test_a_client_comes_back_at_once_when_a_node_ends(self) -> None:
        """Its account is the other node's a moment later: it is not told to try again."""
        one, other = await self.nodes()
        alice, phone, place = await self.in_a_room(one)
        stopped = deferToThread(one.stop)
        await phone.until_lost()
        again = await self.client(alice, "phone", proxy=other)
        await self.join(again, place)
        await stopped

    async def test_a_node_ends_in_order(self) -> None:
        """Its accounts go on elsewhere at once."""
        one, other = await self.nodes()
        alice, _phone, place = await self.in_a_room(one)
        await deferToThread(one.stop)
        await other.process.says(rf"is in {place}, as alice", LONG)
        self.assertEqual(self.holder(alice), "node-1")
        again = await self.client(alice, "phone", proxy=other)
        await self.join(again, place)


@on_both_servers
class CutOffTests(ClusterCase):
    """A node that does not reach what it needs."""

    async def test_from_the_database(self) -> None:
        """It serves until its row has run out, says so, and ends; the other one takes over."""
        relay = Relay(postgresql.cluster().port)
        relay.start()
        self.addCleanup(relay.stop)
        one, other = self.node(database=relay.port), self.node()
        await self.start(one)
        await self.start(other)
        alice, phone, place = await self.in_a_room(one)
        relay.silence()
        await phone.barrier()  # the server is there, and so is the client
        await one.process.says("no sign of life could be given in time.*this proxy ends", LONG)
        await phone.until_lost()
        self.assertEqual(await deferToThread(one.process.process.wait, 60), 1)
        await other.process.says(rf"is in {place}, as alice", LONG)
        self.assertEqual(self.holder(alice), "node-1")

    async def test_from_its_peers(self) -> None:
        """Who comes to another node is told to come later, and is served when the way is there again."""
        one, other = await self.nodes()
        alice, phone, place = await self.in_a_room(one)
        socket, away = one.directory / "internal.sock", one.directory / "away.sock"
        socket.rename(away)
        laptop = await self.connect(proxy=other)
        await laptop.open()
        await laptop.starttls()
        await laptop.open()
        answer = await laptop.authenticate(alice.username, alice.password)
        self.assertEqual(next(child.name for child in answer.element.elements()), "temporary-auth-failure")
        await self.say(phone, place, "as before")
        away.rename(socket)
        again = await self.client(alice, "laptop", proxy=other)
        await self.join(again, place)
        self.assertEqual(self.holder(alice), "node-0")
