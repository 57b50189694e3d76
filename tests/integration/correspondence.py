"""What tests of correspondents begin with: alice and bob, each behind a relay, in a room; and the proof at the end."""

from __future__ import annotations

from tests.integration.correspondents import Correspondent, same_order
from tests.integration.managedcase import ManagedCase
from tests.integration.relay import Relay

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
