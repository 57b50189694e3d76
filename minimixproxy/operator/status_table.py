"""A status report as text for a terminal. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from minimixproxy.logs.logger import printable

_ROOM = ("ROOM", "NICK", "STATE", "DEVICES", "MESSAGES", "BOOKMARKED")
_DOMAIN = ("CLIENT_PROXY", "CONNECTED", "RESOURCES", "OPEN REQUESTS", "TARGETS")


def text(report: Mapping[str, Any]) -> str:
    """Return the report as lines, the last one ended too."""
    lines = _head(report)
    for account in report["accounts"]:
        lines += ["", *_account(account)]
    left_out = report["left_out"]
    if any(left_out.values()):
        told = _numbers(left_out)
        lines += ["", f"Not shown: {told}. For one account: --account."]
    if report["client_proxy"]:
        lines += ["", *_columns([_DOMAIN, *map(_domain, report["client_proxy"])])]
    return "".join(f"{line}\n" for line in lines)


def _head(report: Mapping[str, Any]) -> list[str]:
    totals = report["totals"]
    streams, rooms = _numbers(totals["streams"]), _numbers(totals["rooms"])
    return [
        f"minimixproxy {report['version']}, Twisted {report['twisted']}, process {report['pid']}, "
        f"up {duration(report['uptime'])}",
        f"journal   {_journal(report['journal'])}",
        f"sessions  {totals['sessions']}{f', asleep: {sleeping}' if (sleeping := totals['sleeping']) else ''}",
        f"accounts  {totals['accounts']}{_not_enrolled(totals)}{f', streams: {streams}' if streams else ''}",
        f"rooms     {sum(totals['rooms'].values())}{f': {rooms}' if rooms else ''}",
        *_stanzas(report["stanzas"]),
    ]


def _not_enrolled(totals: Mapping[str, Any]) -> str:
    number = totals.get("not_enrolled", 0)
    return f", not enrolled: {number}" if number else ""


def _stanzas(stanzas: Mapping[str, int]) -> list[str]:
    """What went wrong with stanzas, if anything did."""
    told = [f"{stanzas['skipped']} could not be read"] if stanzas["skipped"] else []
    told += [f"{stanzas['dropped']} DROPPED by a fault of minimixproxy (see the log)"] if stanzas["dropped"] else []
    return [f"stanzas   {', '.join(told)}"] if told else []


def _journal(journal: Mapping[str, Any] | None) -> str:
    if journal is None:
        return "none"
    error = f" ({printable(journal['error'])})" if journal["error"] else ""
    lost = f", {journal['left_out']} rows REFUSED (see the log)" if journal.get("left_out") else ""
    return f"{'on disk' if journal['durable'] else 'NOT ON DISK'}{error}, {_size(journal['waiting'])} waiting{lost}"


def _account(account: Mapping[str, Any]) -> list[str]:
    asleep = account["asleep"]
    connected = _listed([device for device in account["devices"] if device not in asleep])
    head = f"{printable(account['account'])}  stream {_stream(account)}, connected: {connected}"
    head += f", asleep: {_listed(asleep)}" if asleep else ""
    rows = [
        (
            printable(room["room"]),
            printable(room["nick"]),
            room["state"],
            _listed([f"{name} (asleep)" if name in room["asleep"] else name for name in room["devices"]]),
            str(room["messages"]),
            "yes" if room["bookmarked"] else "no",
        )
        for room in account["rooms"]
    ]
    return [head, *(f"    {line}" for line in _columns([_ROOM, *rows]))] if rows else [head]


def _stream(account: Mapping[str, Any]) -> str:
    if not account.get("enrolled", True):
        return "none, NOT ENROLLED"
    if account["stream"] == "waiting":
        return f"waiting {account['opens_in']:.0f} s"
    return str(account["stream"])


def _domain(domain: Mapping[str, Any]) -> tuple[str, ...]:
    targets = (f"{target} ({state})" for target, state in domain["targets"].items())
    return (
        printable(domain["domain"]),
        "yes" if domain["connected"] else "NO",
        str(domain["resources"]),
        str(domain["requests"]),
        _listed(targets),
    )


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(printable, names)) or "-"


def _numbers(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in numbers.items() if number)


def duration(seconds: float) -> str:
    """Return seconds as days, hours, minutes and seconds."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    clock = f"{hour}:{minute:02}:{second:02}"
    return f"{days} d {clock}" if days else clock


def _size(number: int) -> str:
    if number < 1024:
        return f"{number} bytes"
    return f"{number / 1024:.1f} KiB" if number < 1024 * 1024 else f"{number / 1024 / 1024:.1f} MiB"
