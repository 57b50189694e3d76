"""What an account's own clients ask of it: commands, service discovery, and the server's lists with ours added."""

from enum import Enum

from twisted.internet.task import Clock
from twisted.trial import unittest
from twisted.words.xish import domish

from minimixproxy.minimix import answers, listings, ownercommands
from minimixproxy.minimix.commandforms import NS_DATA
from minimixproxy.minimix.commands import NS_COMMANDS
from minimixproxy.minimix.owner import LIST_NAME, Owner
from minimixproxy.stanza import Stanza, parse_stanza
from tests.minimix.fakes import BARE, STREAM, FakeSession

DOMAIN = "a.test"
INFO, ITEMS = "http://jabber.org/protocol/disco#info", "http://jabber.org/protocol/disco#items"
ALL_NODES = ["rooms", "leave", "detach", "forget"]


class FakeState(Enum):
    JOINED = "joined"
    INTERRUPTED = "interrupted"
    LEAVING = "leaving"


class FakeRoom:
    def __init__(self, room: str, *attached: FakeSession, bookmarked: bool = False, messages: int = 0) -> None:
        self.room = room
        self.nick = "alice"
        self.state: Enum = FakeState.JOINED
        self.attached = list(attached)
        self.bookmarked = bookmarked
        self.messages_kept = messages


class FakeAccount:
    """An account that does at once what it is told; `log` has it."""

    def __init__(self, clock: Clock) -> None:
        self.rooms: dict[str, FakeRoom] = {}
        self.sessions: dict[FakeSession, None] = {}
        self.log: list[tuple[object, ...]] = []
        self._clock = clock

    def session(self, resource: str) -> FakeSession:
        session = FakeSession(resource, self._clock)
        self.sessions[session] = None
        return session

    def add(self, room: FakeRoom) -> None:
        self.rooms[room.room] = room

    def leave(self, room: str) -> None:
        self.log.append(("leave", room))
        del self.rooms[room]

    def detach_device(self, session: FakeSession, room: "str | None") -> None:
        self.log.append(("detach", session.jid.partition("/")[2], room))

    def forget(self) -> None:
        self.log.append(("forget",))


class OwnerCase(unittest.SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.account = FakeAccount(self.clock)
        self.owner = Owner(self.account, BARE, lambda: STREAM, self.clock)
        self.phone = self.account.session("phone")
        self.laptop = self.account.session("laptop")

    def in_rooms(self) -> None:
        self.account.add(FakeRoom("one@muc.test", self.phone, self.laptop, bookmarked=True, messages=12))
        self.account.add(FakeRoom("two@muc.test", self.laptop, messages=1))
        self.account.add(FakeRoom("three@muc.test"))

    def asks(
        self, payload: str, kind: str = "get", to: "str | None" = STREAM, session: "FakeSession | None" = None
    ) -> "Stanza | None":
        """Return the answer; None if the IQ passes."""
        session = session or self.phone
        address = f" to='{to}'" if to is not None else ""
        taken = self.owner.from_client(session, parse_stanza(f"<iq type='{kind}' id='q'{address}>{payload}</iq>"))
        received = session.take()
        self.assertEqual(len(received), int(taken))
        return received[0] if received else None

    def answer(self, payload: str, kind: str = "get", to: str = STREAM) -> Stanza:
        answer = self.asks(payload, kind, to)
        assert answer is not None
        self.assertEqual((answer["from"], answer["to"], answer["id"]), (to, self.phone.jid, "q"))
        return answer

    def run_command(self, node: str, *steps: "dict[str, str]", session: "FakeSession | None" = None) -> domish.Element:
        """Execute, then submit each step by the default action; return the last `<command/>`."""
        session = session or self.phone
        element = self.command(f"<command xmlns='{NS_COMMANDS}' node='{node}'/>", session)
        for step in steps:
            fields = "".join(
                f"<field var='{var}'>{''.join(f'<value>{one}</value>' for one in value.split())}</field>"
                for var, value in step.items()
                if var != "action"
            )
            action = f" action='{step['action']}'" if "action" in step else ""
            element = self.command(
                f"<command xmlns='{NS_COMMANDS}' node='{node}' sessionid='{element['sessionid']}'{action}>"
                f"<x xmlns='{NS_DATA}' type='submit'>{fields}</x></command>",
                session,
            )
        return element

    def command(self, xml: str, session: FakeSession) -> domish.Element:
        answer = self.asks(xml, "set", session=session)
        assert answer is not None
        found = answer.payload(NS_COMMANDS, "command")
        self.assertIsNotNone(found, answer.raw)
        return found


def items(stanza: Stanza) -> "list[tuple[str | None, ...]]":
    query = stanza.payload(ITEMS, "query")
    assert query is not None
    return [tuple(item.getAttribute(key) for key in ("jid", "node", "name")) for item in query.elements(ITEMS, "item")]


def options(element: domish.Element, var: str) -> "list[tuple[str, str]]":
    (form,) = element.elements(NS_DATA, "x")
    (field,) = [field for field in form.elements(NS_DATA, "field") if field.getAttribute("var") == var]
    return [(str(option.value), option["label"]) for option in field.elements(NS_DATA, "option")]


class RoomsTests(OwnerCase):
    def test_none(self) -> None:
        element = self.run_command("rooms")
        self.assertEqual((element["status"], str(element.note)), ("completed", "The account is in no room."))

    def test_table_and_note(self) -> None:
        self.in_rooms()
        self.account.rooms["two@muc.test"].state = FakeState.INTERRUPTED
        element = self.run_command("rooms")
        (form,) = element.elements(NS_DATA, "x")
        rows = [[str(field.value) for field in item.elements()] for item in form.elements(NS_DATA, "item")]
        self.assertEqual(
            rows,
            [
                ["one@muc.test", "alice", "joined", "yes", "laptop, phone", "12"],
                ["three@muc.test", "alice", "joined", "no", "", "0"],
                ["two@muc.test", "alice", "interrupted", "no", "laptop", "1"],
            ],
        )
        self.assertEqual(
            str(element.note).splitlines(),
            [
                "The account is in 3 rooms.",
                "one@muc.test as alice: joined, laptop, phone, 12 messages, bookmarked",
                "three@muc.test as alice: joined, no device, 0 messages",
                "two@muc.test as alice: interrupted, laptop, 1 message",
            ],
        )

    def test_many(self) -> None:
        for number in range(ownercommands.MAX_SHOWN + 1):
            self.account.add(FakeRoom(f"{number:04}@muc.test"))
        element = self.run_command("rooms")
        (form,) = element.elements(NS_DATA, "x")
        self.assertEqual(len(list(form.elements(NS_DATA, "item"))), ownercommands.MAX_SHOWN)
        lines = str(element.note).splitlines()
        self.assertEqual(len(lines), ownercommands.MAX_NOTED + 2)
        self.assertEqual(lines[-1], f"And {ownercommands.MAX_SHOWN + 1 - ownercommands.MAX_NOTED} more.")

    def test_being_left(self) -> None:
        self.in_rooms()
        self.account.rooms["two@muc.test"].state = FakeState.LEAVING
        self.assertNotIn("two@muc.test", str(self.run_command("rooms").note))
        self.assertEqual(
            [room for room, _label in options(self.run_command("leave"), "rooms")], ["one@muc.test", "three@muc.test"]
        )

    def test_signs(self) -> None:
        self.account.add(FakeRoom("b&amp;<w>@muc.test"))
        self.assertIn("b&amp;<w>@muc.test", str(self.run_command("rooms").note))


class LeaveTests(OwnerCase):
    def test_some(self) -> None:
        self.in_rooms()
        element = self.run_command("leave")
        self.assertEqual([room for room, _label in options(element, "rooms")], sorted(self.account.rooms))
        element = self.run_command("leave", {"rooms": "two@muc.test one@muc.test"})
        self.assertEqual(self.account.log, [("leave", "two@muc.test"), ("leave", "one@muc.test")])
        self.assertEqual(element["status"], "completed")
        self.assertEqual(str(element.note), "The account leaves 2 rooms: two@muc.test, one@muc.test.")

    def test_none_to_leave(self) -> None:
        self.assertEqual(self.run_command("leave")["status"], "completed")

    def test_left_meanwhile(self) -> None:
        self.in_rooms()
        element = self.command(f"<command xmlns='{NS_COMMANDS}' node='leave'/>", self.phone)
        self.account.rooms.clear()
        element = self.command(
            f"<command xmlns='{NS_COMMANDS}' node='leave' sessionid='{element['sessionid']}'>"
            f"<x xmlns='{NS_DATA}' type='submit'><field var='rooms'><value>two@muc.test</value></field></x></command>",
            self.phone,
        )
        self.assertEqual(str(element.note), "The account was in none of these rooms any more.")
        self.assertEqual(self.account.log, [])


class DetachTests(OwnerCase):
    def test_from_all_rooms(self) -> None:
        self.in_rooms()
        element = self.run_command("detach", {"device": f"{BARE}/laptop", "action": "complete"})
        self.assertEqual(self.account.log, [("detach", "laptop", None)])
        self.assertEqual(str(element.note), "laptop is detached from 2 rooms: one@muc.test, two@muc.test.")

    def test_devices_on_offer(self) -> None:
        self.in_rooms()
        self.account.session("tablet")
        self.assertEqual(
            options(self.run_command("detach"), "device"),
            [(f"{BARE}/laptop", "laptop, in 2 rooms"), (f"{BARE}/phone", "phone (this device), in 1 room")],
        )

    def test_from_one_room(self) -> None:
        self.in_rooms()
        element = self.run_command("detach", {"device": f"{BARE}/laptop"})
        self.assertEqual([room for room, _label in options(element, "room")], ["*", "one@muc.test", "two@muc.test"])
        element = self.run_command("detach", {"device": f"{BARE}/laptop"}, {"room": "two@muc.test"})
        self.assertEqual(self.account.log, [("detach", "laptop", "two@muc.test")])
        self.assertEqual(str(element.note), "laptop is detached from two@muc.test.")

    def test_from_all_rooms_in_two_steps(self) -> None:
        self.in_rooms()
        self.run_command("detach", {"device": f"{BARE}/laptop"}, {"room": "*"})
        self.assertEqual(self.account.log, [("detach", "laptop", None)])

    def test_none_to_detach(self) -> None:
        self.account.add(FakeRoom("three@muc.test"))
        self.assertEqual(str(self.run_command("detach").note), "No device is in a room.")

    def test_gone_meanwhile(self) -> None:
        self.in_rooms()
        element = self.command(f"<command xmlns='{NS_COMMANDS}' node='detach'/>", self.phone)
        del self.account.sessions[self.laptop]
        for action, expected in (
            ("complete", "That device is not there any more."),
            ("next", "That device is in no room any more."),
        ):
            self.account.sessions[self.laptop] = None
            element = self.command(f"<command xmlns='{NS_COMMANDS}' node='detach'/>", self.phone)
            del self.account.sessions[self.laptop]
            element = self.command(
                f"<command xmlns='{NS_COMMANDS}' node='detach' sessionid='{element['sessionid']}' action='{action}'>"
                f"<x xmlns='{NS_DATA}' type='submit'><field var='device'><value>{BARE}/laptop</value></field></x>"
                "</command>",
                self.phone,
            )
            self.assertEqual(str(element.note), expected)
        self.assertEqual(self.account.log, [])


class ForgetTests(OwnerCase):
    def test_confirmed(self) -> None:
        self.in_rooms()
        element = self.run_command("forget", {"confirm": "1"})
        self.assertEqual(self.account.log, [("forget",)])
        self.assertEqual((element["status"], element.note["type"]), ("completed", "info"))

    def test_not_confirmed(self) -> None:
        for step in ({"confirm": "0"}, {}):
            element = self.run_command("forget", step)
            self.assertEqual((element["status"], element.note["type"]), ("completed", "error"))
        self.assertEqual(self.account.log, [])


class WhoMayTests(OwnerCase):
    def test_everything_else_passes(self) -> None:
        command = f"<command xmlns='{NS_COMMANDS}' node='rooms'/>"
        for payload, kind, to in (
            (command, "set", f"{BARE}/other"),
            (command, "set", "bob@a.test"),
            (command, "set", DOMAIN),
            (command, "set", None),
            (command, "set", "bob@a.test/minimix.0123"),
            (f"<command xmlns='{NS_COMMANDS}' node='of-the-server'/>", "set", BARE),
            ("<ping xmlns='urn:xmpp:ping'/>", "get", BARE),
            ("<ping xmlns='urn:xmpp:ping'/>", "result", STREAM),
            ("<ping xmlns='urn:xmpp:ping'/>", "get", "@"),
        ):
            self.assertIsNone(self.asks(payload, kind, to), (payload, to))

    def test_our_commands_at_the_bare_jid(self) -> None:
        """profanity executes at the address that it asked for the list."""
        answer = self.answer(f"<command xmlns='{NS_COMMANDS}' node='rooms'/>", "set", BARE)
        self.assertEqual(answer["type"], "result")

    def test_addresses_are_compared_prepared(self) -> None:
        self.assertIsNotNone(self.asks("<ping xmlns='urn:xmpp:ping'/>", to=STREAM.replace("alice@a", "ALICE@A")))

    def test_wrong_from(self) -> None:
        iq = parse_stanza(f"<iq type='get' id='q' to='{STREAM}' from='bob@a.test'><ping xmlns='urn:xmpp:ping'/></iq>")
        self.assertTrue(self.owner.from_client(self.phone, iq))
        self.assertEqual((self.phone.closed, self.phone.received), ("invalid-from", []))

    def test_a_session_that_is_gone_has_no_exchange(self) -> None:
        self.in_rooms()
        element = self.run_command("leave")
        self.owner.session_closed(self.phone)
        answer = self.answer(
            f"<command xmlns='{NS_COMMANDS}' node='leave' sessionid='{element['sessionid']}' action='cancel'/>", "set"
        )
        self.assertEqual(answer["type"], "error")


class DiscoveryTests(OwnerCase):
    def info(self, node: str = "") -> "tuple[list[tuple[str, str]], list[str]]":
        attribute = f" node='{node}'" if node else ""
        query = self.answer(f"<query xmlns='{INFO}'{attribute}/>").payload(INFO, "query")
        assert query is not None
        self.assertEqual(query.getAttribute("node", ""), node)
        identities = [(identity["category"], identity["type"]) for identity in query.elements(INFO, "identity")]
        return identities, [feature["var"] for feature in query.elements(INFO, "feature")]

    def test_itself(self) -> None:
        identities, features = self.info()
        self.assertEqual(identities, [("client", "pc")])
        self.assertEqual(features, sorted((*answers.FEATURES, NS_COMMANDS, ITEMS)))

    def test_caps_stand_for_what_everybody_gets(self) -> None:
        identities, features = self.info(f"{answers.NODE}#{answers.VERIFICATION}")
        self.assertEqual((identities, features), ([("client", "pc")], list(answers.FEATURES)))

    def test_nodes(self) -> None:
        self.assertEqual(self.info(NS_COMMANDS), ([("automation", "command-list")], [NS_COMMANDS]))
        for node in ALL_NODES:
            self.assertEqual(self.info(node), ([("automation", "command-node")], [NS_COMMANDS, NS_DATA]))

    def test_unknown_node(self) -> None:
        for query in (INFO, ITEMS):
            answer = self.answer(f"<query xmlns='{query}' node='unheard-of'/>")
            self.assertEqual(answer["type"], "error")
            self.assertIn(b"item-not-found", answer.raw)

    def test_items(self) -> None:
        self.assertEqual(items(self.answer(f"<query xmlns='{ITEMS}'/>")), [(STREAM, NS_COMMANDS, LIST_NAME)])
        listed = items(self.answer(f"<query xmlns='{ITEMS}' node='{NS_COMMANDS}'/>"))
        self.assertEqual([(jid, node) for jid, node, _name in listed], [(STREAM, node) for node in ALL_NODES])
        self.assertEqual(items(self.answer(f"<query xmlns='{ITEMS}' node='rooms'/>")), [])

    def test_others(self) -> None:
        self.assertEqual(self.answer("<ping xmlns='urn:xmpp:ping'/>")["type"], "result")
        self.assertIn(b"minimixproxy", self.answer("<query xmlns='jabber:iq:version'/>").raw)
        for kind in ("get", "set"):
            self.assertIn(b"service-unavailable", self.answer("<x xmlns='urn:x'/>", kind).raw)


class ListingsTests(OwnerCase):
    """A client asks its server for items; what it is given has ours."""

    def server(self, xml: str, session: "FakeSession | None" = None) -> "Stanza | None":
        """What the client gets in place of what the server sent; None: that itself."""
        session = session or self.phone
        changed = self.owner.from_server(session, parse_stanza(xml))
        received = session.take()
        self.assertEqual(len(received), int(changed))
        return received[0] if received else None

    def asks_for_items(self, to: "str | None", node: str = "") -> None:
        attribute = f" node='{node}'" if node else ""
        self.assertIsNone(self.asks(f"<query xmlns='{ITEMS}'{attribute}/>", to=to))

    def result(self, sender: "str | None", inner: str = "", node: str = "", stanza_id: str = "q") -> "Stanza | None":
        source = f" from='{sender}'" if sender else ""
        attribute = f" node='{node}'" if node else ""
        return self.server(
            f"<iq type='result' id='{stanza_id}'{source} to='{self.phone.jid}'>"
            f"<query xmlns='{ITEMS}'{attribute}>{inner}</query></iq>"
        )

    def error(self, sender: str, condition: str) -> "Stanza | None":
        return self.server(
            f"<iq type='error' id='q' from='{sender}' to='{self.phone.jid}'>"
            f"<error type='cancel'><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
        )

    def test_commands_are_added(self) -> None:
        own = [(STREAM, node) for node in ALL_NODES]
        for asked, sender in (
            (DOMAIN, DOMAIN),
            (BARE, BARE),
            (None, BARE),
            (None, None),
            (BARE, None),
            (None, self.phone.jid),
            ("A.TEST", "a.test"),
            (BARE.upper(), BARE),
        ):
            self.asks_for_items(asked, NS_COMMANDS)
            answer = self.result(sender, f"<item jid='{DOMAIN}' node='uptime' name='Up &amp; time'/>", NS_COMMANDS)
            assert answer is not None
            listed = items(answer)
            self.assertEqual([(jid, node) for jid, node, _name in listed[:-1]], own, asked)
            self.assertEqual(listed[-1], (DOMAIN, "uptime", "Up & time"))
            self.assertEqual((answer.get("from"), answer["to"], answer["id"]), (sender, self.phone.jid, "q"))
            self.assertEqual(len(self.owner.listings), 0)

    def test_where_the_list_begins(self) -> None:
        self.asks_for_items(DOMAIN)
        answer = self.result(DOMAIN, "<item jid='muc.a.test'/>")
        assert answer is not None
        self.assertEqual(items(answer), [(STREAM, NS_COMMANDS, LIST_NAME), ("muc.a.test", None, None)])

    def test_all_else_keeps_its_bytes(self) -> None:
        for before, after in (
            (
                f"<iq id='q' from='{DOMAIN}'  type='result'>\n <query xmlns = '{ITEMS}' >",
                '<item jid="b"/></query> </iq>',
            ),
            (
                f"<iq id='q' from='{DOMAIN}' type='result'><d:query xmlns:d='{ITEMS}'>",
                "<d:item jid='b'/></d:query></iq>",
            ),
        ):
            self.asks_for_items(DOMAIN)
            answer = self.server(before + after)
            assert answer is not None
            self.assertTrue(answer.raw.startswith(before.encode()) and answer.raw.endswith(after.encode()), answer.raw)
            self.assertEqual([jid for jid, _node, _name in items(answer)], [STREAM, "b"])

    def test_empty_lists(self) -> None:
        for query in (
            f"<query xmlns='{ITEMS}'/>",
            f"<d:query xmlns:d='{ITEMS}' />",
            f"<query xmlns='{ITEMS}'></query>",
        ):
            self.asks_for_items(DOMAIN)
            answer = self.server(f"<iq id='q' from='{DOMAIN}' type='result'>{query}</iq>")
            assert answer is not None
            self.assertEqual(items(answer), [(STREAM, NS_COMMANDS, LIST_NAME)])

    def test_in_place_of_errors(self) -> None:
        for condition in ("service-unavailable", "item-not-found", "feature-not-implemented", "forbidden"):
            self.asks_for_items(BARE, NS_COMMANDS)
            answer = self.error(BARE, condition)
            assert answer is not None
            self.assertEqual((answer["type"], answer["from"], answer["id"]), ("result", BARE, "q"))
            self.assertEqual([node for _jid, node, _name in items(answer)], ALL_NODES)
            self.assertEqual(answer.payload(ITEMS, "query")["node"], NS_COMMANDS)

    def test_other_errors_pass(self) -> None:
        self.asks_for_items(DOMAIN, NS_COMMANDS)
        self.assertIsNone(self.error(DOMAIN, "remote-server-timeout"))
        self.assertEqual(len(self.owner.listings), 0)

    def test_answers_of_others(self) -> None:
        """On another session, from another address, under another id: not the answer."""
        self.asks_for_items(DOMAIN)
        xml = f"<iq type='result' id='q' from='{DOMAIN}'><query xmlns='{ITEMS}'/></iq>"
        self.assertIsNone(self.server(xml, self.laptop))
        for sender in (None, BARE, "b.test", "muc.a.test", f"{DOMAIN}/x", "@"):
            self.assertIsNone(self.result(sender), sender)
        self.assertIsNone(self.result(DOMAIN, stanza_id="r"))
        self.assertIsNone(self.server(f"<iq type='get' id='q' from='{DOMAIN}'><query xmlns='{ITEMS}'/></iq>"))
        self.assertIsNotNone(self.result(DOMAIN))
        self.assertIsNone(self.result(DOMAIN), "only once")

    def test_answers_to_the_account(self) -> None:
        self.asks_for_items(None)
        self.assertIsNone(self.result(DOMAIN))
        self.assertIsNone(self.result(self.laptop.jid))

    def test_what_is_not_remembered(self) -> None:
        page = "<set xmlns='http://jabber.org/protocol/rsm'><max>3</max></set>"
        for payload, kind, to in (
            (f"<query xmlns='{ITEMS}' node='other'/>", "get", DOMAIN),
            (f"<query xmlns='{ITEMS}'/>", "get", "muc.a.test"),
            (f"<query xmlns='{ITEMS}'/>", "get", self.laptop.jid),
            (f"<query xmlns='{ITEMS}'/>", "set", DOMAIN),
            (f"<query xmlns='{ITEMS}'/>", "get", "bob@a.test"),
            (f"<query xmlns='{ITEMS}'>{page}</query>", "get", DOMAIN),
            (f"<query xmlns='{INFO}'/>", "get", DOMAIN),
        ):
            self.assertIsNone(self.asks(payload, kind, to))
            self.assertEqual(len(self.owner.listings), 0, (payload, to))

    def test_a_result_that_is_no_list_passes(self) -> None:
        self.asks_for_items(DOMAIN)
        self.assertIsNone(self.server(f"<iq type='result' id='q' from='{DOMAIN}'/>"))

    def test_no_answer(self) -> None:
        self.asks_for_items(DOMAIN)
        self.clock.advance(listings.TIMEOUT)
        self.assertEqual(len(self.owner.listings), 0)
        self.assertIsNone(self.result(DOMAIN))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_too_many(self) -> None:
        for number in range(listings.MAX_OPEN + 1):
            iq = f"<iq type='get' id='{number}' to='{DOMAIN}'><query xmlns='{ITEMS}'/></iq>"
            self.assertFalse(self.owner.from_client(self.phone, parse_stanza(iq)))
        self.assertEqual(len(self.owner.listings), listings.MAX_OPEN)
        self.assertIsNone(self.result(DOMAIN, stanza_id=str(listings.MAX_OPEN)))
        self.assertIsNotNone(self.result(DOMAIN, stanza_id="0"))

    def test_session_closed(self) -> None:
        self.asks_for_items(DOMAIN)
        self.owner.session_closed(self.phone)
        self.assertEqual(len(self.owner.listings), 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
