"""Where the server of a domain is: SRV records of both kinds (RFC 6120 §3.2, RFC 2782, XEP-0368)."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from twisted.internet.defer import CancelledError, DeferredList
from twisted.names import client as names_client
from twisted.names import dns, error

from minimixproxy.c2s.transport.certificates import ascii_domain
from minimixproxy.logs.logger import Logger

log = Logger()

DEFAULT_PORT = 5222
_MAX_TARGETS = 8
_LOOKUP_TIMEOUTS = (2, 4)  # seconds, per attempt

Lookup = Callable[..., "Awaitable[Any]"]


class Target(NamedTuple):
    """A place to try. `direct`: TLS from the first byte."""

    host: str
    port: int
    direct: bool


class Record(NamedTuple):
    """An SRV record with what kind of service it is for."""

    priority: int
    weight: int
    target: Target


async def resolve(domain: str, lookup: Lookup | None = None) -> list[Target]:
    """Return where to connect, in the order to try; empty if the domain says that it offers nothing."""
    name = ascii_domain(domain)
    services = ((f"_xmpps-client._tcp.{name}", True), (f"_xmpp-client._tcp.{name}", False))
    find: Any = lookup or names_client.lookupService
    results = await DeferredList([find(service, _LOOKUP_TIMEOUTS) for service, _ in services], consumeErrors=True)
    records: list[Record] = []
    refused = False
    for (service, direct), (found, answer) in zip(services, results, strict=True):
        if found:
            kind = _records(answer[0], direct)
            refused = refused or kind is None
            records.extend(kind or ())
        elif answer.check(CancelledError):  # for the list it is one result of several, but nobody waits any more
            answer.raiseException()
        elif not answer.check(error.DomainError, error.AuthoritativeDomainError):
            log.warn("SRV lookup of {service} failed: {error}", service=service, error=answer.getErrorMessage())
    if records:
        return order(records, most=_MAX_TARGETS)
    return [] if refused else [Target(name, DEFAULT_PORT, False)]


def _records(answer: Sequence[Any], direct: bool) -> list[Record] | None:
    """Return the SRV records of an answer; None if it says that the service is not offered (target "."), or no host.

    A label may hold any byte, and one target is no reason to give up the others.
    """
    payloads = [rr.payload for rr in answer if rr.type == dns.SRV]
    named = [one for one in payloads if one.target.name.isascii() and one.target.name not in (b"", b".")]
    if payloads and not named:
        return None
    return [
        Record(payload.priority, payload.weight, Target(payload.target.name.decode(), payload.port, direct))
        for payload in named
    ]


def order(records: Sequence[Record], rng: random.Random | None = None, most: int | None = None) -> list[Target]:
    """Return the targets by priority, and within one priority drawn by weight (RFC 2782); `most` of them, if given.

    Each draw costs time in proportion to the records, and an answer of DNS has room for thousands.
    """
    draw = rng or random.SystemRandom()
    remaining = sorted(records, key=lambda record: (record.priority, record.weight))
    ordered: list[Target] = []
    while remaining and len(ordered) != most:
        same = [record for record in remaining if record.priority == remaining[0].priority]
        chosen = _draw(same, draw)
        remaining.remove(chosen)
        ordered.append(chosen.target)
    return ordered


def _draw(records: Sequence[Record], rng: random.Random) -> Record:
    point = rng.randint(0, sum(record.weight for record in records))
    for record in records:
        point -= record.weight
        if point <= 0:
            return record
    return records[-1]
