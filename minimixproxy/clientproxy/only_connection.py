"""Whether the server has another connection of the same component, and gives that some of what is for us. Pure.

Some servers take several connections of a component, and share out its stanzas (ejabberd does, by chance). When another
process has connected the component before us and hangs, or its machine has died, answers and presences go there and are
lost. So we send ourselves a few messages from time to time. If some of them come and some do not, there is another
connection; when all come again there is none any more, and what is known of others must be asked for anew.
"""

from __future__ import annotations

from collections.abc import Callable

from minimixproxy.logs.logger import Logger
from minimixproxy.wire.stanza import Stanza, escape

EVERY = 3.0  # seconds; what has not come until the time after the next is lost
AT_ONCE = 8  # messages: with two connections, all come to the same one in one of 128 times


class OnlyConnection:
    """`name`: of the component; `token`: of this process, nobody else knows it; `alone_again` is called then."""

    log = Logger()

    def __init__(
        self,
        name: str,
        token: str,
        clock: Callable[[], float],
        send: Callable[[bytes], None],
        alone_again: Callable[[], None],
    ) -> None:
        self._name = name
        self._prefix = f"{token}-"
        self._clock = clock
        self._send = send
        self._alone_again = alone_again
        self._rounds: dict[int, int] = {}  # those under way: number -> how many of its messages came
        self._serial = 0
        self._next = 0.0
        self._shared = False

    @property
    def shared(self) -> bool:
        """Whether another connection gets some of what is for the component, as far as is known."""
        return self._shared

    def connected(self) -> None:
        """A new stream: the first messages go before anything is asked that could be answered elsewhere."""
        self._rounds.clear()
        self._next = self._clock()
        self._shared = False
        self.tick()

    def take(self, message: Stanza) -> bool:
        """Tell whether a message is one of ours; then it is not for anybody else."""
        if message.attributes.get("from") != self._name:
            return False
        token, _, number = (message.attributes.get("id") or "").rpartition("-")
        if f"{token}-" == self._prefix and number.isdecimal() and int(number) in self._rounds:
            self._rounds[int(number)] += 1
        return True

    def tick(self) -> None:
        """Call this about every second."""
        if self._clock() < self._next:
            return
        self._next = self._clock() + EVERY
        while len(self._rounds) > 1:
            self._judge(self._rounds.pop(next(iter(self._rounds))))
        self._serial += 1
        self._rounds[self._serial] = 0
        name = escape(self._name)
        message = b"<message from='%b' to='%b' type='headline' id='%b%d'/>"
        for _ in range(AT_ONCE):
            self._send(message % (name, name, self._prefix.encode(), self._serial))

    def _judge(self, came: int) -> None:
        """A server that stands still lets none come, which says nothing."""
        if 0 < came < AT_ONCE and not self._shared:
            self._shared = True
            self.log.error(
                "{domain}: the server has another connection of it: some requests and answers are lost there",
                domain=self._name,
            )
        elif came >= AT_ONCE and self._shared:
            self._shared = False
            self.log.info("{domain}: the server has no other connection of it any more", domain=self._name)
            self._alone_again()
