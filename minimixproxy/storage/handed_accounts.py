"""How an account that is handed on is written (`minimix.interfaces.handed`): JSON, compressed, to be sealed."""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict
from typing import Any, Final

from minimixproxy.minimix.interfaces.handed import (
    HandedAccount,
    HandedClient,
    HandedRoom,
    HandedServer,
    HandedSession,
)
from minimixproxy.minimix.interfaces.journal import KeptLogin

HANDED: Final = ("handed",)  # what it is sealed for, beside the account
_VERSION: Final = 1
_BYTES: Final = "bytes"  # the only key of an object that stands for bytes


def encoded(handed: HandedAccount) -> bytes:
    """Return the bytes of an account that is handed on."""
    document = {"version": _VERSION, **asdict(handed)}
    return zlib.compress(json.dumps(document, default=_of_bytes).encode(), 1)


def decoded(data: bytes) -> HandedAccount | None:
    """Return the account; None if another version of this program wrote it, or it is damaged."""
    try:
        document = json.loads(zlib.decompress(data), object_hook=_to_bytes)
        if document.pop("version") != _VERSION:
            return None
        sessions, rooms = document["sessions"], document["rooms"]
        return HandedAccount(document["time"], tuple(map(_session, sessions)), tuple(map(_room, rooms)))
    except (ValueError, KeyError, TypeError, AttributeError, zlib.error):
        return None


def _of_bytes(value: object) -> dict[str, str]:
    assert isinstance(value, bytes)
    return {_BYTES: value.decode("latin-1")}


def _to_bytes(found: dict[str, Any]) -> Any:
    return found[_BYTES].encode("latin-1") if found.keys() == {_BYTES} else found


def _session(found: dict[str, Any]) -> HandedSession:
    client, server = found.pop("client"), found.pop("server")
    return HandedSession(
        **{**found, "login": KeptLogin(**found["login"])},
        client=HandedClient(**{**client, "open": tuple((raw, of_server) for raw, of_server in client["open"])}),
        server=HandedServer(**{**server, "open": tuple(server["open"])}),
    )


def _room(found: dict[str, Any]) -> HandedRoom:
    attached = tuple((jid, shows) for jid, shows in found["attached"])
    several = {name: tuple(found[name]) for name in ("occupants", "codes")}
    return HandedRoom(**{**found, **several, "attached": attached})
