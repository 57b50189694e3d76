"""Ad-hoc commands as a state machine: every action at every stage, the bounds of the table, and random walks."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from twisted.internet.task import Clock
from twisted.logger import formatEvent
from twisted.trial import unittest
from twisted.words.xish import domish

from minimixproxy.minimix.commands import executions
from minimixproxy.minimix.commands.executions import Command, Commands, Done, Stage
from minimixproxy.namespaces import NS_COMMANDS, NS_DATA, NS_STANZAS
from minimixproxy.wire.stanza import parse_element, parse_stanza
from minimixproxy.xep.data_forms import Field, Form, Values
from tests.examples import examples
from tests.log_events import log_events
from tests.minimix.fakes import BARE

ME, OTHER = object(), object()


def pick(number: int) -> Form:
    return Form(f"Stage {number}", "", (Field("n", "list-single", "N", options=(("1", "one"), ("2", "two"))),))


class Offer:
    """Commands for the tests: `once` ends at once, `short` has one stage, `long` three. `log`: what was done."""

    def __init__(self) -> None:
        self.log: list[str] = []

    def offered(self) -> list[Command]:
        return [
            Command("once", "Once", lambda _asker: Done("done & <over>")),
            Command("short", "Short", lambda _asker: Stage(pick(1), finish=lambda values: self.done("", values))),
            Command("long", "Long", lambda _asker: Stage(pick(1), then=lambda values: self.second(values["n"][0]))),
            Command("failing", "Failing", lambda _asker: Done("no", failed=True)),
        ]

    def second(self, so_far: str) -> Stage:
        return Stage(
            pick(2),
            then=lambda values: self.third(so_far + values["n"][0]),
            finish=lambda values: self.done(so_far, values),
        )

    def third(self, so_far: str) -> Stage:
        return Stage(pick(3), finish=lambda values: self.done(so_far, values))

    def done(self, so_far: str, values: Values) -> Done:
        self.log.append(so_far + values["n"][0])
        return Done("ended")


class Talk:
    """A responder and short ways to speak to it. A reply is (status or condition, title or specific condition)."""

    def __init__(self) -> None:
        self.offer = Offer()
        self.clock = Clock()
        self.responder = Commands(BARE, self.offer.offered(), self.clock)
        self.id = ""
        self.element = domish.Element(("", "nothing"))

    def say(
        self,
        node: str,
        action: str = "",
        n: str = "",
        *,
        asker: object = ME,
        id: "str | None" = None,
        kind: str = "set",
    ) -> tuple[str, str]:
        identity = self.id if id is None else id
        form = f"<x xmlns='{NS_DATA}' type='submit'><field var='n'><value>{n}</value></field></x>" if n else ""
        attributes = (f" action='{action}'" if action else "") + (f" sessionid='{identity}'" if identity else "")
        iq = parse_stanza(
            f"<iq type='{kind}' id='i'><command xmlns='{NS_COMMANDS}' node='{node}'{attributes}>{form}</command></iq>"
        )
        self.answers: list[bytes] = []
        self.responder.answer(asker, iq, self.answers.append)
        if not self.answers:
            return ("waits", "")
        self.element = parse_element(self.answers[0], {"": "jabber:client"})
        if self.element.name == "error":
            conditions = [child for child in self.element.elements() if child.name != "text"]
            specific = next((child.name for child in conditions if child.uri == NS_COMMANDS), "")
            return next(child.name for child in conditions if child.uri == NS_STANZAS), specific
        title = next((str(x.title) for x in self.element.elements(NS_DATA, "x")), "")
        return self.element["status"], title

    def begin(self, node: str = "long", asker: object = ME) -> str:
        self.say(node, asker=asker, id="")
        self.id = str(self.element["sessionid"])
        return self.id

    @property
    def actions(self) -> "tuple[str, list[str]]":
        """The default, and what is allowed."""
        (actions,) = self.element.elements(NS_COMMANDS, "actions")
        return actions["execute"], [child.name for child in actions.elements()]


class OneStageTests(unittest.SynchronousTestCase):
    def setUp(self) -> None:
        self.talk = Talk()

    def test_at_once(self) -> None:
        self.assertEqual(self.talk.say("once"), ("completed", ""))
        self.assertEqual(str(self.talk.element.note), "done & <over>")
        self.assertEqual(self.talk.element.note["type"], "info")
        self.assertEqual(self.talk.element["node"], "once")
        self.assertEqual(len(self.talk.responder), 0)

    def test_failure_is_a_note(self) -> None:
        self.assertEqual(self.talk.say("failing"), ("completed", ""))
        self.assertEqual(self.talk.element.note["type"], "error")

    def test_ways_to_end_it(self) -> None:
        for action in ("", "execute", "complete"):
            self.talk.begin("short")
            self.assertEqual(self.talk.actions, ("complete", ["complete"]))
            self.assertEqual(self.talk.say("short", action, "2"), ("completed", ""))
        self.assertEqual(self.talk.offer.log, ["2", "2", "2"])
        self.assertEqual(len(self.talk.responder), 0)


class SeveralStagesTests(unittest.SynchronousTestCase):
    def setUp(self) -> None:
        self.talk = Talk()

    def test_to_the_end(self) -> None:
        self.talk.begin()
        self.assertEqual(self.talk.actions, ("next", ["next"]))
        self.assertEqual(self.talk.say("long", "next", "1"), ("executing", "Stage 2"))
        self.assertEqual(self.talk.actions, ("next", ["prev", "next", "complete"]))
        self.assertEqual(self.talk.say("long", "", "2"), ("executing", "Stage 3"))
        self.assertEqual(self.talk.actions, ("complete", ["prev", "complete"]))
        self.assertEqual(self.talk.say("long", "complete", "1"), ("completed", ""))
        self.assertEqual(self.talk.offer.log, ["121"])

    def test_ended_early(self) -> None:
        self.talk.begin()
        self.talk.say("long", "next", "1")
        self.assertEqual(self.talk.say("long", "complete", "2"), ("completed", ""))
        self.assertEqual(self.talk.offer.log, ["12"])

    def test_back_and_on(self) -> None:
        self.talk.begin()
        self.talk.say("long", "next", "1")
        self.talk.say("long", "next", "2")
        self.assertEqual(self.talk.say("long", "prev"), ("executing", "Stage 2"))
        (field,) = next(self.talk.element.elements(NS_DATA, "x")).elements(NS_DATA, "field")
        self.assertEqual(str(field.value), "2")
        self.assertEqual(self.talk.say("long", "prev"), ("executing", "Stage 1"))
        self.assertEqual(self.talk.actions, ("next", ["next"]))
        self.talk.say("long", "next", "2")
        self.assertEqual(self.talk.say("long", "complete", "2"), ("completed", ""))
        self.assertEqual(self.talk.offer.log, ["22"])

    def test_canceled_at_any_stage(self) -> None:
        for steps in range(3):
            self.talk.begin()
            for _step in range(steps):
                self.talk.say("long", "next", "1")
            self.assertEqual(self.talk.say("long", "cancel"), ("canceled", ""))
            self.assertEqual(self.talk.say("long", "next", "1"), ("not-allowed", "session-expired"))
        self.assertEqual(self.talk.offer.log, [])
        self.assertEqual(len(self.talk.responder), 0)

    def test_several_at_once(self) -> None:
        one, two = self.talk.begin(), self.talk.begin()
        self.assertNotEqual(one, two)
        self.talk.say("long", "next", "1", id=one)
        self.talk.say("long", "next", "2", id=two)
        self.talk.say("long", "complete", "1", id=two)
        self.talk.say("long", "complete", "1", id=one)
        self.assertEqual(self.talk.offer.log, ["21", "11"])


class ErrorTests(unittest.SynchronousTestCase):
    """What is refused changes nothing: the execution goes on where it was."""

    def setUp(self) -> None:
        self.talk = Talk()

    def test_no_such_command(self) -> None:
        self.assertEqual(self.talk.say("unheard-of"), ("item-not-found", ""))

    def test_not_begun(self) -> None:
        for action in ("next", "prev", "complete", "cancel"):
            self.assertEqual(self.talk.say("long", action), ("bad-request", "bad-action"), action)

    def test_get(self) -> None:
        self.assertEqual(self.talk.say("long", kind="get"), ("bad-request", ""))

    def test_amid(self) -> None:
        self.talk.begin()
        for arguments, expected in (
            (("long", "jump", "1"), ("bad-request", "malformed-action")),
            (("long", "complete", "1"), ("bad-request", "bad-action")),
            (("long", "prev"), ("bad-request", "bad-action")),
            (("long", "next"), ("bad-request", "bad-payload")),
            (("long", "next", "3"), ("bad-request", "bad-payload")),
            (("short", "next", "1"), ("bad-request", "bad-sessionid")),
        ):
            self.assertEqual(self.talk.say(*arguments), expected, arguments)
        self.assertEqual(self.talk.say("long", "next", "1"), ("executing", "Stage 2"))

    def test_another_asker(self) -> None:
        self.talk.begin()
        self.assertEqual(self.talk.say("long", "next", "1", asker=OTHER), ("bad-request", "bad-sessionid"))
        self.assertEqual(self.talk.say("long", "next", "1"), ("executing", "Stage 2"))

    def test_unknown_session(self) -> None:
        self.assertEqual(self.talk.say("long", "next", "1", id="made-up"), ("bad-request", "bad-sessionid"))

    def test_completed_session(self) -> None:
        self.talk.begin("short")
        self.talk.say("short", "complete", "1")
        self.assertEqual(self.talk.say("short", "complete", "1"), ("not-allowed", "session-expired"))
        self.assertEqual(self.talk.offer.log, ["1"])


class BoundsTests(unittest.SynchronousTestCase):
    def setUp(self) -> None:
        self.talk = Talk()

    def test_expires(self) -> None:
        self.talk.begin()
        self.talk.clock.advance(executions.TIMEOUT - 1)
        self.assertEqual(self.talk.say("long", "next", "1"), ("executing", "Stage 2"))
        self.talk.clock.advance(executions.TIMEOUT - 1)
        self.assertEqual(len(self.talk.responder), 1)
        self.talk.clock.advance(1)
        self.assertEqual(len(self.talk.responder), 0)
        self.assertEqual(self.talk.say("long", "next", "1"), ("not-allowed", "session-expired"))
        self.assertEqual(self.talk.clock.getDelayedCalls(), [])

    def test_one_expires_and_another_does_not(self) -> None:
        one = self.talk.begin()
        self.talk.clock.advance(10)
        two = self.talk.begin()
        self.talk.clock.advance(executions.TIMEOUT - 10)
        self.assertEqual(self.talk.say("long", "next", "1", id=one), ("not-allowed", "session-expired"))
        self.assertEqual(self.talk.say("long", "next", "1", id=two), ("executing", "Stage 2"))

    def test_bytes_of_forms(self) -> None:
        """Exchanges whose forms are large crowd each other out sooner; going to and fro costs nothing."""
        self.patch(executions, "MAX_BYTES", 3 * len(pick(1).to_bytes()) + 60)
        for _number in range(5):
            self.talk.begin("short")
        self.assertEqual(len(self.talk.responder), 3)
        self.assertEqual(list(self.talk.responder._open)[-1], self.talk.id)
        self.talk.begin()
        for _number in range(5):
            self.talk.say("long", "next", "1")
            self.assertEqual(self.talk.say("long", "prev"), ("executing", "Stage 1"))
        self.assertEqual(len(self.talk.responder), 2, "a second stage has crowded one out, once")

    def test_too_many(self) -> None:
        events = log_events(self)
        first, second = self.talk.begin(), self.talk.begin()
        self.talk.say("long", "next", "1", id=first)  # now the second is the one idle longest
        for _number in range(executions.MAX_OPEN - 1):
            self.talk.begin()
        self.assertEqual(len(self.talk.responder), executions.MAX_OPEN)
        self.assertEqual(self.talk.say("long", "next", "1", id=second), ("not-allowed", "session-expired"))
        self.assertEqual(self.talk.say("long", "next", "1", id=first), ("executing", "Stage 3"))
        (said,) = [formatEvent(event) for event in events]
        self.assertEqual(said, f"{BARE}: too many ad-hoc commands are under way: the oldest ends")

    def test_ended_ones_are_forgotten(self) -> None:
        first = self.talk.begin()
        self.talk.say("long", "cancel")
        for _number in range(executions.MAX_ENDED):
            self.talk.say("once", id="")
        self.assertEqual(self.talk.say("long", "next", "1", id=first), ("bad-request", "bad-sessionid"))

    def test_asker_gone(self) -> None:
        mine, others = self.talk.begin(), self.talk.begin(asker=OTHER)
        self.talk.responder.asker_gone(ME)
        self.assertEqual(self.talk.say("long", "next", "1", id=mine), ("not-allowed", "session-expired"))
        self.assertEqual(self.talk.say("long", "next", "1", id=others, asker=OTHER), ("executing", "Stage 2"))


class Walk(RuleBasedStateMachine):
    """Any order of actions, against a model that is a stack of answers."""

    def __init__(self) -> None:
        super().__init__()
        self.talk = Talk()
        self.answers: list[str] | None = None  # one for each stage passed; None: not begun

    @rule()
    def begin(self) -> None:
        if self.answers is None:
            self.talk.begin()
            self.answers = []

    @precondition(lambda self: self.answers is not None)
    @rule(
        action=st.sampled_from(["", "execute", "next", "prev", "complete", "cancel"]), n=st.sampled_from(["", "1", "2"])
    )
    def act(self, action: str, n: str) -> None:
        assert self.answers is not None
        stage = len(self.answers) + 1
        before = list(self.talk.offer.log)
        reply = self.talk.say("long", action, n)
        meant = ("next" if stage < 3 else "complete") if action in ("", "execute") else action
        if meant == "cancel":
            assert reply == ("canceled", "")
            self.answers = None
        elif meant not in {1: ("next",), 2: ("prev", "next", "complete"), 3: ("prev", "complete")}[stage]:
            assert reply == ("bad-request", "bad-action")
        elif meant == "prev":
            self.answers.pop()
            assert reply == ("executing", f"Stage {stage - 1}")
        elif not n:
            assert reply == ("bad-request", "bad-payload")
        elif meant == "next":
            self.answers.append(n)
            assert reply == ("executing", f"Stage {stage + 1}")
        else:
            assert reply == ("completed", "")
            before.append("".join(self.answers) + n)
            self.answers = None
        assert self.talk.offer.log == before

    @rule(seconds=st.sampled_from([1.0, 300.0, 700.0]))
    def wait(self, seconds: float) -> None:
        idle = len(self.talk.responder)
        self.talk.clock.advance(seconds)
        if idle and not len(self.talk.responder):
            self.answers = None

    @invariant()
    def one_at_most(self) -> None:
        assert len(self.talk.responder) == (self.answers is not None)
        assert len(self.talk.clock.getDelayedCalls()) == (self.answers is not None)


class WalkTests(unittest.SynchronousTestCase):
    def test_any_order(self) -> None:
        run_state_machine_as_test(Walk, settings=settings(max_examples=examples(60), stateful_step_count=20))
