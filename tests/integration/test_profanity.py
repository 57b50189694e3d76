"""What profanity showed: it keeps no history of rooms, has a fixed resource, and closes the window of a room left.

(It opens a chat with the room for each sent copy of a private message, directly too; there is nothing to test.)
"""

import re

from tests.integration.cases import IntegrationTestCase, on_both_servers
from tests.integration.profanity import Profanity

NS_COMMANDS = "http://jabber.org/protocol/commands"
NS_MUC = "http://jabber.org/protocol/muc"
SHOWN = 20  # messages, by a room that is asked for no number


@on_both_servers
class ProfanityTests(IntegrationTestCase):
    def setUp(self) -> None:
        self.need(Profanity.missing())
        super().setUp()

    async def begin(self, *said: str) -> None:
        """Bob owns a room and has said something."""
        self.alice, self.place = await self.account("alice"), self.room()
        self.bob = await self.client(await self.account("bob"), "desk", direct=True)
        self.bob.send(f"<presence to='{self.place}/bob'><x xmlns='{NS_MUC}'/></presence>")
        await self.bob.expect(f"<message from='{self.place}' type='groupchat'><subject/></message>")
        for text in said:
            await self.says(text)

    async def says(self, text: str) -> None:
        self.bob.send(f"<message to='{self.place}' type='groupchat'><body>{text}</body></message>")
        await self.bob.expect(f"<message from='{self.place}/bob'><body>{text}</body></message>")

    async def device(self, resource: str) -> Profanity:
        device = Profanity(self.alice, resource)
        await self.says_password(self.alice)
        await device.login(self.proxy.port)
        self.addCleanup(device.logout)
        return device

    async def kick(self) -> None:
        item = f"<item nick='{self.alice.username}' role='none'><reason>enough</reason></item>"
        await self.succeeds(self.bob, self.place, f"<query xmlns='{NS_MUC}#admin'>{item}</query>")

    async def leave_by_command(self) -> None:
        """As another device tells the account."""
        tablet = await self.client(self.alice, "tablet")
        begun = await self.succeeds(tablet, self.alice.jid, f"<command xmlns='{NS_COMMANDS}' node='leave'/>")
        form = f"<x xmlns='jabber:x:data' type='submit'><field var='rooms'><value>{self.place}</value></field></x>"
        attributes = f"node='leave' action='complete' sessionid='{begun['sessionid']}'"
        await self.succeeds(tablet, self.alice.jid, f"<command xmlns='{NS_COMMANDS}' {attributes}>{form}</command>")

    async def test_two_profiles(self) -> None:
        await self.begin("before")
        mine = self.alice.username
        laptop, phone = await self.device("laptop"), await self.device("phone")
        for device in (laptop, phone):
            await device.join(self.place)
            self.assertIn(" bob: before", await device.shows(rf"(?s)^.* bob$.* {mine}$"))
        await self.says("hello both")
        for device in (laptop, phone):
            await device.shows(r" bob: hello both\b")
        laptop.type("from the laptop")
        await phone.shows(r" from the laptop\b")
        phone.type("from the phone")
        for device in (laptop, phone):
            screen = await device.shows(r" from the phone\b")
            said = re.findall(r" (\w+): (before|hello both|from the \w+)\b", screen)
            self.assertEqual([text for _, text in said], ["before", "hello both", "from the laptop", "from the phone"])
            self.assertEqual([nick for nick, _ in said], ["bob", "bob", mine, mine])
        await self.kick()
        for device in (laptop, phone):
            await device.shows(rf"Kicked from {self.place}.*, reason: enough")
            await device.join(self.place)
        phone.type("/close")
        await phone.shows("Closed window")
        await self.says("without the phone")
        await laptop.shows(r" bob: without the phone\b")
        laptop.type("still here")
        await self.bob.expect(f"<message from='{self.place}/{mine}'><body>still here</body></message>")
        await self.leave_by_command()
        await laptop.shows(rf"Kicked from {self.place}, reason: The account has left this room: one of its devices")

    async def test_coming_back(self) -> None:
        """What a room shows by itself is shown to a device that has seen it, too: its screen was empty.

        If it has not acknowledged the first messages by then, those of them are shown that the room alone would not.
        """
        await self.begin(*(f"message {number}" for number in range(1, SHOWN + 3)))
        device = await self.device("laptop")
        screen = await device.join(self.place)
        self.assertEqual(self.texts(screen), [f"message {number}" for number in range(3, SHOWN + 3)])
        await device.kill()
        await self.says("message away")
        may_be = [[*(f"message {number}" for number in range(first, SHOWN + 3)), "message away"] for first in (3, 4)]
        await device.login(self.proxy.port)
        self.assertIn(self.texts(await device.join(self.place)), may_be)
        await device.logout()
        await device.login(self.proxy.port)
        self.assertIn(self.texts(await device.join(self.place)), may_be, "though nothing is new")

    def texts(self, screen: str) -> list[str]:
        return re.findall(r" bob: (message \w+)", screen)
