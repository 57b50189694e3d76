"""The configuration file: TOML in, frozen and checked settings out.

Durations are in seconds, sizes in bytes. Relative paths start at the directory of the file.
docs/configuration.md describes every key.
"""

from collections.abc import Callable
from hashlib import sha256
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import quote

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)

from minimixproxy.config import checks, cluster_checks, websocket_checks
from minimixproxy.config.deprecated import understood
from minimixproxy.config.errors import explain
from minimixproxy.config.toml_file import TOMLError, read_toml
from minimixproxy.logs.logger import Logger

DEFAULT_STATE = Path("/var/lib/minimixproxy/minimixproxy.sqlite")
LONGEST_NAME = 60  # characters of a directory: the path of a socket in it has 107 bytes at most


class ConfigError(Exception):
    """The file cannot be used. The text names file and key, and says what is allowed."""


class Section(BaseModel):
    """A table of the file: no unknown keys, no silent conversions, and unchangeable but by `take_over`.

    Whoever works by a table is handed it once and reads a value when it needs that: so a reload reaches everybody.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    #: Which key tells tables of `[[this]]` kind from each other.
    identified_by: ClassVar[str] = "endpoint"

    def take_over(self, new: Self) -> None:
        """Have the values of another one from now on: at a reload, and all at once."""
        self.__dict__.update(new.__dict__)


Seconds = Annotated[float, Field(gt=0, le=86400)]
FilePath = Annotated[Path, BeforeValidator(checks.resolve_path)]
State = Annotated[Path | SecretStr, BeforeValidator(checks.state)]  # a file, or a URL, which may hold a password
ReadablePath = Annotated[FilePath, AfterValidator(checks.readable)]
DomainName = Annotated[str, AfterValidator(checks.prepare_domain)]
BareJID = Annotated[str, AfterValidator(checks.prepare_bare_jid)]
JID = Annotated[str, AfterValidator(checks.prepare_jid)]
ServerEndpoint = Annotated[str, AfterValidator(checks.server_endpoint)]
HostName = Annotated[str, AfterValidator(checks.host_name)]
ClientEndpoint = Annotated[str, AfterValidator(checks.client_endpoint)]
Origin = Annotated[str, AfterValidator(websocket_checks.origin)]
Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(websocket_checks.network)]
WebSocketURL = Annotated[str, AfterValidator(websocket_checks.url)]


class Listen(Section):
    """Where clients connect to."""

    endpoint: ServerEndpoint
    tls: Literal["starttls", "direct"] = "starttls"

    @model_validator(mode="after")
    def _tls_of_the_endpoint(self) -> "Listen":
        if self.tls == "starttls" and checks.brings_its_own_tls(self.endpoint):
            raise ValueError('an "ssl:" endpoint does TLS from the first byte: say tls = "direct"')
        return self


class WebSocket(Section):
    """Where clients connect to by WebSocket (RFC 7395): browsers, mostly."""

    endpoint: ServerEndpoint
    # Whether TLS is our own, or ends at a reverse proxy.
    tls: Literal["direct", "proxy"]
    path: Annotated[str, AfterValidator(websocket_checks.path)] = "/xmpp-websocket"
    # Pages that may connect, "*" for all; who is no browser may.
    origins: Annotated[tuple[Origin, ...], BeforeValidator(checks.strings)] = ()
    # Who may be the reverse proxy, and say who the client is.
    trusted_proxies: Annotated[tuple[Network, ...], BeforeValidator(checks.strings)] = ()
    # Where clients find it (XEP-0156), as far as it is not here.
    url: Annotated[tuple[WebSocketURL, ...], BeforeValidator(checks.one_or_more)] = ()

    @model_validator(mode="after")
    def _reverse_proxy(self) -> "WebSocket":
        websocket_checks.behind_a_proxy(self.tls, self.trusted_proxies)
        return self

    @property
    def urls(self) -> tuple[str, ...]:
        """Where clients find it; none if only the reverse proxy knows."""
        return self.url or (("wss://{host}" + self.path,) if self.tls == "direct" else ())


class Domain(Section):
    """An XMPP domain that is served, and where its server is."""

    name: Annotated[DomainName, Field(exclude=True)]  # written in the head of the table, not as a key
    certificate: ReadablePath | None = None
    private_key: ReadablePath | None = None
    upstream: ClientEndpoint | None = None
    upstream_trust: Annotated[Literal["system", "insecure"] | Path, BeforeValidator(checks.trust)] = "system"
    # Tell the server by the PROXY protocol whence each client comes.
    upstream_proxy_protocol: bool = False
    # Bind logins at the server to the TLS connection (SCRAM-…-PLUS), where the server offers that.
    upstream_channel_binding: bool = True
    # Say to clients, in SCRAM, what they were offered, and compare what the server says of that (XEP-0474).
    scram_downgrade_protection: bool = True
    # Keep a password on disk where the server leaves nothing else to come back with.
    keep_passwords: bool = False
    # What clients may log in with: their password, or a proof that they know it.
    logins: Annotated[
        tuple[Literal["SCRAM", "PLAIN"], ...], BeforeValidator(checks.one_or_more), AfterValidator(checks.each_once)
    ] = ("SCRAM", "PLAIN")
    # Pass in-band registration (XEP-0077) to the server before login, where it offers that.
    registration: bool = True

    @model_validator(mode="after")
    def _certificate_with_key(self) -> "Domain":
        if (self.certificate is None) != (self.private_key is None):
            missing = "certificate" if self.certificate is None else "private_key"
            raise ValueError(f"{missing} is missing: give both certificate and private_key, or neither")
        if self.certificate is not None and self.private_key is not None:
            checks.key_pair(self.certificate, self.private_key)
        return self

    @model_validator(mode="after")
    def _proxy_protocol_before_all_else(self) -> "Domain":
        if self.upstream_proxy_protocol:
            checks.takes_proxy_header(self.upstream)
        return self


class Rooms(Section):
    """How the account behaves in rooms, and how much of them is kept in memory."""

    leave_grace: Annotated[float, Field(ge=0, le=3600)] = 3.0
    # How long an account stays in its rooms with no client connected; 0: it leaves with the last one.
    stay: Annotated[float, Field(ge=0, le=10 * 365 * 86400)] = 90 * 86400.0
    history: Annotated[int, Field(ge=0, le=100_000)] = 500
    history_age: Annotated[float, Field(ge=60, le=10 * 365 * 86400)] = 30 * 86400.0
    max_rooms: Annotated[int, Field(ge=1, le=100_000)] = 1000
    max_occupants: Annotated[int, Field(ge=1, le=1_000_000)] = 50_000
    # Bytes of what one room shows, and of what all rooms of an account show beyond the 128 KiB that each may have.
    room_memory: Annotated[int, Field(ge=256 * 1024, le=1024**3)] = 16 * 1024**2
    account_memory: Annotated[int, Field(ge=1024**2, le=16 * 1024**3)] = 64 * 1024**2
    away: Annotated[str, Field(max_length=1000)] = ""
    # How long a sign of life from a room answers self-pings (XEP-0410) here; 0: each is asked there.
    fresh: Annotated[float, Field(ge=0, le=3600)] = 60.0
    # How long a room may be silent before the account asks it whether it is still in.
    self_ping: Seconds = 300.0
    # A client joins by another nick than the account has: it is told so (210), or the account takes that nick.
    nick_on_join: Literal["keep", "change"] = "keep"
    # How long the server may be silent on the account stream before it is pinged, and after that before it is given up.
    ping_interval: Annotated[float, Field(ge=1, le=3600)] = 30.0
    iq_timeout: Seconds = 120.0
    # With more other occupants than this, one who joins is shown those who matter; 0: all, however many.
    replay_occupants: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    # What of a room waits for a client that says that it is inactive (XEP-0352), and which messages do not.
    inactive: Literal["hold", "states", "pass"] = "hold"
    notify: Literal["private", "mentions", "all"] = "private"
    bookmarks: Literal["follow", "sync", "off"] = "follow"
    bookmarks_interval: Annotated[float, Field(ge=1, le=86400)] = 600.0


class Push(Section):
    """What push services are told for devices that sleep or are gone (XEP-0357)."""

    # Which messages of rooms, where the room's bookmark does not say (XEP-0492).
    rooms: Literal["private", "mentions", "all", "none"] = "private"
    # How long another device that is awake has to show that it was read there; and between two publications.
    delay: Annotated[float, Field(ge=0, le=300)] = 5.0
    # Whether the services are told who has said the last message, and what.
    sender: bool = False
    body: bool = False


class Sessions(Section):
    """What becomes of a client's session when its connection is lost (XEP-0198)."""

    # How long it sleeps, and can be resumed; 0: it ends at once.
    resume: Annotated[int, Field(ge=0, le=86400)] = 600
    sleeping_per_account: Annotated[int, Field(ge=1, le=10_000)] = 10
    # Seconds for which a token logs a device in that does not use it (XEP-0484); 0: nobody is given one.
    token_lifetime: Annotated[int, Field(ge=0, le=10 * 365 * 86400)] = 30 * 86400
    # Where a client is to connect to for that, if it is not where it did: "host" or "host:port".
    location: Annotated[str, Field(max_length=300)] = ""


class Limits(Section):
    """What one client may cost."""

    # RFC 6120 13.12 forbids a maximum below 10000 bytes.
    stanza_size: Annotated[int, Field(ge=10_000, le=64 * 1024 * 1024)] = 256 * 1024
    stanza_depth: Annotated[int, Field(ge=16, le=10_000)] = 1000
    authentication_timeout: Annotated[float, Field(ge=1, le=3600)] = 60.0
    connections_per_address: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    # So many failures are free; each further one doubles the delay, up to the maximum.
    failed_logins: Annotated[int, Field(ge=0, le=1000)] = 3
    failed_login_delay: Annotated[float, Field(ge=0, le=3600)] = 1.0
    failed_login_delay_max: Annotated[float, Field(ge=0, le=86400)] = 60.0
    registrations_per_address: Annotated[int, Field(ge=1, le=1_000_000)] = 5  # in an hour
    send_queue: Annotated[int, Field(ge=64 * 1024, le=1024 * 1024 * 1024)] = 4 * 1024 * 1024

    @model_validator(mode="after")
    def _delays_in_order(self) -> "Limits":
        if self.failed_login_delay > self.failed_login_delay_max:
            raise ValueError("failed_login_delay must not exceed failed_login_delay_max")
        return self


class Web(Section):
    """The operator's web site: metrics, health, and a page. Nobody logs in to it, so it is for this machine only."""

    endpoint: ServerEndpoint = "tcp:5290:interface=127.0.0.1"
    # The names by which it is asked for, beside addresses and localhost: those of a reverse proxy's site, say.
    hosts: Annotated[tuple[HostName, ...], BeforeValidator(checks.strings)] = ()

    @model_validator(mode="after")
    def _package_is_there(self) -> "Web":
        checks.has_package("prometheus_client", "web")
        return self


class Cluster(Section):
    """Several processes with one state: who this one is, and how the others reach it."""

    name: Annotated[str, AfterValidator(cluster_checks.name)]
    endpoint: Annotated[str, AfterValidator(cluster_checks.endpoint)]
    # Where others connect to, unless it is a UNIX socket.
    address: Annotated[str, AfterValidator(cluster_checks.address)] | None = None
    # All have the same. It is looked at when it is opened, by the user as whom the proxy runs.
    secret: FilePath
    # The authority that has signed the certificates of all, and of nobody else; and the own certificate.
    ca: ReadablePath | None = None
    certificate: ReadablePath | None = None
    key: ReadablePath | None = None

    @model_validator(mode="after")
    def _tls_is_complete(self) -> "Cluster":
        for_tls = {key: getattr(self, key) for key in ("address", "ca", "certificate", "key")}
        cluster_checks.complete(cluster_checks.place(self.endpoint), for_tls)
        if self.ca is not None and self.certificate is not None and self.key is not None:
            checks.load_certificates(self.ca)
            checks.key_pair(self.certificate, self.key, "key")
        return self

    @property
    def reached_at(self) -> str:
        """Where others connect to: "HOST:PORT", or the path of a UNIX socket."""
        where = cluster_checks.place(self.endpoint)
        return str(where.path) if isinstance(where, cluster_checks.UnixPlace) else str(self.address)


class Log(Section):
    """What is written to the log, and how."""

    level: Literal["debug", "info", "warn", "error", "critical"] = "info"
    format: Literal["text", "json"] = "text"


class ClientProxy(Section):
    """A component domain (XEP-0114) whose IQs are answered by resources of the target account."""

    identified_by: ClassVar[str] = "domain"

    domain: DomainName
    target: Annotated[tuple[BareJID, ...], BeforeValidator(checks.one_or_more)]
    server: Annotated[tuple[ClientEndpoint, ...], BeforeValidator(checks.one_or_more)]
    secret: Annotated[str, Field(min_length=1, repr=False)] = ""
    secret_file: ReadablePath | None = None

    # which resource gets a request
    policy: Literal["random", "round-robin", "least-outstanding", "sender", "failover"] = "random"
    session_timeout: Seconds = 600.0  # how long an idle exchange of several steps stays with its resource
    max_sessions: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    max_resources: Annotated[int, Field(ge=1, le=100_000)] = 1000
    # how long a request may take, and when a resource that owes an answer is pinged
    timeout: Annotated[float, Field(ge=1, le=3600)] = 60.0
    ping_after: Annotated[float, Field(ge=1, le=3600)] = 10.0
    # who may ask, and how much
    allow: Annotated[tuple[JID, ...], BeforeValidator(checks.strings)] = ()
    deny: Annotated[tuple[JID, ...], BeforeValidator(checks.strings)] = ()
    rate: Annotated[float, Field(ge=0, le=1_000_000)] = 0.0  # stanzas a second of one asker; 0: no limit
    burst: Annotated[int, Field(ge=1, le=1_000_000)] = 20
    max_open: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    max_open_per_asker: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    stanza_size: Annotated[int, Field(ge=10_000, le=64 * 1024 * 1024)] = 512 * 1024
    subscriptions: Literal["accept", "target"] = "accept"
    # how the domain shows itself
    name: Annotated[str, Field(max_length=200)] = "Client proxy"
    identity_category: Annotated[str, Field(min_length=1, max_length=100)] = "component"
    identity_type: Annotated[str, Field(min_length=1, max_length=100)] = "generic"
    # addresses that need a token
    token_lifetime: Annotated[float, Field(gt=0, le=30 * 86400)] = 86400.0
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000

    @model_validator(mode="after")
    def _targets_elsewhere(self) -> "ClientProxy":
        checks.no_duplicates("target", self.target)
        for target in self.target:
            if target.endswith(f"@{self.domain}"):
                raise ValueError(f'target "{target}" is in the proxied domain itself; it must be an account elsewhere')
        return self

    @model_validator(mode="before")
    @classmethod
    def _secret_from_file(cls, table: Any, info: Any) -> Any:
        """After this, `secret` holds the secret wherever it came from."""
        return checks.read_secret(table, info) if isinstance(table, dict) else table


class Settings(BaseModel):
    """The whole file."""

    model_config = Section.model_config

    state: State = DEFAULT_STATE
    state_directory: FilePath | None = None
    seal_key: FilePath | None = None
    listen: Annotated[tuple[Listen, ...], BeforeValidator(checks.tables)] = ()
    websocket: Annotated[tuple[WebSocket, ...], BeforeValidator(checks.tables)] = ()
    domain: dict[str, Domain] = Field(default_factory=dict)
    # Tables of their own for each `Settings`, as a reload changes them in place.
    rooms: Rooms = Field(default_factory=Rooms)
    push: Push = Field(default_factory=Push)
    sessions: Sessions = Field(default_factory=Sessions)
    limits: Limits = Field(default_factory=Limits)
    log: Log = Field(default_factory=Log)
    web: Web | None = None
    cluster: Cluster | None = None
    client_proxy: Annotated[tuple[ClientProxy, ...], BeforeValidator(checks.tables)] = ()

    @property
    def serves_clients(self) -> bool:
        """Whether clients connect to it."""
        return bool(self.listen or self.websocket)

    @property
    def directory(self) -> Path:
        """Where all that is kept beside the database lives."""
        alone = self.client_proxy[0].domain if self.client_proxy and not self.serves_clients else ""
        named = self.model_fields_set & {"state", "state_directory"}
        return directory_of(self.state, self.state_directory) if named or not alone else directory_alone(alone)

    @model_validator(mode="before")
    @classmethod
    def _name_domains(cls, data: Any) -> Any:
        return checks.name_domains(data) if isinstance(data, dict) else data

    @model_validator(mode="after")
    def _complete(self) -> "Settings":
        if self.serves_clients and not self.domain:
            raise ValueError('no [domain."…"] table says which domains are served')
        if self.domain and not self.serves_clients:
            raise ValueError("no [[listen]] or [[websocket]] table says where clients connect to")
        if not self.serves_clients and not self.client_proxy:
            raise ValueError('nothing to do: needs [[listen]] or [[websocket]] and [domain."…"], or [[client_proxy]]')
        websockets = [websocket.endpoint for websocket in self.websocket]
        checks.no_duplicates("endpoint", [listen.endpoint for listen in self.listen] + websockets)
        checks.no_duplicates("[[client_proxy]] domain", [proxy.domain for proxy in self.client_proxy])
        return self

    @model_validator(mode="after")
    def _state_of_a_cluster(self) -> "Settings":
        if self.cluster is None:
            return self
        if not self.serves_clients:
            raise ValueError("[cluster] is for processes that serve clients: it needs [[listen]] or [[websocket]], too")
        if isinstance(self.state, Path):
            raise ValueError('[cluster] needs a state that all share: state = "postgresql://user@host/database"')
        return self


def directory_of(state: Path | SecretStr, state_directory: Path | None) -> Path:
    """Return where all that is kept beside the database lives."""
    if state_directory is not None:
        return state_directory
    return state.parent if isinstance(state, Path) else DEFAULT_STATE.parent


def directory_alone(domain: str) -> Path:
    """Return where the control socket is of a proxy that has nothing to keep: its client_proxy domain's own place.

    So it is in nobody's way, and nobody takes it for another.
    """
    name = quote(domain, safe="")
    if len(name) > LONGEST_NAME:
        name = sha256(domain.encode()).hexdigest()[:16]
    return DEFAULT_STATE.parent / "client_proxy" / name


def read(path: Path) -> dict[str, Any]:
    """Read the file as TOML. Raises ConfigError."""
    try:
        return read_toml(path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except TOMLError as error:
        raise ConfigError(f"{path}: {error}") from error


def _log_warning(text: str) -> None:
    """Twisted keeps what is logged before a log is there, and writes it then."""
    Logger().warn("{text}", text=text)


def load(path: Path, warn: Callable[[str], None] = _log_warning) -> Settings:
    """Read and check the file. `warn` is told, line by line, what will not be understood much longer.

    Raises ConfigError, whose text has one line for every fault found.
    """
    data, warnings, faults = understood(read(path))
    if faults:
        raise ConfigError("\n".join(f"{path}: {line}" for line in faults))
    for line in warnings:
        warn(f"{path}: {line}")
    try:
        return Settings.model_validate(data, context={"directory": path.absolute().parent})
    except ValidationError as error:
        raise ConfigError("\n".join(f"{path}: {line}" for line in explain(error, Settings))) from error
