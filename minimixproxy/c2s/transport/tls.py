"""TLS of both sides: a server context per domain for clients, verified connections to upstream servers."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    optionsForClientTLS,
    platformTrust,
    trustRootFromCertificates,
)
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

from minimixproxy.c2s.transport.certificates import (
    CertificateError,
    CertificateFiles,
    ascii_domain,
    load_pair,
    reason_of,
    self_signed,
)
from minimixproxy.c2s.transport.key_shares import ServerFacingFactory
from minimixproxy.config.settings import Domain

ALPN = b"xmpp-client"  # XEP-0368
HTTP_ALPN = b"http/1.1"  # RFC 7301 §6

# Forward secrecy and authenticated encryption only; TLS 1.3 brings its own list.
_CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20:!aNULL:!PSK:!SRP"
_PEM_BEGIN = b"-----BEGIN CERTIFICATE-----"


@implementer(IOpenSSLServerConnectionCreator)
class DomainTLS:
    """Server side TLS that begins with a context: that of one domain's certificate, or one that leaves it to SNI."""

    def __init__(self, context: Callable[[], SSL.Context]) -> None:
        self._context = context

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        return SSL.Connection(self._context(), None)


class SNIFactory(TLSMemoryBIOFactory):
    """Makes TLS layers whose certificate is that of the name in SNI."""


class PreparedTLS(NamedTuple):
    """What there is to be after a reload, by domain."""

    domains: dict[str, Domain]
    files: dict[str, CertificateFiles]
    factories: dict[str, TLSMemoryBIOFactory]
    by_sni: dict[bytes, SNIFactory]


class ServerTLS:
    """The server side TLS of every domain."""

    def __init__(self, domains: Iterable[Domain], state_directory: Path) -> None:
        """Nothing is read yet: see `load`."""
        self._domains = {domain.name: domain for domain in domains}
        self._directory = state_directory
        self._files: dict[str, CertificateFiles] = {}
        self._factories: dict[str, TLSMemoryBIOFactory] = {}
        self._by_sni: dict[bytes, SNIFactory] = {}  # by what is spoken in it

    def load(self, *, configured_only: bool = False) -> None:
        """Read the certificates, make missing ones. Raises `CertificateError`.

        `configured_only`: leave those to be made alone. Files that only root may read are loaded before privileges are
        dropped, files of our own are made after.
        """
        for name, domain in self._domains.items():
            if name not in self._files and not (configured_only and domain.certificate is None):
                self._files[name] = self._find_files(domain)
                self._files[name].context()
                self._factories[name] = _server_factory(DomainTLS(self._files[name].context))
                self._by_sni = self._by_sni or self._factories_by_sni(self._files[name], len(self._domains))

    def prepare(self, domains: Iterable[Domain]) -> PreparedTLS:
        """Read the certificates of other domains, which are to be those of a reload. Raises `CertificateError`."""
        new = {domain.name: domain for domain in domains}
        files = {name: self._prepared(domain) for name, domain in new.items()}
        factories = {
            name: self._factories[name]
            if files[name] is self._files.get(name)
            else _server_factory(DomainTLS(files[name].context))
            for name in new
        }
        return PreparedTLS(new, files, factories, self._factories_by_sni(next(iter(files.values())), len(new)))

    def _prepared(self, domain: Domain) -> CertificateFiles:
        """Return the files that there are, if they are the same ones and can be used, else new ones."""
        known, wanted = self._files.get(domain.name), self._find_files(domain)
        if known is None or known.paths != wanted.paths:
            wanted.context()
            return wanted
        known.check()
        return known

    def take(self, prepared: PreparedTLS) -> None:
        """Serve the domains of a reload from now on. Connections that there are keep what they have."""
        self._domains, self._files, self._factories, self._by_sni = prepared

    def factory(self, domain: str) -> TLSMemoryBIOFactory:
        """Return what makes a TLS layer with the certificate of `domain`, for STARTTLS: the stream header named it."""
        return self._factories[domain]

    def factory_by_sni(self, protocol: bytes = ALPN) -> SNIFactory:
        """Return what makes a TLS layer with the certificate that SNI asks for, else that of the first domain.

        `protocol`: what is spoken in it, for clients that ask by ALPN.
        """
        assert self._by_sni, "load() comes first"
        return self._by_sni[protocol]

    def _factories_by_sni(self, first: CertificateFiles, domains: int) -> dict[bytes, SNIFactory]:
        return {protocol: self._factory_by_sni(first, domains) for protocol in (ALPN, HTTP_ALPN)}

    def _factory_by_sni(self, first: CertificateFiles, domains: int) -> SNIFactory:
        if domains == 1:
            return _sni_factory(DomainTLS(first.context))
        front = self._new_context()
        # Whether a client resumes is settled before its SNI is read. It would be bound to the certificate that it was
        # shown then (RFC 5929 §4), which may have changed; a context of a domain forgets its tickets with that.
        front.set_options(SSL.OP_NO_TICKET)
        return _sni_factory(DomainTLS(lambda: front))

    def _find_files(self, domain: Domain) -> CertificateFiles:
        if domain.certificate is None:
            paths = self_signed(domain.name, self._directory)
        else:
            assert domain.private_key is not None, "the configuration has both or neither"
            paths = (domain.certificate, domain.private_key)
        return CertificateFiles(domain.name, *paths, self._make_context)

    def _make_context(self, certificate: Path, private_key: Path) -> SSL.Context:
        context = self._new_context()
        load_pair(context, certificate, private_key)
        return context

    def _new_context(self) -> SSL.Context:
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_CIPHER_SERVER_PREFERENCE)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # idle connections give their 2 * 17 KiB back
        context.set_cipher_list(_CIPHERS)
        context.set_session_id(secrets.token_bytes(16))
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)  # tickets keep their state with the client
        context.set_alpn_select_callback(self._select_alpn)
        context.set_tlsext_servername_callback(self._select_certificate)
        return context

    def _select_certificate(self, connection: SSL.Connection) -> None:
        """Switch to the certificate of the name in SNI. Runs within OpenSSL: nothing may be raised."""
        layer = connection.get_app_data()  # Twisted keeps the TLS protocol there
        if not isinstance(getattr(layer, "factory", None), SNIFactory):
            return
        files = self._named(connection.get_servername() or b"")
        connection.set_context(files.context())  # the old one, if new files are no good: `load` has seen some

    def _named(self, name: bytes) -> CertificateFiles:
        """Return the files of the domain of that name, else those of the first."""
        wanted = name.lower()
        for domain, files in self._files.items():
            if ascii_domain(domain).encode("ascii") == wanted:
                return files
        return next(iter(self._files.values()))

    def _select_alpn(self, connection: SSL.Connection, offered: list[bytes]) -> Any:
        factory = getattr(connection.get_app_data(), "factory", None)
        spoken = HTTP_ALPN if factory is self._by_sni.get(HTTP_ALPN) else ALPN
        return spoken if spoken in offered else SSL.NO_OVERLAPPING_PROTOCOLS


def _server_factory(creator: DomainTLS) -> TLSMemoryBIOFactory:
    return TLSMemoryBIOFactory(creator, False, None)  # type: ignore[arg-type]


def _sni_factory(creator: DomainTLS) -> SNIFactory:
    return SNIFactory(creator, False, None)  # type: ignore[arg-type]


@implementer(IOpenSSLClientConnectionCreator)
class _Unverified:
    """Client side TLS that believes any certificate, for `upstream_trust = "insecure"`."""

    def __init__(self, domain: str, protocols: Sequence[bytes]) -> None:
        self._name = ascii_domain(domain).encode("ascii")
        self._options = CertificateOptions(verify=False, acceptableProtocols=protocols)

    def clientConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        connection = self._options.clientConnectionForTLS(protocol)
        connection.set_tlsext_host_name(self._name)
        return connection


def client_factory(domain: Domain, *, direct: bool) -> TLSMemoryBIOFactory:
    """Return what makes a TLS layer towards the server of `domain`, verified against the domain.

    `direct`: TLS from the first byte (XEP-0368), hence with ALPN. Raises `CertificateError` if the PEM file of
    `upstream_trust` is no good. Contexts are shared by all connections: each of its own would hold a copy of the
    system's certificates.
    """
    return _client_factory(domain.name, domain.upstream_trust, _stamp(domain.upstream_trust), direct)


def _stamp(trust: str | Path) -> int:
    """A PEM file that changes on disk is used for new connections; who reads it tells of one that is gone."""
    try:
        return trust.stat().st_mtime_ns if isinstance(trust, Path) else 0
    except OSError:
        return -1


@lru_cache(maxsize=256)
def _client_factory(name: str, trust: str | Path, _stamp: int, direct: bool) -> TLSMemoryBIOFactory:
    protocols = [ALPN] if direct else []
    if trust == "insecure":
        return ServerFacingFactory(_Unverified(name, protocols))
    root = trust_root(trust) if isinstance(trust, Path) else platformTrust()
    return ServerFacingFactory(optionsForClientTLS(name, trustRoot=root, acceptableProtocols=protocols))


def trust_root(path: Path) -> Any:
    """Return the certificates in a PEM file as those to trust. Raises `CertificateError`."""
    try:
        blocks = path.read_bytes().split(_PEM_BEGIN)[1:]
        certificates = [Certificate.loadPEM(_PEM_BEGIN + block) for block in blocks]
    except (OSError, crypto.Error) as error:
        raise CertificateError(f"{path}: {reason_of(error)}") from error
    if not certificates:
        raise CertificateError(f"{path}: no certificate in it")
    return trustRootFromCertificates(certificates)
