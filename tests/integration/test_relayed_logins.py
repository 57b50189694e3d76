"""SCRAM between clients and their server, through the proxy: who gets in, and what becomes of rooms."""

import json

from tests.integration.cases import on_both_servers
from tests.integration.client import Client
from tests.integration.ejabberd import Ejabberd
from tests.integration.logins.cases import NO_BINDING, LoginRulesCase, named
from tests.integration.logins.connection import Connection
from tests.integration.logins.device import Device
from tests.integration.logins.rules import (
    CONVERSATIONS,
    CONVERSATIONS_STRICT,
    CONVERSE,
    DINO,
    EVERYBODY,
    GAJIM,
    MONAL,
    MONAL_2024,
    MONAL_WITH_PLAIN,
    PROFANITY,
    SISKIN,
    SISKIN_TO_COME,
)
from tests.integration.prosody import Prosody
from tests.integration.proxy import Proxy
from tests.integration.relay import Relay
from tests.integration.servers import Account
from tests.integration.test_status import status

NS_MUC = "http://jabber.org/protocol/muc"
NS_COMMANDS = "http://jabber.org/protocol/commands"
NOT_AUTHORIZED = "is refused: not-authorized"
UNVOUCHED = "refuses: no channel binding, and nothing vouches for that"
HASH = {Prosody: "SCRAM-SHA-1", Ejabberd: "SCRAM-SHA-256"}


class RelayedCase(LoginRulesCase):
    def relaying(self, **domain: str) -> Proxy:
        return self.own_proxy(domain={"logins": ["SCRAM", "PLAIN"], **domain})

    async def device(self, account: Account, resource: str, proxy: Proxy) -> Connection:
        """Like Siskin: by SCRAM, and online."""
        client = await Device(SISKIN, account).login(proxy.port, resource=resource)
        self._clients.append(client)
        await client.online()
        return client

    async def joins(self, client: Client, place: str, nick: str) -> None:
        client.send(f"<presence to='{place}/{nick}'><x xmlns='{NS_MUC}'/></presence>")
        await client.expect("<message type='groupchat'><subject/></message>")

    async def says(self, client: Client, place: str, body: str, *hear: Client) -> None:
        client.send(f"<message to='{place}' type='groupchat'><body>{body}</body></message>")
        for other in (client, *hear):
            await other.expect(f"<message type='groupchat'><body>{body}</body></message>")

    async def told(self, client: Client, proxy: Proxy) -> str:
        """What the account's user is told of its rooms, by the command."""
        report = json.loads((await status(proxy, "--json")).stdout)
        self.assertTrue(report["accounts"])
        answer = await client.iq(
            "get", client.bare, f"<query xmlns='http://jabber.org/protocol/disco#items' node='{NS_COMMANDS}'/>"
        )
        items = next(iter(answer.element.elements())).elements()
        (address,) = {item["jid"] for item in items if item.getAttribute("node") == "rooms"}
        done = await client.iq("set", address, f"<command xmlns='{NS_COMMANDS}' node='rooms' action='execute'/>")
        return str(done)


@on_both_servers
class WhoGetsInTests(RelayedCase):
    async def test_by_their_rules(self) -> None:
        """All that can log in at the server itself, and by what they would there; profanity says `y`.

        Monal comes in by SASL2, which is the proxy's; but ejabberd takes no attributes that it does not know.
        """
        proxy = self.relaying()
        scram = HASH[self.kind]
        expected = named(
            {
                **dict.fromkeys((CONVERSATIONS, SISKIN, SISKIN_TO_COME, GAJIM, CONVERSE), f"{scram} n,,"),
                DINO: f"{scram} n,," if self.kind is Prosody else "PLAIN",
                PROFANITY: f"{scram} y,,",
                **dict.fromkeys((MONAL, MONAL_WITH_PLAIN), f"{scram} y,," if self.kind is Prosody else NOT_AUTHORIZED),
                MONAL_2024: UNVOUCHED,
                CONVERSATIONS_STRICT: NO_BINDING,
            }
        )
        self.assertEqual(set(expected), {rules.client for rules in EVERYBODY})
        for tls in ("1.3", "1.2"):
            self.assertEqual(await self.outcomes(proxy.port, tls), expected, tls)

    async def test_wrong_password(self) -> None:
        proxy = self.relaying()
        account = await self.account()
        self.assertEqual(await self.outcome(Device(SISKIN, account, "wrong"), proxy.port), "is refused: not-authorized")
        await self.device(account, "phone", proxy)

    async def test_an_account_that_does_not_exist(self) -> None:
        proxy = self.relaying()
        nobody = (await self.account())._replace(username="nobody")
        self.assertEqual(await self.outcome(Device(SISKIN, nobody), proxy.port), "is refused: not-authorized")


@on_both_servers
class RoomsTests(RelayedCase):
    async def test_an_account_that_is_not_enrolled(self) -> None:
        """It is in rooms as it would be without the proxy, is told so, and out when its device is gone."""
        proxy = self.relaying()
        account, place = await self.account(), self.room()
        bob = await self.client(await self.account("bob"), "desk", direct=True)
        await self.joins(bob, place, "bob")
        phone = await self.device(account, "phone", proxy)
        await self.joins(phone, place, "alice")
        await self.says(phone, place, "hello", bob)
        await self.says(bob, place, "hello yourself", phone)
        self.assertIn("This account is not enrolled", await self.told(phone, proxy))
        self.assertIn("none, NOT ENROLLED", (await status(proxy)).stdout)
        await phone.close()
        await bob.expect(f"<presence type='unavailable' from='{place}/alice'/>")
        await proxy.process.says("joins rooms by itself: the account is not enrolled")

    async def test_an_account_with_a_login_from_before(self) -> None:
        """Nothing changes for it: the account is in its rooms, and stays."""
        proxy = self.relaying()
        account, place = await self.account(), self.room()
        await (await self.client(account, "laptop", proxy=proxy)).close()
        bob = await self.client(await self.account("bob"), "desk", direct=True)
        await self.joins(bob, place, "bob")
        phone = await self.device(account, "phone", proxy)
        await self.joins(phone, place, "alice")
        await self.says(phone, place, "hello", bob)
        self.assertNotIn("not enrolled", await self.told(phone, proxy))
        await phone.close()
        await self.says(bob, place, "still there?")
        again = await self.device(account, "phone", proxy)
        again.send(f"<presence to='{place}/alice'><x xmlns='{NS_MUC}'/></presence>")
        await again.expect("<message type='groupchat'><body>still there?</body></message>")

    async def test_enrolled_while_it_is_connected(self) -> None:
        proxy = self.relaying()
        account, place, other = await self.account(), self.room(), self.room("other")
        phone = await self.device(account, "phone", proxy)
        await self.joins(phone, place, "alice")
        laptop = await self.client(account, "laptop", proxy=proxy)
        await self.joins(laptop, other, "alice")
        await self.says(phone, place, "as before")
        self.assertNotIn("not enrolled", await self.told(phone, proxy))
        await self.joins(phone, other, "alice")
        await self.says(phone, other, "by the account", laptop)
        report = json.loads((await status(proxy, "--json")).stdout)
        (told,) = report["accounts"]
        self.assertEqual([(room["room"], room["devices"]) for room in told["rooms"]], [(other, ["laptop", "phone"])])

    async def test_the_server_goes(self) -> None:
        """Nobody can log in again but the client: its session ends in order, managed or not."""
        relay = Relay(self.server.port)
        relay.start()
        self.addCleanup(relay.stop)
        proxy = self.relaying(upstream=f"tcp:127.0.0.1:{relay.port}")
        phone = await self.device(await self.account(), "phone", proxy)
        phone.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
        await phone.expect("<enabled xmlns='urn:xmpp:sm:3'/>")
        links = relay.opened
        relay.cut()
        await phone.expect_close("remote-connection-failed")
        self.assertEqual(relay.opened, links, "nobody has tried to log in again")
