"""Which process of a cluster connects which domain of `[[client_proxy]]`. All of it blocks.

As an account's, a domain's lease is worth as much as the row of its process in `holders` (see `cluster_lease`).
"""

from __future__ import annotations

from sqlalchemy import Connection

from minimixproxy.storage.leases import Holder, Leases
from minimixproxy.storage.schema import FREE

_WHO = """
SELECT holders.number, holders.name, holders.address, holders.accounts, holders.draining
FROM components JOIN holders ON holders.number = components.holder AND NOT holders.ended WHERE components.domain = %s
"""
_KNOWN = f"INSERT INTO components (domain, holder) VALUES (%s, {FREE}) ON CONFLICT DO NOTHING"
#: By itself, as in `leases`.
_LOCK = "SELECT FROM components WHERE domain = %s FOR UPDATE"
_TAKE = "UPDATE components SET holder = %s WHERE domain = %s"
_RELEASE = f"UPDATE components SET holder = {FREE} WHERE domain = %s AND holder = %s"


class DomainLeases:
    """Asks by the connection of `leases`, for the process `number`; raises as they do."""

    def __init__(self, leases: Leases, number: int) -> None:
        self._leases = leases
        self._number = number

    def holder(self, domain: str) -> Holder | None:
        """Return which process has a domain, if one does that lives."""
        return self._leases.run(lambda connection: _holder(connection, domain))

    def hold(self, domain: str) -> Holder:
        """The same; if nobody has it, it is this process's."""
        return self._leases.run(lambda connection: self._hold(connection, domain))

    def release(self, domain: str) -> None:
        """Have a domain be nobody's, if it is this process's."""
        self._leases.run(lambda connection: connection.exec_driver_sql(_RELEASE, (domain, self._number)))

    def _hold(self, connection: Connection, domain: str) -> Holder:
        """Lock only what may change: this is asked each second."""
        found = _holder(connection, domain)
        if found is None:
            connection.exec_driver_sql(_KNOWN, (domain,))
            connection.exec_driver_sql(_LOCK, (domain,))
            found = _holder(connection, domain)
        if found is None:
            connection.exec_driver_sql(_TAKE, (self._number, domain))
            found = _holder(connection, domain)
        assert found is not None, "this process lives, by `run`"
        return found


def _holder(connection: Connection, domain: str) -> Holder | None:
    row = connection.exec_driver_sql(_WHO, (domain,)).first()
    return None if row is None else Holder._make(row)
