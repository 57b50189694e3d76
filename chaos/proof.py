"""After the faults: who is where, by the server's word, and who has heard what."""

from __future__ import annotations

from datetime import UTC, datetime

from chaos.people import Returning, Since
from chaos.world import Somebody, World
from tests.integration.faults import NS_MUC, Place, pause, verdict

HEARING = 120.0  # seconds until everybody has heard everything


async def prove(world: World) -> list[str]:
    """Return what is wrong. Everything runs again, and nobody speaks."""
    faults = [f"{name} did not get back into its rooms" for name in await world.all_ready()]
    await _everything_heard(world)
    faults += await _memberships(world)
    for room in world.rooms:
        for observer in world.observers:
            twice = [body for body, count in observer[room].counts.items() if count > 1]
            faults += [f"the room {room} took twice: {', '.join(twice[:20])}"] if twice else []
        for somebody in world.people:
            faults += _messages(world, somebody, room)
    return faults


async def _everything_heard(world: World) -> None:
    """The last word in each room, and then all that was said before, or the end of patience."""
    owner = world.observers[0]
    for room in world.rooms:
        world.said[room].add(f"the last word in {room}")
        await owner.say(room, f"the last word in {room}", "last")
    waited = 0.0
    while waited < HEARING and any(
        not counts.keys() >= set(world.taken(room))
        for somebody in world.people
        for room in somebody.rooms - somebody.inexact
        for counts in [+device[room].counts for device in somebody.devices]
    ):
        waited += 0.5
        await pause(0.5)
    deaf = [device for device in world.devices if not await _nothing_more(device)]
    for device in deaf:
        device.client.drop()
    if deaf:
        await world.all_ready()
    for device in deaf:
        await _nothing_more(device)


async def _nothing_more(device: Returning) -> bool:
    """Wait until nothing is under way to a device. False if its own stream to the server is one that went silent.

    Clients find that out by pings of theirs, with the proxy and without it; these ones do not ping.
    """
    if device.client.lost is not None:
        return True
    try:
        await device.caught_up()
    except AssertionError:
        return False
    return True


async def _memberships(world: World) -> list[str]:
    """Ask the server who is in each room: every account once in each of its rooms, and in no other."""
    faults = []
    for room in world.rooms:
        present = await _present(world, room)
        for somebody in world.people:
            count, wanted = present.count(somebody.account.jid), int(room in somebody.rooms)
            if count != wanted:
                faults.append(f"{somebody.nick} is in {room} {count} times, not {wanted}")
    return faults


async def _present(world: World, room: str) -> list[str]:
    """The bare JIDs of all occupants."""
    owner, jids = world.observers[0], []
    for role in ("participant", "moderator", "visitor"):
        query = f"<query xmlns='{NS_MUC}#admin'><item role='{role}'/></query>"
        reply = await owner.client.iq("get", room, query)
        items = [item for child in reply.element.elements() if child.name == "query" for item in child.elements()]
        jids += [item.getAttribute("jid", "").partition("/")[0] for item in items]
    return jids


def _messages(world: World, somebody: Somebody, room: str) -> list[str]:
    if room not in somebody.rooms or room in somebody.inexact:
        return []
    taken = world.taken(room)
    faults = []
    for device in somebody.devices:
        heard = (+device[room].counts).elements()
        wrong = verdict(heard, taken, world.said[room], device.in_between)
        faults += [f"{device.name} ({device.kind}) in {room}: {wrong}"] if wrong else []
        faults += [f"    {line}" for line in _heard_twice(device[room])]
    return faults


def _heard_twice(place: Place) -> list[str]:
    """When and how, the first few."""
    lines = []
    for body in [body for body, count in place.counts.items() if count > 1][:5]:
        times = [
            f"{datetime.fromtimestamp(heard.time, UTC):%H:%M:%S.%f} on connection {heard.connection}"
            f" {'from history' if heard.delayed else 'live'}"
            for heard in place.heard
            if heard.body == body
        ]
        lines.append(f"{body}: {'; '.join(times)}")
    return lines


def summary(world: World) -> str:
    """How much was proved."""
    taken = {room: len(world.taken(room)) for room in world.rooms}
    said = sum(len(bodies) for bodies in world.said.values())
    places = [(somebody, room) for somebody in world.people for room in somebody.rooms - somebody.inexact]
    copies = sum(taken[room] * len(somebody.devices) for somebody, room in places)
    repeated = sum(device.known for device in world.devices if isinstance(device, Since))
    connections = sum(device.connections for device in world.devices)
    return (
        f"{len(world.people)} accounts with {len(world.devices)} devices in {len(world.rooms)} rooms of"
        f" {world.server.name}; devices connected {connections} times\n"
        f"{said} messages sent, {sum(taken.values())} taken by the rooms, {copies} copies due to devices,"
        f" {repeated} more were known by their stanza-id"
    )
