"""What `minimixproxy forget JID` asks of the running proxy: to have an account be as if it had never been here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred, TimeoutError, succeed
from twisted.python.failure import Failure

from minimixproxy.jids import InvalidJID, parse_jid

PATIENCE = 20.0  # seconds for it to be on disk


class Forgets(Protocol):
    """What forgets accounts; `Accounts` is one."""

    def forget(self, bare: str) -> Deferred[bool]:
        """Forget an account; fires, with whether it was known, when it is on disk."""


class Forgetting:
    """Answers requests on the control socket (see `control`)."""

    def __init__(self, accounts: Forgets, clock: Any) -> None:
        self._accounts = accounts
        self._clock = clock

    def answer(self, request: Mapping[str, Any]) -> Deferred[dict[str, Any]]:
        """Forget the account of the bare JID `account`; the answer has that address, and whether it was `known`.

        If it cannot be written in time, that is an error: it is forgotten, and will be on disk when writing works.
        """
        try:
            bare = account_address(request.get("account"))
        except InvalidJID as error:
            return succeed({"error": str(error)})
        done = self._accounts.forget(bare)
        done.addTimeout(PATIENCE, self._clock)
        return done.addCallbacks(
            lambda known: {"account": bare, "known": known}, lambda failure: self._late(bare, failure)
        )

    def _late(self, bare: str, failure: Failure) -> dict[str, Any]:
        failure.trap(TimeoutError, CancelledError)
        return {
            "error": f"{bare} is forgotten, but state cannot be written yet: ask again until that is confirmed "
            "(minimixproxy status tells what is wrong)"
        }


def account_address(text: object) -> str:
    """Return the address of an account, prepared. Raises `InvalidJID`."""
    if not isinstance(text, str):
        raise InvalidJID("account: the address of an account is missing")
    address = parse_jid(text)
    if address.local is None or address.resource is not None:
        raise InvalidJID(f"{text[:200]!r}: an account has an address like alice@example.org")
    return address.bare
