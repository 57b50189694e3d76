"""SCRAM with the keys that are known of an account: what both sides are told, and in which order, whoever it is."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from pathlib import Path
from typing import NamedTuple

from twisted.logger import formatEvent
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.c2s.errors import UpstreamUnreachable
from minimixproxy.c2s.server.exchanges.decoys import Decoy, Decoys
from minimixproxy.c2s.transport import client_stream
from minimixproxy.sasl.channel_binding import UNBOUND, Binding
from minimixproxy.sasl.downgrade import Offered
from minimixproxy.sasl.keys import Keys
from minimixproxy.sasl.scram import Challenge, ScramError, ScramKeys, derive_keys, hash_of, read_fields
from minimixproxy.sasl.scram_client import ScramClient
from minimixproxy.sasl.scram_server import ScramServer, read_client_first
from tests.c2s import helpers
from tests.c2s.helpers import BIND, BOUND, HEADER, SERVER_FEATURES, SERVER_HEADER, HandedServer, Lab, LabClient
from tests.c2s.server.exchanges.test_relayed_scram import ABORT, auth, element, refusal
from tests.c2s.server.test_negotiation import errors
from tests.c2s.server.test_offers import features
from tests.log_events import log_events
from tests.sasl.exchanges import BINDINGS, bound

ACCOUNT = "a@example.org"
CHALLENGE = Challenge(b"salt of the server", 4096)


def from_(account: str) -> bytes:
    return HEADER.replace(b" to=", b" from='%b' to=" % account.encode())


def data_of(said: bytes) -> bytes:
    """The data in the last element of SASL that was said."""
    return b64decode(re.findall(rb">([^<>]*)</(?:auth|challenge|response|success)>", said)[-1])


def keys(password: str = "secret", challenge: Challenge = CHALLENGE, hash_name: str = "sha256") -> Keys:
    return Keys.from_scram(hash_name, challenge, derive_keys(hash_name, password, *challenge))


class Server:
    """The server's accounts and what it says of them in SCRAM; `steps`: what it was asked, and answered."""

    def __init__(self, handed: HandedServer, accounts: dict[str, Keys], steps: list[str]) -> None:
        self.handed = handed
        self.accounts = accounts
        self.steps = steps
        self.read = 0
        self.exchange: tuple[ScramServer, Keys]

    def answer(self) -> None:
        """Answer what it was asked since."""
        while self.read < len(self.handed.sent):
            asked = self.handed.sent[self.read]
            self.read += 1
            says = self.begin(asked) if asked.startswith(b"<auth") else self.go_on(asked)
            self.steps.append("server: " + re.findall(rb"<([a-z]+)", says)[0].decode())
            self.handed.says(says)

    def begin(self, asked: bytes) -> bytes:
        self.steps.append("proxy: auth")
        mechanism = re.findall(rb"mechanism='([^']*)'", asked)[0].decode()
        first = read_client_first(data_of(asked))
        known = self.accounts.get(first.username)
        if known is None:
            return refusal("not-authorized")
        server = ScramServer(mechanism, first, BINDINGS, Offered((mechanism,)))
        self.exchange = server, known
        return element("challenge", server.challenge(known.challenge, protected=False))

    def go_on(self, asked: bytes) -> bytes:
        if asked == ABORT:
            self.steps.append("proxy: abort")
            return refusal("aborted")
        self.steps.append("proxy: response")
        server, known = self.exchange
        try:
            return element("success", server.check(data_of(asked), known.stored_key, known.server_key).final)
        except ScramError:
            return refusal("not-authorized").replace(b"</failure>", b"<text>your password is wrong</text></failure>")


class Outcome(NamedTuple):
    """What came of a login. `answer`: what the client was told last."""

    answer: bytes
    client: LabClient
    steps: list[str]


class LocalCase(SynchronousTestCase):
    mechanism = "SCRAM-SHA-256"

    def setUp(self) -> None:
        self.lab = Lab(Path(self.mktemp()), logins=("SCRAM", "PLAIN"))
        self.events = log_events(self)
        self.lab.known_keys.keys[ACCOUNT] = (keys(),)
        self.accounts = {"a": keys()}
        self.offer = b""
        self.server_offers(self.mechanism)

    def server_offers(self, *names: str) -> None:
        self.lab.context.offers.learned(self.lab.context.domains["example.org"], features(*names, "PLAIN"))

    def told(self, text: str) -> bool:
        return any(text in (formatEvent(event) or "") for event in self.events)

    def client(self, account: str = ACCOUNT, address: str = "192.0.2.1") -> LabClient:
        """A client that names an account, and has seen what is offered to it."""
        client = self.lab.client(address=address)
        self.offer = client.send(from_(account))
        return client

    def offered(self) -> Offered:
        names = re.findall(rb"<mechanism>([^<]*)<", self.offer.partition(b"<authentication")[0])
        types = re.findall(rb"<channel-binding type='([^']*)'", self.offer)
        return Offered([name.decode() for name in names], [type_.decode() for type_ in types] or None)

    def log_in(
        self,
        username: str = "a",
        password: str = "secret",
        *,
        account: str = ACCOUNT,
        mechanism: str | None = None,
        binding: Binding = UNBOUND,
        address: str = "192.0.2.1",
    ) -> Outcome:
        mechanism = mechanism or self.mechanism
        hash_name = hash_of(mechanism)
        assert hash_name is not None
        client = self.client(account, address)
        steps: list[str] = []
        scram = ScramClient(mechanism, username, binding=binding)
        answer = client.send(auth(scram.first(), mechanism))
        if answer:
            return Outcome(answer, client, steps)
        server = Server(self.lab.handed[-1], self.accounts, steps)
        server.answer()
        answer = client.wire.take()
        if not answer.startswith(b"<challenge"):
            return Outcome(answer, client, steps)
        steps.append("client: challenge")
        challenge = scram.challenge(data_of(answer), self.offered())
        answer = client.send(element("response", scram.final(derive_keys(hash_name, password, *challenge))))
        server.answer()
        answer += client.wire.take()
        if answer.startswith(b"<success"):
            scram.verify(data_of(answer))
            client.relayed_to(self.lab.handed[-1])
        steps.append("client: " + re.findall(rb"<([a-z]+)", answer)[0].decode())
        return Outcome(answer, client, steps)


PROVED = [
    "proxy: auth",
    "server: challenge",
    "client: challenge",
    "proxy: response",
    "server: success",
    "client: success",
]


class LoginTest(LocalCase):
    def test_logged_in(self) -> None:
        outcome = self.log_in()
        self.assertEqual(outcome.steps, PROVED)
        self.assertEqual(self.lab.handed[-1].over, "in")
        self.assertEqual(self.lab.known_keys.withdrawn, [])

    def test_what_is_offered(self) -> None:
        self.client()
        self.assertEqual(self.offered(), Offered(["SCRAM-SHA-256", "PLAIN"]))
        self.patch(client_stream, "bindings_as_server", lambda _layer: BINDINGS)
        self.client()
        names = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN"]
        self.assertEqual(self.offered(), Offered(names, ["tls-exporter", "tls-server-end-point"]))
        self.lab.known_keys.keys[ACCOUNT] += (keys(hash_name="sha512"), keys(hash_name="sha1"))
        self.client()
        self.assertEqual(self.offered().mechanisms, names, "the server has given the others up")
        self.server_offers("SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512")
        self.client()
        hashes = ("512", "256", "1")
        expected = [f"SCRAM-SHA-{number}-PLUS" for number in hashes] + [f"SCRAM-SHA-{number}" for number in hashes]
        self.assertEqual(self.offered().mechanisms, [*expected, "PLAIN"])
        self.client("b@example.org")
        self.assertEqual(self.offered(), Offered([*expected[3:], "PLAIN"]))

    def test_the_session_has_the_keys(self) -> None:
        """Later logins of the session, and of the account stream, need no client."""
        outcome = self.log_in()
        outcome.client.send(HEADER)
        outcome.client.serve(SERVER_HEADER + SERVER_FEATURES)
        outcome.client.send(BIND)
        outcome.client.serve(BOUND)
        credential = self.lab.accounts.bound[-1].login.credential
        assert credential.learned is not None
        shown = ScramKeys(keys().client_key or b"", keys().server_key)
        self.assertEqual(credential.learned, ("sha256", CHALLENGE, shown))
        self.assertIsNone(credential.password)

    def test_a_proof_shows_the_client_key(self) -> None:
        """Keys that were taken from a server's store cannot log in, until a client has."""
        self.lab.known_keys.keys[ACCOUNT] = (keys()._replace(client_key=None),)
        self.assertEqual(self.log_in().steps, PROVED)
        self.assertEqual(self.lab.known_keys.keys[ACCOUNT], (keys(),))

    def test_every_hash_with_and_without_channel_binding(self) -> None:
        self.patch(client_stream, "bindings_as_server", lambda _layer: BINDINGS)
        for number in ("1", "256", "512"):
            self.mechanism = f"SCRAM-SHA-{number}"
            known = keys(hash_name=hash_of(self.mechanism) or "")
            self.lab.known_keys.keys[ACCOUNT], self.accounts["a"] = (known,), known
            self.lab.mechanisms = (self.mechanism,)
            self.server_offers(self.mechanism)
            self.assertEqual(self.log_in().steps, PROVED)
            for type_ in BINDINGS:
                self.assertEqual(self.log_in(mechanism=f"{self.mechanism}-PLUS", binding=bound(type_)).steps, PROVED)

    def test_names_of_one_account(self) -> None:
        """Whatever a client writes: the account is the one that it is to the server, and the stream is for that."""
        self.accounts["A"] = keys("another", Challenge(b"another salt", 4096))  # it does not even exist
        for name in ("a", "A", "\u00aa", "\uff41", "a\u00ad"):
            self.assertEqual(self.log_in(name).steps, PROVED, name)
            self.assertEqual(read_client_first(data_of(self.lab.handed[-1].sent[0])).username, "a")
        self.assertEqual(self.lab.known_keys.withdrawn, [])
        self.lab.known_keys.keys["j\u00fcrgen@example.org"] = (keys(),)
        self.accounts["j\u00fcrgen"] = keys()
        for name in ("j\u00fcrgen", "ju\u0308rgen"):
            self.assertEqual(self.log_in(name).steps, PROVED, name)

    def test_without_protection(self) -> None:
        for protected in (True, False):
            domain = self.lab.context.domains["example.org"]
            changed = domain.model_copy(update={"scram_downgrade_protection": protected})
            self.lab.context.domains["example.org"] = changed
            client = self.client()
            client.send(auth(b"n,,n=a,r=abc", self.mechanism))
            Server(self.lab.handed[-1], self.accounts, []).answer()
            self.assertEqual(b",h=" in data_of(client.wire.take()), protected)
            client.vanish()

    def test_an_account_that_does_not_name_itself(self) -> None:
        """It is offered what its server offers, and checked here all the same."""
        self.lab.known_keys.keys[ACCOUNT] = (keys()._replace(client_key=None),)
        self.assertEqual(self.log_in(account="b@example.org").steps, PROVED)
        self.assertEqual(self.lab.known_keys.keys[ACCOUNT], (keys(),), "the proof was checked here")


class RefusedTest(LocalCase):
    REFUSED = (*PROVED[:4], "server: failure", "client: failure")

    def test_wrong_password(self) -> None:
        """The server is told of it, too: it counts who guesses, and takes its time."""
        outcome = self.log_in(password="wrong")
        self.assertEqual(tuple(outcome.steps), self.REFUSED)
        self.assertEqual(errors(outcome.answer), [b"not-authorized"])
        self.assertEqual(self.lab.known_keys.withdrawn, [])
        self.assertEqual(self.lab.known_keys.keys[ACCOUNT], (keys(),))

    def test_nobody_learns_whether_an_account_exists(self) -> None:
        """Enrolled, known to the server only, not known at all: as many questions to the server, at the same times."""
        self.accounts["b"] = keys("another")
        for name in ("a", "b", "nobody"):
            outcome = self.log_in(name, "wrong", account="c@example.org", address=f"192.0.2.{len(name)}")
            asked = [step.partition(":")[0] for step in outcome.steps]
            self.assertEqual(asked, ["proxy", "server", "client", "proxy", "server", "client"], name)
            self.assertEqual(errors(outcome.answer), [b"not-authorized"], name)

    def test_whatever_is_said_instead_of_a_proof(self) -> None:
        """Whoever knows no password: the answer, what the server is asked, and when, are the same, byte for byte."""
        self.patch(client_stream, "bindings_as_server", lambda _layer: BINDINGS)
        for mechanism, gs2 in ((self.mechanism, b"n,,"), (f"{self.mechanism}-PLUS", b"p=tls-exporter,,")):
            for final in (b"", b"x", b"c=biws", b"c=biws,r=other,p=QUFB", b"c=biws,r=%b,p=QUFB", b"\xff", b"m=x"):
                self.setUp()
                self.accounts["b"] = keys("another")
                told = {self.tries(name, mechanism, gs2, final) for name in ("a", "b", "nobody")}
                self.assertEqual(len(told), 1, (mechanism, final, told))
                self.assertEqual(errors(told.pop()[0]), [b"not-authorized"])

    def tries(self, name: str, mechanism: str, gs2: bytes, final: bytes) -> tuple[bytes, tuple[str, ...]]:
        """A login whose client says this instead of a proof; `%b` stands for the nonce."""
        client = self.client()
        client.send(auth(gs2 + b"n=%b,r=x" % name.encode(), mechanism))
        steps: list[str] = []
        server = Server(self.lab.handed[-1], self.accounts, steps)
        server.answer()
        challenge = client.wire.take()
        steps.append("client: " + re.findall(rb"<([a-z]+)", challenge)[0].decode())
        said = final.replace(b"%b", read_fields(data_of(challenge))["r"].encode())
        client.send(element("response", said) if said else element("response", b"").replace(b"></", b">=</"))
        server.answer()
        answer: bytes = client.wire.take()
        return answer, tuple(step.partition(":")[0] for step in steps)

    def test_a_decoy_is_as_the_server_s_own(self) -> None:
        """What the server says for others is learned, by logins that are checked here, that pass, or that fail."""
        for enrolled, password in ((True, "secret"), (False, "secret"), (False, "wrong")):
            self.setUp()
            if not enrolled:
                self.lab.known_keys.keys.clear()
            self.log_in(password=password)
            client = self.client()
            client.send(auth(b"n,,n=nobody,r=abc", self.mechanism))
            Server(self.lab.handed[-1], self.accounts, []).answer()
            challenge = ScramClient(self.mechanism, "nobody", "abc").challenge(data_of(client.wire.take()))
            self.assertEqual((len(challenge.salt), challenge.iterations), (len(CHALLENGE.salt), CHALLENGE.iterations))

    NOBODY = (
        "proxy: auth",
        "server: failure",
        "client: challenge",
        "proxy: auth",
        "server: failure",
        "client: failure",
    )

    def test_an_account_that_does_not_exist_any_more(self) -> None:
        """It is challenged as if it did, and its keys are of no use to anybody."""
        del self.accounts["a"]
        for password in ("secret", "wrong"):
            outcome = self.log_in(password=password)
            self.assertEqual(tuple(outcome.steps), self.NOBODY)
            self.assertEqual(errors(outcome.answer), [b"not-authorized"])

    def decoy(self, name: str, said: bytes = b"") -> bytes:
        """What somebody is challenged with who does not exist, and answers garbage, or breaks off."""
        client = self.client()
        client.send(auth(b"n,,n=%b,r=x" % name.encode(), self.mechanism))
        server = Server(self.lab.handed[-1], self.accounts, [])
        server.answer()
        challenge = data_of(client.wire.take())
        client.send(element("response", said or b"x"))
        server.answer()
        self.assertEqual(errors(client.wire.take()), [b"not-authorized"])
        client.vanish()
        return challenge

    def test_decoys(self) -> None:
        """Each has its own salt, and keeps it; that of an account that was enrolled says what was offered, too."""
        self.accounts.clear()
        salt_of = {name: self.decoy(name).split(b",")[1] for name in ("a", "nobody", "somebody")}
        self.assertEqual(len(set(salt_of.values())), 3)
        for name, salt in salt_of.items():
            challenge = self.decoy(name)
            self.assertEqual(challenge.split(b",")[1], salt)
            self.assertEqual(b",h=" in challenge, name == "a", "relayed challenges have none")

    def test_what_a_server_says_of_an_account_that_does_exist(self) -> None:
        client = self.client()
        client.send(auth(b"n,,n=a,r=x", self.mechanism))
        self.lab.handed[-1].says(refusal("account-disabled"))
        self.assertEqual(errors(client.wire.take()), [b"account-disabled"])
        self.assertEqual(self.lab.known_keys.withdrawn, [])

    def test_a_server_that_lets_anybody_in(self) -> None:
        """The proxy does not."""
        client = self.client()
        scram = ScramClient(self.mechanism, "a")
        client.send(auth(scram.first(), self.mechanism))
        server = Server(self.lab.handed[-1], self.accounts, [])
        server.answer()
        scram.challenge(data_of(client.wire.take()))
        client.send(element("response", scram.final(derive_keys("sha256", "wrong", *CHALLENGE))))
        server.handed.says(element("success", b"v=AAAA"))
        self.assertEqual(errors(client.wire.take()), [b"not-authorized"])
        self.assertTrue(self.told("the server let somebody in who has proved nothing"))

    def test_the_server_s_list_was_tampered_with(self) -> None:
        """XEP-0474 between the proxy and the server."""
        for protected, told in ((True, True), (False, False)):
            self.setUp()
            domain = self.lab.context.domains["example.org"]
            changed = domain.model_copy(update={"scram_downgrade_protection": protected})
            self.lab.context.domains["example.org"] = changed
            client = self.client()
            client.send(auth(b"n,,n=a,r=x", self.mechanism))
            server = self.lab.handed[-1]
            nonce = data_of(server.sent[-1]).rpartition(b"r=")[2]
            server.says(element("challenge", b"r=%bx,s=c2FsdCBvZiB0aGUgc2VydmVy,i=4096,h=AAAA" % nonce))
            answer = client.wire.take()
            self.assertEqual(b"temporary-auth-failure" in answer, told)
            self.assertEqual(self.told("see scram_downgrade_protection"), told)

    def test_bound_to_another_connection(self) -> None:
        self.patch(client_stream, "bindings_as_server", lambda _layer: BINDINGS)
        for type_ in BINDINGS:
            outcome = self.log_in(mechanism="SCRAM-SHA-256-PLUS", binding=bound(type_, b"other"))
            self.assertEqual(tuple(outcome.steps), self.REFUSED)
            self.assertEqual(errors(outcome.answer), [b"not-authorized"])
        self.assertTrue(self.told(": not-authorized, the login is bound to another connection"))

    def test_a_decoy_is_made_before_the_server_has_answered(self) -> None:
        """Whether it is needed or not: made afterwards, it would tell by its time that there is no such account."""
        self.lab.known_keys.keys.clear()
        made: list[str] = []
        decoys = self.lab.context._exchanges.decoys
        real = decoys.decoy

        def counted(account: str, *more: str) -> Decoy:
            made.append(account)
            return real(account, *more)

        self.patch(decoys, "decoy", counted)
        for name in ("a", "nobody"):
            client = self.client(f"{name}@example.org")
            client.send(auth(b"n,,n=%b,r=x" % name.encode(), self.mechanism))
            self.assertEqual(made, [f"{name}@example.org"])
            Server(self.lab.handed[-1], self.accounts, []).answer()
            self.assertTrue(client.wire.take().startswith(b"<challenge"))
            self.assertEqual(len(made), 1)
            made.clear()

    def test_as_much_is_logged_as_of_a_login_that_is_relayed(self) -> None:
        """A line takes a tenth of a millisecond, before the client is answered: it would tell who is enrolled."""
        lines = []
        for enrolled in (True, False):
            self.setUp()
            if not enrolled:
                self.lab.known_keys.keys.clear()
            self.assertEqual(errors(self.log_in(password="wrong").answer), [b"not-authorized"])
            lines.append([formatEvent(event) for event in self.events])
        self.assertEqual(len(lines[0]), len(lines[1]), lines)

    def test_what_goes_to_no_server(self) -> None:
        self.patch(client_stream, "bindings_as_server", lambda _layer: BINDINGS)
        for mechanism, first, condition in (
            ("SCRAM-SHA-256", b"", b"malformed-request"),
            ("SCRAM-SHA-256", b"p=tls-exporter,,n=a,r=x", b"malformed-request"),
            ("SCRAM-SHA-256-PLUS", b"n,,n=a,r=x", b"malformed-request"),
            ("SCRAM-SHA-256-PLUS", b"p=tls-unique,,n=a,r=x", b"malformed-request"),
            ("SCRAM-SHA-256", b"y,,n=a,r=x", b"malformed-request"),  # -PLUS was offered
            ("SCRAM-SHA-256", b"n,,m=x,n=a,r=x", b"malformed-request"),
            ("SCRAM-SHA-256", b"n,a=b@example.org,n=a,r=x", b"invalid-authzid"),
            ("SCRAM-SHA-256", b"n,,n=a=41,r=x", b"malformed-request"),
            ("SCRAM-SHA-256", "n,,n=\u0627a,r=x".encode(), b"malformed-request"),
            ("SCRAM-SHA-1", b"n,,n=a,r=x", b"invalid-mechanism"),
            ("SCRAM-SHA-1-PLUS", b"p=tls-exporter,,n=a,r=x", b"invalid-mechanism"),
        ):
            client = self.client()
            text = auth(first, mechanism) if first else auth(b"", mechanism).replace(b"></", b">=</")
            self.assertEqual(errors(client.send(text)), [condition], first)
        self.assertEqual(self.lab.handed, [])

    def test_channel_binding_for_an_account_whose_keys_are_not_known(self) -> None:
        """It was offered to another one. It cannot be relayed."""
        self.patch(client_stream, "bindings_as_server", lambda _layer: BINDINGS)
        self.accounts["b"] = keys()
        for name in ("b", "nobody"):
            outcome = self.log_in(name, mechanism="SCRAM-SHA-256-PLUS", binding=bound("tls-exporter"))
            self.assertEqual(errors(outcome.answer), [b"not-authorized"])
            self.assertEqual(tuple(outcome.steps), self.REFUSED if name == "b" else self.NOBODY)

    def test_malformed_proofs(self) -> None:
        for what in (b"", b"c=biws", b"c=biws,r=other,p=QUFB", b"\xff"):
            client, server = self.challenged()
            text = element("response", what) if what else element("response", b"").replace(b"></", b">=</")
            client.send(text)
            server.answer()
            self.assertEqual(errors(client.wire.take()), [b"not-authorized"])
            self.assertEqual(server.handed.over, "SaslFailure")

    def test_the_server_goes_instead_of_refusing(self) -> None:
        """Or says that it cannot look: a wrong proof was a guess all the same, and counts."""
        for says in (UpstreamUnreachable("lost"), refusal("temporary-auth-failure")):
            self.setUp()
            for number in range(self.lab.settings.limits.failed_logins + 1):
                client, server = self.challenged(f"203.0.113.{number}")
                client.send(element("response", b"c=biws,r=x,p=QUFB"))
                server.handed.says(says)
                self.assertEqual(errors(client.wire.take()), [b"not-authorized"])
            before = len(self.lab.handed)
            self.client(address="198.51.100.1").send(auth(b"n,,n=a,r=x", self.mechanism))
            self.assertEqual(len(self.lab.handed), before, "the next one has to wait")

    def challenged(self, address: str = "192.0.2.1") -> tuple[LabClient, Server]:
        client = self.client(address=address)
        client.send(auth(b"n,,n=a,r=x", self.mechanism))
        server = Server(self.lab.handed[-1], self.accounts, [])
        server.answer()
        self.assertIn(b"<challenge", client.wire.take())
        return client, server

    def test_a_proof_that_was_used(self) -> None:
        """Everything that a client once said, said again."""
        client = self.client()
        scram = ScramClient(self.mechanism, "a", "fixed")
        said = auth(scram.first(), self.mechanism)
        client.send(said)
        server = Server(self.lab.handed[-1], self.accounts, [])
        server.answer()
        scram.challenge(data_of(client.wire.take()))
        final = element("response", scram.final(derive_keys("sha256", "secret", *CHALLENGE)))
        client.send(final)
        server.answer()
        self.assertIn(b"<success", client.wire.take())
        again = self.client()
        again.send(said)
        Server(self.lab.handed[-1], self.accounts, []).answer()
        self.assertIn(b"<challenge", again.wire.take())
        again.send(final)
        server = Server(self.lab.handed[-1], self.accounts, [])
        server.read = 1
        server.handed.says(refusal("not-authorized"))
        self.assertEqual(errors(again.wire.take()), [b"not-authorized"])

    def test_broken_off_it_counts(self) -> None:
        for leave in ("abort", "vanish", "garbage"):
            self.setUp()
            for number in range(self.lab.settings.limits.failed_logins + 1):
                client, server = self.challenged(f"203.0.113.{number}")
                if leave == "abort":
                    self.assertEqual(errors(client.send(ABORT)), [b"aborted"])
                elif leave == "vanish":
                    client.vanish()
                else:
                    client.send(element("response", b"x"))
                    server.answer()
                self.assertIsNotNone(server.handed.over)
            before = len(self.lab.handed)
            self.client(address="198.51.100.1").send(auth(b"n,,n=a,r=x", self.mechanism))
            self.assertEqual(len(self.lab.handed), before, "the next one has to wait")

    def test_wrong_proofs_count(self) -> None:
        for number in range(self.lab.settings.limits.failed_logins + 1):
            self.log_in(password="wrong", address=f"203.0.113.{number}")
        before = len(self.lab.handed)
        self.client(address="198.51.100.1").send(auth(b"n,,n=a,r=x", self.mechanism))
        self.assertEqual(len(self.lab.handed), before, "the next one has to wait")


class ChangedTest(LocalCase):
    """The server has other keys than are known here."""

    def test_the_password_was_changed(self) -> None:
        """The client and the server find out between them who knows the new one."""
        for challenge in (Challenge(b"another salt", 4096), Challenge(CHALLENGE.salt, 5000)):
            self.setUp()
            self.accounts["a"] = keys("new", challenge)
            outcome = self.log_in(password="new")
            steps = ["proxy: auth", "server: challenge", "proxy: abort", "server: failure", *PROVED]
            self.assertEqual(outcome.steps, steps)
            self.assertEqual(self.lab.known_keys.withdrawn, [ACCOUNT])

    def test_whoever_knows_the_old_one_is_out(self) -> None:
        self.accounts["a"] = keys("new", Challenge(b"another salt", 4096))
        outcome = self.log_in(password="secret")
        self.assertEqual(errors(outcome.answer), [b"not-authorized"])
        self.assertEqual(self.lab.known_keys.withdrawn, [ACCOUNT])

    def test_enrolled_anew_meanwhile(self) -> None:
        """Keys that came while a login with the old ones was under way stay."""
        new = keys("new", Challenge(b"another salt", 4096))
        self.accounts["a"] = new
        client = self.client()
        client.send(auth(b"n,,n=a,r=x", self.mechanism))
        self.lab.known_keys.keys[ACCOUNT] = (new,)
        Server(self.lab.handed[-1], self.accounts, []).answer()
        self.assertEqual(self.lab.known_keys.withdrawn, [])
        self.assertEqual(self.lab.known_keys.keys[ACCOUNT], (new,))

    def test_with_channel_binding(self) -> None:
        """It cannot be relayed. Its password may be right: it is not told that it is wrong."""
        self.patch(client_stream, "bindings_as_server", lambda _layer: BINDINGS)
        self.accounts["a"] = keys("new", Challenge(b"another salt", 4096))
        outcome = self.log_in(password="new", mechanism="SCRAM-SHA-256-PLUS", binding=bound("tls-exporter"))
        self.assertEqual(errors(outcome.answer), [b"temporary-auth-failure"])
        self.assertEqual(self.lab.known_keys.withdrawn, [ACCOUNT])
        self.client()
        self.assertNotIn("SCRAM-SHA-256-PLUS", self.offered().mechanisms)

    def test_found_out_since_the_mechanisms_were_offered(self) -> None:
        """By the account's own stream, or a token: whoever named the account is told so, and nobody else."""
        self.patch(client_stream, "bindings_as_server", lambda _layer: BINDINGS)
        scram = ScramClient("SCRAM-SHA-256-PLUS", "a", binding=bound("tls-exporter"))
        for named, expected in ((ACCOUNT, b"temporary-auth-failure"), ("b@example.org", b"not-authorized")):
            self.lab.known_keys.keys[ACCOUNT] = self.lab.known_keys.keys["b@example.org"] = (keys(),)
            client = self.client(named)
            self.lab.known_keys.withdraw(ACCOUNT)
            client.send(auth(scram.first(), "SCRAM-SHA-256-PLUS"))
            server = Server(self.lab.handed[-1], self.accounts, [])
            server.answer()
            answer = client.wire.take()
            if named != ACCOUNT:
                answer = client.send(element("response", b"c=,r=,p="))
                server.answer()
                answer += client.wire.take()
            self.assertEqual(errors(answer), [expected])

    def test_the_server_refuses_what_was_proved_here(self) -> None:
        """The same salt, and another password: no server of today does that."""
        self.accounts["a"] = keys("new")
        outcome = self.log_in(password="secret")
        self.assertEqual(errors(outcome.answer), [b"not-authorized"])
        self.assertEqual(self.lab.known_keys.withdrawn, [ACCOUNT])

    def test_the_server_has_disabled_the_account(self) -> None:
        """Its keys are right, and will be."""
        client = self.client()
        scram = ScramClient(self.mechanism, "a")
        client.send(auth(scram.first(), self.mechanism))
        server = Server(self.lab.handed[-1], self.accounts, [])
        server.answer()
        scram.challenge(data_of(client.wire.take()))
        client.send(element("response", scram.final(derive_keys("sha256", "secret", *CHALLENGE))))
        server.handed.says(refusal("account-disabled"))
        self.assertEqual(errors(client.wire.take()), [b"account-disabled"])
        self.assertEqual(self.lab.known_keys.withdrawn, [])

    def test_the_server_does_not_know_the_account(self) -> None:
        """It takes any proof, and cannot prove that it knows the keys: somebody stands in between."""
        self.accounts["a"] = keys()._replace(server_key=b"x" * 32)
        outcome = self.log_in()
        self.assertEqual(errors(outcome.answer), [b"temporary-auth-failure"])
        self.assertTrue(self.told("SCRAM failed: wrong server signature"))
        self.assertEqual(self.lab.known_keys.withdrawn, [])

    def test_keys_that_were_never_tried(self) -> None:
        """Taken from a store, with a ServerKey of something else: the next login is relayed."""
        wrong = keys()._replace(server_key=b"x" * 32, client_key=None)
        self.lab.known_keys.keys[ACCOUNT] = (wrong,)
        self.assertEqual(errors(self.log_in().answer), [b"temporary-auth-failure"])
        self.assertEqual(self.lab.known_keys.withdrawn, [ACCOUNT])
        self.assertEqual(self.log_in().steps, PROVED)

    def test_the_server_refuses_what_is_bound_to_the_connection(self) -> None:
        """TLS ends before the server: the keys are right, and so is the client's password."""
        self.patch(helpers.HandedServer, "bindings", BINDINGS)
        self.lab.mechanisms = ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256")
        self.accounts["a"] = keys("new")  # the same salt: it refuses any proof
        for _ in range(self.lab.settings.limits.failed_logins + 2):
            self.assertEqual(errors(self.log_in().answer), [b"temporary-auth-failure"])
        self.assertTrue(self.told("see upstream_channel_binding = false"))
        self.assertEqual(self.lab.known_keys.withdrawn, [])

    def test_the_server_offers_the_hash_no_more(self) -> None:
        self.lab.mechanisms = ("SCRAM-SHA-512", "PLAIN")  # it has changed since it was asked
        self.assertEqual(errors(self.log_in().answer), [b"temporary-auth-failure"])
        self.assertTrue(self.told("the server offers SCRAM with sha256 no more"))


class DecoyTest(SynchronousTestCase):
    def test_the_same_for_as_long_as_the_process_lasts(self) -> None:
        decoys = Decoys()
        first = self.challenge(decoys)
        self.assertEqual(self.challenge(decoys), first)
        self.assertNotEqual(self.challenge(decoys, "b@example.org").salt, first.salt)
        self.assertNotEqual(self.challenge(decoys, hash_name="sha256").salt, first.salt)
        self.assertNotEqual(self.challenge(Decoys()).salt, first.salt)

    def test_the_same_by_all_processes_that_share_a_secret(self) -> None:
        asked: list[bytes] = []

        def secret() -> bytes:
            asked.append(b"s" * 32)
            return asked[-1]

        one, other = Decoys(secret), Decoys(secret)
        self.assertEqual(asked, [], "its file may not be readable yet")
        self.assertEqual(self.challenge(one), self.challenge(other))
        self.assertNotEqual(self.challenge(one), self.challenge(Decoys(lambda: b"t" * 32)))
        self.challenge(one)
        self.assertEqual(len(asked), 2)

    def challenge(self, decoys: Decoys, account: str = "a@example.org", hash_name: str = "sha1") -> Challenge:
        return decoys.decoy(account, account.rpartition("@")[2], hash_name).challenge

    def seen(self, decoys: Decoys, salt: bytes, iterations: int = 10_000, nonce: str = "xyz", more: str = "") -> None:
        message = f"r=client{nonce},s={b64encode(salt).decode()},i={iterations}{more}"
        decoys.seen("example.org", "sha1", "client", message.encode())

    def test_as_the_server_s_own(self) -> None:
        for salt in (b"x", b"x" * 16, b"x" * 32, b"x" * 33, b"x" * 100):
            decoys = Decoys()
            self.seen(decoys, salt)
            decoy = self.challenge(decoys)
            self.assertEqual((len(decoy.salt), decoy.iterations), (len(salt), 10_000))
            self.assertEqual(self.challenge(decoys, "a@other.example").iterations, 4096)
            self.seen(decoys, salt + b"x", 20_000)
            self.assertEqual(self.challenge(decoys), decoy, "nobody sees it change")

    def test_prosody_s_are_uuids(self) -> None:
        decoys = Decoys()
        uuid = "03209c04-2303-4c3a-80cb-d20ac2b96ff6"
        self.seen(decoys, uuid.encode(), nonce=uuid)
        decoy = decoys.decoy("a@example.org", "example.org", "sha1")
        for text in (decoy.challenge.salt.decode(), decoy.nonce):
            self.assertRegex(text, r"^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")
            self.assertNotEqual(text, uuid)

    def test_nonces(self) -> None:
        """Each is another one, as that of the server would be, and looks like it."""
        for nonce, like in (
            ("Xt5Q0ttTkAD+Jk/iMd3/XA==", "[A-Za-z0-9+/]{22}=="),
            ("1hd8Kfow72JsUw73", "[A-Za-z0-9+/]{16}"),
            ("00ff" * 8, "[0-9a-f]{32}"),
            ("abcdefg", "[A-Za-z0-9]{7}"),
            ("ab-defg_i", "[A-Za-z0-9_-]{9}"),
            ("%&!$\xe9", "[A-Za-z0-9_-]{5}"),
            ("", ""),
        ):
            decoys = Decoys()
            self.seen(decoys, b"salt", nonce=nonce)
            made = {decoys.decoy("a@example.org", "example.org", "sha1").nonce for _ in range(3)}
            self.assertEqual(len(made), 3 if nonce else 1)
            for one in made:
                self.assertRegex(one, f"^{like}$")

    def test_what_else_the_server_says(self) -> None:
        decoys = Decoys()
        self.assertEqual(decoys.decoy("a@example.org", "example.org", "sha1").extensions, b"")
        self.seen(decoys, b"salt", more=",h=abc=,x=y")
        self.assertEqual(decoys.decoy("a@example.org", "example.org", "sha1").extensions, b",h=abc=,x=y")

    def test_what_is_no_challenge(self) -> None:
        decoys = Decoys()
        for message in (b"", b"r=clientx,s=QUFB", b"r=clientx,s=!,i=4096", b"r=clientx,s=QUFB,i=1", b"\xff"):
            decoys.seen("example.org", "sha1", "client", message)
        self.seen(decoys, b"salt")
        self.assertEqual(self.challenge(decoys).iterations, 10_000)
