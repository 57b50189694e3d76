"""Why is user X not in room Y? Each state that there is has an answer, in words and for programs."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.accountstream.lifecycle_rules import Fault
from minimixproxy.accountstream.phases import StreamState
from minimixproxy.minimix.bookmarks.says import Says
from minimixproxy.minimix.interfaces.endings import Ended, Ending, Why
from minimixproxy.minimix.occupancy.phases import State
from minimixproxy.operator.explanation import _BOOKMARKS, CONDITIONS, WORDS, Known, ago, explain
from tests.minimix.fakes import BARE
from tests.minimix.owned import FakeRoom
from tests.operator.test_status import FakeAccount, FakeStream

ROOM = "room@muc.test"
NOW = 1_700_000_000.0


class ExplanationCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.room = FakeRoom(ROOM)
        self.account = FakeAccount(BARE)
        self.stream = FakeStream(StreamState.OPEN)
        self.ended: Ended | None = None

    def happened(self, why: Why, *more: str) -> None:
        self.ended = Ended(NOW - 600, Ending(why, *more))

    def enters(self, state: State) -> None:
        self.room.state = state
        self.account.rooms[ROOM] = self.room

    def told(self, *, held: bool = True, served: bool = True) -> dict[str, Any]:
        pair = (self.account, self.stream) if held else None
        return explain(Known(BARE, ROOM, pair, self.ended, served), NOW)

    def code(self) -> str:
        return str(self.told()["code"])


class NotHeld(ExplanationCase):
    def test_never_heard_of(self) -> None:
        told = self.told(held=False)
        self.assertEqual(
            (told["code"], told["in"], told["bookmark"], told["last"]), ("account-unknown", False, None, None)
        )
        self.assertIn("whether the client connects to the proxy", told["check"])
        self.assertEqual(self.told(held=False, served=False)["code"], "domain-not-served")

    def test_gone_since(self) -> None:
        self.happened(Why.LAST_DEVICE_LEFT, "", "", "phone")
        told = self.told(held=False)
        self.assertEqual(told["code"], "last-device-left")
        self.assertEqual(told["text"], "the last device that was in the room has left it, by phone, 10 min ago")


class NotInRoom(ExplanationCase):
    def told(self, **options: Any) -> dict[str, Any]:
        told = super().told(**options)
        self.assertIs(told["in"], False)
        return told

    def test_a_room_never_heard_of(self) -> None:
        for says in Says:
            self.account.says = says
            told = self.told()
            self.assertEqual((told["code"], told["bookmark"]), (f"bookmark-{says.value}", says.value))
            self.assertIn("no device has asked to join it", told["text"])
            self.assertTrue(told["check"])

    def test_not_enrolled(self) -> None:
        self.account.is_enrolled = False
        self.assertEqual(self.code(), "not-enrolled")

    def test_refused_directly(self) -> None:
        self.account.is_enrolled = False
        self.happened(Why.REFUSED_DIRECTLY, "forbidden")
        told = self.told()
        self.assertEqual(told["code"], "join-refused-directly")
        self.assertIn("enroll", told["check"])

    def test_login_refused(self) -> None:
        self.account.is_enrolled, self.account.login_refused = False, True
        self.stream.fault = Fault("login refused: not-authorized", 1.0)
        told = self.told()
        self.assertEqual(told["code"], "login-refused")
        self.assertIn("(login refused: not-authorized)", told["text"])

    def test_all_that_can_have_happened(self) -> None:
        self.assertEqual(set(WORDS), set(Why))
        for why in Why:
            self.happened(why)
            told = self.told()
            self.assertEqual((told["code"], told["in"]), (why.value, False))
            self.assertTrue(told["text"].startswith(WORDS[why][0]), told["text"])

    def test_what_the_room_says(self) -> None:
        self.happened(Why.REFUSED, "not-authorized", "wrong <password>", "muc.test")
        told = self.told()
        self.assertEqual(
            told["text"],
            "the room, or a server on the way, refused the join, by muc.test: not-authorized, that is, "
            f"{CONDITIONS['not-authorized']} (“wrong <password>”), 10 min ago",
        )
        self.assertEqual(
            told["last"],
            {
                "why": "join-refused",
                "at": "2023-11-14T22:03:20Z",
                "condition": "not-authorized",
                "text": "wrong <password>",
                "by": "muc.test",
            },
        )

    def test_hostile_words(self) -> None:
        self.happened(Why.KICKED, "307", "\x1b[2J\u202e", "a\nb")
        self.assertTrue(self.told()["text"].isprintable())
        self.happened(Why.REFUSED, "\u202e" * 1000)
        self.assertTrue(self.told()["text"].isprintable())


class InRoom(ExplanationCase):
    def test_in(self) -> None:
        self.enters(State.JOINED)
        told = self.told()
        self.assertEqual((told["code"], told["in"]), ("in", True))
        self.assertIn("as alice; no device has joined it now", told["text"])

    def test_on_its_way(self) -> None:
        for state in (State.JOINING, State.LEAVING):
            self.enters(state)
            self.assertEqual((self.code(), self.told()["in"]), (state.value, False))

    def test_stream(self) -> None:
        self.enters(State.INTERRUPTED)
        for state in set(StreamState) - {StreamState.OPEN}:
            self.stream.state = state
            self.stream.opens_in = 12.0
            self.stream.fault = Fault("connection refused", 1.0)
            told = self.told()
            self.assertEqual(told["code"], f"stream-{state.value}")
            self.assertIn(f"{state.value} (connection refused), next try in 12 s", told["text"])

    def test_login_refused(self) -> None:
        self.enters(State.INTERRUPTED)
        self.account.login_refused = True
        self.stream.state = StreamState.REFUSED
        self.assertEqual(self.code(), "login-refused")

    def test_rejoining(self) -> None:
        self.enters(State.INTERRUPTED)
        self.happened(Why.REFUSED, "remote-server-not-found")
        self.room.attempts, self.room.next_attempt_in = 3, 42.0
        told = self.told()
        self.assertEqual(told["code"], "rejoining")
        self.assertIn("attempt 4 in 42 s: the room, or a server on the way, refused the join", told["text"])
        self.assertIn("its server cannot be found", told["text"])
        self.enters(State.REJOINING)
        self.room.next_attempt_in = 0
        self.assertIn("attempt 3 is under way", self.told()["text"])


class WordsTests(SynchronousTestCase):
    def test_bookmarks(self) -> None:
        self.assertEqual(set(_BOOKMARKS), {says.value for says in Says})

    def test_ago(self) -> None:
        times = [(-5, "0 s"), (0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h")]
        times += [(2 * 86400 - 1, "47 h"), (2 * 86400, "2 d"), (10 * 86400, "10 d")]
        self.assertEqual([ago(seconds) for seconds, _ in times], [text for _, text in times])
