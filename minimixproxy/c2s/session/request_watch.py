"""The few dealings between a client and its server that an account must know of. Pure.

They are binding, carbons, and a password that is changed or an account that is removed (XEP-0077 §3.2, §3.3).

Only the server is believed, and only about what it was asked: a request counts if it goes to the server itself, its
answer if it is the first one with that id that the server itself gives, and if no other request had that id meanwhile.
All else passes and nothing follows from it.

A binding is learned of however it was asked for (`binding_in`), for a session that nobody knows of could not be ended.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from minimixproxy.c2s.upstream.binding import BadBinding, Own
from minimixproxy.namespaces import NS_BIND, NS_CARBONS, NS_REGISTER, NS_STREAM, NS_STREAM_ERRORS
from minimixproxy.wire.children import children_of, first_of
from minimixproxy.wire.stanza import Stanza
from minimixproxy.wire.trees import is_readable
from minimixproxy.xep.registration import is_name_of, is_plain_removal, is_removal, submitted

MAX_WATCHED, LARGEST = 16, 16 * 1024  # requests, and bytes of one: its id, or a password, is kept
#: How servers end the streams of an account that is removed: Prosody 0.12 by the first, ejabberd 23.01 by the second.
AFTER_REMOVAL = frozenset({(NS_STREAM_ERRORS, "not-authorized"), (NS_STREAM_ERRORS, "conflict")})


class Bound(NamedTuple):
    """The server bound a resource."""

    jid: str


class Misbound(NamedTuple):
    """The server bound what is not the login's. `reason`: for the operator."""

    reason: str


class CarbonsChanged(NamedTuple):
    """The server switched carbons (XEP-0280)."""

    enabled: bool


@dataclass(frozen=True, slots=True)
class PasswordChanged:
    """The server took a new password for the account."""

    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Removed:
    """The server removed the account. Not `certain`: it may have done something else with what it was asked."""

    certain: bool


Learned = Bound | Misbound | CarbonsChanged | PasswordChanged | Removed
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


def _register(request: Stanza) -> ReadResult | None:
    query = next(request.element.elements(NS_REGISTER, "query"))
    if is_removal(query):
        # With something beside it, Prosody takes the first element that it finds, ejabberd perhaps another account.
        return _removed if is_plain_removal(query) else _perhaps_removed
    username, password = submitted(query, "username"), submitted(query, "password")
    if not username or not password:
        return None
    return lambda _result, own: PasswordChanged(password) if is_name_of(username, own.bare) else None


def _removed(_result: Stanza, _own: Own) -> Learned:
    return Removed(certain=True)


def _perhaps_removed(_result: Stanza, _own: Own) -> Learned:
    return Removed(certain=False)


_REMOVALS: tuple[ReadResult, ...] = (_removed, _perhaps_removed)

#: What is watched: the payload of an IQ set, and who reads it.
WATCHED: dict[tuple[str, str], ReadRequest] = {
    (NS_BIND, "bind"): _bind,
    (NS_CARBONS, "enable"): _enable,
    (NS_CARBONS, "disable"): _disable,
    (NS_REGISTER, "query"): _register,
}


class _Open:
    """The requests of one id that are not answered yet."""

    __slots__ = ("lasting", "number", "read_result")

    def __init__(self, read_result: ReadResult, lasting: bool) -> None:
        self.lasting = lasting
        self.read_result: ReadResult | None = read_result  # None: the id was used twice, so no answer counts
        self.number = 1


class RequestWatch:
    """Remembers the interesting requests of a client until their answers come; false when there are none."""

    __slots__ = ("_open", "_own", "_perhaps_removed")

    def __init__(self, own: Own) -> None:
        """`own`: whose login it is."""
        self._own = own
        self._open: dict[str, _Open] = {}
        self._perhaps_removed = False

    def __len__(self) -> int:
        return len(self._open) + self._perhaps_removed

    @property
    def lasting(self) -> bool:
        """Whether something is open that holds for the account, whatever becomes of the session."""
        return self._perhaps_removed or any(open_.lasting for open_ in self._open.values())

    def asked(self, iq: Stanza) -> bool:
        """The client sent an IQ. False: it is of interest, but too large or one too many: its answer is ignored."""
        if (again := self._open.get(iq.get("id") or "")) is not None:
            self._asked_again(again, iq)
            return True
        if iq.get("type") != "set":
            return True
        read_result = self._reader(iq)
        if read_result is None:
            return True
        if not iq.get("id") or not self._own.is_server(iq.get("to")):
            self._not_followed(read_result, iq)
            return True
        if len(self._open) >= MAX_WATCHED or len(iq.raw) > LARGEST:
            self._not_followed(read_result, iq)
            return False
        self._open[iq["id"]] = _Open(read_result, iq.has_payload(NS_REGISTER, "query"))
        return True

    def _not_followed(self, read_result: ReadResult | None, iq: Stanza) -> None:
        """The answer to a request will tell nothing; that to a removal need not, for the server ends the stream.

        Prosody 0.12 removes the account also if it is asked at a resource of its domain, both without a usable id.
        """
        if read_result in _REMOVALS and self._own.is_at_server(iq.get("to")):
            self._perhaps_removed = True

    def _reader(self, iq: Stanza) -> ReadResult | None:
        if not is_readable(iq.raw):  # a server may read on: of no password are there so many tags
            asked = first_of(children_of(iq), NS_REGISTER, "query")
            return None if asked is None else _perhaps_removed
        for payload in iq.payloads:
            read_request = WATCHED.get(payload)
            if read_request is not None:
                return read_request(iq)
        return None

    def _asked_again(self, open_: _Open, iq: Stanza) -> None:
        """An id that is open is used for another request: which of the two the server answers is not to be known."""
        if iq.get("type") == "set":
            self._not_followed(self._reader(iq), iq)
        if iq.get("type") in ("get", "set") and self._own.is_server(iq.get("to")):
            self._perhaps_removed = self._perhaps_removed or open_.read_result in _REMOVALS
            open_.read_result = None
            open_.number += 1

    def heard(self, stanza: Stanza) -> Learned | None:
        """The server said something; return what follows from it."""
        if stanza.name == "iq":
            return self.answered(stanza)
        return self.ended(stanza) if (stanza.uri, stanza.name) == (NS_STREAM, "error") else None

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
        learned = open_.read_result(iq, self._own)
        if learned == Removed(certain=False):
            self._perhaps_removed = True
        return learned

    def binding_in(self, iq: Stanza) -> Learned | None:
        """Return what was bound by an answer to a request that is not followed, for a session without a JID.

        Prosody 0.12 binds without an id, ejabberd 23.01 whoever is asked, and answers in that one's name. To a client
        without an address nobody else speaks; what is no answer of the server's own ends no session, all the same.
        """
        if (iq.name, iq.get("type")) != ("iq", "result") or not iq.has_payload(NS_BIND, "bind"):
            return None
        learned = _bound(iq, self._own)
        return learned if isinstance(learned, Bound) or self._own.is_server(iq.get("from")) else None

    def ended(self, error: Stanza) -> Removed | None:
        """The server ends the stream with an error: that of a removed account, if the client has asked for that?"""
        asked = self._perhaps_removed or any(open_.read_result in _REMOVALS for open_ in self._open.values())
        return Removed(certain=True) if asked and error.payloads[:1] and error.payloads[0] in AFTER_REMOVAL else None
