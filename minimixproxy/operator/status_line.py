"""How the proxy does, in one line: what is wrong first, then how much there is. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from minimixproxy.logs.logger import printable

MAX_TOLD = 3  # troubles; `minimixproxy status` has all
LONGEST = 150  # characters of one


def status_line(summary: Mapping[str, Any]) -> str:
    """Return the line for the summary of a status report (see `StatusReport.summary`)."""
    return "; ".join([*_troubles(summary), *_numbers(summary)])


def _troubles(summary: Mapping[str, Any]) -> Iterator[str]:
    troubles = summary["troubles"]
    for trouble in troubles[:MAX_TOLD]:
        yield printable(trouble["text"], LONGEST)
    if more := len(troubles[MAX_TOLD:]):
        yield f"{more} more {'is' if more == 1 else 'are'} wrong: see minimixproxy status"


def _numbers(summary: Mapping[str, Any]) -> Iterator[str]:
    if summary["journal"] is not None:
        yield from _of_accounts(summary["totals"])
    if summary["cluster"] is not None:
        yield from _of_cluster(summary["cluster"])
    for domain in summary["client_proxy"]:
        if domain["connected"]:
            yield f"client_proxy {printable(domain['domain'])}: {_counted(domain['resources'], 'resource')}"


def _of_accounts(totals: Mapping[str, Any]) -> Iterator[str]:
    rooms, streams = totals["rooms"], totals["streams"]
    asleep = f" ({totals['sleeping']} asleep)" if totals["sleeping"] else ""
    yield f"{_counted(totals['sessions'], 'session')}{asleep} of {_counted(totals['accounts'], 'account')}"
    out = sum(rooms.values()) - rooms.get("joined", 0)
    yield f"{rooms.get('joined', 0)} times in a room{f', {out} times not (yet)' if out else ''}"
    if refused := streams.get("refused", 0):
        yield f"the login of {_counted(refused, 'account')} is refused"
    if waiting := streams.get("waiting", 0):
        yield f"{_counted(waiting, 'account')} cannot reach the server"


def _of_cluster(cluster: Mapping[str, Any]) -> Iterator[str]:
    others = len(cluster["others"])
    yield f"one of {others + 1} processes of the cluster" if others else "the only process of the cluster"
    if cluster["free"]:
        yield f"{_counted(cluster['free'], 'account')} with no process yet"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
