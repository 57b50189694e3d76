"""Nobody gets into another user's account by what an accomplice answers: tried on real servers."""

from tests.integration.cases import IntegrationTestCase, on_both_servers
from tests.integration.client import NS_BIND, Client
from tests.integration.proxy import Proxy
from tests.integration.servers import Account

NS_CARBONS = "urn:xmpp:carbons:2"
NS_MUC = "http://jabber.org/protocol/muc"
NS_ITEMS = "http://jabber.org/protocol/disco#items"
NS_COMMANDS = "http://jabber.org/protocol/commands"
SECRET = "what only the victim may read"
BIND = f"<bind xmlns='{NS_BIND}'/>"
ENABLE = f"<enable xmlns='{NS_CARBONS}'/>"

# How an attacker's bind may escape the proxy's notice: what is sent at once, the id of the bind that is the real one.
HIDDEN_BINDS = {
    "the id is used twice": f"<iq type='set' id='real'>{BIND}</iq><iq type='set' id='real'>{ENABLE}</iq>",
    "too much is asked before": "".join(f"<iq type='set' id='e{number}'>{ENABLE}</iq>" for number in range(16))
    + f"<iq type='set' id='real'>{BIND}</iq>",
    "the same request goes to the accomplice": f"<iq type='set' id='real'>{BIND}</iq>"
    "<iq type='set' id='real' to='{accomplice}'>" + BIND + "</iq>",
    "as anybody does": f"<iq type='set' id='real'>{BIND}</iq>",
}


def join(room: str, nick: str) -> str:
    return f"<presence to='{room}/{nick}'><x xmlns='{NS_MUC}'><history maxstanzas='20'/></x></presence>"


@on_both_servers
class TakeoverTests(IntegrationTestCase):
    timeout = 120

    async def victim_in_room(self, proxy: Proxy) -> tuple[Account, Client, str, Client]:
        """A victim whose phone is in a room that nobody else may enter; and an observer in it."""
        account, room = await self.account("victim"), self.room("secret")
        phone = await self.client(account, "phone", proxy=proxy)
        phone.send(join(room, "victim"))
        await phone.expect(f"<message from='{room}' type='groupchat'><subject/></message>")
        observer = await self.client(await self.account("observer"), "direct", direct=True)
        observer.send(join(room, "observer"))
        await observer.expect(f"<message from='{room}' type='groupchat'><subject/></message>")
        await self.close_room(phone, room, observer.bare)
        observer.send(f"<message to='{room}' type='groupchat'><body>{SECRET}</body></message>")
        await phone.expect(f"<message from='{room}/observer'><body>{SECRET}</body></message>")
        return account, phone, room, observer

    async def close_room(self, owner: Client, room: str, member: str) -> None:
        """From now on only members may enter."""
        item = f"<item jid='{member}' affiliation='member'/>"
        reply = await owner.iq("set", room, f"<query xmlns='{NS_MUC}#admin'>{item}</query>")
        self.assertEqual(reply.get("type"), "result", str(reply))
        field = "<field var='{}'><value>{}</value></field>"
        fields = field.format("FORM_TYPE", f"{NS_MUC}#roomconfig") + field.format("muc#roomconfig_membersonly", 1)
        form = f"<x xmlns='jabber:x:data' type='submit'>{fields}</x>"
        reply = await owner.iq("set", room, f"<query xmlns='{NS_MUC}#owner'>{form}</query>")
        self.assertEqual(reply.get("type"), "result", str(reply))

    async def logged_in(self, account: Account, proxy: Proxy) -> Client:
        """A client for which binding is due."""
        client = await self.connect(proxy=proxy, label=account.username)
        await client.open()
        await client.starttls()
        await client.open()
        await client.authenticate(account.username, account.password)
        await client.open()
        return client

    async def attack(self, proxy: Proxy, hidden_bind: str, victim: str) -> tuple[Client, Client]:
        """Bind by `hidden_bind`, then have an accomplice answer a bind with the victim's address."""
        accomplice = await self.client(await self.account("accomplice"), "direct", direct=True)
        attacker = await self.logged_in(await self.account("mallory"), proxy)
        attacker.send(hidden_bind.replace("{accomplice}", accomplice.jid))
        bound = await attacker.expect(lambda stanza: stanza.get("id") == "real" and f"{NS_BIND}" in str(stanza))
        attacker.jid = str(next(next(bound.element.elements()).elements()))
        attacker.send("<presence/>")
        for stanza_id, payload in (("real", BIND), ("forged", BIND), ("c", ENABLE)):
            attacker.send(f"<iq type='set' id='{stanza_id}' to='{accomplice.jid}'>{payload}</iq>")
        await accomplice.expect("<iq type='set' id='c'/>")
        forged = f"<bind xmlns='{NS_BIND}'><jid>{victim}/x</jid></bind>"
        for stanza_id, payload in (("real", forged), ("forged", forged), ("c", "")):
            accomplice.send(f"<iq type='result' id='{stanza_id}' to='{attacker.jid}'>{payload}</iq>")
        await attacker.expect(f"<iq type='result' id='c' from='{accomplice.jid}'/>")
        return attacker, accomplice

    async def sees_nothing(self, attacker: Client, victim: str, room: str) -> None:
        """The attacker gets neither the victim's room nor its commands."""
        before = len(attacker.received)
        for nick in ("victim", "mallory"):
            attacker.send(join(room, nick))
            await attacker.expect(f"<presence type='error' from='{room}/{nick}'/>")
        reply = await attacker.iq("get", victim, f"<query xmlns='{NS_ITEMS}' node='{NS_COMMANDS}'/>")
        self.assertNotIn("minimix", str(reply))
        await attacker.barrier()
        self.assertNotIn(SECRET, "".join(map(str, attacker.received[before:])))

    async def test_a_bind_answered_by_an_accomplice(self) -> None:
        proxy = self.own_proxy()
        account, phone, room, _observer = await self.victim_in_room(proxy)
        for name, hidden_bind in HIDDEN_BINDS.items():
            attacker, _accomplice = await self.attack(proxy, hidden_bind, account.jid)
            attacker.label = name
            await self.sees_nothing(attacker, account.jid, room)
        await phone.barrier(room)
        self.assertNotIn("mallory", "".join(map(str, phone.received)))

    async def test_the_account_logs_in_as_itself_after_a_restart(self) -> None:
        proxy = self.own_proxy()
        account, _phone, room, observer = await self.victim_in_room(proxy)
        for hidden_bind in HIDDEN_BINDS.values():
            await self.attack(proxy, hidden_bind, account.jid)
        await observer.barrier(room)
        observer.inbox.clear()
        await proxy.restart(kill=True)
        await observer.expect(lambda s: s.get("from") == f"{room}/victim" and s.get("type") is None, timeout=30)
        laptop = await self.client(account, "laptop", proxy=proxy)
        laptop.send(join(room, "victim"))
        await laptop.expect(f"<message from='{room}/observer'><body>{SECRET}</body></message>")
        laptop.send(f"<message to='{room}' type='groupchat'><body>back</body></message>")
        await observer.expect(f"<message from='{room}/victim'><body>back</body></message>", timeout=30)
        attacker, _accomplice = await self.attack(proxy, HIDDEN_BINDS["as anybody does"], account.jid)
        await self.sees_nothing(attacker, account.jid, room)

    async def test_whose_bind_was_not_seen_still_gets_through(self) -> None:
        """Its session passes, as if there were no proxy."""
        proxy = self.own_proxy()
        for name, hidden_bind in HIDDEN_BINDS.items():
            client = await self.logged_in(await self.account("mallory"), proxy)
            client.label = name
            client.send(hidden_bind.replace("{accomplice}", f"nobody@{self.server.domain}/x"))
            await client.expect(lambda stanza: stanza.get("id") == "real" and f"{NS_BIND}" in str(stanza))
            room = self.room()
            client.send(join(room, "mallory"))
            await client.expect(f"<message from='{room}' type='groupchat'><subject/></message>")

    async def test_bind_addressed_to_the_server(self) -> None:
        """Whatever the server makes of it, the proxy makes the same of it."""
        proxy = self.own_proxy()
        for address in (self.server.domain, "{bare}"):
            account = await self.account("alice")
            client = await self.logged_in(account, proxy)
            to = address.replace("{bare}", account.jid)
            client.send(f"<iq type='set' id='b' to='{to}'>{BIND}</iq>")
            reply = await client.expect(lambda stanza: stanza.get("id") == "b")
            if reply.get("type") != "result":
                await client.bind("phone")
            room = self.room()
            client.send(join(room, "alice"))
            await client.expect(f"<message from='{room}' type='groupchat'><subject/></message>")
            other = await self.client(account, "laptop", proxy=proxy)
            other.send(join(room, "alice"))
            await other.expect(f"<message from='{room}' type='groupchat'><subject/></message>")

    async def test_the_server_spells_a_name_otherwise(self) -> None:
        proxy = self.own_proxy()
        account = await self.account("alice")
        client = await self.logged_in(Account(account.username.upper(), account.domain, account.password), proxy)
        jid = await client.bind("phone")
        self.assertEqual(jid.lower(), f"{account.jid}/phone")  # ejabberd binds it as it was spelt
        room = self.room()
        client.send(join(room, "alice"))
        await client.expect(f"<message from='{room}' type='groupchat'><subject/></message>")
        await proxy.restart(kill=True)
        await self.comes_back(account, room, proxy)

    async def comes_back(self, account: Account, room: str, proxy: Proxy) -> None:
        """The account is in the room by its account stream."""
        laptop = await self.client(account, "laptop", proxy=proxy)
        laptop.send(join(room, "alice"))
        await laptop.expect(f"<message from='{room}' type='groupchat'><subject/></message>")


class NamesTests(IntegrationTestCase):
    """Prosody takes names in characters newer than Unicode 3.2 as they are, and ejabberd refuses them."""

    async def make(self, name: str, password: str) -> Account:
        made = f"require 'core.usermanager'.create_user('{name}', '{password}', '{self.server.domain}')"
        await self.server.evaluate(f"return {made}")
        return Account(name, self.server.domain, password)

    async def test_a_name_that_only_python_takes_for_another(self) -> None:
        """The capital sharp s: the server knows two accounts, and so does the proxy."""
        proxy = self.own_proxy()
        victim, mallory = await self.make("boss", "one"), await self.make("bo\u1e9e", "two")
        room = self.room("secret")
        phone = await self.client(victim, "phone", proxy=proxy)
        phone.send(join(room, "victim"))
        await phone.expect(f"<message from='{room}' type='groupchat'><subject/></message>")
        phone.send(f"<message to='{room}' type='groupchat'><body>{SECRET}</body></message>")
        await phone.expect(f"<message from='{room}/victim'><body>{SECRET}</body></message>")
        attacker = await self.client(mallory, "x", proxy=proxy)
        reply = await attacker.iq("get", victim.jid, f"<query xmlns='{NS_ITEMS}' node='{NS_COMMANDS}'/>")
        self.assertNotIn("minimix", str(reply))
        attacker.send(f"<presence to='{room}/mallory'><x xmlns='{NS_MUC}'><history maxstanzas='0'/></x></presence>")
        await attacker.expect(f"<message from='{room}' type='groupchat'><subject/></message>")
        self.assertNotIn(SECRET, "".join(map(str, attacker.received)))
        attacker.send(f"<message to='{room}' type='groupchat'><body>mine</body></message>")
        await phone.expect(f"<message from='{room}/mallory'><body>mine</body></message>")
