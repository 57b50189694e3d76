"""A server with one room that costs next to nothing, a process: `python -m bench.cheapserver CERTIFICATE KEY`.

It logs anybody in, takes everybody into any room, and passes what is said there on to all: so what is before it is
measured, and not how fast a server is. On stdout: the port (STARTTLS).
"""

import base64
import re
import selectors
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from queue import SimpleQueue
from xml.parsers import expat

from bench.echo import header, until

DOMAIN = "cheap.test"
ROOM = f"room@conference.{DOMAIN}"
TIMEOUT = 60.0  # seconds for each step of a login
CHUNK = 262144
_PLAIN = b"<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms>"
_TO_ROOM = f" to='{ROOM}'".encode()
_END = b"</message>"
_USER = "<x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='none' role='participant'/>{}</x>"
_SELF = _USER.format("<status code='110'/>")
_INFO = "http://jabber.org/protocol/disco#info"
_FOUND = (
    f"<query xmlns='{_INFO}'><identity category='conference' type='text'/>"
    "<feature var='http://jabber.org/protocol/muc'/></query>"
)
_NO = "<error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"


def log_in(connection: socket.socket, context: ssl.SSLContext) -> tuple[ssl.SSLSocket, str]:
    """Return the secured connection and the full address that it has bound. Blocks."""
    starttls = b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
    header(connection, DOMAIN, starttls)
    until(connection, rb"<starttls[^>]*>")
    connection.sendall(b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
    secured = context.wrap_socket(connection, server_side=True)
    header(secured, DOMAIN, _PLAIN)
    said = until(secured, rb"<auth[^>]*>[^<]+</auth>")
    name = base64.b64decode(re.findall(rb">([^<]+)</auth>", said)[-1]).split(b"\0")[1].decode()
    secured.sendall(b"<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
    header(secured, DOMAIN, b"<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>")
    asked = until(secured, rb"</iq>").decode()
    resource = re.search("<resource>([^<]*)</resource>", asked)
    jid = f"{name}@{DOMAIN}/{resource.group(1) if resource else f'r{connection.fileno()}'}"
    identity = re.search(r" id=['\"]([^'\"]*)", asked)
    bound = f"<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>{jid}</jid></bind>"
    secured.sendall(f"<iq type='result' id='{identity.group(1) if identity else ''}'>{bound}</iq>".encode())
    return secured, jid


class Client:
    """One that is logged in."""

    def __init__(self, server: "Server", connection: ssl.SSLSocket, jid: str) -> None:
        self.jid = jid
        self.connection = connection
        self.nick = ""
        self.says = b""  # the begin of a message to the room
        self._server = server
        self._outgoing = bytearray()
        self._depth, self._name, self._attributes = 0, "", dict[str, str]()
        self._children: set[str] = set()
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.StartElementHandler = self._begins
        self._parser.EndElementHandler = self._ends
        self._parser.Parse(b"<stream>")
        connection.setblocking(False)

    # What goes out ---------------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Never waits."""
        idle = not self._outgoing
        self._outgoing += data
        if idle:
            self.writable()

    def writable(self) -> None:
        try:
            while self._outgoing:
                del self._outgoing[: self.connection.send(self._outgoing)]
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            pass
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._outgoing else 0)
        self._server.wants(self, wanted)

    # What comes in ---------------------------------------------------------------------------------------------

    def readable(self) -> bool:
        """Take what has come; return whether it is still there."""
        try:
            return all(map(self._take, self._chunks()))
        except expat.ExpatError:  # it ends its stream
            return False

    def _take(self, data: bytes) -> bool:
        if self.says or data.startswith(b"<message type='groupchat'"):
            whole, end, self.says = (self.says + data).rpartition(_END)
            self._server.say(self, whole + end)
        elif data:
            self._parser.Parse(data)
        return bool(data)

    def _chunks(self) -> Iterator[bytes]:
        try:
            while True:
                yield self.connection.recv(CHUNK)
        except ssl.SSLWantReadError:
            return
        except OSError:
            yield b""

    def _begins(self, name: str, attributes: dict[str, str]) -> None:
        if self._depth == 1:
            self._name, self._attributes, self._children = name.rpartition(" ")[2], attributes, set()
        elif self._depth == 2:
            self._children.add(name)
        self._depth += 1

    def _ends(self, _name: str) -> None:
        self._depth -= 1
        if self._depth == 1:
            self._receive()

    def _receive(self) -> None:
        kind, to = self._attributes.get("type", ""), self._attributes.get("to", "")
        if self._name == "presence" and to:
            self._presence(to, kind)
        elif self._name == "presence":
            self.send(f"<presence from='{self.jid}' to='{self.jid}'/>".encode())
        elif self._name == "iq" and kind in ("get", "set"):
            self._answer(to)

    def _presence(self, to: str, kind: str) -> None:
        address, _, nick = to.partition("/")
        if kind == "unavailable":
            self._server.members.pop(self, None)
        elif not kind:
            self.nick = nick or self.nick
            self._server.members[self] = None
            subject = f"<message type='groupchat' from='{address}' to='{self.jid}'><subject/></message>"
            self.send(f"<presence from='{address}/{self.nick}' to='{self.jid}'>{_SELF}</presence>{subject}".encode())

    def _answer(self, to: str) -> None:
        identity = self._attributes.get("id", "")
        about_room = f"{_INFO} query" in self._children and to.partition("/")[0] == ROOM
        fine = about_room or bool({"urn:xmpp:ping ping", "jabber:iq:roster query"} & self._children)
        kind, content = ("result", _FOUND if about_room else "") if fine else ("error", _NO)
        sender = f" from='{to}'" if to else ""
        self.send(f"<iq type='{kind}'{sender} to='{self.jid}' id='{identity}'>{content}</iq>".encode())


class Server:
    """All clients; logins have threads, all else is in one."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.members: dict[Client, None] = {}  # of the room
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1000)
        self._poll = selectors.EpollSelector()
        self._new: SimpleQueue[Client] = SimpleQueue()
        self._wake, self._woken = socket.socketpair()
        self._poll.register(self._woken, selectors.EVENT_READ)

    def run(self) -> None:
        print("port", self._listener.getsockname()[1], flush=True)
        threading.Thread(target=self._accept, daemon=True).start()
        while True:
            for key, events in self._poll.select():
                if key.data is None:
                    self._welcome()
                else:
                    self._serve(key.data, events)

    def wants(self, client: Client, events: int) -> None:
        """Wait for these events of a client."""
        if self._poll.get_key(client.connection).events != events:
            self._poll.modify(client.connection, events, client)

    def say(self, speaker: Client, data: bytes) -> None:
        """Pass whole messages on to everybody in the room."""
        if not data:
            return
        said = data.split(_TO_ROOM)
        for member in self.members:
            member.send(f" from='{ROOM}/{speaker.nick}' to='{member.jid}'".encode().join(said))

    def _serve(self, client: Client, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            client.writable()
        if events & selectors.EVENT_READ and not client.readable():
            self._poll.unregister(client.connection)
            self.members.pop(client, None)
            client.connection.close()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            connection.settimeout(TIMEOUT)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._attempt, args=(connection,), daemon=True).start()

    def _attempt(self, connection: socket.socket) -> None:
        try:
            self._new.put(Client(self, *log_in(connection, self._context)))
            self._wake.send(b"!")
        except (OSError, ConnectionError) as error:
            print(f"connection ended: {error}", flush=True)

    def _welcome(self) -> None:
        for _ in self._woken.recv(4096):
            client = self._new.get()
            self._poll.register(client.connection, selectors.EVENT_READ, client)
            self._serve(client, selectors.EVENT_READ)  # what TLS has read already is not reported


def main(certificate: str, key: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificate, key)
    Server(context).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
