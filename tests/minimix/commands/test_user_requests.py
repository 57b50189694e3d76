"""Who may ask an account itself, for what, and service discovery of it."""

from minimixproxy.minimix.commands.user_requests import LIST_NAME
from minimixproxy.namespaces import NS_COMMANDS, NS_DATA, NS_MUC
from minimixproxy.wire.stanza import parse_stanza
from minimixproxy.xep import disco
from tests.minimix.fakes import BARE, STREAM
from tests.minimix.owned import ALL_NODES, DOMAIN, INFO, ITEMS, OwnerCase, items


class WhoMayTests(OwnerCase):
    def test_everything_else_passes(self) -> None:
        command = f"<command xmlns='{NS_COMMANDS}' node='rooms'/>"
        for payload, kind, to in (
            (command, "set", f"{BARE}/other"),
            (command, "set", "bob@a.test"),
            (command, "set", f"x.{DOMAIN}"),
            (command, "set", f"{DOMAIN}/rooms"),
            (command, "set", None),
            (command, "set", "bob@a.test/minimix.0123"),
            (f"<command xmlns='{NS_COMMANDS}' node='of-the-server'/>", "set", BARE),
            ("<ping xmlns='urn:xmpp:ping'/>", "get", BARE),
            ("<ping xmlns='urn:xmpp:ping'/>", "result", STREAM),
            ("<ping xmlns='urn:xmpp:ping'/>", "get", "@"),
        ):
            self.assertIsNone(self.asks(payload, kind, to), (payload, to))

    def test_our_commands_where_they_are_listed(self) -> None:
        """profanity executes at the address that it asked for the list."""
        for to in (BARE, DOMAIN):
            answer = self.answer(f"<command xmlns='{NS_COMMANDS}' node='rooms'/>", "set", to)
            self.assertEqual(answer["type"], "result")

    def test_commands_of_the_server_under_the_same_name(self) -> None:
        self.asks(f"<query xmlns='{ITEMS}' node='{NS_COMMANDS}'/>", to=DOMAIN)
        own = f"<item jid='{DOMAIN}' node='rooms' name='Rooms of the server'/>"
        query = f"<query xmlns='{ITEMS}' node='{NS_COMMANDS}'>{own}</query>"
        self.owner.from_server(self.phone, parse_stanza(f"<iq type='result' id='q' from='{DOMAIN}'>{query}</iq>"))
        self.phone.take()
        self.assertIsNone(self.asks(f"<command xmlns='{NS_COMMANDS}' node='rooms'/>", "set", DOMAIN))
        self.assertIsNotNone(self.asks(f"<command xmlns='{NS_COMMANDS}' node='leave'/>", "set", DOMAIN))
        self.assertIsNotNone(self.asks(f"<command xmlns='{NS_COMMANDS}' node='rooms'/>", "set", STREAM))

    def test_addresses_are_compared_prepared(self) -> None:
        self.assertIsNotNone(self.asks("<ping xmlns='urn:xmpp:ping'/>", to=STREAM.replace("alice@a", "ALICE@A")))

    def test_wrong_from(self) -> None:
        iq = parse_stanza(f"<iq type='get' id='q' to='{STREAM}' from='bob@a.test'><ping xmlns='urn:xmpp:ping'/></iq>")
        self.assertTrue(self.owner.from_client(self.phone, iq))
        self.assertEqual((self.phone.closed, self.phone.received), ("invalid-from", []))

    def test_a_session_that_is_gone_has_no_execution(self) -> None:
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
        self.assertEqual(features, sorted({*disco.FEATURES, NS_COMMANDS, ITEMS} - {NS_MUC}))  # no room service

    def test_caps_stand_for_what_everybody_gets(self) -> None:
        identities, features = self.info(f"{disco.NODE}#{disco.VERIFICATION}")
        self.assertEqual((identities, features), ([("client", "pc")], list(disco.FEATURES)))

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
