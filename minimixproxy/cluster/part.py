"""What a process of a cluster has that one alone has not: made of the configuration, and put between the services."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.application.service import IService

from minimixproxy.c2s.server.elsewhere import Cluster, Elsewhere, HolderUnknown
from minimixproxy.c2s.server.listener import Clients
from minimixproxy.cluster.component_duty import ComponentDuty
from minimixproxy.cluster.dialling import dialler
from minimixproxy.cluster.holding import Holding
from minimixproxy.cluster.interfaces import Accounts, Component, Journal
from minimixproxy.cluster.internal_port import InternalPort, ThisProcess
from minimixproxy.cluster.internal_service import InternalService
from minimixproxy.cluster.internal_tls import InternalTLS
from minimixproxy.cluster.membership import Membership, SharedSecret
from minimixproxy.cluster.pipes import EdgePipes
from minimixproxy.config import cluster_checks, settings
from minimixproxy.minimix.interfaces.handed import Revive
from minimixproxy.storage.errors import StateError
from minimixproxy.storage.service import Place
from minimixproxy.timing.agreed_time import AgreedTime


class ClusterPart:
    """`resource` and `is_held` may be asked when state is open. Raises `CertificateError`."""

    def __init__(self, section: settings.Cluster, directory: Path, reactor: Any, seal_key: Path | None = None) -> None:
        """`seal_key`: see `SharedSecret`."""
        self._section = section
        self._reactor = reactor
        self._secret = SharedSecret(section.secret, directory, seal_key)
        self._tls: InternalTLS | None = None
        if section.ca is not None and section.certificate is not None and section.key is not None:
            self._tls = InternalTLS(section.ca, section.certificate, section.key)
            self._tls.load()
        self._pipes = EdgePipes(dialler(reactor, self._tls), reactor)
        self.resource = self._secret.resource
        self.membership: Membership

    def is_held(self, bare: str) -> bool:
        """Tell whether this process has an account."""
        return bare in self.membership.holding

    def join(
        self, journal: Journal, accounts: Accounts, revive: Revive, lost: Callable[[StateError], None]
    ) -> Membership:
        """Return the service that holds accounts. `revive`: see `Holding`; `lost`: see `Holding.begin`."""
        holding = Holding(journal, accounts, revive, self._reactor)
        holding.when_told = AgreedTime(self._reactor).told
        self.membership = Membership(self._section, self._secret, holding, lost, self._reactor)
        return self.membership

    def place(self, place: Place) -> Place:
        """Return where state is, opened as a cluster opens it."""
        return replace(place, opener=self.membership.open)

    async def elsewhere(self, bare: str) -> str:
        """Have an account here, for the operator; or return why that cannot be, "" if it is."""
        return await self._said(bare, self.membership.holding.claim)

    async def told_elsewhere(self, bare: str) -> str:
        """Return who can tell of an account, if another process holds it; nothing is taken that nobody knows."""
        return await self._said(bare, self.membership.holding.find) if self.membership.number else ""

    @staticmethod
    async def _said(bare: str, ask: Callable[[str], Awaitable[Elsewhere | None]]) -> str:
        try:
            found = await ask(bare)
        except HolderUnknown as error:
            return f"who holds {bare} cannot be found out now: {error}"
        return "" if found is None else f"{bare} is held by {found.name} ({found.address}): ask there"

    def status(self) -> dict[str, object]:
        """Return what there is to tell of this process and the others (docs/status.md)."""
        holding, number = self.membership.holding, self.membership.number
        view = holding.view
        return {
            "name": self._section.name,
            "address": self._section.reached_at,
            "number": number,
            "accounts": len(holding),
            "draining": holding.handing_on.draining,
            "pipes": len(self._pipes),
            "left": round(self.membership.left, 1),
            "seen": view.age is not None and not holding.trouble,
            "seen_ago": None if view.age is None else round(view.age, 1),
            "others": [holder._asdict() for holder in view.live if holder.number != number],
            "all_accounts": view.accounts(number, len(holding)),
            "free": view.free,
            "left_by": list(view.left_by),
        }

    def troubles(self) -> Iterable[str]:
        """Yield what keeps this process from seeing how the cluster stands."""
        if self.membership.holding.trouble:
            yield f"the cluster cannot be looked at: {self.membership.holding.trouble}"

    def for_negotiations(self) -> Cluster:
        """Return what negotiations ask for an account's holder, and for the way there."""
        self.membership.holding.when_over = self._pipes.cut
        return Cluster(self.membership.holding, self._pipes, self._secret.decoys)

    def duty(self, domain: str, make: Callable[[Callable[[], bool]], Component]) -> ComponentDuty:
        """Return the service by which one process of the cluster connects a domain (see `ComponentDuty`)."""
        return ComponentDuty(domain, make, self.membership, self._reactor)

    def port(self, clients: Clients) -> IService:
        """Return the port for other processes."""
        own = ThisProcess(lambda: self.membership.number, self.membership.holding.keep)
        place = cluster_checks.place(self._section.endpoint)
        return InternalService(place, InternalPort(clients, own, self._tls), self._reactor)
