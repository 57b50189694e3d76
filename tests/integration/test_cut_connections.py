"""Connections that are lost in the middle of everything, again and again: nothing is lost, nothing comes twice, and the
order is kept, one to one and in rooms, both ways."""

from __future__ import annotations

from tests.integration.cases import on_all_servers, on_both_servers, on_servers
from tests.integration.correspondence import COUNT, EVERY, CorrespondentsCase
from tests.integration.correspondents import Correspondent
from tests.integration.prosody import Prosody
from tests.integration.servers import Server, breakable


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
        self.server: Server = breakable(self.kind)
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
            one.to_room_only = not self.server.stream_management
            one.talk()
        await self.server.restart(kill=True)
        for one in both:
            await one.device.line.until_lost()
            one.to_room_only = False

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


@on_all_servers
class KilledTests(KilledCase):
    """Through the proxy. A server without stream management says of nothing that it was handled: what it was given is
    lost if it is not for a room, as it is directly."""


@on_both_servers
class DirectKilledTests(KilledCase):
    direct = True


del CutCase, KilledCase
