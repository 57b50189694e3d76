"""Message proxying: both ways, one conversation with one resource."""

from twisted.trial import unittest

from tests.clientproxy.scene import ALICE, BOB, DOMAIN, TARGET, Scene, error_condition

LAPTOP = "alice@example.org/laptop"


def write(
    scene: Scene, kind: str = "chat", sender: str = ALICE, to: str = DOMAIN, content: str = "<body>hi</body>"
) -> None:
    scene.receive(f"<message type='{kind}' id='m1' from='{sender}' to='{to}'>{content}</message>")


class FromUsersTests(unittest.TestCase):
    def test_every_type_is_translated(self) -> None:
        for kind in ("chat", "normal", "headline"):
            scene = Scene()
            scene.online("a")
            write(scene, kind)
            message = scene.one()
            self.assertEqual(
                (message["type"], message["from"], message["to"], message["id"]),
                (kind, f"{DOMAIN}/{ALICE}", f"{TARGET}/a", "m1"),
            )
            self.assertIn(b"<body>hi</body>", message.raw)

    def test_a_message_without_type_is_normal(self) -> None:
        scene = Scene()
        scene.online("a")
        scene.receive(f"<message from='{ALICE}' to='{DOMAIN}'/>")
        self.assertEqual(scene.one()["to"], f"{TARGET}/a")

    def test_a_type_that_nobody_knows_is_normal(self) -> None:
        """RFC 6121 section 5.2.2."""
        scene = Scene()
        scene.online("a")
        write(scene, "letter")
        self.assertEqual(scene.one()["to"], f"{TARGET}/a")

    def test_a_conversation_stays_with_one_resource_from_all_devices(self) -> None:
        scene = Scene(policy="round-robin")
        scene.online("a", "b", "c")
        for _ in range(3):
            for sender in (ALICE, LAPTOP):
                write(scene, sender=sender)
        self.assertEqual({message["to"] for message in scene.sent()}, {f"{TARGET}/a"})
        write(scene, sender=BOB)
        self.assertEqual(scene.one()["to"], f"{TARGET}/b")

    def test_it_goes_on_with_another_when_that_one_goes(self) -> None:
        scene = Scene(policy="round-robin")
        scene.online("a", "b")
        write(scene)
        scene.offline("a")
        scene.sent()
        write(scene)
        self.assertEqual(scene.one()["to"], f"{TARGET}/b")

    def test_nor_with_one_that_was_never_there(self) -> None:
        """A resource may write without being available."""
        scene = Scene()
        scene.online("a")
        write(scene, sender=f"{TARGET}/ghost", to=f"{DOMAIN}/{BOB}")
        scene.sent()
        write(scene, sender=BOB)
        self.assertEqual(scene.one()["to"], f"{TARGET}/a")

    def test_nobody_there(self) -> None:
        scene = Scene()
        for kind, condition in (("chat", "service-unavailable"), ("normal", "service-unavailable")):
            write(scene, kind)
            self.assertEqual(error_condition(scene.one()), condition)
        for kind in ("headline", "error"):
            write(scene, kind)
            self.assertEqual(scene.sent(), [])
        self.assertEqual(scene.domain.dropped, {"headline for nobody": 1, "error message for nobody": 1})

    def test_groupchat_is_for_rooms(self) -> None:
        scene = Scene()
        scene.online("a")
        write(scene, "groupchat")
        self.assertEqual(error_condition(scene.one()), "service-unavailable")

    def test_not_admitted(self) -> None:
        scene = Scene(deny=["example.net"], rate=1.0, burst=1)
        scene.online("a")
        write(scene, sender=BOB)
        self.assertEqual(error_condition(scene.one()), "not-allowed")
        write(scene)
        write(scene)
        self.assertEqual([error_condition(sent) for sent in scene.sent()], ["", "resource-constraint"])
        write(scene, "error")
        self.assertEqual(scene.sent(), [])

    def test_an_error_goes_to_the_resource_that_wrote(self) -> None:
        scene = Scene(policy="round-robin")
        scene.online("a", "b", "c")
        write(scene, sender=f"{TARGET}/c", to=f"{DOMAIN}/{BOB}")
        scene.sent()
        write(scene, "error", BOB)
        error = scene.one()
        self.assertEqual((error["to"], error["from"], error["type"]), (f"{TARGET}/c", f"{DOMAIN}/{BOB}", "error"))

    def test_an_error_is_for_nobody_else(self) -> None:
        scene = Scene(deny=[BOB])
        scene.online("a")
        write(scene, "error")
        self.assertEqual(scene.sent(), [], "nobody has written to her")
        write(scene, sender="bob@example.net/other")
        scene.sent()
        write(scene, "error", BOB)
        self.assertEqual(scene.sent(), [], "this device of his may not")
        self.assertEqual(scene.domain.dropped["error message for nobody"], 2)

    def test_data_of_a_bytestream_in_messages(self) -> None:
        scene = Scene(policy="round-robin")
        scene.online("a", "b", "c")
        ibb = "http://jabber.org/protocol/ibb"
        opened = scene.asked(kind="set", payload=f"<open xmlns='{ibb}' sid='i' stanza='message' block-size='9'/>")
        for _ in range(3):
            write(scene, content=f"<data xmlns='{ibb}' sid='i' seq='0'>eA==</data>")
            self.assertEqual(scene.one()["to"], opened["to"])


class FromTheTargetTests(unittest.TestCase):
    def test_goes_out_from_the_domain(self) -> None:
        scene = Scene()
        scene.online("a")
        write(scene, sender=f"{TARGET}/a", to=f"{DOMAIN}/{BOB}")
        message = scene.one()
        self.assertEqual((message["from"], message["to"]), (DOMAIN, BOB))

    def test_the_answer_comes_to_the_very_resource(self) -> None:
        scene = Scene(policy="round-robin")
        scene.online("a", "b", "c")
        write(scene, sender=f"{TARGET}/b", to=f"{DOMAIN}/bob@example.net")
        scene.sent()
        write(scene, sender=BOB)
        self.assertEqual(scene.one()["to"], f"{TARGET}/b")

    def test_an_error_of_the_target_is_passed_on(self) -> None:
        scene = Scene()
        scene.online("a")
        write(scene, "error", f"{TARGET}/a", f"{DOMAIN}/{BOB}")
        self.assertEqual((scene.one()["to"], len(scene.domain.sessions)), (BOB, 0))

    def test_to_nobody(self) -> None:
        scene = Scene()
        scene.online("a")
        for to, condition in ((DOMAIN, "bad-request"), (f"{DOMAIN}/@gone", "item-not-found")):
            write(scene, sender=f"{TARGET}/a", to=to)
            self.assertEqual(error_condition(scene.one()), condition)
            write(scene, "error", f"{TARGET}/a", to)
            self.assertEqual(scene.sent(), [])


class NotForgedTests(unittest.TestCase):
    def test_a_user_cannot_reach_a_stranger(self) -> None:
        """Whatever a user writes behind the domain, only the target reads it."""
        scene = Scene()
        scene.online("a")
        stranger = scene.domain.translator
        for to in (stranger.address_of(BOB), stranger.contact_of("bob@example.net"), f"{DOMAIN}/@token"):
            write(scene, to=to)
            scene.ask(to=to)
            scene.receive(f"<presence from='{ALICE}' to='{to}'/>")
            self.assertEqual({sent["to"] for sent in scene.sent()}, {f"{TARGET}/a"})
