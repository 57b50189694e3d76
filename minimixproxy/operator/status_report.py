"""What a running proxy tells its operator: no passwords, no messages, and a bounded number of rows. Pure.

The report is made of what JSON has. docs/man/minimixproxy.1 describes the command that shows it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from itertools import islice
from typing import Any, Protocol

import twisted

from minimixproxy import __version__
from minimixproxy.minimix.commands.report import Occupied, asleep_of, devices_of, room_reports
from minimixproxy.minimix.interfaces.streams import SessionPort
from minimixproxy.safety_net import NET, SafetyNet
from minimixproxy.wire.trees import BUILT

MAX_ACCOUNTS = 1000  # with all that belongs to them; of more only the numbers are told
MAX_ROOMS = 5000  # of all these accounts

_TROUBLE = frozenset({"refused", "waiting"})

Report = dict[str, Any]


class ReportedAccount(Protocol):
    """An account, as far as it is told; an `Account` is one."""

    @property
    def bare(self) -> str:
        """Its bare JID."""

    @property
    def is_enrolled(self) -> bool:
        """Whether there is a login that opens its stream."""

    @property
    def sessions(self) -> Mapping[SessionPort, object]:
        """The clients that are connected."""

    @property
    def rooms(self) -> Mapping[str, Occupied]:
        """The rooms that it is in."""


class ReportedStream(Protocol):
    """An account stream, as far as it is told; an `AccountStream` is one."""

    @property
    def state(self) -> Enum:
        """Where it is in its life."""

    @property
    def opens_in(self) -> float:
        """Seconds, at most, until it is tried again."""


class ReportedDomain(Protocol):
    """A client_proxy domain; a `ClientProxyService` is one."""

    def status(self) -> Mapping[str, object]:
        """Return what there is to tell of it."""


Accounts = Iterable[tuple[ReportedAccount, ReportedStream]]


@dataclass(frozen=True, slots=True)
class Reported:
    """What there is to tell of. `journal` returns how writing to disk goes: a dataclass; None if nothing is written."""

    accounts: Callable[[], Accounts] = tuple
    journal: Callable[[], Any] = lambda: None
    domains: Sequence[ReportedDomain] = ()
    net: SafetyNet = NET


class StatusReport:
    """Makes reports."""

    def __init__(self, seconds: Callable[[], float], pid: Callable[[], int], reported: Reported) -> None:
        self._reported = reported
        self._seconds = seconds
        self._started = seconds()
        self._pid = pid

    def answer(self, request: Mapping[str, object]) -> Report:
        """Answer a request on the control socket; `account` in it stands for `only`."""
        only = request.get("account")
        return self.report(only if isinstance(only, str) else None)

    def report(self, only: str | None = None) -> Report:
        """Return the report; with `only`, a bare JID, the account of that address alone is told in full."""
        accounts = list(self._reported.accounts())
        chosen = [pair for pair in accounts if only in (None, pair[0].bare)]
        return {
            "version": __version__,
            "twisted": twisted.__version__,
            "pid": self._pid(),
            "uptime": round(self._seconds() - self._started, 3),
            "stanzas": {
                "skipped": self._reported.net.skipped,
                "dropped": self._reported.net.dropped,
                "trees": BUILT.trees,
            },
            **self.summary(accounts),
            **_in_full(chosen),
        }

    def summary(self, accounts: Accounts | None = None) -> Report:
        """Return what the report says of all accounts together, and of what is no account."""
        journal = self._reported.journal()
        return {
            "journal": asdict(journal) if journal is not None else None,
            "totals": _totals(list(self._reported.accounts() if accounts is None else accounts)),
            "client_proxy": [dict(domain.status()) for domain in self._reported.domains],
        }


def _totals(accounts: Sequence[tuple[ReportedAccount, ReportedStream]]) -> Report:
    streams: Counter[str] = Counter()
    rooms: Counter[str] = Counter()
    sessions = sleeping = not_enrolled = 0
    for account, stream in accounts:
        streams[stream.state.value] += 1
        sessions += len(account.sessions)
        not_enrolled += not account.is_enrolled
        sleeping += sum(session.asleep for session in account.sessions)
        rooms.update(occupancy.state.value for occupancy in account.rooms.values())
    return {
        "accounts": len(accounts),
        "not_enrolled": not_enrolled,
        "sessions": sessions,
        "sleeping": sleeping,
        "streams": dict(sorted(streams.items())),
        "rooms": dict(sorted(rooms.items())),
    }


def _in_full(accounts: Sequence[tuple[ReportedAccount, ReportedStream]]) -> Report:
    """Return the accounts, those in trouble first, and how much is left out."""
    ordered = sorted(accounts, key=lambda pair: (pair[1].state.value not in _TROUBLE, pair[0].bare))
    shown: list[Report] = []
    room_for, rooms = MAX_ROOMS, 0
    for account, stream in ordered[:MAX_ACCOUNTS]:
        reports = room_reports(islice(account.rooms.values(), room_for))
        room_for -= len(reports)
        rooms += len(reports)
        shown.append(
            {
                "account": account.bare,
                "enrolled": account.is_enrolled,
                "stream": stream.state.value,
                "opens_in": round(stream.opens_in, 3),
                "devices": list(devices_of(account.sessions)),
                "asleep": list(asleep_of(account.sessions)),
                "rooms": [asdict(report) for report in reports],
            }
        )
    return {
        "accounts": shown,
        "left_out": {
            "accounts": len(ordered) - len(shown),
            "rooms": sum(len(account.rooms) for account, _stream in ordered) - rooms,
        },
    }
