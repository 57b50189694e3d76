"""Whether a process of a cluster has what the others know it by: the secret, a certificate of the same authority."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise

from cryptography import x509

from minimixproxy.checking.certificates import check_times, day, issued, issuer_name
from minimixproxy.checking.finding import Finding, error, good
from minimixproxy.cluster.secret import read_secret
from minimixproxy.config.checks import load_certificates
from minimixproxy.config.settings import Settings
from minimixproxy.storage.errors import StateError

_REFUSED = "the other processes refuse this one"


def check_cluster(settings: Settings, now: datetime) -> Iterator[Finding]:
    """Yield what is to be said of `[cluster]`. Blocks; changes nothing."""
    if settings.cluster is None:
        return
    try:
        read_secret(settings.cluster.secret)
    except StateError as fault:
        made = "openssl rand -hex 32 makes one; all processes of the cluster need the same"
        yield error("[cluster] secret", str(fault), "" if settings.cluster.secret.exists() else made)
    else:
        yield good("[cluster] secret", f"{settings.cluster.secret} can be used")
    yield from check_cluster_certificate(settings, now)


def check_cluster_certificate(settings: Settings, now: datetime) -> Iterator[Finding]:
    """Yield whether the other processes take the certificate of this one, as far as that can be seen here."""
    cluster = settings.cluster
    if cluster is None or cluster.certificate is None or cluster.ca is None:
        return
    subject = "[cluster] certificate"
    try:
        chain, authorities = load_certificates(cluster.certificate), load_certificates(cluster.ca)
    except ValueError as fault:
        yield error(subject, str(fault))
        return
    found = [
        *check_times(subject, chain, now, _REFUSED),
        *check_times("[cluster] ca", authorities, now, "the processes refuse each other"),
        *_signed(subject, chain, authorities),
    ]
    yield from found or [good(subject, f"valid until {day(chain[0].not_valid_after_utc)}")]


def _signed(
    subject: str, chain: Sequence[x509.Certificate], authorities: Sequence[x509.Certificate]
) -> Iterator[Finding]:
    """Whoever is behind the first must lead to the authority, each signed by the next."""
    whole = all(issued(one, issuer) for one, issuer in pairwise(chain))
    if not whole or not any(chain[-1] == authority or issued(chain[-1], authority) for authority in authorities):
        yield error(
            subject,
            f"was not signed by the authority that ca names, but by {issuer_name(chain[0])}",
            f"{_REFUSED}: sign it with the cluster's own authority, whose certificate is ca everywhere",
        )
