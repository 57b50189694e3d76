"""What `[cluster]` may say, and how each fault is told."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.config import cluster_checks
from minimixproxy.config import settings as config
from minimixproxy.config.cluster_checks import TLSPlace, UnixPlace
from tests.certificates import make_authority, make_certificate

STATE = 'state = "postgresql://proxy@db/state"\n'
CLIENTS = '[[listen]]\nendpoint = "tcp:5222"\n[domain."example.org"]\n'
UNIX = '[cluster]\nname = "a"\nendpoint = "unix:/run/a"\nsecret = "cluster.key"\n'
TLS_ALONE = '[cluster]\nname = "a"\nendpoint = "tls:0.0.0.0:5270"\nsecret = "cluster.key"\n'
FILES = 'ca = "ca.pem"\ncertificate = "a.pem"\nkey = "a.key"\n'
TLS = TLS_ALONE + 'address = "10.0.0.1:5270"\n' + FILES

ENDPOINT = 'must be "unix:/PATH", perhaps with ":mode=600", or "tls:ADDRESS:PORT"'
TLS_ENDPOINT = 'must be "tls:ADDRESS:PORT", such as "tls:0.0.0.0:5270"'
ADDRESS = 'must be "HOST:PORT", such as "10.0.0.1:5270" or "[2001:db8::1]:5270"'
NAME = 'must be 1 to 64 printable characters, such as "node-a"'
NEEDS = 'a "tls:" endpoint needs'
ONLY_TLS = 'only for a "tls:" endpoint; a UNIX socket has its path and its mode'

#: A good table, what takes the place of what in it, and what is said of that.
FAULTS: tuple[tuple[str, str, str, str], ...] = (
    (UNIX, 'name = "a"\n', "", "[cluster] name: is missing"),
    (UNIX, 'name = "a"', 'name = ""', f"[cluster] name: {NAME}"),
    (UNIX, 'name = "a"', f'name = "{"a" * 65}"', f"[cluster] name: {NAME}"),
    (UNIX, 'name = "a"', 'name = "a\\u0007"', f"[cluster] name: {NAME}"),
    (UNIX, 'name = "a"', 'name = " "', f"[cluster] name: {NAME}"),
    (UNIX, 'name = "a"', "name = 1", "[cluster] name: must be a string, not 1"),
    (UNIX, "unix:/run/a", "tcp:5270", f"[cluster] endpoint: {ENDPOINT}"),
    (UNIX, "unix:/run/a", "unix:run/a", f"[cluster] endpoint: {ENDPOINT}"),
    (UNIX, "unix:/run/a", "unix:/run/a:mode=8", f"[cluster] endpoint: {ENDPOINT}"),
    (
        UNIX,
        "unix:/run/a",
        "unix:/run/a:mode=666",
        "[cluster] endpoint: mode=666 lets everybody on this machine in: leave it out, or say mode=600",
    ),
    (UNIX, 'secret = "cluster.key"\n', "", "[cluster] secret: is missing"),
    (UNIX, '"cluster.key"', "5", "[cluster] secret: must be a file name"),
    (UNIX, "secret", 'address = "10.0.0.1:1"\nsecret', f"[cluster]: address: {ONLY_TLS}"),
    (UNIX, "secret", f"{FILES}secret", f"[cluster]: ca and certificate and key: {ONLY_TLS}"),
    (UNIX, "secret", "adress = 1\nsecret", "[cluster] adress: unknown key; did you mean address? Known: address, ca, "),
    (TLS, "tls:0.0.0.0:5270", "tls:5270", f"[cluster] endpoint: {TLS_ENDPOINT}"),
    (TLS, "tls:0.0.0.0:5270", "tls:::1:5270", f"[cluster] endpoint: {TLS_ENDPOINT}"),
    (TLS, "tls:0.0.0.0:5270", "tls:0.0.0.0:65536", "[cluster] endpoint: 65536 is no port: those are 0 to 65535"),
    (TLS, "10.0.0.1:5270", "10.0.0.1", f"[cluster] address: {ADDRESS}"),
    (TLS, "10.0.0.1:5270", "10.0.0.1:0", "[cluster] address: 0 is no port that others can connect to"),
    (TLS, "10.0.0.1:5270", "0.0.0.0:1", "[cluster] address: 0.0.0.0 is no address that others can connect to: name"),
    (TLS, "10.0.0.1:5270", "[::]:1", "[cluster] address: :: is no address that others can connect to: name that of"),
    (TLS, 'address = "10.0.0.1:5270"\n', "", f"[cluster]: {NEEDS} address, too"),
    (TLS, FILES, "", f"[cluster]: {NEEDS} ca and certificate and key, too"),
    (TLS, "ca.pem", "none.pem", "[cluster] ca: DIR/none.pem cannot be read: No such file or directory"),
    (TLS, "ca.pem", "a.key", "[cluster]: DIR/a.key holds no certificate in PEM"),
    (
        TLS,
        '"a.key"',
        '"other.key"',
        "[cluster]: key: DIR/other.key does not belong to the first certificate in DIR/a.pem",
    ),
)


class ClusterTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        authority = make_authority()
        authority.write(self.directory, "ca")
        for name in ("a", "other"):
            make_certificate(authority, "a.test").write(self.directory, name)

    def load(self, text: str) -> config.Settings:
        file = self.directory / "file.toml"
        file.write_text(text)
        return config.load(file)

    def fault(self, text: str) -> str:
        error = self.assertRaises(config.ConfigError, self.load, text)
        return str(error).replace(str(self.directory), "DIR")

    def test_none(self) -> None:
        self.assertIsNone(self.load(STATE + CLIENTS).cluster)

    def test_unix(self) -> None:
        cluster = self.load(STATE + CLIENTS + UNIX).cluster
        assert cluster is not None
        self.assertEqual((cluster.name, cluster.reached_at), ("a", "/run/a"))
        self.assertEqual(cluster.secret, self.directory / "cluster.key", "which need not be there yet")

    def test_tls(self) -> None:
        cluster = self.load(STATE + CLIENTS + TLS).cluster
        assert cluster is not None
        self.assertEqual((cluster.reached_at, cluster.ca), ("10.0.0.1:5270", self.directory / "ca.pem"))

    def test_faults(self) -> None:
        for table, old, new, told in FAULTS:
            self.assertIn(old, table)
            fault = self.fault(STATE + CLIENTS + table.replace(old, new, 1))
            self.assertTrue(fault.startswith(f"DIR/file.toml: {told}"), fault)
            self.assertEqual(len(fault.splitlines()), 1, fault)

    def test_state(self) -> None:
        told = 'DIR/file.toml: [cluster] needs a state that all share: state = "postgresql://user@host/database"'
        for state in ("", 'state = "state.sqlite"\n'):
            self.assertEqual(self.fault(state + CLIENTS + UNIX), told)

    def test_without_clients(self) -> None:
        component = 'domain = "p.example.org"\ntarget = "w@example.org"\nserver = "tcp:127.0.0.1:5347"\nsecret = "s"\n'
        told = "DIR/file.toml: [cluster] is for processes that serve clients: it needs [[listen]] or [[websocket]], too"
        self.assertEqual(self.fault(STATE + f"[[client_proxy]]\n{component}" + UNIX), told)

    def test_seal_key(self) -> None:
        """Of the proxy that was alone."""
        settings = self.load('seal_key = "seal.key"\n' + STATE + CLIENTS + UNIX)
        self.assertEqual(settings.seal_key, self.directory / "seal.key")


class PlacesTest(SynchronousTestCase):
    def test_table(self) -> None:
        for text, place in (
            ("unix:/run/a", UnixPlace(Path("/run/a"), 0o600)),
            ("unix:/run/a:mode=660", UnixPlace(Path("/run/a"), 0o660)),
            ("tls:0.0.0.0:5270", TLSPlace("0.0.0.0", 5270)),
            ("tls:[::]:0", TLSPlace("::", 0)),
        ):
            self.assertEqual(cluster_checks.place(text), place)
        self.assertEqual(cluster_checks.reached("[2001:db8::1]:1"), TLSPlace("2001:db8::1", 1))
        self.assertEqual(cluster_checks.reached("node-a.test:1"), TLSPlace("node-a.test", 1))

    @given(st.text() | st.builds("tls:{}".format, st.text()) | st.builds("unix:/{}".format, st.text()))
    def test_whatever_it_is(self, text: str) -> None:
        for check in (cluster_checks.endpoint, cluster_checks.address, cluster_checks.name):
            try:
                self.assertEqual(check(text), text)
            except ValueError as error:
                self.assertTrue(str(error))
