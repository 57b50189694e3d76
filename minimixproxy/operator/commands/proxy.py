"""Where the running proxy of a configuration is asked."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from minimixproxy.config.place import place
from minimixproxy.operator.asking import Connection
from minimixproxy.operator.control import NAME

TIMEOUT = 10.0  # seconds


def control_socket(options: Namespace) -> Path:
    """Return the path of the socket. Raises `ConfigError`."""
    return place(options.config).directory / NAME


def connect(options: Namespace, timeout: float | None = None) -> Connection:
    """Return a connection, to be entered. `timeout`: seconds for each answer. Raises `ConfigError`."""
    return Connection(control_socket(options), TIMEOUT if timeout is None else timeout)
