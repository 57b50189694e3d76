"""When bookmarks are read: one reading at a time, and a stream is not opened for one that somebody else sees to."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.minimix.bookmarks.poller import (
    BYTES_PER_SECOND,
    DEBOUNCE,
    FIRST_RETRY,
    FREE,
    LONGEST_IDLE,
    LONGEST_PAUSE,
    MAX_BROKEN,
    BookmarkPoller,
)
from minimixproxy.minimix.bookmarks.storage import NotAnswered
from tests.minimix.fakes import BARE, STREAM

INTERVAL = 1000.0


class Account:
    bare = BARE

    def __init__(self) -> None:
        self.stream_jid = STREAM
        self.rooms: set[str] = set()
        self.sessions: set[object] = set()
        self.done = 0

    def requests_done(self) -> None:
        self.done += 1


class ReadingsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.account = Clock(), Account()
        self.reading: list[Deferred[int]] = []
        self.begun = 0
        self.interval = INTERVAL
        self.readings = BookmarkPoller(self.account, lambda: self.interval, self.clock, self.read)

    async def read(self) -> int:
        self.begun += 1
        self.reading.append(Deferred())
        return await self.reading[-1]

    def ends(self, answered: bool = True, size: int = FREE) -> None:
        reading = self.reading.pop()
        if answered:
            reading.callback(size)
        else:
            reading.errback(NotAnswered())

    def is_read(self, wait: float) -> bool:
        """Whether a reading has begun by then, which ends well."""
        self.clock.advance(wait)
        begun = bool(self.reading)
        if begun:
            self.ends()
        return begun

    def test_who_has_a_stream_opened(self) -> None:
        """After the interval it is read if a stream is open; else only if neither a room nor a client sees to it."""
        for rooms in (False, True):
            for sessions in (False, True):
                for answered in (False, True):
                    for stream in (False, True):
                        self.setUp()
                        self.account.rooms = {"room"} if rooms else set()
                        self.account.sessions = {"phone"} if sessions else set()
                        self.readings.now()
                        self.ends(answered)
                        self.account.stream_jid = STREAM if stream else ""
                        expected = stream or (not rooms and (not sessions or not answered))
                        found = self.is_read(1.5 * INTERVAL)
                        self.assertEqual(found, expected, f"{rooms} {sessions} {answered} {stream}")

    def test_idle_waits_are_short_again(self) -> None:
        """When there was a client: the next wait with nobody there is the first again."""
        for _ in range(20):
            self.readings.idle()
            self.assertTrue(self.is_read(1.5 * LONGEST_IDLE))
        self.assertFalse(self.is_read(1.5 * INTERVAL))
        self.account.sessions = {"phone"}
        self.readings.now()
        self.ends()
        self.account.sessions = set()
        self.assertTrue(self.is_read(INTERVAL))
        self.assertTrue(self.is_read(1.5 * INTERVAL))

    def test_another_interval(self) -> None:
        """By another configuration: it holds when the wait that was begun is over, for a reading that fails, too."""
        self.interval = INTERVAL / 10
        self.readings.idle()
        self.assertTrue(self.is_read(1.5 * INTERVAL / 10))
        self.account.sessions = {"phone"}
        self.interval = FIRST_RETRY
        for _ in range(5):
            self.readings.now()
            self.ends(answered=False)
            self.readings.news()
            self.clock.advance(DEBOUNCE)
            self.ends(answered=False)
        self.assertTrue(self.is_read(1.5 * FIRST_RETRY))

    def test_retries_are_short_again(self) -> None:
        """After one that went well."""
        self.account.sessions = {"phone"}
        for _ in range(3):
            self.readings.now()
            for _ in range(MAX_BROKEN - 1):
                self.ends(answered=False)
                self.readings.now()
            self.ends()
        self.readings.now()
        self.ends(answered=False)
        self.assertTrue(self.is_read(1.5 * FIRST_RETRY))

    def test_news_while_one_is_under_way(self) -> None:
        """Calls for one more, and the stream is kept open until that is done."""
        self.readings.now()
        self.readings.now()
        self.readings.news()
        self.clock.advance(DEBOUNCE)
        self.assertEqual((self.begun, self.readings.busy), (1, True))
        self.ends()
        self.assertEqual((self.account.done, self.readings.busy), (0, True))
        self.assertTrue(self.is_read(DEBOUNCE))
        self.assertEqual((self.account.done, self.readings.busy), (1, False))
        self.assertFalse(self.is_read(DEBOUNCE))

    def test_the_more_it_was_the_later_is_the_next(self) -> None:
        """Whoever calls for that: a client by each of its writes, a room that it leaves, a stream that opens anew."""
        for size, pause in ((FREE, 0.0), (FREE + BYTES_PER_SECOND * 10, 10.0), (10**9, LONGEST_PAUSE)):
            for way, delay in (("news", DEBOUNCE), ("now", 0.0), ("opened", 0.0)):
                self.setUp()
                self.readings.now()
                self.ends(size=size)
                wants = getattr(self.readings, way)
                wants()
                self.assertTrue(self.readings.busy)
                before = max(pause, delay)
                if before:
                    self.clock.advance(before - 0.1)
                    wants()
                    self.assertEqual(self.begun, 1)
                    self.clock.advance(0.1)
                self.assertEqual(self.begun, 2)
                self.ends()

    def test_what_changes_during_a_large_one_waits_for_its_turn(self) -> None:
        self.readings.now()
        self.readings.now()
        self.ends(size=FREE + BYTES_PER_SECOND * 10)
        self.clock.advance(9.9)
        self.assertEqual((self.begun, self.account.done), (1, 0))
        self.clock.advance(0.1)
        self.assertEqual(self.begun, 2)
        self.ends(size=FREE + BYTES_PER_SECOND * 10)
        self.readings.news()
        self.readings.stop()
        self.clock.advance(LONGEST_PAUSE)
        self.assertEqual(self.begun, 2)

    def test_a_stream_that_opens_for_the_reading(self) -> None:
        self.readings.now()
        self.readings.opened()
        self.ends()
        self.assertFalse(self.is_read(DEBOUNCE), "once is enough")
        self.readings.opened()
        self.assertTrue(self.is_read(0))

    def test_stopped(self) -> None:
        """Whatever is under way or due then, nothing is read any more, and no timer is left."""
        for begins in ("nothing", "is_due", "is_about_to", "is_under_way", "is_wanted_again"):
            for answered in (True, False):
                self.setUp()
                self.account.sessions = {"phone"}
                getattr(self, begins)()
                self.readings.stop()
                if self.reading:
                    self.ends(answered)
                for asks in (self.readings.news, self.readings.now, self.readings.opened, self.readings.idle):
                    asks()
                self.assertEqual(self.clock.getDelayedCalls(), [], begins)
                self.assertEqual((self.reading, self.account.done), ([], 0), begins)

    def nothing(self) -> None: ...

    def is_due(self) -> None:
        self.readings.idle()

    def is_about_to(self) -> None:
        self.readings.news()

    def is_under_way(self) -> None:
        self.readings.now()

    def is_wanted_again(self) -> None:
        self.readings.now()
        self.readings.now()
