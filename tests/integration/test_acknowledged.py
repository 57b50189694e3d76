"""The proxy is killed while a device has not acknowledged (XEP-0198) what it was given: it gets that again.

And nothing else: what it has acknowledged, and the proxy has had the time to note, does not come again.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from tempfile import TemporaryDirectory

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from tests.integration.cases import on_both_servers
from tests.integration.client import Client
from tests.integration.comingback import ReturnCase
from tests.integration.faults import Listener
from tests.integration.proxy import Proxy
from tests.integration.xmlcut import Received
from tests.patience import patiently

NS_SM = "urn:xmpp:sm:3"
COUNTED = ("iq", "message", "presence")
LOOK = 0.2  # seconds from one look into the database to the next: nothing else tells what is there


class Phone(Listener):
    """Acknowledges only when it is told to. Each session of it is another one of these: it remembers nothing."""

    _before = 0  # what came before stream management was enabled

    async def connect(self) -> None:
        await super().connect()
        client: Client = self.client
        client.send(f"<enable xmlns='{NS_SM}' resume='true'/>")
        enabled = await client.expect(f"<enabled xmlns='{NS_SM}'/>")
        self._before = client.received.index(enabled) + 1

    def acknowledge(self) -> None:
        """Say that it has handled all that has come."""
        came = self.client.received[self._before :]
        handled = sum(stanza.element.name in COUNTED for stanza in came)
        self.client.send(f"<a xmlns='{NS_SM}' h='{handled}'/>")

    def privates(self) -> list[str]:
        return [stanza.text for stanza in self.client.inbox if self._is_private(stanza)]

    @staticmethod
    def _is_private(stanza: Received) -> bool:
        return stanza.element.name == "message" and stanza.get("type") == "chat" and "<body" in str(stanza)


@on_both_servers
class KilledTests(ReturnCase):
    async def start(self) -> Phone:
        """Bob's room, with alice's phone in it."""
        await self.begin()
        self.place = self.room()
        await self.bob.open(self.place)
        phone = await self.phone()
        await self.back(self.place)
        return phone

    async def phone(self) -> Phone:
        """The phone logs in anew, and joins."""
        phone = Phone("phone", self._dial(self.alice, "phone"), "alice")
        await phone.come_back(self.place)
        return phone

    def says(self, count: int) -> list[str]:
        return [self.bob.speak(self.place) for _ in range(count)]

    async def has(self, phone: Phone, count: int) -> list[str]:
        """Bob says so many; the phone gets and acknowledges them, and that is on disk."""
        said = self.says(count)
        await phone.hears(self.place, said)
        await self.acknowledges(phone)
        return said

    async def acknowledges(self, phone: Phone) -> None:
        """It acknowledges all, and that is on disk."""
        await self.settle(phone)  # of what is written at once, it is known that all has come, or nothing
        phone.acknowledge()
        newest = "(SELECT ifnull(max(sequence), 0) FROM messages)"
        attached = "(SELECT max(attached) FROM cursors WHERE resource = 'phone')"
        await self.noted(f"SELECT sequence >= max({newest}, {attached}) FROM acknowledged WHERE resource = 'phone'")

    async def noted(self, question: str) -> None:
        """Wait until the answer of the database is yes."""
        waited = 0.0
        while await deferToThread(answer, self.behind, question) != [(1,)]:
            waited += LOOK
            self.assertLess(waited, patiently(10), f"not in the database: {question}")
            await deferLater(reactor, LOOK)

    async def kill(self) -> None:
        await self.kill_and_return(self.place)

    async def gets(self, phone: Phone, expected: list[str]) -> None:
        """The phone is given these, and nothing else, though it does not acknowledge."""
        await phone.hears(self.place, expected)
        await self.settle(phone)
        self.assertEqual([heard.body for heard in phone[self.place].heard], expected)

    async def test_it_stops_acknowledging(self) -> None:
        phone = await self.start()
        await self.has(phone, 5)
        said = self.says(60)
        await phone.hears(self.place, said)
        await self.kill()
        said += self.says(3)
        phone = await self.phone()
        said += self.says(3)
        await self.gets(phone, said)

    async def test_its_connection_is_gone(self) -> None:
        """It sleeps, and what is said meanwhile was never written to it."""
        phone = await self.start()
        await self.has(phone, 5)
        said = self.says(10)
        await phone.hears(self.place, said)
        phone.drop()
        await self.behind.process.says("sleeps")
        said += self.says(50)
        await self.bob.hears(self.place, said)
        (witness,) = await self.come("witness", rooms=[self.place])
        await witness.hears(self.place, said[-1:])
        await self.kill()
        await self.gets(await self.phone(), said)

    async def test_it_acknowledged_before_its_connection_was_gone(self) -> None:
        """What it has acknowledged when it falls asleep is noted at once."""
        phone = await self.start()
        said = self.says(30)
        await phone.hears(self.place, said)
        phone.acknowledge()
        await phone.client.barrier()
        phone.drop()
        await self.behind.process.says("sleeps")
        said = self.says(40)
        await self.bob.hears(self.place, said)
        (witness,) = await self.come("witness", rooms=[self.place])
        await witness.hears(self.place, said[-1:])
        await self.kill()
        await self.gets(await self.phone(), said)

    async def test_it_has_not_got_its_replay(self) -> None:
        """Be that long or short: it was written to it, and what it had before counts."""
        for count in (30, 150):
            phone = await self.start()
            await self.has(phone, 3)
            await phone.client.close()
            said = self.says(count)
            await self.bob.hears(self.place, said)
            phone = await self.phone()
            await self.gets(phone, said)
            await self.kill()
            phone = await self.phone()
            await self.gets(phone, said)
            await self.acknowledges(phone)
            await self.kill()
            said = self.says(30)
            await self.gets(await self.phone(), said)
            await self.bob.client.close()

    async def test_a_new_device(self) -> None:
        """It is not new when it comes back: it is given more than the few messages of a new one."""
        phone = await self.start()
        said = self.says(60)
        await phone.hears(self.place, said)
        await self.kill()
        await self.gets(await self.phone(), said)

    async def test_private_messages(self) -> None:
        phone = await self.start()
        self.bob.client.send(f"<message to='{self.place}/alice' type='chat' id='p'><body>psst</body></message>")
        await phone.client.until(lambda: phone.privates() == ["psst"], "a private message")
        await self.kill()
        phone = await self.phone()
        await phone.client.until(lambda: phone.privates() == ["psst"], "a private message, again")
        await self.acknowledges(phone)
        await self.noted("SELECT count(*) = 0 FROM privates")
        await self.kill()
        phone = await self.phone()
        await self.settle(phone)
        self.assertEqual(phone.privates(), [])


def answer(proxy: Proxy, question: str) -> list[tuple[int]]:
    """Ask a copy of the database: a running proxy is not to be disturbed. None while it is being written to."""
    with TemporaryDirectory() as copy:
        for file in (proxy.directory / "state").glob("state.sqlite*"):
            shutil.copy(file, copy)
        try:
            with closing(sqlite3.connect(f"{copy}/state.sqlite")) as database:
                return database.execute(question).fetchall()
        except sqlite3.DatabaseError:  # copied in the middle of a write
            return []
