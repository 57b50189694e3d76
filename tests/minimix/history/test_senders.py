"""Who may change a message: whoever said it, if that is certain; and the ids that a message is known by."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.minimix.history.amendments import ids_of
from minimixproxy.minimix.history.message_index import OCCUPANT, ids_of_bytes
from minimixproxy.minimix.history.senders import Senders
from minimixproxy.wire.stanza import parse_stanza
from tests.minimix.fakes import ROOM

BOB = f"{ROOM}/bob"


def occupant_id(value: str) -> str:
    return f"<occupant-id xmlns='urn:xmpp:occupant-id:0' id='{value}'/>"


class Certainty(SynchronousTestCase):
    def setUp(self) -> None:
        """Bob is there, and said something as message 6; the account sees who leaves since message 5."""
        self.senders = Senders()
        self.senders.shown(BOB, 3)
        self.senders.watch(5)

    def assert_certain(self, by_nick: bool) -> None:
        for sender, past, expected in (
            (None, False, False),
            (OCCUPANT + "b", False, True),
            (OCCUPANT + "b", True, True),
            (BOB, True, False),
            (BOB, False, by_nick),
            (f"{ROOM}/eve", False, False),
        ):
            found = self.senders.is_certain(sender, 6, past=past)
            self.assertIs(found, expected, f"{sender} {past}")

    def test_of_one_who_is_there_all_the_time(self) -> None:
        self.assert_certain(True)
        self.assertFalse(self.senders.is_certain(BOB, 5, past=False), "nobody saw whether it was he")

    def test_many_who_are_there_all_the_time(self) -> None:
        """Each is known by itself, and who leaves, comes, or is shown again, changes nothing for the others."""
        others = [f"{ROOM}/{number}" for number in range(50)]
        for other in others:
            self.senders.shown(other, 3)
        self.senders.watch(5)
        for other in others[::2]:
            self.senders.left(other)
        for other in others[::4]:
            self.senders.shown(other, 7)
        for other in others[1::2]:
            self.senders.shown(other, 8)
        for number, other in enumerate(others):
            stays, comes_back = bool(number % 2), number % 4 == 0
            self.assertIs(self.senders.is_certain(other, 6, past=False), stays, other)
            self.assertIs(self.senders.is_certain(other, 8, past=False), stays or comes_back, other)
        self.senders.watch(9)
        self.assertFalse(self.senders.is_certain(others[0], 9, past=False))
        self.assertTrue(self.senders.is_certain(others[0], 10, past=False))
        self.assertFalse(self.senders.is_certain(others[2], 10, past=False))
        self.assert_certain(False)

    def test_nobody_knows_who_has_a_nick(self) -> None:
        """When its owner left, or the account does not see who leaves: also when both are there again."""
        for happens in (
            lambda: self.senders.left(BOB),
            lambda: self.senders.lose_sight(),
            lambda: self.senders.rules_changed(),
        ):
            self.setUp()
            happens()
            self.assert_certain(False)
            self.senders.shown(BOB, 6)
            self.senders.watch(6)
            self.assert_certain(False)


class Names(SynchronousTestCase):
    def test_senders(self) -> None:
        """By occupant-id where the room gives them: the only one, for a second is nobody's word."""
        for gives, inner, expected in (
            (False, "", BOB),
            (False, occupant_id("b"), BOB),
            (True, "", BOB),
            (True, occupant_id("b"), OCCUPANT + "b"),
            (True, occupant_id("b") * 2, None),
            (True, occupant_id(""), None),
            (True, "<occupant-id xmlns='urn:xmpp:occupant-id:0'/>", None),
            (True, "<occupant-id xmlns='urn:other' id='b'/>", BOB),
        ):
            senders = Senders()
            own = f"<presence from='{ROOM}/alice'>{occupant_id('a') if gives else ''}</presence>"
            senders.entered(parse_stanza(own))
            message = f"<message from='{BOB}'>{inner}<body>x</body></message>"
            self.assertEqual(senders.sender_of(parse_stanza(message)), expected, f"{gives} {inner}")
            self.assertEqual(senders.sender_of_bytes(message.encode()), expected, f"{gives} {inner}")
        self.assertIsNone(Senders().sender_of_bytes(b"no message"))

    def test_ids(self) -> None:
        """The attribute and the origin-id (XEP-0359), each once."""
        origin = "<origin-id xmlns='urn:xmpp:sid:0' id='{}'/>"
        for attribute, inner, expected in (
            ("", "", ()),
            ("id='a'", "", ("a",)),
            ("id=''", "", ()),
            ("", origin.format("o"), ("o",)),
            ("id='a'", origin.format("o"), ("a", "o")),
            ("id='a'", origin.format("a"), ("a",)),
            ("id='a'", origin.format(""), ("a",)),
            ("id='a'", "<origin-id xmlns='urn:xmpp:sid:0'/>", ("a",)),
            ("", origin.format(""), ()),
            ("id='a'", origin.replace("sid", "other"), ("a",)),
        ):
            message = f"<message {attribute}>{inner}<body>x</body></message>"
            self.assertEqual(ids_of(parse_stanza(message)), expected, message)
            if "other" not in inner:  # that takes a parser to tell
                self.assertEqual(ids_of_bytes(message.encode()), set(expected), message)
