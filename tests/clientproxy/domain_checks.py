"""What must hold for all that leaves a domain, whatever was said to it: see `domain_machine`."""

from __future__ import annotations

from collections import Counter

from hypothesis.stateful import RuleBasedStateMachine, invariant

from minimixproxy.clientproxy import presences
from minimixproxy.clientproxy.requests import Origin
from minimixproxy.jids import Address, parse_jid
from minimixproxy.wire.stanza import Stanza, escape, parse_element
from tests.clientproxy.domain_words import (
    LIMITS,
    LONG,
    MARK,
    MARKED,
    MAX_SUBSCRIBERS,
    MOST_OWN,
    OTHER,
    address_of,
    parsed,
)
from tests.clientproxy.scene import COMPONENT, DOMAIN, TARGET, Scene, stanza

Key = tuple[str, str | None, str]  # who asked, the id, whom


class DomainChecks(RuleBasedStateMachine):
    """Delivers stanzas to a domain, keeps account of who said what, and looks at everything that leaves."""

    scene: Scene
    sessions: int

    def __init__(self) -> None:
        super().__init__()
        self.unanswered: Counter[Key] = Counter()
        self.states: dict[str, str] = {}  # of our subscription to a target
        self.there: set[str] = set()
        self.meant: dict[int, frozenset[str]] = {}  # by mark: who may see it; empty: any resource of a target
        self.excused: set[Key] = set()  # who has gone meanwhile, and needs no answer
        self.askers: dict[int, tuple[str, str]] = {}  # by mark: the user who asks, and the exchange
        self.holders: dict[tuple[str, str], str] = {}
        self.asked: list[Stanza] = []  # requests that left and may be answered
        self.came: Stanza | None = None  # what is being handled
        self.bounced = 0
        self.lost = False
        self.at_rest = False
        self.marks = 0
        self.restore = presences.MAX_SUBSCRIBERS
        presences.MAX_SUBSCRIBERS = MAX_SUBSCRIBERS

    # Means

    def mark_number(self, receivers: frozenset[str]) -> int:
        self.marks += 1
        self.meant[self.marks] = receivers
        return self.marks

    def mark(self, receivers: frozenset[str], user: str = "", exchange: str = "") -> str:
        """Return a mark for `receivers`; none named: for any resource of a target, as what this user says is."""
        number = self.mark_number(receivers)
        if user:
            self.askers[number] = address_of(user).full, exchange
        return MARK.format(number)

    def address(self, user: str, contact: bool) -> str:
        """Return the address by which a target writes to a user."""
        address, translator = address_of(user), self.scene.domain.translator
        if not contact:
            return translator.address_of(address.full)
        return translator.contact_of(address.bare) + (f"/{address.resource}" if address.resource else "")

    def say(self, name: str, sender: str, to: str, kind: str = "", content: str = "", id: str = "i") -> None:
        found = {"from": LONG if sender == "LONG" else sender, "to": to, "type": kind, "id": id}
        attributes = "".join(f" {key}='{escape(value).decode()}'" for key, value in found.items() if value)
        self.hear(f"<{name}{attributes}>{content}</{name}>")

    def hear(self, xml: str) -> None:
        """The server delivers a stanza."""
        arrived = self.came = stanza(xml)
        if not arrived.readable:
            return
        self.bounced = 0
        sender, recipient = parsed(arrived.get("from")), parsed(arrived.get("to"))
        if sender is not None and recipient is not None and recipient.domain == DOMAIN:
            if arrived.name == "iq" and arrived.get("type") not in ("result", "error"):
                self.unanswered[sender.full, arrived.get("id"), arrived["to"]] += 1
            if arrived.name == "presence" and recipient.full == DOMAIN and sender.bare in self.states:
                self.shown(sender, arrived.get("type") or "")
        self.at_rest = False
        self.scene.deliver(arrived)
        self.look()

    def shown(self, sender: Address, kind: str) -> None:
        """A target's presence came."""
        state = self.states[sender.bare]
        ended = (kind == "unsubscribed" and state != "asking") or kind == "error"
        if kind in ("subscribed", "error") or ended:
            self.states[sender.bare] = kind
        if kind == "" and state != "unsubscribed" and sender.resource is not None:
            self.there.add(sender.full)
        elif kind == "unavailable" and sender.resource is not None:
            self.gone({sender.full})
        elif ended or kind == "unavailable":
            self.gone({jid for jid in self.there if jid.startswith(f"{sender.bare}/")})

    def gone(self, jids: set[str]) -> None:
        """Resources go: nobody owes them answers, and what they held is over."""
        self.there -= jids
        for key in [key for key in self.unanswered if key[0] in jids]:
            self.excused.add(key)

    # What leaves

    def look(self) -> None:
        """Check all that has left since the last time."""
        self.at_rest = False
        for sent in self.scene.sent():
            sender, to = parse_jid(sent["from"]), parse_jid(sent["to"])
            assert sender.domain == DOMAIN, sent.raw
            parse_element(sent.raw, {"": COMPONENT})
            self.look_at_marks(sent, to)
            if sent.name == "iq" and sent["type"] in ("result", "error"):
                self.look_at_answer(sent, to)
            elif sent.name == "iq":
                self.look_at_request(sent, to)
            elif sent.get("type") == "error" and not MARKED.search(sent.raw):
                self.look_at_bounce(sent, to)
        for key in self.excused:
            self.unanswered.pop(key, None)
        self.at_rest = True

    def look_at_marks(self, sent: Stanza, to: Address) -> None:
        for found in MARKED.findall(sent.raw):
            number = int(found)
            receivers = {address_of(one).full for one in self.meant[number]}
            if receivers:
                assert to.full in receivers or (sent.name == "presence" and to.bare in receivers), (sent.raw, receivers)
            else:
                assert to.bare in (TARGET, OTHER), sent.raw
                asker, exchange = self.askers[number]
                assert sent["from"] == self.scene.domain.translator.address_of(asker), sent.raw
                self.look_at_exchange(asker, exchange, to.full, begins=sent.name == "iq")

    def look_at_exchange(self, asker: str, exchange: str, resource: str, *, begins: bool) -> None:
        """The steps of an exchange go to whom the first went to, or to nobody any more."""
        if not exchange or self.sessions < 1000:  # it may have been forgotten
            return
        if begins:
            self.holders.setdefault((asker, exchange), resource)
        holder = self.holders.get((asker, exchange), resource)
        assert holder == resource, f"{exchange} of {asker} was with {holder} and goes to {resource}"

    def look_at_answer(self, sent: Stanza, to: Address) -> None:
        key = to.full, sent.get("id"), sent["from"]
        if key in self.excused:
            return
        assert self.unanswered[key] > 0, f"nobody asked for {sent.raw!r}"
        self.unanswered[key] -= 1

    def look_at_request(self, sent: Stanza, to: Address) -> None:
        self.asked = [*self.asked[-10:], sent]
        if to.bare in self.states:
            assert to.full in self.there, f"{to.full} is not there: {sent.raw!r}"
        else:
            assert sent["from"] == DOMAIN, sent.raw

    def look_at_bounce(self, sent: Stanza, to: Address) -> None:
        """An error of our own making answers what just came, which was none, and once; that of another passes."""
        came = self.came
        assert came is not None and came.name == sent.name, sent.raw
        if came.get("type") == "error":
            assert parsed(came.get("from")) != to, (came.raw, sent.raw)
            return
        assert parsed(came.get("from")) == to and came.get("to") == sent["from"], (came.raw, sent.raw)
        self.bounced += 1
        assert self.bounced == 1, sent.raw

    @invariant()
    def within_bounds(self) -> None:
        if not hasattr(self, "scene"):
            return
        domain = self.scene.domain
        requests = domain.requests.all()
        own = [request for request in requests if request.origin is Origin.OURSELVES]
        assert len(requests) - len(own) <= LIMITS["max_open"], requests
        assert len(own) <= MOST_OWN, own
        per_asker = Counter(request.owner for request in requests if request.origin is Origin.USER)
        assert all(count <= LIMITS["max_open_per_asker"] for count in per_asker.values()), per_asker
        assert domain.requests._kept == sum(len(request.raw) for request in requests)
        assert len(domain.targets.resources()) <= LIMITS["max_resources"]
        assert len(domain.sessions) <= self.sessions
        assert len(domain.translator) <= LIMITS["max_tokens"]
        assert len(self.scene.proxy.presences._subscribers) <= MAX_SUBSCRIBERS
        assert len(domain.dropped) < 50, domain.dropped
