"""Resources that are available and yet say nothing: hung, or cut off while their server keeps the session for
resumption (XEP-0198). They are pinged; one that does not answer even that gets no new requests while others are there.

Pure.
"""

from __future__ import annotations

from collections.abc import Callable

from minimixproxy.clientproxy.domain import ProxiedDomain
from minimixproxy.clientproxy.targets import Resource
from minimixproxy.logs.logger import Logger

Ask = Callable[[str], None]


class SilentResources:
    """Watches the resources that owe answers. `ping` pings one; `fell_silent` is told of one that does not answer."""

    log = Logger()

    def __init__(self, domain: ProxiedDomain, ping: Ask, fell_silent: Ask) -> None:
        self._domain = domain
        self._ping = ping
        self._fell_silent = fell_silent
        self._patience = domain.settings.ping_after

    def tick(self) -> None:
        """Look at every resource; call this about every second."""
        for resource in self._domain.targets.resources():
            self._look_at(resource)

    def _look_at(self, resource: Resource) -> None:
        now = self._domain.clock()
        if resource.pinged:
            if now - resource.pinged >= self._patience:
                if not resource.mute:
                    self._domain.targets.muted(resource)
                    self.log.warn(
                        "{domain}: {jid} does not answer any request: others get its work",
                        domain=self._domain.name,
                        jid=resource.jid,
                    )
                    self._fell_silent(resource.jid)
                self._ask(resource)
            return
        oldest = self._domain.requests.oldest(resource.jid)
        if oldest is not None and now - max(oldest.sent, resource.heard) >= self._patience:
            self._ask(resource)

    def _ask(self, resource: Resource) -> None:
        resource.pinged = self._domain.clock()
        self._ping(resource.jid)
