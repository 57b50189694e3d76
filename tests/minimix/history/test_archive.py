"""The personal archive: queries answered from the history, page by page."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from twisted.words.xish import domish

from minimixproxy.minimix.history import archive
from minimixproxy.minimix.history.archive_query import MAX_IDS
from minimixproxy.wire.stanza import parse_stanza, rewrite
from minimixproxy.xep.delays import format_time
from minimixproxy.xep.muc import error_condition
from tests.examples import examples
from tests.log_events import log_events
from tests.minimix.fakes import DISCO, ROOM, payload_of, split
from tests.minimix.history.test_room_history import NOW, Speaker, replacing, retracting

ME = "alice@a.test/phone"
MAM = "urn:xmpp:mam:2"
RSM = "http://jabber.org/protocol/rsm"


class Answer:
    """What a client was answered, taken apart."""

    def __init__(self, data: bytes) -> None:
        *messages, self.iq = split(data)
        self.results = [payload_of(message, MAM, "result") for message in messages]
        self.messages = messages

    @property
    def fin(self) -> domish.Element:
        return payload_of(self.iq, MAM, "fin")

    @property
    def ids(self) -> list[str]:
        return [result["id"] for result in self.results]

    @property
    def bodies(self) -> list[str]:
        return [str(result.forwarded.message.body) for result in self.results]

    @property
    def complete(self) -> bool:
        return bool(self.fin.getAttribute("complete") == "true")

    def summary(self, name: str) -> str | None:
        (page,) = self.fin.elements(RSM, "set")
        return next((str(element) for element in page.elements(RSM, name)), None)

    @property
    def error(self) -> str:
        return error_condition(self.iq)


def form(**fields: str | list[str]) -> str:
    inner = "".join(
        f"<field var='{name.replace('_', '-')}'>"
        + "".join(f"<value>{value}</value>" for value in ([values] if isinstance(values, str) else values))
        + "</field>"
        for name, values in fields.items()
    )
    return f"<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>{MAM}</value></field>{inner}</x>"


def page(inner: str) -> str:
    return f"<set xmlns='{RSM}'>{inner}</set>"


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.room = Speaker()

    def fill(self, count: int) -> None:
        for number in range(count):
            self.room.now = NOW + number
            self.room.says(f"m{number}", room_id=f"i{number}", nick="bob" if number % 2 else "carol")

    def ask(self, inner: str = "", attributes: str = "queryid='q'", kind: str = "set") -> Answer:
        return self.iq(f"<iq type='{kind}' id='1' to='{ROOM}'><query xmlns='{MAM}' {attributes}>{inner}</query></iq>")

    def iq(self, xml: str) -> Answer:
        stanza = parse_stanza(xml)
        self.assertTrue(archive.concerns_archive(stanza))
        return Answer(b"".join(archive.answer(ROOM, self.room.history, ME, stanza, self.room.now)))


class Queries(Case):
    def test_all(self) -> None:
        self.fill(3)
        answer = self.ask()
        self.assertEqual((answer.ids, answer.bodies), (["i0", "i1", "i2"], ["m0", "m1", "m2"]))
        self.assertTrue(answer.complete)
        self.assertEqual([answer.summary(name) for name in ("first", "last", "count")], ["i0", "i2", "3"])
        for stanza in (*answer.messages, answer.iq):
            self.assertEqual((stanza["from"], stanza["to"]), (ROOM, ME))
        self.assertEqual((answer.iq["type"], answer.iq["id"]), ("result", "1"))
        result = answer.results[1]
        self.assertEqual(result["queryid"], "q")
        self.assertEqual(result.forwarded.delay["stamp"], "2023-11-14T22:13:21.000Z")
        self.assertEqual(result.forwarded.message["from"], f"{ROOM}/bob")

    def test_empty(self) -> None:
        answer = self.ask()
        self.assertEqual((answer.ids, answer.complete, answer.summary("count")), ([], True, "0"))
        self.assertIsNone(answer.summary("first"))

    def test_without_queryid(self) -> None:
        self.fill(1)
        self.assertFalse(self.ask(attributes="").results[0].hasAttribute("queryid"))

    def test_bytes_of_the_message(self) -> None:
        raw = f"<message  from='{ROOM}/b'\n type=\"groupchat\" to='x@y' ><body >a &amp; b</body></message>"
        self.room.history.take(parse_stanza(raw), NOW)
        (message,) = self.ask().messages
        self.assertIn(b"<body >a &amp; b</body></message></forwarded>", message.raw)
        self.assertNotIn(b"x@y", message.raw)
        self.assertNotIn(b"stanza-id", message.raw)

    def test_the_rooms_ids(self) -> None:
        """Where the room gives one, it is that of the result, and of the message that is in it; corrected, too."""
        self.room.says("one", room_id="i1", sent_id="a")
        self.room.says("two", "<replace xmlns='urn:xmpp:message-correct:0' id='a'/>", room_id="i2", sent_id="b")
        answer = self.ask()
        self.assertEqual((answer.ids, answer.bodies), (["i1", "i2"], ["two", "two"]))
        for result in answer.results:
            (given,) = result.forwarded.message.elements("urn:xmpp:sid:0", "stanza-id")
            self.assertEqual((given["by"], given["id"]), (ROOM, result["id"]))

    def test_own_ids(self) -> None:
        self.room.says("one")
        self.room.says("two")
        first, second = self.ask().ids
        self.assertNotEqual(first, second)
        self.assertEqual(self.ask(page(f"<after>{first}</after>")).bodies, ["two"])

    def test_a_queryid_that_each_result_would_bear(self) -> None:
        """A hundred times 250 KB, written as six bytes each: longer ones are refused."""
        self.fill(100)
        for length, error in ((1024, ""), (1025, "bad-request"), (200_000, "bad-request")):
            answer = self.ask(attributes=f"queryid='{'&apos;' * length}'")
            self.assertEqual(answer.error, error)
            self.assertEqual(len(answer.messages), 0 if error else 100)

    def test_ids_that_an_occupant_has_made_up(self) -> None:
        """A room without an archive lets its occupants write ids in its name: none leads past what others said."""
        self.room.says("one")
        (first,) = self.ask().ids
        self.room.says("two")
        self.room.says("hidden")
        self.room.says("made up", room_id=first, nick="eve")
        self.assertEqual(self.ask(page(f"<after>{first}</after>")).bodies, ["two", "hidden", "made up"])
        answer = self.ask()
        self.assertEqual(len(set(answer.ids)), 4)
        self.assertEqual(self.ask(page(f"<before>{answer.ids[-1]}</before>")).bodies, ["one", "two", "hidden"])

    def test_filters(self) -> None:
        self.fill(6)
        stamp = [format_time(NOW + number) for number in range(6)]
        table: list[tuple[dict[str, str | list[str]], list[int]]] = [
            ({"start": stamp[4]}, [4, 5]),
            ({"end": stamp[1]}, [0, 1]),
            ({"start": stamp[2], "end": stamp[3]}, [2, 3]),
            ({"with": ROOM}, [0, 1, 2, 3, 4, 5]),
            ({"with": f"{ROOM}/bob"}, [1, 3, 5]),
            ({"with": "bob@a.test"}, []),
            ({"after_id": "i3"}, [4, 5]),
            ({"before_id": "i2"}, [0, 1]),
            ({"after_id": "i1", "before_id": "i4"}, [2, 3]),
            ({"after_id": "i4", "before_id": "i1"}, []),
            ({"ids": ["i5", "i0"]}, [0, 5]),
            ({"ids": ["i5", "i0"], "start": stamp[1]}, [5]),
        ]
        for fields, expected in table:
            answer = self.ask(form(**fields))
            self.assertEqual(answer.ids, [f"i{number}" for number in expected], fields)
            self.assertEqual(answer.summary("count"), str(len(expected)))

    def test_pages(self) -> None:
        self.fill(6)
        for inner, expected, complete in [
            ("<max>2</max>", [0, 1], False),
            ("<max>2</max><after>i1</after>", [2, 3], False),
            ("<max>2</max><after>i3</after>", [4, 5], True),
            ("<max>2</max><after>i5</after>", [], True),
            ("<max>2</max><before/>", [4, 5], False),
            ("<max>2</max><before>i4</before>", [2, 3], False),
            ("<max>2</max><before>i2</before>", [0, 1], True),
            ("<max>2</max><before>i0</before>", [], True),
            ("<max>0</max>", [], False),
            ("<max>9</max>", [0, 1, 2, 3, 4, 5], True),
            ("<before>i4</before><after>i1</after>", [2, 3], True),
        ]:
            answer = self.ask(page(inner))
            self.assertEqual((answer.ids, answer.complete), ([f"i{number}" for number in expected], complete), inner)
            self.assertEqual(answer.summary("count"), "6")
        self.assertEqual(self.ask("<flip-page/>" + page("<max>3</max><before/>")).ids, ["i5", "i4", "i3"])
        self.assertEqual(self.ask("<flip-page/>" + page("<max>3</max><before/>")).summary("first"), "i3")

    def test_page_of_what_is_filtered(self) -> None:
        self.fill(6)
        with_bob = form(**{"with": f"{ROOM}/bob"})
        self.assertEqual(self.ask(with_bob + page("<max>1</max><after>i2</after>")).ids, ["i3"])
        self.assertEqual(self.ask(with_bob + page("<max>1</max><before>i4</before>")).ids, ["i3"])

    def test_a_page_is_bounded(self) -> None:
        self.fill(250)
        self.assertEqual(len(self.ask().ids), archive.MAX_PAGE)
        self.assertEqual(len(self.ask(page("<max>200</max><before/>")).ids), archive.MAX_PAGE)
        self.patch(archive, "MAX_PAGE_BYTES", 30_000)
        room = self.room = Speaker()
        for number in range(10):
            room.says("x" * (archive.MAX_PAGE_BYTES // 3), room_id=f"i{number}")
        self.assertEqual(self.ask().ids, ["i0", "i1"])
        self.assertEqual(self.ask(page("<before/>")).ids, ["i8", "i9"])
        self.assertFalse(self.ask(page("<before/>")).complete)

    def test_errors(self) -> None:
        self.fill(2)
        for inner, expected in [
            (page("<after>x</after>"), "item-not-found"),
            (page("<before>x</before>"), "item-not-found"),
            (form(after_id="x"), "item-not-found"),
            (form(before_id="x"), "item-not-found"),
            (form(ids=["i1", "x"]), "item-not-found"),
            (form(start="yesterday"), "bad-request"),
            (form(start=["a", "b"]), "bad-request"),
            (form(withtext="x"), "feature-not-implemented"),
            (form(**{"with": "a@@b"}), "jid-malformed"),
            (form(ids=["i1"] * (MAX_IDS + 1)), "policy-violation"),
            ("<x xmlns='jabber:x:data' type='submit'/>", "bad-request"),
            (page("<max>many</max>"), "bad-request"),
            (page("<index>3</index>"), "feature-not-implemented"),
        ]:
            answer = self.ask(inner)
            self.assertEqual((answer.iq["type"], answer.error), ("error", expected), inner)
            self.assertEqual((answer.messages, answer.iq["id"]), ([], "1"))

    def test_a_message_that_cannot_be_shown(self) -> None:
        """It costs itself, and not the client; the next one who asks is told of no such message."""
        self.fill(3)
        bad = self.room.history.entries[1].raw
        self.patch(archive, "rewrite", lambda raw, changes: rewrite(b"" if raw == bad else raw, changes))
        events = log_events(self)
        for count, logged in (("3", 1), ("2", 1)):
            answer = self.ask()
            self.assertEqual((answer.ids, answer.summary("count"), len(events)), (["i0", "i2"], count, logged))

    def test_expired(self) -> None:
        self.fill(2)
        self.room.now += 31 * 86400
        self.assertEqual(self.ask().ids, [])

    def test_in_the_order_of_time(self) -> None:
        self.room.says("late", room_id="b")
        self.room.says("early", room_id="a", stamp=NOW - 100)
        self.assertEqual(self.ask().ids, ["a", "b"])

    def test_what_was_changed(self) -> None:
        self.room.says("teh", sent_id="o", room_id="O")
        self.room.says("the", replacing("o"), room_id="C")
        self.assertEqual(self.ask().bodies, ["the", "the"])
        self.room.says("", retracting("O"), room_id="R")
        answer = self.ask()
        self.assertEqual(answer.ids, ["O", "C", "R"])
        self.assertIsNotNone(answer.results[0].forwarded.message.retracted)
        self.assertNotIn(b"the<", b"".join(message.raw for message in answer.messages))

    @settings(max_examples=examples(100))
    @given(st.integers(0, 40), st.integers(1, 12), st.booleans(), st.booleans())
    def test_page_after_page_is_all(self, count: int, size: int, backwards: bool, flipped: bool) -> None:
        self.room = Speaker()
        self.fill(count)
        seen: list[str] = []
        place = "<before/>" if backwards else ""
        flip = "<flip-page/>" if flipped else ""
        for _ in range(count + 2):
            answer = self.ask(flip + page(f"<max>{size}</max>{place}"))
            ids = list(reversed(answer.ids)) if flipped else answer.ids
            self.assertLessEqual(len(ids), size)
            seen = ids + seen if backwards else seen + ids
            if answer.complete:
                break
            place = (
                f"<before>{answer.summary('first')}</before>"
                if backwards
                else f"<after>{answer.summary('last')}</after>"
            )
        self.assertEqual(seen, [f"i{number}" for number in range(count)])


class Features(Case):
    def test_form(self) -> None:
        answer = self.ask(attributes="", kind="get")
        query = payload_of(answer.iq, MAM, "query")
        fields = {field["var"]: field["type"] for field in query.x.elements("jabber:x:data", "field")}
        self.assertEqual(
            fields,
            {
                "FORM_TYPE": "hidden",
                "with": "jid-single",
                "start": "text-single",
                "end": "text-single",
                "before-id": "text-single",
                "after-id": "text-single",
                "ids": "list-multi",
            },
        )

    def test_metadata(self) -> None:
        ask = f"<iq type='get' id='1' to='{ROOM}'><metadata xmlns='{MAM}'/></iq>"
        self.assertEqual(payload_of(self.iq(ask).iq, MAM, "metadata").children, [])
        self.fill(3)
        iq = self.iq(ask).iq
        metadata = payload_of(iq, MAM, "metadata")
        self.assertEqual((len(iq.element.children), len(metadata.children)), (1, 2), "there is no text beside")
        self.assertEqual(
            [(child.name, child["id"], child["timestamp"]) for child in metadata.elements()],
            [("start", "i0", "2023-11-14T22:13:20.000Z"), ("end", "i2", "2023-11-14T22:13:22.000Z")],
        )

    def test_what_concerns_an_archive(self) -> None:
        for xml, expected in [
            (f"<iq type='set'><query xmlns='{MAM}'/></iq>", True),
            (f"<iq type='get'><query xmlns='{MAM}'/></iq>", True),
            (f"<iq type='result'><query xmlns='{MAM}'/></iq>", False),
            (f"<iq type='set'><metadata xmlns='{MAM}'/></iq>", False),
            (f"<iq type='set'><prefs xmlns='{MAM}'/></iq>", False),
            ("<iq type='get'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>", False),
        ]:
            self.assertEqual(archive.concerns_archive(parse_stanza(xml)), expected, xml)

    def test_advertised(self) -> None:
        result = parse_stanza(
            f"<iq type='result' from='{ROOM}' to='{ME}' id='d'>"
            "<d:query xmlns:d='http://jabber.org/protocol/disco#info'><d:identity category='conference'/>"
            f"<d:feature var='x'/><d:feature var='{MAM}#extended'/></d:query></iq>"
        )
        (shown,) = split(archive.disco_with_archive(result))
        query = payload_of(shown, DISCO, "query")
        self.assertEqual([child.getAttribute("var") for child in query.elements()], [None, "x", f"{MAM}#extended", MAM])
        self.assertEqual((shown["id"], shown["from"]), ("d", ROOM))
