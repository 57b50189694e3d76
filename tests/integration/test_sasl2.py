"""SASL2, Bind2 and resumption in one exchange (XEP-0388, 0386, 0198), by clients' rules, whatever the server knows."""

from __future__ import annotations

from twisted.internet.threads import deferToThread

from tests.integration.cases import on_both_servers
from tests.integration.logins.cases import LoginRulesCase
from tests.integration.logins.connection import Connection
from tests.integration.logins.device import Device, Failed
from tests.integration.logins.rules import CONVERSATIONS, DINO, GAJIM, MONAL, SISKIN_TO_COME, Rules
from tests.integration.logins.scram import Refused
from tests.integration.logins.tokens import withdraw
from tests.integration.prosody import Prosody
from tests.integration.proxy import Proxy
from tests.integration.servers import Account

NS_MUC = "http://jabber.org/protocol/muc"
#: What a client sends to be in session, from TLS on: its header, and two messages of SCRAM.
BY_SCRAM = 3
BINDING_AFTERWARDS = BY_SCRAM + 1
#: The header, and a proof of the token; who knows what is offered says both at once.
BY_TOKEN, AT_ONCE = 2, 1


@on_both_servers
class Sasl2Tests(LoginRulesCase):
    """Neither server knows any of it."""

    async def known(self) -> tuple[Proxy, Account]:
        """A proxy that knows an account's keys: a device has said the password, and is there."""
        proxy = self.own_proxy(domain={"logins": ["SCRAM", "PLAIN"]})
        account = await self.account()
        await self.client(account, "laptop", proxy=proxy)
        return proxy, account

    async def bound(self, rules: Rules, proxy: Proxy, account: Account) -> tuple[Device, Connection]:
        device = Device(rules, account)
        return device, await self.login(device, proxy.port)

    async def test_by_the_rules_of_clients(self) -> None:
        """Who asks for it is bound with the login, and as few words as its mechanism needs have been said."""
        proxy, account = await self.known()
        for rules, words in (
            (CONVERSATIONS, BY_SCRAM),
            (MONAL, BY_SCRAM),
            (SISKIN_TO_COME, BY_SCRAM),
            (DINO, BY_SCRAM if self.kind is Prosody else BY_SCRAM - 1),  # by PLAIN it is one message less
            (GAJIM, BINDING_AFTERWARDS),
        ):
            device, client = await self.bound(rules, proxy, account)
            self.assertEqual(client.sent, words, rules.client)
            assert rules.sasl2 is not None
            self.assertTrue(client.jid.startswith(f"{account.jid}/{rules.sasl2.tag or ''}"), client.jid)
            await client.barrier()
            self.assertFalse(device.resumed)

    async def test_resumption(self) -> None:
        """What came while it was away comes behind the answer, in the session that it had."""
        proxy, account = await self.known()
        for rules, with_token, words in (
            (CONVERSATIONS, False, BY_SCRAM),
            (CONVERSATIONS, True, AT_ONCE),
            (SISKIN_TO_COME, True, BY_TOKEN),
        ):
            device, client = await self.bound(rules, proxy, account)
            jid = client.jid
            await client.online()
            self.assertIsNotNone(device.token)
            if not with_token:
                device.token = None
            device.cut()
            await proxy.process.says(f"session of {jid} sleeps")
            bob = await self.client(await self.account("bob"), "desk", direct=True)
            bob.send(f"<message to='{jid}' type='chat'><body>meanwhile</body></message>")
            client = await self.login(device, proxy.port)
            self.assertTrue(device.resumed, rules.client)
            self.assertEqual((client.jid, client.sent), (jid, words))
            await client.expect("<message type='chat'><body>meanwhile</body></message>")
            await client.barrier()

    async def test_nothing_to_resume(self) -> None:
        """The session is over: the same answer says so, and brings another one with the same resource."""
        proxy, account = await self.known()
        device, client = await self.bound(CONVERSATIONS, proxy, account)
        jid = client.jid
        device.cut()
        await proxy.process.says(f"session of {jid} sleeps")
        device.resumable = ("unknown", 0)
        client = await self.login(device, proxy.port)
        self.assertFalse(device.resumed)
        self.assertEqual((client.jid, client.sent), (jid, AT_ONCE))
        await client.barrier()

    async def test_rooms(self) -> None:
        """The account is in the room; who resumes is in it still, who is bound with its login joins at once."""
        proxy, account = await self.known()
        place = self.room()
        bob = await self.client(await self.account("bob"), "desk", direct=True)
        bob.send(f"<presence to='{place}/bob'><x xmlns='{NS_MUC}'/></presence>")
        await bob.expect("<message type='groupchat'><subject/></message>")
        device, client = await self.bound(CONVERSATIONS, proxy, account)
        await client.online()
        client.send(f"<presence to='{place}/alice'><x xmlns='{NS_MUC}'/></presence>")
        await client.expect("<message type='groupchat'><subject/></message>")
        jid = client.jid
        device.cut()
        await proxy.process.says(f"session of {jid} sleeps")
        bob.send(f"<message to='{place}' type='groupchat'><body>hello</body></message>")
        await bob.expect("<message type='groupchat'><body>hello</body></message>")
        client = await self.login(device, proxy.port)
        await client.expect("<message type='groupchat'><body>hello</body></message>")

    async def test_carbons(self) -> None:
        """They are on from the beginning, at the server too."""
        proxy, account = await self.known()
        _device, client = await self.bound(CONVERSATIONS, proxy, account)
        await client.online()
        other = await self.client(account, "other", direct=True)
        await other.online()
        bob = await self.client(await self.account("bob"), "desk", direct=True)
        other.send(f"<message to='{bob.jid}' type='chat' id='c'><body>copied</body></message>")
        await client.expect("<message><sent xmlns='urn:xmpp:carbons:2'/></message>")

    async def attempts(self, device: Device, proxy: Proxy) -> list[str]:
        """Log in once more, with the session over; return the mechanisms that were tried."""
        before = len(device.attempts)
        await self.login(device, proxy.port)
        return [way.mechanism for way in device.attempts[before:]]

    async def test_token(self) -> None:
        """It is good after a restart of the proxy, until its user withdraws it: then the client says its password."""
        proxy, account = await self.known()
        for rules in (CONVERSATIONS, MONAL, SISKIN_TO_COME):
            device, client = await self.bound(rules, proxy, account)
            assert device.token is not None
            mechanism = device.token.mechanism
            self.assertEqual(mechanism, "HT-SHA-256-NONE" if rules is SISKIN_TO_COME else "HT-SHA-512-EXPR")
            await client.close()
            self.assertEqual(await self.attempts(device, proxy), [mechanism], rules.client)
            await device.client.close()
            await deferToThread(proxy.process.stop)
            await deferToThread(proxy.start)
            self.assertEqual(await self.attempts(device, proxy), [mechanism], rules.client)
            await withdraw(device.client, device.user_agent)
            await device.client.close()
            tried = await self.attempts(device, proxy)
            self.assertEqual((tried[0], tried[1].startswith("SCRAM-"), len(tried)), (mechanism, True, 2))
            await device.client.close()

    async def test_token_of_a_password_that_was_changed(self) -> None:
        proxy, account = await self.known()
        device, client = await self.bound(CONVERSATIONS, proxy, account)
        await client.close()
        changed = await self.server.set_password(account, "other word")
        with self.assertRaises((Failed, Refused)):  # by its token, and then by the old password
            await device.login(proxy.port)
        await device.client.until_lost()
        self.assertIsNone(device.token)
        device = Device(SISKIN_TO_COME, changed)
        self.assertTrue((await self.attempts(device, proxy))[0].startswith("SCRAM-"))

    async def test_wrong_password(self) -> None:
        proxy, account = await self.known()
        for rules in (CONVERSATIONS, MONAL):
            outcome = await self.outcome(Device(rules, account, "wrong"), proxy.port)
            self.assertEqual(outcome, "is refused: not-authorized")
