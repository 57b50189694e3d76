"""Clients enable and disable push at their own server (XEP-0357 §5, §6): what they ask, and what comes of it. No I/O.

The requests pass. What the server takes is noted. Where it knows nothing of push, it is taken here in its place, and
offered here in the server's list of what the account can do (§4.1). What is disabled is so at once, whatever the server
says of it: it may know nothing of what was enabled here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from minimixproxy.jids import Whose, parse_jid, whose
from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.interfaces.streams import SessionPort
from minimixproxy.namespaces import NS_DISCO_INFO, NS_PUSH
from minimixproxy.timing.clock import Clock
from minimixproxy.wire.stanza import Stanza, parse_element, serialize
from minimixproxy.xep import muc
from minimixproxy.xep.iq import iq
from minimixproxy.xep.push import MARK, Disabling, Service, request_in

TIMEOUT = 120.0  # seconds for the server to answer
MAX_OPEN = 50  # requests of one account's clients: what is asked beyond that passes, and is not noted
LONGEST_ID = 1024  # characters of an id that is remembered: the same

#: What servers say that do not know push.
_UNKNOWN = frozenset({"service-unavailable", "feature-not-implemented"})


class _Listing(Enum):
    """A question for what the account can do."""

    INFO = "info"


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request on its way: `to` as the client wrote it, None if it named nobody."""

    request: Service | Disabling | _Listing
    to: str | None
    deadline: float


class Enabling:
    """Requests of one account's clients. `enabled` and `disabled` are told what has come of them."""

    log = Logger()

    def __init__(
        self,
        clock: Clock,
        enabled: Callable[[SessionPort, Service, bool], None],
        disabled: Callable[[Disabling], None],
    ) -> None:
        """`enabled` is told, too, whether it is the server that has enabled it."""
        self._clock = clock
        self._enabled = enabled
        self._disabled = disabled
        self._open: dict[tuple[SessionPort, str], _Asked] = {}

    def __len__(self) -> int:
        return len(self._open)

    def asked(self, session: SessionPort, iq: Stanza) -> None:
        """Look at an IQ of a client. Raises `UnusableStanza`."""
        key = (session, iq.get("id") or "")
        # Of the answers to come nobody can say which is which.
        is_open_twice = iq.get("type") in ("get", "set") and self._open.pop(key, None) is not None
        request = _request(iq)
        if request is None or whose(iq.get("to"), session.jid) is not Whose.ACCOUNT:
            return
        if isinstance(request, Disabling):  # whatever comes of it at the server
            self._disabled(request)
        elif isinstance(request, Service) and _is_own(request.jid, session):
            return  # no service: it would be published among the account's own data, and shown to its contacts
        if is_open_twice or not 0 < len(key[1]) <= LONGEST_ID:
            return
        now = self._clock.seconds()
        self._open = {key: asked for key, asked in self._open.items() if asked.deadline > now}
        if len(self._open) < MAX_OPEN:
            self._open[key] = _Asked(request, iq.get("to"), now + TIMEOUT)
        elif not isinstance(request, _Listing):
            self.log.warn(
                "{jid} asks about push while {limit} requests of its account are open: what comes of it is not noted",
                jid=session.jid,
                limit=MAX_OPEN,
            )

    def answered(self, session: SessionPort, answer: Stanza) -> bytes | None:
        """Look at an IQ of the server for a client; return what the client gets in its place, if it does."""
        asked = self._open.get((session, answer.get("id") or ""))
        kind = answer.get("type")
        if asked is None or kind not in ("result", "error") or not _is_of_account(answer.get("from"), session):
            return None
        del self._open[session, answer["id"]]
        if isinstance(asked.request, _Listing):
            return _with_feature(answer) if kind == "result" else None
        if isinstance(asked.request, Disabling):
            self._disabled(asked.request)  # what was enabled meanwhile had been asked for before
        is_unknown = kind == "error" and muc.error_condition(answer) in _UNKNOWN
        if kind == "error" and not is_unknown:
            return None
        if isinstance(asked.request, Service):
            self._enabled(session, asked.request, not is_unknown)
        return iq("result", id=answer["id"], sender=asked.to, to=session.jid) if is_unknown else None

    def session_closed(self, session: SessionPort) -> None:
        """Nobody waits for its answers."""
        self._open = {key: asked for key, asked in self._open.items() if key[0] is not session}


def _request(iq: Stanza) -> Service | Disabling | _Listing | None:
    kind = iq.get("type")
    if kind == "set" and MARK in iq.raw:
        return request_in(iq)
    if kind == "get" and (NS_DISCO_INFO, "query") in iq.payloads:
        query = iq.payload(NS_DISCO_INFO, "query")
        return _Listing.INFO if query is not None and not query.getAttribute("node") else None
    return None


def _is_own(service: str, session: SessionPort) -> bool:
    return parse_jid(service).bare == parse_jid(session.jid).bare


def _is_of_account(address: str | None, session: SessionPort) -> bool:
    """Tell whether only the server, for the account, can answer from an address."""
    return whose(address, session.jid) in (Whose.ACCOUNT, Whose.STREAM)


def _with_feature(info: Stanza) -> bytes | None:
    """Return the answer with push among the features; None if it is there, or this is no such answer."""
    query = info.payload(NS_DISCO_INFO, "query")
    if query is None or any(
        feature.getAttribute("var") == NS_PUSH for feature in query.elements(NS_DISCO_INFO, "feature")
    ):
        return None
    element = parse_element(info.self_contained(), {"": info.uri})
    (copy,) = element.elements(NS_DISCO_INFO, "query")
    copy.addElement((NS_DISCO_INFO, "feature"))["var"] = NS_PUSH
    return serialize(element)
