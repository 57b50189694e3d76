"""Credentials and the cache of derived keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.trial import unittest

from minimixproxy.c2s.upstream.credentials import Credential, KeyCache, KeysUnfit
from minimixproxy.sasl.scram import Challenge, ScramError, ScramKeys, derive_keys

CHALLENGE = Challenge(b"salt", 4096)


class CredentialsTest(unittest.TestCase):
    def setUp(self) -> None:
        self.runs: list[tuple[Any, ...]] = []
        self.cache = KeyCache(self.run_now, size=2)

    def run_now(self, function: Callable[..., Any], *args: Any) -> Deferred[Any]:
        self.runs.append(args)
        return maybeDeferred(function, *args)

    def derive(self, account: str, password: str, challenge: Challenge = CHALLENGE) -> ScramKeys:
        coroutine = self.cache.derive(account, "sha256", password, challenge)
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def test_derived_once(self) -> None:
        first = self.derive("a@b", "pencil")
        self.assertEqual(first, derive_keys("sha256", "pencil", *CHALLENGE))
        self.assertEqual(self.derive("a@b", "pencil"), first)
        self.assertEqual(len(self.runs), 1)

    def test_everything_counts_in_the_lookup(self) -> None:
        right = self.derive("a@b", "pencil")
        self.assertNotEqual(self.derive("a@b", "wrong"), right)
        self.derive("c@b", "pencil")
        self.derive("a@b", "pencil", Challenge(b"other", 4096))
        self.derive("a@b", "pencil", Challenge(b"other", 4097))
        self.assertEqual(len(self.runs), 5)

    def test_bounded_and_least_recently_used_goes(self) -> None:
        self.derive("a@b", "1")
        self.derive("a@b", "2")
        self.derive("a@b", "1")
        self.derive("a@b", "3")
        self.assertEqual(len(self.cache), 2)
        self.derive("a@b", "1")
        self.assertEqual(len(self.runs), 3)

    def test_no_password_in_any_repr(self) -> None:
        credential = Credential.from_password("pencil")
        self.derive("a@b", "pencil")
        self.assertNotIn("pencil", repr(credential) + repr(self.cache) + repr(vars(self.cache)))

    def test_keys_serve_only_their_own_challenge(self) -> None:
        keys = derive_keys("sha256", "pencil", *CHALLENGE)
        credential = Credential.from_keys("sha256", CHALLENGE, keys)
        self.assertIsNone(credential.password)
        self.assertTrue(credential.can_scram("sha256"))
        self.assertFalse(credential.can_scram("sha1"))

        def ask(challenge: Challenge) -> Deferred[ScramKeys]:
            return Deferred.fromCoroutine(credential.keys(self.cache, "a@b", "sha256", challenge))

        self.assertEqual(self.successResultOf(ask(CHALLENGE)), keys)
        for changed in (Challenge(b"changed", 4096), Challenge(b"salt", 5000)):
            self.failureResultOf(ask(changed), KeysUnfit)

    def test_with_neither_password_nor_keys_there_is_no_way(self) -> None:
        """Kept keys, and the server has since been logged in to by PLAIN."""
        credential = Credential.from_keys("sha256", CHALLENGE, derive_keys("sha256", "pencil", *CHALLENGE))
        credential.used_as_it_is()
        self.assertFalse(credential.can_scram("sha256"))
        asked = Deferred.fromCoroutine(credential.keys(self.cache, "a@b", "sha256", CHALLENGE))
        self.failureResultOf(asked, KeysUnfit)

    def test_default_runs_in_a_thread(self) -> Deferred[None]:
        credential = Credential.from_password("pencil")
        done = Deferred.fromCoroutine(credential.keys(KeyCache(), "a@b", "sha256", CHALLENGE))
        return done.addCallback(self.assertEqual, derive_keys("sha256", "pencil", *CHALLENGE))

    def test_one_at_a_time_for_each_domain(self) -> None:
        """A server says how long it takes, up to some seconds: it may occupy one thread, and nobody else's logins."""
        running: list[Deferred[Any]] = []

        def run(*_arguments: object) -> Deferred[Any]:
            running.append(Deferred())
            return running[-1]

        cache = KeyCache(run)

        def derive(account: str) -> Deferred[ScramKeys]:
            return Deferred.fromCoroutine(cache.derive(account, "sha256", "pencil", CHALLENGE))

        keys = ScramKeys(b"c", b"s")
        first, second, broken_off, last = map(derive, ("1@b", "2@b", "3@b", "x@a@b"))
        self.assertEqual(len(running), 1)
        other, again = derive("1@c"), derive("1@b")
        self.assertEqual(len(running), 2)
        running[1].callback(keys)
        self.assertEqual(self.successResultOf(other), keys)
        for ended in (first, broken_off):
            ended.cancel()
            self.failureResultOf(ended, CancelledError)
        self.assertEqual(len(running), 2, "the thread goes on though nobody waits for it")
        running[0].callback(keys)
        self.assertEqual(len(running), 3)
        running[2].errback(ScramError())
        self.failureResultOf(second, ScramError)
        running[3].callback(keys)
        self.assertEqual((self.successResultOf(last), self.successResultOf(again)), (keys, keys))
        self.assertEqual(len(running), 4, "what is known by now is not derived once more")
        wrong = Deferred.fromCoroutine(cache.derive("1@b", "sha256", "wrong", CHALLENGE))
        self.assertEqual(len(running), 5, "whoever found it known holds nobody up")
        self.assertEqual(self.successResultOf(derive("1@b")), keys, "and is not held up, where it was known before")
        running[4].callback(keys)
        self.successResultOf(wrong)

    def test_failure_is_not_kept(self) -> None:
        coroutine = self.cache.derive("a@b", "sha256", "bad\u0007", CHALLENGE)
        self.failureResultOf(Deferred.fromCoroutine(coroutine), ScramError)
        self.assertEqual(len(self.cache), 0)


KEYS = ScramKeys(b"client", b"server")
OTHER = Challenge(b"other", 4096)


class LearningTest(unittest.SynchronousTestCase):
    """What a credential makes of the logins that succeed; each is (hash, challenge), or None for PLAIN."""

    def after(self, *logins: tuple[str, Challenge] | None) -> Credential:
        credential = Credential.from_password("pencil")
        for login in logins:
            if login is None:
                credential.used_as_it_is()
            else:
                credential.learn(*login, KEYS)
        return credential

    def test_password(self) -> None:
        sha256, sha1, other = ("sha256", CHALLENGE), ("sha1", CHALLENGE), ("sha256", OTHER)
        more = ("sha256", Challenge(b"salt", 5000))
        table: list[tuple[list[tuple[str, Challenge] | None], bool, bool]] = [
            ([], True, False),
            ([sha256], True, False),
            ([sha256, sha256], False, False),
            ([sha256, other], True, True),
            ([sha256, more], True, True),
            ([sha256, other, sha256], True, True),
            ([sha256, other, other], False, False),  # the password was set anew in between
            ([sha1, sha256], True, False),
            ([sha1, sha256, sha256], False, False),
            ([None, None], True, False),
            ([sha256, None, sha256], True, False),
        ]
        for logins, kept, changes in table:
            credential = self.after(*logins)
            self.assertEqual((credential.password is not None, credential.salt_changes), (kept, changes), logins)

    def test_met_by_an_earlier_credential(self) -> None:
        for met, kept in ((("sha256", CHALLENGE), False), (("sha1", CHALLENGE), True), (("sha256", OTHER), True)):
            credential = self.after(("sha256", CHALLENGE))
            credential.met_before(*met)
            self.assertEqual(credential.password is not None, kept, met)
        credential = self.after()
        credential.met_before("sha256", CHALLENGE)
        self.assertEqual(credential.password, "pencil", "nothing is known of it yet")
