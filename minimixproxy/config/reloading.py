"""The configuration file read anew while the proxy runs: what has changed, what can, and who takes part.

There is one `Settings` for the life of the process. Its tables are handed to whoever works by them, and are changed in
place (`take_over`): whoever reads a value when it needs it needs to know nothing of reloads. Who has made something of
the configuration that has to be made anew, such as a port, is a `Part`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any, NamedTuple, Protocol

from pydantic import SecretStr

from minimixproxy.config.errors import SECRET_KEYS, written
from minimixproxy.config.settings import Section, Settings

#: What is made once, at the start.
RESTART = frozenset({("state",), ("state_directory",), ("seal_key",), ("rooms", "bookmarks"), ("web",), ("cluster",)})


class CannotReload(Exception):
    """The new configuration cannot be used. The text says why, as at a start."""


class Prepared(Protocol):
    """One part's share in a reload, for which all is there that it needs."""

    def commit(self) -> Awaitable[None] | None:
        """Do it: the settings are the new ones by now. It cannot fail. The result, if any, fires at its end."""

    def undo(self) -> Awaitable[None] | None:
        """Be as before: the reload comes to nothing."""


class Part(Protocol):
    """Who has more to do for a new configuration than to read it."""

    def prepare(self, new: Settings) -> Awaitable[Prepared]:
        """Do all that can fail, so that nobody notices yet. Raises `CannotReload`, and then has changed nothing."""


class Change(NamedTuple):
    """One thing that is otherwise in the new configuration."""

    path: tuple[int | str, ...]  # as in `Settings`; of a table by what identifies it
    text: str  # for the operator, without secrets
    restart: bool = False  # it stays as it is until a restart


def changes(old: Settings, new: Settings) -> list[Change]:
    """Return what differs, in the order of the file."""
    found: list[Change] = []
    for key in type(old).model_fields:
        found += _changes((key,), getattr(old, key), getattr(new, key))
    return found


def _changes(path: tuple[str, ...], old: Any, new: Any) -> list[Change]:
    if old == new and not (isinstance(old, dict) and list(old) != list(new)):
        return []
    if path in RESTART:
        return [Change(path, f"{_place(path)}: {_values(path, old, new)}", restart=True)]
    if isinstance(old, Section) and isinstance(new, Section):
        of_one = type(old).model_fields
        return [change for key in of_one for change in _changes((*path, key), getattr(old, key), getattr(new, key))]
    tables = _tables(old), _tables(new)
    if tables[0] is not None and tables[1] is not None:
        return _of_tables(path, tables[0], tables[1])
    return [Change(path, f"{_place(path)}: {_values(path, old, new)}")]


def _tables(value: Any) -> dict[str, Section] | None:
    """Return tables of one kind by what identifies each; None if the value is none of these."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple) and all(isinstance(one, Section) for one in value):
        return {str(getattr(one, one.identified_by)): one for one in value}
    return None


def _of_tables(path: tuple[str, ...], old: dict[str, Section], new: dict[str, Section]) -> list[Change]:
    found = [Change((*path, name), f"{_place((*path, name))}: removed") for name in old if name not in new]
    for name, section in new.items():
        if name in old:
            found += _changes((*path, name), old[name], section)
        else:
            found.append(Change((*path, name), f"{_place((*path, name))}: new"))
    if not found:  # they are in another order: the first domain is that of clients that name none
        found.append(Change(path, f"[{path[0]}]: another order"))
    return found


def _place(path: tuple[str, ...]) -> str:
    """A place as the file has it; a table of `[[several]]` by what identifies it."""
    is_table = path[0] in Settings.model_fields and isinstance(Settings.model_fields[path[0]].get_default(), tuple)
    if is_table and len(path) > 1:
        return " ".join((f"[[{path[0]}]]", *path[1:]))
    if path[0] == "domain" and len(path) == 2:
        return written([*path, "name"])
    return written(list(path))


def _values(path: tuple[str, ...], old: Any, new: Any) -> str:
    if path[-1] in SECRET_KEYS or isinstance(old, SecretStr) or isinstance(new, SecretStr):
        return "another value"
    if isinstance(old, Section) and isinstance(new, Section):
        differ = [key for key in type(old).model_fields if getattr(old, key) != getattr(new, key)]
        return ", ".join(f"{key} {_values((*path, key), getattr(old, key), getattr(new, key))}" for key in differ)
    return f"{_shown(old)} -> {_shown(new)}"


def _shown(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, Section):
        return "set"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_shown, value)) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def keep_what_cannot_change(old: Settings, new: Settings) -> Settings:
    """Return the new settings with what needs a restart as it is now. Raises `CannotReload` where that cannot be."""
    if bool(old.domain) != bool(new.domain):
        raise CannotReload(f"{'the first' if new.domain else 'the last'} [domain] needs a restart")
    values: dict[str, Any] = {}
    for key, *rest in sorted(RESTART):
        if rest:
            table: Section = values.get(key, getattr(new, key))
            values[key] = table.model_copy(update={rest[0]: getattr(getattr(old, key), rest[0])})
        else:
            values[key] = getattr(old, key)
    return new.model_copy(update=values)


def take_over(settings: Settings, new: Settings) -> None:
    """Give the settings that everybody has the values of the new ones, in place."""
    for key in type(settings).model_fields:
        old_value, value = getattr(settings, key), getattr(new, key)
        if isinstance(old_value, Section) and isinstance(value, Section):
            old_value.take_over(value)
        elif isinstance(old_value, dict):
            merged = {name: _merged(old_value.get(name), section) for name, section in value.items()}
            old_value.clear()
            old_value.update(merged)
        else:
            settings.__dict__[key] = _merged_tables(old_value, value)


def _merged(old: Section | None, new: Section) -> Section:
    if old is None:
        return new
    old.take_over(new)
    return old


def _merged_tables(old: Any, new: Any) -> Any:
    before, after = _tables(old), _tables(new)
    if not before or not after or not isinstance(new, tuple):
        return new
    return tuple(_merged(before.get(name), section) for name, section in after.items())
