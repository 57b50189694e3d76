"""Whom a reverse proxy forwards, and what of it is believed."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial import unittest

from minimixproxy.c2s.websocket.forwarded import ForgedHeaders, Forwarded, forwarded, is_in

OURS = [ip_network("127.0.0.1"), ip_network("10.0.0.0/8"), ip_network("fd00::/8")]
#: Values of X-Forwarded-For, and whom they name.
WAYS = {
    "192.0.2.1": "192.0.2.1",
    "192.0.2.1:4711": "192.0.2.1",
    "2001:db8::1": "2001:db8::1",
    "[2001:db8::1]:4711": "2001:db8::1",
    "::ffff:192.0.2.1": "192.0.2.1",
    "203.0.113.9, 192.0.2.1": "192.0.2.1",  # the client itself has written the first one
    "203.0.113.9, 192.0.2.1, 10.1.2.3": "192.0.2.1",
    "10.0.0.1, 10.0.0.2": "10.0.0.1",  # all are ours: it comes from within
    "192.0.2.1, unknown": None,
    "192.0.2.1, unknown, 10.0.0.1": None,
    "_hidden": None,
    "<script>": None,
    "": None,
    " , ,": None,
}
#: The same by Forwarded.
ELEMENTS = {
    "for=192.0.2.1": "192.0.2.1",
    'For="[2001:db8::1]:4711"': "2001:db8::1",
    'for=203.0.113.9, for=192.0.2.1;proto=https;by=10.0.0.1, for="10.0.0.1"': "192.0.2.1",
    'for="a\\"b, for=203.0.113.9", for=192.0.2.1': "192.0.2.1",
    "for=unknown": None,
    "proto=https": None,
}
UNREADABLE = (
    *("for", "for=", 'for="192.0.2.1', "for=192.0.2.1 for=192.0.2.2", "=", "for=a;;", 'for="a"b'),
    *("for =192.0.2.1", "for= 192.0.2.1"),  # no space is allowed there; to try where it belongs would take its square
    "for=" + " " * 16_000 + '"',
)


def read(**headers: str) -> Forwarded:
    return forwarded([(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()], OURS)


class ForwardedTests(unittest.SynchronousTestCase):
    def test_right_most_address_that_is_not_ours(self) -> None:
        for value, client in WAYS.items():
            self.assertEqual(read(x_forwarded_for=value).address, client and ip_address(client), value)

    def test_headers_that_are_repeated_are_one_list(self) -> None:
        several = [(b"x-forwarded-for", b"203.0.113.9"), (b"x-forwarded-for", b"192.0.2.1")]
        self.assertEqual(forwarded(several, OURS).address, ip_address("192.0.2.1"))

    def test_the_standard_header(self) -> None:
        for value, client in ELEMENTS.items():
            self.assertEqual(read(forwarded=value).address, client and ip_address(client), value)

    def test_what_cannot_be_read_is_refused(self) -> None:
        for value in UNREADABLE:
            if value != "for=":
                self.assertRaises(ForgedHeaders, read, forwarded=value)

    def test_two_headers_have_to_agree(self) -> None:
        """A proxy that writes one of them lets the other pass as the client wrote it."""
        for ours, forged in (("x_forwarded_for", "forwarded"), ("forwarded", "x_forwarded_for")):
            values = {"x_forwarded_for": "%s", "forwarded": "for=%s"}
            headers = {ours: values[ours] % "192.0.2.1", forged: values[forged] % "203.0.113.9"}
            self.assertRaises(ForgedHeaders, read, **headers)
            headers[forged] = values[forged] % "192.0.2.1"
            self.assertEqual(read(**headers).address, ip_address("192.0.2.1"))

    def test_plain(self) -> None:
        for value, plain in (("https", False), ("wss", False), ("HTTPS", False), ("http", True), ("ws", True)):
            self.assertIs(read(x_forwarded_proto=value).plain, plain)
            self.assertIs(read(forwarded=f"proto={value}").plain, plain)
        self.assertFalse(read().plain)
        self.assertTrue(read(x_forwarded_proto="https, http").plain)
        self.assertTrue(read(x_forwarded_proto="https", forwarded="proto=http").plain)

    def test_host(self) -> None:
        """What a client has written itself stands left of what the reverse proxy writes."""
        for headers, hosts in (
            ({}, set()),
            ({"x_forwarded_host": "evil.example, example.org"}, {"example.org"}),
            ({"forwarded": 'host="example.org:444"'}, {"example.org:444"}),
            ({"forwarded": "host=evil.example, for=192.0.2.1;host=example.org"}, {"example.org"}),
            ({"forwarded": "host=evil.example, for=192.0.2.1"}, set()),
            ({"forwarded": "host=evil.example, for=192.0.2.1;host=example.org, for=10.0.0.1"}, {"example.org"}),
            ({"forwarded": "host=example.org;for=10.0.0.2, for=10.0.0.1"}, {"example.org"}),
            ({"x_forwarded_host": "Example.org", "forwarded": "host=example.ORG"}, {"example.org"}),
            ({"x_forwarded_host": "example.org", "forwarded": "host=evil.example"}, {"example.org", "evil.example"}),
        ):
            self.assertEqual(read(**headers).hosts, hosts, headers)

    def test_mapped_addresses_are_those_of_ipv4(self) -> None:
        self.assertTrue(is_in(ip_address("::ffff:10.0.0.1"), OURS))
        self.assertFalse(is_in(ip_address("::ffff:11.0.0.1"), OURS))

    @given(st.text(max_size=60) | st.text(alphabet='for=;,"\\ []:.1a', max_size=60))
    def test_any_text(self, value: str) -> None:
        for name in ("forwarded", "x_forwarded_for", "x_forwarded_proto", "x_forwarded_host"):
            try:
                read(**{name: value})
            except ForgedHeaders:
                self.assertEqual(name, "forwarded")
