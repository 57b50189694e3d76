"""JIDs, prepared and compared as RFC 6122 says, with a bounded cache.

Unlike Twisted's own, these profiles let code points through that Unicode 3.2 did not assign, as servers do: an
emoji is a common nick. They let them through as they are: what servers tell apart must not be one here.
"""

from __future__ import annotations

import re
import stringprep
from collections.abc import Callable
from enum import Enum
from functools import lru_cache
from typing import Any, NamedTuple, TypeGuard
from unicodedata import ucd_3_2_0

from twisted.words.protocols.jabber.xmpp_stringprep import nameprep

from minimixproxy.lenient_profiles import MAX_PART as MAX_PART
from minimixproxy.lenient_profiles import NODEPREP, RESOURCEPREP, folded
from minimixproxy.lenient_profiles import normalized as normalized
from minimixproxy.lenient_profiles import size_of as size_of

#: The beginning of the resources that account streams bind (see `installation`).
RESOURCE_PREFIX = "minimix."
_DOTS = (".", "\u3002", "\uff0e", "\uff61")  # between the labels of a domain (RFC 3490 §3.1)
_CACHED = 16384
_LONGEST_CACHED = 256  # characters: the caches are bounded in bytes, too
_CACHED_LONG = 128  # of those that are longer
_LONGEST = 3 * MAX_PART  # characters of what may be a JID
# What the profiles let through, of ASCII: nearly all that comes. There they do no more than fold its letters.
_ASCII_LOCAL = re.compile(r"[!#-%(-.0-9;=?A-~]+")
_ASCII_RESOURCE = re.compile(r"[ -~]+")
_ASCII_DOMAIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*")


class InvalidJID(ValueError):
    """Text that is no JID. `str()` says why."""


class Address(NamedTuple):
    """A prepared JID. `full`: all of it; `bare`: `local@domain` or `domain`; `resource`: None when there is none."""

    bare: str
    resource: str | None
    domain: str
    full: str

    @property
    def local(self) -> str | None:
        """The part before the `@`, or None."""
        local, at, _ = self.bare.rpartition("@")
        return local if at else None


def _prepared(profile: Any, text: str) -> str:
    if len(text) > MAX_PART:  # before the work, which is in proportion to it
        raise InvalidJID(f"{text[:80]!r}: a part is over {MAX_PART} bytes")
    try:
        prepared: str = profile.prepare(text)
    except (UnicodeError, IndexError) as error:  # IndexError: an empty label, to nameprep
        raise InvalidJID(f"{text!r}: {error}") from error
    if not prepared or size_of(prepared) > MAX_PART:
        raise InvalidJID(f"{text[:80]!r}: a part is empty or over {MAX_PART} bytes")
    return prepared


def prepare_local(text: str) -> str:
    """Return a local part after nodeprep. Raises `InvalidJID`."""
    if len(text) <= MAX_PART and _ASCII_LOCAL.fullmatch(text):
        return text.lower()
    return _prepared(NODEPREP, text)


def prepare_resource(text: str) -> str:
    """Return a resource, or a nick, after resourceprep: what nicks are compared by. Raises `InvalidJID`."""
    if len(text) <= MAX_PART and _ASCII_RESOURCE.fullmatch(text):
        return text
    return _prepared_resource(text) if len(text) <= _LONGEST_CACHED else _prepared(RESOURCEPREP, text)


@lru_cache(maxsize=_CACHED)
def _prepared_resource(text: str) -> str:
    return _prepared(RESOURCEPREP, text)


def _prepare_domain(text: str) -> str:
    domain = text[:-1] if text.endswith(_DOTS) else text
    if not domain or domain.endswith(_DOTS) or len(domain) > MAX_PART:
        raise InvalidJID(f"{text[:80]!r}: no domain, or over {MAX_PART} bytes")
    if _ASCII_DOMAIN.fullmatch(domain):
        return domain.lower()
    if not domain.isascii() and size_of(ucd_3_2_0.normalize("NFKC", domain)) > MAX_PART:
        raise InvalidJID(f"{text[:80]!r}: a domain over {MAX_PART} bytes")
    if not domain.isascii() and any(folded(character) != stringprep.map_table_b2(character) for character in domain):
        raise InvalidJID(f"{text[:80]!r}: a capital that Unicode 3.2 does not know")  # see `folded`
    return _prepared(nameprep, domain)


def parse_jid(text: str) -> Address:
    """Return the prepared parts of a JID. Raises `InvalidJID`."""
    if len(text) <= _LONGEST_CACHED:
        return _parsed(text)
    return _parsed_long(text) if len(text) <= _LONGEST else _parse(text)


def _parse(text: str) -> Address:
    bare, slash, resource = text.partition("/")
    local, at, domain = bare.rpartition("@")
    prepared = _prepare_domain(domain)
    whose = f"{prepare_local(local)}@{prepared}" if at else prepared
    if not slash:
        return Address(whose, None, prepared, whose)
    resource = prepare_resource(resource)
    full = f"{whose}/{resource}"
    return Address(whose, resource, prepared, text if text == full else full)  # mostly the same, which is kept anyway


_parsed = lru_cache(maxsize=_CACHED)(_parse)
_parsed_long = lru_cache(maxsize=_CACHED_LONG)(_parse)  # each stanza of an occupant with a long nick asks several times


def is_jid(value: object) -> TypeGuard[str]:
    """Tell whether something is a JID: what a damaged database gives need not be one."""
    return _is(parse_jid, value)


def is_resource(value: object) -> TypeGuard[str]:
    """Tell whether something is a resource, or a nick."""
    return _is(prepare_resource, value)


def _is(parse: Callable[[str], object], value: object) -> bool:
    try:
        return isinstance(value, str) and bool(parse(value))
    except InvalidJID:
        return False


class Whose(Enum):
    """Whose an address is, as a stream of an account sees it."""

    ACCOUNT = "account"  # the server speaks for the account
    SERVER = "server"  # the server speaks for itself
    STREAM = "stream"  # the account on this stream; some servers answer so what the account has asked itself
    OTHER = "other"  # anybody else's

    @property
    def is_server(self) -> bool:
        """Whether only the account's server can speak from such an address."""
        return self in (Whose.ACCOUNT, Whose.SERVER)


def whose(address: str | None, jid: str) -> Whose:
    """Tell whose an address is on a stream that an account has bound to `jid`, bare or full, however both are spelt.

    No address, and the account's bare JID, are the account's: so its server speaks for it (RFC 6120 §8.1.2.1). Servers
    stamp what anybody else sends with its own full JID.
    """
    if address is None:
        return Whose.ACCOUNT
    try:
        found, own = parse_jid(address).full, parse_jid(jid)
    except InvalidJID:
        return Whose.OTHER
    if found == own.bare:
        return Whose.ACCOUNT
    if found == own.domain:
        return Whose.SERVER
    return Whose.STREAM if found == own.full else Whose.OTHER


def owned_part(domain: str) -> str:
    """Return the last two labels of a domain: whoever owns those has subdomains for nothing, and shares with them."""
    return ".".join(domain.rsplit(".", 2)[-2:])
