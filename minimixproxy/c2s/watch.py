"""The few dealings between a client and its server that an account must know of: binding, and carbons. Pure."""

from __future__ import annotations

from typing import NamedTuple

from minimixproxy.c2s.namespaces import NS_BIND, NS_CARBONS
from minimixproxy.c2s.upstream import bound_jid
from minimixproxy.stanza import Stanza

_MAX_WATCHED = 16
_INTERESTING = frozenset({(NS_BIND, "bind"), (NS_CARBONS, "enable"), (NS_CARBONS, "disable")})
_MARKS = (NS_BIND.encode(), NS_CARBONS.encode())


class Bound(NamedTuple):
    """The server bound a resource."""

    jid: str


class CarbonsChanged(NamedTuple):
    """The server switched carbons (XEP-0280)."""

    enabled: bool


class RequestWatch:
    """Remembers the interesting requests of a client until their answers come; false when there are none."""

    __slots__ = ("_requests",)

    def __init__(self) -> None:
        self._requests: dict[str, tuple[str, str]] = {}

    def __len__(self) -> int:
        return len(self._requests)

    def asked(self, iq: Stanza) -> None:
        """The client sent an IQ."""
        if iq.get("type") != "set" or len(self._requests) >= _MAX_WATCHED:
            return
        for payload in iq.payloads:
            if payload in _INTERESTING:
                self._requests[iq.get("id") or ""] = payload

    def answered(self, iq: Stanza) -> Bound | CarbonsChanged | None:
        """The server sent an IQ; return what follows from it."""
        if iq.get("type") not in ("result", "error"):
            return None
        payload = self._requests.pop(iq.get("id") or "", None)
        if payload is None or iq.get("type") == "error":
            return None
        if payload[0] == NS_CARBONS:
            return CarbonsChanged(payload[1] == "enable")
        jid = bound_jid(iq)
        return Bound(jid) if jid is not None else None
