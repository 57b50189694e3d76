"""Stream management (XEP-0198) as a client sees it, on servers that have it and on servers that have not.

What Smack's eleven tests of it ask is here, too: they are one for each of the first eleven.
"""

import re

from tests.integration.cases import on_all_servers, on_both_servers
from tests.integration.ejabberd import Ejabberd
from tests.integration.managed import NS_SM
from tests.integration.managedcase import ManagedCase, bodies, enter, hear, say

CHAT_STATES = "http://jabber.org/protocol/chatstates"


class StreamManagementCase(ManagedCase):
    # enabling

    async def test_enable(self) -> None:
        device = await self.device(resume="")
        self.assertEqual(device.resumable.id, "")

    async def test_enable_with_resumption(self) -> None:
        device = await self.device()
        self.assertGreater(device.resumable.max or 0, 0)

    async def test_enable_with_a_preferred_maximum(self) -> None:
        device = await self.device(resume=" resume='true' max='30'")
        self.assertGreater(device.resumable.max or 0, 0)

    async def test_enable_before_login(self) -> None:
        device = await self.device(come=False)
        line = await device.connect(authenticate=False)
        await line.open()
        await line.starttls()
        await line.open()
        line.send(f"<enable xmlns='{NS_SM}'/>")
        await line.expect_next(f"<failed xmlns='{NS_SM}'/>")

    async def test_requests_are_acknowledged(self) -> None:
        device = await self.device()
        await device.until_acknowledged()
        told, before = device.told, device.sent
        device.send(f"<iq type='get' id='ping' to='{device.domain}'><ping xmlns='urn:xmpp:ping'/></iq>")
        device.ask()  # one answer comes at once, and if that is too early for the stanza, another one
        await device.until(lambda: device.acknowledged > before, "the acknowledgement")
        self.assertGreater(device.told, told)

    async def test_a_stream_that_can_be_resumed_has_an_id(self) -> None:
        device = await self.device(resume=" resume='1'")
        self.assertNotEqual(device.resumable.id, "")
        self.assertLessEqual(len(device.resumable.id), 4000)

    async def test_ids_of_one_after_another(self) -> None:
        account, ids = await self.account(), set()
        for _ in range(5):
            device = await self.device(account)
            ids.add(device.resumable.id)
            await device.close()
        self.assertEqual(len(ids), 5)

    async def test_ids_at_the_same_time(self) -> None:
        account = await self.account()
        ids = {(await self.device(account, f"device{number}")).resumable.id for number in range(5)}
        self.assertEqual(len(ids), 5)

    async def test_resume(self) -> None:
        device = await self.device()
        device.drop()
        self.assertTrue(await device.resume())
        await device.barrier()
        await device.until_acknowledged()

    async def test_resume_what_never_was(self) -> None:
        device = await self.device(come=False)
        line = await device.connect()
        line.send(f"<resume xmlns='{NS_SM}' previd='nothing of that name' h='0'/>")
        await self.failed(line, "item-not-found")
        await device.bind(line)  # XEP-0198 §5: the client goes on as if it had not asked
        await device.barrier()

    async def test_what_is_sent_into_a_dead_connection(self) -> None:
        bob, alice = await self.device(await self.account("bob")), await self.device()
        say(alice, bob.jid, "what's up?")
        await hear(bob, "what's up?", alice.jid)
        alice.drop()
        say(alice, bob.jid, "just shut down")
        await alice.resume()
        say(alice, bob.jid, "just resumed")
        for body in ("just shut down", "just resumed"):
            await hear(bob, body, alice.jid)
        self.assertEqual(bodies(bob), ["what's up?", "just shut down", "just resumed"])

    # features

    async def test_feature(self) -> None:
        device = await self.device(come=False)
        line = await device.connect(authenticate=False)
        for features in (await line.open(), None):
            self.assertFalse(features and list(features.element.elements(NS_SM, "sm")))
            if features:
                await line.starttls()
                features = await line.open()
        await line.authenticate(device.account.username, device.account.password)
        features = await line.open()
        self.assertTrue(list(features.element.elements(NS_SM, "sm")))

    # asleep

    async def test_messages_for_a_sleeping_session(self) -> None:
        alice, bob = await self.device(), await self.device(await self.account("bob"))
        said = [f"number {number}" for number in range(20)]
        alice.answers = False
        for body in said[:10]:  # on their way when the connection is lost
            say(bob, alice.jid, body)
        alice.drop()
        for body in said[10:]:
            say(bob, alice.jid, body)
        await bob.barrier()
        await alice.line.until_lost()
        self.assertTrue(await alice.resume())
        await hear(alice, said[-1])
        await alice.barrier()
        self.assertEqual(bodies(alice), said)

    async def test_a_room_while_asleep(self) -> None:
        room, alice, bob = self.room(), await self.device(), await self.device(await self.account("bob"))
        await enter(bob, room, "bob")
        await enter(alice, room, "alice")
        alice.drop()
        await alice.line.until_lost()
        said = [f"number {number}" for number in range(20)]
        for body in said:
            say(bob, room, body, "groupchat")
        await bob.barrier(room)
        self.assertTrue(await alice.resume())
        await hear(alice, said[-1])
        say(alice, room, "not a word was lost", "groupchat")
        await hear(bob, "not a word was lost", f"{room}/alice")
        await alice.barrier(room)
        self.assertEqual(bodies(alice), [*said, "not a word was lost"])
        await bob.barrier(room)
        gone = [one for one in bob.received if one.get("from") == f"{room}/alice" and one.get("type") == "unavailable"]
        self.assertEqual(gone, [], "the room did not notice")

    async def test_presence_stays(self) -> None:
        """Contacts see nothing of a cut either."""
        account = await self.account()
        other, alice = await self.device(account, "other"), await self.device(account)
        await other.expect(f"<presence from='{alice.jid}'/>")
        alice.drop()
        await alice.line.until_lost()
        await other.barrier()
        self.assertTrue(await alice.resume())
        say(alice, other.jid, "here")
        await hear(other, "here", alice.jid)
        self.assertFalse([one for one in other.received if one.get("type") == "unavailable"])

    async def test_a_closed_stream_cannot_be_resumed(self) -> None:
        device = await self.device()
        await device.close()
        self.assertFalse(await device.resume())
        await device.bind(device.line)
        await device.barrier()

    async def test_resumed_while_the_old_connection_stands(self) -> None:
        alice, bob = await self.device(), await self.device(await self.account("bob"))
        old = alice.line
        self.assertTrue(await alice.resume())
        await old.until_lost()
        say(bob, alice.jid, "where are you?")
        await hear(alice, "where are you?")
        say(alice, bob.jid, "here")
        await hear(bob, "here")

    @property
    def keeps_order(self) -> bool:
        """Whether what comes while a stream is resumed comes behind what is sent again."""
        return True

    async def test_cut_after_every_message(self) -> None:
        alice, bob = await self.device(), await self.device(await self.account("bob"))
        for number in range(20):
            say(alice, bob.jid, f"to bob {number}")
            say(bob, alice.jid, f"to alice {number}")
            alice.drop()
            self.assertTrue(await alice.resume())
        for device, name in ((alice, "alice"), (bob, "bob")):
            await hear(device, f"to {name} 19")
            await device.barrier()
            expected = [f"to {name} {number}" for number in range(20)]
            if self.keeps_order:
                self.assertEqual(bodies(device), expected)
            else:
                self.assertCountEqual(bodies(device), expected)
            await device.until_acknowledged()
        self.assertEqual(alice.resumptions, 20)


@on_all_servers
class StreamManagementTests(StreamManagementCase):
    """Through the proxy."""

    async def test_the_old_connection_is_told(self) -> None:
        """XEP-0198 §5: "SHOULD send a `<conflict/>` stream error"."""
        device = await self.device()
        old = device.line
        self.assertTrue(await device.resume())
        await old.expect_close("conflict")

    async def test_what_can_wait_while_asleep(self) -> None:
        """A session that sleeps is inactive (XEP-0352), and active once it is resumed."""
        room, account = self.room(), await self.account()
        alice, awake = await self.device(account), await self.device(account, "laptop")
        bob = await self.device(await self.account("bob"))
        for client, nick in ((bob, "bob"), (alice, "alice"), (awake, "alice")):
            await enter(client, room, nick)
        alice.drop()
        await self.proxy.process.says(rf"session of {re.escape(alice.jid)} sleeps")
        before = len(alice.received)
        for state in ("composing", "paused", "composing"):
            bob.send(f"<message type='groupchat' to='{room}'><{state} xmlns='{CHAT_STATES}'/></message>")
        say(bob, room, "in between", "groupchat")
        for state in ("composing", "paused", "composing"):
            bob.send(f"<message type='groupchat' to='{room}'><{state} xmlns='{CHAT_STATES}'/></message>")
        await bob.barrier(room)
        await awake.barrier(room)  # by the account stream: all that was said has come
        self.assertTrue(await alice.resume())
        await alice.expect(f"<message from='{room}/bob'><composing xmlns='{CHAT_STATES}'/></message>")
        await alice.barrier(room)
        told = [one for one in alice.received[before:] if one.get("from") == f"{room}/bob"]
        self.assertEqual([b"in between" in one.raw for one in told], [True, False])
        bob.send(f"<message type='groupchat' to='{room}'><paused xmlns='{CHAT_STATES}'/></message>")
        await alice.expect(f"<message from='{room}/bob'><paused xmlns='{CHAT_STATES}'/></message>")


@on_both_servers
class DirectStreamManagementTests(StreamManagementCase):
    direct = True

    @property
    def keeps_order(self) -> bool:
        return self.kind is not Ejabberd


del StreamManagementCase
