"""Devices and talkers that keep coming back, whatever happens to their connections."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from random import Random

from twisted.internet import reactor
from twisted.internet.error import ConnectError
from twisted.words.protocols.jabber.error import StreamError

from minimixproxy.c2s.session.acknowledgements import CROSSING, LATE, TOGETHER
from tests.integration.client import Client, connect
from tests.integration.faults import Dial, Heard, Listener, Place, Talker, message, pause
from tests.integration.network import LOCAL
from tests.integration.servers import Account, Server
from tests.integration.xmlcut import Received

PING_AFTER = 10.0  # seconds between a device's pings of its server
PING_TIMEOUT = 20.0
LOOK = 0.2  # seconds between looks at what has changed
SINCE_MARGIN = 10.0  # seconds before the last message, which a client's wish goes back to
FAILURES = (AssertionError, ConnectError, StreamError)  # of a connection, a login, a join

NOTHING = "<history maxstanzas='0'/>"


def dial(port: Callable[[], int], account: Account, resource: str, address: str = LOCAL.address) -> Dial:
    """How somebody connects, logs in and goes online."""

    async def do() -> Client:
        client = await connect(port(), account.domain, address=address, label=f"{account.username}/{resource}")
        try:
            await client.login(account, resource)
            await client.online()
        except BaseException:
            client.drop()
            raise
        return client

    return do


class Returning(Listener):
    """Stays in the rooms it wants to be in: connects again, joins again."""

    clients: Sequence[Client] = ()  # its connections by now, for transcripts
    kind = ""
    dice: Random
    wanted: set[str]
    ready = False  # in all rooms that are wanted
    over = False
    away = 0.0  # seconds to stay away, once the stream is closed
    failures = 0
    known = 0  # messages that came again, as they may
    relayed = False  # by one that acknowledges for it: what it got since it was last answered it may get again
    may_miss: Collection[str] = ()  # what a killed process took to be given to this one, which had gone
    came: Sequence[float] = ()  # when its connections began ...
    left: Sequence[float] = ()  # ... and ended
    _proven = _earlier = 0.0  # when it said what was answered last, and before that, on this connection
    _settled = 0  # the last connection of which it is known what may come again

    def wish(self, room: str) -> str:
        """The `<history/>` of a join."""
        return ""

    async def caught_up(self) -> None:
        """Wait until nothing is under way to this one."""
        await self.client.barrier(*(room for room in sorted(self.wanted) if self[room].nick))

    async def live(self) -> None:
        """Until `over`."""
        while not self.over:
            try:
                await self.connect()
                await self._stay()
            except FAILURES:
                self.failures += 1
            self.ready = False
            if self.connections:
                self.client.drop()
                self.left = (*self.left, time.time())
                self._settle()
            wait, self.away = self.away or self.dice.uniform(0.1, 1.5), 0.0
            await pause(wait)

    def _settle(self) -> None:
        """A connection is over: a relay leaves the proxy unsure of what had come, unless this one closed its stream."""
        if not self.relayed or self._settled == self.connections:
            return
        self._settled = self.connections
        proven = self._proven if time.time() > self._proven + 2 * LATE else self._earlier
        self.in_between += Counter(
            heard.body
            for place in self.places.values()
            for heard in place.heard
            if heard.connection == self.connections and heard.time >= proven - CROSSING - TOGETHER
        )

    async def connect(self) -> None:
        await super().connect()
        self.came = (*self.came, time.time())
        self.clients = (*self.clients, self.client)

    async def _stay(self) -> None:
        pinged, self._earlier, self._proven = reactor.seconds(), 0.0, 0.0
        while self.client.lost is None and not self.over:
            for room in sorted(self.wanted):
                if not self[room].nick:
                    self.ready = False
                    await self.enter(room, self.wish(room))
            self.ready = True
            if self.away:
                await self.go()
            elif reactor.seconds() > pinged + PING_AFTER:
                asked = time.time()
                await self.client.iq("get", self.client.domain, "<ping xmlns='urn:xmpp:ping'/>", PING_TIMEOUT)
                pinged, self._earlier, self._proven = reactor.seconds(), self._proven, asked
            await pause(LOOK)

    async def go(self) -> None:
        """Close the stream: what was sent before comes before the end, unless the other side has ended it."""
        await self.client.close()
        if self.client.stream_closed and not any(one.raw.startswith(b"<stream:error") for one in self.client.received):
            self._settled = self.connections

    def gone_at(self, when: float) -> float | None:
        """Return since when it had been without a connection by then; None: it had one, or had not had any."""
        came = max((one for one in self.came if one < when), default=when)
        return next((left for left in self.left if came < left < when), None)

    async def quit(self) -> None:
        """For good."""
        self.over = True
        if self.connections:
            self.drop()

    async def proxy_gone(self, unmarked: Callable[[], set[str]]) -> None:
        """The proxy was killed; these messages it had not marked as given out."""
        if self.connections:
            await self.client.until_lost()
            self.instant(unmarked())

    def talk_in(self, room: str, body: str, identity: str) -> None:
        """Say something in a room, if there is a connection."""
        if self.client.lost is None:
            self.client.send(message(room, body, identity))


class Plain(Returning):
    """A device that states no wish on joining: it is told what it has not seen, and more if that is little."""

    kind = "no wish"


class KnowsIds(Returning):
    """A device that knows messages by their stanza-id (XEP-0359), which is one only together with its room.

    ejabberd's are microseconds: on a busy server two rooms have the same.
    """

    def __init__(self, name: str, dial: Dial, nick: str) -> None:
        super().__init__(name, dial, nick)
        self._seen: set[tuple[str, str]] = set()

    def _message(self, place: Place, nick: str, stanza: Received) -> bool:
        count = len(place.heard)
        wanted = super()._message(place, nick, stanza)
        if len(place.heard) > count:
            heard = place.heard[-1]
            known = ((stanza.get("from") or "").partition("/")[0], heard.stanza_id or "")
            if known in self._seen and self._may_come_again(heard):
                self.known += 1
                place.heard.pop()
                place.counts[heard.body] -= 1
            elif heard.stanza_id is not None:
                self._seen.add(known)
        return wanted

    def _may_come_again(self, heard: Heard) -> bool:
        """Whether a client is not surprised."""
        return True


class Since(KnowsIds):
    """A device that asks for what was said since the last message that it heard when it was said.

    What it is told of the past says nothing of the time since then: its account may be out of the room just now without
    knowing it, and read later what was said meanwhile. It loses its connection without a word.
    """

    kind = "since"

    def __init__(self, name: str, dial: Dial, nick: str) -> None:
        super().__init__(name, dial, nick)
        self._last: dict[str, float] = {}
        self.times: Mapping[str, float] = {}  # when things were said: after a silence they may come late

    def wish(self, room: str) -> str:
        last = self._last.get(room)
        if last is None:
            return ""
        return f"<history since='{datetime.fromtimestamp(last - SINCE_MARGIN, UTC):%Y-%m-%dT%H:%M:%SZ}'/>"

    async def go(self) -> None:
        self.client.drop()
        await self.client.until_lost()

    def _message(self, place: Place, nick: str, stanza: Received) -> bool:
        count = len(place.heard)
        wanted = super()._message(place, nick, stanza)
        if len(place.heard) > count and not place.heard[-1].delayed:
            self._last[(stanza.get("from") or "").partition("/")[0]] = self.times.get(stanza.text, reactor.seconds())
        return wanted


class Observer(Returning, Talker):
    """Somebody directly at the server, who speaks, and by whom is known what rooms took. Wants no history."""

    def __init__(self, name: str, dial: Dial, server: Server, nick: str) -> None:
        Talker.__init__(self, name, dial, server, nick)

    def wish(self, room: str) -> str:
        return NOTHING
