"""How the proxy does, in one line: what is wrong first, then how much there is. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from minimixproxy.logs.logger import printable


def status_line(summary: Mapping[str, Any]) -> str:
    """Return the line for the summary of a status report (see `StatusReport.summary`)."""
    return "; ".join([*_troubles(summary), *_numbers(summary)])


def _troubles(summary: Mapping[str, Any]) -> Iterator[str]:
    journal, totals = summary["journal"], summary["totals"]
    if journal is not None and not journal["durable"]:
        yield f"nothing is written to disk ({printable(journal['error']) or 'it does not answer'})"
    streams = totals["streams"]
    if refused := streams.get("refused", 0):
        yield f"the server refuses the login of {_counted(refused, 'account')}"
    if waiting := streams.get("waiting", 0):
        yield f"{_counted(waiting, 'account')} cannot reach the server"
    for domain in summary["client_proxy"]:
        if not domain["connected"]:
            yield f"client_proxy {printable(domain['domain'])} is not connected"


def _numbers(summary: Mapping[str, Any]) -> Iterator[str]:
    totals, rooms = summary["totals"], summary["totals"]["rooms"]
    if summary["journal"] is not None:
        asleep = f" ({totals['sleeping']} asleep)" if totals["sleeping"] else ""
        yield f"{_counted(totals['sessions'], 'session')}{asleep} of {_counted(totals['accounts'], 'account')}"
        out = sum(rooms.values()) - rooms.get("joined", 0)
        yield f"{rooms.get('joined', 0)} times in a room{f', {out} times not (yet)' if out else ''}"
    for domain in summary["client_proxy"]:
        if domain["connected"]:
            yield f"client_proxy {printable(domain['domain'])}: {_counted(domain['resources'], 'resource')}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
