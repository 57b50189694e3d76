"""What attached sessions are shown when the account is back in a room."""

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.bounds.byte_budget import ByteBudget
from minimixproxy.config.settings import Rooms
from minimixproxy.minimix.rejoin import difference
from minimixproxy.minimix.rejoin.difference import Difference, subject_of
from minimixproxy.minimix.room.snapshot import Snapshot, _Kept
from minimixproxy.wire.stanza import Stanza, parse_stanza
from minimixproxy.xep import muc
from tests.minimix.fakes import ROOM, kind, kinds

MUC_USER = "http://jabber.org/protocol/muc#user"


MEMBER = "affiliation='member' role='participant'"


def presence(nick: str, inner: str = "", item: str = MEMBER, codes: str = "") -> Stanza:
    status = "".join(f"<status code='{code}'/>" for code in codes.split())
    return parse_stanza(
        f"<presence from='{ROOM}/{nick}'>{inner}<x xmlns='{MUC_USER}'><item {item}/>{status}</x></presence>"
    )


def view(*others: Stanza, own: Stanza | None = None, subject: str = "topic") -> Snapshot:
    made = Snapshot(ROOM, Rooms(max_occupants=100), ByteBudget(1_000_000))
    for stanza in others:
        made.occupant_shown(stanza["from"].partition("/")[2], stanza)
    made.entered(own or presence("alice", codes="100 110"))
    made.message_seen(
        parse_stanza(f"<message type='groupchat' from='{ROOM}/bob'><subject>{subject}</subject></message>")
    )
    return made


class DifferenceTests(SynchronousTestCase):
    def shown(self, before: Snapshot, after: Snapshot, nick: str = "alice") -> list[str]:
        self.stanzas = [parse_stanza(raw) for raw in Difference(before, after, "alice", nick)]
        return kinds(self.stanzas)

    def test_table(self) -> None:
        bob, carol = presence("bob"), presence("carol")
        away = presence("bob", "<show>away</show>")
        table = [
            ([bob], [bob], []),
            ([bob, carol], [bob], ["unavailable carol"]),
            ([bob], [bob, carol], ["presence carol"]),
            ([bob], [carol], ["unavailable bob", "presence carol"]),
            ([bob], [away], ["presence bob"]),
            ([bob], [presence("bob", item="affiliation='owner' role='moderator'")], ["presence bob"]),
        ]
        for before, after, expected in table:
            self.assertEqual(self.shown(view(*before), view(*after)), expected)

    def test_addresses_and_delays_make_no_difference(self) -> None:
        again = parse_stanza(
            f"<presence from='{ROOM}/bob' to='x@y/z' id='7'><x xmlns='{MUC_USER}'>"
            "<item affiliation='member' role='participant'/></x><delay xmlns='urn:xmpp:delay' stamp='x'/></presence>"
        )
        self.assertEqual(self.shown(view(presence("bob")), view(again)), [])

    def test_the_views_as_they_were(self) -> None:
        """The stanzas are made later: the one view is gone by then, and the other has changed."""
        before, after = view(presence("bob")), view(presence("carol"))
        found = Difference(before, after, "alice", "alice")
        before.close()
        after.occupant_shown("dan", presence("dan"))
        self.assertEqual([kind(parse_stanza(raw)) for raw in found], ["unavailable bob", "presence carol"])

    def test_an_own_presence_that_cannot_be_shown(self) -> None:
        """The session gets the others, and the log has the room."""

        def broken(_presence: Stanza, _codes: set[str]) -> bytes:
            raise ValueError("no XML")

        self.patch(muc, "with_status_codes", broken)
        own = presence("alice", item="affiliation='owner' role='moderator'", codes="100 110")
        with capturedLogs() as events:
            shown = self.shown(view(presence("bob")), view(presence("bob"), presence("carol"), own=own))
        self.assertEqual(shown, ["presence carol"])
        (said,) = map(formatEvent, events)
        self.assertIn(f"{ROOM}: a presence cannot be shown, and is left out: ValueError", said)

    def test_what_the_room_itself_shows(self) -> None:
        """It is told if it is new, or reads otherwise; not if only its address is another, or it is gone."""
        one, again, other = (
            parse_stanza(f"<presence from='{ROOM}' to='{to}'><x xmlns='urn:x'>{hash}</x></presence>")
            for to, hash in (("x@y/1", "a"), ("x@y/2", "a"), ("x@y/1", "b"))
        )
        for before, after, told in (
            (None, one, True),
            (one, one, False),
            (one, again, False),
            (one, other, True),
            (one, None, False),
        ):
            views = view(), view()
            for made, presence_of_room in zip(views, (before, after), strict=True):
                if presence_of_room is not None:
                    made.room_shown(presence_of_room)
            self.shown(*views)
            self.assertEqual([stanza["from"] for stanza in self.stanzas], [ROOM] if told else [])

    def test_only_so_much_is_looked_into(self) -> None:
        """What reads otherwise is not parsed for each of thousands to find out that it is the same."""
        looked_into: list[bytes] = []
        content = difference._content

        def counted(raw: bytes) -> str:
            looked_into.append(raw)
            return content(raw)

        self.patch(difference, "_content", counted)
        before = view(*(presence(f"n{number}", "<status>  " + "x" * 4000 + "</status>") for number in range(90)))
        after = view(*(presence(f"n{number}", " <status>  " + "x" * 4000 + "</status>") for number in range(90)))
        shown = self.shown(before, after)
        self.assertLess(sum(map(len, looked_into)), difference.ALL_COMPARED + 10_000)
        self.assertEqual(len(shown), 90 - len(looked_into) // 2)

    def test_who_left_keeps_affiliation_and_address(self) -> None:
        self.shown(view(presence("bob", item="affiliation='admin' role='moderator' jid='bob@b.test/x'")), view())
        (gone,) = self.stanzas
        self.assertIn(b"<item affiliation='admin' role='none' jid='bob@b.test/x'/>", gone.raw)

    def test_own_standing(self) -> None:
        after = view(own=presence("alice", item="affiliation='owner' role='moderator'", codes="100 110 201"))
        self.assertEqual(self.shown(view(), after), ["presence alice 110"])

    def test_another_nick(self) -> None:
        after = view(own=presence("alice_", codes="100 110"))
        self.assertEqual(self.shown(view(), after, "alice_"), ["unavailable alice 303 110", "presence alice_ 110"])
        self.assertIn(b"nick='alice_'", self.stanzas[0].raw)

    def test_a_nick_taken_over(self) -> None:
        """Somebody left, and the account has that nick now."""
        after = view(own=presence("bob", codes="100 110"))
        self.assertEqual(
            self.shown(view(presence("bob")), after, "bob"), ["unavailable alice 303 110", "presence bob 110"]
        )

    def test_an_own_presence_that_cannot_be_read(self) -> None:
        """It costs itself, before as a nick that is gone, after as what is shown: the session sees all else."""
        before, after = view(presence("bob")), view(presence("carol"))
        damaged = presence("alice", codes="110")
        damaged.raw = b"<presence><x>"
        self.assertEqual(len(self.shown(before, after, "other")), 4)
        for broken in (before, after):
            own, broken._own = broken._own, _Kept(damaged)
            self.assertEqual(len(self.shown(before, after, "other")), 3)
            broken._own = own

    def test_configuration(self) -> None:
        after = view(own=presence("alice", codes="110 170"))
        self.shown(view(), after)
        (message,) = self.stanzas
        self.assertIn(b"<status code='173'/><status code='170'/>", message.raw)

    def test_subject_in_many_elements(self) -> None:
        """As the first one is written, up to its end or further; without one there is nothing."""
        made = view()
        for inner, text in (
            ("<subject>new</subject>", b"new"),
            ("<body/><subject>new</subject><subject xml:lang='de'>neu</subject>", b"new</subject>"),
            ("<x:subject xmlns:x='urn:x'>not it</x:subject>", b""),
        ):
            message = parse_stanza(f"<message type='groupchat' from='{ROOM}/bob'>{inner}</message>")
            self.patch(Snapshot, "subject", message)
            self.assertEqual(subject_of(made), (text, f"{ROOM}/bob"))

    def test_subject(self) -> None:
        self.assertEqual(subject_of(view()), subject_of(view()))
        self.assertNotEqual(subject_of(view()), subject_of(view(subject="other")))
