"""What arrives while clients are away is kept over a kill of the proxy, and each client gets it once."""

from collections.abc import Callable

from tests.integration.cases import on_both_servers
from tests.integration.comingback import ReturnCase
from tests.integration.faults import Listener
from tests.integration.xmlcut import Received

NS_CORRECT = "urn:xmpp:message-correct:0"
NS_RETRACT = "urn:xmpp:message-retract:1"


@on_both_servers
class MissedTests(ReturnCase):
    async def start(self, *resources: str) -> list[Listener]:
        await self.begin()
        self.place = self.room()
        await self.bob.open(self.place)
        devices = await self.come(*resources, rooms=[self.place])
        await self.back(self.place)
        return devices

    async def gone(self, *devices: Listener) -> None:
        for device in devices:
            await device.client.close()  # in order: what came just before a cut may come again

    def privates(self, device: Listener) -> list[str]:
        return [stanza.text for stanza in device.client.inbox if self.is_private(stanza)]

    @staticmethod
    def is_private(stanza: Received) -> bool:
        return stanza.element.name == "message" and stanza.get("type") == "chat" and "<body" in str(stanza)

    async def until_private(self, device: Listener, count: int) -> None:
        await device.client.until(lambda: len(self.privates(device)) >= count, f"{count} private messages")

    def whisper(self, body: str) -> None:
        self.bob.client.send(f"<message to='{self.place}/alice' type='chat' id='{body}'><body>{body}</body></message>")

    async def test_each_device_gets_what_it_missed(self) -> None:
        phone, laptop = await self.start("phone", "laptop")
        await self.gone(laptop)
        first = [self.bob.speak(self.place) for _number in range(30)]
        await phone.hears(self.place, first)
        await self.gone(phone)
        second = [self.bob.speak(self.place) for _number in range(30)]
        await self.bob.hears(self.place, second)
        await self.kill_and_return(self.place)
        await phone.come_back(self.place)
        await phone.hears(self.place, first + second)
        third = [self.bob.speak(self.place) for _number in range(3)]
        await laptop.come_back(self.place)
        await self.check(phone, laptop, rooms=[self.place])
        self.assertEqual([heard.body for heard in laptop[self.place].heard if heard.delayed][:60], first + second)
        self.assertEqual(phone[self.place].bodies, first + second + third)

    async def test_private_messages_once(self) -> None:
        phone, laptop = await self.start("phone", "laptop")
        await self.gone(phone, laptop)
        other = self.room()
        await self.bob.open(other)
        (witness,) = await self.come("witness", rooms=[other])
        self.whisper("one")
        await self.bob.hears(self.place, [self.bob.speak(self.place)])  # that room has passed it on, too
        # what a client is told is on disk, with all that came before it on the account stream
        await witness.hears(other, [self.bob.speak(other)])
        await self.kill_and_return(self.place)
        self.whisper("two")
        await self.bob.settled()
        await phone.come_back(self.place)
        await self.until_private(phone, 2)
        await laptop.come_back(self.place)
        await self.settle(phone, laptop)
        self.assertEqual((self.privates(phone), self.privates(laptop)), (["one", "two"], []))
        await self.kill_and_return(self.place)
        await phone.come_back(self.place)
        await laptop.come_back(self.place)
        await self.settle(phone, laptop)
        self.assertEqual((self.privates(phone), self.privates(laptop)), ([], []))

    async def shown(self, *says: str, expected: Callable[[str], bool]) -> None:
        """Bob says these with no client there; after a kill the phone is told what came of the first."""
        (phone,) = await self.start("phone")
        await self.gone(phone)
        other = self.room()
        await self.bob.open(other)
        (witness,) = await self.come("witness", rooms=[other])
        for number, content in enumerate(says):
            identity = f"m{number}"
            self.bob.client.send(
                f"<message to='{self.place}' type='groupchat' id='{identity}'>{content}"
                f"<origin-id xmlns='urn:xmpp:sid:0' id='{identity}'/></message>"
            )
        self.bob.speak(self.place)
        await self.bob.hears(self.place, self.bob.sent[self.place])
        # What a client is told is on disk, with all that came before it on the account stream. Who has a nick in a room
        # without occupant-ids is known only to who is there.
        await witness.hears(other, [self.bob.speak(other)])
        for _round in range(2):
            await self.kill_and_return(self.place)
            await phone.come_back(self.place, wish="<history maxstanzas='50'/>")
            await phone.hears(self.place, self.bob.sent[self.place])
            replayed = [
                str(stanza)
                for stanza in phone.client.received
                if stanza.get("type") == "groupchat" and (stanza.get("from") or "").startswith(f"{self.place}/")
            ]
            whole = "\n".join(replayed)
            self.assertTrue(expected(whole), whole)

    async def test_correction(self) -> None:
        await self.shown(
            "<body>helo</body>",
            f"<body>hello</body><replace xmlns='{NS_CORRECT}' id='m0'/>",
            expected=lambda whole: "<body>hello</body>" in whole and "<body>helo</body>" not in whole,
        )

    async def test_retraction(self) -> None:
        await self.shown(
            "<body>secret</body>",
            f"<retract xmlns='{NS_RETRACT}' id='m0'/><body>retracted</body>",
            expected=lambda whole: "secret" not in whole,
        )
