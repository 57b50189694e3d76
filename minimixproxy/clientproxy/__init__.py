"""client_proxy: a component domain (XEP-0114) answered by the resources of ordinary accounts.

`component` holds the stream, `handlers` are its Wokkel subprotocols; behind them `proxy` and everything it composes is
pure: stanzas in, bytes out, the clock handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from random import Random
from typing import Any, NamedTuple, Protocol

from twisted.application.service import MultiService
from twisted.internet.defer import maybeDeferred
from twisted.internet.endpoints import clientFromString

from minimixproxy.clientproxy.component import ComponentStream
from minimixproxy.clientproxy.handlers import Clockwork, StanzaHandler
from minimixproxy.clientproxy.proxy import Proxy
from minimixproxy.config.settings import ClientProxy, Settings
from minimixproxy.logs.logger import Logger
from minimixproxy.wire.framing import MAX_DEPTH, FramingLimits

#: Bytes of a tag. An attribute of what a user may say can have six times as many as the user has written.
LARGEST_TAG = 16 * 1024 * 1024


class ClientProxyService(ComponentStream):
    """One [[client_proxy]] section at work."""

    def __init__(self, settings: ClientProxy, reactor: Any, may_act: Callable[[], bool] | None = None) -> None:
        """`may_act` tells whether the domain is still this process's; None: it is nobody else's."""
        random = Random()
        endpoints = [clientFromString(reactor, description) for description in settings.server]
        limits = FramingLimits(settings.stanza_size, MAX_DEPTH, skips=True, max_tag=LARGEST_TAG)
        super().__init__(settings.domain, settings.secret, endpoints, reactor, random, limits)
        self.setName(f"client proxy {settings.domain}")  # type: ignore[no-untyped-call]
        self.proxy = Proxy(settings, reactor.seconds, self.send, random)
        if may_act is not None:
            self.act_while(may_act)
            self.proxy.share()
        self.unusable = self.proxy.domain.unusable
        for handler in (
            StanzaHandler("iq", self.proxy.iqs.receive),
            StanzaHandler("message", self.proxy.receive_message),
            StanzaHandler("presence", self.proxy.presences.receive),
            Clockwork(self.proxy, reactor),
        ):
            handler.setHandlerParent(self)

    standing_by = False

    @property
    def dropped(self) -> int:
        """How many stanzas went nowhere."""
        return self.proxy.domain.dropped.total()

    def status(self) -> dict[str, object]:
        """Return what the operator is told of it (see `status_report`)."""
        domain = self.proxy.domain
        return {
            "domain": self.domain,
            "connected": self.connected,
            "resources": len(domain.targets.resources()),
            "requests": len(domain.requests),
            "targets": {target: state.value for target, state in domain.targets.subscriptions.items()},
            "holder": None,
            "standing_by": False,
        }

    def stopService(self) -> Any:
        self.proxy.stopping()
        return super().stopService()


class Served(Protocol):
    """The service of one domain: a `ClientProxyService`, or what has one while the domain is this process's."""

    domain: str

    @property
    def connected(self) -> bool: ...

    @property
    def standing_by(self) -> bool: ...

    @property
    def dropped(self) -> int: ...

    def status(self) -> Mapping[str, object]: ...


class ClientProxies(MultiService):
    """All proxied domains (`reloading.Part`); iterating yields the services that run."""

    log = Logger()

    def __init__(self, settings: Settings, make: Callable[[ClientProxy], Served]) -> None:
        """`make` returns the service of a domain."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._settings = settings
        self._make = make
        self._wanted: dict[str, ClientProxy] = {}
        for section in settings.client_proxy:
            self._wanted[section.domain] = section
            self._begin(section.domain)

    def _begin(self, domain: str) -> None:
        """Serve a domain, unless it is not wanted any more, or is served."""
        section = self._wanted.get(domain)
        if section is not None and all(service.domain != domain for service in self._served()):
            self.addService(self._make(section))  # type: ignore[no-untyped-call]

    def _ended(self, domain: str, _result: object) -> None:
        self._begin(domain)

    def _served(self) -> list[Served]:
        return list(super().__iter__())  # type: ignore[no-untyped-call]

    def __iter__(self) -> Iterator[Served]:
        return iter(self._served())

    def __len__(self) -> int:
        return len(self._served())

    def __contains__(self, service: object) -> bool:
        return service in self._served()

    async def prepare(self, new: Settings) -> PreparedProxies:
        """Find out which domains begin anew (`reloading.Part`)."""
        before = {section.domain: section for section in self._settings.client_proxy}
        after = {section.domain: section for section in new.client_proxy}
        return PreparedProxies(self, {domain for domain in before if after.get(domain) != before[domain]})

    def reloaded(self, ended: Collection[str]) -> None:
        """Serve what the settings have now; the services of `ended` domains end first, and others come for them."""
        self._wanted = {section.domain: section for section in self._settings.client_proxy}
        for service in self._served():
            if service.domain in ended:
                stopped = maybeDeferred(self.removeService, service)
                stopped.addErrback(lambda failure: self.log.failure("while a component ended", failure))
                stopped.addCallback(partial(self._ended, service.domain))
        for domain in self._wanted:
            if domain not in ended:
                self._begin(domain)


class PreparedProxies(NamedTuple):
    """The domains that begin anew, or end (`reloading.Prepared`)."""

    proxies: ClientProxies
    ended: Collection[str]

    def commit(self) -> None:
        """Have them do so."""
        self.proxies.reloaded(self.ended)

    def undo(self) -> None:
        """Nothing was done."""
