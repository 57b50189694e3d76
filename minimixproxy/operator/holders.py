"""In a cluster what the operator says of an account is done by the process that holds it, and by no other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred

from minimixproxy.jids import InvalidJID
from minimixproxy.operator.control import Answer
from minimixproxy.operator.enroll import MAX_ACCOUNTS
from minimixproxy.operator.forget import account_address

#: Has an account here; returns why that cannot be, "" if it is.
WhyNotHere = Callable[[str], Awaitable[str]]


def answered_by_holder(answer: Answer, elsewhere: WhyNotHere) -> Answer:
    """Return the same answer, but for accounts that another process holds: then an error that names it.

    Of a list of accounts with their keys those are refused, each by itself.
    """

    async def answered(request: dict[str, Any]) -> dict[str, Any]:
        why = await _why_not(request.get("account"), elsewhere) if "account" in request else ""
        if why:
            return {"error": why}
        refused: list[tuple[str, str]] = []
        accounts = request.get("accounts")
        if isinstance(accounts, list) and len(accounts) <= MAX_ACCOUNTS:  # else all are refused anyway
            request, refused = await _held(request, elsewhere)
        answering = answer(request)
        found = await answering if isinstance(answering, Deferred) else answering
        return {**found, "refused": [*found.get("refused", ()), *refused]} if refused else found

    return lambda request: Deferred.fromCoroutine(answered(request))


async def _held(request: dict[str, Any], elsewhere: WhyNotHere) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Return the request without accounts that are held elsewhere, and those with the reason."""
    here, refused = [], []
    for entry in request["accounts"]:
        named = entry[0] if isinstance(entry, list) and entry else None
        why = await _why_not(named, elsewhere)
        if why:
            refused.append((str(named)[:200], why))
        else:
            here.append(entry)
    return {**request, "accounts": here}, refused


async def _why_not(named: object, elsewhere: WhyNotHere) -> str:
    """Return why an account is not here; of what names none the answer itself says what is wrong."""
    try:
        return await elsewhere(account_address(named))
    except InvalidJID:
        return ""
