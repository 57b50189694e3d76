"""What goes wrong in a chaos run. Each fault ends with everything started again."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from twisted.internet.threads import deferToThread

from chaos.people import Returning
from chaos.world import RESUME, OneProxy, World
from tests.integration.faults import pause
from tests.integration.processes import LoggedProcess, ProcessFailed

KICK_HEARD = 3.0  # seconds until an account has heard that it was kicked

Fault = Callable[[OneProxy], Awaitable[str]]


async def proxy_killed(world: OneProxy) -> str:
    await deferToThread(world.proxy.process.kill)
    for device in world.devices:
        await device.proxy_gone(world.proxy.unmarked)
    await deferToThread(world.proxy.start)
    return "the proxy was killed and started"


async def proxy_restarted(world: OneProxy) -> str:
    await world.proxy.restart()
    return "the proxy was stopped and started"


async def proxy_paused(world: OneProxy) -> str:
    return f"the proxy stood still for {await _stand_still(world, world.proxy.process):.1f} s"


async def _stand_still(world: OneProxy, process: LoggedProcess) -> float:
    """Stop a process for some seconds; return for how many."""
    seconds = world.dice.uniform(0.5, 5)
    process.pause()
    await pause(seconds)
    process.resume()
    return seconds


async def server_restarted(world: OneProxy) -> str:
    await world.server.restart()
    return "the server was stopped and started"


async def server_killed(world: OneProxy) -> str:
    """ejabberd writes its archive to disk a moment later: nobody would have what was said in that moment."""
    try:
        if world.server.name == "ejabberd":
            world.hushed = True
            await world.all_ready()
            for person in world.everybody:
                if person.client.lost is None:
                    await person.caught_up()
            await world.server.sync()
        await world.server.restart(kill=True)
    finally:
        world.hushed = False
    return "the server was killed and started"


async def server_paused(world: OneProxy) -> str:
    return f"the server stood still for {await _stand_still(world, world.server.process):.1f} s"


async def rooms_restarted(world: OneProxy) -> str:
    await world.server.restart_rooms()
    return "the room service was restarted"


async def rooms_down(world: OneProxy) -> str:
    seconds = world.dice.uniform(0.5, 6)
    await world.server.stop_rooms()
    await pause(seconds)
    await world.server.start_rooms()
    return f"the room service was down for {seconds:.1f} s"


async def rooms_lost(world: OneProxy) -> str:
    room = world.dice.choice(world.rooms)
    await world.server.lose_rooms(room)
    for observer in world.observers:  # they need not find it out by themselves
        observer[room].nick = ""
        observer[room].occupants.clear()
    return f"{room} was lost without a word"


async def all_cut(world: OneProxy) -> str:
    reset = world.dice.random() < 0.5
    world.relay.cut(reset=reset)
    return f"all connections to the server were cut ({'RST' if reset else 'FIN'})"


async def some_cut(world: OneProxy) -> str:
    count = min(len(world.relay.links), world.dice.randint(1, 5))
    world.relay.cut(*world.dice.sample(world.relay.links, count))
    return f"{count} connections to the server were cut"


async def network_down(world: OneProxy) -> str:
    seconds = world.dice.uniform(1, 8)
    await world.relay.refuse()
    world.relay.cut()
    await pause(seconds)
    world.relay.start()
    return f"the server could not be reached for {seconds:.1f} s"


async def some_silent(world: OneProxy) -> str:
    """Whoever is behind them has to find out."""
    count = min(len(world.relay.links), world.dice.randint(1, 3))
    world.relay.silence(*world.dice.sample(world.relay.links, count))
    return f"{count} connections to the server went silent for good"


async def slow(world: OneProxy) -> str:
    seconds, world.relay.delay = world.dice.uniform(1, 5), world.dice.uniform(0.05, 0.3)
    delay = world.relay.delay
    await pause(seconds)
    world.relay.delay = 0.0
    return f"the way to the server took {delay:.2f} s for {seconds:.1f} s"


async def conflict(world: OneProxy) -> str:
    somebody = world.dice.choice(world.people)
    pattern = re.compile(r"account stream open: " + re.escape(somebody.account.jid) + "/(.*)")
    found = [match[1] for line in world.proxy.process.lines if (match := pattern.search(line))]
    if not found:
        return f"(no account stream of {somebody.nick} to take the resource of)"
    thief = await world.direct(somebody.account, found[-1].strip())()
    thief.drop()
    return f"the account stream of {somebody.nick} lost its resource"


async def devices_go(world: World) -> str:
    gone: list[Returning] = world.dice.sample(world.devices, world.dice.randint(1, max(1, len(world.devices) // 2)))
    for device in gone:
        device.away = world.dice.uniform(0.5, 15)
    return f"{len(gone)} devices went away for a while"


async def all_devices_of_one_go(world: World) -> str:
    somebody = world.dice.choice(world.people)
    for device in somebody.devices:
        device.away = world.dice.uniform(3, 15)
    return f"all devices of {somebody.nick} went away for a while"


async def phones_cut(world: World) -> str:
    """In the middle of a sentence, each in its own way."""
    phones = world.dice.sample(world.phones, world.dice.randint(1, len(world.phones)))
    for phone in phones:
        phone.away = world.dice.uniform(0.05, 2.0)
    return f"{len(phones)} phones lost their network for a moment"


async def phones_silent(world: World) -> str:
    phones = world.dice.sample(world.phones, world.dice.randint(1, 3))
    for phone in phones:
        phone.fall_silent()
    return f"nothing comes through any more to {len(phones)} phones"


async def phones_away(world: World) -> str:
    """For longer than they can resume."""
    phones = world.dice.sample(world.phones, world.dice.randint(1, 2))
    for phone in phones:
        phone.away = world.dice.uniform(RESUME, 2.0 * RESUME)
    return f"{len(phones)} phones lost their network for so long that they cannot resume"


async def kicked(world: OneProxy) -> str:
    """One room each at most, and not the last one.

    Whose account does not hear of it, as its connection is silent, enters again if the proxy is killed then.
    """
    candidates = [somebody for somebody in world.people if not somebody.inexact and len(somebody.rooms) > 2]
    owner = world.observers[0]
    if not candidates or not owner.ready:
        return "(nobody to kick)"
    somebody = world.dice.choice(candidates)
    room = world.dice.choice(sorted(somebody.rooms))
    if somebody.nick not in owner[room].occupants:
        return f"({somebody.nick} is not there to be kicked)"
    # first: devices that come back meanwhile must not enter
    somebody.rooms.discard(room)
    somebody.inexact.add(room)
    start = len(world.proxy.process.lines)
    try:
        await owner.ask(room, "admin", f"<item nick='{somebody.nick}' role='none'/>")
    except AssertionError:  # it was refused, or nobody knows: it may come in again
        somebody.rooms.add(room)
        raise
    try:
        await world.proxy.process.says(f"{room} has removed {somebody.account.jid}", KICK_HEARD, start=start)
    except ProcessFailed:
        somebody.unaware.add(room)
        return f"{somebody.nick} was kicked from {room}, of which its account has heard nothing"
    return f"{somebody.nick} was kicked from {room}"


#: What happens to devices, whoever serves them.
OF_PEOPLE: Mapping[Callable[[Any], Awaitable[str]], int] = {
    devices_go: 5,
    all_devices_of_one_go: 4,
    phones_cut: 10,
    phones_silent: 3,
    phones_away: 2,
}
WEIGHTS: dict[Fault, int] = {
    proxy_killed: 5,
    proxy_restarted: 1,
    proxy_paused: 1,
    server_restarted: 1,
    server_killed: 1,
    server_paused: 1,
    rooms_restarted: 1,
    rooms_down: 2,
    rooms_lost: 2,
    all_cut: 2,
    some_cut: 4,
    network_down: 2,
    some_silent: 1,
    slow: 1,
    conflict: 2,
    **OF_PEOPLE,
    kicked: 1,
}
