"""A primary and a replica that has all that the primary has acknowledged: PostgreSQL's synchronous replication."""

from __future__ import annotations

import time
from typing import Any

from tests.integration.network import LOCAL, Machine
from tests.storage.postgresql import Cluster

LOOK = 0.05  # seconds between looks whether a replica has come


class Replicated:
    """Two that may change places. A commit is on both of them, but while one of them is being made a replica anew.

    `here` and `there`: where they run; on other hosts than this machine `clients`, a range of addresses, may come.
    """

    def __init__(self, here: Machine = LOCAL, there: Machine = LOCAL, clients: str = "") -> None:
        self.primary = Cluster(host=here, clients=clients)
        self.replica = Cluster(self.primary, host=there, clients=clients)
        self._wait_for_replica()

    def promote(self) -> None:
        """The primary has been stopped: the replica takes its place, and waits for no other one. Blocks."""
        self.replica.promote()
        self.primary, self.replica = self.replica, self.primary

    def repair(self) -> None:
        """The former primary becomes the replica of its successor. Blocks."""
        self.replica.follow(self.primary)
        self._wait_for_replica()

    def stop(self) -> None:
        for one in (self.replica, self.primary):
            one.stop()

    def _wait_for_replica(self) -> None:
        """From now on nothing is acknowledged that the replica has not."""
        while not self._ask("SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'"):
            time.sleep(LOOK)
        self._ask("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self._ask("SELECT pg_reload_conf()")

    def _ask(self, statement: Any) -> list[Any]:
        with self.primary.connect("postgres") as connection:
            connection.autocommit = True
            done = connection.execute(statement)
            return done.fetchall() if done.description else []
