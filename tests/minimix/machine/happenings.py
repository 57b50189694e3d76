"""What can happen to the accounts of the machine, and what that is made of: who, where, how often, and words."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable
from contextlib import ExitStack
from random import Random
from typing import Any, TypeVar
from unittest import mock
from xml.sax.saxutils import quoteattr

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine

from minimixproxy.minimix.history import kept_messages
from minimixproxy.minimix.room import budgets, sessions
from minimixproxy.safety_net import NET
from tests.absurd import Absurd
from tests.minimix.machine import words as words
from tests.minimix.machine.client import Client
from tests.minimix.machine.witness import caught_with_its_text
from tests.minimix.machine.world import ALICE, BARES, BOB, DOMAIN, ROOMS, World

#: Those who speak most stand more than once.
DEVICES = (
    (ALICE, "phone"),
    (ALICE, "phone"),
    (ALICE, "laptop"),
    (BOB, "phone"),
    (BARES[2], "desk"),
)
NICKS = (
    "alice",
    "alice",
    "bob",
    "Alice",
    "ghost",
    "a b'<&>",
    "\u00e9\U0001f600",
    "x" * 200,
)
who = st.sampled_from(DEVICES)
bares = st.sampled_from((ALICE, ALICE, BOB, BARES[2]))
room_names = st.sampled_from((*list(ROOMS)[:1] * 3, *ROOMS))
nicks = st.sampled_from(NICKS)
seeds = st.integers(0, 2**32)
SMALL = 600 * 1024  # bytes, in place of the 64 MiB of an account's history, and of what waits


#: What can happen: methods of the machine by name, with how often they do and what they are given.
ACTIONS: dict[str, tuple[int, st.SearchStrategy[dict[str, Any]]]] = {}
Method = TypeVar("Method", bound=Callable[..., None])


def action(weight: int, **given: st.SearchStrategy[Any]) -> Callable[[Method], Method]:
    """Let a method of the machine happen: so often, and with these arguments."""

    def kept(method: Method) -> Method:
        ACTIONS[method.__name__] = weight, st.fixed_dictionaries(given)
        return method

    return kept


class Happenings(RuleBasedStateMachine):
    """Three accounts with some devices each, and four rooms. What can happen to them is in the classes that follow."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.between_lives = False  # a restart that failed leaves nothing to be looked at
        self._patches = ExitStack()
        numbers = itertools.count(1)
        for target, name, value in (
            (budgets, "HISTORY_BYTES", SMALL),
            (budgets, "WAITING_BYTES", SMALL),
            (sessions, "CLIENT_BYTES", 64 * 1024),
            (budgets, "HISTORY_OWN", 64 * 1024),
            (kept_messages, "MAX_BYTES", 128 * 1024),
            (secrets, "token_hex", lambda size=32: f"{next(numbers):0{2 * size}x}"),
            (NET, "caught", caught_with_its_text),
        ):
            self._patches.enter_context(mock.patch.object(target, name, value))

    def client(self, who: tuple[str, str]) -> Client:
        """Return a device's client, which logs in if it is not there."""
        jid = "/".join(who)
        if jid not in self.world.clients:
            self.world.connects(*who, carbons=True, language="")
        return self.world.clients[jid]

    def id_of(self, client: Client, again: bool) -> str:
        return f"i-{client.jid.partition('/')[2]}-{client.count}" if again else client.next_id()

    def payload(self, name: str, stanza_id: str) -> str:
        return words.MESSAGES[name].replace("{t}", self.world.witness.token()).replace("{id}", quoteattr(stanza_id))

    def large(self, start: str, shape: str, stanza_id: str, most: int) -> str:
        token = self.world.witness.token()
        inner = {
            "deep": words.nested(10),
            "deeper": words.nested(900),
            "deepest": words.nested(min(10_000, most // 8)),
            "many": words.many(min(1500, most // 30)),
            "large": "<body>" + "&lt;" * (most // 9) + "</body>",
            "huge": "<body>" + "\u00e9" * (most // 2) + "</body>",
        }.get(shape, "<body/>")
        extra = "".join(f" a{number}='{number}'" for number in range(400)) if shape == "attributes" else ""
        name = start[1:].split()[0]
        return f"{start} id='{stanza_id}'{extra}><t xmlns='urn:x'>{token}</t>{inner}</{name}>"

    def absurd(self, chance: Random, count: int, own: tuple[str, ...], ids: tuple[str, ...]) -> list[str]:
        """Return stanzas that make no sense, with a token in each."""
        occupants = [f"{room}/{nick}" for room in list(ROOMS)[:2] for nick in ("alice", "bob", "ghost")]
        absurd = Absurd(chance, (*list(ROOMS), *occupants, *own, DOMAIN, "muc.test"), ids)
        found = []
        for text in (absurd.stanza() for _number in range(count)):
            name = text[1:].split(">")[0].split()[0]
            found.append(f"{text.removesuffix(f'</{name}>')}<t xmlns='urn:x'>{self.world.witness.token()}</t></{name}>")
        return found
