"""What a room says: to its sessions, and what it means for the account's being in it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from minimixproxy.jids import prepare_resource
from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.addressing.local_accounts import as_before
from minimixproxy.minimix.history.room_history import Taken
from minimixproxy.minimix.occupancy import rejoining
from minimixproxy.minimix.occupancy.lifecycle import Lifecycle
from minimixproxy.minimix.occupancy.parts import Parts
from minimixproxy.minimix.occupancy.phases import ASKING, FIRST, IN, Input, Phase
from minimixproxy.minimix.rejoin.missed_messages import SUBJECT_TIMEOUT
from minimixproxy.minimix.room import removal
from minimixproxy.minimix.room.attached_sessions import Weigh
from minimixproxy.minimix.room.snapshot import Snapshot
from minimixproxy.minimix.room.stripped_presence import is_own, readable_quickly
from minimixproxy.namespaces import NS_DELAY
from minimixproxy.timing.clock import wall_time
from minimixproxy.wire.stanza import Stanza, parse_stanza, rewrite
from minimixproxy.xep import muc

#: What a server says that is in trouble, or that cannot reach another (RFC 6120 §8.3.3).
TROUBLE = frozenset(
    {"internal-server-error", "remote-server-not-found", "remote-server-timeout", "resource-constraint"}
)
_ENTERING = ASKING | {Phase.NEW, Phase.JOINING}  # the own presence is still to come


class FromRoom:
    """Presences and messages of one room. Those that concern the account itself become inputs of its lifecycle."""

    log = Logger()

    __slots__ = ("_fresh_until", "_lifecycle", "_parts", "_telling_again_until")

    def __init__(self, parts: Parts, lifecycle: Lifecycle) -> None:
        self._parts = parts
        self._lifecycle = lifecycle
        self._fresh_until = 0.0
        self._telling_again_until = 0.0

    # Whether the account is in it ------------------------------------------------------------------------------

    @property
    def fresh(self) -> bool:
        """Whether traffic from the room proves that we are still in it."""
        return self._lifecycle.phase in IN and self._parts.context.clock.seconds() < self._fresh_until

    def confirmed(self) -> None:
        """The room has just shown that we are in it."""
        self._fresh_until = self._parts.context.clock.seconds() + self._parts.context.settings.fresh
        self._parts.self_ping.heard()

    def refused(self) -> None:
        """What the account said in the room came back: the room may have forgotten it."""
        self._fresh_until = 0.0
        self._parts.self_ping.doubt()

    @property
    def _is_entering(self) -> bool:
        return self._lifecycle.phase in _ENTERING

    @property
    def _view(self) -> Snapshot:
        """What the room shows now, which attached sessions do not see yet while it is being entered again."""
        return self._parts.attempts.view or self._parts.attendance.view

    # Presences -------------------------------------------------------------------------------------------------

    def presence(self, stanza: Stanza, nick: str | None) -> None:
        """Take a presence of the room or of an occupant of it."""
        kind = stanza.get("type")
        if kind == "error":
            self._presence_error(stanza, nick)
            return
        if kind not in (None, "unavailable"):
            self.log.info(
                "{room} sends {account} a presence of the unknown type {type}: ignored",
                room=self._parts.room,
                account=self._parts.account,
                type=kind,
            )
            return
        self.confirmed()
        history = self._parts.history
        if kind == "unavailable":
            history.occupant_left(stanza["from"])
        elif nick is not None:
            history.occupant_shown(stanza["from"])
        if nick is None:
            self._view.room_shown(stanza)
            self._fork_presence(stanza, self._parts.scales.of_room())
        elif self._is_own(stanza, nick):
            own = readable_quickly(stanza)
            self._own_unavailable(own, nick) if kind == "unavailable" else self._own_available(own, nick)
        else:
            self._others(stanza, nick)

    def _others(self, stanza: Stanza, nick: str) -> None:
        view, scales = self._view, self._parts.scales
        # Some rooms show members who are not there; only to who joins.
        joining = self._lifecycle.phase in FIRST
        if stanza.get("type") == "unavailable" and (not joining or nick in view):
            before = view.occupant_gone(nick)
            weigh = scales.of_occupant(nick, before.raw if before is not None else None, certain=view.complete)
            self._fork_presence(as_before(stanza, before, self._parts.outlet.stream_jid), weigh)
            self._parts.appearance.occupant_gone(nick)
            scales.gone(nick)
        else:
            shown = view.occupant_shown(nick, stanza)
            self._fork_presence(stanza, scales.of_occupant(nick, shown, certain=view.complete))

    def _fork_presence(self, stanza: Stanza, weigh: Weigh | None = None) -> None:
        if not self._is_entering:
            self._parts.attendance.attached.fork_presence(stanza, weigh)

    def _is_own(self, stanza: Stanza, nick: str) -> bool:
        """Tell whether a presence is our own: by our nick once that is settled, by status 110 always."""
        if not self._is_entering and self._parts.appearance.is_nick(nick):
            return True
        return is_own(stanza)

    def _own_available(self, stanza: Stanza, nick: str) -> None:
        parts = self._parts
        if self._is_entering and not parts.join_ids.may_be_answered_by(stanza.get("id")):
            self.log.info(
                "{room} answers a join that {account} has withdrawn: ignored", room=parts.room, account=parts.account
            )
            return
        if not self._is_entering and parts.join_ids.unanswered:
            self._telling_again_until = parts.context.clock.seconds() + SUBJECT_TIMEOUT
        parts.history.senders.entered(stanza)
        self._lifecycle.happens(Input.OWN_SHOWN, stanza, nick)

    def _own_unavailable(self, stanza: Stanza, shown_nick: str) -> None:
        parts = self._parts
        if not parts.appearance.is_nick(shown_nick):
            # Clients know the account by the nick that it had: under another, they would take it for somebody else.
            occupant = f"{parts.room}/{parts.appearance.nick}"
            stanza = parse_stanza(rewrite(stanza.self_contained(), {"from": occupant}))
        is_change = self._lifecycle.phase is not Phase.JOINING and muc.NICK_CHANGED in muc.status_codes(stanza)
        nick = muc.new_nick(stanza, parts.room) if is_change else None
        if nick is not None:
            self._fork_presence(stanza)
            parts.appearance.nick_changed(nick)
            parts.attendance.outbox.in_flight.renamed(f"{parts.room}/{nick}")
            parts.membership.changed()
        elif parts.attendance.next:  # they asked while it was leaving
            self._lifecycle.happens(Input.AWAITED_OUT, stanza)
        else:
            self._lifecycle.happens(Input.REMOVED if removal.is_meant(stanza) else Input.PUT_OUT, stanza)

    # Presence errors -------------------------------------------------------------------------------------------

    def presence_refused(self, answer: Stanza) -> None:
        """A presence for the room was too large to be sent: a join fails, of all else a part is shown."""
        nick = answer["from"].partition("/")[2]
        appearance = self._parts.appearance
        if self._lifecycle.phase in IN and appearance.is_nick(nick):
            shown = list(self._parts.attendance.attached)
            if answer.get("id") is not None and shown:
                session = shown[-1]  # the one that directed it here
                session.deliver(rewrite(answer.raw, {"to": session.jid}))
        else:
            self._presence_error(answer, nick)
        appearance.too_large()

    def _presence_error(self, stanza: Stanza, nick: str | None) -> None:
        if self._answers_join(stanza, nick):
            self._join_refused(stanza)
            return
        appearance = self._parts.appearance
        asked = appearance.nick_refused(nick) if nick is not None else None
        if asked is not None:
            session, stanza_id = asked
            session.deliver(rewrite(stanza.self_contained(), {"to": session.jid, "id": stanza_id}))
            return
        condition = muc.error_condition(stanza)
        self.log.info(
            "{room} refuses a presence of {account}: {error}",
            room=self._parts.room,
            account=self._parts.account,
            error=condition,
        )
        if nick is None or appearance.is_nick(nick):
            self.refused()

    def _answers_join(self, error: Stanza, nick: str | None) -> bool:
        """Tell whether a presence error answers the join: others are of occupants, or of a join that is over.

        A room that leaves out the id is believed where it names the nick that was asked for, or none.
        """
        stanza_id = error.get("id")
        if not self._is_entering or self._parts.join_ids.is_latest(stanza_id):
            return self._is_entering
        attempt = self._parts.attempts.current
        asked = attempt.nick if attempt is not None else self._parts.appearance.nick
        return stanza_id is None and (nick is None or prepare_resource(nick) == prepare_resource(asked))

    def _join_refused(self, error: Stanza) -> None:
        parts, condition = self._parts, muc.error_condition(error)
        parts.join_ids.answered()
        if self._lifecycle.phase in ASKING:
            self.log.info(
                "{room} does not let {account} come back: {condition}",
                room=parts.room,
                account=parts.account,
                condition=condition,
            )
            parts.attempts.schedule.answered(trouble=condition in TROUBLE)
            self._lifecycle.happens(_refusal(condition, error), error)
            return
        self.log.info(
            "{room} refuses the join of {account}: {condition}",
            room=parts.room,
            account=parts.account,
            condition=condition,
        )
        other = parts.attendance.refuse_joiner(error)
        if other is not None:
            self._lifecycle.happens(Input.NEXT_REFUSED, other)
        else:
            self._lifecycle.happens(Input.REFUSED, error)

    # Messages --------------------------------------------------------------------------------------------------

    def groupchat(self, stanza: Stanza) -> None:
        """Take a groupchat message: subject, history, and a copy to every attached session."""
        self.confirmed()
        if not stanza.readable:
            self._pass_unread(stanza)
            return
        parts = self._parts
        self._view.message_seen(stanza)
        if muc.configuration_codes(stanza):
            parts.history.senders.rules_changed()
        parts.info.message_seen(stanza)
        phase, attempt = self._lifecycle.phase, parts.attempts.current
        again = self._is_told_again(stanza)
        if attempt is not None:
            attempt.groupchat(stanza, again=again)
        elif phase is Phase.ENTERED and muc.is_subject(stanza):
            self._lifecycle.happens(Input.SUBJECT)
        else:
            if phase is Phase.INTERRUPTED:  # a room may know the account again, or still, before it has asked
                rejoining.note_gap(parts)
            past = again or phase in FIRST
            self._take(stanza, past=past, is_news=not past)

    def _is_told_again(self, stanza: Stanza) -> bool:
        """Tell whether the room tells its history to one who is in: it answers a join that it has got late.

        When it was late to answer one, the account has sent another, and the answer to that comes behind: an own
        presence, the history, the subject.
        """
        parts = self._parts
        if not self._telling_again_until or parts.context.clock.seconds() >= self._telling_again_until:
            return False
        if muc.is_subject(stanza):
            parts.join_ids.answered()
            self._telling_again_until = 0.0
        return True

    def _pass_unread(self, stanza: Stanza) -> None:
        """What is too large to be read is not kept. Who is there gets it once: not when the room's history has it."""
        if self._lifecycle.phase in IN and not stanza.has_payload(NS_DELAY, "delay"):
            self._parts.attendance.attached.fork(stanza)

    def heard(self, stanza: Stanza, past: bool) -> None:
        """Take a message that has waited while the room was entered again: all that is not known was missed.

        `past`: the room tells it as something said before, as it does until the subject.
        """
        self._take(stanza, past=past, is_news=True)

    def _take(self, stanza: Stanza, *, past: bool, is_news: bool) -> None:
        """A message takes its place in the history; attached sessions get what they cannot have had.

        `is_news`: if it is not known, it was not said before the account came in.
        """
        parts, outbox = self._parts, self._parts.attendance.outbox
        taken = parts.history.take(stanza, wall_time(parts.context.clock), past=past)
        if taken is Taken.DUPLICATE:
            outbox.told_known(parts.history.known_as)
            return
        if outbox.expects:
            outbox.shown(stanza, parts.history.senders.is_own(stanza))
        kept = taken is Taken.NEW
        sequence = parts.history.last_sequence if kept else None
        parts.attendance.attached.fork(stanza, parts.scales.of_message(sequence))
        parts.scales.heard(stanza, kept=kept)
        if is_news and parts.outlet.listener.active:
            is_read = partial(parts.history.is_read, sequence) if sequence is not None else None
            self._tell_listener(stanza, sequence, is_read)

    def message(self, stanza: Stanza) -> None:
        """Take a private message, or another message that is not groupchat."""
        self.confirmed()
        attendance = self._parts.attendance
        # Its place among what sessions are given, for those that tell how far they have got.
        sequence = self._parts.context.journal.next_sequence() if self._parts.outlet.listener.active else None
        if all(session.managed for session in attendance.attached):  # or there is none
            sender = self._parts.history.senders.sender_of(stanza) if stanza.readable else None
            attendance.privates.keep(stanza, wall_time(self._parts.context.clock), attendance.attached, sender)
        attendance.attached.fork(stanza, self._parts.scales.of_private())
        if sequence is not None:
            self._tell_listener(stanza, sequence)

    def _tell_listener(self, stanza: Stanza, sequence: int | None, is_read: Callable[[], bool] | None = None) -> None:
        parts = self._parts
        own = bool(stanza.readable and parts.history.senders.is_own(stanza))
        parts.outlet.listener.said(parts.scales.said(stanza, sequence, is_read, own=own), parts.attendance.attached)


def _refusal(condition: str, error: Stanza) -> Input:
    """What it means that a room refuses the rejoin."""
    if condition == "forbidden":
        return Input.FORBIDDEN
    if removal.is_meant_error(error):
        return Input.SHUT_OUT
    if condition in ("conflict", "not-acceptable"):  # somebody has the nick, or it has to be the registered one
        return Input.NICK_REFUSED
    return Input.REFUSED
