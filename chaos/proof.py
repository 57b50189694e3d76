"""After the faults: who is where, by the server's word, and who has heard what.

Phones have stream management (XEP-0198), and friends with whom they write letters, one to one, directly at the server,
with its own stream management. What is proved of letters, both ways:

- None is lost: it came, or its writer was told of an error. A writer sends again what was not acknowledged when its
  stream could not be resumed, and reads its archive (XEP-0313) on a new stream, as clients do.
- None comes twice, unless its writer sent it again, or it is marked as an old one (XEP-0203) on a new stream, where
  clients know it by its id.
- They come in the order in which they were written.

And of what phones say in rooms: somebody heard it, or the room has it in its archive, or the phone was told of an
error. What a phone sent again may be in the room twice.

A server that is killed promises no more to a client of the proxy than to one of its own. What Prosody acknowledges, it
has in its archive, at least in the operating system's memory. ejabberd acknowledges what it has only in its own: nobody
writes in the moment before it is killed.
"""

from __future__ import annotations

from datetime import UTC, datetime

from chaos.people import Returning
from chaos.world import Somebody, World
from chaos.writers import Writer
from tests.integration.faults import NS_MUC, Place, pause, verdict

HEARING = 120.0  # seconds until everybody has heard everything


async def prove(world: World) -> list[str]:
    """Return what is wrong. Everything runs again, and nobody speaks."""
    faults = [f"{name} did not get back into its rooms" for name in await world.all_ready()]
    await _everything_heard(world)
    await world.admit()
    faults += await _memberships(world)
    again = {body for phone in world.phones for body in phone.again}
    for room in world.rooms:
        for observer in world.observers:
            twice = [body for body, count in observer[room].counts.items() if count > 1 and body not in again]
            faults += [f"the room {room} took twice: {', '.join(twice[:20])}"] if twice else []
        for somebody in world.people:
            faults += _messages(world, somebody, room, again)
    for writer in (*world.phones, *world.friends):
        faults += writer.wrong()
    return faults + await _unheard(world)


async def _unheard(world: World) -> list[str]:
    """What phones said in rooms, and nobody has."""
    heard = {room: set(await world.observers[0].archived(room)) for room in world.rooms}
    for person in (*world.observers, *world.devices):
        for room in world.rooms:
            heard[room].update(person[room].bodies)
    return [
        f"{phone.name} said, and nobody has: {', '.join(lost)}"
        for phone in world.phones
        if (lost := phone.unheard(heard))
    ]


async def _everything_heard(world: World) -> None:
    """The last word in each room, and then all that was said before, or the end of patience."""
    owner = world.observers[0]
    for room in world.rooms:
        world.said[room].add(f"the last word in {room}")
        await owner.say(room, f"the last word in {room}", "last")
    waited = 0.0
    while waited < HEARING and (
        any(
            not counts.keys() >= set(world.taken(room))
            for somebody in world.people
            for room in somebody.rooms - somebody.inexact
            for counts in [+device[room].counts for device in somebody.devices]
        )
        or any(writer.waits_for for writer in (*world.phones, *world.friends))
    ):
        waited += 0.5
        await pause(0.5)
    everybody: list[Returning | Writer] = [*world.friends, *world.devices]
    deaf = [one for one in everybody if not await _nothing_more(one)]
    for device in deaf:
        device.client.drop()
    if deaf:
        await world.all_ready()
    for device in deaf:
        await _nothing_more(device)


async def _nothing_more(device: Returning | Writer) -> bool:
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
            if count != wanted and not (count == 1 and room in somebody.unaware):
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


def _messages(world: World, somebody: Somebody, room: str, again: set[str]) -> list[str]:
    """`again`: what phones have sent more than once."""
    if room not in somebody.rooms or room in somebody.inexact:
        return []
    taken = world.taken(room)
    faults = []
    for device in somebody.devices:
        counts = +device[room].counts
        heard = [body for body, count in counts.items() for _ in range(1 if body in again else count)]
        due = [body for body in taken if counts[body] or body not in device.may_miss]
        wrong = verdict(heard, due, world.said[room], device.in_between)
        faults += [f"{device.name} ({device.kind}) in {room}: {wrong}"] if wrong else []
        faults += [f"    {line}" for line in _heard_twice(device, device[room], again)] if wrong else []
    return faults


def _heard_twice(device: Returning, place: Place, again: set[str]) -> list[str]:
    """When and how, the first few."""
    lines = []
    twice = [body for body, count in place.counts.items() if count > 1 + device.in_between[body] and body not in again]
    for body in twice[:5]:
        times = [
            f"{datetime.fromtimestamp(heard.time, UTC):%H:%M:%S.%f} on connection {heard.connection}"
            f" {'from history' if heard.delayed else 'live'}"
            for heard in place.heard
            if heard.body == body
        ]
        lines.append(f"{body}: {'; '.join(times)}")
    return lines


async def summary(world: World) -> str:
    """How much was proved."""
    taken = {room: len(world.taken(room)) for room in world.rooms}
    said = sum(len(bodies) for bodies in world.said.values())
    places = [(somebody, room) for somebody in world.people for room in somebody.rooms - somebody.inexact]
    copies = sum(taken[room] * len(somebody.devices) for somebody, room in places)
    repeated = sum(device.known for device in world.devices)
    connections = sum(device.connections for device in world.devices)
    return (
        f"{len(world.people)} accounts with {len(world.devices)} devices in {len(world.rooms)} rooms of"
        f" {world.server.name}; devices connected {connections} times\n"
        f"{said} messages sent, {sum(taken.values())} taken by the rooms, {copies} copies due to devices,"
        f" {repeated} more were known by their stanza-id\n{_summary_of_phones(world)}{await world.summary()}"
    )


def _summary_of_phones(world: World) -> str:
    phones, writers = world.phones, [*world.phones, *world.friends]
    resumed, anew = sum(one.device.resumptions for one in phones), sum(one.anew for one in phones)
    written, told = sum(len(one.written) for one in writers), sum(len(one.told) for one in writers)
    heard, again = sum(len(one.heard) for one in writers), sum(len(one.again) for one in writers)
    spoken = sum(len(one.spoken) for one in phones)
    return (
        f"{len(phones)} phones resumed {resumed} times, and began anew {anew} times; they sent {spoken} messages\n"
        f"{written} letters written, {heard} came, of {told} an error was told;"
        f" {again} messages of phones and friends were sent again on a new stream"
    )
