"""The part of one client's negotiation in a cluster: whether its account is held elsewhere, and then its way there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeGuard

from twisted.python.failure import Failure

from minimixproxy.c2s.server.client_login import Profile
from minimixproxy.c2s.server.elsewhere import (
    Cluster,
    Elsewhere,
    Handed,
    HolderUnknown,
    Introduction,
    NotHandedOver,
    Pipe,
)
from minimixproxy.c2s.server.named_account import named_account, names_account
from minimixproxy.c2s.server.negotiation_states import State
from minimixproxy.c2s.server.waiting_client import WaitingClient
from minimixproxy.c2s.transport.client_stream import ClientStream
from minimixproxy.logs.logger import Logger
from minimixproxy.namespaces import NS_SASL2
from minimixproxy.timing.clock import Clock, pause
from minimixproxy.wire.events import Event, StreamOpened
from minimixproxy.wire.stanza import Stanza
from minimixproxy.xep.sasl import SaslFailure

TRIES = 3  # a holder that refuses may have ended, or given the account away, since it was found
LAST_PAUSE = 1.0  # seconds before the last of them: a process that stops closes its port before it lets accounts go
_LATER = "the account cannot be reached now"


class SearchHost(Protocol):
    """The negotiation, as the search sees it."""

    @property
    def domain(self) -> str:
        """The domain that the client has named."""

    @property
    def clock(self) -> Clock:
        """The time."""

    def enter(self, state: State) -> State:
        """Be in another state from now on; return which it was."""

    def shown(self) -> tuple[StreamOpened, Handed]:
        """Return the client's header, and what it has been offered."""

    def hand_over(self) -> tuple[ClientStream, list[Event], str]:
        """End the negotiation; return the client, what it has sent ahead, and its language."""

    def catch_up(self) -> None:
        """Read the client again, and look at what it has sent ahead, unless it waits for something else."""

    def close(self, condition: str, text: str = "") -> None:
        """End the stream with a stream error."""

    def failed(self, failure: Failure) -> None:
        """End the stream for a fault of ours."""


class Login(Protocol):
    """The logins of the client here."""

    profile: Profile

    def begin(self, mechanism: str | None, text: str | None) -> None:
        """Begin an exchange; `text`: of the client's initial response, None if there is none."""

    def fail(self, failure: SaslFailure) -> None:
        """Tell the client that it is not logged in."""


class HolderSearch:
    """`cluster`: None in a single process, where nothing is asked and nothing waits."""

    log = Logger()

    def __init__(
        self, host: SearchHost, cluster: Cluster | None, stream: ClientStream, waiting: WaitingClient, *, seeks: bool
    ) -> None:
        """`seeks`: the client may be handed on; else it has been handed here."""
        self._host = host
        self._seeks = seeks
        self._cluster = cluster
        self._stream = stream
        self._waiting = waiting
        self._here: str | None = None  # an account that was not held elsewhere a moment ago
        self._named: str | None = None  # by the header
        self._tried: str | None = None  # by the first login
        self._begun: tuple[Stanza, str | None, State] | None = None  # without saying who it is

    def by_header(self, account: str | None, go_on: Callable[[], None]) -> None:
        """The client's header may name its account."""
        self._named = account
        if not self._is_asked(account):
            go_on()
            return

        def failed(_why: SaslFailure) -> None:
            self._host.close("remote-connection-failed", _LATER)

        self._seek(self._introduction(account), go_on, failed)

    def named(self, stanza: Stanza, text: str, login: Login) -> None:
        """The client says its name, as it was challenged to do."""
        assert self._begun is not None
        (opening, mechanism, before), self._begun = self._begun, None
        self._host.enter(before)
        self._by_login(mechanism, text, login, opening.raw, stanza.raw)

    def by_login(self, stanza: Stanza, mechanism: str | None, text: str | None, login: Login) -> None:
        """The client begins a login by a stanza; `text`: of its initial response, None if there is none."""
        if text is None and self._cluster is not None and names_account(mechanism):
            by_sasl2 = stanza.uri == NS_SASL2
            before = self._host.enter(State.NAMING_SASL2 if by_sasl2 else State.NAMING)
            self._begun = stanza, mechanism, before
            self._stream.write(login.profile.challenge(b""))
            return
        self._by_login(mechanism, text, login, stanza.raw)

    def _by_login(
        self, mechanism: str | None, text: str | None, login: Login, opening: bytes, response: bytes = b""
    ) -> None:
        account = named_account(mechanism, text, self._host.domain) if text and self._cluster is not None else None
        if account is not None and self._is_of_another(account, login):
            return
        if not self._is_asked(account):
            login.begin(mechanism, text)
            return

        client = self._introduction(account)._replace(opening=opening, response=response)
        self._seek(client, lambda: login.begin(mechanism, text), login.fail)

    def _is_of_another(self, account: str, login: Login) -> bool:
        """Tell whether the stream is for another account; then the client has been told so.

        Guesses at an account are counted by its holder. Who got to that of another one could guess there once more.
        Wherever the accounts are held, the answer is the same: nobody is to learn that from it.
        """
        if self._named not in (None, account):
            login.fail(SaslFailure("invalid-authzid", "the stream is another account's"))
            return True
        if self._tried not in (None, account):
            self._host.close("reset", "connect again to log in as another account")
            return True
        self._tried = account
        return False

    def _introduction(self, account: str) -> Introduction:
        opened, (offered, tokens) = self._host.shown()
        stream = self._stream
        websocket = stream.bottom.standalone
        return Introduction(stream.peer, account, opened.raw, stream.bindings, websocket, offered, tokens)

    def claim(self, account: str, go_on: Callable[[], None], fail: Callable[[SaslFailure], None]) -> None:
        """The client has logged in as this account."""
        cluster = self._cluster
        if cluster is None:
            go_on()
            return
        before = self._host.enter(State.CLAIMING)

        def claimed(elsewhere: Elsewhere | None) -> None:
            if elsewhere is not None:
                self._end(account, elsewhere)
                return
            if before is State.CHECKING:
                self._waiting.early.clear()  # a new stream begins, for which it was not meant
            self._go_on(before, go_on)

        self._waiting.wait(cluster.finder.claim(account), claimed, self._failing(account, before, fail))

    def _end(self, account: str, elsewhere: Elsewhere) -> None:
        self.log.info(
            "{account} is held by {name} by now: its client is to connect again", account=account, name=elsewhere.name
        )
        self._host.close("reset", "connect again")

    def _is_asked(self, account: str | None) -> TypeGuard[str]:
        return self._cluster is not None and self._seeks and account is not None and account != self._here

    def _seek(
        self,
        client: Introduction,
        go_on: Callable[[], None],
        fail: Callable[[SaslFailure], None],
    ) -> None:
        account = client.account
        before = self._host.enter(State.SEEKING)
        domain = self._host.domain

        def found(pipe: Pipe | None) -> None:
            if pipe is None:
                self._here = account
                self._go_on(before, go_on)
                return
            stream, early, _language = self._host.hand_over()
            pipe.start(stream, early, domain)

        self._waiting.wait(self._way_to(account, client), found, self._failing(account, before, fail))

    async def _way_to(self, account: str, client: Introduction) -> Pipe | None:
        """Return the way to the account's holder, None if the client is to go on here.

        Raises `HolderUnknown` or `NotHandedOver`.
        """
        cluster = self._cluster
        assert cluster is not None
        for tries_left in reversed(range(TRIES)):
            elsewhere = await cluster.finder.find(account)
            if elsewhere is None:
                return None
            try:
                return await cluster.pipes.pipe(elsewhere, client)
            except NotHandedOver as error:
                if not tries_left:
                    raise
                self.log.info(
                    "{account}: its holder {name} does not take a client, and is looked for again: {error}",
                    account=account,
                    name=elsewhere.name,
                    error=str(error),
                )
                if tries_left == 1:
                    await pause(self._host.clock, LAST_PAUSE)
        raise AssertionError("the last try returns or raises")

    def _go_on(self, before: State, go_on: Callable[[], None]) -> None:
        self._host.enter(before)
        go_on()
        self._host.catch_up()

    def _failing(self, account: str, before: State, fail: Callable[[SaslFailure], None]) -> Callable[[Failure], None]:
        def failed(failure: Failure) -> None:
            error = failure.value
            if not isinstance(error, HolderUnknown | NotHandedOver):
                self._host.failed(failure)
                return
            self.log.warn(
                "{account}: a client is not served, since the account's holder is out of reach: {error}",
                account=account,
                error=str(error),
            )
            self._go_on(before, lambda: fail(SaslFailure("temporary-auth-failure", _LATER)))

        return failed
