"""A session's link to its account: found when the server has bound a JID, asked about stanzas, left at the end."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

from minimixproxy.c2s.session.account_interface import AccountPort, AccountsPort
from minimixproxy.c2s.session.request_watch import (
    Bound,
    CarbonsChanged,
    Learned,
    Misbound,
    PasswordChanged,
    Removed,
    RequestWatch,
)
from minimixproxy.c2s.upstream.connecting import Login
from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.interfaces.streams import SessionPort
from minimixproxy.safety_net import NET
from minimixproxy.wire.stanza import Stanza, UnusableStanza

ELSEWHERE = "the account is served elsewhere"


class LinkedSession(SessionPort, Protocol):
    """The session, as its link to the account sees it."""

    def flush(self) -> None:
        """Write what the server has said so far: the client hears of it first."""

    def bound(self, jid: str) -> None:
        """The server has bound a JID of the login's account."""

    def carbons_changed(self, enabled: bool) -> None:
        """The server has switched carbons (XEP-0280)."""

    def password_changed(self, password: str) -> None:
        """The server has taken another password from the client."""


class AccountLink:
    """`watch` follows what client and server deal with that the account must know of.

    `is_void`: tells, when a JID is bound or another session resumed, whether the token that the client has logged in by
    has been withdrawn.
    """

    log = Logger()

    __slots__ = ("_account", "_accounts", "_login", "_name", "_own", "_session", "is_void", "watch")

    def __init__(self, session: LinkedSession, accounts: AccountsPort, login: Login) -> None:
        self._session = session
        self._accounts = accounts
        self._account: AccountPort | None = None  # None: no JID is bound yet, or the session has left
        self._login: Login | None = login  # until the account has it
        self._name = login.account
        self._own = login.own
        self.watch = RequestWatch(login.own)
        self.is_void: Callable[[], bool] = _never

    @property
    def name(self) -> str:
        """For the log: the JID, or the account before one is bound."""
        return self._session.jid or self._name

    @property
    def account(self) -> str:
        """The account's bare JID, prepared."""
        return self._own.bare

    @property
    def listens(self) -> bool:
        """Whether `heard` has to be told of what the server says: no JID is known, or something is watched."""
        return self._login is not None or bool(self.watch)

    # From the client -------------------------------------------------------------------------------------------

    def takes_from_client(self, stanza: Stanza) -> bool:
        """Tell whether the account takes a stanza of the client. Raises what a fault of ours raises."""
        try:
            if stanza.name == "iq" and not self.watch.asked(stanza):
                self.log.warn(
                    "{jid} has too many requests to its server open, or one that is too large: it is not followed",
                    jid=self.name,
                )
            account = self._account
            return account is not None and account.from_client(self._session, stanza)
        except UnusableStanza as error:  # it is the receiver's affair
            NET.unusable(stanza, f"session of {self._session.jid}, from the client", str(error))
            return False

    def leaves_from_client(self, messages: bytes, receivers: Collection[bytes]) -> bool:
        """Tell of whole messages whether the account surely takes none, nor wants to see one."""
        account = self._account
        return account is None or account.leaves_from_client(messages, receivers)

    def leaves_from_server(self, messages: bytes) -> bool:
        """Tell of whole messages whether the account surely takes none, nor wants to see one."""
        account = self._account
        return account is None or account.leaves_from_server(messages)

    # From the server -------------------------------------------------------------------------------------------

    def takes_from_server(self, stanza: Stanza) -> bool:
        """Tell whether the account takes a stanza of the server. A fault of ours costs that stanza only."""
        account = self._account
        if account is None:
            return False
        try:
            return account.from_server(self._session, stanza)
        except UnusableStanza as error:  # it is the client's affair
            NET.unusable(stanza, f"session of {self._session.jid}, from the server", str(error))
            return False
        except Exception:  # noqa: BLE001 (the edge: logged and counted)
            NET.caught(stanza, f"session of {self._session.jid}, from the server")
            return True

    def heard(self, stanza: Stanza) -> None:
        """A stanza of the server has passed: it may be the answer to something that is watched."""
        try:
            answer = self.watch.heard(stanza)
            if answer is None and self._login is not None:
                answer = self.watch.binding_in(stanza)
            if answer is not None:
                self.learned(answer)
                self._of_the_session(answer)
        except UnusableStanza as error:  # it is the client's affair
            NET.unusable(stanza, f"session of {self._session.jid}, from the server", str(error))
        except Exception:  # noqa: BLE001 (the edge: logged and counted; it has passed all the same)
            NET.caught(stanza, f"session of {self._session.jid}, from the server")

    def learned(self, answer: Learned) -> None:
        """Take what is about the account as a whole, and holds without the session too."""
        if isinstance(answer, PasswordChanged):
            self._accounts.password_changed(self._own.bare, answer.password)
        elif isinstance(answer, Removed):
            self._session.flush()
            if answer.certain:
                self.log.info("{jid} has removed its account", jid=self.name)
                self._accounts.removed(self._own.bare)

    def _of_the_session(self, answer: Learned) -> None:
        if isinstance(answer, CarbonsChanged):
            self._session.carbons_changed(answer.enabled)
        elif isinstance(answer, PasswordChanged):
            self._session.password_changed(answer.password)
        elif self._account is not None:
            pass  # a second bind is between client and server
        elif isinstance(answer, Bound):
            self.bound(answer.jid)
        elif isinstance(answer, Misbound):
            self.log.error("no session for {account}: {reason}", account=self._name, reason=answer.reason)
            self._session.close("remote-connection-failed", "the server bound another address")

    def bound(self, jid: str) -> None:
        """The server has bound a JID of the login's account, the first one, and the client has been told."""
        self._join(jid, self._accounts.session_bound)

    def restored(self, jid: str) -> None:
        """Another process of the cluster had the session."""
        self._join(jid, self._accounts.session_restored)

    def _join(self, jid: str, account_of: Callable[[SessionPort, Login], AccountPort]) -> None:
        self._session.bound(jid)
        login, self._login = self._login, None
        assert login is not None
        if self.withdrawn():
            return
        self.is_void = _never
        if self._accounts.is_elsewhere(self._own.bare):
            self._session.close("reset", ELSEWHERE)
            return
        self._account = account_of(self._session, login)

    def withdrawn(self) -> bool:
        """End the session if the token that it began with has been withdrawn. Tell whether that is so."""
        if not self.is_void():
            return False
        self.log.info("session of {jid} ends: the token that it began with was withdrawn", jid=self.name)
        self._session.close("reset", "your device has to log in with the password")
        return True

    # Acknowledgements (XEP-0198)

    def managed(self) -> None:
        """From now on the client acknowledges what it gets."""
        if self._account is not None:
            self._account.session_managed(self._session)

    def acknowledged(self) -> None:
        """The client has acknowledged something."""
        if self._account is not None:
            self._account.acknowledged(self._session)

    def resumed(self, login: Login) -> None:
        """A client has logged in anew, and goes on with the session."""
        if self._account is not None:
            self._accounts.logged_in(self._own.bare, login)
            self._account.session_wakes(self._session)

    def sleeps(self) -> None:
        """The client's connection is gone, and the session waits to be resumed."""
        if self._account is not None:
            self._account.session_sleeps(self._session)

    def held_back(self, waits: bool) -> None:
        """Messages of rooms begin to wait for an inactive client (XEP-0352), or do so no longer."""
        if self._account is not None:
            self._account.held_back(self._session, waits)

    # The end ---------------------------------------------------------------------------------------------------

    def leave(self) -> None:
        """The session is over, or about to be."""
        account, self._account = self._account, None
        if account is not None:
            try:
                account.session_closed(self._session)
            except Exception:  # noqa: BLE001 (the edge: logged; the streams are to end all the same)
                self.log.failure("while {jid} leaves its account", jid=self._session.jid)


def _never() -> bool:
    return False
