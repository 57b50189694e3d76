"""Which of an account's sessions tell how far they have come, and how far, as it is on disk. No I/O.

Those that acknowledge what they get (XEP-0198), and those for which messages wait while they are inactive (XEP-0352).
"""

from __future__ import annotations

from collections.abc import Callable

from minimixproxy.minimix.interfaces.journal import Journal
from minimixproxy.minimix.interfaces.streams import SessionPort
from minimixproxy.minimix.room.sessions import resource_of
from minimixproxy.timing.clock import Clock, Timer

#: Seconds that acknowledgements may be late on disk: what they are about is given once more if the proxy is killed.
INTERVAL = 3.0


class ManagedSessions:
    """Those of the account `bare`. A session that sleeps is one of them; one that is over is not."""

    def __init__(self, bare: str, journal: Journal, clock: Clock, acknowledged: Callable[[SessionPort], None]) -> None:
        """`acknowledged`: told of a session that has acknowledged something, as often as it is written."""
        self._bare = bare
        self._journal = journal
        self._clock = clock
        self._tell = acknowledged
        self._written: dict[SessionPort, int] = {}
        self._changed: dict[SessionPort, None] = {}
        self._timer = Timer(clock)

    def __len__(self) -> int:
        return len(self._written)

    def add(self, session: SessionPort) -> None:
        """From now on `session.reached` says what the client has got, however the proxy ends."""
        self._written[session] = -1
        self._write(session)

    def acknowledged(self, session: SessionPort) -> None:
        """A session has acknowledged something. Called for each acknowledgement: it is written later.

        The timers of all accounts go off together, so that what they write makes one batch.
        """
        if session not in self._written:
            return
        self._changed[session] = None
        if not self._timer.running:
            self._timer.start(INTERVAL - self._clock.seconds() % INTERVAL, self._write_changed)

    def sleeps(self, session: SessionPort) -> None:
        """A session acknowledges nothing for a while."""
        if session in self._written:
            self._changed.pop(session, None)
            self._write(session)

    def remove(self, session: SessionPort) -> None:
        """A session is over, or nothing waits for it any more."""
        self._changed.pop(session, None)
        if self._written.pop(session, None) is not None:
            self._journal.not_managed(self._bare, resource_of(session))
        if not self._changed:
            self._timer.stop()

    def stop(self) -> None:
        """Write nothing more."""
        self._timer.stop()

    def _write_changed(self) -> None:
        changed, self._changed = self._changed, {}
        for session in changed:
            self._write(session)

    def _write(self, session: SessionPort) -> None:
        """Journal how far a session has come, unless that is no news."""
        sequence = int(min(session.reached, self._journal.given_out()))
        if sequence > self._written[session]:
            self._written[session] = sequence
            self._journal.acknowledged(self._bare, resource_of(session), sequence)
            self._tell(session)
