"""Presence proxying: the target's resources as they come and go, users' subscriptions, directed presence. Pure.

Servers take subscriptions between bare JIDs only, so here a user is `alice\\40example.org@proxy.example.org` to the
target: with `subscriptions = "target"` the implementing client finds users as contacts in its roster, which its server
keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from minimixproxy.clientproxy.domain import ProxiedDomain
from minimixproxy.clientproxy.exchanges import CONVERSATION
from minimixproxy.clientproxy.subscribers import Subscribers
from minimixproxy.clientproxy.targets import Resource, Subscription
from minimixproxy.jids import Address
from minimixproxy.logs.logger import Logger
from minimixproxy.namespaces import NS_CAPS
from minimixproxy.wire.stanza import Stanza, escape, rewrite

ASK_AGAIN = 60.0  # seconds after an error from a target
MAX_SUBSCRIBERS = 10_000
_SUBSCRIPTION = frozenset({"subscribe", "subscribed", "unsubscribe", "unsubscribed"})
_KINDS = _SUBSCRIPTION | {"", "unavailable", "probe", "error"}


class PresenceProxying:
    """Takes every presence that the component stream delivers.

    `came` is told when a resource takes requests, `lost` which ones went away, `ask_features` whom to ask for features.
    """

    log = Logger()

    def __init__(
        self,
        domain: ProxiedDomain,
        came: Callable[[], None],
        lost: Callable[[Iterable[str]], None],
        ask_features: Callable[[Resource], None],
    ) -> None:
        self._domain = domain
        self._came = came
        self._lost = lost
        self._ask_features = ask_features
        self._ask_again: dict[str, float] = {}  # target -> when
        self._subscribers = Subscribers()
        self._published: str | None = None

    def receive(self, presence: Stanza) -> None:
        """Take one presence in."""
        sender = self._domain.sender(presence)
        if sender is None or (recipient := self._domain.recipient(presence)) is None:
            return
        kind = presence.get("type") or ""
        if kind not in _KINDS:
            self._domain.bounce(presence, "modify", "bad-request")
        elif sender.bare not in self._domain.targets:
            self._of_user(presence, sender, kind)
        elif recipient.full == self._domain.name:
            self._of_target(presence, sender, kind)
        else:
            self._target_to_user(presence, sender, recipient, kind)

    # The target and the domain

    def connected(self) -> None:
        """A new stream: ask every target for its presence.

        A server repeats `subscribed` for a subscription that is there already (RFC 6121 §3.1.3), and then we probe. Not
        before: the refusal with which Prosody answers a probe takes a request that still waits away with it.
        """
        self._ask_again.clear()
        for target in self._domain.targets.subscriptions:
            self._subscribe(target)

    def _subscribe(self, target: str) -> None:
        self._presence("subscribe", self._domain.name, target)

    def tick(self) -> None:
        """Ask targets again that could not be asked; call this about every second."""
        for target, due in list(self._ask_again.items()):
            if self._domain.clock() >= due:
                del self._ask_again[target]
                self._subscribe(target)
        if self._domain.settled:
            self.publish()

    def _of_target(self, presence: Stanza, sender: Address, kind: str) -> None:
        match kind:
            case "":
                self._available(presence, sender)
            case "unavailable":
                self._unavailable(sender)
            case "subscribe":
                self._presence("subscribed", self._domain.name, sender.bare)
                self._presence(_kind_of(self._domain.targets.show()), self._domain.name, sender.bare)
            case "probe":
                self._presence(_kind_of(self._domain.targets.show()), self._domain.name, sender.full)
            case "subscribed":
                self._subscribed(sender.bare)
            case "unsubscribed":
                self._unsubscribed(sender.bare)
            case "unsubscribe":
                self._presence("unsubscribed", self._domain.name, sender.bare)
            case "error":
                self._failed(presence, sender.bare)

    def _available(self, presence: Stanza, sender: Address) -> None:
        priority, show, caps = _read(presence)
        known = self._domain.targets.get(sender.full)
        news = self._domain.targets.available(sender, priority, show, caps)
        resource = self._domain.targets.get(sender.full)
        if resource is None:
            self._domain.drop(presence, "presence of the target that cannot be used")
        elif known is None:
            self.log.info("{domain}: {jid} is there", domain=self._domain.name, jid=sender.full)
        if resource is not None and news:
            self._ask_features(resource)
        if self._domain.targets.candidates():
            self._came()
        self.publish()

    def _unavailable(self, sender: Address) -> None:
        """A resource went away, or with a bare JID all of them did.

        ejabberd lets the end of an old session overtake the start of the new one that takes its resource, so we probe:
        who is there says so again.
        """
        gone = self._domain.targets.unavailable(sender)
        self._gone(gone)
        subscribed = self._domain.targets.subscriptions[sender.bare] is Subscription.SUBSCRIBED
        if gone and sender.resource is not None and subscribed:
            self._presence("probe", self._domain.name, sender.bare)

    def _gone(self, resources: tuple[str, ...]) -> None:
        for jid in resources:
            self.log.info("{domain}: {jid} is gone", domain=self._domain.name, jid=jid)
        self._lost(resources)
        self.publish()

    def _subscribed(self, target: str) -> None:
        if self._domain.targets.subscriptions[target] is not Subscription.SUBSCRIBED:
            self._domain.targets.subscribed(target)
            self.log.info("{domain}: {target} lets us see its presence", domain=self._domain.name, target=target)
            self._presence("probe", self._domain.name, target)

    def _unsubscribed(self, target: str) -> None:
        if self._domain.targets.subscriptions[target] is Subscription.ASKING:
            self.log.warn(
                "{domain}: {target} has not accepted our subscription yet", domain=self._domain.name, target=target
            )
            return
        self.log.error(
            "{domain}: {target} has withdrawn our subscription; its resources get no requests until it accepts again",
            domain=self._domain.name,
            target=target,
        )
        self._gone(self._domain.targets.unsubscribed(target))

    def _failed(self, presence: Stanza, target: str) -> None:
        conditions = [child.name for error in presence.elements(presence.uri, "error") for child in error.elements()]
        self.log.error(
            "{domain}: the presence of {target} cannot be had: {conditions}",
            domain=self._domain.name,
            target=target,
            conditions=", ".join(conditions),
        )
        self._ask_again[target] = self._domain.clock() + ASK_AGAIN
        self._gone(self._domain.targets.failed(target))

    # The domain's own presence

    def publish(self) -> None:
        """Tell subscribers if the domain as a whole has changed between available, dnd and away."""
        show = self._domain.targets.show()
        if show == self._published:
            return
        self._published = show
        for subscriber, told in list(self._subscribers.items()):
            if told != show:
                self._subscribers.tell(subscriber, show)
                self._presence(_kind_of(show), self._domain.name, subscriber)

    def _admit_subscriber(self, bare: str) -> None:
        if bare not in self._subscribers and len(self._subscribers) >= MAX_SUBSCRIBERS:
            self._subscribers.make_way(bare)  # who is forgotten learns our presence with its next probe
            self._domain.full("subscribers")
        show = self._domain.targets.show()
        self._subscribers.tell(bare, show)
        self._presence(_kind_of(show), self._domain.name, bare)

    def _presence(self, kind: str, sender: str, to: str) -> None:
        """Send a presence; `kind` is a type, "" or "dnd"."""
        type_ = b" type='%b'" % kind.encode() if kind not in ("", "dnd") else b""
        show = b"<show>dnd</show>" if kind == "dnd" else b""
        self._domain.send(b"<presence from='%b' to='%b'%b>%b</presence>" % (escape(sender), escape(to), type_, show))

    # Users

    def _of_user(self, presence: Stanza, sender: Address, kind: str) -> None:
        domain = self._domain
        if not domain.access.permits(sender):
            domain.drop(presence, "presence from a JID that is not allowed")
            if kind == "subscribe":
                self._presence("unsubscribed", domain.name, sender.bare)
        elif not domain.rate.admits(sender.bare):
            domain.drop(presence, "not admitted")
        elif kind in _SUBSCRIPTION or kind == "probe":
            self._user_subscribes(sender, kind)
        else:
            self._directed(presence, sender, kind)

    def _user_subscribes(self, sender: Address, kind: str) -> None:
        domain = self._domain
        if kind in ("unsubscribe", "unsubscribed"):
            self._subscribers.remove(sender.bare)
        if domain.settings.subscriptions == "target":
            self._presence(kind, domain.translator.contact_of(sender.bare), self._deciding_target())
        elif kind in ("subscribe", "probe"):
            if kind == "subscribe":
                self._presence("subscribed", domain.name, sender.bare)
            self._admit_subscriber(sender.bare)
        elif kind == "unsubscribe":
            self._presence("unsubscribed", domain.name, sender.bare)

    def _deciding_target(self) -> str:
        """Of several targets the first whose presence we may see decides about users."""
        states = self._domain.targets.subscriptions
        willing = (target for target, state in states.items() if state is Subscription.SUBSCRIBED)
        return next(willing, next(iter(states)))

    def _directed(self, presence: Stanza, sender: Address, kind: str) -> None:
        domain = self._domain
        if kind == "error":
            self._subscribers.remove(sender.bare)
        resource = domain.new_partner(sender) if kind == "" else domain.partner(sender)
        if resource is None:
            domain.drop(presence, "presence for nobody")
            return
        addressed = {"from": domain.translator.address_of(sender.full), "to": resource}
        domain.send(rewrite(presence.self_contained(), addressed))

    def _target_to_user(self, presence: Stanza, sender: Address, recipient: Address, kind: str) -> None:
        domain = self._domain
        destination = domain.destination(presence, recipient)
        if destination is None:
            return
        if kind in _SUBSCRIPTION or kind == "probe":
            self._presence(kind, domain.name, destination.bare)
            if kind == "subscribed":
                self._admit_subscriber(destination.bare)
            elif kind == "unsubscribed":
                self._subscribers.remove(destination.bare)
        elif recipient.local is not None:  # a broadcast to contacts: one resource's, where users see one domain
            if kind == "" and destination.bare not in self._subscribers:
                self._admit_subscriber(destination.bare)
        else:
            if kind != "error":
                domain.sessions.bind(destination.bare, CONVERSATION, sender.full)
            domain.send(rewrite(presence.self_contained(), {"from": domain.name, "to": destination.full}))


def _kind_of(show: str | None) -> str:
    return "unavailable" if show is None else show


def _read(presence: Stanza) -> tuple[int, str, str]:
    """Return priority, show and the version of the capabilities (XEP-0115)."""
    priority, show, caps = 0, "", ""
    for child in presence.element.elements():
        if child.name == "priority" and child.uri == presence.uri:
            priority = _priority(str(child))
        elif child.name == "show" and child.uri == presence.uri:
            show = str(child).strip()
        elif (child.uri, child.name) == (NS_CAPS, "c"):
            caps = f"{child.getAttribute('node')}#{child.getAttribute('ver')}"
    return priority, show, caps


def _priority(text: str) -> int:
    """Return a priority between -128 and 127 (RFC 6121 §4.7.2.3); what is none counts as the default."""
    try:
        return max(-128, min(127, int(text)))
    except ValueError:
        return 0
