"""What the domain answers by itself."""

from twisted.trial import unittest

from minimixproxy import __version__
from minimixproxy.clientproxy.targets import MAX_FEATURES, Resource
from minimixproxy.wire.framing import Framer
from minimixproxy.wire.stanza import Stanza
from minimixproxy.wire.trees import BUILT
from tests.clientproxy.scene import ALICE, DOMAIN, TARGET, Scene

INFO = "http://jabber.org/protocol/disco#info"
COMMANDS = "http://jabber.org/protocol/commands"


def says(scene: Scene, name: str, *features: str, identities: str = "") -> None:
    """A resource comes and says what it has."""
    scene.receive(f"<presence from='{TARGET}/{name}' to='{DOMAIN}'/>")
    listed = identities + "".join(f"<feature var='{feature}'/>" for feature in features)
    for question in scene.sent():
        if question.name == "iq":
            scene.answer(question, content=f"<query xmlns='{INFO}'>{listed}</query>")


def info(scene: Scene) -> tuple[list[tuple[str | None, ...]], list[str]]:
    """Identities and features of the domain."""
    query = scene.asked(payload=f"<query xmlns='{INFO}'/>").payload(INFO, "query")
    assert query is not None
    identities = [
        tuple(element.getAttribute(name) for name in ("category", "type", "name"))
        for element in query.elements(INFO, "identity")
    ]
    return identities, [element["var"] for element in query.elements(INFO, "feature")]


class FaceTests(unittest.TestCase):
    def asked(self, scene: Scene, payload: str) -> Stanza:
        reply = scene.asked(payload=payload)
        self.assertEqual((reply["type"], reply["from"], reply["to"], reply["id"]), ("result", DOMAIN, ALICE, "a1"))
        return reply

    def test_no_tree_is_made_of_a_question(self) -> None:
        scene = Scene()
        xml = f"<iq type='get' from='{ALICE}' to='{DOMAIN}' id='1'><query xmlns='{INFO}'>{'<a/>' * 4000}</query></iq>"
        framer = Framer()
        framer.feed(b"<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams'>")
        (question,) = framer.feed(xml.encode())
        assert isinstance(question, Stanza)
        built = BUILT.trees
        scene.deliver(question)
        self.assertEqual(BUILT.trees, built)
        self.assertEqual(scene.one()["type"], "result")

    def test_ping(self) -> None:
        self.assertEqual(self.asked(Scene(), "<ping xmlns='urn:xmpp:ping'/>").payloads, ())

    def test_version(self) -> None:
        reply = self.asked(Scene(), "<query xmlns='jabber:iq:version'/>")
        self.assertIn(f"<name>minimixproxy</name><version>{__version__}</version>".encode(), reply.raw)

    def test_last(self) -> None:
        scene = Scene()
        scene.clock.advance(75.9)
        self.assertIn(b"seconds='75'", self.asked(scene, "<query xmlns='jabber:iq:last'/>").raw)

    def test_info_without_anybody(self) -> None:
        identities, features = info(Scene(name="Work & Co", identity_category="gateway", identity_type="sms"))
        self.assertEqual(identities, [("gateway", "sms", "Work & Co")])
        self.assertEqual(
            features,
            [INFO, "http://jabber.org/protocol/disco#items", "urn:xmpp:ping", "jabber:iq:version", "jabber:iq:last"],
        )

    def test_info_is_put_together_once(self) -> None:
        """Who asks again and again costs what one answer costs, until a resource says something else."""
        scene = Scene()
        looked: list[bool] = []
        resources = scene.proxy.domain.targets.resources

        def counted() -> tuple[Resource, ...]:
            looked.append(True)
            return resources()

        scene.domain.own_answers._resources = counted
        for number in range(3):
            says(scene, f"r{number}", f"urn:feature:{number}")
            for _ in range(5):
                self.assertIn(f"urn:feature:{number}", info(scene)[1])
        scene.receive(f"<presence type='unavailable' from='{TARGET}/r2' to='{DOMAIN}'/>")
        self.assertEqual([var for var in info(scene)[1] if "feature" in var], ["urn:feature:0", "urn:feature:1"])
        self.assertEqual(len(looked), 4)

    def test_info_is_bounded_by_resource(self) -> None:
        scene = Scene()
        identities = "".join(f"<identity category='store' type='{number}'/>" for number in range(30))
        says(scene, "a", *(f"urn:{number:03}" for number in range(MAX_FEATURES + 10)), identities=identities)
        identities_said, features = info(scene)
        self.assertEqual((len(identities_said), len(features)), (1 + 20, 5 + MAX_FEATURES))

    def test_info_with_what_resources_say(self) -> None:
        scene = Scene()
        says(scene, "a", COMMANDS, "urn:a", "urn:x+notify", identities="<identity category='client' type='bot'/>")
        says(scene, "b", COMMANDS, "urn:b", identities="<identity category='store' type='file' name='S'/>")
        identities, features = info(scene)
        self.assertEqual(identities, [("component", "generic", "Client proxy"), ("store", "file", "S")])
        self.assertEqual(features[5:], [COMMANDS, "urn:a", "urn:b"])
        scene.offline("b")
        self.assertEqual(info(scene)[1][5:], [COMMANDS, "urn:a"])

    def test_what_it_says_holds(self) -> None:
        """A feature that one resource has is asked of that one."""
        scene = Scene(policy="round-robin")
        says(scene, "a", "urn:a")
        says(scene, "b", "urn:b")
        for _ in range(4):
            self.assertEqual(scene.asked(payload="<x xmlns='urn:b'/>")["to"], f"{TARGET}/b")

    def test_a_resource_that_says_nothing_or_too_much(self) -> None:
        scene = Scene()
        scene.receive(f"<presence from='{TARGET}/a' to='{DOMAIN}'/>")
        scene.answer(scene.one(), "error")
        says(scene, "b", *(f"urn:{number}" for number in range(2000)))
        self.assertEqual(len(info(scene)[1]), 505)

    def test_a_stranger_has_no_say(self) -> None:
        scene = Scene()
        scene.receive(f"<presence from='{TARGET}/a' to='{DOMAIN}'/>")
        question = scene.one()
        content = f"<query xmlns='{INFO}'><feature var='evil'/></query>"
        scene.answer(question, content=content, changes={"from": ALICE})
        self.assertNotIn("evil", info(scene)[1])

    def test_the_rest_is_the_targets(self) -> None:
        scene = Scene()
        scene.online("a")
        for payload, kind, to in (
            (f"<query xmlns='{INFO}' node='x'/>", "get", DOMAIN),
            ("<query xmlns='http://jabber.org/protocol/disco#items'/>", "get", DOMAIN),
            ("<vCard xmlns='vcard-temp'/>", "get", DOMAIN),
            ("<query xmlns='jabber:iq:version'/>", "set", DOMAIN),
            (f"<query xmlns='{INFO}'/>", "get", f"x@{DOMAIN}"),
        ):
            self.assertEqual(scene.asked(payload=payload, kind=kind, to=to)["to"], f"{TARGET}/a", payload)

    def test_the_target_may_look_at_it_too(self) -> None:
        scene = Scene()
        scene.online("a")
        self.assertEqual(scene.asked(asker=f"{TARGET}/a", payload="<ping xmlns='urn:xmpp:ping'/>")["type"], "result")
