"""Which nick a room keeps for the account (XEP-0045 §7.12). Pure but for the account's own IQs."""

from __future__ import annotations

from collections.abc import Callable

from minimixproxy.jids import InvalidJID, parse_jid, prepare_resource
from minimixproxy.minimix.interfaces.streams import OwnRequests
from minimixproxy.namespaces import NS_DATA, NS_DISCO_INFO, NS_REGISTER
from minimixproxy.wire.stanza import Stanza
from minimixproxy.wire.trees import child
from minimixproxy.xep.data_forms import fields_of

NODE = "x-roomuser-item"
FIELD = "muc#register_roomnick"

_DISCO = b"<query xmlns='%b' node='%b'/>" % (NS_DISCO_INFO.encode(), NODE.encode())
_REGISTER = b"<query xmlns='%b'/>" % NS_REGISTER.encode()


def ask_reserved_nick(outlet: OwnRequests, room: str, answered: Callable[[str | None], None]) -> None:
    """Call `answered` once with the nick that is registered for the account, or None.

    The room is asked as §7.12 says, as Prosody answers; then its service what is registered there, as ejabberd has it:
    a nick in all of its rooms.
    """

    def room_answered(answer: Stanza | None) -> None:
        nick = _from_disco(answer) if answer is not None else None
        if nick is not None or answer is None:
            answered(nick)
        else:
            outlet.ask(parse_jid(room).domain, "get", _REGISTER, service_answered)

    def service_answered(answer: Stanza | None) -> None:
        answered(_from_registration(answer) if answer is not None else None)

    outlet.ask(room, "get", _DISCO, room_answered)


def _from_disco(answer: Stanza) -> str | None:
    query = answer.payload(NS_DISCO_INFO, "query") if answer.get("type") == "result" else None
    if query is None:
        return None
    identity = child(query, NS_DISCO_INFO, "identity")
    return _usable(identity.getAttribute("name")) if identity is not None else None


def _from_registration(answer: Stanza) -> str | None:
    """§7.10: who is registered is told so, and as what; servers differ in where."""
    query = answer.payload(NS_REGISTER, "query") if answer.get("type") == "result" else None
    if query is None or not any(query.elements(NS_REGISTER, "registered")):
        return None
    for name in ("nick", "username"):
        for found in query.elements(NS_REGISTER, name):
            if _usable(str(found)):
                return str(found)
    for form in query.elements(NS_DATA, "x"):
        for var, values in fields_of(form):
            if var == FIELD:
                return _usable("".join(values))
    return None


def _usable(nick: str | None) -> str | None:
    try:
        return nick if nick and prepare_resource(nick) else None
    except InvalidJID:
        return None
