"""Sessions' queries to archives (XEP-0313) that are not finished: results name only archive and queryid. Pure."""

from __future__ import annotations

from hashlib import sha256

from minimixproxy.jids import parse_jid
from minimixproxy.minimix.interfaces.streams import SessionPort
from minimixproxy.namespaces import NS_MAM, NS_MAM_1
from minimixproxy.wire.stanza import Stanza

_LONG = 64  # characters
_MAM = frozenset({NS_MAM_1, NS_MAM})
Key = tuple[str, str | None]  # archive, queryid


class OpenQueries:
    """Which session reads the results of which query."""

    def __init__(self) -> None:
        self._askers: dict[Key, tuple[SessionPort, str]] = {}

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

    def asker_of(self, stanza: Stanza) -> SessionPort | None:
        """Return the session that asked for this result."""
        key = result_key(stanza)
        return self._askers[key][0] if key in self._askers and key is not None else None


def is_archive_result(stanza: Stanza) -> bool:
    """Tell whether a room's message carries one result of an archive query: an occupant's never does."""
    return "/" not in stanza["from"] and any(name == "result" and uri in _MAM for uri, name in stanza.payloads)


def result_key(stanza: Stanza) -> Key | None:
    """Return what a result of an archive names, or None if it is none."""
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
