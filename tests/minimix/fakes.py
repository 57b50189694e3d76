"""Stand-ins for what surrounds the core: a session, an account stream, and a room's answers as text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.words.protocols.jabber.xmlstream import XMPPHandlerCollection
from twisted.words.xish import domish

from minimixproxy.c2s.session.account_interface import AccountPort
from minimixproxy.config.settings import Push, Rooms
from minimixproxy.minimix.account import Account
from minimixproxy.minimix.interfaces.enrolling import Enrolled
from minimixproxy.minimix.interfaces.handed import HandedSession
from minimixproxy.minimix.interfaces.journal import KeptLogin
from minimixproxy.minimix.interfaces.weighed import Weighed
from minimixproxy.minimix.room.context import AccountContext
from minimixproxy.minimix.subprotocols.own_requests import OwnRequests
from minimixproxy.minimix.subprotocols.subprotocol import Subprotocol
from minimixproxy.timing.answered_lines import AnsweredLines
from minimixproxy.wire.framing import Framer
from minimixproxy.wire.lazy_stanzas import LazyStanzas
from minimixproxy.wire.stanza import Stanza, parse_stanza
from minimixproxy.wire.whole_messages import plain_tags, whole_messages
from minimixproxy.xep.displayed import MARK
from tests.minimix.null_journal import NullJournal
from tests.namespaces import repeated_declarations

ROOM = "room@muc.test"
BARE = "alice@a.test"
STREAM = f"{BARE}/minimix.0123"
DISCO = "http://jabber.org/protocol/disco#info"
HEADER = b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"


def written(data: bytes) -> list[Stanza]:
    """Read what the proxy wrote, which says no namespace twice."""
    stanzas = split(data)
    for stanza in stanzas:
        repeated = repeated_declarations(stanza.raw)
        assert not repeated, (repeated, stanza.raw)
    return stanzas


def split(data: bytes) -> list[Stanza]:
    """Read stanzas, whole ones."""
    framer = _between_stanzas.pop() if _between_stanzas else _behind_header()
    events = framer.feed(data)
    found = [event for event in events if isinstance(event, Stanza)]
    assert len(found) == len(events), events
    if sum(len(stanza.raw) for stanza in found) == len(data):
        _between_stanzas.append(framer)
    return found


def _behind_header() -> Framer:
    framer = Framer()
    framer.feed(HEADER)
    return framer


#: One that can be used again, if there is one: to make one takes longer than to read a stanza.
_between_stanzas: list[Framer] = []


def leaves_from_client(account: AccountPort, stanza: Stanza) -> bool:
    """Tell whether a session would pass a stanza of its client on without asking the account about it."""
    tags = plain_tags(stanza.raw, 1) if whole_messages(stanza.raw)[1] == len(stanza.raw) else None
    return tags is not None and account.leaves_from_client(stanza.raw, [to for to, _id in tags])


def leaves_from_server(account: AccountPort, stanza: Stanza) -> bool:
    """Tell whether a session would pass a stanza of its server on without asking the account about it."""
    return whole_messages(stanza.raw)[1] == len(stanza.raw) and account.leaves_from_server(stanza.raw)


class FakeSession:
    """A client: what it was given is in `received`."""

    def __init__(self, resource: str, clock: Clock, carbons: bool = True) -> None:
        self.jid = f"{BARE}/{resource}"
        self.device = ""
        self.carbons = carbons
        self.language = ""
        self.standalone = False
        self.received: list[Stanza] = []
        self.instead: list[Stanza] = []  # those of them that it got in the place of what its server said
        self.closed: str | None = None
        self.inactive = False
        self.weighed: list[Weighed] = []  # given to it while it was inactive
        self.slow = False  # it takes nothing of what is made for it
        self.reached = float("inf")
        self.managed = False
        self.asleep = False
        self.queued = 0
        self.rests = False
        self.waits = 0  # so often it is let wait
        self.held = 0  # so much of what it said is not to be acknowledged yet
        self.pushed = 0  # so often its server is to push what it has for it
        self.unacknowledged: list[Callable[[], None]] = []  # who waits for it to have got what its server has said
        self._clock = clock

    @property
    def last_active(self) -> float:
        return self._active

    _active = 0.0

    def touch(self) -> None:
        self._active = self._clock.seconds()

    def deliver(self, data: bytes) -> None:
        stanzas = split(data) if self.standalone else written(data)
        assert len(stanzas) == 1, f"{len(stanzas)} stanzas delivered as one: {data!r}"
        self.received += stanzas

    def deliver_instead(self, data: bytes) -> None:
        self.deliver(data)
        self.instead.append(self.received[-1])

    def deliver_all(self, stanzas: LazyStanzas) -> None:
        if not self.slow:
            for stanza in stanzas:
                self.deliver(stanza)

    def hold(self) -> Callable[[], None]:
        self.held += 1
        return self._let_go

    def _let_go(self) -> None:
        self.held -= 1

    def when_settled(self, call: Callable[[], None]) -> None:
        call()

    def hand_on(self, keep: Callable[[Any], KeptLogin], shows: bytes) -> HandedSession | None:
        return None

    def when_got(self, call: Callable[[], None]) -> None:
        self.unacknowledged.append(call)

    def have_server_push(self) -> None:
        self.pushed += 1

    def acknowledge(self) -> None:
        """It has got all that its server has said."""
        waiting, self.unacknowledged = self.unacknowledged, []
        for call in waiting:
            call()

    def let_wait(self) -> None:
        self.waits += 1

    def go_on(self) -> None:
        self.waits -= 1

    def deliver_weighed(self, weighed: Weighed) -> None:
        self.weighed.append(weighed)

    def close(self, condition: str, text: str = "") -> None:
        self.closed = condition

    def take(self) -> list[Stanza]:
        received, self.received = self.received, []
        return received


class _Observed:
    """Takes observers and tells them nothing: `FakeStream` does."""

    def addObserver(self, *_arguments: object) -> None: ...

    def removeObserver(self, *_arguments: object) -> None: ...


class FakeStream(XMPPHandlerCollection):
    """An account stream that opens at once; what was sent is in `sent`. Its handlers are told what the test says."""

    def __init__(self, clock: Clock, iq_timeout: float = 60.0) -> None:
        super().__init__()
        self.jid = ""
        self.sent: list[Stanza] = []
        self.closed = 0
        self.reopening = 0
        self.acknowledges = True  # at once
        self.full = False
        self.tells_read_state = False  # else nothing was ever published, and what asks for that is not shown
        self.waiting: list[Callable[[], None]] = []
        self.requests = OwnRequests(BARE, iq_timeout, clock)
        self.requests.setHandlerParent(self)

    def send(self, data: bytes) -> None:
        self.jid = STREAM
        stanzas = written(data)
        is_request = stanzas[0].name == "iq" and stanzas[0].get("type") in ("get", "set")
        if MARK in data and is_request and not self.tells_read_state:
            self._published_nothing(stanzas[0]["id"])
        else:
            self.sent += stanzas

    def _published_nothing(self, stanza_id: str) -> None:
        condition = "<item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
        xml = f"<iq type='error' id='{stanza_id}' to='{STREAM}'><error type='cancel'>{condition}</error></iq>"
        self.says(parse_stanza(xml))

    def reply(self, data: bytes) -> None:
        self.send(data)

    def when_acknowledged(self, call: Callable[[], None]) -> None:
        if self.acknowledges:
            call()
        else:
            self.waiting.append(call)

    def when_taken(self, call: Callable[[], None]) -> None:
        self.when_acknowledged(call)

    def reopen(self) -> None:
        self.reopening += 1

    def close(self) -> None:
        self.closed += 1
        self.jid = ""

    def take(self) -> list[Stanza]:
        sent, self.sent = self.sent, []
        return sent

    # What happens to it

    def opened(self) -> None:
        xmlstream = _Observed()
        for handler in self:
            handler.makeConnection(xmlstream)
            handler.connectionInitialized()

    def lost(self, *, refused: bool = False) -> None:
        subprotocols = [handler for handler in self if isinstance(handler, Subprotocol)]
        for handler in [*subprotocols[1:], subprotocols[0]]:  # who waits for an answer is told last
            handler.unreachable(refused=refused)

    def says(self, stanza: Stanza) -> None:
        """A stanza comes; a fault of ours is the test's."""
        for handler in self._taking(stanza):
            if not stanza.handled:
                handler.received(stanza)
            handler.taken()

    def brings(self, stanza: Stanza) -> None:
        """A stanza comes, as the wire brings it: a fault of ours costs that stanza."""
        for handler in self._taking(stanza):
            handler.take(stanza)

    def not_sent(self, answer: Stanza) -> None:
        for handler in self._taking(answer):
            handler.take_instead(answer)

    def _taking(self, stanza: Stanza) -> Iterator[Subprotocol]:
        for handler in list(self):
            if isinstance(handler, Subprotocol) and handler.query.matches(stanza):
                yield handler


class World:
    """An account with its surroundings, and short ways to let clients and rooms speak."""

    new_clock: type[Clock] = Clock
    new_journal: type[NullJournal] = NullJournal
    push = Push()
    planned = STREAM  # the full JID that the account stream will ask for

    def __init__(self, **options: object) -> None:
        self.journal = self.new_journal()
        self.clock = self.new_clock()
        self.clock.advance(1_700_000_000)
        settings = Rooms.model_validate({"bookmarks": "off", **options})
        self.stream = FakeStream(self.clock, settings.iq_timeout)
        self.said: list[str] = []  # by the account, of itself
        self.is_enrolled = True
        self.login_refused = False
        self.neighbours: dict[tuple[str, str], str] = {}
        context = AccountContext(
            settings,
            self.clock,
            self.journal,
            lambda address, room: self.neighbours.get((address, room)),
            AnsweredLines(self.clock),
            self.push,
        )
        self.endings = context.endings
        self.account = Account(BARE, self.stream, self, context, self.planned)

    # What the account says of itself.

    def unattended(self) -> None:
        self.said.append("unattended")

    def idle(self) -> None:
        self.said.append("idle")

    def forgotten(self) -> None:
        self.said.append("forgotten")

    def enroll(self, password: str) -> Deferred[Enrolled]:
        self.said.append(f"enroll by {password}")
        return Deferred()

    @property
    def times_idle(self) -> int:
        return self.said.count("idle")

    def session(self, resource: str, *, carbons: bool = True, device: str = "") -> FakeSession:
        session = FakeSession(resource, self.clock, carbons)
        session.device = device
        self.account.session_bound(session)
        return session

    def client(self, session: FakeSession, xml: str) -> bool:
        session.touch()
        stanza = parse_stanza(xml)
        left = leaves_from_client(self.account, stanza)
        taken = self.account.from_client(session, stanza)
        assert not (left and taken), f"the account leaves it alone, and takes it: {xml}"
        return taken

    def room(self, xml: str) -> None:
        """A stanza arrives on the account stream; `ROOM/` and `STREAM` in it are the addresses."""
        (stanza,) = split(xml.encode())
        self.stream.says(stanza)

    # What rooms say.

    def shows(self, nick: str, codes: str = "", attributes: str = "", inner: str = "", item: str = "") -> None:
        status = "".join(f"<status code='{code}'/>" for code in codes.split())
        self.room(
            f"<presence from='{ROOM}/{nick}' to='{STREAM}' {attributes}>{inner}<x xmlns='http://jabber.org/protocol/muc#user'>"
            f"<item affiliation='member' role='participant' {item}/>{status}</x></presence>"
        )

    def gone(self, nick: str, codes: str = "", item: str = "") -> None:
        self.shows(nick, codes, "type='unavailable'", item=item)

    def subject(self, text: str = "") -> None:
        self.room(f"<message type='groupchat' from='{ROOM}' to='{STREAM}'><subject>{text}</subject></message>")

    def says(self, nick: str, body: str, inner: str = "", stanza_id: str = "m") -> None:
        self.room(
            f"<message type='groupchat' id='{stanza_id}' from='{ROOM}/{nick}' to='{STREAM}'>"
            f"<body>{body}</body>{inner}</message>"
        )

    def comes_back(self, *others: str, nick: str = "alice", subject: str = "topic") -> None:
        """The room takes the account in again, when its turn has come; `others` are there, or bob."""
        for other in others or ("bob",):
            self.shows(other)
        self.shows(nick, "100 110", item=f"jid='{STREAM}'")
        self.tells_of_itself()
        self.subject(subject)
        self.stream.take()

    def tells_of_itself(self, *features: str, keep: bool = False) -> list[Stanza]:
        """The room answers what it is asked on coming back; returns what else was sent, to be taken if `keep`."""
        sent = self.stream.take()
        for query in [stanza for stanza in sent if stanza.has_payload(DISCO, "query")]:
            found = "".join(f"<feature var='{feature}'/>" for feature in features)
            answer = f"<query xmlns='{DISCO}'>{found}</query>"
            self.room(f"<iq type='result' from='{ROOM}' to='{STREAM}' id='{query['id']}'>{answer}</iq>")
        others = [stanza for stanza in sent if not stanza.has_payload(DISCO, "query")]
        if keep:
            self.stream.sent += others
        return others

    # What clients say.

    def asks_to_join(self, session: FakeSession, nick: str = "alice", inner: str = "", stanza_id: str = "j") -> bool:
        return self.client(
            session,
            f"<presence to='{ROOM}/{nick}' id='{stanza_id}'><x xmlns='http://jabber.org/protocol/muc'>{inner}</x></presence>",
        )

    def leaves(self, session: FakeSession) -> None:
        self.client(session, f"<presence to='{ROOM}/alice' type='unavailable' id='l'/>")

    def joined(self, *resources: str, nick: str = "alice") -> list[FakeSession]:
        """Sessions that are attached to the room, where bob is; nothing of it is left to take."""
        sessions = [self.session(resource) for resource in resources]
        for session in sessions:
            self.asks_to_join(session, nick)
        self.shows("bob")
        self.shows(nick, "100 110", item=f"jid='{STREAM}'")
        self.subject("topic")
        for session in sessions:
            session.take()
        self.stream.take()
        return sessions


def payload_of(stanza: Stanza, uri: str, name: str) -> domish.Element:
    """Return a payload that has to be there."""
    found = stanza.payload(uri, name)
    assert found is not None, stanza.raw
    return found


def kinds(stanzas: list[Stanza]) -> list[str]:
    """A short form of what arrived: who and what, in order."""
    return [kind(stanza) for stanza in stanzas]


def kind(stanza: Stanza) -> str:
    nick = (stanza.get("from") or "").partition("/")[2]
    if stanza.name == "presence":
        codes = "".join(
            f" {status['code']}"
            for x in stanza.element.elements("http://jabber.org/protocol/muc#user", "x")
            for status in x.elements()
            if status.name == "status"
        )
        return f"{stanza.get('type') or 'presence'} {nick}{codes}"
    if stanza.name == "message" and stanza.has_payload("jabber:client", "body"):
        return f"{nick}: {stanza.element.body}"
    if stanza.name == "message" and stanza.has_payload("jabber:client", "subject"):
        return f"subject {stanza.element.subject}"
    return f"{stanza.name} {stanza.get('type')} {nick}".strip()
