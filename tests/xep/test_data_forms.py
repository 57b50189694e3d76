"""Data forms as commands use them: only what was on offer comes back."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial import unittest

from minimixproxy.namespaces import NS_DATA
from minimixproxy.wire.stanza import parse_element
from minimixproxy.xep.data_forms import BadForm, Field, Form, fixed, table

ROOMS = Field("rooms", "list-multi", "Rooms", options=(("a@muc", "A"), ("b@muc", "B & <C>")))
DEVICE = Field("device", "list-single", "Device", ("phone",), (("phone", "Phone"), ("laptop", "Laptop")))
SURE = Field("sure", "boolean", "Sure?", ("0",), required=False)
FORM = Form("Title", "Do's & don'ts", (fixed("Mind this"), ROOMS, DEVICE, SURE))


def submitted(**values: "list[str]") -> str:
    fields = "".join(
        f"<field var='{var}'>{''.join(f'<value>{value}</value>' for value in given)}</field>"
        for var, given in values.items()
    )
    return f"<x xmlns='{NS_DATA}' type='submit'>{fields}</x>"


def read(xml: str, form: Form = FORM) -> "dict[str, tuple[str, ...]]":
    return dict(form.read(parse_element(xml.encode(), {"": "jabber:client"})))


class ReadingTests(unittest.SynchronousTestCase):
    def test_accepted(self) -> None:
        for given_values, expected in (
            ({"rooms": ["a@muc"], "device": ["laptop"]}, (("a@muc",), ("laptop",), ("0",))),
            ({"rooms": ["b@muc", "a@muc", "b@muc"], "device": ["phone"]}, (("b@muc", "a@muc"), ("phone",), ("0",))),
            ({"rooms": ["a@muc"], "device": ["phone"], "sure": ["true"]}, (("a@muc",), ("phone",), ("1",))),
            ({"rooms": ["a@muc"], "device": ["phone"], "sure": ["1"]}, (("a@muc",), ("phone",), ("1",))),
            ({"rooms": ["a@muc"], "device": ["phone"], "sure": ["false"]}, (("a@muc",), ("phone",), ("0",))),
            ({"rooms": ["a@muc"], "device": ["phone"], "FORM_TYPE": ["x"]}, (("a@muc",), ("phone",), ("0",))),
        ):
            values = read(submitted(**given_values))
            self.assertEqual((values["rooms"], values["device"], values["sure"]), expected, given_values)
            self.assertEqual(set(values), {"rooms", "device", "sure"})

    def test_refused(self) -> None:
        for given_values, reason in (
            ({"device": ["phone"]}, "rooms is required"),
            ({"rooms": [], "device": ["phone"]}, "rooms is required"),
            ({"rooms": [""], "device": ["phone"]}, "rooms is required"),
            ({"rooms": ["c@muc"], "device": ["phone"]}, "rooms: 'c@muc' is not among the options"),
            ({"rooms": ["a@muc"], "device": ["phone", "laptop"]}, "device takes one value"),
            ({"rooms": ["a@muc"], "device": ["phone"], "sure": ["maybe"]}, "sure is neither true nor false"),
            ({"rooms": ["a@muc"], "device": ["phone"], "sure": ["1", "0"]}, "sure is neither true nor false"),
        ):
            error = self.assertRaises(BadForm, read, submitted(**given_values))
            self.assertEqual(str(error), reason)

    @given(st.lists(st.sampled_from(["a@muc", "b@muc", "c@muc", "", "1"]), max_size=5))
    def test_only_what_was_on_offer(self, values: "list[str]") -> None:
        try:
            chosen = read(submitted(rooms=values), Form("", "", (ROOMS,)))["rooms"]
        except BadForm:
            self.assertTrue({"c@muc", "1"} & set(values) or not set(values) - {""})
        else:
            self.assertEqual(chosen, tuple(dict.fromkeys(value for value in values if value)))
            self.assertTrue({"a@muc", "b@muc"} >= set(chosen) > set())


class WritingTests(unittest.SynchronousTestCase):
    def test_form(self) -> None:
        element = parse_element(FORM.to_bytes(), {"": "jabber:client"})
        self.assertEqual((element.uri, element.name, element["type"]), (NS_DATA, "x", "form"))
        self.assertEqual((str(element.title), str(element.instructions)), ("Title", "Do's & don'ts"))
        said, rooms, device, sure = element.elements(NS_DATA, "field")
        self.assertEqual((said["type"], said.hasAttribute("var"), str(said.value)), ("fixed", False, "Mind this"))
        self.assertIsNone(said.required)
        options = [(option["label"], str(option.value)) for option in rooms.elements(NS_DATA, "option")]
        self.assertEqual(options, [("A", "a@muc"), ("B & <C>", "b@muc")])
        self.assertIsNotNone(rooms.required)
        self.assertEqual(str(device.value), "phone")
        self.assertEqual((sure["type"], str(sure.value), sure.required), ("boolean", "0", None))

    def test_filled(self) -> None:
        values = read(submitted(rooms=["b@muc"], device=["laptop"], sure=["1"]))
        again = parse_element(FORM.filled(values).to_bytes(), {"": "jabber:client"})
        shown = [
            [str(value) for value in field.elements(NS_DATA, "value")] for field in again.elements(NS_DATA, "field")
        ]
        self.assertEqual(shown, [["Mind this"], ["b@muc"], ["laptop"], ["1"]])

    def test_table(self) -> None:
        made = table("T", (("a", "A"), ("b", "B & b")), [("1", "<2>"), ("", "4")])
        element = parse_element(made, {"": "jabber:client"})
        self.assertEqual(element["type"], "result")
        labels = [field["label"] for field in next(element.elements(NS_DATA, "reported")).elements()]
        self.assertEqual(labels, ["A", "B & b"])
        rows = [[str(field.value) for field in item.elements()] for item in element.elements(NS_DATA, "item")]
        self.assertEqual(rows, [["1", "<2>"], ["", "4"]])
