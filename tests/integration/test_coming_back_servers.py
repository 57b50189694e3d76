"""The server ends, or its room service does, or it forgets who is in a room: the account comes back by itself."""

from functools import partial

from tests.integration.cases import on_both_servers
from tests.integration.comingback import ReturnCase
from tests.integration.faults import Listener, verdict


@on_both_servers
class RestartedServerTests(ReturnCase):
    async def start(self, **settings: object) -> list[str]:
        await self.begin(own_server=self.kind, **settings)
        rooms = [self.room("one"), self.room("two")]
        for room in rooms:
            await self.bob.open(room)
        self.phone, self.laptop = await self.come("phone", "laptop", rooms=rooms)
        return rooms

    async def server_restarts(self, *, kill: bool) -> None:
        """Again and again, with messages before and after; those that the room took must all arrive."""
        rooms = await self.start()
        for _round in range(2):
            self.bob.start(50.0)
            await self.bob.said(40)
            self.bob.stop()
            await self.settle(self.phone, self.laptop)
            await self.server.sync()
            await self.server.restart(kill=kill)
            await self.bob.come_back(*rooms, wish="<history maxstanzas='0'/>")
            await self.back(*rooms)  # before any client
            self.bob.start(50.0)
            await self.bob.said(20)
            self.bob.stop()
            for device in (self.phone, self.laptop):
                await device.client.until_lost()
                await device.come_back(*rooms)
        await self.check(self.phone, self.laptop, rooms=rooms)

    async def test_stopped(self) -> None:
        await self.server_restarts(kill=False)

    async def test_killed(self) -> None:
        await self.server_restarts(kill=True)

    async def test_killed_in_traffic(self) -> None:
        """None comes twice; and all come that the room's archive still has."""
        rooms = await self.start()
        await self.server.sync()
        self.bob.start(50.0)
        await self.bob.said(60)
        await self.server.restart(kill=True)
        await self.bob.come_back(*rooms, wish="<history maxstanzas='0'/>")
        await self.back(*rooms)
        await self.bob.said(20)
        self.bob.stop()
        for device in (self.phone, self.laptop):
            await device.client.until_lost()
            await device.come_back(*rooms)
        await self.settle(self.phone, self.laptop)
        for room in rooms:
            kept = await self.bob.archived(room)
            for device in (self.phone, self.laptop):
                await device.hears(room, kept)
                self.assertEqual(verdict(device[room].bodies, kept, self.bob.sent[room]), "", self.whole(device))

    def _bob_is_out(self, room: str) -> bool:
        return not self.bob[room].nick

    async def test_room_service_restarts(self) -> None:
        """Attached sessions are not shown out, and not in again."""
        rooms = await self.start()
        for _round in range(2):
            self.bob.start(50.0)
            await self.bob.said(30)
            self.bob.stop()
            await self.settle(self.phone, self.laptop)
            await self.server.restart_rooms()
            if self.server.name == "ejabberd":  # Prosody keeps who is in a room meanwhile
                for room in rooms:
                    await self.bob.client.until(partial(self._bob_is_out, room), "the end of the room")
                    self.bob[room].occupants.clear()
                    await self.bob.enter(room, "<history maxstanzas='0'/>")
            await self.back(*rooms)
        self.bob.start(50.0)
        await self.bob.said(20)
        self.bob.stop()
        await self.check(self.phone, self.laptop, rooms=rooms)
        self.no_join_shown(rooms)

    async def test_room_service_is_down_for_a_while(self) -> None:
        """Whatever the server says of a service that is not there, it is no ban. The stream is lost as well."""
        rooms = await self.start()
        await self.server.stop_rooms()
        self.relay.cut()
        await self.behind.process.says(f"{rooms[0]} does not let .* come back")
        await self.behind.process.says(f"{rooms[1]} does not let .* come back")
        await self.server.start_rooms()
        for room in rooms:
            self.bob[room].occupants.clear()
            await self.bob.enter(room, "<history maxstanzas='0'/>")
        await self.back(*rooms)
        self.assertEqual([self.laptop[room].removals for room in rooms], [[], []])
        for device in (self.phone, self.laptop):
            await device.client.until_lost()
            await device.come_back(*rooms)
        for room in rooms:
            self.bob.speak(room)
        await self.check(self.phone, self.laptop, rooms=rooms)

    async def test_lost_silently(self) -> None:
        """The service forgets the rooms; the own self-ping (XEP-0410) finds it."""
        rooms = await self.start(rooms={"self_ping": 1.0})
        self.bob.start(50.0)
        await self.bob.said(20)
        self.bob.stop()
        await self.settle(self.phone, self.laptop)
        await self.server.lose_rooms(*rooms)
        for room in rooms:
            self.bob[room].occupants.clear()
            await self.bob.enter(room, "<history maxstanzas='0'/>")
        await self.back(*rooms)
        await self.bob.settled()
        for room in rooms:
            self.bob.speak(room)
        await self.check(self.phone, self.laptop, rooms=rooms)
        self.no_join_shown(rooms)

    async def test_lost_silently_and_a_client_asks(self) -> None:
        """A client's own self-ping, while the proxy believes itself in the room, is answered truly."""
        rooms = await self.start(rooms={"fresh": 0.0})
        await self.server.lose_rooms(*rooms)
        for room in rooms:
            await self.phone.client.iq("get", f"{room}/alice", "<ping xmlns='urn:xmpp:ping'/>", 30.0)
        for room in rooms:
            self.bob[room].occupants.clear()
            await self.bob.enter(room, "<history maxstanzas='0'/>")
        await self.back(*rooms)
        for room in rooms:
            self.bob.speak(room)
        await self.check(self.phone, self.laptop, rooms=rooms)
        self.no_join_shown(rooms)

    def no_join_shown(self, rooms: list[str]) -> None:
        for device in (self.phone, self.laptop):
            for room in rooms:
                place = device[room]
                self.assertEqual((place.removals, place.entered, place.subjects), ([], 1, 1), self.whole(device))

    def whole(self, device: Listener) -> str:
        return f"{device.name}: {device.client.transcript()}"
