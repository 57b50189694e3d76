"""The sessions attached to one room: their copies of what it says, and the presence that stands for them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from minimixproxy.counting.tally import Tally
from minimixproxy.minimix.interfaces.streams import RoomOutlet, SessionPort
from minimixproxy.minimix.interfaces.weighed import Weighed
from minimixproxy.minimix.room.own_presence import most_available
from minimixproxy.minimix.room.session_presences import SessionPresences
from minimixproxy.wire.standalone import standalone
from minimixproxy.wire.stanza import ForkTemplate, Stanza, escaped_address, rewrite
from minimixproxy.xep.muc_addresses import AddressTemplate, may_name

COPIES = Tally(
    "forked_copies",
    "Copies of what rooms said, one for each session that is in the room.",
    kind=("message", "presence"),
)

#: Makes the copy of a stanza for a session's full JID.
Copy = Callable[[str], bytes]
#: Tells what a stanza means to a client that is inactive; copies of it are made by the `Copy`.
Weigh = Callable[[Stanza, Copy], Weighed]


class AttachedSessions:
    """Sessions in the order of their latest presence. `caps` replaces what theirs advertise (XEP-0115)."""

    __slots__ = ("_directed", "_outlet", "_sessions")

    def __init__(self, outlet: RoomOutlet, caps: bytes) -> None:
        self._outlet = outlet
        self._sessions: dict[SessionPort, bytes | None] = {}  # with the presence directed to this room, if any
        self._directed = SessionPresences(outlet.client_budget, caps)

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[SessionPort]:
        return iter(self._sessions)

    def __contains__(self, session: object) -> bool:
        return session in self._sessions

    def show(self, session: SessionPort, presence: Stanza | None) -> None:
        """Note the presence that a session directs to the room; None: its undirected one counts.

        The latest stands last, and counts among equals. A session that is not attached is, from now on.
        """
        self._sessions.pop(session, None)
        self._directed.forget(session)
        self._sessions[session] = self._directed.keep(session, presence) if presence is not None else None

    def directed(self) -> Iterator[tuple[SessionPort, bytes | None]]:
        """Yield each session with the payload of the presence that it directs to the room, if it does."""
        yield from self._sessions.items()

    def remove(self, session: SessionPort) -> None:
        """Forget a session."""
        del self._sessions[session]
        self._directed.forget(session)

    def clear(self) -> None:
        """Forget all."""
        for session in list(self._sessions):
            self.remove(session)

    def most_active(self) -> SessionPort | None:
        """Return the session that was active last, rather one that does not sleep: it can answer."""
        return max(self._sessions, key=lambda session: (not session.asleep, session.last_active), default=None)

    def presence(self) -> bytes | None:
        """Return what the most available session shows; None if there is no session."""
        return most_available(
            directed or self._outlet.broadcast_payload(session) for session, directed in self._sessions.items()
        )

    def fork(self, stanza: Stanza, weigh: Weigh | None = None) -> None:
        """Give every session a copy; `weigh` is asked once if any is inactive, and without it a stanza matters."""
        if not self._sessions:
            return
        COPIES.count(stanza.name, number=len(self._sessions))
        raw = stanza.self_contained()
        template = ForkTemplate(raw)
        declaring: ForkTemplate | None = None
        weighed: Weighed | None = None
        for session in list(self._sessions):
            if weigh is None or not session.inactive:
                copies = template
                if session.standalone:
                    copies = declaring = declaring or ForkTemplate(standalone(raw))
                session.deliver(b"".join((copies.head, escaped_address(session.jid), copies.tail)))
                continue
            if weighed is None:
                weighed = weigh(stanza, template.copy)
            session.deliver_weighed(weighed)

    def fork_presence(self, stanza: Stanza, weigh: Weigh | None = None) -> None:
        """Give every session its copy of a presence (see `fork`).

        Where the room names the account in it (who kicked, for one), each reads its own address.
        """
        jid = self._outlet.stream_jid
        template = AddressTemplate(stanza, jid) if self._sessions and may_name(stanza, jid) else None
        if template is None or not template.names_it:
            self.fork(stanza, weigh)
            return
        COPIES.count(stanza.name, number=len(self._sessions))
        copy = partial(_copy_naming, template)
        for session in list(self._sessions):
            if weigh is None or not session.inactive:
                session.deliver(copy(session.jid))
            else:
                session.deliver_weighed(weigh(stanza, copy))


def _copy_naming(template: AddressTemplate, jid: str) -> bytes:
    return rewrite(template.copy(jid), {"to": jid})
