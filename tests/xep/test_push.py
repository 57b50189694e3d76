"""Push on the wire (XEP-0357)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.wire.stanza import parse_stanza
from minimixproxy.xep.push import MAX_OPTIONS, Disabling, Service, Summary, publication, request_in
from tests.minimix.fakes import written

PUSH = "xmlns='urn:xmpp:push:0'"
FORM = "<x xmlns='jabber:x:data' type='submit'><field var='secret'><value>s&amp;t</value></field></x>"


def asked(payload: str) -> Service | Disabling | None:
    return request_in(parse_stanza(f"<iq type='set' id='1'>{payload}</iq>"))


class Requests(SynchronousTestCase):
    def test_table(self) -> None:
        for payload, expected in (
            (f"<enable {PUSH} jid='Push.test' node='n'/>", Service("push.test", "n")),
            (f"<enable {PUSH} jid='push.test'/>", Service("push.test", "")),
            (f"<enable {PUSH} jid='push.test' node='n'>{FORM}</enable>", Service("push.test", "n", FORM.encode())),
            (f"<disable {PUSH} jid='push.test' node='n'/>", Disabling("push.test", "n")),
            (f"<disable {PUSH} jid='push.test'/>", Disabling("push.test", None)),
            (f"<enable {PUSH} node='n'/>", None),
            (f"<enable {PUSH} jid='@' node='n'/>", None),
            (f"<enable {PUSH} jid='push.test' node='{'n' * 1025}'/>", None),
            (f"<disable {PUSH} jid=''/>", None),
            (f"<enable {PUSH} jid='push.test'/><disable {PUSH} jid='push.test'/>", None),
            ("<enable xmlns='urn:xmpp:carbons:2'/>", None),
            ("", None),
        ):
            self.assertEqual(asked(payload), expected, payload)

    def test_too_much_to_keep(self) -> None:
        form = f"<x xmlns='jabber:x:data' type='submit'><field var='a'><value>{'x' * MAX_OPTIONS}</value></field></x>"
        self.assertIsNone(asked(f"<enable {PUSH} jid='push.test'>{form}</enable>"))

    def test_which_are_disabled(self) -> None:
        for disabling, expected in (
            (Disabling("push.test", None), True),
            (Disabling("push.test", "n"), True),
            (Disabling("push.test", ""), False),
            (Disabling("push.test", "m"), False),
            (Disabling("other.test", None), False),
        ):
            self.assertIs(disabling.concerns(Service("push.test", "n")), expected, disabling)

    def test_secrets_are_not_shown(self) -> None:
        self.assertNotIn("secret", repr(asked(f"<enable {PUSH} jid='push.test'>{FORM}</enable>")))
        self.assertNotIn("hello", repr(Summary(1, "x", "hello")))


class Publications(SynchronousTestCase):
    def fields(self, summary: Summary, service: Service) -> dict[str, str]:
        (iq,) = written(b"<iq type='set'>" + publication(service, summary) + b"</iq>")
        (pubsub,) = iq.elements()
        (publish,) = pubsub.elements(pubsub.uri, "publish")
        self.assertEqual(publish.getAttribute("node"), service.node or None)
        (item,) = publish.elements()
        (notification,) = item.elements()
        self.assertEqual((notification.uri, notification.name), ("urn:xmpp:push:0", "notification"))
        (form,) = notification.elements()
        return {field["var"]: str(next(field.elements())) for field in form.elements()}

    def test_nothing_but_that_there_is_something(self) -> None:
        self.assertEqual(
            self.fields(Summary(2), Service("push.test", "")),
            {"FORM_TYPE": "urn:xmpp:push:summary", "message-count": "2", "last-message-body": "New Message!"},
        )

    def test_what_was_said(self) -> None:
        found = self.fields(Summary(1, "room@muc.test/<bob>", "<&" + "x" * 1000), Service("push.test", "n'"))
        self.assertEqual(found["last-message-sender"], "room@muc.test/<bob>")
        self.assertEqual(found["last-message-body"], "<&" + "x" * 498)

    def test_options_as_the_client_gave_them(self) -> None:
        data = publication(Service("push.test", "n", FORM.encode()), Summary(1))
        self.assertIn(b"<publish-options>" + FORM.encode() + b"</publish-options></pubsub>", data)
