"""What a server does and the proxy is to learn nothing of: sessions that nobody could end, stanzas behind its back."""

from tests.integration.cases import IntegrationTestCase, on_both_servers
from tests.integration.client import NS_BIND, Client
from tests.integration.commands import run
from tests.integration.ejabberd import Ejabberd
from tests.integration.prosody import Prosody
from tests.integration.servers import Account, Server

BIND = f"<bind xmlns='{NS_BIND}'/>"
ENABLE = "<iq type='set' id='{}'><enable xmlns='urn:xmpp:carbons:2'/></iq>"
REMOVE = "<query xmlns='jabber:iq:register'><remove/></query>"
#: Ways to ask for a resource, and the servers that give one.
ODD: tuple[tuple[str, tuple[type[Server], ...]], ...] = (
    (f"<iq type='set' id=''>{BIND}</iq>", (Prosody, Ejabberd)),
    (f"<iq type='set'>{BIND}</iq>", (Prosody,)),
    (f"<iq type='get' id='b'>{BIND}</iq>", (Prosody,)),
    (f"<iq type='set' id='b' to='somebody@elsewhere.example'>{BIND}</iq>", (Ejabberd,)),
    (f"<iq type='set' id='b' to='elsewhere.example/x'>{BIND}</iq>", (Ejabberd,)),
    (f"<iq type='set' id='b'>{BIND}</iq>" + ENABLE.format("b"), (Prosody, Ejabberd)),
    ("".join(map(ENABLE.format, range(16))) + f"<iq type='set' id='b'>{BIND}</iq>", (Prosody, Ejabberd)),
)


@on_both_servers
class HiddenSessionTests(IntegrationTestCase):
    timeout = 120

    async def test_none_outlives_a_block(self) -> None:
        proxy, alice = self.own_proxy(), await self.account("alice")
        hidden = [await self.hidden(alice, asked) for asked, servers in ODD if self.kind in servers]
        done = await run(proxy, "block", alice.jid)
        self.assertEqual(done.stdout, f"{alice.jid}: blocked; {len(hidden)} sessions ended\n")
        for client in hidden:
            await client.expect_close("not-authorized")

    async def hidden(self, account: Account, asked: str) -> Client:
        """A client that has been given a resource, for which it has asked in an odd way."""
        client = await self.connect(proxy=next(iter(self._proxies)))
        await client.authenticated(account)
        client.send(asked)
        await client.expect(lambda stanza: stanza.get("type") == "result" and NS_BIND.encode() in stanza.raw)
        return client


@on_both_servers
class HiddenStanzaTests(IntegrationTestCase):
    async def test_in_other_namespaces(self) -> None:
        """To ejabberd they are a client's all the same, and the account would be removed, and not forgotten here."""
        alice = await self.account("alice")
        for namespace in ("jabber:server", "jabber:component:accept", "", "urn:x"):
            client, other = await self.client(alice), await self.client(alice)
            for stanza in (
                f"<message to='{other.jid}' xmlns='{namespace}' id='hidden'/>",
                f"<iq type='set' id='gone' xmlns='{namespace}'>{REMOVE}</iq>",
            ):
                client.send(stanza)
            await client.expect_close("unsupported-stanza-type")
            await other.barrier()
            self.assertNotIn("hidden", other.transcript())
        await self.client(alice, direct=True)
