"""The owner's commands where they belong: an account with its rooms, its stream open or not."""

from twisted.trial import unittest

from minimixproxy.namespaces import NS_COMMANDS, NS_DATA
from minimixproxy.wire.stanza import Stanza, parse_stanza
from tests.minimix.fakes import BARE, ROOM, STREAM, FakeSession, World, kinds

ITEMS = "http://jabber.org/protocol/disco#items"
PLANNED = f"{BARE}/minimix.planned"


class PlannedWorld(World):
    planned = PLANNED


class OwnedAccountTests(unittest.SynchronousTestCase):
    def setUp(self) -> None:
        self.world = PlannedWorld(leave_grace=0)

    def command(self, session: FakeSession, to: str, node: str, form: str = "", execution: str = "") -> Stanza:
        sessionid = f" sessionid='{execution}'" if execution else ""
        payload = f"<x xmlns='{NS_DATA}' type='submit'>{form}</x>" if form else ""
        command = f"<command xmlns='{NS_COMMANDS}' node='{node}'{sessionid}>{payload}</command>"
        self.assertTrue(self.world.client(session, f"<iq type='set' id='c' to='{to}'>{command}</iq>"))
        return next(stanza for stanza in session.received if stanza.name == "iq")

    def run_command(self, session: FakeSession, node: str, form: str) -> str:
        """Return the note at the end."""
        first = self.command(session, STREAM, node).payload(NS_COMMANDS, "command")
        assert first is not None
        session.take()
        last = self.command(session, STREAM, node, form, first["sessionid"]).payload(NS_COMMANDS, "command")
        assert last is not None
        return str(last.note)

    def test_the_stream_is_closed(self) -> None:
        """It is not opened for this."""
        session = self.world.session("phone")
        reply = self.command(session, PLANNED, "rooms")
        self.assertEqual((reply["type"], reply["from"]), ("result", PLANNED))
        self.assertEqual(self.world.stream.sent, [])

    def test_the_stream_is_open(self) -> None:
        (session,) = self.world.joined("phone")
        self.world.says("bob", "hello")
        session.take()
        reply = self.command(session, STREAM, "rooms").payload(NS_COMMANDS, "command")
        assert reply is not None
        self.assertIn(f"{ROOM} as alice: joined, phone, 1 message", str(reply.note))
        self.assertEqual(self.world.stream.sent, [])

    def test_leave(self) -> None:
        phone, laptop = self.world.joined("phone", "laptop")
        form = f"<field var='rooms'><value>{ROOM}</value></field>"
        self.assertEqual(self.run_command(phone, "leave", form), f"The account leaves {ROOM}.")
        self.assertEqual(kinds(self.world.stream.take()), ["unavailable "])
        self.world.gone("alice", "110")
        self.assertIn("unavailable alice 110 307", kinds(laptop.take()))
        self.assertEqual(self.world.account.rooms, {})

    def test_detach(self) -> None:
        phone, laptop = self.world.joined("phone", "laptop")
        form = f"<field var='device'><value>{laptop.jid}</value></field>"
        first = self.command(phone, STREAM, "detach").payload(NS_COMMANDS, "command")
        assert first is not None
        phone.take()
        second = self.command(phone, STREAM, "detach", form, first["sessionid"])
        self.assertIn(ROOM.encode(), second.raw)
        phone.take()
        self.command(phone, STREAM, "detach", "<field var='room'><value>*</value></field>", first["sessionid"])
        self.assertEqual(kinds(laptop.take()), ["unavailable alice 110 307"])
        self.assertEqual(list(self.world.account.rooms[ROOM].attached), [phone])

    def test_forget(self) -> None:
        (phone,) = self.world.joined("phone")
        self.run_command(phone, "forget", "<field var='confirm'><value>1</value></field>")
        self.assertEqual(kinds(self.world.stream.take()), ["unavailable "])
        self.assertEqual((self.world.said, phone.closed), (["forgotten"], None))

    def test_nobody_else(self) -> None:
        """What arrives on the account stream, from an occupant or from anybody, is not answered with commands."""
        self.world.joined()
        for sender in ("mallory@a.test/x", f"{ROOM}/bob", BARE):
            addresses = f"from='{sender}' to='{STREAM}'"
            self.world.room(f"<iq type='set' id='m' {addresses}><command xmlns='{NS_COMMANDS}' node='rooms'/></iq>")
            self.world.room(f"<iq type='get' id='m' {addresses}><query xmlns='{ITEMS}'/></iq>")
            for reply in self.world.stream.take():
                self.assertEqual((reply["type"], reply["to"]), ("error", sender))
                self.assertIn(b"service-unavailable", reply.raw)

    def test_the_end_of_the_account_stream_is_not_shown(self) -> None:
        """ejabberd tells of it, after the stream is gone from here."""
        session = self.world.session("phone")
        for kind, sender, dropped in (
            ("type='unavailable'", PLANNED, True),
            ("type='unavailable'", f"{BARE}/laptop", False),
            ("type='error'", PLANNED, False),
        ):
            text = f"<status>{PLANNED}</status>"
            presence = parse_stanza(f"<presence from='{sender}' to='{session.jid}' {kind}>{text}</presence>")
            self.assertEqual(self.world.account.from_server(session, presence), dropped)

    def test_lists_of_the_server(self) -> None:
        phone, laptop = self.world.session("phone"), self.world.session("laptop")
        ask = f"<iq type='get' id='l' to='{BARE}'><query xmlns='{ITEMS}' node='{NS_COMMANDS}'/></iq>"
        answer = parse_stanza(
            f"<iq type='result' id='l' from='{BARE}'><query xmlns='{ITEMS}' node='{NS_COMMANDS}'/></iq>"
        )
        self.assertFalse(self.world.account.from_server(phone, answer))
        self.assertFalse(self.world.client(phone, ask))
        self.assertFalse(self.world.account.from_server(laptop, answer))
        self.assertTrue(self.world.account.from_server(phone, answer))
        (listed,) = phone.take()
        self.assertEqual(listed.raw.count(PLANNED.encode()), 6)
        self.assertEqual(phone.instead, [listed])
        self.assertEqual(laptop.take(), [])
        self.assertFalse(self.world.client(phone, ask))
        self.world.account.session_closed(phone)
        self.assertFalse(self.world.account.from_server(phone, answer))
