"""The part of one client's negotiation that is registration: from its first request on it has more time."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from minimixproxy.c2s.server.registrar import Registrar, Registration
from minimixproxy.c2s.transport.peers import Peer
from minimixproxy.config.settings import Domain
from minimixproxy.xep.registration import Request

REQUEST_TIME = 600.0  # seconds from a client's request to its next, or to login: people fill in forms ...
LONGEST = 1800.0  # ... and from the first to login


class ClientRegistration:
    """Costs nothing until the client asks for something."""

    def __init__(self, registrar: Registrar) -> None:
        self._registrar = registrar
        self._registration: Registration | None = None
        self._ends = 0.0

    def ask(self, request: Request, domain: Domain, client: Peer) -> Coroutine[Any, Any, bytes]:
        """Return what comes to the answer for the client; it raises `TooMuch`."""
        if self._registration is None:
            self._registration = Registration(self._registrar, domain, client)
            self._ends = self._registrar.clock.seconds() + LONGEST
        return self._registration.ask(request)

    def patience(self, domain: Domain) -> float | None:
        """Return the seconds that the client has from now to its next request, or to login.

        None: no more than it had, for there is nothing to be filled in: else a stranger could stay for its asking.
        """
        if not self._registrar.is_offered(domain):
            return None
        return max(0.0, min(REQUEST_TIME, self._ends - self._registrar.clock.seconds()))

    def close(self) -> None:
        """The client logs in, or is gone."""
        if self._registration is not None:
            self._registration.close()
