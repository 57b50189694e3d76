"""The load generator, a process of its own: `python -m bench.load PLAN`, a plan in JSON; results in JSON on stdout.

Every measurement takes the CPU time of the processes under test right at its own begin and end.
"""

import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.proc import resident_bytes
from bench.sending import SLICES, Load, Meter, Result, Step
from bench.wire import Stream, Target, stream


def log_in(plan: Result, count: int, first: int = 0) -> list[Stream]:
    """Log in `count` sessions, spread over the accounts of the plan. `targets`: for its accounts in turn."""
    targets = [Target(**target) for target in plan.get("targets") or [plan["target"]]]
    accounts, streams = plan["accounts"], []
    for number in range(first, first + count):
        account = number % len(accounts)
        client = stream(targets[account % len(targets)])
        client.login(accounts[account], plan["password"], f"bench{number}")
        streams.append(client)
    return streams


@dataclass(frozen=True)
class Way:
    """One way that messages take; `last`: a stream that says which TLS there is. `silent`: streams that only stay."""

    plan: Result
    load: Load
    meter: Meter
    last: Stream
    silent: Sequence[Stream] = ()

    def step(self, phase: Result) -> Step:
        """Return what one phase does. `burner`: a process that runs meanwhile, and at no other time."""
        step, burner = self.load.step(phase), self.plan.get("burner")
        if burner is None:
            return step

        def beside(end: float) -> int:
            os.kill(burner, signal.SIGCONT)
            try:
                return step(end)
            finally:
                os.kill(burner, signal.SIGSTOP)

        return beside


def _hold(plan: Result) -> list[Stream]:
    """Have the accounts be held by the process at `holder`, whichever their sessions reach."""
    if "holder" not in plan:
        return []
    target, streams = Target(**plan["holder"]), []
    for account in plan["accounts"]:
        streams.append(stream(target))
        streams[-1].login(account, plan["password"], "silent")
    return streams


def _way(plan: Result, sender: Stream, receivers: list[Stream], silent: Sequence[Stream] = ()) -> Way:
    load = Load(sender, plan["message"].encode(), receivers)
    load.settle()
    if plan.get("managed"):
        load.manage()
    return Way(plan, load, Meter(plan["pids"], plan.get("with_children")), receivers[-1], silent)


def fork(plan: Result) -> Way:
    """One direct sender in a room, many sessions in it, by a nick for each account; if `nicks`, for each session."""
    room = plan["room"]
    sender = stream(Target(**plan["sender"]))
    sender.login(plan["sender_account"], plan["password"], plan.get("sender_resource", "sender"))
    sender.join(room, "sender")
    silent = _hold(plan)
    receivers = log_in(plan, plan["sessions"])
    for receiver in receivers:
        receiver.online()
    for number, receiver in enumerate(receivers):
        receiver.join(room, f"receiver{number if plan.get('nicks') else number % len(plan['accounts'])}")
    return _way(plan, sender, receivers, silent)


def loop(plan: Result) -> Way:
    """The yardstick: one sender, many receivers, and nothing but TLS."""
    streams = [stream(Target(**plan["target"])) for _ in range(plan["sessions"] + 1)]
    for each in streams:
        each.secure()
    return _way(plan, streams[0], streams[1:])


def echo(plan: Result) -> Way:
    """One client whose messages the server sends back."""
    streams = log_in(plan, 1)
    return _way(plan, streams[0], streams)


WAYS = {"fork": fork, "loop": loop, "echo": echo}


def run(plan: Result) -> Result:
    """Carry out the phases of a plan of one way."""
    (found,) = _run({"only": WAYS[plan["kind"]](plan)}, plan["phases"]).values()
    return found


def compare(plan: Result) -> Result:
    """Carry out the phases of several ways by turns, slice by slice: what else the machine does meets all of them."""
    ways = {name: WAYS[way["kind"]](way) for name, way in plan["ways"].items()}
    return _run(ways, plan["phases"])


def _run(ways: Mapping[str, Way], phases: Result) -> dict[str, Result]:
    found: dict[str, Result] = {name: {} for name in ways}
    for phase_name, phase in phases.items():
        for way in ways.values():
            way.step(phase)(time.monotonic() + phase.get("warm_up", 1.0))
            if "rate" in phase:
                way.load.latencies.clear()  # those of the last phase that is paced are told
                way.load.keep()
        _same_size(ways)
        for name in ways:
            found[name][phase_name] = []
        for _ in range(SLICES):
            for name, way in ways.items():
                part = way.meter.slice(phase["seconds"] / SLICES, way.step(phase))
                found[name][phase_name].append(part)
        if "rate" in phase:
            for way in ways.values():
                way.load.prove()
    return {
        name: {
            "phases": found[name],
            "latencies": way.load.latencies,
            "bytes": way.load.copy_size,
            "tls": cipher(way.last),
        }
        for name, way in ways.items()
    }


def _same_size(ways: Mapping[str, Way]) -> None:
    """Have a message that nobody writes anew be as large as a copy that another way delivers."""
    for way in ways.values():
        like = ways.get(way.plan.get("size_of", ""))
        if like is not None:
            way.load.message = padded(way.load.message, round(like.load.copy_size))


def padded(message: bytes, size: int) -> bytes:
    """Return a message of that many bytes, as far as more text in its body can do it."""
    missing = size - len(message)
    head, body, rest = message.partition(b"</body>")
    return head + b"." * missing + body + rest


def memory(plan: Result) -> Result:
    """Sessions that are logged in and stay; how much the process under test grew by them."""
    pid = plan["pids"]["proxy"]
    streams = log_in(plan, plan["warm_up"])
    time.sleep(1)
    before = resident_bytes(pid)
    streams += log_in(plan, plan["sessions"], plan["warm_up"])
    time.sleep(1)
    after = resident_bytes(pid)
    return {"before": before, "after": after, "sessions": plan["sessions"], "tls": cipher(streams[-1])}


def sleeping(plan: Result) -> Result:
    """As `memory`, but each session loses its connection, and sleeps."""
    pid = plan["pids"]["proxy"]

    def sleepers(count: int, first: int) -> None:
        for number in range(first, first + count):
            (stream,) = log_in(plan, 1, number)
            stream.manage()
            stream.cut()

    sleepers(plan["warm_up"], 0)
    time.sleep(1)
    before = resident_bytes(pid)
    sleepers(plan["sessions"], plan["warm_up"])
    time.sleep(1)
    return {"before": before, "after": resident_bytes(pid), "sessions": plan["sessions"], "tls": "as above"}


def cipher(stream: Stream) -> str:
    """Return version and cipher of a stream's TLS, "none" without."""
    negotiated = getattr(stream.socket, "cipher", lambda: None)()
    return f"{negotiated[1]}, {negotiated[0]}" if negotiated else "none"


PLANS: dict[str, Callable[[Result], Result]] = {
    **dict.fromkeys(WAYS, run),
    "compare": compare,
    "memory": memory,
    "sleeping": sleeping,
}


def main() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8192)), hard))
    plan = json.loads(sys.argv[1])
    print(json.dumps(PLANS[plan["kind"]](plan)))


if __name__ == "__main__":
    main()
