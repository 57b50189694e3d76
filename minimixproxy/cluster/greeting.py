"""What a holder is told of a client before the pipe is open, and what it has to answer. Pure: bytes in, bytes out.

A client that has named its account in its header has heard nothing yet: all that the holder says is for it. One that
has begun to log in has heard a header and features from here: those of the holder are for nobody.
"""

from __future__ import annotations

from minimixproxy.c2s.server.elsewhere import Introduction, NotHandedOver
from minimixproxy.namespaces import NS_SASL, NS_SASL2, NS_STREAM
from minimixproxy.wire.events import Event, StreamOpened
from minimixproxy.wire.framing import Framer, FramingLimits
from minimixproxy.wire.stanza import Stanza

_LIMITS = FramingLimits(max_stanza=16384, max_depth=10)
_CHALLENGES = ((NS_SASL, "challenge"), (NS_SASL2, "challenge"))


class Greeting:
    """One with a holder. `done`: it has taken the client. `behind`: what it said that is for the client already."""

    def __init__(self, header: bytes, client: Introduction) -> None:
        """`header`: what tells the holder who the client is."""
        self.first = header + client.header
        self.done = False
        self.behind = b""
        self._client = client
        self._framer = Framer(_LIMITS)
        self._expected = [self._opened, self._features, *([self._challenge] if client.response else [])]

    def take(self, data: bytes) -> bytes:
        """Take what the holder says; return what it is to be told. Raises `NotHandedOver`."""
        if not self._client.opening:
            self.done, self.behind = True, data
            return b""
        answer = b""
        for event in self._framer.feed(data):
            if not self._expected:
                raise NotHandedOver("it says more than it was asked")
            answer += self._expected.pop(0)(event)
        self.done = not self._expected
        return answer

    def _opened(self, event: Event) -> bytes:
        if not isinstance(event, StreamOpened):
            raise NotHandedOver("it does not answer with a stream header")
        return b""

    def _features(self, event: Event) -> bytes:
        if not isinstance(event, Stanza) or (event.uri, event.name) != (NS_STREAM, "features"):
            raise NotHandedOver("it does not show stream features")
        return self._client.opening

    def _challenge(self, event: Event) -> bytes:
        """The client has been challenged from here already. What else the holder says, the client is to hear."""
        if not isinstance(event, Stanza):
            raise NotHandedOver("it ends the stream")
        if (event.uri, event.name) in _CHALLENGES:
            return self._client.response
        self.behind = event.raw
        return b""
