"""What happens to accounts in rooms is counted, by what it is and never by where or to whom."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.counting.tally import OTHER
from minimixproxy.minimix.occupancy.lifecycle import CHANGES, TABLE
from minimixproxy.minimix.room.attached_sessions import COPIES
from minimixproxy.xep.stanza_errors import ERRORS, error_payload
from tests.counted import Counted
from tests.minimix.fakes import ROOM, STREAM, World

RFC_6120 = """
    bad-request conflict feature-not-implemented forbidden gone internal-server-error item-not-found jid-malformed
    not-acceptable not-allowed not-authorized policy-violation recipient-unavailable redirect registration-required
    remote-server-not-found remote-server-timeout resource-constraint service-unavailable subscription-required
    undefined-condition unexpected-request
"""


class CountedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()

    def test_copies(self) -> None:
        self.world.joined("phone", "laptop", "tablet")
        counted = Counted(COPIES)
        self.world.says("bob", "hello")
        self.world.says("bob", "again")
        self.world.shows("carol")
        self.assertEqual(counted.since(), {("message",): 6, ("presence",): 3})

    def test_joined_and_removed(self) -> None:
        counted = Counted(CHANGES)
        self.world.joined("phone", "laptop")
        self.assertEqual(
            counted.since(), {("join", "joining"): 1, ("own_shown", "entered"): 1, ("subject", "joined"): 1}
        )
        counted = Counted(CHANGES)
        self.world.says("bob", "no change of anything")
        self.world.room(
            f"<presence type='unavailable' from='{ROOM}/alice' to='{STREAM}'>"
            "<x xmlns='http://jabber.org/protocol/muc#user'><item role='none'/><status code='110'/>"
            "<status code='307'/></x></presence>"
        )
        self.assertEqual(counted.since(), {("removed", "ended"): 1})

    def test_out_and_in_again(self) -> None:
        self.world.joined("phone")
        counted = Counted(CHANGES)
        self.world.stream.jid = ""
        self.world.stream.lost()
        self.world.stream.jid = STREAM
        self.world.stream.opened()
        self.assertEqual(counted.since(), {("stream_lost", "interrupted"): 1, ("turn", "rejoining"): 1})

    def test_every_change_that_there_is_has_its_number(self) -> None:
        changes = {
            (what.name.lower(), step.to.name.lower()) for (_, what), step in TABLE.items() if step.to is not None
        }
        self.assertEqual(set(CHANGES.counts), changes | {(OTHER, OTHER)})

    def test_errors_of_ours(self) -> None:
        (phone,) = self.world.joined("phone")
        counted = Counted(ERRORS)
        self.world.room(f"<message type='chat' from='{ROOM}/bob' to='{STREAM}'><body>psst</body></message>")
        self.assertEqual(counted.since(), {})
        self.world.account.session_closed(phone)
        self.world.room("<message from='stranger@s.test' to='" + STREAM + "'><body>anybody?</body></message>")
        self.assertEqual(counted.since(), {("recipient-unavailable",): 1})

    def test_each_error_by_its_condition(self) -> None:
        """Those of RFC 6120 §8.3.3."""
        for condition in RFC_6120.split():
            counted = Counted(ERRORS)
            error_payload("cancel", condition)
            self.assertEqual(counted.since(), {(condition,): 1})
        self.assertEqual({found for (found,) in ERRORS.counts}, {*RFC_6120.split(), OTHER})
