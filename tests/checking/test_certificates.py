"""What is said of certificates before clients refuse them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.checking.certificates import check_certificates
from minimixproxy.checking.finding import Finding, Level
from minimixproxy.config.settings import Domain
from tests.certificates import KeyPair, make_authority, make_certificate

#: A moment ago. The certificates of tests are valid for 30 days from yesterday on, in whole seconds.
NOW = datetime.now(UTC) - timedelta(minutes=1)


class CertificatesTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.authority = make_authority()

    def check(self, *chain: KeyPair, now: datetime = NOW, domain: str = "example.org") -> list[Finding]:
        certificate, key = chain[0].write(self.directory, "this")
        certificate.write_bytes(b"".join(one.certificate_pem() for one in chain))
        return list(check_certificates([Domain(name=domain, certificate=certificate, private_key=key)], now))

    def says(self, level: Level, text: str, found: list[Finding]) -> None:
        self.assertEqual([one.level for one in found], [level], found)
        self.assertIn(text, found[0].sentence)
        self.assertIn("certificate of ", found[0].sentence)
        self.assertEqual(bool(found[0].advice), level is not Level.GOOD, "what is wrong comes with what to do")

    def test_good(self) -> None:
        for names in (["example.org"], ["other.test", "EXAMPLE.org"]):
            self.says(Level.GOOD, "valid until", self.check(make_certificate(self.authority, *names), self.authority))

    def test_wildcard(self) -> None:
        made = make_certificate(self.authority, "*.example.org")
        self.says(Level.GOOD, "valid until", self.check(made, self.authority, domain="chat.example.org"))
        for domain in ("example.org", "a.chat.example.org"):
            self.says(Level.ERROR, f"not for {domain}", self.check(made, self.authority, domain=domain))

    def test_name_in_another_alphabet(self) -> None:
        made = make_certificate(self.authority, "xn--bcher-kva.example")
        self.says(Level.GOOD, "valid until", self.check(made, self.authority, domain="bücher.example"))

    def test_another_name(self) -> None:
        made = make_certificate(self.authority, "xmpp.example.org")
        self.says(Level.ERROR, "is for xmpp.example.org, not for example.org", self.check(made, self.authority))

    def test_times(self) -> None:
        chain = make_certificate(self.authority, "example.org"), self.authority
        for days, level, text in (
            (15, Level.GOOD, "valid until"),
            (25, Level.WARNING, "ends in 5 days"),
            (31, Level.ERROR, "has expired on"),
            (-2, Level.ERROR, "is not valid before"),
        ):
            found = self.check(*chain, now=NOW + timedelta(days=days))
            self.assertEqual({one.level for one in found}, {level})
            self.assertIn(text, found[0].sentence)
            if level is not Level.GOOD:  # the authority of the test has the same times
                self.assertIn("its certificate #2, of 'CN=minimixproxy tests', ", found[1].sentence)

    def test_chain(self) -> None:
        made = make_certificate(self.authority, "example.org")
        self.says(Level.WARNING, "nothing but itself, and it was issued by 'CN=minimixproxy tests'", self.check(made))
        found = self.check(made, make_authority())
        self.says(Level.ERROR, "certificate #1 of its file was not issued by #2", found)

    def test_self_signed(self) -> None:
        self.says(Level.WARNING, "is self-signed", self.check(make_certificate(None, "example.org")))

    def test_none(self) -> None:
        (found,) = check_certificates([Domain(name="example.org")], NOW)
        self.says(Level.WARNING, "none is configured", [found])
