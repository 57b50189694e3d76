"""Presence: who of the target is there, users' subscriptions, directed presence."""

from typing import Any

from twisted.logger import LogLevel, formatEvent
from twisted.trial import unittest

from minimixproxy.clientproxy import presences
from minimixproxy.clientproxy.domain import SETTLING
from minimixproxy.clientproxy.presences import ASK_AGAIN
from minimixproxy.clientproxy.targets import Subscription
from tests.clientproxy.scene import ALICE, BOB, DOMAIN, TARGET, Scene, error_condition
from tests.log_events import log_events

CONTACT = f"alice\\40example.org@{DOMAIN}"


def presence(scene: Scene, kind: str = "", sender: str = TARGET, to: str = DOMAIN, content: str = "") -> None:
    type_ = f" type='{kind}'" if kind else ""
    scene.receive(f"<presence{type_} from='{sender}' to='{to}'>{content}</presence>")


def told(scene: Scene) -> list[tuple[str, str, str]]:
    """What was sent: type, from, to."""
    return [(sent.get("type") or "", sent["from"], sent["to"]) for sent in scene.sent() if sent.name == "presence"]


class SubscribingTests(unittest.TestCase):
    def test_every_connection_asks_and_probes_once_it_may(self) -> None:
        scene = Scene(connected=False, target=[TARGET, "second@example.net"])
        for _ in range(2):
            scene.proxy.connected()
            self.assertEqual(told(scene), [("subscribe", DOMAIN, TARGET), ("subscribe", DOMAIN, "second@example.net")])
            presence(scene, "subscribed")
            self.assertEqual(told(scene), [("probe", DOMAIN, TARGET)])

    def test_subscribed_twice_is_probed_once(self) -> None:
        scene = Scene()
        presence(scene, "subscribed")
        presence(scene, "subscribed")
        self.assertEqual(told(scene), [("probe", DOMAIN, TARGET)])
        self.assertIs(scene.domain.targets.subscriptions[TARGET], Subscription.SUBSCRIBED)

    def test_whoever_goes_is_asked_for_again(self) -> None:
        """A server may tell the end of an old session after the start of the one that has taken its resource."""
        scene = Scene()
        presence(scene, "subscribed")
        for _ in range(2):
            presence(scene, "", f"{TARGET}/a")
        told(scene)
        presence(scene, "unavailable", f"{TARGET}/a")
        self.assertIsNone(scene.domain.targets.get(f"{TARGET}/a"))
        self.assertEqual(told(scene), [("probe", DOMAIN, TARGET)])
        presence(scene, "", f"{TARGET}/a")
        self.assertIsNotNone(scene.domain.targets.get(f"{TARGET}/a"))

    def test_an_answer_to_a_probe_that_nobody_is_there_is_not_probed(self) -> None:
        scene = Scene()
        presence(scene, "subscribed")
        presence(scene, "", f"{TARGET}/a")
        told(scene)
        presence(scene, "unavailable", f"{TARGET}/b")
        presence(scene, "unavailable")
        presence(scene, "unavailable", f"{TARGET}/a")
        self.assertEqual(told(scene), [])

    def test_one_that_has_not_accepted_us_is_not_probed(self) -> None:
        scene = Scene()
        presence(scene, "", f"{TARGET}/a")
        told(scene)
        presence(scene, "unavailable", f"{TARGET}/a")
        self.assertEqual(told(scene), [])

    def test_what_the_operator_reads(self) -> None:
        events = log_events(self)
        scene = Scene()
        presence(scene, "subscribed")
        presence(scene, "", f"{TARGET}/a")
        presence(scene, "unavailable", f"{TARGET}/a")
        scene.receive(f"<presence from='{ALICE}' to='other.example'/>")
        scene.proxy.stopping()
        said = [formatEvent(event) for event in events]
        self.assertEqual(
            said,
            [
                f"{DOMAIN}: {TARGET} lets us see its presence",
                f"{DOMAIN}: {TARGET}/a is there",
                f"{DOMAIN}: {TARGET}/a is gone",
                f"{DOMAIN}: dropped presence from {ALICE}: to another domain (1 so far)",
                f"{DOMAIN}: stanzas dropped since the start, by reason: \"{{'to another domain': 1}}\"",
            ],
        )

    def test_not_accepted_yet_is_no_drama(self) -> None:
        events = log_events(self)
        scene = Scene()
        presence(scene, "unsubscribed")
        self.assertIs(scene.domain.targets.subscriptions[TARGET], Subscription.ASKING)
        self.assertEqual([event["log_level"] for event in events], [LogLevel.warn])

    def test_withdrawn_is_logged_loudly_and_nothing_is_sent_until_it_is_given_again(self) -> None:
        events = log_events(self)
        scene = Scene()
        presence(scene, "subscribed")
        scene.online("a")
        scene.pass_time(SETTLING)
        scene.asked()
        presence(scene, "unsubscribed")
        self.assertEqual(error_condition(scene.one()), "recipient-unavailable")
        self.assertIn(LogLevel.error, [event["log_level"] for event in events])
        presence(scene, "", f"{TARGET}/a")
        self.assertEqual(error_condition(scene.asked()), "service-unavailable")
        presence(scene, "subscribed")
        scene.sent()
        scene.online("a")
        self.assertEqual(scene.asked()["to"], f"{TARGET}/a")

    def test_an_error_is_logged_and_asked_about_again(self) -> None:
        events = log_events(self)
        scene = Scene()
        scene.online("a")
        presence(
            scene,
            "error",
            content="<error type='cancel'>"
            "<remote-server-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>",
        )
        self.assertEqual(
            [event["conditions"] for event in events if "conditions" in event], ["remote-server-not-found"]
        )
        self.assertEqual(scene.domain.targets.candidates(), ())
        scene.pass_time(ASK_AGAIN - 1)
        self.assertEqual(told(scene), [])
        scene.pass_time(1)
        self.assertEqual(told(scene), [("subscribe", DOMAIN, TARGET)])
        scene.pass_time(ASK_AGAIN)
        self.assertEqual(told(scene), [])

    def test_when_it_accepts_again_it_is_probed(self) -> None:
        scene = Scene()
        presence(scene, "subscribed")
        scene.online("a")
        presence(scene, "error")
        self.assertEqual(set(scene.domain.targets.subscriptions.values()), {Subscription.FAILED})
        scene.sent()
        presence(scene, "subscribed")
        self.assertEqual(told(scene), [("probe", DOMAIN, TARGET)])

    def test_after_a_reconnect_it_is_asked_once(self) -> None:
        scene = Scene()
        presence(scene, "error")
        scene.proxy.connected()
        self.assertEqual(told(scene), [("subscribe", DOMAIN, TARGET)])
        scene.pass_time(2 * ASK_AGAIN)
        self.assertEqual(told(scene), [])

    def test_the_target_may_subscribe_to_the_domain(self) -> None:
        scene = Scene()
        presence(scene, "subscribe")
        presence(scene, "unsubscribe")
        kinds = ("subscribed", "unavailable", "unsubscribed")
        self.assertEqual(told(scene), [(kind, DOMAIN, TARGET) for kind in kinds])

    def test_the_target_may_probe_the_domain(self) -> None:
        scene = Scene()
        for content, kind, show in (("", "", ""), ("<show>dnd</show>", "", "dnd")):
            presence(scene, "", f"{TARGET}/a", content=content)
            scene.sent()
            presence(scene, "probe", f"{TARGET}/a")
            (answer,) = scene.sent()
            self.assertEqual((answer.get("type") or "", answer["from"], answer["to"]), (kind, DOMAIN, f"{TARGET}/a"))
            self.assertEqual(str(answer.element.show or ""), show)


class ResourceTests(unittest.TestCase):
    def test_come_change_and_go(self) -> None:
        scene = Scene()
        for content, candidates in (
            ("", 1),
            ("<priority>-5</priority>", 0),
            ("<priority>5</priority><show>away</show>", 1),
            ("<show>dnd</show>", 0),
            ("<status>dnd</status>", 1),
            ("<priority>x</priority><show>\n</show>", 1),
            ("<show xmlns='other'>dnd</show><priority xmlns='other'>-1</priority>", 1),
        ):
            presence(scene, "", f"{TARGET}/a", content=content)
            self.assertEqual(len(scene.domain.targets.candidates()), candidates, content)
        presence(scene, "unavailable", f"{TARGET}/a")
        self.assertEqual(scene.domain.targets.candidates(), ())

    def test_what_the_operator_reads_of_them(self) -> None:
        scene = Scene(max_resources=1)
        events = log_events(self)
        for name, content in (("a", ""), ("a", "<show>away</show>"), ("b", "")):
            presence(scene, "", f"{TARGET}/{name}", content=content)
        presence(scene, "unavailable", f"{TARGET}/a")
        presence(scene, "unavailable", f"{TARGET}/a")
        self.assertEqual(
            [formatEvent(event) for event in events],
            [
                f"{DOMAIN}: {TARGET}/a is there",
                f"{DOMAIN}: dropped presence from {TARGET}/b: presence of the target that cannot be used (1 so far)",
                f"{DOMAIN}: {TARGET}/a is gone",
            ],
        )

    def test_strangers_are_no_resources(self) -> None:
        scene = Scene()
        for sender in (ALICE, "worker@example.org.evil.example/a", "worker@example.net/a", f"{DOMAIN}/{TARGET}"):
            presence(scene, "", sender)
            presence(scene, "subscribed", sender)
        self.assertEqual(scene.domain.targets.candidates(), ())
        self.assertEqual(len(scene.domain.targets.subscriptions), 1)

    def test_stale_ones_get_nothing_after_a_reconnect(self) -> None:
        scene = Scene()
        scene.online("a")
        scene.proxy.connected()
        scene.sent()
        scene.online("b")
        self.assertEqual({scene.asked()["to"] for _ in range(20)}, {f"{TARGET}/b"})

    def test_more_resources_than_allowed(self) -> None:
        scene = Scene(max_resources=2)
        scene.online("a", "b", "c")
        self.assertEqual(len(scene.domain.targets.candidates()), 2)
        self.assertEqual(scene.domain.dropped["presence of the target that cannot be used"], 1)

    def test_features_are_asked_for(self) -> None:
        scene = Scene()
        presence(scene, "", f"{TARGET}/a")
        question = scene.one()
        self.assertEqual((question["from"], question["to"]), (DOMAIN, f"{TARGET}/a"))
        self.assertEqual(question.payloads, (("http://jabber.org/protocol/disco#info", "query"),))
        presence(scene, "", f"{TARGET}/a")
        self.assertEqual(scene.sent(), [])

    def test_types_nobody_knows(self) -> None:
        scene = Scene()
        presence(scene, "invisible", ALICE)
        self.assertEqual(error_condition(scene.one()), "bad-request")


class AcceptTests(unittest.TestCase):
    """subscriptions = "accept"."""

    def test_everybody_may_subscribe_and_is_told_of_changes(self) -> None:
        scene = Scene()
        presence(scene, "subscribe", "alice@example.org")
        self.assertEqual(
            told(scene), [("subscribed", DOMAIN, "alice@example.org"), ("unavailable", DOMAIN, "alice@example.org")]
        )
        for name, kind, content, expected in (
            ("a", "", "", [""]),
            ("b", "", "", []),
            ("a", "unavailable", "", []),
            ("b", "", "<show>dnd</show>", [""]),
            ("b", "unavailable", "", ["unavailable"]),
        ):
            presence(scene, kind, f"{TARGET}/{name}", content=content)
            sent = [sent for sent in scene.sent() if sent.name == "presence"]
            self.assertEqual([stanza.get("type") or "" for stanza in sent], expected, (name, kind))
            self.assertEqual([b"dnd" in stanza.raw for stanza in sent], ["dnd" in content] * len(sent))
        presence(scene, "unsubscribe", "alice@example.org")
        self.assertEqual(told(scene), [("unsubscribed", DOMAIN, "alice@example.org")])
        presence(scene, "", f"{TARGET}/a")
        self.assertEqual(told(scene), [])

    def test_probes_are_answered(self) -> None:
        scene = Scene()
        scene.online("a")
        presence(scene, "probe", "alice@example.org")
        self.assertEqual(told(scene), [("", DOMAIN, "alice@example.org")])

    def test_a_reconnect_in_between_is_not_noticed(self) -> None:
        scene = Scene()
        scene.online("a")
        presence(scene, "subscribe", "alice@example.org")
        scene.proxy.connected()
        scene.sent()
        scene.online("a")
        scene.pass_time(SETTLING)
        self.assertEqual(told(scene), [])

    def test_but_that_nobody_came_back_is(self) -> None:
        scene = Scene()
        scene.online("a")
        presence(scene, "subscribe", "alice@example.org")
        scene.proxy.connected()
        scene.sent()
        scene.pass_time(SETTLING - 1)
        self.assertEqual(told(scene), [])
        scene.pass_time(1)
        self.assertEqual(told(scene), [("unavailable", DOMAIN, "alice@example.org")])

    def test_who_is_not_allowed_is_told_so(self) -> None:
        scene = Scene(deny=["example.net"])
        presence(scene, "subscribe", "bob@example.net")
        presence(scene, "probe", "bob@example.net")
        presence(scene, "", BOB)
        self.assertEqual(told(scene), [("unsubscribed", DOMAIN, "bob@example.net")])
        self.assertEqual(scene.domain.dropped["presence from a JID that is not allowed"], 3)

    def test_floods_are_dropped(self) -> None:
        scene = Scene(rate=1.0, burst=2)
        scene.online("a")
        for _ in range(10):
            presence(scene, "probe", "bob@example.net")
        self.assertEqual((len(told(scene)), scene.domain.dropped["not admitted"]), (2, 8))

    def test_subscribers_are_bounded(self) -> None:
        self.patch(presences, "MAX_SUBSCRIBERS", 3)
        scene = Scene()
        for number in range(5):
            presence(scene, "subscribe", f"u{number}@example.org")
        scene.sent()
        presence(scene, "", f"{TARGET}/a")
        self.assertEqual([to for _, _, to in told(scene)], ["u2@example.org", "u3@example.org", "u4@example.org"])
        presence(scene, "subscribe", "u4@example.org")
        scene.sent()
        presence(scene, "unavailable", f"{TARGET}/a")
        self.assertEqual(len(told(scene)), 3, "who subscribes again pushes nobody out")
        self.assertEqual(scene.domain.dropped["subscribers"], 2)

    def test_a_domain_that_has_many_pushes_out_its_own(self) -> None:
        """Accounts cost it nothing, and subdomains neither."""
        self.patch(presences, "MAX_SUBSCRIBERS", 6)
        scene = Scene()
        presence(scene, "subscribe", "alice@example.org")
        presence(scene, "subscribe", "bob@example.net")
        for number in range(20):
            presence(scene, "probe", f"u{number}@s{number}.evil.test")
        presence(scene, "subscribe", "carol@example.com")
        scene.sent()
        presence(scene, "", f"{TARGET}/a")
        kept = [to for _, _, to in told(scene)]
        self.assertEqual(len(kept), 6)
        for other in ("alice@example.org", "bob@example.net", "carol@example.com"):
            self.assertIn(other, kept)

    def test_an_address_that_bounces_is_forgotten(self) -> None:
        scene = Scene()
        presence(scene, "subscribe", "alice@example.org")
        presence(scene, "error", "alice@example.org")
        scene.sent()
        presence(scene, "", f"{TARGET}/a")
        self.assertEqual(told(scene), [])


class TargetDecidesTests(unittest.TestCase):
    """subscriptions = "target": users are contacts of the implementing client."""

    def scene(self, **changes: Any) -> Scene:
        scene = Scene(subscriptions="target", **changes)
        presence(scene, "subscribed")
        scene.online("a")
        return scene

    def test_asked_for_and_given(self) -> None:
        scene = self.scene()
        presence(scene, "subscribe", "alice@example.org")
        self.assertEqual(told(scene), [("subscribe", CONTACT, TARGET)])
        presence(scene, "subscribed", TARGET, CONTACT)
        self.assertEqual(told(scene), [("subscribed", DOMAIN, "alice@example.org"), ("", DOMAIN, "alice@example.org")])
        presence(scene, "unavailable", f"{TARGET}/a")
        self.assertEqual(told(scene), [("unavailable", DOMAIN, "alice@example.org"), ("probe", DOMAIN, TARGET)])

    def test_refused(self) -> None:
        scene = self.scene()
        presence(scene, "subscribe", "alice@example.org")
        presence(scene, "unsubscribed", TARGET, CONTACT)
        presence(scene, "unavailable", f"{TARGET}/a")
        self.assertEqual([kind for kind, _, to in told(scene) if to == "alice@example.org"], ["unsubscribed"])

    def test_given_and_taken_back(self) -> None:
        scene = self.scene()
        presence(scene, "subscribed", TARGET, CONTACT)
        presence(scene, "unsubscribed", TARGET, CONTACT)
        scene.sent()
        presence(scene, "unavailable", f"{TARGET}/a")
        self.assertEqual(told(scene), [("probe", DOMAIN, TARGET)], "nothing for the user")

    def test_the_target_may_probe_a_user(self) -> None:
        scene = self.scene()
        presence(scene, "probe", f"{TARGET}/a", CONTACT)
        self.assertEqual(told(scene), [("probe", DOMAIN, "alice@example.org")])

    def test_who_was_never_told_that_it_is_there_hears_of_no_end(self) -> None:
        scene = self.scene()
        presence(scene, "unavailable", f"{TARGET}/a", CONTACT)
        self.assertEqual(told(scene), [])

    def test_a_probe_is_the_targets_servers_to_answer(self) -> None:
        scene = self.scene()
        presence(scene, "probe", "alice@example.org")
        self.assertEqual(told(scene), [("probe", CONTACT, TARGET)])
        presence(scene, "", f"{TARGET}/a", CONTACT)
        presence(scene, "", f"{TARGET}/b", CONTACT)
        self.assertEqual(told(scene), [("", DOMAIN, "alice@example.org")], "one domain, not each resource")

    def test_broadcasts_of_one_resource_do_not_make_the_domain_go(self) -> None:
        scene = self.scene()
        presence(scene, "", f"{TARGET}/a", CONTACT)
        scene.sent()
        presence(scene, "unavailable", f"{TARGET}/b", CONTACT)
        self.assertEqual(told(scene), [])

    def test_the_target_may_subscribe_to_a_user(self) -> None:
        scene = self.scene()
        presence(scene, "subscribe", TARGET, CONTACT)
        self.assertEqual(told(scene), [("subscribe", DOMAIN, "alice@example.org")])
        presence(scene, "subscribed", "alice@example.org")
        self.assertEqual(told(scene), [("subscribed", CONTACT, TARGET)])

    def test_the_first_subscribed_target_decides(self) -> None:
        scene = Scene(subscriptions="target", target=[TARGET, "second@example.net"])
        presence(scene, "subscribe", "alice@example.org")
        presence(scene, "subscribed", "second@example.net")
        presence(scene, "subscribe", "bob@example.net")
        self.assertEqual([to for kind, _, to in told(scene) if kind == "subscribe"], [TARGET, "second@example.net"])


class DirectedTests(unittest.TestCase):
    def test_both_ways(self) -> None:
        scene = Scene(policy="round-robin")
        scene.online("a", "b", "c")
        presence(scene, "", ALICE, content="<status>here</status>")
        there = scene.one()
        self.assertEqual((there["from"], there["to"]), (f"{DOMAIN}/{ALICE}", f"{TARGET}/a"))
        self.assertIn(b"<status>here</status>", there.raw)
        presence(scene, "", f"{TARGET}/a", f"{DOMAIN}/{ALICE}")
        self.assertEqual(told(scene), [("", DOMAIN, ALICE)])
        presence(scene, "unavailable", ALICE)
        self.assertEqual(told(scene), [("unavailable", f"{DOMAIN}/{ALICE}", f"{TARGET}/a")])

    def test_the_answer_goes_to_the_very_resource(self) -> None:
        """An error begins no conversation."""
        scene = Scene(policy="round-robin")
        scene.online("a", "b", "c")
        presence(scene, "", f"{TARGET}/c", f"{DOMAIN}/{ALICE}")
        presence(scene, "error", f"{TARGET}/b", f"{DOMAIN}/{ALICE}")
        self.assertEqual(told(scene), [("", DOMAIN, ALICE), ("error", DOMAIN, ALICE)])
        presence(scene, "", ALICE)
        self.assertEqual(told(scene), [("", f"{DOMAIN}/{ALICE}", f"{TARGET}/c")])

    def test_unavailable_from_somebody_unknown_is_dropped(self) -> None:
        scene = Scene()
        scene.online("a")
        presence(scene, "unavailable", ALICE)
        presence(scene, "error", ALICE)
        self.assertEqual(scene.sent(), [])
        self.assertEqual(scene.domain.dropped, {"presence for nobody": 2})

    def test_the_target_to_nobody(self) -> None:
        scene = Scene()
        scene.online("a")
        presence(scene, "", f"{TARGET}/a", f"{DOMAIN}/@gone")
        self.assertEqual(error_condition(scene.one()), "item-not-found")
