"""What `minimixproxy enroll` asks of the running proxy: to know the keys of accounts, by a password or as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from minimixproxy.jids import InvalidJID, parse_jid
from minimixproxy.minimix.interfaces.enrolling import CannotKeep, Enrolls, NotEnrolled
from minimixproxy.operator.forget import account_address
from minimixproxy.sasl.keys import Keys
from minimixproxy.server_stores.records import BadRecord, checked_keys, checked_password, from_base64

PATIENCE = 60.0  # seconds for the server; the disk has its own
MAX_ACCOUNTS = 100  # in one request, which is done in one turn of the reactor: some milliseconds


class Enrolling(Enrolls, Protocol):
    """What enrolls accounts, by their keys, too."""

    def serves(self, domain: str) -> bool:
        """Tell whether a domain is one of the proxy's."""

    def by_keys(self, bare: str, keys: Iterable[Keys]) -> bool:
        """Keep keys, perhaps without the client's. False: there is no place for more accounts."""


class EnrollingAnswers:
    """Answers requests on the control socket (see `control`).

    `on_disk` calls what it is given when everything is on disk that was journalled before; `durable` tells whether it
    did so because it is.
    """

    def __init__(
        self,
        enrolling: Enrolling,
        on_disk: Callable[[Callable[[], None]], None],
        durable: Callable[[], bool],
        clock: Any,
    ) -> None:
        self._enrolling = enrolling
        self._on_disk = on_disk
        self._durable = durable
        self._clock = clock

    # With a password -------------------------------------------------------------------------------------------

    def enroll(self, request: Mapping[str, Any]) -> Deferred[dict[str, Any]]:
        """Enroll the account `account` by `password`; the answer has its address, and the `hash` of its keys."""
        return Deferred.fromCoroutine(self._enroll(request))

    async def _enroll(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The time is the server's alone: the disk has its own, and by then something is kept."""
        asking = Deferred.fromCoroutine(self._ask(request))
        answer = await asking.addTimeout(PATIENCE, self._clock, onTimeoutCancel=self._late)
        if "error" in answer:
            return answer
        await self._written()
        return {**answer, **self._trouble()}

    @staticmethod
    def _late(_result: object, _timeout: float) -> dict[str, Any]:
        return {"error": f"the server did not answer within {PATIENCE:.0f} seconds: nothing is kept"}

    async def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        try:
            bare = account_address(request.get("account"))
            enrolled = await self._enrolling.by_password(bare, checked_password(request.get("password")))
        except CannotKeep as error:
            return {"error": str(error), "in_vain": True}
        except (InvalidJID, BadRecord, NotEnrolled) as error:
            return {"error": str(error)}
        return {"account": bare, "hash": enrolled.hash_name, "lasts": enrolled.lasts}

    # With keys -------------------------------------------------------------------------------------------------

    def take_keys(self, request: Mapping[str, Any]) -> Deferred[dict[str, Any]]:
        """Take the keys of `accounts`: pairs of an address, and a list of keys, each hash, salt and so on.

        The answer has the number `kept`, and `refused`, pairs of an address and a reason.
        """
        return Deferred.fromCoroutine(self._take_keys(request.get("accounts")))

    async def _take_keys(self, accounts: object) -> dict[str, Any]:
        if not isinstance(accounts, list) or len(accounts) > MAX_ACCOUNTS:
            return {"error": f"accounts: a list of at most {MAX_ACCOUNTS} is expected"}
        refused = []
        for entry in accounts:
            try:
                bare, keys = self._read(entry)
            except (InvalidJID, BadRecord) as error:
                refused.append((str(entry[0])[:200] if isinstance(entry, list) and entry else "", str(error)))
                continue
            if not self._enrolling.by_keys(bare, keys):
                refused.append((bare, "there is no place for the keys of more accounts"))
        await self._written()
        return {"kept": len(accounts) - len(refused), "refused": refused, **self._trouble()}

    def _read(self, entry: object) -> tuple[str, list[Keys]]:
        if not isinstance(entry, list) or len(entry) != 2 or not isinstance(entry[1], list):
            raise BadRecord("it is no account with its keys")
        bare = account_address(entry[0])
        if not self._enrolling.serves(parse_jid(bare).domain):
            raise BadRecord("its domain is not served by this proxy")
        return bare, [read_keys(fields) for fields in entry[1]]

    # -----------------------------------------------------------------------------------------------------------

    def _written(self) -> Deferred[None]:
        done = Deferred[None]()
        self._on_disk(lambda: done.callback(None))
        return done

    def _trouble(self) -> dict[str, Any]:
        if self._durable():
            return {}
        return {"error": "state cannot be written: what was enrolled is lost with the process (see the log)"}


def read_keys(fields: object) -> Keys:
    """Return keys as they are in a request. Raises `BadRecord`."""
    if not isinstance(fields, list) or len(fields) != 5:
        raise BadRecord("its keys are not five fields")
    hash_name, salt, iterations, stored_key, server_key = fields
    if not isinstance(hash_name, str):
        raise BadRecord("its keys are of no hash")
    return checked_keys(hash_name, from_base64(salt), iterations, from_base64(stored_key), from_base64(server_key))
