"""Stream management (XEP-0198) by clients that lie, forget, repeat themselves, or never come back.

Somebody else on the same proxy must not notice, and nothing of them may be left.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, gatherResults

from tests.hostile.ground import settle
from tests.integration.cases import on_both_servers
from tests.integration.managed import NS_SM, Device, Line
from tests.integration.managedcase import ManagedCase, bodies, enter, hear, say
from tests.integration.ports import free_port
from tests.integration.proxy import Proxy
from tests.integration.servers import Account
from tests.integration.test_status import status

NS_STREAMS = "urn:ietf:params:xml:ns:xmpp-streams"
NO_NUMBERS = ("", "many", "-1", "+1", "1.0", "0x1", "1 ", "\u0661", "4294967296", "9" * 4000)
FLOOD = 20_000  # elements
CROWD = 40  # sessions that sleep
MUCH = [f"{number} {'x' * 1000}" for number in range(120)]


def producer(device: Device) -> Any:
    """What of a connection can be told to read no more."""
    return device.line.transport


class HostileCase(ManagedCase):
    timeout = 180
    own: Proxy | None = None  # else the one that the tests of this server share

    @property
    def entrance(self) -> int:
        return (self.own or self.proxy).port

    async def begin(self, **settings: Any) -> tuple[Device, Device]:
        """Somebody who means harm, and somebody else."""
        if settings:
            self.own = self.own_proxy(**settings)
        return await self.device(await self.account("mallory")), await self.device(await self.account("alice"))

    async def unharmed(self, somebody: Device) -> None:
        """Somebody else has noticed nothing."""
        await somebody.barrier()
        await somebody.until_acknowledged()
        somebody.check()
        self.assertEqual((len(somebody.lines), somebody.connected), (1, True))

    async def left_of(self, account: Account) -> tuple[list[str], list[str]]:
        """The devices that the proxy's status shows for an account, and those of them that are asleep."""
        done = await status(self.own or self.proxy, "--json", "--account", account.jid)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        found = [entry for entry in json.loads(done.stdout)["accounts"] if entry["account"] == account.jid]
        return (found[0]["devices"], found[0]["asleep"]) if found else ([], [])

    async def fails_to_resume(self, device: Device, condition: str = "item-not-found") -> Any:
        """A stream cannot be resumed; the client logs in anew on the same connection (§5), and says goodbye."""
        line = await device.connect()
        line.send(f"<resume xmlns='{NS_SM}' previd='{device.resumable.id}' h='0'/>")
        answer = await self.failed(line, condition)
        await device.bind(line)
        await device.barrier()
        await device.close()
        return answer


@on_both_servers
class WrongNumberTests(HostileCase):
    async def ends(self, mallory: Device, cause: str = "") -> None:
        """The stream ends with an error, at once and for good."""
        condition = f"<undefined-condition xmlns='{NS_STREAMS}'/>{cause}" if cause else ""
        await mallory.line.expect(f"<stream:error>{condition}</stream:error>")
        await mallory.line.until_lost()

    async def test_acknowledged_too_much(self) -> None:
        mallory, alice = await self.begin()
        mallory.line.send(f"<a xmlns='{NS_SM}' h='{mallory.handled + 1}'/>")
        await self.ends(mallory, f"<handled-count-too-high xmlns='{NS_SM}' h='{mallory.handled + 1}'/>")
        await self.fails_to_resume(mallory)
        await self.unharmed(alice)
        self.assertEqual(await self.left_of(mallory.account), ([], []))

    async def test_going_back(self) -> None:
        mallory, alice = await self.begin()
        await mallory.barrier()
        mallory.acknowledge()
        mallory.line.send(f"<a xmlns='{NS_SM}' h='{mallory.handled - 1}'/>")
        await self.ends(mallory)
        await self.fails_to_resume(mallory)
        await self.unharmed(alice)

    async def test_no_number(self) -> None:
        _mallory, alice = await self.begin()
        account = await self.account("eve")
        for number in NO_NUMBERS:
            mallory = await self.device(account)
            mallory.line.send(f"<a xmlns='{NS_SM}' h='{number}'/>")
            await self.ends(mallory)
        mallory = await self.device(account)
        mallory.line.send(f"<a xmlns='{NS_SM}'/>")
        await self.ends(mallory)
        await self.unharmed(alice)
        self.assertEqual(await self.left_of(account), ([], []))

    async def test_resumed_with_too_much(self) -> None:
        """§5: the stream is over, as with an acknowledgement of too much."""
        mallory, alice = await self.begin()
        mallory.drop()
        line = await mallory.connect()
        too_much = mallory.handled + 1
        line.send(f"<resume xmlns='{NS_SM}' previd='{mallory.resumable.id}' h='{too_much}'/>")
        await line.expect("<stream:error/>")
        await line.until_lost()
        await self.unharmed(alice)

    async def test_resumed_with_no_number(self) -> None:
        mallory, alice = await self.begin()
        mallory.drop()
        for number in NO_NUMBERS:
            line = await mallory.connect()
            line.send(f"<resume xmlns='{NS_SM}' previd='{mallory.resumable.id}' h='{number}'/>")
            await line.expect_next(f"<failed xmlns='{NS_SM}'/>")
            line.drop()
        self.assertTrue(await mallory.resume(), "it can be put right")
        await mallory.barrier()
        await self.unharmed(alice)


@on_both_servers
class WrongTimeTests(HostileCase):
    async def test_enabled_twice(self) -> None:
        mallory, alice = await self.begin()
        mallory.line.send(f"<enable xmlns='{NS_SM}' resume='true'/>")
        await self.failed(mallory.line, "unexpected-request")
        await mallory.until_acknowledged()  # nothing began anew
        mallory.drop()
        self.assertTrue(await mallory.resume())
        await mallory.barrier()
        await self.unharmed(alice)

    async def test_enabled_before_binding(self) -> None:
        device = await self.device(come=False)
        line = await device.connect()
        line.send(f"<enable xmlns='{NS_SM}' resume='true'/>")
        await self.failed(line, "unexpected-request")
        await device.bind(line)
        await device.barrier()

    async def test_everything_before_login(self) -> None:
        device = await self.device(come=False)
        for element in ("enable", "resume previd='x' h='0'", "r", "a h='0'", "enabled", "resumed previd='x' h='0'"):
            line = await device.connect(authenticate=False)
            await line.secured()
            name, _, attributes = element.partition(" ")
            line.send(f"<{name} xmlns='{NS_SM}' {attributes}/>")
            await line.until(lambda line=line: bool(line.inbox) or line.stream_closed, "an answer")  # type: ignore[misc]
            self.assertNotIn(b"resumed", line.inbox[0].raw)
            line.drop()
        await device.come()
        await device.barrier()

    async def test_resumed_when_bound(self) -> None:
        mallory, alice = await self.begin()
        other = await self.device(mallory.account, "other")
        for previd in (mallory.resumable.id, other.resumable.id):
            mallory.line.send(f"<resume xmlns='{NS_SM}' previd='{previd}' h='0'/>")
            await self.failed(mallory.line, "unexpected-request")
        for device in (mallory, other, alice):
            await self.unharmed(device)

    async def test_what_only_servers_say(self) -> None:
        mallory, alice = await self.begin()
        for element in ("enabled", "resumed previd='x' h='0'", "failed", "nonsense"):
            name, _, attributes = element.partition(" ")
            mallory.line.send(f"<{name} xmlns='{NS_SM}' {attributes}/>")
        await mallory.line.until(lambda: bool(mallory.line.inbox) or mallory.line.stream_closed, "an answer")
        await self.unharmed(alice)

    async def test_acknowledgements_when_nothing_is_enabled(self) -> None:
        mallory = await self.client(await self.account("mallory"))
        _eve, alice = await self.begin()
        mallory.send(f"<a xmlns='{NS_SM}' h='7'/><r xmlns='{NS_SM}'/>")
        await settle(mallory)
        self.assertFalse([one for one in mallory.received if one.element.name == "a"])
        await self.unharmed(alice)


@on_both_servers
class WrongSessionTests(HostileCase):
    async def test_of_another_account(self) -> None:
        """Neither one that is alive nor one that sleeps; and nothing is told of it."""
        mallory, alice = await self.begin()
        sleeper = await self.device(alice.account, "tablet")
        sleeper.drop()
        for victim in (alice, sleeper):
            line = await mallory.connect()
            line.send(f"<resume xmlns='{NS_SM}' previd='{victim.resumable.id}' h='0'/>")
            answer = await self.failed(line, "item-not-found")
            self.assertIsNone(answer.get("h"))
            line.drop()
        await self.unharmed(alice)
        self.assertTrue(await sleeper.resume())
        await sleeper.barrier()

    async def test_of_one_that_ended_a_moment_ago(self) -> None:
        """`h` tells what was handled, to its own account only, so that nothing is said twice or never."""
        mallory, alice = await self.begin()
        tablet = await self.device(alice.account, "tablet")
        await tablet.until_acknowledged()
        await tablet.until(lambda: not tablet.out, "the acknowledgement of the barrier, too")
        await tablet.close()
        line = await mallory.connect()
        line.send(f"<resume xmlns='{NS_SM}' previd='{tablet.resumable.id}' h='0'/>")
        self.assertIsNone((await self.failed(line, "item-not-found")).get("h"))
        line.drop()
        self.assertEqual((await self.fails_to_resume(tablet)).get("h"), str(tablet.sent))
        await self.unharmed(alice)

    async def test_twice_at_once(self) -> None:
        """One has it in the end, the other is told so."""
        mallory, alice = await self.begin()
        mallory.drop()
        lines: list[Line] = await gatherResults([Deferred.fromCoroutine(mallory.connect()) for _ in range(4)])
        mallory.managed = False
        for line in lines:
            line.send(f"<resume xmlns='{NS_SM}' previd='{mallory.resumable.id}' h='{mallory.handled}'/>")
        for line in lines:
            await line.expect(f"<resumed xmlns='{NS_SM}'/>")
        # which of them the proxy reads last, and so lets have it, is not for the test to say
        left, ends = list(lines), [Deferred.fromCoroutine(line.expect_close("conflict")) for line in lines]
        while len(left) > 1:
            _, ended = await DeferredList(ends, fireOnOneCallback=True, fireOnOneErrback=True, consumeErrors=True)
            del left[ended], ends[ended]
        ends[0].cancel()
        await self.unharmed(alice)
        self.assertIsNone(left[0].lost)
        left[0].drop()
        self.assertTrue(await mallory.resume())
        await mallory.barrier()

    async def test_from_another_address(self) -> None:
        """A phone that leaves the house: id and login are what counts."""
        relayed = free_port()
        self.own = self.own_proxy(listen=[{"endpoint": f"haproxy:tcp:{relayed}:interface=127.0.0.1"}])
        await self.own.process.says(rf"starting on {relayed}\b")
        phone = Device(await self.account(), relayed)
        self.devices.append(phone)
        header = "PROXY TCP4 {} 127.0.0.1 5 {}\r\n"
        await phone.bind(await phone.connect(before=header.format("192.0.2.1", relayed)))
        self.assertTrue(await phone.resume(await phone.connect(before=header.format("198.51.100.7", relayed))))
        await phone.barrier()
        await phone.until_acknowledged()

    async def test_an_id_that_cannot_be(self) -> None:
        mallory, alice = await self.begin()
        for previd in ("", "&apos;&lt;&#x41;", "x" * 5000, f"{mallory.resumable.id} "):
            line = await mallory.connect()
            line.send(f"<resume xmlns='{NS_SM}' previd='{previd}' h='0'/>")
            await line.expect_next(f"<failed xmlns='{NS_SM}'/>")
            line.drop()
        await mallory.barrier()
        await self.unharmed(alice)


@on_both_servers
class EndlessTests(HostileCase):
    async def test_acknowledgements_without_end(self) -> None:
        mallory, alice = await self.begin()
        await mallory.barrier()
        mallory.line.send(f"<a xmlns='{NS_SM}' h='{mallory.handled}'/>" * FLOOD)
        await mallory.barrier()
        await self.unharmed(alice)
        await self.unharmed(mallory)

    async def test_requests_without_end(self) -> None:
        """Each is answered; who does not read the answers cannot ask for more than its share of memory."""
        mallory, alice = await self.begin()
        producer(mallory).pauseProducing()
        mallory.line.send(f"<r xmlns='{NS_SM}'/>" * FLOOD)
        await self.unharmed(alice)
        producer(mallory).resumeProducing()
        await mallory.until(lambda: mallory.told >= FLOOD or not mallory.connected, "the answers, or the end", 60.0)
        await self.unharmed(alice)

    async def talk(self, room: str, *bodies: str) -> None:
        """Somebody who is not behind the proxy says that, one after the other."""
        bob = await self.client(await self.account("bob"), direct=True)
        await enter(bob, room, "bob")
        for body in bodies:
            say(bob, room, body, "groupchat")
            await hear(bob, body)

    async def test_a_client_that_never_acknowledges(self) -> None:
        """It reads all, and acknowledges nothing: what is kept for it has a bound, at which it ends in order."""
        mallory, alice = await self.begin(limits={"send_queue": 65536})
        mallory.answers = False
        room = self.room()
        await enter(mallory, room, "mallory")
        await self.talk(room, *MUCH)
        await mallory.line.until_lost()
        await self.unharmed(alice)
        self.assertEqual(await self.left_of(mallory.account), ([], []))

    async def test_too_much_for_one_that_sleeps(self) -> None:
        """Its session ends; what a room said comes all the same when the device is back.

        All of it names the phone's owner: what can wait is held back as references, and costs next to nothing.
        """
        calls = [f"mallory: {text}" for text in MUCH]
        phone, alice = await self.begin(limits={"send_queue": 65536})
        room = self.room()
        await enter(phone, room, "mallory")
        await phone.barrier(room)
        phone.acknowledge()
        await phone.until_acknowledged()
        phone.drop()
        await phone.line.until_lost()
        await self.talk(room, *calls)
        self.assertFalse(await phone.resume())
        await phone.bind(phone.line)
        await enter(phone, room, "mallory")
        await phone.barrier(room)
        self.assertEqual(bodies(phone), calls)
        await self.unharmed(alice)

    async def test_a_session_that_sleeps_and_never_comes_back(self) -> None:
        mallory, alice = await self.begin(sessions={"resume": 2})
        self.assertEqual(mallory.resumable.max, 2)
        other = await self.device(mallory.account, "other")
        await other.expect(f"<presence from='{mallory.jid}'/>")
        mallory.drop()
        await other.expect(f"<presence type='unavailable' from='{mallory.jid}'/>", 30.0)
        self.assertEqual(await self.left_of(mallory.account), (["other"], []))
        await self.fails_to_resume(mallory)
        await self.unharmed(alice)

    async def test_many_that_never_come_back(self) -> None:
        """One account may have so many asleep: of more, the longest asleep ends."""
        mallory, alice = await self.begin(sessions={"sleeping_per_account": 5})
        first = mallory
        for number in range(CROWD):
            device = await self.device(mallory.account, f"device{number}", online=number % 10 == 0)
            device.drop()
            await device.line.until_lost()
            self.devices.remove(device)
        await self.unharmed(first)
        awake, asleep = await self.left_of(mallory.account)
        self.assertEqual(sorted(asleep), sorted(f"device{number}" for number in range(CROWD - 5, CROWD)))
        self.assertEqual(len(awake), 6)
        self.assertTrue(await device.resume())
        await device.barrier()
        await device.close()
        await self.unharmed(alice)


del HostileCase
