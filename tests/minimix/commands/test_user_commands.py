"""What the owner's commands say and do."""

from twisted.words.xish import domish

from minimixproxy.minimix.commands import user_commands
from minimixproxy.minimix.interfaces.enrolling import Enrolled, NotEnrolled
from minimixproxy.minimix.interfaces.journal import TokenDevice
from minimixproxy.minimix.occupancy.phases import State
from minimixproxy.namespaces import NS_COMMANDS, NS_DATA
from minimixproxy.wire import trees
from minimixproxy.wire.stanza import parse_stanza
from minimixproxy.xep.data_forms import Field, Form
from tests.log_events import log_events
from tests.minimix.fakes import BARE, STREAM, payload_of
from tests.minimix.owned import FakeRoom, OwnerCase


def options(element: domish.Element, var: str) -> "list[tuple[str, str]]":
    (form,) = element.elements(NS_DATA, "x")
    (field,) = [field for field in form.elements(NS_DATA, "field") if field.getAttribute("var") == var]
    return [(str(option.value), option["label"]) for option in field.elements(NS_DATA, "option")]


class RoomsTests(OwnerCase):
    def test_none(self) -> None:
        element = self.run_command("rooms")
        self.assertEqual((element["status"], str(element.note)), ("completed", "The account is in no room."))

    def test_table_and_note(self) -> None:
        self.in_rooms()
        self.account.rooms["two@muc.test"].state = State.INTERRUPTED
        element = self.run_command("rooms")
        (form,) = element.elements(NS_DATA, "x")
        items = list(form.elements(NS_DATA, "item"))
        columns = [(field["var"], field["label"]) for field in form.reported.elements()]
        self.assertEqual(
            [label for _, label in columns], ["Room", "Nick", "State", "Bookmarked", "Devices", "Messages kept"]
        )
        names = ["room", "nick", "state", "bookmarked", "devices", "messages"]
        self.assertEqual(
            [[field["var"] for field in item.elements()] for item in [form.reported, *items]],
            [names] * (1 + len(items)),
        )
        rows = [[str(field.value) for field in item.elements()] for item in items]
        self.assertEqual(
            rows,
            [
                ["one@muc.test", "alice", "joined", "yes", "laptop, phone", "12"],
                ["three@muc.test", "alice", "joined", "no", "", "0"],
                ["two@muc.test", "alice", "interrupted", "no", "laptop", "1"],
            ],
        )
        self.assertEqual(
            str(element.note).splitlines(),
            [
                "The account is in 3 rooms.",
                "one@muc.test as alice: joined, laptop, phone, 12 messages, bookmarked",
                "three@muc.test as alice: joined, no device, 0 messages",
                "two@muc.test as alice: interrupted, laptop, 1 message",
            ],
        )

    def test_many(self) -> None:
        self.patch(trees, "MAX_TAGS", 100_000)  # the answer is read here only
        for number in range(user_commands.MAX_SHOWN + 1):
            self.account.add(FakeRoom(f"{number:04}@muc.test"))
        element = self.run_command("rooms")
        (form,) = element.elements(NS_DATA, "x")
        self.assertEqual(len(list(form.elements(NS_DATA, "item"))), user_commands.MAX_SHOWN)
        lines = str(element.note).splitlines()
        self.assertEqual(len(lines), user_commands.MAX_NOTED + 2)
        self.assertEqual(lines[-1], f"And {user_commands.MAX_SHOWN + 1 - user_commands.MAX_NOTED} more.")

    def test_being_left(self) -> None:
        self.in_rooms()
        self.account.rooms["two@muc.test"].state = State.LEAVING
        self.assertNotIn("two@muc.test", str(self.run_command("rooms").note))
        self.assertEqual(
            [room for room, _label in options(self.run_command("leave"), "rooms")], ["one@muc.test", "three@muc.test"]
        )

    def test_signs(self) -> None:
        self.account.add(FakeRoom("b&amp;<w>@muc.test"))
        self.assertIn("b&amp;<w>@muc.test", str(self.run_command("rooms").note))


class LeaveTests(OwnerCase):
    def test_some(self) -> None:
        self.in_rooms()
        element = self.run_command("leave")
        self.assertEqual([room for room, _label in options(element, "rooms")], sorted(self.account.rooms))
        element = self.run_command("leave", {"rooms": "two@muc.test one@muc.test"})
        self.assertEqual(self.account.log, [("leave", "two@muc.test"), ("leave", "one@muc.test")])
        self.assertEqual(element["status"], "completed")
        self.assertEqual(str(element.note), "The account leaves 2 rooms: two@muc.test, one@muc.test.")

    def test_none_to_leave(self) -> None:
        self.assertEqual(self.run_command("leave")["status"], "completed")

    def test_left_meanwhile(self) -> None:
        self.in_rooms()
        element = self.command(f"<command xmlns='{NS_COMMANDS}' node='leave'/>", self.phone)
        self.account.rooms.clear()
        element = self.command(
            f"<command xmlns='{NS_COMMANDS}' node='leave' sessionid='{element['sessionid']}'>"
            f"<x xmlns='{NS_DATA}' type='submit'><field var='rooms'><value>two@muc.test</value></field></x></command>",
            self.phone,
        )
        self.assertEqual(str(element.note), "The account was in none of these rooms any more.")
        self.assertEqual(self.account.log, [])


class DetachTests(OwnerCase):
    def test_from_all_rooms(self) -> None:
        self.in_rooms()
        element = self.run_command("detach", {"device": f"{BARE}/laptop", "action": "complete"})
        self.assertEqual(self.account.log, [("detach", "laptop", None)])
        self.assertEqual(str(element.note), "laptop is detached from 2 rooms: one@muc.test, two@muc.test.")

    def test_devices_on_offer(self) -> None:
        self.in_rooms()
        self.account.session("tablet")
        self.assertEqual(
            options(self.run_command("detach"), "device"),
            [(f"{BARE}/laptop", "laptop, in 2 rooms"), (f"{BARE}/phone", "phone (this device), in 1 room")],
        )

    def test_from_one_room(self) -> None:
        self.in_rooms()
        element = self.run_command("detach", {"device": f"{BARE}/laptop"})
        self.assertEqual([room for room, _label in options(element, "room")], ["*", "one@muc.test", "two@muc.test"])
        element = self.run_command("detach", {"device": f"{BARE}/laptop"}, {"room": "two@muc.test"})
        self.assertEqual(self.account.log, [("detach", "laptop", "two@muc.test")])
        self.assertEqual(str(element.note), "laptop is detached from two@muc.test.")

    def test_from_all_rooms_in_two_steps(self) -> None:
        self.in_rooms()
        self.run_command("detach", {"device": f"{BARE}/laptop"}, {"room": "*"})
        self.assertEqual(self.account.log, [("detach", "laptop", None)])

    def test_none_to_detach(self) -> None:
        self.account.add(FakeRoom("three@muc.test"))
        self.assertEqual(str(self.run_command("detach").note), "No device is in a room.")

    def test_gone_meanwhile(self) -> None:
        self.in_rooms()
        element = self.command(f"<command xmlns='{NS_COMMANDS}' node='detach'/>", self.phone)
        del self.account.sessions[self.laptop]
        for action, expected in (
            ("complete", "That device is not there any more."),
            ("next", "That device is in no room any more."),
        ):
            self.account.sessions[self.laptop] = None
            element = self.command(f"<command xmlns='{NS_COMMANDS}' node='detach'/>", self.phone)
            del self.account.sessions[self.laptop]
            element = self.command(
                f"<command xmlns='{NS_COMMANDS}' node='detach' sessionid='{element['sessionid']}' action='{action}'>"
                f"<x xmlns='{NS_DATA}' type='submit'><field var='device'><value>{BARE}/laptop</value></field></x>"
                "</command>",
                self.phone,
            )
            self.assertEqual(str(element.note), expected)
        self.assertEqual(self.account.log, [])

    def test_left_meanwhile(self) -> None:
        """The device is connected, and in no room any more, or not in the one that was chosen."""
        for left, steps, expected in (
            (("one", "two"), [("device", f"{BARE}/laptop", "complete")], "not there any more"),
            (("one", "two"), [("device", f"{BARE}/laptop", "next")], "in no room any more"),
            (("one", "two"), [("device", f"{BARE}/laptop", "next"), ("room", "*", "complete")], "not there any more"),
            (("two",), [("device", f"{BARE}/laptop", "next"), ("room", "two@muc.test", "complete")], "not there"),
            (("one",), [("device", f"{BARE}/laptop", "next"), ("room", "two@muc.test", "complete")], "is detached"),
        ):
            self.setUp()
            self.in_rooms()
            element = self.command(f"<command xmlns='{NS_COMMANDS}' node='detach'/>", self.phone)
            for number, (var, value, action) in enumerate(steps, 1):
                if number == len(steps):
                    for room in left:
                        self.account.rooms[f"{room}@muc.test"].attached.remove(self.laptop)
                attributes = f"node='detach' sessionid='{element['sessionid']}' action='{action}'"
                element = self.command(
                    f"<command xmlns='{NS_COMMANDS}' {attributes}>"
                    f"<x xmlns='{NS_DATA}' type='submit'><field var='{var}'><value>{value}</value></field></x>"
                    "</command>",
                    self.phone,
                )
            self.assertIn(expected, str(element.note), f"{left} {steps}")
            self.assertEqual(len(self.account.log), int(expected == "is detached"))


class TokensTests(OwnerCase):
    def setUp(self) -> None:
        super().setUp()
        names = ("one-id", "Conversations, Pixel"), ("two-id", "")
        self.account.token_devices = [TokenDevice(device, software, 1_700_000_000.0) for device, software in names]

    def test_listed(self) -> None:
        form = self.run_command("tokens").x
        options = [str(option["label"]) for option in form.field.elements(NS_DATA, "option")]
        self.assertEqual(
            options, ["Conversations, Pixel, since 2023-11-14, one-id", "a device, since 2023-11-14, two-id"]
        )

    def test_withdrawn(self) -> None:
        element = self.run_command("tokens", {"devices": "two-id"})
        self.assertEqual(str(element.note), "1 token withdrawn.")
        self.assertEqual([device.id for device in self.account.token_devices], ["one-id"])
        element = self.run_command("tokens", {"devices": "one-id"})
        self.assertEqual(str(self.run_command("tokens").note), "No device logs in by a token.")

    def test_devices_that_are_connected(self) -> None:
        """What is withdrawn is not to go on for as long as it stays connected; who asks goes on all the same."""
        self.phone.device, self.laptop.device = "one-id", "two-id"
        other, again = self.account.session("other"), self.account.session("again")
        again.device = "two-id"
        labels = [str(one["label"]) for one in self.run_command("tokens").x.field.elements(NS_DATA, "option")]
        self.assertEqual([("(this device)" in label) for label in labels], [True, False])
        self.run_command("tokens", {"devices": "one-id two-id"})
        closed = [session.closed for session in (self.phone, self.laptop, again, other)]
        self.assertEqual(closed, [None, "reset", "reset", None])

    def test_gone_meanwhile(self) -> None:
        begun = self.run_command("tokens")
        self.account.token_devices = []
        submitted = f"<x xmlns='{NS_DATA}' type='submit'><field var='devices'><value>one-id</value></field></x>"
        element = self.command(
            f"<command xmlns='{NS_COMMANDS}' node='tokens' sessionid='{begun['sessionid']}'>{submitted}</command>",
            self.phone,
        )
        self.assertEqual(str(element.note), "None of these devices has a token any more.")


class ForgetTests(OwnerCase):
    def test_confirmed(self) -> None:
        self.in_rooms()
        element = self.run_command("forget", {"confirm": "1"})
        self.assertEqual(self.account.log, [("forget",)])
        self.assertEqual((element["status"], element.note["type"]), ("completed", "info"))

    def test_not_confirmed(self) -> None:
        for step in ({"confirm": "0"}, {}):
            element = self.run_command("forget", step)
            self.assertEqual((element["status"], element.note["type"]), ("completed", "error"))
        self.assertEqual(self.account.log, [])


class EnrollTests(OwnerCase):
    def submitted(self, password: str) -> str:
        """Execute the command with a password; return its session."""
        element = self.run_command("enroll")
        xml = (
            f"<command xmlns='{NS_COMMANDS}' node='enroll' sessionid='{element['sessionid']}'>"
            f"<x xmlns='{NS_DATA}' type='submit'><field var='password'><value>{password}</value></field></x></command>"
        )
        iq = parse_stanza(f"<iq type='set' id='enroll' to='{STREAM}'>{xml}</iq>")
        self.assertTrue(self.owner.from_client(self.phone, iq))
        return str(element["sessionid"])

    def answer_of(self) -> domish.Element:
        (answer,) = self.phone.take()
        self.assertEqual(answer["id"], "enroll")
        return payload_of(answer, NS_COMMANDS, "command")

    def test_form(self) -> None:
        for enrolled, said in ((True, "can log in"), (False, "is not enrolled")):
            self.account.is_enrolled = enrolled
            (form,) = self.run_command("enroll").elements(NS_DATA, "x")
            known, password = form.elements(NS_DATA, "field")
            self.assertIn(said, str(known.value))
            self.assertEqual((password["var"], password["type"]), ("password", "text-private"))

    def test_enrolled(self) -> None:
        """It is answered when the server has."""
        for enrolled, said in ((Enrolled("sha1"), "from now on"), (Enrolled(None, lasts=False), "until the proxy is")):
            self.submitted("pëncil &amp; 2")
            self.assertEqual((self.phone.take(), self.account.log.pop()), ([], ("enroll", "pëncil & 2")))
            self.account.enrolling.callback(enrolled)
            element = self.answer_of()
            self.assertEqual((element["status"], element.note["type"]), ("completed", "info"))
            self.assertIn(said, str(element.note))

    def test_not_enrolled(self) -> None:
        self.submitted("pencil")
        self.account.enrolling.errback(NotEnrolled("the server does not take it"))
        element = self.answer_of()
        self.assertEqual((element["status"], element.note["type"]), ("completed", "error"))
        self.assertEqual(str(element.note), "Nothing was kept: the server does not take it.")

    def test_no_password(self) -> None:
        for password in ("", "x" * 1024):
            self.submitted(password)
            self.assertEqual(len(self.phone.take()), 1)
        self.assertEqual(self.account.log, [])

    def test_a_fault_of_ours(self) -> None:
        self.submitted("pencil")
        events = log_events(self)
        self.account.enrolling.errback(ZeroDivisionError())
        self.assertEqual(self.answer_of().note["type"], "error")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual({event.get("account") for event in events}, {BARE})

    def test_the_client_goes_meanwhile(self) -> None:
        self.submitted("pencil")
        self.owner.session_closed(self.phone)
        self.account.enrolling.callback(Enrolled("sha1"))
        self.assertEqual(self.phone.take(), [])

    def test_meanwhile(self) -> None:
        """Only `cancel` is allowed, and what was asked is answered all the same."""
        session_id = self.submitted("pencil")
        filled = f"<x xmlns='{NS_DATA}' type='submit'><field var='password'><value>again</value></field></x>"
        for action, expected in (("complete", None), ("prev", None), ("execute", None), ("cancel", "canceled")):
            attributes = f"node='enroll' sessionid='{session_id}' action='{action}'"
            answer = self.answer(f"<command xmlns='{NS_COMMANDS}' {attributes}>{filled}</command>", "set")
            command = next(answer.element.elements(NS_COMMANDS, "command"), None)
            self.assertEqual(command and command.getAttribute("status"), expected, action)
            self.assertEqual(answer["type"], "result" if expected else "error")
        self.assertEqual(len(self.account.log), 1)
        self.account.enrolling.callback(Enrolled("sha1"))
        self.assertEqual(self.answer_of()["status"], "completed")

    def test_the_password_is_not_shown_again(self) -> None:
        field = Field("password", "text-private")
        form = Form("", "", (field,)).filled({"password": ("secret",)})
        self.assertNotIn(b"secret", form.to_bytes())
