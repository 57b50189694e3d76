"""What is said of a process that the others of its cluster would refuse, or that cannot start."""

from __future__ import annotations

import shutil
import socket
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.checking import files
from minimixproxy.checking.cluster import check_cluster
from minimixproxy.checking.endpoints import check_endpoints
from minimixproxy.checking.files import check_files, check_readable
from minimixproxy.checking.finding import Finding, Level
from minimixproxy.checking.offline import check_before_start, check_offline
from minimixproxy.config.settings import Settings
from tests.certificates import KeyPair, make_authority, make_certificate

#: A moment ago. The certificates of tests are valid for 30 days from yesterday on, in whole seconds.
NOW = datetime.now(UTC) - timedelta(minutes=1)
GOOD = [("[cluster] secret", Level.GOOD), ("[cluster] certificate", Level.GOOD)]


class ClusterCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp())  # short, for the path of a socket
        self.addCleanup(shutil.rmtree, self.directory)
        self.authority = make_authority()
        self.secret = self.directory / "secret"
        self.secret.write_bytes(b"s" * 32)
        self.secret.chmod(0o600)

    def settings(self, **cluster: Any) -> Settings:
        return Settings.model_validate(
            {
                "state": "postgresql://proxy@127.0.0.1:1/state",
                "state_directory": self.directory,
                "listen": [{"endpoint": "tcp:0:interface=127.0.0.1"}],
                "domain": {"example.org": {}},
                "cluster": {"name": "a", "secret": self.secret, **cluster},
            }
        )

    def unix(self) -> Settings:
        return self.settings(endpoint=f"unix:{self.directory}/internal")

    def tls(self, *chain: KeyPair, endpoint: str = "tls:127.0.0.1:0") -> Settings:
        certificate, key = chain[0].write(self.directory, "a")
        certificate.write_bytes(b"".join(one.certificate_pem() for one in chain))
        key.chmod(0o600)
        ca, _ = self.authority.write(self.directory, "ca")
        return self.settings(endpoint=endpoint, address="127.0.0.1:1", ca=ca, certificate=certificate, key=key)

    def signed(self) -> KeyPair:
        return make_certificate(self.authority, "node-a.test")

    def levels(self, found: list[Finding]) -> list[tuple[str, Level]]:
        return [(one.subject, one.level) for one in found]


class CertificateTest(ClusterCase):
    def check(self, settings: Settings, days: int = 0) -> list[Finding]:
        return list(check_cluster(settings, NOW + timedelta(days=days)))

    def test_alone(self) -> None:
        alone = {"listen": [{"endpoint": "tcp:5222"}], "domain": {"example.org": {}}}
        self.assertEqual(self.check(Settings.model_validate(alone)), [])

    def test_good(self) -> None:
        self.assertEqual(self.levels(self.check(self.unix())), GOOD[:1])
        self.assertEqual(self.levels(self.check(self.tls(self.signed()))), GOOD)
        self.assertEqual(self.levels(self.check(self.tls(self.signed(), self.authority))), GOOD, "ca may be in it")

    def test_secret(self) -> None:
        self.secret.chmod(0o644)
        (found,) = self.check(self.unix())
        self.assertEqual(found.level, Level.ERROR)
        self.assertIn("others may read it (mode 0644): chmod 600", found.sentence)
        self.secret.unlink()
        (found,) = self.check(self.unix())
        self.assertIn("cannot be read: No such file or directory: openssl rand -hex 32 makes one", found.sentence)

    def test_of_another_authority(self) -> None:
        for chain in ([make_certificate(make_authority(), "a.test")], [make_certificate(None, "a.test")]):
            _secret, found = self.check(self.tls(*chain))
            self.assertEqual(found.level, Level.ERROR)
            self.assertIn("was not signed by the authority that ca names, but by", found.sentence)
        _secret, found = self.check(self.tls(make_certificate(make_authority(), "a.test"), self.authority))
        self.assertEqual(found.level, Level.ERROR, "the authority behind it proves nothing")

    def test_times(self) -> None:
        settings = self.tls(self.signed())
        for days, level, told in (
            (25, Level.WARNING, "ends in 5 days"),
            (31, Level.ERROR, "the other processes refuse this one"),
            (-2, Level.ERROR, "is not valid before"),
        ):
            _secret, own, authority = self.check(settings, days)
            self.assertEqual((own.level, authority.level), (level, level))
            self.assertEqual((own.subject, authority.subject), ("[cluster] certificate", "[cluster] ca"))
            self.assertIn(told, own.sentence)

    def test_damaged_meanwhile(self) -> None:
        settings = self.tls(self.signed())
        (self.directory / "ca.pem").write_text("a shopping list")
        _secret, found = self.check(settings)
        self.assertEqual((found.level, "holds no certificate" in found.says), (Level.ERROR, True))


class FilesAndPortsTest(ClusterCase):
    def of_cluster(self, found: list[Finding]) -> list[Finding]:
        return [one for one in found if one.subject.startswith("[cluster]")]

    def test_key(self) -> None:
        settings = self.tls(self.signed())
        self.assertEqual(self.of_cluster(list(check_files(self.directory / "file", settings))), [])
        (self.directory / "a.key").chmod(0o644)
        (found,) = self.of_cluster(list(check_files(self.directory / "file", settings)))
        self.assertIn("is a private key, and everybody on this machine may read it", found.sentence)

    def test_readable_for_the_user(self) -> None:
        self.patch(files, "proxy_user", lambda _directory: type("User", (), {"pw_name": "proxy"}))
        self.patch(files, "may_read", lambda _user, _file: False)
        found = self.of_cluster(list(check_readable(self.directory / "file", self.tls(self.signed()))))
        self.assertEqual([one.subject.split()[1] for one in found], ["secret", "ca", "certificate", "key"])

    def test_endpoint(self) -> None:
        def ports(settings: Settings, running: int | None = None) -> list[Finding]:
            return self.of_cluster(list(check_endpoints(settings, reactor, running)))

        self.assertEqual([one.level for one in ports(self.unix())], [Level.GOOD])
        self.assertEqual([one.level for one in ports(self.tls(self.signed()))], [Level.GOOD])
        with socket.create_server(("127.0.0.1", 0)) as taken:
            settings = self.tls(self.signed(), endpoint=f"tls:127.0.0.1:{taken.getsockname()[1]}")
            (found,) = ports(settings)
            self.assertIn("is in use by another program", found.sentence)
            self.assertEqual([one.level for one in ports(settings, running=4)], [Level.GOOD])
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(self.directory / "internal"))
            left.listen()
            self.assertEqual([one.level for one in ports(self.unix())], [Level.ERROR])

    def test_where_it_is_asked(self) -> None:
        """By `--check` and `minimixproxy check` all of it; at a start what the log should say."""
        settings = self.tls(make_certificate(make_authority(), "a.test"))
        self.secret.unlink()
        offline = self.of_cluster(list(check_offline(self.directory / "file", settings, NOW, reactor)))
        self.assertEqual([one.subject for one in offline if one.is_error], [name for name, _ in GOOD])
        start = self.of_cluster(list(check_before_start(self.directory / "file", settings, NOW)))
        self.assertEqual(self.levels(start), [("[cluster] certificate", Level.ERROR)])
