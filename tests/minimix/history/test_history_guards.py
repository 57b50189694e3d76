"""Who may change what was said, what a client has got of it, and what is left of it."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.bounds.byte_budget import ByteBudget
from minimixproxy.minimix.history.amendments import stanza_id_of
from minimixproxy.minimix.history.archive_query import read_query
from minimixproxy.minimix.history.private_messages import PrivateMessages
from minimixproxy.minimix.history.room_history import SHORT_REPLAY
from minimixproxy.minimix.interfaces.journal import KeptMessage, KeptPrivate
from minimixproxy.wire.stanza import Stanza, parse_stanza
from minimixproxy.xep.muc_history import HistoryRequest
from tests.minimix.fakes import ROOM
from tests.minimix.history.test_room_history import Recorder, Speaker, replacing, retracting

SID = "urn:xmpp:sid:0"
RETRACT = "urn:xmpp:message-retract:1"
QUERY = parse_stanza("<query xmlns='urn:xmpp:mam:2'/>").element


class ChangeTests(SynchronousTestCase):
    """What stands in the archive after corrections and retractions."""

    def setUp(self) -> None:
        self.room = Speaker()

    def kept(self, sequence: int) -> Stanza:
        return parse_stanza(self.room.journal.messages[sequence].raw)

    def test_what_was_retracted_stays_so(self) -> None:
        """Its sender corrects it, and retracts it again: what stands there says no more than before."""
        self.room.says("secret", sent_id="o", room_id="O")
        self.room.says("", retracting("O"), sent_id="r")
        before = self.room.journal.messages[1]
        self.assertTrue(before.retracted)
        self.room.now += 5
        self.room.says("secret after all", replacing("o"), sent_id="c")
        self.room.says("", retracting("O"), sent_id="r2")
        self.assertEqual(self.room.journal.messages[1], before)
        self.assertEqual([self.room.journal.messages[number].amends for number in (2, 3, 4)], [1, 1, 1])

    def test_the_rooms_ids_stay_with_what_is_left(self) -> None:
        """Of a correction, too, which goes with its original: archives are paged by these ids."""
        self.room.says("teh", sent_id="o", room_id="O")
        self.room.says("the", replacing("o"), sent_id="c", room_id="C")
        self.room.says("them", replacing("o"), sent_id="d")
        self.room.says("", retracting("O"), sent_id="r")
        for sequence, ids in ((1, ["O"]), (2, ["C"]), (3, [])):
            kept = self.kept(sequence)
            self.assertEqual([one["id"] for one in kept.elements(SID, "stanza-id")], ids)
            self.assertEqual([one["by"] for one in kept.elements(SID, "stanza-id")], [ROOM] * len(ids))
            self.assertTrue(kept.has_payload(RETRACT, "retracted"))
            self.assertNotIn(b"the", kept.raw.replace(b"them", b"").replace(b"urn:", b""))

    def test_which_retraction_it_was(self) -> None:
        """By the room's id for it, else by the one that its sender gave it."""
        for room_id, expected in (("R", "R"), (None, "r")):
            self.setUp()
            self.room.says("teh", sent_id="o", room_id="O")
            self.room.says("", retracting("O"), sent_id="r", room_id=room_id)
            (retracted,) = self.kept(1).elements(RETRACT, "retracted")
            self.assertEqual(retracted["id"], expected)

    def test_an_id_in_the_rooms_name_that_is_none(self) -> None:
        """It neither makes the message unreadable nor takes the place of the one that is."""
        for made_up in (f"<stanza-id xmlns='{SID}' by='{ROOM}'/>", f"<stanza-id xmlns='{SID}' by='{ROOM}' id=''/>"):
            self.setUp()
            self.room.says("teh", made_up, sent_id="o", room_id="O")
            self.room.says("the", replacing("o"), sent_id="c")
            ids = [one.getAttribute("id") for one in self.kept(1).elements(SID, "stanza-id")]
            self.assertEqual((str(self.kept(1).element.body), ids[-1]), ("the", "O"))

    def test_the_longest_that_stays(self) -> None:
        """The room's id, and what the sender wrote beside it."""
        for size, stays in ((1024, True), (1025, False)):
            self.setUp()
            origin = f"<origin-id xmlns='{SID}' id=''/>"
            origin = origin.replace("id=''", f"id='{'x' * (size - len(origin))}'")
            self.room.says("teh", origin, sent_id="o", room_id="O" * size)
            self.room.says("the", replacing("o"), sent_id="c")
            kept = self.kept(1)
            self.assertEqual(kept.has_payload(SID, "origin-id"), stays, size)
            self.assertEqual(kept.has_payload(SID, "stanza-id"), stays, size)
            self.assertEqual(stanza_id_of(kept, ROOM) is not None, stays, size)

    def test_what_names_nothing(self) -> None:
        for change in ("<replace xmlns='urn:xmpp:message-correct:0'/>", f"<retract xmlns='{RETRACT}'/>"):
            self.setUp()
            self.room.says("teh")
            self.room.says("the", change)
            self.assertEqual((self.room.gets(), self.room.journal.messages[2].amends), (["teh", "the"], None))


class SeenTests(SynchronousTestCase):
    """How far a client has seen a room, when it goes."""

    def setUp(self) -> None:
        self.room = Speaker()
        self.everything = HistoryRequest(max_stanzas=1000)

    def say(self, number: int) -> None:
        for _ in range(number):
            self.room.says("m")

    def test_never_further_back_than_before(self) -> None:
        """It asks for everything again, and goes in the middle of that: it had seen it."""
        self.say(10)
        self.room.history.detached("phone")
        replay = iter(self.room.history.select(self.everything, "phone", self.room.now))
        self.room.history.attached("phone")
        next(replay)
        self.room.history.detached("phone")
        self.assertEqual(self.room.gets("phone"), [])

    def test_gone_twice(self) -> None:
        """An end that is told late takes nothing back."""
        self.say(10)
        self.room.history.detached("phone")
        self.room.history.detached("phone", 5)
        self.assertEqual(self.room.gets("phone"), [])

    def test_one_that_got_nothing_and_asked_for_nothing(self) -> None:
        """It misses what is said from then on."""
        self.say(3)
        self.room.history.attached("phone")
        self.room.history.detached("phone", 0)
        self.assertEqual(self.room.journal.cursors, {"phone": 3})

    def test_one_that_did_not_even_get_its_replay(self) -> None:
        """Where it was before, or where its replay began; the rest of that, taken by nobody, counts nothing."""
        for before in (True, False):
            self.setUp()
            if before:
                self.say(2)
                self.room.history.detached("phone")
            self.say(SHORT_REPLAY + 1)
            replay = self.room.history.select(self.everything, "phone", self.room.now)
            self.room.history.attached("phone")
            self.room.history.detached("phone", 0)
            self.assertEqual(self.room.journal.cursors, {"phone": 2 if before else 0})
            list(replay)
            self.assertEqual(self.room.journal.there, [])
            self.assertEqual(len(self.room.gets("phone", self.everything)), SHORT_REPLAY + 1 + (2 if before else 0))


class WaitingTests(SynchronousTestCase):
    """Private messages that nobody was there to get."""

    def test_more_on_disk_than_may_wait(self) -> None:
        """The budget was larger when they were kept: what has no place now is not kept on disk either."""
        given: list[int] = []
        journal = Recorder()
        self.patch(journal, "private_given", given.append)
        kept = [KeptPrivate(number, b"<message>%b</message>" % (b"x" * 100 * number)) for number in (1, 9, 2)]
        waiting = PrivateMessages(ROOM, journal, ByteBudget(1000), kept)
        self.assertEqual([private.sequence for private in waiting], [2])
        self.assertEqual(sorted(given), [1, 9])


class SenderTests(SynchronousTestCase):
    def test_of_a_message_whose_sender_is_no_address(self) -> None:
        """It is nobody's whose messages are asked for; who asks for all gets it."""
        for asked, wanted in ((f"{ROOM}/bob", False), (ROOM, True), (None, True)):
            query = replace(read_query(QUERY, ROOM), sender=asked)
            self.assertIs(query.takes(KeptMessage(1, 1.0, b"<message from='@'/>", False)), wanted, asked)
