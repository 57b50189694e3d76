"""What an account's devices have enabled (XEP-0357 §5), in memory and on disk. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.interfaces.journal import Journal, KeptPush
from minimixproxy.minimix.interfaces.streams import SessionPort
from minimixproxy.minimix.room.sessions import resource_of
from minimixproxy.xep.push import Disabling, Service

MAX_REGISTRATIONS = 10  # of an account; one more takes the place of the oldest

Key = tuple[str, str]  # JID and node of the push service


class Registrations:
    """Of the account `bare`, each under its service's JID and node."""

    log = Logger()

    def __init__(self, bare: str, journal: Journal) -> None:
        self._bare = bare
        self._journal = journal
        self._all: dict[Key, KeptPush] = {}

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[KeptPush]:
        return iter(list(self._all.values()))

    def restore(self, kept: Iterable[KeptPush]) -> None:
        """Take what was kept."""
        self._all = {(one.jid, one.node): one for one in list(kept)[-MAX_REGISTRATIONS:]}

    def kept(self) -> tuple[KeptPush, ...]:
        """Return all, as they are to be on disk."""
        return tuple(self._all.values())

    def enable(self, session: SessionPort, service: Service, *, at_server: bool) -> None:
        """A device has enabled a service; whoever had it enabled before has it no more."""
        resource, device = resource_of(session), session.device
        key, new = _key(service), KeptPush(resource, service.jid, service.node, service.options, at_server, device)
        if self._all.get(key) == new:
            return
        self._all.pop(key, None)
        if len(self._all) >= MAX_REGISTRATIONS:
            oldest = self._all.pop(next(iter(self._all)))
            self.log.warn(
                "{account} has enabled more than {limit} push services: that at {service} is told nothing more",
                account=self._bare,
                limit=MAX_REGISTRATIONS,
                service=oldest.jid,
            )
        self._all[key] = new
        self._keep()
        self.log.info("{jid} has enabled push by {service}", jid=f"{self._bare}/{resource}", service=service.jid)

    def disable(self, disabling: Disabling) -> None:
        """Services are told nothing more."""
        gone = [key for key, one in self._all.items() if disabling.concerns(Service(one.jid, one.node))]
        for key in gone:
            del self._all[key]
        if gone:
            self._keep()
            self.log.info("{account} has push by {service} disabled", account=self._bare, service=disabling.jid)

    def _keep(self) -> None:
        self._journal.push_enabled(self._bare, self.kept())


def is_device(registration: KeptPush, session: SessionPort) -> bool:
    """Tell whether a session is of the device that has enabled this: the same installation; else, the same resource."""
    if registration.device and session.device:
        return registration.device == session.device
    return registration.resource == resource_of(session)


def _key(service: Service) -> Key:
    return service.jid, service.node
