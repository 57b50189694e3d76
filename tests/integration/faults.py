"""People for tests with faults: they keep what rooms told them over all their connections, and come back."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from tests.integration.client import Client
from tests.integration.servers import Server
from tests.integration.xmlcut import Received

NS_MUC = "http://jabber.org/protocol/muc"
NS_USER = NS_MUC + "#user"
NS_SID = "urn:xmpp:sid:0"
NS_DELAY = "urn:xmpp:delay"
NS_MAM = "urn:xmpp:mam:2"

SHOWN = 20  # messages that a room shows to whom has no wish
# Messages that somebody says to a room before it has reflected the first: what a slow server has not got to would be
# in the way of all that is waited for.
AHEAD = 50

NEVER: Mapping[str, int] = MappingProxyType({})

#: Makes a new connection, logged in and online.
Dial = Callable[[], Awaitable[Client]]


class Heard(NamedTuple):
    """A groupchat message with a body."""

    nick: str
    body: str
    stanza_id: str | None
    delayed: bool
    connection: int  # the listener's first, second …
    read: int  # of that connection, likewise: what was written at once has the same
    time: float

    def is_same(self, other: Heard) -> bool:
        """Tell whether it is the same message: by the room's id (XEP-0359), by what it says if there is none."""
        if self.stanza_id is not None and other.stanza_id is not None:
            return self.stanza_id == other.stanza_id
        return self.body == other.body


class Place:
    """What a listener knows of one room."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        # Messages known already that the last join was told again, as one without a wish may be: before all news.
        self.again: list[Heard] = []
        self._told = 0  # of what was heard before that join, so far it has been told again
        self.counts: Counter[str] = Counter()  # of bodies
        self.occupants: dict[str, str] = {}  # nick: affiliation
        self.nick = ""  # own, while in the room
        self.entering: int | None = None  # how much was heard before the join with no wish that is under way
        self.entered = 0  # own presences with status 110
        self.subjects = 0
        self.removals: list[set[str]] = []  # own ones, with their codes
        self.gone: list[str] = []  # others who went
        self.come: list[str] = []  # others who came, or were shown

    @property
    def bodies(self) -> list[str]:
        return [heard.body for heard in self.heard]

    def enters(self, *, wish: bool) -> None:
        """A join is under way."""
        self.again = []
        self._told = 0
        self.entering = None if wish else len(self.heard)

    def entered_with(self) -> None:
        """The subject came, which ends what is told of the past. Too much told again counts as told twice."""
        before, self.entering = self.entering, None
        if before is not None and self.again and len(self.again) + len(self.heard) - before > SHOWN:
            self.counts.update(heard.body for heard in self.again)
            self.heard += self.again

    def take(self, heard: Heard) -> None:
        """Take account of a message."""
        if heard.delayed and self._told_again(heard):
            self.again.append(heard)
        else:
            self.counts[heard.body] += 1
            self.heard.append(heard)

    def _told_again(self, heard: Heard) -> bool:
        """Tell whether a delayed message is one that a join with no wish may be told again (XEP-0045 §7.2.13).

        A client knows it by its id: what somebody has sent twice, the room has twice. It comes before all that is new,
        in the order in which it was heard, once; and with all that is new it does not make more than a room shows.
        """
        if self.entering is None or len(self.heard) > self.entering:
            return False
        place = next((i for i in range(self._told, self.entering) if self.heard[i].is_same(heard)), None)
        if place is not None:
            self._told = place + 1
        return place is not None


class Listener:
    """One device of somebody: connects, joins, and keeps account of each room."""

    def __init__(self, name: str, dial: Dial, nick: str) -> None:
        self.name, self.nick = name, nick
        self.places: dict[str, Place] = {}
        self.client: Client
        self.connections = 0
        self.in_between: Counter[str] = Counter()  # how often bodies may come again, see `instant`
        self._dial = dial

    def __getitem__(self, room: str) -> Place:
        return self.places.setdefault(room, Place())

    async def connect(self) -> None:
        """Connect (again). In no room yet."""
        self.client = await self._dial()
        self.connections += 1
        for place in self.places.values():
            place.occupants.clear()
            place.nick = ""
        self.client.ignore = self._note

    async def enter(self, room: str, wish: str = "") -> None:
        """Join, with `<history/>` as wished; returns when the subject has come."""
        subjects = self[room].subjects
        self[room].enters(wish=bool(wish))
        self.client.send(f"<presence to='{room}/{self.nick}'><x xmlns='{NS_MUC}'>{wish}</x></presence>")
        await self.client.until(
            lambda: self[room].subjects > subjects or self._refused(room), f"the subject of {room}", 30.0
        )
        if self._refused(room):
            raise AssertionError(f"{self.name} was not let into {room}\n{self.client.transcript()}")

    def _refused(self, room: str) -> bool:
        return any(
            stanza.element.name == "presence" and stanza.get("type") == "error" and _bare(stanza) == room
            for stanza in self.client.inbox
        )

    async def come_back(self, *rooms: str, wish: str = "") -> None:
        """Connect and join these rooms."""
        await self.connect()
        for room in rooms:
            await self.enter(room, wish)

    async def hears(self, room: str, bodies: Iterable[str], timeout: float = 20.0) -> None:
        """Wait until all of these messages have come, on this connection or an earlier one."""
        wanted = set(bodies)
        counts = self[room].counts
        await self._until(lambda: wanted <= counts.keys(), lambda: self._lacks(room, wanted), timeout)

    async def sees(self, room: str, nick: str, timeout: float = 30.0) -> None:
        """Wait until somebody is in the room."""
        await self._until(lambda: nick in self[room].occupants, lambda: f"{nick} in {room}", timeout)

    async def misses(self, room: str, nick: str, timeout: float = 30.0) -> None:
        """Wait until somebody is not in the room."""
        await self._until(lambda: nick not in self[room].occupants, lambda: f"the end of {nick} in {room}", timeout)

    async def _until(self, condition: Callable[[], bool], what: Callable[[], str], timeout: float) -> None:
        try:
            await self.client.until(condition, "it", timeout)
        except AssertionError as error:
            raise AssertionError(f"{self.name} waited for {what()}\n{error}") from None

    def _lacks(self, room: str, wanted: set[str]) -> str:
        lacking = sorted(wanted - self[room].counts.keys())
        return f"{len(lacking)} messages of {len(wanted)} in {room}: {lacking[:20]}"

    def drop(self) -> None:
        self.client.drop()

    def instant(self, unmarked: set[str]) -> None:
        """The proxy was killed: what came last, with one write, and is among the `unmarked`, may come once more."""
        for place in self.places.values():
            for heard in place.heard:
                if (heard.connection, heard.read) == (self.connections, self.client.reads):
                    self.in_between |= Counter({heard.body} & unmarked)

    async def say(self, room: str, body: str, identity: str = "", more: str = "") -> None:
        """Send a message to a room and wait for its reflection."""
        self.client.send(message(room, body, identity or body, more))
        await self.hears(room, [body])

    # what comes

    def _note(self, stanza: Received) -> bool:
        """Keep account of a room's stanza; True if it need not stand in the client's inbox."""
        room, _, nick = (stanza.get("from") or "").partition("/")
        if room not in self.places or stanza.get("type") == "error":
            return False
        if stanza.element.name == "presence" and nick:
            self._presence(self[room], nick, stanza)
        elif stanza.element.name == "message" and stanza.get("type") == "groupchat":
            return self._message(self[room], nick, stanza)
        return False

    def _presence(self, place: Place, nick: str, stanza: Received) -> None:
        codes = status_codes(stanza)
        if stanza.get("type") == "unavailable":
            place.occupants.pop(nick, None)
            if nick == place.nick and "303" not in codes:  # ejabberd destroys rooms without a 110
                place.nick = ""
                place.removals.append(codes)
            else:
                place.gone.append(nick)
            return
        if "110" in codes:
            place.nick = nick
            place.entered += 1
        elif nick not in place.occupants:
            place.come.append(nick)
        place.occupants[nick] = "".join(
            str(item.getAttribute("affiliation", ""))
            for x in stanza.element.elements(NS_USER, "x")
            for item in x.elements(NS_USER, "item")
        )

    def _message(self, place: Place, nick: str, stanza: Received) -> bool:
        children = list(stanza.element.elements())
        if not any(child.name == "body" for child in children):
            if any(child.name == "subject" for child in children):
                place.subjects += 1
                place.entered_with()
            return False
        sid = next(
            (child.getAttribute("id") for child in children if child.uri == NS_SID and child.name == "stanza-id"), None
        )
        delayed = any(child.uri == NS_DELAY for child in children)
        place.take(Heard(nick, stanza.text, sid, delayed, self.connections, self.client.reads, time.time()))
        return True


class Talker(Listener):
    """Somebody directly at the server, owner of rooms, who says numbered things at a steady rate."""

    def __init__(self, name: str, dial: Dial, server: Server, nick: str) -> None:
        super().__init__(name, dial, nick)
        self._server = server
        self._round: LoopingCall | None = None
        self.sent: dict[str, list[str]] = {}
        self._silent: set[str] = set()
        self._answered: dict[str, int] = {}  # the number of the last message that a room reflected
        self._ticks = 0

    async def open(self, room: str, *, archive: bool = True, **options: object) -> None:
        """Make a persistent room, with or without an archive; `options` without "muc#roomconfig_"."""
        self.sent.setdefault(room, [])
        await self.enter(room)
        await self.configure(room, persistentroom=1, archive=int(archive), **options)

    async def configure(self, room: str, **options: object) -> None:
        """Change settings of a room; `options` without "muc#roomconfig_", and `archive` (0 or 1)."""
        await self.ask(room, "owner", self.form(**options))

    def form(self, **options: object) -> str:
        """The form that changes settings of a room."""
        archive = "mam" if self._server.name == "ejabberd" else "muc#roomconfig_enablearchiving"
        fields = {archive if name == "archive" else f"muc#roomconfig_{name}": value for name, value in options.items()}
        fields = {"FORM_TYPE": f"{NS_MUC}#roomconfig", **fields}
        content = "".join(f"<field var='{name}'><value>{value}</value></field>" for name, value in fields.items())
        return f"<x xmlns='jabber:x:data' type='submit'>{content}</x>"

    async def ask(self, room: str, kind: str, payload: str) -> None:
        """Let the room's owner or admin do something, and wait for the result."""
        reply = await self.client.iq("set", room, f"<query xmlns='{NS_MUC}#{kind}'>{payload}</query>")
        if reply.get("type") != "result":
            raise AssertionError(f"{payload} was refused: {reply}")

    async def archived(self, room: str) -> list[str]:
        """The bodies in the room's archive (XEP-0313), oldest first."""
        bodies: list[str] = []
        after = ""
        while True:
            page = f"<set xmlns='http://jabber.org/protocol/rsm'><max>100</max>{after}</set>"
            seen = len(self.client.inbox)
            reply = await self.client.iq("set", room, f"<query xmlns='{NS_MAM}'>{page}</query>")
            results = [stanza for stanza in self.client.inbox[seen:] if f"{NS_MAM}" in str(stanza)]
            bodies += [body for stanza in results for body in re.findall("<body>(.*?)</body>", str(stanza))]
            last = re.search("<last>(.*?)</last>", str(reply))
            if last is None or not results:
                return bodies
            after = f"<after>{last[1]}</after>"

    # many messages

    def start(self, rate: float) -> None:
        """Say something in each room by turns, so many messages a second in all, or as many as the rooms take."""
        self._round = LoopingCall(self._next)
        self._round.start(1 / rate, now=False)

    def stop(self) -> None:
        if self._round is not None and self._round.running:
            self._round.stop()

    def hush(self, room: str) -> None:
        """Say nothing in this room for now."""
        self._silent.add(room)

    def go_on(self, room: str) -> None:
        self._silent.discard(room)

    def _next(self) -> None:
        self._ticks += 1
        rooms = [room for room in self.sent if room not in self._silent and self._is_taken(room)]
        if rooms and self.client.lost is None:
            self.speak(min(rooms, key=lambda room: len(self.sent[room])))

    def _is_taken(self, room: str) -> bool:
        """Tell whether a room keeps up. One that has lost what was said is tried now and then."""
        return len(self.sent[room]) - self._answered.get(room, 0) < AHEAD or self._ticks % AHEAD == 0

    def _message(self, place: Place, nick: str, stanza: Received) -> bool:
        room, number = _bare(stanza), stanza.text.partition(" ")[0]
        if nick == self.nick and room in self.sent and number.isdigit():
            self._answered[room] = max(int(number), self._answered.get(room, 0))
        return super()._message(place, nick, stanza)

    def speak(self, room: str) -> str:
        """Send the next numbered message to a room; returns its body."""
        body = self.body(room)
        self.sent[room].append(body)
        self.client.send(message(room, body, body))
        return body

    def body(self, room: str) -> str:
        """What is said next in a room."""
        return f"{len(self.sent[room]) + 1} {room.partition('@')[0]}"

    def accepted(self, room: str) -> list[str]:
        """What the room took: it was reflected."""
        return [heard.body for heard in self[room].heard if heard.nick == self.nick]

    async def said(self, count: int) -> None:
        """Wait until so many more messages have been taken by the rooms, together."""

        def taken() -> int:
            return sum(len(self[room].heard) for room in self.sent)

        enough = taken() + count
        await self.client.until(lambda: taken() >= enough, f"{count} more messages", 30.0)

    async def settled(self) -> None:
        """All that was said has been reflected."""
        await self.client.barrier(*self.sent)


def message(room: str, body: str, identity: str, more: str = "") -> str:
    return (
        f"<message to='{room}' type='groupchat' id='{identity}'><body>{body}</body>{more}"
        f"<origin-id xmlns='{NS_SID}' id='{identity}'/></message>"
    )


def verdict(
    heard: Iterable[str], must: Iterable[str], may: Iterable[str] = (), in_between: Mapping[str, int] = NEVER
) -> str:
    """Say what is wrong with what somebody heard, "" for nothing: each of `must` once, of `may` at most once.

    Those `in_between` may come so many times more, see `Listener.instant`.
    """
    counts, wanted = Counter(heard), set(must)
    missing = [body for body in must if not counts[body]]
    twice = [f"{body} ({count} times)" for body, count in counts.items() if count > 1 + in_between.get(body, 0)]
    strange = [body for body in counts if body not in wanted and body not in set(may)]
    faults = (("missing", missing), ("more than once", twice), ("never said", strange))
    return "; ".join(f"{len(bodies)} {name}: {', '.join(bodies[:20])}" for name, bodies in faults if bodies)


def pause(seconds: float) -> Deferred[None]:
    """For a chaos run, which is about time; tests wait for events."""
    deferred: Deferred[None] = Deferred()
    clock: Any = reactor
    clock.callLater(seconds, deferred.callback, None)
    return deferred


def status_codes(stanza: Received) -> set[str]:
    return {
        status.getAttribute("code", "")
        for x in stanza.element.elements(NS_USER, "x")
        for status in x.elements(NS_USER, "status")
    }


def _bare(stanza: Received) -> str:
    return (stanza.get("from") or "").partition("/")[0]
