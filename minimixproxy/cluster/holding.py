"""The accounts that this process of a cluster holds: taken when a client comes or nobody has them, and let go.

What the database is asked runs in threads; everything here runs in the reactor's. The process holds an account only
while it gives signs of life: `left` says for how long it may count on that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from math import inf
from typing import Final, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from minimixproxy.c2s.server.elsewhere import Elsewhere, HolderUnknown
from minimixproxy.cluster import tallies
from minimixproxy.cluster.departures import GRACE
from minimixproxy.cluster.handing_on import HandingOn
from minimixproxy.cluster.interfaces import Accounts, Journal, Leases, Life, Run
from minimixproxy.cluster.questions import Questions
from minimixproxy.cluster.shares import own_share, takers
from minimixproxy.cluster.taking import Taking
from minimixproxy.cluster.view import View
from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.interfaces.handed import HandedAccount, Revive
from minimixproxy.storage.errors import StateError
from minimixproxy.storage.journal import Adopted
from minimixproxy.storage.lease import HeldByAnother
from minimixproxy.storage.leases import MOST_ORPHANS, HeldBy, Holder, Survey
from minimixproxy.timing.clock import Clock, Timer

LOOK: Final = 1.0  # seconds between looks at the cluster
LONGEST_LOOK: Final = 300.0  # seconds; each statement has its limit, but an answer may be lost without an error
THOROUGH: Final = 600.0  # seconds between looks for accounts that no process has ever had
THOROUGH_AGAIN: Final = 120.0  # seconds until the next one, if one has failed

_FORGOTTEN: Final = (
    "the database does not know any more that accounts are this process's, as after a failover to a replica that was "
    "behind: others may take them"
)
_ENDS: Final = "this process ends, and others take what it has"
_Result = TypeVar("_Result")


class Holding:
    """What one process holds, from `begin` on: state is open then. Negotiations ask it (`c2s.server.elsewhere`)."""

    log = Logger()

    def __init__(self, journal: Journal, accounts: Accounts, revive: Revive, clock: Clock) -> None:
        """`revive`: makes sessions of what other processes had."""
        self._journal = journal
        self._accounts = accounts
        self._revive = revive
        self._clock = clock
        self._leases: Leases
        self._life: Life
        self._run: Run[object]
        self._lost: Callable[[StateError], None]
        self.when_over: Callable[[int], None] = lambda _number: None  # is told of each process that is over
        self.when_told: Callable[[float, float], None] = lambda _time, _asked: None  # is told the database's time
        self.held: dict[str, float] = {}  # until when, at least: a client may be about to bind a resource
        self._questions = Questions(self.held)
        self._taking = Taking(self._take, lambda: not self._ended, clock)
        self._unsure = self._taking.unsure
        self._ended = False
        self._looks = Timer(clock)
        self._sweeps = Timer(clock)
        self._watch = Timer(clock)
        self._thorough_at = 0.0
        self._to_be_answered = inf  # until when the look that is under way has to be over
        self.view = View(clock)
        self.handing_on = HandingOn(self, accounts, clock)
        self._trouble = ""

    def begin(self, leases: Leases, life: Life, run: Run[object], lost: Callable[[StateError], None]) -> None:
        """State is open. `lost` is called when the process is over."""
        self._leases, self._life, self._run, self._lost = leases, life, run, lost
        self._thorough_at = self._clock.seconds()
        self._look()
        self._sweep()
        self._watch_over()

    @property
    def number(self) -> int:
        """This process's, among those of the cluster."""
        return self._life.number

    def is_busy(self, bare: str) -> bool:
        """Tell whether an account is asked for, or is being let go."""
        return bare in self._questions

    @property
    def live(self) -> Sequence[Holder]:
        """Processes, at the last look."""
        return self.view.live

    @property
    def trouble(self) -> str:
        """Why the cluster cannot be looked at, "" if it can."""
        return self._trouble

    def __len__(self) -> int:
        """How many accounts are held."""
        return len(self.held)

    def __contains__(self, bare: str) -> bool:
        return bare in self.held

    # Asked for -------------------------------------------------------------------------------------------------

    async def find(self, bare: str) -> Elsewhere | None:
        """Return which other process has an account. None: it is here now, or nobody knows anything of it.

        Raises `HolderUnknown`. For somebody who is not logged in yet: nothing is taken for a name that is made up.
        """
        return await self._ask(bare, lambda: self._leases.find(bare), shares=True)

    async def claim(self, bare: str) -> Elsewhere | None:
        """Return which other process has an account. None: it is here from now on. Raises `HolderUnknown`."""
        return await self._ask(bare, lambda: self._leases.claim(bare), shares=False)

    async def _ask(
        self, bare: str, question: Callable[[], HeldBy | Adopted | None], *, shares: bool
    ) -> Elsewhere | None:
        heard = await self._questions.turn(bare, shares=shares)
        if heard is not None:
            return heard.elsewhere
        if bare in self.held:
            self._stay(bare)
            return None
        if self._ended:
            raise HolderUnknown(_ENDS)
        return await self._questions.ask(bare, lambda: self._answered(bare, question))

    async def _answered(self, bare: str, question: Callable[[], HeldBy | Adopted | None]) -> Elsewhere | None:
        self._unsure.add([bare], self._clock.seconds())
        try:
            found = await self._in_thread(question)
            if isinstance(found, Adopted):
                if self._ended:
                    raise HolderUnknown(_ENDS)
                self._adopt(found, tallies.CLAIMED)
        except StateError as error:
            self._failed(error)
            raise HolderUnknown(str(error)) from error
        self._unsure.discard(bare)
        return _elsewhere(found)

    # Nobody's accounts -----------------------------------------------------------------------------------------

    def _look(self) -> None:
        """See how the cluster stands, and take this process's share of what nobody has."""
        self._to_be_answered = self._clock.seconds() + LONGEST_LOOK
        looking = Deferred.fromCoroutine(self._look_around())
        looking.addErrback(self._not_seen)
        looking.addBoth(lambda _: self._looks.start(LOOK, self._look) if not self._ended else None)

    async def _look_around(self) -> None:
        now, own = self._clock.seconds(), self._life.number
        thorough = now >= self._thorough_at
        self._life.accounts = len(self.held)
        draining = self.handing_on.draining
        news = draining is not self.handing_on.is_noted
        held = list(self.held)

        def look() -> tuple[Survey, list[str], set[str]]:
            if news:
                self._leases.drain(draining)
            survey = self._leases.survey(thorough=thorough)
            gone = {*held}.difference(self._leases.ours(held)) if held and (survey.anew or thorough) else set()
            return survey, own_share(survey.orphans, takers(survey.live), own), gone

        if thorough:  # if that fails, as it may take too long, it is not in the way of the next looks
            self._thorough_at = now + THOROUGH_AGAIN
        survey, share, gone = await self._in_thread(look)
        if thorough:
            self._thorough_at = now
        self._healed()
        if survey.time:
            self.when_told(survey.time, now)
        if not gone.isdisjoint(self.held):
            self._over(HeldByAnother(_FORGOTTEN))
            return
        for number in self.view.seen(survey, own):
            self.when_over(number)
        due = [bare for bare in share if bare not in self.held and bare not in self._questions]
        all_taken = await self._taking.take(due)
        if thorough and all_taken and len(survey.orphans) < MOST_ORPHANS:
            self._thorough_at = now + THOROUGH
        await self._take_again()
        if not self._ended:
            self.handing_on.look()

    async def _take(self, names: Sequence[str]) -> Sequence[str]:
        adopted = await self._in_thread(lambda: self._leases.take(names))
        if not self._ended:
            self._adopt(adopted, tallies.TAKEN)
        return adopted.names

    async def _take_again(self) -> None:
        """Have here what is this process's by its lease, though nobody was told so."""
        unsure = [bare for bare in self._unsure.due(self._clock.seconds()) if bare not in self._questions]
        if not unsure or self._ended:
            return
        for bare in await self._in_thread(lambda: self._leases.ours(unsure)):
            self._unsure.asked_again(bare, self._clock.seconds())
            with suppress(HolderUnknown):  # it was told of
                await self.find(bare)

    def _adopt(self, adopted: Adopted, counted_as: str) -> None:
        """These are ours now; of some that may have been found by another question already."""
        new = adopted.without(self.held)
        tallies.ACCOUNT_CHANGES.count(counted_as, number=len(new.names))
        self._journal.adopt(new)
        for bare in new.names:
            self._stay(bare)
        if new.accounts or new.handed:
            self._accounts.take_over([account.kept for account in new.accounts], new.handed, self._revive)

    def keep(self, bare: str) -> bool:
        """Tell whether an account is held, for a client that another process hands over: it is about to log in."""
        held = bare in self.held
        if held:
            self._stay(bare)
        return held

    def _stay(self, bare: str) -> None:
        self.held[bare] = self._clock.seconds() + GRACE

    # Let go ----------------------------------------------------------------------------------------------------

    def _sweep(self) -> None:
        """Let go of accounts that have neither rooms nor clients any more."""
        now = self._clock.seconds()
        for bare in [bare for bare, until in self.held.items() if until <= now and not self._accounts.knows(bare)]:
            if bare not in self._questions:
                self.let_go(bare, to_others=False)
        self._sweeps.start(GRACE / 4, self._sweep)

    def let_go(self, bare: str, *, to_others: bool, handed: HandedAccount | None = None) -> Deferred[None]:
        """Have an account be this process's no more. Fires when that is on disk; nobody asks for it before."""
        del self.held[bare]
        tallies.ACCOUNT_CHANGES.count(tallies.HANDED_ON if to_others else tallies.LET_GO)
        self._questions.begin(bare)
        return self._journal.let_go(bare, to_others=to_others, handed=handed).addCallback(
            lambda _on_disk: self._questions.end(bare)
        )

    # Trouble ---------------------------------------------------------------------------------------------------

    def _watch_over(self) -> None:
        """End in time, when the database is out of reach: others take the accounts then."""
        left = self._life.left
        if left <= 0:
            self._over(HeldByAnother("no sign of life could be given in time: other processes take the accounts"))
            return
        if self._clock.seconds() > self._to_be_answered:
            self._over(HeldByAnother(f"the database has not answered a question for {LONGEST_LOOK:.0f} s"))
            return
        self._watch.start(min(left, LOOK), self._watch_over)

    def _over(self, error: HeldByAnother) -> None:
        self.stop()
        self._lost(error)

    def _not_seen(self, failure: Failure) -> None:
        error = failure.value
        if not isinstance(error, StateError):
            self.log.failure("while the cluster was looked at", failure)
        elif not self._ended:
            self._failed(error)

    def _failed(self, error: StateError) -> None:
        if isinstance(error, HeldByAnother):
            self._over(error)
        elif str(error) != self._trouble:
            self._trouble = str(error)
            self.log.warn("the cluster cannot be looked at, trying again: {error}", error=error)

    def _healed(self) -> None:
        if self._trouble:
            self.log.info("the cluster can be looked at again")
        self._trouble = ""

    def _in_thread(self, work: Callable[[], _Result]) -> Deferred[_Result]:
        asking: Deferred[_Result] = self._run(work)  # type: ignore[assignment]
        return asking.addBoth(_count)

    def stop(self) -> None:
        """Look no more. What is held stays so until state is closed."""
        self._ended = True
        for timer in (self._looks, self._sweeps, self._watch):
            timer.stop()


def _count(answer: _Result) -> _Result:
    tallies.QUESTIONS.count("failure" if isinstance(answer, Failure) else tallies.SUCCESS)
    return answer


def _elsewhere(found: HeldBy | Adopted | None) -> Elsewhere | None:
    if not isinstance(found, HeldBy):
        return None
    return Elsewhere(found.holder.number, found.epoch, found.holder.address, found.holder.name)
