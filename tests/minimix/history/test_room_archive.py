"""Reading a room's archive for what was missed, and what a room says of itself."""

from __future__ import annotations

from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.bounds.byte_budget import ByteBudget
from minimixproxy.minimix.history import archive, room_archive
from minimixproxy.minimix.history.displayed_markers import MAX_MARKERS
from minimixproxy.minimix.history.room_archive import PAGE, RoomArchive
from minimixproxy.minimix.history.room_history import Taken
from minimixproxy.minimix.history.room_info import RoomInfo
from minimixproxy.minimix.room.budgets import WAITING_BYTES, WAITING_OWN
from minimixproxy.wire.stanza import Stanza, parse_stanza
from minimixproxy.xep.delays import delay_of, format_time
from tests.examples import examples
from tests.log_events import log_events
from tests.minimix.fakes import ROOM, STREAM, split
from tests.minimix.history.test_archive import RSM
from tests.minimix.history.test_room_history import NOW, Speaker
from tests.minimix.outlets import FakeOutlet

DELAY = "urn:xmpp:delay"
MAM = "urn:xmpp:mam:2"
DISCO = "http://jabber.org/protocol/disco#info"

FEWER = 256 * 1024  # bytes, where the bound of 8 MiB would be reached by messages that take seconds to read


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.outlet = FakeOutlet()
        self.given: list[list[Stanza]] = []

    def catch_up(self, limit: int = 500, after_id: str | None = "known", after_time: float | None = NOW) -> RoomArchive:
        catch_up = RoomArchive(ROOM, self.outlet, lambda: limit, self.given.append)
        catch_up.start(after_id, after_time, NOW + 1000)
        return catch_up

    def fin(self, inner: str = "", complete: bool = False) -> Stanza:
        attribute = " complete='true'" if complete else ""
        return parse_stanza(
            f"<iq type='result' from='{ROOM}'><fin xmlns='{MAM}'{attribute}><set xmlns='{RSM}'>{inner}</set></fin></iq>"
        )


def result(archive_id: str, time: float, message: str) -> Stanza:
    return parse_stanza(
        f"<message from='{ROOM}' to='{STREAM}'><result xmlns='{MAM}' queryid='q' id='{archive_id}'>"
        f"<forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' stamp='{format_time(time)}'/>{message}"
        "</forwarded></result></message>"
    )


def stamped(archive_id: str, stamp: str) -> Stanza:
    """A result with any stamp, or none."""
    return parse_stanza(
        f"<message from='{ROOM}' to='{STREAM}'><result xmlns='{MAM}' queryid='q' id='{archive_id}'>"
        f"<forwarded xmlns='urn:xmpp:forward:0'>{stamp}{said('x')}</forwarded></result></message>"
    )


def said(body: str, inner: str = "", sender: str = f"{ROOM}/bob", kind: str = "groupchat") -> str:
    text = f"<body>{body}</body>" if body else ""
    return f"<message xmlns='jabber:client' type='{kind}' from='{sender}' id='m-{body}'>{text}{inner}</message>"


def marker(about: str, nick: str) -> str:
    return (
        f"<message xmlns='jabber:client' type='groupchat' from='{ROOM}/{nick}' id='m-{about}'>"
        f"<displayed xmlns='urn:xmpp:chat-markers:0' id='{about}'/><store xmlns='urn:xmpp:hints'/></message>"
    )


def texts(stanzas: list[Stanza]) -> list[str]:
    return [str(stanza.element.body) for stanza in stanzas]


class Reading(Case):
    def test_an_archive_without_end(self) -> None:
        self.patch(room_archive, "MAX_PAGES", 5)
        self.catch_up()
        for number in range(5):
            question = self.outlet.asked[number]
            assert question.result is not None
            question.result(result(str(number), NOW, said("")))
            question.answered(self.fin())
        self.assertEqual((len(self.outlet.asked), self.given), (5, [[]]))

    def test_query(self) -> None:
        self.catch_up()
        (question,) = self.outlet.asked
        self.assertEqual(question.to, ROOM)
        element = question.payload.element
        fields = {one["var"]: str(one.value) for one in element.x.elements("jabber:x:data", "field")}
        self.assertEqual(fields, {"FORM_TYPE": MAM, "start": format_time(NOW - 86400)})
        page = {child.name: str(child) for child in element.elements(RSM, "set").__next__().elements()}
        self.assertEqual(page, {"max": "100", "before": ""})

    def test_what_comes_out(self) -> None:
        self.catch_up()
        (question,) = self.outlet.asked
        assert question.result is not None
        forged = "<stanza-id xmlns='urn:xmpp:sid:0' by='{}' id='{}'/>"
        stamped = f"<delay xmlns='urn:xmpp:delay' from='{ROOM}' stamp='2020-01-01T00:00:00Z'/>"
        for one in [
            result("known", NOW, said("known")),
            result("1", NOW + 1, said("plain")),
            result("2", NOW + 2, said("own id", forged.format(ROOM, "other") + forged.format("bob@a.test", "mine"))),
            result("3", NOW + 3, said("stamped", stamped)),
            result("4", NOW + 4, said("", "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>")),
            result("5", NOW + 5, said("private", kind="chat")),
            result("6", NOW + 6, said("foreign", sender="eve@a.test/x")),
            result("7", NOW + 7, said("nobody", sender="@")),
            result("8", NOW + 8, f"<presence xmlns='jabber:client' from='{ROOM}/bob'/>"),
            result("9", NOW + 9, said("", "<retract xmlns='urn:xmpp:message-retract:1' id='1'/>")),
            parse_stanza(f"<message from='{ROOM}'><result xmlns='{MAM}' queryid='q' id='10'/></message>"),
        ]:
            question.result(one)
        question.answered(self.fin())
        ((plain, own_id, dated, marker, retraction),) = self.given
        self.assertEqual((plain["from"], plain["type"], plain["id"]), (f"{ROOM}/bob", "groupchat", "m-plain"))
        self.assertEqual((delay_of(plain, ROOM, NOW + 9), delay_of(dated, ROOM, NOW + 9)), (NOW + 1, NOW + 3))
        ids = [(one["by"], one["id"]) for one in own_id.elements("urn:xmpp:sid:0", "stanza-id")]
        self.assertEqual(ids, [("bob@a.test", "mine"), (ROOM, "2")])
        self.assertIsNotNone(marker.payload("urn:xmpp:chat-markers:0", "displayed"))
        self.assertIsNotNone(retraction.payload("urn:xmpp:message-retract:1", "retract"))
        for stanza in self.given[0]:
            self.assertEqual(parse_stanza(stanza.raw).payloads, stanza.payloads)

    def test_markers_take_no_messages_place(self) -> None:
        """The last of each occupant is told, of so many, and nothing else of them is kept, were they ever so many."""
        self.catch_up(limit=3)
        (first,) = self.outlet.asked
        assert first.result is not None
        for number in range(PAGE):
            first.result(result(str(number), NOW + number, marker(str(number), f"n{number % 3}")))
        first.answered(self.fin())
        self.assertEqual(self.outlet.waiting.used, 0, "three have place in what is the room's own")
        second = self.outlet.asked[1]
        assert second.result is not None
        for number in range(PAGE - 4):
            second.result(result(f"s{number}", NOW, marker(str(number), f"n{number % 3}")))
        self.assertGreater(self.outlet.waiting.used, 0)
        for number in range(4):
            second.result(result(f"t{number}", NOW, said(f"m{number}")))
        second.answered(self.fin(complete=True))
        ids = ["m-m1", "m-m2", "m-m3", "m-97", "m-98", "m-99"]
        self.assertEqual([[stanza["id"] for stanza in found] for found in self.given], [ids])
        self.assertEqual(self.outlet.waiting.used, 0)

    def test_markers_of_too_many(self) -> None:
        self.catch_up()
        for page in range(2):
            question = self.outlet.asked[page]
            assert question.result is not None
            for number in range(PAGE):
                question.result(result(f"{page}-{number}", NOW, marker("x", f"n{page}-{number}")))
            question.answered(self.fin(complete=bool(page)))
        self.assertEqual(len(self.given[0]), MAX_MARKERS)

    def test_too_many_bytes(self) -> None:
        """The oldest are given up, and no more is asked for."""
        self.patch(room_archive, "MAX_BYTES", FEWER)
        self.catch_up()
        (question,) = self.outlet.asked
        assert question.result is not None
        for number in range(20):
            text = f"{number} " + "x" * (FEWER // 10)  # twice in the message: as its id too
            question.result(result(str(number), NOW, said(text)))
        question.answered(self.fin())
        self.assertEqual([text.split()[0] for text in texts(self.given[0])], ["16", "17", "18", "19"])
        self.assertEqual(len(self.outlet.asked), 1)

    def test_too_much_here_is_for_good_and_elsewhere_for_now(self) -> None:
        """What other rooms leave no place for is read again later (see `MissedMessages`): nothing of it is missed."""
        self.patch(room_archive, "MAX_BYTES", FEWER)
        for taken, size, failed in ((0, FEWER, False), (WAITING_BYTES, WAITING_OWN, True)):
            self.outlet.asked.clear()
            self.outlet.waiting = ByteBudget(WAITING_BYTES)
            self.outlet.waiting.take(taken)
            catch_up = self.catch_up()
            (question,) = self.outlet.asked
            assert question.result is not None
            for number in range(3):
                question.result(result(str(number), NOW, said("x" * (size // 4))))
            question.answered(self.fin())
            self.assertIs(catch_up.failed, failed)
            self.assertLess(len(self.given.pop()), 3)
            self.assertEqual(self.outlet.waiting.used, taken)

    def test_page_by_page_to_the_known(self) -> None:
        self.catch_up()
        for first, ids in [("50", range(50, 150)), ("20", ["known", *range(20, 50)])]:
            question = self.outlet.asked[-1]
            assert question.result is not None
            for one in ids:
                question.result(result(str(one), NOW, said(f"m{one}")))
            question.answered(self.fin(f"<first>{first}</first>"))
        self.assertEqual(len(self.outlet.asked), 2)
        (page,) = self.outlet.asked[1].payload.elements(RSM, "set")
        self.assertEqual(str(page.before), "50")
        self.assertEqual([texts(found) for found in self.given], [[f"m{number}" for number in range(20, 150)]])

    def test_the_newest_of_too_many(self) -> None:
        self.catch_up(limit=120)
        for start in (100, 0):
            question = self.outlet.asked[-1]
            assert question.result is not None
            (page,) = question.payload.elements(RSM, "set")
            for number in range(start + 100 - int(str(page.max)), start + 100):
                question.result(result(str(number), NOW, said(f"m{number}")))
            question.answered(self.fin())
        self.assertEqual([texts(found) for found in self.given], [[f"m{number}" for number in range(80, 200)]])

    def test_the_known_is_forgotten(self) -> None:
        self.catch_up()
        (question,) = self.outlet.asked
        assert question.result is not None
        question.result(result("1", NOW - 500, said("old")))
        question.result(result("2", NOW - 50, said("new")))
        question.answered(self.fin(complete=True))
        self.assertEqual([texts(found) for found in self.given], [["new"]])

    def test_by_time_alone(self) -> None:
        self.catch_up(after_id=None)
        (question,) = self.outlet.asked
        self.assertIn(format_time(NOW - 120).encode(), question.payload.raw)
        question.answered(self.fin(complete=True))
        self.assertEqual(self.given, [[]])

    def test_nothing_known(self) -> None:
        self.catch_up(after_id=None, after_time=None)
        self.assertIn(format_time(NOW + 880).encode(), self.outlet.asked[0].payload.raw)

    def test_no_answer(self) -> None:
        for answer in (None, parse_stanza("<iq type='error'><error><forbidden/></error></iq>")):
            self.setUp()
            self.catch_up()
            self.outlet.asked[0].answered(answer)
            self.assertEqual(self.given, [[]])

    def test_no_answer_to_the_second_page(self) -> None:
        self.catch_up()
        question = self.outlet.asked[0]
        assert question.result is not None
        question.result(result("1", NOW, said("one")))
        question.answered(self.fin())
        self.outlet.asked[1].answered(None)
        self.assertEqual([texts(found) for found in self.given], [["one"]])

    def test_whatever_an_archive_sends(self) -> None:
        """Nothing raises, nothing is kept that was not asked for, and nothing is asked for ever."""
        message = said("x")
        for what, results, answer, expected in (
            ("no fin", [result("1", NOW, message)], parse_stanza("<iq type='result'/>"), 1),
            ("an empty page that is not the last", [], self.fin(), 0),
            ("results without ids", [result("", NOW + n, message) for n in range(100)], self.fin(), 100),
            ("more than a page", [result(str(n), NOW + n, message) for n in range(150)], self.fin(complete=True), 100),
            ("no result", [parse_stanza(f"<message from='{ROOM}'/>")], self.fin(complete=True), 0),
            ("no time", [stamped("1", "")], self.fin(complete=True), 0),
            ("a time that is none", [stamped("1", f"<delay xmlns='{DELAY}' stamp='x'/>")], self.fin(complete=True), 0),
            ("a stamp without a time", [stamped("1", f"<delay xmlns='{DELAY}'/>")], self.fin(complete=True), 0),
        ):
            self.setUp()
            self.catch_up()
            (question,) = self.outlet.asked
            assert question.result is not None
            for one in results:
                question.result(one)
            question.answered(answer)
            self.assertEqual((len(self.outlet.asked), [len(given) for given in self.given]), (1, [expected]), what)
            self.assertEqual(self.outlet.waiting.used, 0, what)

    def test_what_comes_after_the_end(self) -> None:
        for ends in (lambda one: one.stop(), lambda _one: self.outlet.asked[0].answered(self.fin(complete=True))):
            self.setUp()
            reading = self.catch_up()
            ends(reading)
            given = list(self.given)
            (question,) = self.outlet.asked
            assert question.result is not None
            question.result(result("1", NOW, said("x" * 100_000)))
            question.answered(self.fin(complete=True))
            self.assertEqual((self.given, self.outlet.waiting.used, reading._budget.used), (given, 0, 0))

    def test_what_the_message_carries_stays(self) -> None:
        """Only the stanza-id that the room itself would give is forged."""
        self.catch_up()
        (question,) = self.outlet.asked
        assert question.result is not None
        inner = f"<x xmlns='urn:x' by='{ROOM}'/><stanza-id xmlns='urn:xmpp:sid:0' by='{ROOM}' id='forged'/>"
        question.result(result("1", NOW, said("x", inner)))
        question.answered(self.fin(complete=True))
        ((told,),) = self.given
        self.assertTrue(told.has_payload("urn:x", "x"))
        self.assertNotIn(b"forged", told.raw)

    def test_whether_it_has_told_all(self) -> None:
        """What is not among that was not said."""
        self.patch(room_archive, "MAX_BYTES", FEWER)
        large = "x" * (FEWER // 2)
        for texts_told, ids, complete, told_all in (
            (["old", "new"], ["known", "1"], False, True),
            (["old", "new"], ["0", "1"], True, True),
            ([], [], False, True),
            (["old", "new"], ["0", "1"], False, False),  # there is more
            ([large, large, large], ["0", "1", "2"], True, False),
        ):
            self.outlet.asked.clear()
            catch_up = self.catch_up()
            (question,) = self.outlet.asked
            assert question.result is not None
            for one, text in zip(ids, texts_told, strict=True):
                question.result(result(one, NOW, said(text)))
            question.answered(self.fin(complete=complete))
            self.assertIs(catch_up.told_all, told_all)
        catch_up.stop()
        self.outlet.asked.clear()
        catch_up = self.catch_up()
        self.outlet.asked[0].answered(None)
        self.assertFalse(catch_up.told_all)
        self.assertFalse(self.catch_up(limit=0).told_all)

    def test_nothing_wanted(self) -> None:
        self.catch_up(limit=0)
        self.assertEqual((self.outlet.asked, self.given), ([], [[]]))

    def test_stopped(self) -> None:
        catch_up = self.catch_up()
        catch_up.stop()
        question = self.outlet.asked[0]
        assert question.result is not None
        question.result(result("1", NOW, said("one")))
        question.answered(self.fin())
        self.assertEqual((self.given, len(self.outlet.asked)), ([], 1))

    @settings(max_examples=examples(25))
    @given(st.integers(0, 30), st.integers(0, 350), st.integers(1, 400), st.booleans())
    def test_from_an_archive(self, before: int, missed: int, limit: int, ids: bool) -> None:
        """The archive that is read is our own: both ends agree, and nothing is told twice or left out."""
        self.setUp()
        there, here = Speaker(history=1000), Speaker(history=1000)
        for number in range(before + missed):
            there.now = here.now = NOW + number
            room_id = f"i{number}" if ids else None
            there.says(f"m{number}", sent_id=f"s{number}", room_id=room_id)
            if number < before:
                here.says(f"m{number}", sent_id=f"s{number}", room_id=room_id)
        stanza_id, time = here.history.newest
        self.catch_up(limit, stanza_id, time if time is not None else NOW)
        while not self.given:
            question = self.outlet.asked.pop()
            assert question.result is not None
            request = parse_stanza(b"<iq type='set' id='1'>" + question.payload.raw + b"</iq>")
            *messages, iq = split(b"".join(archive.answer(ROOM, there.history, STREAM, request, there.now)))
            for message in messages:
                question.result(message)
            question.answered(iq)
        taken = [(stanza, here.history.take(stanza, here.now, past=True)) for stanza in self.given[0]]
        new = [stanza for stanza, what in taken if what is not Taken.DUPLICATE]
        everything = [f"m{number}" for number in range(before, before + missed)]
        if ids:
            self.assertEqual(texts(new), everything[-limit:])
        else:
            self.assertEqual(texts(new), everything[-min(limit, missed) :] if missed else [])


def note(done: list[bool | None], info: RoomInfo) -> None:
    done.append(info.archive)


class Info(Case):
    def answer(self, features: str, attributes: str = "") -> Stanza:
        found = "".join(f"<feature var='{feature}'/>" for feature in features.split())
        return parse_stanza(f"<iq type='result' from='{ROOM}'><query xmlns='{DISCO}'{attributes}>{found}</query></iq>")

    def test_archive(self) -> None:
        for features, expected in [(f"a {MAM}", True), ("a b", False), ("", False), ("urn:xmpp:mam:1", False)]:
            info = RoomInfo(ROOM, self.outlet)
            self.assertIsNone(info.archive)
            done: list[bool | None] = []
            for _ in range(2):
                info.refresh(partial(note, done, info))
            question = self.outlet.asked.pop()
            self.assertEqual((question.to, question.kind, self.outlet.asked), (ROOM, "get", []))
            question.answered(self.answer(features))
            self.assertEqual((info.archive, done), (expected, [expected, expected]))

    def test_no_answer(self) -> None:
        info, events = RoomInfo(ROOM, self.outlet), log_events(self)
        info.refresh()
        self.outlet.asked.pop().answered(self.answer("a"))
        self.assertEqual(events, [])
        info = RoomInfo(ROOM, self.outlet)
        done: list[int] = []
        for answer in (None, parse_stanza("<iq type='error'><error><forbidden/></error></iq>")):
            info.refresh(lambda: done.append(1))
            self.outlet.asked.pop().answered(answer)
            self.assertIsNone(info.archive)
        self.assertEqual(done, [1, 1])
        self.assertEqual(len(events), 2)

    def test_what_others_were_answered(self) -> None:
        info = RoomInfo(ROOM, self.outlet)
        self.assertFalse(info.learn(self.answer(MAM, " node='x'")))
        self.assertFalse(info.learn(parse_stanza(f"<iq type='result' from='{ROOM}'/>")))
        self.assertIsNone(info.archive)
        self.assertTrue(info.learn(self.answer(MAM)))
        self.assertTrue(info.archive)

    def test_another_configuration(self) -> None:
        status = "<x xmlns='http://jabber.org/protocol/muc#user'><status code='{}'/></x>"
        info = RoomInfo(ROOM, self.outlet)
        changed = parse_stanza(f"<message type='groupchat' from='{ROOM}'>{status.format(104)}</message>")
        info.message_seen(changed)
        self.assertEqual(self.outlet.asked, [])
        info.learn(self.answer("a"))
        info.message_seen(parse_stanza(f"<message type='groupchat' from='{ROOM}'>{status.format(332)}</message>"))
        self.assertEqual(self.outlet.asked, [])
        for code, features, expected in [("104", MAM, True), ("171", "a", False), ("170", MAM, True)]:
            info.message_seen(parse_stanza(f"<message type='groupchat' from='{ROOM}'>{status.format(code)}</message>"))
            self.outlet.asked.pop().answered(self.answer(features))
            self.assertEqual(info.archive, expected)
