"""A server that logs anybody in and sends back what it receives: `python -m bench.echo CERTIFICATE KEY`.

Behind a relay it costs little and waits for nothing. On stdout: the ports, one for each of `KINDS`.
"""

import re
import socket
import ssl
import sys
import threading

DOMAIN = "echo.test"
KINDS = ("none", "starttls", "direct")
_HEADER = (
    "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
    " id='echo' from='{}' version='1.0'>"
)
_STARTTLS = b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
_PROCEED = b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
_PLAIN = b"<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms>"
_SUCCESS = b"<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"
_BIND = b"<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"


def _features(*features: bytes) -> bytes:
    return b"<stream:features>%b</stream:features>" % b"".join(features)


def until(connection: socket.socket, pattern: bytes) -> bytes:
    """Read until a pattern is found. Blocks."""
    received = b""
    while re.search(pattern, received, re.DOTALL) is None:
        chunk = connection.recv(65536)
        if not chunk:
            raise ConnectionError(f"closed after {received!r}")
        received += chunk
    return received


def header(connection: socket.socket, domain: str, *features: bytes) -> None:
    """Answer the header of a stream. Blocks."""
    until(connection, rb"<stream:stream[^>]*>")
    connection.sendall(_HEADER.format(domain).encode() + _features(*features))


def serve(connection: socket.socket, context: ssl.SSLContext, kind: str) -> None:
    """Log one client in, then echo until it goes."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if kind == "starttls":
        header(connection, DOMAIN, _STARTTLS)
        until(connection, rb"<starttls[^>]*>")
        connection.sendall(_PROCEED)
    if kind != "none":
        connection = context.wrap_socket(connection, server_side=True)
    header(connection, DOMAIN, _PLAIN)
    until(connection, rb"</auth>")
    connection.sendall(_SUCCESS)
    header(connection, DOMAIN, _BIND)
    bind = until(connection, rb"</iq>")
    identity = re.search(rb" id=['\"]([^'\"]*)", bind)
    jid = b"<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>bench@%b/bench</jid></bind>" % DOMAIN.encode()
    connection.sendall(b"<iq type='result' id='%b'>%b</iq>" % (identity.group(1) if identity else b"", jid))
    while data := connection.recv(262144):
        connection.sendall(data)


def _attempt(connection: socket.socket, context: ssl.SSLContext, kind: str) -> None:
    try:
        serve(connection, context, kind)
    except OSError as error:  # a peer that went away, HAProxy's probe among them
        print(f"connection ended: {error}", flush=True)
    finally:
        connection.close()


def _accept(listener: socket.socket, context: ssl.SSLContext, kind: str) -> None:
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_attempt, args=(connection, context, kind), daemon=True).start()


def main() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(sys.argv[1], sys.argv[2])
    context.set_alpn_protocols(["xmpp-client"])
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in KINDS]
    for listener, kind in zip(listeners, KINDS, strict=True):
        threading.Thread(target=_accept, args=(listener, context, kind), daemon=True).start()
    print("ports", *(listener.getsockname()[1] for listener in listeners), flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
