"""A login as one user and a session as another, on real servers: by every way that SASL2 and tokens have."""

from __future__ import annotations

import uuid
from base64 import b64encode

from tests.integration.cases import on_both_servers
from tests.integration.client import NS_BIND
from tests.integration.logins.cases import LoginRulesCase
from tests.integration.logins.connection import Connection, connect
from tests.integration.logins.device import Device
from tests.integration.logins.rules import CONVERSATIONS, SISKIN_TO_COME, SM
from tests.integration.logins.sasl2 import NS_BIND2, NS_SASL2, Token, success
from tests.integration.logins.tokens import withdraw
from tests.integration.proxy import Proxy
from tests.integration.servers import Account
from tests.integration.xmlcut import Received

BIND = f"<bind xmlns='{NS_BIND2}'><tag>T</tag></bind>"
FAST = "<fast xmlns='urn:xmpp:fast:0'/>"


def authenticate(mechanism: str, message: bytes, device: str, inline: str = "") -> str:
    return (
        f"<authenticate xmlns='{NS_SASL2}' mechanism='{mechanism}'><initial-response>{b64encode(message).decode()}"
        f"</initial-response><user-agent id='{device}'/>{inline}</authenticate>"
    )


def by_password(account: Account, inline: str) -> str:
    message = f"\0{account.username}\0{account.password}".encode()
    return authenticate("PLAIN", message, str(uuid.uuid4()), inline)


def by_token(token: Token, account: Account, device: str, inline: str = BIND, binding: bytes = b"") -> str:
    return authenticate(token.mechanism, token.first(account.username, binding), device, FAST + inline)


@on_both_servers
class StolenLoginTests(LoginRulesCase):
    timeout = 300

    async def at_the_proxy(self, proxy: Proxy, account: Account, named: str | None = None) -> Connection:
        client = await connect(account, proxy.port, "1.3")
        self._clients.append(client)
        await client.opened(None)
        await client.starttls()
        await client.secured()
        await client.opened(named)
        return client

    async def says(self, client: Connection, element: str) -> Received:
        client.send(element)
        return await client.expect(lambda stanza: stanza.element.uri == NS_SASL2, timeout=30.0)

    async def refused(self, client: Connection, element: str, condition: str = "not-authorized") -> None:
        reply = await self.says(client, element)
        self.assertEqual((reply.element.name, reply.element.firstChildElement().name), ("failure", condition))

    async def test_in_every_combination(self) -> None:
        proxy = self.own_proxy(domain={"logins": ["SCRAM", "PLAIN"]})
        alice, bob = await self.account(), await self.account("bob")
        laptop, _his = [await self.client(account, "laptop", proxy=proxy) for account in (alice, bob)]
        phone, tablet = Device(CONVERSATIONS, alice), Device(SISKIN_TO_COME, alice)
        for device in (phone, tablet):
            await self.login(device, proxy.port)
        jid = phone.client.jid
        await phone.client.online()
        phone.cut()
        await proxy.process.says(f"session of {jid} sleeps")
        assert phone.resumable is not None and phone.token is not None and tablet.token is not None
        resume = f"<resume xmlns='{SM}' previd='{phone.resumable[0]}' h='0'/>"

        # Her session, by his login; and by his login on a stream that is hers.
        client = await self.at_the_proxy(proxy, bob)
        reply = success(await self.says(client, by_password(bob, resume + BIND)))
        self.assertTrue(reply.failed is not None and reply.jid.startswith(f"{bob.jid}/T."), reply)
        client = await self.at_the_proxy(proxy, bob, alice.jid)
        await self.refused(client, by_password(bob, resume + BIND), "invalid-authzid")

        # Her token: in his name, of another device, on a stream that is his; of one connection on another.
        none, other = tablet.token, str(uuid.uuid4())
        client = await self.at_the_proxy(proxy, bob)
        await self.refused(client, by_token(none, bob, tablet.user_agent))
        await self.refused(client, by_token(none, alice, other))
        client = await self.at_the_proxy(proxy, bob, bob.jid)
        await self.refused(client, by_token(none, alice, tablet.user_agent, resume + BIND), "invalid-authzid")
        bound, elsewhere = await self.at_the_proxy(proxy, alice), await self.at_the_proxy(proxy, bob)
        stolen = by_token(phone.token, alice, phone.user_agent, resume, bound.binding("tls-exporter"))
        await self.refused(elsewhere, stolen)
        unbound = phone.token._replace(mechanism="HT-SHA-256-NONE")
        await self.refused(elsewhere, by_token(unbound, alice, phone.user_agent, resume))
        # Half of a login by SASL1 first; two logins at once.
        client = await self.at_the_proxy(proxy, bob)
        client.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/>")
        await client.expect("<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
        client.send(by_token(none, alice, tablet.user_agent))
        await client.until_lost()
        client = await self.at_the_proxy(proxy, bob)
        client.send(by_password(bob, BIND) + by_token(none, alice, tablet.user_agent, resume))
        await client.until_lost()
        self.assertNotIn(alice.jid, client.transcript())

        # It sleeps still, and is hers by the token that was tried elsewhere.
        await self.login(phone, proxy.port)
        self.assertTrue(phone.resumed)
        self.assertEqual(phone.client.jid, jid)

        # Withdrawn by another device of hers, it lets nobody go on, and nobody in.
        await withdraw(laptop, phone.user_agent)
        await phone.client.expect("<stream:error><reset xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>")
        await phone.client.until_lost()
        client = await self.at_the_proxy(proxy, alice)
        binding = client.binding("tls-exporter")
        await self.refused(client, by_token(phone.token, alice, phone.user_agent, resume, binding))

    async def test_bound_after_it_was_withdrawn(self) -> None:
        """Who has stolen a token may log in by it beforehand, and bind a resource when it is withdrawn."""
        proxy = self.own_proxy(domain={"logins": ["SCRAM", "PLAIN"]})
        alice = await self.account()
        laptop, tablet = await self.client(alice, "laptop", proxy=proxy), Device(SISKIN_TO_COME, alice)
        await self.login(tablet, proxy.port)
        assert tablet.token is not None
        client = await self.at_the_proxy(proxy, alice)
        reply = success(await self.says(client, by_token(tablet.token, alice, tablet.user_agent, "")))
        self.assertEqual(reply.jid, alice.jid)
        await withdraw(laptop, tablet.user_agent)
        client.send(f"<iq type='set' id='b'><bind xmlns='{NS_BIND}'/></iq>")
        await client.expect("<stream:error><reset xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>")
        await client.until_lost()
