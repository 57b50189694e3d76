"""`minimixproxy drain`: no more clients, before a restart or a move."""

from __future__ import annotations

from argparse import Namespace

from minimixproxy.operator.commands import proxy
from minimixproxy.operator.commands.command import Argument, Command, Outcome
from minimixproxy.operator.drain import GRACE, HANDED_ON_WITHIN

TIMEOUT = 600.0  # seconds until the rest is told to go
ANSWER = 10.0 + HANDED_ON_WITHIN + GRACE


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
    clients, dismissed, accounts = answer["clients"], answer["dismissed"], answer.get("accounts", 0)
    told = f", {dismissed} were told to go" if dismissed else ""
    here = f"; {accounts} accounts are still to go to other processes" if accounts else ""
    status = 1 if (clients or accounts) and not options.no_wait else 0
    return Outcome(f"no more clients are accepted; {clients} are connected{told}{here}\n", answer, status)


DRAIN = Command(
    "drain",
    "no more clients, before a restart or a move",
    (
        "Has the running proxy close its ports for clients: who connects is refused, and goes elsewhere or comes back "
        "later; /readyz says that it is not ready. Clients that are connected stay, until they go by themselves or the "
        "time is up; then their streams end with “system-shutdown”, upon which they log in anew, where they can. "
        "Accounts stay in their rooms. The command waits until no client is left; status shows how many are.",
        "A process of a cluster has its accounts go to the others, fifty a second at most: each once no client uses "
        "it, and when the time is up the rest, whose clients are told to go then. The command waits until none is "
        "left. If no other process takes accounts, they stay.",
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
        0: "No client is connected, and no account is to go to another process; with --no-wait: it has begun; with "
        "--undo: clients are accepted.",
        1: "Some are there still, the drain was undone meanwhile, or the proxy is not running.",
    },
    ("minimixproxy drain --timeout 60 && systemctl restart minimixproxy", "minimixproxy drain --undo"),
)
