"""What the three subprotocols of one domain share: tables, admission, choice of a resource, counted drops. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from hashlib import blake2b
from random import Random

from minimixproxy.bounds.rate_limit import RateLimit
from minimixproxy.clientproxy.choosing import policy
from minimixproxy.clientproxy.exchanges import CONVERSATION, Exchanges
from minimixproxy.clientproxy.jat import Translator, UnknownAddress
from minimixproxy.clientproxy.limits import AccessList
from minimixproxy.clientproxy.own_answers import Identity, OwnAnswers
from minimixproxy.clientproxy.requests import RequestLimits, Requests
from minimixproxy.clientproxy.targets import Targets
from minimixproxy.config.settings import ClientProxy
from minimixproxy.jids import Address, InvalidJID, parse_jid
from minimixproxy.logs.logger import Logger
from minimixproxy.wire.stanza import Stanza
from minimixproxy.xep.stanza_errors import error_reply

SETTLING = 5.0  # seconds after connecting within which a request waits for the first resource


class ProxiedDomain:
    """One proxied domain.

    `send` takes whole stanzas for the component stream; `clock` returns seconds; `random` makes ids and choices.
    """

    log = Logger()

    def __init__(
        self,
        settings: ClientProxy,
        clock: Callable[[], float],
        send: Callable[[bytes], None],
        random: Random,
    ) -> None:
        self.settings = settings
        self.name = settings.domain
        self._address = parse_jid(settings.domain)
        self.clock = clock
        self.send = send
        self.dropped: Counter[str] = Counter()
        self.targets = Targets(settings.target, settings.max_resources)
        self.translator = Translator(
            settings.domain, jat_key(settings), clock, settings.max_tokens, settings.token_lifetime, self.full
        )
        self.sessions = Exchanges(clock, settings.session_timeout, settings.max_sessions, self.full)
        self.requests = Requests(
            clock,
            f"{random.getrandbits(40):x}.",
            RequestLimits(settings.max_open, settings.max_open_per_asker, timeout=settings.timeout),
            own_domains(settings),
        )
        identity = Identity(settings.identity_category, settings.identity_type, settings.name)
        self.own_answers = OwnAnswers(identity, clock, self.targets.resources, lambda: self.targets.changes)
        self.access = AccessList(settings.allow, settings.deny)
        self.rate = RateLimit(settings.rate, settings.burst, clock, full=self.full)
        self._admits_all = not (settings.allow or settings.deny or settings.rate)
        self._policy = policy(settings.policy, random)
        self._settled_at = clock() + SETTLING

    @property
    def settled(self) -> bool:
        """Whether the presences that our probes bring have had their time: who is not there now is not there."""
        return self.clock() >= self._settled_at

    def unsettle(self) -> None:
        """A new stream: nobody's presence is known."""
        self._settled_at = self.clock() + SETTLING

    def settle(self) -> None:
        """The first presence is known."""
        self._settled_at = self.clock()

    def sender(self, stanza: Stanza) -> Address | None:
        """Return who sent a stanza; None, and the stanza is dropped, if that cannot be parsed."""
        try:
            address = parse_jid(stanza.attributes.get("from") or "")
        except InvalidJID:
            self.drop(stanza, "unusable from attribute")
            return None
        if address.bare in self.targets.subscriptions:
            self.targets.heard(address.full, self.clock())
        return address

    def recipient(self, stanza: Stanza) -> Address | None:
        """Return whom a stanza is for; None, and the stanza is dropped, if that is no address of the domain."""
        to = stanza.attributes.get("to") or ""
        if to == self.name:  # mostly so
            return self._address
        try:
            address = parse_jid(to)
        except InvalidJID:
            self.drop(stanza, "unusable to attribute")
            return None
        if address.domain != self.name:
            self.drop(stanza, "to another domain")
            return None
        return address

    def admit(self, stanza: Stanza, sender: Address) -> bool:
        """Tell whether a user's stanza may enter; else it is answered with the error it deserves."""
        if self._admits_all:
            return True
        if not self.access.permits(sender):
            self.bounce(stanza, "cancel", "not-allowed")
        elif not self.rate.admits(sender.bare):
            self.bounce(stanza, "wait", "resource-constraint", "too many stanzas in a short time")
        else:
            return True
        self.drop(stanza, "not admitted")
        return False

    def destination(self, stanza: Stanza, recipient: Address) -> Address | None:
        """Return whom a stanza that the target initiates goes to; None, and it is answered with an error, if nobody."""
        try:
            destination = self.translator.jid_of(recipient)
        except UnknownAddress:
            self.bounce(stanza, "cancel", "item-not-found")
            return None
        if destination.domain == self.name or destination.bare in self.targets:
            self.bounce(stanza, "cancel", "not-allowed", "that would come back")
        elif not self.access.permits(destination):
            self.bounce(stanza, "cancel", "not-allowed")
        else:
            return destination
        return None

    def choose(self, asker: Address, namespace: str = "", without: str = "") -> str | None:
        """Return the resource for a new request by the configured policy, or None if there is none."""
        candidates = self.targets.candidates(namespace)
        if without and without in candidates:
            candidates = tuple(resource for resource in candidates if resource != without)
        return self._policy(candidates, asker.bare, self.requests.load) if candidates else None

    def partner(self, asker: Address) -> str | None:
        """Return the resource that this user's messages and presence go to: the same one while it is there."""
        _known, holder = self.sessions.holder(asker.bare, CONVERSATION)
        resource = self.targets.get(holder)
        return resource.jid if resource is not None else None

    def new_partner(self, asker: Address) -> str | None:
        """Return the conversation's resource, choosing one if it has none."""
        resource = self.partner(asker) or self.choose(asker)
        if resource is not None:
            self.sessions.bind(asker.bare, CONVERSATION, resource)
        return resource

    def bounce(self, stanza: Stanza, error_type: str, condition: str, text: str = "") -> None:
        """Answer a stanza with an error, unless it is a reply itself (RFC 6120 §8.3.1)."""
        if stanza.get("type") not in ("error", "result"):
            self.send(error_reply(stanza, error_type, condition, text))

    def drop(self, stanza: Stanza, reason: str) -> None:
        """Count a stanza that goes nowhere, and log it."""
        self._count(reason, f"dropped {stanza.name}", stanza.get("from"))

    def unusable(self, name: str, attributes: Mapping[str, str], digest: str, reason: str) -> None:
        """Count a stanza that cannot be used, and log it by its SHA-256."""
        self._count(reason, f"left out a {name} (SHA-256 {digest})", attributes.get("from"))

    def full(self, table: str) -> None:
        """A table is full, and what was used least recently was forgotten."""
        self._count(table, "forgot the oldest", None)

    def _count(self, reason: str, what: str, sender: str | None) -> None:
        self.dropped[reason] += 1
        self.log.warn(
            "{domain}: {what} from {sender}: {reason} ({count} so far)"
            if sender
            else "{domain}: {what}: {reason} ({count} so far)",
            domain=self.name,
            what=what,
            sender=sender,
            reason=reason,
            count=self.dropped[reason],
        )


def own_domains(settings: ClientProxy) -> set[str]:
    """Return the domains of the operator's servers, as far as can be told: the targets', and that of the component."""
    return {target.rpartition("@")[2] for target in settings.target} | {settings.domain.partition(".")[2]}


def jat_key(settings: ClientProxy) -> bytes:
    """Return the key of the translator's tokens: the same after a restart, known only to who knows the secret."""
    return blake2b(settings.secret.encode(), key=settings.domain.encode()[:64], person=b"minimixproxy-jat").digest()
