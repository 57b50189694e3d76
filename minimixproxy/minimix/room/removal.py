"""Why a room shows the account out, or does not let it in again, and what follows from it. Pure."""

from __future__ import annotations

from minimixproxy.wire.stanza import Stanza
from minimixproxy.xep import muc

_MEANT = frozenset({"301", muc.KICKED, "321", "322"})  # ban, kick, lost affiliation, members only
_TECHNICAL = frozenset({"332", muc.TECHNICAL})  # shutdown of the service, error

# Join errors that waiting does not change (XEP-0045 §7.2): banned, wrong password, not a member, destroyed.
_MEANT_ERRORS = frozenset({"forbidden", "not-authorized", "registration-required", "gone", "jid-malformed"})


def is_meant(stanza: Stanza) -> bool:
    """Tell whether someone wants the account out of the room: then it does not come back by itself.

    A kick for technical reasons (333 beside 307) is not meant, a ban always is. A removal that gives no reason is
    taken for a fault.
    """
    codes = muc.status_codes(stanza)
    if muc.is_destroyed(stanza) or codes & (_MEANT - {muc.KICKED}):
        return True
    return muc.KICKED in codes and not codes & _TECHNICAL


def is_meant_error(stanza: Stanza) -> bool:
    """Tell whether a room that refuses a join will go on refusing it."""
    return muc.error_condition(stanza) in _MEANT_ERRORS
