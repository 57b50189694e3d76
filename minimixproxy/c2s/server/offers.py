"""What servers offer to clients that are not logged in: asked seldom, and remembered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from minimixproxy.c2s.errors import UpstreamError
from minimixproxy.config.settings import Domain
from minimixproxy.logs.logger import Logger
from minimixproxy.timing.clock import Clock

FRESH = 600.0  # seconds for which an answer is good; after that it is used while the next one is fetched
RETRY = 30.0  # seconds between questions to a server that does not answer
PATIENCE = 2.0  # seconds that a client waits for what nobody knows yet

Ask = Callable[[Domain], Awaitable[frozenset[str]]]


@dataclass(slots=True)
class _Known:
    offers: frozenset[str] | None = None  # None: not known yet
    ask_after: float = 0.0
    asking: bool = False
    waiting: list[Deferred[None]] = field(default_factory=list)


class Offers:
    """By domain. One question at a time for each, whatever clients do; only the first client ever waits for one."""

    log = Logger()

    def __init__(self, clock: Clock, ask: Ask) -> None:
        self._clock = clock
        self._ask = ask
        self._known: dict[str, _Known] = {}

    def known(self, domain: Domain) -> frozenset[str] | None:
        """Return what the server offers as far as is known, None if that is nothing."""
        if not domain.registration:
            return frozenset()
        known = self._known.get(domain.name)
        return known.offers if known is not None else None

    def now(self, domain: Domain) -> frozenset[str] | None:
        """Return what to tell a client now; None: it is worth a short wait (`soon`). Asks anew what is old."""
        if not domain.registration:
            return frozenset()
        known = self._known.setdefault(domain.name, _Known())
        if not known.asking and known.ask_after <= self._clock.seconds():
            known.asking = True
            # Not before a failure has passed its time: a server that is down must not keep clients waiting.
            fetching = Deferred.fromCoroutine(self._fetch(domain, known)).addErrback(self._broken)
            fetching.addCallback(lambda _: self._fetched(known))
        if known.offers is None and not known.asking:
            return frozenset()
        return known.offers

    async def soon(self, domain: Domain) -> frozenset[str]:
        """Return what the server offers once that is known; nothing if it takes too long."""
        known = self._known[domain.name]
        if known.asking:
            news: Deferred[None] = Deferred()
            known.waiting.append(news)
            await news.addTimeout(PATIENCE, self._clock, onTimeoutCancel=lambda _result, _timeout: None)  # type: ignore[arg-type]
        return known.offers or frozenset()

    def learned(self, domain: Domain, offers: frozenset[str]) -> None:
        """A stream to the server has shown what it offers."""
        known = self._known.setdefault(domain.name, _Known())
        known.offers, known.ask_after = offers, self._clock.seconds() + FRESH

    async def _fetch(self, domain: Domain, known: _Known) -> None:
        known.ask_after = self._clock.seconds() + RETRY
        try:
            self.learned(domain, await self._ask(domain))
        except UpstreamError as error:
            self.log.warn(
                "whether {domain} offers registration is not known: {error}", domain=domain.name, error=str(error)
            )

    def _broken(self, failure: Failure) -> None:
        self.log.failure("while asking a server what it offers", failure)

    def _fetched(self, known: _Known) -> None:
        known.asking = False
        waiting, known.waiting = known.waiting, []
        for news in waiting:
            if not news.called:
                news.callback(None)
