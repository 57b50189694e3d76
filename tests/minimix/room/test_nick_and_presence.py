"""Changes of nick, and the one presence that a room sees (protocol notes, *Nick* and *Presence*)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.minimix.fakes import ROOM, STREAM, World, kinds


class NickChange(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.phone, self.laptop = self.world.joined("phone", "laptop")

    def ask(self, nick: str, stanza_id: str = "n") -> None:
        self.assertTrue(self.world.client(self.laptop, f"<presence to='{ROOM}/{nick}' id='{stanza_id}'/>"))

    def test_shown_to_all(self) -> None:
        self.ask("liz")
        (sent,) = self.world.stream.take()
        self.assertEqual((sent["to"], sent["id"], sent.get("type")), (f"{ROOM}/liz", "n", None))
        self.world.gone("alice", "303 110", item="nick='liz'")
        self.world.shows("liz", "110")
        for session in (self.phone, self.laptop):
            self.assertEqual(kinds(session.take()), ["unavailable alice 303 110", "presence liz 110"])
        self.world.asks_to_join(self.phone, "liz")
        self.assertEqual(kinds(self.phone.received)[1], "presence liz 100 110")

    def test_of_a_less_available_session(self) -> None:
        self.world.client(self.laptop, f"<presence to='{ROOM}/liz'><show>xa</show></presence>")
        self.assertNotIn(b"<show>", self.world.stream.take()[0].raw)

    def test_conflict_to_the_one_who_asked(self) -> None:
        self.ask("bob", "c")
        self.world.room(
            f"<presence type='error' from='{ROOM}/bob' to='{STREAM}' id='whatever'><error type='cancel'>"
            "<conflict xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>"
        )
        (error,) = self.laptop.received
        self.assertEqual((error["id"], error["to"]), ("c", self.laptop.jid))
        self.assertIn(b"<conflict", error.raw)
        self.assertEqual(self.phone.received, [])
        self.world.says("alice", "still alice")
        self.assertEqual(kinds(self.phone.received), ["alice: still alice"])

    def sent(self) -> list[tuple[str, str]]:
        return [(stanza["to"], str(stanza.element.show)) for stanza in self.world.stream.take()]

    def test_what_is_shown_with_it_is_not_shown_again(self) -> None:
        self.world.client(self.laptop, f"<presence to='{ROOM}/liz'><show>chat</show></presence>")
        self.assertEqual(self.sent(), [(f"{ROOM}/liz", "chat")])
        self.world.client(self.phone, f"<presence to='{ROOM}/alice'/>")
        self.assertEqual(self.sent(), [])
        self.world.gone("alice", "303 110", item="nick='liz'")
        self.world.shows("liz", "110", inner="<show>chat</show>")
        self.world.clock.advance(10)
        self.world.account.session_closed(self.phone)
        self.world.clock.advance(10)
        self.assertEqual(self.sent(), [])

    def test_a_server_that_takes_no_more_of_it_than_the_nick(self) -> None:
        self.world.client(self.laptop, f"<presence to='{ROOM}/liz'><show>chat</show></presence>")
        self.world.stream.take()
        self.world.gone("alice", "303 110", item="nick='liz'")
        self.assertEqual(self.sent(), [])
        self.world.shows("liz", "110")
        self.assertEqual(self.sent(), [(f"{ROOM}/liz", "chat")])
        self.world.shows("liz", "110", inner="<show>chat</show>")
        self.assertEqual(self.sent(), [])

    def test_what_is_shown_with_a_nick_that_is_refused(self) -> None:
        """The room has not seen it, and is shown it by the nick that the account has."""
        self.world.client(self.laptop, f"<presence to='{ROOM}/bob'><show>chat</show></presence>")
        self.assertEqual(self.sent(), [(f"{ROOM}/bob", "chat")])
        self.world.room(f"<presence type='error' from='{ROOM}/bob' to='{STREAM}'/>")
        self.assertEqual(self.sent(), [(f"{ROOM}/alice", "chat")])
        self.world.client(self.phone, f"<presence to='{ROOM}/bob'/>")
        self.assertEqual(self.sent(), [(f"{ROOM}/bob", "chat")])
        self.world.room(f"<presence type='error' from='{ROOM}/bob' to='{STREAM}'/>")
        self.assertEqual(self.sent(), [])

    def test_unanswered(self) -> None:
        self.ask("liz")
        self.world.clock.advance(31)
        (error,) = self.laptop.take()
        self.assertEqual((error["type"], error["from"], error["id"]), ("error", f"{ROOM}/liz", "n"))
        self.assertIn(b"<remote-server-timeout ", error.raw)
        self.world.room(f"<presence type='error' from='{ROOM}/liz' to='{STREAM}' id='n'/>")
        self.assertEqual(self.laptop.received, [])

    def test_unanswered_one_after_the_other(self) -> None:
        """Each has its own time, and who asked second is not forgotten when the first is told."""
        self.ask("liz", "1")
        self.world.clock.advance(20)
        self.ask("lizzie", "2")
        for seconds, told in ((9, []), (1, ["1"]), (19, []), (1, ["2"]), (60, [])):
            self.world.clock.advance(seconds)
            self.assertEqual([error["id"] for error in self.laptop.take()], told)

    def test_too_many(self) -> None:
        for number in range(40):
            self.ask(f"liz{number}", str(number))
        self.assertEqual(len(self.world.stream.take()), 32)
        self.assertEqual([error["id"] for error in self.laptop.take()], [str(number) for number in range(32, 40)])

    def test_the_account_is_out_before_it_is_answered(self) -> None:
        self.ask("liz")
        self.world.gone("alice", "110 332")
        (error,) = self.laptop.take()
        self.assertEqual((error["type"], error["id"]), ("error", "n"))

    def test_impossible_nick(self) -> None:
        self.ask("liz")
        self.world.gone("alice", "303 110", item="nick=''")
        self.assertEqual(self.phone.received, [])
        self.assertTrue(self.world.account.rooms[ROOM].interrupted)

    def test_others(self) -> None:
        self.world.gone("bob", "303", item="nick='rob'")
        self.world.shows("rob")
        self.assertEqual(kinds(self.phone.received), ["unavailable bob 303", "presence rob"])
        tablet = self.world.session("tablet")
        self.world.asks_to_join(tablet)
        self.assertEqual(kinds(tablet.received)[:2], ["presence rob", "presence alice 100 110"])

    def test_the_same_after_preparation(self) -> None:
        self.ask("\uff41lice")
        self.assertEqual([stanza["to"] for stanza in self.world.stream.take()], [])
        self.assertEqual(kinds(self.laptop.received), ["presence alice 110"])


class OnePresence(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.phone, self.laptop = self.world.joined("phone", "laptop")
        self.world.clock.advance(10)

    def shown(self) -> list[str]:
        return [str(stanza.element.show or "") for stanza in self.world.stream.take()]

    def test_most_available(self) -> None:
        self.assertFalse(self.world.client(self.phone, "<presence><show>xa</show></presence>"))
        self.assertEqual(self.shown(), [])
        self.world.clock.advance(10)
        self.world.client(self.laptop, "<presence><show>away</show><status>out</status></presence>")
        self.assertEqual(self.shown(), ["away"])
        self.world.clock.advance(10)
        self.world.client(self.phone, "<presence><show>chat</show></presence>")
        self.assertEqual(self.shown(), ["chat"])

    def test_the_latest_of_equals(self) -> None:
        for session, text in [(self.phone, "p"), (self.laptop, "l"), (self.phone, "p2")]:
            self.world.client(session, f"<presence><status>{text}</status></presence>")
            self.world.clock.advance(10)
        self.assertEqual([str(stanza.element.status) for stanza in self.world.stream.take()], ["p", "l", "p2"])

    def test_directed_counts_for_its_room_until_the_next_undirected(self) -> None:
        self.world.client(self.phone, "<presence><show>xa</show></presence>")
        self.world.client(self.laptop, f"<presence to='{ROOM}/alice' id='9'><show>dnd</show></presence>")
        (sent,) = self.world.stream.take()
        self.assertEqual((str(sent.element.show), sent["id"]), ("dnd", "9"))
        self.world.clock.advance(10)
        self.world.client(self.laptop, "<presence><show>away</show></presence>")
        self.assertEqual(self.shown(), ["away"])

    def test_rate(self) -> None:
        self.world.client(self.phone, "<presence><show>xa</show></presence>")
        for show in ["away", "xa", "dnd", "away", "dnd"]:
            self.world.client(self.laptop, f"<presence><show>{show}</show></presence>")
        self.assertEqual(self.shown(), ["away"])
        self.world.clock.advance(1)
        self.assertEqual(self.shown(), ["dnd"])
        self.world.clock.advance(10)
        self.assertEqual(self.shown(), [])

    def test_caps_are_ours(self) -> None:
        caps = "<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='theirs' ver='x'/>"
        self.world.client(self.phone, f"<presence><show>chat</show>{caps}<x xmlns='vcard-temp:x:update'/></presence>")
        (sent,) = self.world.stream.take()
        self.assertNotIn(b"theirs", sent.raw)
        self.assertEqual(sent.payloads.count(("http://jabber.org/protocol/caps", "c")), 1)
        self.assertIn(("vcard-temp:x:update", "x"), sent.payloads)


class TwoAskForOneNick(SynchronousTestCase):
    """Whoever asks is answered, by what the room says to that request."""

    def setUp(self) -> None:
        self.world = World()
        self.sessions = self.world.joined("phone", "laptop")
        for number, session in enumerate(self.sessions):
            self.world.client(session, f"<presence to='{ROOM}/liz' id='n{number}'/>")

    def test_refused(self) -> None:
        for _session in self.sessions:
            self.world.room(f"<presence type='error' from='{ROOM}/liz' to='{STREAM}'/>")
        answers = [[(one["type"], one["id"]) for one in session.take()] for session in self.sessions]
        self.assertEqual(answers, [[("error", "n0")], [("error", "n1")]])

    def test_given(self) -> None:
        self.world.gone("alice", "303 110", item="nick='liz'")
        self.world.shows("liz", "110")
        self.world.clock.advance(60)
        for session in self.sessions:
            self.assertEqual(kinds(session.take()), ["unavailable alice 303 110", "presence liz 110"])


class OneAsksTwice(SynchronousTestCase):
    """For one nick, by two ids: each request goes to the room, and each is answered."""

    def setUp(self) -> None:
        self.world = World()
        (self.phone,) = self.world.joined("phone")
        for number in range(2):
            self.world.client(self.phone, f"<presence to='{ROOM}/liz' id='n{number}'/>")

    def test_refused(self) -> None:
        for _request in self.world.stream.take():
            self.world.room(f"<presence type='error' from='{ROOM}/liz' to='{STREAM}'/>")
        self.assertEqual([(one["type"], one["id"]) for one in self.phone.take()], [("error", "n0"), ("error", "n1")])

    def test_unanswered(self) -> None:
        self.world.clock.advance(31)
        self.assertEqual([(one["type"], one["id"]) for one in self.phone.take()], [("error", "n0"), ("error", "n1")])


class WhoIsWho(SynchronousTestCase):
    """What a room says of the account's nick, against what it said before."""

    def setUp(self) -> None:
        self.world = World()
        (self.phone,) = self.world.joined("phone")

    def late(self) -> list[str]:
        tablet = self.world.session("tablet")
        self.world.asks_to_join(tablet)
        return kinds(tablet.take())

    def test_a_303_to_the_nick_of_somebody_else(self) -> None:
        self.world.gone("alice", "303 110", item="nick='bob'")
        self.world.shows("bob", "110")
        self.assertEqual(self.late(), ["presence bob 100 110 210", "subject topic"])

    def test_another_nick_without_a_word(self) -> None:
        """Who is there is shown the change that the room left out."""
        self.world.shows("other", "110")
        self.assertEqual(kinds(self.phone.take()), ["unavailable alice 303 110", "presence other 110"])
        self.world.gone("third", "110 307")
        self.assertEqual(kinds(self.phone.take()), ["unavailable other 110 307"])

    def test_a_303_of_another_nick(self) -> None:
        self.world.gone("third", "303 110", item="nick='liz'")
        self.world.shows("liz", "110")
        self.assertEqual(kinds(self.phone.take()), ["unavailable alice 303 110", "presence liz 110"])

    def test_somebody_who_never_was_there(self) -> None:
        self.world.gone("ghost")
        self.world.gone("ghost", "307")
        self.world.room(
            f"<presence type='unavailable' from='{ROOM}/ghost' to='{STREAM}'>"
            "<x xmlns='http://jabber.org/protocol/muc#user'><destroy/></x></presence>"
        )
        self.assertEqual(self.late(), ["presence bob", "presence alice 100 110", "subject topic"])

    def test_spellings_of_the_nick(self) -> None:
        """Prepared, they are one occupant (RFC 6122 Appendix B): a compatibility character is its plain form."""
        wide = "\N{FULLWIDTH LATIN SMALL LETTER A}"
        self.world.shows(f"{wide}lice", "110")
        self.assertEqual(kinds(self.phone.take()), [f"presence {wide}lice 110"])
        self.world.shows("\N{FULLWIDTH LATIN SMALL LETTER B}ob")
        self.assertEqual(len([one for one in self.late() if "ob" in one]), 1)
        self.world.shows("Alice")
        self.assertIn("presence Alice", kinds(self.phone.take()))
