"""The main job: alice's phone and laptop are one occupant of a room, and stay one whatever her devices do."""

from __future__ import annotations

from typing import Any

from demo.narrator import Narrator
from demo.parties import AioxmppParty, Phone, SlixmppParty
from demo.stage import Stage
from tests.integration.libraries import aioxmpp

# As a room shows its last messages to whoever joins: not every client keeps them.
EARLIER = (
    "bob (earlier): hello alice",
    "alice (earlier): hello bob",
    "bob (earlier): shall we meet?",
    "bob (earlier): are you still there?",
    "alice (earlier): yes, under the old tree",
    "bob (earlier): is the phone gone?",
    "alice (earlier): yes, but I am not",
)


class FirstAct:
    """alice has two devices behind the proxy; bob, the room's owner, is at the server itself."""

    def __init__(self, narrator: Narrator, stage: Stage) -> None:
        self.narrator = narrator
        self.stage = stage
        self.room = f"garden@{stage.server.muc}"
        self.phone: Any = None
        self.laptop: Any = None
        self.bob: Any = None

    async def play(self) -> None:
        self.narrator.act("First act: an account in a room")
        for step in (
            self.everybody_logs_in,
            self.phone_and_laptop_join,
            self.messages_reach_both,
            self.phone_drops,
            self.phone_resumes,
            self.phone_is_switched_off,
            self.phone_returns,
            self.proxy_is_killed,
            self.alice_is_back_by_herself,
            self.laptop_changes_nick,
            self.alice_is_kicked,
            self.alice_rejoins,
            self.alice_leaves,
        ):
            await step()
        for party in (self.phone, self.laptop, self.bob):
            await party.logout()

    def _phone(self) -> Phone:
        return Phone(self._alice, "phone")

    def _laptop(self) -> Any:
        # aioxmpp cannot be installed on Python 3.13 and newer
        return (AioxmppParty if aioxmpp is not None else SlixmppParty)(self._alice, "laptop")

    async def everybody_logs_in(self) -> None:
        self.narrator.step("Everybody logs in")
        self._alice = await self.stage.account("alice")
        await self.stage.enroll(self._alice)
        self.narrator.remark("alice is enrolled: minimixproxy enroll has been told her password, and asked the server.")
        self.phone, self.laptop = self._phone(), self._laptop()
        self._bob = await self.stage.account("bob")
        self.bob = SlixmppParty(self._bob, "desk")
        for party, port, place in (
            (self.bob, self.stage.server.port, "Prosody itself"),
            (self.phone, self.stage.port, "the proxy"),
            (self.laptop, self.stage.port, "the proxy"),
        ):
            await party.login(port)
            self.narrator.tell(party.name, f"logs in at {place}, port {port}, with {party.library}")

    async def phone_and_laptop_join(self) -> None:
        self.narrator.step(f"bob opens the room {self.room}; alice's phone joins, then her laptop")
        await self.bob.enter(self.room, "bob")
        await self.phone.enter(self.room, "alice")
        await self.narrator.sees(self.bob, "alice comes")
        await self.laptop.enter(self.room, "alice")
        await self.narrator.nothing_more(self.bob, self.phone, self.laptop)
        for party in (self.bob, self.phone, self.laptop):
            self._occupants(party, "alice", "bob")
        self.narrator.remark("The laptop's join went no further than the proxy. To the room, alice is one occupant:")
        jid = self.bob.direct_jid(self.room, "alice")
        self.narrator.tell(self.bob.name, f"sees   the JID behind the nick alice: {jid}")
        self.narrator.check(
            jid.startswith(f"{self._alice.jid}/minimix."), f"the account stream of {self._alice.jid}; found: {jid}"
        )

    async def messages_reach_both(self) -> None:
        self.narrator.step("Messages reach both devices, each once")
        self.bob.say(self.room, "hello alice")
        await self._all_see("bob: hello alice")
        self.laptop.say(self.room, "hello bob")
        await self._all_see("alice: hello bob")
        self.bob.tell_privately(self.room, "alice", "a word in private")
        for device in (self.phone, self.laptop):
            await self.narrator.sees(device, "bob privately: a word in private")
        await self._nothing_more()

    async def phone_drops(self) -> None:
        self.narrator.step("The phone drops in the middle of a sentence; bob does not see it leave")
        await self.phone.falls_silent()
        self.bob.say(self.room, "shall we meet?")
        self.bob.write(self._alice.jid, "I have brought a cake")
        await self.narrator.sees(self.laptop, "bob: shall we meet?", "bob one to one: I have brought a cake")
        self.phone.say(self.room, "yes, under the old tree")
        self.phone.write(self._bob.jid, "can you see me?")
        self.narrator.tell(self.phone.name, "says two things to nobody, and hears nothing")
        await self._falls_asleep()
        await self.narrator.sees(self.bob, "bob: shall we meet?")
        self.bob.say(self.room, "are you still there?")
        for party in (self.bob, self.laptop):
            await self.narrator.sees(party, "bob: are you still there?")
        await self.narrator.nothing_more(self.bob, self.laptop)
        self._occupants(self.bob, "alice", "bob")

    async def _falls_asleep(self) -> None:
        """The phone's connection breaks. What the proxy's own status says of it."""
        known = len(self.stage.proxy.process.lines)
        await self.phone.is_cut_off()
        await self.stage.proxy.process.says(rf"session of {self._alice.jid}/phone sleeps", start=known)
        told = await self.stage.status(self._alice.jid)
        self.narrator.tell("status", told)
        self.narrator.check(told.endswith("connected: laptop, asleep: phone"), f"the phone asleep; found: {told}")

    async def phone_resumes(self) -> None:
        self.narrator.step("The phone resumes: it has lost nothing, nothing comes twice, and what it said is said")
        await self.phone.resume()
        await self.narrator.sees(self.phone, "bob: shall we meet?", "bob one to one: I have brought a cake")
        await self.narrator.sees(self.phone, "bob: are you still there?")
        await self._all_see("alice: yes, under the old tree")
        await self.narrator.sees(self.bob, "alice one to one: can you see me?")
        await self._nothing_more()
        self.narrator.check(self.phone.resumed == 1, f"the phone resumed once; found: {self.phone.resumed} times")

    async def phone_is_switched_off(self) -> None:
        self.narrator.step("The phone is switched off; the talk goes on")
        await self.phone.logout()
        await self.narrator.sees(self.laptop, "my phone goes offline")
        self.bob.say(self.room, "is the phone gone?")
        self.laptop.say(self.room, "yes, but I am not")
        for party in (self.bob, self.laptop):
            await self.narrator.sees(party, "bob: is the phone gone?", "alice: yes, but I am not")
        await self.narrator.nothing_more(self.bob, self.laptop)
        self._occupants(self.bob, "alice", "bob")

    async def phone_returns(self) -> None:
        self.narrator.step("The phone returns, and is shown the room with what it missed; bob notices nothing")
        self.phone = self._phone()
        await self.phone.login(self.stage.port)
        await self.phone.enter(self.room, "alice")
        await self.narrator.sees(self.phone, *EARLIER)
        self._occupants(self.phone, "alice", "bob")
        await self._nothing_more()

    async def proxy_is_killed(self) -> None:
        self.narrator.step("The laptop logs out, the phone is cut off, and the proxy is killed; bob talks on")
        await self.laptop.logout()
        await self.phone.cut()
        await self.narrator.nothing_more(self.bob)
        await self.stage.kill_proxy()
        self.narrator.remark("The server keeps the account stream for a while: nobody in the room notices.")
        self.bob.say(self.room, "where is alice?")
        await self.narrator.sees(self.bob, "bob: where is alice?")

    async def alice_is_back_by_herself(self) -> None:
        self.narrator.step("The proxy starts again: alice is back before her devices, and they miss nothing")
        await self.stage.restart_proxy()
        await self.narrator.sees(self.bob, "alice leaves", "alice comes")
        self.phone, self.laptop = self._phone(), self._laptop()
        for device in (self.phone, self.laptop):
            await device.login(self.stage.port)
            await device.enter(self.room, "alice")
            await self.narrator.sees(device, *EARLIER, "bob (earlier): where is alice?")
            self._occupants(device, "alice", "bob")
        await self._nothing_more()

    async def laptop_changes_nick(self) -> None:
        self.narrator.step("The laptop changes the nick: one account, one nick")
        await self._maybe(self.laptop.rename(self.room, "alicia"))
        for device in (self.laptop, self.phone):
            await self.narrator.sees(device, "I am now alicia")
        await self.narrator.sees(self.bob, "alice is now alicia")
        await self._nothing_more()
        self._occupants(self.bob, "alicia", "bob")

    async def alice_is_kicked(self) -> None:
        self.narrator.step("bob kicks alice: both devices are out")
        await self.bob.kick(self.room, "alicia", "a demonstration")
        for device in (self.phone, self.laptop):
            await self.narrator.sees(device, "I am kicked: a demonstration")
        await self.narrator.sees(self.bob, "alicia is kicked: a demonstration")
        await self.narrator.nothing_more(self.bob)
        self._occupants(self.bob, "bob")

    async def alice_rejoins(self) -> None:
        self.narrator.step("alice joins again; the proxy did not do that by itself")
        await self.laptop.enter(self.room, "alice")
        await self.phone.enter(self.room, "alice")
        await self.narrator.sees(self.bob, "alice comes")
        await self._forget_history(self.phone, self.laptop)
        for party in (self.bob, self.phone, self.laptop):
            self._occupants(party, "alice", "bob")
        self.bob.say(self.room, "welcome back")
        await self._all_see("bob: welcome back")

    async def alice_leaves(self) -> None:
        self.narrator.step("The laptop leaves, and bob notices nothing; with the phone alice leaves for good")
        await self._maybe(self.laptop.leave(self.room, "alice"))
        await self.narrator.sees(self.laptop, "I have left")
        await self.narrator.nothing_more(self.bob, self.phone)
        self._occupants(self.bob, "alice", "bob")
        await self._maybe(self.phone.leave(self.room, "alice"))
        await self.narrator.sees(self.phone, "I have left")
        await self.narrator.sees(self.bob, "alice leaves")
        self._occupants(self.bob, "bob")
        await self.narrator.nothing_more(self.bob)

    async def _all_see(self, what: str) -> None:
        for party in (self.bob, self.phone, self.laptop):
            await self.narrator.sees(party, what)

    async def _nothing_more(self) -> None:
        await self.narrator.nothing_more(self.bob, self.phone, self.laptop)

    def _occupants(self, party: Any, *expected: str) -> None:
        self.narrator.equal(party.name, "has in the room", party.occupants(self.room), expected)

    @staticmethod
    async def _forget_history(*parties: Any) -> None:
        """A new join shows the room's history again."""
        for party in parties:
            await party.catches_up()
            party.seen[:] = [one for one in party.seen if " (earlier): " not in one]

    @staticmethod
    async def _maybe(step: Any) -> None:
        """One library waits for the answer, the other only sends."""
        if step is not None:
            await step


async def first_act(narrator: Narrator, stage: Stage) -> None:
    """Play the act. Raises `StepFailed` at the first step that does not come true."""
    await FirstAct(narrator, stage).play()
