"""The nick that a room keeps for the account, as servers tell of it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.minimix.interfaces.streams import Answered
from minimixproxy.minimix.rejoin.registered_nick import ask_reserved_nick
from minimixproxy.wire.stanza import parse_stanza
from minimixproxy.xep.stanza_errors import error_payload
from tests.minimix.fakes import ROOM

NOT_FOUND = error_payload("cancel", "item-not-found").decode()
DISCO = "<query xmlns='http://jabber.org/protocol/disco#info' node='x-roomuser-item'>%s</query>"
REGISTER = "<query xmlns='jabber:iq:register'>%s</query>"
FORM = (
    "<x xmlns='jabber:x:data' type='form'><field var='FORM_TYPE'><value>f</value></field>"
    "<field var='muc#register_roomnick'>%s</field></x>"
)


class Outlet:
    """Answers with what it was given: None, an error, or a result."""

    def __init__(self, *answers: str | None) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str]] = []

    def ask(self, to: str, kind: str, payload: bytes, answered: Answered) -> None:
        self.asked.append((to, payload.decode().partition("'")[2].partition("'")[0]))
        answer = self.answers.pop(0)
        kind = "error" if answer and answer.startswith("<error") else "result"
        answered(parse_stanza(f"<iq type='{kind}'>{answer}</iq>") if answer is not None else None)

    def ask_archive(self, *_arguments: object) -> None:
        raise AssertionError


class ReservedNick(SynchronousTestCase):
    def ask(self, *answers: str | None) -> str | None:
        self.outlet = Outlet(*answers)
        told: list[str | None] = []
        ask_reserved_nick(self.outlet, ROOM, told.append)
        (nick,) = told
        self.assertEqual(self.outlet.answers, [])
        return nick

    def test_room(self) -> None:
        self.assertEqual(self.ask(DISCO % "<identity category='conference' type='text' name='Ally'/>"), "Ally")
        self.assertEqual(self.outlet.asked, [(ROOM, "http://jabber.org/protocol/disco#info")])

    def test_service(self) -> None:
        for content, nick in (
            ("<nick>Ally</nick><registered/>" + FORM % "<value>Ally</value>", "Ally"),
            ("<registered/><username>Ally</username>", "Ally"),
            ("<registered/>" + FORM % "<value>Ally</value>", "Ally"),
            ("<registered/>" + FORM % "", None),
            ("<nick>Ally</nick>", None),
            ("<nick/>" + FORM % "<required/>", None),
            ("<registered/><nick/>", None),
        ):
            for first in (NOT_FOUND, DISCO % "", DISCO % "<identity category='conference' type='text'/>"):
                self.assertEqual(self.ask(first, REGISTER % content), nick, content)
                self.assertEqual(self.outlet.asked[1], ("muc.test", "jabber:iq:register"))

    def test_neither(self) -> None:
        self.assertIsNone(self.ask(NOT_FOUND, NOT_FOUND))

    def test_no_answer(self) -> None:
        self.assertIsNone(self.ask(None))
        self.assertIsNone(self.ask(NOT_FOUND, None))

    def test_a_nick_that_no_room_takes(self) -> None:
        identity = "<identity category='conference' type='text' name='a\u2028b'/>"
        self.assertIsNone(self.ask(DISCO % identity, NOT_FOUND))
