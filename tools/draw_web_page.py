"""Draws docs/images/page.png: the operator's page with made-up data, as Chromium shows it. `make page-image` runs it.

    .venv/bin/python tools/draw_web_page.py [FILE]

Debian's `chromium` has to be there. With `--serve` the page is served on a free port of loopback until Ctrl-C.
"""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.threads import deferToThread

from minimixproxy.config.settings import Web
from minimixproxy.logs.faults import LastFaults, Line
from minimixproxy.minimix.interfaces.endings import Ending, Why
from minimixproxy.minimix.room.endings import Endings
from minimixproxy.operator.readiness import Readiness
from minimixproxy.operator.reported import Reported
from minimixproxy.operator.status_report import StatusReport
from minimixproxy.operator.web.pages import Sources, resources
from minimixproxy.operator.web.samples import KEPT, Sample, Samples
from minimixproxy.operator.web.service import WebService
from minimixproxy.operator.web.watched import Watched

IMAGE = Path(__file__).resolve().parent.parent / "docs" / "images" / "page.png"
LARGEST = 150_000  # bytes
SIZE = "1000,1000"

reactor: Any = _reactor
ROOMS = ("garden", "kitchen", "reading", "choir", "cycling")
PEOPLE = ("alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy")


def accounts() -> Iterator[tuple[Any, Any]]:
    """Yield made-up accounts with their streams."""
    for number, who in enumerate(PEOPLE):
        state = "waiting" if who == "frank" else "refused" if who == "ivan" else "open"
        yield account(who, number, state), stream(state)


def stream(state: str) -> Any:
    what = {"waiting": "tcp:xmpp.example.net:5222: connection refused", "refused": "login refused: not-authorized"}
    fault = SimpleNamespace(what=what.get(state, ""), when=reactor.seconds() - 90)
    return SimpleNamespace(
        state=SimpleNamespace(value=state), opens_in=42.0 if state == "waiting" else 0.0, fault=fault
    )


def account(who: str, number: int, state: str) -> Any:
    bare = f"{who}@example.{'net' if who == 'frank' else 'org'}"
    devices = [
        SimpleNamespace(jid=f"{bare}/{name}", asleep=name == "phone") for name in ("laptop", "phone")[: 1 + number % 2]
    ]
    rooms = {}
    for name in ROOMS[: 2 + number % 3]:
        room = f"{name}@conference.example.org"
        out = state != "open" or (who == "carol" and name == "kitchen")
        rooms[room] = SimpleNamespace(
            room=room,
            nick=who,
            state=SimpleNamespace(value="interrupted" if out else "joined"),
            bookmarked=True,
            attached=[] if out else devices,
            messages_kept=120 + 31 * number,
            attempts=3 if out else 0,
            next_attempt_in=17.0 if out and state == "open" else 0.0,
        )
    return SimpleNamespace(
        bare=bare,
        is_enrolled=state != "refused",
        login_refused=state == "refused",
        sessions=dict.fromkeys(map(HashedByName, devices)),
        rooms=rooms,
        bookmark_of=lambda _room: SimpleNamespace(value="autojoin"),
    )


class HashedByName:
    """A device that can be a key."""

    def __init__(self, device: Any) -> None:
        self.jid, self.asleep = device.jid, device.asleep


@dataclass
class SimpleJournal:
    """Writing goes well."""

    durable: bool = True
    waiting: int = 0
    error: str = ""
    left_out: int = 0
    lost: bool = False


def report() -> StatusReport:
    """Return what reports of these accounts."""
    endings = Endings()
    now = reactor.seconds()
    refused = Ending(Why.REFUSED, "remote-server-not-found", "", "example.org")
    endings.note("carol@example.org", "kitchen@conference.example.org", refused, now - 65)
    endings.note(
        "dave@example.org", "staff@conference.example.org", Ending(Why.KICKED, "307", "off topic", "alice"), now
    )
    held = list(accounts())
    by_jid = {pair[0].bare: pair for pair in held}
    journal = SimpleJournal()
    made = Reported(
        accounts=lambda: held,
        account=by_jid.get,
        endings=endings.__getitem__,
        journal=lambda: journal,
        configuration="/etc/minimixproxy/minimixproxy.toml",
    )
    return StatusReport(reactor, lambda: 4711, made)


def site() -> WebService:
    """Return the site."""
    made = report()
    faults, samples = LastFaults(), Samples(made.surveys, lambda: 0, lambda: 0.0, reactor)
    for number in range(KEPT):
        wave = math.sin(number / 23) + math.sin(number / 7) / 3
        samples.taken.append(
            Sample(round(14 + 3 * wave), 40 + 22 * wave + number % 5, 0.004 + 0.002 * (number % 9 == 0))
        )
    now = reactor.seconds()
    for ago, level, text in (
        (3605, "warn", "login of mallory from 192.0.2.77 refused: not-authorized"),
        (
            900,
            "error",
            "state is not durable: disk full; clients get what is not on disk, and a crash may take it back",
        ),
        (880, "warn", "state is durable again"),
        (90, "warn", "account stream of frank@example.net: tcp:xmpp.example.net:5222: connection refused"),
    ):
        faults._lines.append(Line(now - ago, level, text))
    made._started -= 273_906
    service = WebService(Web(endpoint="tcp:0:interface=127.0.0.1"), Watched(), Readiness(), reactor)
    for path, resource in resources(Sources(made, faults, samples)).items():
        service.put(path, resource)
    return service


def shoot(url: str, file: Path) -> None:
    """Have Chromium draw a page."""
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("chromium is not installed")
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={home}"]
        subprocess.run(
            [chromium, *options, f"--window-size={SIZE}", f"--screenshot={file}", url], check=True, timeout=120
        )
    size = file.stat().st_size
    if size > LARGEST:
        raise SystemExit(f"{file}: {size} bytes are too many")


def main(arguments: list[str]) -> None:
    service = site()
    service.startService()

    def listening() -> None:
        url = f"http://127.0.0.1:{service._port.getHost().port}/"
        if "--serve" in arguments:
            print(url, flush=True)
            return
        file = Path(arguments[0]) if arguments else IMAGE
        drawn = deferToThread(shoot, url, file)
        drawn.addErrback(lambda failure: print(failure.getErrorMessage(), file=sys.stderr))
        drawn.addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(listening)
    reactor.run()


if __name__ == "__main__":
    main(sys.argv[1:])
