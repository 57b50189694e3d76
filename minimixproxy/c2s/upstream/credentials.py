"""What an account logs in with: a password, or the keys that SCRAM leaves of one.

Keys are derived off the reactor thread and kept in a bounded cache, since a second device of an account usually
logs in with the same password, salt and iteration count. Servers say how long it takes, so each has one thread at most.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

from minimixproxy.sasl.scram import MIN_ITERATIONS, Challenge, ScramKeys, derive_keys

RunInThread = Callable[..., "Deferred[Any]"]
"""Runs a function elsewhere and fires with its result; `deferToThread` outside of tests."""

_CACHED_KEYS = 4096


class KeysUnfit(Exception):
    """There are keys, but not for what the server asks, and no password to derive others from."""


class KeyCache:
    """Keys already derived, the most recently used `size` of them.

    The lookup key holds a digest of the password under a secret of this process: a wrong password can only miss, and a
    memory dump holds no plain digest to guess at.
    """

    def __init__(self, run: RunInThread = deferToThread, size: int = _CACHED_KEYS) -> None:
        self._run = run
        self._size = size
        self._secret = secrets.token_bytes(32)
        self._keys: OrderedDict[bytes, ScramKeys] = OrderedDict()
        self._locks: dict[str, DeferredLock] = {}  # by domain
        self._salt = secrets.token_bytes(16)  # of those that do not exist
        self._usual: dict[tuple[str, str], Challenge] = {}  # by domain and hash

    def __len__(self) -> int:
        return len(self._keys)

    async def derive(self, account: str, hash_name: str, password: str, challenge: Challenge) -> ScramKeys:
        """Return the keys of `password`, from the cache or a thread. Raises `ScramError`."""
        label = self._label(account, hash_name, password, challenge)
        keys = self._known(label)
        if keys is not None:
            return keys
        lock = self._locks.setdefault(account.rpartition("@")[2], DeferredLock())
        await lock.acquire()
        keys = self._known(label)
        if keys is None:
            return await self._derived(label, lock, hash_name, password, challenge)
        lock.release()
        return keys

    def met(self, account: str, hash_name: str, challenge: Challenge) -> None:
        """The server of an account wants keys for this."""
        self._usual[account.rpartition("@")[2], hash_name] = challenge

    async def derive_in_vain(self, account: str, hash_name: str, password: str) -> None:
        """Take as long as `derive` would if the account existed, the second time, too. Raises `ScramError`."""
        usual = self._usual.get((account.rpartition("@")[2], hash_name), Challenge(b"", MIN_ITERATIONS))
        await self.derive(account, hash_name, password, usual._replace(salt=self._salt))

    def _known(self, label: bytes) -> ScramKeys | None:
        keys = self._keys.get(label)
        if keys is not None:
            self._keys.move_to_end(label)
        return keys

    def _derived(
        self, label: bytes, lock: DeferredLock, hash_name: str, password: str, challenge: Challenge
    ) -> Deferred[ScramKeys]:
        """Derive keys and keep them. The lock is held to the end: a thread goes on when nobody waits any more."""
        waiting: Deferred[ScramKeys] = Deferred()

        def ended(result: ScramKeys | Failure) -> None:
            if not isinstance(result, Failure):
                self._keys[label] = result
                if len(self._keys) > self._size:
                    self._keys.popitem(last=False)
            if not waiting.called:
                waiting.callback(result)
            lock.release()

        running = self._run(derive_keys, hash_name, password, challenge.salt, challenge.iterations)
        running.addBoth(ended)
        return waiting

    def _label(self, account: str, hash_name: str, password: str, challenge: Challenge) -> bytes:
        parts = (
            account.encode("utf-8", "surrogatepass"),
            hash_name.encode(),
            password.encode("utf-8", "surrogatepass"),
            challenge.salt,
            str(challenge.iterations).encode(),
        )
        digest = hmac.new(self._secret, digestmod=hashlib.sha256)
        for part in parts:
            digest.update(len(part).to_bytes(4, "big") + part)
        return digest.digest()


class Learned(NamedTuple):
    """What a login by SCRAM that succeeded has shown: these keys are the account's for this challenge."""

    hash_name: str  # `sha256`, `sha1`
    challenge: Challenge
    keys: ScramKeys


class Credential:
    """Logs an account in. Made `from_password` (any mechanism) or `from_keys` (the SCRAM mechanism they belong to).

    It learns from each login that succeeds. Once two in a row met the same salt and iteration count the keys will do
    from then on, and the password is let go. A server that stores the password itself makes a salt for every login:
    there the keys are of no use a second time, and the password stays in memory.
    """

    __slots__ = ("_password", "learned", "salt_changes")

    def __init__(self, password: str | None, learned: Learned | None = None) -> None:
        self._password = password
        self.learned = learned
        self.salt_changes = False  # two logins with the same password met different salts

    def __repr__(self) -> str:
        return "<Credential>"

    @classmethod
    def from_password(cls, password: str) -> Credential:
        """A credential that can do SCRAM and PLAIN."""
        return cls(password)

    @classmethod
    def from_keys(cls, hash_name: str, challenge: Challenge, keys: ScramKeys) -> Credential:
        """A credential that can do SCRAM with `hash_name`, as long as the server keeps salt and iteration count."""
        return cls(None, Learned(hash_name, challenge, keys))

    @classmethod
    def unknown(cls) -> Credential:
        """A credential that can do nothing: a client has logged in, and nobody here knows by what."""
        return cls(None)

    @property
    def known(self) -> bool:
        """Whether it can log in at all."""
        return self._password is not None or self.learned is not None

    @property
    def password(self) -> str | None:
        """The password, or None: then PLAIN is out of the question."""
        return self._password

    def can_scram(self, hash_name: str) -> bool:
        """Tell whether SCRAM with this hash (`sha256`, `sha1`) is possible."""
        return self._password is not None or (self.learned is not None and self.learned.hash_name == hash_name)

    async def keys(self, cache: KeyCache, account: str, hash_name: str, challenge: Challenge) -> ScramKeys:
        """Return the keys for a server's challenge. Raises `ScramError`, or `KeysUnfit` if there is no way to them."""
        if self._password is not None:
            return await cache.derive(account, hash_name, self._password, challenge)
        learned = self.learned
        if learned is None or (hash_name, challenge) != (learned.hash_name, learned.challenge):
            raise KeysUnfit("the server has another salt or iteration count than the kept keys")
        return learned.keys

    def learn(self, hash_name: str, challenge: Challenge, keys: ScramKeys) -> None:
        """A login by SCRAM has succeeded, and the server has proved that it knows the account."""
        before, self.learned = self.learned, Learned(hash_name, challenge, keys)
        if before is not None and before.hash_name == hash_name:
            self.salt_changes = before.challenge != challenge
            if not self.salt_changes:
                self._password = None

    def used_as_it_is(self) -> None:
        """A login by PLAIN has succeeded: the server can do no better, and the password is needed again."""
        self.learned, self.salt_changes = None, False

    def met_before(self, hash_name: str, challenge: Challenge) -> None:
        """An earlier login of the account, by another credential, met this."""
        learned = self.learned
        if learned is not None and (learned.hash_name, learned.challenge) == (hash_name, challenge):
            self._password = None
