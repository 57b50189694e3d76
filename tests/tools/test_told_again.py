"""What a join with no wish may tell again: messages of the past, each by its own id, in order, before all news."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chaos.people import KnowsIds, Since
from tests.integration.client import Client
from tests.integration.faults import NS_DELAY, NS_SID, SHOWN, Heard, Place
from tests.integration.xmlcut import Received


class ToldAgainTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.place = Place()

    def tell(self, body: str, stanza_id: str | None = None, *, delayed: bool = False) -> None:
        self.place.take(Heard("bob", body, stanza_id, delayed, 1, 1, 0.0))

    def join(self, *messages: tuple[str, str | None]) -> dict[str, int]:
        """Join and be told these, each with its id; return what counts as told more than once."""
        self.place.enters(wish=False)
        for body, stanza_id in messages:
            self.tell(body, stanza_id, delayed=True)
        self.place.entered_with()
        return {body: count for body, count in self.place.counts.items() if count > 1}

    def test_what_was_heard_may_come_again(self) -> None:
        for body, stanza_id in (("one", "1"), ("two", "2")):
            self.tell(body, stanza_id)
        self.assertEqual(self.join(("one", "1"), ("two", "2"), ("three", "3")), {})
        self.assertEqual(self.place.bodies, ["one", "two", "three"])

    def test_what_a_room_has_twice_is_two_messages(self) -> None:
        """A client that sends again, after a stream that could not be resumed, may be in the room twice."""
        for body, stanza_id in (("one", "1"), ("two", "2"), ("one", "3"), ("four", "4")):
            self.tell(body, stanza_id)
        self.assertEqual(self.join(("two", "2"), ("one", "3"), ("four", "4")), {"one": 2})

    def test_one_message_twice_in_a_join(self) -> None:
        for body, stanza_id in (("one", "1"), ("two", "2")):
            self.tell(body, stanza_id)
        self.assertEqual(self.join(("one", "1"), ("two", "2"), ("one", "1")), {"one": 2})

    def test_behind_news(self) -> None:
        self.tell("one", "1")
        self.assertEqual(self.join(("two", "2"), ("one", "1")), {"one": 2})

    def test_live(self) -> None:
        self.tell("one", "1")
        self.tell("one", "1")
        self.assertEqual(self.place.counts["one"], 2)

    def test_too_much(self) -> None:
        messages = [(f"{number}", f"id-{number}") for number in range(SHOWN)]
        for body, stanza_id in messages:
            self.tell(body, stanza_id)
        self.assertEqual(self.join(*messages), {})
        self.assertEqual(len(self.join(*messages, ("new", "new"))), SHOWN)

    def test_without_ids(self) -> None:
        for body in ("one", "two", "one"):
            self.tell(body)
        self.assertEqual(self.join(("one", None), ("two", None), ("one", None), ("three", None)), {"one": 2})
        self.assertEqual(self.join(("two", None), ("one", None), ("two", None)), {"one": 2, "two": 2})


class ChaosDeviceTests(SynchronousTestCase):
    """What devices of a chaos run make of what comes."""

    def device(self, kind: type[KnowsIds]) -> KnowsIds:
        device = kind("phone", self.dial, "alice")
        device.client = Client("a.test", "phone")
        return device

    async def dial(self) -> Client:
        raise NotImplementedError

    def tell(self, device: KnowsIds, room: str, body: str, stanza_id: str, *, delayed: bool = False) -> None:
        delay = f"<delay xmlns='{NS_DELAY}' stamp='2026-11-26T12:00:00Z'/>" if delayed else ""
        message = (
            f"<message from='{room}/bob' type='groupchat'><body>{body}</body>"
            f"<stanza-id xmlns='{NS_SID}' by='{room}' id='{stanza_id}'/>{delay}</message>"
        )
        device._message(device[room], "bob", Received(message.encode()))

    def test_an_id_is_one_of_its_room(self) -> None:
        device = self.device(KnowsIds)
        for room, body in (("one@muc.test", "1421"), ("two@muc.test", "1418")):
            self.tell(device, room, body, "1795699959537327")
        self.tell(device, "two@muc.test", "1418", "1795699959537327", delayed=True)
        self.assertEqual((device["one@muc.test"].bodies, device["two@muc.test"].bodies), (["1421"], ["1418"]))
        self.assertEqual(device.known, 1)

    def test_what_is_told_of_the_past_is_no_reason_to_ask_for_less(self) -> None:
        device = self.device(Since)
        self.tell(device, "one@muc.test", "early", "1")
        wish = device.wish("one@muc.test")
        self.assertIn("since=", wish)
        device._last["one@muc.test"] -= 60.0  # type: ignore[attr-defined]
        wish = device.wish("one@muc.test")
        self.tell(device, "one@muc.test", "early", "1", delayed=True)
        self.tell(device, "one@muc.test", "missed", "2", delayed=True)
        self.assertEqual(device.wish("one@muc.test"), wish)
        self.assertEqual(device["one@muc.test"].bodies, ["early", "missed"])
