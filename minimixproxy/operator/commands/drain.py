"""`minimixproxy drain`: no more clients, before a restart or a move."""

from __future__ import annotations

from argparse import Namespace

from minimixproxy.operator.commands import proxy
from minimixproxy.operator.commands.command import Argument, Command, Outcome
from minimixproxy.operator.drain import GRACE

TIMEOUT = 600.0  # seconds until the rest is told to go
ANSWER = 10.0 + GRACE


def run(options: Namespace) -> Outcome:
    """Begin it and wait for its end, begin it, or undo it."""
    if options.undo:
        with proxy.connect(options) as connection:
            answer = connection.ask({"request": "undrain"}, "drained")
        said = "clients are accepted again" if answer["drained"] else "clients were accepted all the time"
        return Outcome(f"{said}\n", answer)
    request = {"request": "drain", "timeout": options.timeout, "wait": not options.no_wait}
    with proxy.connect(options, options.timeout + ANSWER) as connection:
        answer = connection.ask(request, "clients", "dismissed")
    clients, dismissed = answer["clients"], answer["dismissed"]
    told = f", {dismissed} were told to go" if dismissed else ""
    status = 1 if clients and not options.no_wait else 0
    return Outcome(f"no more clients are accepted; {clients} are connected{told}\n", answer, status)


DRAIN = Command(
    "drain",
    "no more clients, before a restart or a move",
    (
        "Has the running proxy close its ports for clients: who connects is refused, and goes elsewhere or comes back "
        "later; /readyz says that it is not ready. Clients that are connected stay, until they go by themselves or the "
        "time is up; then their streams end with “system-shutdown”, upon which they log in anew, where they can. "
        "Accounts stay in their rooms. The command waits until no client is left; status shows how many are.",
        "That lasts until it is undone, or the proxy ends. To undo it, the ports have to be opened again: not possible "
        "for ports below 1024 once root's privileges are dropped.",
    ),
    run,
    (
        Argument(
            "--timeout",
            "How long clients may stay: else 600.",
            value="SECONDS",
            kind=float,
            default=TIMEOUT,
        ),
        Argument("--no-wait", "Begin it, and do not wait."),
        Argument("--undo", "Accept clients again."),
    ),
    {
        0: "No client is connected; with --no-wait: it has begun; with --undo: clients are accepted.",
        1: "Some are there still, the drain was undone meanwhile, or the proxy is not running.",
    },
    ("minimixproxy drain --timeout 60 && systemctl restart minimixproxy", "minimixproxy drain --undo"),
)
