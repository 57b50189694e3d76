"""Which messages push services are told of, and when: the truth table."""

from __future__ import annotations

from itertools import product

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.minimix.push.policy import DeviceFacts, Kind, MessageFacts, Notify, State, Verdict, matters, verdict

_KINDS = {"room": Kind.ROOM, "private": Kind.PRIVATE, "contact": Kind.CONTACT}
_NOTIFY = {"always": Notify.ALWAYS, "mention": Notify.ON_MENTION, "never": Notify.NEVER}

# message | device | the room notifies | another device is awake | verdict
TABLE = """
room                    | asleep here               | mention | no  | never
room names              | asleep here               | mention | no  | now
room names              | asleep here               | mention | yes | wait
room names              | gone                      | mention | no  | now
room names              | gone                      | mention | yes | wait
room names              | awake here                | mention | no  | never
room names              | awake here                | always  | yes | never
room names              | asleep                    | mention | no  | never
room names              | asleep here got           | mention | no  | never
room names              | gone got                  | mention | no  | never
room names              | asleep here               | never   | no  | never
room names              | gone                      | never   | yes | never
room names own          | asleep here               | always  | yes | never
room names past         | gone                      | always  | no  | never
room names              | gone server               | mention | no  | now
room names archived     | gone server               | mention | no  | now
room                    | gone                      | mention | yes | never
room                    | gone                      | always  | no  | now
room                    | asleep here               | always  | yes | wait
room                    | asleep                    | always  | yes | never
room silent             | asleep here               | always  | no  | never
room silent             | gone                      | always  | no  | never
room silent names       | gone                      | mention | no  | now
room own                | gone                      | always  | no  | never
room past               | gone                      | always  | no  | never
room calls              | asleep here               | mention | yes | now
room calls              | gone                      | mention | yes | now
room calls              | gone                      | never   | no  | never
room calls              | awake here                | mention | yes | never
room silent calls       | gone                      | always  | yes | now
private                 | asleep here               | mention | no  | now
private                 | asleep here               | mention | yes | wait
private                 | asleep                    | mention | no  | never
private                 | gone                      | mention | no  | now
private                 | gone                      | never   | no  | never
private                 | awake here                | always  | no  | never
private archived        | gone server               | mention | no  | never
private archived        | gone                      | mention | yes | wait
private                 | gone server               | mention | no  | now
private archived        | asleep here server        | mention | no  | now
private silent          | gone                      | always  | no  | never
private own             | gone                      | always  | no  | never
private calls           | asleep here               | mention | yes | now
contact                 | asleep                    | mention | no  | now
contact                 | asleep                    | mention | yes | wait
contact archived        | asleep server             | mention | no  | now
contact                 | asleep                    | never   | no  | now
contact                 | gone                      | always  | no  | never
contact calls           | gone server               | always  | no  | never
contact                 | awake                     | always  | no  | never
contact calls           | asleep                    | mention | yes | now
contact silent          | asleep                    | always  | no  | never
contact own             | asleep                    | always  | no  | never
contact past            | asleep                    | always  | no  | never
contact                 | asleep got                | always  | no  | never
room calls              | asleep                    | always  | no  | never
room names              | asleep here server        | mention | no  | now
room                    | gone                      | never   | no  | never
room                    | gone server               | always  | yes | wait
room calls own          | gone                      | always  | no  | never
room calls past         | asleep here               | always  | no  | never
room calls              | asleep here got           | always  | no  | never
room names              | awake                     | always  | no  | never
private                 | asleep here               | never   | yes | never
private calls           | asleep here               | never   | no  | never
private                 | asleep here got           | always  | no  | never
private past            | gone                      | always  | no  | never
private names           | gone                      | mention | yes | wait
private archived calls  | gone server               | always  | no  | never
private                 | gone                      | always  | yes | wait
contact archived        | gone                      | mention | yes | never
contact silent names    | asleep                    | never   | no  | now
contact calls           | asleep got                | always  | no  | never
"""


def _message(words: list[str]) -> MessageFacts:
    flags = {name: name in words for name in ("names", "calls", "own", "past", "archived")}
    return MessageFacts(_KINDS[words[0]], says="silent" not in words, **flags)


def _device(words: list[str]) -> DeviceFacts:
    return DeviceFacts(State(words[0]), here="here" in words, got="got" in words, server_pushes="server" in words)


class TruthTable(SynchronousTestCase):
    def test_each_case(self) -> None:
        rows = [[cell.strip() for cell in line.split("|")] for line in TABLE.strip().splitlines()]
        self.assertGreaterEqual(len(rows), 40)
        self.assertEqual(len({tuple(row[:4]) for row in rows}), len(rows), "a case is there twice")
        for message, device, notify, others, expected in rows:
            found = verdict(
                _message(message.split()), _device(device.split()), _NOTIFY[notify], others_awake=others == "yes"
            )
            self.assertEqual(found, Verdict(expected), (message, device, notify, others))

    def test_what_matters_to_no_device_is_told_to_none(self) -> None:
        """All messages there are, and all devices."""
        flags = list(product((False, True), repeat=6))
        told = 0
        for kind, notify, facts in product(Kind, Notify, flags):
            message = MessageFacts(kind, *facts)
            found = {
                verdict(message, DeviceFacts(state, *device), notify, others_awake=others)
                for state, device, others in product(State, product((False, True), repeat=3), (False, True))
            }
            self.assertEqual(found != {Verdict.NEVER}, matters(message, notify), (message, notify))
            told += matters(message, notify)
        self.assertGreater(told, 0)
