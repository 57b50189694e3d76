"""The core is total: no well-formed stanza, however absurd, raises (protocol notes, *Who is believed*)."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.minimix.interfaces.journal import KeptPush
from minimixproxy.safety_net import NET
from minimixproxy.wire.stanza import parse_stanza
from tests.absurd import ODD_TEXT, Absurd
from tests.examples import examples
from tests.minimix import fakes
from tests.minimix.fakes import BARE, ROOM, STREAM, FakeSession, World

ADMIN = "http://jabber.org/protocol/muc#admin"
ADDRESSES = (ROOM, f"{ROOM}/alice", f"{ROOM}/bob", f"{ROOM}/bob", f"{ROOM}/", BARE, STREAM, "a.test", "muc.test")
LIVES = examples(60)  # `make fuzz` has more of them: its machine and its targets say such things, too
STANZAS = 25


class AbsurdTests(SynchronousTestCase):
    def test_from_everywhere(self) -> None:
        self.patch(fakes, "written", fakes.split)  # what peers write is passed on as it is
        for seed in range(LIVES):
            self._live(Random(seed))

    def _live(self, random: Random) -> None:
        """One account's life among peers who make no sense."""
        world = World(bookmarks="follow")
        phone, laptop = world.joined("phone", "laptop")
        enabled = (KeptPush("phone", "push.test", "n"), KeptPush("laptop", BARE, ""), KeptPush("gone", ROOM, "n"))
        world.account.push.restore(enabled)
        absurd = Absurd(random, (*ADDRESSES, "push.test"))
        for number in range(STANZAS):
            laptop.asleep = number % 5 == 4
            asked = tuple(stanza["id"] for stanza in world.stream.sent[-8:] if "id" in stanza.attributes)
            xml = absurd.stanza(asked)
            try:
                self._say(world, xml, random.randrange(3), phone, laptop)
            except Exception as error:
                raise AssertionError(f"{type(error).__name__} of {xml[:4000]}") from error
        tablet = world.session("tablet")
        world.asks_to_join(tablet)  # what was kept can be replayed
        world.clock.advance(200)
        world.stream.take()
        world.stream.lost()
        world.stream.opened()
        world.comes_back()

    def _say(self, world: World, xml: str, way: int, phone: FakeSession, laptop: FakeSession) -> None:
        stanza = parse_stanza(xml)
        if way == 0:
            world.client(phone, xml)
        elif way == 1:
            world.account.from_server(laptop, stanza)
        else:
            world.stream.says(stanza)

    def test_the_edge_of_the_account_stream(self) -> None:
        """What raises all the same costs that stanza."""
        world = World()
        phones = world.joined("phone")
        presence, message = world.account.presences, world.account.messages
        self.patch(presence, "received", lambda _stanza: 1 / 0)
        before = NET.dropped
        presence.take(parse_stanza("<presence from='a@b'/>"))
        self.assertEqual(NET.dropped, before + 1)
        message.take(parse_stanza(f"<message type='groupchat' from='{ROOM}/bob'><body>b</body></message>"))
        self.assertEqual(len(phones[0].take()), 1)

    def test_iq_without_from(self) -> None:
        world = World()
        world.joined("phone")
        for sender in ("", *(f"from='{text}'" for text in ODD_TEXT if "'" not in text)):
            for kind in ("get", "set", "result", "error", "x"):
                world.room(f"<iq type='{kind}' {sender} id='1'><query xmlns='{ADMIN}'><item/></query></iq>")
