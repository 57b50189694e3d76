"""Logins by token (FAST, XEP-0484): who is given one, whom it lets in, and when it is good no more."""

from __future__ import annotations

import hmac
import re
from base64 import b64encode

from twisted.internet.defer import Deferred

from minimixproxy.c2s.errors import UpstreamRefused, UpstreamUnfit, UpstreamUnreachable
from minimixproxy.config.settings import Sessions
from minimixproxy.sasl.keys import Keys
from minimixproxy.sasl.scram import ScramKeys
from minimixproxy.sasl.tokens import Token, mark_of
from tests.c2s.helpers import HEADER, PLAIN_FEATURES, SERVER_HEADER, LabClient
from tests.c2s.server.exchanges.test_local_scram import CHALLENGE, keys
from tests.c2s.server.test_sasl2 import DEVICE, ENABLE, SASL2, SM, Sasl2Case, authenticate, bind, element, refusal

ACCOUNT = "a@example.org"
OTHER_DEVICE = DEVICE.replace("d", "e")
FAST = b"urn:xmpp:fast:0"
NONE, EXPORTER = "HT-SHA-256-NONE", "HT-SHA-256-EXPR"


def wanted(mechanism: str = NONE) -> bytes:
    return b"<request-token xmlns='%b' mechanism='%b'/>" % (FAST, mechanism.encode())


def proof(secret: str, who: str = "Initiator", data: bytes = b"") -> bytes:
    return hmac.digest(secret.encode(), who.encode() + data, "sha256")


class FastCase(Sasl2Case):
    def setUp(self) -> None:
        super().setUp()
        self.lab.known_keys.keys[ACCOUNT] = (keys(),)

    def given(self, answer: bytes) -> str:
        found = re.findall(rb"<token xmlns='urn:xmpp:fast:0' expiry='[0-9TZ:.-]{20,}' token='([^']+)'/>", answer)
        self.assertEqual(len(found), 1, answer)
        return str(found[0].decode())

    def token(self, mechanism: str = NONE, agent: str = DEVICE) -> str:
        """Log in by password, and be given one."""
        client = self.proved(wanted(mechanism), agent)
        client.upstream.take()
        return self.given(client.serve(SERVER_HEADER + PLAIN_FEATURES))

    def proved(
        self, inline: bytes = b"", agent: str = DEVICE, username: str = "a", shown: Keys | None = None
    ) -> LabClient:
        """A client whose login the server has taken, and has shown that it knows these keys; None: the known ones."""
        client = self.client()
        client.send(authenticate(inline, agent=agent, message=f"\0{username}\0secret".encode()))
        shown = shown or keys()
        learned = ScramKeys(shown.client_key or b"", shown.server_key)
        self.lab.logins[-1][0].credential.learn(shown.hash_name, shown.challenge, learned)
        client.accept_login()
        self.turn()
        return client

    def says(
        self,
        secret: str,
        inline: bytes = b"",
        attributes: bytes = b"",
        mechanism: str = NONE,
        username: bytes = b"a",
        agent: str = DEVICE,
    ) -> bytes:
        """What a client says that has a token."""
        fast = b"<fast xmlns='%b'%b/>" % (FAST, attributes)
        message = username + b"\0" + proof(secret)
        return authenticate(fast + inline, mechanism, message, agent)

    def by_token(self, secret: str, inline: bytes = b"", attributes: bytes = b"") -> LabClient:
        client = self.client()
        self.assertEqual(client.send(self.says(secret, inline, attributes)), b"")
        self.turn()
        return client

    def held(self) -> tuple[Token, ...]:
        return self.lab.tokens.of(ACCOUNT, DEVICE)


class GivenTest(FastCase):
    def test_offered(self) -> None:
        self.client()
        names = b"<mechanism>HT-SHA-512-NONE</mechanism><mechanism>HT-SHA-256-NONE</mechanism>"
        self.assertIn(b"<fast xmlns='%b'>%b</fast></inline>" % (FAST, names), self.offer)

    def test_not_offered_if_there_are_none(self) -> None:
        self.lab.settings.sessions.take_over(Sessions(token_lifetime=0))
        self.client()
        self.assertNotIn(FAST, self.offer)
        client = self.logged_in(wanted())
        self.assertNotIn(b"<token", client.serve(SERVER_HEADER + PLAIN_FEATURES))

    def test_given(self) -> None:
        secret = self.token()
        (held,) = self.held()
        self.assertEqual((held.secret, held.mechanism), (secret, NONE))
        self.assertGreater(len(secret), 40)
        self.assertAlmostEqual(held.expires - held.issued, 30 * 86400)
        self.assertEqual(self.lab.tokens.devices(ACCOUNT)[0].software, "S")

    def test_not_given(self) -> None:
        """To whom does not say which device it is; for what was not offered; without keys, which are needed later."""
        for inline, agent in ((wanted(), ""), (wanted(), "x"), (wanted(EXPORTER), DEVICE), (wanted("PLAIN"), DEVICE)):
            client = self.proved(inline, agent)
            self.assertNotIn(b"<token", client.serve(SERVER_HEADER + PLAIN_FEATURES))
        for known in ((), (keys()._replace(client_key=None),)):
            self.lab.known_keys.keys[ACCOUNT] = known
            client = self.proved(wanted())
            self.assertNotIn(b"<token", client.serve(SERVER_HEADER + PLAIN_FEATURES))
        self.assertEqual(self.lab.tokens.tokens, {})

    def test_whose_account_it_is(self) -> None:
        """What is one name here may be two at the server: it has to have bound the account's, or shown its keys."""
        victim = "weiss@example.org"
        self.lab.known_keys.keys[victim] = (keys(),)
        other = keys("other", CHALLENGE._replace(salt=b"another"))
        for shown in (None, other):
            client = (
                self.proved(wanted(), username="weiß", shown=shown)
                if shown
                else self.logged_in(wanted(), username="weiß")
            )
            client.upstream.take()
            answer = client.serve(SERVER_HEADER + PLAIN_FEATURES)
            self.assertIn(b"<success", answer)
            self.assertNotIn(b"<token", answer)
        client = self.logged_in(wanted() + bind(), username="weiß")
        self.opened(client)
        answer = client.serve(self.result(self.bound_as(client), "weiß"))
        self.assertNotIn(b"<failure", answer)
        self.assertEqual(self.lab.tokens.of(victim, DEVICE)[0].keys, mark_of(keys()))

    def test_bound_to_the_keys_of_the_login(self) -> None:
        """The password was changed elsewhere: a token for the old keys would be good for nothing."""
        new = keys("new", CHALLENGE._replace(salt=b"another"))
        client = self.proved(wanted() + bind(), shown=new)
        self.opened(client)
        self.given(client.serve(self.result(self.bound_as(client))))
        self.assertEqual(self.held()[0].keys, mark_of(new))

    def test_not_before_the_session_is_there(self) -> None:
        client = self.logged_in(wanted() + bind())
        self.opened(client)
        self.bound_as(client)
        client.vanish()
        self.assertEqual(self.held(), ())

    def test_another_one(self) -> None:
        """The one that it has is good until the next one is used; of those that were never used only the last is."""
        first, second, third = self.token(), self.token(), self.token()
        self.assertEqual([one.secret for one in self.held()], [first, third])
        self.assertEqual(self.client().send(self.says(second)), refusal(b"not-authorized"))
        self.by_token(first)
        self.assertEqual([one.secret for one in self.held()], [first, third])
        self.by_token(third)
        self.assertEqual([one.secret for one in self.held()], [third])


class UseTest(FastCase):
    def test_bound(self) -> None:
        """The server is asked behind it, with the account's keys; the client has one answer to one word."""
        secret = self.token()
        client = self.by_token(secret, bind(ENABLE))
        login = self.lab.logins[-1][0]
        self.assertEqual((login.own.bare, login.credential.learned), (ACCOUNT, login.credential.learned))
        assert login.credential.learned is not None
        self.assertEqual(login.credential.learned.keys.client_key, keys().client_key)
        client.accept_login()
        self.opened(client)
        answer = client.serve(self.result(self.bound_as(client)))
        additional = b"<additional-data>%b</additional-data>" % b64encode(proof(secret, "Responder"))
        self.assertTrue(answer.startswith(b"<success xmlns='urn:xmpp:sasl:2'>" + additional), answer)
        self.assertIn(b"<enabled ", answer)
        self.assertNotIn(b"<token", answer)

    def test_without_initial_response(self) -> None:
        secret = self.token()
        client = self.client()
        fast = b"<fast xmlns='%b'/>" % FAST
        self.assertEqual(client.send(authenticate(fast, NONE, None)), element(b"challenge", b""))
        client.send(element(b"response", b"a\0" + proof(secret)))
        self.turn()
        self.assertEqual(self.lab.logins[-1][0].own.bare, ACCOUNT)

    def test_resumed(self) -> None:
        """Nobody asks the server anything."""
        secret = self.token()
        client, answer = self.in_session(ENABLE)
        previd = re.findall(rb"<enabled [^>]*id='([^']+)'", answer)[0]
        client.vanish()
        asked = len(self.lab.logins)
        client = self.by_token(secret, b"<resume xmlns='%b' previd='%b' h='0'/>" % (SM, previd) + bind(ENABLE))
        self.assertIn(b"<resumed ", client.wire.take())
        self.assertEqual(len(self.lab.logins), asked)
        self.assertFalse(self.lab.accounts.bound[-1].asleep)
        self.assertTrue(self.lab.accounts.bound[-1].login.credential.known)

    def test_in_one_read_with_the_header(self) -> None:
        secret = self.token()
        client = self.lab.client()
        client.send(HEADER + self.says(secret, bind()))
        self.turn()
        client.accept_login()
        self.opened(client)
        self.assertIn(b"<bound ", client.serve(self.result(self.bound_as(client))))

    def test_renewed(self) -> None:
        """In good time before it expires, for the same mechanism, unasked."""
        secret = self.token()
        (held,) = self.held()
        device = self.lab.tokens.devices(ACCOUNT)[0]
        self.lab.tokens.put(ACCOUNT, device, (held._replace(issued=held.issued - 4 * 86400),))
        client = self.by_token(secret)
        client.accept_login()
        client.upstream.take()
        new = self.given(client.serve(SERVER_HEADER + PLAIN_FEATURES))
        self.assertEqual([one.secret for one in self.held()], [secret, new])

    def test_invalidated(self) -> None:
        secret = self.token()
        client = self.by_token(secret, attributes=b" invalidate='true'")
        client.accept_login()
        self.assertIn(b"<success", client.serve(SERVER_HEADER + PLAIN_FEATURES))
        self.assertEqual(self.held(), ())
        self.assertEqual(self.client().send(self.says(secret)), refusal(b"not-authorized"))

    def test_invalidated_and_another_one_wanted(self) -> None:
        """Who gives it up is given none: it could not be withdrawn while that lasts."""
        secret = self.token()
        client = self.by_token(secret, wanted(), b" invalidate='1'")
        client.accept_login()
        answer = client.serve(SERVER_HEADER + PLAIN_FEATURES)
        self.assertIn(b"<success", answer)
        self.assertNotIn(b"<token", answer)
        self.assertEqual(self.held(), ())

    def test_counted(self) -> None:
        """Only upwards; who does not count need not begin to."""
        secret = self.token()
        for count, good in ((b" count='3'", True), (b" count='3'", False), (b" count='2'", False), (b"", True)):
            answer = self.client().send(self.says(secret, attributes=count))
            self.assertEqual(answer, b"" if good else answer)
            self.assertEqual(b"<not-authorized" in answer, not good)
        self.assertEqual(self.held()[0].counted, 3)
        for count in (b"x", b"-1", b"9" * 19, b" 4"):
            answer = self.client().send(self.says(secret, attributes=b" count='%b'" % count))
            self.assertIn(b"<malformed-request", answer)


class LongHashTest(FastCase):
    """The same with SHA-512, which Conversations and Monal prefer."""

    def test_used(self) -> None:
        mechanism = "HT-SHA-512-NONE"
        secret = self.token(mechanism)
        client = self.client()
        self.assertIn(b"<malformed-request ", client.send(self.says(secret, mechanism=mechanism)))
        proof = hmac.digest(secret.encode(), b"Initiator", "sha512")
        fast = b"<fast xmlns='%b'/>" % FAST
        self.assertEqual(client.send(authenticate(fast + bind(), mechanism, b"a\0" + proof)), b"")
        self.turn()
        client.accept_login()
        self.opened(client)
        answer = client.serve(self.result(self.bound_as(client)))
        self.assertIn(b64encode(hmac.digest(secret.encode(), b"Responder", "sha512")), answer)


class RefusedTest(FastCase):
    def refused(self, element: bytes, condition: bytes = b"not-authorized") -> None:
        asked = len(self.lab.logins)
        client = self.client()
        answer = client.send(element)
        self.turn()
        self.assertIn(b"<%b " % condition, answer + client.wire.take())
        self.assertEqual(len(self.lab.logins), asked, "the server is not asked")

    def test_whose_it_is(self) -> None:
        """Of another account, another device, none; and for another mechanism: the client is told the same."""
        self.lab.known_keys.keys["b@example.org"] = (keys(),)
        secret = self.token()
        self.refused(self.says(secret, username=b"b"))
        self.refused(self.says(secret, agent=OTHER_DEVICE))
        self.refused(self.says(secret, agent=""))
        self.refused(self.says("other"))
        self.by_token(secret)

    def test_wrong_ones_count(self) -> None:
        for _ in range(4):
            self.refused(self.says("wrong"))
        self.assertEqual(self.client().send(self.says("wrong")), b"", "it has to wait")

    def test_mechanism(self) -> None:
        secret = self.token()
        self.refused(self.says(secret, mechanism=EXPORTER), b"invalid-mechanism")
        plain = self.says(secret).replace(b"<fast xmlns='%b'/>" % FAST, b"")
        self.refused(plain, b"invalid-mechanism")
        (held,) = self.held()
        self.lab.tokens.put(ACCOUNT, self.lab.tokens.devices(ACCOUNT)[0], (held._replace(mechanism=EXPORTER),))
        self.refused(self.says(secret))

    def test_by_sasl1(self) -> None:
        secret = self.token()
        client = self.client()
        message = b64encode(b"a\0" + proof(secret))
        auth = b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='%b'>%b</auth>" % (NONE.encode(), message)
        client.send(self.says("wrong"))
        self.assertIn(b"<invalid-mechanism/>", client.send(auth))

    def test_malformed(self) -> None:
        fast = b"<fast xmlns='%b'/>" % FAST
        self.refused(authenticate(fast, NONE, b"a"), b"malformed-request")

    def test_expired(self) -> None:
        secret = self.token()
        (held,) = self.held()
        self.lab.tokens.put(ACCOUNT, self.lab.tokens.devices(ACCOUNT)[0], (held._replace(expires=held.issued),))
        self.refused(self.says(secret), b"credentials-expired")
        self.refused(self.says(secret))

    def test_expired_by_the_clock(self) -> None:
        secret = self.token()
        self.lab.clock.advance(30 * 86400 - 1)
        client = self.client()
        self.lab.clock.advance(1)
        self.assertIn(b"<credentials-expired ", client.send(self.says(secret)))

    def test_they_live_less_long_by_now(self) -> None:
        secret = self.token()
        self.lab.clock.advance(3600)
        self.lab.settings.sessions.take_over(Sessions(token_lifetime=3600))
        self.refused(self.says(secret), b"credentials-expired")

    def test_not_offered(self) -> None:
        """What is switched off lets nobody in who was given one before; nor does SASL2 where it is not offered."""
        secret = self.token()
        domain, sessions = self.lab.context.domains["example.org"], self.lab.settings.sessions
        sessions.take_over(Sessions(token_lifetime=0))
        self.refused(self.says(secret), b"invalid-mechanism")
        sessions.take_over(Sessions())
        self.lab.context.domains["example.org"] = domain.model_copy(update={"logins": ("PLAIN",)})
        self.refused(self.says(secret), b"invalid-mechanism")
        self.assertNotIn(SASL2, self.offer)
        self.lab.context.domains["example.org"] = domain
        self.by_token(secret)

    def test_withdrawn_while_it_is_used(self) -> None:
        """Whoever has stolen one may use it again and again: withdrawn, it neither lets him in nor brings another."""
        for inline in (bind(), wanted() + bind()):
            secret = self.token()
            client = self.by_token(secret, inline)
            client.accept_login()
            self.opened(client)
            resource = self.bound_as(client)
            self.lab.tokens.withdraw(ACCOUNT, DEVICE)
            answer = client.serve(self.result(resource))
            self.assertEqual(answer, refusal(b"credentials-expired"))
            self.assertTrue(client.upstream.disconnected)
            self.assertEqual(self.held(), ())
            self.assertTrue(self.told("a token was withdrawn while it was used"))

    def test_withdrawn_before_a_resource_is_bound(self) -> None:
        """Until then it is no session of the account's that whoever withdraws the token could end."""
        for withdrawn in (True, False):
            secret = self.token()
            client = self.by_token(secret)
            client.accept_login()
            client.upstream.take()
            self.assertIn(b"<success ", client.serve(SERVER_HEADER + PLAIN_FEATURES))
            asked = b"<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>"
            client.send(asked)
            self.assertEqual(client.upstream.take(), asked)
            if withdrawn:
                self.lab.tokens.withdraw(ACCOUNT, DEVICE)
            self.request_id = b"b"
            answer = client.serve(self.result("x"))
            self.assertEqual(b"<reset " in answer, withdrawn)
            self.assertEqual(client.wire.disconnecting, withdrawn)

    def test_withdrawn_before_a_session_is_resumed(self) -> None:
        """By `<resume/>` (XEP-0198 §5), too, it would be in one that goes on."""
        for withdrawn in (True, False):
            secret = self.token()
            client = self.by_token(secret)
            client.accept_login()
            self.assertIn(b"<success ", client.serve(SERVER_HEADER + PLAIN_FEATURES))
            if withdrawn:
                self.lab.tokens.withdraw(ACCOUNT, DEVICE)
            answer = client.send(b"<resume xmlns='urn:xmpp:sm:3' h='0' previd='x'/>")
            self.turn()
            answer += client.wire.take()
            self.assertEqual(b"<reset " in answer, withdrawn)
            self.assertEqual(b"<failed " in answer, not withdrawn)
            self.assertEqual(client.wire.disconnecting, withdrawn)

    def test_spelled_otherwise(self) -> None:
        """The server is asked about the account whose token it is."""
        secret = self.token()
        client = self.client()
        client.send(self.says(secret, bind(), username="\uff21".encode()))
        self.turn()
        self.assertEqual(self.lab.logins[-1][0].username, "a")

    def test_keys_are_withdrawn_or_others(self) -> None:
        for known in ((), (keys("other"),), (keys()._replace(client_key=None),)):
            self.lab.known_keys.keys[ACCOUNT] = (keys(),)
            secret = self.token()
            self.lab.known_keys.keys[ACCOUNT] = known
            self.refused(self.says(secret), b"credentials-expired")
            self.lab.tokens.withdraw(ACCOUNT)

    def test_more_keys_are_known(self) -> None:
        secret = self.token()
        self.lab.known_keys.keys[ACCOUNT] = (keys(), keys(hash_name="sha512"))
        self.by_token(secret)

    def test_the_server_has_another_password(self) -> None:
        """What was found out here holds for all of the account's tokens."""
        for error in (UpstreamRefused("not-authorized"), UpstreamUnfit("another salt")):
            self.lab.known_keys.keys[ACCOUNT] = (keys(),)
            secret = self.token()
            client = self.by_token(secret, bind())
            self.lab.logins[-1][1].errback(error)
            self.assertEqual(client.wire.take(), refusal(b"credentials-expired"))
            self.assertEqual(self.lab.known_keys.withdrawn.pop(), ACCOUNT)
            self.refused(self.says(secret), b"credentials-expired")
            self.lab.tokens.withdraw(ACCOUNT)

    def test_the_server_is_down(self) -> None:
        secret = self.token()
        client = self.by_token(secret, bind())
        self.lab.logins[-1][1].errback(UpstreamUnreachable("down"))
        self.assertIn(b"<temporary-auth-failure ", client.wire.take())
        self.by_token(secret)

    def test_gone_while_the_server_is_asked(self) -> None:
        secret = self.token()
        before = len(self.lab.clock.getDelayedCalls())
        client = self.by_token(secret, bind())
        waiting: Deferred[object] = self.lab.logins[-1][1]  # type: ignore[assignment]
        client.vanish()
        self.assertEqual(self.lab.cancelled, 1)
        self.assertTrue(waiting.called)
        self.assertEqual(len(self.lab.clock.getDelayedCalls()), before)

    def test_the_header_names_another(self) -> None:
        secret = self.token()
        client = self.client(HEADER.replace(b"to=", b"from='b@example.org' to="))
        self.assertIn(b"<invalid-authzid ", client.send(self.says(secret, bind())))
        self.turn()
        self.assertEqual(client.wire.take(), b"")

    def test_authenticated_by_password_as_another(self) -> None:
        """A token of a device is its own, whoever else logs in on it."""
        secret = self.token()
        self.lab.known_keys.keys["b@example.org"] = (keys(),)
        client = self.proved(wanted(), username="b")
        client.upstream.take()
        other = self.given(client.serve(SERVER_HEADER + PLAIN_FEATURES))
        self.refused(self.says(other))
        self.refused(self.says(secret, username=b"b"))
        self.by_token(secret)
