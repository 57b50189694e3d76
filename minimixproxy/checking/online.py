"""What can be checked only by asking: names, servers, ports."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, DeferredList

from minimixproxy.checking.endpoints import where
from minimixproxy.checking.finding import Finding, unknown
from minimixproxy.checking.names import Names
from minimixproxy.checking.servers import Servers
from minimixproxy.config.checks import ENDPOINT_FAULTS
from minimixproxy.config.settings import Domain, Settings

PATIENCE = 60.0  # seconds for each part


class LoginToTry(NamedTuple):
    """An account, by whose login its server shows more."""

    domain: Domain
    local: str
    password: str


async def check_online(
    settings: Settings, reactor: Any, servers: Servers, names: Names, login: LoginToTry | None = None
) -> list[Finding]:
    """Return what is to be said, in the order of the configuration. All are asked at once, and each has an end."""
    ports = _ports(settings, reactor)
    work: list[tuple[str, Awaitable[list[Finding]]]] = []
    for domain in settings.domain.values():
        work.append((f"DNS of {domain.name}", names.check(domain.name, ports)))
        work.append((f"server of {domain.name}", servers.check(domain)))
    for proxy in settings.client_proxy:
        work.append((f"client_proxy {proxy.domain}", servers.check_component(proxy)))
    if login is not None:
        work.append((f"login of {login.local}@{login.domain.name}", servers.check_login(*login)))
    return await _all(work, reactor)


async def _all(work: Iterable[tuple[str, Any]], reactor: Any) -> list[Finding]:
    named = list(work)
    asked: list[Deferred[list[Finding]]] = []
    for subject, coroutine in named:
        asking: Deferred[list[Finding]] = Deferred.fromCoroutine(coroutine)

        def late(_result: object, timeout: float, subject: str = subject) -> list[Finding]:
            return [unknown(subject, f"no answer within {timeout:.0f} seconds")]

        asked.append(asking.addTimeout(PATIENCE, reactor, onTimeoutCancel=late))
    results = await DeferredList(asked, consumeErrors=True)
    found: list[Finding] = []
    for (subject, _), (succeeded, result) in zip(named, results, strict=True):
        found += result if succeeded else [unknown(subject, f"could not be asked: {_why(result)}")]
    return found


def _why(failure: Any) -> str:
    return str(failure.getErrorMessage())


def _ports(settings: Settings, reactor: Any) -> list[int]:
    """Return the ports of the proxy, as far as they can be told."""
    found = []
    for listen in settings.listen:
        try:
            bound = where(listen.endpoint, reactor)
        except ENDPOINT_FAULTS:
            continue
        if bound is not None and bound.port:
            found.append(bound.port)
    return found
