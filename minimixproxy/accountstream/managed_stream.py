"""What of an account stream with stream management (XEP-0198) outlives its connections. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from minimixproxy.namespaces import NS_CLIENT
from minimixproxy.stream_management.handled import Handled
from minimixproxy.stream_management.unacknowledged import NotSent, Unacknowledged
from minimixproxy.wire.events import Skipped
from minimixproxy.wire.stanza import Stanza
from minimixproxy.xep.stream_management import COUNTED, Enabled, Resume, acknowledgement

MAX_UNACKNOWLEDGED = 10_000  # stanzas
# Of these: what clients say (`stream.MAX_SAID`), one presence for all rooms (2 MiB), answers, and the account's own.
MAX_BYTES = 6 * 1024 * 1024
_STANZAS = (b"<message", b"<presence", b"<iq")

#: Calls what it is given once all that was journalled so far is on disk.
OnDisk = Callable[[Callable[[], None]], None]


def is_stanza(data: bytes) -> bool:
    """Tell whether it is one of those that are counted."""
    return data.startswith(_STANZAS)


class ManagedStream:
    """What was sent and is not acknowledged, and what was received, and how much of it is handled.

    The server's stanza is handled when the core has taken it, and what it had journalled is on disk: so a kill at any
    moment leaves with the server what nobody has. See `attempt.Resumable` for resuming.
    """

    def __init__(self, jid: str, enabled: Enabled, on_disk: OnDisk) -> None:
        self.jid = jid
        self._is_wanted = True
        self.unacknowledged = Unacknowledged()
        self.longest_sleep = enabled.max  # seconds, None if the server does not say
        self.on_disk = on_disk
        self._id = enabled.id
        self._handled = Handled()
        self._begun = False  # stanzas count
        self._progress = -1

    @property
    def is_wanted(self) -> bool:
        """Whether another stream is to be bound if this one is not resumed."""
        return self._is_wanted

    def want_no_other(self) -> None:
        """If it is not resumed, nothing is to take its place."""
        self._is_wanted = False

    @property
    def resumable(self) -> bool:
        """Whether the server would go on with it on another connection, as far as is known."""
        return bool(self._id)

    # What is sent

    def keep(self, data: bytes) -> None:
        """A stanza would be sent if there was a connection."""
        if is_stanza(data):
            self.unacknowledged.add(data)

    @property
    def full(self) -> bool:
        """Whether more is not acknowledged than may be."""
        waiting = self.unacknowledged
        return len(waiting) > MAX_UNACKNOWLEDGED or waiting.size > MAX_BYTES

    # What is received

    def begin(self) -> None:
        """The server counts from here on."""
        self._begun = True

    def take(self, stanza: Stanza, take: Callable[[Stanza], None]) -> None:
        """Have a stanza taken, and counted, unless it was before the stream was resumed."""
        if not (self._begun and stanza.name in COUNTED):
            take(stanza)
            return
        get = stanza.attributes.get
        if self._handled.receive((stanza.name, get("type"), get("from"), get("id"))):
            done = self._handled.hold()
            try:
                take(stanza)
            finally:
                self.on_disk(done)

    def left_out(self, skipped: Skipped) -> bool:
        """Count what came and cannot be taken; False: it came before the stream was resumed."""
        if not self._begun or skipped.uri != NS_CLIENT:
            return True
        get = skipped.attributes.get
        return self._handled.receive((skipped.name, get("type"), get("from"), get("id")))

    def acknowledgement(self) -> bytes:
        """Return `<a/>` with the number of what is handled by now."""
        return acknowledgement(self._handled.h)

    # Connections come and go

    def progressed(self) -> bool:
        """Tell whether anything was received or acknowledged since this was asked last."""
        before, self._progress = self._progress, self._handled.received + self.unacknowledged.acknowledged
        return self._progress != before

    def resuming(self) -> Resume:
        """Return what is asked for (`attempt.Resumable`)."""
        self._begun = True
        self._handled.resume()
        return Resume(self._id, self._handled.h)

    def resumed(self, h: int) -> None:
        """The server goes on with it (`attempt.Resumable`). Raises `NotSent`."""
        self.unacknowledged.arrived(h)

    def not_resumed(self, h: int | None) -> None:
        """The server does not (`attempt.Resumable`)."""
        self._id = ""
        if h is not None:
            with suppress(NotSent):
                self.unacknowledged.arrived(h)
