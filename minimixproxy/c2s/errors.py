"""What can go wrong towards a server. Negotiation and account stream turn these into what their peer is told."""

from __future__ import annotations

from service_identity import VerificationError
from twisted.python.failure import Failure

# The conditions of RFC 6120 §6.5 that trying again with the same credential does not change. The others are about the
# moment (temporary-auth-failure) or about the exchange, of which the server may think otherwise after its next start.
FINAL = frozenset(
    {"account-disabled", "credentials-expired", "invalid-mechanism", "mechanism-too-weak", "not-authorized"}
)


class UpstreamError(Exception):
    """Base class; `str()` is a text for logs and for the text of an error shown to a client."""


class UpstreamUnreachable(UpstreamError):
    """No connection, or it was lost."""


class UpstreamTLSError(UpstreamError):
    """No TLS, or a certificate that is not to be trusted for the domain."""


class UpstreamProtocolError(UpstreamError):
    """The server broke XMPP, ended the stream, or cannot prove its identity. `condition`: its stream error, or ""."""

    def __init__(self, text: str, condition: str = "") -> None:
        super().__init__(text)
        self.condition = condition


class UpstreamImpossible(UpstreamProtocolError):
    """No account of a server that wants SCRAM can have this password; the server was told nothing of it."""


class UpstreamIsThisProxy(UpstreamProtocolError):
    """What is said to be the server of a domain is this proxy."""

    def __init__(self) -> None:
        super().__init__("it leads back to this proxy: upstream, or the SRV records, must name the server itself")


class UpstreamUnproved(UpstreamProtocolError):
    """The server has let somebody in, and has not proved that it knows the account's keys."""


class UpstreamRefused(UpstreamError):
    """The server answered no. `condition`: of SASL (RFC 6120 §6.5), or the stanza error of a bind."""

    def __init__(self, condition: str, text: str = "") -> None:
        super().__init__(text or condition)
        self.condition = condition
        self.text = text

    @property
    def final(self) -> bool:
        """Whether the same credential will be refused again."""
        return self.condition in FINAL


class UpstreamUnfit(UpstreamError):
    """What is kept of a login is not what the server asks for."""


def describe_tls_failure(reason: Failure) -> str:
    """Return a short text for an exception of OpenSSL or service_identity."""
    error: BaseException | None = reason.value
    assert error is not None
    if isinstance(error, VerificationError):
        return "the certificate is not for this domain"
    if error.args and isinstance(error.args[0], list) and error.args[0]:
        return str(error.args[0][-1][-1])
    return str(error) or type(error).__name__
