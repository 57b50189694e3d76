"""Connects to port 5222 again and again while a command runs, several at once, and until it answers behind that.

connects.py COMMAND…. Says how many were answered, cut and refused. Exit status: that of the command.
"""

import collections
import socket
import subprocess
import sys
import threading
import time

PATIENCE = 60.0
PAUSE = 0.02
AT_ONCE = 4
HEADER = (
    b"<stream:stream to='example.org' version='1.0' xmlns='jabber:client' "
    b"xmlns:stream='http://etherx.jabber.org/streams'>"
)


def once() -> str:
    """Tell what became of one connection."""
    try:
        with socket.create_connection(("127.0.0.1", 5222), PATIENCE) as connection:
            connection.sendall(HEADER)
            said = b""
            while b"</stream:features>" not in said:
                data = connection.recv(65536)
                if not data:
                    return "cut"
                said += data
            return "answered"
    except ConnectionRefusedError:
        return "refused"
    except (ConnectionResetError, BrokenPipeError):
        return "cut"


class Knocking:
    """Several at once that connect without a pause, each until it is answered when all is over."""

    def __init__(self) -> None:
        self.became: collections.Counter[str] = collections.Counter()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._knock) for _ in range(AT_ONCE)]
        for thread in self._threads:
            thread.start()

    def _knock(self) -> None:
        until = float("inf")
        while time.monotonic() < until:
            last = self._over.is_set()
            became = once()
            self.became[became] += 1
            if last and became == "answered":
                return
            if last and until == float("inf"):
                until = time.monotonic() + PATIENCE
            time.sleep(PAUSE)

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


def main(command: list[str]) -> int:
    if once() != "answered":
        raise SystemExit("nobody answers at the port")
    knocking = Knocking()
    status = subprocess.run(command, check=False).returncode
    knocking.end()
    print(" ".join(f"{became}={knocking.became[became]}" for became in ("answered", "cut", "refused")))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
