"""Parsers that are left to others between two stanzas."""

from __future__ import annotations

from xml.parsers import expat

from twisted.trial.unittest import TestCase

from minimixproxy.wire.idle_parsers import MOST, IdleParsers, kind_of_header


class IdleParsersTests(TestCase):
    def test_one_of_each_kind(self) -> None:
        idle = IdleParsers()
        first, second = expat.ParserCreate(), expat.ParserCreate()
        idle.give(b"<a>", (first, 3))
        idle.give(b"<a>", (second, 4))
        self.assertEqual(idle.take(b"<a>"), (second, 4))
        self.assertIsNone(idle.take(b"<a>"))
        self.assertIsNone(idle.take(b"<b>"))

    def test_those_used_last_are_kept(self) -> None:
        idle = IdleParsers()
        kinds = [b"<a%d>" % number for number in range(MOST + 2)]
        for kind in kinds[:MOST]:
            idle.give(kind, (expat.ParserCreate(), 0))
        used = idle.take(kinds[0])
        assert used is not None
        idle.give(kinds[0], used)
        for kind in kinds[MOST:]:
            idle.give(kind, (expat.ParserCreate(), 0))
        self.assertEqual(len(idle), MOST)
        self.assertIsNotNone(idle.take(kinds[0]))
        self.assertIsNone(idle.take(kinds[1]))
        self.assertIsNone(idle.take(kinds[2]))

    def test_what_matters_of_a_header(self) -> None:
        """The name of its element, and the namespaces, in whatever order."""
        declared = {"": "jabber:client", "stream": "urn:s", "p": "urn:<'&"}
        for header in (b"<stream:stream to='a' id='1' p:x='>'>", b"<stream:stream>", b"<stream:stream\n to='b'>"):
            self.assertEqual(
                kind_of_header(header, declared),
                b"<stream:stream xmlns='jabber:client' xmlns:p='urn:&lt;&apos;&amp;' xmlns:stream='urn:s'>",
            )
        self.assertEqual(kind_of_header(b"<s>", {"xml": "urn:x"}), b"<s>")
        self.assertIs(kind_of_header(b"<s a='1'>", dict(declared)), kind_of_header(b"<s a='2'>", declared))
