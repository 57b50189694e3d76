"""A state machine for client_proxy's domain: anybody says anything, in any order, and it stays in order itself.

What it checks: nothing raises; every IQ get and set is answered once, by the address that was asked, and nothing else
is; what leaves is well-formed, from the domain, to whom it was meant; a payload is seen by nobody else; the steps of an
exchange stay with one resource; tables keep to their bounds. There is no safety net here.
"""

from __future__ import annotations

import re
from collections import Counter
from random import Random
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from minimixproxy.clientproxy import presences
from minimixproxy.clientproxy.requests import Origin
from minimixproxy.jids import Address, InvalidJID, parse_jid
from minimixproxy.stanza import Stanza, escape, parse_element
from tests.absurd import ODD_TEXT, Absurd
from tests.clientproxy.scene import ALICE, BOB, COMPONENT, DOMAIN, TARGET, Scene, stanza

OTHER = "helper@example.net"  # a second target
RESOURCES = (f"{TARGET}/one", f"{TARGET}/two", f"{TARGET}/three", f"{OTHER}/one", TARGET)
LONG = f"{'l' * 900}@example.org/{'m' * 900}"  # does not fit into a resource: written as LONG
ODD = "carol@example.org/phone\U0001f389"  # unassigned in Unicode 3.2: neither does this
USERS = (ALICE, "alice@example.org/tablet", BOB, "LONG", ODD, "example.net", "dave@example.org")
ABSURD = (DOMAIN, DOMAIN, f"{DOMAIN}/{ALICE}", f"\\40x@{DOMAIN}", *RESOURCES[:3], *USERS[:3], "example.org")
#: Whom a user seems to write to: never looked at, and never whom it reaches.
BEHIND = (
    DOMAIN,
    DOMAIN,
    f"{DOMAIN}/{BOB}",
    f"bob\\40example.net@{DOMAIN}",
    f"{DOMAIN}/@token",
    f"Node@{DOMAIN.upper()}/x",
)
#: Addresses of users that stand for nobody.
NOBODY = (
    f"{DOMAIN}/{DOMAIN}",
    f"{DOMAIN}/{TARGET}",
    f"\\40@{DOMAIN}",
    *(f"{DOMAIN}/{text}" for text in ODD_TEXT if len(text) < 100),
)
MARK = "<x xmlns='urn:mark' n='{}'/>"
_MARK = re.compile(rb"<x xmlns='urn:mark' n='(\d+)'/>")
IDS = ("1", "2", "1", "", "x" * 40)
SIDS = ("s1",)
#: What an IQ may hold: {} is where the mark stands.
ASKED = (
    "<query xmlns='jabber:iq:private'>{}</query>",
    "<query xmlns='http://jabber.org/protocol/disco#items'>{}</query>",
    "<command xmlns='http://jabber.org/protocol/commands' node='n'>{}</command>",
)
ANSWERS_HERE = (
    "<ping xmlns='urn:xmpp:ping'>{}</ping>",
    "<query xmlns='http://jabber.org/protocol/disco#info'>{}</query>",
    "<query xmlns='jabber:iq:version'>{}</query>",
    "",
    "<a xmlns='a'/>{}",
)
STEP = "<{} xmlns='http://jabber.org/protocol/ibb' sid='{}'>{}</{}>"
REPLIES = (
    "{}",
    "",
    f"<query xmlns='http://jabber.org/protocol/disco#items'><item jid='{TARGET}/one'/><item jid='@'/>{{}}</query>",
    "<command xmlns='http://jabber.org/protocol/commands' sessionid='c' status='executing'>{}</command>",
    "<command xmlns='http://jabber.org/protocol/commands' sessionid='c' status='completed'>{}</command>",
    "<query xmlns='http://jabber.org/protocol/disco#info'><identity category='a'/><feature var='jabber:iq:private'/>"
    "<feature/><identity/>{}</query>",
    "<error type='wait'><recipient-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>",
)
PRESENCES = (
    *("", "", "", "", "unavailable", "unavailable", "subscribe", "subscribed"),
    *("unsubscribe", "unsubscribed", "probe", "error", "odd"),
)
CONTENTS = ("", "<show>dnd</show>", "<priority>-1</priority>", "<show> </show><show/><priority>9e9</priority>")
CAPS = "<c xmlns='http://jabber.org/protocol/caps' ver='{}'/>"
LIMITS: dict[str, Any] = {"max_open": 6, "max_open_per_asker": 4, "max_resources": 3, "max_tokens": 1}
TIMEOUT, PATIENCE = 10, 3
MAX_SUBSCRIBERS = 4
LONG_ENOUGH = 4 * TIMEOUT
MOST_OWN = LIMITS["max_resources"] * (1 + TIMEOUT // PATIENCE + 1)  # of our own requests: features, pings

INDEX = st.integers(0, 1000)
COUNT = st.sampled_from((1, 1, 2, 6))
users, resources = st.sampled_from(USERS), st.sampled_from(RESOURCES)
Key = tuple[str, str | None, str]  # who asked, the id, whom


class DomainMachine(RuleBasedStateMachine):
    """Rules are what others say; the checks are made of everything that leaves."""

    def __init__(self) -> None:
        super().__init__()
        self.unanswered: Counter[Key] = Counter()
        self.states: dict[str, str] = {}  # of our subscription to a target
        self.there: set[str] = set()
        self.meant: dict[int, frozenset[str]] = {}  # by mark: who may see it; empty: any resource of a target
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

    @initialize(
        subscriptions=st.sampled_from(("accept", "target")),
        policy=st.sampled_from(("random", "round-robin", "least-outstanding", "sender")),
        rate=st.sampled_from((0.0, 0.0, 0.5)),
        deny=st.sampled_from(((), (), ("example.net",))),
        sessions=st.sampled_from((1000, 1000, 2)),
        online=st.sampled_from((3, 3, 2, 1, 0)),
    )
    def begin(
        self, subscriptions: str, policy: str, rate: float, deny: tuple[str, ...], sessions: int, online: int
    ) -> None:
        self.sessions = sessions
        self.scene = Scene(
            connected=False,
            target=[TARGET, OTHER],
            subscriptions=subscriptions,
            policy=policy,
            rate=rate,
            burst=3,
            deny=list(deny),
            max_sessions=sessions,
            timeout=TIMEOUT,
            session_timeout=86400,
            ping_after=PATIENCE,
            **LIMITS,
        )
        self.scene.strict = False
        self.connect()
        for resource in RESOURCES[:online]:
            self.say("presence", resource, DOMAIN)

    def teardown(self) -> None:
        """Everybody who asked has been answered after a while."""
        presences.MAX_SUBSCRIBERS = self.restore
        if not self.at_rest:  # something has failed already
            return
        if self.lost:
            self.connect()
        self.advance(LONG_ENOUGH)
        waiting = +self.unanswered
        assert not waiting, f"nobody answers {waiting}"
        left = [request for request in self.scene.core.requests.all() if request.origin is not Origin.OURSELVES]
        assert not left, left

    # What others say

    @precondition(lambda self: not self.lost)
    @rule(
        user=users,
        to=st.sampled_from(BEHIND),
        kind=st.sampled_from(("get", "set")),
        id=st.sampled_from(IDS),
        payload=st.sampled_from(ASKED),
        count=COUNT,
    )
    def user_asks(self, user: str, to: str, kind: str, id: str, payload: str, count: int) -> None:
        for _number in range(count):
            mark = self.mark(frozenset(), user)
            self.say("iq", user, to, kind, payload.format(mark), id)

    @precondition(lambda self: not self.lost)
    @rule(
        user=st.sampled_from(USERS[:1] * 3 + USERS[:2]),
        kind=st.sampled_from(("iq", "iq", "message")),
        count=st.sampled_from((1, 3)),
        step=st.sampled_from(("open", "data", "close")),
        sid=st.sampled_from(SIDS),
    )
    def user_goes_on(self, user: str, kind: str, count: int, step: str, sid: str) -> None:
        for _number in range(count):
            mark = self.mark(frozenset(), user, sid)
            self.say(kind, user, DOMAIN, "set" if kind == "iq" else "", STEP.format(step, sid, mark, step), "s")

    @precondition(lambda self: not self.lost)
    @rule(
        peer=st.sampled_from((*USERS, *RESOURCES)),
        kind=st.sampled_from(("get", "set", "odd", "")),
        payload=st.sampled_from(ANSWERS_HERE),
        id=st.sampled_from(IDS),
    )
    def somebody_asks_the_domain(self, peer: str, kind: str, payload: str, id: str) -> None:
        self.say("iq", peer, DOMAIN, kind, payload.format(self.mark(frozenset(), peer)), id)

    @precondition(lambda self: not self.lost)
    @rule(
        resource=resources,
        user=users,
        contact=st.booleans(),
        kind=st.sampled_from(("get", "set")),
        sid=st.sampled_from(("", *SIDS)),
        id=st.sampled_from(IDS),
    )
    def target_asks(self, resource: str, user: str, contact: bool, kind: str, sid: str, id: str) -> None:
        mark = self.mark(frozenset({user}))
        payload = STEP.format("data", sid, mark, "data") if sid else ASKED[0].format(mark)
        if sid:
            self.holders[_jid(user).full, sid] = resource
        self.say("iq", resource, self.address(user, contact), kind, payload, id)

    @precondition(lambda self: not self.lost)
    @rule(
        name=st.sampled_from(("iq", "message", "presence")),
        resource=resources,
        to=st.sampled_from(NOBODY),
        kind=st.sampled_from(("get", "set", "error", "", "chat", "subscribe", "subscribed", "unavailable")),
    )
    def target_writes_to_nobody(self, name: str, resource: str, to: str, kind: str) -> None:
        meant = _parsed(to.partition("/")[2])
        mark = MARK.format(self.mark_number(frozenset({meant.full if meant is not None else "nobody"})))
        self.say(name, resource, to, kind, mark)

    @precondition(lambda self: not self.lost)
    @rule(
        peer=st.sampled_from((*USERS, *RESOURCES)),
        user=users,
        contact=st.booleans(),
        kind=st.sampled_from(("", "chat", "error", "headline", "groupchat", "odd")),
    )
    def somebody_writes(self, peer: str, user: str, contact: bool, kind: str) -> None:
        from_target = _jid(peer).bare in (TARGET, OTHER)
        mark = self.mark(frozenset({user} if from_target else ()), "" if from_target else peer)
        to = self.address(user, contact) if from_target else DOMAIN
        self.say("message", peer, to, kind, f"<body>b</body>{mark}")

    @precondition(lambda self: not self.lost)
    @rule(
        resource=resources, kind=st.sampled_from(PRESENCES), content=st.sampled_from(CONTENTS), caps=st.integers(0, 3)
    )
    def target_shows_itself(self, resource: str, kind: str, content: str, caps: int) -> None:
        self.say("presence", resource, DOMAIN, kind, content + (CAPS.format(caps) if caps else ""))

    @precondition(lambda self: not self.lost)
    @rule(resource=st.sampled_from(RESOURCES[:2]))
    def target_changes_all_the_time(self, resource: str) -> None:
        for number in range(MOST_OWN):
            self.say("presence", resource, DOMAIN, "", CAPS.format(f"c{number}"))

    @precondition(lambda self: not self.lost)
    @rule(account=st.sampled_from((TARGET, OTHER)), kind=st.sampled_from(("subscribed", "unsubscribed", "error")))
    def target_decides(self, account: str, kind: str) -> None:
        self.say("presence", account, DOMAIN, kind)

    @precondition(lambda self: not self.lost)
    @rule(
        peer=st.sampled_from((*USERS, *RESOURCES)), user=users, contact=st.booleans(), kind=st.sampled_from(PRESENCES)
    )
    def presence_to_users(self, peer: str, user: str, contact: bool, kind: str) -> None:
        from_target = _jid(peer).bare in (TARGET, OTHER)
        mark = self.mark(frozenset({user} if from_target else ()), "" if from_target else peer)
        self.say("presence", peer, self.address(user, contact) if from_target else DOMAIN, kind, mark)

    @precondition(lambda self: not self.lost and self.asked)
    @rule(
        which=INDEX,
        kind=st.sampled_from(("result", "result", "error")),
        content=st.sampled_from(REPLIES),
        times=st.sampled_from((1, 1, 2)),
    )
    def reply(self, which: int, kind: str, content: str, times: int) -> None:
        """The one that was asked answers, once or twice."""
        request = self.asked.pop(which % len(self.asked))
        found = _MARK.search(request.raw)
        asker = self.askers.get(int(found.group(1)), ("", ""))[0] if found else ""
        receivers = frozenset({asker or "nobody"})
        if found and not asker:  # the target has asked this user
            receivers = frozenset(RESOURCES)
        for _number in range(times):
            mark = MARK.format(self.mark_number(receivers))
            self.say("iq", request["to"], request["from"], kind, content.format(mark), request["id"])

    @precondition(lambda self: not self.lost and self.asked)
    @rule(
        which=INDEX,
        kind=st.sampled_from(("result", "error")),
        content=st.sampled_from(REPLIES),
        peer=st.sampled_from((*RESOURCES, ALICE, BOB, DOMAIN, "example.org")),
        id=st.sampled_from((None, None, "", "1", "x")),
    )
    def another_replies(self, which: int, kind: str, content: str, peer: str, id: str | None) -> None:
        """Under the id of an open request, or another."""
        request = self.asked[which % len(self.asked)]
        if peer != request["to"]:
            mark = MARK.format(self.mark_number(frozenset({"nobody"})))
            self.say("iq", peer, request["from"], kind, content.format(mark), request["id"] if id is None else id)

    @precondition(lambda self: not self.lost)
    @rule(seed=st.integers(0, 2**32))
    def something_absurd(self, seed: int) -> None:
        ids = tuple(request["id"] for request in self.asked[-4:])
        self.hear(Absurd(Random(seed), ABSURD).stanza(ids))

    # The course of things

    @rule(seconds=st.sampled_from((1, 1, 2, 5, 15, 70)))
    def advance(self, seconds: int) -> None:
        self.came = None
        if self.lost:
            self.scene.clock.advance(seconds)
        else:
            self.scene.pass_time(seconds)
        self.look()

    @precondition(lambda self: not self.lost)
    @rule()
    def lose(self) -> None:
        self.lost = True

    @precondition(lambda self: self.lost)
    @rule()
    def connect(self) -> None:
        self.lost = False
        self.came = None
        self.there.clear()
        self.states = {TARGET: "asking", OTHER: "asking"}
        self.scene.proxy.connected()
        self.look()

    # Means

    def mark_number(self, receivers: frozenset[str]) -> int:
        self.marks += 1
        self.meant[self.marks] = receivers
        return self.marks

    def mark(self, receivers: frozenset[str], user: str = "", exchange: str = "") -> str:
        """Return a mark for `receivers`; none named: for any resource of a target, as what this user says is."""
        number = self.mark_number(receivers)
        if user:
            self.askers[number] = _jid(user).full, exchange
        return MARK.format(number)

    def address(self, user: str, contact: bool) -> str:
        """Return the address by which a target writes to a user."""
        address, translator = _jid(user), self.scene.core.translator
        if not contact:
            return str(translator.address_of(address.full))
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
        sender, recipient = _parsed(arrived.get("from")), _parsed(arrived.get("to"))
        if sender is not None and recipient is not None and recipient.domain == DOMAIN:
            if arrived.name == "iq" and arrived.get("type") not in ("result", "error"):
                self.unanswered[sender.full, arrived.get("id") or None, arrived["to"]] += 1
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

    @property
    def excused(self) -> set[Key]:
        return self.__dict__.setdefault("_excused", set())  # type: ignore[no-any-return]

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
            elif sent.get("type") == "error" and not _MARK.search(sent.raw):
                self.look_at_bounce(sent, to)
        for key in self.excused:
            self.unanswered.pop(key, None)
        self.at_rest = True

    def look_at_marks(self, sent: Stanza, to: Address) -> None:
        for found in _MARK.findall(sent.raw):
            number = int(found)
            receivers = {_jid(one).full for one in self.meant[number]}
            if receivers:
                assert to.full in receivers or (sent.name == "presence" and to.bare in receivers), (sent.raw, receivers)
            else:
                assert to.bare in (TARGET, OTHER), sent.raw
                asker, exchange = self.askers[number]
                assert sent["from"] == self.scene.core.translator.address_of(asker), sent.raw
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
            assert _parsed(came.get("from")) != to, (came.raw, sent.raw)
            return
        assert _parsed(came.get("from")) == to and came.get("to") == sent["from"], (came.raw, sent.raw)
        self.bounced += 1
        assert self.bounced == 1, sent.raw

    @invariant()
    def within_bounds(self) -> None:
        if not hasattr(self, "scene"):
            return
        core = self.scene.core
        requests = core.requests.all()
        own = [request for request in requests if request.origin is Origin.OURSELVES]
        assert len(requests) - len(own) <= LIMITS["max_open"], requests
        assert len(own) <= MOST_OWN, own
        per_asker = Counter(request.owner for request in requests if request.origin is Origin.USER)
        assert all(count <= LIMITS["max_open_per_asker"] for count in per_asker.values()), per_asker
        assert core.requests._kept == sum(len(request.raw) for request in requests)
        assert len(core.targets.resources()) <= LIMITS["max_resources"]
        assert len(core.sessions) <= self.sessions
        assert len(core.translator) <= LIMITS["max_tokens"]
        assert len(self.scene.proxy.presences._subscribers) <= MAX_SUBSCRIBERS
        assert len(core.dropped) < 50, core.dropped


def _jid(name: str) -> Address:
    return parse_jid(LONG if name == "LONG" else name)


def _parsed(text: str | None) -> Address | None:
    try:
        return parse_jid(text or "")
    except InvalidJID:
        return None
