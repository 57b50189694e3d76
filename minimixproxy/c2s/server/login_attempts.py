"""Attempts to log in: each waits for its turn, is counted for its account and its address, and goes on to its end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from minimixproxy.c2s.errors import UpstreamError, UpstreamImpossible, UpstreamRefused
from minimixproxy.c2s.server.exchanges.login_exchange import UNLIMITED, LoggedIn, Time
from minimixproxy.c2s.server.limits import LoginGuard
from minimixproxy.c2s.server.login_queue import LoginQueue, TooManyLogins
from minimixproxy.c2s.transport.peers import Peer
from minimixproxy.config.settings import Limits
from minimixproxy.logs.logger import Logger
from minimixproxy.sasl.scram import ScramError
from minimixproxy.timing.clock import Clock
from minimixproxy.xep.sasl import SaslFailure

_NOT_AUTHORIZED = "not-authorized"
# What a server may say about a login; each is shown to the client. The rest of RFC 6120 §6.5 is about the proxy's own
# part of the exchange, not the client's.
_ABOUT_THE_ACCOUNT = frozenset({_NOT_AUTHORIZED, "account-disabled", "credentials-expired"})
_BAD_NAME_OR_PASSWORD = frozenset({"malformed-request", "invalid-authzid", "incorrect-encoding"})
_TEMPORARY = "temporary-auth-failure"
_T = TypeVar("_T")


class LoginAttempts:
    """One per service (`login_exchange.Attempts`)."""

    log = Logger()

    def __init__(self, limits: Limits, clock: Clock, blocked: Container[str] = frozenset()) -> None:
        """`blocked`: the accounts, by bare JID, that the operator lets in by no login, however good it is."""
        self._blocked = blocked
        self._limits = limits
        self._guard = LoginGuard(clock.seconds, *_delays(limits))
        # Who has failed too often, or waits where nothing moves, is told so early enough to try again.
        self._queue = LoginQueue(self._guard, clock, lambda: limits.authentication_timeout / 2)

    async def attempt(
        self,
        account: str,
        client: Peer,
        work: Callable[[], Coroutine[Any, Any, LoggedIn]],
        time: Time = UNLIMITED,
    ) -> LoggedIn:
        """Do the work when the guard lets it begin; `time` stands still until then. Raises `SaslFailure`."""
        time.stand_still()
        try:
            await self._begin(client.key, account)
        except TooManyLogins as error:
            # A kind of line of its own: what was tried is to be in the log, however much was not.
            self.log.info(
                "failed login from {address} as {account}: too-many-logins", address=client.address, account=account
            )
            raise SaslFailure(_TEMPORARY, "too many logins, try again later") from error
        finally:
            time.go_on()
        return await self._to_its_end(self._counted(account, client, work()))

    async def tried(
        self, account: str, work: Callable[[], Awaitable[_T]], wrong: type[Exception], too_many: Exception
    ) -> _T:
        """Do work by which a client that has logged in tries a password of its own account (`enrolling.Guard`).

        It counts as a login; all sessions of the account count as one address.
        """
        address = f"sessions of {account}"
        try:
            await self._begin(address, account)
        except TooManyLogins as error:
            raise too_many from error
        try:
            result = await work()
        except wrong as error:
            self.log.info(
                "a session of {account} has said a password of it that is wrong: {reason}",
                account=account,
                reason=str(error),
            )
            self._guard.failed(address, account)
            raise
        else:
            self._guard.succeeded(address, account)
        finally:
            self._queue.end(address, account)
        return result

    async def _begin(self, address: str, account: str) -> None:
        self._guard.set_delays(*_delays(self._limits))
        await self._queue.begin(address, account)

    def _to_its_end(self, login: Coroutine[Any, Any, LoggedIn]) -> Deferred[LoggedIn]:
        """A login that has begun goes on when its client breaks it off: else guesses broken off would count nothing.

        And where a server is quick to accept and slow to refuse, the time alone would have told the guesser enough.
        """
        waiting: Deferred[LoggedIn] = Deferred()

        def ended(result: LoggedIn | Failure) -> None:
            if not waiting.called:
                waiting.callback(result)
            elif not isinstance(result, Failure):
                result.abort()
            elif not result.check(SaslFailure):
                self.log.failure("a fault in a login whose client had gone", result)

        Deferred.fromCoroutine(login).addBoth(ended)
        return waiting

    async def _counted(self, account: str, client: Peer, work: Coroutine[Any, Any, LoggedIn]) -> LoggedIn:
        address = client.key
        try:
            logged_in = await work
        except UpstreamRefused as error:
            raise self._refused(error, account, client) from error
        except UpstreamImpossible as error:
            wrong = SaslFailure(_NOT_AUTHORIZED)
            self._failed(wrong, account, client)
            raise wrong from error
        except UpstreamError as error:
            self.log.error(
                "no login for {account} from {address}: {error}",
                account=account,
                address=client.address,
                error=str(error),
            )
            text = f"the server of {account.rpartition('@')[2]} cannot be used now"
            raise SaslFailure(_TEMPORARY, text) from error
        except SaslFailure as failure:
            self._failed(failure, account, client)
            raise
        else:
            self._guard.succeeded(address, account)
        finally:
            self._queue.end(address, account)
        self._let_in(logged_in, client)
        return logged_in

    def _let_in(self, logged_in: LoggedIn, client: Peer) -> None:
        """A blocked account is refused when its login has turned out to be good: nobody else is told that it is."""
        account = logged_in.login.own.bare
        if account in self._blocked:
            logged_in.abort()
            self.log.info(
                "login of {account} from {address} refused: {condition}, the operator has blocked the account",
                account=account,
                address=client.address,
                condition="account-disabled",
            )
            raise SaslFailure("account-disabled", "the account is blocked on this proxy")

    def _refused(self, error: UpstreamRefused, account: str, client: Peer) -> SaslFailure:
        """The server has refused the login."""
        condition = _NOT_AUTHORIZED if error.condition in _BAD_NAME_OR_PASSWORD else error.condition
        if condition not in _ABOUT_THE_ACCOUNT:
            self.log.info(
                "the server cannot take a login of {account} from {address} now: {condition}",
                account=account,
                address=client.address,
                condition=error.condition,
            )
            return SaslFailure(_TEMPORARY, error.text)
        self._log_failure(account, client.address, error.condition)
        self._guard.failed(client.key, account)
        # Servers have other words for a wrong password than for an account that does not exist.
        return SaslFailure(condition, "" if condition == _NOT_AUTHORIZED else error.text)

    def _failed(self, failure: SaslFailure, account: str, client: Peer) -> None:
        """The client has failed, here: what it says is wrong, or it has broken off what may have been a guess."""
        if failure.condition != _TEMPORARY:
            why = failure.__cause__
            self._log_failure(account, client.address, failure.condition, why if isinstance(why, ScramError) else None)
            self._guard.failed(client.key, account)

    def _log_failure(self, account: str, address: str, condition: str, why: ScramError | None = None) -> None:
        """In one line, whatever is known: each takes time before the client is answered, which would tell.

        docs/log.md promises it to programs such as fail2ban: nothing that a client has said stands before the address.
        """
        self.log.info(
            "failed login from {address} as {account}: {condition}, {error}"
            if why is not None
            else "failed login from {address} as {account}: {condition}",
            account=account,
            address=address,
            condition=condition,
            error=str(why),
        )


def _delays(limits: Limits) -> tuple[int, float, float]:
    return limits.failed_logins, limits.failed_login_delay, limits.failed_login_delay_max
