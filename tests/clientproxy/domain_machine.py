"""A state machine for client_proxy's domain: anybody says anything, in any order, and it stays in order itself.

What it checks: nothing raises; every IQ get and set is answered once, by the address that was asked, and nothing else
is; what leaves is well-formed, from the domain, to whom it was meant; a payload is seen by nobody else; the steps of an
exchange stay with one resource; tables keep to their bounds. There is no safety net here.
"""

from __future__ import annotations

from random import Random

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from minimixproxy.clientproxy import presences
from minimixproxy.clientproxy.requests import Origin
from tests.absurd import Absurd
from tests.clientproxy.domain_checks import DomainChecks
from tests.clientproxy.domain_words import (
    ABSURD,
    ANSWERS_HERE,
    ASKED,
    BEHIND,
    CAPS,
    CONTENTS,
    IDS,
    LIMITS,
    LONG_ENOUGH,
    MARK,
    MARKED,
    MOST_OWN,
    NOBODY,
    OTHER,
    PATIENCE,
    PRESENCES,
    REPLIES,
    RESOURCES,
    SIDS,
    STEP,
    TIMEOUT,
    USERS,
    address_of,
    parsed,
)
from tests.clientproxy.scene import ALICE, BOB, DOMAIN, TARGET, Scene

INDEX = st.integers(0, 1000)
COUNT = st.sampled_from((1, 1, 2, 6))
users, resources = st.sampled_from(USERS), st.sampled_from(RESOURCES)


class DomainMachine(DomainChecks):
    """Rules are what others say; the checks are made of everything that leaves."""

    @initialize(
        subscriptions=st.sampled_from(("accept", "target")),
        policy=st.sampled_from(("random", "round-robin", "least-outstanding", "sender", "failover")),
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
        left = [request for request in self.scene.domain.requests.all() if request.origin is not Origin.OURSELVES]
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
        if sid and id:  # an IQ without one goes nowhere
            self.holders[address_of(user).full, sid] = resource
        self.say("iq", resource, self.address(user, contact), kind, payload, id)

    @precondition(lambda self: not self.lost)
    @rule(
        name=st.sampled_from(("iq", "message", "presence")),
        resource=resources,
        to=st.sampled_from(NOBODY),
        kind=st.sampled_from(("get", "set", "error", "", "chat", "subscribe", "subscribed", "unavailable")),
    )
    def target_writes_to_nobody(self, name: str, resource: str, to: str, kind: str) -> None:
        meant = parsed(to.partition("/")[2])
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
        from_target = address_of(peer).bare in (TARGET, OTHER)
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
        from_target = address_of(peer).bare in (TARGET, OTHER)
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
        found = MARKED.search(request.raw)
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
