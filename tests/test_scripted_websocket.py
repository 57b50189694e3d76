"""What the scripted client that comes by WebSocket takes for a message, and sends as one."""

from __future__ import annotations

from xml.parsers import expat

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.websocket import elements_of, root_of


class MessageTests(SynchronousTestCase):
    def test_root(self) -> None:
        for raw, declared, root in (
            (b"<a xmlns='urn:a'/>", True, ("urn:a", "a")),
            (b"<p:a xmlns:p='urn:a b'><b xmlns='a \xc2\xa0 b'/></p:a>", True, ("urn:a b", "a")),
            (b"<a xmlns='urn:a'><p:b q:c='1'/></a>", False, ("urn:a", "a")),
            (b"<a><b/></a>", True, ("", "a")),
        ):
            self.assertEqual(root_of(raw, declared=declared), root)

    def test_no_document(self) -> None:
        for raw, declared in (
            (b"<a xmlns='urn:a'><p:b/></a>", True),
            (b"<a/><b/>", False),
            (b"<a>", False),
            (b"", False),
        ):
            with self.assertRaises(expat.ExpatError):
                root_of(raw, declared=declared)

    def test_elements(self) -> None:
        for text, messages in (
            ("", []),
            ("<a/>", ["<a/>"]),
            ("<a><a/></a><b></b><c x='>'/>", ["<a><a/></a>", "<b></b>", "<c x='>'/>"]),
            ("<a/> <b/>", ["<a/> <b/>"]),
            ("<a/><b", ["<a/><b"]),
            ("<a></b>", ["<a></b>"]),
            ("text", ["text"]),
        ):
            self.assertEqual(elements_of(text), messages)
