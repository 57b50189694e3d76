"""A site whose database has a replica, each on a host of its own, as docs/cluster.md says."""

from __future__ import annotations

from tests.integration.hosts import Site
from tests.integration.network import Host
from tests.storage.postgresql import Cluster
from tests.storage.replicated import Replicated


class ReplicatedSite(Site):
    """Nodes know both servers, and use the one that takes writes."""

    pair: Replicated

    def _start_database(self) -> Cluster:
        self.replica_host = self.network.host("replica")
        self.pair = Replicated(self.database_host, self.replica_host, self.network.range)
        return self.pair.primary

    @property
    def database_hosts(self) -> list[Host]:
        return [self.database_host, self.replica_host]

    def url_for(self, program: str) -> str:
        servers = [(one.host.address, one.port) for one in (self.pair.primary, self.pair.replica)]
        hosts = "&".join(f"host={address}:{port}" for address, port in servers)
        options = f"target_session_attrs=read-write&application_name={program}"
        return f"postgresql://tests@/{self.database_name}?{hosts}&{options}"

    def promote(self) -> None:
        """The replica takes the place of the primary, which has been stopped. Blocks."""
        self.pair.promote()
        self.database = self.pair.primary

    def _stop_database(self) -> None:
        if hasattr(self, "pair"):
            self.pair.stop()
