"""Which questions of clients about archives go to the room, and which are answered here."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.wire.stanza import Stanza
from tests.minimix.fakes import ROOM, STREAM, FakeSession, World

MAM = "urn:xmpp:mam:2"
DISCO = "http://jabber.org/protocol/disco#info"


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.phone, self.laptop = self.world.joined("phone", "laptop")
        self.world.says("bob", "hello")
        self.phone.take()
        self.laptop.take()

    def asks(self, session: FakeSession, payload: str, kind: str = "set") -> bool:
        return self.world.client(session, f"<iq type='{kind}' id='1' to='{ROOM}'>{payload}</iq>")

    def sent(self, namespace: str, name: str = "query") -> Stanza:
        (stanza,) = self.world.stream.take()
        self.assertTrue(stanza.has_payload(namespace, name))
        return stanza

    def tells(self, question: Stanza, *features: str) -> None:
        """The room answers disco#info."""
        found = "".join(f"<feature var='{feature}'/>" for feature in ("x", *features))
        self.world.room(
            f"<iq type='result' from='{ROOM}' to='{STREAM}' id='{question['id']}'>"
            f"<query xmlns='{DISCO}'>{found}</query></iq>"
        )

    def learn(self, *features: str) -> None:
        self.asks(self.phone, f"<query xmlns='{DISCO}'/>", "get")
        self.tells(self.sent(DISCO), *features)
        self.phone.take()


class WithoutArchive(Case):
    def test_advertised_and_answered(self) -> None:
        self.asks(self.phone, f"<query xmlns='{DISCO}'/>", "get")
        self.tells(self.sent(DISCO))
        (shown,) = self.phone.take()
        self.assertEqual((shown["id"], shown["to"], shown["from"]), ("1", self.phone.jid, ROOM))
        for feature in ("x", MAM, f"{MAM}#extended"):
            self.assertIn(f"<feature var='{feature}'/>".encode(), shown.raw)
        self.asks(self.phone, f"<query xmlns='{MAM}' queryid='q'/>")
        result, fin = self.phone.take()
        self.assertEqual(self.world.stream.take(), [])
        self.assertIn(b"<body>hello</body>", result.raw)
        self.assertEqual((result["to"], fin["to"], fin["type"]), (self.phone.jid, self.phone.jid, "result"))

    def test_the_room_is_asked_first(self) -> None:
        self.asks(self.phone, f"<metadata xmlns='{MAM}'/>", "get")
        self.asks(self.phone, f"<query xmlns='{MAM}'/>")
        self.tells(self.sent(DISCO))
        self.assertEqual([stanza.name for stanza in self.phone.take()], ["iq", "message", "iq"])

    def test_before_joining(self) -> None:
        laptop = self.world.session("laptop")
        self.assertTrue(self.asks(laptop, f"<query xmlns='{DISCO}'/>", "get"))
        self.tells(self.sent(DISCO))
        self.assertIn(MAM.encode(), laptop.take()[0].raw)
        self.assertTrue(self.asks(laptop, f"<query xmlns='{MAM}'/>"))
        self.assertEqual(len(laptop.take()), 2)
        self.assertFalse(self.asks(laptop, "<query xmlns='http://jabber.org/protocol/disco#items'/>", "get"))
        self.assertFalse(
            self.world.client(laptop, f"<iq type='get' id='1' to='{ROOM}/bob'><query xmlns='{DISCO}'/></iq>")
        )

    def test_without_id(self) -> None:
        self.learn()
        self.world.client(self.phone, f"<iq type='set' to='{ROOM}'><query xmlns='{MAM}'/></iq>")
        self.assertIn(b"bad-request", self.phone.take()[0].raw)

    def test_a_node_is_not_the_room(self) -> None:
        self.asks(self.phone, f"<query xmlns='{DISCO}' node='x'/>", "get")
        question = self.sent(DISCO)
        self.world.room(
            f"<iq type='result' from='{ROOM}' to='{STREAM}' id='{question['id']}'>"
            f"<query xmlns='{DISCO}' node='x'/></iq>"
        )
        self.assertNotIn(MAM.encode(), self.phone.take()[0].raw)

    def test_nothing_is_kept(self) -> None:
        self.world = World(history=0)
        self.phone, self.laptop = self.world.joined("phone", "laptop")
        self.asks(self.phone, f"<query xmlns='{DISCO}'/>", "get")
        self.tells(self.sent(DISCO))
        self.assertNotIn(MAM.encode(), self.phone.take()[0].raw)
        self.asks(self.phone, f"<query xmlns='{MAM}'/>")
        self.sent(MAM)


class WithArchive(Case):
    def test_passes(self) -> None:
        self.asks(self.phone, f"<query xmlns='{DISCO}'/>", "get")
        self.tells(self.sent(DISCO), MAM)
        self.assertEqual(self.phone.take()[0].raw.count(MAM.encode()), 1)
        self.asks(self.phone, f"<query xmlns='{MAM}' queryid='q'/>")
        self.assertEqual(self.sent(MAM)["to"], ROOM)
        self.assertEqual(self.phone.take(), [])

    def test_the_room_is_asked_first(self) -> None:
        self.asks(self.phone, f"<query xmlns='{MAM}'/>")
        self.tells(self.sent(DISCO), MAM)
        self.sent(MAM)

    def test_a_room_that_does_not_say(self) -> None:
        self.asks(self.phone, f"<query xmlns='{MAM}'/>")
        question = self.sent(DISCO)
        self.world.room(f"<iq type='error' from='{ROOM}' to='{STREAM}' id='{question['id']}'/>")
        self.sent(MAM)

    def test_another_configuration(self) -> None:
        self.learn(MAM)
        self.world.room(
            f"<message type='groupchat' from='{ROOM}' to='{STREAM}'>"
            "<x xmlns='http://jabber.org/protocol/muc#user'><status code='104'/></x></message>"
        )
        self.tells(self.sent(DISCO))
        self.phone.take()
        self.asks(self.phone, f"<query xmlns='{MAM}'/>")
        self.assertEqual(len(self.phone.take()), 2)

    def test_a_result_by_an_occupant(self) -> None:
        """It is a private message, whatever is in it."""
        self.asks(self.phone, f"<query xmlns='{MAM}' queryid='q'/>")
        self.tells(self.sent(DISCO), MAM)
        for sender in (f"{ROOM}/mallory", ROOM):
            self.world.room(
                f"<message from='{sender}' to='{STREAM}'><result xmlns='{MAM}' queryid='q' id='1'/></message>"
            )
            received = len(self.phone.take()), len(self.laptop.take())
            self.assertEqual(received, (1, 0) if sender == ROOM else (1, 1), sender)
