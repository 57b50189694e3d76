"""The processes of a cluster, on the first page. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from twisted.web.template import tags

from minimixproxy.operator.status_table import last_seen
from minimixproxy.operator.web.layout import Node, name, state, table

MOST_SHOWN: Final = 50  # processes; `minimixproxy status` has all

_HEAD = ("Process", "Address", "Number", "Accounts", "Takes accounts")


def processes(cluster: Mapping[str, Any] | None) -> Node:
    """Return the processes, as a status report has them: the one that is asked first. Nothing, if it is alone."""
    if cluster is None:
        return []
    others = cluster["others"]
    rows = [_row(cluster), *map(_row, others[: MOST_SHOWN - 1])]
    rest = len(others) + 1 - len(rows)
    return [
        tags.h2("Cluster"),
        table("Processes that live, this one first", _HEAD, rows, ""),
        tags.p(f"And {rest} more.") if rest else "",
        tags.p(f"This process's row in the database is good for {cluster['left']:.0f} s. ", _together(cluster)),
        "" if cluster["seen"] else tags.p(state("The database does not tell how the cluster stands now.", well=False)),
    ]


def _row(process: Mapping[str, Any]) -> list[Node]:
    return [
        name(process["name"]),
        name(process["address"]),
        str(process["number"]),
        str(process["accounts"]),
        "no, it is drained" if process["draining"] else "yes",
    ]


def _together(cluster: Mapping[str, Any]) -> Node:
    """What there is in the whole cluster, and the ways from here to the others."""
    told: list[Node] = [f"Together they have about {cluster['all_accounts']} accounts"]
    if cluster["free"]:
        free = state(f"{cluster['free']} that no process has yet", well=False)
        told = [f"There are about {cluster['all_accounts']} accounts, of these ", free]
    for number, left_by in enumerate(cluster["left_by"]):
        told += [", " if number else ", left by ", name(left_by)]
    return [*told, last_seen(cluster), f". Clients that are piped from here to the others: {cluster['pipes']}."]
