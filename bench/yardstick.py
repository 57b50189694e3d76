"""The least that forking can cost in Python, a process of its own: `python -m bench.yardstick CERTIFICATE KEY`.

A bare loop: epoll, and pyOpenSSL directly on sockets that do not block. What the first connection says is sent to all
others, encrypted for each, without a look at it. Nothing is parsed, kept, counted or limited. On stdout: the port.
"""

import select
import socket
import sys
from collections import deque

from OpenSSL import SSL

CHUNK = 65536
_GONE = (SSL.ZeroReturnError, SSL.SysCallError)


def server_context(certificate: str, key: str) -> SSL.Context:
    """Return TLS 1.3 for a server, as the proxy has it."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.use_certificate_chain_file(certificate)
    context.use_privatekey_file(key)
    context.set_alpn_select_callback(lambda _connection, _offered: b"xmpp-client")
    return context


class Receiver:
    """Who gets a copy of everything; what its socket does not take waits here."""

    def __init__(self, poll: select.epoll, connection: SSL.Connection) -> None:
        self.connection = connection
        self._poll = poll
        self._waiting: deque[bytes] = deque()

    def send(self, data: bytes) -> None:
        if self._waiting:
            self._waiting.append(data)
        elif rest := self._sent(data):
            self._waiting.append(rest)
            self._poll.modify(self.connection.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def writable(self) -> None:
        """Send what has waited."""
        while self._waiting:
            rest = self._sent(self._waiting[0])
            if rest:
                self._waiting[0] = rest
                return
            self._waiting.popleft()
        self._poll.modify(self.connection.fileno(), select.EPOLLIN)

    def _sent(self, data: bytes) -> bytes:
        """Send, and return what the socket did not take."""
        while data:
            try:
                data = data[self.connection.send(data) :]
            except SSL.WantWriteError:
                break
        return data


class Loop:
    """One sender, any number of receivers."""

    def __init__(self, listener: socket.socket, context: SSL.Context) -> None:
        self._listener = listener
        self._context = context
        self._poll = select.epoll()
        self._poll.register(listener.fileno(), select.EPOLLIN)
        self._sender: SSL.Connection | None = None
        self._receivers: dict[int, Receiver] = {}

    def run(self) -> None:
        while True:
            for number, events in self._poll.poll():
                self._handle(number, events)

    def _handle(self, number: int, events: int) -> None:
        if number == self._listener.fileno():
            self._accept()
        elif number in self._receivers:
            self._receiver(number, events)
        else:
            self._fork()

    def _fork(self) -> None:
        """The loop itself: read once, send to everybody, until nothing is left to read."""
        assert self._sender is not None
        while True:
            try:
                data = self._sender.recv(CHUNK)
            except SSL.WantReadError:
                return
            except _GONE:
                raise SystemExit("the sender is gone") from None
            for receiver in self._receivers.values():
                receiver.send(data)

    def _receiver(self, number: int, events: int) -> None:
        receiver = self._receivers[number]
        try:
            if events & select.EPOLLOUT:
                receiver.writable()
            if events & ~select.EPOLLOUT:
                receiver.connection.recv(CHUNK)  # it says nothing that is wanted
        except (SSL.WantReadError, SSL.WantWriteError):
            pass
        except _GONE:
            self._poll.unregister(number)
            del self._receivers[number]

    def _accept(self) -> None:
        """Take one in. Its handshake holds the loop: nothing is measured yet."""
        plain, _ = self._listener.accept()
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = SSL.Connection(self._context, plain)
        connection.set_accept_state()
        connection.do_handshake()
        connection.setblocking(False)
        self._poll.register(connection.fileno(), select.EPOLLIN)
        if self._sender is None:
            self._sender = connection
        else:
            self._receivers[connection.fileno()] = Receiver(self._poll, connection)


def main(certificate: str, key: str) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    print("port", listener.getsockname()[1], flush=True)
    Loop(listener, server_context(certificate, key)).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
