"""Where a proxy keeps its state, read from its configuration file without looking at anything else in it."""

from __future__ import annotations

import itertools
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from minimixproxy.config import checks
from minimixproxy.config.errors import explain
from minimixproxy.config.settings import (
    DEFAULT_STATE,
    ConfigError,
    FilePath,
    State,
    directory_alone,
    directory_of,
    read,
)


class Place(BaseModel):
    """The keys that say where state is; whatever else is in the file need not be right."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    state: State = DEFAULT_STATE
    state_directory: FilePath | None = None
    alone: str = ""  # the client_proxy domain of a proxy that names no state, and needs none

    @property
    def directory(self) -> Path:
        """Where all that is kept beside the database lives, and the control socket."""
        return directory_alone(self.alone) if self.alone else directory_of(self.state, self.state_directory)


def place(path: Path) -> Place:
    """Read the file. Raises `ConfigError`, also if no proxy can run by it."""
    data: dict[str, Any] = _read(path)
    known = {key: data[key] for key in ("state", "state_directory") if key in data}
    try:
        found = Place.model_validate(known, context={"directory": path.absolute().parent})
    except ValidationError as error:
        raise ConfigError("\n".join(f"{path}: {line}" for line in explain(error, Place))) from error
    if data.keys() & {"listen", "websocket"} or found.model_fields_set & {"state", "state_directory"}:
        return found
    return found.model_copy(update={"alone": _domain(path, data)})


def _read(path: Path) -> dict[str, Any]:
    """Read the file; of one that is broken below, what stands above: the running proxy can still be asked."""
    try:
        return read(path)
    except ConfigError:
        top = _top(path)
        if not top.keys() & {"state", "state_directory"}:
            raise
        return top


def _top(path: Path) -> dict[str, Any]:
    """Return the keys above the first table, none if they cannot be read."""
    try:
        lines = path.read_text("utf-8-sig").splitlines(keepends=True)
        return tomllib.loads("".join(itertools.takewhile(lambda line: not line.lstrip().startswith("["), lines)))
    except (OSError, ValueError):
        return {}


def _domain(path: Path, data: dict[str, Any]) -> str:
    try:
        return checks.prepare_domain(data["client_proxy"][0]["domain"])
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{path}: no [[listen]], no [[websocket]], and no [[client_proxy]] with a domain: nothing runs by this file"
        ) from error
