"""What is kept on disk of a login, and what comes of it after a restart."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.trial import unittest

from minimixproxy.accountstream.kept_login import KeptLogins
from minimixproxy.c2s.upstream.connecting import Login
from minimixproxy.c2s.upstream.credentials import Credential, KeyCache
from minimixproxy.config.settings import Domain
from minimixproxy.minimix.interfaces.journal import KeptLogin
from minimixproxy.sasl.scram import Challenge, ScramKeys

FIRST = Challenge(b"salt", 4096)
SECOND = Challenge(b"other", 4096)
KEYS = ScramKeys(b"client key", b"server key")

NOTHING = KeptLogin("example.org", "alice")
WITH_PASSWORD = KeptLogin("example.org", "alice", password="pencil")
WITH_KEYS = KeptLogin("example.org", "alice", "sha256", *FIRST, *KEYS)
WITH_OTHER_KEYS = KeptLogin("example.org", "alice", "sha256", *SECOND, *KEYS)

ALLOWED = Domain(name="example.org", keep_passwords=True)
FORBIDDEN = Domain(name="example.org")


class KeepTest(unittest.SynchronousTestCase):
    def test_table(self) -> None:
        for domain, challenges, before, expected, lets_go in [
            (FORBIDDEN, [FIRST], None, WITH_KEYS, False),
            (FORBIDDEN, [FIRST, FIRST], None, WITH_KEYS, True),
            (FORBIDDEN, [FIRST, SECOND], None, WITH_OTHER_KEYS, False),
            (FORBIDDEN, [FIRST], WITH_KEYS, WITH_KEYS, True),
            (FORBIDDEN, [SECOND], WITH_KEYS, WITH_OTHER_KEYS, False),
            (FORBIDDEN, [], None, NOTHING, False),  # by PLAIN
            (FORBIDDEN, [], WITH_KEYS, NOTHING, False),  # the server has no SCRAM any more
            (FORBIDDEN, [FIRST], WITH_PASSWORD, WITH_KEYS, False),
            (ALLOWED, [], None, WITH_PASSWORD, False),
            (ALLOWED, [FIRST], None, WITH_KEYS, False),
            (ALLOWED, [FIRST, SECOND], None, WITH_PASSWORD, False),
            (ALLOWED, [FIRST], WITH_PASSWORD, WITH_PASSWORD, False),  # not known yet whether the salt lasts
            (ALLOWED, [FIRST, FIRST], WITH_PASSWORD, WITH_KEYS, True),  # it does
            (ALLOWED, [SECOND], WITH_KEYS, WITH_OTHER_KEYS, False),  # no password was kept, so none is begun with
            (ALLOWED, [FIRST], NOTHING, WITH_KEYS, False),
            (ALLOWED, [FIRST, FIRST], None, WITH_KEYS, True),
        ]:
            credential = Credential.from_password("pencil")
            for challenge in challenges:
                credential.learn("sha256", challenge, KEYS)
            if not challenges:
                credential.used_as_it_is()
            kept = KeptLogins({}).keep(Login(domain, "alice", credential, KeyCache()), before)
            case = (domain.keep_passwords, challenges, before)
            self.assertEqual((kept, credential.password is None), (expected, lets_go), case)


class ReviveTest(unittest.SynchronousTestCase):
    def revived(self, kept: KeptLogin, domain: Domain = FORBIDDEN, bare: str = "alice@example.org") -> Login | None:
        return KeptLogins({domain.name: domain}).revive(kept, bare)

    def test_keys(self) -> None:
        login = self.revived(WITH_KEYS)
        assert login is not None and login.credential.learned is not None
        self.assertEqual((login.username, login.domain, login.credential.password), ("alice", FORBIDDEN, None))
        self.assertEqual(login.credential.learned, ("sha256", FIRST, KEYS))

    def test_password_if_allowed(self) -> None:
        login = self.revived(WITH_PASSWORD, ALLOWED)
        assert login is not None
        self.assertEqual(login.credential.password, "pencil")
        self.assertIsNone(self.revived(WITH_PASSWORD))

    def test_nothing_usable(self) -> None:
        changes: list[dict[str, Any]] = [{"domain": "elsewhere.example"}, {"hash_name": "md5"}, {"client_key": b""}]
        for kept in (NOTHING, *(replace(WITH_KEYS, **change) for change in changes)):
            self.assertIsNone(self.revived(kept))
        self.assertIsNone(self.revived(NOTHING, ALLOWED))

    def test_only_the_account_s_own(self) -> None:
        self.assertIsNone(self.revived(WITH_KEYS, bare="victim@example.org"))
        self.assertIsNone(self.revived(WITH_KEYS, bare="alice@elsewhere.example"))
        self.assertIsNotNone(self.revived(replace(WITH_KEYS, username="ALICE")))

    def test_renewed_it_is_the_same_login_with_another_password(self) -> None:
        login = self.revived(WITH_KEYS)
        assert login is not None
        renewed = KeptLogins({}).renew(login, "new")
        self.assertEqual((renewed.domain, renewed.username, renewed.keys), (login.domain, login.username, login.keys))
        self.assertEqual((renewed.credential.password, renewed.credential.learned), ("new", None))

    def test_round_trip(self) -> None:
        login = self.revived(WITH_KEYS)
        assert login is not None
        self.assertEqual(KeptLogins({}).keep(login, WITH_KEYS), WITH_KEYS)


class NewTest(unittest.SynchronousTestCase):
    def test_by_a_password(self) -> None:
        logins = KeptLogins({"example.org": ALLOWED})
        login = logins.new("alice@example.org", "pencil")
        assert login is not None
        self.assertEqual(
            (login.own.bare, login.domain, login.credential.password), ("alice@example.org", ALLOWED, "pencil")
        )
        renewed = logins.renew(login, "pen")
        self.assertEqual((renewed.own.bare, renewed.credential.password), ("alice@example.org", "pen"))

    def test_of_a_domain_that_is_not_served(self) -> None:
        logins = KeptLogins({"example.org": ALLOWED})
        self.assertIsNone(logins.new("alice@example.net", "pencil"))
        self.assertEqual((logins.serves("example.org"), logins.serves("example.net")), (True, False))
