"""Lists of the server with the owner's commands added: matched, edited, bounded."""

from minimixproxy.minimix.commands import disco_items
from minimixproxy.minimix.commands.user_requests import LIST_NAME
from minimixproxy.namespaces import NS_COMMANDS
from minimixproxy.wire.stanza import Stanza, parse_stanza
from tests.minimix.fakes import BARE, STREAM, FakeSession, payload_of
from tests.minimix.owned import ALL_NODES, DOMAIN, INFO, ITEMS, OwnerCase, items


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
            self.assertEqual([(jid, node) for jid, node, _name in listed[1:]], own, asked)
            self.assertEqual(listed[0], (DOMAIN, "uptime", "Up & time"))
            shown = BARE if asked is not None and sender is None else sender
            self.assertEqual((answer.get("from"), answer["to"], answer["id"]), (shown, self.phone.jid, "q"))
            self.assertEqual(len(self.owner.disco_items), 0)

    def test_behind_all_others(self) -> None:
        """Who looks for a room service takes the first item that is one."""
        self.asks_for_items(DOMAIN)
        answer = self.result(DOMAIN, "<item jid='muc.a.test'/>")
        assert answer is not None
        self.assertEqual(items(answer), [("muc.a.test", None, None), (STREAM, NS_COMMANDS, LIST_NAME)])

    def test_all_else_keeps_its_bytes(self) -> None:
        for before, after in (
            (
                f"<iq id='q' from='{DOMAIN}'  type='result'>\n <query xmlns = '{ITEMS}' ><item jid=\"b\"/>",
                "</query > </iq>",
            ),
            (
                f"<iq id='q' from='{DOMAIN}' type='result'><d:query xmlns:d='{ITEMS}'><d:item jid='b'/>",
                "</d:query></iq>",
            ),
            (
                f"<iq id='q' from='{DOMAIN}' type='result'><query xmlns='{ITEMS}'><item jid='b'><query></query></item>",
                "</query>\n</iq>",
            ),
        ):
            self.asks_for_items(DOMAIN)
            answer = self.server(before + after)
            assert answer is not None
            self.assertTrue(answer.raw.startswith(before.encode()) and answer.raw.endswith(after.encode()), answer.raw)
            self.assertEqual([jid for jid, _node, _name in items(answer)], ["b", STREAM])

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
            self.assertEqual(payload_of(answer, ITEMS, "query")["node"], NS_COMMANDS)

    def test_other_errors_pass(self) -> None:
        self.asks_for_items(DOMAIN, NS_COMMANDS)
        self.assertIsNone(self.error(DOMAIN, "remote-server-timeout"))
        self.assertEqual(len(self.owner.disco_items), 0)

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

    def test_an_id_that_is_open_twice(self) -> None:
        self.asks_for_items(DOMAIN, NS_COMMANDS)
        self.asks_for_items(DOMAIN)
        for node in (NS_COMMANDS, ""):
            self.assertIsNone(self.result(DOMAIN, node=node))

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
            self.assertEqual(len(self.owner.disco_items), 0, (payload, to))

    def test_a_result_that_is_no_list_passes(self) -> None:
        self.asks_for_items(DOMAIN)
        self.assertIsNone(self.server(f"<iq type='result' id='q' from='{DOMAIN}'/>"))

    def test_no_answer(self) -> None:
        self.asks_for_items(DOMAIN)
        self.clock.advance(disco_items.TIMEOUT)
        self.assertEqual(len(self.owner.disco_items), 0)
        self.assertIsNone(self.result(DOMAIN))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_each_in_its_time(self) -> None:
        for number in range(2):
            iq = f"<iq type='get' id='{number}' to='{DOMAIN}'><query xmlns='{ITEMS}'/></iq>"
            self.owner.from_client(self.phone, parse_stanza(iq))
            self.clock.advance(disco_items.TIMEOUT / 2)
        self.assertEqual(len(self.owner.disco_items), 1)
        self.assertIsNotNone(self.result(DOMAIN, stanza_id="1"))

    def test_ids_that_are_none_or_long(self) -> None:
        longest = "i" * disco_items.LONGEST_ID
        for attribute, remembered in (("", 0), (f"id='{longest}'", 1), (f"id='{longest}i'", 0)):
            self.setUp()
            iq = f"<iq type='get' {attribute} to='{DOMAIN}'><query xmlns='{ITEMS}'/></iq>"
            self.assertFalse(self.owner.from_client(self.phone, parse_stanza(iq)))
            self.assertEqual(len(self.owner.disco_items), remembered, attribute[:10])
            answer = f"<iq type='result' from='{DOMAIN}'><query xmlns='{ITEMS}'/></iq>"
            self.assertIsNone(self.server(answer), "an answer without an id is none")

    def test_who_answers_reads_as_it_wrote(self) -> None:
        """Only where it wrote nothing is it named."""
        self.asks_for_items(DOMAIN)
        answer = self.result(DOMAIN.upper())
        assert answer is not None
        self.assertEqual(answer["from"], DOMAIN.upper())
        self.asks_for_items(None)
        answer = self.result(None)
        assert answer is not None
        self.assertNotIn("from", answer.attributes)

    def test_too_many(self) -> None:
        for number in range(disco_items.MAX_OPEN + 1):
            iq = f"<iq type='get' id='{number}' to='{DOMAIN}'><query xmlns='{ITEMS}'/></iq>"
            self.assertFalse(self.owner.from_client(self.phone, parse_stanza(iq)))
        self.assertEqual(len(self.owner.disco_items), disco_items.MAX_OPEN)
        self.assertIsNone(self.result(DOMAIN, stanza_id=str(disco_items.MAX_OPEN)))
        self.assertIsNotNone(self.result(DOMAIN, stanza_id="0"))

    def test_session_closed(self) -> None:
        self.asks_for_items(DOMAIN)
        self.owner.session_closed(self.phone)
        self.assertEqual(len(self.owner.disco_items), 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
