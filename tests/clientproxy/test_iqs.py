"""IQ proxying: whatever happens, whoever asked gets one answer, from the domain, with its own id."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import formatEvent
from twisted.trial import unittest

from minimixproxy.clientproxy.domain import SETTLING
from minimixproxy.clientproxy.iqs import REQUESTS
from minimixproxy.logs.flood import BURST, PER_SECOND
from minimixproxy.logs.logger import FLOOD
from minimixproxy.wire.stanza import Stanza
from tests.clientproxy.scene import ALICE, BOB, COMPONENT, DOMAIN, QUERY, TARGET, Scene, error_condition, stanza
from tests.counted import Counted
from tests.examples import examples
from tests.log_events import log_events

COMMANDS = "http://jabber.org/protocol/commands"
IBB = "http://jabber.org/protocol/ibb"


class ForwardingTests(unittest.TestCase):
    def test_there_and_back(self) -> None:
        scene = Scene()
        scene.online("a")
        request = scene.asked(payload="<query xmlns='jabber:iq:private'><x xmlns='q'>&lt;1&gt;</x></query>")
        self.assertEqual(request["to"], f"{TARGET}/a")
        self.assertEqual(request["from"], f"{DOMAIN}/{ALICE}")
        self.assertNotEqual(request["id"], "a1")
        self.assertIn(b"<query xmlns='jabber:iq:private'><x xmlns='q'>&lt;1&gt;</x></query>", request.raw)
        scene.answer(request, content="<query xmlns='jabber:iq:private'>forty-two</query>")
        reply = scene.one()
        self.assertEqual((reply["from"], reply["to"], reply["id"], reply["type"]), (DOMAIN, ALICE, "a1", "result"))
        self.assertIn(b"<query xmlns='jabber:iq:private'>forty-two</query>", reply.raw)

    def test_other_attributes_and_content_keep_their_bytes(self) -> None:
        scene = Scene()
        scene.online("a")
        scene.receive(
            f"<iq  xml:lang='de' type=\"get\" to='{DOMAIN}' id='1' from='{ALICE}' ><q xmlns='x' from='{BOB}'  /></iq>"
        )
        self.assertRegex(
            scene.one().raw.decode(),
            rf"^<iq  xml:lang='de' type=\"get\" to='.*' id='.*' from='.*' ><q xmlns='x' from='{BOB}'  /></iq>$",
        )

    def test_what_is_kept_of_a_request_is_small(self) -> None:
        """Ten thousand may be open, and names of namespaces are remembered with who can answer them."""
        scene = Scene()
        scene.online("a")
        long = "x" * 100_000
        scene.receive(f"<iq type='get' to='{DOMAIN}' id='{long}' from='{ALICE}'>{QUERY}</iq>")
        self.assertEqual(error_condition(scene.one()), "bad-request")
        request = scene.asked(payload=f"<query xmlns='{long}'/>")
        self.assertIn(long.encode(), request.raw)
        (kept,) = scene.proxy.domain.requests.all()
        self.assertEqual(kept.namespace, "")
        self.assertLess(sum(map(len, scene.proxy.domain.targets._candidates)), 1000)

    def test_errors_come_back_like_results(self) -> None:
        scene = Scene()
        scene.online("a")
        request = scene.asked()
        condition = "<item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
        scene.answer(request, "error", f"{QUERY}<error type='cancel'>{condition}</error>")
        reply = scene.one()
        self.assertEqual((reply["from"], reply["to"], reply["id"]), (DOMAIN, ALICE, "a1"))
        self.assertEqual(error_condition(reply), "item-not-found")

    def test_the_answer_comes_from_the_address_that_was_asked(self) -> None:
        scene = Scene()
        scene.online("a")
        for to in (DOMAIN, f"node@{DOMAIN}", f"{DOMAIN}/resource", f"{DOMAIN}/{BOB}"):
            request = scene.asked(to=to)
            self.assertEqual(request["to"], f"{TARGET}/a", "never to whom the address seems to name")
            scene.answer(request)
            reply = scene.one()
            self.assertEqual((reply["from"], reply["to"]), (to, ALICE))

    def test_the_same_id_twice_is_two_requests(self) -> None:
        scene = Scene()
        scene.online("a")
        one, two = scene.asked(id="x"), scene.asked(id="x")
        scene.answer(two, content="<second xmlns='x'/>")
        scene.answer(one, content="<first xmlns='x'/>")
        self.assertEqual(
            [(reply["id"], reply.payloads[0][1]) for reply in scene.sent()], [("x", "second"), ("x", "first")]
        )

    def test_nobody_there(self) -> None:
        scene = Scene()
        scene.pass_time(SETTLING)
        scene.sent()
        self.assertEqual(error_condition(scene.asked()), "service-unavailable")

    def test_only_negative_or_dnd_there(self) -> None:
        scene = Scene()
        scene.online("a", content="<priority>-1</priority>")
        scene.online("b", content="<show>dnd</show>")
        scene.pass_time(SETTLING)
        self.assertEqual(error_condition(scene.asked()), "service-unavailable")

    def test_one_that_goes_dnd_finishes_what_it_has(self) -> None:
        scene = Scene()
        scene.online("a")
        request = scene.asked()
        scene.online("a", content="<show>dnd</show>")
        scene.answer(request)
        self.assertEqual(scene.one()["type"], "result")

    def test_several_targets(self) -> None:
        scene = Scene(target=[TARGET, "second@example.net"], policy="round-robin")
        scene.online("a")
        scene.online("x", target="second@example.net")
        self.assertEqual({scene.asked()["to"] for _ in range(4)}, {f"{TARGET}/a", "second@example.net/x"})

    def test_a_resource_with_odd_characters(self) -> None:
        scene = Scene()
        scene.online("a")
        request = scene.asked(asker="alice@example.org/&lt;&quot;&amp;&apos;> to=&apos;x")
        self.assertEqual(request["from"], f"{DOMAIN}/alice@example.org/<\"&'> to='x")
        scene.receive(
            f"<iq type='result' id='{request['id']}' from='{TARGET}/a' "
            f"to='{DOMAIN}/alice@example.org/&lt;&quot;&amp;&apos;> to=&apos;x'/>"
        )
        self.assertEqual(scene.one()["to"], "alice@example.org/<\"&'> to='x")


class BadInputTests(unittest.TestCase):
    def test_an_iq_without_id(self) -> None:
        scene = Scene()
        scene.online("a")
        scene.receive(f"<iq type='get' from='{ALICE}' to='{DOMAIN}'>{QUERY}</iq>")
        self.assertEqual(error_condition(scene.one()), "bad-request")

    def test_ids_of_1023_and_1024_characters(self) -> None:
        scene = Scene()
        scene.online("a")
        for length, condition in ((1, ""), (1023, ""), (1024, "bad-request")):
            self.assertEqual(error_condition(scene.asked(id="x" * length)), condition)

    def test_an_iq_of_no_type_or_with_no_or_two_payloads(self) -> None:
        scene = Scene()
        scene.online("a")
        for attributes, content in (("", QUERY), ("type='got'", QUERY), ("type='get'", ""), ("type='set'", QUERY * 2)):
            scene.receive(f"<iq {attributes} id='1' from='{ALICE}' to='{DOMAIN}'>{content}</iq>")
            self.assertEqual(error_condition(scene.one()), "bad-request")

    def test_an_unusable_from_is_dropped_counted_and_logged(self) -> None:
        scene = Scene()
        scene.online("a")
        for sender in ("@example.org", "a@b@/", "", "\ue000@example.org", "x" * 1024):
            scene.receive(f"<iq type='get' id='1' from='{sender}' to='{DOMAIN}'>{QUERY}</iq>")
        scene.receive(f"<iq type='get' id='1' to='{DOMAIN}'>{QUERY}</iq>")
        self.assertEqual(scene.sent(), [])
        self.assertEqual(scene.domain.dropped["unusable from attribute"], 6)

    def test_to_another_domain_is_dropped(self) -> None:
        scene = Scene()
        scene.online("a")
        scene.ask(to="other.example.org")
        scene.ask(to="@")
        self.assertEqual(scene.sent(), [])

    def test_resources_of_1023_and_1024_bytes(self) -> None:
        scene = Scene()
        scene.online("a")
        for length, token in ((1023, True), (1024, None)):
            scene.ask(asker="alice@example.org/" + "x" * length)
            if token is None:
                self.assertEqual(scene.sent(), [])
                self.assertEqual(scene.domain.dropped["unusable from attribute"], 1)
            else:
                request = scene.one()
                self.assertTrue(request["from"].startswith(f"{DOMAIN}/@"))
                scene.answer(request)
                self.assertEqual(scene.one()["to"], "alice@example.org/" + "x" * length)

    def test_a_reply_from_a_stranger(self) -> None:
        """Matching id, every other sender: another resource, the bare target, a user, the domain."""
        scene = Scene()
        scene.online("a")
        request = scene.asked()
        scene.online("b")
        for sender in (f"{TARGET}/b", TARGET, BOB, ALICE, DOMAIN, "example.org"):
            scene.answer(request, changes={"from": sender})
        self.assertEqual(scene.sent(), [])
        self.assertEqual(scene.domain.dropped["reply from somebody else"], 6)
        scene.answer(request)
        self.assertEqual(scene.one()["to"], ALICE)

    def test_a_reply_with_another_id_or_twice(self) -> None:
        scene = Scene()
        scene.online("a")
        request = scene.asked()
        scene.answer(request, changes={"id": "a1"})
        self.assertEqual(scene.sent(), [])
        scene.answer(request)
        scene.answer(request)
        scene.answer(request, "error")
        self.assertEqual(len(scene.sent()), 1)
        self.assertEqual(scene.domain.dropped["reply to no open request"], 3)

    def test_a_reply_goes_to_who_asked_whatever_its_address_says(self) -> None:
        scene = Scene()
        scene.online("a")
        request = scene.asked()
        scene.answer(request, changes={"to": f"{DOMAIN}/{BOB}"})
        self.assertEqual(scene.one()["to"], ALICE)

    def test_errors_and_results_are_never_answered(self) -> None:
        scene = Scene(allow=["example.com"])
        for kind in ("error", "result"):
            scene.receive(f"<iq type='{kind}' id='1' from='{ALICE}' to='{DOMAIN}'/>")
            scene.receive(f"<iq type='{kind}' from='{TARGET}/a' to='{DOMAIN}/{BOB}'/>")
        self.assertEqual(scene.sent(), [])

    def test_a_flood_is_some_lines_in_the_log(self) -> None:
        scene = Scene()
        FLOOD.begin(scene.clock.seconds)
        self.addCleanup(FLOOD.end)
        self.addCleanup(FLOOD.told)
        events = log_events(self)
        for _second in range(25):
            for _ in range(100):
                scene.receive(f"<iq type='result' id='1' from='{BOB}' to='{DOMAIN}'/>")
            scene.clock.advance(1)
        counts = [event["count"] for event in events if "count" in event]
        self.assertEqual(counts[:BURST], list(range(1, BURST + 1)))
        self.assertEqual(len(counts), BURST + 24 * PER_SECOND)


class LimitTests(unittest.TestCase):
    def test_open_requests_of_one_asker_and_of_all(self) -> None:
        scene = Scene(max_open_per_asker=2, max_open=4)
        scene.online("a")
        for asker, accepted in (
            (ALICE, True),
            (ALICE, True),
            (ALICE, False),
            (BOB, True),
            ("c@d/e", True),
            ("f@g/h", False),
        ):
            reply = scene.asked(asker=asker)
            self.assertEqual(error_condition(reply), "" if accepted else "resource-constraint", asker)
        self.assertEqual(len(scene.domain.requests), 4)

    def test_another_resource_of_the_asker_counts_too(self) -> None:
        scene = Scene(max_open_per_asker=1)
        scene.online("a")
        scene.asked(asker="alice@example.org/1")
        self.assertEqual(error_condition(scene.asked(asker="alice@example.org/2")), "resource-constraint")

    def test_open_requests_of_one_domain(self) -> None:
        """But for the servers' own: there an account has to be made first."""
        scene = Scene(max_open=8, target=[TARGET, "other@targets.example"], domain=DOMAIN)
        scene.online("a")
        for number in range(4):
            self.assertEqual(error_condition(scene.asked(asker=f"m{number}@evil.example/x")), "")
        events = log_events(self)
        refused = scene.asked(asker="m5@evil.example/x")
        self.assertEqual(error_condition(refused), "resource-constraint")
        (line,) = [formatEvent(event) or "" for event in events if event.get("count")]
        self.assertIn("dropped iq from m5@evil.example/x: too many open requests of one domain (1 so far)", line)
        for asker in ("a@example.org/x", "b@example.org/x", "c@targets.example/x", "d@targets.example/x"):
            self.assertEqual(error_condition(scene.asked(asker=asker)), "", asker)

    def test_rate(self) -> None:
        scene = Scene(rate=1.0, burst=2, max_open_per_asker=1000)
        scene.online("a")
        conditions = [error_condition(scene.asked()) for _ in range(3)]
        self.assertEqual(conditions, ["", "", "resource-constraint"])
        self.assertEqual(scene.domain.dropped["not admitted"], 1)
        self.assertEqual(error_condition(scene.asked(asker=BOB)), "")

    def test_allow_and_deny(self) -> None:
        scene = Scene(allow=["example.org"], deny=["mallory@example.org"])
        scene.online("a")
        for asker, condition in ((ALICE, ""), (BOB, "not-allowed"), ("mallory@example.org/x", "not-allowed")):
            self.assertEqual(error_condition(scene.asked(asker=asker)), condition)


class TimeTests(unittest.TestCase):
    def test_no_answer_in_time(self) -> None:
        scene = Scene(timeout=30.0, ping_after=60.0)
        scene.online("a")
        request = scene.asked()
        scene.pass_time(29)
        self.assertEqual(scene.sent(), [])
        scene.pass_time(1)
        reply = scene.one()
        self.assertEqual((reply["from"], reply["to"], reply["id"]), (DOMAIN, ALICE, "a1"))
        self.assertEqual(error_condition(reply), "remote-server-timeout")
        self.assertEqual(next(reply.elements(COMPONENT, "error"))["type"], "wait")
        scene.answer(request)
        self.assertEqual(scene.sent(), [], "too late")
        self.assertEqual(len(scene.domain.requests), 0)

    def test_a_silent_resource_is_pinged_and_its_gets_go_elsewhere(self) -> None:
        """It looks available, as while its server keeps a broken session for resumption."""
        scene = Scene(policy="sender", ping_after=5.0)
        scene.online("a", "b")
        request = scene.asked()
        setting = scene.asked(kind="set")
        silent, other = request["to"], next(f"{TARGET}/{name}" for name in "ab" if f"{TARGET}/{name}" != request["to"])
        self.assertEqual(setting["to"], silent)
        scene.pass_time(5)
        ping = scene.one()
        self.assertEqual((ping["to"], ping.payloads[0]), (silent, ("urn:xmpp:ping", "ping")))
        scene.pass_time(5)
        again, *pings = scene.sent()
        self.assertEqual((again["to"], again["from"]), (other, f"{DOMAIN}/{ALICE}"))
        self.assertEqual([ping["to"] for ping in pings], [silent])
        self.assertEqual(scene.asked(id="a2")["to"], other, "new ones too")
        scene.answer(request)
        self.assertEqual(scene.sent(), [], "that answer comes too late")
        scene.answer(again)
        self.assertEqual(scene.one()["id"], "a1")
        self.assertEqual(scene.asked(id="a3")["to"], silent, "but shows that it is alive")

    def test_one_that_answers_pings_is_just_slow(self) -> None:
        scene = Scene(ping_after=5.0)
        scene.online("a", "b")
        request = scene.asked()
        for _ in range(3):
            scene.pass_time(5)
            ping = scene.one()
            scene.answer(ping, "error")
        scene.answer(request)
        self.assertEqual(scene.one()["id"], "a1")

    def test_an_idle_resource_is_not_pinged(self) -> None:
        scene = Scene(ping_after=5.0)
        scene.online("a")
        scene.pass_time(100)
        self.assertEqual(scene.sent(), [])


class CountingTests(unittest.TestCase):
    def test_what_becomes_of_requests(self) -> None:
        """Each is counted once; those that the domain asks for itself are not."""
        counted = Counted(REQUESTS)
        scene = Scene(timeout=30.0, ping_after=60.0, max_open=1)
        scene.online("a")
        scene.answer(scene.asked())
        scene.one()
        self.assertEqual(counted.since(), {("answered",): 1})
        scene.asked(kind="set")
        self.assertEqual(error_condition(scene.asked(id="2")), "resource-constraint")
        self.assertEqual(counted.since(), {("answered",): 1, ("refused",): 1})
        scene.offline("a")
        scene.online("a")
        scene.sent()
        scene.asked(id="3")
        scene.pass_time(30)
        self.assertEqual(counted.since(), {("answered",): 1, ("refused",): 1, ("failed",): 1, ("timeout",): 1})


class FailoverTests(unittest.TestCase):
    def test_gets_are_asked_again_elsewhere_and_sets_fail(self) -> None:
        scene = Scene(policy="sender")
        scene.online("a", "b")
        get, set_ = scene.asked(id="g"), scene.asked(id="s", kind="set")
        self.assertEqual(get["to"], set_["to"])
        first = get["to"].partition("/")[2]
        scene.offline(first)
        again, failed = scene.sent()
        self.assertEqual((failed["id"], failed["to"], error_condition(failed)), ("s", ALICE, "recipient-unavailable"))
        self.assertNotEqual(again["to"], get["to"])
        self.assertNotEqual(again["id"], get["id"])
        scene.answer(get)
        self.assertEqual(scene.sent(), [], "what the first one still says is nothing")
        scene.answer(again)
        self.assertEqual(scene.one()["id"], "g")

    def test_one_has_all_askers_until_it_goes(self) -> None:
        scene = Scene(policy="failover")
        scene.online("b")
        scene.online("a")
        first = [scene.asked(id="g"), scene.asked(id="h", asker=BOB)]
        self.assertEqual([request["to"] for request in first], [f"{TARGET}/b"] * 2)
        scene.offline("b")
        self.assertEqual([request["to"] for request in scene.sent()], [f"{TARGET}/a"] * 2)
        scene.online("b")
        self.assertEqual(scene.asked(id="i")["to"], f"{TARGET}/a")

    def test_a_second_try_elsewhere_does_not_move_anybody_else(self) -> None:
        scene = Scene(policy="failover")
        scene.online("b")
        scene.online("a")
        error = "<error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
        scene.answer(scene.asked(id="g"), "error", error)
        self.assertEqual(scene.one()["to"], f"{TARGET}/a")
        self.assertEqual(scene.asked(id="h", asker=BOB)["to"], f"{TARGET}/b")

    def test_once_only(self) -> None:
        scene = Scene(policy="sender")
        scene.online("a", "b", "c")
        request = scene.asked()
        scene.offline(request["to"].partition("/")[2])
        again = scene.one()
        scene.offline(again["to"].partition("/")[2])
        failed = scene.one()
        self.assertEqual((failed["to"], error_condition(failed)), (ALICE, "recipient-unavailable"))

    def test_with_nobody_left(self) -> None:
        scene = Scene()
        scene.online("a")
        scene.pass_time(SETTLING)
        scene.asked()
        scene.offline("a")
        self.assertEqual(error_condition(scene.one()), "recipient-unavailable")

    def test_a_bounce_is_not_an_answer(self) -> None:
        """The server returns what it could not deliver, before it says that the resource is gone."""
        for condition in ("recipient-unavailable", "service-unavailable"):
            scene = Scene(policy="sender")
            scene.online("a", "b")
            bounce = f"<error type='cancel'><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
            get = scene.asked()
            scene.answer(get, "error", QUERY + bounce)
            again = scene.one()
            self.assertEqual((again["type"], {get["to"], again["to"]}), ("get", {f"{TARGET}/a", f"{TARGET}/b"}))
            scene.offline(get["to"].partition("/")[2])
            self.assertEqual(scene.sent(), [], "another has it")
            scene.answer(again, content=QUERY)
            answered = scene.one()
            self.assertEqual((answered["type"], answered["id"], answered["to"]), ("result", "a1", ALICE))
            set_ = scene.asked(kind="set")
            scene.answer(set_, "error", QUERY + bounce)
            self.assertEqual(error_condition(scene.one()), condition)

    def test_what_all_refuse_is_refused(self) -> None:
        """A resource that does not know a request says what a server without the resource says: another is asked."""
        error = "<error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
        for resources in (("a",), ("a", "b"), ("a", "b", "c")):
            scene = Scene()
            scene.online(*resources)
            requests = [scene.asked()]
            for _ in resources[1:2]:
                scene.answer(requests[-1], "error", error)
                requests.append(scene.one())
            scene.answer(requests[-1], "error", error)
            refusal = scene.one()
            self.assertEqual((refusal["to"], error_condition(refusal)), (ALICE, "service-unavailable"))

    def test_an_error_of_the_resource_itself_is_an_answer(self) -> None:
        scene = Scene(policy="sender")
        scene.online("a", "b")
        for condition, namespace in (
            ("item-not-found", "urn:ietf:params:xml:ns:xmpp-stanzas"),
            ("recipient-unavailable", "urn:other"),
        ):
            scene.answer(scene.asked(), "error", f"<error type='wait'><{condition} xmlns='{namespace}'/></error>")
            answer = scene.one()
            self.assertEqual((answer["to"], error_condition(answer)), (ALICE, condition))

    def test_only_what_may_be_sent_again_is_kept(self) -> None:
        scene = Scene()
        scene.online("a")
        scene.asked(id="1", kind="set")
        self.assertEqual(scene.domain.requests._kept, 0)
        get = scene.asked(id="2")
        self.assertGreater(scene.domain.requests._kept, len(QUERY))
        scene.answer(get)
        self.assertEqual(scene.domain.requests._kept, 0)

    def test_a_result_is_an_answer_whatever_it_holds(self) -> None:
        scene = Scene()
        scene.online("a", "b")
        error = "<error><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
        scene.answer(scene.asked(), content=error)
        self.assertEqual((reply := scene.one())["to"], ALICE)
        self.assertEqual(reply["type"], "result")

    def test_what_waits_and_nobody_comes(self) -> None:
        """Who was tried before may come back; where nobody ever was, there is no such service."""
        scene = Scene()
        scene.online("a")
        scene.asked(id="tried")
        scene.proxy.connected()
        scene.ask(id="new")
        scene.sent()
        scene.pass_time(SETTLING - 1)
        self.assertEqual(scene.sent(), [])
        scene.pass_time(1)
        self.assertEqual(
            {reply["id"]: error_condition(reply) for reply in scene.sent() if reply.name == "iq"},
            {"tried": "recipient-unavailable", "new": "service-unavailable"},
        )

    def test_questions_that_nobody_answers_make_no_others(self) -> None:
        """Neither a user's, nor our own pings: only the answer to our question for features is asked for again."""
        scene = Scene(timeout=5, ping_after=2)
        scene.online("a")
        scene.asked(payload="<query xmlns='http://jabber.org/protocol/disco#info' node='x'/>")
        scene.pass_time(20)
        sent = scene.sent()
        self.assertEqual({query.payloads[0][0] for query in sent if query.get("type") == "get"}, {"urn:xmpp:ping"})
        self.assertEqual([error_condition(reply) for reply in sent if reply["to"] == ALICE], ["remote-server-timeout"])

    def test_a_step_that_waits_for_who_takes_nothing_new(self) -> None:
        scene = Scene()
        step = f"<data xmlns='{IBB}' sid='i' seq='0'>eA==</data>"
        scene.ask(kind="set", payload=step)
        scene.online("b", content="<show>dnd</show>")
        scene.receive(f"<iq type='set' id='t' from='{TARGET}/b' to='{DOMAIN}/{ALICE}'>{step}</iq>")
        scene.sent()
        scene.receive(f"<presence from='{TARGET}/a' to='{DOMAIN}'/>")
        self.assertEqual([sent["to"] for sent in scene.sent() if sent.get("type") == "set"], [f"{TARGET}/b"])

    def test_a_get_of_an_exchange_is_for_its_resource_only(self) -> None:
        scene = Scene(policy="sender")
        scene.online("a", "b")
        exchange = "<query xmlns='http://jabber.org/protocol/bytestreams' sid='s1'/>"
        get = scene.asked(payload=exchange)
        scene.offline(get["to"].partition("/")[2])
        failed = scene.one()
        self.assertEqual((failed["to"], error_condition(failed)), (ALICE, "recipient-unavailable"))

    def test_other_resources_are_not_touched(self) -> None:
        scene = Scene(policy="round-robin")
        scene.online("a", "b")
        _, other = scene.asked(id="1"), scene.asked(id="2")
        scene.offline("a")
        self.assertEqual(scene.one()["to"], f"{TARGET}/b")
        self.assertEqual(other["to"], f"{TARGET}/b")
        scene.answer(other)
        self.assertEqual(scene.one()["id"], "2")

    def test_a_new_stream(self) -> None:
        """Answers may be lost with the old one: gets wait for a resource and are asked again, sets fail."""
        scene = Scene()
        scene.online("a")
        request, setting = scene.asked(id="g"), scene.asked(id="s", kind="set")
        scene.proxy.connected()
        sent = scene.sent()
        failed = next(reply for reply in sent if reply.name == "iq")
        self.assertEqual((failed["id"], error_condition(failed)), ("s", "recipient-unavailable"))
        scene.answer(request)
        scene.answer(setting)
        self.assertEqual(scene.sent(), [], "stale resources count for nothing")
        scene.receive(f"<presence from='{TARGET}/b' to='{DOMAIN}'/>")
        again = next(sent for sent in scene.sent() if sent["from"] == f"{DOMAIN}/{ALICE}")
        self.assertEqual(again["to"], f"{TARGET}/b")
        scene.answer(again)
        self.assertEqual(scene.one()["id"], "g")

    def test_a_request_during_the_first_seconds_waits_for_a_resource(self) -> None:
        scene = Scene()
        scene.ask(id="g")
        scene.ask(id="s", kind="set")
        self.assertEqual(scene.sent(), [])
        scene.receive(f"<presence from='{TARGET}/a' to='{DOMAIN}'/>")
        sent = [sent for sent in scene.sent() if sent["from"] == f"{DOMAIN}/{ALICE}"]
        self.assertEqual([request["type"] for request in sent], ["get", "set"])
        for request in sent:
            scene.answer(request)
        self.assertEqual([reply["id"] for reply in scene.sent()], ["g", "s"])

    def test_a_set_that_has_waited_is_sent_once(self) -> None:
        """Whoever got it may have done it."""
        scene = Scene()
        scene.ask(kind="set")
        scene.receive(f"<presence from='{TARGET}/a' to='{DOMAIN}'/>")
        self.assertEqual([sent["to"] for sent in scene.sent() if sent.get("type") == "set"], [f"{TARGET}/a"])
        scene.online("b")
        scene.offline("a")
        answers = [error_condition(sent) for sent in scene.sent() if sent.name == "iq"]
        self.assertEqual(answers, ["recipient-unavailable"])

    def test_an_exchange_that_has_waited_begins(self) -> None:
        scene = Scene()
        scene.ask(kind="set", payload=f"<open xmlns='{IBB}' sid='i1' block-size='9'/>")
        scene.receive(f"<presence from='{TARGET}/a' to='{DOMAIN}'/>")
        self.assertEqual([sent["to"] for sent in scene.sent() if sent.get("type") == "set"], [f"{TARGET}/a"])

    def test_and_not_for_longer(self) -> None:
        scene = Scene()
        scene.ask()
        scene.pass_time(SETTLING)
        self.assertEqual(error_condition(scene.one()), "service-unavailable")

    def test_nor_once_a_resource_has_come(self) -> None:
        scene = Scene()
        scene.online("a")
        scene.offline("a")
        scene.sent()
        self.assertEqual(error_condition(scene.asked()), "service-unavailable")

    def test_stopping_leaves_nobody_waiting(self) -> None:
        scene = Scene()
        scene.online("a")
        scene.asked()
        scene.proxy.stopping()
        self.assertEqual(error_condition(scene.one()), "recipient-unavailable")


class ExchangeTests(unittest.TestCase):
    def command(self, scene: Scene, session: str = "", asker: str = ALICE) -> None:
        attribute = f" sessionid='{session}'" if session else ""
        scene.ask(asker=asker, kind="set", payload=f"<command xmlns='{COMMANDS}' node='x'{attribute}/>")

    def test_a_command_stays_with_its_resource(self) -> None:
        scene = Scene(policy="round-robin")
        scene.online("a", "b", "c")
        for _ in range(3):
            self.command(scene)
            first = scene.one()
            reply = f"<command xmlns='{COMMANDS}' node='x' sessionid='{first['to']}' status='executing'/>"
            scene.answer(first, content=reply)
            scene.sent()
            for _ in range(4):
                self.command(scene, first["to"])
                step = scene.one()
                self.assertEqual(step["to"], first["to"])
                scene.answer(step, content=reply)
                scene.sent()

    def test_one_that_is_completed_is_forgotten(self) -> None:
        scene = Scene()
        scene.online("a")
        self.command(scene)
        reply = f"<command xmlns='{COMMANDS}' node='x' sessionid='s' status='completed'/>"
        scene.answer(scene.one(), content=reply)
        self.assertEqual(len(scene.domain.sessions), 0)

    def test_one_that_ends_after_some_steps_is_forgotten(self) -> None:
        for status in ("completed", "canceled"):
            scene = Scene()
            scene.online("a")
            for step, said in enumerate(("executing", "executing", status)):
                self.assertEqual(len(scene.domain.sessions), min(step, 1))
                self.command(scene, "s" if step else "")
                reply = f"<command xmlns='{COMMANDS}' node='x' sessionid='s' status='{said}'/>"
                scene.answer(scene.one(), content=reply)
                scene.sent()
            self.assertEqual(len(scene.domain.sessions), 0)

    def test_an_answer_that_names_no_session(self) -> None:
        scene = Scene()
        scene.online("a")
        self.command(scene)
        scene.answer(scene.one(), content=f"<command xmlns='{COMMANDS}' node='x' status='executing'/>")
        self.assertEqual(len(scene.domain.sessions), 0)

    def test_somebody_elses_session_is_not_joined(self) -> None:
        scene = Scene(policy="round-robin")
        scene.online("a", "b")
        self.command(scene)
        scene.answer(scene.one(), content=f"<command xmlns='{COMMANDS}' node='x' sessionid='s' status='executing'/>")
        scene.sent()
        self.command(scene, "s", asker=BOB)
        self.assertEqual(scene.one()["to"], f"{TARGET}/b", "by the policy")

    def test_the_next_step_after_its_resource_died(self) -> None:
        scene = Scene(policy="round-robin")
        scene.online("a", "b")
        self.command(scene)
        scene.answer(scene.one(), content=f"<command xmlns='{COMMANDS}' node='x' sessionid='s' status='executing'/>")
        scene.offline("a")
        scene.sent()
        for _ in range(2):
            self.command(scene, "s")
            self.assertEqual(error_condition(scene.one()), "recipient-unavailable")
        self.command(scene)
        self.assertEqual(scene.one()["to"], f"{TARGET}/b", "a new one may begin")

    def test_a_resource_that_takes_no_new_requests_finishes_its_exchanges(self) -> None:
        scene = Scene(policy="round-robin")
        scene.online("a", "b")
        self.command(scene)
        scene.answer(scene.one(), content=f"<command xmlns='{COMMANDS}' node='x' sessionid='s' status='executing'/>")
        scene.online("a", content="<show>dnd</show>")
        self.command(scene, "s")
        self.assertEqual(scene.one()["to"], f"{TARGET}/a")

    def test_a_bytestream_stays_with_its_resource(self) -> None:
        scene = Scene(policy="round-robin")
        scene.online("a", "b", "c")
        opened = scene.asked(kind="set", payload=f"<open xmlns='{IBB}' sid='i1' block-size='9'/>")
        for _ in range(5):
            data = scene.asked(kind="set", payload=f"<data xmlns='{IBB}' sid='i1' seq='0'>eA==</data>")
            self.assertEqual(data["to"], opened["to"])

    def test_a_bytestream_that_the_target_opens_stays_with_it(self) -> None:
        scene = Scene(policy="round-robin")
        scene.online("a", "b", "c")
        scene.receive(
            f"<iq type='set' id='o' from='{TARGET}/b' to='{DOMAIN}/{ALICE}'>"
            f"<open xmlns='{IBB}' sid='i2' block-size='9'/></iq>"
        )
        scene.sent()
        for _ in range(3):
            data = scene.asked(kind="set", payload=f"<data xmlns='{IBB}' sid='i2' seq='0'>eA==</data>")
            self.assertEqual(data["to"], f"{TARGET}/b")

    def test_one_that_was_opened_by_whom_nobody_has_seen(self) -> None:
        """A resource may ask without being available; then it cannot be reached."""
        scene = Scene()
        scene.online("a")
        content = f"<open xmlns='{IBB}' sid='i2' block-size='9'/>"
        scene.receive(f"<iq type='set' id='o' from='{TARGET}/ghost' to='{DOMAIN}/{ALICE}'>{content}</iq>")
        scene.sent()
        data = scene.asked(kind="set", payload=f"<data xmlns='{IBB}' sid='i2' seq='0'>eA==</data>")
        self.assertEqual(error_condition(data), "recipient-unavailable")

    def test_what_belongs_to_none_is_not_remembered(self) -> None:
        scene = Scene()
        scene.online("a")
        scene.answer(scene.asked(), content=QUERY)
        scene.sent()
        self.assertEqual(len(scene.domain.sessions), 0)


class TargetInitiatesTests(unittest.TestCase):
    def ask(self, scene: Scene, to: str, name: str = "b", id: str = "t1") -> None:
        scene.receive(f"<iq type='get' id='{id}' from='{TARGET}/{name}' to='{to}'>{QUERY}</iq>")

    def test_there_and_back_to_the_very_resource(self) -> None:
        scene = Scene()
        scene.online("a", "b", "c")
        self.ask(scene, f"{DOMAIN}/{BOB}")
        request = scene.one()
        self.assertEqual((request["from"], request["to"]), (DOMAIN, BOB))
        scene.answer(request)
        reply = scene.one()
        self.assertEqual((reply["from"], reply["to"], reply["id"]), (f"{DOMAIN}/{BOB}", f"{TARGET}/b", "t1"))

    def test_two_resources_with_the_same_id(self) -> None:
        scene = Scene()
        scene.online("a", "b")
        self.ask(scene, f"{DOMAIN}/{BOB}", "a")
        self.ask(scene, f"{DOMAIN}/{BOB}", "b")
        one, other = scene.sent()
        scene.answer(other)
        scene.answer(one)
        self.assertEqual([reply["to"] for reply in scene.sent()], [f"{TARGET}/b", f"{TARGET}/a"])

    def test_by_token_and_by_contact(self) -> None:
        scene = Scene()
        scene.online("b")
        long = "alice@example.org/" + "x" * 1023
        for jid, address in (
            (long, scene.domain.translator.address_of(long)),
            ("alice@example.org", scene.domain.translator.contact_of("alice@example.org")),
        ):
            self.ask(scene, address)
            self.assertEqual(scene.one()["to"], jid)

    def test_what_a_user_answers_is_not_translated(self) -> None:
        scene = Scene()
        scene.online("b")
        self.ask(scene, f"{DOMAIN}/{BOB}")
        content = f"<query xmlns='http://jabber.org/protocol/disco#items'><item jid='{TARGET}/a'/></query>"
        scene.answer(scene.one(), content=content)
        self.assertIn(content.encode(), scene.one().raw)

    def test_another_asker_is_gone(self) -> None:
        scene = Scene()
        scene.online("a", "b")
        self.ask(scene, f"{DOMAIN}/{BOB}")
        request = scene.one()
        scene.offline("a")
        scene.sent()
        scene.answer(request)
        self.assertEqual(scene.one()["to"], f"{TARGET}/b")

    def test_to_nobody(self) -> None:
        scene = Scene(deny=["example.net"])
        scene.online("a", "b")
        for to, condition in (
            (f"{DOMAIN}/@abc", "item-not-found"),
            (f"{DOMAIN}/a@", "item-not-found"),
            (f"{DOMAIN}/{DOMAIN}", "not-allowed"),
            (f"{DOMAIN}/{DOMAIN}/{ALICE}", "not-allowed"),
            (f"{DOMAIN}/{TARGET}/a", "not-allowed"),
            (f"{DOMAIN}/{BOB}", "not-allowed"),
            (DOMAIN, "bad-request"),
        ):
            self.ask(scene, to)
            self.assertEqual(error_condition(scene.one()), condition, to)

    def test_a_stranger_does_not_answer_for_the_user(self) -> None:
        scene = Scene()
        scene.online("b")
        self.ask(scene, f"{DOMAIN}/{BOB}")
        request = scene.one()
        for sender in (ALICE, "bob@example.net", "bob@example.net/other", f"{TARGET}/b"):
            scene.answer(request, changes={"from": sender})
        self.assertEqual(scene.sent(), [])

    def test_no_answer_in_time_and_no_asker_left(self) -> None:
        scene = Scene(timeout=10.0)
        scene.online("a", "b")
        self.ask(scene, f"{DOMAIN}/{BOB}")
        scene.sent()
        scene.pass_time(10)
        reply = scene.one()
        self.assertEqual((reply["to"], error_condition(reply)), (f"{TARGET}/b", "remote-server-timeout"))
        self.ask(scene, f"{DOMAIN}/{BOB}")
        request = scene.one()
        scene.offline("b")
        scene.answer(request)
        self.assertEqual(scene.sent(), [])
        self.assertEqual(len(scene.domain.requests), 0)


class DiscoItemsTests(unittest.TestCase):
    def test_items_of_the_target_are_the_domains(self) -> None:
        scene = Scene()
        scene.online("a")
        request = scene.asked(payload=f"<query xmlns='http://jabber.org/protocol/disco#items' node='{COMMANDS}'/>")
        scene.answer(
            request,
            content=f"<query xmlns='http://jabber.org/protocol/disco#items' node='{COMMANDS}'>"
            f"<item jid='{TARGET}/a' node='x' name='&lt;X&gt;'/><item jid='{TARGET}' node='y'/>"
            "<item jid='room@elsewhere.example'/><item jid='@'/></query>",
        )
        reply = scene.one()
        query = reply.payload("http://jabber.org/protocol/disco#items", "query")
        assert query is not None
        self.assertEqual(
            [item.getAttribute("jid") for item in query.elements()], [DOMAIN, DOMAIN, "room@elsewhere.example", "@"]
        )
        self.assertEqual((reply["from"], reply["to"], reply["id"]), (DOMAIN, ALICE, "a1"))
        self.assertEqual(next(query.elements()).getAttribute("name"), "<X>")
        self.assertEqual(reply.uri, COMPONENT)

    def test_an_error_is_passed_on_as_it_is(self) -> None:
        scene = Scene()
        scene.online("a")
        query = f"<query xmlns='http://jabber.org/protocol/disco#items'><item jid='{TARGET}/a'/></query>"
        request = scene.asked(payload="<query xmlns='http://jabber.org/protocol/disco#items'/>")
        error = "<error type='modify'><bad-request xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
        scene.answer(request, kind="error", content=query + error)
        self.assertIn(f"<item jid='{TARGET}/a'/>".encode(), scene.one().raw)


class OneAnswerTests(unittest.TestCase):
    """Any course of events: exactly one answer for each request, and nothing left behind."""

    events = st.lists(
        st.tuples(
            st.sampled_from(["get", "set", "come", "go", "answer", "refuse", "bounce", "wait", "reconnect"]),
            st.integers(0, 9),
        ),
        max_size=60,
    )

    @settings(max_examples=examples(150))
    @given(events, st.sampled_from(["random", "round-robin", "least-outstanding", "sender", "failover"]))
    def test_one_answer_each(self, events: list[tuple[str, int]], policy: str) -> None:
        scene = Scene(policy=policy, timeout=20.0, max_open=8, max_open_per_asker=5)
        world = World(scene)
        for event, number in events:
            world.happen(event, number)
        scene.pass_time(60)
        world.collect()
        self.assertEqual(world.answers, dict.fromkeys(world.asked, 1))
        self.assertEqual([request for request in scene.domain.requests.all() if request.asker], [])


_BOUNCES = ("recipient-unavailable", "service-unavailable")


class World:
    """Users and resources around a scene, played by hypothesis."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.asked: list[tuple[str, str]] = []
        self.answers: dict[tuple[str, str], int] = {}
        self.waiting: list[Stanza] = []

    def happen(self, event: str, number: int) -> None:
        scene = self.scene
        match event:
            case "get" | "set":
                asker = (ALICE, BOB, "carol@example.com/x")[number % 3]
                self.asked.append((asker, f"{event}{len(self.asked)}"))
                scene.ask(asker=asker, id=self.asked[-1][1], kind=event)
            case "come":
                scene.receive(f"<presence from='{TARGET}/{number % 3}' to='{DOMAIN}'/>")
            case "go":
                scene.offline(str(number % 3))
            case "answer" | "refuse" | "bounce":
                self.reply(event, number)
            case "wait":
                scene.pass_time(number)
            case "reconnect":
                scene.proxy.connected()
        self.collect()

    def reply(self, event: str, number: int) -> None:
        if not self.waiting:
            return
        request = self.waiting.pop(number % len(self.waiting))
        name = {"refuse": "item-not-found", "bounce": _BOUNCES[number % 2]}.get(event)
        error = f"<error type='wait'><{name} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>" if name else ""
        self.scene.answer(request, "error" if name else "result", error)

    def collect(self) -> None:
        for sent in self.scene.sent():
            if sent.name == "iq" and sent["type"] in ("get", "set"):
                self.waiting.append(sent)
            elif sent.name == "iq":
                key = sent["to"], sent["id"]
                self.answers[key] = self.answers.get(key, 0) + 1


class HelperTests(unittest.TestCase):
    def test_stanzas_are_read_in_the_component_namespace(self) -> None:
        self.assertEqual(stanza("<iq/>").uri, COMPONENT)
