"""`minimixproxy block JID`, `unblock JID` and `blocked`: accounts that get no login through the proxy."""

from __future__ import annotations

from argparse import Namespace
from datetime import UTC, datetime
from typing import Any

from minimixproxy.logs.logger import printable
from minimixproxy.operator.commands import proxy
from minimixproxy.operator.commands.command import Argument, Command, Outcome
from minimixproxy.operator.forget import account_address


def block(options: Namespace) -> Outcome:
    """Have it blocked, and wait until that is on disk."""
    bare = account_address(options.account)
    request = {"request": "block", "account": bare, "reason": options.reason}
    with proxy.connect(options) as connection:
        answer = connection.ask(request, "new", "sessions")
    before = "" if answer["new"] else "was blocked before, "
    return Outcome(f"{bare}: {before}blocked; {answer['sessions']} sessions ended\n", answer)


def unblock(options: Namespace) -> Outcome:
    """Have it blocked no more."""
    bare = account_address(options.account)
    with proxy.connect(options) as connection:
        answer = connection.ask({"request": "unblock", "account": bare}, "known")
    return Outcome(f"{bare}: {'unblocked' if answer['known'] else 'was not blocked'}\n", answer)


def blocked(options: Namespace) -> Outcome:
    """Ask which ones are."""
    with proxy.connect(options) as connection:
        answer = connection.ask({"request": "blocked"}, "blocked", "total")
    lines = [_line(entry) for entry in answer["blocked"]]
    if answer["total"] > len(lines):
        lines.append(f"and {answer['total'] - len(lines)} more\n")
    return Outcome("".join(lines) or "no account is blocked\n", answer)


def _line(entry: dict[str, Any]) -> str:
    since = datetime.fromtimestamp(entry["since"], UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"{printable(entry['account'])}  since {since}  {printable(entry['reason'])}".rstrip() + "\n"


_ADDRESS = Argument("account", "The address of the account, in any spelling.", value="JID")

BLOCK = Command(
    "block",
    "an account that is to get no login through the proxy",
    (
        "Has the running proxy block an account. Its clients' streams end with “not-authorized”, sleeping sessions "
        "too; its account stream ends, so that rooms see it leave. No login gets it in again, by whatever mechanism or "
        "token: a client whose login is good is told “account-disabled”, one whose is not learns nothing. That lasts "
        "until the account is unblocked, also over restarts.",
        "All that is kept of the account stays: its rooms, messages, keys, tokens, and what devices have enabled for "
        "push notifications. When it is unblocked, it comes back into its rooms. To delete all of that, too, call "
        "forget; the account stays blocked. The server itself knows nothing of a block: who reaches it without the "
        "proxy can log in there.",
    ),
    block,
    (_ADDRESS, Argument("--reason", "A note of one line, which the command blocked shows.", value="TEXT", default="")),
    {
        0: "The account is blocked, whether or not it was before.",
        1: "The address is none, its domain is not served, the proxy is not running, or state cannot be written.",
    },
    ('minimixproxy block spammer@example.org --reason "complaint 4711"',),
)
UNBLOCK = Command(
    "unblock",
    "an account that was blocked",
    (
        "Has the running proxy let an account in again. If a login is kept of it that the server still takes, it comes "
        "back into its rooms at once, else when a client logs in.",
    ),
    unblock,
    (_ADDRESS,),
    {
        0: "The account is not blocked, whether or not it was.",
        1: "The address is none, the proxy is not running, or state cannot be written.",
    },
    ("minimixproxy unblock alice@example.org",),
)
BLOCKED = Command(
    "blocked",
    "which accounts are blocked",
    ("Lists the blocked accounts, since when they are, and the notes on why.",),
    blocked,
    (),
    {0: "The proxy has answered.", 1: "It is not running or cannot be asked."},
    ("minimixproxy blocked --json",),
)
