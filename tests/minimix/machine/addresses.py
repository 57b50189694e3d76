"""Addresses as the machine compares them."""

from __future__ import annotations

from minimixproxy.jids import InvalidJID, parse_jid


def bare_and_nick(jid: str | None) -> tuple[str, str]:
    if jid is None:
        return "", ""
    try:
        address = parse_jid(jid)
    except InvalidJID:
        return "", ""
    return address.bare, jid.partition("/")[2]


def bare_of(jid: str | None) -> str:
    return bare_and_nick(jid)[0]


def prepared(jid: str | None) -> str | None:
    if not jid:
        return None
    try:
        return parse_jid(jid).full
    except InvalidJID:
        return jid


def same_address(one: str, other: str) -> bool:
    if one == other:
        return True
    try:
        return parse_jid(one) == parse_jid(other)
    except (InvalidJID, ValueError):
        return False
