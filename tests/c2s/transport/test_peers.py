"""Who is at the other end of a connection, and what counts as the same address."""

from __future__ import annotations

from typing import NoReturn

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.testing import StringTransport
from twisted.trial import unittest

from minimixproxy.c2s.transport.peers import address_key, ip_end, is_loopback, peer_key, peer_of


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

    def test_ends(self) -> None:
        """A relay that speaks version 1 of the PROXY protocol may name anything: Twisted does not look."""
        for address, shown in (
            (IPv4Address("TCP", "192.0.2.1", 5), "192.0.2.1:5"),
            (IPv4Address("UDP", "192.0.2.1", 65535), "192.0.2.1:65535"),
            (IPv6Address("TCP", "2001:DB8:0:0:0:0:0:1", 5), "[2001:db8::1]:5"),
            (IPv6Address("TCP", "2001:db8::1", 0), "2001:db8::1"),  # which port it is nobody knows
            (IPv6Address("TCP", "::ffff:192.0.2.1", 5), "192.0.2.1:5"),
            (IPv6Address("TCP", "fe80::1%eth0", 5), "[fe80::1]:5"),
            (IPv6Address("TCP", "fe80::1", 5, 0, 3), "[fe80::1]:5"),
            (UNIXAddress(b"/run/socket"), "None"),
            (UNIXAddress(None), "None"),
            (IPv4Address("TCP", "192.0.2.1", 65536), "None"),
            (IPv4Address("TCP", "192.0.2.1", -1), "None"),
            (IPv4Address("TCP", "192.0.2.256", 5), "None"),
            (IPv4Address("TCP", "", 5), "None"),
            (IPv6Address("TCP", "nonsense", 5), "None"),
        ):
            self.assertEqual(str(ip_end(address)), shown, address)

    def test_lost(self) -> None:
        """Who it was can still be said; Twisted's TCP has no socket any more that could tell the other end."""

        class Lost(StringTransport):
            def getHost(self) -> NoReturn:
                raise AttributeError("socket")

        peer = peer_of(Lost(peerAddress=IPv4Address("TCP", "192.0.2.1", 5)))
        self.assertEqual((str(peer), peer.key, peer.ends.destination), ("192.0.2.1:5", "192.0.2.1", None))

    def test_a_client(self) -> None:
        here = IPv4Address("TCP", "198.51.100.1", 5222)
        for address, shown, key in (
            (IPv6Address("TCP", "2001:db8::1", 5), "[2001:db8::1]:5", "2001:db8::/64"),
            (UNIXAddress(b"/run/socket"), "local", "local"),
            (IPv4Address("TCP", "nonsense", 5), "nonsense", "nonsense"),
        ):
            peer = peer_of(StringTransport(hostAddress=here, peerAddress=address))
            self.assertEqual((str(peer), peer.key, str(peer.ends.destination)), (shown, key, "198.51.100.1:5222"))
