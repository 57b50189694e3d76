"""The connection of an account stream breaks, and the stream is resumed: neither the room nor the devices notice."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from twisted.internet.threads import deferToThread

from tests.integration.cases import on_both_servers, on_servers
from tests.integration.comingback import RelayedCase
from tests.integration.ejabberd import ForgetfulEjabberd, UnmanagedEjabberd
from tests.integration.faults import Listener, Talker, verdict
from tests.integration.prosody import ForgetfulProsody, UnmanagedProsody
from tests.integration.relay import Link

RATE = 50.0  # messages a second, each way


class Phone(Talker):
    """A device of alice's that talks, too; what it says differs from what bob does."""

    def body(self, room: str) -> str:
        return f"{super().body(room)} by phone"


class ResumingCase(RelayedCase):
    phone: Phone
    laptop: Listener
    archive = True  # of the room

    async def start(self, **settings: Any) -> None:
        """Alice's phone, which talks, and laptop, and bob in a room."""
        await self.begin(**settings)
        self.place = self.room()
        await self.bob.open(self.place, archive=self.archive)
        self.phone = Phone("phone", self._dial(self.alice, "phone"), self.server, "alice")
        self.addCleanup(self.phone.stop)
        self.phone.sent[self.place] = []
        await self.phone.come_back(self.place)
        self.link = self.relay.links[-1]  # of the account stream: opened by the first join
        (self.laptop,) = await self.come("laptop", rooms=[self.place])
        await self.bob.sees(self.place, "alice")
        for people in (self.bob, self.phone):
            people.start(RATE)

    async def both_say(self, count: int) -> None:
        for people in (self.bob, self.phone):
            await people.said(count)

    def breaks(self, fault: Callable[[Link], object]) -> None:
        """The connection of the account stream has a fault."""
        self.before = len(self.behind.process.lines)
        fault(self.link)

    async def is_resumed(self) -> None:
        """Wait until the stream is resumed after the last fault, on another connection."""
        pattern = rf"account stream resumed: {re.escape(self.alice.jid)}/"
        await self.behind.process.says(pattern, start=self.before)
        self.link = self.relay.links[-1]

    async def nobody_noticed(self) -> None:
        """All was heard, once, in the order of the room; nobody saw anybody come or go."""
        for people in await self.all_was_heard():
            place = people[self.place]
            self.assertEqual((place.gone, place.removals, place.entered), ([], [], 1), people.name)
            self.assertEqual(len(place.come), len(set(place.come)), people.name)

    async def all_was_heard(self) -> tuple[Listener, ...]:
        """Once, in the order of the room; return by whom."""
        for talker in (self.bob, self.phone):
            talker.stop()
        everybody: tuple[Listener, ...] = (self.bob, self.phone, self.laptop)
        for people in everybody:
            for sent in (self.bob.sent, self.phone.sent):
                await people.hears(self.place, sent[self.place])
        await self.settle(self.phone, self.laptop)
        said = [*self.bob.sent[self.place], *self.phone.sent[self.place]]
        for people in everybody:
            place = people[self.place]
            self.assertEqual(verdict(place.bodies, said), "", people.name)
            self.assertEqual(place.bodies, self.bob[self.place].bodies, f"{people.name}: the order of the room")
            for sender in (self.bob, self.phone):
                own = [heard.body for heard in place.heard if heard.nick == sender.nick]
                self.assertEqual(own, sender.sent[self.place], f"{people.name}: the order of {sender.name}")
        return everybody


@on_both_servers
class ResumingTests(ResumingCase):
    async def cut(self, *, reset: bool) -> None:
        await self.start()
        for _round in range(5):
            await self.both_say(20)
            self.breaks(lambda link: self.relay.cut(link, reset=reset))
            await self.is_resumed()
        await self.both_say(20)
        await self.nobody_noticed()

    async def test_reset(self) -> None:
        await self.cut(reset=True)

    async def test_end_without_a_word(self) -> None:
        await self.cut(reset=False)

    async def test_silence(self) -> None:
        """What was swallowed both ways is sent again. Longer silence would be more than Prosody keeps: 500 stanzas."""
        await self.start(rooms={"ping_interval": 2.0})
        await self.both_say(20)
        self.breaks(self.relay.silence)
        await self.is_resumed()
        await self.both_say(20)
        await self.nobody_noticed()

    async def test_no_connection_for_a_while(self) -> None:
        await self.start()
        await self.both_say(20)
        await self.relay.refuse()
        self.breaks(self.relay.cut)
        await self.bob.said(20)
        await self.behind.process.says("Connection refused|connection was refused")
        self.relay.start()
        await self.is_resumed()
        await self.both_say(20)
        await self.nobody_noticed()

    async def test_leaving_while_there_is_no_connection(self) -> None:
        """The room is told when there is one: the server keeps nobody in it whom nobody wants to be in."""
        await self.start()
        await self.both_say(20)
        for people in (self.bob, self.phone):
            people.stop()
        await self.laptop.client.close()
        await self.relay.refuse()
        self.breaks(self.relay.cut)
        self.phone.client.send(f"<presence to='{self.place}/alice' type='unavailable'/>")
        await self.behind.process.says("Connection refused|connection was refused")
        self.relay.start()
        await self.away(self.place)
        self.assertEqual(self.bob[self.place].gone, ["alice"])


@on_both_servers
class NotResumedTests(ResumingCase):
    """The stream is lost although the server could have kept it: the account comes back into the room."""

    async def begin(self, **settings: Any) -> None:
        await super().begin(own_server=self.kind, **settings)

    async def test_server_killed(self) -> None:
        await self.start()
        await self.both_say(20)
        for people in (self.bob, self.phone):
            people.stop()
        await self.settle(self.phone, self.laptop)
        await self.server.sync()
        await self.server.restart(kill=True)
        await self.bob.come_back(self.place, wish="<history maxstanzas='0'/>")
        await self.back(self.place)
        self.bob.start(RATE)
        await self.bob.said(20)
        self.bob.stop()
        for device in (self.phone, self.laptop):
            await device.client.until_lost()
            await device.come_back(self.place)
        said = [*self.bob.sent[self.place], *self.phone.sent[self.place]]
        for device in (self.phone, self.laptop):
            await device.hears(self.place, self.bob.sent[self.place])
            self.assertEqual(verdict(device[self.place].bodies, said), "", device.name)

    async def test_proxy_killed(self) -> None:
        """The server keeps the stream of the killed proxy, until its successor takes the resource."""
        await self.start(rooms={"history": 20_000})
        self.phone.stop()
        for _round in range(2):
            await self.bob.said(40)
            await deferToThread(self.behind.process.kill)
            await self.instant(self.phone, self.laptop)
            await self.bob.said(20)
            await deferToThread(self.behind.start)
            await self.behind.process.says(rf"{re.escape(self.alice.jid)} is in {re.escape(self.place)}")
            await self.bob.said(20)
            for device in (self.phone, self.laptop):
                await device.come_back(self.place)
        await self.bob.said(20)
        self.bob.stop()
        await self.bob.settled()
        for device in (self.phone, self.laptop):
            await device.hears(self.place, self.bob.sent[self.place])
        await self.settle(self.phone, self.laptop)
        said = [*self.bob.sent[self.place], *self.phone.sent[self.place]]
        for device in (self.phone, self.laptop):
            wrong = verdict(device[self.place].bodies, said, in_between=device.in_between)
            self.assertEqual(wrong, "", device.name)


class LostCase(ResumingCase):
    """The server does not manage streams: with each connection that breaks, one is lost, and what was on its way.

    The account does not know how much of that the server has read. It finds out, for the room tells it.
    """

    async def test_said_once(self) -> None:
        """By how many the room has shown in vain, how many never reached it, and how many it is told meanwhile."""
        await self.start()
        await self.both_say(20)
        for shown, swallowed, meanwhile in ((3, 0, 0), (0, 3, 0), (3, 2, 2)):
            for talker in (self.bob, self.phone):
                talker.stop()
                await talker.settled()
            self.link.deaf = True
            self.speak(shown)
            await self.bob.hears(self.place, self.phone.sent[self.place])
            self.link.silent = True
            self.speak(swallowed)
            await self.on_disk(self.phone)  # the proxy has read that, and written it
            await self.is_lost()
            self.speak(meanwhile)
            pattern = rf"{re.escape(self.alice.jid)} is in {re.escape(self.place)}"
            await self.behind.process.says(pattern, start=self.before)
            self.link = self.relay.links[-1]
            for talker in (self.bob, self.phone):
                talker.start(RATE)
            await self.both_say(5)
        await self.all_was_heard()

    async def is_lost(self) -> None:
        """The stream is, by a connection that breaks."""
        self.breaks(self.relay.cut)
        await self.away(self.place)

    def speak(self, count: int) -> None:
        for _ in range(count):
            self.phone.speak(self.place)


@on_servers(UnmanagedProsody, UnmanagedEjabberd)
class LostTests(LostCase):
    pass


@on_servers(UnmanagedProsody, UnmanagedEjabberd)
class LostWithoutArchiveTests(LostCase):
    archive = False


@on_servers(ForgetfulProsody, ForgetfulEjabberd)
class ForgottenTests(LostCase):
    """The server manages streams, and keeps none for so long."""

    async def is_lost(self) -> None:
        await self.relay.refuse()
        await super().is_lost()
        self.relay.start()


del ResumingCase, LostCase
