"""IQ proxying: requests of users to the target and of the target to users, each with its one answer. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from minimixproxy.clientproxy import own_answers
from minimixproxy.clientproxy.domain import ProxiedDomain
from minimixproxy.clientproxy.exchanges import begins_or_ends, exchange_of
from minimixproxy.clientproxy.failures import iq_error, is_bounced
from minimixproxy.clientproxy.requests import Origin, Request, TooMany
from minimixproxy.clientproxy.targets import Resource
from minimixproxy.counting.tally import Tally
from minimixproxy.jids import Address, InvalidJID, parse_jid
from minimixproxy.logs.logger import Logger
from minimixproxy.namespaces import NS_COMMANDS, NS_DISCO_INFO, NS_DISCO_ITEMS
from minimixproxy.wire.stanza import Stanza, readdressed, serialize

REQUESTS = Tally(
    "client_proxy_requests",
    "Requests through client_proxy, of users and targets, by what became of them: refused when too many were open.",
    result=("answered", "failed", "timeout", "refused"),
)
LONGEST_ID = 1023  # characters; ids, and names of namespaces, are kept while a request is open
LONGEST_NAMESPACE = 256
_READ_IN_ANSWERS = frozenset({(NS_COMMANDS, "command"), (NS_DISCO_ITEMS, "query")})


class IQProxying:
    """Takes every IQ that the component stream delivers."""

    log = Logger()

    def __init__(self, domain: ProxiedDomain) -> None:
        self._domain = domain

    def receive(self, iq: Stanza) -> None:
        """Take one IQ in."""
        sender = self._domain.sender(iq)
        if sender is None:
            return
        attributes = iq.attributes
        kind = attributes.get("type")
        if kind == "result" or kind == "error":
            self._replied(iq, sender)
        elif (recipient := self._domain.recipient(iq)) is None:
            return
        elif (
            kind not in ("get", "set") or not 0 < len(attributes.get("id") or "") <= LONGEST_ID or len(iq.payloads) != 1
        ):
            self._domain.bounce(iq, "modify", "bad-request")
        elif sender.bare in self._domain.targets.subscriptions:
            self._target_asks(iq, sender, recipient)
        elif self._domain.admit(iq, sender):
            self._user_asks(iq, sender, recipient)

    # Requests

    def _user_asks(self, iq: Stanza, sender: Address, recipient: Address) -> None:
        if self._answered_here(iq, recipient):
            return
        domain, asker, attributes = self._domain, sender.full, iq.attributes
        exchange, namespace = exchange_of(iq), iq.payloads[0][0]
        if len(namespace) > LONGEST_NAMESPACE:  # no resource says that it knows it
            namespace = ""
        resource = self._resource_for(iq, sender, exchange, namespace)
        if resource is None:
            return
        if exchange and resource:
            domain.sessions.bind(asker, exchange, resource)
        raw, kind = iq.self_contained(), attributes["type"]
        request = Request(
            asker=asker,
            owner=sender.bare,
            id=attributes["id"],
            answer_from=attributes["to"],
            peer=resource,
            origin=Origin.USER,
            kind=kind,
            raw=raw if kind == "get" or not resource else b"",
            exchange=exchange,
            namespace=namespace,
        )
        self._open(iq, raw, request, domain.translator.address_of(asker))

    def _resource_for(self, iq: Stanza, sender: Address, exchange: str, namespace: str) -> str | None:
        """Return who is to answer, "" if that is not known yet; None, and the request is answered with an error."""
        domain = self._domain
        known, resource = domain.sessions.holder(sender.full, exchange) if exchange else (False, None)
        if known and domain.targets.get(resource) is None:
            domain.bounce(iq, "wait", "recipient-unavailable", "whoever took part in this is gone")
            return None
        resource = resource or domain.choose(sender, namespace)
        if resource is None and domain.settled:
            domain.bounce(iq, "cancel", "service-unavailable")
            return None
        return resource or ""

    def _target_asks(self, iq: Stanza, sender: Address, recipient: Address) -> None:
        if self._answered_here(iq, recipient):
            return
        domain = self._domain
        if recipient.full == domain.name:
            domain.bounce(iq, "modify", "bad-request", "the target cannot ask itself")
            return
        destination = domain.destination(iq, recipient)
        if destination is None:
            return
        if exchange := exchange_of(iq):
            domain.sessions.bind(destination.full, exchange, sender.full)
        request = Request(
            asker=sender.full,
            owner=sender.bare,
            id=iq["id"],
            answer_from=iq["to"],
            peer=destination.full,
            origin=Origin.TARGET,
            kind=iq["type"],
        )
        self._open(iq, iq.self_contained(), request, domain.name)

    def _answered_here(self, iq: Stanza, recipient: Address) -> bool:
        if recipient.full != self._domain.name:
            return False
        content = self._domain.own_answers.answer(iq)
        if content is None:
            return False
        self._domain.send(own_answers.result(iq, content))
        return True

    def _open(self, iq: Stanza, raw: bytes, request: Request, sent_from: str) -> None:
        """Enter a request into the table and send its bytes, if there is somebody to send it to."""
        try:
            sent_as = self._domain.requests.add(request)
        except TooMany as reason:
            self._domain.bounce(iq, "wait", "resource-constraint", str(reason))
            self._domain.drop(iq, str(reason))
            REQUESTS.count("refused")
            return
        if request.peer:
            self._domain.send(readdressed(raw, sent_from, request.peer, sent_as))

    def ask_features(self, resource: Resource) -> None:
        """Ask a resource for its features, one question at a time: it may say every moment that they changed."""
        if resource.asked is None:
            resource.asked = resource.caps
            self.ask(resource.jid, NS_DISCO_INFO)

    def _has_told_features(self, jid: str) -> None:
        """The question for its features is not open any more: ask again if they have changed meanwhile."""
        resource = self._domain.targets.get(jid)
        if resource is not None:
            asked, resource.asked = resource.asked, None
            if asked != resource.caps:
                self.ask_features(resource)

    def ask(self, resource: str, namespace: str) -> None:
        """Ask a resource for its features, or ping it, in the domain's own name."""
        ourselves = Request("", "", "", "", resource, Origin.OURSELVES, "get", namespace=namespace)
        sent_as = self._domain.requests.add(ourselves)
        build = own_answers.info_request if namespace == NS_DISCO_INFO else own_answers.ping_request
        self._domain.send(build(self._domain.name, resource, sent_as))

    # Replies

    def _replied(self, iq: Stanza, sender: Address) -> None:
        domain = self._domain
        id_ = iq.attributes.get("id") or ""
        request = domain.requests.owed(id_, sender.full)
        if request is None:
            domain.drop(iq, "reply from somebody else" if id_ in domain.requests else "reply to no open request")
            return
        if iq.attributes["type"] == "error" and is_bounced(iq) and self._retry(request):
            return
        domain.requests.close(request)
        if request.origin is Origin.OURSELVES:
            self._learn(iq, request)
        else:
            self._pass_back(iq, request)

    def _pass_back(self, iq: Stanza, request: Request) -> None:
        REQUESTS.count("answered")
        if request.origin is Origin.USER and not _READ_IN_ANSWERS.isdisjoint(iq.payloads):
            self._note_session(iq, request)
            iq = self._translated(iq)
        self._domain.send(readdressed(iq.self_contained(), request.answer_from, request.asker, request.id))

    def _note_session(self, iq: Stanza, request: Request) -> None:
        session, goes_on = begins_or_ends(iq)
        if session and goes_on:
            self._domain.sessions.bind(request.asker, session, request.peer)
        elif session:
            self._domain.sessions.end(request.asker, session)

    def _translated(self, iq: Stanza) -> Stanza:
        if iq["type"] == "error":
            return iq
        element = own_answers.translate_items(iq, self._is_target, self._domain.name)
        if element is None:
            return iq
        raw = serialize(element, iq.uri)
        return Stanza(raw, iq.uri, iq.name, iq.attributes, iq.payloads, {"": iq.uri})

    def _is_target(self, jid: str) -> bool:
        try:
            return parse_jid(jid).bare in self._domain.targets
        except InvalidJID:
            return False

    def _learn(self, iq: Stanza, request: Request) -> None:
        if request.namespace == NS_DISCO_INFO:
            features, identities = own_answers.read_info(iq) if iq["type"] == "result" else ([], ())
            self._domain.targets.learn(request.peer, features, identities)
            self._has_told_features(request.peer)

    # Failures

    def lost(self, resources: Iterable[str]) -> None:
        """These resources went away: retry what may be retried, fail the rest."""
        gone = set(resources)
        for resource in gone:
            self._domain.sessions.resource_gone(resource)
        for resource in gone:
            for request in self._domain.requests.of_peer(resource):
                if not self._retry(request):
                    self._fail(request, "wait", "recipient-unavailable")
        if gone:
            self._forget_askers(gone)

    def _forget_askers(self, gone: set[str]) -> None:
        for request in self._domain.requests.all():
            if request.asker in gone:
                self._domain.requests.close(request)

    def retry_gets(self, resource: str) -> None:
        """A resource has fallen silent: what may be done twice is tried elsewhere, the rest goes on waiting."""
        for request in self._domain.requests.of_peer(resource):
            self._retry(request)

    def _retry(self, request: Request) -> bool:
        """Send a user's get to another resource, once; tell whether that was possible."""
        if request.kind != "get" or request.retried or not request.raw or request.exchange:
            return False
        resource = self._domain.choose(parse_jid(request.asker), request.namespace, without=request.peer)
        if resource is None and self._domain.settled:
            return False
        request.retried = True
        self._hand_over(request, resource or "")
        return True

    def _hand_over(self, request: Request, resource: str) -> None:
        domain = self._domain
        sent_as = domain.requests.reassign(request, resource)
        if resource:
            sent_from = domain.translator.address_of(request.asker)
            domain.send(readdressed(request.raw, sent_from, resource, sent_as))

    def _fail(self, request: Request, error_type: str, condition: str) -> None:
        self._domain.requests.close(request)
        self._tell(request, error_type, condition)

    def _tell(self, request: Request, error_type: str, condition: str, result: str = "failed") -> None:
        if request.origin is not Origin.OURSELVES:
            REQUESTS.count(result)
            self._domain.send(iq_error(request, error_type, condition))

    # The course of time, and of connections

    def connected(self) -> None:
        """A new stream: answers to what was open may be lost, so gets are asked again and sets fail."""
        domain = self._domain
        domain.unsettle()
        for request in domain.requests.all():
            if request.origin is not Origin.USER:
                self._fail(request, "wait", "recipient-unavailable")
        self.lost(domain.targets.reset())

    def fail_all(self) -> None:
        """The proxy stops: tell everybody who waits."""
        for request in self._domain.requests.all():
            self._fail(request, "wait", "recipient-unavailable")

    def settle(self) -> None:
        """A resource came: give it what waited."""
        self._domain.settle()
        for request in self._domain.requests.of_peer(""):
            self._give_out(request)

    def _give_out(self, request: Request) -> None:
        """Find somebody for a request that waits: of an exchange whoever has got an earlier step of it."""
        domain, exchange = self._domain, request.exchange
        known, resource = domain.sessions.holder(request.asker, exchange) if exchange else (False, None)
        if known and domain.targets.get(resource) is None:
            self._fail(request, "wait", "recipient-unavailable")
            return
        resource = resource or domain.choose(parse_jid(request.asker), request.namespace)
        if resource is None:
            return
        if exchange:
            domain.sessions.bind(request.asker, exchange, resource)
        self._hand_over(request, resource)

    def tick(self) -> None:
        """Fail what has waited too long; call this about every second."""
        for request in self._domain.requests.expired():
            self._tell(request, "wait", "remote-server-timeout", "timeout")
            if request.origin is Origin.OURSELVES and request.namespace == NS_DISCO_INFO:
                self._has_told_features(request.peer)
        if self._domain.settled:
            for request in self._domain.requests.of_peer(""):
                if request.retried:
                    self._fail(request, "wait", "recipient-unavailable")
                else:
                    self._fail(request, "cancel", "service-unavailable")
