"""What devices have enabled for push notifications, as it stands in an account's row: JSON, sealed. Pure."""

from __future__ import annotations

import json

from minimixproxy.minimix.interfaces.journal import KeptPush
from minimixproxy.storage.errors import BadRow
from minimixproxy.storage.sealing import Sealer, Unsealable

_COLUMN = "push"
_TYPES = [str, str, str, str, bool, str]  # rows of before have no installation at their end


def push_column(bare: str, enabled: tuple[KeptPush, ...], sealer: Sealer) -> bytes | None:
    """Return the column of an account."""
    if not enabled:
        return None
    rows = [[one.resource, one.jid, one.node, one.options.decode(), one.at_server, one.device] for one in enabled]
    return sealer.seal(json.dumps(rows).encode(), bare, _COLUMN)


def read_push(bare: str, column: object, sealer: Sealer) -> tuple[KeptPush, ...]:
    """Return what is in a column. Raises `BadRow`."""
    if column is None:
        return ()
    try:
        rows = json.loads(sealer.open(column, bare, _COLUMN))
    except (Unsealable, ValueError, RecursionError) as error:
        raise BadRow("it cannot be opened with this seal key") from error
    if not isinstance(rows, list):
        raise BadRow("it is no list")
    return tuple(_one(row) for row in rows)


def _one(row: object) -> KeptPush:
    if not isinstance(row, list) or [type(value) for value in row] not in (_TYPES, _TYPES[:-1]):
        raise BadRow("it has no device, or no service")
    resource, jid, node, options, at_server, *device = row
    return KeptPush(resource, jid, node, options.encode(), at_server, *device)
