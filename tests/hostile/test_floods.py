"""Very much of what is allowed: questions, private messages, bookmarks, accounts that come and go."""

import sqlite3
from contextlib import closing

from minimixproxy.minimix.account import ANSWERS_AT_ONCE
from minimixproxy.namespaces import NS_BOOKMARKS, NS_PUBSUB
from minimixproxy.xep.bookmarks import creation
from tests.hostile.ground import NS_MUC, PATIENCE, enter, heard, settle, victim
from tests.hostile.scenarios import undisturbed
from tests.hostile.test_scenarios import ScenarioCase
from tests.integration.cases import on_both_servers
from tests.integration.client import Client
from tests.integration.commands import run
from tests.integration.ejabberd import Ejabberd
from tests.integration.prosody import Prosody
from tests.integration.proxy import Proxy
from tests.integration.test_account_changes import REMOVE
from tests.integration.test_registration import PASSWORD, RegistrationCase, outcome, query

# Fewer than ejabberd keeps for any stream that acknowledges late, 5,000: it ends those of who is slow beyond that.
QUESTIONS = 2 * ANSWERS_AT_ONCE
# As many bookmarks as servers keep: Prosody 256, each of which takes it longer, ejabberd 60 KB.
MANY_ROOMS = {Prosody: 100, Ejabberd: 900}


@on_both_servers
class QuestionTests(ScenarioCase):
    async def test_an_occupant_asks_the_account_stream(self) -> None:
        """Thousands of times: most are not answered, and the account hears what the room says."""
        place = await victim(self)
        mallory = place.mallory
        mallory.ignore = lambda stanza: stanza.raw.startswith(b"<iq") and b"question" in stanza.raw[:600]

        async def attack() -> None:
            for number in range(QUESTIONS):
                payload = "<query xmlns='jabber:iq:version'/>"
                mallory.send(f"<iq type='get' id='question{number}' to='{place.stream}'>{payload}</iq>")
            mallory.send(f"<message to='{place.room}' type='groupchat' id='end'><body>b</body></message>")
            await heard(place.phone, "end")
            await settle(mallory, place.room)

        start = len(self.proxy.process.lines)
        await undisturbed(self, attack)
        answered = sum(mallory.ignore(stanza) for stanza in mallory.received)
        self.assertGreater(answered, 0)
        self.assertLess(answered, QUESTIONS)
        await self.log_is_read(self.proxy)
        log = "\n".join(self.proxy.process.lines[start:])
        self.assertIn("is asked too much by others", log)
        self.assertNotIn("account stream lost", log)


@on_both_servers
class WaitingMessagesTests(ScenarioCase):
    async def test_private_messages_that_wait(self) -> None:
        """Thirty of 100 KB while no device is there: the last megabyte of them is given, in order (A10)."""
        proxy = self.own_proxy()
        alice, room = await self.account("alice"), self.room()
        mallory = await self.client(await self.account("mallory"), "m", direct=True)
        await enter(mallory, room, "mallory")
        phone = await self.client(alice, "phone", proxy=proxy)
        await enter(phone, room, "alice")
        phone.drop()
        await proxy.process.says(f"session of {alice.jid}/phone ends")
        for number in range(30):
            body = f"{number} {'x' * 100_000}"
            mallory.send(f"<message to='{room}/alice' type='chat' id='p{number}'><body>{body}</body></message>")
        version = "<query xmlns='jabber:iq:version'/>"
        await mallory.iq("get", f"{room}/alice", version, PATIENCE)  # answered when all before has come
        await proxy.process.says("private messages or .* the oldest .* is lost")
        tablet = await self.client(alice, "tablet", proxy=proxy)
        await enter(tablet, room, "alice")
        await heard(tablet, "p29")
        came = [str(stanza.get("id")) for stanza in tablet.received if stanza.get("type") == "chat"]
        self.assertEqual(came, [f"p{number}" for number in range(30 - len(came), 30)])
        self.assertLess(len(came), 1024 * 1024 // 100_000 + 1)
        self.assertGreater(len(came), 5)


@on_both_servers
class BookmarkTests(ScenarioCase):
    async def test_hundreds(self) -> None:
        """The account joins as many rooms as it may be in, says that there are more, and goes on."""
        proxy = self.own_proxy(rooms={"max_rooms": 5})
        alice = await self.account("alice")
        service = self.room().partition("@")[2]
        writer = await self.client(alice, "writer", direct=True)
        many = MANY_ROOMS[self.kind]
        places = [f"b{number}-{alice.username}@{service}" for number in range(many)]
        bookmarks = "".join(f"<conference jid='{place}' autojoin='1'/>" for place in places)
        storage = f"<storage xmlns='storage:bookmarks'>{bookmarks}</storage>"
        reply = await writer.iq("set", None, f"<query xmlns='jabber:iq:private'>{storage}</query>")
        self.assertEqual(reply.get("type"), "result", str(reply)[:500])
        phone = await self.client(alice, "phone", proxy=proxy)
        await proxy.process.says(f"{alice.jid}: {many - 5} bookmarks are beyond the limit of rooms")
        line = next(line for line in proxy.log if "are beyond the limit" in line)
        self.assertLess(len(line), 2000)
        for place in places[:5]:
            await enter(phone, place, alice.username)
        phone.send(f"<presence to='{places[5]}/alice'><x xmlns='{NS_MUC}'/></presence>")
        await phone.expect(f"<presence type='error' from='{places[5]}/alice'/>")
        await phone.barrier(*places[:5])

    async def test_more_than_is_read(self) -> None:
        """A server keeps hundreds of items, of any size, and each write of a client calls for a reading of them all."""
        proxy, alice = self.own_proxy(), await self.account("alice")
        writer = await self.client(alice, "writer", direct=True)
        await writer.iq("set", None, creation().decode())  # so that ejabberd keeps more than one
        for number in range(6):
            conference = f"<conference xmlns='{NS_BOOKMARKS}' name='{'x' * 200_000}' autojoin='true'/>"
            item = f"<item id='b{number}@{self.room().partition('@')[2]}'>{conference}</item>"
            publish = f"<publish node='{NS_BOOKMARKS}'>{item}</publish>"
            reply = await writer.iq("set", None, f"<pubsub xmlns='{NS_PUBSUB}'>{publish}</pubsub>")
            self.assertEqual(reply.get("type"), "result", str(reply)[:500])
        phone = await self.client(alice, "phone", proxy=proxy)
        await proxy.process.says(f"{alice.jid}: the server gives no bookmarks: .*more than")
        room = self.room()
        await enter(phone, room, "alice")
        self.assertFalse([line for line in proxy.log if "a bookmark says to join" in line])


@on_both_servers
class ComeAndGoTests(RegistrationCase):
    timeout = 240

    @property
    def proxy_port(self) -> int:
        return self.own.port

    @property
    def proxy(self) -> Proxy:
        return self.own

    async def test_accounts_are_made_and_removed(self) -> None:
        """Eight, one after the other: the database is not written anew for them, and somebody talks meanwhile."""
        self.own = self.own_proxy()
        await self.own.process.says("state loaded")
        before = self.written_anew()
        jids: list[str] = []

        async def attack() -> None:
            for _ in range(8):
                client = await self.made()
                jids.append(client.bare)
                await enter(client, self.room(), "x")
                client.send(f"<iq type='set' id='gone'>{REMOVE}</iq>")
                await client.until_lost()
            for jid in jids:
                await self.own.process.says(f"nothing of {jid} is kept any more")

        await undisturbed(self, attack)
        self.assertEqual(self.written_anew(), before)
        client = await self.made()
        done = await run(self.own, "forget", client.bare)  # for the operator, it is
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertGreater(self.written_anew(), before)

    async def made(self) -> Client:
        client = await self.stranger()
        name = await self.fresh_name()
        self.assertEqual(outcome(await client.iq("set", None, query(name))), "result")
        await client.authenticate(name, PASSWORD)
        await client.open()
        await client.bind("x")
        await client.online()
        return client

    def written_anew(self) -> int:
        """How often all of the file was: SQLite counts changes of the schema, and takes VACUUM for one."""
        path = self.own.directory / "state" / "state.sqlite"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            return int(database.execute("PRAGMA schema_version").fetchone()[0])
