"""Streams with stream management (XEP-0198) that were to go on, on another connection. No I/O."""

from __future__ import annotations

from minimixproxy.counting.tally import Tally

RESUMPTIONS = Tally(
    "resumptions",
    "Streams that were to go on with another connection (XEP-0198): those of clients to the proxy, of their sessions "
    "to servers, of accounts to servers.",
    stream=("client", "session", "account"),
    result=("success", "failure"),
)
