"""The server's end of an account stream of the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.words.protocols.jabber.xmlstream import Authenticator

from minimixproxy.wire.framing import FramingLimits
from minimixproxy.wire.xmlstream import FramedXmlStream
from tests.minimix.machine.witness import HEADER, StrictReader

if TYPE_CHECKING:
    from tests.minimix.machine.world import World

RESOURCE = "minimix.0123"
FROM_SERVER = 256 * 1024  # bytes of a stanza that a server may send


class Upstream(StringTransport):
    """The server's end of one account stream."""

    def __init__(self, world: World, bare: str) -> None:
        super().__init__()
        self.world = world
        self.bare = bare
        self.jid = f"{bare}/{RESOURCE}"
        self.reader = StrictReader()
        self.over = False
        self.closing = False
        self.ended = False  # by our own end of the stream
        self.xmlstream = FramedXmlStream(Authenticator(), FramingLimits(FROM_SERVER, 100_000, skips=True))
        self.xmlstream.makeConnection(self)
        self.xmlstream.dataReceived(HEADER)
        self.begun = True

    begun = False

    def write(self, data: bytes) -> None:
        if not self.begun or self.over or self.ended:
            return
        if data == b"</stream:stream>":
            self.ended = True
            return
        self.world.goes_out(self, data)

    def says(self, data: bytes) -> None:
        if not self.over and not self.closing:
            self.world.witness.told(self.bare, data.decode("utf-8", "replace"))
            self.xmlstream.dataReceived(data)

    def loseConnection(self) -> None:
        if not self.closing:
            self.closing = True
            self.world.clock.callLater(0, self.lose)

    def abortConnection(self) -> None:
        self.loseConnection()

    def lose(self) -> None:
        """The connection is gone."""
        if not self.over:
            self.over = True
            self.world.gone_from_rooms(self.jid, self)
            self.world.open_from_rooms = {
                key: count for key, count in self.world.open_from_rooms.items() if key[0] != self.bare
            }
            self.xmlstream.connectionLost(Failure(ConnectionDone()))
