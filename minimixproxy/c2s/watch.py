"""The few dealings between a client and its server that an account must know of: binding, and carbons. Pure.

Only the server is believed, and only about what it was asked: a request counts if it goes to the server itself, its
answer if it is the first one with that id that the server itself gives, and if no other request had that id meanwhile.
All else passes and nothing follows from it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from minimixproxy.c2s.binding import BadBinding, Own
from minimixproxy.c2s.namespaces import NS_BIND, NS_CARBONS
from minimixproxy.stanza import Stanza

MAX_WATCHED = 16


class Bound(NamedTuple):
    """The server bound a resource."""

    jid: str


class Misbound(NamedTuple):
    """The server bound what is not the login's. `reason`: for the operator."""

    reason: str


class CarbonsChanged(NamedTuple):
    """The server switched carbons (XEP-0280)."""

    enabled: bool


Learned = Bound | Misbound | CarbonsChanged
#: Reads the result of a request; the account is that of the login. None: nothing follows.
ReadResult = Callable[[Stanza, Own], Learned | None]
#: Reads a request that goes to the server; returns what is to read its result, or None if it is of no interest.
ReadRequest = Callable[[Stanza], ReadResult | None]


def _bind(_request: Stanza) -> ReadResult:
    return _bound


def _bound(result: Stanza, own: Own) -> Learned:
    try:
        return Bound(own.bound_jid(result))
    except BadBinding as error:
        return Misbound(str(error))


def _enable(_request: Stanza) -> ReadResult:
    return lambda _result, _own: CarbonsChanged(True)


def _disable(_request: Stanza) -> ReadResult:
    return lambda _result, _own: CarbonsChanged(False)


#: What is watched: the payload of an IQ set, and who reads it.
WATCHED: dict[tuple[str, str], ReadRequest] = {
    (NS_BIND, "bind"): _bind,
    (NS_CARBONS, "enable"): _enable,
    (NS_CARBONS, "disable"): _disable,
}


class _Open:
    """The requests of one id that are not answered yet."""

    __slots__ = ("number", "read_result")

    def __init__(self, read_result: ReadResult) -> None:
        self.read_result: ReadResult | None = read_result  # None: the id was used twice, so no answer counts
        self.number = 1


class RequestWatch:
    """Remembers the interesting requests of a client until their answers come; false when there are none."""

    __slots__ = ("_open", "_own")

    def __init__(self, own: Own) -> None:
        """`own`: whose login it is."""
        self._own = own
        self._open: dict[str, _Open] = {}

    def __len__(self) -> int:
        return len(self._open)

    def asked(self, iq: Stanza) -> bool:
        """The client sent an IQ. Returns False if it is of interest, but too many are open: its answer is ignored."""
        if self._open and (again := self._open.get(iq.get("id") or "")) is not None:
            self._asked_again(again, iq)
            return True
        if iq.get("type") != "set":
            return True
        read_result = self._reader(iq)
        if read_result is None or not iq.get("id") or not self._own.is_server(iq.get("to")):
            return True
        if len(self._open) >= MAX_WATCHED:
            return False
        self._open[iq["id"]] = _Open(read_result)
        return True

    def _reader(self, iq: Stanza) -> ReadResult | None:
        for payload in iq.payloads:
            read_request = WATCHED.get(payload)
            if read_request is not None:
                return read_request(iq)
        return None

    def _asked_again(self, open_: _Open, iq: Stanza) -> None:
        """An id that is open is used for another request: which of the two the server answers is not to be known."""
        if iq.get("type") in ("get", "set") and self._own.is_server(iq.get("to")):
            open_.read_result = None
            open_.number += 1

    def answered(self, iq: Stanza) -> Learned | None:
        """Something that looks like an answer came from the server's side; return what follows from it."""
        if iq.get("type") not in ("result", "error"):
            return None
        stanza_id = iq.get("id") or ""
        open_ = self._open.get(stanza_id)
        if open_ is None or not self._own.is_server(iq.get("from")):
            return None
        open_.number -= 1
        if open_.number == 0:
            del self._open[stanza_id]
        if open_.read_result is None or iq.get("type") == "error":
            return None
        return open_.read_result(iq, self._own)
