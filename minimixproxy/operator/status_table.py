"""A status report as text for a terminal. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from minimixproxy.logs.logger import printable

FEW = 20  # accounts that are shown one by one without --all
#: Seconds: processes of a cluster look at the others each second, unless many accounts are to be taken.
LATELY = 5.0

_ROOM = ("ROOM", "NICK", "STATE", "DEVICES", "MESSAGES", "BOOKMARKED")
_DOMAIN = ("CLIENT_PROXY", "CONNECTED", "RESOURCES", "OPEN REQUESTS", "TARGETS")


def text(report: Mapping[str, Any], *, chosen: bool = True) -> str:
    """Return the report as lines, the last one ended too.

    `chosen`: the accounts in it were asked for. Else, if there are many, only those in trouble are shown.
    """
    lines = _head(report)
    if report["answer"] is not None:
        lines += ["", *answer(report["answer"])]
    accounts = report["accounts"] if chosen or report["found"] <= FEW else list(filter(in_trouble, report["accounts"]))
    shown = accounts if chosen else accounts[:FEW]
    for account in shown:
        lines += ["", *_account(account)]
    if not chosen and len(shown) < report["found"]:
        lines += ["", f"Not shown: {report['found'] - len(shown)} accounts. All: --all; one: --account; some: --state."]
    if report["client_proxy"]:
        lines += ["", *_columns([_DOMAIN, *map(_domain, report["client_proxy"])])]
    return "".join(f"{line}\n" for line in lines)


def answer(told: Mapping[str, Any]) -> list[str]:
    """Return why an account is in a room, or is not, in lines."""
    head = (
        f"{printable(told['account'])} is {'' if told['in'] else 'NOT '}in {printable(told['room'])}: {told['text']}."
    )
    return [head, f"Look at: {told['check']}."] if told["check"] else [head]


def in_trouble(account: Mapping[str, Any]) -> bool:
    """Tell whether an account in a report is not where it means to be."""
    out = any(room["state"] in ("interrupted", "rejoining") for room in account["rooms"])
    return out or account["stream"] in ("refused", "waiting")


def _head(report: Mapping[str, Any]) -> list[str]:
    totals = report["totals"]
    streams, rooms = _numbers(totals["streams"]), _numbers(totals["rooms"])
    return [
        f"minimixproxy {report['version']}, Twisted {report['twisted']}, process {report['pid']}, "
        f"up {duration(report['uptime'])}",
        *(f"WRONG     {trouble['text']}" for trouble in report["troubles"]),
        f"journal   {_journal(report['journal'])}",
        *_cluster(report.get("cluster")),
        f"sessions  {totals['sessions']}{f', asleep: {sleeping}' if (sleeping := totals['sleeping']) else ''}",
        f"accounts  {totals['accounts']}{f', streams: {streams}' if streams else ''}",
        f"rooms     {sum(totals['rooms'].values())}{f': {rooms}' if rooms else ''}",
        *_stanzas(report["stanzas"]),
    ]


def _cluster(cluster: Mapping[str, Any] | None) -> list[str]:
    """This process among those of its cluster, if it is in one."""
    if cluster is None:
        return []
    own = f"{printable(cluster['name'])}, number {cluster['number']}, holds {cluster['accounts']} accounts"
    own += f"{_drained(cluster)}; its row is good for {cluster['left']:.0f} s"
    own += f", {cluster['pipes']} clients are piped to others" if cluster["pipes"] else ""
    return [f"cluster   {own}", *map(_process, cluster["others"]), f"          {_all_of_them(cluster)}"]


def _all_of_them(cluster: Mapping[str, Any]) -> str:
    """What there is in the whole cluster."""
    others = len(cluster["others"])
    told = f"{others + 1} process{'es' if others else ''}, {cluster['all_accounts']} accounts"
    told += f", of these {cluster['free']} that no process has yet" if cluster["free"] else ""
    told += f", left by {_listed(cluster['left_by'])}" if cluster["left_by"] else ""
    return told + last_seen(cluster)


def last_seen(cluster: Mapping[str, Any]) -> str:
    """Return how old what is told of a cluster is, "" if it is as new as can be."""
    age = cluster["seen_ago"]
    if age is None:
        return ", as the others have not been seen yet"
    return f", as it was {age:.0f} s ago" if age > LATELY else ""


def _process(other: Mapping[str, Any]) -> str:
    return (
        f"          {printable(other['name'])} at {printable(other['address'])}, number {other['number']}, "
        f"holds {other['accounts']}{_drained(other)}"
    )


def _drained(process: Mapping[str, Any]) -> str:
    return ", is drained" if process["draining"] else ""


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
    return f"{'on disk' if journal['durable'] else 'NOT ON DISK'}{error}, {size(journal['waiting'])} waiting{lost}"


def _account(account: Mapping[str, Any]) -> list[str]:
    asleep = account["asleep"]
    connected = _listed([device for device in account["devices"] if device not in asleep])
    head = f"{printable(account['account'])}  stream {_stream(account)}, connected: {connected}"
    head += f", asleep: {_listed(asleep)}" if asleep else ""
    rows = [
        (
            printable(room["room"]),
            printable(room["nick"]),
            _state(room),
            _listed([f"{name} (asleep)" if name in room["asleep"] else name for name in room["devices"]]),
            str(room["messages"]),
            "yes" if room["bookmarked"] else "no",
        )
        for room in account["rooms"]
    ]
    lines = _columns([_ROOM, *rows]) if rows else []
    lines += [f"not in {printable(record['room'])}: {_record(record)}" for record in account["not_in"]]
    if account["rooms_left_out"]:
        lines.append(f"and {account['rooms_left_out']} rooms more")
    return [head, *(f"    {line}" for line in lines)]


def _state(room: Mapping[str, Any]) -> str:
    wait = f", next try in {room['next_attempt_in']:.0f} s" if room["next_attempt_in"] else ""
    return f"{room['state']}{wait}"


def _record(record: Mapping[str, Any]) -> str:
    """Why an account is not in a room, in short; with --account and --room it is told at length."""
    condition = f" ({printable(record['condition'])})" if record["condition"] else ""
    by = f" by {printable(record['by'])}" if record["by"] else ""
    said = f": {printable(record['text'])}" if record["text"] else ""
    return f"{record['why']}{condition}{by}, {record['at']}{said}"


def _stream(account: Mapping[str, Any]) -> str:
    state = account["stream"]
    if state == "not-enrolled":
        return "none, NOT ENROLLED"
    if state == "blocked":
        return "none, BLOCKED"
    fault = f" ({printable(account['fault']['text'])})" if account["fault"] and state != "open" else ""
    return f"waiting {account['opens_in']:.0f} s{fault}" if state == "waiting" else f"{state}{fault}"


def _domain(domain: Mapping[str, Any]) -> tuple[str, ...]:
    targets = (f"{target} ({state})" for target, state in domain["targets"].items())
    return (
        printable(domain["domain"]),
        _connected(domain),
        str(domain["resources"]),
        str(domain["requests"]),
        _listed(targets),
    )


def _connected(domain: Mapping[str, Any]) -> str:
    """Whether a domain is connected, or by which other process of the cluster it is to be."""
    if domain["standing_by"]:
        return f"by {printable(domain['holder'])}" if domain["holder"] else "stands by"
    return "yes" if domain["connected"] else "NO"


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


def size(number: int) -> str:
    """Return so many bytes in the unit that fits."""
    if number < 1024:
        return f"{number} bytes"
    return f"{number / 1024:.1f} KiB" if number < 1024 * 1024 else f"{number / 1024 / 1024:.1f} MiB"
