"""What a negotiation needs of a cluster: who holds an account, and the way of a client to that process.

`cluster` has both. In a single process there is neither.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from minimixproxy.c2s.transport.client_stream import ClientStream
from minimixproxy.c2s.transport.peers import Peer
from minimixproxy.sasl.channel_binding import Bindings
from minimixproxy.sasl.downgrade import Offered
from minimixproxy.wire.events import Event


class Elsewhere(NamedTuple):
    """Another process that holds an account.

    `number`: of its incarnation; `epoch`: of its hold on the account; `address`: of its internal endpoint; `name`: for
    the log.
    """

    number: int
    epoch: int
    address: str
    name: str


class HolderUnknown(Exception):
    """Who holds an account cannot be found out now. `str()` says why, for the operator."""


class NotHandedOver(Exception):
    """The process that holds an account is not reached, or does not take the client. `str()` says why."""


class Finder(Protocol):
    """Knows which process holds an account. Both raise `HolderUnknown`."""

    async def find(self, bare: str) -> Elsewhere | None:
        """Return who holds it, None if the client is to go on here. Nothing is taken for an account nobody knows."""

    async def claim(self, bare: str) -> Elsewhere | None:
        """After a good login: hold the account here from now on, and return None; or return who does."""


class Introduction(NamedTuple):
    """A client, as the process that holds its account is to know it.

    `header`: of the client's stream, as it came. If it has logged in already as far as to name its account: `offered`
    and `tokens`, which mechanisms it was offered; `opening`, the element by which it begins; `response`, what it
    answered to an empty challenge, if it was sent one here. Else they are None or empty.
    """

    peer: Peer
    account: str
    header: bytes
    bindings: Bindings
    websocket: bool = False
    offered: Offered | None = None
    tokens: tuple[str, ...] = ()
    opening: bytes = b""
    response: bytes = b""

    def __repr__(self) -> str:
        return f"<Introduction {self.account} at {self.peer}>"  # without what it says to log in


class Pipe(Protocol):
    """The way to a process that has taken a client."""

    def start(self, stream: ClientStream, early: list[Event], domain: str) -> None:
        """Take the client: pass on what it has sent ahead, and from now on everything both ways."""


class Pipes(Protocol):
    """Makes ways to other processes."""

    async def pipe(self, elsewhere: Elsewhere, client: Introduction) -> Pipe:
        """Introduce a client, and return when it is taken. Raises `NotHandedOver`."""


class Cluster(NamedTuple):
    """What a process has of the others. `decoys`: what all make the same challenges of (`exchanges.decoys`)."""

    finder: Finder
    pipes: Pipes
    decoys: Callable[[], bytes] | None = None


class Handed(NamedTuple):
    """What a client has been offered by the process that hands it to another one.

    `offered`: None if it has seen no features yet. `tokens`: mechanisms by which it may use a token.
    """

    offered: Offered | None = None
    tokens: tuple[str, ...] = ()
