"""Attacks of those who are not behind the proxy, and of those who have not logged in."""

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from random import Random

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread

from tests.absurd import Absurd
from tests.hostile.ground import JOIN, NS_CORRECT, PATIENCE, Attack, Ground, enter, heard, settle, victim
from tests.hostile.test_stanzas import nested
from tests.integration.client import Client
from tests.integration.prosody import Prosody


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
    """Hundreds that make no sense, by a stranger and by an occupant."""
    place = await victim(ground)
    addresses = (place.stream, place.room, f"{place.room}/alice", place.phone.bare, place.phone.jid)

    async def attack() -> None:
        for seed in range(2):
            client = await ground.client(await ground.account("stranger"), "x", direct=True)
            if seed:
                await enter(client, place.room, "other")
            await say_absurd(client, seed, ground.much(200), addresses)
        await settle(place.phone, place.room)

    return attack


async def say_absurd(client: Client, seed: int, count: int, addresses: tuple[str, ...]) -> None:
    """Many a server ends the stream for it."""
    absurd = Absurd(Random(seed), addresses)
    for _number in range(count):
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
    """A tag that never ends, sent 16 bytes at a time: 200 KB where it is measured."""
    port, pieces = ground.proxy_port, ground.much(12_500)
    header = (
        "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
        f" to='{ground.server.domain}' version='1.0'>"
    ).encode()

    def send() -> None:
        connection = socket.create_connection(("127.0.0.1", port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection, suppress(OSError):  # the proxy ends it
            for data in (header, b"<a b='" + b"x" * 10, *[b"x" * 16] * pieces):
                connection.sendall(data)
                time.sleep(0.0001)  # so that each is a read of its own

    async def attack() -> None:
        await deferToThread(send)

    return attack
