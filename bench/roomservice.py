"""Rooms of any size, a component (XEP-0114) of the server: `python -m bench.roomservice PORT DOMAIN SECRET`.

A room `r1000-a@DOMAIN` has 1,000 occupants, whoever joins. Lines on standard input: `netsplit ROOM NUMBER`, so many
occupants leave and come back; `say ROOM NUMBER`, so many messages to everybody who has joined; `count NUMBER`, answered
when accounts have joined so many rooms since the last `forget`, which empties them, or `anew`, which does not. Each is
answered by a line that begins with its first word. Who joins and asks since when is told what was said.
"""

import re
import selectors
import socket
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from hashlib import sha1
from xml.parsers import expat

from bench.generator import BODY, EXTRAS

_SHOWN = (
    "<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='https://client.test'"
    " ver='QgayPKawpkPSDYmwT/WM94uAlu0='/><x xmlns='vcard-temp:x:update'><photo>{number:040x}</photo></x>"
)
_ITEM = "<item affiliation='member' role='{role}' jid='user{number}@elsewhere.test/client'/>"
_USER = "<x xmlns='http://jabber.org/protocol/muc#user'>{item}{more}</x>"
HISTORY = 500  # messages of a room
WRITE = 262144  # bytes at a time
_SELF = "<status code='110'/>"
_OF_OCCUPANTS = re.compile("^r([0-9]+)")
_INFO = "http://jabber.org/protocol/disco#info"


def occupant(room: str, number: int, *, there: bool = True) -> str:
    """Return the presence of an occupant, `@to@` being whom it is sent to."""
    kind, role = ("", "participant") if there else (" type='unavailable'", "none")
    shown = _SHOWN.format(number=number) if there else ""
    user = _USER.format(item=_ITEM.format(role=role, number=number), more="")
    return f"<presence{kind} from='{room}/occupant{number}' to='@to@'>{shown}{user}</presence>"


def itself(room: str, nick: str, kind: str = "") -> str:
    """Return the presence of who has joined, or leaves."""
    item = f"<item affiliation='none' role='{'none' if kind else 'participant'}'/>"
    return f"<presence{kind} from='{room}/{nick}' to='@to@'>{_USER.format(item=item, more=_SELF)}</presence>"


class Room:
    """Its occupants, and who has joined."""

    def __init__(self, address: str) -> None:
        found = _OF_OCCUPANTS.match(address)
        self.address = address
        self.size = int(found[1]) if found else 0
        self.members: dict[str, str] = {}  # nick by full JID
        self._said: deque[tuple[str, str]] = deque(maxlen=HISTORY)  # when, and what
        self._view = "".join(occupant(address, number) for number in range(self.size))

    def joined(self, member: str, nick: str, since: str = "") -> str:
        """`since`: a timestamp, of which seconds count."""
        self.members[member] = nick
        told = "".join(text for when, text in self._said if since and when >= since[: len(when)])
        subject = f"<message type='groupchat' from='{self.address}' to='@to@'><subject/></message>"
        return (self._view + itself(self.address, nick) + told + subject).replace("@to@", member)

    def left(self, member: str) -> str:
        nick = self.members.pop(member, "")
        return itself(self.address, nick, " type='unavailable'").replace("@to@", member) if nick else ""

    def say(self, text: str) -> str:
        """A message, whole but for its end."""
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
        delay = f"<delay xmlns='urn:xmpp:delay' from='{self.address}' stamp='{when}Z'/>"
        self._said.append((when, f"{text}{delay}</message>"))
        return self.to_all(f"{text}</message>")

    def to_all(self, text: str) -> str:
        return "".join(text.replace("@to@", member) for member in self.members)


@dataclass
class Received:
    """One stanza: its name, attributes, what is directly in it, namespace and name; and since when it asks."""

    name: str
    attributes: dict[str, str]
    children: set[str] = field(default_factory=set)
    since: str = ""


class Service:
    """The component."""

    def __init__(self, port: int, domain: str, secret: str) -> None:
        self._domain, self._secret = domain, secret
        self._rooms: dict[str, Room] = {}
        self._joined: set[tuple[str, str]] = set()  # account and room: who asks twice counts once
        self._wanted = 0
        self._outgoing = bytearray()  # what the server does not take yet
        self._poll = selectors.DefaultSelector()
        self._serial = 0
        self._depth, self._stanza = 0, Received("", {})
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.StartElementHandler = self._begins
        self._parser.EndElementHandler = self._ends
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def run(self) -> None:
        self._socket.setblocking(False)
        self._poll.register(self._socket, selectors.EVENT_READ)
        self._poll.register(sys.stdin, selectors.EVENT_READ, "orders")
        self._send(
            "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams'"
            f" to='{self._domain}'>"
        )
        while True:
            for key, events in self._poll.select():
                if key.data == "orders":
                    self._obey(sys.stdin.readline().split())
                    continue
                if events & selectors.EVENT_WRITE:
                    self._write()
                if events & selectors.EVENT_READ:
                    self._read()

    def _read(self) -> None:
        data = self._socket.recv(262144)
        if not data:
            raise SystemExit("the server is gone")
        self._parser.Parse(data)

    def _send(self, text: str) -> None:
        """Never waits: a server that waits for this end to read would wait for ever."""
        if not self._outgoing:
            self._poll.modify(self._socket, selectors.EVENT_READ | selectors.EVENT_WRITE)
        self._outgoing += text.encode()

    def _write(self) -> None:
        sent = self._socket.send(memoryview(self._outgoing)[:WRITE])
        del self._outgoing[:sent]
        if not self._outgoing:
            self._poll.modify(self._socket, selectors.EVENT_READ)

    # What comes -------------------------------------------------------------------------------------------------

    def _begins(self, name: str, attributes: dict[str, str]) -> None:
        if self._depth == 0:
            proof = sha1((attributes["id"] + self._secret).encode()).hexdigest()
            self._send(f"<handshake>{proof}</handshake>")
        elif self._depth == 1:
            self._stanza = Received(name.rpartition(" ")[2], attributes)
        elif self._depth == 2:
            self._stanza.children.add(name)
        elif name == "http://jabber.org/protocol/muc history":
            self._stanza.since = attributes.get("since", "")
        self._depth += 1

    def _ends(self, _name: str) -> None:
        self._depth -= 1
        if self._depth == 1:
            self._receive(self._stanza)

    def _receive(self, stanza: Received) -> None:
        if stanza.name == "handshake":
            print("ready", flush=True)
        elif stanza.name == "presence":
            self._presence(stanza)
        elif stanza.name == "iq" and stanza.attributes.get("type") in ("get", "set"):
            self._iq(stanza)

    def _presence(self, stanza: Received) -> None:
        address, _, nick = stanza.attributes["to"].partition("/")
        member, room = stanza.attributes["from"], self._room(address)
        if stanza.attributes.get("type") == "unavailable":
            self._send(room.left(member))
        elif "http://jabber.org/protocol/muc x" in stanza.children:
            self._send(room.joined(member, nick, stanza.since))
            self._joined.add((member.partition("/")[0], address))
            self._told()

    def _iq(self, stanza: Received) -> None:
        """Answer who asks whether it is still in the room, and what a room is."""
        sender, address, identity = (stanza.attributes.get(name, "") for name in ("from", "to", "id"))
        room = self._room(address.partition("/")[0])
        answer, kind = "", "result"
        if f"{_INFO} query" in stanza.children:
            feature = "<feature var='http://jabber.org/protocol/muc'/>"
            answer = f"<query xmlns='{_INFO}'><identity category='conference' type='text'/>{feature}</query>"
        elif "urn:xmpp:ping ping" not in stanza.children or sender not in room.members:
            kind = "error"
            answer = "<error type='cancel'><not-acceptable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
        self._send(f"<iq type='{kind}' from='{address}' to='{sender}' id='{identity}'>{answer}</iq>")

    def _room(self, address: str) -> Room:
        if address not in self._rooms:
            self._rooms[address] = Room(address)
        return self._rooms[address]

    # What is to be done -----------------------------------------------------------------------------------------

    def _obey(self, words: list[str]) -> None:
        match words:
            case ["netsplit", address, number]:
                self._netsplit(self._room(address), int(number))
            case ["say", address, number]:
                self._say(self._room(address), int(number))
            case ["forget"]:
                self._joined.clear()
                for room in self._rooms.values():
                    room.members.clear()
            case ["anew"]:
                self._joined.clear()
            case ["count", number]:
                self._wanted = int(number)
                self._told()
                return
            case []:
                raise SystemExit
        print(words[0], time.monotonic(), flush=True)

    def _told(self) -> None:
        if self._wanted and len(self._joined) >= self._wanted:
            self._wanted = 0
            print("count", time.monotonic(), flush=True)

    def _netsplit(self, room: Room, number: int) -> None:
        """Occupants leave, then they come back: to each member in this order."""
        for there in (False, True):
            self._send(room.to_all("".join(occupant(room.address, n, there=there) for n in range(number))))

    def _say(self, room: Room, number: int) -> None:
        for _ in range(number):
            self._serial += 1
            serial = f"{self._serial:08}"
            text = f"<body>{serial} {BODY}</body>{EXTRAS}".replace("@serial@", serial)
            stanza_id = f"<stanza-id xmlns='urn:xmpp:sid:0' by='{room.address}' id='{serial}'/>"
            sender = f"from='{room.address}/occupant0' id='{serial}'"
            self._send(room.say(f"<message type='groupchat' {sender} to='@to@'>{text}{stanza_id}"))


def main(port: str, domain: str, secret: str) -> None:
    Service(int(port), domain, secret).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
