"""Somebody waits for ever (issue 8, A18): whoever asks to join is answered, whatever happens meanwhile."""

from tests.integration.cases import on_both_servers
from tests.integration.client import Client
from tests.integration.comingback import ReturnCase
from tests.integration.proxied import condition
from tests.integration.test_owner_commands import NS_MUC, OwnerCase, field

WITHIN = 8.0  # seconds, below all time-outs of joins and leaves


@on_both_servers
class WaitingTests(OwnerCase, ReturnCase):
    async def come_both(self) -> tuple[Client, Client]:
        """Phone and tablet; neither is in a room."""
        await self.begin(rooms={"bookmarks": "off"})
        phone = await self.client(self.alice, "phone", proxy=self.behind)
        return phone, await self.client(self.alice, "tablet", proxy=self.behind)

    def ask_to_join(self, client: Client, room: str) -> None:
        client.send(f"<presence to='{room}/alice' id='ask'><x xmlns='{NS_MUC}'/></presence>")

    async def leave_by_command(self, client: Client, room: str) -> None:
        begun = await self.execute(client, client.bare, "leave")
        await self.execute(client, client.bare, "leave", field("rooms", room), begun["sessionid"], "complete")

    async def is_refused(self, client: Client, room: str) -> None:
        error = await client.expect(f"<presence type='error' from='{room}/alice' id='ask'/>", WITHIN)
        self.assertEqual(condition(error), "recipient-unavailable")

    async def test_a_leave_while_the_stream_is_lost(self) -> None:
        phone, tablet = await self.come_both()
        await self.listed(phone, phone.bare)
        room = self.room()
        await self.bob.open(room)
        await self.in_room(phone, room)
        await self.bob.sees(room, "alice")
        await self.relay.refuse()
        self.relay.cut(self.relay.links[-1])
        await self.away(room)
        await self.behind.process.says("account stream lost its connection")
        self.ask_to_join(tablet, room)
        await self.leave_by_command(phone, room)
        await self.is_refused(tablet, room)
        await phone.expect(f"<presence type='unavailable' from='{room}/alice'/>")
        # and it is not the end of anything
        self.relay.start()
        await self.in_room(tablet, room)
        await self.back(room)

    async def test_a_leave_while_a_silent_room_is_asked(self) -> None:
        phone, tablet = await self.come_both()
        await self.listed(phone, phone.bare)
        await self.in_room(phone)
        self.relay.silence(self.relay.links[-1])
        room = self.room()
        self.ask_to_join(tablet, room)
        await self.leave_by_command(phone, room)
        await self.is_refused(tablet, room)

    async def test_forgotten_while_a_silent_room_is_asked(self) -> None:
        phone, tablet = await self.come_both()
        await self.listed(phone, phone.bare)
        await self.in_room(phone)
        self.relay.silence(self.relay.links[-1])
        room = self.room()
        self.ask_to_join(tablet, room)
        begun = await self.execute(phone, phone.bare, "forget")
        await self.execute(phone, phone.bare, "forget", field("confirm", "1"), begun["sessionid"], "complete")
        await self.is_refused(tablet, room)
