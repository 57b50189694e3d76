"""The stream headers of one client that is not in session yet: what is in them, and what answers them."""

from __future__ import annotations

from collections.abc import Mapping

from minimixproxy.c2s.own_streams import new_id
from minimixproxy.config.settings import Domain
from minimixproxy.jids import InvalidJID, parse_jid
from minimixproxy.wire.events import StreamOpened
from minimixproxy.xep.stream_headers import LANG, Refusal, addressed_domain, answer_header, check_header

#: Characters of what is written on each stanza that goes another way than its stream, however short it is: of a
#: language, the header of a stream with a longer one names none; of a namespace that has a prefix.
MAX_LANG, MAX_NAMESPACE = 64, 256


class ClientHeaders:
    """`domain`: which one the client has named, "" until then. `lang`: its language, None if it names none to be used.

    `account`: the bare JID that it says it will log in as; None if it does not say so, or it is none of the domain.
    """

    def __init__(self, domains: Mapping[str, Domain]) -> None:
        """`domains`: those that are served, by name."""
        self._domains = domains
        self._answered = False
        self.domain = ""
        self.lang: str | None = None
        self.account: str | None = None

    def check(self, opened: StreamOpened, *, logged_in: bool) -> Refusal | None:
        """Take a header, or return what is wrong with it."""
        self.lang = _language(opened)
        refusal = check_header(opened, self._domains) or _too_long(opened)
        if refusal is not None:
            return refusal
        domain = addressed_domain(opened)
        assert domain is not None
        if logged_in and domain != self.domain:
            return Refusal("not-authorized", "the login was for another domain")
        self.domain = domain
        self.account = _account(opened.attributes.get("from", ""), domain)
        return None

    def answer(self) -> bytes:
        """Return the header that answers the client's."""
        self._answered = True
        return answer_header(self.domain, new_id(), self.lang)

    def owed(self) -> bytes:
        """Return the header that comes before a stream error, if it is still due (RFC 6120 §4.9.1.2)."""
        if self._answered:
            return b""
        return answer_header(self.domain or next(iter(self._domains)), new_id(), self.lang)

    def restart(self) -> None:
        """A new stream begins."""
        self._answered = False


def _language(opened: StreamOpened) -> str | None:
    lang = opened.attributes.get(LANG)
    return lang if lang is not None and len(lang) <= MAX_LANG else None


def _too_long(opened: StreamOpened) -> Refusal | None:
    if any(len(uri) > MAX_NAMESPACE for uri in opened.namespaces.values()):
        return Refusal("policy-violation", "a namespace that the header declares is too long")
    return None


def _account(address: str, domain: str) -> str | None:
    """Return the account in the `from` of a header (RFC 6120 §4.7.1)."""
    try:
        named = parse_jid(address)
    except InvalidJID:
        return None
    return named.bare if named.domain == domain != named.bare else None
