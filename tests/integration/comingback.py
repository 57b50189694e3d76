"""What tests of coming back begin with: alice's devices behind a proxy of her own, bob directly at the server."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread

from tests.integration.cases import IntegrationTestCase
from tests.integration.client import Client
from tests.integration.ejabberd import UnmanagedEjabberd
from tests.integration.faults import Dial, Listener, Talker, verdict
from tests.integration.prosody import UnmanagedProsody
from tests.integration.relay import Relay
from tests.integration.servers import Account, Server, breakable

TOO_LATE = "does not wait for the archive of {room} any more"  # in the proxy's log


class RelayedCase(IntegrationTestCase):
    """`begin` first."""

    timeout = 120
    relay: Relay

    async def begin(self, *, own_server: type[Server] | None = None, **settings: Any) -> None:
        """The proxy reaches its server through a relay."""
        if own_server is not None:
            self.server = breakable(own_server)
        self.relay = Relay(self.server.port)
        self.relay.start()
        self.addCleanup(self.relay.stop)
        domain = {"upstream": f"tcp:127.0.0.1:{self.relay.port}", **settings.pop("domain", {})}
        self.behind = self.own_proxy(domain=domain, **settings)
        self.alice = await self.account("alice")
        self.bob = await self.talker("bob")

    async def talker(self, name: str) -> Talker:
        """Somebody directly at the server, connected."""
        account = await self.account(name)
        talker = Talker(name, self._dial(account, "desk", direct=True), self.server, name)
        self.addCleanup(talker.stop)
        await talker.connect()
        return talker

    def device(self, resource: str, account: Account | None = None, nick: str = "alice") -> Listener:
        """One of alice's, not connected yet."""
        return Listener(resource, self._dial(account or self.alice, resource), nick)

    def _dial(self, account: Account, resource: str, *, direct: bool = False) -> Dial:
        async def dial() -> Client:
            return await self.client(account, resource, direct=direct, proxy=None if direct else self.behind)

        return dial

    async def come(self, *resources: str, rooms: list[str], wish: str = "") -> list[Listener]:
        """These devices of alice, connected and in the rooms, which bob has opened."""
        devices = [self.device(resource) for resource in resources]
        for device in devices:
            await device.come_back(*rooms, wish=wish)
        return devices

    async def stream_resource(self) -> str:
        """The resource that alice's account stream has bound."""
        line = await self.behind.process.says(rf"account stream open: {re.escape(self.alice.jid)}/")
        return line.rpartition("/")[2].strip()

    async def settle(self, *devices: Listener) -> None:
        """All that bob said has reached those rooms' devices that are in them."""
        for _round in range(2):
            await self.bob.client.barrier(*(room for room in self.bob.sent if self.bob[room].nick))
            for device in devices:
                await device.client.barrier(*(room for room, place in device.places.items() if place.nick))

    async def check(self, *devices: Listener, rooms: list[str]) -> None:
        """Every device has got what the rooms took exactly once, in order, and is in the rooms, as are alice and bob.

        Twice only what `instant` has found.
        What a slow server's archive tells too late is given later, out of order: the proxy says so in its log.
        """
        for room in rooms:
            for device in devices:
                await device.hears(room, self.bob.accepted(room))
        await self.settle(*devices)
        faults = []
        in_order = {room for room in rooms if not any(TOO_LATE.format(room=room) in line for line in self.behind.log)}
        for room in rooms:
            for device in devices:
                heard = device[room].bodies
                wrong = verdict(heard, self.bob.accepted(room), self.bob.sent[room], device.in_between)
                faults += [f"{device.name} in {room}: {wrong}"] if wrong else []
                if room in in_order and not wrong and list(dict.fromkeys(heard)) != self.bob.accepted(room):
                    faults.append(f"{device.name} in {room}, out of order: {heard}")
                if (device[room].nick, set(device[room].occupants)) != ("alice", {"alice", "bob"}):
                    faults.append(f"{device.name} in {room}: is {device[room].nick!r} of {device[room].occupants}")
            if set(self.bob[room].occupants) != {"alice", "bob"}:
                faults.append(f"bob sees {self.bob[room].occupants} in {room}")
        if faults:
            self.fail("\n".join(faults) + "".join("\n" + device.client.transcript() for device in devices))

    async def away(self, *rooms: str) -> None:
        """Bob has seen alice go, from all of them at once: she may be back in one before she is out of another."""
        await gatherResults([Deferred.fromCoroutine(self.bob.misses(room, "alice")) for room in rooms])

    async def on_disk(self, device: Listener) -> None:
        """All that the proxy has noted so far survives: what it answers itself waits for that."""
        address = f"{self.alice.jid}/{await self.stream_resource()}"
        await device.client.iq("get", address, "<query xmlns='http://jabber.org/protocol/disco#info'/>")

    async def instant(self, *devices: Listener) -> None:
        """The proxy was killed: find out what it may give these devices once more (docs/limits.md, instant of a crash).

        A write to a client and the mark that says so, in the file `given_out`, are two system calls. Who is killed
        between them has given out what the mark does not tell: of that transaction's messages, and of no others,
        nobody can know. It happens: some 0.3 ms of each message, and these kills follow a message.
        """
        for device in devices:
            await device.client.until_lost()  # all that was on its way has come
        for device in devices:
            device.instant(self.behind.unmarked())

    async def back(self, *rooms: str) -> None:
        """Bob sees alice in these rooms (again)."""
        for room in rooms:
            # After many failures, as of a server that takes long to start, three minutes pass to the next attempt.
            await self.bob.sees(room, "alice", 60.0)

    async def kill_and_return(self, *rooms: str) -> None:
        """The proxy is killed and started; the account is back in these rooms before any client is there."""
        await deferToThread(self.behind.process.kill)
        await self.away(*rooms)
        await deferToThread(self.behind.start)
        await self.back(*rooms)


class ReturnCase(RelayedCase):
    """The servers have no stream management, so that what ends a connection of the account stream ends the stream."""

    kind: ClassVar[type[Server]] = UnmanagedProsody
    kinds = (UnmanagedProsody, UnmanagedEjabberd)
