"""Who is at the other end of a connection, and what counts as the same address."""

from __future__ import annotations

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.testing import StringTransport
from twisted.trial import unittest

from minimixproxy.c2s.transport.peers import address_key, is_loopback, peer_key


class PeersTests(unittest.TestCase):
    def test_keys(self) -> None:
        cases = {
            "192.0.2.1": "192.0.2.1",
            "2001:db8:1:2:3::4": "2001:db8:1:2::/64",
            "2001:db8:1:2:ffff::": "2001:db8:1:2::/64",
            "::ffff:192.0.2.1": "192.0.2.1",
            "fe80::1%eth0": "fe80::/64",
            "/run/socket": "/run/socket",
        }
        for host, key in cases.items():
            self.assertEqual(address_key(host), key)

    def test_peers(self) -> None:
        for address, key, loopback in (
            (IPv4Address("TCP", "192.0.2.1", 1), "192.0.2.1", False),
            (IPv4Address("TCP", "127.0.0.1", 1), "127.0.0.1", True),
            (IPv4Address("TCP", "127.9.9.9", 1), "127.9.9.9", True),
            (IPv6Address("TCP", "2001:db8::1", 1), "2001:db8::/64", False),
            (IPv6Address("TCP", "::1", 1), "::/64", True),
            (IPv6Address("TCP", "fe80::1%eth0", 1), "fe80::/64", False),
            (UNIXAddress(b"/run/socket"), "local", True),
        ):
            transport = StringTransport(peerAddress=address)
            self.assertEqual((peer_key(transport), is_loopback(transport)), (key, loopback), address)
