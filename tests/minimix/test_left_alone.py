"""Messages that an account leaves alone, many at once: none that it would take, or learn something from."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.wire.stanza import parse_stanza
from tests.minimix.fakes import BARE, ROOM, STREAM, World, leaves_from_client, leaves_from_server
from tests.minimix.push.test_pushing import PushCase

SAID = "<body>hello</body>"
FORWARDED = "<forwarded xmlns='urn:xmpp:forward:0'><message from='{0}' to='{1}'>" + SAID + "</message></forwarded>"
DISPLAYED = "<x xmlns='urn:xmpp:mds:displayed:0'/>"
BOOKMARKS = "<x xmlns='urn:xmpp:bookmarks:1'/>"


def message(inner: str = SAID, to: str = "bob@b.test", sender: str = "") -> str:
    return f"<message to='{to}'{f' from={sender!r}' if sender else ''}>{inner}</message>"


class FromClientTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        (self.phone,) = self.world.joined("phone")

    def check(self, xml: str, left: bool) -> None:
        self.assertIs(leaves_from_client(self.world.account, parse_stanza(xml)), left, xml)
        self.world.client(self.phone, xml)

    def test_to_others(self) -> None:
        for to in ("bob@b.test", "bob@b.test/x", BARE, "other@muc.test/bob", "muc.test", "no jid@", ""):
            self.check(message(to=to), True)
        self.check(f"<message>{SAID}</message>", True)

    def test_to_rooms_however_they_are_spelt(self) -> None:
        for to in (ROOM, f"{ROOM}/bob", "Room@MUC.test", "room@muc.test./x", "r\uff4fom@muc.test"):
            self.check(message(to=to), False)
        self.check(message(to="&#x72;oom@muc.test"), False)

    def test_to_the_account_stream(self) -> None:
        """Of what nobody can read it answers there."""
        self.check(message(to=STREAM), False)

    def test_what_it_learns_from(self) -> None:
        for inner in (DISPLAYED, BOOKMARKS):
            self.check(message(inner), False)

    def test_what_is_no_message(self) -> None:
        for xml in ("<presence to='bob@b.test'></presence>", "<iq type='result' id='1' to='bob@b.test'></iq>"):
            self.check(xml, False)


class FromServerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        (self.phone,) = self.world.joined("phone")

    def check(self, xml: str, left: bool) -> None:
        stanza = parse_stanza(xml)
        self.assertIs(leaves_from_server(self.world.account, stanza), left, xml)
        taken = self.world.account.from_server(self.phone, stanza)
        self.assertFalse(left and taken, xml)

    def test_of_others(self) -> None:
        self.check(message(sender="bob@b.test/x"), True)
        self.check(
            message("<received xmlns='urn:xmpp:carbons:2'>" + FORWARDED.format("a@b", BARE) + "</received>"), True
        )
        self.check(message("<result xmlns='urn:xmpp:mam:2'>" + FORWARDED.format("a@b", BARE) + "</result>"), True)

    def test_of_account_streams(self) -> None:
        for inner in (FORWARDED.format(STREAM, ROOM), FORWARDED.format(ROOM, STREAM), "<x jid='c@d/minimix.1'/>"):
            self.check(message(inner, sender=BARE), False)

    def test_what_it_learns_from(self) -> None:
        for inner in (DISPLAYED, BOOKMARKS):
            self.check(message(inner, sender=BARE), False)


class WithPushTests(PushCase):
    """What contacts say is to be pushed; what a client says shows what it has read."""

    def test_all_is_looked_at(self) -> None:
        self.assertFalse(leaves_from_client(self.world.account, parse_stanza(message())))
        self.assertFalse(leaves_from_server(self.world.account, parse_stanza(message())))
