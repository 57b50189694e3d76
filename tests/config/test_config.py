"""The configuration file: what is accepted, and how each fault is told."""

import json
import os
from pathlib import Path
from typing import get_args

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError
from pydantic_core.core_schema import ErrorType
from twisted.internet import endpoints, ssl
from twisted.trial import unittest

from minimixproxy.config import checks
from minimixproxy.config import settings as config
from minimixproxy.config.errors import PLAIN_TYPES, explain
from tests.certificates import DAMAGES, damage, make_authority, make_certificate
from tests.examples import examples

LISTEN = '[[listen]]\nendpoint = "tcp:5222"\n'
DOMAIN = '[domain."example.org"]\n'
MINIMAL = LISTEN + DOMAIN
PROXY = '[[client_proxy]]\ndomain = "proxy.example.org"\ntarget = "bot@example.org"\nserver = "tcp:127.0.0.1:5347"\n'
PROXY_COMPLETE = PROXY + 'secret = "s3cret"\n'

#: That are neither a server's nor a client's.
BAD_ENDPOINTS = (
    *("", ":", "tcp", "tcp:", "tcp:x", "tcp:5222:foo=1", "tcp:5222:backlog=x", "pct:1", "unix", "ssl:5223"),
    *("ssl:5223:privateKey=/nope", "haproxy:", "haproxy:tcp:x", "5222", "tls:host:5223:foo=2", "tcp:99999", "tcp:-1"),
)

VERIFIES_NOTHING = (
    'an "ssl:" endpoint verifies no certificate, so anybody can be the server: say "tls:HOST:PORT", which verifies '
    'HOST, or for a domain\'s upstream "tcp:HOST:PORT" or nothing, with upstream_trust'
)

FULL = """
state = "state.sqlite"

[[listen]]
endpoint = "tcp:5222"
tls = "starttls"

[[listen]]
endpoint = "haproxy:tcp:5223"
tls = "direct"

[domain."example.org"]
certificate = "example.pem"
private_key = "example.key"
upstream = "tcp:127.0.0.1:15222"
upstream_trust = "authority.pem"

[domain."Bücher.Example."]

[rooms]
leave_grace = 0
history = 20

[limits]
stanza_size = 10000

[[client_proxy]]
domain = "proxy.example.org"
target = ["Bot@example.org", "bot2@example.org"]
server = ["tcp:127.0.0.1:5347", "tcp:127.0.0.1:5348"]
secret_file = "secret"
"""

# name: file, and what each line of the error says after "FILE: "
WEBSOCKET = '[[websocket]]\nendpoint = "tcp:5281"\n'
#: What `[[websocket]]` says wrongly, and what is said of it.
WEBSOCKET_FAULTS = {
    "": "[[websocket]] #1 tls: is missing",
    'tls = "starttls"': '[[websocket]] #1 tls: must be "direct" or "proxy", not "starttls"',
    'tls = "proxy"': (
        '[[websocket]] #1: tls = "proxy" needs trusted_proxies: the addresses from which the reverse proxy connects, '
        'such as ["127.0.0.1", "::1"]'
    ),
    'tls = "direct"\ntrusted_proxies = ["::1"]': (
        '[[websocket]] #1: trusted_proxies is for tls = "proxy": nobody else may say who the client is'
    ),
    'tls = "proxy"\ntrusted_proxies = ["proxy.example"]': (
        '[[websocket]] #1 trusted_proxies: must be an address or a network, such as "127.0.0.1" or "10.0.0.0/8"'
    ),
    'tls = "proxy"\ntrusted_proxies = ["10.0.0.1/8"]': (
        '[[websocket]] #1 trusted_proxies: must be an address or a network, such as "127.0.0.1" or "10.0.0.0/8"'
    ),
    'tls = "direct"\npath = "ws"': ('[[websocket]] #1 path: must be the path of a URL, such as "/xmpp-websocket"'),
    'tls = "direct"\npath = "/.well-known/host-meta"': (
        "[[websocket]] #1 path: is where host-meta is served: choose another path"
    ),
    'tls = "direct"\norigins = "*"': "[[websocket]] #1 origins: must be a list of strings",
    'tls = "direct"\nurl = "https://example.org/"': (
        '[[websocket]] #1 url: must be a URL, such as "wss://chat.example.org/xmpp-websocket" or "wss://{domain}/ws"'
    ),
    'tls = "direct"\nurl = "wss://{user}/"': (
        '[[websocket]] #1 url: must be a URL, such as "wss://chat.example.org/xmpp-websocket" or "wss://{domain}/ws"'
    ),
}
NO_ORIGINS = (
    "https://chat.example.org/",
    "https://chat.example.org:443",
    "HTTPS://chat.example.org",
    "chat.example.org",
    "https://user@chat.example.org",
    "https://",
    "https://a:b",
    "",
)

FAULTS: dict[str, tuple[str, list[str]]] = {
    "empty": ("", ['nothing to do: needs [[listen]] or [[websocket]] and [domain."…"], or [[client_proxy]]']),
    "no domain": (LISTEN, ['no [domain."…"] table says which domains are served']),
    "no listen": (DOMAIN, ["no [[listen]] or [[websocket]] table says where clients connect to"]),
    "state": (
        'state = "mysql://root:s3cret@localhost/x"\n' + MINIMAL,
        ['state: must be a file name or a URL, "postgresql://user@host/database"'],
    ),
    "state of another type": (
        "state = 5\n" + MINIMAL,
        ['state: must be a file name or a URL, "postgresql://user@host/database"'],
    ),
    "state's port": (
        'state = "postgresql://alice:s3cret@localhost:port/x"\n' + MINIMAL,
        ['state: cannot be read as a URL; it must be "postgresql://user@host/database"'],
    ),
    "no file name": (
        'state_directory = ""\nseal_key = 5\n' + MINIMAL,
        ["state_directory: must be a file name", "seal_key: must be a file name"],
    ),
    "tls": (
        LISTEN + 'tls = "ssl"\n' + DOMAIN,
        ['[[listen]] #1 tls: must be "starttls" or "direct", not "ssl"'],
    ),
    "second listen": (
        LISTEN + "[[listen]]\nendpoint = 5222\n" + DOMAIN,
        ["[[listen]] #2 endpoint: must be a string, not 5222"],
    ),
    "missing endpoint": ("[[listen]]\n" + DOMAIN, ["[[listen]] #1 endpoint: is missing"]),
    "endpoint type": (
        '[[listen]]\nendpoint = "pct:5222"\n' + DOMAIN,
        ['[[listen]] #1 endpoint: must be a Twisted server endpoint, such as "tcp:5222": there is no kind "pct"'],
    ),
    "web": (
        MINIMAL + '[web]\nendpoint = "tcp:x"\nhosts = ["a.test:80", "b test", 5, ""]\n',
        [
            '[web] endpoint: must be a Twisted server endpoint, such as "tcp:5222": "x" is no number',
            *(
                '[web] hosts: must be the name of a host, without a port, such as "proxy.example.org"'
                for _wrong in ("port", "space")
            ),
            "[web] hosts: must be a string, not 5",
            '[web] hosts: must be the name of a host, without a port, such as "proxy.example.org"',
        ],
    ),
    "web in brackets": (MINIMAL + "[[web]]\n", ["web: must be a table, not a list"]),
    "one bracket": (
        '[listen]\nendpoint = "tcp:5222"\n' + DOMAIN,
        ["[listen]: must be written with double brackets, and may then be repeated"],
    ),
    "duplicate listen": (LISTEN + MINIMAL, ['endpoint "tcp:5222" is there twice']),
    "unknown key": (
        MINIMAL + "[rooms]\nhistroy = 5\n",
        ["[rooms] histroy: unknown key; did you mean history? Known: " + ", ".join(sorted(config.Rooms.model_fields))],
    ),
    "unknown table": (
        MINIMAL + "[q]\n",
        [
            "[q]: unknown key; known: "
            "client_proxy, cluster, domain, limits, listen, log, push, rooms, seal_key, sessions, state, "
            "state_directory, web, websocket"
        ],
    ),
    "unknown domain key": (
        MINIMAL + 'upsteram = "tcp:h:1"\n',
        [
            '[domain."example.org"] upsteram: unknown key; did you mean upstream? '
            "Known: certificate, keep_passwords, logins, private_key, registration, scram_downgrade_protection, "
            "upstream, upstream_channel_binding, upstream_proxy_protocol, upstream_trust"
        ],
    ),
    "unknown key that looks like a branch of ours": (
        MINIMAL + "[[is-1n]]\n",
        [
            "is-1n: unknown key; known: "
            "client_proxy, cluster, domain, limits, listen, log, push, rooms, seal_key, sessions, state, "
            "state_directory, web, websocket"
        ],
    ),
    "unknown key of a domain that looks like a branch of ours": (
        MINIMAL + '[domain."is-a.example"]\nupsteram = "x"\n',
        [
            '[domain."is-a.example"] upsteram: unknown key; did you mean upstream? '
            "Known: certificate, keep_passwords, logins, private_key, registration, scram_downgrade_protection, "
            "upstream, upstream_channel_binding, upstream_proxy_protocol, upstream_trust"
        ],
    ),
    "PROXY protocol to nobody in particular": (
        MINIMAL + "upstream_proxy_protocol = true\n",
        [
            '[domain."example.org"]: upstream_proxy_protocol needs upstream, "tcp:HOST:PORT" or "unix:PATH": a server '
            "that is not known to expect the PROXY protocol would refuse everybody"
        ],
    ),
    "PROXY protocol within TLS": (
        MINIMAL + 'upstream = "TLS:h:5223"\nupstream_proxy_protocol = true\n',
        [
            '[domain."example.org"]: upstream_proxy_protocol needs a "tcp:" or "unix:" upstream, not "TLS:h:5223": '
            "the PROXY header goes before TLS"
        ],
    ),
    "PROXY protocol, perhaps": (
        MINIMAL + 'upstream = "tcp:h:1"\nupstream_proxy_protocol = "yes"\n',
        ['[domain."example.org"] upstream_proxy_protocol: must be true or false, not "yes"'],
    ),
    "domain without quotation marks": (
        LISTEN + '[domain.example.org]\nupstream = "tcp:127.0.0.1:15222"\n',
        ['[domain.example.org]: the name needs quotation marks: [domain."example.org"]'],
    ),
    "longer domain without quotation marks": (
        LISTEN + "[domain.xmpp.example.org]\n",
        ['[domain.xmpp.example.org]: the name needs quotation marks: [domain."xmpp.example.org"]'],
    ),
    "name is no key": (MINIMAL + 'name = "x"\n', ['[domain."example.org"] name: unknown key']),
    "domain name": (LISTEN + '[domain."a b"]\n', ['[domain."a b"]: must be a domain name']),
    "domain with an empty label": (LISTEN + '[domain."a..b"]\n', ['[domain."a..b"]: must be a domain name']),
    "domain is a JID": (LISTEN + '[domain."me@here"]\n', ['[domain."me@here"]: must be a domain name']),
    "same domain": (MINIMAL + '[domain."EXAMPLE.org"]\n', ['[domain."EXAMPLE.org"] is there twice']),
    "certificate alone": (
        MINIMAL + 'certificate = "example.pem"\n',
        ['[domain."example.org"]: private_key is missing: give both certificate and private_key, or neither'],
    ),
    "key alone": (
        MINIMAL + 'private_key = "example.key"\n',
        ['[domain."example.org"]: certificate is missing: give both certificate and private_key, or neither'],
    ),
    "unreadable": (
        MINIMAL + 'certificate = "none.pem"\nprivate_key = "example.key"\n',
        ['[domain."example.org"] certificate: DIR/none.pem cannot be read: No such file or directory'],
    ),
    "no certificate in file": (
        MINIMAL + 'certificate = "example.key"\nprivate_key = "example.key"\n',
        ['[domain."example.org"]: DIR/example.key holds no certificate in PEM'],
    ),
    "no key in file": (
        MINIMAL + 'certificate = "example.pem"\nprivate_key = "example.pem"\n',
        ['[domain."example.org"]: private_key: DIR/example.pem holds no private key in PEM'],
    ),
    "foreign key": (
        MINIMAL + 'certificate = "example.pem"\nprivate_key = "other.key"\n',
        [
            '[domain."example.org"]: private_key: DIR/other.key does not belong to the first certificate in '
            "DIR/example.pem"
        ],
    ),
    "upstream": (
        MINIMAL + 'upstream = "example.org"\n',
        [
            '[domain."example.org"] upstream: must be a Twisted client endpoint, such as "tcp:127.0.0.1:5222": '
            'there is no kind "example.org"'
        ],
    ),
    "trust": (
        MINIMAL + 'upstream_trust = "sytem"\n',
        [
            '[domain."example.org"] upstream_trust: must be "system", "insecure" or the name of a PEM file: '
            "DIR/sytem cannot be read: No such file or directory"
        ],
    ),
    "trust in nothing": (
        MINIMAL + 'upstream_trust = ""\n',
        ['[domain."example.org"] upstream_trust: must be "system", "insecure" or the name of a PEM file'],
    ),
    "trust of another type": (
        MINIMAL + "upstream_trust = true\n",
        ['[domain."example.org"] upstream_trust: must be "system", "insecure" or the name of a PEM file'],
    ),
    "trust without certificate": (
        MINIMAL + 'upstream_trust = "secret"\n',
        [
            '[domain."example.org"] upstream_trust: must be "system", "insecure" or the name of a PEM file: '
            "DIR/secret holds no certificate in PEM"
        ],
    ),
    "starttls over ssl": (
        '[[listen]]\nendpoint = "ssl:5223:privateKey=DIR/example.both:certKey=DIR/example.both"\n' + DOMAIN,
        ['[[listen]] #1: an "ssl:" endpoint does TLS from the first byte: say tls = "direct"'],
    ),
    "upstream that verifies nothing": (
        MINIMAL + 'upstream = "ssl:127.0.0.1:5223"\n',
        ['[domain."example.org"] upstream: ' + VERIFIES_NOTHING],
    ),
    "upstream that verifies nothing, in other letters": (
        MINIMAL + "upstream = 'S\\sL:127.0.0.1:5223'\n",
        ['[domain."example.org"] upstream: ' + VERIFIES_NOTHING],
    ),
    "server that verifies nothing": (
        PROXY_COMPLETE.replace('"tcp:127.0.0.1:5347"', '["tcp:127.0.0.1:5347", "ssl:127.0.0.1:5348"]'),
        ["[[client_proxy]] #1 server: " + VERIFIES_NOTHING],
    ),
    "number as text": (
        MINIMAL + '[rooms]\nleave_grace = "3"\n',
        ['[rooms] leave_grace: must be a number, not "3"'],
    ),
    "negative": (
        MINIMAL + "[rooms]\nleave_grace = -1\n",
        ["[rooms] leave_grace: must be greater than or equal to 0, not -1"],
    ),
    "infinite": (
        MINIMAL + "[rooms]\niq_timeout = inf\n",
        ["[rooms] iq_timeout: must be a finite number, not Infinity"],
    ),
    "stanza size below RFC 6120": (
        MINIMAL + "[limits]\nstanza_size = 9999\n",
        ["[limits] stanza_size: must be greater than or equal to 10000, not 9999"],
    ),
    "delays": (
        MINIMAL + "[limits]\nfailed_login_delay = 5.0\nfailed_login_delay_max = 1.0\n",
        ["[limits]: failed_login_delay must not exceed failed_login_delay_max"],
    ),
    "no secret": (PROXY, ["[[client_proxy]] #1: needs either secret or secret_file"]),
    "two secrets": (
        PROXY_COMPLETE + 'secret_file = "secret"\n',
        ["[[client_proxy]] #1: needs either secret or secret_file"],
    ),
    "secret is not shown": (PROXY + "secret = 12345\n", ["[[client_proxy]] #1 secret: must be a string"]),
    "empty secret": (PROXY + 'secret = ""\n', ["[[client_proxy]] #1 secret: must not be empty"]),
    "empty secret file": (
        PROXY + 'secret_file = "empty"\n',
        ["[[client_proxy]] #1: secret_file: DIR/empty is empty"],
    ),
    "target": (
        PROXY_COMPLETE.replace("bot@", ""),
        ['[[client_proxy]] #1 target: must be a bare JID, such as "user@example.org"'],
    ),
    "target with an empty label": (
        PROXY_COMPLETE.replace("bot@example.org", "bot@.example"),
        ['[[client_proxy]] #1 target: must be a bare JID, such as "user@example.org"'],
    ),
    "no server": (
        PROXY_COMPLETE.replace('"tcp:127.0.0.1:5347"', "[]"),
        ["[[client_proxy]] #1 server: must be a string or a list of strings"],
    ),
    "duplicate component": (PROXY_COMPLETE * 2, ['[[client_proxy]] domain "proxy.example.org" is there twice']),
    "login twice": (
        MINIMAL + 'logins = ["PLAIN", "SCRAM", "PLAIN"]\n',
        ['[domain."example.org"] logins: must name each one once'],
    ),
    "several": (
        LISTEN + "tls = 1\n" + DOMAIN + "[rooms]\nhistory = true\n",
        [
            '[[listen]] #1 tls: must be "starttls" or "direct", not 1',
            "[rooms] history: must be a whole number, not true",
        ],
    ),
}


class ConfigTestCase(unittest.TestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.file = self.directory / "minimixproxy.toml"
        authority = make_authority()
        (self.directory / "authority.pem").write_bytes(authority.certificate_pem())
        pair = make_certificate(authority, "example.org")
        pair.write(self.directory, "example")
        make_certificate(authority, "other.org").write(self.directory, "other")
        (self.directory / "example.both").write_bytes(pair.key_pem() + pair.certificate_pem())
        (self.directory / "secret").write_text("s3cret from file\n")
        (self.directory / "empty").write_text("\n")

    def load(self, text: str | bytes) -> config.Settings:
        self.file.write_bytes(text.encode() if isinstance(text, str) else text)
        return config.load(self.file)

    def fault(self, text: str | bytes) -> str:
        return str(self.assertRaises(config.ConfigError, self.load, text))


class WebSocketTests(unittest.TestCase):
    def load(self, more: str) -> config.Settings:
        file = Path(self.mktemp())
        file.write_text(WEBSOCKET + more + "\n" + DOMAIN)
        return config.load(file)

    def test_faults(self) -> None:
        for more, fault in WEBSOCKET_FAULTS.items():
            with self.assertRaises(config.ConfigError, msg=more) as caught:
                self.load(more)
            self.assertTrue(str(caught.exception).endswith(f": {fault}"), str(caught.exception))

    def test_origins(self) -> None:
        for origin in NO_ORIGINS:
            with self.assertRaises(config.ConfigError, msg=origin) as caught:
                self.load(f'tls = "direct"\norigins = ["{origin}"]')
            self.assertIn("must be an origin as browsers write it", str(caught.exception))
        good = [
            "https://chat.example.org",
            "https://[::1]:8443",
            "http://localhost:8080",
            "capacitor://localhost",
            "*",
            "null",
        ]
        self.assertEqual(self.load(f'tls = "direct"\norigins = {json.dumps(good)}').websocket[0].origins, tuple(good))

    def test_alone(self) -> None:
        """Nothing else is needed for clients."""
        settings = self.load('tls = "proxy"\ntrusted_proxies = ["127.0.0.1", "fd00::/8"]\nurl = "wss://{domain}/ws"')
        self.assertTrue(settings.serves_clients)
        networks = [str(network) for network in settings.websocket[0].trusted_proxies]
        self.assertEqual(networks, ["127.0.0.1/32", "fd00::/8"])
        self.assertEqual(settings.websocket[0].urls, ("wss://{domain}/ws",))
        self.assertEqual(self.load('tls = "direct"\npath = "/x"').websocket[0].urls, ("wss://{host}/x",))

    def test_an_endpoint_once(self) -> None:
        with self.assertRaises(config.ConfigError) as caught:
            self.load('tls = "direct"\n[[listen]]\nendpoint = "tcp:5281"')
        self.assertIn('endpoint "tcp:5281" is there twice', str(caught.exception))


class AcceptedTests(ConfigTestCase):
    def test_minimal(self) -> None:
        settings = self.load(MINIMAL)
        self.assertEqual(settings.listen, (config.Listen(endpoint="tcp:5222", tls="starttls"),))
        domain = settings.domain["example.org"]
        self.assertEqual(domain, config.Domain(name="example.org"))
        self.assertEqual((domain.upstream, domain.upstream_trust, domain.certificate), (None, "system", None))

    def test_defaults(self) -> None:
        settings = self.load(MINIMAL)
        self.assertEqual(settings.state, Path("/var/lib/minimixproxy/minimixproxy.sqlite"))
        self.assertEqual((settings.rooms.leave_grace, settings.rooms.history), (3.0, 500))
        self.assertEqual(settings.limits.stanza_size, 262144)

    def test_full(self) -> None:
        settings = self.load(FULL)
        self.assertEqual(settings.state, self.directory / "state.sqlite")
        self.assertEqual(settings.directory, self.directory)
        self.assertEqual([listen.tls for listen in settings.listen], ["starttls", "direct"])
        domain = settings.domain["example.org"]
        self.assertEqual(domain.certificate, self.directory / "example.pem")
        self.assertEqual(domain.private_key, self.directory / "example.key")
        self.assertEqual(domain.upstream, "tcp:127.0.0.1:15222")
        self.assertEqual(domain.upstream_trust, self.directory / "authority.pem")
        self.assertEqual(settings.rooms.leave_grace, 0)
        proxy = settings.client_proxy[0]
        self.assertEqual(proxy.target, ("bot@example.org", "bot2@example.org"))
        self.assertEqual(proxy.server, ("tcp:127.0.0.1:5347", "tcp:127.0.0.1:5348"))
        self.assertEqual(proxy.secret, "s3cret from file")

    def test_state_in_postgresql(self) -> None:
        for url in ("postgresql://alice:s3cret@db.example.org/state", "postgres:///state?host=/run/postgresql"):
            settings = self.load(f'state = "{url}"\n{MINIMAL}')
            assert isinstance(settings.state, SecretStr)
            self.assertEqual(settings.state.get_secret_value(), url)
            self.assertNotIn("s3cret", repr(settings))
            self.assertEqual(settings.directory, Path("/var/lib/minimixproxy"))

    def test_web(self) -> None:
        """No table, no site; an empty one has all that is needed."""
        self.assertIsNone(self.load(MINIMAL).web)
        web = self.load(MINIMAL + "[web]\n").web
        assert web is not None
        self.assertEqual((web.endpoint, web.hosts), ("tcp:5290:interface=127.0.0.1", ()))
        web = self.load(MINIMAL + '[web]\nendpoint = "unix:web"\nhosts = ["Proxy.Example.org."]\n').web
        assert web is not None
        self.assertEqual((web.endpoint, web.hosts), ("unix:web", ("proxy.example.org",)))

    def test_web_without_its_package(self) -> None:
        self.patch(checks, "find_spec", lambda _module: None)
        error = self.assertRaises(config.ConfigError, self.load, MINIMAL + "[web]\n")
        self.assertIn(
            "[web]: needs prometheus_client (the extra [web]), which is not installed: pip install prometheus_client",
            str(error),
        )
        self.load(MINIMAL)

    def test_state_directory(self) -> None:
        settings = self.load(f'state_directory = "beside"\nseal_key = "/etc/key"\n{MINIMAL}')
        self.assertEqual(settings.directory, self.directory / "beside")
        self.assertEqual(settings.seal_key, Path("/etc/key"))
        self.assertEqual(self.load(f'state = "x/y.sqlite"\n{MINIMAL}').directory, self.directory / "x")

    def test_domain_names_are_prepared(self) -> None:
        settings = self.load(FULL)
        self.assertEqual(sorted(settings.domain), ["bücher.example", "example.org"])
        self.assertEqual(settings.domain["bücher.example"].name, "bücher.example")

    def test_only_client_proxy(self) -> None:
        proxy = self.load(PROXY_COMPLETE).client_proxy[0]
        self.assertEqual((proxy.target, proxy.secret), (("bot@example.org",), "s3cret"))

    def test_trust_words_are_not_files(self) -> None:
        for word in ("system", "insecure"):
            domain = self.load(MINIMAL + f'upstream_trust = "{word}"\n').domain["example.org"]
            self.assertEqual(domain.upstream_trust, word)

    def test_ssl_endpoint(self) -> None:
        endpoint = f"ssl:5223:privateKey={self.directory}/example.both:certKey={self.directory}/example.both"
        settings = self.load(f'[[listen]]\nendpoint = "{endpoint}"\ntls = "direct"\n{DOMAIN}')
        self.assertEqual(settings.listen[0].endpoint, endpoint)

    def test_an_endpoint_that_wraps_one_which_verifies_nothing(self) -> None:
        inner = endpoints.SSL4ClientEndpoint(None, "host", 5223, None)
        wrapped = endpoints.wrapClientTLS(ssl.optionsForClientTLS("host"), inner)
        self.patch(endpoints, "clientFromString", lambda _reactor, _description: wrapped)
        self.assertRaises(ValueError, checks.client_endpoint, "wrap:ssl:host:5223")

    def test_systemd_endpoint_needs_no_socket_while_checking(self) -> None:
        self.patch(os, "environ", {})
        for relay in ("", "haproxy:", "HAProxy:"):
            endpoint = f"{relay}systemd:domain=INET:index=0"
            self.assertEqual(self.load(MINIMAL.replace("tcp:5222", endpoint)).listen[0].endpoint, endpoint)

    def test_frozen(self) -> None:
        settings = self.load(MINIMAL)
        with self.assertRaises(ValidationError):
            settings.rooms.history = 1

    def test_secret_is_not_in_the_representation(self) -> None:
        self.assertNotIn("s3cret", repr(self.load(PROXY_COMPLETE)))


class RefusedTests(ConfigTestCase):
    def test_faults_are_named_as_they_are(self) -> None:
        self.assertLessEqual(PLAIN_TYPES.keys(), set(get_args(ErrorType)))

    def test_faults(self) -> None:
        for name, (text, expected) in FAULTS.items():
            with self.subTest(name):
                lines = self.fault(text.replace("DIR", str(self.directory))).split("\n")
                prefix = f"{self.file}: "
                self.assertEqual([line.startswith(prefix) for line in lines], [True] * len(lines))
                said = [line.removeprefix(prefix).replace(str(self.directory), "DIR") for line in lines]
                self.assertEqual(said, expected)

    def test_certificates_that_are_damaged_inside(self) -> None:
        certificate, whole = self.directory / "example.pem", (self.directory / "example.pem").read_bytes()
        for change in DAMAGES:
            certificate.write_bytes(whole)
            damage(certificate, *change)
            fault = self.fault(MINIMAL + 'certificate = "example.pem"\nprivate_key = "example.key"\n')
            self.assertIn(f'[domain."example.org"]: {certificate} ', fault)
        certificate.write_bytes(whole)
        damage(certificate, *DAMAGES[0])
        fault = self.fault(MINIMAL + 'upstream_trust = "example.pem"\n')
        self.assertIn(f"{certificate} holds no certificate", fault)

    def test_missing_file(self) -> None:
        error = self.assertRaises(config.ConfigError, config.load, self.directory / "absent.toml")
        self.assertEqual(str(error), f"{self.directory}/absent.toml: cannot be read: No such file or directory")

    def test_not_toml(self) -> None:
        for text, told in (
            ("[[listen]\n", 'line 1: not valid TOML: the head of a table has to be closed by "]", of one that may be '),
            ("a = 1\nb = 2\na = 3", "line 3: not valid TOML: a is there twice"),
            ("[a]\nb = 1\nb = 2\n[c]\n", "line 3: not valid TOML: b is there twice"),
            ("[a]\n[b]\n[a]\n", "line 3: not valid TOML: [a] is there twice; one that may be repeated has double"),
            ("[[a]]\n[a]\n", "line 2: not valid TOML: [a] is there twice; one that may be repeated has double"),
            ('[domain."a.b"]\n[domain."a.b"]\n', "line 2: not valid TOML: [domain.a.b] is there twice"),
            ("a = {b = 1}\na.c = 2", "line 2: not valid TOML: a is complete already, elsewhere"),
            ("a.b = 1\n[a.b]\n", "line 2: not valid TOML: [a.b] is there twice, or is a key elsewhere"),
            ("a = yes", "line 1: not valid TOML: this is no value: text needs quotation marks"),
            ("a = [1,\n2", "line 2: not valid TOML: a list has to be closed by a bracket"),
            ("a = 'x\n", "line 1: not valid TOML: a text has to be closed by a quotation mark"),
            ('a = "x\n', "line 1: not valid TOML: a text has to be closed by a quotation mark"),
            ("a = 1 b = 2", "line 1: not valid TOML: something stands behind the value: one key to a line"),
            ("\n\na", 'line 3: not valid TOML: a key has to be followed by "=" and a value'),
            ("= 1", "line 1: not valid TOML: this is neither a key with a value nor the head of a [table]"),
            (r'a = "\q"', "line 1: not valid TOML: a backslash in a text is written twice"),
            ("a = " + "[" * 10_000, "not valid TOML: nested too deeply"),
        ):
            self.assertIn(told, self.fault(text))

    def test_no_words_of_pythons(self) -> None:
        """Whatever is wrong with an endpoint, and whatever with the file."""
        for description in BAD_ENDPOINTS:
            told = self.fault(f'[[listen]]\nendpoint = "{description}"\n{DOMAIN}upstream = "{description}"')
            for word in ("invalid literal", "argument", "()", "Errno", "__", "int(", "object", "None"):
                self.assertNotIn(word, told, description)

    def test_not_utf8(self) -> None:
        self.assertEqual(self.fault(b"b = 1\na = '\xff'"), f"{self.file}: line 2: not UTF-8")
        for mark, encoding in ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
            self.assertIn("byte order mark (BOM)", self.fault(mark + MINIMAL.encode(encoding)))

    def test_secret_is_never_told(self) -> None:
        text = PROXY_COMPLETE + "nonsense = 1\n"
        self.assertNotIn("s3cret", self.fault(text))

    @settings(max_examples=examples(200))
    @given(
        st.recursive(
            st.integers() | st.floats() | st.text(max_size=10) | st.booleans(),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from(["listen", "domain", "rooms", "endpoint", "target", "x"]), inner)
            ),
            max_leaves=8,
        )
    )
    def test_any_data_is_accepted_or_explained(self, value: object) -> None:
        for key in ("listen", "domain", "rooms", "limits", "client_proxy", "state"):
            try:
                config.Settings.model_validate({key: value})
            except ValidationError as error:
                for line in explain(error, config.Settings):
                    self.assertNotIn("literal[", line)
                    self.assertNotIn("function-", line)
