"""What `minimixproxy block JID`, `unblock` and `blocked` ask of the running proxy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from twisted.internet.defer import Deferred, succeed

from minimixproxy.jids import InvalidJID, parse_jid
from minimixproxy.logs.logger import Logger
from minimixproxy.operator.forget import account_address

MAX_REASON = 200  # characters
MAX_TOLD = 10_000  # accounts in one answer


class Blocks(Protocol):
    """Which accounts are blocked; `storage.blocked_accounts.BlockedAccounts` is it."""

    def __contains__(self, bare: object) -> bool: ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[tuple[str, tuple[float, str]]]: ...

    @property
    def full(self) -> bool:
        """Whether there is no place for another one."""

    def put(self, bare: str, since: float, reason: str) -> bool:
        """Block an account, or note another reason. Return whether it was not blocked before."""

    def withdraw(self, bare: str) -> bool:
        """Block it no more. Return whether it was blocked."""


class Blocked(Protocol):
    """Who is told of it; `Accounts` is it."""

    def blocked(self, bare: str) -> int:
        """The operator has blocked an account. Return how many sessions that has ended."""

    def unblocked(self, bare: str) -> None:
        """It is not blocked any more."""


@dataclass(frozen=True, slots=True)
class OnDisk:
    """`written` calls what it is given when everything is on disk that was journalled before, or waits no longer.

    `durable` tells whether it did so because it is.
    """

    written: Callable[[Callable[[], None]], None]
    durable: Callable[[], bool]


class Blocking:
    """Answers requests on the control socket (see `control`)."""

    log = Logger()

    def __init__(
        self,
        blocks: Blocks,
        accounts: Blocked,
        serves: Callable[[str], bool],
        on_disk: OnDisk,
        now: Callable[[], float],
    ) -> None:
        """`serves` tells whether a domain is one of the proxy's. `now`: seconds since the epoch."""
        self._blocks = blocks
        self._accounts = accounts
        self._serves = serves
        self._on_disk = on_disk
        self._now = now

    def block(self, request: Mapping[str, Any]) -> Deferred[dict[str, Any]]:
        """Block the `account`, with a `reason` for the operator. The answer tells whether it was `new`."""
        try:
            bare = account_address(request.get("account"))
            reason = _reason(request.get("reason", ""))
        except InvalidJID as error:
            return succeed({"error": str(error)})
        if not self._serves(parse_jid(bare).domain):
            return succeed({"error": f"{bare}: its domain is not served by this proxy"})
        if self._blocks.full and bare not in self._blocks:
            return succeed({"error": "so many accounts are blocked that there is no place for another one"})
        new = self._blocks.put(bare, self._now(), reason)
        ended = self._accounts.blocked(bare)
        self.log.info("{account} is blocked by the operator: {number} sessions end", account=bare, number=ended)
        return self._confirmed({"account": bare, "new": new, "sessions": ended})

    def unblock(self, request: Mapping[str, Any]) -> Deferred[dict[str, Any]]:
        """Block the `account` no more. The answer tells whether it was `known` as blocked."""
        try:
            bare = account_address(request.get("account"))
        except InvalidJID as error:
            return succeed({"error": str(error)})
        known = self._blocks.withdraw(bare)
        if known:
            self._accounts.unblocked(bare)
            self.log.info("{account} is not blocked any more, says the operator", account=bare)
        return self._confirmed({"account": bare, "known": known})

    def blocked(self, _request: Mapping[str, Any]) -> dict[str, Any]:
        """Tell which accounts are blocked: the first ones, and how many in all."""
        told: list[dict[str, Any]] = []
        for bare, (since, reason) in self._blocks:
            if len(told) == MAX_TOLD:
                break
            told.append({"account": bare, "since": since, "reason": reason})
        return {"blocked": told, "total": len(self._blocks)}

    def _confirmed(self, answer: dict[str, Any]) -> Deferred[dict[str, Any]]:
        done = Deferred[dict[str, Any]]()

        def written() -> None:
            done.callback(answer if self._on_disk.durable() else {**answer, "error": _NOT_WRITTEN})

        self._on_disk.written(written)
        return done


_NOT_WRITTEN = "it is done, but state cannot be written: it ends with the process (minimixproxy status tells why)"


def _reason(text: object) -> str:
    if not isinstance(text, str) or len(text) > MAX_REASON or not text.isprintable():
        raise InvalidJID(f"a reason is one line of at most {MAX_REASON} characters")
    return text
