"""What a process of a cluster counts of its dealings with the others and with the database."""

from __future__ import annotations

from typing import Final

from minimixproxy.counting.tally import Tally

SUCCESS: Final = "success"

CLAIMED, TAKEN, HANDED_ON, LET_GO = "claimed", "taken", "handed-on", "let-go"
ACCOUNT_CHANGES = Tally(
    "cluster_account_changes",
    "Accounts that this process got, as a client came or as its share of what no process had, and those it gave away.",
    event=(CLAIMED, TAKEN, HANDED_ON, LET_GO),
)

QUESTIONS = Tally(
    "cluster_questions",
    "Questions to the database: who has accounts, and how the cluster stands.",
    result=(SUCCESS, "failure"),
)

ABANDONED, UNREACHABLE, NOT_TAKEN = "abandoned", "unreachable", "not-taken"
PIPES = Tally(
    "cluster_pipes",
    "Ways of clients to the processes that hold their accounts, by what came of them; abandoned: the client was gone.",
    result=(SUCCESS, ABANDONED, UNREACHABLE, NOT_TAKEN),
)

BAD_HEADER, CLOSING, ENDED, NOT_HELD = "bad-header", "closing", "ended", "not-held"
NOT_SERVED, SLOW, STRANGER, TOO_MANY = "not-served", "slow", "stranger", "too-many"
HANDOVERS = Tally(
    "cluster_handovers",
    "What connected to this process's internal endpoint, by whether the client was taken, or why not.",
    result=(SUCCESS, BAD_HEADER, CLOSING, ENDED, NOT_HELD, NOT_SERVED, SLOW, STRANGER, TOO_MANY),
)
