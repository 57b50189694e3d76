"""What a client's server sends: it goes to the client, less what the account takes."""

from __future__ import annotations

from collections.abc import Callable

from minimixproxy.c2s.session.parts import EndingSession, SessionParts
from minimixproxy.counting.traffic import SESSIONS
from minimixproxy.logs.logger import Logger
from minimixproxy.namespaces import NS_SM3
from minimixproxy.safety_net import NET
from minimixproxy.stream_management.unacknowledged import tracked_too
from minimixproxy.wire.events import Event, Fault, Keepalive, Skipped, StreamClosed
from minimixproxy.wire.fast_framing import FastFramer
from minimixproxy.wire.stanza import Stanza, rewrite
from minimixproxy.xep.oversized import ORDINARY, error_for, lost_answer
from minimixproxy.xep.stream_headers import STREAM_END
from minimixproxy.xep.stream_management import COUNTED

_RECEIVED = SESSIONS.received  # counted for each stanza


class FromServer:
    """Handles the events of one session's stream upstream."""

    log = Logger()

    __slots__ = ("_got", "_link", "_output", "_server", "_session")

    def __init__(self, session: EndingSession, parts: SessionParts) -> None:
        self._session = session
        self._output = parts.output
        self._server = parts.server
        self._link = parts.link
        self._got: Callable[[], None] | None = None  # who waits for the arrival of what the server has said last

    def take(self, events: list[Event]) -> None:
        """Pass on what the server has said. An error of ours in here costs only this session."""
        try:
            self._take(events)
            self._output.flush()
        except Exception:  # noqa: BLE001 (the edge: logged, and an error to the client)
            self._failed()

    def read(self, framer: FastFramer, data: bytes) -> None:
        """Pass on one read of the server's stream, with one write. An error of ours in here costs only this session."""
        try:
            if not framer.resting:
                events, data = framer.finish(data)
                self._take(events)
            rest = self._pass_on(framer, data)
            if rest:
                self._take(framer.feed(rest))
            self._output.flush()
        except Exception:  # noqa: BLE001 (the edge: logged, and an error to the client)
            self._failed()

    def _failed(self) -> None:
        self.log.failure("while handling what the server sent to {jid}", jid=self._session.jid)
        self._session.close("internal-server-error")

    def _pass_on(self, framer: FastFramer, data: bytes) -> bytes:
        """Pass whole messages on as they are, if nobody needs to look at each of them; return what is behind them."""
        messages, end = framer.whole_messages(data)
        output, link, server = self._output, self._link, self._server
        if not messages or output.over or output.asleep or self._got or link.watch or server.expects_again:
            return data
        if not link.leaves_from_server(data[:end]):
            return data
        _RECEIVED["message"] += len(messages)
        output.parts += server.receive_all(messages, tracked=output.managed)
        return data[end:]

    def _take(self, events: list[Event]) -> None:
        for event in events:
            if self._output.over:
                return
            if isinstance(event, Stanza):
                self._stanza(event)
            elif isinstance(event, Keepalive):
                self._output.say(event.raw)
            elif isinstance(event, Skipped):
                self._left_out(event)
            else:
                self._ends(event)

    def _stanza(self, stanza: Stanza) -> None:
        if stanza.name not in COUNTED:
            self._element(stanza)
            return
        _RECEIVED[stanza.name] += 1
        link = self._link
        if not self._server.receive():
            return
        if link.takes_from_server(stanza):
            self._got = None  # the client gets another in its place, if any
            return
        self._give(stanza.raw)
        if link.listens:
            link.heard(stanza)
            self._session.answered()

    def when_got(self, call: Callable[[], None]) -> None:
        """Call once the client has acknowledged the stanza that its account is being shown."""
        self._got = call

    def instead(self, data: bytes) -> None:
        """Give the client this in the place of the stanza that its account is being shown."""
        self._got = None
        self._give(data)

    def _give(self, data: bytes) -> None:
        """Give the client what its server has said: in order, and not by the gate, for nothing of it is on disk."""
        raw = self._server.tracked(data) if self._output.managed else data
        if self._got is not None:
            raw, self._got = tracked_too(raw, self._got), None
        if self._output.asleep:
            self._output.deliver(raw)
            if self._server.overdue:
                self._session.close("resource-constraint", "too much waits to be acknowledged")
        else:
            self._output.parts.append(raw)

    def _element(self, stanza: Stanza) -> None:
        """Take what is no stanza: a stream error, stream management, or what nobody knows."""
        if stanza.uri == NS_SM3:
            if not self._server.element(stanza):
                self._session.close("remote-connection-failed", "the server's stream is broken")
            return
        self._output.say(stanza.raw)
        if self._link.listens:
            self._link.heard(stanza)
            self._session.answered()

    def _left_out(self, skipped: Skipped) -> None:
        """A stanza of the server cannot be passed. Whoever waits for an answer is told."""
        where = f"session of {self._link.name}, from the server"
        if skipped.name in COUNTED and not self._server.receive():
            return
        NET.skip(skipped.name, skipped.size, skipped.digest, where, skipped.reason)
        if skipped.name == "iq" and skipped.attributes.get("type") in ("result", "error"):
            answer = lost_answer(skipped.attributes, f"the answer cannot be used: {skipped.reason}")
            self._give(answer.raw)
        elif skipped.name == "iq" and (error := error_for("iq", skipped.attributes, skipped.reason)) is not None:
            refusal = rewrite(error.raw, {"from": None})
            if not ORDINARY.fault(refusal):  # by its id, which whoever asks chooses
                self._server.answer(refusal)
                self._server.flush()

    def _ends(self, event: Event) -> None:
        if isinstance(event, StreamClosed):
            self._session.end(STREAM_END)
        elif isinstance(event, Fault):
            self.log.error("server's stream to {jid} is broken: {text}", jid=self._session.jid, text=event.text)
            self._session.close("remote-connection-failed", "the server's stream is broken")
