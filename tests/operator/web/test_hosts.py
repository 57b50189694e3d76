"""Which names a request may have asked for."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.operator.web.hosts import Hosts


class HostsTests(SynchronousTestCase):
    def test_table(self) -> None:
        hosts = Hosts(("proxy.example.org",))
        for host, admitted in (
            (b"localhost", True),
            (b"LocalHost:5290", True),
            (b"localhost.", True),
            (b"127.0.0.1:5290", True),
            (b"127.0.0.1", True),
            (b"192.0.2.7:80", True),  # a name is what can be turned to another address
            (b"[::1]:5290", True),
            (b"[::1]", True),
            (b"proxy.example.org", True),
            (b"Proxy.Example.org.:443", True),
            (b"evil.example.org", False),
            (b"example.org", False),
            (b"proxy.example.org.evil.test", False),
            (b"localhost.evil.test", False),
            (b"", False),
            (b":80", False),
            (b"::1", False),
            (b"[127.0.0.1]", False),
            (b"[localhost]", False),
            (b"[::1", False),
            (b"127.0.0.1.evil.test", False),
            (b"127.1", False),
            (b"2130706433", False),
            (b"localhost:80:80", False),
            (b"localhost:x", False),
            (b"user@localhost", False),
            (b"localhost/", False),
            (b"localhost, evil.test", False),
            (b"\xff", False),
            (b"localhost" * 1000, False),
        ):
            self.assertEqual(hosts.admits(host), admitted, host)
