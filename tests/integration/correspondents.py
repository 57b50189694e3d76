"""Two who write to each other, one to one and in a room, over connections that are lost again and again."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from itertools import cycle

from twisted.internet.defer import Deferred

from tests.integration.managed import Device
from tests.integration.managedcase import enter, say
from tests.integration.relay import Relay
from tests.integration.xmlcut import Received

NS_MAM = "urn:xmpp:mam:2"
NS_SID = "urn:xmpp:sid:0"
NS_RSM = "http://jabber.org/protocol/rsm"
AHEAD = 3  # messages said to a room before it has reflected the first
PATIENCE = 60.0
ATTEMPTS = 5  # to resume
REASONS = ("temporary-auth-failure", "remote-connection-failed")  # to try again
# How connections are lost, one way after the other. "silence": nothing comes through any more, in neither direction.
# "change": the device is in another network, and its old connection stands for a while.
WAYS = ("reset", "close", "silence", "change")

RESULT = re.compile(rb"<result [^>]*\bid='([^']+)'.*<body[^>]*>(\w+ \d+ to (?:you|all))</body>", re.DOTALL)


class Correspondent:
    """Says `count` messages to the other, and as many to the room.

    It loses its connection with every `every`-th stanza that comes, and comes back by itself.
    """

    def __init__(self, device: Device, relay: Relay, room: str, count: int, every: int = 0) -> None:
        self.device, self.relay, self.room = device, relay, room
        self.nick = device.account.username
        self.count, self.every = count, every
        self.other: Correspondent
        self.said: list[str] = []  # the same to both
        self.chat: list[str] = []  # what came, in that order, each once
        self.groupchat: list[str] = []
        self.twice: Counter[str] = Counter()
        self.again: set[str] = set()  # said once more after a stream that could not be resumed: may come twice
        self.anew = 0  # so often the stream could not be resumed
        self.quiet = False  # says nothing new
        self.to_room_only = False  # and nothing to the other
        self.kept_from_other: set[str] = set()
        self._until = count
        self.archive_has_rooms = False  # catch up with the room by its archive (a client directly at the server)
        self._stanzas = 0
        self._away = False
        self._ways = cycle(WAYS)
        self._staying: Deferred[None] | None = None
        self._stopped = False
        device.ignore = self._comes

    async def begin(self, other: Correspondent) -> None:
        self.other = other
        await enter(self.device, self.room, self.nick)

    def stay(self) -> None:
        """Come back by itself from now on."""
        self._stopped = False
        self._staying = Deferred.fromCoroutine(self._stay())
        self._staying.addErrback(lambda failure: self.device.fault(failure.getTraceback()))

    async def stop(self) -> None:
        """No longer; what is under way comes to its end."""
        self._stopped = True
        staying, self._staying = self._staying, None
        self.device.stirs()
        if staying is not None:
            await staying

    # talking

    def talk(self) -> None:
        """Say the first messages, or the next; each one that the room reflects makes for another."""
        while not self.quiet and len(self.said) < min(self._until, self._reflected() + AHEAD):
            self._say_one()

    def talk_until(self, count: int) -> None:
        """Say no more than so many."""
        self._until = count
        self.talk()

    def _say_one(self) -> None:
        body = f"{self.nick} {len(self.said)}"
        self.said.append(body)
        if self.to_room_only:
            self.kept_from_other.add(body)
        else:
            say(self.device, self.other.device.jid, f"{body} to you")
        say(self.device, self.room, f"{body} to all", "groupchat")

    def _reflected(self) -> int:
        return sum(body.startswith(f"{self.nick} ") for body in self.groupchat)

    # what comes

    def _comes(self, stanza: Received) -> bool:
        """Take a stanza; whether it is nothing that somebody expects."""
        self._stanzas += 1
        body = self._body(stanza)
        if body:
            self._note(self.groupchat if body.endswith(" to all") else self.chat, body, stanza)
            self.talk()
        if self.every and self._stanzas % self.every == 0:
            self._lose()
        return bool(body)

    @staticmethod
    def _body(stanza: Received) -> str:
        found = re.search(rb"<body[^>]*>(\w+ \d+ to (?:you|all))</body>", stanza.raw)
        return found[1].decode() if found and b"<result " not in stanza.raw else ""

    def _note(self, heard: list[str], body: str, stanza: Received) -> None:
        if body not in heard:
            heard.append(body)
        elif not (b"urn:xmpp:delay" in stanza.raw and self.anew):
            self.twice[body] += 1  # else told of the past, to a new session: known by its ids

    def _lose(self) -> None:
        links = self.relay.links[-1:]  # this device's connection
        if self._away or self._stopped or not self.device.connected or not links:
            return
        way = next(self._ways)
        if way == "silence":
            self.relay.silence(*links)
        elif way != "change":
            self.relay.cut(*links, reset=way == "reset")
        self._away = True
        if not self.quiet and len(self.said) < self._until:
            self._say_one()  # into a connection that is dead
        self.device.stirs()

    # coming back

    async def _stay(self) -> None:
        while True:
            await self.device.until(lambda: self._stopped or self._away or not self.device.connected, "a loss", 300.0)
            if self._stopped and not self._away and self.device.connected:
                return
            await self.come_back()
            self._away = False

    async def come_back(self) -> None:
        """Resume, or begin anew as a client does whose stream cannot be resumed."""
        if await self._resume():
            return
        left = [stanza for stanza in self.device.give_up() if stanza.startswith("<message")]
        self.anew += 1
        chat, groupchat = self._last(self.device.bare, self.chat), self._last(self.room, self.groupchat)
        await self.device.bind(self.device.line, online=False)
        await self._catch_up(self.device.bare, self.chat, *chat)
        await self.device.online()
        await enter(self.device, self.room, self.nick)
        if self.archive_has_rooms:
            await self._catch_up(self.room, self.groupchat, *groupchat)
        for stanza in left:
            self.again.update(re.findall(r"<body>(.*?)</body>", stanza))
            self.device.send(stanza)

    async def _resume(self) -> bool:
        """Try it again if the server cannot be reached just now, or is lost in the middle of it."""
        for _attempt in range(ATTEMPTS - 1):
            try:
                return await self.device.resume()
            except AssertionError as refused:
                if not any(reason in str(refused) for reason in REASONS):
                    raise
        return await self.device.resume()

    async def _catch_up(self, archive: str, heard: list[str], last: str, count: int) -> None:
        """Fetch from an archive (XEP-0313) what came behind the message of that id, the last of `count` heard."""
        found: dict[str, str] = {}  # by their ids: ejabberd's archive may have some twice after kill -9
        complete = False
        while not complete:
            after = f"<after>{last}</after>" if last else ""
            query = f"<query xmlns='{NS_MAM}'><set xmlns='{NS_RSM}'><max>50</max>{after}</set></query>"
            before = len(self.device.received)
            answer = await self.device.iq("set", archive, query)
            for stanza in self.device.received[before:]:
                if result := RESULT.search(stanza.raw):
                    last = result[1].decode()
                    found[last] = result[2].decode()
            complete = b"complete='true'" in answer.raw
        bodies = [body for body in found.values() if not self._is_mine(body, heard) and body not in heard[:count]]
        heard[count:] = bodies + [body for body in heard[count:] if body not in bodies]

    def _last(self, archive: str, heard: list[str]) -> tuple[str, int]:
        """The id that an archive gave to the last message in it that was heard, and how many were heard."""
        ids = (self._archive_id(stanza, archive) for stanza in reversed(self.device.received))
        return next((identity for identity in ids if identity), ""), len(heard)

    def _is_mine(self, body: str, heard: list[str]) -> bool:
        return heard is self.chat and body.startswith(f"{self.nick} ")

    @staticmethod
    def _archive_id(stanza: Received, archive: str) -> str:
        if b"stanza-id" not in stanza.raw or b"<body" not in stanza.raw:
            return ""
        ids = stanza.element.elements(NS_SID, "stanza-id")
        return next((one["id"] for one in ids if one.getAttribute("by") == archive), "")

    # the proof

    async def has_heard(self, count: int) -> None:
        """Wait for so many of the other's messages."""
        await self._has(lambda: len(self.chat) >= count, f"{count} messages")

    async def has_all(self) -> None:
        """Wait for all that both said."""
        everything = 2 * self.count
        for_me = self.count - len(self.other.kept_from_other)
        await self._has(lambda: len(self.chat) >= for_me and len(self.groupchat) >= everything, "everything")

    async def _has(self, condition: Callable[[], bool], what: str) -> None:
        try:
            await self.device.until(condition, what, PATIENCE)
        except AssertionError as failure:
            wrong = self.wrong() + self.other.wrong()
            raise AssertionError("\n".join(wrong) + f"\n{failure}\n{self.other.device.transcript()}") from None

    def wrong(self) -> list[str]:
        """What is lost, came twice or out of order; what the client said again by itself has no place of its own."""
        theirs, mine = self.other.said, self.said
        for_me = [f"{body} to you" for body in theirs if body not in self.other.kept_from_other]
        faults = self._compare("chat", self.chat, for_me)
        for said in (theirs, mine):
            from_one = [body for body in self.groupchat if body.split()[0] == said[0].split()[0]]
            faults += self._compare("room", from_one, [f"{body} to all" for body in said])
        may = self.again | self.other.again
        return faults + [f"{self.nick}: {body!r} came twice" for body in self.twice if body not in may]

    def in_order(self, bodies: list[str]) -> list[str]:
        """Those that were said once."""
        again = self.again | self.other.again
        return [body for body in bodies if body not in again]

    def _compare(self, what: str, heard: list[str], said: list[str]) -> list[str]:
        lost = [body for body in said if body not in heard]
        if not lost and self.in_order(heard) == self.in_order(said):
            return []
        return [f"{self.nick}, {what}: " + (f"lost {lost}" if lost else f"out of order: {heard}")]


def same_order(one: Correspondent, other: Correspondent) -> list[str]:
    """Both have seen the room in one order."""
    same = one.in_order(one.groupchat) == one.in_order(other.groupchat)
    return [] if same else [f"the room: {one.groupchat}\n{other.groupchat}"]
