"""The parts of the report about memory, the database and what is kept in it."""

from bench import memory, replay, storage
from bench.tables import Column, Goal, Row, Section, Table

MEMORY_GOAL = 90.0  # issue 14; KiB
SLEEPING_GOAL = 60.0


def memory_section(case: memory.Case, sleeping: memory.Case) -> Section:
    """Memory per session, of such with a client and of such that sleep."""
    rows = [
        _memory_row(f"{case.sessions} of {case.accounts} accounts", case, MEMORY_GOAL),
        _memory_row(f"{sleeping.sessions} of {sleeping.accounts} accounts, asleep", sleeping, SLEEPING_GOAL),
    ]
    columns = [Column("before them, MiB", 1), Column("with them, MiB", 1)]
    return Section(
        "memory",
        "Memory",
        [
            f"The proxy's resident memory before and after sessions log in at Prosody, TLS on both sides"
            f" ({case.cipher}). Asleep: whose client's\nconnection is gone (XEP-0198).",
            Table("sessions", ["sessions"], [*columns, Column("each, KiB", 0, before=True, goal=True)], rows),
        ],
    )


def _memory_row(label: str, case: memory.Case, goal: float) -> Row:
    figures = {"before them, MiB": case.before / 2**20, "with them, MiB": case.after / 2**20, "each, KiB": case.each}
    return Row([label], figures, {"each, KiB": Goal(goal)})


def storage_section(cases: list[storage.Journalled], whole: storage.EndToEnd) -> Section:
    """The journal by itself, and as a part of the proxy."""
    rows = [
        Row([case.database, case.load], {"µs": case.elapsed, "of it CPU": case.cpu, "bytes": case.bytes})
        for case in cases
    ]
    stored = {"bytes": whole.stored, "of it the message": whole.raw, "CPU, µs": whole.cpu}
    return Section(
        "storage",
        "Storage",
        [
            f"Messages of {len(storage.RAW)} bytes in {storage.ROOMS} rooms of one account, journalled as a room's"
            " history is. One at a time: the next\nwhen the one before is on disk. CPU is of the process that journals,"
            " with its writing thread; PostgreSQL's own is not in it, and it\nruns on this machine with `fsync` off."
            " Time, CPU and bytes in the database for each message:",
            Table(
                "journal",
                ["database", "load"],
                [Column("µs", before=True), Column("of it CPU", before=True), Column("bytes", before=True)],
                rows,
            ),
            f"End to end: {whole.messages} messages of {whole.raw:.0f} bytes, as delivered, said to an account in one"
            f" room with two sessions attached,\n{storage.END_TO_END['rate']} per second, SQLite. CPU of the proxy per"
            " message, all that it does with it: read, kept, written to the database,\ngiven to both sessions; TLS.",
            Table(
                "end to end",
                ["for each message"],
                [Column("bytes", before=True), Column("of it the message"), Column("CPU, µs", before=True)],
                [Row(["in the database"], stored)],
            ),
        ],
    )


def replay_section(cases: list[replay.Case]) -> Section:
    """What a returning client is told of."""
    columns = [
        Column("messages/s", before=True),
        Column("MB/s"),
        Column("seconds", 2),
        Column("first after, ms"),
        Column("CPU, µs per message", before=True),
        Column("before, MiB", 1),
        Column("growth, MiB", 1),
    ]
    return Section(
        "replay",
        "Replay",
        [
            f"A client comes back into a room, states no wish, and is told the {replay.COUNT} messages that it has not"
            f" seen ({cases[0].bytes / cases[0].messages:.0f} bytes\neach, with their delay stamp; TLS). From its join"
            " to the subject behind the last message. Growth: the largest resident memory\nmeanwhile less that before.",
            Table("return", ["proxy"], columns, [Row([case.name], _replay_figures(case)) for case in cases]),
        ],
    )


def _replay_figures(case: replay.Case) -> dict[str, float | None]:
    return {
        "messages/s": case.messages / case.seconds,
        "MB/s": case.bytes / case.seconds / 1e6,
        "seconds": case.seconds,
        "first after, ms": case.first * 1000,
        "CPU, µs per message": case.cpu / case.messages * 1e6,
        "before, MiB": case.before / 2**20,
        "growth, MiB": (case.peak - case.before) / 2**20,
    }
