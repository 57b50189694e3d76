"""What a client sends, a little in each turn of the reactor: it goes to the account or to the server, or is refused."""

from __future__ import annotations

from minimixproxy.c2s.session.paced_reading import PacedReading
from minimixproxy.c2s.session.parts import EndingSession, SessionParts
from minimixproxy.c2s.transport.client_stream import ClientStream
from minimixproxy.counting.traffic import CLIENTS
from minimixproxy.jids import InvalidJID, parse_jid
from minimixproxy.logs.logger import Logger
from minimixproxy.namespaces import NS_CLIENT, NS_CSI, NS_SASL, NS_SASL2, NS_SM3
from minimixproxy.safety_net import NET
from minimixproxy.timing.clock import Clock
from minimixproxy.timing.turn_shares import TurnShares
from minimixproxy.wire.events import Event, Fault, Keepalive, StreamClosed
from minimixproxy.wire.fast_framing import FastFramer
from minimixproxy.wire.stanza import Stanza
from minimixproxy.wire.whole_messages import plain_tags, value_of
from minimixproxy.xep.stanza_errors import error_reply
from minimixproxy.xep.stream_headers import STREAM_END
from minimixproxy.xep.stream_management import COUNTED
from minimixproxy.xep.unsupported import refusal_of_element

_RECEIVED = CLIENTS.received  # counted for each stanza


class FromClient:
    """Handles the events of one connection of a client. Implements `paced_reading.Reader`."""

    log = Logger()

    __slots__ = (
        "_client",
        "_clock",
        "_left",
        "_link",
        "_output",
        "_server",
        "_session",
        "_waits",
        "active",
        "handled",
        "is_resumed",
        "pacing",
    )

    def __init__(
        self, session: EndingSession, client: ClientStream, parts: SessionParts, clock: Clock, shares: TurnShares
    ) -> None:
        self._session = session
        self._client = client
        self._left = False  # what this connection still says is nothing to the session
        self._output = parts.output
        self._server = parts.server
        self._link = parts.link
        self._clock = clock
        self._waits = False  # for its server, or for that of its account
        self.active = clock.seconds()  # when it sent a stanza last
        self.handled = parts.server.flush  # what was handled in a turn is written then
        self.is_resumed = False  # it goes on with what another connection has begun
        self.pacing = PacedReading(shares, parts.link.account, self)  # in whose share of a turn it is handled

    def take_over(self, events: list[Event], pieces: list[bytes]) -> None:
        """Handle what came on this connection before it was the session's, and read on."""
        if events:
            self.pacing.take_events(events)
        for piece in pieces:
            self.pacing.take(piece)
        if self._waits:
            self.pause_reading()
        else:
            self.resume_reading()

    @property
    def mid_stanza(self) -> bool:
        """Whether what comes next may belong to what came before, or has to wait for it."""
        return self.pacing.busy or not self._client.framer.is_between_stanzas

    def leave(self) -> tuple[list[Event], list[bytes]]:
        """Another connection takes the place of this one; return what is not handled (see `PacedReading.give_up`)."""
        self._left = True
        return self.pacing.give_up()

    # For the pacing --------------------------------------------------------------------------------------------

    def read(self, data: bytes) -> tuple[list[Event], bytes]:
        """Pass on whole messages that are only the server's affair; make events of what else is there."""
        framer = self._client.framer
        if not framer.resting:
            return framer.finish(data)
        rest = self._pass_on(framer, data)
        return (framer.feed(rest) if rest else []), b""

    def _pass_on(self, framer: FastFramer, data: bytes) -> bytes:
        """Pass on the whole messages that these bytes begin with, as one; return what is behind them."""
        messages, end = framer.whole_messages(data)
        if not messages or self._output.over or self._session.looks_at_each:
            return data
        whole = data[:end]
        tags = plain_tags(whole, len(messages))
        if (
            tags is None
            or not self._link.leaves_from_client(whole, {to for to, _id in tags})
            or not framer.takes(whole)
        ):
            return data
        self.active = self._clock.seconds()
        _RECEIVED["message"] += len(messages)
        if self._output.managed:
            self._send_each(messages, tags)
        else:
            self._server.send_all(messages)
        return data[end:]

    def _send_each(self, messages: list[bytes], tags: list[tuple[bytes, bytes]]) -> None:
        """Send messages each of which counts as handled once the server has it."""
        for message, (to, stanza_id) in zip(messages, tags, strict=True):
            self._session.received(message, value_of(stanza_id), value_of(to))
            self._server.send_all([message])
            self._session.passed()

    def handle(self, event: Event) -> bool:
        """Handle an event; True if it was more than to pass it on."""
        if self._output.over:
            return False
        if isinstance(event, Stanza):
            if self.is_resumed and "from" in event.attributes:
                event = self._from_itself(event)
            if not self._passes(event):
                return True
            self._server.send(event)
            if event.uri == NS_CLIENT and event.name in COUNTED:
                self._session.passed()
            return event.name == "presence"  # which passes, and is looked at for each of the account's rooms
        if isinstance(event, Keepalive):
            self._server.say(event.raw)
        else:
            self._ends(event)
        return False

    def pause_reading(self) -> None:
        """Let the client wait."""
        if not self._output.over and not self._left:  # then what is left to be read is the end of TLS
            self._client.transport.pauseProducing()

    def resume_reading(self) -> None:
        """Read on, if nothing else is in the way."""
        if not (self._waits or self.pacing.busy or self._output.over or self._left):
            self._client.transport.resumeProducing()

    def handling_failed(self) -> None:
        """By a fault of ours: it costs this session."""
        self._session.close("internal-server-error")

    # Backpressure ----------------------------------------------------------------------------------------------

    def block(self) -> None:
        """A server takes too slowly what the client says."""
        self._waits = True
        self.pause_reading()

    def unblock(self) -> None:
        """The server has taken it."""
        self._waits = False
        self.resume_reading()

    # Its stanzas -----------------------------------------------------------------------------------------------

    def _from_itself(self, stanza: Stanza) -> Stanza:
        """Drop a `from` with a resource of its account that it has not: it is the server that says who it is.

        Converse.js does not know any more which it had when its page has been loaded anew, and makes up another.
        Servers may correct that or end the stream for it (RFC 6120 §8.1.2.1); ejabberd does the latter.
        """
        try:
            sender, own = parse_jid(stanza["from"]), parse_jid(self._session.jid)
        except InvalidJID:
            return stanza
        known = sender.bare != own.bare or sender.resource in (None, own.resource)
        return stanza if known else stanza.without("from")

    def _passes(self, stanza: Stanza) -> bool:
        """Tell whether to pass a stanza on. A fault of ours costs that stanza only."""
        try:
            is_stanza = stanza.name in COUNTED
            if is_stanza is not (stanza.uri == NS_CLIENT):
                return self._perhaps_a_stanza()
            if not is_stanza:
                return self._not_refused(stanza)
            self.active = self._clock.seconds()
            _RECEIVED[stanza.name] += 1
            return self._session.receives(stanza) and not self._link.takes_from_client(stanza)
        except Exception:  # noqa: BLE001 (the edge: logged and counted)
            NET.caught(stanza, f"session of {self._session.jid}")
            if stanza.name == "iq" and stanza.get("type") in ("get", "set"):
                self._session.deliver(error_reply(stanza, "cancel", "internal-server-error"))
            return False

    def _perhaps_a_stanza(self) -> bool:
        """End the session as Prosody does, for what is none here and may be one to a server, behind our back.

        To ejabberd 23.01 stanzas of `jabber:server` and `jabber:component:accept` are a client's, too: such a one may
        remove the account. And it counts what else is called so (XEP-0198), as Prosody does whatever has our namespace.
        """
        self._session.close(
            "unsupported-stanza-type", "stanzas are in the namespace jabber:client, and nothing else is"
        )
        return False

    def _not_refused(self, stanza: Stanza) -> bool:
        if stanza.uri in (NS_SASL, NS_SASL2):
            self._session.close("unsupported-stanza-type", "authenticated already")
            return False
        if stanza.uri == NS_SM3:
            self._session.stream_management(stanza)
            return False
        if stanza.uri == NS_CSI:
            return self._session.state_told(stanza)
        refusal = refusal_of_element(stanza)
        if refusal is None:
            return True
        if refusal.final:
            self._session.end(refusal.answer + STREAM_END)
        else:
            self._output.say(refusal.answer)
        return False

    def _ends(self, event: Event) -> None:
        if isinstance(event, Fault):
            condition, text, jid = event.condition, event.text, self._session.jid
            self.log.info(
                "{jid} breaks the protocol, and is disconnected: {condition} {text}",
                jid=jid,
                condition=condition,
                text=text,
            )
            self._session.close(event.condition, event.text)
        elif isinstance(event, StreamClosed):
            self._session.client_closes()
