"""Any sequence of well-formed stanzas, from everybody who can send one, to the accounts of one proxy.

`AccountMachine` is a hypothesis state machine: `test_account_machine.py` runs a fixed number of
examples, `make fuzz` many. It needs nothing else. What is checked is in `witness`, `client`, `end`.
"""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from tests.minimix.machine import words as words
from tests.minimix.machine.client_happenings import ClientHappenings
from tests.minimix.machine.end import check_sizes, end
from tests.minimix.machine.happenings import ACTIONS, DEVICES, action, bares, nicks, room_names, seeds, who
from tests.minimix.machine.room_happenings import RoomHappenings
from tests.minimix.machine.world import BARES, ROOMS, World


class OtherHappenings(ClientHappenings, RoomHappenings):
    """What befalls the proxy and its connections, and what takes several steps."""

    @initialize(
        bookmarks=st.sampled_from(("off", "follow", "sync")),
        grace=st.sampled_from((0.0, 3.0)),
        nick_on_join=st.sampled_from(("keep", "change")),
        stay=st.sampled_from((90 * 86400.0, 90 * 86400.0, 0.0, 1000.0)),
        fresh=st.sampled_from((0.0, 60.0)),
        joined=st.sampled_from((*list(ROOMS), None)),
    )
    def begin(
        self,
        bookmarks: str,
        grace: float,
        nick_on_join: str,
        stay: float,
        fresh: float,
        joined: str | None,
    ) -> None:
        self.world = World(
            bookmarks=bookmarks,
            leave_grace=grace,
            nick_on_join=nick_on_join,
            stay=stay,
            fresh=fresh,
            iq_timeout=50.0,
            room_memory=256 * 1024,
            account_memory=1024 * 1024,
        )
        self.world.witness.watch()
        for bare, resource in DEVICES[1:4]:
            self.world.connects(bare, resource, carbons=True, language="en")
        if joined is not None:
            self.all_join(joined)
        self.world.settle()

    @action(
        5,
        prompt=st.booleans(),
        count=st.sampled_from((0, 1, 3)),
        silently=st.booleans(),
    )
    def peers(self, prompt: bool, count: int, silently: bool) -> None:
        """Rooms and servers answer at once, or slowly, or never."""
        self.world.prompt = prompt
        self.world.answer(count, silently=silently)

    @action(4, opens=st.sampled_from(("at once", "at once", "late", "fails", "refused")))
    def servers(self, opens: str) -> None:
        self.world.opens = opens
        self.world.decides()

    @action(3, bare=bares, how=st.sampled_from(("lost", "error", "broken")))
    def stream_ends(self, bare: str, how: str) -> None:
        upstream = self.world.upstream(bare)
        if upstream is None:
            return
        if how == "error":
            upstream.says(b"<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>")
        elif how == "broken":
            upstream.says(b"<message><body></message>")
        upstream.lose()

    @action(4, late=st.booleans(), faults=st.sampled_from((0, 0, 1, 5)))
    def disk(self, late: bool, faults: int) -> None:
        """Writing takes its time, or fails."""
        self.world.disk.late, self.world.disk.faults = late, faults
        if not late:
            self.world.disk.work()

    @action(8, seconds=st.sampled_from((0.0, 0.3, 1.1, 3.1, 5.1, 11.0, 31.0, 61.0, 130.0)))
    def time_passes(self, seconds: float) -> None:
        self.world.clock.advance(seconds)

    @action(1, set_by=st.sampled_from((0.0, 3600.0, -3600.0, 40 * 86400.0, -2e9, 5e10)))
    def clock_is_set(self, set_by: float) -> None:
        self.world.clock.is_set(set_by)

    @action(1, bare=bares, how=st.sampled_from(("forgotten", "removed", "password")))
    def operator(self, bare: str, how: str) -> None:
        accounts = self.world.accounts
        self.world.memory.forget(bare)
        if how == "password":
            accounts.password_changed(bare, "another")
        elif how == "removed":
            accounts.removed(bare)
        else:
            accounts.forget(bare)

    @action(2, orderly=st.booleans(), damaged=st.sampled_from((0, 0, 1, 3)), seed=seeds)
    def restarts(self, orderly: bool, damaged: int, seed: int) -> None:
        self.between_lives = True
        self.world.ends(orderly=orderly)
        chance = Random(seed)
        if damaged:
            self.world.witness.damaged = True
            self.world.memory.forget(*BARES)
        for _ in range(damaged):
            self.world.storage.tables.damage(chance)
        self.world.begins_again()
        self.between_lives = False

    # What takes several steps ----------------------------------------------------------------------------------------

    @action(
        3,
        bare=bares,
        room=room_names,
        between=st.sampled_from(("nothing", "restart", "crash", "lost")),
        again=st.sampled_from(("nothing", "restart", "crash")),
    )
    def comes_back(self, bare: str, room: str, between: str, again: str) -> None:
        """Nobody of the account is there while something is said to it; then its devices come back, more than once."""
        self.peers(True, 0, False)
        self.servers("at once")
        self.disk(False, 0)
        self.all_join(room)
        self.world.settle()
        for client in [client for client in self.world.clients.values() if client.bare == bare]:
            client.closes()
        for payload in ("body", "long"):
            self.occupant_whispers(room, bare, payload)
            self.occupant_says(room, payload, 3)
        for happens in (between, again):
            self.world.settle()
            if happens in ("restart", "crash"):
                self.restarts(orderly=happens == "restart", damaged=0, seed=0)
            elif happens == "lost":
                self.stream_ends(bare, "lost")
            self.world.clock.advance(5)
            self.world.settle()
            self.all_join(room)

    @action(3, who=who, room=room_names, payload=st.sampled_from(list(words.MESSAGES)), nick=nicks, lost=st.booleans())
    def waits(self, who: tuple[str, str], room: str, payload: str, nick: str, lost: bool) -> None:
        """A device asks for things while its room says nothing, or cannot be reached."""
        self.joins(who, room, "alice", "")
        self.world.settle()
        self.world.prompt = False
        self.changes_nick(who, room, nick)
        self.asks(who, "info", room, "/ghost", False)
        if lost:
            self.stream_ends(who[0], "lost")
        self.says(who, room, payload, "", "groupchat", False)
        self.asks(who, "ping", room, "/ghost", False)
        self.changes_nick(who, room, nick)


def _happenings() -> st.SearchStrategy[list[tuple[str, dict[str, Any]]]]:
    names = [name for name, (weight, _given) in ACTIONS.items() for _ in range(weight)]
    each = {name: st.tuples(st.just(name), given) for name, (_weight, given) in ACTIONS.items()}
    one = st.sampled_from(names).flatmap(each.__getitem__)
    return st.lists(one, min_size=1, max_size=4)


class AccountMachine(OtherHappenings):
    """Some of it happens, again and again."""

    @rule(some=_happenings())
    def happens(self, some: list[tuple[str, dict[str, Any]]]) -> None:
        for name, given in some:
            getattr(self, name)(**given)
            self.world.settle()

    # What has to hold -------------------------------------------------------------------------------------------------

    @invariant()
    def nothing_is_wrong(self) -> None:
        world = getattr(self, "world", None)
        if world is not None:
            world.settle()
            check_sizes(world)
            assert not world.witness.complaints, "\n".join(world.witness.complaints)

    def teardown(self) -> None:
        try:
            if hasattr(self, "world") and not self.between_lives and not self.world.witness.complaints:
                end(self.world)
        finally:
            if hasattr(self, "world"):
                self.world.witness.unwatch()
            self._patches.close()
