"""Connections that are lost between proxy and server: neither clients nor rooms notice (XEP-0198)."""

from __future__ import annotations

from tests.integration.cases import on_both_servers, on_servers
from tests.integration.correspondence import COUNT, CorrespondentsCase
from tests.integration.correspondents import Correspondent
from tests.integration.prosody import Prosody
from tests.integration.relay import Relay


class UpstreamCase(CorrespondentsCase):
    """Between proxy and server, too, connections are lost: those of sessions and those of accounts."""

    def setUp(self) -> None:
        super().setUp()
        self.upstream = Relay(self.server.port)
        self.upstream.start()
        self.addCleanup(self.upstream.stop)
        self.behind = self.own_proxy(domain={"upstream": f"tcp:127.0.0.1:{self.upstream.port}"})

    @property
    def entrance(self) -> int:
        return self.behind.port

    def unnoticed(self, *both: Correspondent) -> None:
        """Neither of the two has lost its stream, or has left the room, as the other sees it."""
        for one in both:
            self.assertEqual(one.anew, 0, one.device.transcript())
            gone = [stanza for stanza in one.device.received if stanza.get("type") == "unavailable"]
            self.assertEqual(gone, [], "nobody left the room")


@on_servers(Prosody)
class UpstreamCutTests(UpstreamCase):
    """For ejabberd see DirectCutTests."""

    async def test_cut_on_both_sides(self) -> None:
        both = await self.correspondents()
        for one in both:
            one.stay()
            one.talk()
        for goal in range(COUNT // 6, COUNT, COUNT // 6):
            await both[1].has_heard(goal)
            self.upstream.cut(reset=bool(goal % 2))
        await self.finish(*both)
        self.unnoticed(*both)

    async def test_cut_between_proxy_and_server(self) -> None:
        both = await self.correspondents(0)
        for one in both:
            one.talk()
        for goal in range(COUNT // 10, COUNT, COUNT // 10):
            await both[1].has_heard(goal)
            self.upstream.cut()
        await self.finish(*both)
        self.unnoticed(*both)
        for one in both:
            self.assertEqual(len(one.device.lines), 1)


@on_both_servers
class QuietUpstreamCutTests(UpstreamCase):
    async def test_cut_between_proxy_and_server_while_nothing_is_said(self) -> None:
        both = await self.correspondents(0)
        for goal in range(10, COUNT, 10):
            for one in both:
                one.talk_until(goal)
            for one in both:
                await one.has_heard(goal)
                await one.device.barrier(one.room)
            opened, open_now = self.upstream.opened, len(self.upstream.links)
            self.upstream.cut()
            await self.upstream.until_opened(opened + open_now)
            for one in both:
                await one.device.barrier(one.room)
        for one in both:
            one.talk_until(COUNT)
        await self.finish(*both)
        self.unnoticed(*both)


del UpstreamCase
