"""The real servers: one Prosody and one ejabberd for a whole test run, started when first needed."""

import itertools
import os
import shutil
import socket
from abc import ABC, abstractmethod
from functools import cache
from pathlib import Path
from typing import ClassVar, NamedTuple

from twisted.internet.threads import deferToThread

from tests.certificates import KeyPair, make_authority, make_certificate
from tests.integration.network import LOCAL, Machine
from tests.integration.ports import free_port
from tests.integration.processes import LoggedProcess, temporary_directory
from tests.patience import patiently

COMPONENT_SECRET = "component secret"
# Labels below a server's domain that a component may connect as.
COMPONENTS = ("proxy", "proxy2", "proxy3", "echo", "push")


class Account(NamedTuple):
    username: str
    domain: str
    password: str

    @property
    def jid(self) -> str:
        return f"{self.username}@{self.domain}"


@cache
def authority() -> KeyPair:
    """The certificate authority that signs every certificate in this run."""
    return make_authority()


@cache
def authority_file() -> Path:
    """Its certificate in PEM, for clients and for `upstream_trust`."""
    path = temporary_directory("authority") / "authority.pem"
    path.parent.chmod(0o755)  # for a proxy run as another user
    path.write_bytes(authority().certificate_pem())
    return path


class Server(ABC):
    """A server, on this machine or another `host`: STARTTLS, direct TLS, groupchat at `conference.`, components."""

    name: ClassVar[str]
    domain: ClassVar[str]
    stream_management: ClassVar[bool] = True  # whether it offers it (XEP-0198)
    more_names: ClassVar[tuple[str, ...]] = ()  # for its certificate
    _serial = itertools.count(1)

    def __init__(self, host: Machine = LOCAL) -> None:
        self.host = host
        self.port = free_port()
        self.direct_tls_port = free_port()
        self.component_port = free_port()
        self.directory = temporary_directory(self.name)
        names = (self.domain, self.muc, *(f"{label}.{self.domain}" for label in COMPONENTS), *self.more_names)
        self.certificate, self.key = make_certificate(authority(), *names).write(self.directory, self.domain)
        self.process = self.start()

    @property
    def address(self) -> str:
        """Where all of its ports are."""
        return self.host.address

    @property
    def muc(self) -> str:
        return f"conference.{self.domain}"

    @classmethod
    @abstractmethod
    def missing(cls) -> str | None:
        """The Debian package to install first, if the program is not there."""

    @abstractmethod
    def start(self) -> LoggedProcess:
        """Start the program and wait until it listens."""

    @abstractmethod
    async def register(self, username: str, password: str) -> None:
        """Make an account."""

    @abstractmethod
    async def set_password(self, account: "Account", password: str) -> "Account":
        """Change the password of an account, as its administrator does; returns the account with it."""

    @abstractmethod
    async def remove(self, account: "Account") -> None:
        """Delete an account, as the server's operator does."""

    async def account(self, name: str, password: str = "pass word") -> Account:
        """A fresh account whose name begins with `name`, so that no test sees what another left behind."""
        account = Account(self._unique(name), self.domain, password)
        await self.register(account.username, password)
        return account

    async def restart(self, *, kill: bool = False) -> None:
        """End the program, by force or by SIGTERM, and start it again: the same ports, the same state."""
        process = self.process
        await deferToThread(process.kill if kill else process.stop)
        self.process = await deferToThread(self.start)

    async def sync(self) -> None:  # noqa: B027
        """What the server will still know after a kill -9 is all that it knows now."""

    @abstractmethod
    async def evaluate(self, code: str) -> str:
        """Run code in the server, in its own language; returns what it printed or answered. An expert's tool."""

    async def restart_rooms(self) -> None:
        """Restart the room service alone."""
        await self.stop_rooms()
        await self.start_rooms()

    @abstractmethod
    async def stop_rooms(self) -> None:
        """Stop the room service; what is sent to it gets errors."""

    @abstractmethod
    async def start_rooms(self) -> None:
        """Start it again."""

    @abstractmethod
    async def lose_rooms(self, *rooms: str) -> None:
        """Forget these rooms and who is in them, and tell nobody. What is kept of persistent rooms stays."""

    def room(self, name: str = "room") -> str:
        """A bare JID of a room that no other test uses."""
        return f"{self._unique(name)}@{self.muc}"

    def _unique(self, name: str) -> str:
        """`name` and a number: "room2" and 91 must not be what "room" and 291 are. No sign: Prosody escapes it."""
        return f"{name}{'x' if name[-1:].isdigit() else ''}{next(self._serial)}"


_servers: dict[type[Server], Server] = {}


def running(kind: type[Server]) -> Server:
    """The server of this kind; blocks while it starts. Raises ProcessFailed."""
    if kind not in _servers:
        _servers[kind] = kind()
    return _servers[kind]


_breakable: dict[type[Server], Server] = {}


def breakable(kind: type[Server]) -> Server:
    """Another of this kind, shared by tests that stop, kill or pause it; it runs again. Blocks. May raise as above."""
    if kind not in _breakable:
        _breakable[kind] = kind()
    server = _breakable[kind]
    if server.process.process.poll() is None:
        server.process.resume()
    else:
        server.process = server.start()
    return server


def fresh(kind: type[Server]) -> Server:
    """A server for a test alone: call `.process.stop()` when done."""
    return kind()


def fill(template: str, **values: object) -> str:
    """Replace @name@ by the value: both configuration languages use braces and percent signs."""
    for name, value in values.items():
        template = template.replace(f"@{name}@", str(value))
    return template


def converse(address: str, port: int, line: str, *, end: bytes = b"", greeted: bool = False) -> str:
    """Send a line to a console and return its answer: until `end`, or until it hangs up. Blocks.

    `greeted`: it says something that ends so before it is asked.
    """
    with socket.create_connection((address, port), patiently(20.0)) as console:
        if greeted:
            _read_until(console, end)
        console.sendall(line.encode() + b"\n")
        return _read_until(console, end)


def _read_until(console: socket.socket, end: bytes) -> str:
    text = b""
    while not end or not text.endswith(end):
        more = console.recv(65536)
        if not more:
            break
        text += more
    return text.removesuffix(end).decode("utf-8", "replace")


def beside(name: str) -> str:
    """The text of a file in this directory."""
    return Path(__file__).with_name(name).read_text("utf-8")


def in_path(program: str) -> str | None:
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
