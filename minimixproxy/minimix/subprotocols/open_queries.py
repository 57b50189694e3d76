"""Queries to archives (XEP-0313) that are not finished yet: their results name only the archive and a queryid. Pure."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

from minimixproxy.jids import parse_jid
from minimixproxy.minimix.interfaces.streams import SessionPort
from minimixproxy.wire.stanza import Stanza

_LONG = 64  # characters
_MAM = frozenset({"urn:xmpp:mam:1", "urn:xmpp:mam:2"})
Key = tuple[str, str | None]  # archive, queryid


class OpenQueries:
    """Who reads the results of which query: a session, or the account itself."""

    def __init__(self) -> None:
        self._askers: dict[Key, tuple[SessionPort, str]] = {}
        self._readers: dict[Key, Callable[[Stanza], None]] = {}

    def __contains__(self, key: Key) -> bool:
        return key in self._askers

    def opened(self, key: Key, session: SessionPort, stanza_id: str) -> None:
        """A session asks, with an IQ of this id."""
        self._askers[key] = (session, stanza_id)

    def answered(self, session: SessionPort, stanza_id: str) -> None:
        """That IQ was answered, or will not be: there are no more results."""
        for key, asked in list(self._askers.items()):
            if asked == (session, stanza_id):
                del self._askers[key]

    def session_closed(self, session: SessionPort) -> None:
        """Nobody reads its results."""
        self._askers = {key: asked for key, asked in self._askers.items() if asked[0] is not session}

    def opened_by_account(self, key: Key, reader: Callable[[Stanza], None]) -> None:
        """The account itself asks, and `reader` gets the results."""
        self._readers[key] = reader

    def answered_to_account(self, key: Key) -> None:
        """There are no more results for the account."""
        del self._readers[key]

    def reader_of(self, stanza: Stanza) -> Callable[[Stanza], None] | None:
        """Return what the account itself reads this result with, if it asked for it."""
        key = _result_key(stanza)
        return self._readers.get(key) if key is not None else None

    def asker_of(self, stanza: Stanza) -> SessionPort | None:
        """Return the session that asked for this result."""
        key = _result_key(stanza)
        return self._askers[key][0] if key in self._askers and key is not None else None


def is_archive_result(stanza: Stanza) -> bool:
    """Tell whether a room's message carries one result of an archive query: an occupant's never does."""
    return "/" not in stanza["from"] and any(name == "result" and uri in _MAM for uri, name in stanza.payloads)


def _result_key(stanza: Stanza) -> Key | None:
    for uri in _MAM:
        result = stanza.payload(uri, "result")
        if result is not None:
            return parse_jid(stanza["from"]).bare, _short(result.getAttribute("queryid"))
    return None


def query_key(stanza: Stanza, archive: str) -> Key | None:
    """Return what the results of an IQ will name, if it is a query to an archive."""
    for uri in _MAM:
        query = stanza.payload(uri, "query")
        if query is not None and stanza.get("type") == "set":
            return archive, _short(query.getAttribute("queryid"))
    return None


def _short(query_id: str | None) -> str | None:
    """Return what a queryid is known by: one that is long, by its hash."""
    return query_id if query_id is None or len(query_id) <= _LONG else sha256(query_id.encode()).hexdigest()
