"""`minimixproxy forget JID`: an account that was deleted at the server."""

from __future__ import annotations

from argparse import Namespace

from minimixproxy.operator.commands import proxy
from minimixproxy.operator.commands.command import Argument, Command, Outcome
from minimixproxy.operator.forget import PATIENCE, account_address

TIMEOUT = PATIENCE + 10.0


def run(options: Namespace) -> Outcome:
    """Have it forgotten, and wait until that is on disk."""
    bare = account_address(options.account)
    with proxy.connect(options, TIMEOUT) as connection:
        answer = connection.ask({"request": "forget", "account": bare}, "known")
    what = "forgotten" if answer["known"] else "not known here, nothing is kept of it"
    return Outcome(f"{bare}: {what}\n", {"account": bare, "known": answer["known"]})


FORGET = Command(
    "forget",
    "an account that was deleted at the server",
    (
        "Has the running proxy forget an account, as if it had never been there: the account leaves its rooms, its "
        "clients' streams end with “reset”, and all that was kept of it is deleted.",
        "It has to be called whenever an account was deleted at the server, after that: the proxy cannot find out, and "
        "would give the former owner's rooms and messages to whoever gets the address next. It says “forgotten” when "
        "that is on disk and erased from the files of an SQLite database, or “not known here” if nothing was kept, and "
        "may be repeated.",
    ),
    run,
    (Argument("account", "The address of the account.", value="JID"),),
    {
        0: "Nothing is kept of the account any more, whether there was anything or not.",
        1: "The address is none, the proxy is not running, or the database cannot be written within 20 seconds.",
    },
    ("minimixproxy forget alice@example.org",),
)
