"""The part of the report about what an account in a room takes."""

from bench.occupancies import FIRST, MANY, MESSAGES, Case, Stored
from bench.tables import Column, Goal, Row, Section, Table

# The goals of issue 14: KiB for a further account, by occupants; MiB of 10,000 occupancies; bytes of a message.
FURTHER_GOALS = {30: 8.0, 1000: 60.0}
MANY_GOALS = {100: 600.0}
STORED_GOAL = 150.0
EACH, ALL, STORED = "each, KiB", f"{MANY} of them, MiB", "bytes for each further"


def section(cases: list[Case], stored: list[Stored]) -> Section:
    """Memory, CPU and bytes on disk."""
    columns = [
        Column("accounts"),
        Column("rooms"),
        Column(EACH, 1, before=True, goal=True),
        Column(ALL, goal=True),
        Column("join, CPU ms", 2, before=True),
    ]
    return Section(
        "occupancies",
        "Accounts in rooms",
        [
            "Rooms are played by a component of the server (`bench/roomservice.py`); an occupant's presence has"
            f" capabilities and a picture's hash.\nThe first {FIRST} accounts join before the count: this is what each"
            " further one takes in each room, on top of its sessions, in resident memory of\nthe proxy, and CPU.",
            Table("memory", ["occupants"], columns, [_row(case) for case in cases]),
            f"{MESSAGES} messages said to accounts in one room of 30: bytes in the database of each message, SQLite.",
            Table(
                "stored",
                ["accounts"],
                [Column("bytes of a message"), Column(STORED, before=True, goal=True)],
                [_stored_row(case, stored[0]) for case in stored],
            ),
        ],
    )


def _row(case: Case) -> Row:
    occupants = case.kind.occupants
    figures: dict[str, float | None] = {
        "accounts": case.kind.accounts - FIRST,
        "rooms": case.kind.rooms,
        EACH: case.bytes / 1024,
        ALL: case.of_many / 2**20 if occupants in MANY_GOALS else None,
        "join, CPU ms": case.cpu / 1000,
    }
    goals = {EACH: Goal(FURTHER_GOALS[occupants])} if occupants in FURTHER_GOALS else {}
    if occupants in MANY_GOALS:
        goals[ALL] = Goal(MANY_GOALS[occupants])
    return Row([str(occupants)], figures, goals)


def _stored_row(case: Stored, one: Stored) -> Row:
    further = case.accounts - one.accounts
    each = (case.bytes - one.bytes) / further if further else None
    return Row([str(case.accounts)], {"bytes of a message": case.bytes, STORED: each}, {STORED: Goal(STORED_GOAL)})
