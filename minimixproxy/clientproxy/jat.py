"""Jabber address translation (JAT): the JID of an asker as an address of the proxy's own domain, and back.

A JID that fits stands there as it is: `proxy.example.org/alice@example.org/phone`. One that a server or client might
change on the way (RFC 6122 preparation, trimmed spaces) is spelled in letters and digits, `proxy.example.org/@0mf...`.
One that is too long for that, too, becomes a token, `proxy.example.org/@k2l7...`, good as long as the token table
remembers it: a keyed hash, so it stays the same for a JID over restarts and nobody can compute a stranger's. Neither
looks like a JID, since no JID starts with `@`.

Addresses are only ever read back for the target: what a user writes behind the domain is never looked at, and a reply
goes to whoever asked, not to what its address says. So no user can make an address that reaches a stranger.

Pure: the clock is handed in.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import unicodedata
from base64 import b32decode, b32encode
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from twisted.words.protocols.jabber import xmpp_stringprep

from minimixproxy.jids import MAX_PART, Address, InvalidJID, owned_part, parse_jid, size_of

_TOKEN = "@"
_SPELLED = "@0"  # no token has a 0 there
_CACHED = 16384
_LONGEST_CACHED = 256  # characters: the cache is bounded in bytes, too
_CACHED_LONG = 128  # of what is longer

# XEP-0106 §4.1. The backslash is always escaped, which every unescaping undoes alike.
_ESCAPED = {char: f"\\{ord(char):02x}" for char in " \"&'/:<>@\\"}
_ESCAPES = str.maketrans(_ESCAPED)
_UNESCAPES = {code: char for char, code in _ESCAPED.items()}
_CODE = re.compile("|".join(re.escape(code) for code in _UNESCAPES))


class UnknownAddress(ValueError):
    """An address of the domain that stands for no JID: malformed, or a token that is not (or no longer) known."""


class Translator:
    """Translates for one domain. `key`: secret of this installation; `lifetime`: seconds a token outlives its use.

    `full` is told when the table is full, so that the least recently used token is forgotten: of those of the JID's
    domain if that has more than half of all. Accounts cost a domain nothing, and so do subdomains: they count as one.
    """

    def __init__(
        self,
        domain: str,
        key: bytes,
        clock: Callable[[], float],
        max_tokens: int = 10_000,
        lifetime: float = 86400.0,
        full: Callable[[str], None] = lambda table: None,
    ) -> None:
        self.domain = domain
        self._key = key
        self._clock = clock
        self._max_tokens = max_tokens
        self._lifetime = lifetime
        self._full = full
        self._tokens: OrderedDict[str, tuple[str, float]] = OrderedDict()  # least recently used first
        self._of: dict[str, OrderedDict[str, None]] = {}  # the same tokens, by what the JID's domain is part of

    def address_of(self, jid: str) -> str:
        """Return the address that stands for a prepared JID, in the resource of the domain."""
        return f"{self.domain}/{jid if _fits_resource(jid) else self._instead(jid, MAX_PART)}"

    def contact_of(self, bare: str) -> str:
        """Return the address that stands for a prepared bare JID, in the local part: servers subscribe to bare JIDs."""
        local = bare.translate(_ESCAPES)
        if not _fits_local(local):
            local = self._instead(bare, MAX_PART - len(_ESCAPED["@"]) + len("@")).translate(_ESCAPES)
        return f"{local}@{self.domain}"

    def jid_of(self, address: Address) -> Address:
        """Return the JID that an address of either form stands for. Raises `UnknownAddress`."""
        local = address.local
        if local is not None:
            text = unescape(local)
        elif address.resource is not None:
            text = address.resource
        else:
            raise UnknownAddress("the domain itself")
        if text.startswith(_SPELLED):
            text = _read(text)
        elif text.startswith(_TOKEN):
            text = self._recall(text)
        if local is not None and address.resource is not None:
            text = f"{text}/{address.resource}"
        try:
            return parse_jid(text)
        except InvalidJID as error:
            raise UnknownAddress(str(error)) from error

    def __len__(self) -> int:
        """How many tokens are remembered."""
        return len(self._tokens)

    def _instead(self, jid: str, most: int) -> str:
        """Return what stands for a JID that does not fit, in so many characters at most."""
        spelled = _spell(jid)
        return spelled if len(spelled) <= most else self._token(jid)

    def _token(self, jid: str) -> str:
        digest = hmac.digest(self._key, jid.encode("utf-8"), hashlib.sha256)
        token = _TOKEN + b32encode(digest[:20]).decode("ascii").lower()
        self._remember(token, jid)
        return token

    def _remember(self, token: str, jid: str) -> None:
        now = self._clock()
        self._tokens[token] = jid, now + self._lifetime
        of_domain = self._of.setdefault(_domain_of(jid), OrderedDict())
        of_domain[token] = None
        self._tokens.move_to_end(token)
        of_domain.move_to_end(token)
        while self._oldest_expiry() <= now:
            self._forget(next(iter(self._tokens)))
        if len(self._tokens) > self._max_tokens:
            has_most = len(of_domain) > max(1, self._max_tokens // 2)  # not of this one alone
            self._forget(next(iter(of_domain if has_most else self._tokens)))
            self._full("max_tokens")

    def _forget(self, token: str) -> None:
        domain = _domain_of(self._tokens.pop(token)[0])
        del self._of[domain][token]
        if not self._of[domain]:
            del self._of[domain]

    def _oldest_expiry(self) -> float:
        return next(iter(self._tokens.values()))[1]

    def _recall(self, token: str) -> str:
        known = self._tokens.get(token)
        if known is None or known[1] <= self._clock():
            raise UnknownAddress("unknown or expired token")
        self._remember(token, known[0])
        return known[0]


def _domain_of(jid: str) -> str:
    return owned_part(jid.partition("/")[0].rpartition("@")[2])


def _spell(jid: str) -> str:
    return _SPELLED + b32encode(jid.encode("utf-8")).decode("ascii").rstrip("=").lower()


def _read(spelled: str) -> str:
    """Return the JID that is spelled so. Raises `UnknownAddress`."""
    digits = spelled.removeprefix(_SPELLED).upper()
    try:
        jid = b32decode(digits + "=" * (-len(digits) % 8)).decode("utf-8")
    except ValueError as error:
        raise UnknownAddress("it spells no JID") from error
    if _spell(jid) != spelled:
        raise UnknownAddress("it spells no JID as this proxy does")
    return jid


def unescape(local: str) -> str:
    """Undo XEP-0106 escaping."""
    return _CODE.sub(lambda match: _UNESCAPES[match.group()], local)


def _fits_resource(jid: str) -> bool:
    """Tell whether the JID can be a resource that every preparation in use leaves as it is."""
    return (_fits_cached if len(jid) <= _LONGEST_CACHED else _fits_long)(jid, xmpp_stringprep.resourceprep)


def _fits_local(local: str) -> bool:
    return (_fits_cached if len(local) <= _LONGEST_CACHED else _fits_long)(local, xmpp_stringprep.nodeprep)


def _fits(text: str, profile: Any) -> bool:
    if size_of(text) > MAX_PART or text != text.strip() or text.startswith(_TOKEN):
        return False
    if text.isascii():  # it is part of a prepared JID
        return True
    try:
        # Twisted's profiles are strict about code points newer than Unicode 3.2; PRECIS (RFC 8265) adds newer tables.
        return bool(profile.prepare(text) == text == unicodedata.normalize("NFKC", text))
    except UnicodeError:
        return False


_fits_cached = lru_cache(maxsize=_CACHED)(_fits)
_fits_long = lru_cache(maxsize=_CACHED_LONG)(_fits)
