"""A program for tests: it journals without an end, and prints what it gives a client, until it is killed.

Usage: journalling.py STATE DIRECTORY. For each seed that it reads it forks, since to import takes longer than the rest.
It prints the number of the new process; then, on each line, the sequence of a message that this one gave out to its
one client, which is given at the start what it has not seen; and at last "ended" and how that process ended.
"""

import ctypes
import os
import random
import signal
import sys
from dataclasses import replace
from pathlib import Path

from minimixproxy.minimix.interfaces.journal import KeptMembership, KeptMessage
from minimixproxy.storage.database import Database
from minimixproxy.storage.journal import SQLJournal
from minimixproxy.storage.service import Place, open_state
from minimixproxy.timing.turn_end import TurnEnd

HISTORY = 50
PR_SET_PDEATHSIG = 1


def main(state: str, directory: Path, seed: int) -> None:
    from twisted.internet import reactor  # which does not outlive a fork

    chance = random.Random(seed)
    journal = SQLJournal(reactor, TurnEnd(reactor))
    database = Database(state if "://" in state else Path(state))
    opened = open_state(Place(database, directory), reactor)
    journal.start(opened, print)
    kept = [account.kept for account in opened.accounts]
    rooms = [journal.room("alice@example.org", f"{name}@muc.example.org") for name in "abc"]
    other = journal.room("bob@example.org", "a@muc.example.org")  # bob is told the same, and keeps it for longer

    def give(data: bytes) -> None:
        os.write(1, data)

    deliver = journal.gated(give)
    deliver(b"begin\n")
    for known in kept[0].rooms if kept else []:
        seen = known.cursors.get("phone", 0)
        for message in known.messages:
            if message.sequence > seen:
                deliver(b"%d\n" % message.sequence)
    for room in (*rooms, other):
        room.membership(KeptMembership("alice", "alice"))
        room.attached("phone")

    def speak() -> None:
        for _ in range(chance.randint(0, 8)):
            room = chance.choice(rooms)
            sequence = room.next_sequence()
            told = KeptMessage(sequence, 1.0, b"<message>%d</message>" % sequence, False)
            room.message_kept(told)
            room.trimmed(sequence - HISTORY)
            if room is rooms[0]:
                other.message_kept(replace(told, sequence=other.next_sequence()))
                other.trimmed(sequence - 2 * HISTORY)
            deliver(b"%d\n" % sequence)
        reactor.callLater(chance.choice((0, 0, 0, 0.001)), speak)

    reactor.callLater(0, speak)
    reactor.run()


if __name__ == "__main__":
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            os.write(1, b"%d\n" % os.getpid())
            main(sys.argv[1], Path(sys.argv[2]), int(line))
            sys.exit()
        os.write(1, b"ended %d\n" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
