"""What a running proxy tells its operator: no passwords, no messages, and a bounded number of rows. Pure.

The report is made of what JSON has; docs/status.md describes it. `SCHEMA` grows when a member changes its meaning or
goes; one that comes changes nothing for who reads the others.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

import twisted
from twisted.internet.defer import Deferred

from minimixproxy import __version__
from minimixproxy.jids import InvalidJID, parse_jid
from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.commands.report import asleep_of, devices_of
from minimixproxy.minimix.interfaces.endings import Ended
from minimixproxy.operator import explanation, health
from minimixproxy.operator.reported import OUT, Reported, ReportedAccount, ReportedRoom, ReportedStream
from minimixproxy.operator.survey import Found, Surveyed, Surveys, Wanted, stream_state
from minimixproxy.timing.clock import Clock, wall_time
from minimixproxy.wire.trees import BUILT

log = Logger()

_JOURNAL = ("durable", "waiting", "error", "left_out", "lost")  # what is told of it

SCHEMA = 1
MAX_ACCOUNTS = 200  # in one answer, with all that belongs to them; `next` tells where the next one begins
MAX_ROOMS = 2000  # of all these accounts

Report = dict[str, Any]


class StatusReport:
    """Makes reports."""

    def __init__(self, clock: Clock, pid: Callable[[], int], reported: Reported) -> None:
        self.surveys = Surveys(clock, reported)
        self.reported = reported
        self._clock = clock
        self._started = clock.seconds()
        self._pid = pid

    # What is asked -----------------------------------------------------------------------------------------------

    def answer(self, request: Mapping[str, object]) -> Deferred[Report] | Report:
        """Answer a request on the control socket.

        `account` and `room` are addresses, `state` is one of the states; `after` is the `next` of an earlier answer.
        """
        account, room, state, after = (_text(request, name) for name in ("account", "room", "state", "after"))
        try:
            account, room = (parse_jid(jid).bare if jid else "" for jid in (account, room))
        except InvalidJID as error:
            return {"error": str(error)}
        if account:
            return self.surveys.take().addCallback(self._of_one, account, room)
        wanted = Wanted("", room, state)
        found = self.surveys.more(wanted) if after else self.surveys.take(wanted)
        return found.addCallback(self._of_some, room, after)

    def survey(self, wanted: Wanted) -> Deferred[Surveyed]:
        """Find accounts; the result is there at once if there are few."""
        return self.surveys.take(wanted)

    def summary(self) -> Report:
        """Return what there is to tell of the proxy as a whole, by the last look at all accounts. Has another begin."""
        self.surveys.take().addErrback(lambda failure: log.failure("while all accounts were looked at", failure))
        return self.whole(self.surveys.last or Surveyed())

    # What is answered --------------------------------------------------------------------------------------------

    def whole(self, found: Surveyed) -> Report:
        """Return what is of no single account."""
        journal = self.reported.journal()
        if journal is not None:
            journal = {name: getattr(journal, name) for name in _JOURNAL}
        troubles = health.troubles(self.reported, journal, found)
        return {
            "schema": SCHEMA,
            "version": __version__,
            "twisted": twisted.__version__,
            "pid": self._pid(),
            "uptime": round(self._clock.seconds() - self._started, 3),
            "configuration": self.reported.configuration,
            "well": not troubles,
            "troubles": [trouble._asdict() for trouble in troubles],
            "journal": journal,
            "stanzas": {
                "skipped": self.reported.net.skipped,
                "dropped": self.reported.net.dropped,
                "trees": BUILT.trees,
            },
            "cluster": self.reported.cluster(),
            "totals": found.totals(),
            "client_proxy": [dict(domain.status()) for domain in self.reported.domains],
        }

    def _of_some(self, found: Surveyed, room: str, after: str) -> Report:
        begin = bisect_right(found.wanted, Found(after[:1] == "1", after[2:])) if after else 0
        chosen = found.wanted[begin : begin + MAX_ACCOUNTS]
        shown, room_for, seen = [], MAX_ROOMS, begin
        for one in chosen:
            if room_for <= 0:
                break
            seen += 1
            told = self.account(one.bare, room, room_for)
            if told is not None:  # it may be gone since
                room_for -= len(told["rooms"])
                shown.append(told)
        more = len(found.wanted) - seen
        return {
            **self.whole(found),
            "found": len(found.wanted),
            "accounts": shown,
            "next": f"{found.wanted[seen - 1].well:d} {found.wanted[seen - 1].bare}" if more > 0 and seen else None,
            "answer": None,
        }

    def _of_one(self, found: Surveyed, bare: str, room: str) -> Report:
        told = self.account(bare, room)
        return {
            **self.whole(found),
            "found": int(told is not None),
            "accounts": [told] if told is not None else [],
            "next": None,
            "answer": self.explain(bare, room) if room else None,
        }

    def accounts(self, found: Sequence[Found], room: str = "") -> list[Report]:
        """Return accounts that were found, as `account` does, for a list: those that are gone since are left out.

        Of their rooms there is only the one that is given, if any: of many accounts, all would take long. `out_of`: how
        many of all these an account is out of.
        """
        told = (self._listed(one.bare, room) for one in found)
        return [account for account in told if account is not None]

    def _listed(self, bare: str, room: str) -> Report | None:
        told, held = self.account(bare, room, None if room else 0), self.reported.account(bare)
        if told is None or held is None:
            return None
        return {**told, "out_of": sum(one.state.value in OUT for one in held[0].rooms.values())}

    def account(self, bare: str, room: str = "", most: int | None = None, begin: int = 0) -> Report | None:
        """Return an account in full, or only with the room; None if it is not held.

        `most`: so many of its rooms, from the one of number `begin` on.
        """
        held = self.reported.account(bare)
        endings = self.reported.endings(bare)
        if held is None:
            return None
        account, stream = held
        rooms = account.rooms
        if room:
            rooms = {room: rooms[room]} if room in rooms else {}
        first = islice(rooms.items(), begin, begin + (MAX_ROOMS if most is None else most))
        chosen = [self._room(occupancy, endings.get(name)) for name, occupancy in first]
        not_in = explanation.records(endings, account.rooms)
        return {
            "account": bare,
            "enrolled": account.is_enrolled,
            **self._stream(account, stream),
            "devices": list(devices_of(account.sessions)),
            "asleep": list(asleep_of(account.sessions)),
            "rooms": sorted(chosen, key=lambda told: str(told["room"])),
            "rooms_left_out": max(0, len(rooms) - begin - len(chosen)),
            "not_in": [record for record in not_in if not room or record["room"] == room],
        }

    def _stream(self, account: ReportedAccount, stream: ReportedStream) -> Report:
        what, when = stream.fault.what, stream.fault.when
        at = explanation.stamp(self._now - (self._clock.seconds() - when)) if what else None
        return {
            "stream": stream_state(account, stream, self.reported),
            "opens_in": round(stream.opens_in, 3),
            "fault": {"text": what, "at": at} if what else None,
        }

    def _room(self, occupancy: ReportedRoom, ended: Ended | None) -> Report:
        return {
            "room": occupancy.room,
            "nick": occupancy.nick,
            "state": occupancy.state.value,
            "bookmarked": occupancy.bookmarked,
            "devices": list(devices_of(occupancy.attached)),
            "asleep": list(asleep_of(occupancy.attached)),
            "messages": occupancy.messages_kept,
            "attempts": occupancy.attempts,
            "next_attempt_in": round(occupancy.next_attempt_in, 3),
            "last": explanation.last(ended),
        }

    def explain(self, bare: str, room: str) -> Report:
        """Return why the account is in the room, or is not."""
        served = self.reported.served(bare.rpartition("@")[2])
        ended = self.reported.endings(bare).get(room)
        known = explanation.Known(bare, room, self.reported.account(bare), ended, served, bare in self.reported.blocked)
        return explanation.explain(known, self._now)

    @property
    def _now(self) -> float:
        return wall_time(self._clock)


def _text(request: Mapping[str, object], name: str) -> str:
    value = request.get(name)
    return value if isinstance(value, str) else ""
