"""What a device of a cluster need not have heard: what a killed process had sent to where it had been."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chaos.cluster_world import Kill, may_miss
from chaos.people import Plain

ALICE = "alice@a.test"
TIMES = {"heard": 10.0, "missed": 21.0, "late": 39.0}


def killed(*lines: str, time: float = 30.0) -> Kill:
    process: Any = SimpleNamespace(lines=[f"… session of {ALICE}/{line}" for line in lines])
    return Kill(process, time)


async def nowhere() -> Any:
    raise AssertionError


class MayMissTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.device = Plain("alice/phone", nowhere, "alice")
        self.device.came, self.device.left = (5.0, 35.0), (20.0,)

    def missed(self, *kills: Kill) -> set[str]:
        return may_miss(self.device, ALICE, kills, TIMES)

    def test_gone_and_not_known_to_be(self) -> None:
        self.assertEqual(self.missed(killed("phone is bound")), {"missed"})
        self.assertEqual(
            self.missed(killed("phone is bound", "phone ends, from 1.2.3.4", "phone is bound")), {"missed"}
        )

    def test_known_to_be_gone(self) -> None:
        self.assertEqual(self.missed(killed("phone is bound", "phone ends, from 1.2.3.4")), set())

    def test_another_device_or_another_process(self) -> None:
        self.assertEqual(self.missed(killed("tablet is bound")), set())
        self.assertEqual(self.missed(killed()), set())

    def test_there(self) -> None:
        for time in (2.0, 15.0, 40.0):
            self.assertEqual(self.missed(killed("phone is bound", time=time)), set(), time)
