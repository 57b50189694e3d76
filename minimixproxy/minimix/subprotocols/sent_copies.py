"""Private messages of one session as the account's other sessions see them: sent copies (XEP-0280). Pure.

The server makes carbons of what the account stream sends. One for a session that is to have a copy is the best there
is: it says what the account's archive says, the stanza-id included, by which clients know the message again. Where none
comes, ours does. Prosody makes none of what its sender marks as a message to an occupant (XEP-0045 §7.5).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from minimixproxy.jids import InvalidJID, Whose, parse_jid, whose
from minimixproxy.minimix.interfaces.streams import SessionPort
from minimixproxy.namespaces import NS_MAM, NS_MUC_USER
from minimixproxy.timing.clock import Clock, Timer
from minimixproxy.wire.stanza import Stanza, rewrite
from minimixproxy.xep import carbons
from minimixproxy.xep.forwarded import forwarded_in, qualified

PATIENCE = 1.0  # seconds for the server's carbon to come
MAX_WAITING = 200  # copies of one account that wait
MAX_AUTHORS = 2000  # messages of which is known who sent them
LONGEST_ID = 256  # characters of an id that is noted
MAX_BYTES = 1024 * 1024  # of messages in them; beyond either, the oldest copy is ours at once

_MARK = NS_MUC_USER.encode()
_RESULT = {qualified(NS_MAM, "result")}


@dataclass(frozen=True, slots=True)
class _Copy:
    message: Stanza
    author: str
    deadline: float

    @property
    def marked(self) -> bool:
        """Whether its sender says that it is for an occupant."""
        return self.message.has_payload(NS_MUC_USER, "x")


class SentCopies:
    """The copies that are due to the sessions of the account `bare`; and who sent what, of the last messages.

    The archive names the account stream as the sender, of all devices' messages. To the device that sent one it names
    that device, as it would without the proxy: that device knows its message by it.
    """

    def __init__(self, bare: str, clock: Clock) -> None:
        self._bare = bare
        self._clock = clock
        self._timer = Timer(clock)
        self._waiting: OrderedDict[tuple[SessionPort, str, str], _Copy] = OrderedDict()  # by session, `to` and id
        self._bytes = 0
        self._passes_marked_over = False  # the server made no carbon of the last message that was marked
        self._authors: OrderedDict[tuple[str, str], str] = OrderedDict()  # full JIDs by `to` and id

    def __len__(self) -> int:
        return len(self._waiting)

    def sent(self, session: SessionPort, to: str, stanza_id: str | None) -> None:
        """Note who says something to an occupant, `to` prepared."""
        if stanza_id is None or len(stanza_id) > LONGEST_ID:
            return
        self._authors[(to, stanza_id)] = session.jid
        self._authors.move_to_end((to, stanza_id))
        if len(self._authors) > MAX_AUTHORS:
            self._authors.popitem(last=False)

    def in_archive(self, session: SessionPort, result: Stanza, stream_jid: str) -> bytes | None:
        """Return what a session is to get in place of a result of the account's archive; None: that itself."""
        if not result.has_payload(NS_MAM, "result") or whose(result.get("from"), stream_jid) is not Whose.ACCOUNT:
            return None
        raw = result.self_contained()
        own = [one.begin for one in forwarded_in(raw, _RESULT) if self._is_own(one.attributes, session, stream_jid)]
        for begin in reversed(own):
            raw = raw[:begin] + rewrite(raw[begin:], {"from": session.jid})
        return raw if own else None

    def _is_own(self, attributes: Mapping[str, str], session: SessionPort, stream_jid: str) -> bool:
        """Tell whether a session sent a message that the account stream is named the sender of."""
        if attributes.get("from") != stream_jid:
            return False
        try:
            to = parse_jid(attributes.get("to", "")).full
        except InvalidJID:
            return False
        return self._authors.get((to, attributes.get("id", ""))) == session.jid

    def due(self, session: SessionPort, message: Stanza, to: str, author: str) -> None:
        """A session is to see a message to an occupant, `to` prepared, sent by `author`, the account stream."""
        copy = _Copy(message, author, self._clock.seconds() + PATIENCE)
        stanza_id = message.get("id")
        key = (session, to, stanza_id or "")
        if stanza_id is None or key in self._waiting:  # nothing to know the server's by
            self._ours(session, copy)
            return
        if self._passes_marked_over and copy.marked:
            self._ours(session, copy)
            return
        self._waiting[key] = copy
        self._bytes += len(message.raw)
        while len(self._waiting) > MAX_WAITING or self._bytes > MAX_BYTES:
            self._give_ours(next(iter(self._waiting)))
        if self._waiting and not self._timer.running:
            self._timer.start(PATIENCE, self._late)

    def came(self, session: SessionPort, carbon: Stanza, to: str, stanza_id: str) -> None:
        """The server's carbon for a session: shown if a copy is due, else its author's, or a second one."""
        if _MARK in carbon.raw:
            self._passes_marked_over = False
        if self._take((session, to, stanza_id)) is not None:
            session.deliver_instead(carbons.as_private(carbon))

    def answered(self, occupant: str) -> None:
        """An occupant, prepared, is about to be heard: what was said to it before is shown first."""
        for key in [key for key in self._waiting if key[1] == occupant]:
            self._give_ours(key)

    def session_closed(self, session: SessionPort) -> None:
        """It is shown nothing more."""
        for key in [key for key in self._waiting if key[0] is session]:
            self._take(key)

    def _take(self, key: tuple[SessionPort, str, str]) -> _Copy | None:
        copy = self._waiting.pop(key, None)
        if copy is not None:
            self._bytes -= len(copy.message.raw)
        if not self._waiting:
            self._timer.stop()
        return copy

    def _give_ours(self, key: tuple[SessionPort, str, str]) -> None:
        copy = self._take(key)
        if copy is not None:
            self._ours(key[0], copy)

    def _late(self) -> None:
        now = self._clock.seconds()
        while self._waiting and next(iter(self._waiting.values())).deadline <= now:
            key, copy = next(iter(self._waiting.items()))
            self._passes_marked_over = self._passes_marked_over or copy.marked
            self._give_ours(key)
        if self._waiting:
            self._timer.start(next(iter(self._waiting.values())).deadline - now, self._late)

    def _ours(self, session: SessionPort, copy: _Copy) -> None:
        session.deliver(carbons.sent_copy(copy.message, copy.author, self._bare, session.jid))
