"""The end of a session's stream to its server, after the client's."""

from __future__ import annotations

from collections.abc import Callable

from twisted.words.xish.xmlstream import STREAM_END_EVENT

from minimixproxy.c2s.session.request_watch import Learned, RequestWatch
from minimixproxy.c2s.transport.client_stream import CLOSE_TIMEOUT
from minimixproxy.timing.clock import Clock, Timer
from minimixproxy.wire.events import Event
from minimixproxy.wire.stanza import Stanza, UnusableStanza
from minimixproxy.wire.xmlstream import FramedXmlStream


class Closing:
    """Closes a stream in order, and gives the server some time to agree.

    If the client has asked for something that holds for the account as a whole, the server is let answer first:
    ejabberd does it, and answers nobody if the stream is closed behind the request.
    """

    __slots__ = ("_goodbye", "_learned", "_timer", "_upstream", "_waiting", "_watch")

    def __init__(
        self,
        upstream: FramedXmlStream,
        goodbye: bytes,
        watch: RequestWatch,
        learned: Callable[[Learned], object],
        clock: Clock,
    ) -> None:
        """`goodbye`: what is still to be sent. `learned`: called with what follows from the last answers."""
        self._upstream = upstream
        self._goodbye = goodbye
        self._watch = watch
        self._learned = learned
        self._timer = Timer(clock)
        upstream.hand_to(self._heard)
        upstream.addObserver(STREAM_END_EVENT, lambda _reason: self._timer.stop())
        self._waiting = watch.lasting
        if self._waiting:
            self._timer.start(CLOSE_TIMEOUT, self._say)
        else:
            self._say()

    def _heard(self, events: list[Event]) -> None:
        """What a server still says after the goodbye is of no interest but for the answers that are watched."""
        for event in events:
            if isinstance(event, Stanza):
                self._look(event)
        if self._waiting and not self._watch.lasting:
            self._say()

    def _look(self, stanza: Stanza) -> None:
        try:
            answer = self._watch.heard(stanza)
        except UnusableStanza:  # then it is none of the answers
            return
        if answer is not None:
            self._learned(answer)

    def _say(self) -> None:
        transport = self._upstream.transport
        self._waiting = False
        if self._goodbye:
            transport.write(self._goodbye)
        self._timer.start(CLOSE_TIMEOUT, transport.abortConnection)
        transport.loseConnection()
