"""What a client's server sends: it goes to the client, less what the account takes."""

from __future__ import annotations

from minimixproxy.c2s.session.parts import EndingSession, SessionParts
from minimixproxy.logs.logger import Logger
from minimixproxy.safety_net import NET
from minimixproxy.wire.events import Event, Fault, Keepalive, Skipped, StreamClosed
from minimixproxy.wire.stanza import Stanza, rewrite
from minimixproxy.xep.oversized import error_for, lost_answer
from minimixproxy.xep.stream_headers import STREAM_END


class FromServer:
    """Handles the events of one session's stream upstream."""

    log = Logger()

    __slots__ = ("_link", "_output", "_server", "_session")

    def __init__(self, session: EndingSession, parts: SessionParts) -> None:
        self._session = session
        self._output = parts.output
        self._server = parts.server
        self._link = parts.link

    def take(self, events: list[Event]) -> None:
        """Pass on one read's worth of the server's stream. An error of ours in here costs only this session."""
        try:
            self._take(events)
        except Exception:  # noqa: BLE001 (the edge: logged, and an error to the client)
            self.log.failure("while handling what the server sent to {jid}", jid=self._session.jid)
            self._session.close("internal-server-error")

    def _take(self, events: list[Event]) -> None:
        out = self._output.parts
        for event in events:
            if self._output.over:
                return
            if isinstance(event, Stanza):
                self._stanza(event)
            elif isinstance(event, Keepalive):
                out.append(event.raw)
            elif isinstance(event, Skipped):
                self._left_out(event)
            else:
                self._ends(event)
        self._output.flush()

    def _stanza(self, stanza: Stanza) -> None:
        link = self._link
        if link.takes_from_server(stanza):
            return
        self._output.parts.append(stanza.raw)
        if link.watch:
            link.heard(stanza)
            self._session.answered()

    def _left_out(self, skipped: Skipped) -> None:
        """A stanza of the server cannot be passed. Whoever waits for an answer is told."""
        where = f"session of {self._link.name}, from the server"
        NET.skip(skipped.name, skipped.size, skipped.digest, where, skipped.reason)
        if skipped.name == "iq" and skipped.attributes.get("type") in ("result", "error"):
            answer = lost_answer(skipped.attributes, f"the answer cannot be used: {skipped.reason}")
            self._output.parts.append(answer.raw)
        elif skipped.name == "iq" and (error := error_for("iq", skipped.attributes, skipped.reason)) is not None:
            self._server.parts.append(rewrite(error.raw, {"from": None}))
            self._server.flush()

    def _ends(self, event: Event) -> None:
        if isinstance(event, StreamClosed):
            self._session.end(STREAM_END)
        elif isinstance(event, Fault):
            self.log.error("server's stream to {jid} is broken: {text}", jid=self._session.jid, text=event.text)
            self._session.close("remote-connection-failed", "the server's stream is broken")
