"""What follows from bookmarks: which rooms are entered and left, when they are read, what is written."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.config.settings import Rooms
from minimixproxy.minimix.bookmarks.follower import BookmarkFollower
from minimixproxy.minimix.bookmarks.poller import (
    BYTES_PER_SECOND,
    DEBOUNCE,
    FIRST_RETRY,
    LONGEST_IDLE,
    LONGEST_PAUSE,
    MAX_BROKEN,
)
from minimixproxy.minimix.bookmarks.says import Says
from minimixproxy.minimix.bookmarks.storage import LARGEST, BookmarkStorage
from minimixproxy.minimix.interfaces.endings import Why
from minimixproxy.minimix.interfaces.journal import KeptMembership
from minimixproxy.minimix.interfaces.streams import Answered
from minimixproxy.wire.stanza import Stanza, parse_stanza
from minimixproxy.wire.trees import BUILT
from minimixproxy.xep.bookmarks import Bookmarks
from minimixproxy.xep.stanza_errors import error_payload
from tests.log_events import log_events
from tests.minimix.fakes import BARE, ROOM, STREAM, FakeSession

NS_BOOKMARKS = "urn:xmpp:bookmarks:1"
NS_PUBSUB = "http://jabber.org/protocol/pubsub"
OTHER = "other@muc.test"


class FakeRoom:
    def __init__(self, nick: str, password: str | None, bookmarked: bool) -> None:
        self.membership = KeptMembership(nick, nick, password, bookmarked)
        self.leaving = False
        self.attended = False


class FakeAccount:
    """An account whose server keeps bookmarks; `log` has what was done to it."""

    def __init__(self) -> None:
        self.bare = BARE
        self.stream_jid = STREAM
        self.rooms: dict[str, FakeRoom] = {}
        self.sessions: set[str] = {"phone"}
        self.log: list[tuple[Any, ...]] = []
        self.items: dict[str, str] | None = {}  # None: there is no node
        self.storage: str | None = None  # None: there is no private XML
        self.pep = True
        self.answering = True
        self.refusing: set[str] = (
            set()
        )  # what is refused: "publish-options", "configure", "create", "publish", "private"
        self.waiting: list[tuple[str, bytes, Answered]] = []
        self.requests = 0
        self.beyond: list[str] = []  # rooms that bookmarks name and for which there is no place
        self.left_for: list[Why] = []
        self.follower: BookmarkFollower

    def ask(self, to: str, kind: str, payload: bytes, answered: Answered) -> None:
        assert to == "" and kind in ("get", "set")
        self.requests += 1
        self.waiting.append((kind, payload, answered))
        if self.answering:
            self.answer()

    def answer(self) -> None:
        kind, payload, answered = self.waiting.pop(0)
        answered(self._answer(kind, parse_stanza(b"<iq type='%b'>%b</iq>" % (kind.encode(), payload))))

    def lose(self) -> None:
        """The stream ends: nothing is answered."""
        self.stream_jid = ""
        waiting, self.waiting = self.waiting, []
        for _kind, _payload, answered in waiting:
            answered(None)

    def _answer(self, kind: str, request: Stanza) -> Stanza:
        content = self._get(request) if kind == "get" else self._set(request)
        if content in ("item-not-found", "service-unavailable", "conflict", "internal-server-error"):
            error = error_payload("wait" if content.startswith("internal") else "cancel", content).decode()
            return parse_stanza(f"<iq type='error'>{error}</iq>")
        return parse_stanza(f"<iq type='result'>{content}</iq>")

    def _get(self, request: Stanza) -> str:
        if request.has_payload("jabber:iq:private", "query"):
            if self.storage is None:
                return "service-unavailable"
            storage = f"<storage xmlns='storage:bookmarks'>{self.storage}</storage>"
            return f"<query xmlns='jabber:iq:private'>{storage}</query>"
        if "get" in self.refusing:
            return "internal-server-error"
        if not self.pep:
            return "service-unavailable"
        if self.items is None:
            return "item-not-found"
        items = "".join(f"<item id='{room}'>{xml}</item>" for room, xml in self.items.items())
        return f"<pubsub xmlns='{NS_PUBSUB}'><items node='{NS_BOOKMARKS}'>{items}</items></pubsub>"

    def _set(self, request: Stanza) -> str:
        (payload,) = request.element.elements()
        if payload.name == "query":
            if "private" in self.refusing:
                return "service-unavailable"
            (storage,) = payload.elements()
            self.storage = "".join(child.toXml(defaultUri="storage:bookmarks") for child in storage.elements())
            self.log.append(("stored",))
            return ""
        names = [child.name for child in payload.elements()]
        self.log.append(tuple(names))
        if self.refusing & set(names):
            return "conflict"
        if names[0] == "configure" and self.items is None:
            return "item-not-found"
        if names[0] == "create":
            self.items = {}
        if names[0] == "publish":
            item = next(payload.publish.elements())
            if self.items is None:
                self.items = {}
            self.items[item["id"]] = next(item.elements()).toXml()
        return ""

    def requests_done(self) -> None:
        self.log.append(("done",))

    def enter(self, room: str, nick: str, password: str | None) -> None:
        self.rooms[room] = FakeRoom(nick, password, True)
        self.log.append(("enter", room, nick, password))

    def notifications(self, rooms: Mapping[str, str]) -> None:
        self.notify = dict(rooms)

    def not_followed(self, room: str) -> None:
        self.beyond.append(room)

    def leave(self, room: str, why: Why = Why.LEFT_BY_COMMAND) -> None:
        self.rooms[room].leaving = True
        self.left_for.append(why)
        self.log.append(("leave", room))
        self.follower.room_left(room)

    def ended(self, room: str = ROOM) -> None:
        del self.rooms[room]

    def set_bookmarked(self, room: str, bookmarked: bool) -> None:
        old = self.rooms[room].membership
        self.rooms[room].membership = KeptMembership(old.nick, old.wished_nick, old.password, bookmarked)
        self.log.append(("bookmarked", room, bookmarked))

    def joined(self, room: str = ROOM, *, bookmarked: bool = False) -> None:
        """A client has joined."""
        self.rooms[room] = FakeRoom("al", None, bookmarked)
        self.follower.room_joined(room)


def conference(attributes: str = "autojoin='true'", inner: str = "") -> str:
    return f"<conference xmlns='{NS_BOOKMARKS}' {attributes}>{inner}</conference>"


def resolved(coroutine: Coroutine[Any, Any, Bookmarks]) -> list[Bookmarks]:
    """What it returned by now."""
    results: list[Bookmarks] = []
    Deferred.fromCoroutine(coroutine).addCallback(results.append)
    return results


class FollowerTest(SynchronousTestCase):
    mode = "follow"

    def setUp(self) -> None:
        self.clock = Clock()
        self.phone = FakeSession("phone", self.clock)
        self.account = FakeAccount()
        self.made(bookmarks=self.mode)

    def made(self, **settings: Any) -> None:
        self.kept: list[dict[str, str | None]] = []  # what is journalled of bookmarks that are not followed
        self.settings = Rooms(**settings)
        self.follower = self.account.follower = BookmarkFollower(self.account, self.settings, self.clock, self)

    def bookmarks_unfollowed(self, bare: str, rooms: Mapping[str, str | None]) -> None:
        assert bare == BARE
        self.kept.append(dict(rooms))

    def restarts(self, **settings: Any) -> None:
        """The proxy is another one; the account is in none of its rooms yet."""
        kept = self.kept[-1] if self.kept else {}
        self.account.rooms.clear()
        self.made(**settings)
        self.follower.restored(kept)
        self.kept.append(kept)
        self.take()

    def removed(self, room: str = ROOM) -> None:
        self.follower.room_removed(room)
        self.account.ended(room)

    def comes(self) -> None:
        self.follower.first_session()
        self.clock.advance(0)

    def again(self) -> None:
        """Something has changed."""
        self.follower.client_said(self.phone, self.publication())
        self.clock.advance(DEBOUNCE)

    def publication(self, *rooms: str, id_: str = "1") -> Stanza:
        items = "".join(f"<item id='{room}'/>" for room in rooms)
        publish = f"<publish node='{NS_BOOKMARKS}'>{items}</publish>"
        return parse_stanza(f"<iq type='set' id='{id_}'><pubsub xmlns='{NS_PUBSUB}'>{publish}</pubsub></iq>")

    def take(self) -> list[tuple[Any, ...]]:
        log, self.account.log = self.account.log, []
        return [entry for entry in log if entry != ("done",)]


class Said(FollowerTest):
    """What is known of a room's bookmark, for who asks why the account is not in the room."""

    def test_each(self) -> None:
        self.assertIs(self.follower.says(ROOM), Says.NOT_READ)
        self.account.items = {ROOM: conference(), "no@muc": conference("autojoin='false'")}
        self.comes()
        said = [self.follower.says(room) for room in (ROOM, "no@muc", "other@muc")]
        self.assertEqual(said, [Says.AUTOJOIN, Says.NO_AUTOJOIN, Says.NONE])
        self.removed()
        self.assertIs(self.follower.says(ROOM), Says.NOT_FOLLOWED)

    def test_refused_and_off(self) -> None:
        self.account.pep = False
        self.comes()
        self.assertIs(self.follower.says(ROOM), Says.REFUSED)
        self.made(bookmarks="off")
        self.assertIs(self.follower.says(ROOM), Says.OFF)

    def test_few_are_remembered_that_do_not_say_to_join(self) -> None:
        self.made(max_rooms=2)
        self.account.items = {f"{number}@muc": conference("autojoin='false'") for number in range(5)}
        self.comes()
        said = [self.follower.says(f"{number}@muc") for number in range(5)]
        self.assertEqual(said, [Says.NO_AUTOJOIN] * 2 + [Says.NONE] * 3)

    def test_beyond_what_may_be(self) -> None:
        self.made(max_rooms=1)
        self.account.items = {ROOM: conference(), "two@muc": conference()}
        self.comes()
        self.assertEqual(self.account.beyond, ["two@muc"])

    def test_why_it_leaves(self) -> None:
        self.account.items = {ROOM: conference()}
        self.comes()
        self.account.items = {}
        self.again()
        self.assertEqual(self.account.left_for, [Why.BOOKMARK_GONE])


class Following(FollowerTest):
    def test_enter(self) -> None:
        self.account.items = {
            ROOM: conference(inner="<nick>Ally</nick><password>pw</password>"),
            OTHER: conference(),
            "third@muc.test": conference("autojoin='false'"),
        }
        self.comes()
        self.assertEqual(self.take(), [("enter", ROOM, "Ally", "pw"), ("enter", OTHER, "alice", None)])
        self.again()
        self.assertEqual(self.take(), [])

    def test_a_room_that_a_client_has_joined(self) -> None:
        self.account.items = {ROOM: conference()}
        self.account.joined()
        self.comes()
        self.assertEqual(self.take(), [("bookmarked", ROOM, True)])

    def test_a_room_without_bookmark_is_none_of_our_business(self) -> None:
        self.account.joined()
        self.account.joined(OTHER)
        self.account.items = {OTHER: conference("autojoin='false'")}
        self.comes()
        self.assertEqual(self.take(), [])

    def test_leave(self) -> None:
        for items in ({}, {ROOM: conference("autojoin='false'")}):
            self.account.items = {ROOM: conference()}
            self.account.rooms = {}
            self.made()
            self.comes()
            self.account.items = items
            self.take()
            self.again()
            self.assertEqual(self.take(), [("leave", ROOM)])
            self.again()
            self.assertEqual(self.take(), [])

    def test_nobody_is_thrown_out(self) -> None:
        """It leaves with the last client: the bookmark does not keep it any more."""
        for items in ({}, {ROOM: conference("autojoin='false'")}):
            self.account.items = {ROOM: conference()}
            self.account.rooms = {}
            self.made()
            self.comes()
            self.account.rooms[ROOM].attended = True
            self.account.items = items
            self.take()
            self.again()
            self.assertEqual(self.take(), [("bookmarked", ROOM, False)])

    def test_gone_while_the_proxy_was_down(self) -> None:
        self.account.joined(bookmarked=True)
        self.follower.restored({})
        self.follower.stream_opened()
        self.assertEqual(self.take(), [("leave", ROOM)])

    def test_entered_again_after_a_leave_that_takes_time(self) -> None:
        self.account.items = {ROOM: conference()}
        self.comes()
        self.account.items = {}
        self.again()
        self.account.items = {ROOM: conference()}
        self.take()
        self.again()
        self.clock.pump([DEBOUNCE] * 4)
        self.assertEqual(self.take(), [])
        self.account.ended()
        self.clock.advance(DEBOUNCE)
        self.assertEqual(self.take(), [("enter", ROOM, "alice", None)])
        self.clock.pump([DEBOUNCE] * 4)
        self.assertFalse(self.follower.busy)

    def test_removed(self) -> None:
        """Back only for a bookmark that was written anew, be it as before, or changed."""
        self.account.items = {ROOM: conference(), OTHER: conference()}
        self.comes()
        for room in (ROOM, OTHER):
            self.account.ended(room)
        self.take()
        self.again()
        self.follower.stream_opened()
        self.assertEqual(self.take(), [])
        self.follower.client_said(self.phone, self.publication(ROOM))
        self.clock.advance(DEBOUNCE)
        self.assertEqual(self.take(), [("enter", ROOM, "alice", None)])
        self.account.items[OTHER] = conference(inner="<nick>x</nick>")
        self.again()
        self.assertEqual(self.take(), [("enter", OTHER, "x", None)])

    def test_removed_before_a_restart(self) -> None:
        """It holds until somebody says otherwise, in every one of these ways."""
        self.account.items = {ROOM: conference()}
        for way in ("written anew", "changed", "switched off and on", "joined by a client"):
            with self.subTest(way):
                self.made()
                self.kept.append({})
                self.comes()
                self.assertIn(ROOM, self.account.rooms)
                self.removed()
                self.restarts()
                self.comes()
                self.restarts()
                self.comes()
                self.assertEqual((self.take(), list(self.kept[-1])), ([], [ROOM]))
                if way == "joined by a client":
                    self.account.joined()
                    self.assertEqual(self.kept[-1], {})
                    continue
                if way == "written anew":
                    self.follower.client_said(self.phone, self.publication(ROOM))
                elif way == "changed":
                    self.restarts()
                    self.account.items[ROOM] = conference(inner="<nick>x</nick>")
                else:
                    self.account.items[ROOM] = conference("autojoin='false'")
                    self.again()
                    self.account.items[ROOM] = conference()
                self.again()
                self.assertEqual(([entry[0] for entry in self.take()], self.kept[-1]), (["enter"], {}))

    def test_removed_before_bookmarks_were_read(self) -> None:
        """After a restart the account is in a room before anybody has looked why."""
        self.account.items = {ROOM: conference()}
        self.account.rooms[ROOM] = FakeRoom("al", None, True)
        self.removed()
        self.assertEqual(self.kept, [{ROOM: None}])
        self.comes()
        self.assertEqual(self.take(), [])
        self.assertIsNotNone(self.kept[-1][ROOM])
        self.account.items[ROOM] = conference(inner="<nick>x</nick>")
        self.again()
        self.assertEqual(self.take(), [("enter", ROOM, "x", None)])

    def test_removed_while_a_reading_is_under_way(self) -> None:
        """What was written before does not count as written anew."""
        self.account.items = {ROOM: conference()}
        self.comes()
        self.take()
        self.account.answering = False
        self.follower.client_said(self.phone, self.publication(ROOM))
        self.clock.advance(DEBOUNCE)
        self.removed()
        self.account.answer()
        self.assertEqual(self.take(), [])

    def test_left_by_a_command(self) -> None:
        """Whose bookmark stays: as long as it is as it was."""
        self.account.items = {ROOM: conference()}
        self.comes()
        self.account.leave(ROOM)
        self.account.ended()
        self.restarts()
        self.comes()
        self.assertEqual(self.take(), [])

    def test_left_for_the_bookmark_that_is_gone(self) -> None:
        self.account.items = {ROOM: conference()}
        self.comes()
        self.account.items = {}
        self.again()
        self.account.ended()
        self.assertEqual(self.kept, [])
        self.account.items = {ROOM: conference()}
        self.take()
        self.again()
        self.assertEqual(self.take(), [("enter", ROOM, "alice", None)])

    def test_removed_from_a_room_without_a_bookmark(self) -> None:
        self.comes()
        self.account.joined()
        self.removed()
        self.assertEqual(self.kept, [])

    def test_removed_from_too_many(self) -> None:
        """The first one is forgotten: after a restart its bookmark is followed."""
        told = log_events(self)
        rooms = [f"r{number}@muc.test" for number in range(3)]
        self.made(max_rooms=2)
        self.account.items = {}
        for room in rooms:
            self.account.items[room] = conference()
            self.again()
            self.removed(room)
        self.assertEqual(list(self.kept[-1]), rooms[1:])
        self.assertEqual([event["room"] for event in told if "followed again" in event["log_format"]], [rooms[0]])
        self.restarts(max_rooms=2)
        self.comes()
        self.assertEqual(self.take(), [("enter", rooms[0], "alice", None)])

    def test_fewer_rooms_than_it_was_removed_from(self) -> None:
        """By another configuration: the first ones are forgotten with the next."""
        rooms = [f"r{number}@muc.test" for number in range(4)]
        self.account.items = {}
        for number, room in enumerate(rooms):
            if number == 3:
                self.settings.take_over(Rooms(max_rooms=2))
            self.account.items[room] = conference()
            self.again()
            self.removed(room)
        self.assertEqual([list(kept) for kept in self.kept[-2:]], [rooms[:3], rooms[2:]])

    def test_an_unreadable_bookmark_says_nothing_of_that(self) -> None:
        self.account.items = {ROOM: conference()}
        self.comes()
        self.removed()
        self.account.items = {ROOM: conference("autojoin='perhaps'")}
        self.again()
        self.assertEqual(list(self.kept[-1]), [ROOM])

    def test_too_many(self) -> None:
        self.made(max_rooms=2)
        self.account.items = {f"r{number}@muc.test": conference() for number in range(4)}
        self.comes()
        self.assertEqual(len(self.account.rooms), 2)
        self.again()
        self.assertEqual(len(self.account.rooms), 2)
        self.account.ended("r0@muc.test")
        self.again()
        self.assertEqual(list(self.account.rooms), ["r1@muc.test", "r2@muc.test"])

    def test_unreadable(self) -> None:
        """It costs no other, and nobody leaves for it."""
        self.account.items = {ROOM: conference(), OTHER: conference()}
        self.comes()
        self.take()
        self.account.items = {ROOM: conference("autojoin='?'"), "no room": conference(), OTHER: conference()}
        self.again()
        self.assertEqual(self.take(), [])

    def test_thousands_unreadable(self) -> None:
        self.account.items = {f"no room {number}": "" for number in range(2000)}
        events = log_events(self)
        self.comes()
        told = [event for event in events if "unreadable" in event["log_format"]]
        self.assertEqual([event["n"] for event in told], [2000])

    def test_too_much(self) -> None:
        """A client may have its server keep hundreds of items of any size: they are not read, nor asked for at once."""
        large = conference(f"name='{'x' * (LARGEST // 4)}' autojoin='true'")
        for pep in (True, False):
            self.setUp()
            if pep:
                self.account.items = dict.fromkeys((f"r{number}@muc.test" for number in range(5)), large)
            else:
                self.account.pep, self.account.storage = False, large * 5
            built = BUILT.trees
            self.comes()
            self.assertLess(BUILT.trees - built, 5 + 3 * self.account.requests, "those of the test")
            self.assertEqual(list(self.account.rooms), [])
            self.assertIs(self.follower.says(ROOM), Says.REFUSED)
            asked = self.account.requests
            self.again()
            self.clock.advance(LARGEST / BYTES_PER_SECOND - 10)
            self.assertEqual(self.account.requests, asked)
            self.account.items, self.account.pep = {ROOM: conference()}, True
            self.clock.advance(LONGEST_PAUSE)
            self.assertEqual(list(self.account.rooms), [ROOM])

    def test_private_xml(self) -> None:
        self.account.storage = f"<conference jid='{ROOM}' autojoin='1'><nick>Ally</nick></conference>"
        for pep, items in ((False, None), (True, None)):
            self.account.pep, self.account.items = pep, items
            self.account.rooms = {}
            self.made()
            self.comes()
            self.assertEqual(self.take(), [("enter", ROOM, "Ally", None)])

    def test_pep_counts_if_it_is_there(self) -> None:
        self.account.storage = f"<conference jid='{ROOM}' autojoin='1'/>"
        self.comes()
        self.assertEqual(self.take(), [])

    def test_a_client_that_begins_with_pep(self) -> None:
        """Rooms that it does not take along stay, without bookmark; those that it takes along say themselves."""
        self.account.items = None
        self.account.storage = "".join(
            f"<conference jid='{room}' autojoin='1'/>" for room in (ROOM, OTHER, "third@muc.test")
        )
        self.comes()
        self.account.items = {ROOM: conference(), OTHER: conference("autojoin='0'")}
        self.take()
        self.again()
        self.assertEqual(self.take(), [("leave", OTHER), ("bookmarked", "third@muc.test", False)])

    def test_where_the_first_bookmark_goes(self) -> None:
        """To PEP if the server has it and nothing else is there; else to where they are, unreadable ones too."""
        unreadable = "<conference xmlns='storage:bookmarks' autojoin='true'/>"
        readable = f"<conference xmlns='storage:bookmarks' jid='{OTHER}'/>"
        for pep, inner, stored in (
            (True, None, False),
            (True, "", False),
            (True, unreadable, True),
            (True, readable, True),
            (False, "", True),
            (False, unreadable, True),
            (False, readable, True),
        ):
            account = FakeAccount()
            account.pep, account.items, account.storage = pep, None, inner
            storage = BookmarkStorage(account)
            (found,) = resolved(storage.read())
            self.assertEqual(found.storage is not None, stored, f"{pep} {inner}")

    def test_a_server_that_has_nothing(self) -> None:
        self.account.joined(bookmarked=True)
        self.account.pep = False
        self.comes()
        self.assertEqual(self.take(), [])

    def test_a_server_in_trouble(self) -> None:
        """Then private XML is not asked instead: it may be old."""
        self.account.joined(bookmarked=True)
        self.account.refusing = {"get"}
        self.account.storage = ""
        self.comes()
        self.assertEqual((self.take(), self.account.requests), ([], 1))

    def test_nothing_is_known_at_all(self) -> None:
        self.account.items = None
        self.account.joined(bookmarked=True)
        self.comes()
        self.assertEqual(self.take(), [("leave", ROOM)])


class Reading(FollowerTest):
    def setUp(self) -> None:
        super().setUp()
        self.comes()
        self.account.requests = 0

    def told(self, inner: str) -> None:
        event = f"<event xmlns='{NS_PUBSUB}#event'>{inner}</event>"
        self.follower.server_said(parse_stanza(f"<message from='{BARE}'>{event}</message>"))

    def test_a_moment_after_a_change_and_once(self) -> None:
        for _ in range(10):
            self.follower.client_said(self.phone, self.publication(ROOM))
            self.told(f"<items node='{NS_BOOKMARKS}'><retract id='{ROOM}'/></items>")
        self.assertTrue(self.follower.busy)
        self.assertEqual(self.account.requests, 0)
        self.clock.advance(DEBOUNCE)
        self.assertEqual(self.account.requests, 1)
        self.assertFalse(self.follower.busy)

    def read_again(self, says: Callable[[], None]) -> int:
        """How often bookmarks are read after this was said."""
        before = self.account.requests
        says()
        self.clock.advance(DEBOUNCE)
        return self.account.requests - before

    def test_a_write_that_is_answered_late(self) -> None:
        """A busy server may have read for us before it wrote for the client."""
        phone, laptop = self.phone, FakeSession("laptop", self.clock)
        for kind in ("result", "error"):
            self.follower.client_said(phone, self.publication(ROOM, id_="a"))
            self.follower.client_said(phone, self.publication(ROOM, id_="b"))
            self.clock.advance(DEBOUNCE)
            self.assertTrue(self.follower.awaits_answers)
            for session, id_, said, sender in (
                (phone, "a", kind, BARE),  # not the last
                (phone, "b", "get", BARE),
                (phone, "b", kind, f"{BARE}/x"),
                (phone, "b", kind, ROOM),
                (laptop, "b", kind, BARE),
            ):
                iq = parse_stanza(f"<iq type='{said}' id='{id_}' from='{sender}'/>")
                self.assertEqual(self.read_again(lambda: self.follower.answered(session, iq)), 0, iq)  # noqa: B023
            answer = parse_stanza(f"<iq type='{kind}' id='b'/>")
            self.assertEqual(self.read_again(lambda: self.follower.answered(phone, answer)), 1)  # noqa: B023
            self.assertFalse(self.follower.awaits_answers)
            self.assertEqual(self.read_again(lambda: self.follower.answered(phone, answer)), 0)  # noqa: B023

    def test_a_write_that_is_not_answered_before_its_client_goes(self) -> None:
        self.follower.client_said(self.phone, self.publication(ROOM))
        self.clock.advance(DEBOUNCE)
        self.assertEqual(self.read_again(lambda: self.follower.session_closed(self.phone)), 1)
        self.assertEqual(self.read_again(lambda: self.follower.session_closed(self.phone)), 0)

    def test_changes_go_on_and_on(self) -> None:
        for _ in range(100):
            self.told(f"<items node='{NS_BOOKMARKS}'/>")
            self.clock.advance(DEBOUNCE / 5)
        self.assertGreater(self.account.requests, 15)

    def test_one_at_a_time(self) -> None:
        self.account.answering = False
        self.told(f"<items node='{NS_BOOKMARKS}'/>")
        self.clock.advance(DEBOUNCE)
        for _ in range(3):
            self.told(f"<items node='{NS_BOOKMARKS}'/>")
            self.clock.advance(DEBOUNCE)
            self.follower.stream_opened()
        self.assertEqual(self.account.requests, 1)
        self.account.answering = True
        self.account.answer()
        self.clock.advance(DEBOUNCE)
        self.assertEqual(self.account.requests, 2)

    def test_the_stream_is_given_back(self) -> None:
        self.account.answering = False
        self.account.log = []
        self.told(f"<items node='{NS_BOOKMARKS}'/>")
        self.clock.advance(DEBOUNCE)
        self.assertEqual(self.account.log, [])
        self.account.answer()
        self.assertEqual(self.account.log, [("done",)])

    def test_other_news(self) -> None:
        self.told("<items node='urn:xmpp:avatar:metadata'/>")
        self.follower.client_said(self.phone, parse_stanza("<message><body>urn:xmpp:bookmarks:1</body></message>"))
        self.clock.advance(DEBOUNCE)
        self.assertEqual(self.account.requests, 0)

    def test_when_the_stream_opens(self) -> None:
        self.follower.stream_opened()
        self.assertEqual(self.account.requests, 1)

    def test_now_and_then_in_a_room(self) -> None:
        self.account.joined()
        self.clock.pump([60.0] * 60)
        self.assertEqual(self.account.requests, 6)
        self.account.stream_jid = ""  # being reopened: then it is read anyway
        self.clock.pump([60.0] * 60)
        self.assertEqual(self.account.requests, 6)

    def test_clients_of_an_account_without_rooms_tell_news(self) -> None:
        self.account.stream_jid = ""
        self.clock.pump([60.0] * 60)
        self.assertEqual(self.account.requests, 0)

    def test_less_and_less_with_neither_clients_nor_rooms(self) -> None:
        self.account.stream_jid = ""
        self.account.sessions = set()
        self.clock.pump([100.0] * 36 * 24)
        first_day = self.account.requests
        self.assertGreater(first_day, 3)
        self.assertLess(first_day, 12)
        self.clock.pump([100.0] * 36 * 24 * 10)
        self.assertGreaterEqual(self.account.requests - first_day, 10 * 86400 / (1.5 * LONGEST_IDLE) - 1)
        self.assertLess(self.account.requests - first_day, 25)

    def test_after_a_restart(self) -> None:
        self.account.stream_jid = ""
        self.account.sessions = set()
        self.made(bookmarks_interval=100)
        self.follower.restored({})
        self.account.items = {ROOM: conference()}
        self.clock.advance(150)
        self.assertEqual(self.take(), [("enter", ROOM, "alice", None)])

    def test_no_answer(self) -> None:
        """It is tried again even if that opens a stream: nobody else would."""
        self.account.stream_jid = ""
        self.account.answering = False
        self.comes()
        self.account.lose()
        self.account.answering = True
        self.account.items = {ROOM: conference()}
        self.clock.advance(1.5 * FIRST_RETRY)
        self.assertEqual(self.take(), [("enter", ROOM, "alice", None)])

    def test_a_stream_that_does_not_survive_it(self) -> None:
        self.account.joined()
        self.account.answering = False
        for _ in range(10):
            self.account.stream_jid = STREAM
            self.follower.stream_opened()
            self.account.lose()
        self.assertEqual(self.account.requests, MAX_BROKEN)
        self.account.stream_jid = STREAM
        self.clock.pump([60.0] * 60)
        self.assertEqual(self.account.requests, MAX_BROKEN)
        self.comes()  # somebody wants to know
        self.assertEqual(self.account.requests, MAX_BROKEN + 1)

    def test_a_server_that_is_away_for_long(self) -> None:
        self.account.joined()
        self.account.answering = False
        for _ in range(10):
            self.account.stream_jid = ""
            self.again()
            self.account.lose()
        self.account.requests = 0
        self.account.stream_jid = STREAM
        self.follower.stream_opened()
        self.assertEqual(self.account.requests, 1)

    def test_stop(self) -> None:
        self.told(f"<items node='{NS_BOOKMARKS}'/>")
        self.follower.stop()
        self.comes()
        self.told(f"<items node='{NS_BOOKMARKS}'/>")
        self.follower.restored({})
        self.clock.pump([DEBOUNCE, 86400])
        self.assertEqual((self.account.requests, self.clock.getDelayedCalls()), (0, []))

    def test_an_error_of_ours(self) -> None:
        self.patch(self.account, "enter", None)
        self.account.items = {ROOM: conference()}
        self.again()
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        self.assertFalse(self.follower.busy)


class Off(FollowerTest):
    mode = "off"

    def test_nothing_is_read(self) -> None:
        self.comes()
        self.again()
        self.follower.stream_opened()
        self.follower.restored({})
        self.account.joined()
        self.follower.room_left(ROOM)
        self.clock.advance(86400)
        self.assertEqual(self.account.requests, 0)


class Sync(FollowerTest):
    mode = "sync"

    def joins(self) -> None:
        self.account.joined()
        self.clock.advance(DEBOUNCE)

    def leaves(self) -> None:
        self.follower.room_left(ROOM)
        self.account.ended()

    def bookmark(self) -> str:
        assert self.account.items is not None
        return self.account.items[ROOM]

    def test_join_and_leave(self) -> None:
        self.joins()
        self.assertEqual(self.take(), [("publish", "publish-options"), ("bookmarked", ROOM, True)])
        self.assertEqual(self.bookmark(), conference(inner="<nick>al</nick>"))
        self.again()
        self.assertEqual(self.take(), [])
        self.leaves()
        self.assertEqual(self.take(), [("publish", "publish-options")])
        self.assertEqual(self.bookmark(), conference("autojoin='false'", "<nick>al</nick>"))
        self.again()
        self.clock.pump([DEBOUNCE] * 10)
        self.assertEqual(self.take(), [])

    def test_joined_again(self) -> None:
        self.joins()
        self.leaves()
        self.take()
        self.joins()
        self.assertEqual(self.take(), [("publish", "publish-options"), ("bookmarked", ROOM, True)])

    def test_an_autojoin_that_somebody_has_switched_off_stays_off(self) -> None:
        self.account.items = {ROOM: conference("autojoin='false'")}
        self.joins()
        self.assertEqual(self.take(), [])

    def test_what_a_client_writes_itself(self) -> None:
        self.account.joined()
        self.account.items = {ROOM: conference("autojoin='1'")}
        self.clock.advance(DEBOUNCE)
        self.assertEqual(self.take(), [("bookmarked", ROOM, True)])

    def test_the_rest_of_the_bookmark_stays(self) -> None:
        inner = "<nick>x</nick><extensions><s xmlns='urn:s' a='1'/></extensions>"
        self.account.items = {ROOM: conference("name='N' autojoin='true'", inner), OTHER: conference()}
        self.joins()
        self.leaves()
        self.assertEqual(self.account.items[OTHER], conference())
        self.assertIn(inner, self.bookmark())
        self.assertIn("name='N'", self.bookmark())
        self.assertIn("autojoin='false'", self.bookmark())

    def test_a_removal_is_no_leave(self) -> None:
        self.joins()
        self.clock.advance(DEBOUNCE)  # what was written is read
        self.account.ended()
        self.take()
        self.again()
        self.assertEqual(self.take(), [])

    def test_a_bookmark_switched_off_elsewhere(self) -> None:
        self.joins()
        self.account.items = {}
        self.take()
        self.again()
        self.assertEqual(self.take(), [("leave", ROOM)])
        self.account.ended()
        self.clock.pump([DEBOUNCE] * 10)
        self.assertEqual((self.take(), self.account.items), ([], {}))

    def test_left_before_it_was_written(self) -> None:
        self.account.joined()
        self.leaves()
        self.clock.advance(DEBOUNCE)
        self.assertEqual((self.take(), self.account.items), ([], {}))

    def test_left_when_a_bookmark_has_just_come(self) -> None:
        """It is not entered for a bookmark that is about to be switched off."""
        self.account.joined()
        self.account.items = {ROOM: conference()}
        self.account.answering = False
        self.leaves()
        self.account.answering = True
        self.account.answer()
        self.assertEqual(self.take(), [("publish", "publish-options")])

    def test_a_server_that_does_not_know_the_options(self) -> None:
        self.account.items = None
        self.account.refusing = {"publish-options"}
        self.joins()
        self.assertEqual(
            self.take(),
            [
                ("publish", "publish-options"),
                ("configure",),
                ("create", "configure"),
                ("publish",),
                ("bookmarked", ROOM, True),
            ],
        )

    def test_a_node_that_is_otherwise(self) -> None:
        self.account.refusing = {"publish-options"}
        self.joins()
        self.assertEqual(
            self.take(), [("publish", "publish-options"), ("configure",), ("publish",), ("bookmarked", ROOM, True)]
        )

    def test_never_where_others_can_see_it(self) -> None:
        self.account.refusing = {"publish-options", "configure", "create"}
        self.joins()
        self.assertNotIn(("publish",), self.take())
        self.assertEqual(self.account.items, {})
        self.again()
        self.assertEqual(self.take(), [], "it is not tried again and again")

    def test_no_answer(self) -> None:
        """What is to be written waits for another stream."""
        self.account.answering = False
        self.joins()
        self.account.answer()
        self.account.lose()
        self.account.answering = True
        self.account.stream_jid = STREAM
        self.take()
        self.follower.stream_opened()
        self.assertEqual(self.take(), [("publish", "publish-options"), ("bookmarked", ROOM, True)])

    def test_private_xml(self) -> None:
        self.account.pep = False
        self.account.storage = f"<url url='u'/><conference jid='{OTHER}'/>"
        self.joins()
        self.assertEqual(self.take(), [("stored",), ("bookmarked", ROOM, True)])
        self.assertEqual(
            self.account.storage,
            f"<url url='u'/><conference jid='{OTHER}'/>"
            f"<conference jid='{ROOM}' autojoin='true'><nick>al</nick></conference>",
        )
        self.leaves()
        self.assertEqual(self.take(), [("stored",)])
        self.assertIn(f"<conference jid='{ROOM}' autojoin='false'>", self.account.storage)

    def test_private_xml_refused(self) -> None:
        events = log_events(self)
        self.account.pep, self.account.storage, self.account.refusing = False, "", {"private"}
        self.joins()
        self.assertEqual(self.take(), [])
        told = [formatEvent(event) for event in events if event["log_level"] is LogLevel.warn]
        self.assertEqual(told, [f"{BARE}: the server does not take a bookmark: service-unavailable"])

    def test_the_first_bookmark_of_an_account(self) -> None:
        """Neither is there, both could be: it is for the newer."""
        self.account.items, self.account.storage = None, ""
        self.joins()
        self.assertEqual(self.take(), [("publish", "publish-options"), ("bookmarked", ROOM, True)])

    def test_bounds(self) -> None:
        self.made(bookmarks="sync", max_rooms=3)
        self.account.answering = False
        for number in range(10):
            self.account.joined(f"r{number}@muc.test")
        self.account.answering = True
        self.clock.advance(DEBOUNCE)
        assert self.account.items is not None
        self.assertEqual(len(self.account.items), 3)
