"""SASL with one client: one login exchange after the other, until one succeeds or too many have failed."""

from __future__ import annotations

from typing import Protocol

from twisted.python.failure import Failure

from minimixproxy.c2s.server.exchanges.login_exchange import Exchange, LoggedIn
from minimixproxy.c2s.server.running_exchange import RunningExchange
from minimixproxy.counting.tally import Tally
from minimixproxy.logs.logger import Logger
from minimixproxy.sasl.hashed_token import MECHANISMS as HT
from minimixproxy.sasl.scram import MECHANISMS as SCRAM
from minimixproxy.sasl.scram import PLUS
from minimixproxy.xep import sasl
from minimixproxy.xep.sasl import SaslFailure

_ABORTED = "aborted"
#: As they are told apart: tokens (XEP-0484) are one.
_NAMES = {name: name for name in (*SCRAM, *(name + PLUS for name in SCRAM), "PLAIN")} | dict.fromkeys(HT, "HT")
LOGINS = Tally(
    "logins",
    "Logins of clients that have come to an end, by what they were told (RFC 6120, 6.5); aborted: or were gone.",
    mechanism=_NAMES.values(),
    result=("success", *sasl.CONDITIONS),
)
MAX_FAILURES = 3  # on one stream; RFC 6120 §6.4.5 says 2 to 5


class LoginHost(Protocol):
    """The negotiation, as the login sees it. It sends the elements."""

    @property
    def address(self) -> str:
        """Where the client is, for the log."""

    def exchange_by(self, mechanism: str | None) -> Exchange:
        """Return how the client logs in by a mechanism. Raises `SaslFailure`."""

    def challenged(self, element: bytes) -> None:
        """The client is to respond to a challenge."""

    def refused(self, element: bytes, *, final: bool) -> None:
        """A login has failed. `final`: there is to be no other on this stream."""

    def logged_in(self, logged_in: LoggedIn) -> None:
        """The client is logged in."""


class Profile(Protocol):
    """The elements that carry what is said: those of RFC 6120 (`xep.sasl`), or of XEP-0388 (`xep.sasl2`)."""

    def challenge(self, data: bytes) -> bytes: ...

    def failure(self, condition: str, text: str = "") -> bytes: ...


class ClientLogin:
    """`text` is the content of an element, without white space around it. `profile`: whose elements it sends."""

    log = Logger()

    def __init__(self, host: LoginHost) -> None:
        self._host = host
        self._mechanism = ""
        self.profile: Profile = sasl
        self._running: RunningExchange | None = None
        self._failures = 0

    def begin(self, mechanism: str | None, text: str | None) -> None:
        """The client begins an exchange; without `text` it waits for a challenge first."""
        self._mechanism = _NAMES.get(mechanism or "", "")
        try:
            exchange = self._host.exchange_by(mechanism)
            first = sasl.decoded(text) if text is not None else None
        except SaslFailure as failure:
            self.fail(failure)
            return
        self._running = RunningExchange(first, lambda data: self._host.challenged(self.profile.challenge(data)))
        self._running.start(exchange, self._succeeded, self._failed)

    def respond(self, text: str) -> None:
        """The client responds to a challenge."""
        assert self._running is not None, "there was a challenge"
        self._running.responded(lambda: sasl.decoded(text))

    def break_off(self) -> None:
        """The client breaks the exchange off, if there is one: by a word, or since it is gone."""
        running, self._running = self._running, None
        if running is not None:
            LOGINS.count(self._mechanism, _ABORTED)
            running.break_off()

    def fail(self, failure: SaslFailure) -> None:
        """Tell the client that it is not logged in."""
        self._running = None
        if failure.condition != _ABORTED:  # that is counted if there was something to break off
            LOGINS.count(self._mechanism, failure.condition)
        self._failures += 1
        element = self.profile.failure(failure.condition, failure.text)
        self._host.refused(element, final=self._failures >= MAX_FAILURES)

    def _failed(self, failure: Failure) -> None:
        error = failure.value
        if not isinstance(error, SaslFailure):
            self.log.failure("while the client at {address} logs in", failure, address=self._host.address)
            error = SaslFailure("temporary-auth-failure")
        self.fail(error)

    def _succeeded(self, logged_in: LoggedIn) -> None:
        self._running = None
        LOGINS.count(self._mechanism, "success")
        self._host.logged_in(logged_in)
