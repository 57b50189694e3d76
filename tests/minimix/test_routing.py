"""Messages and IQs between sessions and rooms (protocol notes, *Routing* and *Private messages and carbons*)."""

from __future__ import annotations

import base64
import hashlib

from twisted.trial.unittest import SynchronousTestCase
from twisted.words.xish import domish

from minimixproxy.minimix.subprotocols import sent_copies
from minimixproxy.minimix.subprotocols.iq_proxying import SELF_PING_AGAIN
from minimixproxy.wire.stanza import Stanza, parse_stanza
from minimixproxy.wire.trees import BUILT
from tests.minimix.fakes import BARE, ROOM, STREAM, FakeSession, World, kinds, split

DISCO = "http://jabber.org/protocol/disco#info"


class Messages(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.phone, self.laptop = self.world.joined("phone", "laptop")

    def test_groupchat_goes_out_and_is_forked(self) -> None:
        xml = f"<message from='{self.phone.jid}' to='{ROOM}' type='groupchat' id='1'><body>hi</body></message>"
        self.assertTrue(self.world.client(self.phone, xml))
        (sent,) = self.world.stream.take()
        self.assertEqual(sent.raw.decode(), f"<message to='{ROOM}' type='groupchat' id='1'><body>hi</body></message>")
        self.world.says("alice", "hi", stanza_id="1")
        for session in (self.phone, self.laptop):
            (message,) = session.received
            self.assertEqual((message["to"], message["id"]), (session.jid, "1"))

    def test_a_fork_differs_in_its_address_only(self) -> None:
        raw = (
            f"<message  id = 'x' from='{ROOM}/bob' to='{{}}' type=\"groupchat\"><body>&#x41;<![CDATA[<b>]]></body>"
            "<stanza-id xmlns='urn:xmpp:sid:0' id='s' by='room@muc.test'/>"
            "<occupant-id xmlns='urn:xmpp:occupant-id:0' id='o'/></message>"
        )
        self.world.room(raw.format(STREAM))
        self.assertEqual(self.phone.received[0].raw.decode(), raw.format(self.phone.jid))

    def test_a_fork_declares_its_namespace_to_whom_needs_that(self) -> None:
        self.laptop.standalone = True
        tablet = self.world.session("tablet")
        tablet.standalone = True
        self.world.asks_to_join(tablet)
        tablet.take()
        raw = f"<message from='{ROOM}/bob' to='{{}}' type='groupchat'><body>hi</body></message>"
        self.world.room(raw.format(STREAM))
        declaring = raw.replace("<message ", "<message xmlns='jabber:client' ")
        found = [session.received[-1].raw.decode() for session in (self.phone, self.laptop, tablet)]
        self.assertEqual(
            found,
            [raw.format(self.phone.jid), declaring.format(self.laptop.jid), declaring.format(tablet.jid)],
        )

    def test_what_the_room_has_shown_was_not_lost(self) -> None:
        """The stream may be lost before the server has acknowledged what the room has shown already."""
        for number in (1, 2):
            xml = f"<message to='{ROOM}' type='groupchat' id='{number}'><body>hi</body></message>"
            self.world.client(self.phone, xml)
        self.world.says("alice", "hi", stanza_id="1")
        self.world.says("bob", "hi", stanza_id="2")
        self.phone.take()
        for number in (1, 2):
            lost = f"<message type='error' from='{ROOM}' to='{STREAM}' id='{number}'><error type='wait'/></message>"
            self.world.account.messages.not_sent(parse_stanza(lost))
        self.assertEqual([stanza["id"] for stanza in self.phone.take()], ["2"])

    def test_error_to_the_one_who_caused_it(self) -> None:
        self.world.client(self.phone, f"<message to='{ROOM}' type='groupchat' id='1'><body>a</body></message>")
        self.world.client(self.laptop, f"<message to='{ROOM}/bob' type='chat' id='2'><body>b</body></message>")
        self.laptop.take(), self.phone.take()
        error = f"<message type='error' from='{{}}' to='{STREAM}' id='{{}}'><error type='auth'/></message>"
        self.world.room(error.format(ROOM, "1"))
        self.world.room(error.format(f"{ROOM}/bob", "2"))
        self.world.room(error.format(ROOM, "3"))
        self.assertEqual([(s["id"], s["to"]) for s in self.phone.received], [("1", self.phone.jid)])
        self.assertEqual([(s["id"], s["to"]) for s in self.laptop.received], [("2", self.laptop.jid)])

    def test_language_of_the_clients_stream_comes_along(self) -> None:
        self.phone.language = "de"
        for attributes, language in [("", "de"), (" xml:lang='fr'", "fr")]:
            self.world.client(self.phone, f"<message type='groupchat' to='{ROOM}'{attributes}><body>x</body></message>")
            (sent,) = self.world.stream.take()
            self.assertEqual(sent.attributes["{http://www.w3.org/XML/1998/namespace}lang"], language)

    def test_private_message_to_all(self) -> None:
        self.world.room(f"<message type='chat' from='{ROOM}/bob' to='{STREAM}'><body>psst</body></message>")
        for session in (self.phone, self.laptop):
            self.assertEqual(kinds(session.received), ["bob: psst"])

    def test_message_to_the_address_that_a_room_shows(self) -> None:
        tablet = self.world.session("tablet")
        chat = f"<message type='chat' from='bob@b.test/x' to='{STREAM}' id='7'><body>hi</body></message>"
        self.world.room(chat)
        for session in (self.phone, self.laptop, tablet):
            self.assertEqual([stanza["to"] for stanza in session.take()], [session.jid])
            self.world.account.session_closed(session)
        self.world.stream.take()
        self.world.room(chat)
        (error,) = self.world.stream.take()
        self.assertEqual((error["type"], error["to"], error["id"]), ("error", "bob@b.test/x", "7"))

    def test_sent_copy_to_the_others_with_carbons(self) -> None:
        tablet = self.world.session("tablet", carbons=False)
        self.world.asks_to_join(tablet)
        tablet.take()
        xml = f"<message to='{ROOM}/bob' type='chat' id='1'><body>psst</body></message>"
        self.world.client(self.phone, xml)
        self.assertEqual(self.laptop.received, [])  # the server's own is better
        self.world.clock.advance(sent_copies.PATIENCE)
        self.assertEqual((self.phone.received, tablet.received), ([], []))
        (copy,) = self.laptop.take()
        self._assert_copy(copy)
        self._carbon_comes(self.laptop)
        self.world.client(self.phone, xml.replace(" id='1'", ""))  # nothing to match the server's by
        (copy,) = self.laptop.take()
        self._assert_copy(copy)

    def test_the_copy_is_shown_before_the_answer(self) -> None:
        for number in ("1", "2"):
            said = f"<message to='{ROOM}/Bob' type='chat' id='{number}'><body>{number}</body></message>"
            self.world.client(self.phone, said)
        self.world.client(self.phone, f"<message to='{ROOM}/carol' type='chat' id='3'><body>x</body></message>")
        self.world.room(f"<message from='{ROOM}/Bob' to='{STREAM}' type='chat' id='9'><body>well</body></message>")
        *copies, answer = self.laptop.take()
        self.assertEqual([self._assert_copy(copy, "Bob")["id"] for copy in copies], ["1", "2"])
        self.assertEqual(answer["id"], "9")
        self._carbon_comes(self.laptop, to=f"{ROOM}/Bob")  # now it is late
        self.assertEqual(self.laptop.received, [])

    def test_no_wait_where_the_server_makes_no_copies_of_marked_messages(self) -> None:
        """Prosody 0.12."""
        mark = "<x xmlns='http://jabber.org/protocol/muc#user'/>"

        def say(stanza_id: str, inner: str = mark) -> int:
            xml = f"<message to='{ROOM}/bob' type='chat' id='{stanza_id}'><body>psst</body>{inner}</message>"
            self.world.client(self.phone, xml)
            return len(self.laptop.take())

        self.assertEqual(say("1"), 0)
        self.world.clock.advance(sent_copies.PATIENCE)
        self.assertEqual(len(self.laptop.take()), 1)
        self.assertEqual((say("2"), say("3", "")), (1, 0))
        self._carbon_comes(self.laptop, stanza_id="2", more=mark)  # so it does after all
        self.assertEqual((say("4"), self.laptop.take()), (0, []))

    def _assert_copy(self, carbon: Stanza, nick: str = "bob") -> domish.Element:
        self.assertEqual((carbon["from"], carbon["to"]), (BARE, self.laptop.jid))
        message: domish.Element = next(next(carbon.element.sent.elements()).elements())
        self.assertEqual((message["from"], message["to"], message.uri), (STREAM, f"{ROOM}/{nick}", "jabber:client"))
        self.assertEqual(len(list(message.elements("http://jabber.org/protocol/muc#user", "x"))), 1)
        return message

    def test_own_messages_in_the_archive(self) -> None:
        """Whoever sent one reads its own address, later too; everybody else the account stream's."""
        self.world.client(self.phone, f"<message to='{ROOM}/Bob' type='chat' id='1'><body>psst</body></message>")
        self.world.account.session_closed(self.phone)
        phone = self.world.session("phone")
        for session, sender, stanza_id, source, shown in (
            (phone, STREAM, "1", f"from='{BARE}'", phone.jid),
            (phone, STREAM, "1", "", phone.jid),
            (phone, STREAM, "1", "from='mallory@b.test'", None),
            (phone, STREAM, "2", "", None),
            (phone, f"{BARE}/x", "1", "", None),
            (self.laptop, STREAM, "1", "", None),
        ):
            result = parse_stanza(
                f"<message {source} to='{session.jid}'><result xmlns='urn:xmpp:mam:2' id='a'>"
                f"<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' from='{sender}' "
                f"id='{stanza_id}' to='{ROOM}/Bob'><body>{STREAM}</body></message></forwarded></result></message>"
            )
            session.take()
            self.assertIs(self.world.account.from_server(session, result), shown is not None)
            for changed in session.take():
                self.assertIn(f"from='{shown}'", changed.raw.decode())
                self.assertIn(f"<body>{STREAM}</body>", changed.raw.decode())
                self.assertIs(changed, session.instead[-1])

    def _carbon_comes(
        self, session: FakeSession, to: str = f"{ROOM}/bob", stanza_id: str = "1", more: str = ""
    ) -> None:
        self.assertTrue(
            self.world.account.from_server(
                session,
                parse_stanza(
                    f"<message from='{BARE}' to='{session.jid}'><sent xmlns='urn:xmpp:carbons:2'>"
                    f"<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' from='{STREAM}' to='{to}' "
                    f"id='{stanza_id}'><body>psst</body>{more}</message></forwarded></sent></message>"
                ),
            )
        )

    def test_the_servers_copy_is_shown_once_and_not_to_its_author(self) -> None:
        tablet = self.world.session("tablet")
        known = "<stanza-id xmlns='urn:xmpp:sid:0' by='alice@a.test' id='archived'/>"
        for more in (known, known + "<x xmlns='http://jabber.org/protocol/muc#user'/>"):
            self.world.client(self.phone, f"<message to='{ROOM}/Bob' type='chat' id='1'><body>psst</body></message>")
            for session in (self.laptop, self.laptop, self.phone, tablet):
                self._carbon_comes(session, more=more, to=f"{ROOM}/Bob")
            (carbon,) = self.laptop.take()
            self.assertIn(b"id='archived'", carbon.raw)
            self.assertEqual(carbon.raw.count(b"muc#user"), 1)
            self.assertIs(carbon, self.laptop.instead[-1])
            self.world.clock.advance(10)
            self.assertEqual((self.laptop.received, self.phone.received, tablet.received), ([], [], []))

    def test_no_trees_are_made_of_copies(self) -> None:
        """One for each device there would be: of ten thousand tags each takes tens of milliseconds."""
        said = f"<message id='1' type='chat' to='{ROOM}/bob'><body>x</body>{'<a/>' * 900}</message>"
        inner = said.replace("<message", f"<message xmlns='jabber:client' from='{STREAM}'")
        forwarded = f"<forwarded xmlns='urn:xmpp:forward:0'>{inner}</forwarded>"
        wrapped = f"<message from='{BARE}' to='{{}}'>{{}}{forwarded}{{}}</message>"
        sent, result = "<sent xmlns='urn:xmpp:carbons:2'>", "<result xmlns='urn:xmpp:mam:2' id='a'>"
        (without_id,) = split(said.replace("id='1'", "").encode())
        (with_id,) = split(said.encode())
        (carbon,) = split(wrapped.format(self.laptop.jid, sent, "</sent>").encode())
        (archived,) = split(wrapped.format(self.phone.jid, result, "</result>").encode())
        before = BUILT.trees
        for message in (without_id, with_id):
            self.assertTrue(self.world.account.from_client(self.phone, message))
        self.world.clock.advance(sent_copies.PATIENCE)
        self.assertTrue(self.world.account.from_client(self.phone, with_id))
        self.assertTrue(self.world.account.from_server(self.laptop, carbon))
        self.assertTrue(self.world.account.from_server(self.phone, archived))
        self.assertEqual(BUILT.trees, before)
        self.assertEqual((len(self.laptop.take()), len(self.phone.take())), (3, 1))

    def test_copies_that_wait_are_bounded(self) -> None:
        """The oldest become ours at once."""
        for size, number in ((1, sent_copies.MAX_WAITING), (100_000, sent_copies.MAX_BYTES // 100_000)):
            for count in range(number + 5):
                inner = f"<body>{'x' * size}</body>"
                self.world.client(self.phone, f"<message to='{ROOM}/bob' type='chat' id='{count}'>{inner}</message>")
            self.assertLessEqual(abs(len(self.laptop.take()) - 5), 1)
            self.world.clock.advance(sent_copies.PATIENCE)
            self.assertLessEqual(abs(len(self.laptop.take()) - number), 1)

    def test_nobody_waits_for_copies_of_a_session_that_goes(self) -> None:
        self.world.client(self.phone, f"<message to='{ROOM}/bob' type='chat' id='1'><body>psst</body></message>")
        self.world.account.session_closed(self.laptop)
        self.world.clock.advance(sent_copies.PATIENCE)
        self.assertEqual(self.laptop.received, [])

    def test_no_copy_where_none_is_wanted(self) -> None:
        for inner in ["<private xmlns='urn:xmpp:carbons:2'/>", "<no-copy xmlns='urn:xmpp:hints'/>"]:
            self.world.client(self.phone, f"<message to='{ROOM}/bob' type='chat'><body>x</body>{inner}</message>")
        self.assertEqual(self.laptop.received, [])

    def test_private_message_waits_for_the_next_to_attach(self) -> None:
        for session in (self.phone, self.laptop):
            self.world.account.session_closed(session)
        self.world.room(f"<message type='chat' from='{ROOM}/bob' to='{STREAM}'><body>psst</body></message>")
        for expected in (["bob: psst"], []):
            session = self.world.session("phone")
            self.world.asks_to_join(session)
            self.assertEqual(kinds(session.received)[3:], expected)

    def test_carbons_of_the_account_stream_are_dropped(self) -> None:
        carbon = (
            "<message from='alice@a.test' to='alice@a.test/phone'><{0} xmlns='urn:xmpp:carbons:2'>"
            "<forwarded xmlns='urn:xmpp:forward:0'>"
            "<message xmlns='jabber:client' from='{1}' to='{2}'><body>x</body></message></forwarded></{0}></message>"
        )
        for direction, sender, receiver, dropped in [
            ("sent", STREAM, f"{ROOM}/bob", True),
            ("received", f"{ROOM}/bob", STREAM, True),
            ("sent", f"{BARE}/other", "bob@b.test", False),
            ("received", "bob@b.test", f"{BARE}/other", False),
        ]:
            stanza = parse_stanza(carbon.format(direction, sender, receiver))
            self.assertIs(self.world.account.from_server(self.phone, stanza), dropped)
        forged = carbon.format("sent", STREAM, "x@b.test").replace("from='alice@a.test'", "from='bob@b.test/x'")
        self.assertFalse(self.world.account.from_server(self.phone, parse_stanza(forged)), "not the server's")
        chatter = parse_stanza(f"<message from='bob@b.test'><body>{STREAM} urn:xmpp:carbons:2</body></message>")
        self.assertFalse(self.world.account.from_server(self.phone, chatter))

    def test_status_messages_are_forked(self) -> None:
        self.world.room(
            f"<message type='groupchat' from='{ROOM}' to='{STREAM}'><x xmlns='http://jabber.org/protocol/muc#user'>"
            "<status code='104'/><status code='173'/></x></message>"
        )
        self.assertEqual(kinds(self.phone.take()), ["message groupchat"])
        self.world.asks_to_join(self.phone)
        self.assertEqual(kinds(self.phone.received)[1], "presence alice 110")

    def test_subject(self) -> None:
        self.world.subject("new")
        self.assertEqual(kinds(self.phone.take()), ["subject new"])
        self.world.asks_to_join(self.phone)
        self.assertEqual(kinds(self.phone.received)[-1], "subject new")

    def test_subject_with_thread_is_a_message(self) -> None:
        self.world.subject("real")
        self.world.room(
            f"<message type='groupchat' from='{ROOM}/bob' to='{STREAM}'>"
            "<subject>x</subject><thread>t</thread></message>"
        )
        self.phone.take()
        self.world.asks_to_join(self.phone)
        self.assertEqual(kinds(self.phone.received)[-1], "subject real")

    def test_stored_subject_is_no_history(self) -> None:
        store = "<store xmlns='urn:xmpp:hints'/>"
        self.world.room(
            f"<message type='groupchat' from='{ROOM}/bob' to='{STREAM}'><subject>x</subject>{store}</message>"
        )
        self.phone.take()
        self.world.asks_to_join(self.phone)
        self.assertEqual([kind for kind in kinds(self.phone.received) if "subject" in kind], ["subject x"])

    def test_kicked_by_us(self) -> None:
        """The account's address in a presence of another reads as each session's, also when it is replayed."""
        actor = f"<item affiliation='none' role='visitor'><actor jid='{STREAM}'/></item>"
        self.world.room(
            f"<presence from='{ROOM}/bob' to='{STREAM}'><x xmlns='http://jabber.org/protocol/muc#user'>{actor}</x></presence>"
        )
        tablet = self.world.session("tablet")
        self.world.asks_to_join(tablet)
        for session in (self.phone, self.laptop, tablet):
            self.assertIn(f"<actor jid='{session.jid}'/>".encode(), session.received[0].raw)
            self.assertNotIn(STREAM.encode(), session.received[0].raw)

    def test_probe(self) -> None:
        self.assertTrue(
            self.world.client(self.phone, f"<presence type='probe' to='{ROOM}/bob' from='{self.phone.jid}'/>")
        )
        (sent,) = self.world.stream.take()
        self.assertEqual((sent["type"], sent["to"], sent.get("from")), ("probe", f"{ROOM}/bob", None))
        stranger = self.world.session("stranger")
        self.assertFalse(self.world.client(stranger, f"<presence type='probe' to='{ROOM}/bob'/>"))

    def test_prefixes_of_the_header_come_along(self) -> None:
        for body, declared in (("<p:x/>", True), ("<x p:a=''/>", True), ("<x a='p:b'/>", True), ("x", False)):
            stanza = parse_stanza(f"<message to='{ROOM}' type='groupchat'><body/></message>")
            stanza.raw = stanza.raw.replace(b"<body/>", body.encode())
            stanza._namespaces = {"": "jabber:client", "p": "urn:p"}
            sent: list[bytes] = []
            self.patch(self.world.stream, "send", sent.append)
            self.world.account.from_client(self.phone, stanza)
            self.assertEqual(b"xmlns:p='urn:p'" in sent[0], declared, body)


class IQs(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.phone, self.laptop = self.world.joined("phone", "laptop")

    def ask(
        self, session: FakeSession, to: str, stanza_id: str, inner: str = "<q xmlns='urn:q'/>", kind: str = "get"
    ) -> str:
        xml = f"<iq type='{kind}' to='{to}' id='{stanza_id}'>{inner}</iq>"
        self.assertTrue(self.world.client(session, xml))
        sent = self.world.stream.take()
        return sent[0]["id"] if sent else ""

    def answer(self, sender: str, stanza_id: str, kind: str = "result", inner: str = "") -> None:
        self.world.room(f"<iq type='{kind}' from='{sender}' to='{STREAM}' id='{stanza_id}'>{inner}</iq>")

    def test_same_id_from_two(self) -> None:
        first = self.ask(self.phone, ROOM, "1")
        second = self.ask(self.laptop, ROOM, "1")
        self.assertNotEqual(first, second)
        self.answer(ROOM, second, inner="<second/>")
        self.answer(ROOM, first, inner="<first/>")
        for session, name in [(self.phone, b"<first/>"), (self.laptop, b"<second/>")]:
            (reply,) = session.received
            self.assertEqual((reply["id"], reply["to"]), ("1", session.jid))
            self.assertIn(name, reply.raw)

    def test_ids_have_nothing_in_common(self) -> None:
        """By them, who is asked in two rooms would know the account again."""
        ids = [self.ask(self.phone, f"{ROOM}/bob", stanza_id) for stanza_id in ("1", "2")]
        self.assertNotEqual(ids[0][:6], ids[1][:6])

    def test_answers_of_strangers_are_dropped(self) -> None:
        wire_id = self.ask(self.phone, f"{ROOM}/bob", "1")
        self.answer(f"{ROOM}/eve", wire_id)
        self.answer(ROOM, wire_id)
        self.answer(f"{ROOM}/bob", "other")
        self.assertEqual(self.phone.received, [])
        self.answer(f"{ROOM}/bob", wire_id)
        self.answer(f"{ROOM}/bob", wire_id)
        self.assertEqual(len(self.phone.received), 1)

    def test_time_out(self) -> None:
        self.ask(self.phone, ROOM, "1")
        self.world.clock.advance(60)
        self.ask(self.laptop, ROOM, "2")
        self.world.clock.advance(60)
        (error,) = self.phone.received
        self.assertEqual((error["type"], error["from"], error["id"]), ("error", ROOM, "1"))
        self.assertIn(b"remote-server-timeout", error.raw)
        self.assertEqual(self.laptop.received, [])
        self.world.clock.advance(60)
        self.assertEqual(len(self.laptop.received), 1)

    def test_without_id(self) -> None:
        self.world.client(self.phone, f"<iq type='get' to='{ROOM}'><q xmlns='urn:q'/></iq>")
        self.assertIn(b"bad-request", self.phone.received[0].raw)

    def test_stream_lost(self) -> None:
        self.ask(self.phone, ROOM, "1")
        self.world.stream.lost()
        (error,) = self.phone.received
        self.assertEqual((error["type"], error.element.error["type"]), ("error", "wait"))

    def test_stream_lost_when_a_room_has_asked(self) -> None:
        """Nobody waits for the answer on another stream, nor for that there is none."""
        for ends in (False, True):
            self.setUp()
            self.world.room(f"<iq type='get' from='{ROOM}/bob' to='{STREAM}' id='7'><q xmlns='urn:q'/></iq>")
            (asked,) = (one for one in (self.phone, self.laptop) if one.received)
            request = asked.received[-1]
            self.world.stream.lost()
            self.world.stream.take()
            if ends:
                self.world.account.session_closed(asked)
            else:
                reply = f"<iq type='result' to='{ROOM}/bob' id='{request['id']}'><a xmlns='urn:q'/></iq>"
                self.world.client(asked, reply)
            self.assertEqual([one for one in self.world.stream.take() if one.name == "iq"], [], ends)

    def test_own_entry_in_a_list(self) -> None:
        wire_id = self.ask(self.phone, ROOM, "1", "<query xmlns='http://jabber.org/protocol/muc#admin'/>")
        entry = "<query xmlns='http://jabber.org/protocol/muc#admin'><item jid='{}' role='participant'/></query>"
        self.answer(ROOM, wire_id, inner=entry.format(STREAM))
        self.assertIn(entry.format(self.phone.jid).encode(), self.phone.received[0].raw)

    def test_answered_here(self) -> None:
        for inner, expected in [
            ("<ping xmlns='urn:xmpp:ping'/>", b""),
            ("<query xmlns='jabber:iq:version'/>", b"minimixproxy"),
            (f"<query xmlns='{DISCO}'/>", b"urn:xmpp:ping"),
        ]:
            self.world.room(f"<iq type='get' from='{ROOM}/bob' to='{STREAM}' id='7'>{inner}</iq>")
            (reply,) = self.world.stream.take()
            self.assertEqual((reply["type"], reply["to"], reply["id"]), ("result", f"{ROOM}/bob", "7"))
            self.assertIn(expected, reply.raw)
        self.assertEqual((self.phone.received, self.laptop.received), ([], []))

    def test_caps_match_the_answer(self) -> None:
        self.world.client(self.phone, "<presence><show>chat</show></presence>")
        caps = next(self.world.stream.take()[0].element.elements("http://jabber.org/protocol/caps", "c"))
        node = f"{caps['node']}#{caps['ver']}"
        self.world.room(
            f"<iq type='get' from='{ROOM}/bob' to='{STREAM}' id='7'><query xmlns='{DISCO}' node='{node}'/></iq>"
        )
        query = next(self.world.stream.take()[0].element.elements(DISCO, "query"))
        identity = query.identity
        text = f"{identity['category']}/{identity['type']}//{identity['name']}<"
        text += "".join(f"{feature['var']}<" for feature in query.elements(DISCO, "feature"))
        self.assertEqual(base64.b64encode(hashlib.sha1(text.encode()).digest()).decode(), caps["ver"])

    def test_unknown_node(self) -> None:
        self.world.room(f"<iq type='get' from='{ROOM}/bob' to='{STREAM}' id='7'><query xmlns='{DISCO}' node='x'/></iq>")
        self.assertIn(b"item-not-found", self.world.stream.take()[0].raw)

    def test_request_goes_to_the_most_recently_active(self) -> None:
        self.world.clock.advance(1)
        self.world.client(self.laptop, "<presence/>")
        self.world.stream.take()
        self.world.room(f"<iq type='get' from='{ROOM}/bob' to='{STREAM}' id='7'><q xmlns='urn:q'/></iq>")
        self.assertEqual(self.phone.received, [])
        (request,) = self.laptop.received
        self.assertEqual((request["from"], request["to"]), (f"{ROOM}/bob", self.laptop.jid))
        reply = f"<iq type='result' to='{{}}' id='{request['id']}'><a xmlns='urn:q'/></iq>"
        self.assertTrue(self.world.client(self.phone, reply.format(f"{ROOM}/bob")))
        self.assertTrue(self.world.client(self.laptop, reply.format(f"{ROOM}/eve")))
        self.assertEqual(self.world.stream.take(), [])
        self.world.client(self.laptop, reply.format(f"{ROOM}/bob"))
        (sent,) = self.world.stream.take()
        self.assertEqual((sent["type"], sent["to"], sent["id"]), ("result", f"{ROOM}/bob", "7"))

    def test_request_with_nobody_there(self) -> None:
        for session in (self.phone, self.laptop):
            self.world.account.session_closed(session)
        self.world.stream.take()
        self.world.room(f"<iq type='set' from='{ROOM}/bob' to='{STREAM}' id='7'><q xmlns='urn:q'/></iq>")
        self.assertIn(b"service-unavailable", self.world.stream.take()[0].raw)

    def test_request_to_a_session_that_goes(self) -> None:
        self.world.room(f"<iq type='set' from='{ROOM}/bob' to='{STREAM}' id='7'><q xmlns='urn:q'/></iq>")
        self.world.account.session_closed(self.phone if self.phone.received else self.laptop)
        reply = self.world.stream.take()[-1]
        self.assertEqual((reply["type"], reply["id"]), ("error", "7"))

    def test_archive_results_to_the_one_who_asked(self) -> None:
        query = "<query xmlns='urn:xmpp:mam:2' queryid='q'/>"
        self.world.account.rooms[ROOM].info.archive = True
        wire_id = self.ask(self.phone, ROOM, "1", query, "set")
        result = (
            f"<message from='{ROOM}' to='{STREAM}'><result xmlns='urn:xmpp:mam:2' queryid='{{}}' id='a'/></message>"
        )
        self.world.room(result.format("q"))
        self.world.room(result.format("other"))
        self.assertEqual([(s.name, s["to"]) for s in self.phone.received], [("message", self.phone.jid)])
        self.assertEqual(self.laptop.received, [])
        self.ask(self.laptop, ROOM, "2", query, "set")
        self.assertIn(b"resource-constraint", self.laptop.take()[0].raw)
        self.answer(ROOM, wire_id)
        self.assertNotEqual(self.ask(self.laptop, ROOM, "3", query, "set"), "")

    def test_archive_results_of_a_session_that_has_gone(self) -> None:
        """Nobody gets them, and others may ask under the same queryid at once."""
        query = "<query xmlns='urn:xmpp:mam:2' queryid='q'/>"
        self.world.account.rooms[ROOM].info.archive = True
        wire_id = self.ask(self.phone, ROOM, "1", query, "set")
        self.world.account.session_closed(self.phone)
        self.world.stream.take()
        result = f"<message from='{ROOM}' to='{STREAM}'><result xmlns='urn:xmpp:mam:2' queryid='q' id='a'/></message>"
        self.world.room(result)
        self.answer(ROOM, wire_id)
        self.assertEqual((self.phone.received, self.laptop.received), ([], []))
        self.assertNotEqual(self.ask(self.laptop, ROOM, "2", query, "set"), "")
        self.world.room(result)
        self.assertEqual(([], 1), (self.phone.received, len(self.laptop.received)))

    def test_answer_after_the_last_room_ended(self) -> None:
        wire_id = self.ask(self.phone, ROOM, "d", "<q xmlns='urn:q'/>", "set")
        self.world.gone("alice", "110 307")
        self.assertEqual((self.world.account.rooms, self.world.stream.closed), ({}, 0))
        self.phone.take()
        self.answer(ROOM, wire_id)
        self.assertEqual([(stanza["type"], stanza["id"]) for stanza in self.phone.received], [("result", "d")])
        self.assertEqual(self.world.stream.closed, 1)

    def test_two_answers_after_the_last_room_ended(self) -> None:
        """The stream stays open for both."""
        first, second = (self.ask(self.phone, ROOM, stanza_id) for stanza_id in "12")
        self.world.gone("alice", "110 307")
        self.phone.take()
        self.answer(ROOM, first)
        self.assertEqual((len(self.phone.take()), self.world.stream.closed), (1, 0))
        self.answer(ROOM, second)
        self.assertEqual((len(self.phone.take()), self.world.stream.closed), (1, 1))

    def test_no_answer_after_the_last_room_ended(self) -> None:
        self.ask(self.phone, ROOM, "d", "<q xmlns='urn:q'/>", "set")
        self.world.gone("alice", "110 307")
        self.phone.take()
        self.world.clock.advance(10)
        self.assertEqual([(stanza["type"], stanza["id"]) for stanza in self.phone.received], [("error", "d")])
        self.assertEqual(self.world.stream.closed, 1)

    def test_nobody_waits_for_an_answer_after_the_last_room_ended(self) -> None:
        self.ask(self.phone, ROOM, "d", "<q xmlns='urn:q'/>", "set")
        self.world.gone("alice", "110 307")
        self.world.account.session_closed(self.phone)
        self.world.account.session_closed(self.laptop)
        self.assertEqual((self.world.stream.closed, self.world.times_idle), (1, 1))
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def test_room_joined_while_an_answer_is_awaited(self) -> None:
        self.ask(self.phone, ROOM, "d", "<q xmlns='urn:q'/>", "set")
        self.world.gone("alice", "110 307")
        self.world.asks_to_join(self.laptop)
        self.world.clock.advance(10)
        self.assertEqual(self.world.stream.closed, 0)

    def test_keep_alive(self) -> None:
        self.world.stream.requests.keep_alive()
        (ping,) = self.world.stream.take()
        self.assertEqual(ping["to"], "a.test")
        self.answer("a.test", ping["id"])


class SelfPing(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.phone, self.laptop = self.world.joined("phone", "laptop")

    def ping(self) -> None:
        xml = f"<iq type='get' to='{ROOM}/alice' id='1'><ping xmlns='urn:xmpp:ping'/></iq>"
        self.assertTrue(self.world.client(self.phone, xml))

    def test_fresh(self) -> None:
        self.ping()
        self.assertEqual(self.world.stream.take(), [])
        (reply,) = self.phone.received
        self.assertEqual((reply["type"], reply["from"], reply["id"]), ("result", f"{ROOM}/alice", "1"))

    def checked(self, condition: str) -> list[str]:
        self.world.clock.advance(61)
        self.ping()
        (sent,) = self.world.stream.take()
        error = (
            f"<error type='cancel'><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
            if condition
            else ""
        )
        kind = "error" if condition else "result"
        self.world.room(f"<iq type='{kind}' from='{ROOM}/alice' to='{STREAM}' id='{sent['id']}'>{error}</iq>")
        return [f"{stanza.name} {stanza.get('type')}" for stanza in self.phone.take()]

    def test_joined(self) -> None:
        for condition in ["", "service-unavailable", "feature-not-implemented", "item-not-found"]:
            self.assertEqual(self.checked(condition), ["iq result"])
            self.ping()
            self.assertEqual((self.world.stream.take(), len(self.phone.take())), ([], 1))

    def test_says_nothing(self) -> None:
        self.assertEqual(self.checked("remote-server-timeout"), ["iq error"])
        self.assertIn(ROOM, self.world.account.rooms)

    def sent_twice(self) -> str:
        """A self-ping that the room did not answer for a while; returns its id on the wire."""
        self.world.clock.advance(61)
        self.ping()
        (first,) = self.world.stream.take()
        self.world.clock.advance(SELF_PING_AGAIN - 1)
        self.assertEqual(self.world.stream.take(), [])
        self.world.clock.advance(1)
        (again,) = self.world.stream.take()
        self.assertTrue(again.has_payload("urn:xmpp:ping", "ping"))
        self.assertEqual((again["to"], again["id"]), (first["to"], first["id"]))
        self.assertEqual(self.phone.received, [])
        return str(first["id"])

    def answers(self, id_: str, error: str = "") -> None:
        kind = "error" if error else "result"
        self.world.room(f"<iq type='{kind}' from='{ROOM}/alice' to='{STREAM}' id='{id_}'>{error}</iq>")

    def test_lost_with_the_room(self) -> None:
        """Asked once more, under the same id: whichever is answered first counts, and the other is nothing."""
        id_ = self.sent_twice()
        for _ in range(2):
            self.answers(id_)
        (answer,) = self.phone.take()
        self.assertEqual((answer.name, answer["type"], answer["id"]), ("iq", "result", "1"))
        self.assertFalse(self.world.account.iqs.waiting)

    def test_lost_with_the_room_and_out(self) -> None:
        error = "<error type='cancel'><not-acceptable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
        self.answers(self.sent_twice(), error)
        self.world.comes_back()
        self.assertEqual([(stanza.name, stanza.get("type")) for stanza in self.phone.take()], [("iq", "result")])

    def test_no_answer_at_all(self) -> None:
        self.sent_twice()
        self.world.clock.advance(10)
        self.world.clock.advance(110)
        (error,) = self.phone.take()
        self.assertIn(b"remote-server-timeout", error.raw)
        self.assertEqual(self.world.stream.take(), [])

    def test_nobody_waits_for_it(self) -> None:
        self.world.clock.advance(61)
        self.ping()
        self.world.stream.take()
        self.world.account.session_closed(self.phone)
        self.world.clock.advance(200)
        self.assertEqual([stanza for stanza in self.world.stream.take() if stanza.name == "iq"], [])
        self.assertFalse(self.world.account.iqs.waiting)

    def test_out(self) -> None:
        """The account comes back, and the ping is answered then: nobody was out."""
        self.assertEqual(self.checked("not-acceptable"), [])
        self.world.comes_back()
        self.assertEqual([(stanza.name, stanza.get("type")) for stanza in self.phone.take()], [("iq", "result")])
        self.assertEqual(self.laptop.received, [])
