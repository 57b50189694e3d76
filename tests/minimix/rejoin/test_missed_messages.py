"""Messages of the archive come before those of the room, whatever comes first on the wire."""

from collections.abc import Callable

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.minimix.history.room_info import RoomInfo
from minimixproxy.minimix.rejoin.missed_messages import (
    ARCHIVE_TIMEOUT,
    MAX_BYTES,
    MAX_WAITING,
    SUBJECT_TIMEOUT,
    MissedMessages,
)
from minimixproxy.minimix.room.budgets import WAITING_BYTES, WAITING_OWN
from minimixproxy.wire.stanza import Stanza, parse_stanza
from tests.minimix.fakes import ROOM, kinds
from tests.minimix.outlets import FakeOutlet, room_context


class FakeInfo(RoomInfo):
    """A room with an archive; `know` when it has said so."""

    asked = 0

    def refresh(self, done: Callable[[], None] | None = None) -> None:
        assert done is not None
        self.asked += 1
        self._done = done

    def know(self, archive: bool) -> None:
        self.archive = archive
        self.answer()

    def answer(self) -> None:
        """Once for each time that it was asked, whatever it said."""
        done = self._done
        del self._done
        done()


class MissedMessagesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.outlet = FakeOutlet()
        self.info = FakeInfo(ROOM, self.outlet)
        self.done: list[list[str]] = []
        self.missed = MissedMessages(room_context(self.outlet, self.clock, history=500), self.info, self.finished)
        self.missed.start("s1", 1000.0)

    def finished(self, past: list[Stanza], live: list[Stanza]) -> None:
        self.done.append(kinds(past + live))
        self.live = kinds(live)

    def test_what_waited_is_given_back(self) -> None:
        """To the account's other rooms: at the end, and when nobody waits for it any more."""
        for stops in (False, True):
            self.setUp()
            self.info.know(True)
            self.missed.subject_seen()
            self.room_says("x" * 2 * WAITING_OWN)
            self.assertGreater(self.outlet.waiting.used, WAITING_OWN)
            if stops:
                self.missed.stop()
            else:
                self.clock.advance(ARCHIVE_TIMEOUT)
            self.assertEqual((self.outlet.waiting.used, len(self.done)), (0, 0 if stops else 1))

    def test_other_rooms_use_up_what_there_is_for_all(self) -> None:
        """What waits then is no more than the room's own; nothing is waited for beyond that."""
        self.outlet.waiting.take(WAITING_BYTES)
        self.info.know(True)
        self.room_says("x" * (WAITING_OWN // 2))
        self.assertEqual(self.done, [])
        self.room_says("x" * (WAITING_OWN // 2))
        self.assertEqual((len(self.done), self.missed.complete), (1, False))

    def room_says(self, body: str) -> None:
        self.missed.add(
            parse_stanza(f"<message type='groupchat' from='{ROOM}/bob'><body>{body}</body></message>"), past=False
        )

    def archive_says(self, body: str) -> None:
        self.archive_has(body)
        self.outlet.asked.pop().answered(
            parse_stanza(f"<iq type='result' from='{ROOM}'><fin xmlns='urn:xmpp:mam:2' complete='true'/></iq>")
        )

    def archive_has(self, body: str) -> None:
        """The archive begins to answer."""
        question = self.outlet.asked[-1]
        query_id = question.payload["queryid"]
        assert question.result is not None
        question.result(
            parse_stanza(
                f"<message from='{ROOM}'><result xmlns='urn:xmpp:mam:2' id='s2' queryid='{query_id}'>"
                "<forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' stamp='2026-01-01T00:00:00Z'/>"
                f"<message xmlns='jabber:client' type='groupchat' from='{ROOM}/bob'><body>{body}</body></message>"
                "</forwarded></result></message>"
            )
        )

    def archive_fails(self, condition: str) -> None:
        question = self.outlet.asked.pop()
        error = f"<error type='cancel'><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
        question.answered(parse_stanza(f"<iq type='error' from='{ROOM}'>{error}</iq>"))

    def test_archive_that_cannot_be_read_is_asked_again(self) -> None:
        """A room service that is just being restarted."""
        self.info.know(archive=True)
        self.missed.subject_seen()
        self.room_says("live")
        self.archive_fails("not-allowed")
        self.assertEqual((self.done, self.outlet.asked), ([], []))
        self.clock.advance(1)
        self.info.know(archive=True)
        self.archive_says("missed")
        self.assertEqual(self.done, [["bob: missed", "bob: live"]])

    def test_archive_that_is_never_read(self) -> None:
        self.info.know(archive=True)
        self.missed.subject_seen()
        self.room_says("live")
        for wait in (1, 2, 4):
            self.archive_fails("remote-server-timeout")
            self.clock.advance(wait)
            self.info.know(archive=True)
        self.archive_fails("remote-server-timeout")
        self.assertEqual((self.done, self.clock.getDelayedCalls()), ([["bob: live"]], []))

    def test_archive_of_others(self) -> None:
        self.info.know(archive=True)
        self.missed.subject_seen()
        self.archive_fails("forbidden")
        self.assertEqual(self.done, [[]])

    def test_room_that_does_not_tell_of_itself_is_asked_again(self) -> None:
        self.missed.subject_seen()
        self.info.answer()
        self.assertEqual(self.done, [])
        self.clock.advance(1)
        self.info.know(archive=False)
        self.assertEqual(self.done, [[]])

    def test_room_that_never_tells_of_itself(self) -> None:
        self.missed.subject_seen()
        self.room_says("live")
        for wait in (1, 2, 4):
            self.info.answer()
            self.assertEqual(self.done, [])
            self.clock.advance(wait)
        self.assertEqual(self.done, [])
        self.info.answer()
        self.assertEqual((self.done, self.clock.getDelayedCalls()), ([["bob: live"]], []))
        self.assertFalse(self.missed.complete, "it may have an archive all the same, which is asked later")

    def test_nothing_is_asked_when_nobody_waits(self) -> None:
        for ends, done in ((self.stops, 0), (self.too_much_waits, 1)):
            self.setUp()
            self.info.know(archive=True)
            self.archive_fails("not-allowed")
            ends()
            self.assertEqual(self.clock.getDelayedCalls(), [])
            asked = self.info.asked, len(self.outlet.asked)
            self.clock.advance(2 * ARCHIVE_TIMEOUT)
            self.assertEqual((asked, len(self.done)), ((1, 0), done))

    def stops(self) -> None:
        self.missed.stop()

    def too_much_waits(self) -> None:
        self.missed.subject_seen()
        for _ in range(MAX_WAITING + 1):
            self.room_says("live")

    def is_silent(self) -> None:
        self.missed.subject_seen()
        self.clock.advance(ARCHIVE_TIMEOUT)

    def test_an_archive_that_comes_too_late(self) -> None:
        """What it has told by then takes no place any more, what it tells from then on is nobody's, and it is over."""
        for ends, done in ((self.stops, 0), (self.too_much_waits, 1), (self.is_silent, 1)):
            self.setUp()
            self.info.know(archive=True)
            self.archive_has("x" * 2 * WAITING_OWN)
            ends()
            self.assertEqual((self.outlet.waiting.used, len(self.done)), (0, done))
            self.archive_says("x" * 2 * WAITING_OWN)
            self.clock.advance(2 * ARCHIVE_TIMEOUT)
            self.assertEqual((self.outlet.waiting.used, len(self.done)), (0, done))
            self.assertNotIn("bob: x", "".join(text for done in self.done for text in done))

    def test_archive_first(self) -> None:
        self.room_says("own history")
        self.missed.subject_seen()
        self.room_says("live")
        self.info.know(True)
        self.assertEqual(self.done, [])
        self.archive_says("archived")
        self.assertEqual(self.done, [["bob: archived", "bob: own history", "bob: live"]])

    def test_subject_last(self) -> None:
        self.info.know(True)
        self.archive_says("archived")
        self.room_says("own history")
        self.assertEqual(self.done, [])
        self.missed.subject_seen()
        self.assertEqual(self.done, [["bob: archived", "bob: own history"]])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_archive(self) -> None:
        self.info.know(False)
        self.room_says("own history")
        self.missed.subject_seen()
        self.assertEqual(self.done, [["bob: own history"]])

    def test_no_subject(self) -> None:
        self.info.know(False)
        self.clock.advance(SUBJECT_TIMEOUT)
        self.assertEqual(self.done, [[]])

    def test_archive_that_does_not_answer(self) -> None:
        self.info.know(True)
        self.room_says("own history")
        self.missed.subject_seen()
        self.clock.advance(ARCHIVE_TIMEOUT)
        self.assertEqual(self.done, [["bob: own history"]])
        self.outlet.asked.pop().answered(None)
        self.assertEqual(len(self.done), 1)

    def test_what_is_told_of_the_past(self) -> None:
        self.room_says("own history")
        self.missed.subject_seen()
        self.room_says("live")
        self.info.know(False)
        self.assertEqual((self.done, self.live), ([["bob: own history", "bob: live"]], ["bob: live"]))

    def test_too_many_bytes_wait(self) -> None:
        self.info.know(True)
        self.missed.subject_seen()
        for _ in range(9):
            self.assertEqual(self.done, [])
            self.room_says("x" * (MAX_BYTES // 9))
        self.assertEqual([len(got) for got in self.done], [9])
        self.assertFalse(self.missed.complete)

    def test_a_past_without_end(self) -> None:
        self.info.know(False)
        for _ in range(MAX_WAITING + 1):
            self.assertEqual(self.done, [])
            self.room_says("past")
        self.assertEqual([len(got) for got in self.done], [MAX_WAITING + 1])
        self.assertTrue(self.missed.complete)

    def test_too_much_to_wait(self) -> None:
        self.info.know(True)
        for _ in range(MAX_WAITING + 1):
            self.room_says("live")
        self.assertEqual([len(got) for got in self.done], [MAX_WAITING + 1])

    def test_stopped(self) -> None:
        self.missed.stop()
        self.info.know(True)
        self.assertEqual((self.outlet.asked, self.done, self.clock.getDelayedCalls()), ([], [], []))
