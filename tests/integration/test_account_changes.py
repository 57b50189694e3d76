"""What an account's own client changes at the server: its password, or that it is there (XEP-0077 §3.2, §3.3)."""

import sqlite3
from contextlib import closing

from minimixproxy.wire.trees import MAX_TAGS
from tests.integration.cases import on_both_servers
from tests.integration.client import Client
from tests.integration.processes import temporary_directory
from tests.integration.test_credentials import CredentialsCase
from tests.integration.test_registration import NS, outcome, query

NEW = "n3w pass & word"
REMOVE = f"<query xmlns='{NS}'><remove/></query>"
SECRET = "between us only"


class ChangesCase(CredentialsCase):
    async def changes(self, client: Client, payload: str, to: str | None = None) -> str:
        return outcome(await client.iq("set", to, payload))

    async def unchanged(self, room: str) -> None:
        """The account is still itself: after a crash it comes back by what it had."""
        self.assertFalse([line for line in self.behind.log if "has changed its password" in line])
        self.assertFalse([line for line in self.behind.log if "has removed its account" in line])
        await self.kill_and_return(room)


@on_both_servers
class PasswordTests(ChangesCase):
    async def learned(self, room: str, start: int = 0) -> None:
        """The proxy has the new password, in the room and on disk; it said so behind line `start` of its log."""
        await self.behind.process.says(f"the new password of {self.alice.jid} is learned", start=start)
        await self.back(room)  # Prosody ends all other streams of the account
        await self.phone.client.barrier(room)  # what the account tells comes when all before is on disk

    async def test_the_account_comes_back_by_the_new_one(self) -> None:
        room = await self.in_room()
        self.assertEqual(await self.changes(self.phone.client, query(self.alice.username, NEW)), "result")
        await self.learned(room)
        self.not_on_disk(NEW)
        self.assertNotIn(NEW, "\n".join(self.behind.log))
        await self.kill_and_return(room)
        self.assertFalse([line for line in self.behind.log if "waits for a client" in line or "refuse" in line])
        await self.kill_and_return(room)
        await self.device("tablet", self.alice._replace(password=NEW)).connect()
        stranger = await self.connect(proxy=self.behind)
        with self.assertRaises(AssertionError):
            await stranger.login(self.alice)

    async def test_changed_twice(self) -> None:
        room = await self.in_room()
        start = 0
        for password in ("first", NEW):
            self.assertEqual(await self.changes(self.phone.client, query(self.alice.username, password)), "result")
            await self.behind.process.says("has changed its password", start=start)
            lines = self.behind.process.lines
            start = 1 + max(number for number, line in enumerate(lines) if "has changed its password" in line)
        await self.learned(room, start)  # the first one may be learned, too
        await self.kill_and_return(room)

    async def test_the_client_leaves_before_it_hears_of_it(self) -> None:
        room = await self.in_room()
        self.phone.client.send(f"<iq type='set' id='p'>{query(self.alice.username, NEW)}</iq></stream:stream>")
        await self.behind.process.says(f"the new password of {self.alice.jid} is learned")
        await self.device("tablet", self.alice._replace(password=NEW)).connect()
        await self.back(room)
        await self.kill_and_return(room)

    async def test_the_password_of_somebody_else(self) -> None:
        """Prosody refuses; ejabberd makes an account of that name. It is not this account's in any case."""
        room = await self.in_room()
        await self.changes(self.phone.client, query(f"{self.alice.username}x", NEW))
        await self.unchanged(room)

    async def test_refused(self) -> None:
        room = await self.in_room()
        for payload in (query("", NEW), f"<query xmlns='{NS}'><username>{self.alice.username}</username></query>"):
            self.assertNotEqual(await self.changes(self.phone.client, payload), "result")
        await self.unchanged(room)


@on_both_servers
class RemovalTests(ChangesCase):
    async def removed(self) -> None:
        await self.behind.process.says(f"nothing of {self.alice.jid} is kept any more")

    def traces(self, *texts: str) -> list[str]:
        """Which of these the database has, as it would be read after a crash."""
        copy = temporary_directory("copy")
        for path, content in self.state().items():
            (copy / path.name).write_bytes(content)
        with closing(sqlite3.connect(copy / "state.sqlite")) as database:
            rows = "\n".join(database.iterdump()).lower()
        return [text for text in texts if text in rows or text.encode().hex() in rows]

    async def secrets_in_room(self) -> str:
        """A room with a message and a private message, on disk."""
        room = await self.in_room()
        await self.bob.say(room, SECRET)
        await self.phone.hears(room, [SECRET])
        self.phone.drop()
        await self.behind.process.says(f"session of {self.alice.jid}/phone ends")
        self.bob.client.send(f"<message to='{room}/alice' type='chat'><body>{SECRET} for you</body></message>")
        await self.bob.client.barrier(room)
        (self.phone,) = await self.come("phone", rooms=[room])
        await self.phone.client.barrier(room)
        self.assertTrue(self.traces(self.alice.jid))
        self.assertTrue(self.traces(SECRET))
        return room

    async def nothing_is_left(self, room: str) -> None:
        await self.removed()
        await self.away(room)
        self.assertEqual(self.traces(self.alice.jid, SECRET, room), [])
        for path, content in self.state().items():
            for text in (self.alice.jid, SECRET, room):
                self.assertNotIn(text.encode(), content, path)

    async def test_forgotten_entirely(self) -> None:
        room = await self.secrets_in_room()
        tablet = self.device("tablet")
        await tablet.come_back(room)
        self.phone.client.send(f"<iq type='set' id='gone'>{REMOVE}</iq>")
        await self.phone.client.expect("<iq type='result' id='gone'/>")
        await self.phone.client.until_lost()
        await tablet.client.until_lost()
        await self.nothing_is_left(room)

        await self.server.register(self.alice.username, "of somebody else")
        heir = self.device("phone", self.alice._replace(password="of somebody else"))
        await heir.connect()
        await heir.client.barrier()
        self.assertNotIn("alice", self.bob[room].occupants)
        await self.behind.restart(kill=True)
        await heir.connect()
        await heir.client.barrier()
        await self.settle()
        self.assertNotIn("alice", self.bob[room].occupants)

    async def test_the_client_leaves_before_it_hears_of_it(self) -> None:
        room = await self.secrets_in_room()
        self.phone.client.send(f"<iq type='set' id='gone' to='{self.server.domain}'>{REMOVE}</iq></stream:stream>")
        await self.nothing_is_left(room)

    async def test_with_more_in_the_request(self) -> None:
        """Prosody removes whatever else is said; ejabberd wants the right password if there is a name."""
        room = await self.secrets_in_room()
        said = f"<remove/><username>{self.alice.username}</username><password>{self.alice.password}</password>"
        self.phone.client.send(f"<iq type='set' id='gone'><query xmlns='{NS}'>{said}</query></iq>")
        await self.phone.client.until_lost()
        await self.nothing_is_left(room)

    async def test_by_requests_whose_answers_tell_nothing(self) -> None:
        """An evil owner hides the removal, for the next one to be put into the rooms."""
        enable, much = "<enable xmlns='urn:xmpp:carbons:2'/>", "<a/>" * MAX_TAGS
        for hidden in (
            f"<iq type='set' id=''>{REMOVE}</iq>",
            f"<iq type='set' id='twice'>{enable}</iq><iq type='set' id='twice'>{REMOVE}</iq>",
            f"<iq type='set' id='twice'>{REMOVE}</iq><iq type='set' id='twice'>{enable}</iq>",
            "".join(f"<iq type='set' id='e{number}'>{enable}</iq>" for number in range(16))
            + f"<iq type='set' id='gone'>{REMOVE}</iq>",
            f"<iq type='set' id='gone'>{REMOVE.replace('<remove/>', f'<remove>{much}</remove>')}</iq>",
        ):
            room = await self.in_room()
            self.phone.client.send(hidden)
            await self.phone.client.until_lost()
            await self.removed()
            await self.away(room)

    async def test_of_somebody_else(self) -> None:
        """ejabberd removes whoever is named, if the password is right: that is not this account."""
        room = await self.in_room()
        other = await self.account("other")
        said = f"<username>{other.username}</username><password>{other.password}</password><remove/>"
        await self.changes(self.phone.client, f"<query xmlns='{NS}'>{said}</query>")
        await self.unchanged(room)
