"""A password is changed, then sessions lose their server: with what do they log in again?"""

from __future__ import annotations

from tests.integration.cases import on_both_servers
from tests.integration.managed import Device
from tests.integration.managedcase import ManagedCase
from tests.integration.prosody import Prosody
from tests.integration.relay import Relay
from tests.integration.test_registration import query

NEW = "n3w pass & word"


class PasswordCase(ManagedCase):
    def setUp(self) -> None:
        super().setUp()
        self.upstream = Relay(self.server.port)
        self.upstream.start()
        self.addCleanup(self.upstream.stop)
        self.behind = self.own_proxy(domain={"upstream": f"tcp:127.0.0.1:{self.upstream.port}"})

    @property
    def entrance(self) -> int:
        return self.behind.port

    async def cut(self, phone: Device, becomes: str) -> None:
        """The session loses its server; wait for what the proxy says of it."""
        start = len(self.behind.process.lines)
        self.upstream.cut()
        await self.behind.process.says(f"{phone.jid}: {becomes}", start=start)

    async def is_resumed(self, phone: Device) -> None:
        await self.cut(phone, "the stream to the server is resumed")
        await phone.barrier()
        self.assertIsNone(phone.line.lost)


@on_both_servers
class OwnPasswordTests(PasswordCase):
    async def test_the_one_that_its_client_has_changed(self) -> None:
        phone = await self.device()
        answer = await phone.iq("set", None, query(phone.account.username, NEW))
        self.assertEqual(answer.get("type"), "result")
        await self.is_resumed(phone)
        await self.is_resumed(phone)
        self.assertEqual(len(phone.lines), 1)


@on_both_servers
class OtherPasswordTests(PasswordCase):
    async def changed_elsewhere(self) -> Device:
        """A phone whose password somebody else has changed: whoever runs the server."""
        phone = await self.device()
        if isinstance(self.server, Prosody):  # it would end all other streams of the account
            await self.server.register(phone.account.username, NEW)
        else:
            await self.server.set_password(phone.account, NEW)
        return phone

    async def test_the_one_with_which_it_was_resumed(self) -> None:
        phone = await self.changed_elsewhere()
        phone.account = phone.account._replace(password=NEW)
        phone.line.drop()
        await phone.line.until_lost()
        self.assertTrue(await phone.resume())
        await self.is_resumed(phone)
        self.assertEqual(len(phone.lines), 2)

    async def test_a_client_that_does_not_know_it_has_to_log_in_anew(self) -> None:
        phone = await self.changed_elsewhere()
        await self.cut(phone, "the server refuses the login")
        reset = "<reset xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
        await phone.line.expect(f"<error xmlns='http://etherx.jabber.org/streams'>{reset}</error>")
        await phone.line.until_lost()
        phone.account = phone.account._replace(password=NEW)
        await phone.come()
        await phone.barrier()


del PasswordCase
