"""Somebody else, a process of its own: `python -m bench.pinger PORT DOMAIN USER PASSWORD ROOM`.

It pings its server, and itself in its room (XEP-0410), which the proxy answers, by turns. A line on its standard input
has it print the milliseconds of each since the last line, in JSON.
"""

import json
import select
import sys
import time

from bench.wire import Stream, Target, tls_context

PAUSE = 0.005  # seconds between two pings


def main(port: str, domain: str, user: str, password: str, room: str) -> None:
    stream = Stream(Target(int(port), domain), tls_context())
    stream.login(user, password, "pinger")
    stream.online()
    stream.join(room, "pinger")
    print("ready", flush=True)
    times: dict[str, list[float]] = {"server": [], "proxy": []}
    number = 0
    while True:
        for who, address in (("server", domain), ("proxy", f"{room}/pinger")):
            number += 1
            begin = time.monotonic()
            stream.ping(address, f"p{number}")
            times[who].append((time.monotonic() - begin) * 1000)
            time.sleep(PAUSE)
        if select.select([sys.stdin], [], [], 0)[0]:
            if not sys.stdin.readline():
                return
            print(json.dumps(times), flush=True)
            for one in times.values():
                one.clear()


if __name__ == "__main__":
    main(*sys.argv[1:])
