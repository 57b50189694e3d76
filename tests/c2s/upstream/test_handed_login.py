"""Logging in at a server by an exchange that the test conducts, over sockets, to a server that misbehaves on demand."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString
from twisted.internet.task import Clock

from minimixproxy.c2s.errors import UpstreamError, UpstreamProtocolError, UpstreamRefused, UpstreamUnreachable
from minimixproxy.c2s.transport.peers import Ends, Peer
from minimixproxy.c2s.upstream import connecting
from minimixproxy.c2s.upstream.connecting import LARGEST_FROM_SERVER, open_stream
from minimixproxy.c2s.upstream.handed_login import Authenticate, log_in_upstream
from minimixproxy.c2s.upstream.sasl_channel import LARGEST, SaslChannel
from minimixproxy.config.settings import Domain, Limits
from minimixproxy.wire.xmlstream import FramedXmlStream
from tests.c2s.fakeserver import Script
from tests.c2s.upstream.test_connecting import UpstreamTest

PHONE = Peer("192.0.2.1", Ends(None, None))
SASL = b"urn:ietf:params:xml:ns:xmpp-sasl"


async def by_plain(channel: SaslChannel) -> None:
    channel.auth("PLAIN", b"\0a\0secret")
    await channel.success()


class HandedLoginTest(UpstreamTest):
    async def log_in(self, where: str, authenticate: Authenticate, **limits: Any) -> FramedXmlStream:
        domain = Domain(name="example.org", upstream=where, upstream_trust=self.trust)
        xs = await log_in_upstream(reactor, domain, Limits(**limits), PHONE, authenticate)
        self.streams.append(xs)
        return xs

    async def fails(
        self, error: type[BaseException], script: Script, where: str, authenticate: Authenticate, **limits: Any
    ) -> str:
        """Return what is raised; the connection must be gone."""
        gone: Deferred[None] = Deferred()

        async def watched(channel: SaslChannel) -> None:
            server = script.connections[-1]
            lost = server.connectionLost

            def connection_lost(*arguments: Any) -> None:
                lost(*arguments)
                gone.callback(None)

            self.patch(server, "connectionLost", connection_lost)
            await authenticate(channel)

        try:
            await self.log_in(where, watched, **limits)
        except error as raised:
            await gone
            return str(raised)
        raise AssertionError("it succeeded")

    async def test_success(self) -> None:
        script, where = self.serve()
        seen: list[frozenset[str]] = []

        async def authenticate(channel: SaslChannel) -> None:
            seen.append(channel.mechanisms)
            await by_plain(channel)

        xs = await self.log_in(where, authenticate)
        self.assertEqual(seen, [frozenset({"SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"})])
        self.assertTrue(script.connections[0].bottom.secured)
        features = await open_stream(xs)
        self.assertTrue(features.has_payload("urn:ietf:params:xml:ns:xmpp-bind", "bind"))

    async def test_what_a_server_may_say_before_and_after(self) -> None:
        """A stranger's login opens the door to what a server sends its clients, and no sooner."""
        script, where = self.serve()
        xs = await self.log_in(where, by_plain, stanza_size=12_345)
        self.assertEqual(xs.limits.max_stanza, LARGEST_FROM_SERVER)
        heard: Deferred[Any] = Deferred()
        await open_stream(xs)
        xs.addObserver("/message", heard.callback)
        script.connections[-1].write(b"<message><body>%b</body></message>" % (b"x" * 20_000))
        self.assertGreater(len((await heard).raw), 20_000)

    async def test_a_huge_challenge(self) -> None:
        for size, why in ((LARGEST, "too long"), (20_000, "too large")):
            script, where = self.serve()

            async def authenticate(channel: SaslChannel, script: Script = script, size: int = size) -> None:
                script.connections[-1].write(b"<challenge xmlns='%b'>%b</challenge>" % (SASL, b"A" * (size + 4)))
                await channel.challenge()

            told = await self.fails(UpstreamProtocolError, script, where, authenticate, stanza_size=15_000)
            self.assertIn(why, told.replace("policy-violation", "too large"))

    async def test_aborted_and_again(self) -> None:
        """An exchange that is aborted leaves room for another one."""
        _script, where = self.serve()

        async def authenticate(channel: SaslChannel) -> None:
            channel.auth("SCRAM-SHA-1", b"n,,n=a,r=x")
            await channel.challenge()
            await channel.abort()
            await by_plain(channel)

        await self.log_in(where, authenticate)

    async def test_refused(self) -> None:
        script, where = self.serve(password="other")
        self.assertEqual(await self.fails(UpstreamRefused, script, where, by_plain), "not-authorized")

    async def test_aborted_and_the_server_does_not_agree(self) -> None:
        script, where = self.serve()

        async def authenticate(channel: SaslChannel) -> None:
            channel.auth("SCRAM-SHA-1", b"n,,n=a,r=x")
            script.connections[-1].say("success", b"")
            await channel.abort()

        await self.fails(UpstreamProtocolError, script, where, authenticate)

    async def test_what_is_raised_ends_the_connection(self) -> None:
        class Fault(Exception):
            pass

        async def authenticate(_channel: SaslChannel) -> None:
            raise Fault

        await self.fails(Fault, *self.serve(), authenticate)

    async def test_the_server_goes(self) -> None:
        script, where = self.serve()

        async def authenticate(channel: SaslChannel) -> None:
            script.connections[-1].transport.abortConnection()
            await channel.answer()

        await self.fails(UpstreamUnreachable, script, where, authenticate)

    async def test_the_client_has_its_time_and_no_more(self) -> None:
        """Its own, not that of a login by the proxy itself."""
        script, where = self.serve()
        clock = Clock()
        asked: Deferred[None] = Deferred()
        self.patch(connecting, "clientFromString", lambda _clock, text: clientFromString(reactor, text))

        async def authenticate(channel: SaslChannel) -> None:
            reactor.callLater(0, asked.callback, None)
            await channel.answer()

        domain = Domain(name="example.org", upstream=where, upstream_trust=self.trust)
        limits = Limits(authentication_timeout=200.0)
        attempt = Deferred.fromCoroutine(log_in_upstream(clock, domain, limits, PHONE, authenticate))
        await asked
        clock.advance(199)
        self.assertNoResult(attempt)
        clock.advance(2)
        self.failureResultOf(attempt, UpstreamUnreachable)
        self.assertEqual((len(script.connections), clock.getDelayedCalls()), (1, []))

    async def test_a_server_that_talks_while_nobody_asks(self) -> None:
        script, where = self.serve()
        heard: Deferred[None] = Deferred()

        async def authenticate(channel: SaslChannel) -> None:
            script.connections[-1].write(b"<message/>" * 200 + b"<presence/>")
            reactor.callLater(0, heard.callback, None)
            await heard
            while True:
                await channel.answer()

        await self.fails(UpstreamError, script, where, authenticate)
