"""The part of the report about phones that nobody looks at."""

from bench import inactive
from bench.tables import Column, Goal, Row, Section, Table

GOAL = 0.1


def section(cases: list[inactive.Case]) -> Section:
    """What one phone is told of a busy room."""
    direct = cases[0].all
    rows = [
        Row(
            [case.name],
            {
                "inactive": case.inactive,
                "of it messages": case.messages,
                "of direct, %": case.inactive / direct * 100,
                "in all": case.all,
            },
        )
        for case in cases
    ]
    columns = [Column("inactive", before=True), Column("of it messages"), Column("of direct, %", 1), Column("in all")]
    ours = max(case.inactive / direct for case in cases[2:])
    simple = max(case.all for case in cases[2:]) / cases[1].all
    return Section(
        "inactive",
        "An inactive phone",
        [
            f"A room of {inactive.OCCUPANTS} occupants, of whom most are there: {inactive.PRESENCES} presences,"
            f" {inactive.CHAT_STATES} chat states, {inactive.MESSAGES} messages in an order of\nchance, and"
            f" {inactive.MENTIONS} mentions of the phone's nick, one after each quarter but the last. Bytes of XML that"
            " the phone gets after\n`<inactive/>` (XEP-0352); of them, messages with a body; and with what waited,"
            " after `<active/>`.",
            Table("phone", ["phone"], columns, rows),
            f"Of the direct connection without client state: {Goal(GOAL).judged(ours)}; of mod_csi_simple:"
            f" {Goal(1.0).judged(simple)}.\nMessages keep their order, so all that were said before the last mention"
            " are among these bytes:\nthe third column is the least possible.",
        ],
    )
