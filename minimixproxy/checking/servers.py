"""Whether the servers behind the proxy can be reached, by which TLS, and what they offer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString
from twisted.internet.protocol import Factory, Protocol

from minimixproxy.c2s.errors import UpstreamError, UpstreamProtocolError, UpstreamTLSError
from minimixproxy.c2s.upstream.connecting import Login, connect_upstream, contact_upstream, open_stream
from minimixproxy.c2s.upstream.credentials import Credential, KeyCache
from minimixproxy.c2s.upstream.offer import read_offer
from minimixproxy.c2s.upstream.srv import resolve
from minimixproxy.checking.finding import Finding, error, good, unknown, warning
from minimixproxy.checking.loops import ADVICE
from minimixproxy.config.settings import ClientProxy, Domain, Limits, Settings
from minimixproxy.namespaces import NS_CSI, NS_SM3
from minimixproxy.sasl.scram import MECHANISMS

PATIENCE = 20.0  # seconds for one server
MOST_TOLD = 12  # mechanisms

_MANAGED = "stream management (XEP-0198)"
_AFTER_LOGIN = {_MANAGED: (NS_SM3, "sm"), "client state indication (XEP-0352)": (NS_CSI, "csi")}

#: Tells whether the proxy that runs has given this id to a stream; None: it cannot be asked.
OwnStream = Callable[[str], bool | None]
Contact = Callable[[Domain], Awaitable[Any]]


class Servers:
    """Asks the servers of a configuration. `own_stream`: see there."""

    def __init__(self, settings: Settings, reactor: Any, own_stream: OwnStream) -> None:
        self._settings = settings
        self._reactor = reactor
        self._own_stream = own_stream

    async def check(self, domain: Domain) -> list[Finding]:
        """Return what is to be said of the server of a domain."""
        subject = f"server of {domain.name}"
        if domain.upstream is None:
            targets = await resolve(domain.name)
            where = ", ".join(f"{target.host}:{target.port}" for target in targets) or "nowhere"
            subject += f" (by DNS: {where})"
        else:
            subject += f" ({domain.upstream})"
        try:
            stream, features = await self._contact(domain)
        except UpstreamError as fault:
            return [error(subject, str(fault), _advice(fault))]
        stream.transport.abortConnection()
        own = self._own_stream(stream.sid or "")
        if own:
            return [error(subject, "leads back to the proxy that runs", ADVICE)]
        return [
            await self._verified(subject, domain),
            *_offered(subject, domain, features),
            unknown(subject, "stream management (XEP-0198) is shown after a login only", "--login JID looks"),
        ]

    async def check_login(self, domain: Domain, local: str, password: str) -> list[Finding]:
        """Return what the server of a domain offers to an account that has logged in."""
        subject = f"login of {local}@{domain.name}"
        login = Login(domain, local, Credential.from_password(password), KeyCache())
        logging_in = Deferred.fromCoroutine(connect_upstream(self._reactor, login, self._settings.limits))
        try:
            stream = await logging_in.addTimeout(PATIENCE, self._reactor, onTimeoutCancel=_late)
            opening = Deferred.fromCoroutine(open_stream(stream))
            features = await opening.addTimeout(PATIENCE, self._reactor, onTimeoutCancel=_late)
        except UpstreamError as fault:
            return [error(subject, f"comes to nothing: {fault}", "is the password right, and may the account log in?")]
        stream.transport.abortConnection()
        told = [name for name, feature in _AFTER_LOGIN.items() if features.has_payload(*feature)]
        found = [good(subject, f"succeeds; the server offers {', '.join(told) or 'nothing that the proxy looks for'}")]
        if _MANAGED not in told:
            found.append(
                warning(
                    subject,
                    "there is no stream management (XEP-0198), so an account leaves its rooms when its stream breaks",
                    "have the server offer it (Prosody: smacks; ejabberd: mod_stream_mgmt)",
                )
            )
        return found

    def _contact(self, domain: Domain) -> Deferred[Any]:
        limits: Limits = self._settings.limits
        asking = Deferred.fromCoroutine(contact_upstream(self._reactor, domain, limits))
        return asking.addTimeout(PATIENCE, self._reactor, onTimeoutCancel=_late)

    async def _verified(self, subject: str, domain: Domain) -> Finding:
        """Tell whether TLS is verified; if not, what would be wrong with it."""
        if domain.upstream_trust != "insecure":
            return good(subject, "answers, by TLS that is verified")
        says = 'answers, and its TLS is not verified: upstream_trust = "insecure"'
        try:
            stream, _ = await self._contact(domain.model_copy(update={"upstream_trust": "system"}))
        except UpstreamTLSError as fault:
            return warning(subject, says, f'"system" would say: {fault}; name the file of its authority instead')
        except UpstreamError:
            return warning(subject, says)
        stream.transport.abortConnection()
        return warning(subject, says, 'leave it out: its certificate is good by "system"')

    async def check_component(self, proxy: ClientProxy) -> list[Finding]:
        """Return whether the ports for components of a client_proxy domain are open."""
        found = []
        for server in proxy.server:
            subject = f"client_proxy {proxy.domain} ({server})"
            factory = Factory.forProtocol(Protocol)
            factory.noisy = False
            connecting: Deferred[Any] = clientFromString(self._reactor, server).connect(factory)
            try:
                connected = await connecting.addTimeout(PATIENCE, self._reactor, onTimeoutCancel=_late)
            except Exception as fault:  # noqa: BLE001 (endpoints fail in many ways: each is told)
                found.append(
                    error(subject, f"cannot be reached: {fault}", "is its port for components (XEP-0114) open?")
                )
                continue
            connected.transport.abortConnection()
            found.append(good(subject, "can be reached"))
            found.append(unknown(subject, "the secret is not tried: that would cut off a proxy that runs"))
        return found


def _offered(subject: str, domain: Domain, features: Any) -> list[Finding]:
    mechanisms = sorted(read_offer(features, {}).mechanisms)
    told = ", ".join(mechanisms[:MOST_TOLD])
    if not set(mechanisms) & {*MECHANISMS, "PLAIN"}:
        return [
            error(
                subject,
                f"offers no mechanism that the proxy can do ({told or 'none at all'})",
                "have it offer SCRAM or PLAIN",
            )
        ]
    found = [good(subject, f"offers {told}")]
    if not set(mechanisms) & set(MECHANISMS) and not domain.keep_passwords:
        found.append(
            warning(
                subject,
                "offers PLAIN only: nothing can be kept of a password, so accounts are not in rooms after a restart "
                "until a client logs in",
                "have it offer SCRAM, or set keep_passwords",
            )
        )
    return found


def _advice(fault: UpstreamError) -> str:
    if isinstance(fault, UpstreamTLSError):
        return "correct its certificate, or name the file of its authority in upstream_trust"
    if isinstance(fault, UpstreamProtocolError) and fault.condition == "host-unknown":
        return "the server does not know this domain: add it there, or correct the name here"
    return "is the server running, and is upstream right?"


def _late(_result: object, timeout: float) -> Any:
    raise UpstreamError(f"no answer within {timeout:.0f} seconds")
