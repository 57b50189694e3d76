"""client_proxy: a component domain (XEP-0114) answered by the resources of ordinary accounts.

`component` holds the stream, `handlers` are its Wokkel subprotocols; behind them `proxy` and everything it composes is
pure: stanzas in, bytes out, the clock handed in.
"""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.internet.endpoints import clientFromString

from minimixproxy.clientproxy.component import ComponentStream
from minimixproxy.clientproxy.handlers import Clockwork, IQHandler, MessageHandler, PresenceHandler
from minimixproxy.clientproxy.proxy import Proxy
from minimixproxy.config.settings import ClientProxy
from minimixproxy.wire.framing import MAX_DEPTH, FramingLimits


class ClientProxyService(ComponentStream):
    """One [[client_proxy]] section at work."""

    def __init__(self, settings: ClientProxy, reactor: Any) -> None:
        random = Random()
        endpoints = [clientFromString(reactor, description) for description in settings.server]
        limits = FramingLimits(settings.stanza_size, MAX_DEPTH, skips=True)
        super().__init__(settings.domain, settings.secret, endpoints, reactor, random, limits)
        self.setName(f"client proxy {settings.domain}")  # type: ignore[no-untyped-call]
        self.proxy = Proxy(settings, reactor.seconds, self.send, random)
        self.unusable = self.proxy.domain.unusable
        for handler in (
            IQHandler(self.proxy),
            MessageHandler(self.proxy),
            PresenceHandler(self.proxy),
            Clockwork(self.proxy, reactor),
        ):
            handler.setHandlerParent(self)

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
        }

    def stopService(self) -> Any:
        self.proxy.stopping()
        return super().stopService()


def service(settings: ClientProxy, reactor: Any) -> ClientProxyService:
    """Return the service of one proxied domain."""
    return ClientProxyService(settings, reactor)
