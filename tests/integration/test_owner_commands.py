"""The owner's ad-hoc commands: as scripted clients, slixmpp and aioxmpp find and use them, on both servers."""

import asyncio
import base64
from hashlib import sha1
from typing import Any

import slixmpp
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from minimixproxy.operator.asking import Connection
from minimixproxy.operator.commands import proxy as asking
from tests.integration.cases import IntegrationTestCase, on_both_servers
from tests.integration.client import Client
from tests.integration.libraries import Aioxmpp, Slixmpp, aioxmpp, unusable, waiting
from tests.integration.proxy import Proxy
from tests.integration.servers import Account
from tests.integration.xmlcut import Received
from tests.namespaces import repeated_declarations
from tests.patience import patiently

if aioxmpp is not None:
    import aioxmpp.adhoc
    import aioxmpp.forms.xso

NS_CAPS = "http://jabber.org/protocol/caps"
NS_COMMANDS = "http://jabber.org/protocol/commands"
NS_INFO = "http://jabber.org/protocol/disco#info"
NS_ITEMS = "http://jabber.org/protocol/disco#items"
NS_MUC = "http://jabber.org/protocol/muc"
NODES = ["rooms", "leave", "detach", "enroll", "tokens", "forget"]
COMMANDS = f"<query xmlns='{NS_ITEMS}' node='{NS_COMMANDS}'/>"
ITEMS = f"<query xmlns='{NS_ITEMS}'/>"


class OwnerCase(IntegrationTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.occupant_ids: dict[Client, str | None] = {}  # the account's, as shown to a client that joined

    async def in_room(self, client: Client, room: str = "", nick: str = "alice") -> str:
        """Join; the room, and its history and subject, have arrived."""
        room = room or self.room()
        client.send(f"<presence to='{room}/{nick}'><x xmlns='{NS_MUC}'/></presence>")
        shown = await client.expect(f"<presence><x xmlns='{NS_MUC}#user'><status code='110'/></x></presence>")
        self.occupant_ids[client] = occupant_id(shown)
        await client.expect("<message type='groupchat'><subject/></message>")
        return room

    async def listed(self, client: Client, to: "str | None", query: str = COMMANDS) -> "list[tuple[str, str]]":
        """Address and node of each item."""
        reply = await client.iq("get", to, query)
        self.assertEqual(reply.get("type"), "result", reply)
        (found,) = reply.element.elements()
        return [(item["jid"], item.getAttribute("node", "")) for item in found.elements()]

    async def address(self, client: Client) -> str:
        """Of the account stream, as the list of commands has it."""
        jids = {jid for jid, node in await self.listed(client, client.bare) if node in NODES}
        (jid,) = jids
        return jid

    async def execute(
        self, client: Client, to: str, node: str, form: str = "", exchange: str = "", action: str = ""
    ) -> Any:
        attributes = (f" sessionid='{exchange}'" if exchange else "") + (f" action='{action}'" if action else "")
        payload = f"<x xmlns='jabber:x:data' type='submit'>{form}</x>" if form else ""
        command = f"<command xmlns='{NS_COMMANDS}' node='{node}'{attributes}>{payload}</command>"
        reply = await client.iq("set", to, command)
        return next(reply.element.elements())


def _features(reply: Received) -> list[str]:
    return [feature["var"] for query in reply.element.elements() for feature in query.elements(NS_INFO, "feature")]


def occupant_id(presence: Received) -> str | None:
    """What the room calls an occupant (XEP-0421), if it does."""
    found = next(presence.element.elements("urn:xmpp:occupant-id:0", "occupant-id"), None)
    return str(found["id"]) if found is not None else None


def field(var: str, *values: str) -> str:
    return f"<field var='{var}'>{''.join(f'<value>{value}</value>' for value in values)}</field>"


@on_both_servers
class ReachableTests(OwnerCase):
    async def test_where_clients_look(self) -> None:
        """The own account, with and without saying so, and the own server; with what the server itself lists."""
        account = await self.account("alice")
        client = await self.client(account, "phone")
        direct = await self.client(account, "desk", direct=True)
        address = await self.address(client)
        self.assertEqual(address.partition("/")[0], client.bare)
        self.assertTrue(address.partition("/")[2].startswith("minimix."))
        own = [(address, node) for node in NODES]
        place = (address, NS_COMMANDS)
        for to in (None, client.bare, self.server.domain):
            for query, ours in ((COMMANDS, own), (ITEMS, [place])):
                reply = await direct.iq("get", to, query)
                servers = []
                if reply.get("type") == "result":
                    servers = [
                        (item["jid"], item.getAttribute("node", ""))
                        for item in next(reply.element.elements()).elements()
                    ]
                self.assertEqual(sorted(await self.listed(client, to, query)), sorted(ours + servers), (to, query))

    async def test_lists_as_libraries_read_them(self) -> None:
        """nbxmpp takes an attribute of an item that it does not know for a fault, a repeated `xmlns` too."""
        client = await self.client(await self.account("alice"), "phone")
        for to in (None, client.bare, self.server.domain, await self.address(client)):
            for query in (COMMANDS, ITEMS):
                reply = await client.iq("get", to, query)
                self.assertEqual(repeated_declarations(reply.raw), (), str(reply))

    async def test_no_room_service_is_found_in_the_account(self) -> None:
        """Smack looks through a server's items in their order for those with the feature."""
        client = await self.client(await self.account("alice"), "phone")
        address = await self.address(client)
        listed = await self.listed(client, self.server.domain, ITEMS)
        self.assertEqual(listed[-1], (address, NS_COMMANDS))
        services = []
        for jid, _node in listed:
            reply = await client.iq("get", jid, f"<query xmlns='{NS_INFO}'/>")
            if NS_MUC in _features(reply):
                services.append(jid)
        self.assertIn(f"conference.{self.server.domain}", services)
        self.assertNotIn(address, services)

    async def test_caps_are_what_rooms_are_answered(self) -> None:
        alice = await self.client(await self.account("alice"), "phone")
        room = await self.in_room(alice)
        bob = await self.client(await self.account("bob"), "x", direct=True)
        bob.send(f"<presence to='{room}/bob'><x xmlns='{NS_MUC}'/></presence>")
        shown = await bob.expect(f"<presence from='{room}/alice'><c xmlns='{NS_CAPS}'/></presence>")
        (caps,) = shown.element.elements(NS_CAPS, "c")
        for node in ("", f" node='{caps['node']}#{caps['ver']}'"):
            reply = await bob.iq("get", f"{room}/alice", f"<query xmlns='{NS_INFO}'{node}/>")
            (query,) = reply.element.elements(NS_INFO, "query")
            (identity,) = query.elements(NS_INFO, "identity")
            text = f"{identity['category']}/{identity['type']}//{identity['name']}<"
            text += "".join(f"{feature}<" for feature in sorted(_features(reply)))
            self.assertEqual(base64.b64encode(sha1(text.encode()).digest()).decode(), caps["ver"])
            self.assertIn(NS_MUC, _features(reply))

    async def test_others_see_nothing_of_it(self) -> None:
        alice = await self.client(await self.account("alice"), "phone")
        address = await self.address(alice)
        await self.in_room(alice)
        for bob in (
            await self.client(await self.account("bob"), "phone"),
            await self.client(await self.account("carol"), "desk", direct=True),
        ):
            own = [jid for jid, _node in await self.listed(bob, self.server.domain)]
            self.assertNotIn(address, own)
            for kind, payload in (
                ("get", COMMANDS),
                ("set", f"<command xmlns='{NS_COMMANDS}' node='rooms'/>"),
                ("set", f"<command xmlns='{NS_COMMANDS}' node='forget'/>"),
            ):
                reply = await bob.iq(kind, address, payload)
                self.assertEqual(reply.get("type"), "error", reply)
        await alice.barrier()
        self.assertEqual([stanza for stanza in alice.inbox if stanza.element.name == "iq"], [])

    async def test_service_discovery(self) -> None:
        client = await self.client(await self.account("alice"), "phone")
        address = await self.address(client)
        for node, identity in (
            ("", "<identity category='client' type='pc'/>"),
            (NS_COMMANDS, "<identity category='automation' type='command-list'/>"),
            ("leave", "<identity category='automation' type='command-node'/>"),
        ):
            client.send(f"<iq type='get' id='info' to='{address}'><query xmlns='{NS_INFO}' node='{node}'/></iq>")
            await client.expect(
                f"<iq type='result' id='info' from='{address}'><query xmlns='{NS_INFO}'>{identity}"
                f"<feature var='{NS_COMMANDS}'/></query></iq>"
            )


@on_both_servers
class CommandTests(OwnerCase):
    async def begin(self) -> None:
        account = await self.account("alice")
        self.phone = await self.client(account, "phone")
        self.laptop = await self.client(account, "laptop")
        self.bob = await self.client(await self.account("bob"), "desk", direct=True)
        self.place = await self.in_room(self.phone)
        self.address_of_alice = await self.address(self.phone)
        # A room made anew is locked on some servers until it is configured.
        await self.phone.iq(
            "set", self.place, f"<query xmlns='{NS_MUC}#owner'><x xmlns='jabber:x:data' type='submit'/></query>"
        )
        await self.in_room(self.laptop, self.place)
        await self.in_room(self.bob, self.place, "bob")

    async def run_command(self, node: str, *steps: "tuple[str, str]") -> Any:
        """Execute on the phone, then give each step as (action, form)."""
        element = await self.execute(self.phone, self.address_of_alice, node)
        for action, form in steps:
            element = await self.execute(self.phone, self.address_of_alice, node, form, element["sessionid"], action)
        return element

    async def test_rooms(self) -> None:
        await self.begin()
        self.bob.send(f"<message to='{self.place}' type='groupchat'><body>one to keep</body></message>")
        await self.phone.expect("<message><body>one to keep</body></message>")
        element = await self.run_command("rooms")
        self.assertEqual(element["status"], "completed")
        self.assertIn(f"{self.place} as alice: joined, laptop, phone, 1 message", str(element.note))

    async def is_removed(self, device: Client) -> None:
        """As by a kick, and told why: what looks like the answer to a leave leaves some clients in, deaf."""
        gone = await device.expect(f"<presence type='unavailable' from='{self.place}/alice'/>")
        (x,) = gone.element.elements(NS_MUC + "#user", "x")
        self.assertEqual({commands["code"] for commands in x.elements(x.uri, "status")}, {"110", "307"})
        self.assertTrue(str(x.item.reason))
        self.assertEqual(occupant_id(gone), self.occupant_ids[device], str(gone))

    async def test_detach(self) -> None:
        await self.begin()
        await self.run_command(
            "detach", ("next", field("device", self.laptop.jid)), ("complete", field("room", self.place))
        )
        await self.is_removed(self.laptop)
        self.bob.send(f"<message to='{self.place}' type='groupchat'><body>who is there?</body></message>")
        await self.phone.expect("<message><body>who is there?</body></message>")
        await self.laptop.barrier()
        self.laptop.inbox = [stanza for stanza in self.laptop.inbox if b"who is there" in stanza.raw]
        self.laptop.nothing()
        await self.in_room(self.laptop, self.place)

    async def test_leave(self) -> None:
        await self.begin()
        element = await self.run_command("leave", ("complete", field("rooms", self.place)))
        self.assertEqual(str(element.note), f"The account leaves {self.place}.")
        for device in (self.phone, self.laptop):
            await self.is_removed(device)
        await self.bob.expect(f"<presence type='unavailable' from='{self.place}/alice'/>")
        self.assertEqual(str((await self.run_command("rooms")).note), "The account is in no room.")

    async def test_forget(self) -> None:
        """History too: a device that joins again sees nothing of it, unless from the room."""
        await self.begin()
        element = await self.run_command("forget", ("", field("confirm", "1")))
        self.assertEqual((element["status"], element.note["type"]), ("completed", "info"))
        await self.bob.expect(f"<presence type='unavailable' from='{self.place}/alice'/>")
        for device in (self.phone, self.laptop):
            await self.is_removed(device)
        self.assertEqual(str((await self.run_command("rooms")).note), "The account is in no room.")
        await self.in_room(self.phone, self.place)
        await self.bob.expect(f"<presence from='{self.place}/alice'/>")

    async def test_the_stream_need_not_be_open(self) -> None:
        client = await self.client(await self.account("alice"), "phone")
        element = await self.execute(client, await self.address(client), "rooms")
        self.assertEqual(str(element.note), "The account is in no room.")

    async def test_at_the_bare_address(self) -> None:
        """Where some clients execute what they have found there."""
        client = await self.client(await self.account("alice"), "phone")
        self.assertEqual((await self.execute(client, client.bare, "rooms"))["status"], "completed")


@on_both_servers
class ForgottenTests(OwnerCase):
    async def forgotten(self, proxy: Proxy) -> Client:
        """A client, still connected, whose account was in a room and has been forgotten."""
        client = await self.client(await self.account("alice"), "phone", proxy=proxy)
        address = await self.address(client)
        place = await self.in_room(client)
        element = await self.execute(client, address, "forget")
        await self.execute(client, address, "forget", field("confirm", "1"), element["sessionid"])
        await client.expect(f"<presence type='unavailable' from='{place}/alice'/>")
        return client

    async def known(self, proxy: Proxy) -> "list[str]":
        """The accounts that the proxy knows."""
        path = proxy.directory / "state" / "control"

        def ask() -> dict[str, Any]:
            with Connection(path, patiently(asking.TIMEOUT)) as connection:
                return connection.ask({"request": "status"})

        report = await deferToThread(ask)
        return [account["account"] for account in report["accounts"]]

    async def test_when_the_client_goes(self) -> None:
        proxy = self.own_proxy()
        client = await self.forgotten(proxy)
        self.assertEqual(await self.known(proxy), [client.bare])
        await client.close()
        self.assertEqual(await self.known(proxy), [])

    async def test_when_the_proxy_is_killed(self) -> None:
        proxy = self.own_proxy()
        client = await self.forgotten(proxy)
        proxy.process.process.kill()
        await client.until_lost()
        await deferToThread(proxy.start)
        await proxy.process.says("state loaded: 0 accounts")
        self.assertEqual(await self.known(proxy), [])


class SlixmppOwner(Slixmpp):
    """slixmpp with its plugin for commands."""

    def __init__(self, account: Account, resource: str) -> None:
        super().__init__(account, resource)
        for plugin in ("xep_0004", "xep_0050"):
            self.xmpp.register_plugin(plugin)

    def commands(self, jid: str) -> "Deferred[list[tuple[str, str, str]]]":
        async def run() -> "list[tuple[str, str, str]]":
            found = await self.xmpp["xep_0050"].get_commands(jid=slixmpp.JID(jid))
            return [(str(item), node, name) for item, node, name in found["disco_items"]["items"]]

        return waiting(run())

    def run(self, jid: str, node: str, *answers: "dict[str, Any]") -> "Deferred[Any]":
        """Run a command by its usual session handlers; the last stanza."""

        async def run() -> Any:
            left = list(answers)
            end: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

            def step(iq: Any, session: "dict[str, Any]") -> None:
                if iq["command"]["status"] == "completed":
                    end.set_result(iq)
                    return
                form = self.xmpp["xep_0004"].make_form("submit")
                for var, value in left.pop(0).items():
                    form.add_field(var=var, value=value)
                session["payload"] = form
                session["next"] = step
                if left:
                    self.xmpp["xep_0050"].continue_command(session)
                else:
                    self.xmpp["xep_0050"].complete_command(session)

            def failed(iq: Any, _session: Any) -> None:
                end.set_exception(AssertionError(str(iq)))

            self.xmpp["xep_0050"].start_command(slixmpp.JID(jid), node, {"next": step, "error": failed})
            return await end

        return waiting(run())


class AioxmppOwner(Aioxmpp):
    """aioxmpp with its service for commands."""

    def prepare(self) -> None:
        self.client.summon(aioxmpp.adhoc.AdHocClient)

    @property
    def adhoc(self) -> Any:
        return self.client.summon(aioxmpp.adhoc.AdHocClient)

    def commands(self, jid: str) -> "Deferred[list[tuple[str, str, str]]]":
        async def run() -> "list[tuple[str, str, str]]":
            found = await self.adhoc.get_commands(aioxmpp.JID.fromstr(jid))
            return [(str(item.jid), item.node, item.name) for item in found]

        return waiting(run())

    def supports(self, jid: str) -> "Deferred[bool]":
        return waiting(self.adhoc.supports_commands(aioxmpp.JID.fromstr(jid)))

    def run(self, jid: str, node: str, *answers: "dict[str, Any]") -> "Deferred[Any]":
        """Run a command; its last response."""

        async def run() -> Any:
            session = await self.adhoc.execute(aioxmpp.JID.fromstr(jid), node)
            for number, answer in enumerate(answers):
                form = session.first_payload
                form.type_ = aioxmpp.forms.xso.DataType.SUBMIT
                for one in form.fields:
                    if one.var in answer:
                        value = answer[one.var]
                        one.values[:] = value if isinstance(value, list) else [value]
                last = number == len(answers) - 1
                action = aioxmpp.adhoc.ActionType.COMPLETE if last else aioxmpp.adhoc.ActionType.NEXT
                await session.proceed(action=action, payload=form)
            return session.response

        return waiting(run())


@on_both_servers
class LibraryTests(OwnerCase):
    def setUp(self) -> None:
        reason = unusable(aioxmpp)
        if reason:
            self.skipTest(reason)
        super().setUp()

    async def device(self, kind: Any, account: Account, resource: str) -> Any:
        device = kind(account, resource)
        await self.says_password(account)
        await device.login(self.proxy.port)
        self.addCleanup(device.logout)
        return device

    async def test_slixmpp(self) -> None:
        account = await self.account("alice")
        phone = await self.device(SlixmppOwner, account, "phone")
        laptop = await self.device(SlixmppOwner, account, "laptop")
        place = self.room()
        await phone.join(place, "alice")
        await laptop.join(place, "alice")
        for where in (account.jid, self.server.domain):
            found = [(jid, name) for jid, node, name in await phone.commands(where) if node == "rooms"]
            self.assertEqual([name for _jid, name in found], ["Rooms the account is in"])
        ((address, _name),) = found
        reply = await phone.run(address, "rooms")
        items = reply["command"]["form"].get_items()
        self.assertEqual([(item["room"], item["devices"]) for item in items], [(place, "laptop, phone")])
        reply = await phone.run(address, "detach", {"device": laptop.jid}, {"room": "*"})
        self.assertEqual(str(reply["command"]["notes"][0][1]), f"laptop is detached from {place}.")
        reply = await phone.run(address, "leave", {"rooms": [place]})
        self.assertEqual(str(reply["command"]["notes"][0][1]), f"The account leaves {place}.")

    async def test_aioxmpp(self) -> None:
        account = await self.account("alice")
        phone = await self.device(AioxmppOwner, account, "phone")
        laptop = await self.device(AioxmppOwner, account, "laptop")
        place = self.room()
        await phone.join(place, "alice")
        await laptop.join(place, "alice")
        found = [jid for jid, node, _name in await phone.commands(account.jid) if node == "rooms"]
        (address,) = found
        self.assertEqual([node for jid, node, _name in await phone.commands(address) if jid == address], NODES)
        self.assertTrue(await phone.supports(address))
        reply = await phone.run(address, "rooms")
        self.assertIn(place, reply.notes[0].body)
        reply = await phone.run(address, "detach", {"device": laptop.jid}, {"room": place})
        self.assertEqual(reply.notes[0].body, f"laptop is detached from {place}.")
        reply = await phone.run(address, "leave", {"rooms": [place]})
        self.assertEqual(reply.notes[0].body, f"The account leaves {place}.")
        reply = await phone.run(address, "forget", {"confirm": "1"})
        self.assertEqual(reply.notes[0].type_, aioxmpp.adhoc.xso.NoteType.INFO)
