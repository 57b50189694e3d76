"""The target accounts: whether they let us see their presence, and which of their resources take requests. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from minimixproxy.jids import Address

MAX_FEATURES = 500  # remembered of one resource


class Subscription(Enum):
    """Where our subscription to a target's presence stands (RFC 6121 §3)."""

    ASKING = "asking"  # sent, no answer yet
    SUBSCRIBED = "subscribed"
    REFUSED = "refused"  # unsubscribed: its presence is not believed until it says subscribed again
    FAILED = "failed"  # an error came: no such account, no such server


@dataclass(slots=True)
class Resource:
    """One available resource of a target."""

    jid: str
    target: str
    priority: int = 0
    show: str = ""
    caps: str = ""  # what says that its features changed (XEP-0115 ver)
    asked: str | None = None  # `caps` when the question for its features was sent that is open; None: none is
    features: frozenset[str] | None = None  # None: not known (yet)
    identities: tuple[tuple[str, str, str], ...] = ()  # category, type, name
    heard: float = 0.0  # when anything last came from it
    pinged: float = 0.0  # when we asked whether it is still there; 0: not since it was heard
    mute: bool = False  # owes an answer, and not even a ping came back

    @property
    def willing(self) -> bool:
        """Whether it takes new requests. One that does not may still finish what it has."""
        return self.priority >= 0 and self.show != "dnd"


class Targets:
    """All resources of all targets of one domain. Methods that lose resources return their full JIDs."""

    def __init__(self, targets: Iterable[str], max_resources: int = 1000) -> None:
        self.subscriptions = dict.fromkeys(targets, Subscription.ASKING)
        self._max_resources = max_resources
        self._resources: dict[str, Resource] = {}
        self.changes = 0  # how often anything about a resource has changed
        self._candidates: dict[str, tuple[str, ...]] = {}  # namespace -> resources, until something changes

    def __contains__(self, bare: str) -> bool:
        """Whether this bare JID is a target."""
        return bare in self.subscriptions

    def reset(self) -> tuple[str, ...]:
        """A new stream: forget every resource, so that no stale one gets traffic, and ask anew."""
        self.subscriptions = dict.fromkeys(self.subscriptions, Subscription.ASKING)
        return self._drop(list(self._resources))

    def subscribed(self, target: str) -> None:
        self.subscriptions[target] = Subscription.SUBSCRIBED

    def unsubscribed(self, target: str) -> tuple[str, ...]:
        self.subscriptions[target] = Subscription.REFUSED
        return self._drop_all_of(target)

    def failed(self, target: str) -> tuple[str, ...]:
        self.subscriptions[target] = Subscription.FAILED
        return self._drop_all_of(target)

    def available(self, address: Address, priority: int, show: str, caps: str) -> bool:
        """Note an available presence. Returns True when the resource's features have to be asked for."""
        if address.resource is None or self.subscriptions[address.bare] is Subscription.REFUSED:
            return False
        known = self._resources.get(address.full)
        if known is None:
            if len(self._resources) >= self._max_resources:
                return False
            known = self._resources[address.full] = Resource(address.full, address.bare)
        elif known.caps == caps and known.priority == priority and known.show == show:
            return False
        news = known.features is None or known.caps != caps
        known.priority, known.show, known.caps = priority, show, caps
        self._changed()
        return news

    def unavailable(self, address: Address) -> tuple[str, ...]:
        """A resource, or with a bare JID all of the account's, went away."""
        return self._drop_all_of(address.bare) if address.resource is None else self._drop([address.full])

    def learn(self, jid: str, features: Iterable[str], identities: tuple[tuple[str, str, str], ...] = ()) -> None:
        """Note what a resource said about itself (XEP-0030)."""
        if resource := self._resources.get(jid):
            resource.features = frozenset(sorted(features)[:MAX_FEATURES])
            resource.identities = identities
            self._changed()

    def heard(self, jid: str, now: float) -> None:
        """Note that something came from somebody: if that is a resource, it is alive."""
        resource = self._resources.get(jid)
        if resource is not None:
            resource.heard, resource.pinged = now, 0.0
            if resource.mute:
                resource.mute = False
                self._changed()

    def muted(self, resource: Resource) -> None:
        """Note that a resource answers nothing at all: others get its work, if there are any."""
        resource.mute = True
        self._changed()

    def get(self, jid: str | None) -> Resource | None:
        """Return an available resource, willing or not. None is nobody."""
        return None if jid is None else self._resources.get(jid)

    def resources(self) -> tuple[Resource, ...]:
        return tuple(self._resources.values())

    def candidates(self, namespace: str = "") -> tuple[str, ...]:
        """Return the resources for a new request, in the order in which they came.

        Of the willing ones those that answer at all, and of these those that advertise the payload's namespace, if any
        does.
        """
        found = self._candidates.get(namespace)
        if found is None:
            if len(self._candidates) >= MAX_FEATURES:
                self._candidates.clear()
            found = self._candidates[namespace] = self._find_candidates(namespace)
        return found

    def _changed(self) -> None:
        self.changes += 1
        self._candidates.clear()

    def _find_candidates(self, namespace: str) -> tuple[str, ...]:
        willing = [resource for resource in self._resources.values() if resource.willing]
        audible = [resource for resource in willing if not resource.mute] or willing
        able = [resource for resource in audible if resource.features and namespace in resource.features] or audible
        return tuple(resource.jid for resource in able)

    def show(self) -> str | None:
        """Return the presence of the domain as a whole: "" available, "dnd" if nobody takes requests, None away."""
        if any(resource.willing for resource in self._resources.values()):
            return ""
        return "dnd" if self._resources else None

    def _drop_all_of(self, target: str) -> tuple[str, ...]:
        return self._drop([resource.jid for resource in self._resources.values() if resource.target == target])

    def _drop(self, jids: list[str]) -> tuple[str, ...]:
        gone = tuple(jid for jid in jids if self._resources.pop(jid, None))
        if gone:
            self._changed()
        return gone
