"""Checks of single values in the configuration file.

Each takes a value as the file has it and returns the value to use, or raises ValueError with a text that says what is
allowed. config_errors.py puts the key before it.
"""

import os
import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL
from pydantic import SecretStr, ValidationInfo
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from twisted.internet import endpoints
from twisted.internet.interfaces import IStreamClientEndpoint

from minimixproxy.jids import InvalidJID, parse_jid

# What a file name begins with that is a credential of systemd's, and where they are when the variable is not set: a
# command on a terminal, such as --check, reads the same configuration.
CREDENTIAL = "$CREDENTIALS_DIRECTORY/"
CREDENTIALS_OF_SERVICE = Path("/run/credentials/minimixproxy.service")

# What the endpoint parsers raise for strings they cannot use.
ENDPOINT_FAULTS = (ValueError, TypeError, LookupError, AttributeError, OSError, SSL.Error)


def resolve_path(value: Any, info: ValidationInfo) -> Any:
    """A path as Path, relative ones starting at the directory of the configuration file."""
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("must be a file name")
    if value.startswith(CREDENTIAL):
        return credentials_directory() / value.removeprefix(CREDENTIAL)
    directory = (info.context or {}).get("directory", Path())
    return Path(directory, value)


def credentials_directory() -> Path:
    """Return where systemd puts what LoadCredential= names: for this service, else for the one that runs beside us.

    Raises ValueError if neither is there.
    """
    named = os.environ.get("CREDENTIALS_DIRECTORY")
    directory = Path(named) if named else CREDENTIALS_OF_SERVICE
    if not named and not directory.is_dir():
        raise ValueError(
            "$CREDENTIALS_DIRECTORY is not set: systemd sets it for a service with LoadCredential=, and "
            f"{directory} is not there: the service does not run"
        )
    return directory


def state(value: Any, info: ValidationInfo) -> Any:
    """A file name as Path, a postgresql:// URL as something that does not show its password."""
    if isinstance(value, Path | SecretStr):
        return value
    if isinstance(value, str) and "://" not in value and value and "\0" not in value:
        return resolve_path(value, info)
    if not isinstance(value, str) or not value.startswith(("postgresql://", "postgres://")):
        raise ValueError('must be a file name or a URL, "postgresql://user@host/database"')
    try:
        make_url(value)
    except (ArgumentError, ValueError):
        raise ValueError('cannot be read as a URL; it must be "postgresql://user@host/database"') from None
    return SecretStr(value)


def readable(path: Path) -> Path:
    try:
        with path.open("rb"):
            return path
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error


def trust(value: Any, info: ValidationInfo) -> Any:
    """Pass "system" and "insecure"; anything else is a file of certificates in PEM."""
    if value in ("system", "insecure"):
        return value
    if not isinstance(value, str | Path) or not value:
        raise ValueError('must be "system", "insecure" or the name of a PEM file')
    path: Path = resolve_path(value, info)
    try:
        load_certificates(path)
    except ValueError as error:
        raise ValueError(f'must be "system", "insecure" or the name of a PEM file: {error}') from error
    return path


def load_certificates(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(readable(path).read_bytes())
    except (ValueError, x509.InvalidVersion) as error:
        reason = str(error) if str(path) in str(error) else f"{path} holds no certificate in PEM"
        raise ValueError(reason) from error


def key_pair(certificate: Path, private_key: Path, name: str = "private_key") -> None:
    """Refuse files that are no certificate or no key, or that do not belong together. `name`: how the key is called."""
    chain = load_certificates(certificate)
    try:
        key = load_pem_private_key(private_key.read_bytes(), password=None)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError(f"{name}: {private_key} holds no private key in PEM") from error
    except TypeError as error:
        raise ValueError(f"{name}: {private_key} is encrypted; it must be plain") from error
    try:
        certified = chain[0].public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError(f"{certificate} has a public key that cannot be used: {error}") from error
    if certified != key.public_key():
        raise ValueError(f"{name}: {private_key} does not belong to the first certificate in {certificate}")


def prepare_domain(name: str) -> str:
    """The domain as JIDs have it: prepared by nameprep, no trailing dot."""
    try:
        address = parse_jid(name)
    except InvalidJID as error:
        raise ValueError("must be a domain name") from error
    if address.full != address.domain:
        raise ValueError("must be a domain name")
    return address.domain


def prepare_bare_jid(text: str) -> str:
    try:
        address = parse_jid(text)
    except InvalidJID as error:
        raise ValueError('must be a bare JID, such as "user@example.org"') from error
    if address.local is None or address.resource is not None:
        raise ValueError('must be a bare JID, such as "user@example.org"')
    return address.bare


def prepare_jid(text: str) -> str:
    """Any JID: a domain, a bare or a full one."""
    try:
        return parse_jid(text).full
    except InvalidJID as error:
        raise ValueError('must be a JID: "example.org", "user@example.org" or "user@example.org/resource"') from error


def host_name(name: str) -> str:
    """The name of a host as browsers send it: in small letters, without a port or a dot at its end."""
    prepared = name.lower().removesuffix(".")
    if not re.fullmatch(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*", prepared):
        raise ValueError('must be the name of a host, without a port, such as "proxy.example.org"')
    return prepared


def has_package(module: str, extra: str) -> None:
    """Refuse what needs a package that comes with an extra of ours and is not installed."""
    if find_spec(module) is None:
        raise ValueError(f"needs {module} (the extra [{extra}]), which is not installed: pip install {module}")


def endpoint_kind(description: str) -> str:
    """The word before the first colon of an endpoint, as Twisted reads it: some in any case, escapes undone."""
    return description.partition(":")[0].replace("\\", "").lower()


def is_relayed(description: str) -> bool:
    """Whether what connects to a server endpoint is a relay (haproxy:) and not the client itself."""
    return endpoint_kind(description) == "haproxy"


def listened(description: str) -> str:
    """The server endpoint itself, without haproxy: before it."""
    return description.partition(":")[2] if is_relayed(description) else description


def brings_its_own_tls(description: str) -> bool:
    """Whether a server endpoint, perhaps behind haproxy:, does TLS itself."""
    return endpoint_kind(listened(description)) == "ssl"


_LAST_PORT = 65535
_UNEXPECTED = re.compile(r"unexpected keyword argument '(\w+)'|unrecognized keyword arguments present', \['(\w+)'")
_NO_NUMBER = re.compile(r"invalid literal for int\(\) with base 10: '(.*)'")
_NO_KIND = re.compile(r"Unknown endpoint type: '(.*)'")


def endpoint_fault(error: Exception) -> str:
    """Return what is wrong with an endpoint, in words: the parsers have those of Python."""
    text = str(error)
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else "a file that it names cannot be read"
    if isinstance(error, SSL.Error):
        return "its certificate and key cannot be used"
    if isinstance(error, TypeError) and "missing" in text:
        return "a part of it is missing, such as the port"
    for pattern, words in (
        (_UNEXPECTED, 'it has no parameter "{}"'),
        (_NO_NUMBER, '"{}" is no number'),
        (_NO_KIND, 'there is no kind "{}"'),
    ):
        found = pattern.search(text)
        if found is not None:
            return words.format(next(group for group in found.groups() if group is not None))
    return text if isinstance(error, ValueError) and text else "it cannot be understood"


def _check_port(endpoint: object) -> None:
    port = getattr(endpoint, "_port", 0)
    if isinstance(port, int) and not 0 <= port <= _LAST_PORT:
        raise ValueError(f"{port} is no port: those are 0 to {_LAST_PORT}")


def server_endpoint(description: str) -> str:
    from twisted.internet import reactor  # not at import: that would choose the reactor

    if endpoint_kind(listened(description)) == "systemd" and "LISTEN_FDS" not in os.environ:
        return description  # can only be parsed where systemd passes the sockets
    try:
        _check_port(endpoints.serverFromString(reactor, description))
    except ENDPOINT_FAULTS as error:
        raise ValueError(f'must be a Twisted server endpoint, such as "tcp:5222": {endpoint_fault(error)}') from error
    return description


def client_endpoint(description: str) -> str:
    from twisted.internet import reactor  # not at import: that would choose the reactor

    try:
        endpoint = endpoints.clientFromString(reactor, description)
        _check_port(endpoint)
    except ENDPOINT_FAULTS as error:
        why = endpoint_fault(error)
        raise ValueError(f'must be a Twisted client endpoint, such as "tcp:127.0.0.1:5222": {why}') from error
    if _verifies_nothing(endpoint):
        raise ValueError(
            'an "ssl:" endpoint verifies no certificate, so anybody can be the server: say "tls:HOST:PORT", which '
            'verifies HOST, or for a domain\'s upstream "tcp:HOST:PORT" or nothing, with upstream_trust'
        )
    return description


def takes_proxy_header(upstream: str | None) -> None:
    """Refuse client endpoints on which a PROXY header cannot come first, and none: others' servers expect no header."""
    if upstream is None:
        raise ValueError(
            'upstream_proxy_protocol needs upstream, "tcp:HOST:PORT" or "unix:PATH": a server that is not known to '
            "expect the PROXY protocol would refuse everybody"
        )
    if endpoint_kind(upstream) not in ("tcp", "unix"):
        raise ValueError(
            f'upstream_proxy_protocol needs a "tcp:" or "unix:" upstream, not "{upstream}": the PROXY header goes '
            "before TLS"
        )


def _verifies_nothing(endpoint: Any, depth: int = 5) -> bool:
    """Whether TLS of a client endpoint, or of one that it wraps, takes any certificate."""
    if isinstance(endpoint, endpoints.SSL4ClientEndpoint):
        return True
    parts = vars(endpoint).values() if depth and hasattr(endpoint, "__dict__") else ()
    return any(IStreamClientEndpoint.providedBy(part) and _verifies_nothing(part, depth - 1) for part in parts)


def one_or_more(value: Any) -> Any:
    """A string, or a list of at least one, as tuple."""
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list | tuple) or not value:
        raise ValueError("must be a string or a list of strings")
    return tuple(value)


def strings(value: Any) -> Any:
    """A list, perhaps empty, as tuple."""
    if not isinstance(value, list | tuple):
        raise ValueError("must be a list of strings")
    return tuple(value)


def each_once(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) != len(values):
        raise ValueError("must name each one once")
    return values


def tables(value: Any) -> Any:
    if not isinstance(value, list | tuple):
        raise ValueError("must be written with double brackets, and may then be repeated")
    return tuple(value)


def name_domains(data: dict[str, Any]) -> dict[str, Any]:
    """Give each [domain."name"] table its name and put it under the prepared one."""
    domains = data.get("domain")
    if not isinstance(domains, dict):
        return data
    named: dict[str, Any] = {}
    for name, table in domains.items():
        try:
            prepared = prepare_domain(name)
        except ValueError:
            prepared = name  # reported with its key when the table is validated
        if prepared in named:
            raise ValueError(f'[domain."{name}"] is there twice')
        if isinstance(table, dict) and "name" in table:
            raise ValueError(f'[domain."{name}"] name: unknown key')
        named[prepared] = {**table, "name": prepared} if isinstance(table, dict) else table
    return {**data, "domain": named}


def read_secret(table: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
    """Fill in `secret` from `secret_file`; exactly one of them must be given."""
    if ("secret" in table) == ("secret_file" in table):
        raise ValueError("needs either secret or secret_file")
    if "secret" in table:
        return table
    path = readable(resolve_path(table["secret_file"], info))
    try:
        secret = path.read_text("utf-8").strip()
    except UnicodeDecodeError as error:
        raise ValueError(f"secret_file: {path} is not UTF-8 text") from error
    if not secret:
        raise ValueError(f"secret_file: {path} is empty")
    return {**table, "secret": secret}


def no_duplicates(what: str, values: Sequence[str]) -> None:
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f'{what} "{value}" is there twice')
