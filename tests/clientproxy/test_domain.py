"""Whatever anybody says to a domain, in any order: see `domain_machine`; and what that has found, or its making."""

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.clientproxy.requests import Origin
from tests.clientproxy.domain_machine import DomainMachine
from tests.clientproxy.scene import ALICE, BOB, DOMAIN, QUERY, TARGET, Scene, error_condition
from tests.examples import examples

EXAMPLES = examples(25)  # `make fuzz` goes on, by the hundred
STEPS = 40
IBB = "http://jabber.org/protocol/ibb"
DATA = f"<data xmlns='{IBB}' sid='i' seq='0'>eA==</data>"


class AnythingTests(SynchronousTestCase):
    def test_anything(self) -> None:
        """`make fuzz` goes on with other examples."""
        fixed = settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        )
        run_state_machine_as_test(DomainMachine, settings=fixed)


class FoundTests(SynchronousTestCase):
    def test_nothing_is_sent_in_anothers_name(self) -> None:
        """A server ends the stream for it."""
        scene = Scene()
        for to in ("", "to='example.org'", "to='@'"):
            for kind in ("got", "get"):
                scene.receive(f"<iq type='{kind}' id='1' from='{ALICE}' {to}/>")
                self.assertEqual(scene.sent(), [])

    def test_a_resource_that_asks_while_the_stream_is_lost(self) -> None:
        """It is told, though nothing is known of it for a while."""
        scene = Scene()
        scene.online("a")
        scene.receive(f"<iq type='set' id='t1' from='{TARGET}/a' to='{DOMAIN}/{BOB}'>{QUERY}</iq>")
        scene.sent()
        scene.proxy.connected()
        reply = next(sent for sent in scene.sent() if sent.name == "iq")
        self.assertEqual((reply["to"], reply["id"]), (f"{TARGET}/a", "t1"))
        self.assertEqual(error_condition(reply), "recipient-unavailable")

    def test_steps_that_waited_for_a_resource_go_to_one(self) -> None:
        scene = Scene(policy="round-robin")
        for _ in range(2):
            scene.ask(kind="set", payload=DATA)
        scene.receive(f"<presence from='{TARGET}/a' to='{DOMAIN}'/>")
        self.assertEqual([sent["to"] for sent in scene.sent() if sent.get("type") == "set"], [f"{TARGET}/a"] * 2)
        scene.online("b", features=False)
        step = scene.asked(kind="set", payload=DATA)
        scene.ask(kind="set", payload=DATA)
        self.assertEqual((step["to"], scene.one()["to"]), (f"{TARGET}/a", f"{TARGET}/a"))

    def test_steps_that_waited_go_to_who_goes_on_with_the_exchange(self) -> None:
        scene = Scene(policy="round-robin")
        for _ in range(2):
            scene.ask(kind="set", payload=DATA)
        scene.receive(f"<iq type='set' id='t' from='{TARGET}/b' to='{DOMAIN}/{ALICE}'>{DATA}</iq>")
        scene.sent()
        scene.receive(f"<presence from='{TARGET}/a' to='{DOMAIN}'/>")
        failed = [sent for sent in scene.sent() if sent.get("type") == "error"]
        self.assertEqual([error_condition(sent) for sent in failed], ["recipient-unavailable"] * 2)

    def test_data_for_a_resource_that_is_gone(self) -> None:
        """They are nobody else's."""
        scene = Scene(policy="round-robin")
        scene.online("a", "b")
        scene.asked(kind="set", payload=DATA)
        scene.offline("a")
        scene.sent()
        scene.receive(f"<message id='m' from='{ALICE}' to='{DOMAIN}'>{DATA}</message>")
        self.assertEqual(error_condition(scene.one()), "recipient-unavailable")

    def test_features_that_change_all_the_time(self) -> None:
        """One question at a time, however often a resource says that they changed; and the last answer counts."""
        scene = Scene(timeout=60)
        for number in range(50):
            content = f"<c xmlns='http://jabber.org/protocol/caps' ver='{number}'/>"
            scene.receive(f"<presence from='{TARGET}/a' to='{DOMAIN}'>{content}</presence>")
        question = scene.one()
        scene.answer(
            question, content="<query xmlns='http://jabber.org/protocol/disco#info'><feature var='old'/></query>"
        )
        again = scene.one()
        self.assertNotEqual(again["id"], question["id"])
        scene.answer(again, content="<query xmlns='http://jabber.org/protocol/disco#info'><feature var='new'/></query>")
        self.assertEqual(scene.sent(), [])
        self.assertEqual([resource.features for resource in scene.domain.targets.resources()], [frozenset({"new"})])

    def test_features_that_nobody_tells(self) -> None:
        scene = Scene(timeout=5, ping_after=3600)
        scene.receive(f"<presence from='{TARGET}/a' to='{DOMAIN}'/>")
        for number in range(3):
            self.assertEqual(scene.one().payloads, (("http://jabber.org/protocol/disco#info", "query"),))
            scene.pass_time(6)
            self.assertEqual((scene.sent(), scene.domain.requests.all()), ([], []))
            content = f"<c xmlns='http://jabber.org/protocol/caps' ver='{number}'/>"
            scene.receive(f"<presence from='{TARGET}/a' to='{DOMAIN}'>{content}</presence>")
        self.assertEqual([request.origin for request in scene.domain.requests.all()], [Origin.OURSELVES])
