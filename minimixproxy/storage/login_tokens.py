"""The tokens by which devices log in (`sasl.tokens.Tokens`), in memory and on disk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from minimixproxy.logs.logger import Logger
from minimixproxy.sasl.hashed_token import MECHANISMS
from minimixproxy.sasl.tokens import MAX_TOKENS, Device, Token
from minimixproxy.storage.batch import Batch
from minimixproxy.storage.errors import BadRow
from minimixproxy.storage.gathering import Gathering
from minimixproxy.storage.sealing import Sealer, Unsealable
from minimixproxy.timing.clock import Clock, wall_time

MAX_DEVICES = 30  # of an account; beyond that the one that was given a token longest ago has none any more
MAX_ACCOUNTS = 100_000
_LOOKED_AT = 2  # accounts, whenever tokens are put: in turn, so that what has expired makes room

Kept = tuple[Device, tuple[Token, ...]]


class LoginTokens:
    """All tokens by bare JID and device. Calls become rows of the batch that is gathered."""

    log = Logger()

    def __init__(self, gathering: Gathering, clock: Clock) -> None:
        self._gathering = gathering
        self._clock = clock
        self._sealer: Sealer
        self._kept: dict[str, dict[str, Kept]] = {}

    def loaded(self, sealer: Sealer, tokens: Mapping[str, Mapping[str, Kept]]) -> None:
        """These are in the database. Called once, before anything else. Those that have expired go."""
        self._sealer = sealer
        self.adopt(tokens)

    def adopt(self, tokens: Mapping[str, Mapping[str, Kept]]) -> None:
        """These were another process's, or nobody's; they are in the database. Those that have expired go."""
        for bare, devices in tokens.items():
            self._kept[bare] = dict(devices)
            self._tidy(bare)

    def let_go(self, account: str) -> None:
        """The account is this process's no more. Its rows stay."""
        self._kept.pop(account, None)

    def of(self, account: str, device: str) -> tuple[Token, ...]:
        """Return the tokens of a device. See `Tokens`."""
        kept = self._kept.get(account, {}).get(device)
        return kept[1] if kept is not None else ()

    def devices(self, account: str) -> list[Device]:
        """Return the devices that have tokens. See `Tokens`."""
        now = wall_time(self._clock)
        found = (device for device, tokens in self._kept.get(account, {}).values() if _are_good(tokens, now))
        return sorted(found, key=lambda device: device.issued, reverse=True)

    def put(self, account: str, device: Device, tokens: tuple[Token, ...]) -> None:
        """These are the device's tokens, and no others. See `Tokens`."""
        if self._kept.get(account, {}).get(device.id) == (device, tokens):
            return
        self._tidy_some()
        if account not in self._kept and len(self._kept) >= MAX_ACCOUNTS:
            self.log.error("a token of {account} is not kept: there are those of too many accounts", account=account)
            return
        self.withdraw(account, device.id)
        if not tokens:
            return
        devices = self._kept.setdefault(account, {})
        if len(devices) >= MAX_DEVICES:
            self.withdraw(account, min(devices.values(), key=lambda kept: kept[0].issued)[0].id)
        self._kept.setdefault(account, {})[device.id] = device, tokens
        rows = self._batch().login_tokens
        for number, token in enumerate(tokens[:MAX_TOKENS]):
            rows[account, device.id, number] = self._row(account, device, number, token)

    def withdraw(self, account: str, device: str | None = None) -> None:
        """A device has none any more, or none of the account's has. See `Tokens`."""
        devices = self._kept.get(account, {})
        for gone in [device] if device is not None else list(devices):
            if devices.pop(gone, None) is not None:
                batch = self._batch()
                for number in range(MAX_TOKENS):
                    batch.login_tokens.pop((account, gone, number), None)
                batch.gone_tokens[account, gone] = None
        if not devices:
            self._kept.pop(account, None)

    def forgotten(self, account: str) -> bool:
        """The account is to be forgotten: nothing is left on disk, as soon as may be. Return whether there was any."""
        known = account in self._kept
        if known:
            self.withdraw(account)
            batch = self._batch()
            batch.erases = batch.leaves_copies = True
        return known

    def _tidy_some(self) -> None:
        for bare in list(islice(self._kept, _LOOKED_AT)):
            self._tidy(bare)
            if bare in self._kept:
                self._kept[bare] = self._kept.pop(bare)  # to the end

    def _tidy(self, bare: str) -> None:
        """What has expired goes. What cannot be used stays, to be forgotten with the account."""
        now = wall_time(self._clock)
        for device, kept in list(self._kept[bare].items()):
            if kept[1] and not _are_good(kept[1], now):
                self.withdraw(bare, device)

    def _batch(self) -> Batch:
        return self._gathering.batch or self._gathering.begin()

    def _row(self, bare: str, device: Device, number: int, token: Token) -> tuple[Any, ...]:
        sealed = self._sealer.seal(token.secret.encode(), bare, device.id, token.mechanism, "token")
        times = token.issued, token.expires
        return bare, device.id, number, device.software, token.mechanism, sealed, token.keys, *times, token.counted


def _are_good(tokens: Iterable[Token], now: float) -> bool:
    return any(token.expires > now for token in tokens)


def read_token(row: Sequence[Any], sealer: Sealer) -> tuple[Device, Token]:
    """Return the token in a row of the table, and whose it is. Raises `BadRow`."""
    bare, device, _number, software, mechanism, sealed, keys, issued, expires, count = row
    if mechanism not in MECHANISMS:
        raise BadRow("it is for a mechanism that is not known here")
    texts = isinstance(device, str) and bool(device) and isinstance(software, str)
    numbers = isinstance(issued, int | float) and isinstance(expires, int | float) and isinstance(count, int)
    if not (texts and numbers and isinstance(keys, bytes)):
        raise BadRow("something is missing")
    try:
        secret = sealer.open(sealed, bare, device, mechanism, "token").decode()
    except (Unsealable, UnicodeDecodeError) as error:
        raise BadRow("it cannot be opened with this seal key") from error
    return Device(device, software, float(issued)), Token(secret, mechanism, keys, float(issued), float(expires), count)
