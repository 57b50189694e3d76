"""What can be checked without a network, and before the proxy starts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from minimixproxy.checking.certificates import check_certificates
from minimixproxy.checking.cluster import check_cluster, check_cluster_certificate
from minimixproxy.checking.files import check_files, check_readable
from minimixproxy.checking.finding import Finding, Level
from minimixproxy.checking.loops import check_loops
from minimixproxy.checking.state import check_state
from minimixproxy.config.settings import Settings


def check_offline(path: Path, settings: Settings, now: datetime, reactor: Any) -> Iterator[Finding]:
    """Yield what is to be said of a configuration that could be read, from the file `path`. Blocks; changes nothing."""
    yield from check_files(path, settings)
    yield from check_readable(path, settings)
    yield from check_certificates(settings.domain.values(), now)
    yield from check_cluster(settings, now)
    yield from check_loops(settings, reactor)
    if settings.serves_clients:
        yield from check_state(settings)


def check_before_start(path: Path, settings: Settings, now: datetime) -> Iterator[Finding]:
    """Yield what the log of a proxy that starts all the same should say: modes of files, and certificates."""
    certificates = (*check_certificates(settings.domain.values(), now), *check_cluster_certificate(settings, now))
    for finding in (*check_files(path, settings), *certificates):
        if finding.level is not Level.GOOD:
            yield finding
