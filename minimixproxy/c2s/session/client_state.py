"""Whether anybody looks at a client (XEP-0352), and the way of what its account tells it: at once, or held back."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from minimixproxy.c2s.session.account_interface import AccountsPort
from minimixproxy.c2s.session.held_back import NOTHING_WAITS, HeldBack
from minimixproxy.minimix.interfaces.weighed import Weighed
from minimixproxy.wire.lazy_stanzas import LazyStanzas
from minimixproxy.wire.stanza import Stanza
from minimixproxy.xep.client_state import ACTIVE, FEATURE, is_offered, told_state


class Output(Protocol):
    """What goes to the client."""

    def deliver(self, data: bytes) -> None:
        """Give the client one stanza."""

    def deliver_all(self, stanzas: LazyStanzas) -> None:
        """Give the client many stanzas."""


class Ways(NamedTuple):
    """The ways to a client, for the account: a stanza; many; and one that may wait."""

    deliver: Callable[[bytes], None]
    deliver_all: Callable[[LazyStanzas], None]
    deliver_weighed: Callable[[Weighed], None]


class Told(Protocol):
    """A session, as far as the way to its client is concerned."""

    @property
    def jid(self) -> str:
        """The full JID, "" before one is bound."""

    def use(self, ways: Ways, *, inactive: bool) -> None:
        """Deliver by these from now on: straight, since it is done for each forked copy; so `inactive` is said, too."""


class ClientState:
    """Sets the session's ways to its client: straight to the output while it is active, past what is held back else.

    All go through the gate (see `AccountsPort.gated`), and so does each change of state: what was delivered before it
    may still wait there.
    """

    __slots__ = (
        "_accounts",
        "_held",
        "_holding",
        "_note",
        "_noted",
        "_offered",
        "_output",
        "_server_holds",
        "_session",
        "_switch",
        "_weighed",
        "inactive",
        "server_knows",
    )

    def __init__(self, session: Told, accounts: AccountsPort, note: Callable[[bool], None], *, offered: bool) -> None:
        """`note` is told when messages begin to wait, and when they do no longer.

        `offered`: clients may say so here, whatever their server offers.
        """
        self._session = session
        self._note = note
        self._noted = False
        self._output: Output  # there is nothing to tell before `bound`
        self._accounts = accounts
        self._offered = offered
        self.server_knows = True  # what the client says of its state
        self._server_holds = False  # it has been told that the client is inactive
        self._held: HeldBack | None = None  # None: the client has not been inactive yet
        self._holding = False  # of what comes through the gate, so much as may wait is held back
        self._switch: Callable[[bool], None] = self._hold_back
        self._weighed: Callable[[Weighed], None]  # the same
        self.inactive = False

    def offer(self, features: Stanza) -> bytes:
        """Return what the client is offered beside its server's features."""
        self.server_knows = is_offered(features) or not self._offered
        return b"" if self.server_knows else FEATURE

    def told(self, element: Stanza) -> bool:
        """Take what the client says; True: its server is to know."""
        state = told_state(element)
        if state == "inactive":
            self.set_inactive()
        elif state == "active":
            self.set_active()
        if state is not None:
            self._server_holds = self.server_knows and state == "inactive"
        return self.server_knows

    def wakes(self) -> Stanza | None:
        """The client has resumed its stream, and is active (XEP-0352). Return what the server is to be told."""
        self.set_active()
        if not self._server_holds:
            return None
        self._server_holds = False
        return ACTIVE

    def bound(self, output: Output) -> None:
        """The session has a JID: from now on, what the account tells the client is on disk first."""
        self._output = output
        self._weighed = self._accounts.gated(self._take)
        self._switch = self._accounts.gated(self._hold_back)
        self._set_ways()

    def set_inactive(self) -> None:
        """Nobody looks at the client, or it is asleep: what can wait does."""
        if not self.inactive:
            self.inactive = True
            self._switch(True)
            self._set_ways()

    def set_active(self) -> None:
        """Somebody looks: what waited is told."""
        if self.inactive:
            self.inactive = False
            self._switch(False)
            self._set_ways()

    def _set_ways(self) -> None:
        if not self._session.jid:
            return
        gated, output = self._accounts.gated, self._output
        ways = (self._deliver, self._deliver_all) if self.inactive else (output.deliver, output.deliver_all)
        self._session.use(Ways(gated(ways[0]), gated(ways[1]), self._weighed), inactive=self.inactive)

    def position(self) -> int:
        """Return up to which message, of any room, everything was given out, and nothing is held back."""
        given_out = self._accounts.given_out()
        return given_out if self._held is None else int(min(given_out, self._held.limit))

    @property
    def limit(self) -> float:
        """The message up to which nothing is held back; infinity: nothing at all is."""
        return self._held.limit if self._held is not None else NOTHING_WAITS

    # What comes through the gate

    def _hold_back(self, holding: bool) -> None:
        self._holding = holding
        if self._held is None:
            self._held = HeldBack(self._tell, lambda: self._session.jid)
        if not holding:
            self._release()

    def _deliver(self, data: bytes) -> None:
        self._release()
        self._output.deliver(data)

    def _deliver_all(self, stanzas: LazyStanzas) -> None:
        self._release()
        self._output.deliver_all(stanzas)

    def _take(self, weighed: Weighed) -> None:
        assert self._held is not None
        if self._holding and not weighed.matters:
            self._held.hold(weighed)
        else:
            self._held.release_before(weighed)
            self._tell(weighed)
        self._note_change()

    def _release(self) -> None:
        assert self._held is not None
        self._held.release()
        self._note_change()

    def _note_change(self) -> None:
        waits = self.limit != NOTHING_WAITS
        if waits is not self._noted:
            self._noted = waits
            self._note(waits)

    def _tell(self, weighed: Weighed) -> None:
        self._output.deliver(weighed.copy(self._session.jid))
