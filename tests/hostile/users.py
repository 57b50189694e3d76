"""Attacks of users of the proxy."""

from tests.hostile.ground import (
    NS_COMMANDS,
    NS_DATA,
    NS_ITEMS,
    NS_MAM,
    NS_MUC,
    Attack,
    Ground,
    enter,
    heard,
    settle,
    user,
    victim,
)
from tests.hostile.outside import say_absurd
from tests.integration.client import Client
from tests.integration.prosody import Prosody
from tests.integration.servers import Server

SESSIONS = 100


async def sessions_of_one_account(ground: Ground) -> Attack:
    """Very many sessions, in a room all of them; each says much that passes, and much that the proxy answers."""
    account, room = await ground.account("eve"), ground.room()
    crowd = []
    for number in range(ground.much(SESSIONS)):
        client = await ground.connect(label=f"session {number}")
        await client.login(account, f"s{number}")
        await enter(client, room, "eve")
        crowd.append(client)
    passes = f"<iq type='result' id='a' to='{account.domain}'/>" * 400
    answered = f"<iq type='get' id='b' to='{room}/eve'><ping xmlns='urn:xmpp:ping'/></iq>" * 60

    async def attack() -> None:
        for client in crowd:
            client.send(passes + answered)
        for client in crowd:
            await settle(client, room)

    return attack


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
        for content in (tags, attributes, payloads) * ground.much(5):
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
    """Stanzas that make no sense, by a client of the proxy."""
    place = await victim(ground)

    async def attack() -> None:
        client, room = await user(ground)
        await say_absurd(client, 7, ground.much(200), (room, f"{room}/eve", client.bare, client.domain, place.stream))
        await settle(place.phone, place.room)

    return attack
