"""The patterns and the cutter that the other tests rely on."""

from twisted.trial import unittest
from twisted.words.xish import domish

from tests.integration.patterns import matches
from tests.integration.scripts import ScriptError, read
from tests.integration.xmlcut import HEADER, Cutter, Received, parse

MESSAGE = b"<message from='a@b' type='chat'><body>hi</body><x xmlns='urn:x:a'><s code='1'/><s code='2'/></x></message>"

# pattern, does it match MESSAGE
PATTERNS = [
    ("<message/>", True),
    ("<presence/>", False),
    ("<message xmlns='urn:x:other'/>", False),
    ("<message from='a@b'/>", True),
    ("<message from='*'/>", True),
    ("<message to='*'/>", False),
    ("<message to=''/>", True),
    ("<message from=''/>", False),
    ("<message type='groupchat'/>", False),
    ("<message><body>hi</body></message>", True),
    ("<message><body>h</body></message>", False),
    ("<message><body>*</body></message>", True),
    ("<message><body/></message>", True),
    ("<message><body/><body/></message>", False),
    ("<message><subject/></message>", False),
    ("<message><x xmlns='urn:x:a'><s code='2'/><s code='1'/></x></message>", True),
    ("<message><x xmlns='urn:x:a'><s code='1'/><s code='1'/></x></message>", False),
    ("<message><x xmlns='urn:x:a'><s/><s/><s/></x></message>", False),
    ("<message><not xmlns='urn:x-test'><subject xmlns='jabber:client'/></not></message>", True),
    ("<message><not xmlns='urn:x-test'><body xmlns='jabber:client'/></not></message>", False),
]

STANZAS = [
    b"<a/>",
    b"<a></a>",
    b"<a x='/>'></a>",
    b"<a><b/></a>",
    b"<a >text</a >",
    b"<message><body>\xe2\x82\xac &lt; <![CDATA[</message>]]></body></message>",
    b"<p:a xmlns:p='urn:x:p'/>",
]


class PatternTests(unittest.SynchronousTestCase):
    def test_patterns(self) -> None:
        element = parse(MESSAGE)
        for pattern, expected in PATTERNS:
            self.assertEqual(matches(pattern, element), expected, pattern)


class CutterTests(unittest.SynchronousTestCase):
    def cut(self, data: bytes, size: int) -> tuple[list[bytes], list[domish.Element], int]:
        stanzas: list[Received] = []
        headers: list[domish.Element] = []
        closed: list[None] = []
        cutter = Cutter(lambda root, raw: headers.append(root), stanzas.append, lambda: closed.append(None))
        for begin in range(0, len(data), size):
            cutter.feed(data[begin : begin + size])
        return [stanza.raw for stanza in stanzas], headers, len(closed)

    def test_any_chunking(self) -> None:
        data = b"<?xml version='1.0'?>" + HEADER + b" \n".join(STANZAS) + b"".join(STANZAS) + b"</stream:stream>"
        for size in (1, 2, 3, 7, 50, len(data)):
            stanzas, headers, closed = self.cut(data, size)
            self.assertEqual(stanzas, STANZAS * 2, f"in pieces of {size}")
            self.assertEqual((len(headers), closed), (1, 1))


class ScriptLanguageTests(unittest.SynchronousTestCase):
    """A script that is wrong is refused before it runs: a misread one would test nothing."""

    def refused(self, *lines: str) -> str:
        from pathlib import Path

        path = Path(self.mktemp())
        path.write_text("\n".join(["A title.", "", "devices: alice/phone", "", *lines]))
        return str(self.assertRaises(ScriptError, read, path)).split(":", 1)[1]

    def test_unknown_device(self) -> None:
        self.assertIn("unknown device bob/desk", self.refused("bob/desk connects"))

    def test_unknown_action(self) -> None:
        self.assertIn("unknown action 'dances'", self.refused("alice/phone dances"))

    def test_nothing_sent(self) -> None:
        self.assertIn("'sends' needs stanzas", self.refused("alice/phone sends:"))

    def test_stanzas_where_none_may_be(self) -> None:
        self.assertIn("must not have any", self.refused("alice/phone drops", "    <message/>"))

    def test_stanzas_of_nobody(self) -> None:
        self.assertIn("nobody sends or receives this", self.refused("    <message/>"))

    def test_not_a_device(self) -> None:
        self.assertIn("a step begins with a device", self.refused("wait a moment"))
