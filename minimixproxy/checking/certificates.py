"""Whether clients will accept the certificates: names, times, and the chain to an authority."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import ObjectIdentifier

from minimixproxy.c2s.transport.certificates import ascii_domain
from minimixproxy.checking.finding import Finding, error, good, warning
from minimixproxy.config.checks import load_certificates
from minimixproxy.config.settings import Domain

SOON = timedelta(days=14)
_XMPP_ADDRESS = ObjectIdentifier("1.3.6.1.5.5.7.8.5")  # RFC 6120 §13.7.1.4
_SRV_NAME = ObjectIdentifier("1.3.6.1.5.5.7.8.7")  # RFC 4985
_NAMED = 5  # names of a certificate that are told


def check_certificates(domains: Iterable[Domain], now: datetime) -> Iterator[Finding]:
    """Yield what is to be said of the certificate of each domain."""
    for domain in domains:
        subject = f"certificate of {domain.name}"
        if domain.certificate is None:
            yield warning(
                subject,
                "none is configured, so a self-signed one is made, which clients ask their users about or refuse",
                'set certificate and private_key in its [domain."…"]',
            )
            continue
        try:
            chain = load_certificates(domain.certificate)
        except ValueError as fault:
            yield error(subject, str(fault))
            continue
        found = [*check_times(subject, chain, now), *_names(subject, chain[0], domain.name), *_chain(subject, chain)]
        yield from found or [good(subject, f"valid until {day(chain[0].not_valid_after_utc)}")]


def check_times(
    subject: str, chain: Sequence[x509.Certificate], now: datetime, refused: str = "clients refuse to log in"
) -> Iterator[Finding]:
    """Yield which certificates are not valid, or will not be soon. `refused`: what follows from that."""
    for number, one in enumerate(chain):
        which = "" if number == 0 else f"its certificate #{number + 1}, of {_name(one)}, "
        begins, ends = one.not_valid_before_utc, one.not_valid_after_utc
        if ends <= now:
            yield error(subject, f"{which}has expired on {day(ends)}", f"renew it; {refused}")
        elif begins > now:
            yield error(subject, f"{which}is not valid before {day(begins)}", "is the clock of this machine right?")
        elif ends - now < SOON:
            yield warning(subject, f"{which}ends in {(ends - now).days} days, on {day(ends)}", "renew it")


def _names(subject: str, leaf: x509.Certificate, domain: str) -> Iterator[Finding]:
    names = sorted(_all_names(leaf))
    if not any(_covers(name, ascii_domain(domain)) for name in names):
        listed = ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
        yield error(
            subject,
            f"is for {listed or 'no name at all'}, not for {domain}",
            f"clients refuse it: it has to name {domain} itself, whatever the machine is called",
        )


def _all_names(leaf: x509.Certificate) -> set[str]:
    try:
        alternative = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return set()
    names = {name.lower() for name in alternative.get_values_for_type(x509.DNSName)}
    for other in alternative.get_values_for_type(x509.OtherName):
        if other.type_id in (_XMPP_ADDRESS, _SRV_NAME):
            # A string of DER: its tag, its length, which is short for names, and its text.
            text = other.value[2:].decode("utf-8", "replace").lower()
            names.add(text.removeprefix("_xmpp-client.").removeprefix("_xmpps-client."))
    return names


def _covers(name: str, domain: str) -> bool:
    return name == domain.lower() or (name.startswith("*.") and name[2:] == domain.lower().partition(".")[2])


def _chain(subject: str, chain: Sequence[x509.Certificate]) -> Iterator[Finding]:
    leaf = chain[0]
    if leaf.issuer == leaf.subject:
        yield warning(
            subject,
            "is self-signed: clients ask their users about it or refuse it",
            "get one from an authority that clients know, such as Let's Encrypt",
        )
    elif len(chain) == 1:
        yield warning(
            subject,
            f"its file holds nothing but itself, and it was issued by {issuer_name(leaf)}",
            "unless that is an authority that every client knows, use the file with the whole chain (fullchain.pem)",
        )
    for number, (one, issuer) in enumerate(pairwise(chain)):
        if not issued(one, issuer):
            yield error(
                subject,
                f"certificate #{number + 1} of its file was not issued by #{number + 2}, {_name(issuer)}",
                "the file must hold its own certificate first, then each one's issuer",
            )
            return


def issued(one: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Return whether a certificate was signed by another one."""
    try:
        one.verify_directly_issued_by(issuer)
    except UnsupportedAlgorithm:
        return True  # it cannot be told
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _name(certificate: x509.Certificate) -> str:
    return repr(certificate.subject.rfc4514_string())


def issuer_name(certificate: x509.Certificate) -> str:
    """Return who a certificate says has signed it."""
    return repr(certificate.issuer.rfc4514_string())


def day(time: datetime) -> str:
    """Return the day of a time, for people."""
    return time.astimezone(UTC).strftime("%Y-%m-%d")
