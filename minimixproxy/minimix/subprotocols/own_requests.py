"""IQs that the account itself sends, and those of Wokkel handlers: the answer goes to who asked. No I/O."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, fail
from twisted.words.protocols.jabber.error import StanzaError, exceptionFromStanza
from twisted.words.protocols.jabber.xmlstream import TimeoutError
from twisted.words.xish import domish

from minimixproxy.jids import InvalidJID, Whose, parse_jid, whose
from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.interfaces.streams import Answered
from minimixproxy.minimix.subprotocols.open_iqs import MAX_OPEN, OpenIQs, PendingIQ, TableFull
from minimixproxy.minimix.subprotocols.open_queries import Key, result_key
from minimixproxy.minimix.subprotocols.subprotocol import ByName, Subprotocol
from minimixproxy.timing.clock import Clock
from minimixproxy.wire.stanza import Stanza, serialize
from minimixproxy.xep.disco import PING
from minimixproxy.xep.iq import iq


class OwnRequests(Subprotocol):
    """The open requests of one account stream. They fail after `timeout` seconds, and when there is no stream."""

    log = Logger()

    query = ByName("iq")
    priority = 0

    def __init__(self, bare: str, timeout: float, clock: Clock) -> None:
        super().__init__(bare)
        self._open: OpenIQs[Answered] = OpenIQs(clock, timeout, MAX_OPEN, self._not_answered)
        self._readers: dict[Key, Callable[[Stanza], None]] = {}

    @property
    def waiting(self) -> bool:
        """Whether an answer is still to come."""
        return len(self._open) > 0

    def ask(self, to: str, kind: str, payload: bytes, answered: Answered) -> None:
        """Send an IQ of the account's own (see `interfaces.streams.OwnRequests`)."""
        try:
            peer = parse_jid(to).full if to else ""
            wire_id = self._open.add(peer, answered, "", to)
        except TableFull:
            self.log.warn(
                "{account} has too many requests of its own open: none is sent to {peer}", account=self.bare, peer=to
            )
            answered(None)
            return
        self.send(iq(kind, payload, id=wire_id, to=to or None))

    def ask_archive(
        self, to: str, query_id: str, payload: bytes, result: Callable[[Stanza], None], answered: Answered
    ) -> None:
        """Send a query of the account's own to an archive (see `interfaces.streams.OwnRequests`)."""
        key = (parse_jid(to).bare, query_id)
        self._readers[key] = result

        def finished(answer: Stanza | None) -> None:
            del self._readers[key]
            answered(answer)

        self.ask(to, "set", payload, finished)

    def request(self, element: domish.Element) -> Deferred[domish.Element]:
        """Send an IQ of a Wokkel handler (see `wokkel.subprotocols.XMPPHandler.request`), under an id of ours.

        The result is the answer. It fails with the `StanzaError` of the answer, with the `TimeoutError` of Twisted's
        `xmlstream` if none comes, for whatever reason, or with `ValueError` if this is no request to anybody.
        """
        result: Deferred[domish.Element] = Deferred()

        def answered(answer: Stanza | None) -> None:
            if answer is None:
                result.errback(TimeoutError("IQ timed out"))
            elif answer.get("type") == "error":
                result.errback(_error_in(answer.element))
            else:
                result.callback(answer.element)

        kind = element.getAttribute("type")
        if element.name != "iq" or kind not in ("get", "set"):
            return fail(ValueError("neither an IQ get nor a set"))
        children = b"".join(serialize(child) for child in element.elements())
        try:
            self.ask(element.getAttribute("to") or "", kind, children, answered)
        except InvalidJID as error:
            return fail(error)
        return result

    def reader_of(self, result: Stanza) -> Callable[[Stanza], None] | None:
        """Return what the account itself reads this result of an archive with, if it asked for it."""
        key = result_key(result)
        return self._readers.get(key) if key is not None else None

    def received(self, stanza: Stanza) -> None:
        """A result or error for what was asked is handled here; all other IQs are for others."""
        if stanza.get("type") not in ("result", "error"):
            return
        sender = stanza.get("from")
        try:
            peer = parse_jid(sender).full if sender is not None else ""
        except InvalidJID:
            return
        pending = self._open.take(self._asked_as(peer), stanza.get("id") or "")
        if pending is not None:
            stanza.handled = True
            pending.asker(stanza if stanza.readable else None)

    def _asked_as(self, peer: str) -> str:
        """The account itself answers with any of its addresses; what it is asked has none."""
        found = whose(peer or None, self.parent.jid)
        return "" if found in (Whose.ACCOUNT, Whose.STREAM) else peer

    def not_sent(self, answer: Stanza) -> None:
        """It was too large: that is the answer."""
        self.received(answer)

    def unreachable(self, *, refused: bool) -> None:
        """Nothing that was asked is answered any more."""
        for pending in self._open.drop(lambda _pending: True):
            pending.asker(None)

    def keep_alive(self) -> None:
        """Ping the server (XEP-0199)."""
        self.ask(parse_jid(self.bare).domain, "get", PING, lambda _answer: None)

    @staticmethod
    def _not_answered(pending: PendingIQ[Answered]) -> None:
        pending.asker(None)


def _error_in(answer: domish.Element) -> StanzaError:
    """Return the error that an answer reports; it may name none that there is."""
    try:
        error: StanzaError = exceptionFromStanza(answer)
    except KeyError:  # a code that is none of XEP-0086
        error = StanzaError("undefined-condition")
    return error
