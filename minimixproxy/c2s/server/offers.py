"""What servers offer to clients that are not logged in: asked seldom, and remembered."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Container, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from minimixproxy.c2s.errors import UpstreamError
from minimixproxy.c2s.transport.peers import Peer
from minimixproxy.c2s.upstream.offer import read_offer
from minimixproxy.config.settings import Domain
from minimixproxy.logs.logger import Logger
from minimixproxy.timing.backoff import Backoff
from minimixproxy.timing.clock import Clock, Timer
from minimixproxy.wire.stanza import Stanza
from minimixproxy.wire.xmlstream import FramedXmlStream
from minimixproxy.xep.registration import offered

FRESH = 600.0  # seconds for which an answer is good; after that it is used while the next one is fetched
LOOK = 60.0  # the same for whether it can be reached, if somebody wants to know
#: Seconds between questions to a server that does not answer: the first ones, and in the end.
RETRY_FIRST, RETRY = 1.0, 10.0
#: Seconds that a client waits for what nobody knows yet. Without the server nobody gets in, so it loses little;
#: libstrophe gives up after 15.
PATIENCE = 8.0

MOST_MECHANISMS = 50  # of one server; today's have ten
_MECHANISM = re.compile("[A-Z0-9_-]{1,20}")  # RFC 4422 §3.1

#: Opens a stream to the server of a domain, secured and not authenticated; returns it and the features offered on it.
#: For a client, or for the proxy itself, which looks what is offered (None).
Contact = Callable[[Domain, Peer | None], Awaitable[tuple[FramedXmlStream, Stanza]]]


class DomainOffer(NamedTuple):
    """What a server offers before a login: how to register (`registration.FEATURES`), and SASL mechanisms."""

    registration: frozenset[str]
    mechanisms: tuple[str, ...]


NOTHING = DomainOffer(frozenset(), ())


def offer_in(features: Stanza) -> DomainOffer:
    """Return what is offered in the features of a stream that is not logged in."""
    names = sorted(name for name in read_offer(features, {}).mechanisms if _MECHANISM.fullmatch(name))
    return DomainOffer(offered(features), tuple(names[:MOST_MECHANISMS]))


def is_asked(domain: Domain) -> bool:
    """Tell whether clients of a domain are told anything of what its server offers."""
    return domain.registration or "SCRAM" in domain.logins


@dataclass(slots=True)
class _Known:
    timer: Timer
    offer: DomainOffer | None = None  # None: not known yet
    ask_after: float = 0.0
    answered: float = float("-inf")  # when it did so last
    asking: bool = False
    backoff: Backoff = field(default_factory=lambda: Backoff(RETRY_FIRST, RETRY))
    trouble: str = ""  # as the log has it
    forgotten: bool = False  # its domain has another server now, or is not served
    waiting: list[Deferred[None]] = field(default_factory=list)


class Offers:
    """By domain. One question at a time for each, whatever clients do; only the first client ever waits for one."""

    log = Logger()

    def __init__(self, clock: Clock, contact: Contact) -> None:
        self._clock = clock
        self._contact = contact
        self._known: dict[str, _Known] = {}
        self._started = False

    def troubles(self) -> dict[str, str]:
        """Return by domain why its server has not said what it offers, the last time that it was asked."""
        return {name: known.trouble for name, known in self._known.items() if known.trouble}

    def start(self, domains: Iterable[Domain]) -> None:
        """Ask the servers of these domains, each until it answers: then clients need not wait for that."""
        self._started = True
        for domain in filter(is_asked, domains):
            self._ask(domain, self._of(domain))

    def ask_anew(self, domains: Iterable[Domain], served: Container[str]) -> None:
        """Forget what is known of these domains, whose servers may be others now, and of those not served any more."""
        asked = list(domains)
        for name in [name for name in self._known if name not in served]:
            self._forget(name)
        for domain in asked:
            self._forget(domain.name)
        if self._started:
            self.start(asked)

    def _forget(self, name: str) -> None:
        known = self._known.pop(name, None)
        if known is not None:
            known.timer.stop()
            known.forgotten = True

    def stop(self) -> None:
        """Ask no more unless clients come."""
        self._started = False
        for known in self._known.values():
            known.timer.stop()

    def _of(self, domain: Domain) -> _Known:
        known = self._known.get(domain.name)
        if known is None:
            known = self._known[domain.name] = _Known(Timer(self._clock))
        return known

    def known(self, domain: Domain) -> DomainOffer | None:
        """Return what the server offers as far as is known, None if that is nothing."""
        if not is_asked(domain):
            return NOTHING
        known = self._known.get(domain.name)
        return known.offer if known is not None else None

    def now(self, domain: Domain) -> DomainOffer | None:
        """Return what to tell a client now; None: it is worth a short wait (`soon`). Asks anew what is old."""
        if not is_asked(domain):
            return NOTHING
        known = self._of(domain)
        # Not before a failure has passed its time: a server that is down must not keep clients waiting.
        if known.ask_after <= self._clock.seconds():
            self._ask(domain, known)
        if known.offer is None and not known.asking:
            return NOTHING
        return known.offer

    async def soon(self, domain: Domain) -> DomainOffer:
        """Return what the server offers once that is known; nothing if it takes too long."""
        known = self._known[domain.name]
        if known.asking:
            news: Deferred[None] = Deferred()
            known.waiting.append(news)
            await news.addTimeout(PATIENCE, self._clock, onTimeoutCancel=lambda _result, _timeout: None)  # type: ignore[arg-type]
        return known.offer or NOTHING

    def unreachable(self, domains: Iterable[Domain]) -> list[str]:
        """Return the domains whose servers did not answer when they were asked last. Asks anew what is old.

        So a server that has come to an end is known to whoever looks again.
        """
        now = self._clock.seconds()
        found = []
        for domain in domains:
            known = self._of(domain)
            if now >= (known.ask_after if known.trouble else known.answered + LOOK):
                self._ask(domain, known)
            if known.trouble:
                found.append(domain.name)
        return found

    def learned(self, domain: Domain, features: Stanza) -> DomainOffer:
        """A stream to the server has shown what it offers."""
        known = self._of(domain)
        offer = offer_in(features)
        if not domain.registration:
            offer = offer._replace(registration=frozenset())
        known.offer, known.answered = offer, self._clock.seconds()
        known.ask_after = known.answered + FRESH
        known.timer.stop()
        known.backoff.reset()
        known.trouble = ""
        return offer

    def _ask(self, domain: Domain, known: _Known) -> None:
        """Ask a server, unless that is under way."""
        if known.asking:
            return
        known.asking = True
        known.timer.stop()
        fetching = Deferred.fromCoroutine(self._fetch(domain, known)).addErrback(self._broken)
        fetching.addCallback(lambda _: self._fetched(domain, known))

    async def _fetch(self, domain: Domain, known: _Known) -> None:
        wait = known.backoff.next()
        known.ask_after = self._clock.seconds() + wait
        try:
            stream, features = await self._contact(domain, None)
        except UpstreamError as error:
            known.ask_after = self._clock.seconds() + wait
            self._not_told(domain, known, str(error))
            return
        stream.transport.abortConnection()
        if not known.forgotten:
            self.learned(domain, features)

    def _broken(self, failure: Failure) -> None:
        self.log.failure("while asking a server what it offers", failure)

    def _not_told(self, domain: Domain, known: _Known, trouble: str) -> None:
        """A server does not answer. The log has it once, until it is something else."""
        if trouble != known.trouble and not known.forgotten:
            known.trouble = trouble
            self.log.warn(
                "what {domain} offers before a login is not known: {error}", domain=domain.name, error=trouble
            )

    def _fetched(self, domain: Domain, known: _Known) -> None:
        known.asking = False
        if self._started and known.offer is None and not known.forgotten:
            known.timer.start(max(0.0, known.ask_after - self._clock.seconds()), lambda: self._ask(domain, known))
        waiting, known.waiting = known.waiting, []
        for news in waiting:
            if not news.called:
                news.callback(None)
