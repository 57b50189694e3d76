"""Bounds in bytes (issue 8, A10): large presences of occupants cost so much, and who joins later is shown everybody."""

from tests.integration.cases import on_both_servers
from tests.integration.test_owner_commands import NS_MUC, OwnerCase

OCCUPANTS = 12
SIZE = 100_000


@on_both_servers
class BoundsTests(OwnerCase):
    async def test_large_presences(self) -> None:
        proxy = self.own_proxy(rooms={"room_memory": 256 * 1024, "account_memory": 1024 * 1024})
        alice = await self.account("alice")
        phone = await self.client(alice, "phone", proxy=proxy)
        room = await self.in_room(phone)
        mallory = await self.account("mallory")
        for number in range(OCCUPANTS):
            client = await self.client(mallory, f"m{number}", direct=True, online=False)
            client.ignore = lambda stanza: stanza.element.name == "presence" and not _is_own(str(stanza))
            payload = f"<show>dnd</show><status>{'x' * SIZE}</status><x xmlns='{NS_MUC}'/>"
            client.send(f"<presence to='{room}/m{number}'>{payload}</presence>")
            await client.expect(f"<presence><x xmlns='{NS_MUC}#user'><status code='110'/></x></presence>")
        for number in range(OCCUPANTS):
            shown = await phone.expect(f"<presence from='{room}/m{number}'/>")
            self.assertGreater(len(str(shown.element.status)), SIZE - 1)
        tablet = await self.client(alice, "tablet", proxy=proxy)
        await self.in_room(tablet, room)
        sizes = []
        for number in range(OCCUPANTS):
            shown = await tablet.expect(f"<presence from='{room}/m{number}'><show>dnd</show></presence>")
            sizes.append(len(shown.raw))
        self.assertLess(sum(sizes), 256 * 1024)
        for device in (phone, tablet):
            await device.barrier(room)


def _is_own(text: str) -> bool:
    return "code='110'" in text or 'code="110"' in text
