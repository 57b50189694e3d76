"""SCRAM exchanges of RFCs and drafts, and both ends put together."""

from __future__ import annotations

from minimixproxy.sasl.channel_binding import UNBOUND, Binding, Bindings, Gs2Header
from minimixproxy.sasl.downgrade import Offered
from minimixproxy.sasl.scram import Challenge, ScramKeys, derive_keys, hash_of, stored_key_of
from minimixproxy.sasl.scram_client import ScramClient
from minimixproxy.sasl.scram_server import Proved, ScramServer, read_client_first

# mechanism, client nonce, server-first, client-final, server-final; user "user", password "pencil" in all:
# RFC 5802 §5, RFC 7677 §3, draft-melnikov-scram-sha-512
VECTORS = (
    (
        "SCRAM-SHA-1",
        "fyko+d2lbbFgONRv9qkxdawL",
        b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
        b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
        b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
    ),
    (
        "SCRAM-SHA-256",
        "rOprNGfwEbeRWgbNEkqO",
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    ),
    (
        "SCRAM-SHA-512",
        "rOprNGfwEbeRWgbNEkqO",
        b"r=rOprNGfwEbeRWgbNEkqO02431b08-2f89-4bad-a4e6-80c0564ec865,"
        b"s=Yin2FuHTt/M0kJWb0t9OI32n2VmOGi3m+JfjOvuDF88=,i=4096",
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO02431b08-2f89-4bad-a4e6-80c0564ec865,"
        b"p=Hc5yec3NmCD7t+kFRw4/3yD6/F3SQHc7AVYschRja+Bc3sbdjlA0eH1OjJc0DD4ghn1tnXN5/Wr6qm9xmaHt4A==",
        b"v=BQuhnKHqYDwQWS5jAw4sZed+C9KFUALsbrq81bB0mh+bcUUbbMPNNmBIupnS2AmyyDnG5CTBQtkjJ9kyY4kzmw==",
    ),
)

#: What an end of a connection knows of it.
BINDINGS: Bindings = {"tls-exporter": b"e" * 32, "tls-server-end-point": b"p" * 32}
PLAIN_OFFER = Offered(("SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"))
PLUS_OFFER = Offered(
    tuple(f"SCRAM-SHA-{number}{plus}" for number in (1, 256, 512) for plus in ("", "-PLUS")), tuple(BINDINGS)
)
CHALLENGE = Challenge(b"salt of the account", 4096)


def bound(type_: str, data: bytes | None = None) -> Binding:
    """What a client sends that binds its login."""
    return Binding(Gs2Header("p", type_), BINDINGS[type_] if data is None else data)


class Ends:
    """Both ends of an exchange; each step returns what goes over the wire."""

    def __init__(
        self,
        mechanism: str = "SCRAM-SHA-1",
        username: str = "user",
        password: str = "pencil",
        *,
        binding: Binding = UNBOUND,
        offered: Offered = PLAIN_OFFER,
    ) -> None:
        hash_name = hash_of(mechanism)
        assert hash_name is not None
        self.hash_name = hash_name
        self.mechanism = mechanism
        self.offered = offered
        self.keys = derive_keys(hash_name, password, *CHALLENGE)
        self.client = ScramClient(mechanism, username, binding=binding)
        self.server: ScramServer

    def server_first(self, client_first: bytes | None = None, *, protected: bool = True) -> bytes:
        first = read_client_first(self.client.first() if client_first is None else client_first)
        self.server = ScramServer(self.mechanism, first, BINDINGS, self.offered)
        return self.server.challenge(CHALLENGE, protected=protected)

    def client_final(self, keys: ScramKeys | None = None) -> bytes:
        self.client.challenge(self.server_first(), self.offered)
        return self.client.final(self.keys if keys is None else keys)

    def check(self, client_final: bytes) -> Proved:
        stored_key = stored_key_of(self.hash_name, self.keys.client_key)
        return self.server.check(client_final, stored_key, self.keys.server_key)

    def run(self) -> Proved:
        """Log in; what the server says last is checked, too."""
        proved = self.check(self.client_final())
        self.client.verify(proved.final)
        return proved
