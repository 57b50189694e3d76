"""Which accounts there are: made with the first session, forgotten with the last session and room."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from twisted.application.service import Service
from twisted.logger import Logger

from minimixproxy.clock import Clock
from minimixproxy.config import Settings
from minimixproxy.jids import parse_jid
from minimixproxy.minimix.account import Account
from minimixproxy.minimix.accountstream import AccountStream
from minimixproxy.minimix.handlers import account_handlers
from minimixproxy.minimix.journal import Journal
from minimixproxy.minimix.pacing import Pacer
from minimixproxy.minimix.ports import SessionPort
from minimixproxy.xmlstream import FramedXmlStream

if TYPE_CHECKING:
    from minimixproxy.c2s.upstream import Login

REJOINS_PER_SECOND = 50

#: Opens an upstream stream by a login and binds the resource that account streams have here.
ConnectAccount = Callable[["Login"], Awaitable[tuple[FramedXmlStream, str]]]


class Accounts(Service):
    """All accounts by bare JID. One account, one owner: everything about it happens in its `Account`."""

    log = Logger()

    def __init__(self, settings: Settings, clock: Clock, connect: ConnectAccount, journal: Journal) -> None:
        self._journal = journal
        self._rejoins = Pacer(clock, REJOINS_PER_SECOND, REJOINS_PER_SECOND)
        self._settings = settings
        self._clock = clock
        self._connect = connect
        self._accounts: dict[str, Account] = {}
        self._streams: dict[str, AccountStream] = {}
        self._logins: dict[str, Login] = {}

    def session_bound(self, session: SessionPort, login: Login) -> Account:
        """A client has bound a resource; return its account. The latest login is the one that opens streams."""
        bare = parse_jid(session.jid).bare
        self._logins[bare] = login
        account = self._accounts.get(bare) or self._make(bare)
        account.session_bound(session)
        return account

    def _make(self, bare: str) -> Account:
        stream = AccountStream(bare, lambda: self._connect(self._logins[bare]), self._clock)
        account = Account(
            bare,
            stream,
            self._settings.rooms,
            self._clock,
            self._forget,
            self._client_of,
            self._rejoins,
            self._journal,
        )
        stream.handlers = account_handlers(account)
        stream.lost = account.stream_lost
        stream.ping = account.keep_alive
        self._streams[bare] = stream
        self._accounts[bare] = account
        return account

    def _client_of(self, bare: str, room: str) -> str | None:
        """Return the client by which an account of this proxy is in a room (see `neighbours`)."""
        account = self._accounts.get(bare)
        return account.client_in(room) if account is not None else None

    def _forget(self, account: Account) -> None:
        """The account has neither sessions nor rooms."""
        del self._accounts[account.bare], self._streams[account.bare], self._logins[account.bare]

    def stopService(self) -> None:
        """Close every account stream: the server takes the accounts out of their rooms."""
        super().stopService()
        for stream in self._streams.values():
            stream.close()
