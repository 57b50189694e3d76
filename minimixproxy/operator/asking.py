"""Asking the running proxy on its control socket."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from types import TracebackType
from typing import Any

MAX_ANSWER = 64 * 1024 * 1024  # bytes


class NoStatus(Exception):
    """The proxy cannot be asked, or answers nothing that can be read; `str()` says why."""


class NotRunning(NoStatus):
    """There is no proxy to ask."""


class Refusal(NoStatus):
    """The proxy says no; `str()` is its reason, `answer` the whole of its answer."""

    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__(str(answer["error"]))
        self.answer = answer


class Connection:
    """A connection to the proxy that listens at `path`: a context manager. Everything raises `NoStatus`."""

    def __init__(self, path: Path, timeout: float) -> None:
        """`timeout`: seconds for each answer."""
        self._path = path
        self._timeout = timeout
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._lines = self._socket.makefile("rb")

    def __enter__(self) -> Connection:
        self._socket.settimeout(self._timeout)
        try:
            self._socket.connect(str(self._path))
        except OSError as error:
            self.__exit__(None, None, None)
            raise self._fault(error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._lines.close()
        self._socket.close()

    def ask(self, request: dict[str, Any], *expected: str) -> dict[str, Any]:
        """Return the answer, which has the `expected` members. Raises `Refusal` if it is an error."""
        try:
            self._socket.sendall(json.dumps(request, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n")
            line = self._lines.readline(MAX_ANSWER)
        except OSError as error:
            raise self._fault(error) from error
        answer = self._read(line)
        if "error" in answer:
            raise Refusal(answer)
        missing = [name for name in expected if name not in answer]
        if missing:
            raise NoStatus(f"{self._path}: the answer lacks {missing[0]}: is the proxy of another version?")
        return answer

    def _read(self, line: bytes) -> dict[str, Any]:
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise NoStatus(f"{self._path}: the answer is not whole: is the proxy being stopped?") from error
        if not isinstance(answer, dict):
            raise NoStatus(f"{self._path}: the answer is no object: is the proxy of another version?")
        return answer

    def _fault(self, error: OSError) -> NoStatus:
        if isinstance(error, FileNotFoundError):
            return NotRunning(f"not running: there is no {self._path}")
        if isinstance(error, ConnectionRefusedError):
            return NotRunning(f"not running: nobody listens on {self._path}")
        if isinstance(error, PermissionError):
            return NoStatus(f"{self._path}: only root and the user that the proxy runs as may ask it")
        if isinstance(error, TimeoutError):
            return NoStatus(f"{self._path}: no answer within {self._timeout:.0f} s")
        return NoStatus(f"{self._path}: {error.strerror or error}")
