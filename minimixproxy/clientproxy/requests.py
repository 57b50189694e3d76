"""The open requests: who asked, who owes the answer, and until when. Pure: the clock is handed in.

Every request goes out under an id of ours, which no other open request has, so that a reply is matched on
(who answers, id) and two askers, or one who repeats itself, cannot be confused.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import count, takewhile

from minimixproxy.bounds.shares import Shares
from minimixproxy.jids import owned_part


class Origin(Enum):
    """Who asked."""

    USER = "user"
    TARGET = "target"
    OURSELVES = "ourselves"


@dataclass(slots=True, eq=False)
class Request:
    """One open request."""

    asker: str  # full JID that gets the answer; "" for ourselves
    owner: str  # the asker's bare JID: what limits count by
    id: str  # as the asker gave it
    answer_from: str  # the address that the asker wrote to
    peer: str  # full JID that owes the answer; "" while nobody does
    origin: Origin
    kind: str  # get or set
    raw: bytes = b""  # kept while it may be sent again
    exchange: str = ""
    namespace: str = ""
    retried: bool = False
    shares: Sequence[str] = ()  # whose share of all open requests it is part of, `owner` first
    sent_as: str = ""
    sent: float = 0.0
    deadline: float = 0.0


class TooMany(Exception):
    """The table, or this asker's or their domain's share of it, is full."""


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """`open`: requests in all but our own; `per_asker`: of one bare JID among the users; `kept`: bytes in all of raw
    stanzas kept for a retry (over that, requests are not retried); `timeout`: seconds that each may be open.
    """

    open: int = 10_000
    per_asker: int = 100
    kept: int = 32 * 1024 * 1024
    timeout: float = 60.0


class Requests:
    """The table. `prefix`: what the ids begin with that requests go out under.

    The users of one domain and its subdomains have no more open than are left for all: one such domain takes half, two
    take a third each, and something is always left. Accounts cost a domain nothing; so they do not count, but in
    `own_domains`.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        prefix: str,
        limits: RequestLimits,
        own_domains: Collection[str] = (),
    ) -> None:
        self._clock = clock
        self._prefix = prefix
        self._limits = limits
        self._own_domains = frozenset(own_domains)
        self._kept = 0
        self._numbers = count(1)
        self._open: dict[str, Request] = {}
        self._by_peer: dict[str, dict[str, Request]] = {}
        self._shares: Shares[str] = Shares()  # by bare JID, and behind an @ by domain
        self._in_order: dict[Request, None] = {}  # of their deadlines: one timeout for all

    def __len__(self) -> int:
        return len(self._open)

    def add(self, request: Request) -> str:
        """Take a request in. Returns the id to send it under. Raises `TooMany`."""
        left = self._limits.open - len(self._open)
        if left <= 0 and request.origin is not Origin.OURSELVES:
            raise TooMany("too many open requests")
        of_user = request.origin is Origin.USER
        if of_user:
            self._find_share(request, left)
        if self._kept + len(request.raw) > self._limits.kept:
            if not request.peer:
                raise TooMany("too much is waiting")
            request.raw = b""
        if of_user:
            self._shares.take(request.shares)
        self._kept += len(request.raw)
        now = self._clock()
        request.deadline = now + self._limits.timeout
        self._in_order[request] = None
        return self._send_as_new(request, now)

    def _find_share(self, request: Request, left: int) -> None:
        """Find out whose share a user's request is part of. Raises `TooMany` if it would be too large."""
        if self._shares.get(request.owner, 0) >= self._limits.per_asker:
            raise TooMany("too many open requests of one asker")
        shares = request.shares = self._shares_of(request.owner)
        if not self._shares.leave_one(shares[1:] or shares, left):
            raise TooMany(f"too many open requests of one {'domain' if shares[1:] else 'asker'}")

    def owed(self, sent_as: str, peer: str) -> Request | None:
        """Return the request that a reply from `peer` with this id answers; None if it answers none."""
        request = self._open.get(sent_as)
        return None if request is None or request.peer != peer else request

    def __contains__(self, sent_as: str) -> bool:
        """Whether a request is open under this id."""
        return sent_as in self._open

    def reassign(self, request: Request, peer: str) -> str:
        """Let another peer ("": nobody yet) owe the answer, under a new id: a late reply of the first is no match."""
        self._unlink(request)
        request.peer = peer
        return self._send_as_new(request, self._clock())

    def close(self, request: Request) -> None:
        """Take a request out, answered or not."""
        self._unlink(request)
        del self._in_order[request]
        self._kept -= len(request.raw)
        if request.origin is Origin.USER:
            self._shares.give_back(request.shares)

    def of_peer(self, peer: str) -> list[Request]:
        """Return what a peer owes, oldest first."""
        return list(self._by_peer.get(peer, {}).values())

    def load(self, peer: str) -> int:
        """Return how many requests a peer has open."""
        return len(self._by_peer.get(peer, ()))

    def oldest(self, peer: str) -> Request | None:
        """Return the request that a peer has owed for longest."""
        return next(iter(self._by_peer.get(peer, {}).values()), None)

    def all(self) -> list[Request]:
        return list(self._open.values())

    def expired(self) -> list[Request]:
        """Close and return every request whose time is up."""
        now = self._clock()
        late = list(takewhile(lambda request: request.deadline <= now, self._in_order))
        for request in late:
            self.close(request)
        return late

    def _shares_of(self, owner: str) -> Sequence[str]:
        """Return whose share a user's request is part of: the bare JID's, the domain's and its last two labels'.

        Subdomains cost who owns those nothing. What is between them does not count: a name may have 500 labels.
        """
        domain = owner.rpartition("@")[2]
        if domain in self._own_domains:
            return (owner,)
        parent = owned_part(domain)
        alone = parent in self._own_domains or parent == domain
        return (owner, f"@{domain}") if alone else (owner, f"@{domain}", f"@{parent}")

    def _send_as_new(self, request: Request, now: float) -> str:
        sent_as = request.sent_as = f"{self._prefix}{next(self._numbers):x}"
        request.sent = now
        self._open[sent_as] = request
        self._by_peer.setdefault(request.peer, {})[sent_as] = request
        return sent_as

    def _unlink(self, request: Request) -> None:
        del self._open[request.sent_as]
        owed = self._by_peer[request.peer]
        del owed[request.sent_as]
        if not owed:
            del self._by_peer[request.peer]
