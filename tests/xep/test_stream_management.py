"""The elements of stream management (XEP-0198)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.wire.stanza import parse_stanza
from minimixproxy.xep import stream_management as sm

NS = "xmlns='urn:xmpp:sm:3'"


class BoundsTests(SynchronousTestCase):
    def test_the_longest_id(self) -> None:
        for size, taken in ((sm.MAX_ID, True), (sm.MAX_ID + 1, False)):
            enabled = sm.enabled_of(parse_stanza(f"<enabled {NS} resume='1' id='{'i' * size}'/>"))
            self.assertEqual(bool(enabled.id), taken)


class NumbersTests(SynchronousTestCase):
    def test_a_number_of_32_bits(self) -> None:
        for text, number in (("0", 0), ("007", 7), ("4294967295", 2**32 - 1), ("0000000007", 7)):
            self.assertEqual(sm.handled_of(parse_stanza(f"<a {NS} h='{text}'/>")), number)

    def test_everything_else_is_refused(self) -> None:
        for text in ("", " 1", "-1", "+1", "1.0", "4294967296", "9" * 5000, "0" * 10 + "7", "\u0663", "0x1", "x"):
            element = parse_stanza(f"<a {NS} h='{text}'/>")
            self.assertRaises(sm.BadElement, sm.handled_of, element)
            self.assertIsNone(sm.handled_of_failed(element))
        self.assertRaises(sm.BadElement, sm.handled_of, parse_stanza(f"<a {NS}/>"))

    def test_a_bare_acknowledgement(self) -> None:
        """What is taken without a parser is what a parser finds; what is not is for the parser."""
        for data, h in (
            (b"<a xmlns='urn:xmpp:sm:3' h='7'/>", 7),
            (b'<a xmlns="urn:xmpp:sm:3" h="4294967295" />', 2**32 - 1),
            (b"<a h='0' xmlns='urn:xmpp:sm:3'/>", 0),
            (b'<a h="12" xmlns="urn:xmpp:sm:3"/>', 12),
        ):
            self.assertEqual(sm.bare_acknowledgement(data), h)
            self.assertEqual(sm.handled_of(parse_stanza(data)), h)
        for data in (
            b"<a xmlns='urn:xmpp:sm:3' h='4294967296'/>",
            b"<a xmlns='urn:xmpp:sm:3' h='-1'/>",
            b"<a xmlns='urn:xmpp:sm:3' h='1'/><message/>",
            b" <a xmlns='urn:xmpp:sm:3' h='1'/>",
            b"<a xmlns='urn:xmpp:sm:3' h='1'>",
            b"<a xmlns='urn:xmpp:sm:3' h='1\"/>",
            b"<a xmlns='urn:xmpp:sm:2' h='1'/>",
            b"<a h='1'/>",
            b"<a xmlns='urn:xmpp:sm:3' h='1'/",
            "<a xmlns='urn:xmpp:sm:3' h='\u0663'/>".encode(),
        ):
            self.assertIsNone(sm.bare_acknowledgement(data), data)


class ResumptionTests(SynchronousTestCase):
    def test_what_is_built_is_read(self) -> None:
        for build in (sm.resume, sm.resumed):
            self.assertEqual(sm.resume_of(parse_stanza(build("a'<&", 5))), sm.Resume("a'<&", 5))

    def test_a_resume_without_its_parts(self) -> None:
        for attributes in (
            "h='1'",
            "previd='' h='1'",
            "previd='x'",
            "previd='x' h='-'",
            f"previd='{'x' * 4001}' h='1'",
        ):
            self.assertRaises(sm.BadElement, sm.resume_of, parse_stanza(f"<resume {NS} {attributes}/>"))

    def test_who_wants_it(self) -> None:
        for attributes, wanted in (
            ("resume='true'", True),
            ("resume='1'", True),
            ("resume='false'", False),
            ("", False),
        ):
            self.assertIs(sm.wants_resumption(parse_stanza(f"<enable {NS} {attributes}/>")), wanted)

    def test_for_how_long(self) -> None:
        for text, seconds in (("300", 300), ("0", 0), ("-1", None), ("x", None), ("9" * 10, None)):
            self.assertEqual(sm.wanted_max(parse_stanza(f"<enable {NS} max='{text}'/>")), seconds)
        self.assertIsNone(sm.wanted_max(parse_stanza(f"<enable {NS}/>")))


class EnabledTests(SynchronousTestCase):
    def test_what_is_built_is_read(self) -> None:
        built = sm.enabled("i'd", 600, "[::1]:5222")
        self.assertEqual(sm.enabled_of(parse_stanza(built)), sm.Enabled("i'd", 600, "[::1]:5222"))

    def test_without_resumption(self) -> None:
        self.assertEqual(sm.enabled("", 600), b"<enabled xmlns='urn:xmpp:sm:3'/>")
        for attributes in ("", "id='x'", "id='x' resume='false'", f"id='{'x' * 4001}' resume='true'"):
            self.assertEqual(sm.enabled_of(parse_stanza(f"<enabled {NS} {attributes}/>")).id, "")


class OthersTests(SynchronousTestCase):
    def test_failed(self) -> None:
        failed = parse_stanza(sm.failed("item-not-found", 7))
        self.assertEqual(sm.handled_of_failed(failed), 7)
        self.assertTrue(failed.has_payload("urn:ietf:params:xml:ns:xmpp-stanzas", "item-not-found"))
        self.assertIsNone(sm.handled_of_failed(parse_stanza(sm.failed("unexpected-request"))))

    def test_too_high(self) -> None:
        error = sm.handled_count_too_high(10, 8).decode()
        self.assertIn("<handled-count-too-high xmlns='urn:xmpp:sm:3' h='10' send-count='8'/>", error)
        self.assertIn("<undefined-condition xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>", error)
        self.assertTrue(error.endswith("</stream:stream>"))

    def test_what_is_offered(self) -> None:
        streams = "xmlns:stream='http://etherx.jabber.org/streams'"
        for child, offered in ((f"<sm {NS}/>", True), ("<sm xmlns='urn:xmpp:sm:2'/>", False), ("", False)):
            features = parse_stanza(f"<stream:features {streams}>{child}</stream:features>")
            self.assertIs(sm.is_offered(features), offered)

    def test_what_is_said_is_what_is_read(self) -> None:
        for raw in (sm.ENABLE, sm.REQUEST, sm.acknowledgement(3), sm.FEATURE):
            self.assertTrue(sm.is_of_stream_management(parse_stanza(raw)))
        self.assertEqual(sm.handled_of(parse_stanza(sm.acknowledgement(3))), 3)
        self.assertTrue(sm.wants_resumption(parse_stanza(sm.ENABLE)))
