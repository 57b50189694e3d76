"""Which keys are known of accounts, from where, and when they go."""

from __future__ import annotations

from dataclasses import replace

from minimixproxy.accountstream.errors import CredentialRefused
from minimixproxy.c2s.server.exchanges.known_keys import KnownKeys
from minimixproxy.c2s.upstream.credentials import Credential
from minimixproxy.minimix.interfaces.journal import KeptLogin
from minimixproxy.sasl.keys import Keys
from minimixproxy.sasl.scram import Challenge, ScramKeys
from tests.accountstream.test_accounts import DAY, KEPT, AccountsTest
from tests.minimix.fakes import BARE
from tests.minimix.upstreams import login

OF_LOGIN = Keys.from_scram("sha256", Challenge(b"salt", 4096), ScramKeys(b"client key", b"server key"))
IMPORTED = OF_LOGIN._replace(client_key=None)
SHA1 = Keys.from_scram("sha1", Challenge(b"tlas", 5000), ScramKeys(b"client key 1", b"server key 1"))
OTHER_PASSWORD = Keys.from_scram("sha256", Challenge(b"other", 4096), ScramKeys(b"c", b"s"))
STRANGER = "stranger@a.test"
NO_KEYS = KeptLogin("a.test", "alice")


class KnownKeysTest(AccountsTest):
    def setUp(self) -> None:
        super().setUp()
        self.accounts = self.made(stay=30 * DAY, bookmarks="follow")
        self.known: KnownKeys = self.accounts.known_keys

    def found(self, bare: str = BARE) -> dict[str, Keys | None]:
        """What is known, by hash. Nothing is found of other hashes."""
        names = self.known.hashes(bare)
        for name in {"sha512", "sha256", "sha1", "md5"} - names:
            self.assertIsNone(self.known.find(bare, name))
        return {name: self.known.find(bare, name) for name in names}

    def refused(self) -> None:
        """The account's stream is refused."""
        self.upstream.attempts.pop().errback(CredentialRefused("not-authorized"))


class SourcesTest(KnownKeysTest):
    def test_nobody(self) -> None:
        self.assertEqual(self.found(STRANGER), {})
        self.known.withdraw(STRANGER)
        self.known.proved(STRANGER, OF_LOGIN)
        self.assertEqual((self.found(STRANGER), self.enrolled.keys), ({}, {}))

    def test_of_a_login(self) -> None:
        self.session()
        self.assertEqual((self.found(), self.enrolled.keys), ({"sha256": OF_LOGIN}, {}), "known, and not kept twice")
        self.assertEqual(self.found(STRANGER), {})

    def test_of_a_login_before_the_restart(self) -> None:
        self.restored()
        self.assertEqual(self.found(), {"sha256": OF_LOGIN})

    def test_of_a_login_that_was_refused_before_the_restart(self) -> None:
        self.restored(refused=True)
        self.assertEqual(self.found(), {})

    def test_of_a_login_that_left_no_keys(self) -> None:
        for kept in (NO_KEYS, replace(NO_KEYS, password="pencil"), replace(KEPT, hash_name="md5")):
            self.logins.kept = kept
            self.session()
            self.assertEqual(self.found(), {}, kept)

    def test_of_a_login_to_a_server_that_makes_a_salt_for_every_login(self) -> None:
        """The keys are of no use another time."""
        credential = Credential.from_password("pencil")
        for salt in (b"salt", b"pepper"):
            credential.learn("sha256", Challenge(salt, 4096), ScramKeys(b"client key", b"server key"))
        self.session(login=replace(login(), credential=credential))
        self.assertEqual(self.found(), {})

    def test_enrolled(self) -> None:
        self.enrolled.put(STRANGER, [IMPORTED, SHA1])
        self.assertEqual(self.found(STRANGER), {"sha256": IMPORTED, "sha1": SHA1})

    def test_enrolled_and_a_login_with_another_hash(self) -> None:
        self.session()
        self.enrolled.put(BARE, [SHA1])
        self.assertEqual(self.found(), {"sha256": OF_LOGIN, "sha1": SHA1})

    def test_enrolled_and_a_login(self) -> None:
        """A login has all of the keys. Where they disagree, the account was enrolled later."""
        self.session()
        self.enrolled.put(BARE, [IMPORTED])
        self.assertEqual(self.found(), {"sha256": OF_LOGIN})
        self.enrolled.put(BARE, [OTHER_PASSWORD])
        self.assertEqual(self.found(), {"sha256": OTHER_PASSWORD})


class ChangesTest(KnownKeysTest):
    def test_proved(self) -> None:
        self.enrolled.put(STRANGER, [IMPORTED, SHA1])
        self.known.proved(STRANGER, OTHER_PASSWORD)
        self.assertEqual(self.found(STRANGER), {"sha256": IMPORTED, "sha1": SHA1})
        for _ in range(2):
            self.known.proved(STRANGER, OF_LOGIN)
            self.assertEqual(self.found(STRANGER), {"sha256": OF_LOGIN, "sha1": SHA1})
        self.known.proved(STRANGER, IMPORTED)
        self.assertEqual(self.found(STRANGER), {"sha256": OF_LOGIN, "sha1": SHA1})

    def test_a_login_completes_what_was_imported(self) -> None:
        self.enrolled.put(BARE, [IMPORTED])
        self.session()
        self.assertEqual(self.enrolled.of(BARE), (OF_LOGIN,))

    def test_a_login_with_another_password(self) -> None:
        """The server has just taken it: what the account was enrolled with is old, for every hash."""
        self.enrolled.put(BARE, [OTHER_PASSWORD, SHA1])
        self.session()
        self.assertEqual((self.enrolled.keys, self.found()), ({}, {"sha256": OF_LOGIN}))

    def test_withdrawn(self) -> None:
        self.restored()
        self.enrolled.put(BARE, [IMPORTED, SHA1])
        self.known.withdraw(BARE)
        self.assertEqual((self.found(), self.enrolled.keys), ({}, {}))
        self.assertEqual(self.journal.take(), [("kept", NO_KEYS, -DAY)])
        self.known.withdraw(BARE)
        self.assertEqual(self.journal.take(), [])

    def test_withdrawn_and_known_again(self) -> None:
        self.restored()
        self.known.withdraw(BARE)
        self.session()
        self.assertEqual(self.found(), {"sha256": OF_LOGIN})

    def test_a_password_that_is_kept_stays(self) -> None:
        """The server says at its next use whether it is good."""
        self.logins.kept = replace(KEPT, password="pencil")
        self.session()
        self.journal.take()
        self.known.withdraw(BARE)
        self.assertEqual(self.journal.take(), [("kept", replace(NO_KEYS, password="pencil"), 0)])

    def test_refused(self) -> None:
        self.enrolled.put(BARE, [IMPORTED, SHA1])
        self.restored()
        self.refused()
        self.assertEqual((self.found(), self.enrolled.keys), ({}, {}))

    def test_refused_and_enrolled_anew_meanwhile(self) -> None:
        self.restored()
        self.enrolled.put(BARE, [OTHER_PASSWORD, SHA1])
        self.refused()
        self.assertEqual(self.found(), {"sha256": OTHER_PASSWORD, "sha1": SHA1})

    def test_changed_by_a_client(self) -> None:
        """What is kept is the former password's until the server has taken the new one."""
        for refused in (False, True):
            self.setUp()
            self.session()
            self.enrolled.put(BARE, [IMPORTED, SHA1])
            self.accounts.password_changed(BARE, "new")
            self.assertEqual((self.found(), self.enrolled.keys), ({}, {}))
            proof = self.proofs.pop()[1]
            if refused:
                proof.errback(CredentialRefused("not-authorized"))
            else:
                proof.callback(None)
            self.assertEqual(self.found(), {"sha256": OF_LOGIN})

    def test_changed_by_a_client_of_an_account_that_is_not_held(self) -> None:
        self.enrolled.put(STRANGER, [IMPORTED])
        self.accounts.password_changed(STRANGER, "new")
        self.assertEqual(self.enrolled.keys, {})

    def test_refused_without_any_keys(self) -> None:
        self.enrolled.put(BARE, [SHA1])
        self.restored(login=replace(NO_KEYS, password="pencil"))
        self.refused()
        self.assertEqual(self.enrolled.keys, {})
