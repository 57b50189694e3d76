"""What becomes of a stanza that must not go out, or cannot be used: who gets an error, and what the server gets."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.namespaces import NS_CLIENT
from minimixproxy.wire.stanza import Stanza
from minimixproxy.xep.oversized import ORDINARY, Sendable, error_for, lost_answer, refused

COMPONENT = "jabber:component:accept"
POLICY = (
    "<error type='modify'><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
    "<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>{}</text></error>"
)
JOIN = "<x xmlns='http://jabber.org/protocol/muc'/>"


def text_of(stanza: Stanza | None) -> str | None:
    return None if stanza is None else stanza.raw.decode()


class SendableTests(SynchronousTestCase):
    def test_size(self) -> None:
        """Some room is left for what comes in the same read: 16 KiB, and of a small limit a quarter."""
        for size, largest in ((262144, 245760), (65536, 49152), (40000, 30000)):
            sendable = Sendable(size)
            self.assertEqual(sendable.largest, largest)
            self.assertEqual(sendable.fault(b"x" * largest), "")
            told = f"{largest + 1} bytes are more than the {largest} that are sure to be taken"
            self.assertEqual(sendable.fault(b"x" * (largest + 1)), told)
        self.assertEqual(ORDINARY, Sendable(262144, 1000))

    def test_depth(self) -> None:
        for levels, fault in ((1000, ""), (1001, "nested more than 1000 levels deep")):
            self.assertEqual(ORDINARY.fault(b"<a>" * levels + b"</a>" * levels), fault)


class RefusedTests(SynchronousTestCase):
    def test_who_is_told_what(self) -> None:
        ids, back = "from='a@x/1' to='b@y/2' id='7'", "from='b@y/2' to='a@x/1' id='7'"
        written = "id='7' from='a@x/1' to='b@y/2'"
        error, lost = POLICY.format("too &lt; large"), POLICY.format("the answer was too large")
        for sent, answer, instead in (
            (f"<iq type='get' {ids}><q xmlns='x'/></iq>", f"<iq type='error' {back}>{error}</iq>", None),
            ("<iq type='set'/>", f"<iq type='error'>{error}</iq>", None),
            (f"<iq type='result' {ids}/>", None, f"<iq type='error' {written}>{lost}</iq>"),
            (f"<iq type='error' {ids}/>", None, f"<iq type='error' {written}>{lost}</iq>"),
            ("<iq type='result' to='b@y/2'/>", None, f"<iq type='error' to='b@y/2'>{lost}</iq>"),
            (f"<message {ids}/>", f"<message type='error' {back}>{error}</message>", None),
            ("<message type='chat' to='b@y/2'/>", f"<message type='error' from='b@y/2'>{error}</message>", None),
            (f"<message type='error' {ids}/>", None, None),
            (f"<message type='result' {ids}/>", None, None),
            (f"<presence {ids}/>", f"<presence type='error' {back}>{JOIN}{error}</presence>", None),
            (f"<presence type='error' {ids}/>", None, None),
            (f"<presence type='unavailable' {ids}/>", None, "<presence type='unavailable' from='a@x/1' to='b@y/2'/>"),
            (f"<odd {ids}/>", None, None),
        ):
            found = refused(sent.encode(), "too < large")
            self.assertEqual(text_of(found.answer), answer, sent)
            self.assertEqual(found.instead, instead and instead.encode(), sent)
            if found.answer is not None:
                self.assertEqual(found.answer.uri, NS_CLIENT)

    def test_a_components_presence_is_no_join(self) -> None:
        answer = refused(b"<presence to='b@y/2'/>", "too large", COMPONENT).answer
        assert answer is not None
        error = POLICY.format("too large")
        self.assertEqual(text_of(answer), f"<presence type='error' from='b@y/2'>{error}</presence>")
        self.assertEqual(answer.uri, COMPONENT)

    def test_what_came_and_cannot_be_used(self) -> None:
        for attributes, written in (
            ({"type": "result", "from": "a@x/1", "to": "b@y/2", "id": "7"}, " id='7' from='a@x/1' to='b@y/2'"),
            ({"type": "result", "id": "'"}, " id='&apos;'"),
        ):
            error = lost_answer(attributes, "it cannot be used")
            self.assertEqual(text_of(error), f"<iq type='error'{written}>{POLICY.format('it cannot be used')}</iq>")
            self.assertEqual(error.uri, NS_CLIENT)
            self.assertEqual(lost_answer(attributes, "", COMPONENT).uri, COMPONENT)

    def test_what_is_never_answered(self) -> None:
        never = ("iq", "result"), ("iq", "error"), ("message", "error"), ("presence", "error"), ("odd", "get")
        for name, kind in never:
            self.assertIsNone(error_for(name, {"type": kind, "from": "a@x/1"}, "too large"))
