"""Whether ports can be had: tried, and given back at once."""

from __future__ import annotations

import errno
import pwd
import socket
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.checking import endpoints
from minimixproxy.checking.endpoints import check_endpoints
from minimixproxy.checking.finding import Finding, Level
from minimixproxy.checking.loops import check_loops
from minimixproxy.config.settings import Settings


def settings(*listened: str, upstream: str | None = None) -> Settings:
    domain = {"upstream": upstream} if upstream is not None else {}
    return Settings.model_validate(
        {"listen": [{"endpoint": one} for one in listened], "domain": {"example.org": domain}},
    )


class EndpointsTest(SynchronousTestCase):
    def check(self, *listened: str, running: int | None = None) -> list[Finding]:
        return list(check_endpoints(settings(*listened), reactor, running))

    def one(self, endpoint: str, running: int | None = None) -> Finding:
        (found,) = self.check(endpoint, running=running)
        self.assertIn(endpoint, found.subject)
        return found

    def taken(self) -> int:
        taken = socket.socket()
        self.addCleanup(taken.close)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        return int(taken.getsockname()[1])

    def test_can_be_had(self) -> None:
        for endpoint, text in (
            ("tcp:0:interface=127.0.0.1", "can be had"),
            ("tcp:0", "serves IPv4 only (tcp6:0 serves both)"),
            ("haproxy:tcp:0:interface=127.0.0.1", "can be had"),
        ):
            found = self.one(endpoint)
            self.assertEqual((found.level, text in found.says), (Level.GOOD, True), found)
        port = self.taken()
        self.assertEqual(self.one(f"tcp:{port}:interface=127.0.0.1").level, Level.ERROR)

    def test_ports_of_root(self) -> None:
        """Root, who checks, may have what the proxy's user may not: that is told."""
        self.patch(endpoints, "FIRST_OF_ALL", 65536)
        with socket.create_server(("127.0.0.1", 0)) as free:
            endpoint = f"tcp:{free.getsockname()[1]}:interface=127.0.0.1"
        self.one(endpoint)
        self.patch(endpoints, "proxy_user", lambda _directory: pwd.getpwuid(0))
        had, told = self.check(endpoint)
        self.assertEqual((had.level, told.level, told.subject), (Level.GOOD, Level.WARNING, had.subject))
        self.assertIn("root, as whom the proxy runs, may not have a port below", told.says)
        self.assertEqual(len(self.check("tcp:0:interface=127.0.0.1")), 1, "any port")

    def test_in_use(self) -> None:
        endpoint = f"tcp:{self.taken()}:interface=127.0.0.1"
        found = self.one(endpoint)
        self.assertIn("is in use by another program", found.says)
        self.assertIn("ss -ltnp", found.advice)
        found = self.one(endpoint, running=42)
        self.assertEqual((found.level, "process 42" in found.says), (Level.GOOD, True))

    def test_it_is_given_back(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        for _ in range(2):
            self.assertEqual(self.one(f"tcp:{port}:interface=127.0.0.1").level, Level.GOOD)

    def test_no_such_address(self) -> None:
        found = self.one("tcp:0:interface=192.0.2.1")
        self.assertEqual((found.level, found.says), (Level.ERROR, "this machine has no address 192.0.2.1"))

    def refused(self, number: int) -> Finding:
        class Refusing(socket.socket):
            def bind(self, _address: Any) -> None:
                raise OSError(number, "no")

        self.patch(socket, "socket", Refusing)
        return self.one("tcp:443:interface=127.0.0.1")

    def test_privileged(self) -> None:
        found = self.refused(errno.EACCES)
        self.assertIn("may not have a port below 1024", found.says)
        self.assertIn("CAP_NET_BIND_SERVICE", found.advice)
        self.assertIn("cannot be had: no", self.refused(errno.ENOBUFS).says)

    def test_ipv6_together_with_ipv4(self) -> None:
        self.patch(endpoints, "_v6_only", lambda: False)
        _first, second = self.check("tcp:5999", "tcp6:5999")
        self.assertEqual(second.level, Level.ERROR)
        self.assertIn('cannot be had together with "tcp:5999"', second.says)
        self.assertIn("serves IPv4 as well as IPv6", second.advice)
        self.patch(endpoints, "_v6_only", lambda: True)
        self.assertNotIn("together", self.check("tcp:5999", "tcp6:5999")[1].says)

    def test_unix(self) -> None:
        directory = Path(tempfile.mkdtemp())
        path = directory / "socket"
        self.assertEqual(self.one(f"unix:{path}").says, "can be had")
        path.write_text("")
        self.assertIn("is no socket", self.one(f"unix:{path}").says)
        path.unlink()
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(path))
            self.assertIn("left over", self.one(f"unix:{path}").says)
            left.listen()
            self.assertEqual(self.one(f"unix:{path}").level, Level.ERROR)
            self.assertEqual(self.one(f"unix:{path}", running=4).level, Level.GOOD)
        self.assertIn("longer than the 107 bytes", self.one(f"unix:{directory / ('x' * 200)}").says)
        self.assertIn("may not make a socket in", self.one("unix:/proc/nowhere/socket").says)

    def test_systemd(self) -> None:
        found = self.one("systemd:domain=INET:name=clients")
        self.assertEqual(found.level, Level.UNKNOWN)


class LoopsTest(SynchronousTestCase):
    def test_each(self) -> None:
        for listened, upstream, loops in (
            ("tcp:5222", "tcp:127.0.0.1:5222", True),
            ("tcp:5222", "tcp:localhost:5222", True),
            ("tcp6:5222", "tcp:127.0.0.1:5222", True),
            ("tcp:5222:interface=127.0.0.1", "tcp:127.0.0.1:5222", True),
            ("haproxy:tcp:5222", "tcp:127.0.0.1:5222", True),
            ("tcp:5222", "tls:localhost:5222", True),
            ("tcp:5222", "tcp:127.0.0.1:15222", False),
            ("tcp:5222:interface=127.0.0.1", "tcp:127.0.0.2:5222", False),
            ("tcp:5222", "tcp:192.0.2.1:5222", False),
            ("tcp:5222", "tcp:xmpp.example.org:5222", False),
            ("unix:/run/clients", "tcp:127.0.0.1:5222", False),
            ("tcp:5222", "unix:/run/server", False),
            ("systemd:domain=INET:name=clients", "tcp:127.0.0.1:5222", False),
            ("tcp:5222", None, False),
        ):
            found = list(check_loops(settings(listened, upstream=upstream), reactor))
            self.assertEqual(bool(found), loops, (listened, upstream))
            if loops:
                self.assertIn("leads back to the proxy's own [[listen]]", found[0].sentence)
