"""Keys of accounts that are in memory only, for tests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from minimixproxy.minimix.interfaces.enrolling import Enrolled
from minimixproxy.sasl.keys import Keys
from minimixproxy.sasl.tokens import Device, Token


class MemoryKeys:
    """What accounts were enrolled with (`accountstream.known_keys.EnrolledKeys`)."""

    def __init__(self) -> None:
        self.keys: dict[str, tuple[Keys, ...]] = {}

    def of(self, bare: str) -> tuple[Keys, ...]:
        return self.keys.get(bare, ())

    def put(self, bare: str, keys: Iterable[Keys]) -> bool:
        self.keys[bare] = tuple(keys)
        return True

    def withdraw(self, bare: str) -> bool:
        return self.keys.pop(bare, None) is not None


class MemoryKnownKeys:
    """What logins ask for (`c2s.server.exchanges.known_keys.KnownKeys`), and what they say."""

    def __init__(self) -> None:
        self.keys: dict[str, tuple[Keys, ...]] = {}  # by account
        self.withdrawn: list[str] = []

    def hashes(self, account: str) -> frozenset[str]:
        return frozenset(keys.hash_name for keys in self.keys.get(account, ()))

    def find(self, account: str, hash_name: str) -> Keys | None:
        return next((keys for keys in self.keys.get(account, ()) if keys.hash_name == hash_name), None)

    def proved(self, account: str, keys: Keys) -> None:
        known = self.keys.get(account, ())
        self.keys[account] = tuple(keys if keys.agrees(one) else one for one in known)

    def withdraw(self, account: str) -> None:
        self.withdrawn.append(account)
        self.keys.pop(account, None)


class Unguarded:
    """Lets everybody try passwords at once."""

    def tried(
        self, _account: str, work: Callable[[], Awaitable[Enrolled]], _wrong: type[Exception], _too_many: Exception
    ) -> Awaitable[Enrolled]:
        return work()


class MemoryTokens:
    """The tokens of devices (`sasl.tokens.Tokens`), by account and device."""

    def __init__(self) -> None:
        self.tokens: dict[tuple[str, str], tuple[Token, ...]] = {}
        self.known: dict[tuple[str, str], Device] = {}

    def of(self, account: str, device: str) -> tuple[Token, ...]:
        return self.tokens.get((account, device), ())

    def put(self, account: str, device: Device, tokens: tuple[Token, ...]) -> None:
        self.tokens[account, device.id] = tokens
        self.known[account, device.id] = device

    def devices(self, account: str) -> list[Device]:
        return [device for (bare, _id), device in self.known.items() if bare == account]

    def withdraw(self, account: str, device: str | None = None) -> None:
        for key in [key for key in self.tokens if key[0] == account and device in (None, key[1])]:
            del self.tokens[key]
