"""Gajim and Dino, as their users have them, through cuts and silence: they resume, and nothing is lost or comes twice.

What they received is read from what they keep themselves; what they said, and whether they left, others see.
"""

from __future__ import annotations

import re
from typing import Any

from tests.integration.cases import IntegrationTestCase, on_both_servers
from tests.integration.client import Client
from tests.integration.dino import Dino, OnionEjabberd, OnionProsody
from tests.integration.gajim import Gajim
from tests.integration.managedcase import bodies, enter, hear, say
from tests.integration.relay import Relay

BURST = 5  # messages of bob at once, in the room and to alice
BOOKMARKS = (
    "<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='urn:xmpp:bookmarks:1'><item id='{room}'>"
    "<conference xmlns='urn:xmpp:bookmarks:1' autojoin='true'><nick>alice</nick></conference>"
    "</item></publish></pubsub>",
    "<query xmlns='jabber:iq:private'><storage xmlns='storage:bookmarks'>"
    "<conference jid='{room}' autojoin='true' name='room'><nick>alice</nick></conference></storage></query>",
)


class DesktopCase(IntegrationTestCase):
    """alice's device behind a relay, bob directly at the server; `direct`: alice, too."""

    direct = False
    timeout = 180
    make: Any
    device: Any
    bob: Client

    async def begin(self) -> None:
        """The device logs in, joins the room that it has a bookmark of, and gets what was said before.

        Dino 0.4.2 may lose what comes while it reads the archive: so nothing is said meanwhile.
        """
        self.relay = self.entrance(self.server.port if self.direct else self.proxy.port)
        self.relay.start()
        self.addCleanup(self.relay.stop)
        self.place, self.alice = self.room(), await self.account("alice")
        self.bob = await self.client(await self.account("bob"), "desk", direct=True)
        await enter(self.bob, self.place, "bob")
        await self.bookmark()
        self.said: list[str] = []  # by bob, at each place
        self.said_by_alice: list[str] = []
        say(self.bob, self.place, "bob earlier", "groupchat")
        say(self.bob, self.alice.jid, "bob earlier")
        self.said.append("bob earlier")
        await self.bob.barrier(self.place)
        self.device = self.make_device()
        self.addCleanup(self.device.logout)
        if not self.direct:
            await self.says_password(self.alice)
        self.before = 0 if self.direct else len(self.proxy.log)
        await self.device.login(self.relay.port)
        await self.bob.expect(f"<presence from='{self.place}/alice'/>", 60)
        self.assertRegex(" ".join(self.device.mechanisms()), r"^SCRAM-SHA-\d+$", "as its own log has it")
        await self.has_all()

    def entrance(self, port: int) -> Relay:
        return Relay(port)

    def make_device(self) -> Any:
        raise NotImplementedError

    async def bookmark(self) -> None:
        """In both ways that there are: Gajim 1.7 reads private XML on ejabberd 23.01."""
        helper = await self.client(self.alice, "helper", direct=True)
        for bookmarks in BOOKMARKS:
            await self.succeeds(helper, None, bookmarks.format(room=self.place))
        await helper.close()

    def bob_says(self, what: str) -> None:
        """Several things at once, in the room and to the device."""
        texts = [f"bob {what} {number}" for number in range(BURST)]
        for text in texts:
            say(self.bob, self.place, text, "groupchat")
            say(self.bob, self.device.jid, text)
        self.said += texts

    async def alice_says(self, what: str) -> None:
        text = f"alice {what}"
        await self.device.write(self.place, text, room=True)
        await self.device.write(self.bob.bare, text, room=False)
        self.said_by_alice.append(text)

    async def bob_hears(self, what: str) -> None:
        await hear(self.bob, f"alice {what}", f"{self.place}/alice")
        await hear(self.bob, f"alice {what}", self.device.jid)

    async def has_all(self) -> None:
        """Wait until the device keeps the last that bob said, at both places."""
        last = self.said[-1]
        places = (self.place, self.bob.bare)
        await self.device.messages.until(
            lambda rows: all(any((at, text) == (place, last) for at, text, *_ in rows) for place in places), repr(last)
        )

    async def through(self, number: int, what: str) -> None:
        """The device is back, its stream resumed; all that was said meanwhile has come, and what is said now comes."""
        await self.device.resumed(number)
        await self.has_all()
        await self.bob_hears(what)

    async def conversation(self) -> None:
        await self.begin()
        self.bob_says("alive")
        await self.has_all()
        await self.alice_says("alive")
        await self.bob_hears("alive")
        # in the middle of all that
        self.bob_says("before a reset")
        await self.alice_says("before a reset")
        link = self.relay.links[-1]
        self.bob_says("in a reset")
        self.relay.cut(link)
        await self.through(1, "before a reset")
        # nothing comes through any more, and nobody is told
        link = self.relay.links[-1]
        self.relay.lose(link)
        self.bob_says("in silence")
        await self.alice_says("in silence")
        await self.notices(link)
        await self.through(2, "in silence")
        self.bob_says("again")
        await self.has_all()
        await self.alice_says("again")
        await self.bob_hears("again")
        await self.prove()

    async def notices(self, link: Any) -> None:
        """The device notices that its connection is dead."""
        self.relay.strand(link)

    async def prove(self) -> None:
        """Nothing is missing, nothing is there twice, the order is kept, and alice was in the room all the time."""
        await self.bob.barrier(self.place)
        await self.device.messages.until(lambda rows: len(self.kept(rows, self.place, "alice")) >= 4, "alice's own")
        rows = self.device.messages.rows()
        for place in (self.place, self.bob.bare):
            self.assertEqual(self.kept(rows, place, "bob"), self.said, f"what bob said at {place}")
            self.assertEqual(sorted(self.kept(rows, place, "alice")), sorted(self.said_by_alice), f"her own at {place}")
        for kind in ("chat", "groupchat"):
            came = [body for body in bodies(self.bob, kind) if body.startswith("alice ")]
            self.assertEqual(came, self.said_by_alice, f"what bob heard: {kind}")
        self.assertEqual([one for one in self.bob.received if one.get("type") == "unavailable"], [], "alice never left")
        self.assertEqual(self.device.resumptions(), 2)
        if not self.direct:
            await self.log_is_read(self.proxy)
            resumed = rf"session of {re.escape(self.device.jid)} is resumed"
            lines = [line for line in self.proxy.log[self.before :] if re.search(resumed, line)]
            self.assertEqual(len(lines), 2, "the proxy's log")

    @staticmethod
    def kept(rows: list[Any], place: str, who: str) -> list[str]:
        """What the device keeps of what was said by somebody at a place, in its order."""
        return [text for at, text, *_ in rows if at == place and text.startswith(f"{who} ")]


class GajimCase(DesktopCase):
    def setUp(self) -> None:
        self.need(Gajim.missing())
        super().setUp()

    def make_device(self) -> Gajim:
        server = self.server
        certificate = server.certificate if self.direct else self.proxy.directory / f"{server.domain}.pem"
        return Gajim(self.alice, "laptop", certificate)

    async def test_through_cuts(self) -> None:
        """Its network tells it that the connection is gone; by itself it would ask every three minutes."""
        await self.conversation()


class DinoCase(DesktopCase):
    kinds = (OnionProsody, OnionEjabberd)

    def setUp(self) -> None:
        self.need(Dino.missing())
        super().setUp()

    def entrance(self, port: int) -> Relay:
        return Relay(port, socks=True)

    def make_device(self) -> Dino:
        return Dino(self.alice, "laptop")

    async def notices(self, link: Any) -> None:
        """The lid is opened: it asks the server whether it is there. By itself it would ask every two minutes."""
        await self.device.desktop.wake()

    async def test_through_cuts(self) -> None:
        await self.conversation()


@on_both_servers
class GajimTests(GajimCase):
    pass


@on_both_servers
class DinoTests(DinoCase):
    pass


del DesktopCase, GajimCase, DinoCase
