"""Ports: bound at the start or not at all, and changed by a reload, all of them or none."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.trial import unittest

from minimixproxy.cannot_start import CannotStart
from minimixproxy.config.reloading import CannotReload
from minimixproxy.config.settings import Settings
from minimixproxy.ports import PortGroup, Ports
from tests.log_events import log_events

LOOPBACK = "interface=127.0.0.1"


def wanted(*endpoints: str) -> Settings:
    return Settings.model_validate(
        {"listen": [{"endpoint": endpoint} for endpoint in endpoints], "domain": {"example.org": {}}}
    )


class Echo(Protocol):
    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)


class Asking(Protocol):
    def __init__(self) -> None:
        self.answer: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.answer.callback(data)

    async def ask(self, data: bytes) -> bytes:
        self.answer = Deferred()
        assert self.transport is not None
        self.transport.write(data)
        return await self.answer


class PortsCase(unittest.TestCase):
    timeout = 60

    def setUp(self) -> None:
        self.group: PortGroup
        self.events = log_events(self)

    def start(self, *endpoints: str) -> Ports:
        self.group = PortGroup("[[listen]]", self.factories, wanted(*endpoints), reactor)
        self.group.privilegedStartService()
        self.group.startService()
        self.addCleanup(self.group.stopService)
        return Ports([self.group])

    def factories(self, settings: Settings) -> dict[str, Factory]:
        return {listen.endpoint: Factory.forProtocol(Echo) for listen in settings.listen}

    def taken(self) -> tuple[socket.socket, str]:
        """A socket that somebody else listens on, and its endpoint."""
        other = socket.socket()
        self.addCleanup(other.close)
        other.bind(("127.0.0.1", 0))
        other.listen()
        return other, f"tcp:{other.getsockname()[1]}:{LOOPBACK}"

    def free(self) -> str:
        """An endpoint on which nobody listens."""
        other, endpoint = self.taken()
        other.close()
        return endpoint

    async def client(self, endpoint: str) -> Asking:
        number = int(endpoint.split(":")[1])
        factory = Factory.forProtocol(Asking)
        client: Any = await TCP4ClientEndpoint(reactor, "127.0.0.1", number).connect(factory)
        self.addCleanup(client.transport.abortConnection)
        return client  # type: ignore[no-any-return]

    async def refused(self, endpoint: str) -> None:
        with self.assertRaises(Exception):  # noqa: B017 (whatever the system says)
            await self.client(endpoint)


class StartTests(PortsCase):
    async def test_bound(self) -> None:
        endpoints = self.free(), self.free()
        self.start(*endpoints)
        for endpoint in endpoints:
            self.assertEqual(await (await self.client(endpoint)).ask(b"x"), b"x")

    def test_taken(self) -> None:
        """One sentence ends the process, and what was bound is not left behind."""
        _other, endpoint = self.taken()
        error = self.assertRaises(CannotStart, self.start, self.free(), endpoint)
        sentence = f'[[listen]] "{endpoint}" cannot be bound: Address already in use: another program listens there'
        self.assertEqual((str(error), error.code), (sentence, f"minimixproxy: {sentence}"))
        return self.group.stopService()  # type: ignore[return-value]

    def test_words(self) -> None:
        """By what is wrong."""
        directory = Path(self.mktemp())
        for endpoint, words in (
            (f"unix:{directory}/none/socket", "No such file or directory"),
            ("tcp:5222:interface=192.0.2.1", "Cannot assign requested address"),
            ("ssl:5223:privateKey=/nowhere/key", "/nowhere/key: No such file or directory"),
            ("tcp:70000", "bind(): port must be 0-65535."),
            ("tcp:x", '"x" is no number'),
        ):
            settings = wanted("tcp:0").model_copy(
                update={"listen": (wanted("tcp:0").listen[0].model_copy(update={"endpoint": endpoint}),)}
            )
            group = PortGroup("[[listen]]", self.factories, settings, reactor)
            error = self.assertRaises(CannotStart, group.privilegedStartService)
            self.assertEqual(str(error), f'[[listen]] "{endpoint}" cannot be bound: {words}')

    def test_both_protocols(self) -> None:
        """`tcp6:` takes IPv4, too: who names both is told so."""
        number = self.free().split(":")[1]
        error = self.assertRaises(CannotStart, self.start, f"tcp6:{number}", f"tcp:{number}")
        self.assertIn(f'"tcp6:{number}" listens there; "tcp6:" takes IPv4, too', str(error))
        return self.group.stopService()  # type: ignore[return-value]


class ReloadTests(PortsCase):
    async def test_added_and_removed(self) -> None:
        """The client of one that goes stays."""
        old, stays, new = self.free(), self.free(), self.free()
        ports = self.start(old, stays)
        client = await self.client(old)
        self.assertEqual(await client.ask(b"1"), b"1")
        prepared = await ports.prepare(wanted(stays, new))
        self.assertEqual(await (await self.client(old)).ask(b"2"), b"2")
        prepared.commit()
        self.assertEqual(set(self.group.ports), {stays, new})
        for endpoint in (stays, new):
            self.assertEqual(await (await self.client(endpoint)).ask(b"3"), b"3")
        await self.refused(old)
        self.assertEqual(await client.ask(b"4"), b"4")

    async def test_undone(self) -> None:
        old, new = self.free(), self.free()
        ports = self.start(old)
        prepared = await ports.prepare(wanted(new))
        await prepared.undo()
        self.assertEqual(set(self.group.ports), {old})
        self.assertEqual(await (await self.client(old)).ask(b"x"), b"x")
        await self.refused(new)

    async def test_one_cannot_be_bound(self) -> None:
        """Then none is."""
        old, new = self.free(), self.free()
        _other, taken = self.taken()
        ports = self.start(old)
        for endpoints in ((old, new, taken), (new, taken)):  # with the old one kept, and not
            with self.assertRaises(CannotReload) as caught:
                await ports.prepare(wanted(*endpoints))
            self.assertIn(f'"{taken}" cannot be bound: Address already in use', str(caught.exception))
            self.assertEqual(set(self.group.ports), {old})
            self.assertEqual(await (await self.client(old)).ask(b"x"), b"x")
            await self.refused(new)

    async def test_the_same_port_otherwise(self) -> None:
        """The old one is in the way of the new one, and goes first."""
        old = self.free()
        new = old.replace("127.0.0.1", "0.0.0.0")
        ports = self.start(old)
        client = await self.client(old)
        self.assertEqual(await client.ask(b"1"), b"1")
        (await ports.prepare(wanted(new))).commit()
        self.assertEqual(set(self.group.ports), {new})
        self.assertEqual(await (await self.client(new)).ask(b"2"), b"2")
        self.assertEqual(await client.ask(b"3"), b"3")

    async def test_the_same_port_otherwise_undone(self) -> None:
        old = self.free()
        ports = self.start(old)
        prepared = await ports.prepare(wanted(old.replace("127.0.0.1", "0.0.0.0")))
        await prepared.undo()
        self.assertEqual(await (await self.client(old)).ask(b"x"), b"x")

    async def test_one_that_was_closed_cannot_come_back(self) -> None:
        """Somebody else has taken it in that moment: the log says so, aloud, and the rest goes on."""
        old, stays = self.free(), self.free()
        ports = self.start(old, stays)
        prepared = await ports.prepare(wanted(stays, old.replace("127.0.0.1", "0.0.0.0")))
        bind = self.group.bind

        async def fails(endpoint: str, factory: Any) -> Any:
            return await bind(stays, factory)

        self.patch(self.group, "bind", fails)
        await prepared.undo()
        self.assertEqual(set(self.group.ports), {stays})
        critical = [event for event in self.events if event["log_level"].name == "critical"]
        self.assertEqual(len(critical), 1)

    async def test_closed_meanwhile(self) -> None:
        """A drain, or the end, in the middle of a reload: nobody is let in, and nothing stays open unnoticed."""
        for ends in ("commit", "undo"):
            old = self.free()
            new = old.replace("127.0.0.1", "0.0.0.0")
            ports = self.start(old)
            preparing = Deferred.fromCoroutine(ports.prepare(wanted(new)))
            self.assertFalse(preparing.called, "it waits for the old one to be closed")
            await self.group.stopService()
            await maybeDeferred(getattr(await preparing, ends))
            self.assertEqual(self.group.ports, {})
            await self.refused(old)
        self.assertEqual(self.flushLoggedErrors(), [])

    async def test_all_is_closed_before_it_takes_effect(self) -> None:
        old, new = self.free(), self.free()
        prepared = await self.start(old).prepare(wanted(new))
        await self.group.stopService()
        prepared.commit()
        self.assertEqual(self.group.ports, {})
        for endpoint in (old, new):
            await self.refused(endpoint)
