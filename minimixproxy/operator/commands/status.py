"""`minimixproxy status`: how the running proxy is."""

from __future__ import annotations

from argparse import Namespace

from minimixproxy.jids import parse_jid
from minimixproxy.operator import status_table
from minimixproxy.operator.commands import proxy
from minimixproxy.operator.commands.command import Argument, Command, Outcome


def run(options: Namespace) -> Outcome:
    """Ask for the report."""
    request = {"request": "status"}
    if options.account is not None:
        request["account"] = parse_jid(options.account).bare
    with proxy.connect(options) as connection:
        report = connection.ask(request)
    return Outcome(status_table.text(report), report)


STATUS = Command(
    "status",
    "accounts, their streams, rooms and devices",
    (
        "Asks the running proxy how it is: version, uptime, sessions, accounts with the state of their stream (closed, "
        "waiting, opening, open, refused; “NOT ENROLLED” where no login is known that opens it, so that each device "
        "joins rooms by itself), their rooms (joining, joined, interrupted, rejoining, leaving), the devices that have "
        "joined these, how many messages are kept, whether what is kept has reached the disk, how many stanzas since "
        "the start could not be read or met a fault of minimixproxy itself and were dropped (shown if there are any; "
        "the log has more), and the client_proxy domains.",
        "It shows neither passwords nor messages. Accounts in trouble come first; of very many accounts and rooms the "
        "first 1000 and 5000 are shown.",
    ),
    run,
    (Argument("--account", "Show only this account in full.", value="JID"),),
    {0: "The proxy has answered.", 1: "It is not running or cannot be asked."},
    ("minimixproxy status --account alice@example.org",),
)
