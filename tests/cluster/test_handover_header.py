"""What one process tells another of a client: there and back, in any pieces, and whatever comes instead."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from itertools import pairwise
from struct import pack
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial import unittest

from minimixproxy.c2s.transport.peers import Ends, IPEnd, Peer, address_key
from minimixproxy.c2s.upstream.proxy_header import SIGNATURE, proxy_header
from minimixproxy.cluster.handover_header import (
    MAX_HEADER,
    MAX_NUMBER,
    BadHeader,
    Handover,
    HeaderReader,
    HeaderTooLong,
    Type,
    build,
)
from minimixproxy.sasl.downgrade import Offered

PHONE = IPEnd(IPv4Address("192.0.2.77"), 40000)
HERE = IPEnd(IPv4Address("198.51.100.1"), 5222)
ENDS = Ends(PHONE, HERE)
PLAINEST = Handover(Peer("192.0.2.77", ENDS), "a@example.org", 7, 9)
FULL = Handover(
    Peer("local", Ends(None, None)),
    "a@example.org",
    MAX_NUMBER,
    0,
    True,
    {"tls-exporter": b"\0" * 32, "tls-server-end-point": b"x"},
    Offered(("SCRAM-SHA-1-PLUS", "PLAIN"), ("tls-exporter",)),
    ("HT-SHA-256-NONE",),
)

TEXT = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), min_size=1, max_size=30)
NUMBERS = st.integers(0, MAX_NUMBER)
PORTS = st.integers(0, 65535)


def _ends(version: int) -> Any:
    known = st.builds(IPEnd, st.ip_addresses(v=version), PORTS)  # type: ignore[arg-type]
    told = known.filter(lambda end: bool(end.port or not end.address.is_unspecified))
    return st.builds(Ends, known, st.none() | told)


def _peer(ends: Ends) -> Peer:
    return Peer(address_key(str(ends.source.address)) if ends.source else "local", ends)


HANDOVERS = st.builds(
    Handover,
    st.one_of(_ends(4), _ends(6), st.just(Ends(None, None))).map(_peer),
    st.sampled_from(["a@example.org", "\N{GRINNING FACE}@b.c", "o.b@xn--nxasmq6b"]),
    NUMBERS,
    NUMBERS,
    st.booleans(),
    st.dictionaries(TEXT, st.binary(min_size=1, max_size=64), max_size=3),
    st.none()
    | st.builds(
        Offered,
        st.lists(TEXT, min_size=1, max_size=5).map(tuple),
        st.none() | st.lists(TEXT, min_size=1, max_size=3).map(tuple),
    ),
    st.lists(TEXT, max_size=3).map(tuple),
)


def tlv(type_: int, value: bytes) -> bytes:
    return pack("!BH", type_, len(value)) + value


def with_tlvs(**values: bytes | None) -> bytes:
    """A good header, in which some TLVs say something else, or are not there."""
    good: dict[str, bytes | None] = {
        "VERSION": b"\x01",
        "ACCOUNT": b"a@example.org",
        "NUMBER": pack("!Q", 7),
        "EPOCH": pack("!Q", 9),
    }
    named = {**good, **values}
    return proxy_header(ENDS, b"".join(tlv(Type[name], value) for name, value in named.items() if value is not None))


def read(data: bytes) -> tuple[Handover, bytes] | None:
    return HeaderReader().feed(data)


class HandoverHeaderTest(unittest.SynchronousTestCase):
    def test_there_and_back(self) -> None:
        for handover in (PLAINEST, FULL):
            self.assertEqual(read(build(handover) + b"<stream"), (handover, b"<stream"))

    @given(HANDOVERS, st.binary(max_size=20), st.lists(st.integers(0, 5000), max_size=5))
    def test_in_any_pieces(self, handover: Handover, behind: bytes, cuts: list[int]) -> None:
        data = build(handover)
        places = sorted({0, *(cut % len(data) for cut in cuts)})
        reader = HeaderReader()
        for start, end in pairwise(places):
            self.assertIsNone(reader.feed(data[start:end]))
        self.assertEqual(reader.feed(data[places[-1] :] + behind), (handover, behind))

    @given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda data: SIGNATURE + data))
    def test_any_bytes(self, data: bytes) -> None:
        try:
            read(data)
        except BadHeader as error:
            self.assertTrue(str(error))

    @given(HANDOVERS, st.integers(0, 5000), st.binary(min_size=1, max_size=4))
    def test_damaged(self, handover: Handover, place: int, instead: bytes) -> None:
        data = build(handover)
        place %= len(data)
        try:
            read(data[:place] + instead + data[place + len(instead) :])
        except BadHeader as error:
            self.assertTrue(str(error))

    def test_what_is_not_known_is_skipped(self) -> None:
        self.assertEqual(read(build(PLAINEST)), (PLAINEST, b""))
        more = proxy_header(ENDS, tlv(0xEF, b"new") + build(PLAINEST)[len(SIGNATURE) + 4 + 12 :] + tlv(4, b""))
        self.assertEqual(read(more), (PLAINEST, b""))

    def test_absurd(self) -> None:
        fixed = SIGNATURE + b"\x21\x11"
        for data, why in (
            (b"<?xml version='1.0'?>", "does not begin"),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "does not begin"),
            (SIGNATURE + b"\x11\x11\x00\x0c" + bytes(12), "command"),
            (SIGNATURE + b"\x21\x31\x00\x0c" + bytes(12), "command"),
            (SIGNATURE + b"\x20\x00\x00\x00", "command"),
            (fixed + b"\x00\x04" + bytes(4), "addresses are cut off"),
            (fixed + pack("!H", MAX_HEADER - 15), "may be 4096"),
            (fixed + b"\xff\xff", "may be 4096"),
            (proxy_header(ENDS, b"\xe0\x00"), "cut off"),
            (proxy_header(ENDS, b"\xe0\x00\x02\x01"), "longer than what is left"),
            (proxy_header(ENDS, tlv(0xE0, b"\x01") * 2), "VERSION twice"),
            (proxy_header(ENDS), "does not say VERSION"),
            (with_tlvs(VERSION=b"\x02"), "its version is 2"),
            (with_tlvs(VERSION=b""), "its version is none"),
            (with_tlvs(ACCOUNT=None), "does not say ACCOUNT"),
            (with_tlvs(NUMBER=None), "does not say NUMBER"),
            (with_tlvs(EPOCH=None), "does not say EPOCH"),
            (with_tlvs(NUMBER=b"\x01"), "a number"),
            (with_tlvs(EPOCH=b"\xff" * 8), "a number"),
            (with_tlvs(ACCOUNT=b"example.org"), "bare JID"),
            (with_tlvs(ACCOUNT=b"a@example.org/r"), "bare JID"),
            (with_tlvs(ACCOUNT=b"A@example.org"), "bare JID"),
            (with_tlvs(ACCOUNT=b"@"), "bare JID"),
            (with_tlvs(ACCOUNT=b"\xff@b"), "UTF-8"),
            (with_tlvs(ACCOUNT=b""), "empty"),
            (with_tlvs(MECHANISM=b"a\nb"), "control"),
            (with_tlvs(BINDING=b"tls-exporter"), "no data"),
            (with_tlvs(BINDING=b"tls-exporter\0"), "no data"),
            (proxy_header(Ends(None, None), with_tlvs()[len(SIGNATURE) + 4 + 12 :]), "does not say KEY"),
        ):
            with self.subTest(why=why, data=data):
                self.assertIn(why, str(self.assertRaises(BadHeader, read, data)))

    def test_a_binding_twice(self) -> None:
        twice = tlv(Type.BINDING, b"t\0x") * 2
        tlvs = with_tlvs()[len(SIGNATURE) + 4 + 12 :]
        self.assertIn("twice", str(self.assertRaises(BadHeader, read, proxy_header(ENDS, tlvs + twice))))

    def test_no_more_is_kept_than_a_header(self) -> None:
        """What never ends is refused with its length, before it comes."""
        reader = HeaderReader()
        reader.feed(SIGNATURE + b"\x21\x11")
        self.assertRaises(BadHeader, reader.feed, b"\x0f\xf1")
        longest = SIGNATURE + b"\x21\x11" + pack("!H", MAX_HEADER - 16)
        self.assertIsNone(read(longest + bytes(MAX_HEADER - 17)))

    def test_too_long_to_be_built(self) -> None:
        for names in (("x" * MAX_HEADER,), tuple(f"SCRAM-{number}" * 10 for number in range(50))):
            long = Handover(PLAINEST.peer, "a@example.org", 1, 1, offered=Offered(names))
            self.assertRaises(HeaderTooLong, build, long)

    def test_shown_without_secrets(self) -> None:
        self.assertNotIn("exporter", repr(FULL))

    def test_ipv6(self) -> None:
        ends = Ends(IPEnd(IPv6Address("2001:db8::77"), 1), None)
        handover = Handover(Peer("2001:db8::/64", ends), "a@example.org", 1, 1)
        self.assertEqual(read(build(handover)), (handover, b""))
