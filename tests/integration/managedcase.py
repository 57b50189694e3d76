"""What tests of stream management begin with: devices that count, and places where they meet."""

from __future__ import annotations

from typing import Any

from tests.integration.cases import IntegrationTestCase
from tests.integration.inbox import Inbox
from tests.integration.managed import NS_SM, Device, Line
from tests.integration.servers import Account
from tests.integration.websocket import Tab

NS_MUC = "http://jabber.org/protocol/muc"
NS_STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"


class ManagedCase(IntegrationTestCase):
    """`direct`: the same at the server itself, which shows that a test asks for no more than servers give."""

    direct = False

    def setUp(self) -> None:
        super().setUp()
        if self.direct and not self.server.stream_management:
            self.skipTest("the server has no stream management")
        self.devices: list[Device] = []

    @property
    def entrance(self) -> int:
        """The port that devices connect to."""
        return self.server.port if self.direct else self.proxy.port

    async def device(
        self,
        account: Account | None = None,
        resource: str = "phone",
        *,
        port: int | None = None,
        come: bool = True,
        **how: Any,
    ) -> Device:
        """A device, which has come if nothing else is said; see Device.come for `how`."""
        device = self._made(account or await self.account(), port or self.entrance, resource)
        self.devices.append(device)
        if come:
            await device.come(**how)
        return device

    def _made(self, account: Account, port: int, resource: str) -> Device:
        beside = self.websocket_beside(port)
        if beside is None:
            return Device(account, port, resource)
        tab = Tab(account, beside, resource)
        tab.lenient = True
        return tab

    async def _close_clients(self) -> None:
        for device in self.devices:
            device.drop_all()
        for device in self.devices:
            for line in device.lines:
                await line.until_lost()
        await super()._close_clients()

    async def failed(self, line: Line, condition: str) -> Any:
        """Wait for `<failed/>` with that condition, as the next answer."""
        return await line.expect_next(f"<failed xmlns='{NS_SM}'><{condition} xmlns='{NS_STANZAS}'/></failed>")


def say(sender: Inbox, to: str, body: str, kind: str = "chat") -> None:
    sender.send(f"<message to='{to}' type='{kind}' id='{sender.new_id()}'><body>{body}</body></message>")


async def hear(listener: Inbox, body: str, sender: str = "") -> None:
    """Wait for that message, whoever it is from if nothing is said."""
    source = f" from='{sender}'" if sender else ""
    await listener.expect(f"<message{source}><body>{body}</body></message>")


async def enter(visitor: Inbox, room: str, nick: str) -> None:
    """Join a room, and wait for the subject."""
    visitor.send(f"<presence to='{room}/{nick}'><x xmlns='{NS_MUC}'/></presence>")
    await visitor.expect(f"<message from='{room}' type='groupchat'><subject/></message>")


def bodies(listener: Inbox, kind: str = "") -> list[str]:
    """What was said to it, all that came with a body, in that order."""
    return [
        str(body)
        for stanza in listener.received
        if b"<body" in stanza.raw and (not kind or stanza.get("type") == kind)
        for body in stanza.element.elements("jabber:client", "body")
    ]
