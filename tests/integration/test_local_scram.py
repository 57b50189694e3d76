"""SCRAM with accounts whose keys the proxy knows, by clients that share no code with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from twisted.internet.threads import deferToThread

from tests.integration.cases import IntegrationTestCase, on_both_servers, on_servers
from tests.integration.ejabberd import Ejabberd
from tests.integration.libraries import LIBRARIES, unusable
from tests.integration.logins.device import Device, Failed
from tests.integration.logins.rules import (
    ALL_HASHES,
    ALL_PLUS,
    CONVERSATIONS,
    CONVERSATIONS_STRICT,
    CONVERSE,
    DINO,
    GAJIM,
    NEW_LISTS_HASH,
    PROFANITY,
    SISKIN,
    Rules,
)
from tests.integration.logins.scram import Refused
from tests.integration.nbxmpp_device import Nbxmpp
from tests.integration.profanity import Profanity
from tests.integration.prosody import Prosody
from tests.integration.proxy import Proxy
from tests.integration.servers import Account

BOUND = (("1.3", "tls-exporter"), ("1.3", "tls-server-end-point"), ("1.2", "tls-server-end-point"))


class LocalScramCase(IntegrationTestCase):
    timeout = 120

    async def known(self, **domain: object) -> tuple[Proxy, Account]:
        """A proxy that knows an account's keys: a device has said the password, and is there."""
        proxy = self.own_proxy(domain={"logins": ["SCRAM", "PLAIN"], **domain})
        account = await self.account()
        await self.client(account, "laptop", proxy=proxy)
        return proxy, account

    async def in_room(self, proxy: Proxy, account: Account) -> str:
        """Let another device of it come, which joins a room; return the room."""
        room = self.room()
        tablet = await self.client(account, "tablet", proxy=proxy)
        tablet.send(f"<presence to='{room}/alice'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
        await tablet.expect(f"<message from='{room}' type='groupchat'><subject/></message>")
        return room

    @property
    def hash_name(self) -> str:
        return "SCRAM-SHA-1" if self.kind is Prosody else "SCRAM-SHA-256"

    async def login(self, device: Device, proxy: Proxy, tls: str = "1.3") -> str:
        """Log in, and be answered by the server. Returns the mechanism and the header of GS2."""
        client = await device.login(proxy.port, tls)
        await client.barrier()
        await client.close()
        return f"{device.way.mechanism} {device.way.header}"


@on_both_servers
class LocalScramTests(LocalScramCase):
    async def test_every_channel_binding(self) -> None:
        proxy, account = await self.known()
        for tls, type_ in BOUND:
            rules = Rules("binds", ALL_PLUS, {tls: (type_,)}, lists_hash=NEW_LISTS_HASH, needs_binding=True)
            device = Device(rules, account)
            self.assertEqual(await self.login(device, proxy, tls), f"{self.hash_name}-PLUS p={type_},,")
            self.assertEqual(device.offered.mechanisms, (f"{self.hash_name}-PLUS", self.hash_name, "PLAIN"))
            types = tuple(name for version, name in BOUND if version == tls)
            self.assertEqual(device.offered.bindings, types)
            self.assertIn(",h=", device.server_first)

    async def test_without_channel_binding(self) -> None:
        proxy, account = await self.known()
        for tls in ("1.3", "1.2"):
            rules = Rules("does not bind", ALL_HASHES, lists_hash=NEW_LISTS_HASH, grease=True)
            self.assertEqual(await self.login(Device(rules, account), proxy, tls), f"{self.hash_name} n,,")

    async def test_protection_is_left_out(self) -> None:
        proxy, account = await self.known(scram_downgrade_protection=False)
        device = Device(Rules("any", ALL_HASHES), account)
        await self.login(device, proxy)
        self.assertNotIn(",h=", device.server_first)

    async def test_by_the_rules_of_clients(self) -> None:
        """What is kept of a login is good for the next: of the proxy's, the salt and iterations of the server."""
        proxy, account = await self.known()
        plus = f"{self.hash_name}-PLUS p=tls-exporter,,"
        for rules, way in (
            (CONVERSATIONS, plus),
            (CONVERSATIONS_STRICT, plus),
            (PROFANITY, plus),
            (SISKIN, f"{self.hash_name} n,,"),
            (GAJIM, f"{self.hash_name} n,,"),
            (CONVERSE, f"{self.hash_name} n,,"),
            (DINO, "SCRAM-SHA-1 n,," if self.kind is Prosody else "PLAIN "),
        ):
            device = Device(rules, account)
            for _time in range(2):
                device.token = None  # that would be another way
                self.assertEqual(await self.login(device, proxy), way, rules.client)

    async def test_wrong_password(self) -> None:
        proxy, account = await self.known()
        for rules in (CONVERSATIONS_STRICT, SISKIN):
            with self.assertRaisesRegex(Failed, "not-authorized"):
                await self.login(Device(rules, account, "wrong"), proxy)
            await self.login(Device(rules, account), proxy)

    async def test_bound_to_another_connection(self) -> None:
        """The password is right, and the proof is for the connection of another device of the same account."""
        proxy, account = await self.known()
        other = await Device(CONVERSATIONS_STRICT, account).login(proxy.port)
        self._clients.append(other)

        class Elsewhere(Device):
            def _usable(self, mechanisms: Sequence[str]) -> list[str]:
                self.client.creator = other.creator
                return super()._usable(mechanisms)

        with self.assertRaisesRegex(Failed, "not-authorized"):
            await self.login(Elsewhere(CONVERSATIONS_STRICT, account), proxy)
        await proxy.process.says(r": not-authorized, the login is bound to another connection")
        await self.login(Device(CONVERSATIONS_STRICT, account), proxy)

    async def test_nobody_there(self) -> None:
        """An account that does not exist is challenged as if it did, enrolled or not, and as often as it asks."""
        proxy, account = await self.known()
        await self.login(Device(SISKIN, account), proxy)
        salts = set()
        for _time in range(2):
            device = Device(SISKIN, account._replace(username="nobody"))
            with self.assertRaisesRegex(Failed, "not-authorized"):
                await self.login(device, proxy)
            salts.add(device.server_first.partition(",s=")[2])
        self.assertEqual(len(salts), 1)
        there = Device(SISKIN, account)
        await self.login(there, proxy)
        self.assertEqual(
            [len(salt) for salt in salts], [len(there.server_first.partition(",s=")[2].partition(",h=")[0])]
        )

    async def test_somebody_stands_in_between(self) -> None:
        """He has taken the better mechanisms out of the list: who looks at it (XEP-0474), or binds, finds out."""
        proxy, account = await self.known()
        rules = replace(SISKIN, lists_hash=NEW_LISTS_HASH)

        left = ("PLAIN", self.hash_name)

        class Deceived(Device):
            def _usable(self, mechanisms: Sequence[str]) -> list[str]:
                self.offered = self.offered._replace(mechanisms=left, bindings=None)
                return super()._usable(mechanisms)

        with self.assertRaisesRegex(Refused, "tampered"):
            await self.login(Deceived(rules, account), proxy)
        with self.assertRaisesRegex(Failed, "malformed-request"):
            await self.login(Deceived(replace(PROFANITY, mechanisms=left), account), proxy)


@on_servers(Ejabberd)
class PasswordChangedTests(LocalScramCase):
    """ejabberd leaves those online who logged in with the old one, so the proxy finds out at the next login."""

    async def test_password_changed_elsewhere(self) -> None:
        """Who could not have its login relayed comes in at its next try, without channel binding."""
        proxy, account = await self.known()
        await proxy.process.says(f"account stream open: {account.jid}")  # or it would be the one to find out
        changed = await self.server.set_password(account, "other word")
        with self.assertRaisesRegex(Failed, "temporary-auth-failure"):
            await self.login(Device(CONVERSATIONS_STRICT, changed), proxy)
        await proxy.process.says(f"the keys that were known of {account.jid} are withdrawn")
        self.assertEqual(await self.login(Device(SISKIN, changed), proxy), f"{self.hash_name} n,,")
        with self.assertRaisesRegex(Failed, "not-authorized"):
            await self.login(Device(SISKIN, account), proxy)

    async def test_password_changed_elsewhere_without_channel_binding(self) -> None:
        """The login is relayed, on the stream on which the proxy has found out."""
        proxy, account = await self.known()
        await proxy.process.says(f"account stream open: {account.jid}")
        changed = await self.server.set_password(account, "other word")
        self.assertEqual(await self.login(Device(SISKIN, changed), proxy), f"{self.hash_name} n,,")
        await proxy.process.says(f"the keys that were known of {account.jid} are withdrawn")


@on_servers(Prosody)
class PasswordChangedAtProsodyTests(LocalScramCase):
    """Prosody throws out who logged in with the old one, the account stream, too: its keys are known to be old."""

    async def test_relayed(self) -> None:
        proxy, account = await self.known()
        await self.in_room(proxy, account)  # so that there is an account stream to be thrown out
        changed = await self.server.set_password(account, "other word")
        await proxy.process.says(f"account stream of {account.jid}: (login refused|the server has another salt)")
        with self.assertRaisesRegex(Refused, "no channel binding is offered"):
            await self.login(Device(CONVERSATIONS_STRICT, changed), proxy)
        self.assertEqual(await self.login(Device(SISKIN, changed), proxy), f"{self.hash_name} n,,")
        with self.assertRaisesRegex(Failed, "not-authorized"):
            await self.login(Device(SISKIN, account), proxy)


@on_both_servers
class RealClientsTests(LocalScramCase):
    """Real clients and libraries where nothing but SCRAM is offered; a device in a room has made the keys known."""

    async def known_after_restart(self) -> tuple[Proxy, Account, str]:
        proxy, account = await self.known()
        room = await self.in_room(proxy, account)
        await deferToThread(proxy.process.stop)
        before = proxy.configuration.read_text()
        after = before.replace('"SCRAM", "PLAIN"', '"SCRAM"')
        self.assertNotEqual(after, before)
        proxy.configuration.write_text(after)
        await deferToThread(proxy.start)
        return proxy, account, room

    def checked_here(self, proxy: Proxy) -> None:
        """The proxy knows afterwards what it needs to log in itself: nothing was relayed."""
        self.assertEqual([line for line in proxy.process.lines if "is not enrolled" in line], [])

    async def library(self, name: str) -> None:
        make, module = LIBRARIES[name]
        reason = unusable(module)
        if reason:
            self.skipTest(reason)
        proxy, account, room = await self.known_after_restart()
        device = make(account, "phone")
        self.addCleanup(device.logout)
        await device.login(proxy.port)
        await device.join(room, "alice")
        device.say(room, "hello")
        await device.hears("hello")
        self.checked_here(proxy)

    async def test_slixmpp(self) -> None:
        await self.library("slixmpp")

    async def test_aioxmpp(self) -> None:
        await self.library("aioxmpp")

    async def test_nbxmpp(self) -> None:
        self.need(Nbxmpp.missing())
        proxy, account, room = await self.known_after_restart()
        device = Nbxmpp(account, "gajim")
        self.addCleanup(device.logout)
        await device.login(proxy.port)
        await device.join(room, "alice")
        self.checked_here(proxy)

    async def test_profanity(self) -> None:
        self.need(Profanity.missing())
        proxy, account, room = await self.known_after_restart()
        device = Profanity(account, "profanity")
        self.addCleanup(device.logout)
        await device.login(proxy.port)
        await device.join(room)
        self.checked_here(proxy)
