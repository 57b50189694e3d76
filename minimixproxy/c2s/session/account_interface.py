"""What sessions ask of the accounts they belong to; see `accountstream.accounts` for the other end."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

from minimixproxy.c2s.upstream.connecting import Login
from minimixproxy.minimix.interfaces.streams import SessionPort
from minimixproxy.wire.lazy_stanzas import Output
from minimixproxy.wire.stanza import Stanza


class AccountPort(Protocol):
    """The account of a bound session."""

    def from_client(self, session: SessionPort, stanza: Stanza) -> bool:
        """Tell whether the account has taken a stanza of the client; else it goes upstream."""

    def from_server(self, session: SessionPort, stanza: Stanza) -> bool:
        """Tell whether a stanza of the server is to be dropped, or another was given in its place; else it passes."""

    def leaves_from_client(self, messages: bytes, receivers: Collection[bytes]) -> bool:
        """Tell of whole messages of a client whether the account surely takes none, nor wants to see one.

        `receivers`: whom they are for, as it is written in their plain tags (`whole_messages`).
        """

    def leaves_from_server(self, messages: bytes) -> bool:
        """Tell of whole messages of the server whether the account surely takes none, nor wants to see one."""

    def session_managed(self, session: SessionPort) -> None:
        """From now on `session.managed` is true, and `reached` says what the client has acknowledged (XEP-0198)."""

    def acknowledged(self, session: SessionPort) -> None:
        """The client has acknowledged something: `session.reached` may have grown."""

    def session_sleeps(self, session: SessionPort) -> None:
        """The client's connection is gone, and the session waits to be resumed."""

    def session_wakes(self, session: SessionPort) -> None:
        """The client has another connection, and goes on with the session."""

    def held_back(self, session: SessionPort, waits: bool) -> None:
        """Messages that were delivered begin to wait for an inactive client, or do so no longer."""

    def session_closed(self, session: SessionPort) -> None:
        """The session is over, or about to be."""


class AccountsPort(Protocol):
    """Where a session finds its account."""

    def gated(self, deliver: Callable[[Output], None]) -> Callable[[Output], None]:
        """Return a function like `deliver` whose effect waits until what was journalled before it is on disk."""

    def given_out(self) -> int:
        """Return the number of the last message of any room that has been given out to sessions."""

    def password_changed(self, bare: str, password: str) -> None:
        """The server has taken another password for the account."""

    def logged_in(self, bare: str, login: Login) -> None:
        """A client has logged in anew, and goes on with a session that there is."""

    def removed(self, bare: str) -> None:
        """The server has removed the account at its client's wish. All of its sessions are closed."""

    def is_elsewhere(self, bare: str) -> bool:
        """Tell whether another process of the cluster may have the account by now."""

    def session_bound(self, session: SessionPort, login: Login) -> AccountPort:
        """The server has bound a resource for the client, and the client has been told."""

    def session_restored(self, session: SessionPort, login: Login) -> AccountPort:
        """Another process had a session, whose login need not be the latest of its account."""
