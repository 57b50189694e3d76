"""What a process of a cluster sees of the others, and what it logs of that."""

from collections.abc import Sequence

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.cluster.view import MOST_TOLD, View
from minimixproxy.storage.leases import Holder, Survey

OWN = Holder(7, "node-a", "a:5270", 3)
B = Holder(8, "node-b", "b:5270", 5)
C = Holder(9, "node-c", "c:5270", 0)


class ViewCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.view = View(self.clock)

    def look(
        self, *live: Holder, buried: Sequence[Holder] = (), orphans: Sequence[str] = (), left_by: Sequence[str] = ()
    ) -> list[str]:
        """Return what is logged."""
        with capturedLogs() as log:
            self.over = self.view.seen(Survey([OWN, *live], buried, orphans, left_by), OWN.number)
        return [formatEvent(event) for event in log]


class LoggedTests(ViewCase):
    def test_who_was_there_before(self) -> None:
        """Nobody has come: it is this process that has."""
        self.assertEqual(
            self.look(B, C),
            [
                "node-b at b:5270 is in the cluster already, as number 8",
                "node-c at c:5270 is in the cluster already, as number 9",
            ],
        )
        self.assertEqual(self.look(B, C), [])

    def test_alone(self) -> None:
        self.assertEqual(self.look(), [])
        self.assertEqual(self.look(B), ["node-b at b:5270 has come into the cluster, as number 8"])

    def test_comes_and_goes(self) -> None:
        """Each is told once, and what is new of one that stays is not told."""
        self.look(B)
        self.assertEqual(self.look(B, C), ["node-c at c:5270 has come into the cluster, as number 9"])
        self.assertEqual(self.look(B._replace(accounts=6), C._replace(draining=True)), [])
        gone = "node-b, number 8, is no more in the cluster; it had 6 accounts a moment ago"
        self.assertEqual((self.look(C), self.over), ([gone], [8]))
        self.assertEqual((self.look(C), self.over), ([], []))

    def test_started_again(self) -> None:
        """By the same name, it is another one."""
        self.look(B)
        self.assertEqual(
            self.look(B._replace(number=11, accounts=0)),
            [
                "node-b, number 8, is no more in the cluster; it had 5 accounts a moment ago",
                "node-b at b:5270 has come into the cluster, as number 11",
            ],
        )

    def test_who_is_found_to_be_over(self) -> None:
        """By this process: that is said, and nothing else."""
        self.look(B)
        said = "node-b has given no sign of life for 15 s: the others take its accounts"
        self.assertEqual((self.look(buried=[B]), self.over), ([said], [8]))
        self.assertEqual((self.look(), self.over), ([], []))


class NumbersTests(ViewCase):
    def test_how_old_it_is(self) -> None:
        self.clock.advance(100)
        self.assertIsNone(self.view.age)
        self.look(B)
        self.clock.advance(2.5)
        self.assertEqual(self.view.age, 2.5)
        self.look(B)
        self.assertEqual(self.view.age, 0)

    def test_nothing_yet(self) -> None:
        self.assertEqual((self.view.live, self.view.free, self.view.accounts(OWN.number, 4)), ((), 0, 4))

    def test_accounts(self) -> None:
        """Of the own ones it is known better how many they are than the row says."""
        self.look(B, C, orphans=["one@example.org", "two@example.org"], left_by=["node-d"])
        self.assertEqual(self.view.accounts(OWN.number, 4), 4 + 5 + 0 + 2)
        self.assertEqual((self.view.free, self.view.left_by), (2, ["node-d"]))
        self.look(B)
        self.assertEqual((self.view.accounts(OWN.number, 4), self.view.left_by), (9, []))

    def test_who_has_left_accounts(self) -> None:
        """By name, each once, and not without a bound."""
        self.look(left_by=["node-b", "node-b", *(f"node-{number}" for number in range(50))])
        self.assertEqual(self.view.left_by, ["node-b", *(f"node-{number}" for number in range(MOST_TOLD - 1))])
