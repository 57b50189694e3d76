"""Policies for choosing one of several resources for a new request. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import blake2b
from random import Random

LONGEST_CACHED = 256  # characters of an asker whose weights are known

Load = Callable[[str], int]  # resource -> requests it has open
Policy = Callable[[Sequence[str], str, Load], str]  # candidates (never empty, as they came), asker, load -> one


def policy(name: str, random: Random) -> Policy:
    """Return the policy of that name: random, round-robin, least-outstanding, sender or failover."""
    match name:
        case "random":
            return lambda candidates, _asker, _load: candidates[int(random.random() * len(candidates))]
        case "round-robin":
            return RoundRobin()
        case "least-outstanding":
            return LeastOutstanding()
        case "sender":
            return by_sender
        case "failover":
            return longest_there
    raise ValueError(f"no such policy: {name}")


class RoundRobin:
    """One after the other. It goes by names, not by places, so a change of the candidates skips nobody."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, candidates: Sequence[str], _asker: str, _load: Load) -> str:
        self._last = min((name for name in candidates if name > self._last), default=min(candidates))
        return self._last


class LeastOutstanding:
    """The one with the fewest open requests; among equals one after the other."""

    def __init__(self) -> None:
        self._turn = RoundRobin()

    def __call__(self, candidates: Sequence[str], asker: str, load: Load) -> str:
        loads = [load(name) for name in candidates]
        least = min(loads)
        return self._turn([name for name, open_ in zip(candidates, loads, strict=True) if open_ == least], asker, load)


def longest_there(candidates: Sequence[str], _asker: str, _load: Load) -> str:
    """One for all askers. When it goes, the next has them, and keeps them when the first comes back."""
    return candidates[0]


def by_sender(candidates: Sequence[str], asker: str, _load: Load) -> str:
    """The same resource for the same asker, by rendezvous hashing.

    A resource that goes or comes moves only its own askers.
    """
    weight = _weight if len(asker) <= LONGEST_CACHED else _weight.__wrapped__
    return max(candidates, key=lambda resource: weight(asker, resource))


@lru_cache(maxsize=65536)
def _weight(asker: str, resource: str) -> bytes:
    return blake2b(f"{asker}\0{resource}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
