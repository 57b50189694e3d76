"""Enrolling accounts: by a password that the server is asked about, and by keys from the server's own store."""

from __future__ import annotations

from dataclasses import replace

from twisted.internet.defer import Deferred

from minimixproxy.accountstream.errors import CannotOpen, CredentialRefused
from minimixproxy.c2s.upstream.connecting import Login
from minimixproxy.c2s.upstream.credentials import Credential, KeyCache
from minimixproxy.config.settings import Domain
from minimixproxy.minimix.interfaces.enrolling import CannotKeep, Enrolled, NotEnrolled, Refused
from minimixproxy.minimix.interfaces.journal import KeptLogin
from minimixproxy.sasl.scram import Challenge, ScramKeys
from tests.accountstream.test_accounts import DAY, KEPT
from tests.accountstream.test_known_keys import IMPORTED, OF_LOGIN, OTHER_PASSWORD, SHA1, STRANGER, KnownKeysTest
from tests.minimix.fakes import BARE, ROOM
from tests.minimix.upstreams import login

FIRST = Challenge(b"salt", 4096)
KEYS = ScramKeys(b"client key", b"server key")


class EnrollingTest(KnownKeysTest):
    def setUp(self) -> None:
        super().setUp()
        self.enrolling = self.accounts.enrolling

    def asked(self, bare: str = BARE) -> Deferred[Enrolled]:
        return Deferred.fromCoroutine(self.enrolling.by_password(bare, "pencil"))

    def answered(self, *challenges: Challenge) -> Login:
        """The server takes the password, each time with this challenge; return the login that was tried."""
        for challenge in challenges:
            login, proof = self.proofs.pop(0)
            login.credential.learn("sha256", challenge, KEYS)
            proof.callback(None)
        self.assertEqual(self.proofs, [])
        return login

    def answered_in_vain(self, asked: Deferred[Enrolled], reason: str) -> None:
        """The server takes the password, but the account is to be enrolled no more: nothing is kept."""
        self.answered(FIRST, FIRST)
        error = self.failureResultOf(asked, NotEnrolled).value
        self.assertEqual(str(error), reason)
        self.assertEqual((self.found(), self.enrolled.keys, len(self.accounts)), ({}, {}, 0))


class ByPasswordTest(EnrollingTest):
    def test_keys_that_last(self) -> None:
        """The account has never been here, and need not be held."""
        enrolled = self.asked(STRANGER)
        self.assertEqual(self.proofs[0][0].credential.password, "pencil")
        self.assertEqual(self.proofs[0][0].account, STRANGER)
        self.answered(FIRST, FIRST)
        self.assertEqual(self.successResultOf(enrolled), Enrolled("sha256"))
        self.assertEqual(self.found(STRANGER), {"sha256": OF_LOGIN})
        self.assertEqual((len(self.accounts), self.journal.take()), (0, []))

    def test_imported_before(self) -> None:
        """What is of the same password stays, for other hashes, too."""
        for before, after in (
            ([IMPORTED, SHA1], {"sha256": OF_LOGIN, "sha1": SHA1}),
            ([OTHER_PASSWORD, SHA1], {"sha256": OF_LOGIN}),
            ([SHA1], {"sha256": OF_LOGIN}),
        ):
            self.enrolled.put(STRANGER, before)
            self.asked(STRANGER)
            self.answered(FIRST, FIRST)
            self.assertEqual(self.found(STRANGER), after)

    def test_an_account_that_was_refused(self) -> None:
        """It comes back into its rooms."""
        self.restored(refused=True)
        self.assertEqual(self.used, [])
        self.asked()
        login = self.answered(FIRST, FIRST)
        self.assertEqual(self.used, [login])
        self.assertEqual(self.journal.take(), [("refused", False)])
        self.upstream.accept()
        self.assertIn(ROOM.encode(), self.upstream.take())

    def test_an_account_whose_client_was_relayed(self) -> None:
        """It is in rooms by itself from then on."""
        session = self.session(login=replace(login(), credential=Credential.unknown()))
        self.assertFalse(self.account.is_enrolled)
        self.asked()
        used = self.answered(FIRST, FIRST)
        self.assertTrue(self.account.is_enrolled)
        self.assertEqual(self.journal.take()[0][:2], ("kept", KEPT))
        self.joins(session)
        self.assertEqual(self.used, [used])
        self.upstream.accept()
        self.assertIn(ROOM.encode(), self.upstream.take())

    def test_an_account_without_a_login(self) -> None:
        self.restored(login=None)
        self.asked()
        login = self.answered(FIRST, FIRST)
        self.assertEqual((self.used, self.journal.take()), ([login], [("kept", KEPT, -DAY)]))

    def test_the_server_says_no(self) -> None:
        self.enrolled.put(BARE, [SHA1])
        asked = self.asked()
        self.proofs.pop(0)[1].errback(CredentialRefused("login refused: not-authorized"))
        error = self.failureResultOf(asked, Refused).value
        self.assertEqual(str(error), f"the server does not take the password of {BARE}: login refused: not-authorized")
        self.assertEqual((self.found(), self.journal.take()), ({"sha1": SHA1}, []))

    def test_the_server_is_away(self) -> None:
        """At the first login, or at the second."""
        for number in range(2):
            asked = self.asked()
            if number:
                login, proof = self.proofs.pop(0)
                login.credential.learn("sha256", FIRST, KEYS)
                proof.callback(None)
            self.proofs.pop(0)[1].errback(CannotOpen("connection refused"))
            error = self.failureResultOf(asked, NotEnrolled).value
            self.assertIn("could not be asked about the password: connection refused", str(error))
            self.assertEqual((self.found(), self.enrolled.keys), ({}, {}))

    def test_another_domain(self) -> None:
        error = self.failureResultOf(self.asked("alice@b.test"), NotEnrolled).value
        self.assertEqual((str(error), self.proofs), ("alice@b.test: its domain is not served by this proxy", []))

    def test_a_domain_that_a_reload_takes_away_meanwhile(self) -> None:
        """At its former server the account opens no stream, and whoever has its address later finds no keys."""
        asked = self.asked()
        self.patch(self.logins, "serves", lambda _domain: False)
        self.answered_in_vain(asked, f"{BARE}: its domain is not served by this proxy")

    def test_an_account_that_another_process_has_by_now(self) -> None:
        """The server took its time, and this process is drained: nothing is written of what is not its own."""
        asked = self.asked()
        self.patch(self.accounts, "is_elsewhere", lambda _bare: True)
        self.answered_in_vain(asked, f"{BARE} has gone to another process of the cluster meanwhile: try again")

    def test_an_account_that_is_blocked_meanwhile(self) -> None:
        """As one that was blocked before: nothing is kept, and the operator is told why."""
        asked = self.asked()
        self.patch(self.accounts, "is_blocked", lambda _bare: True)
        self.answered_in_vain(asked, f"{BARE} is blocked: unblock it first")

    def test_no_place(self) -> None:
        self.patch(self.enrolled, "put", lambda _bare, _keys: False)
        asked = self.asked()
        self.answered(FIRST, FIRST)
        self.failureResultOf(asked, NotEnrolled)


class PasswordItselfTest(EnrollingTest):
    """The server makes a salt for every login, or knows PLAIN only."""

    def leaves_nothing(self, *challenges: Challenge, keeps: bool = False) -> Deferred[Enrolled]:
        domain = Domain(name="a.test", keep_passwords=keeps)
        credential = Credential.from_password("pencil")
        self.patch(self.logins, "new", lambda _bare, _password: Login(domain, "alice", credential, KeyCache()))
        asked = self.asked()
        if challenges:
            self.answered(*challenges)
        else:
            self.proofs.pop(0)[1].callback(None)
        return asked

    def test_not_kept(self) -> None:
        for challenges in ((), (FIRST, Challenge(b"other", 4096))):
            error = self.failureResultOf(self.leaves_nothing(*challenges), CannotKeep).value
            self.assertIn("passwords themselves are kept only with keep_passwords", str(error))
            self.assertEqual((len(self.accounts), self.enrolled.keys), (0, {}))

    def test_kept(self) -> None:
        self.logins.kept = KeptLogin("a.test", "alice", password="pencil")
        enrolled = self.leaves_nothing(FIRST, Challenge(b"other", 4096), keeps=True)
        self.assertEqual(self.successResultOf(enrolled), Enrolled(None))
        self.assertEqual((len(self.accounts), self.journal.take()), (1, [("kept", self.logins.kept, 0)]))

    def test_kept_by_another_process(self) -> None:
        """Else two would have the account."""
        self.patch(self.accounts, "is_elsewhere", lambda _bare: True)
        self.failureResultOf(self.leaves_nothing(FIRST, Challenge(b"other", 4096), keeps=True), NotEnrolled)
        self.assertEqual((len(self.accounts), self.journal.take()), (0, []))

    def test_in_memory_of_an_account_that_is_here(self) -> None:
        self.logins.kept = KeptLogin("a.test", "alice")
        self.session()
        enrolled = self.leaves_nothing(FIRST, Challenge(b"other", 4096))
        self.assertEqual(self.successResultOf(enrolled), Enrolled(None, lasts=False))


class ByKeysTest(EnrollingTest):
    def test_kept(self) -> None:
        self.assertTrue(self.enrolling.by_keys(STRANGER, [IMPORTED, SHA1]))
        self.assertEqual(self.found(STRANGER), {"sha256": IMPORTED, "sha1": SHA1})

    def test_again(self) -> None:
        """What clients have shown meanwhile stays."""
        self.enrolling.by_keys(STRANGER, [IMPORTED])
        self.known.proved(STRANGER, OF_LOGIN)
        self.enrolling.by_keys(STRANGER, [IMPORTED])
        self.assertEqual(self.found(STRANGER), {"sha256": OF_LOGIN})
        self.enrolling.by_keys(STRANGER, [OTHER_PASSWORD._replace(client_key=None)])
        self.assertEqual(self.found(STRANGER), {"sha256": OTHER_PASSWORD._replace(client_key=None)})

    def test_of_an_account_with_a_login(self) -> None:
        self.session()
        self.enrolling.by_keys(BARE, [IMPORTED])
        self.assertEqual(self.found(), {"sha256": OF_LOGIN})

    def test_no_place(self) -> None:
        self.patch(self.enrolled, "put", lambda _bare, _keys: False)
        self.assertFalse(self.enrolling.by_keys(STRANGER, [IMPORTED]))

    def test_domains(self) -> None:
        self.assertEqual([self.enrolling.serves(domain) for domain in ("a.test", "b.test")], [True, False])
