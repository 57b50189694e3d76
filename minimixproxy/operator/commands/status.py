"""`minimixproxy status`: how the running proxy is, and why an account is not in a room."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from minimixproxy.config.settings import ConfigError
from minimixproxy.jids import InvalidJID, parse_jid
from minimixproxy.operator import status_table
from minimixproxy.operator.asking import Connection, NoStatus
from minimixproxy.operator.commands import proxy
from minimixproxy.operator.commands.command import Argument, Command, CommandError, Outcome

WELL, WRONG, CANNOT_ASK, NOT_KNOWN = 0, 1, 2, 3
MAX_PAGES = 10_000  # answers that are put together with --all

#: What an answer has to have; one that lacks it is of another version.
_EXPECTED = ("schema", "troubles", "accounts", "found", "next", "answer")


class CannotAsk(CommandError):
    """The proxy cannot be asked."""

    status = CANNOT_ASK


def run(options: Namespace) -> Outcome:
    """Ask for the report. Raises `CannotAsk`."""
    try:
        request = _request(options)
        with Connection(options.socket or proxy.control_socket(options), proxy.TIMEOUT) as connection:
            report = _whole(connection, request, every=options.all)
    except (ConfigError, NoStatus) as error:
        raise CannotAsk(str(error)) from error
    chosen = options.all or len(request) > 1
    return Outcome(status_table.text(report, chosen=chosen), report, _status(report, request))


def _request(options: Namespace) -> dict[str, str]:
    request = {"request": "status"}
    for name in ("account", "room"):
        address = getattr(options, name)
        if address is not None:
            request[name] = _bare(name, address)
    if options.state is not None:
        request["state"] = options.state
    return request


def _bare(option: str, address: str) -> str:
    try:
        return parse_jid(address).bare
    except InvalidJID as error:
        raise CannotAsk(f"--{option}: {address[:200]!r} is no JID, such as user@example.org: {error}") from error


def _whole(connection: Connection, request: dict[str, str], *, every: bool) -> dict[str, Any]:
    """Return the answer; with `every`, the accounts of all answers that there are."""
    report = connection.ask(request, *_EXPECTED)
    pages = 1
    while every and report["next"] is not None and pages < MAX_PAGES:
        more = connection.ask({**request, "after": report["next"]}, *_EXPECTED)
        report["accounts"] += more["accounts"]
        report["next"] = more["next"]
        pages += 1
    return report


def _status(report: dict[str, Any], request: dict[str, str]) -> int:
    answer = report["answer"]
    if answer is not None:
        return WELL if answer["in"] else WRONG
    if len(request) > 1 and not report["accounts"]:
        return NOT_KNOWN
    if "account" in request and any(map(status_table.in_trouble, report["accounts"])):
        return WRONG
    return WRONG if report["troubles"] else WELL


STATUS = Command(
    "status",
    "how the proxy is; why an account is not in a room",
    (
        "Asks the running proxy how it is: version, uptime, what is wrong with it, sessions, accounts with the state "
        "of their stream (closed, waiting, opening, open, resuming, refused; “NOT ENROLLED” where no login is known "
        "that opens it, so that each device joins rooms by itself), their rooms (joining, joined, interrupted, "
        "rejoining, leaving), the devices that have joined these, how many messages are kept, which rooms they are not "
        "in although they were or were to be, and why, and the client_proxy domains.",
        "With --account and --room it says why that account is in that room, or is not, and what to look at next: who "
        "has kicked or banned it and when, how the room refused it, when it is tried again.",
        "It shows neither passwords nor messages. Of more than 20 accounts only those in trouble are shown, unless "
        "they are asked for.",
    ),
    run,
    (
        Argument("--account", "Only the account of this address.", value="JID"),
        Argument(
            "--room",
            "Only accounts that are in this room, or were to be; with --account: why, or why not.",
            value="JID",
        ),
        Argument(
            "--state",
            "Only accounts whose stream or one of whose rooms is in this state, or “trouble”, or “not-enrolled”.",
            value="STATE",
        ),
        Argument("--all", "All accounts, however many there are."),
        Argument(
            "--socket",
            "The control socket of the proxy; without it, the one in the directory of state, by the configuration.",
            value="PATH",
            kind=Path,
            completes="files",
        ),
    ),
    {
        WELL: "All is well; with --account and --room: the account is in the room.",
        WRONG: "Something is wrong with the proxy, or with the account that was asked for; or it is not in the room.",
        CANNOT_ASK: "The proxy is not running or cannot be asked, or the usage is wrong.",
        NOT_KNOWN: "No account is what was asked for.",
    },
    (
        "minimixproxy status --account alice@example.org",
        "minimixproxy status --account alice@example.org --room garden@conference.example.org",
        "minimixproxy status --state trouble",
    ),
)
