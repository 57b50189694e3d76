"""The operator's commands: `minimixproxy status` and `minimixproxy forget JID` ask the running proxy."""

from __future__ import annotations

import argparse
import json
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minimixproxy import __version__
from minimixproxy.config import settings as config
from minimixproxy.jids import InvalidJID, parse_jid
from minimixproxy.operator import status_table
from minimixproxy.operator.control import NAME
from minimixproxy.operator.forget import PATIENCE, account_address

TIMEOUT = 10.0  # seconds
FORGET_TIMEOUT = PATIENCE + TIMEOUT
MAX_ANSWER = 64 * 1024 * 1024  # bytes


class NoStatus(Exception):
    """The proxy cannot be asked; `str()` says why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0, or 1 with one line on standard error."""
    options = _parser().parse_args(arguments)
    try:
        settings = config.load(options.config)
        said: str = options.run(options, settings.directory / NAME)
    except (config.ConfigError, NoStatus, InvalidJID) as error:
        print(f"minimixproxy: {error}", file=sys.stderr)
        return 1
    print(said, end="")
    return 0


def _status(options: argparse.Namespace, path: Path) -> str:
    request = {"request": "status"}
    if options.account is not None:
        request["account"] = parse_jid(options.account).bare
    report = ask(path, request, TIMEOUT)
    return json.dumps(report, indent=2) + "\n" if options.json else status_table.text(report)


def _forget(options: argparse.Namespace, path: Path) -> str:
    bare = account_address(options.account)
    answer = ask(path, {"request": "forget", "account": bare}, FORGET_TIMEOUT)
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
    return parser


def ask(path: Path, request: dict[str, Any], timeout: float) -> dict[str, Any]:
    """Return the answer of the proxy that listens there, within so many seconds. Raises `NoStatus`."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout)
            connection.connect(str(path))
            connection.sendall(json.dumps(request, ensure_ascii=False).encode() + b"\n")
            with connection.makefile("rb") as lines:
                line = lines.readline(MAX_ANSWER)
    except FileNotFoundError as error:
        raise NoStatus(f"not running: there is no {path}") from error
    except ConnectionRefusedError as error:
        raise NoStatus(f"not running: nobody listens on {path}") from error
    except TimeoutError as error:
        raise NoStatus(f"{path}: no answer within {timeout:.0f} s") from error
    except OSError as error:
        raise NoStatus(f"{path}: {error.strerror or error}") from error
    return _read(path, line)


def _read(path: Path, line: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(line)
    except ValueError as error:
        raise NoStatus(f"{path}: the answer is not whole: is the proxy being stopped?") from error
    if "error" in answer:
        raise NoStatus(f"{path}: {answer['error']}")
    found: dict[str, Any] = answer
    return found


if __name__ == "__main__":
    sys.exit(main())
