"""How long one stanza holds the reactor: the worst kinds, of the largest size that servers take.

They go through framing and core, without sockets: what is written goes nowhere. Each is measured some times on a fresh
account, in CPU time, and the median counts.
"""

import gc
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any

from twisted.internet.task import Clock

from minimixproxy.clientproxy.proxy import Proxy
from minimixproxy.minimix.account import Account
from minimixproxy.wire.events import Skipped
from minimixproxy.wire.fast_framing import FastFramer
from minimixproxy.wire.lazy_stanzas import LazyStanzas
from minimixproxy.wire.stanza import Stanza, UnusableStanza
from tests.clientproxy import scene
from tests.minimix import fakes

SIZE = 250_000  # bytes
TIMES = 3
WORTH_IT = 0.005  # seconds: what takes less is measured once
GOAL = 20.0  # milliseconds
ROOM, STREAM, BARE = fakes.ROOM, fakes.STREAM, fakes.BARE
DEVICES = ("phone", "laptop", "tablet")


@dataclass(frozen=True)
class Held:
    """A kind of stanza, from whom it came, how large it was, and milliseconds."""

    source: str
    kind: str
    size: int
    milliseconds: float


def filled(part: str, size: int = SIZE, most: int = 10**9) -> str:
    """So many parts, `most` at most, that they are about `size` bytes; `{0}` in one is its number."""
    parts: list[str] = []
    length = 0
    while length < size and len(parts) < most:
        parts.append(part.replace("{0}", str(len(parts))))
        length += len(parts[-1].encode())
    return "".join(parts)


def _nested(depth: int) -> str:
    return "<a>" * depth + "</a>" * depth


#: What stands in a stanza. Each is worst for somebody: tags for trees, entities for texts, prefixes for declarations.
CONTENTS: dict[str, str] = {
    "a long text": f"<body>{'x' * SIZE}</body>",
    "a text of entities": f"<body>{filled('&amp;')}</body>",
    "a text of lines": f"<body>{chr(10) * SIZE}</body>",
    "10,000 tags": f"<x xmlns='urn:x'>{filled('<a/>', most=9_900)}</x>",
    "10,000 tags with text": f"<x xmlns='urn:x'>{filled('<a>xxxxx</a>', most=9_900)}</x>",
    "all tags": f"<x xmlns='urn:x'>{filled('<a/>')}</x>",
    "990 payloads with tags": filled(f"<x xmlns='urn:x'>{'<a/>' * 8}</x>", most=990),
    "all payloads": filled("<x xmlns='u'/>"),
    "one long attribute": f"<x xmlns='urn:x' a='{'x' * SIZE}'/>",
    "many attributes": "<x xmlns='urn:x' " + filled("a{0}='' ") + "/>",
    "many namespaces": "<x xmlns='urn:x' " + filled("xmlns:n{0}='u{0}' ") + "/>",
    "tags with namespaces": "<x xmlns='urn:x'>" + filled("<n:a xmlns:n='u{0}'/>", most=9_900) + "</x>",
    "990 levels": f"<x xmlns='urn:x'>{_nested(990)}{'x' * (SIZE - 7000)}</x>",
    "300 levels of many tags": f"<x xmlns='urn:x'>{filled(_nested(300), most=16)}</x>",
}

_FIELD = "<field var='f{0}' type='list-multi'><value>{0}</value><option><value>{0}</value></option></field>"
_FORM = f"<x xmlns='jabber:x:data' type='form'>{filled(_FIELD, most=1500)}</x>"
_STAMPED = "<delay xmlns='urn:xmpp:delay' from='{room}' stamp='2020-01-01T00:00:00Z'/>"


def rooms_say() -> dict[str, str]:
    """What comes on the account stream, besides `CONTENTS` in everything."""
    item = "<item affiliation='member' role='participant' jid='a@b/{0}'/>"
    user = "<x xmlns='http://jabber.org/protocol/muc#user'>"
    found: dict[str, str] = {}
    for name, content in CONTENTS.items():
        groupchat = f"from='{ROOM}/bob' to='{STREAM}' type='groupchat' id='m'"
        found[f"message: {name}"] = f"<message {groupchat}><body>b</body>{content}</message>"
        found[f"private message: {name}"] = f"<message from='{ROOM}/bob' to='{STREAM}' type='chat'>{content}</message>"
        found[f"presence: {name}"] = (
            f"<presence from='{ROOM}/bob' to='{STREAM}'>{content}{user}{item.format(0)}</x></presence>"
        )
        found[f"IQ: {name}"] = f"<iq from='{ROOM}/bob' to='{STREAM}' type='get' id='i'>{content}</iq>"
        found[f"subject: {name}"] = (
            f"<message from='{ROOM}' to='{STREAM}' type='groupchat'><subject>s</subject>{content}</message>"
        )
    items, some_items = filled(item, most=9_000), filled(item, SIZE // 2, 4_500)
    code = "<status code='1{0}'/>"
    statuses, some_statuses = filled(code, most=9_000), filled(code, SIZE // 2, 4_500)
    found["presence: many items"] = f"<presence from='{ROOM}/bob' to='{STREAM}'>{user}{items}</x></presence>"
    found["own presence: many items and codes"] = (
        f"<presence from='{ROOM}/alice' to='{STREAM}'>{user}<status code='110'/>"
        f"{some_items}{some_statuses}</x></presence>"
    )
    found["configuration change: many codes"] = (
        f"<message from='{ROOM}' to='{STREAM}' type='groupchat'>{user}{statuses}</x></message>"
    )
    correction = "<replace xmlns='urn:xmpp:message-correct:0' id='{0}'/>"
    found["correction: many of them"] = (
        f"<message from='{ROOM}/bob' to='{STREAM}' type='groupchat' id='c'><body>b</body>"
        f"{filled(correction, most=990)}</message>"
    )
    stanza_id = f"<stanza-id xmlns='urn:xmpp:sid:0' id='{{0}}' by='{ROOM}'/>"
    found["message: many stanza-ids"] = (
        f"<message from='{ROOM}/bob' to='{STREAM}' type='groupchat' id='c'><body>b</body>"
        f"{filled(stanza_id, most=990)}</message>"
    )
    found["forwarded: a message in a message"] = (
        f"<message from='{ROOM}' to='{STREAM}'><result xmlns='urn:xmpp:mam:2' id='r' queryid='q'>"
        f"<forwarded xmlns='urn:xmpp:forward:0'>{_STAMPED.format(room=ROOM)}"
        f"<message xmlns='jabber:client' from='{ROOM}/bob'>{CONTENTS['10,000 tags']}</message>"
        "</forwarded></result></message>"
    )
    return found


def clients_say() -> dict[str, str]:
    """What an account's own client sends."""
    found: dict[str, str] = {}
    for name, content in CONTENTS.items():
        found[f"message to a room: {name}"] = f"<message to='{ROOM}' type='groupchat' id='m'>{content}</message>"
        found[f"private message: {name}"] = f"<message to='{ROOM}/bob' type='chat' id='m'>{content}</message>"
        found[f"presence: {name}"] = f"<presence>{content}</presence>"
        found[f"presence to a room: {name}"] = f"<presence to='{ROOM}/alice'>{content}</presence>"
        found[f"join: {name}"] = (
            f"<presence to='other@muc.test/alice'><x xmlns='http://jabber.org/protocol/muc'/>{content}</presence>"
        )
        found[f"IQ to a room: {name}"] = f"<iq to='{ROOM}' type='set' id='i'>{content}</iq>"
        found[f"IQ to the server: {name}"] = f"<iq type='set' id='i'>{content}</iq>"
        found[f"message to somebody: {name}"] = f"<message to='bob@a.test'>{content}</message>"
    command = "<command xmlns='http://jabber.org/protocol/commands' node='urn:minimixproxy:rooms'>{0}</command>"
    found["command: a large form"] = f"<iq to='{STREAM}' type='set' id='i'>{command.format(_FORM)}</iq>"
    admin = "<item affiliation='member' jid='a{0}@b'/>"
    found["administration: many items"] = (
        f"<iq to='{ROOM}' type='set' id='i'><query xmlns='http://jabber.org/protocol/muc#admin'>"
        f"{filled(admin, most=9_000)}</query></iq>"
    )
    found["configuration: a large form"] = (
        f"<iq to='{ROOM}' type='set' id='i'><query xmlns='http://jabber.org/protocol/muc#owner'>{_FORM}</query></iq>"
    )
    found["archive query: a large form"] = (
        f"<iq to='{ROOM}' type='set' id='i'><query xmlns='urn:xmpp:mam:2'>{_FORM}</query></iq>"
    )
    bookmark = "<conference jid='r{0}@muc.test' autojoin='1'/>"
    found["bookmarks by private XML"] = (
        f"<iq type='set' id='i'><query xmlns='jabber:iq:private'><storage xmlns='storage:bookmarks'>"
        f"{filled(bookmark)}</storage></query></iq>"
    )
    return found


def servers_say() -> dict[str, str]:
    """What a server sends to a client: answers of 250 KB, and anything that anybody wrote to it."""
    disco = "http://jabber.org/protocol/disco#items"
    found = {
        f"message: {name}": f"<message from='bob@b.test' to='{BARE}/phone'>{content}</message>"
        for name, content in CONTENTS.items()
    }
    item = "<item jid='s{0}.a.test' name='a name'/>"
    for who in ("a.test", BARE):
        found[f"items of {'the server' if who == 'a.test' else 'the account'}"] = (
            f"<iq type='result' id='list' from='{who}' to='{BARE}/phone'><query xmlns='{disco}'>"
            f"{filled(item, most=9_000)}</query></iq>"
        )
    found["news of bookmarks"] = (
        f"<message from='{BARE}' to='{BARE}/phone'><event xmlns='http://jabber.org/protocol/pubsub#event'>"
        "<items node='urn:xmpp:bookmarks:1'>"
        + filled("<item id='r{0}@muc.test'><conference xmlns='urn:xmpp:bookmarks:1'/></item>", most=3000)
        + "</items></event></message>"
    )
    found["a carbon"] = (
        f"<message from='{BARE}' to='{BARE}/phone'><sent xmlns='urn:xmpp:carbons:2'>"
        f"<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' from='{STREAM}' to='{ROOM}/bob' "
        f"type='chat' id='m'>{CONTENTS['10,000 tags']}</message></forwarded></sent></message>"
    )
    return found


class Silent(fakes.FakeSession):
    """A client that reads nothing; what is made for it is made."""

    def deliver(self, data: bytes) -> None:
        pass

    def deliver_all(self, stanzas: LazyStanzas) -> None:
        for _ in stanzas:
            pass


class SilentStream(fakes.FakeStream):
    def send(self, data: bytes) -> None:
        self.jid = STREAM


class Place:
    """An account with three devices in a room, and a client's and the account's streams."""

    def __init__(self) -> None:
        self.world = world = fakes.World()
        world.joined(*DEVICES)
        self.account: Account = world.account
        world.stream.__class__ = SilentStream
        for session in list(self.account.sessions):
            session.__class__ = Silent
        self.phone: Any = next(iter(self.account.sessions))

    def from_stream(self, stanza: Stanza) -> None:
        self.world.stream.brings(stanza)

    def from_client(self, stanza: Stanza) -> None:
        with suppress(UnusableStanza):  # the session passes it on
            self.account.from_client(self.phone, stanza)

    def from_server(self, stanza: Stanza) -> None:
        with suppress(UnusableStanza):
            self.account.from_server(self.phone, stanza)


class Domain:
    """A client_proxy domain with one resource."""

    def __init__(self) -> None:
        proxy = Proxy(scene.settings(), Clock().seconds, lambda _data: None, Random(7))
        proxy.connected()
        self._handlers: dict[str, Any] = {"iq": proxy.iqs, "message": proxy.messages, "presence": proxy.presences}
        self.receive(scene.stanza(f"<presence from='{scene.TARGET}/a' to='{scene.DOMAIN}'/>"))

    def receive(self, stanza: Stanza) -> None:
        with suppress(UnusableStanza):
            if stanza.readable or stanza.name != "iq":
                self._handlers[stanza.name].receive(stanza)


def strangers_say() -> dict[str, str]:
    """What anybody sends to a domain."""
    found: dict[str, str] = {}
    addresses = f"from='{scene.ALICE}' to='{scene.DOMAIN}'"
    for name, content in CONTENTS.items():
        found[f"IQ: {name}"] = f"<iq type='set' id='i' {addresses}>{content}</iq>"
        found[f"message: {name}"] = f"<message {addresses}>{content}</message>"
        found[f"presence: {name}"] = f"<presence {addresses}>{content}</presence>"
    return found


def _once(opening: bytes, raw: bytes, take: Callable[[Stanza], None]) -> float:
    """Feed one stanza as a read brings it, and return seconds."""
    framer = FastFramer()
    framer.feed(opening)
    gc.collect()
    begin = time.process_time()
    for event in framer.feed(raw):
        if isinstance(event, Stanza):
            take(event)
        elif not isinstance(event, Skipped):
            raise RuntimeError(f"{raw[:200]!r}: {event}")
    return time.process_time() - begin


_COMPONENT = fakes.HEADER.replace(b"jabber:client", b"jabber:component:accept")


def _cases() -> Iterator[tuple[str, bytes, dict[str, str], Callable[[], Callable[[Stanza], None]]]]:
    yield "a room", fakes.HEADER, rooms_say(), lambda: Place().from_stream
    yield "an own client", fakes.HEADER, clients_say(), lambda: Place().from_client
    yield "a client's server", fakes.HEADER, servers_say(), lambda: Place().from_server
    yield "a stranger, to client_proxy", _COMPONENT, strangers_say(), lambda: Domain().receive


def measure(words: Sequence[str] = ()) -> list[Held]:
    """Return all kinds, the worst first; with `words`, those that have one of these in their names."""
    found = []
    for source, opening, kinds, place in _cases():
        for kind, text in kinds.items():
            if words and not any(word in f"{source}: {kind}" for word in words):
                continue
            raw = text.encode()
            times = [_once(opening, raw, place())]
            if times[0] > WORTH_IT:
                times += [_once(opening, raw, place()) for _ in range(TIMES - 1)]
            found.append(Held(source, kind, len(raw), statistics.median(times) * 1000))
    return sorted(found, key=lambda held: -held.milliseconds)


if __name__ == "__main__":
    for held in measure(sys.argv[1:]):
        print(f"{held.milliseconds:7.1f} ms  {held.size:7d}  {held.source}: {held.kind}")
