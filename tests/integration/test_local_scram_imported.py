"""Accounts whose keys came from the servers' own stores: the first proof of a client completes them."""

from __future__ import annotations

from typing import ClassVar

from twisted.internet.threads import deferToThread

from tests.integration.cases import on_servers
from tests.integration.commands import run
from tests.integration.logins.device import Device, Failed
from tests.integration.logins.rules import ALL_PLUS, NEW_LISTS_HASH, Rules
from tests.integration.test_enroll import EnrollCase
from tests.integration.test_enroll_stores import (
    ExportingEjabberd,
    HashedProsody,
    HashedProsody256,
    SQLEjabberd,
    SQLEjabberd512,
    SQLProsody,
)

NS_MUC = "http://jabber.org/protocol/muc"
STRICT = Rules("strict", ALL_PLUS, {"1.3": ("tls-exporter",)}, lists_hash=NEW_LISTS_HASH, needs_binding=True)


@on_servers(HashedProsody, HashedProsody256, SQLProsody, SQLEjabberd, SQLEjabberd512, ExportingEjabberd)
class ImportedTests(EnrollCase):
    timeout = 120
    mechanisms: ClassVar = {
        HashedProsody: "SCRAM-SHA-1-PLUS",
        HashedProsody256: "SCRAM-SHA-256-PLUS",
        SQLProsody: "SCRAM-SHA-1-PLUS",
        SQLEjabberd: "SCRAM-SHA-1-PLUS",
        SQLEjabberd512: "SCRAM-SHA-512-PLUS",
        ExportingEjabberd: "SCRAM-SHA-256-PLUS",
    }

    async def test_in_rooms_without_a_password(self) -> None:
        proxy = self.own_proxy(domain={"logins": ["SCRAM"]})
        alice, room = await self.account(), self.room()
        assert isinstance(self.server, HashedProsody | SQLEjabberd | ExportingEjabberd)
        if isinstance(self.server, ExportingEjabberd):
            await self.server.export()
        self.assertEqual((await run(proxy, "enroll", *self.server.source())).returncode, 0)
        with self.assertRaisesRegex(Failed, "not-authorized"):
            await Device(STRICT, alice, "wrong").login(proxy.port)
        self.assertEqual([known for _hash, known in self.kept(proxy)[alice.jid]], [False])

        bob = await self.client(await self.account("bob"), "desk", direct=True)
        bob.send(f"<presence to='{room}/bob'><x xmlns='{NS_MUC}'/></presence>")
        await bob.expect(f"<message from='{room}' type='groupchat'><subject/></message>")
        device = Device(STRICT, alice)
        phone = await device.login(proxy.port)
        self._clients.append(phone)
        self.assertEqual(device.way.mechanism, self.mechanisms[self.kind])
        phone.send("<presence/>")
        phone.send(f"<presence to='{room}/alice'><x xmlns='{NS_MUC}'/></presence>")
        await phone.expect(f"<message from='{room}' type='groupchat'><subject/></message>")
        await bob.expect(f"<presence from='{room}/alice'/>")
        phone.drop()

        await deferToThread(proxy.process.stop)
        await bob.expect(f"<presence from='{room}/alice' type='unavailable'/>")
        await deferToThread(proxy.start)
        await bob.expect(f"<presence from='{room}/alice'/>")
