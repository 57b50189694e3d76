"""The operator's commands: `minimixproxy status`, `forget` and `enroll` ask the running proxy."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from minimixproxy import __version__
from minimixproxy.config import settings as config
from minimixproxy.jids import InvalidJID, parse_jid
from minimixproxy.operator import enroll_command, status_table
from minimixproxy.operator.asking import Connection, NoStatus
from minimixproxy.operator.control import NAME
from minimixproxy.operator.forget import PATIENCE, account_address
from minimixproxy.server_stores.records import BadRecord, StoreError

TIMEOUT = 10.0  # seconds
FORGET_TIMEOUT = PATIENCE + TIMEOUT


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0, or 1 with one line on standard error."""
    options = _parser().parse_args(arguments)
    try:
        settings = config.load(options.config)
        said: str = options.run(options, settings)
    except enroll_command.NotAll as summary:
        print(summary, end="")
        return 1
    except (config.ConfigError, NoStatus, InvalidJID, BadRecord, StoreError) as error:
        print(f"minimixproxy: {error}", file=sys.stderr)
        return 1
    print(said, end="")
    return 0


def _status(options: argparse.Namespace, settings: config.Settings) -> str:
    request = {"request": "status"}
    if options.account is not None:
        request["account"] = parse_jid(options.account).bare
    with Connection(settings.directory / NAME, TIMEOUT) as connection:
        report = connection.ask(request)
    return json.dumps(report, indent=2) + "\n" if options.json else status_table.text(report)


def _forget(options: argparse.Namespace, settings: config.Settings) -> str:
    bare = account_address(options.account)
    with Connection(settings.directory / NAME, FORGET_TIMEOUT) as connection:
        answer = connection.ask({"request": "forget", "account": bare}, "known")
    what = "forgotten" if answer["known"] else "not known here, nothing is kept of it"
    return f"{bare}: {what}\n"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="minimixproxy",
        description="Asks a running minimixproxy. To run one: twistd -n minimixproxy --config FILE",
    )
    parser.add_argument("--version", action="version", version=f"minimixproxy {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    status = commands.add_parser("status", help="accounts, their streams, rooms and devices")
    status.add_argument("--config", "-c", type=Path, required=True, metavar="FILE", help="the proxy's configuration")
    status.add_argument("--account", metavar="JID", help="in full only the account of this bare JID")
    status.add_argument("--json", action="store_true", help="as JSON")
    status.set_defaults(run=_status)
    forget = commands.add_parser(
        "forget",
        help="an account that was deleted at the server",
        description="Has the running proxy leave the account's rooms and delete all that it keeps of it. Call it "
        "whenever an account was deleted at the server, or who gets the address next is given the former one's rooms.",
    )
    forget.add_argument("--config", "-c", type=Path, required=True, metavar="FILE", help="the proxy's configuration")
    forget.add_argument("account", metavar="JID", help="the address of the account")
    forget.set_defaults(run=_forget)
    enroll_command.add_parser(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
