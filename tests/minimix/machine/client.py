"""A client of the machine, with its session: what `c2s.session` does with stanzas, and no connection."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from minimixproxy.c2s.session.held_back import NOTHING_WAITS, HeldBack
from minimixproxy.jids import InvalidJID, parse_jid
from minimixproxy.minimix.interfaces.handed import HandedSession
from minimixproxy.minimix.interfaces.journal import KeptLogin
from minimixproxy.minimix.interfaces.weighed import Weighed
from minimixproxy.namespaces import NS_CLIENT, NS_CORRECT, NS_MUC
from minimixproxy.wire.events import Event, Fault
from minimixproxy.wire.fast_framing import FastFramer
from minimixproxy.wire.framing import FramingLimits
from minimixproxy.wire.lazy_stanzas import LazyStanzas
from minimixproxy.wire.stanza import Stanza, UnusableStanza
from tests.minimix.fakes import leaves_from_client, leaves_from_server
from tests.minimix.machine.addresses import same_address
from tests.minimix.machine.memory import Replayed
from tests.minimix.machine.witness import CLIENT, HEADER, USER, Promise, StrictReader
from tests.minimix.upstreams import login

if TYPE_CHECKING:
    from tests.minimix.machine.world import World

BODY, SUBJECT = f"{CLIENT}body", f"{CLIENT}subject"
SENT = "{urn:xmpp:carbons:2}sent"
SERVER_LIMITS = FramingLimits(256 * 1024, 100_000, skips=True)


class Client:
    """Is a `SessionPort` too. `passed`: IQs that went on to the client's own server and wait for an answer."""

    def __init__(self, world: World, jid: str, carbons: bool, language: str) -> None:
        self.jid, self.carbons, self.language = jid, carbons, language
        self.standalone = False
        self.device = ""
        self.bare = jid.partition("/")[0]
        self.last_active = world.clock.seconds()
        self.reached = math.inf
        self.managed = False
        self.asleep = False
        self.rests = False
        self.queued = 0
        self.inactive = False
        self._held = HeldBack(self._told_late, lambda: jid)
        self._noted = False  # that messages wait
        self.slow = False
        self.closed = False
        self.promises: list[Promise] = []
        self.asked: Counter[tuple[str, str | None]] = Counter()  # IQs that are to be answered, by address and id
        self.passed: deque[tuple[str | None, str]] = deque()
        self.forwarded: deque[tuple[str, str]] = deque()  # IQs that it was asked: by whom, and their ids
        self.in_rooms: dict[str, set[str]] = {}  # and what it has been shown of each since it came in
        self.replay: Replayed | None = None  # that it is being shown, not having wished for anything in particular
        self.wishless: set[str | None] = set()  # ids of joins
        self._superseded: dict[str, Promise] = {}  # the last join of a room that another answer has answered, too
        self.execution = ("", "")  # of a command: its node and session id
        self.count = 0
        self.world = world
        self._reader = StrictReader()
        self._output: deque[tuple[bytes | LazyStanzas, bool]] = deque()
        self._from_server = False  # a stanza of the client's own server is being looked at
        limits = FramingLimits(world.settings.limits.stanza_size, world.settings.limits.stanza_depth)
        self._said = self._framer(limits)
        self._told = self._framer(SERVER_LIMITS)
        self._told.trusting = True
        self._gate: Any = world.accounts.gated(self._through_gate)
        self.account = world.accounts.session_bound(self, login(*self.bare.split("@")))

    @staticmethod
    def _framer(limits: FramingLimits) -> FastFramer:
        framer = FastFramer(limits)
        framer.feed(HEADER)
        framer.passing = True
        return framer

    # What it says -----------------------------------------------------------------------------------------------------

    def next_id(self) -> str:
        self.count += 1
        return f"i-{self.jid.partition('/')[2]}-{self.count}"

    def says(self, xml: str) -> None:
        """The client sends bytes."""
        if not self.closed:
            for event in self._said.feed(xml.encode("utf-8", "surrogatepass")):
                self._sends(event)

    def _sends(self, event: Event) -> None:
        if self.closed:  # by what came before
            return
        if isinstance(event, Fault):
            self.close(event.condition, event.text)
        elif isinstance(event, Stanza) and event.uri == NS_CLIENT:
            self._says(event)

    def _says(self, stanza: Stanza) -> None:
        self.last_active = self.world.clock.seconds()
        self.world.witness.said(self.bare, stanza.raw.decode(), stanza.get("to"))
        is_request = stanza.name == "iq" and stanza.get("type") not in (
            "result",
            "error",
        )
        key = stanza.get("to") or "", stanza.get("id")
        if is_request:
            self.asked[key] += 1
        promised = self._promises(stanza)
        left = leaves_from_client(self.account, stanza)
        try:
            taken = self.account.from_client(self, stanza)
        except UnusableStanza:
            taken = False
        if taken:
            if left:
                self.world.witness.complain(f"{self.jid}: the account leaves alone what it takes: {stanza.raw!r}")
            return
        if promised is not None and promised in self.promises:
            self.promises.remove(promised)
        if is_request:
            self.asked[key] -= 1
            self.passed.append((stanza.get("to"), stanza.get("id") or ""))

    def _promises(self, stanza: Stanza) -> Promise | None:
        """Return what a presence is to be answered with; one that says that the client is away ends all waiting."""
        kind, to = stanza.get("type"), stanza.get("to")
        if stanza.name != "presence" or kind not in (None, "unavailable"):
            return None
        if to is None:
            if kind is not None:
                self.promises.clear()
                self.in_rooms.clear()
                self._superseded.clear()
            return None
        try:
            room = parse_jid(to).bare
            is_join = kind is None and "/" in to and stanza.has_payload(NS_MUC, "x")
        except (InvalidJID, UnusableStanza):
            return None
        if not is_join and (kind is None or room not in self.in_rooms):
            return None
        promise = Promise("join" if is_join else "leave", room, stanza.get("id"))
        late = self.world.disk.late  # then what it was told before it left is not told yet, and counts as missed
        if is_join and b"history" not in stanza.raw and not late:
            self.wishless.add(stanza.get("id"))
        self.promises.append(promise)
        return promise

    def promise_nick(self, room: str, stanza_id: str) -> None:
        """A change of nick is said next: it is to be answered."""
        self.promises.append(Promise("nick", room, stanza_id))

    def closes(self, reached: float = math.inf) -> None:
        """Its stream ends, and the account is told so."""
        if not self.closed:
            self.closed = True
            self.reached = min(reached, self._held.limit)
            if self.reached != math.inf:
                self.world.memory.forget(self.jid)
            self._output.clear()
            self.account.session_closed(self)
            self.world.clients.pop(self.jid, None)

    def when_settled(self, call: Callable[[], None]) -> None:
        call()

    def hand_on(self, keep: Callable[[Any], KeptLogin], shows: bytes) -> HandedSession | None:
        return None

    def when_got(self, call: Callable[[], None]) -> None:
        """No contact says anything here."""

    def have_server_push(self) -> None:
        """No push service refuses anything here."""

    def hold(self) -> Callable[[], None]:
        return lambda: None

    def let_wait(self) -> None:
        pass

    def go_on(self) -> None:
        pass

    def close(self, condition: str, text: str = "") -> None:
        """The account, or the proxy, ends the session."""
        self.closes()

    def dies(self) -> None:
        """The process is gone."""
        self.closed = True

    # What it is told -------------------------------------------------------------------------------------------------

    def server_says(self, xml: str) -> None:
        """The client's own server sends bytes."""
        if self.closed:
            return
        self.world.witness.told(self.bare, xml)
        for event in self._told.feed(xml.encode()):
            if isinstance(event, Stanza) and not self.closed:
                self._from_server = True
                left = leaves_from_server(self.account, event)
                try:
                    taken = self.account.from_server(self, event)
                except UnusableStanza:
                    taken = False
                finally:
                    self._from_server = False
                if not taken:
                    self._shown(event.raw, passed=True)
                elif left:
                    self.world.witness.complain(f"{self.jid}: the account leaves alone what it takes: {event.raw!r}")

    def deliver(self, data: bytes) -> None:
        """The account gives it whole stanzas."""
        if self._from_server:
            self.world.witness.complain(f"{self.jid} is told something out of its place: {data[:2000]!r}")
        self._given(data)

    def _given(self, data: bytes) -> None:
        if self.closed:
            self.world.witness.complain(f"{self.jid} is told something that has closed: {data[:2000]!r}")
        self._gate((data, self._from_server))

    def deliver_instead(self, data: bytes) -> None:
        """The account gives it another stanza than its server."""
        if not self._from_server:
            self.world.witness.complain(f"{self.jid} is told something in the place of nothing: {data[:2000]!r}")
        self._given(data)

    def deliver_all(self, stanzas: LazyStanzas) -> None:
        """The account gives it many."""
        self._gate((stanzas, False))

    def deliver_weighed(self, weighed: Weighed) -> None:
        """The account gives it a stanza of a room that may wait."""
        if not self.inactive:
            self.world.witness.complain(f"{self.jid} is active, and a stanza is weighed for it")
        self._gate((weighed, False))

    def _through_gate(self, output: tuple[bytes | LazyStanzas | Weighed, bool]) -> None:
        """Do as `c2s.session.client_state` does."""
        data, passed = output
        if self.closed:
            return
        if not isinstance(data, Weighed):
            self._held.release()
            self._output.append((data, passed))
        elif self.inactive and not data.matters:
            self._held.hold(data)
        else:
            self._held.release_before(data)
            self._told_late(data)
        self._note()
        self.drain()

    def _note(self) -> None:
        waits = self._held.limit != NOTHING_WAITS
        if waits is not self._noted:
            self._noted = waits
            self.account.held_back(self, waits)

    def _told_late(self, weighed: Weighed) -> None:
        self._output.append((weighed.copy(self.jid), False))

    def looks(self, *, away: bool) -> None:
        """Its user looks at it, or away."""
        self.inactive = away
        if not away and not self.closed:
            self._held.release()
            self._note()
            self.drain()

    def drain(self, count: int | None = None) -> None:
        """Take what waits; one that is slow takes `count` stanzas, and only when it is told to."""
        while self._output and not self.closed and not (self.slow and not count):
            if count is not None:
                count -= 1
            data, passed = self._output[0]
            if isinstance(data, LazyStanzas):
                made = next(iter(data), None)
                if made is None:
                    self._output.popleft()
                else:
                    self._shown(made)
            else:
                self._output.popleft()
                self._shown(data, passed=passed)

    def _shown(self, data: bytes, *, passed: bool = False) -> None:
        """The client reads something; `passed`: its own server has said it, more or less."""
        witness = self.world.witness
        tokens = witness.shown(self.bare, data)
        try:
            stanzas = self._reader.whole(data)
        except AssertionError as error:
            if not passed:  # what a server says is passed as it is
                witness.complain(f"to {self.jid}: {error}")
            self._reader = StrictReader()
            return
        for stanza in stanzas:
            if not passed and stanza.get("to") not in (self.jid, self.bare):
                witness.complain(f"{self.jid} is shown what is for {stanza.get('to')}: {data[:2000]!r}")
            self._understands(stanza, data, tokens, passed)

    def _understands(self, stanza: ElementTree.Element, data: bytes, tokens: list[str], passed: bool) -> None:
        kind, sender, stanza_id = (
            stanza.get("type"),
            stanza.get("from") or "",
            stanza.get("id"),
        )
        if stanza.tag == f"{CLIENT}iq":
            if kind in ("result", "error"):
                command = stanza.find("{http://jabber.org/protocol/commands}command")
                if command is not None:
                    self.execution = (
                        command.get("node") or "",
                        command.get("sessionid") or "",
                    )
                self._answered(sender, stanza_id, data, passed)
            elif not passed:
                self.forwarded.append((sender, stanza_id or ""))
        elif stanza.tag == f"{CLIENT}presence" and not passed:
            self._sees(stanza, kind, sender, stanza_id)
        elif stanza.tag == f"{CLIENT}message" and not passed and tokens and stanza.find(BODY) is not None:
            if kind == "groupchat":
                self._reads(sender, tokens, data)
            elif kind == "chat" and stanza.find(SENT) is None:
                self.world.memory.private(self.jid, tokens[0], data)
        elif stanza.tag == f"{CLIENT}message" and kind == "groupchat" and stanza.find(SUBJECT) is not None:
            self.replay = None

    def _answered(self, sender: str, stanza_id: str | None, data: bytes, passed: bool) -> None:
        if passed:
            return
        key = self._key(sender, stanza_id)
        if key is None:
            self.world.witness.complain(f"{self.jid} is answered what it did not ask: {data[:2000]!r}")
            return
        self.asked[key] -= 1

    def _key(self, sender: str, stanza_id: str | None) -> tuple[str, str | None] | None:
        for key, count in self.asked.items():
            if count > 0 and key[1] == stanza_id and same_address(key[0], sender):
                return key
        return None

    def _sees(
        self,
        stanza: ElementTree.Element,
        kind: str | None,
        sender: str,
        stanza_id: str | None,
    ) -> None:
        """A room shows somebody: itself, to who joins, leaves or changes its nick."""
        room = sender.partition("/")[0]
        codes = {status.get("code") for status in stanza.findall(f"{USER}x/{USER}status")}
        own = "110" in codes
        if kind != "error" and not own:
            return
        joins = [one for one in (*self.promises, *self._superseded.values()) if one.kind == "join"]
        if kind is None and any(one.answers(room, stanza_id) for one in joins):
            self.in_rooms[room] = set()
            self.replay = Replayed() if stanza_id in self.wishless else None
        elif own and kind == "unavailable" and "303" not in codes:
            self.in_rooms.pop(room, None)
        self._answers(room, kind, stanza_id, renamed="303" in codes)

    def _answers(self, room: str, kind: str | None, stanza_id: str | None, *, renamed: bool) -> None:
        """What answers one request answers those before it, too: the last one counts. Who is out waits for nothing."""
        named = [place for place, one in enumerate(self.promises) if one.answers(room, stanza_id)]
        until = named[-1] if named else -1
        if kind == "unavailable" and not renamed and not named:
            until = len(self.promises)
        left = [
            one
            for place, one in enumerate(self.promises)
            if one.room != room or not (place <= until or (one.kind == "nick" and kind != "error"))
        ]
        joins = [one for one in self.promises if one.kind == "join" and one not in left]
        last = joins[-1] if joins else self._superseded.pop(room, None)
        if last is not None and kind != "unavailable" and not last.answers(room, stanza_id):
            self._superseded[room] = last
        self.promises = left

    def _reads(self, sender: str, tokens: list[str], data: bytes) -> None:
        """A message of a room: once, while the client stays.

        A client that had the original before gets it as it is now, if it wishes, and the correction that made it so.
        """
        room = sender.partition("/")[0]
        shown = self.in_rooms.get(room)
        self.world.memory.message(self, room, tokens[0], data)
        if shown is None or room not in self.world.rooms or not self.world.rooms[room].ids or not tokens:
            return
        what = f"{tokens[0]} corrected" if NS_CORRECT.encode() in data else tokens[0]
        if what in shown:
            self.world.witness.complain(f"{self.jid} is shown a message twice: {data[:2000]!r}")
        shown.add(what)

    # At the end ------------------------------------------------------------------------------------------------------

    def still_waits(self) -> list[str]:
        """What should have been answered."""
        waits = [f"{promise.kind} {promise.id} to {promise.room}" for promise in self.promises]
        return waits + [f"IQ {key[1]} to {key[0]}: {count}" for key, count in self.asked.items() if count]
