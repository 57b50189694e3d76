"""An idle account goes to another process: nothing of it is lost, and nothing is kept of what it does while it goes."""

import copy
from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.minimix.interfaces.journal import KeptAccount
from minimixproxy.minimix.occupancy import occupancies
from tests.minimix.machine.world import World

ALICE, ROOM = "alice@a.test", "plain@muc.test"


class PartingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World(bookmarks="off", leave_grace=0.0)
        self.world.witness.watch()
        self.addCleanup(self.world.witness.unwatch)
        self.world.connects(ALICE, "phone", carbons=True, language="")
        self.phone = self.world.clients[f"{ALICE}/phone"]
        self.phone.says(f"<presence to='{ROOM}/alice' id='j'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
        self.settle()
        for number in range(3):
            self.world.rooms[ROOM].speaks("ghost", f"<body>{self.world.witness.token()}{number}</body>")
        self.settle()

    def settle(self) -> None:
        self.world.settle()
        self.world.clock.advance(5)
        self.world.settle()

    def kept(self) -> KeptAccount:
        (account,) = [one for one in self.world.accounts.kept() if one.bare == ALICE]
        return account

    def test_only_if_it_is_idle(self) -> None:
        """Without clients, and in its rooms."""
        accounts = self.world.accounts
        self.assertFalse(accounts.is_idle(ALICE))
        self.phone.closes()
        self.assertTrue(accounts.is_idle(ALICE))
        upstream = self.world.upstream(ALICE)
        assert upstream is not None
        upstream.lose()
        self.assertFalse(accounts.is_idle(ALICE))
        self.assertFalse(accounts.is_idle("nobody@a.test"))

    def test_with_clients_that_rest(self) -> None:
        accounts = self.world.accounts
        self.assertFalse(accounts.rests(ALICE))
        self.phone.rests = True
        self.assertTrue(accounts.rests(ALICE))
        self.world.connects(ALICE, "laptop", carbons=True, language="")
        self.assertFalse(accounts.rests(ALICE), "all have to")
        self.world.clients[f"{ALICE}/laptop"].rests = True
        self.assertTrue(accounts.rests(ALICE))
        self.patch(occupancies, "FEW", 0)
        self.assertFalse(accounts.rests(ALICE), "its rooms show too many")
        self.patch(occupancies, "FEW", 256)
        self.patch(occupancies, "MAX_HANDED", 0)
        self.assertFalse(accounts.rests(ALICE), "or too much")
        self.patch(occupancies, "MAX_HANDED", 1000000)
        self.phone.says(f"<iq type='get' to='{ROOM}/ghost' id='v'><query xmlns='jabber:iq:version'/></iq>")
        self.assertFalse(accounts.rests(ALICE), "an answer is due")
        self.assertFalse(accounts.rests("nobody@a.test"))

    def test_its_clients_are_told_to_go(self) -> None:
        """Once they have settled; who came meanwhile, too."""
        settled: list[Callable[[], None]] = []
        self.patch(self.phone, "when_settled", settled.append)
        gone = self.world.accounts.dismiss(ALICE)
        self.assertNoResult(gone)
        self.world.connects(ALICE, "laptop", carbons=True, language="")
        laptop = self.world.clients[f"{ALICE}/laptop"]
        settled[0]()
        self.world.clock.advance(0)
        self.assertIsNone(self.successResultOf(gone))
        self.assertEqual((self.phone.closed, laptop.closed), (True, True))
        self.settle()
        self.assertTrue(self.world.accounts.is_idle(ALICE))
        for bare in (ALICE, "nobody@a.test"):
            self.assertIsNone(self.successResultOf(self.world.accounts.dismiss(bare)))

    def test_what_passes_the_gate_behind_the_word_to_go(self) -> None:
        """It is released in the same go, and counts as given out from then on: so it has to be before they go."""
        waiting: list[tuple[Callable[[Any], None], Any]] = []
        self.patch(self.world.journal, "gated", lambda deliver: lambda data: waiting.append((deliver, data)))
        gone = self.world.accounts.dismiss(ALICE)
        self.world.clock.advance(0)
        ((deliver, data),) = waiting
        deliver(data)
        self.assertFalse(self.phone.closed, "the gate has not released all")
        self.world.clock.advance(0)
        self.assertIsNone(self.successResultOf(gone))
        self.assertTrue(self.phone.closed)

    def test_a_fault_of_ours_while_they_are_handed_on(self) -> None:
        """They are told to come again. Else nobody would hear anything: from then on nothing more is read."""
        account = self.world.accounts.with_stream(ALICE)
        assert account is not None
        self.patch(account[0], "hand_on", lambda *_arguments: 1 / 0)
        gone = self.world.accounts.dismiss(ALICE)
        self.world.clock.advance(0)
        self.assertIsNone(self.successResultOf(gone))
        self.assertTrue(self.phone.closed)
        self.flushLoggedErrors(ZeroDivisionError)

    def test_what_was_kept_is_there_and_nothing_else_is_written(self) -> None:
        self.phone.closes()
        self.settle()
        before, upstream = copy.deepcopy(self.kept()), self.world.upstream(ALICE)
        tables = copy.deepcopy(vars(self.world.storage.tables))
        assert upstream is not None
        self.world.journal.let_go(ALICE, to_others=True)
        self.world.accounts.drop(ALICE)
        self.settle()
        self.assertEqual((upstream.over, self.world.accounts.knows(ALICE)), (True, False))
        self.world.clock.advance(600)
        self.settle()
        for name in ("accounts", "rooms", "messages", "cursors"):
            self.assertEqual(vars(self.world.storage.tables)[name], tables[name], name)
        self.assertEqual(self.world.witness.complaints, [])
        self.world.ends(orderly=True)
        self.world.begins_again()
        self.assertEqual(self.kept().rooms, before.rooms)
