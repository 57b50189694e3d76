"""What stanzas of rooms, and those for rooms, mean: read, and written, as XEP-0045 has it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.wire.stanza import parse_stanza
from minimixproxy.xep import muc
from tests.minimix.fakes import BARE, ROOM

USER = "http://jabber.org/protocol/muc#user"
JOIN = "<x xmlns='http://jabber.org/protocol/muc'/>"
HINTS = "urn:xmpp:hints"
PHONE = f"{BARE}/phone"


def x(inner: str) -> str:
    return f"<x xmlns='{USER}'>{inner}</x>"


class Reading(SynchronousTestCase):
    def test_numbers(self) -> None:
        for text, number in (
            ("0", 0),
            ("12", 12),
            ("9" * 100, 999_999_999_999),
            (None, None),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("\N{ARABIC-INDIC DIGIT ONE}", None),
            ("\N{SUPERSCRIPT TWO}", None),
        ):
            self.assertEqual(muc.whole_number(text), number, text)

    def test_joins(self) -> None:
        for kind, inner, joins in (
            ("", JOIN, True),
            ("", "", False),
            ("", "<x xmlns='urn:q'/>", False),
            ("type='unavailable'", JOIN, False),
            ("type='error'", JOIN, False),
            ("type='probe'", JOIN, False),
        ):
            self.assertIs(muc.is_join(parse_stanza(f"<presence {kind}>{inner}</presence>")), joins, f"{kind} {inner}")

    def test_who_tells_of_the_configuration(self) -> None:
        status = x("<status code='104'/><status/><status xmlns='urn:q' code='170'/>")
        for sender, inner, codes in (
            (f"from='{ROOM}'", status, {"104"}),
            (f"from='{ROOM}/bob'", status, set()),
            ("", status, set()),
            (f"from='{ROOM}'", "", set()),
        ):
            found = muc.configuration_codes(parse_stanza(f"<message {sender}>{inner}</message>"))
            self.assertEqual(found, codes, f"{sender} {inner}")

    def test_destroyed(self) -> None:
        for inner, destroyed in (
            (x("<destroy/>"), True),
            (x("<destroy xmlns='urn:q'/>"), False),
            (x(""), False),
            ("", False),
            ("<destroy/>", False),
        ):
            self.assertIs(muc.is_destroyed(parse_stanza(f"<presence>{inner}</presence>")), destroyed, inner)

    def test_new_nicks(self) -> None:
        for inner, nick in (
            (x("<item nick='liz'/>"), "liz"),
            (x("<item nick=''/>"), None),
            (x(f"<item nick='{'x' * 1024}'/>"), None),
            (x("<item/>"), None),
            (x(""), None),
            ("", None),
        ):
            self.assertEqual(muc.new_nick(parse_stanza(f"<presence>{inner}</presence>"), ROOM), nick, inner[:80])

    def test_subjects_and_history(self) -> None:
        """A subject with a body or a thread is a message; what its sender wants stored nowhere is not stored."""
        body, hint = "<body>x</body>", f"<{{}} xmlns='{HINTS}'/>"
        for inner, subject, history in (
            ("<subject/>", True, False),
            ("<subject/><thread/>", False, False),
            (f"<subject/>{body}", False, True),
            (f"<subject/><thread/>{body}", False, True),
            (f"<subject/>{hint.format('store')}", True, False),
            (body, False, True),
            (body + hint.format("no-store"), False, False),
            (body + hint.format("no-permanent-store"), False, False),
            (body + hint.format("no-copy"), False, True),
            (hint.format("store"), False, True),
            ("<encrypted xmlns='urn:xmpp:omemo:2'/>", False, True),
            ("<encrypted xmlns='urn:q'/>", False, False),
            ("<body xmlns='urn:q'>x</body>", False, False),
        ):
            stanza = parse_stanza(f"<message>{inner}</message>")
            self.assertEqual((muc.is_subject(stanza), muc.is_history(stanza)), (subject, history), inner)

    def test_conditions(self) -> None:
        ns = "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'"
        for inner, condition in (
            (f"<error><gone {ns}/></error>", "gone"),
            (f"<error><text {ns}>x</text><gone {ns}/></error>", "gone"),
            (f"<error><text {ns}>x</text></error>", ""),
            ("<error/>", ""),
            ("", ""),
        ):
            self.assertEqual(muc.error_condition(parse_stanza(f"<iq>{inner}</iq>")), condition, inner)


class Writing(SynchronousTestCase):
    def test_codes_are_exchanged(self) -> None:
        """Exactly those that are given, in order; all else of the presence stays."""
        full = x("text<item jid='a@b'/><status code='100'/><status code='201'/><more xmlns='urn:q'/>")
        for inner in (full + "<show>dnd</show>", ""):
            stanza = parse_stanza(f"<presence from='{ROOM}/alice'>{inner}</presence>")
            written = parse_stanza(muc.with_status_codes(stanza, {"210", "110"}))
            (found,) = written.element.elements(USER, "x")
            codes = [one["code"] for one in found.elements(USER, "status")]
            self.assertEqual((codes, muc.status_codes(written)), (["110", "210"], {"110", "210"}))
            self.assertEqual(len([one for one in found.elements() if one.name != "status"]), 2 if inner else 0)
            self.assertEqual(("text" in str(found), written.element.show is not None), (bool(inner), bool(inner)))

    def test_removals(self) -> None:
        """As the room showed the account before: its address only where that was shown, its occupant-id always."""
        occupant_id = "<occupant-id xmlns='urn:xmpp:occupant-id:0' id='o'/>"
        for shown, address, affiliation, has_id in (
            (x("<item jid='s@t/u' affiliation='owner'/>") + occupant_id, PHONE, "owner", True),
            (x("<item affiliation='member'/>"), None, "member", False),
            (x("<item/>"), None, "none", False),
            (x(""), None, "none", False),
            (None, None, "none", False),
        ):
            before = parse_stanza(f"<presence>{shown}</presence>") if shown is not None else None
            for request in (None, "", "id='l'"):
                asked = f"<presence type='unavailable' {request}><status>bye</status></presence>"
                leave = parse_stanza(asked) if request is not None else None
                raw = muc.removal(f"{ROOM}/alice", PHONE, ("110", "307"), before, leave, "why" if leave is None else "")
                written = parse_stanza(raw)
                item = muc.item_of(written)
                assert item is not None
                self.assertEqual(written["type"], "unavailable")
                self.assertEqual((written["from"], written["to"]), (f"{ROOM}/alice", PHONE))
                self.assertEqual((item.getAttribute("jid"), item["affiliation"]), (address, affiliation), shown)
                self.assertEqual(written.has_payload("urn:xmpp:occupant-id:0", "occupant-id"), has_id)
                self.assertEqual(muc.status_codes(written), {"110", "307"})
                self.assertEqual(written.get("id"), "l" if request else None)
                self.assertEqual(written.element.status is not None, leave is not None)
                self.assertEqual(str(written.element), "", "no text but in elements")
                self.assertEqual(item.reason is not None, leave is None)

    def test_leaving(self) -> None:
        request = parse_stanza("<presence type='unavailable' id='l'><status>bye</status><show>dnd</show></presence>")
        for asked, inner in ((request, b"<status>bye</status>"), (None, b"")):
            written = parse_stanza(muc.unavailable(ROOM, "alice", asked))
            self.assertEqual((written["to"], written["type"]), (f"{ROOM}/alice", "unavailable"))
            self.assertIn(b">" + inner + b"</presence>", written.raw)
