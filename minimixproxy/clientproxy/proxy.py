"""One proxied domain, put together: the subprotocols, the watch over silent resources, time, connections. Pure."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from minimixproxy.clientproxy.domain import ProxiedDomain
from minimixproxy.clientproxy.iqs import IQProxying
from minimixproxy.clientproxy.messages import MessageProxying
from minimixproxy.clientproxy.only_connection import OnlyConnection
from minimixproxy.clientproxy.presences import PresenceProxying
from minimixproxy.clientproxy.silent_resources import SilentResources
from minimixproxy.config.settings import ClientProxy
from minimixproxy.logs.logger import Logger
from minimixproxy.namespaces import NS_PING
from minimixproxy.wire.stanza import Stanza


class Proxy:
    """`send` takes whole stanzas for the component stream; `clock` returns seconds."""

    log = Logger()

    def __init__(
        self, settings: ClientProxy, clock: Callable[[], float], send: Callable[[bytes], None], random: Random
    ) -> None:
        self.domain = ProxiedDomain(settings, clock, send, random)
        self.iqs = IQProxying(self.domain)
        self.messages = MessageProxying(self.domain)
        self.presences = PresenceProxying(
            self.domain,
            came=self.iqs.settle,
            lost=self.iqs.lost,
            ask_features=self.iqs.ask_features,
        )
        self._token = f"{random.getrandbits(40):x}"
        self._only: OnlyConnection | None = None
        self._silent_resources = SilentResources(
            self.domain,
            ping=lambda resource: self.iqs.ask(resource, NS_PING),
            fell_silent=self.iqs.retry_gets,
        )

    def share(self) -> None:
        """Other processes may connect the component, too: see to it that the server gives its stanzas to us alone."""
        domain = self.domain
        self._only = OnlyConnection(domain.name, self._token, domain.clock, domain.send, self.connected)

    def connected(self) -> None:
        """The component stream is ready to use; or it is now, and may have brought less than everything before."""
        if self._only is not None:
            self._only.connected()
        self.iqs.connected()
        self.presences.connected()

    def receive_message(self, message: Stanza) -> None:
        """Take one message in."""
        if self._only is None or not self._only.take(message):
            self.messages.receive(message)

    def tick(self) -> None:
        """Call this about every second while the stream is ready. A fault of ours costs one part of one time."""
        for part in (self.iqs, self.presences, self._silent_resources, self._only):
            if part is None:
                continue
            try:
                part.tick()
            except Exception:  # noqa: BLE001 (the edge: nobody else watches over the time)
                self.log.failure("{domain}: a fault while looking for what has timed out", domain=self.domain.name)

    def stopping(self) -> None:
        """The proxy goes away on purpose: nobody is left waiting."""
        self.iqs.fail_all()
        if self.domain.dropped:
            self.log.info(
                "{domain}: stanzas dropped since the start, by reason: {counts}",
                domain=self.domain.name,
                counts=dict(self.domain.dropped),
            )
