"""A proxied domain takes nothing for granted: stanzas of nobody, questions about nothing, answers that lack some."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.clientproxy.iqs import LONGEST_NAMESPACE
from tests.clientproxy.scene import ALICE, COMPONENT, DOMAIN, TARGET, Scene, error_condition
from tests.clientproxy.test_component import ComponentCase

INFO = "http://jabber.org/protocol/disco#info"
ITEMS = "http://jabber.org/protocol/disco#items"


class NobodyTests(SynchronousTestCase):
    def test_whose_address_is_none(self) -> None:
        """It is counted, and dropped: there is nobody to answer."""
        for name in ("message", "presence", "iq"):
            for sender in ("", "from='@'", "from='a@b@c'", f"from='{'x' * 1024}@a.test'"):
                scene = Scene()
                scene.online("w")
                scene.receive(f"<{name} {sender} to='{DOMAIN}' type='get' id='x'><body>x</body></{name}>")
                self.assertEqual((scene.sent(), sum(scene.domain.dropped.values())), ([], 1), (name, sender))

    def test_a_question_about_nothing(self) -> None:
        """The domain itself has no answer; it is no reason to fail."""
        for kind in ("get", "set"):
            scene = Scene()
            scene.receive(f"<iq type='{kind}' id='x' from='{ALICE}' to='{DOMAIN}'/>")
            self.assertTrue(error_condition(scene.one()), kind)

    def test_a_ping(self) -> None:
        """Its answer has nothing in it (XEP-0199)."""
        answer = Scene().asked(payload="<ping xmlns='urn:xmpp:ping'/>")
        self.assertEqual((answer["type"], list(answer.element.children)), ("result", []))

    def test_a_message_for_nobody(self) -> None:
        scene = Scene()
        scene.receive(f"<message from='{ALICE}' to='{DOMAIN}'><body>x</body></message>")
        (error,) = scene.one().elements(COMPONENT, "error")
        self.assertEqual(error["type"], "cancel", "as long as nobody is there, it is no use to try again")


class FeaturesTests(SynchronousTestCase):
    def info(self, scene: Scene, name: str, content: str) -> None:
        """A resource comes and tells what it is."""
        scene.receive(f"<presence from='{TARGET}/{name}' to='{DOMAIN}'/>")
        (query,) = [one for one in scene.sent() if one.name == "iq" and one["to"] == f"{TARGET}/{name}"]
        scene.receive(
            f"<iq type='result' id='{query['id']}' from='{TARGET}/{name}' to='{DOMAIN}'>"
            f"<query xmlns='{INFO}'>{content}</query></iq>"
        )
        scene.sent()

    def test_identities_that_lack_something(self) -> None:
        """They stand beside whole ones in the domain's own answer, whichever comes first."""
        scene = Scene()
        automation = "<identity category='automation'"
        self.info(scene, "a", f"{automation}/>{automation} type='command-node'/>")
        self.info(scene, "b", f"{automation} name='N'/><identity type='bot'/><identity category=''/>")
        answer = scene.asked(payload=f"<query xmlns='{INFO}'/>")
        (query,) = answer.elements(INFO, "query")
        found = [
            (one.getAttribute("type"), one.getAttribute("name"))
            for one in query.elements(INFO, "identity")
            if one["category"] == "automation"
        ]
        self.assertEqual(len(found), 3)
        self.assertNotIn("None", str([[value for value in one if value] for one in found]))

    def test_asked_for_once(self) -> None:
        """A presence that says nothing new asks nothing."""
        scene = Scene()
        scene.online("w")
        for show in ("", "<show>away</show>", ""):
            scene.receive(f"<presence from='{TARGET}/w' to='{DOMAIN}'>{show}</presence>")
            self.assertEqual([one for one in scene.sent() if one.name == "iq"], [], show)

    def test_the_longest_that_counts(self) -> None:
        """A request goes to who knows its namespace; one that is longer than that is about nothing."""
        for size, known in ((LONGEST_NAMESPACE, True), (LONGEST_NAMESPACE + 1, False)):
            scene, namespace = Scene(), "u" * size
            self.info(scene, "a", f"<feature var='{namespace}'/>")
            self.info(scene, "b", "")
            asked = {
                scene.asked(id=f"q{number}", payload=f"<query xmlns='{namespace}'/>")["to"] for number in range(30)
            }
            self.assertEqual(asked == {f"{TARGET}/a"}, known, size)

    def test_items_of_nowhere(self) -> None:
        """An item without an address is passed on as it is; those of the target lead to the domain."""
        scene = Scene()
        scene.online("w")
        asked = scene.asked(payload=f"<query xmlns='{ITEMS}'/>", to=DOMAIN)
        items = f"<query xmlns='{ITEMS}'><item name='n'/><item jid=''/><item jid='{TARGET}/w' node='x'/></query>"
        scene.answer(asked, content=items)
        (query,) = scene.one().elements(ITEMS, "query")
        self.assertEqual([item.getAttribute("jid") for item in query.elements()], [None, "", DOMAIN])


class UnusableTests(ComponentCase):
    def test_counted_once(self) -> None:
        """Only an answer of an IQ is awaited: nobody is told of anything else that cannot be used."""
        service = self.start()
        stream = self.handshake(self.one)
        for number, (name, kind) in enumerate((("message", "error"), ("message", "result"), ("presence", "error")), 1):
            stream.transport.clear()
            text = "x" * (512 * 1024)
            stream.dataReceived(f"<{name} type='{kind}' id='q' from='{ALICE}' to='{DOMAIN}'>{text}</{name}>".encode())
            self.assertEqual(stream.transport.value(), b"")
            self.assertEqual(sum(service.proxy.domain.dropped.values()), number, name)
