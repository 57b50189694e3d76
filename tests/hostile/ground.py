"""Where an attack takes place, and what all attacks need: rooms, victims, accounts, waiting until all is dealt with."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol

from tests.integration.client import Client
from tests.integration.servers import Account, Server

NS_MUC = "http://jabber.org/protocol/muc"
NS_MAM = "urn:xmpp:mam:2"
NS_CORRECT = "urn:xmpp:message-correct:0"
NS_DATA = "jabber:x:data"
NS_ITEMS = "http://jabber.org/protocol/disco#items"
NS_COMMANDS = "http://jabber.org/protocol/commands"
JOIN = f"<x xmlns='{NS_MUC}'><history maxstanzas='0'/></x>"
PATIENCE = 120.0  # seconds for what comes behind megabytes

Attack = Callable[[], Awaitable[None]]


class Ground(Protocol):
    """Where it takes place; `IntegrationTestCase` is one."""

    server: Server

    def much(self, number: int) -> int:
        """How much of something; a measurement takes `number`. A fault shows in less, if it shows at all."""

    @property
    def proxy_port(self) -> int:
        """The proxy's, for plain connections."""

    def room(self, name: str = "room") -> str:
        """A room that nobody uses."""

    async def account(self, name: str = "alice") -> Account:
        """A fresh account."""

    async def connect(self, *, direct: bool = False, label: str = "client") -> Client:
        """A bare connection."""

    async def client(
        self, account: Account | None = None, resource: str | None = None, *, direct: bool = False
    ) -> Client:
        """A client that is online."""


class Scenario(NamedTuple):
    """`name` as it stands in the report."""

    name: str
    prepare: Callable[[Ground], Awaitable[Attack]]


async def enter(client: Client, room: str, nick: str, extra: str = "") -> None:
    """Join a room, and wait for the subject."""
    client.send(f"<presence to='{room}/{nick}'>{extra}{JOIN}</presence>")
    await client.expect(lambda stanza: b"<subject" in stanza.raw, PATIENCE)


async def heard(client: Client, identity: str) -> None:
    """Wait for a stanza of that id, whatever it is. Others are looked at by their start only."""
    wanted = {f"id='{identity}'".encode(), f'id="{identity}"'.encode()}
    await client.expect(lambda stanza: any(one in stanza.raw[:600] for one in wanted), PATIENCE)


async def settle(client: Client, *rooms: str) -> None:
    """Wait until all that the client said to its server and to rooms has been dealt with (see `Client.barrier`)."""
    for jid in (client.domain, *rooms):
        await client.iq("get", jid, "<ping xmlns='urn:xmpp:ping'/>", PATIENCE)


class Victim(NamedTuple):
    """alice, by the proxy on two devices, in a room with mallory, who is not behind it; `stream`: alice's there."""

    room: str
    phone: Client
    laptop: Client
    mallory: Client
    stream: str


async def victim(ground: Ground) -> Victim:
    room, alice = ground.room(), await ground.account("alice")
    mallory = await ground.client(await ground.account("mallory"), "m", direct=True)
    await enter(mallory, room, "mallory")
    phone, laptop = [await ground.client(alice, resource) for resource in ("phone", "laptop")]
    await enter(phone, room, "alice")
    shown = await mallory.expect(f"<presence from='{room}/alice'/>")
    (item,) = next(shown.element.elements(f"{NS_MUC}#user", "x")).elements(f"{NS_MUC}#user", "item")
    await enter(laptop, room, "alice")
    return Victim(room, phone, laptop, mallory, item["jid"])


async def user(ground: Ground, nick: str = "eve") -> tuple[Client, str]:
    """Somebody with an account behind the proxy who means harm, alone in a room; with the room."""
    client, room = await ground.client(await ground.account(nick), "x"), ground.room()
    await enter(client, room, nick)
    return client, room
