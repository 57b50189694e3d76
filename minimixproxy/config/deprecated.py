"""Keys of the configuration that have another name now: the old one is understood for a while, and said to go. Pure.

docs/versions.md says how long.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from minimixproxy import __version__


@dataclass(frozen=True, slots=True)
class Renamed:
    """A key that was called `old` until the minor version `since`, and is understood as that until `gone`, exclusive.

    `table`: its table, such as "rooms", or "" for the top level; "listen" means each of them, "domain" each domain.
    """

    table: str
    old: str
    new: str
    since: str
    gone: str


#: All of them. One that is gone stays here for one version more, so that its name is still explained.
RENAMED: tuple[Renamed, ...] = ()


def understood(
    data: dict[str, Any], renamed: Sequence[Renamed] = RENAMED, version: str = __version__
) -> tuple[dict[str, Any], list[str], list[str]]:
    """Return what the file has with today's names, a warning for each old one, and a fault for each that is too old.

    The data is not changed. What is no table is left to whoever checks it.
    """
    warnings: list[str] = []
    faults: list[str] = []
    data = _copied(data)
    for key in renamed:
        for place, table in _tables(data, key.table):
            if key.old not in table:
                continue
            if _numbers(version) >= _numbers(key.gone):
                faults.append(f"{place}{key.old}: it is called {key.new} since {key.since}")
            elif key.new in table:
                faults.append(f"{place}{key.old}: it is called {key.new} now, which is there, too: remove one of them")
            else:
                old = f"{place}{key.old}"
                warnings.append(f"{old} is called {key.new} since {key.since}; {key.gone} will not know the old name")
                table[key.new] = table[key.old]
            del table[key.old]
    return data, warnings, faults


def _copied(value: Any) -> Any:
    """Return it with tables and lists of its own."""
    if isinstance(value, dict):
        return {key: _copied(inner) for key, inner in value.items()}
    return [_copied(inner) for inner in value] if isinstance(value, list) else value


def _tables(data: dict[str, Any], name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the tables of this name, each with how it is written before a key."""
    found = data.get(name) if name else data
    if name == "domain" and isinstance(found, dict):
        yield from ((f'[domain."{domain}"] ', table) for domain, table in found.items() if isinstance(table, dict))
    elif isinstance(found, dict):
        yield f"[{name}] " if name else "", found
    elif isinstance(found, list):
        tables = ((number, table) for number, table in enumerate(found, 1) if isinstance(table, dict))
        yield from ((f"[[{name}]] #{number} ", table) for number, table in tables)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))[:2]
