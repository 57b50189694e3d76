"""Push (XEP-0357): a phone that sleeps, or is gone, is woken when somebody asks for alice; not when she has read it."""

from __future__ import annotations

from demo.narrator import Narrator
from demo.parties import AppServer, Phone, Reader, SlixmppParty
from demo.stage import Stage

NODE = "alice-phone"


class ThirdAct:
    """alice has a phone that has push enabled, and a laptop; bob is at the server itself."""

    def __init__(self, narrator: Narrator, stage: Stage) -> None:
        self.narrator = narrator
        self.stage = stage
        self.room = f"kitchen@{stage.server.muc}"

    async def play(self) -> None:
        self.narrator.act("Third act: a phone that sleeps")
        for step in (
            self.phone_enables_push,
            self.laptop_has_read_it,
            self.nobody_has_read_it,
            self.phone_is_gone,
        ):
            await step()
        await self.bob.logout()
        self.app_server.leave()

    async def phone_enables_push(self) -> None:
        self.narrator.step("alice's phone asks to be woken through the server of its app; phone and laptop join a room")
        alice, bob = self.stage.accounts["alice"], self.stage.accounts["bob"]
        self.app_server = AppServer()
        await self.app_server.enter(self.stage.server)
        self.narrator.tell(self.app_server.name, f"is there: {self.app_server.domain}")
        self.bob, self.phone, self.laptop = SlixmppParty(bob, "desk"), Phone(alice, "phone"), Reader(alice, "laptop")
        await self.bob.login(self.stage.server.port)
        await self.bob.enter(self.room, "bob")
        for device in (self.phone, self.laptop):
            await device.login(self.stage.port)
            await device.enter(self.room, "alice")
        await self.narrator.sees(self.bob, "alice comes")
        self.app_server.publisher = self.bob.direct_jid(self.room, "alice")
        await self.phone.enable_push(self.app_server.domain, NODE)
        self.narrator.tell(self.phone.name, "enables push; Prosody here knows nothing of that, so the proxy takes it")

    async def laptop_has_read_it(self) -> None:
        self.narrator.step("The phone sleeps; bob asks for alice, who reads it on the laptop: the phone may sleep on")
        await self._falls_asleep()
        self.bob.say(self.room, "alice: is there any tea?")
        await self.narrator.sees(self.laptop, "bob: alice: is there any tea?")
        self.laptop.has_read(self.room)
        await self.laptop.catches_up(self.room)
        self.narrator.tell(self.laptop.name, "tells the room that she has read it (XEP-0333)")
        await self.laptop.logout()
        await self._not_woken()

    async def nobody_has_read_it(self) -> None:
        self.narrator.step(
            "bob talks on, and asks again: the phone is woken for that one message, whose text stays here"
        )
        self.bob.say(self.room, "I am boiling water")
        await self.bob.catches_up(self.room)
        await self._not_woken()
        self.bob.say(self.room, "alice: and cake?")
        await self.narrator.sees(self.app_server, f"{NODE} has 1 new message: New Message!")
        await self.phone.resume()
        for text in ("alice: is there any tea?", "I am boiling water", "alice: and cake?"):
            await self.narrator.sees(self.phone, f"bob: {text}")
        await self.narrator.sees(self.phone, "my laptop goes offline")
        await self.narrator.nothing_more(self.phone)

    async def phone_is_gone(self) -> None:
        self.narrator.step(
            "The phone is switched off: alice has no device left, is in the room all the same, and is told"
        )
        await self.phone.logout()
        self.narrator.equal(self.bob.name, "has in the room", self.bob.occupants(self.room), ("alice", "bob"))
        self.bob.say(self.room, "alice: it is getting cold")
        self.narrator.remark(
            f"The app's server is told once in {self.stage.push_delay:.0f} s at most, so that takes a while."
        )
        await self.narrator.sees(self.app_server, f"{NODE} has 1 new message: New Message!")
        await self._not_woken()

    async def _falls_asleep(self) -> None:
        known = len(self.stage.proxy.process.lines)
        await self.phone.is_cut_off()
        await self.stage.proxy.process.says(rf"session of {self.phone.jid} sleeps", start=known)
        self.narrator.tell(self.phone.name, "sleeps")

    async def _not_woken(self) -> None:
        """Nothing was published, or nothing more. What is only delayed the next count shows."""
        await self.narrator.nothing_more(self.app_server)
        self.narrator.tell(self.app_server.name, "is told nothing more" if self.app_server.told else "is told nothing")


async def third_act(narrator: Narrator, stage: Stage) -> None:
    """Play the act. Raises `StepFailed` at the first step that does not come true."""
    await ThirdAct(narrator, stage).play()
