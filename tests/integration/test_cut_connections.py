"""Connections that are lost in the middle of everything, again and again: nothing is lost, nothing comes twice, and the
order is kept, one to one and in rooms, both ways."""

from __future__ import annotations

from tests.integration.cases import on_all_servers, on_both_servers, on_servers
from tests.integration.correspondents import Correspondent, same_order
from tests.integration.managedcase import ManagedCase
from tests.integration.prosody import Prosody
from tests.integration.relay import Relay
from tests.integration.servers import Server, fresh

COUNT = 60  # messages of each to the other, and to the room
EVERY = 12  # stanzas from one loss to the next


class CorrespondentsCase(ManagedCase):
    timeout = 240

    async def correspondents(self, every: int = EVERY) -> tuple[Correspondent, Correspondent]:
        """alice and bob, each behind a relay, in a room."""
        room = self.room()
        alice, bob = [await self.correspondent(name, room, every) for name in ("alice", "bob")]
        await alice.begin(bob)
        await bob.begin(alice)
        return alice, bob

    async def correspondent(self, name: str, room: str, every: int) -> Correspondent:
        relay = Relay(self.entrance)
        relay.start()
        self.addCleanup(relay.stop)
        device = await self.device(await self.account(name), port=relay.port)
        self.addCleanup(device.drop_all)
        correspondent = Correspondent(device, relay, room, COUNT, every)
        correspondent.archive_has_rooms = self.direct
        return correspondent

    async def finish(self, *both: Correspondent) -> None:
        """Everything has come; prove it."""
        for one in both:
            await one.has_all()
        for one in both:
            await one.stop()
        for one in both:
            await one.device.barrier(one.room)
            await one.device.until_acknowledged()
            one.device.check()
        wrong = [fault for one in both for fault in one.wrong()] + same_order(*both)
        if wrong:
            self.fail("\n".join(wrong) + "".join("\n" + one.device.transcript() for one in both))


class CutCase(CorrespondentsCase):
    async def test_cut_again_and_again(self) -> None:
        both = await self.correspondents()
        for one in both:
            one.stay()
            one.talk()
        await self.finish(*both)
        for one in both:
            self.assertEqual(one.anew, 0, "every stream was resumed")
            self.assertGreater(one.device.resumptions, COUNT // EVERY)


class KilledCase(CorrespondentsCase):
    """The server is killed between, with messages on their way, and its room is restarted."""

    @property
    def entrance(self) -> int:
        return self.server.port if self.direct else self.behind.port

    def setUp(self) -> None:
        super().setUp()
        self.server: Server = fresh(self.kind)
        self.addCleanup(lambda: self.server.process.stop())
        if not self.direct:
            self.behind = self.own_proxy()

    async def kill(self, *both: Correspondent) -> None:
        """With kill -9. Some messages have been sent, and not been looked at; what was acknowledged is on disk."""
        for one in both:
            one.quiet = True
            await one.stop()
        for one in both:
            await one.device.barrier(one.room)
            await one.device.until_acknowledged()
        await self.server.sync()
        self.server.process.pause()
        for one in both:
            one.quiet = False
            one.talk()
        await self.server.restart(kill=True)
        for one in both:
            await one.device.line.until_lost()

    async def test_killed(self) -> None:
        both = await self.correspondents(EVERY if not self.direct or self.kind is Prosody else 0)
        for goal in (COUNT // 3, COUNT * 2 // 3):
            for one in both:
                one.stay()
                one.talk()
            await both[0].has_heard(goal)
            await self.kill(*both)
            for one in both:
                await one.come_back()
        for one in both:
            one.stay()
            one.talk()
        await self.finish(*both)
        self.assertGreater(both[0].anew, 0)


@on_all_servers
class CutTests(CutCase):
    """Through the proxy."""


@on_servers(Prosody)
class DirectCutTests(CutCase):
    """ejabberd 23.01 itself loses some of what it routes in the instant in which a stream is resumed, or mixes up its
    order, and has the room throw out the device."""

    direct = True


@on_both_servers
class KilledTests(KilledCase):
    """Through the proxy. A server without stream management says of nothing that it was handled."""


@on_both_servers
class DirectKilledTests(KilledCase):
    direct = True


del CorrespondentsCase, CutCase, KilledCase
