"""Somebody else, a process of its own: `python -m bench.pinger PORT DOMAIN USER PASSWORD ROOM`.

It has two clients. One pings its server, the other itself in its room (XEP-0410), which the proxy answers: so neither
waits for the other. A line on standard input has it print the milliseconds of each since the last line, in JSON.
"""

import json
import sys
import threading
import time

from bench.wire import Stream, Target

PAUSE = 0.005  # seconds between two pings


class Client:
    """Pings one address for ever."""

    def __init__(self, stream: Stream, address: str) -> None:
        self._stream = stream
        self._address = address
        self._times: list[float] = []
        self._begun: float | None = None

    def run(self) -> None:
        number = 0
        while True:
            number += 1
            self._begun = begin = time.monotonic()
            self._stream.ping(self._address, f"p{number}")
            self._begun = None
            self._times.append((time.monotonic() - begin) * 1000)
            time.sleep(PAUSE)

    def take(self) -> list[float]:
        """Return the milliseconds since the last time; of a ping under way, how long it has taken until now."""
        times, self._times = self._times, []
        begun = self._begun
        return times if times or begun is None else [(time.monotonic() - begun) * 1000]


def main(port: str, domain: str, user: str, password: str, room: str) -> None:
    clients = {}
    for who, address in (("server", domain), ("proxy", f"{room}/pinger")):
        stream = Stream(Target(int(port), domain))
        stream.login(user, password, who)
        stream.online()
        if who == "proxy":
            stream.join(room, "pinger")
        clients[who] = Client(stream, address)
    for client in clients.values():
        threading.Thread(target=client.run, daemon=True).start()
    print("ready", flush=True)
    while sys.stdin.readline():
        print(json.dumps({who: client.take() for who, client in clients.items()}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
