"""Where a proxy keeps its state, read from its configuration file without looking at anything else in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from minimixproxy.config.errors import explain
from minimixproxy.config.settings import DEFAULT_STATE, ConfigError, FilePath, State, directory_of, read


class Place(BaseModel):
    """The keys that say where state is; whatever else is in the file need not be right."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    state: State = DEFAULT_STATE
    state_directory: FilePath | None = None

    @property
    def directory(self) -> Path:
        """Where all that is kept beside the database lives, and the control socket."""
        return directory_of(self.state, self.state_directory)


def place(path: Path) -> Place:
    """Read the file. Raises `ConfigError`, also if its proxy has no directory of state: then it cannot be asked."""
    data: dict[str, Any] = read(path)
    try:
        found = Place.model_validate(data, context={"directory": path.absolute().parent})
    except ValidationError as error:
        raise ConfigError("\n".join(f"{path}: {line}" for line in explain(error, Place))) from error
    if "listen" not in data and not found.model_fields_set & {"state", "state_directory"}:
        raise ConfigError(
            f"{path}: a proxy without [[listen]] has no control socket, unless it is given a directory for it: "
            'state_directory = "/var/lib/…"'
        )
    return found
