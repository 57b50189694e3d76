"""Which exchange belongs to a mechanism (RFC 4422 §3.1)."""

from __future__ import annotations

from minimixproxy.c2s.server.exchanges import plain
from minimixproxy.c2s.server.exchanges.login_exchange import Client, Exchange, ExchangeContext
from minimixproxy.xep.sasl import SaslFailure


def exchange_by(mechanism: str | None, client: Client, context: ExchangeContext) -> Exchange:
    """Return the exchange of a mechanism for a client. Raises `SaslFailure` if there is none."""
    if mechanism == plain.MECHANISM:
        return plain.PlainExchange(client, context)
    raise SaslFailure("invalid-mechanism")
