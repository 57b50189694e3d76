"""Attacks as functions, for tests (`test_scenarios`) and for `make bench`, which measures somebody else's pings.

A scenario prepares what it needs and returns the attack, which ends when all that it said has been dealt with.
"""

import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random
from typing import Any, NamedTuple, Protocol

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread

from tests.absurd import Absurd
from tests.hostile.test_stanzas import nested
from tests.integration.client import Client
from tests.integration.prosody import Prosody
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


# From those who are not behind the proxy -----------------------------------------------------------------------------


async def odd_stanzas(ground: Ground) -> Attack:
    """Deep, large, with very many tags, attributes and prefixes: to a device, to the room, to the account's stream."""
    place = await victim(ground)
    odd = {
        "deep": nested(120 if isinstance(ground.server, Prosody) else 1000),
        "elements": "<x xmlns='urn:x:a'>" + "<a/>" * 12_000 + "</x>",
        "payloads": "<a xmlns='urn:x:a'/>" * 2000,
        "attributes": "<a " + " ".join(f"a{number}=''" for number in range(5000)) + "/>",
        "prefixes": "<a " + " ".join(f"xmlns:p{number}='urn:{number}'" for number in range(2000)) + "/>",
        "lines": "<a>" + "\n" * 50_000 + "</a>",
    }

    async def attack() -> None:
        for name, content in odd.items():
            place.mallory.send(f"<message to='{place.phone.jid}' type='chat' id='1 {name}'>{content}</message>")
            place.mallory.send(
                f"<message to='{place.room}' type='groupchat' id='2 {name}'><body>b</body>{content}</message>"
            )
            place.mallory.send(f"<message to='{place.stream}' type='chat'>{content}</message>")
            place.mallory.send(f"<presence to='{place.room}/mallory' id='3 {name}'>{content}</presence>")
        place.mallory.send(f"<message to='{place.room}' type='groupchat' id='last'><body>b</body></message>")
        for client in (place.phone, place.laptop):  # no barriers: those would have all that came read
            await heard(client, "last")

    return attack


async def corrections(ground: Ground) -> Attack:
    """Of three hundred messages, all at once."""
    place = await victim(ground)
    count = 300

    def says(prefix: str, more: Callable[[int], str]) -> str:
        return "".join(
            f"<message to='{place.room}' type='groupchat' id='{prefix}{number}'><body>{'x' * 400}</body>{more(number)}"
            "</message>"
            for number in range(count)
        )

    place.mallory.send(says("m", lambda _number: ""))
    await heard(place.laptop, f"m{count - 1}")

    async def attack() -> None:
        place.mallory.send(says("c", lambda number: f"<replace xmlns='{NS_CORRECT}' id='m{number}'/>"))
        await heard(place.laptop, f"c{count - 1}")
        await settle(place.phone, place.room)

    return attack


async def large_occupants(ground: Ground) -> Attack:
    """Twelve occupants of 100 KB each come and go."""
    place = await victim(ground)
    account = await ground.account("crowd")
    crowd = [await ground.client(account, f"c{number}", direct=True) for number in range(12)]
    for client in crowd:
        client.ignore = lambda _stanza: True

    async def attack() -> None:
        for number, client in enumerate(crowd):
            client.send(f"<presence to='{place.room}/c{number}'><status>{'x' * 100_000}</status>{JOIN}</presence>")
        for number in range(len(crowd)):
            await place.phone.expect(f"<presence from='{place.room}/c{number}'/>", PATIENCE)
        for number, client in enumerate(crowd):
            client.send(f"<presence to='{place.room}/c{number}' type='unavailable'/>")
        await settle(place.phone, place.room)

    return attack


async def large_messages(ground: Ground) -> Attack:
    """Thirty messages of 200 KB to a room."""
    place = await victim(ground)

    async def attack() -> None:
        for number in range(30):
            body = "x" * 200_000
            place.mallory.send(
                f"<message to='{place.room}' type='groupchat' id='m{number}'><body>{body}</body></message>"
            )
        await heard(place.phone, "m29")
        await heard(place.laptop, "m29")

    return attack


async def absurd_stanzas(ground: Ground) -> Attack:
    """Two hundred that make no sense, by a stranger and by an occupant."""
    place = await victim(ground)
    addresses = (place.stream, place.room, f"{place.room}/alice", place.phone.bare, place.phone.jid)

    async def attack() -> None:
        for seed in range(2):
            client = await ground.client(await ground.account("stranger"), "x", direct=True)
            if seed:
                await enter(client, place.room, "other")
            await say_absurd(client, seed, addresses)
        await settle(place.phone, place.room)

    return attack


async def say_absurd(client: Client, seed: int, addresses: tuple[str, ...]) -> None:
    """Many a server ends the stream for it."""
    absurd = Absurd(Random(seed), addresses)
    for _number in range(200):
        xml = absurd.stanza()
        if client.lost is None and "jabber:component:accept" not in xml and " from='" not in xml.partition(">")[0]:
            client.send(xml)
    await client.close()


# Before a login ------------------------------------------------------------------------------------------------------


async def guesses(ground: Ground) -> Attack:
    """Forty at the password of one account, at once; broken off when the server has refused three."""
    account = await ground.account("alice")
    clients = []
    refused = 0
    enough: Deferred[None] = Deferred()

    async def guess(number: int) -> None:
        nonlocal refused
        client = await ground.connect(label=f"guess {number}")
        clients.append(client)
        with suppress(AssertionError):  # refused, or ended
            await client.login(account._replace(password=f"wrong {number}"))
        client.drop()
        refused += 1
        if refused == 3:
            enough.callback(None)

    async def attack() -> None:
        guesses = gatherResults([Deferred.fromCoroutine(guess(number)) for number in range(40)])
        await enough
        for client in clients:
            client.drop()
        await guesses

    return attack


async def tokens_in_pieces(ground: Ground) -> Attack:
    """A tag of 200 KB that never ends, sent 16 bytes at a time."""
    port = ground.proxy_port
    header = (
        "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
        f" to='{ground.server.domain}' version='1.0'>"
    ).encode()

    def send() -> None:
        connection = socket.create_connection(("127.0.0.1", port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection, suppress(OSError):  # the proxy ends it
            for data in (header, b"<a b='" + b"x" * 10, *[b"x" * 16] * 12_500):
                connection.sendall(data)
                time.sleep(0.0001)  # so that each is a read of its own

    async def attack() -> None:
        await deferToThread(send)

    return attack


# From users of the proxy ---------------------------------------------------------------------------------------------


async def resyncs(ground: Ground) -> Attack:
    """A client joins the room in which it is again and again; there is history."""
    eve, room = await user(ground)
    for number in range(200):
        eve.send(f"<message to='{room}' type='groupchat' id='h{number}'><body>{'x' * 300}</body></message>")
    await heard(eve, "h199")

    async def attack() -> None:
        eve.send(
            "".join(
                f"<presence id='j{number}' to='{room}/eve'><x xmlns='{NS_MUC}'/></presence>" for number in range(200)
            )
        )
        await heard(eve, "j199")
        await settle(eve, room)

    return attack


async def archive_queries(ground: Ground) -> Attack:
    """Three hundred, in a room that keeps no archive, for an occupant who never was."""
    eve, room = await user(ground)
    await without_archive(ground.server, eve, room)
    for number in range(200):
        eve.send(f"<message to='{room}' type='groupchat' id='h{number}'><body>{'x' * 300}</body></message>")
    await heard(eve, "h199")
    form = (
        f"<x xmlns='{NS_DATA}' type='submit'><field var='FORM_TYPE'><value>{NS_MAM}</value></field>"
        f"<field var='with'><value>{room}/nobody</value></field></x>"
    )

    async def attack() -> None:
        eve.send(
            "".join(
                f"<iq type='set' id='q{number}' to='{room}'><query xmlns='{NS_MAM}'>{form}</query></iq>"
                for number in range(300)
            )
        )
        await heard(eve, "q299")

    return attack


async def without_archive(server: Server, owner: Client, room: str) -> None:
    """Have the room keep none."""
    field = "muc#roomconfig_enablearchiving" if isinstance(server, Prosody) else "mam"
    values = {"FORM_TYPE": f"{NS_MUC}#roomconfig", field: "0"}
    fields = "".join(f"<field var='{name}'><value>{value}</value></field>" for name, value in values.items())
    form = f"<query xmlns='{NS_MUC}#owner'><x xmlns='{NS_DATA}' type='submit'>{fields}</x></query>"
    reply = await owner.iq("set", room, form)
    assert reply.get("type") == "result", reply


async def lists_and_commands(ground: Ground) -> Attack:
    """Three hundred lists of the server's items, and three hundred commands."""
    eve, _room = await user(ground)
    items = await eve.iq("get", eve.bare, f"<query xmlns='{NS_ITEMS}' node='{NS_COMMANDS}'/>")
    listed = [item for query in items.element.elements() for item in query.elements()]
    address = next(item["jid"] for item in listed if item.getAttribute("node") == "rooms")

    async def attack() -> None:
        for number in range(300):
            eve.send(
                f"<iq type='get' id='d{number}' to='{eve.domain}'><query xmlns='{NS_ITEMS}'/></iq>"
                f"<iq type='set' id='k{number}' to='{address}'><command xmlns='{NS_COMMANDS}' node='rooms'/></iq>"
            )
        await heard(eve, "d299")
        await heard(eve, "k299")

    return attack


async def large_presence_in_many_rooms(ground: Ground) -> Attack:
    """200 KB in thirty rooms, which have it all at once."""
    eve, first = await user(ground)
    rooms = [first, *(ground.room() for _ in range(29))]
    for room in rooms[1:]:
        await enter(eve, room, "eve")

    async def attack() -> None:
        for number in range(5):
            eve.send(f"<presence><status>{number} {'x' * 200_000}</status></presence>")
        await settle(eve, *rooms)

    return attack


async def worst_presences(ground: Ground) -> Attack:
    """Presences and joins that take long to read."""
    eve, room = await user(ground)
    tags = f"<x xmlns='urn:x'>{'<a/>' * 9_000}</x>"
    attributes = "<x xmlns='urn:x' " + " ".join(f"a{number}=''" for number in range(20_000)) + "/>"
    payloads = f"<x xmlns='urn:x'>{'<a/>' * 8}</x>" * 900

    async def attack() -> None:
        for content in (tags, attributes, payloads) * 5:
            eve.send(f"<presence>{content}</presence><presence to='{room}/eve'>{content}</presence>")
            eve.send(f"<presence to='{room}/eve'>{content}<x xmlns='{NS_MUC}'/></presence>")
        await settle(eve, room)

    return attack


async def binds_and_carbons(ground: Ground) -> Attack:
    """Requests of the kind that the proxy learns from, to an accomplice, who answers."""
    eve, _room = await user(ground)
    accomplice = await ground.client(await ground.account("accomplice"), "x")
    jid = "<jid>root@localhost/x</jid>"

    async def attack() -> None:
        for number in range(300):
            bind = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>{0}</bind>"
            eve.send(f"<iq type='set' id='b{number}' to='{accomplice.jid}'>{bind.format('')}</iq>")
            accomplice.send(f"<iq type='result' id='b{number}' to='{eve.jid}'>{bind.format(jid)}</iq>")
        await heard(eve, "b299")
        await settle(eve)

    return attack


async def nick_changes(ground: Ground) -> Attack:
    """Three hundred, by one client."""
    eve, room = await user(ground)

    async def attack() -> None:
        eve.send("".join(f"<presence to='{room}/eve{number}'/>" for number in range(300)))
        eve.send(f"<presence to='{room}/eve'/>")
        await settle(eve)
        await settle(eve, room)

    return attack


async def absurd_own(ground: Ground) -> Attack:
    """Two hundred stanzas that make no sense, by a client of the proxy."""
    place = await victim(ground)

    async def attack() -> None:
        client, room = await user(ground)
        await say_absurd(client, 7, (room, f"{room}/eve", client.bare, client.domain, place.stream))
        await settle(place.phone, place.room)

    return attack


SCENARIOS = (
    Scenario("absurdly deep, large and long stanzas", odd_stanzas),
    Scenario("300 corrections at once", corrections),
    Scenario("12 occupants of 100 KB", large_occupants),
    Scenario("30 messages of 200 KB", large_messages),
    Scenario("400 senseless stanzas", absurd_stanzas),
    Scenario("200 senseless stanzas of a user", absurd_own),
    Scenario("40 guesses at once", guesses),
    Scenario("a tag in pieces of 16 bytes", tokens_in_pieces),
    Scenario("200 joins anew", resyncs),
    Scenario("300 archive queries", archive_queries),
    Scenario("300 lists and 300 commands", lists_and_commands),
    Scenario("200 KB of presence in 30 rooms", large_presence_in_many_rooms),
    Scenario("presences that take long to read", worst_presences),
    Scenario("300 answers of an accomplice", binds_and_carbons),
    Scenario("300 changes of nick", nick_changes),
)


async def undisturbed(ground: Any, attack: Attack) -> None:
    """Carry an attack out while somebody else talks; all that he says is answered."""
    bystander, room = await user(ground, "bystander")
    over: list[bool] = []

    async def talk() -> int:
        number = 0
        while not over:
            number += 1
            await settle(bystander, room)
        return number

    talking = Deferred.fromCoroutine(talk())
    try:
        await attack()
    finally:
        over.append(True)
        number = await talking
    assert number, "nothing was said"
    await settle(bystander, room)
