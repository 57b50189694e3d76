"""Real client libraries through cuts and silence: they resume (XEP-0198), nothing is lost, and nothing comes twice."""

from __future__ import annotations

from typing import Any

import slixmpp

from tests.integration.cases import IntegrationTestCase, on_both_servers
from tests.integration.client import Client
from tests.integration.libraries import aioxmpp, unusable
from tests.integration.managedcase import bodies, enter, hear, say
from tests.integration.nbxmpp_device import Nbxmpp
from tests.integration.relay import Relay
from tests.integration.resuming import ResumingAioxmpp, ResumingNbxmpp, ResumingSlixmpp

ROUNDS = 3


class ResumingCase(IntegrationTestCase):
    """alice's device behind a relay, bob directly at the server, both in a room."""

    direct = False
    timeout = 120
    make: Any
    phone: Any
    bob: Client

    def setUp(self) -> None:
        self.check()
        super().setUp()

    def check(self) -> None:
        """Skip the test if this library cannot be used here."""

    async def begin(self) -> None:
        self.relay = Relay(self.server.port if self.direct else self.proxy.port)
        self.relay.start()
        self.addCleanup(self.relay.stop)
        self.place = self.room()
        self.bob = await self.client(await self.account("bob"), "desk", direct=True)
        await enter(self.bob, self.place, "bob")
        alice = await self.account("alice")
        if not self.direct:
            await self.says_password(alice)
        self.phone = self.make(alice, "phone")
        await self.phone.login(self.relay.port)
        self.addCleanup(self.phone.logout)
        await self.phone.join(self.place, "alice")

    async def hears(self, *texts: str) -> None:
        for text in texts:
            await self.phone.hears(text)

    async def bob_hears(self, text: str) -> None:
        for place in ("in the room", "to you"):
            await hear(self.bob, f"alice: {text} {place}")

    async def conversation(self, lose: Any) -> None:
        """Both say something while nothing comes through any more, and before and after.

        `lose`: how the device notices.
        """
        await self.begin()
        said = []
        for number in range(ROUNDS):
            self.both_say(f"alive {number}")
            await self.hears(f"bob: alive {number} in the room", f"bob: alive {number} to you")
            await self.bob_hears(f"alive {number}")
            link = self.relay.links[-1]
            self.relay.silence(link)
            self.both_say(f"dead {number}")
            await self.phone.written()
            lose(link)
            await self.phone.back(number + 1)
            await self.hears(f"bob: dead {number} in the room", f"bob: dead {number} to you")
            await self.bob_hears(f"dead {number}")
            said += [f"alive {number}", f"dead {number}"]
        await self.bob.barrier(self.place)
        self.assertEqual(bodies(self.bob, "chat"), [f"alice: {text} to you" for text in said])
        in_room = [body for body in bodies(self.bob, "groupchat") if body.startswith("alice")]
        self.assertEqual(in_room, [f"alice: {text} in the room" for text in said])
        self.assertEqual(self.left_over(), [], "nothing came twice")
        gone = [one for one in self.bob.received if one.get("type") == "unavailable"]
        self.assertEqual(gone, [], "alice was in the room all the time")

    def both_say(self, text: str) -> None:
        say(self.bob, self.place, f"bob: {text} in the room", "groupchat")
        say(self.bob, self.phone.jid, f"bob: {text} to you")
        self.phone.say(self.place, f"alice: {text} in the room")
        self.phone.write(self.bob.jid, f"alice: {text} to you")

    def left_over(self) -> list[str]:
        """What bob said that came once more."""
        return [one["body"] for one in self.phone.messages.items if str(one["body"]).startswith("bob: ")]

    async def test_reset(self) -> None:
        await self.conversation(lambda link: self.relay.cut(link))

    async def test_another_network(self) -> None:
        """The other side does not notice before the device is back."""
        await self.conversation(lambda link: self.relay.strand(link))


class SlixmppCase(ResumingCase):
    make = ResumingSlixmpp

    def check(self) -> None:
        if reason := unusable(slixmpp):
            self.skipTest(reason)


class AioxmppCase(ResumingCase):
    make = ResumingAioxmpp

    def check(self) -> None:
        if reason := unusable(aioxmpp):
            self.skipTest(reason)

    def left_over(self) -> list[str]:
        found = [str(one.body.any()) for one in self.phone.messages.items if one.body]
        return [body for body in found if body.startswith("bob: ")]


class NbxmppCase(ResumingCase):
    make = ResumingNbxmpp

    def check(self) -> None:
        self.need(Nbxmpp.missing())

    def left_over(self) -> list[str]:
        found = [event["body"] or "" for event in self.phone.seen("message")]
        return [body for body in found if body.startswith("bob: ")]


@on_both_servers
class SlixmppTests(SlixmppCase):
    pass


@on_both_servers
class AioxmppTests(AioxmppCase):
    pass


@on_both_servers
class NbxmppTests(NbxmppCase):
    pass


@on_both_servers
class SlixmppDirectTests(SlixmppCase):
    direct = True


@on_both_servers
class AioxmppDirectTests(AioxmppCase):
    direct = True


@on_both_servers
class NbxmppDirectTests(NbxmppCase):
    direct = True


del ResumingCase, SlixmppCase, AioxmppCase, NbxmppCase
