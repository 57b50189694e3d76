"""A proxy's accounts between clients, rooms and servers of the machine: bytes in, bytes out, all of it witnessed."""

from __future__ import annotations

from collections import deque
from typing import Any
from xml.etree import ElementTree

from twisted.internet.defer import Deferred

from minimixproxy.accountstream.account_login import LoginContext
from minimixproxy.accountstream.accounts import Accounts
from minimixproxy.accountstream.attempt import Opened
from minimixproxy.accountstream.errors import CannotOpen, CredentialRefused
from minimixproxy.c2s.upstream.connecting import Login
from minimixproxy.config.settings import Domain, Limits, Rooms, Settings
from minimixproxy.xep.oversized import Sendable
from tests.known_keys import MemoryKeys, Unguarded
from tests.minimix.machine.addresses import bare_and_nick, bare_of, prepared
from tests.minimix.machine.client import Client
from tests.minimix.machine.memory import Memory
from tests.minimix.machine.room_iqs import ModelRoom
from tests.minimix.machine.server import ModelServer
from tests.minimix.machine.store import Storage
from tests.minimix.machine.upstream import RESOURCE, Upstream
from tests.minimix.machine.witness import CLIENT, Witness
from tests.minimix.upstreams import FakeLogins
from tests.timing.set_clock import SetClock

DOMAIN = "a.test"
ALICE, BOB, _CAROL = BARES = tuple(f"{name}@{DOMAIN}" for name in ("alice", "bob", "carol"))
#: By address: what kind of room it is.
ROOMS: dict[str, dict[str, Any]] = {
    "plain@muc.test": {},
    "open@muc.test": {"anonymous": False, "archive": True},
    "bare@muc.test": {"ids": False, "occupant_ids": False},
    "locked@muc.test": {"password": "secret", "archive": True},
}
NOW = 1_700_000_000.0
STANZA_SIZE = 32 * 1024


class WallClock(SetClock):
    """Knows what it has shown."""

    furthest = 0.0

    def is_set(self, set_by: float) -> None:
        """From now on it is ahead by so many seconds."""
        self.set_by = set_by
        self.furthest = max(self.furthest, self.wall_time())


class World:
    """All of it. `prompt`: rooms and servers answer at once; else what they are sent waits in `unanswered`."""

    def __init__(self, **settings: object) -> None:
        self.clock = WallClock()
        self.clock.advance(NOW)
        self.witness = Witness()
        self.memory = Memory(self.witness.complain)
        self.storage = Storage(self.clock)
        self.settings = Settings.model_construct(
            rooms=Rooms.model_validate({"history": 40, "max_rooms": 6, "max_occupants": 30, **settings}),
            domain={DOMAIN: Domain(name=DOMAIN)},
            limits=Limits(stanza_size=STANZA_SIZE),
        )
        self.rooms = {
            jid: ModelRoom(jid, self.to_stream, self.clock.wall_time, self.witness.token, **kind)
            for jid, kind in ROOMS.items()
        }
        self.server = ModelServer(self.to_stream)
        self.clients: dict[str, Client] = {}
        self.upstreams: dict[str, Upstream] = {}
        self.attempts: list[tuple[str, Deferred[Opened]]] = []
        self.prompt = True
        self.opens = "at once"  # or "late", "fails", "refused"
        self.unanswered: deque[tuple[Upstream, ElementTree.Element, int, str]] = deque()
        self.open_from_rooms: dict[tuple[str, str | None, str | None], int] = {}  # IQs that rooms have asked accounts
        self._begin()

    def _begin(self) -> None:
        self.journal, self.disk, kept = self.storage.open(lambda: self.accounts.kept())
        logins = FakeLogins(self._connect)
        self.accounts = Accounts(
            LoginContext(
                self.settings, self.clock, self.journal, logins, lambda _bare: RESOURCE, MemoryKeys(), Unguarded()
            )
        )
        self.accounts.startService()
        self.accounts.restore(kept)

    # The process ends, and another begins -----------------------------------------------------------------------------

    def ends(self, *, orderly: bool) -> None:
        """The process ends; a crash leaves on disk what is there."""
        if orderly:
            for client in list(self.clients.values()):
                client.closes()
            self.accounts.stopService()
            self.clock.advance(0)
            for upstream in list(self.upstreams.values()):
                upstream.lose()
            self.disk.late, self.disk.faults = False, 0
            self.journal.stop()
            self.clock.advance(11)
            self.memory.on_disk()
        self.memory.crashed()
        for call in list(self.clock.getDelayedCalls()):
            call.cancel()
        ended = list(self.upstreams.values())
        for upstream in ended:
            upstream.over = True
        for upstream in ended:
            self.gone_from_rooms(upstream.jid, upstream)
        for client in self.clients.values():
            client.dies()
        self.clients.clear()
        self.upstreams.clear()
        self.attempts.clear()
        self.unanswered.clear()
        self.open_from_rooms.clear()

    def begins_again(self) -> None:
        self._begin()

    # Account streams --------------------------------------------------------------------------------------------------

    def _connect(self, login: Login, _resource: str) -> Deferred[Opened]:
        attempt: Deferred[Opened] = Deferred()
        self.attempts.append((login.account, attempt))
        if self.opens != "late":
            self.clock.callLater(0, self.decides)
        return attempt

    def decides(self) -> None:
        """Servers let in, or not, whoever waits to be."""
        attempts, self.attempts = self.attempts, []
        for bare, attempt in attempts:
            if attempt.called:
                continue
            if self.opens == "fails":
                attempt.errback(CannotOpen("unreachable"))
            elif self.opens == "refused":
                attempt.errback(CredentialRefused("not authorized"))
            else:
                former = self.upstreams.get(bare)
                if former is not None:
                    former.lose()
                upstream = self.upstreams[bare] = Upstream(self, bare)
                attempt.callback(Opened(upstream.xmlstream, upstream.jid))

    def upstream(self, bare: str) -> Upstream | None:
        found = self.upstreams.get(bare)
        return found if found is not None and not found.over and not found.closing else None

    def to_stream(self, jid: str, text: str) -> None:
        """A room or the server says something to an account stream."""
        upstream = self.upstream(jid.partition("/")[0])
        if upstream is None:
            return
        self.notes_request(
            upstream.bare,
            ElementTree.fromstring(f"<x xmlns='jabber:client'>{text}</x>")[0],
        )
        upstream.says(text.encode())

    def notes_request(self, bare: str, stanza: ElementTree.Element) -> None:
        """An account is asked something: it may answer once."""
        if stanza.tag == f"{CLIENT}iq" and stanza.get("type") not in (
            "result",
            "error",
        ):
            key = bare, prepared(stanza.get("from")), stanza.get("id") or None
            self.open_from_rooms[key] = self.open_from_rooms.get(key, 0) + 1

    def gone_from_rooms(self, jid: str, upstream: Upstream) -> None:
        if self.upstreams.get(upstream.bare) is upstream:
            for room in self.rooms.values():
                room.removes(jid, silently=True)

    # What goes out ----------------------------------------------------------------------------------------------------

    def goes_out(self, upstream: Upstream, data: bytes) -> None:
        """The proxy writes a stanza to a server."""
        witness = self.witness
        tokens = witness.sent(upstream.bare, data)
        try:
            stanzas = upstream.reader.whole(data)
        except AssertionError as error:
            witness.complain(f"on the stream of {upstream.bare}: {error}")
            upstream.begun = False
            return
        depth = upstream.reader.deepest
        limits = self.settings.limits
        if len(data) > Sendable(limits.stanza_size).largest or depth > limits.stanza_depth:
            witness.complain(f"too large for a server: {len(data)} bytes, {depth} levels: {data[:500]!r}")
        for stanza in stanzas:
            self._checks(upstream, stanza, data, tokens)
            self.unanswered.append((upstream, stanza, depth, tokens[0] if tokens else ""))

    def _checks(
        self,
        upstream: Upstream,
        stanza: ElementTree.Element,
        data: bytes,
        tokens: list[str],
    ) -> None:
        complain, to = self.witness.complain, stanza.get("to")
        if stanza.get("from") is not None:
            complain(f"a `from` goes out: {data[:2000]!r}")
        if stanza.tag not in (f"{CLIENT}iq", f"{CLIENT}message", f"{CLIENT}presence"):
            complain(f"no stanza: {data[:2000]!r}")
        if stanza.tag == f"{CLIENT}presence" and to is None:
            complain(f"the account stream becomes available: {data[:2000]!r}")
        for token in tokens:
            meant = self.witness.meant_for.get(token)
            if meant is not None and bare_of(meant) != bare_of(to):
                complain(f"meant for {meant}, and sent to {to}: {data[:2000]!r}")
        if stanza.tag == f"{CLIENT}iq" and stanza.get("type") in ("result", "error"):
            key = upstream.bare, prepared(to), stanza.get("id") or None
            left = self.open_from_rooms.get(key, 0)
            if not left:
                complain(f"answers what nobody asked: {data[:2000]!r}")
            self.open_from_rooms[key] = left - 1

    def answer(self, count: int = 1_000_000, *, silently: bool = False) -> None:
        """Rooms and servers handle what they were sent; or drop it."""
        while self.unanswered and count:
            count -= 1
            upstream, stanza, depth, token = self.unanswered.popleft()
            if not silently and self.upstream(upstream.bare) is upstream:
                self._handle(upstream, stanza, depth, token)

    def servers_answer(self, *, talks: bool) -> None:
        """Rooms say nothing to all that they were sent; servers do, if they talk."""
        for_servers = [one for one in self.unanswered if bare_and_nick(one[1].get("to"))[0] not in self.rooms]
        self.unanswered = deque(for_servers)
        self.answer(silently=not talks)

    def _handle(self, upstream: Upstream, stanza: ElementTree.Element, depth: int, token: str) -> None:
        to = stanza.get("to")
        bare, nick = bare_and_nick(to)
        room = self.rooms.get(bare)
        if room is None:
            if stanza.tag == f"{CLIENT}iq":
                self.server.iq_from(upstream.jid, to, stanza)
        elif stanza.tag == f"{CLIENT}presence":
            room.presence_from(upstream.jid, nick, stanza)
        elif stanza.tag == f"{CLIENT}iq":
            room.iq_from(upstream.jid, nick, stanza)
        else:
            inner = "".join(ElementTree.tostring(child, "unicode") for child in stanza) if depth < 50 else ""
            room.message_from(upstream.jid, nick, stanza, inner or f"<body>{token}</body>")

    def settle(self) -> None:
        """Let happen what is due now."""
        for _ in range(30):
            self.clock.advance(0)
            if not (self.prompt and self.unanswered):
                break
            self.answer()
        if self.journal.status.durable and self.journal.gathering.batch is None and not self.disk.busy:
            self.memory.on_disk()

    # Clients ----------------------------------------------------------------------------------------------------------

    def connects(self, bare: str, resource: str, *, carbons: bool, language: str) -> None:
        """A client logs in; a former one of that resource ends before."""
        jid = f"{bare}/{resource}"
        former = self.clients.pop(jid, None)
        if former is not None:
            former.closes()
        self.clients[jid] = Client(self, jid, carbons, language)
