"""The demo's beginning and end."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Sequence
from typing import Any

from twisted.internet import asyncioreactor

# Before anything else imports the reactor: both client libraries need asyncio's loop.
loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
asyncioreactor.install(loop)

from twisted.internet import reactor  # noqa: E402
from twisted.internet.defer import Deferred  # noqa: E402
from twisted.internet.task import react  # noqa: E402

from demo.first_act import first_act  # noqa: E402
from demo.in_browsers import PEOPLE, in_browsers  # noqa: E402
from demo.narrator import Narrator, StepFailed  # noqa: E402
from demo.stage import PASSWORD, Stage, standard_port  # noqa: E402
from demo.third_act import third_act  # noqa: E402
from tests.integration.processes import ProcessFailed  # noqa: E402
from tests.integration.servers import authority_file  # noqa: E402

FOREVER = 10.0**7  # seconds


def second_act() -> Any:
    """The module of the second act, or None. Of it are used:

    client_proxy(server) -> list of `[[client_proxy]]` tables that the proxy is started with, as dicts;
    async second_act(narrator, stage) plays it, and raises `StepFailed` if a step does not come true.
    """
    if importlib.util.find_spec("demo.second_act") is None:
        return None
    return importlib.import_module("demo.second_act")


def set_up(narrator: Narrator, port: int, origins: Sequence[str] = ()) -> Stage:
    """`origins`: whose pages may connect, if any."""
    stage = Stage(port)
    narrator.act("The stage")
    stage.start_server()
    narrator.remark(f"Prosody serves {stage.server.domain} on 127.0.0.1:{stage.server.port}, unmodified.")
    second = second_act()
    stage.start_proxy(second.client_proxy(stage.server) if second is not None else (), origins)
    narrator.remark(f"twistd -n minimixproxy listens on 127.0.0.1:{stage.port}.")
    return stage


async def demo(narrator: Narrator) -> None:
    stage = set_up(narrator, 0)
    try:
        await first_act(narrator, stage)
        second = second_act()
        if second is not None:
            await second.second_act(narrator, stage)
        await third_act(narrator, stage)
        faults = stage.proxy.faults()
        narrator.check(not faults, "no fault in the proxy's log; found:\n" + "\n".join(faults))
    except Exception as failure:  # noqa: BLE001
        # Whatever it is, say at which step.
        reason = str(failure) if isinstance(failure, StepFailed) else traceback.format_exc()
        narrator.failed(f"{reason}\n\nthe end of the proxy's log:\n{stage.proxy.process.tail(30)}")
        raise SystemExit(1) from None
    narrator.summary()
    narrator.remark("Now with a client of your own: make run")


async def keep_running(narrator: Narrator) -> None:
    """Show the instructions, then the proxy's log, until Ctrl-C stops the reactor."""
    website = await in_browsers(narrator)
    stage = set_up(narrator, standard_port(), website.origins if website else ())
    reactor.addSystemEventTrigger("before", "shutdown", stage.stop)
    for username in ("alice", "bob"):
        await stage.enroll(await stage.account(username))
    if website:
        await website.open_to(stage, f"garden@{stage.server.muc}")
        narrator.act("In a browser")
        narrator.remark(f"{website.address} has {' and '.join(PEOPLE)}: a click each, and they meet in the room below.")
    narrator.act("For a client of your own")
    for line in instructions(stage):
        narrator.tell(*line)
    narrator.remark("Ctrl-C stops everything; nothing is kept. The proxy's log:")
    told = 0
    while True:
        await stage.proxy.process.says("", FOREVER, start=told)
        lines = stage.proxy.process.lines[told:]
        told += len(lines)
        print("\n".join(lines), flush=True)


def instructions(stage: Stage) -> list[tuple[str, str]]:
    """How to point a real client at the servers."""
    domain, port = stage.server.domain, stage.port
    return [
        ("account", f"alice@{domain}, password {PASSWORD}; log in with two clients, each with its own resource"),
        ("server", f"127.0.0.1, port {port}, STARTTLS" + ("; most clients find that by themselves" * (port == 5222))),
        ("certificate", f"signed for this run by {authority_file()}: import that, or accept the warning"),
        ("room", f"garden@{stage.server.muc}, any nick; join it with both"),
        ("onlooker", f"bob@{domain}, password {PASSWORD}, at Prosody itself: 127.0.0.1, port {stage.server.port}"),
        ("profanity", f"/connect alice@{domain}/laptop server 127.0.0.1 port {port} tls trust"),
        ("", f"/join garden@{stage.server.muc} nick alice"),
    ]


def main(_reactor: Any, keep: bool) -> Deferred[None]:
    return Deferred.fromCoroutine(run(Narrator(), keep))


async def run(narrator: Narrator, keep: bool) -> None:
    try:
        await (keep_running(narrator) if keep else demo(narrator))
    except ProcessFailed as failure:
        narrator.failed(str(failure))
        raise SystemExit(1) from None


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m demo", description="A narrated run of minimixproxy.")
    parser.add_argument("--keep-running", action="store_true", help="leave server and proxy running for a real client")
    react(main, (parser.parse_args(sys.argv[1:]).keep_running,))
