"""Answers, errors and copies: who gets them, who does not, and what follows from them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.minimix.occupancy.phases import State
from minimixproxy.minimix.subprotocols import iq_proxying, sent_copies
from minimixproxy.minimix.subprotocols.open_iqs import MAX_OPEN
from minimixproxy.wire.stanza import Stanza, parse_stanza
from tests.minimix.fakes import BARE, DISCO, ROOM, STREAM, FakeSession, World, kinds
from tests.minimix.test_routing_table import MANY

PING = "<ping xmlns='urn:xmpp:ping'/>"
INFO = f"<query xmlns='{DISCO}'/>"
MAM = "urn:xmpp:mam:2"
ADMIN = "http://jabber.org/protocol/muc#admin"
TWO_OCCUPANTS = ("phone", "laptop")


def error(condition: str) -> str:
    return f"<error type='cancel'><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.phone, self.laptop = self.world.joined(*TWO_OCCUPANTS)

    @property
    def state(self) -> State:
        return self.world.account.rooms[ROOM].state

    def asks(self, to: str, inner: str, kind: str = "get", session: FakeSession | None = None) -> Stanza:
        """A client asks; return what goes out for it."""
        self.world.client(session or self.phone, f"<iq type='{kind}' to='{to}' id='1'>{inner}</iq>")
        (sent,) = self.world.stream.take()
        return sent

    def answers(self, asked: Stanza, inner: str = "", condition: str = "") -> None:
        """Who was asked answers: with an error, if a condition is named."""
        kind, inner = ("error", error(condition)) if condition else ("result", inner)
        self.world.room(f"<iq type='{kind}' from='{asked['to']}' to='{STREAM}' id='{asked['id']}'>{inner}</iq>")

    def pings_itself(self) -> bool:
        """Whether a self-ping is answered here: the account is known to be in the room."""
        self.world.client(self.phone, f"<iq type='get' to='{ROOM}/alice' id='p'>{PING}</iq>")
        here = not self.world.stream.take()
        self.assertEqual(len(self.phone.take()), int(here))
        return here


class WhatFollowsFromAnswers(Case):
    """Only the answer to a self-ping tells whether the account is in the room; only the room tells of the room."""

    def test_an_error_of_somebody_else_puts_nobody_out(self) -> None:
        for to, inner, kind in (
            (f"{ROOM}/bob", PING, "get"),
            (f"{ROOM}/alice", INFO, "get"),
            (f"{ROOM}/alice", PING, "set"),
            (ROOM, PING, "get"),
            (ROOM, f"<query xmlns='{ADMIN}'/>", "set"),
        ):
            self.setUp()
            self.world.clock.advance(61)
            self.answers(self.asks(to, inner, kind), condition="not-acceptable")
            self.assertEqual((self.state, self.world.stream.take()), (State.JOINED, []), f"{to} {inner}")
            self.assertEqual([(one["type"], one["id"]) for one in self.phone.take()], [("error", "1")])

    def test_an_answer_of_somebody_else_is_no_proof(self) -> None:
        self.world.clock.advance(61)
        for to in (f"{ROOM}/bob", ROOM):
            self.answers(self.asks(to, PING))
            self.phone.take()
            self.assertFalse(self.pings_itself(), to)

    def test_no_answer_is_no_proof(self) -> None:
        self.world.clock.advance(61)
        self.answers(self.asks(f"{ROOM}/alice", PING), condition="remote-server-timeout")
        self.phone.take()
        self.assertFalse(self.pings_itself())
        self.assertIs(self.state, State.JOINED)

    def test_an_answer_to_a_self_ping_when_the_room_is_over(self) -> None:
        for condition in ("", "not-acceptable", "service-unavailable"):
            self.setUp()
            self.world.clock.advance(61)
            asked = self.asks(f"{ROOM}/alice", PING)
            self.world.gone("alice", "110 307")
            self.phone.take()
            self.answers(asked, condition=condition)
            self.assertEqual([one["id"] for one in self.phone.take()], ["1"], condition)

    def test_what_an_occupant_says_of_itself_is_not_the_rooms(self) -> None:
        """An occupant without an archive does not make one of ours for the room."""
        self.answers(self.asks(f"{ROOM}/bob", INFO), f"<query xmlns='{DISCO}'/>")
        (told,) = self.phone.take()
        self.assertNotIn(MAM.encode(), told.raw)
        self.assertIsNone(self.world.account.rooms[ROOM].info.archive)

    def test_a_question_to_an_occupants_archive_is_the_occupants(self) -> None:
        for archive in (None, True, False):
            self.setUp()
            self.world.account.rooms[ROOM].info.archive = archive
            asked = self.asks(f"{ROOM}/bob", f"<query xmlns='{MAM}' queryid='q'/>", "set")
            self.assertEqual((asked["to"], asked["type"]), (f"{ROOM}/bob", "set"))

    def test_an_occupants_answer_reads_as_it_wrote_it(self) -> None:
        """In a list of the room the account's own entry reads as the session; what occupants write stays."""
        items = f"<query xmlns='{ADMIN}'><item jid='{STREAM}' role='none'/></query>"
        self.answers(self.asks(ROOM, f"<query xmlns='{ADMIN}'/>"), items)
        self.answers(self.asks(f"{ROOM}/bob", f"<query xmlns='{ADMIN}'/>"), items)
        ours, bobs = self.phone.take()
        self.assertIn(f"jid='{self.phone.jid}'".encode(), ours.raw)
        self.assertIn(f"jid='{STREAM}'".encode(), bobs.raw)

    def test_an_answer_that_nobody_here_can_read(self) -> None:
        """It is its receiver's affair; whether the account is in the room it does not tell."""
        self.answers(self.asks(ROOM, INFO), MANY)
        (answer,) = self.phone.take()
        self.assertEqual((answer["id"], answer["type"], answer["to"]), ("1", "result", self.phone.jid))
        self.assertIn(MANY.encode(), answer.raw)
        self.world.clock.advance(61)
        self.answers(self.asks(f"{ROOM}/alice", PING), MANY)
        (answer,) = self.phone.take()
        self.assertEqual((answer["id"], answer["type"]), ("1", "error"))
        self.assertIn(b"<remote-server-timeout", answer.raw)
        self.assertIs(self.state, State.JOINED)

    def test_too_many_open(self) -> None:
        self.patch(iq_proxying, "MAX_OPEN", 6)  # of which a room has half
        self.setUp()
        for _ in range(3):
            self.asks(ROOM, PING)
        self.world.client(self.phone, f"<iq type='get' to='{ROOM}' id='4'>{PING}</iq>")
        (refused,) = self.phone.take()
        self.assertEqual((refused["id"], refused["type"], self.world.stream.take()), ("4", "error", []))
        self.assertIn(b"<resource-constraint", refused.raw)
        self.assertGreater(MAX_OPEN, 100)

    forwarded = ""  # the id of what was forwarded last

    def asked_by(self, occupant: str, number: int) -> str:
        """Somebody in the room asks; return what becomes of it."""
        self.world.room(f"<iq type='get' from='{occupant}' to='{STREAM}' id='{number}'><x xmlns='urn:x'/></iq>")
        refused, forwarded = self.world.stream.take(), self.phone.take() + self.laptop.take()
        self.assertEqual(len(refused) + len(forwarded), 1)
        self.forwarded = forwarded[0]["id"] if forwarded else self.forwarded
        return refused[0].raw.decode() if refused else ""

    def test_a_room_has_no_more_than_are_left_for_all(self) -> None:
        """Occupants ask the account's clients: one who asks without end does so in one room only."""
        self.patch(iq_proxying, "MAX_OPEN", 8)
        self.setUp()
        other = "other@muc.test"
        self.world.client(
            self.phone, f"<presence to='{other}/alice'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
        )
        join = self.world.stream.take()[-1]["id"]
        own = "<item affiliation='none' role='participant'/><status code='110'/>"
        shown = f"<x xmlns='http://jabber.org/protocol/muc#user'>{own}</x>"
        self.world.room(f"<presence from='{other}/alice' to='{STREAM}' id='{join}'>{shown}</presence>")
        self.world.room(f"<message from='{other}' to='{STREAM}' type='groupchat'><subject/></message>")
        for one in (self.phone, self.laptop, self.world.stream):
            one.take()
        asked = [self.asked_by(f"{ROOM}/bob", number) for number in range(6)]
        self.assertEqual(asked[:4], [""] * 4)
        self.assertIn("<resource-constraint", asked[4])
        self.assertIn("<resource-constraint", asked[5])
        self.assertEqual(self.asked_by(f"{other}/eve", 1), "")

    def test_what_was_answered_or_not_counts_no_more(self) -> None:
        self.patch(iq_proxying, "MAX_OPEN", 1)
        self.setUp()
        room = f"{ROOM}/bob"
        self.assertEqual(self.asked_by(room, 1), "")
        for number in range(3):
            self.assertIn("<resource-constraint", self.asked_by(room, 2))
            if number == 0:
                self.world.clock.advance(1000)  # nobody answers
            elif number == 1:
                self.world.account.session_closed(self.phone)
                self.world.account.session_closed(self.laptop)
                self.laptop = self.world.session("laptop")
                self.world.asks_to_join(self.laptop)
            else:
                self.world.client(self.laptop, f"<iq type='result' to='{room}' id='{self.forwarded}'/>")
            for one in (self.phone, self.laptop, self.world.stream):
                one.take()
            self.assertEqual(self.asked_by(room, 3), "", number)

    def test_of_the_accounts_own(self) -> None:
        """To its own account it says no address (RFC 6120 §8.1.2.1), and what answers is the server's word."""
        got: list[str | None] = []

        def answered(answer: Stanza | None) -> None:
            got.append(answer["type"] if answer is not None else None)

        for sender, counts in (
            ("", True),
            (f"from='{BARE}'", True),
            (f"from='{STREAM}'", True),
            (f"from='{BARE}/phone'", False),
            ("from='mallory@b.test'", False),
            (f"from='{ROOM}'", False),
        ):
            self.world.account.ask(
                "", "get", b"<q xmlns='urn:q'/>", lambda one: got.append(one["type"] if one is not None else None)
            )
            (asked,) = self.world.stream.take()
            self.assertNotIn("to", asked.attributes)
            self.world.room(f"<iq type='result' {sender} to='{STREAM}' id='{asked['id']}'/>")
            self.assertEqual(got, ["result"] if counts else [], sender)
            got.clear()


class WhatRoomsAsk(Case):
    def request(self, stanza_id: str = "id='7'", sender: str = f"from='{ROOM}/bob'") -> Stanza | None:
        """Somebody asks the account; return what is answered at once."""
        self.world.room(f"<iq type='get' {sender} to='{STREAM}' {stanza_id}><q xmlns='urn:q'/></iq>")
        sent = self.world.stream.take()
        return sent[0] if sent else None

    def test_nobody_is_asked_before_it_is_in(self) -> None:
        self.world = World()
        phone = self.world.session("phone")
        self.world.asks_to_join(phone)
        self.world.stream.take()
        refused = self.request()
        assert refused is not None
        self.assertEqual((refused["type"], phone.take()), ("error", []))

    def test_by_nobody_or_somebody_elsewhere(self) -> None:
        for sender in ("", "from='bob@b.test'", f"from='{BARE}'", "from='other@muc.test/bob'"):
            refused = self.request(sender=sender)
            assert refused is not None
            self.assertEqual((refused["type"], refused["id"]), ("error", "7"), sender)
            self.assertIn(b"<service-unavailable", refused.raw)
            self.assertEqual((self.phone.take(), self.laptop.take()), ([], []))

    def test_without_an_id(self) -> None:
        self.assertIsNone(self.request(stanza_id=""))
        asked = [*self.phone.take(), *self.laptop.take()]
        self.assertEqual(len(asked), 1)
        session = next(one for one in (self.phone, self.laptop) if one.jid == asked[0]["to"])
        self.world.client(session, f"<iq type='result' to='{ROOM}/bob' id='{asked[0]['id']}'/>")
        self.assertEqual([(one["type"], one["to"]) for one in self.world.stream.take()], [("result", f"{ROOM}/bob")])

    def test_an_answer_without_an_id_is_none(self) -> None:
        self.request()
        for session in (self.phone, self.laptop):
            self.assertTrue(self.world.client(session, f"<iq type='result' to='{ROOM}/bob'/>"))
        self.assertEqual(self.world.stream.take(), [])


class Errors(Case):
    """An error goes to the session that caused it, and to nobody else."""

    def says(self, session: FakeSession, stanza_id: str = "", to: str = ROOM) -> None:
        attribute = f"id='{stanza_id}'" if stanza_id else ""
        self.world.client(session, f"<message type='groupchat' to='{to}' {attribute}><body>x</body></message>")
        self.world.stream.take()

    def fails(self, stanza_id: str = "", sender: str = ROOM) -> tuple[int, int]:
        attribute = f"id='{stanza_id}'" if stanza_id else ""
        bounce = error("forbidden")
        self.world.room(f"<message type='error' from='{sender}' to='{STREAM}' {attribute}>{bounce}</message>")
        return len(self.phone.take()), len(self.laptop.take())

    def test_table(self) -> None:
        self.says(self.phone, "1")
        self.says(self.laptop, "2")
        self.says(self.phone)
        self.says(self.laptop)
        for stanza_id, sender, got in (
            ("1", ROOM, (1, 0)),
            ("2", ROOM, (0, 1)),
            ("3", ROOM, (0, 0)),
            ("", ROOM, (0, 1)),  # of those without id, the last
            ("1", f"{ROOM}/bob", (1, 0)),  # rooms may name the occupant
            ("1", "other@muc.test", (0, 0)),
        ):
            self.assertEqual(self.fails(stanza_id, sender), got, f"{stanza_id} {sender}")

    def test_of_one_that_has_left(self) -> None:
        """The other is alone in the room now, and has nothing to do with it."""
        self.says(self.laptop, "2")
        self.world.leaves(self.laptop)
        self.laptop.take()
        self.assertEqual(self.fails("2"), (0, 1))
        self.assertEqual(self.fails("unknown"), (0, 0))
        self.assertEqual(self.fails(), (1, 0), "who else could have caused it")

    def test_of_one_whose_stream_is_gone(self) -> None:
        self.says(self.laptop, "2")
        self.world.account.session_closed(self.laptop)
        self.assertEqual(self.fails("2"), (0, 0))

    def test_from_elsewhere(self) -> None:
        """What somebody says to the address that rooms show is for everybody; an error, or nothing, for none."""
        for kind, inner, got in (
            ("chat", "<body>x</body>", (1, 1)),
            ("", "<body>x</body>", (1, 1)),
            ("error", f"<body>x</body>{error('forbidden')}", (0, 0)),
            ("groupchat", "<body>x</body>", (0, 0)),
            ("chat", "<active xmlns='http://jabber.org/protocol/chatstates'/>", (0, 0)),
            ("chat", "<encrypted xmlns='urn:xmpp:omemo:2'/><store xmlns='urn:xmpp:hints'/>", (1, 1)),
            ("error", f"<encrypted xmlns='urn:xmpp:omemo:2'/>{error('forbidden')}", (0, 0)),
        ):
            attribute = f"type='{kind}'" if kind else ""
            self.world.room(f"<message {attribute} from='bob@b.test' to='{STREAM}'>{inner}</message>")
            self.assertEqual((len(self.phone.take()), len(self.laptop.take())), got, f"{kind} {inner}")
        self.assertEqual(self.world.stream.take(), [])


class Copies(Case):
    def copies(self, attributes: str, inner: str = "<body>x</body>") -> int:
        """How many copies of a message the other session is shown, of its own or of ours."""
        self.world.client(self.phone, f"<message {attributes}>{inner}</message>")
        self.world.clock.advance(sent_copies.PATIENCE)
        self.assertEqual(self.phone.take(), [])
        return len(self.laptop.take())

    def test_of_what_is_said_in_private_only(self) -> None:
        for attributes, expected in (
            (f"to='{ROOM}/bob' type='chat' id='1'", 1),
            (f"to='{ROOM}/bob' id='2'", 1),
            (f"to='{ROOM}/bob' type='groupchat' id='3'", 0),
            (f"to='{ROOM}' type='groupchat' id='4'", 0),
            (f"to='{ROOM}' id='5'", 0),  # an invitation, a request for voice: not said to anybody
            (f"to='{ROOM}' type='normal' id='6'", 0),
        ):
            self.assertEqual(self.copies(attributes), expected, attributes)

    def test_author_without_a_stream(self) -> None:
        """Nobody knows the account stream's address before it is open: the copy names who wrote it."""
        self.world.stream.jid = ""
        patched = self.patch(self.world.stream, "send", lambda _data: None)
        self.world.client(self.phone, f"<message to='{ROOM}/bob' type='chat'><body>x</body></message>")
        patched.restore()
        (copy,) = self.laptop.take()
        self.assertIn(f"from='{self.phone.jid}'".encode(), copy.raw)

    def test_the_servers_carbon_of_something_else(self) -> None:
        """One received, one to the room itself or one without an id stands for no copy that is due."""
        carbon = (
            f"<message from='{BARE}'><{{0}} xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>"
            "<message xmlns='jabber:client' from='{1}' to='{2}' type='chat' {3}><body>x</body></message>"
            "</forwarded></{0}></message>"
        )
        for direction, sender, to, stanza_id in (
            ("received", f"{ROOM}/bob", STREAM, "id='1'"),
            ("sent", STREAM, ROOM, "id='1'"),
            ("sent", STREAM, f"{ROOM}/bob", ""),
            ("sent", STREAM, f"{ROOM}/carol", "id='1'"),
            ("sent", STREAM, "a@@b", "id='1'"),
            ("sent", STREAM, "", "id='1'"),
        ):
            self.world.client(self.phone, f"<message to='{ROOM}/bob' type='chat' id='1'><body>x</body></message>")
            stanza = parse_stanza(carbon.format(direction, sender, to, stanza_id))
            self.assertTrue(self.world.account.from_server(self.laptop, stanza))
            self.assertEqual(self.laptop.take(), [], f"{direction} {to} {stanza_id}")
            self.world.clock.advance(sent_copies.PATIENCE)
            self.assertEqual(len(self.laptop.take()), 1, "the copy comes all the same")

    def test_what_says_nothing_of_copies_of_marked_messages(self) -> None:
        """Prosody 0.12 makes none: then nobody waits for them. Another carbon with the mark is no sign that it does."""
        mark = "<x xmlns='http://jabber.org/protocol/muc#user'/>"

        def at_once(stanza_id: str) -> bool:
            body = f"<body>x</body>{mark}"
            self.world.client(self.phone, f"<message to='{ROOM}/bob' type='chat' id='{stanza_id}'>{body}</message>")
            return len(self.laptop.take()) == 1

        self.assertFalse(at_once("1"))
        self.world.clock.advance(sent_copies.PATIENCE)
        self.laptop.take()
        for direction, sender, to in (("received", f"{ROOM}/bob", STREAM), ("sent", STREAM, ROOM)):
            carbon = (
                f"<message from='{BARE}'><{direction} xmlns='urn:xmpp:carbons:2'>"
                f"<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' from='{sender}' to='{to}' "
                f"id='c'>{mark}</message></forwarded></{direction}></message>"
            )
            self.assertTrue(self.world.account.from_server(self.laptop, parse_stanza(carbon)))
            self.assertTrue(at_once(f"after {direction}"), direction)

    def test_long_ids_are_not_kept(self) -> None:
        """The archive names the account stream then: nobody can tell whose message it was."""
        for length, known in ((sent_copies.LONGEST_ID, True), (sent_copies.LONGEST_ID + 1, False)):
            stanza_id = "i" * length
            said = f"<message to='{ROOM}/bob' type='chat' id='{stanza_id}'><body>x</body></message>"
            self.world.client(self.phone, said)
            result = parse_stanza(
                f"<message from='{BARE}'><result xmlns='{MAM}' id='a'><forwarded xmlns='urn:xmpp:forward:0'>"
                f"<message xmlns='jabber:client' from='{STREAM}' id='{stanza_id}' to='{ROOM}/bob'><body>x</body>"
                "</message></forwarded></result></message>"
            )
            self.assertIs(self.world.account.from_server(self.phone, result), known)

    def archived(self, inside: str) -> bytes:
        """What the phone gets of a message in the account's archive."""
        result = parse_stanza(
            f"<message from='{BARE}'><result xmlns='{MAM}' id='a'><forwarded xmlns='urn:xmpp:forward:0'>"
            f"<message xmlns='jabber:client' {inside}><body>x</body></message></forwarded></result></message>"
        )
        self.phone.take()
        if not self.world.account.from_server(self.phone, result):
            return result.raw
        (given,) = self.phone.take()
        return given.raw

    def test_who_is_the_author_in_the_archive(self) -> None:
        """Of what this device sent, it is named; all else stays as it is."""
        self.world.client(self.phone, f"<message to='{ROOM}/bob' type='chat' id='1'><body>x</body></message>")
        self.world.client(self.laptop, f"<message to='{ROOM}/bob' type='chat' id='2'><body>x</body></message>")
        for inside, named in (
            (f"from='{STREAM}' to='{ROOM}/bob' id='1'", True),
            (f"from='{STREAM}' to='{ROOM}/bob' id='2'", False),
            (f"from='{STREAM}' to='{ROOM}/eve' id='1'", False),
            (f"from='{STREAM}' to='{ROOM}/bob'", False),
            (f"from='{STREAM}' id='1'", False),
            (f"from='{STREAM}' to='a@@b' id='1'", False),
            (f"from='{BARE}/laptop' to='{ROOM}/bob' id='1'", False),
            (f"to='{ROOM}/bob' id='1'", False),
        ):
            given = self.archived(inside)
            self.assertEqual(self.phone.jid.encode() in given, named, inside)
            self.assertEqual(STREAM.encode() in given, STREAM in inside and not named, inside)

    def test_so_many_authors_are_known(self) -> None:
        """The last ones: who says something again under an id of before is among them."""
        self.patch(sent_copies, "MAX_AUTHORS", 3)
        for stanza_id in ("1", "2", "3", "1", "4", "5"):
            said = f"<message to='{ROOM}/bob' type='chat' id='{stanza_id}'><body>x</body></message>"
            self.world.client(self.phone, said)
        given = {one: self.archived(f"from='{STREAM}' to='{ROOM}/bob' id='{one}'") for one in "12345"}
        known = [one for one, raw in given.items() if self.phone.jid.encode() in raw]
        self.assertEqual(known, ["1", "4", "5"])

    def test_two_of_one_id(self) -> None:
        """The server's carbons of them could not be told apart: the second copy is ours, and each is shown once."""
        for _ in range(2):
            self.world.client(self.phone, f"<message to='{ROOM}/bob' type='chat' id='1'><body>x</body></message>")
        self.assertEqual(len(self.laptop.take()), 1)
        self.world.clock.advance(sent_copies.PATIENCE)
        self.assertEqual(len(self.laptop.take()), 1)
        self.assertFalse(self.is_waited())

    def is_waited(self) -> bool:
        """Whether some copy is due."""
        return any("SentCopies" in str(call) for call in self.world.clock.getDelayedCalls())

    def test_a_mark_is_remembered(self) -> None:
        """One that was not marked and comes late says nothing against it."""
        mark = "<x xmlns='http://jabber.org/protocol/muc#user'/>"

        def waits(stanza_id: str, inner: str) -> bool:
            body = f"<body>x</body>{inner}"
            self.world.client(self.phone, f"<message to='{ROOM}/bob' type='chat' id='{stanza_id}'>{body}</message>")
            waited = not self.laptop.take()
            self.world.clock.advance(sent_copies.PATIENCE)
            self.assertEqual(len(self.laptop.take()), int(waited))
            return waited

        found = [waits(str(number), inner) for number, inner in enumerate((mark, mark, "", mark, ""))]
        self.assertEqual(found, [True, False, True, False, True])

    def test_nothing_is_left_when_a_session_closes(self) -> None:
        self.world.client(self.phone, f"<message to='{ROOM}/bob' type='chat' id='1'><body>x</body></message>")
        self.world.account.session_closed(self.laptop)
        self.world.clock.advance(0.1)
        self.world.client(self.phone, f"<message to='{ROOM}/bob' type='chat' id='2'><body>x</body></message>")
        self.assertEqual(self.laptop.take(), [])
        self.assertFalse(self.is_waited())

    def test_what_is_no_result_of_the_accounts_archive(self) -> None:
        """It stays as it came, be it ever so like one."""
        self.world.client(self.phone, f"<message to='{ROOM}/bob' type='chat' id='1'><body>x</body></message>")
        inside = f"<message xmlns='jabber:client' from='{STREAM}' id='1' to='{ROOM}/bob'><body>x</body></message>"
        forwarded = f"<forwarded xmlns='urn:xmpp:forward:0'>{inside}</forwarded>"
        for sender, wrapper in (
            (BARE, "<other xmlns='urn:xmpp:mam:2' id='a'>{}</other>"),
            (BARE, "<result xmlns='urn:q' id='a'>{}</result>"),
            (ROOM, "<result xmlns='urn:xmpp:mam:2' id='a'>{}</result>"),
            (f"{BARE}/phone", "<result xmlns='urn:xmpp:mam:2' id='a'>{}</result>"),
        ):
            stanza = parse_stanza(f"<message from='{sender}'>{wrapper.format(forwarded)}</message>")
            self.assertFalse(self.world.account.from_server(self.phone, stanza), f"{sender} {wrapper}")

    def test_nobody_waits_for_ever(self) -> None:
        """One after the other, each in its time."""
        for stanza_id in "12":
            xml = f"<message to='{ROOM}/bob' type='chat' id='{stanza_id}'><body>x</body></message>"
            self.world.client(self.phone, xml)
            self.world.clock.advance(sent_copies.PATIENCE / 2)
        self.assertEqual(len(self.laptop.take()), 1)
        self.world.clock.advance(sent_copies.PATIENCE / 2)
        self.assertEqual(len(self.laptop.take()), 1)


class Configuration(Case):
    """Only the room itself says that its configuration has changed."""

    CODES = "<x xmlns='http://jabber.org/protocol/muc#user'><status code='170'/></x>"

    def configured(self, sender: str, inner: str) -> bool:
        """Whether a message makes who joins later see a room that is logged."""
        self.setUp()
        self.world.room(f"<message type='groupchat' {sender} to='{STREAM}'>{inner}</message>")
        tablet = self.world.session("tablet")
        self.world.asks_to_join(tablet)
        return any(kind.startswith("presence alice ") and "170" in kind for kind in kinds(tablet.received))

    def test_who_says_it(self) -> None:
        for sender, inner, counts in (
            (f"from='{ROOM}'", self.CODES, True),
            (f"from='{ROOM}/bob'", self.CODES, False),
            (f"from='{ROOM}/'", self.CODES, False),
            (f"from='{ROOM}'", self.CODES.replace("muc#user", "muc#owner"), False),
            (f"from='{ROOM}'", f"<body>x</body>{self.CODES.replace('x', 'y', 1).replace('/x>', '/y>')}", False),
        ):
            self.assertEqual(self.configured(sender, inner), counts, f"{sender} {inner}")
