"""How long it takes to fail to log in, by what there is of the account: who guesses shall not learn that by a clock.

The kinds of accounts take turns, in an order of chance, each time on a connection of its own.
`python -m bench.login_times` prints this part of the report.
"""

from __future__ import annotations

import base64
import math
import random
import re
import secrets
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from statistics import median

from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from bench.logins import enroll, filled, taken
from bench.scale import scaled
from bench.servers import Missing
from bench.wire import tls_context
from tests.integration.cases import KINDS
from tests.integration.proxy import Proxy
from tests.integration.servers import Account, Server, running

SAMPLES = scaled(100, 20)  # of each kind
PATIENT = {"failed_logins": 1000}
NS_SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
NOBODY, THERE, ENROLLED = KNOWN = ("nobody", "not enrolled", "enrolled")
CONDITIONS = (
    "Somebody guesses, by turns, at an account that does not exist, at one that does, and at one that is "
    "enrolled: {samples} times each, in an order of chance, over loopback, on a connection of its own each time. "
    "Milliseconds to each answer: the median, and the shortest tenth. Behind that: how often, of two answers, the "
    "one for the second kind of account is the longer one; 50 % tells nothing. Bold where chance would do that "
    "less than once in ten thousand times."
)
#: The chance that of two answers the longer one is that of the second kind; standard errors from one half that tell.
TELLS = 4.0

Times = Mapping[str, list[float]]  # milliseconds, by kind


class Guess:
    """One connection on which somebody guesses; each step takes the time from the question to the whole answer."""

    def __init__(self, port: int, domain: str, context: ssl.SSLContext) -> None:
        plain = socket.create_connection(("127.0.0.1", port), 60)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = context.wrap_socket(plain, server_hostname=domain)
        self.times: list[float] = []
        header = (
            "<?xml version='1.0'?><stream:stream xmlns='jabber:client'"
            f" xmlns:stream='http://etherx.jabber.org/streams' to='{domain}' version='1.0'>"
        )
        self.features = self._ask(header, rb"</stream:features>")
        self.times.clear()  # nobody has named an account yet

    def _ask(self, text: str, answer: bytes) -> bytes:
        began = time.perf_counter()
        self._socket.sendall(text.encode())
        received = b""
        while re.search(answer, received) is None:
            received += (chunk := self._socket.recv(65536))
            if not chunk:
                raise RuntimeError(f"{text} was answered by {received!r}")
        self.times.append((time.perf_counter() - began) * 1e3)
        return received

    def by_plain(self, username: str) -> list[float]:
        """A password."""
        said = base64.b64encode(f"\0{username}\0{secrets.token_hex(8)}".encode()).decode()
        self._ask(f"<auth xmlns='{NS_SASL}' mechanism='PLAIN'>{said}</auth>", b"</failure>")
        return self._over()

    def by_scram(self, username: str) -> list[float]:
        """A proof, for the challenge."""
        mechanism = re.findall(b">(SCRAM-SHA-[0-9]+)<", self.features)[-1].decode()
        first = base64.b64encode(f"n,,n={username},r={secrets.token_hex(8)}".encode()).decode()
        answer = self._ask(
            f"<auth xmlns='{NS_SASL}' mechanism='{mechanism}'>{first}</auth>", b"</challenge>|</failure>"
        )
        challenge = re.search(b">([^<]+)</challenge>", answer)
        if challenge is not None:  # servers themselves may say at once that there is no such account
            nonce = base64.b64decode(challenge[1]).decode().split(",")[0]
            proof = base64.b64encode(secrets.token_bytes(32 if mechanism.endswith("256") else 20)).decode()
            final = base64.b64encode(f"c=biws,{nonce},p={proof}".encode()).decode()
            self._ask(f"<response xmlns='{NS_SASL}'>{final}</response>", b"</failure>")
        return self._over()

    def _over(self) -> list[float]:
        self._socket.close()
        return self.times


@dataclass(frozen=True)
class Step:
    """The answers to one step of a way to guess, by kind of account."""

    server: str
    name: str
    times: Times

    def pairs(self) -> Iterator[tuple[str, str, float]]:
        """Yield each two kinds, and by how many standard errors their ranks differ (Mann-Whitney)."""
        for one, other in combinations(self.times, 2):
            yield one, other, deviation(self.times[one], self.times[other])


def chance(ones: list[float], others: list[float]) -> float:
    """Return how often one of the others is longer than one of these."""
    merged = sorted([(time, False) for time in ones] + [(time, True) for time in others])
    ranks = sum(rank for rank, (_, other) in enumerate(merged, 1) if other)
    return (ranks - len(others) * (len(others) + 1) / 2) / (len(ones) * len(others))


def deviation(ones: list[float], others: list[float]) -> float:
    """Return the distance of `chance` from one half, in standard errors."""
    n, m = len(ones), len(others)
    return (chance(ones, others) - 0.5) / math.sqrt((n + m + 1) / (12 * n * m))


def guess(port: int, accounts: Mapping[str, Account], samples: int, way: Way) -> list[Times]:
    """Return the times of each step; blocks."""
    context = tls_context()
    found: dict[str, list[list[float]]] = {kind: [] for kind in accounts}
    for _ in range(samples):
        for kind in random.sample(list(accounts), len(accounts)):
            account = accounts[kind]
            found[kind].append(way.guess(Guess(port, account.domain, context), account.username))
    steps = min(len(times) for several in found.values() for times in several)
    return [{kind: [times[step] for times in several] for kind, several in found.items()} for step in range(steps)]


@dataclass(frozen=True)
class Way:
    """How somebody guesses, and what is answered. `direct`: at the server itself."""

    name: str
    guess: Callable[[Guess, str], list[float]]
    answers: tuple[str, ...]
    direct: bool = False


WAYS = (
    Way("*at the server itself*", Guess.by_scram, ("SCRAM: its first answer",), direct=True),
    Way("SCRAM", Guess.by_scram, ("the challenge", "the refusal of a proof")),
    Way("PLAIN", Guess.by_plain, ("the refusal of a password",)),
)


async def _on(kind: type[Server], samples: int) -> list[Step]:
    if kind.missing():
        raise Missing(f"{kind.missing()} is not installed: make system")
    server = await deferToThread(running, kind)
    proxy = await deferToThread(lambda: Proxy(server, limits=PATIENT))
    there, enrolled = await server.account("there"), await server.account("known")
    await (await enroll(enrolled, proxy.direct_tls_port, direct_tls=True)).close()
    accounts = {NOBODY: there._replace(username="nobodyx1"), THERE: there, ENROLLED: enrolled}
    steps = []
    try:
        for way in WAYS:
            print(f"# {server.name}: {way.name}", file=sys.stderr, flush=True)
            port = server.direct_tls_port if way.direct else proxy.direct_tls_port
            await deferToThread(guess, port, accounts, 10, way)
            found = await deferToThread(guess, port, accounts, samples, way)
            for answer, times in zip(way.answers, found, strict=True):
                steps.append(Step(server.name, f"{way.name}: {answer}", times))
    finally:
        await deferToThread(proxy.stop)
    return steps


async def measure(samples: int) -> list[Step]:
    """Every step, at both servers; in a quick run at one."""
    return [step for kind in scaled(KINDS, KINDS[:1]) for step in await _on(kind, samples)]


def section(steps: list[Step], when: str, samples: int) -> str:
    """Return the part of the report."""
    pairs = combinations(KNOWN, 2)
    return "\n".join(
        [
            "## What a clock tells of an account",
            "",
            filled(f"{when} {CONDITIONS.format(samples=samples)}"),
            "",
            f"| server | answer | {' | '.join(KNOWN)} | {' | '.join(f'{one} / {other}' for one, other in pairs)} |",
            "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
            *("| " + " | ".join(_row(step)) + " |" for step in steps),
            "",
        ]
    )


def _row(step: Step) -> Iterator[str]:
    yield from (step.server, step.name)
    for times in step.times.values():
        yield f"{median(times):.2f}, {sorted(times)[len(times) // 10]:.2f}"
    for one, other, errors in step.pairs():
        shown = f"{chance(step.times[one], step.times[other]):.0%}"
        yield f"**{shown}**" if abs(errors) > TELLS else shown


def main(samples: int) -> None:
    when = taken()

    async def run() -> None:
        print(section(await measure(samples), when, samples), flush=True)

    task.react(lambda _reactor: Deferred.fromCoroutine(run()))


def run_section() -> str:
    """Measure in a process of its own, and return the part of the report."""
    done = subprocess.run([sys.executable, "-m", "bench.login_times"], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else SAMPLES)
