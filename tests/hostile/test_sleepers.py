"""Clients that fall asleep and never come back (XEP-0198), hundreds of them, of many accounts.

Each needs a login, twice that with the server's: a thousand are half a minute of CPU. How many sleep is a matter of the
proxy, not of the server: 400 do at Prosody, a hundred at ejabberd. Whatever is left of those that time out is left of
each.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults

from tests.integration.cases import on_both_servers
from tests.integration.ejabberd import Ejabberd
from tests.integration.inbox import TIMEOUT
from tests.integration.managed import Device
from tests.integration.managedcase import ManagedCase, enter, hear, say
from tests.integration.prosody import Prosody
from tests.integration.proxy import Proxy
from tests.integration.servers import Account
from tests.integration.test_status import status
from tests.patience import patiently

MANY = {Prosody: 80, Ejabberd: 20}  # accounts, for 400 and for a hundred sessions
FEW = 8  # accounts
EACH = 5  # sessions of an account that may sleep; each tries one more
AT_ONCE = 10  # clients that log in together
IN_ROOM = 10  # accounts whose sessions are in a room
SAID = [f"word {number}" for number in range(20)]  # there, while they sleep
BARRIERS = 200  # behind which the ends of streams are dealt with
LATE = 600.0  # seconds, on a busy machine


async def batches(calls: Iterable[Callable[[], Awaitable[Any]]]) -> None:
    """Make all calls, some at once."""
    waiting = list(calls)
    while waiting:
        some, waiting = waiting[:AT_ONCE], waiting[AT_ONCE:]

        async def make(call: Callable[[], Awaitable[Any]]) -> None:
            await call()

        await gatherResults([Deferred.fromCoroutine(make(call)) for call in some], consumeErrors=True)


class SleepersCase(ManagedCase):
    timeout = 1800
    own: Proxy

    @property
    def entrance(self) -> int:
        return self.own.port

    async def falls_asleep(self, account: Account, resource: str, room: str = "") -> Device:
        device = await self.device(account, resource, online=False)
        if room:
            await enter(device, room, account.username)
        device.drop()
        await device.line.until_lost()
        self.devices.remove(device)
        return device

    async def status(self, *arguments: str) -> Any:
        done = await status(self.own, "--json", *arguments)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return json.loads(done.stdout)

    async def unharmed(self, somebody: Device) -> None:
        await somebody.barrier()
        await somebody.until_acknowledged()
        somebody.check()
        self.assertEqual((len(somebody.lines), somebody.connected), (1, True))

    async def end_of(self, count: int, what: str) -> None:
        """Wait until so many sessions have ended, by lines of the log."""
        lines, looked = self.own.process.lines, 0
        while True:
            news = lines[looked:]
            looked += len(news)
            count -= sum(what in line for line in news)
            if count <= 0:
                return
            await self.own.process.says(what, patiently(LATE), start=looked)


@on_both_servers
class ManyTests(SleepersCase):
    async def test_all_at_once(self) -> None:
        """Of each account so many sleep as may, and no more; some come back, and have missed nothing."""
        self.own = self.own_proxy(sessions={"resume": 86_400, "sleeping_per_account": EACH})
        alice, room = await self.device(), self.room()
        await enter(alice, room, "alice")
        many = MANY[self.kind]
        accounts = [await self.account(f"sleeper{number}x") for number in range(many)]
        asleep: dict[str, Device] = {}

        async def sleeper(number: int, account: Account) -> None:
            for session in range(EACH + 1):  # one after the other: the first one has slept for longest
                device = await self.falls_asleep(account, f"r{session}", room if number < IN_ROOM else "")
                asleep[f"{number}/{session}"] = device

        await batches(partial(sleeper, *pair) for pair in enumerate(accounts))
        totals = (await self.status())["totals"]
        self.assertEqual((totals["sleeping"], totals["sessions"]), (many * EACH, many * EACH + 1))
        await self.unharmed(alice)
        for body in SAID:
            say(alice, room, body, "groupchat")
        await hear(alice, SAID[-1])
        for number in sorted({0, IN_ROOM - 1, IN_ROOM, many // 2 + 1, many - 1}):
            self.assertFalse(await asleep[f"{number}/0"].resume(), "the one that has slept for longest had to end")
            for session in (1, EACH):
                device = asleep[f"{number}/{session}"]
                self.assertTrue(await device.resume())
                if number < IN_ROOM:
                    await hear(device, SAID[-1])
                await device.barrier()
                device.check()
                await device.close()
        (shown,) = (await self.status("--account", accounts[-1].jid))["accounts"][:1]
        self.assertEqual(sorted(shown["asleep"]), [f"r{session}" for session in range(2, EACH)])
        await self.unharmed(alice)

    async def test_all_time_out(self) -> None:
        """Nothing of them is left."""
        self.own = self.own_proxy(sessions={"resume": 1})
        alice = await self.device()
        ended = "its client did not come back"
        accounts = [await self.account(f"sleeper{number}x") for number in range(FEW)]

        async def sleep_all() -> None:
            for number in range(EACH):
                await batches(partial(self.falls_asleep, account, f"r{number}") for account in accounts)

        await self.falls_asleep(accounts[0], "first")
        await self.end_of(1, ended)
        await self.until_streams_closed()
        before = await self.descriptors(alice)
        await sleep_all()
        await self.end_of(FEW * EACH + 1, ended)
        await self.until_streams_closed()
        self.assertEqual(await self.descriptors(alice, before), before)
        totals = (await self.status())["totals"]
        self.assertEqual((totals["sleeping"], totals["sessions"]), (0, 1))
        await self.unharmed(alice)

    async def until_streams_closed(self) -> None:
        """Those of accounts: each looks for bookmarks once, a few at a time, even if its sessions have ended."""
        while set((await self.status())["totals"]["streams"]) - {"closed"}:
            pass

    async def descriptors(self, bystander: Device, wanted: int | None = None) -> int:
        """Files and connections that the proxy has open, once the server has closed its side of ended streams."""
        end = reactor.seconds() + patiently(TIMEOUT)
        for tries in itertools.count(1):
            await bystander.barrier()
            count = len(os.listdir(f"/proc/{self.own.process.pid}/fd"))
            if count == wanted or (tries >= BARRIERS and (wanted is None or reactor.seconds() > end)):
                break
        return count


del SleepersCase
