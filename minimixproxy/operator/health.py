"""What is wrong with the proxy itself, in words: not with one account. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from minimixproxy.logs.logger import printable
from minimixproxy.operator.reported import Reported, Trouble
from minimixproxy.operator.survey import Surveyed

MAX_TROUBLES = 50


def troubles(reported: Reported, journal: Mapping[str, Any] | None, found: Surveyed) -> list[Trouble]:
    """Return all that is wrong; nothing: all is well."""
    all_of_them = [*_disk(journal), *_servers(found), *_domains(reported)]
    for ask in reported.troubles:
        all_of_them += ask()
    return all_of_them[:MAX_TROUBLES]


def _disk(journal: Mapping[str, Any] | None) -> Iterator[Trouble]:
    if journal is None or journal["durable"]:
        return
    error = printable(journal["error"]) or "it does not answer"
    if journal.get("lost"):
        yield Trouble("lease-lost", f"another proxy has taken the database, so this one ends: {error}")
    else:
        yield Trouble(
            "not-on-disk", f"nothing is written to disk ({error}): a crash would take back what clients were told"
        )


def _servers(found: Surveyed) -> Iterator[Trouble]:
    """Streams that accounts in rooms need: none of a domain is open, and the server refuses them, or is not reached."""
    for domain, states in sorted(found.by_domain.items()):
        if states["open"] or states["resuming"]:
            continue
        refused, waiting = states["refused"], states["waiting"] + states["opening"]
        name = printable(domain)
        if refused and not waiting:
            yield Trouble("all-refused", f"{name}: the server refuses the login of every account stream ({refused})")
        elif waiting:
            yield Trouble("no-stream", f"{name}: not one account stream is open, of {sum(states.values())} needed")


def _domains(reported: Reported) -> Iterator[Trouble]:
    for domain in reported.domains:
        status = domain.status()
        if not status["connected"] and not status["standing_by"]:
            yield Trouble("component-lost", f"client_proxy {printable(str(status['domain']))} is not connected")
