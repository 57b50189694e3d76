"""Where DNS sends the clients of a domain (RFC 6120 §3.2, XEP-0368)."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.names import client as names_client
from twisted.names import dns
from twisted.names import error as names_error

from minimixproxy.c2s.transport.certificates import ascii_domain
from minimixproxy.checking.finding import Finding, error, good, unknown, warning

TIMEOUTS = (2, 4)  # seconds, for each question
PORT = 5222
_SERVICES = (("_xmpp-client._tcp", "STARTTLS"), ("_xmpps-client._tcp", "direct TLS"))
_TOLD = 4  # addresses of a name

Lookup = Callable[..., Awaitable[Any]]


class Target(NamedTuple):
    """What an SRV record names. `host` is "." where the service is said not to be there."""

    host: str
    port: int


class Names:
    """Asks DNS. `lookup`: of SRV records, as Twisted's; `addresses` returns those of a host. For tests."""

    def __init__(
        self,
        reactor: Any,
        lookup: Lookup = names_client.lookupService,
        addresses: Callable[[str], Awaitable[list[str]]] | None = None,
    ) -> None:
        self._reactor = reactor
        self._lookup = lookup
        self._addresses = addresses or self._by_resolver

    async def check(self, domain: str, ports: Sequence[int]) -> list[Finding]:
        """Return what is to be said of a domain. `ports`: those that the proxy listens on."""
        name = ascii_domain(domain)
        subject = f"DNS of {domain}"
        found: list[Finding] = []
        any_record = failed = False
        for service, kind in _SERVICES:
            record = f"{service}.{name}"
            try:
                targets = await self._targets(record)
            except OSError as fault:
                failed = True
                found.append(unknown(subject, f"{record} could not be asked: {fault}", "is there a resolver?"))
                continue
            any_record = any_record or bool(targets)
            for target in targets:
                found.append(await self._target(subject, kind, target, ports))
        if not any_record and not failed:
            found.append(await self._target(subject, "no SRV record, so STARTTLS", Target(name, PORT), ports))
        return found

    async def _targets(self, record: str) -> list[Target]:
        """Return the targets of an SRV record, by priority. Raises `OSError` if nobody answers."""
        try:
            answer = await self._lookup(record, TIMEOUTS)
        except (names_error.DomainError, names_error.AuthoritativeDomainError):
            return []
        except Exception as fault:
            raise OSError(str(fault) or type(fault).__name__) from fault
        records = sorted(
            (rr.payload for rr in answer[0] if rr.type == dns.SRV), key=lambda payload: int(payload.priority)
        )
        return [Target(one.target.name.decode("ascii", "replace") or ".", one.port) for one in records]

    async def _target(self, subject: str, kind: str, target: Target, ports: Sequence[int]) -> Finding:
        if target.host == ".":
            return warning(subject, f"says that there is no service for clients by {kind}", "is that meant?")
        way = f"sends clients to {target.host}:{target.port} ({kind})"
        try:
            addresses = await self._addresses(target.host)
        except OSError as fault:
            return error(subject, f"{way}, which has no address: {fault}", "add A and AAAA records for it")
        told = ", ".join(addresses[:_TOLD])
        here = [address for address in addresses if _is_here(address)]
        if here and target.port not in ports:
            return warning(
                subject,
                f"{way}, which is this machine ({told}), and the proxy does not listen on port {target.port}",
                "who listens there? Clients of the proxy have to be sent to one of its ports",
            )
        if here:
            return good(subject, f"{way}, which is this machine ({told})")
        return unknown(subject, f"{way}, at {told}: that is another machine, or one in front of this", "is that meant?")

    async def _by_resolver(self, host: str) -> list[str]:
        """Ask as programs on this machine do. Raises `OSError`."""

        def ask() -> list[str]:
            return sorted({str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)})

        asking: Deferred[list[str]] = deferToThreadPool(self._reactor, self._reactor.getThreadPool(), ask)
        return await asking


def _is_here(address: str) -> bool:
    """Tell whether an address is one of this machine."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
