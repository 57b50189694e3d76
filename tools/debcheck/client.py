"""A client of the packaged proxy, of the standard library alone: logs in, joins a room, speaks or listens.

client.py RESOURCE say TEXT: says it. client.py RESOURCE hear TEXT: waits until it is shown. Exit status 0 if it was.
"""

import base64
import socket
import ssl
import sys
import time

ROOM = "garden@conference.example.org"
PATIENCE = 60.0


class Client:
    def __init__(self) -> None:
        self.connection: socket.socket = socket.create_connection(("127.0.0.1", 5222), PATIENCE)
        self.read = ""

    def send(self, text: str) -> None:
        self.connection.sendall(text.encode())

    def expect(self, *texts: str) -> None:
        """Wait until all of these were read since the last time."""
        until = time.monotonic() + PATIENCE
        while not all(text in self.read for text in texts):
            if time.monotonic() > until:
                raise SystemExit(f"{texts} did not come, but {self.read}")
            data = self.connection.recv(65536)
            if not data:
                raise SystemExit(f"the connection was closed before {texts} came: {self.read}")
            self.read += data.decode()
        self.read = ""

    def open(self) -> None:
        self.send(
            "<stream:stream to='example.org' version='1.0' xmlns='jabber:client' "
            "xmlns:stream='http://etherx.jabber.org/streams'>"
        )
        self.expect("</stream:features>")

    def log_in(self, resource: str) -> None:
        self.open()
        self.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        self.expect("<proceed")
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.connection = context.wrap_socket(self.connection, server_hostname="example.org")
        self.open()
        said = base64.b64encode(b"\0alice\0secret").decode()
        self.send(f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{said}</auth>")
        self.expect("<success")
        self.open()
        bind = f"<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>{resource}</resource></bind>"
        self.send(f"<iq type='set' id='b'>{bind}</iq>")
        self.expect(f"alice@example.org/{resource}")

    def join(self) -> None:
        self.send(f"<presence/><presence to='{ROOM}/alice'><x xmlns='http://jabber.org/protocol/muc'/></presence>")


def main(resource: str, what: str, text: str) -> None:
    client = Client()
    client.log_in(resource)
    client.join()
    if what == "say":
        client.expect("code='110'", "<subject")
        client.send(f"<message to='{ROOM}' type='groupchat'><body>{text}</body></message>")
    client.expect(f"<body>{text}</body>")
    client.send("</stream:stream>")


if __name__ == "__main__":
    main(*sys.argv[1:])
