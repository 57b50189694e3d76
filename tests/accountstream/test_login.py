"""Opening account streams: what the account is told when it cannot be done."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred

from minimixproxy.accountstream.attempt import Opened
from minimixproxy.accountstream.errors import CannotOpen, CredentialRefused
from minimixproxy.accountstream.login import UpstreamLogins, open_account_stream
from minimixproxy.c2s.upstream.credentials import Credential
from minimixproxy.config.settings import Limits
from minimixproxy.sasl.scram import Challenge, derive_keys
from minimixproxy.stream_management.unacknowledged import NotSent
from minimixproxy.timing.turn_end import TurnEnd
from minimixproxy.xep.stream_management import Enabled, Resume
from tests.c2s.fakeserver import SALT
from tests.c2s.upstream import test_connecting


def kept(password: str = "secret") -> Credential:
    """Keys as they come from disk."""
    return Credential.from_keys("sha256", Challenge(SALT, 4096), derive_keys("sha256", password, SALT, 4096))


class Kept:
    """A stream that is to be resumed: 5 stanzas were sent."""

    jid = "kept@example.org/r"
    is_wanted = True

    def __init__(self) -> None:
        self.told: list[tuple[str, int | None]] = []

    def resuming(self) -> Resume:
        return Resume("former", 3)

    def resumed(self, h: int) -> None:
        if h > 5:
            raise NotSent(h, 5)
        self.told.append(("resumed", h))

    def not_resumed(self, h: int | None) -> None:
        self.told.append(("not resumed", h))


class OpenTest(test_connecting.UpstreamTest):
    async def outcome(self, credential: Credential, **behaviour: Any) -> str:
        script, where = self.serve(**behaviour)
        login = self.login(where, credential)
        turn = TurnEnd(reactor)
        try:
            opened = await UpstreamLogins({}, Limits(), reactor, turn).open(login, "r")
            stream, jid = opened.xmlstream, opened.jid
        except CannotOpen as error:
            while script.connections and not script.connections[0].lost:
                await test_connecting.turn()
            self.assertNotIn("secret", str(error))
            return type(error).__name__
        self.streams.append(stream)
        self.assertEqual(jid, "a@example.org/1")
        self.assertIs(stream.turn, turn, "what a read of it makes sessions write goes out together")
        return "open"

    async def test_opens(self) -> None:
        for credential in (kept(), Credential.from_password("secret")):
            self.assertEqual(await self.outcome(credential), "open")

    async def opened(self, resumable: Kept | None = None, **behaviour: Any) -> tuple[Opened | None, list[str]]:
        """What is opened, or None, and what the server was asked."""
        script, where = self.serve(**behaviour)
        login, opened = self.login(where, kept()), None
        try:
            opened = await open_account_stream(reactor, login, Limits(), "r", TurnEnd(reactor), resumable)
            self.streams.append(opened.xmlstream)
        except CannotOpen:
            while script.connections and not script.connections[0].lost:
                await test_connecting.turn()
        asked = [stanza.payloads[0][1] if stanza.name == "iq" else stanza.name for stanza in script.stanzas]
        return opened, asked

    async def test_stream_management(self) -> None:
        """It is switched on where the server offers it, and does not refuse it."""
        opened, asked = await self.opened()
        assert opened is not None
        self.assertEqual((opened.enabled, asked), (Enabled("i", 300, ""), ["bind", "enable"]))
        opened, asked = await self.opened(answers_to={"enable": b"<failed xmlns='urn:xmpp:sm:3'/>"})
        assert opened is not None
        self.assertEqual((opened.enabled, asked), (None, ["bind", "enable"]))
        without = b"<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>"
        opened, asked = await self.opened(answers_to={}, features_of_bind=without)
        assert opened is not None
        self.assertEqual((opened.enabled, asked), (None, ["bind"]))

    async def test_resuming(self) -> None:
        resumable = Kept()
        resumed = b"<resumed xmlns='urn:xmpp:sm:3' previd='former' h='5'/>"
        opened, asked = await self.opened(resumable, answers_to={"resume": resumed})
        assert opened is not None
        self.assertEqual((opened.resumed, opened.jid, asked), (True, "kept@example.org/r", ["resume"]))
        self.assertEqual(resumable.told, [("resumed", 5)])

    async def test_a_stream_that_is_not_resumed(self) -> None:
        """Another is bound on the same connection."""
        resumable = Kept()
        opened, asked = await self.opened(resumable)
        assert opened is not None
        self.assertEqual((opened.resumed, opened.jid, asked), (False, "a@example.org/1", ["resume", "bind", "enable"]))
        self.assertEqual(resumable.told, [("not resumed", None)])
        failed = b"<failed xmlns='urn:xmpp:sm:3' h='4'/>"
        conflict = b"<error type='cancel'><conflict xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
        resumable = Kept()
        opened, asked = await self.opened(resumable, answers_to={"resume": failed}, replace={"bind": conflict})
        self.assertEqual((opened, asked), (None, ["resume", "bind"]))
        self.assertEqual(resumable.told, [("not resumed", 4)])

    async def test_one_that_is_to_be_closed_is_not_replaced(self) -> None:
        """Somebody else may have the resource by now, and lose it."""
        resumable = Kept()
        resumable.is_wanted = False
        self.assertEqual(await self.opened(resumable), (None, ["resume"]))

    async def test_a_server_that_resumes_wrongly(self) -> None:
        resumed = b"<resumed xmlns='urn:xmpp:sm:3' previd='former' h='6'/>"
        resumable = Kept()
        self.assertEqual(await self.opened(resumable, answers_to={"resume": resumed}), (None, ["resume"]))
        self.assertEqual(resumable.told, [("not resumed", None)])
        resumable = Kept()
        opened = await self.opened(resumable, answers_to={"resume": b"<message/>"})
        self.assertEqual((opened, resumable.told), ((None, ["resume"]), []))

    async def test_conditions(self) -> None:
        """RFC 6120 §6.5."""
        for condition, expected in {
            "account-disabled": CredentialRefused,
            "credentials-expired": CredentialRefused,
            "invalid-mechanism": CredentialRefused,
            "mechanism-too-weak": CredentialRefused,
            "not-authorized": CredentialRefused,
            "aborted": CannotOpen,
            "encryption-required": CannotOpen,
            "incorrect-encoding": CannotOpen,
            "invalid-authzid": CannotOpen,
            "malformed-request": CannotOpen,
            "temporary-auth-failure": CannotOpen,
            "x-unheard-of": CannotOpen,
        }.items():
            outcome = await self.outcome(kept("wrong"), failure=condition)
            self.assertEqual(outcome, expected.__name__, condition)

    async def test_given_up_while_it_is_bound(self) -> None:
        """The account's stream is closed: nothing of the attempt is left at the server."""
        script, where = self.serve(answer_to_bind=b" ")
        login = self.login(where, kept())
        opening = Deferred.fromCoroutine(open_account_stream(reactor, login, Limits(), "r", TurnEnd(reactor)))
        opening.addErrback(lambda failure: failure.trap(CancelledError))
        while not script.stanzas:
            await test_connecting.turn()
        opening.cancel()
        while not script.connections[0].lost:
            await test_connecting.turn()
        await opening

    async def test_a_password_is_proved(self) -> None:
        """The login has learned what is kept of it; and nothing is left of it at the server."""
        script, where = self.serve()
        login = self.login(where)
        logins = UpstreamLogins({login.domain.name: login.domain}, Limits(), reactor, TurnEnd(reactor))
        await logins.prove(login)
        self.assertIsNotNone(logins.revive(logins.keep(login, None), "a@example.org"))
        while not script.connections[0].lost:
            await test_connecting.turn()
        self.assertIsNotNone(login.credential.learned)
        self.assertEqual(script.stanzas, [])
        for failure, expected in (("not-authorized", CredentialRefused), ("temporary-auth-failure", CannotOpen)):
            _script, where = self.serve(failure=failure)
            error: CannotOpen | None = None
            try:
                await logins.prove(self.login(where, kept("wrong")))
            except CannotOpen as raised:
                error = raised
            self.assertIs(type(error), expected)

    async def test_keys_that_do_not_fit(self) -> None:
        for behaviour in ({"salt": b"other"}, {"iterations": 5000}, {"new_salts": True}, {"mechanisms": ("PLAIN",)}):
            self.assertEqual(await self.outcome(kept(), **behaviour), "CredentialRefused")

    async def test_what_may_pass(self) -> None:
        conflict = b"<error type='cancel'><conflict xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
        over = b"<stream:error><system-shutdown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"
        for behaviour in (
            {"wrong_signature": True},
            {"mechanisms": ()},
            {"tls": None},
            {"replace": {"bind": conflict}},
            {"replace": {"features": over}},
        ):
            self.assertEqual(await self.outcome(kept(), **behaviour), "CannotOpen", behaviour)
